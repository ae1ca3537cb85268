//! The journal: what was opened, closed, signed and settled is on disk before L1 hears of it.

use crate::error::BatcherError;
use duskevm_batcher_core::{Batcher, Record};
use duskevm_fence::Fence;
use duskevm_store::journal::{Journal, JournalLimits};
use std::path::Path;

/// Records are short: the longest holds the attempts of one submission.
const LIMITS: JournalLimits = JournalLimits { record_bytes: 1 << 20, segment_bytes: 4 << 20 };

/// Records after which the journal is rewritten with what still matters.
const REWRITE_AFTER: u64 = 1024;

/// The journal of a batcher.
#[derive(Debug)]
pub(crate) struct BatchJournal {
    journal: Journal,
    /// Records since it was rewritten.
    records: u64,
}

impl BatchJournal {
    /// Opens the journal in a directory, or begins one, and gives its records to the batcher.
    pub(crate) fn open(directory: &Path, fence: &Fence, batcher: &mut Batcher) -> Result<Self, BatcherError> {
        let mut wrong = None;
        let (journal, recovered) = Journal::open(directory, fence, "posted batches", LIMITS, |_, bytes| {
            if wrong.is_none() {
                let record = Record::decode(bytes).map_err(BatcherError::from);
                wrong = record.and_then(|record| Ok(batcher.replay(record)?)).err();
            }
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        if recovered.records > 0 {
            tracing::info!(records = recovered.records, torn = recovered.torn_bytes, "journal of the batcher read");
        }
        Ok(Self { journal, records: recovered.records })
    }

    /// Writes records. They are on disk when this returns.
    pub(crate) fn write(&mut self, records: &[Record], batcher: &Batcher, fence: &Fence) -> Result<(), BatcherError> {
        let bytes: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        self.journal.append_all(fence, &bytes)?;
        self.records = self.records.saturating_add(bytes.len() as u64);
        if self.records >= REWRITE_AFTER {
            let bytes: Vec<Vec<u8>> = batcher.snapshot().iter().map(Record::encode).collect();
            self.records = bytes.len() as u64 / 2;
            self.journal.rewrite(fence, &bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{rollup, settings};
    use duskevm_rollup::{BlockId, frame::ChannelId};

    fn opened(number: u8) -> Record {
        let parent = BlockId { number: number.into(), ..BlockId::default() };
        Record::Opened { id: ChannelId::repeat_byte(number), parent, l1_block: number.into() }
    }

    fn batcher() -> Batcher {
        Batcher::new(rollup(), settings())
    }

    #[test]
    fn what_was_written_comes_back_and_old_records_go() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let mut first = batcher();
        let mut journal = BatchJournal::open(folder.path(), &fence, &mut first).unwrap();
        for number in (1..=250).cycle().take(1200) {
            let records = [opened(number), Record::Abandoned { id: ChannelId::repeat_byte(number) }, opened(number)];
            records.iter().for_each(|record| first.replay(record.clone()).unwrap());
            journal.write(&records, &first, &fence).unwrap();
        }
        drop(journal);
        let mut second = batcher();
        let journal = BatchJournal::open(folder.path(), &fence, &mut second).unwrap();
        assert_eq!(second.snapshot(), first.snapshot());
        assert!(journal.records < 2 * REWRITE_AFTER, "{}", journal.records);
    }

    #[test]
    fn records_that_do_not_go_together_end_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let mut first = batcher();
        let mut journal = BatchJournal::open(folder.path(), &fence, &mut first).unwrap();
        journal.write(&[Record::Settled { id: ChannelId::ZERO }], &first, &fence).unwrap();
        drop(journal);
        let error = BatchJournal::open(folder.path(), &fence, &mut batcher()).unwrap_err();
        assert!(matches!(error, BatcherError::Replay(_)), "{error}");
    }
}
