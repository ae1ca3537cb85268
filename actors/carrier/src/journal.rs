//! The journal: what was taken and signed is on disk before anybody hears of it.

use crate::error::CarrierError;
use duskevm_carrier_core::{Carrier, MAX_RECORD_BYTES, Record};
use duskevm_fence::Fence;
use duskevm_store::journal::{Journal, JournalLimits};
use std::path::Path;

/// The longest record holds an envelope with its blobs.
const LIMITS: JournalLimits = JournalLimits { record_bytes: MAX_RECORD_BYTES as u32 + 1, segment_bytes: 16 << 20 };

/// Bytes after which the journal is rewritten with what still matters.
const REWRITE_AFTER: usize = 64 << 20;

/// The journal of a carrier.
#[derive(Debug)]
pub(crate) struct CarrierJournal {
    journal: Journal,
    /// Bytes since it was rewritten.
    bytes: usize,
}

impl CarrierJournal {
    /// Opens the journal in a directory, or begins one, and gives its records to the carrier.
    pub(crate) fn open(directory: &Path, fence: &Fence, carrier: &mut Carrier) -> Result<Self, CarrierError> {
        let (mut wrong, mut read) = (None, 0);
        let (journal, recovered) = Journal::open(directory, fence, "carried envelopes", LIMITS, |_, bytes| {
            read += bytes.len();
            if wrong.is_none() {
                let record = Record::decode(bytes).map_err(CarrierError::from);
                wrong = record.and_then(|record| Ok(carrier.replay(record)?)).err();
            }
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        if recovered.records > 0 {
            tracing::info!(records = recovered.records, torn = recovered.torn_bytes, "journal of the carrier read");
        }
        Ok(Self { journal, bytes: read })
    }

    /// Writes records. They are on disk when this returns.
    pub(crate) fn write(&mut self, records: &[Record], carrier: &Carrier, fence: &Fence) -> Result<(), CarrierError> {
        let bytes: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        self.journal.append_all(fence, &bytes)?;
        self.bytes += bytes.iter().map(Vec::len).sum::<usize>();
        if self.bytes >= REWRITE_AFTER {
            let bytes: Vec<Vec<u8>> = carrier.snapshot().iter().map(Record::encode).collect();
            self.journal.rewrite(fence, &bytes)?;
            // Half of what is kept counts, so that a full pool is not rewritten with every record.
            self.bytes = bytes.iter().map(Vec::len).sum::<usize>() / 2;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{B256, Bytes};
    use duskevm_carrier_core::{Attempt, Gas, Role, Rules, Settings};

    fn carrier() -> Carrier {
        Carrier::new(Settings {
            rules: Rules::default(),
            gas: Gas { per_blob: 1, least: 1, call: 1, per_call_byte: 1 },
            gas_price: 1,
            max_gas_price: 10,
            fee_bump_percent: 10,
            bump_after: 1,
            max_in_flight: 1,
            max_ahead: 1,
            max_bytes: 1 << 20,
            blob_life: 1_890,
        })
    }

    fn signed(nonce: u64) -> Record {
        let role = Role::Call(B256::with_last_byte(nonce as u8));
        Record::Signed { nonce, attempt: Attempt { role, gas_limit: 5, gas_price: 2, id: B256::repeat_byte(3) } }
    }

    #[test]
    fn what_was_written_comes_back() {
        let (folder, fence) = (tempfile::tempdir().unwrap(), Fence::unfenced());
        let mut first = carrier();
        let mut journal = CarrierJournal::open(folder.path(), &fence, &mut first).unwrap();
        let records = [signed(1), signed(2), Record::Closed { nonce: 1 }, signed(3)];
        records.iter().for_each(|record| first.replay(record.clone()).unwrap());
        journal.write(&records, &first, &fence).unwrap();
        drop(journal);
        let mut second = carrier();
        CarrierJournal::open(folder.path(), &fence, &mut second).unwrap();
        assert_eq!(second.snapshot(), [signed(2), signed(3)]);
    }

    #[test]
    fn a_long_journal_is_rewritten_with_what_matters() {
        let (folder, fence) = (tempfile::tempdir().unwrap(), Fence::unfenced());
        let mut first = carrier();
        let mut journal = CarrierJournal::open(folder.path(), &fence, &mut first).unwrap();
        first.replay(signed(7)).unwrap();
        journal.bytes = REWRITE_AFTER;
        journal.write(&[signed(9)], &first, &fence).unwrap();
        assert!(journal.bytes < 1000, "{}", journal.bytes);
        drop(journal);
        let mut second = carrier();
        CarrierJournal::open(folder.path(), &fence, &mut second).unwrap();
        assert_eq!(second.snapshot(), [signed(7)]);
    }

    #[test]
    fn an_envelope_that_is_none_ends_the_start() {
        let (folder, fence) = (tempfile::tempdir().unwrap(), Fence::unfenced());
        let mut first = carrier();
        let mut journal = CarrierJournal::open(folder.path(), &fence, &mut first).unwrap();
        let wrong = Record::Taken { envelope: Bytes::from_static(&[2]), sidecars: Vec::new() };
        journal.write(&[wrong], &first, &fence).unwrap();
        drop(journal);
        let error = CarrierJournal::open(folder.path(), &fence, &mut carrier()).unwrap_err();
        assert!(matches!(error, CarrierError::Replay(_)), "{error}");
    }
}
