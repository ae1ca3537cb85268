//! The journal of sealed blocks: what may have been announced is on disk before it is.

use crate::{error::SequencerError, guard::SealGuard};
use alloy_primitives::B256;
use duskevm_evm::Block;
use duskevm_fence::Fence;
use duskevm_store::journal::{Journal, JournalError, JournalLimits};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// A block with more transactions than this in bytes cannot be made: gas for call data ends long before.
const LIMITS: JournalLimits = JournalLimits { record_bytes: 256 << 20, segment_bytes: 64 << 20 };

/// Records are whole blocks as RLP. Those that the chain may lose in a crash are also kept in memory.
#[derive(Debug)]
pub struct SealJournal {
    journal: Journal,
    guard: SealGuard,
    /// By block number; where a height was sealed twice (the same block after a restart) the last counts.
    sealed: BTreeMap<u64, SealedBlock>,
}

/// A block of the journal.
#[derive(Debug, Clone)]
pub struct SealedBlock {
    /// Number of its record.
    pub record: u64,
    /// The block.
    pub block: Arc<Block>,
}

impl SealJournal {
    /// Opens the journal in a directory, or begins one.
    ///
    /// # Errors
    /// If it is damaged or cannot be read, or if this instance was replaced.
    pub fn open(directory: &Path, fence: &Fence) -> Result<Self, SequencerError> {
        let mut records = Vec::new();
        let (journal, recovered) = Journal::open(directory, fence, "sealed L2 blocks", LIMITS, |number, bytes| {
            records.push((number, Block::from_rlp(bytes)));
        })?;
        let mut this = Self { journal, guard: SealGuard::default(), sealed: BTreeMap::new() };
        for (record, block) in records {
            let block = block.map_err(|error| SequencerError::Record { record, why: error.to_string() })?;
            this.note(record, Arc::new(block));
        }
        if recovered.records > 0 {
            tracing::info!(records = recovered.records, torn = recovered.torn_bytes, "journal of sealed blocks read");
        }
        Ok(this)
    }

    /// Writes a block. When this returns the block is on disk and may be announced.
    ///
    /// # Errors
    /// If another block was sealed at its height, if this instance was replaced, or if the disk refuses.
    pub fn seal(&mut self, block: &Arc<Block>, fence: &Fence) -> Result<(), SequencerError> {
        self.guard.check(block.number(), block.hash())?;
        let record = self.journal.append(fence, &block.to_rlp())?;
        self.note(record, Arc::clone(block));
        Ok(())
    }

    fn note(&mut self, record: u64, block: Arc<Block>) {
        self.guard.sealed(block.number(), block.hash());
        self.sealed.insert(block.number(), SealedBlock { record, block });
    }

    /// The sealed block that follows on a head, if there is one: it must be in the chain before anything new is built.
    pub fn child_of(&self, number: u64, hash: B256) -> Option<Arc<Block>> {
        let next = self.sealed.get(&(number + 1))?;
        (next.block.header.parent_hash == hash).then(|| Arc::clone(&next.block))
    }

    /// Blocks up to this number cannot be lost any more. The last record always stays: it is what forbids to seal again.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn forget_up_to(&mut self, durable: u64, fence: &Fence) -> Result<(), JournalError> {
        let Some((&last, _)) = self.sealed.last_key_value() else { return Ok(()) };
        let keep_from = (durable + 1).min(last);
        if self.sealed.first_key_value().is_none_or(|(&first, _)| first >= keep_from) {
            return Ok(());
        }
        self.sealed = self.sealed.split_off(&keep_from);
        let oldest = self.sealed.values().map(|sealed| sealed.record).min();
        match oldest {
            Some(record) => self.journal.release_before(fence, record),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{Header, Sealable};

    fn block(number: u64, parent_hash: B256, salt: u64) -> Arc<Block> {
        let header = Header { number, parent_hash, timestamp: salt, ..Default::default() };
        Arc::new(Block { header: header.seal_slow(), transactions: Vec::new() })
    }

    #[test]
    fn sealed_blocks_come_back_and_cannot_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let one = block(1, B256::ZERO, 1);
        let two = block(2, one.hash(), 1);
        {
            let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
            journal.seal(&one, &fence).unwrap();
            journal.seal(&two, &fence).unwrap();
        }
        let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
        assert_eq!(journal.child_of(0, B256::ZERO).unwrap(), one);
        assert_eq!(journal.child_of(1, one.hash()).unwrap(), two);
        assert!(journal.child_of(1, B256::ZERO).is_none());
        assert!(journal.child_of(2, two.hash()).is_none());
        assert!(matches!(journal.seal(&block(2, one.hash(), 9), &fence), Err(SequencerError::Conflict(_))));
        journal.seal(&two, &fence).unwrap();
        journal.seal(&block(3, two.hash(), 1), &fence).unwrap();
    }

    #[test]
    fn the_last_record_stays_when_all_blocks_are_durable() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let one = block(1, B256::ZERO, 1);
        let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
        journal.seal(&one, &fence).unwrap();
        journal.seal(&block(2, one.hash(), 1), &fence).unwrap();
        journal.forget_up_to(5, &fence).unwrap();
        drop(journal);
        let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
        assert!(journal.seal(&block(2, one.hash(), 7), &fence).is_err());
    }
}
