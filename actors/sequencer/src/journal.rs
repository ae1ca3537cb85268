//! The journal of sealed blocks: what may have been announced is on disk before it is.

use crate::{
    error::SequencerError,
    guard::{SealConflict, SealGuard},
};
use alloy_consensus::Header;
use alloy_primitives::B256;
use alloy_rlp::{Decodable, Header as RlpHeader};
use duskevm_evm::Block;
use duskevm_fence::Fence;
use duskevm_store::journal::{Journal, JournalError, JournalLimits};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// A block with more transactions than this in bytes cannot be made: gas for call data ends long before. What is read at a
/// start, and kept until the executor says what is durable, are whole segments: small ones keep a restart short.
const LIMITS: JournalLimits = JournalLimits { record_bytes: 256 << 20, segment_bytes: 4 << 20 };

/// First byte of a record that resets: `RESET ‖ number (8 bytes) ‖ hash (32 bytes)`. All other records are whole blocks as RLP,
/// which are lists and so begin with 0xc0 or above.
const RESET: u8 = 1;

/// Those blocks that the chain may lose in a crash are also kept in memory.
#[derive(Debug)]
pub struct SealJournal {
    journal: Journal,
    guard: SealGuard,
    /// The record that the guard's last block comes from. It stays: it is what forbids to seal again.
    guard_record: Option<u64>,
    /// By block number; where a height was sealed twice (the same block after a restart) the last counts.
    sealed: BTreeMap<u64, Sealed>,
}

/// A block of the journal.
#[derive(Debug)]
struct Sealed {
    /// Number of its record.
    record: u64,
    hash: B256,
    parent_hash: B256,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// As read at start. To recover the senders takes seconds for a long journal, and most of its blocks are in the chain.
    Rlp(Box<[u8]>),
    Block(Arc<Block>),
}

/// A record as it is read at start.
enum Record {
    Block { number: u64, hash: B256, parent_hash: B256 },
    Reset { number: u64, hash: B256 },
}

impl Record {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        if let Some((&RESET, rest)) = bytes.split_first() {
            let (number, hash) = rest.split_at_checked(8).ok_or("a reset that is cut off")?;
            let number = number.try_into().map(u64::from_be_bytes).map_err(|_| "a reset without number")?;
            let hash = B256::try_from(hash).map_err(|_| "a reset without hash")?;
            return Ok(Self::Reset { number, hash });
        }
        let mut bytes = bytes;
        let list = RlpHeader::decode(&mut bytes).map_err(|error| error.to_string())?;
        if !list.list {
            return Err("not a list".into());
        }
        let header = Header::decode(&mut bytes).map_err(|error| error.to_string())?;
        let (number, parent_hash) = (header.number, header.parent_hash);
        Ok(Self::Block { number, hash: header.hash_slow(), parent_hash })
    }

    fn reset(number: u64, hash: B256) -> Vec<u8> {
        [&[RESET][..], &number.to_be_bytes(), hash.as_slice()].concat()
    }
}

/// Drops the blocks above this one, and another one in its place.
fn forget_other_branch(sealed: &mut BTreeMap<u64, Sealed>, number: u64, hash: B256) {
    drop(sealed.split_off(&number.saturating_add(1)));
    if sealed.get(&number).is_some_and(|block| block.hash != hash) {
        sealed.remove(&number);
    }
}

impl SealJournal {
    /// Opens the journal in a directory, or begins one.
    ///
    /// # Errors
    /// If it is damaged or cannot be read, or if this instance was replaced.
    pub fn open(directory: &Path, fence: &Fence) -> Result<Self, SequencerError> {
        let (mut guard, mut guard_record, mut sealed) = (SealGuard::default(), None, BTreeMap::new());
        let mut wrong = None;
        let (journal, recovered) =
            Journal::open(directory, fence, "sealed L2 blocks", LIMITS, |record, bytes| match Record::read(bytes) {
                Ok(Record::Block { number, hash, parent_hash }) => {
                    guard.sealed(number, hash);
                    guard_record = Some(record);
                    sealed.insert(number, Sealed { record, hash, parent_hash, body: Body::Rlp(bytes.into()) });
                }
                Ok(Record::Reset { number, hash }) => {
                    guard.reset(number, hash);
                    guard_record = Some(record);
                    forget_other_branch(&mut sealed, number, hash);
                }
                Err(why) => wrong = wrong.take().or(Some(SequencerError::Record { record, why })),
            })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        if recovered.records > 0 {
            tracing::info!(records = recovered.records, torn = recovered.torn_bytes, "journal of sealed blocks read");
        }
        Ok(Self { journal, guard, guard_record, sealed })
    }

    /// Writes a block. When this returns the block is on disk and may be announced.
    ///
    /// # Errors
    /// If another block was sealed at its height, if this instance was replaced, or if the disk refuses.
    pub fn seal(&mut self, block: &Arc<Block>, fence: &Fence) -> Result<(), SequencerError> {
        self.guard.check(block.number(), block.hash())?;
        let record = self.journal.append(fence, &block.to_rlp())?;
        self.guard.sealed(block.number(), block.hash());
        self.guard_record = Some(record);
        let (hash, parent_hash) = (block.hash(), block.header.parent_hash);
        self.sealed.insert(block.number(), Sealed { record, hash, parent_hash, body: Body::Block(Arc::clone(block)) });
        Ok(())
    }

    /// May a block be made at this height?
    ///
    /// # Errors
    /// [`SealConflict`] if one was sealed there or above.
    pub fn check_new(&self, number: u64) -> Result<(), SealConflict> {
        self.guard.check_new(number)
    }

    /// Forgets all blocks above this one, because L1 has replaced them: others may be sealed at their heights from now on.
    ///
    /// # Errors
    /// If this instance was replaced, or if the disk refuses.
    pub fn reset_to(&mut self, number: u64, hash: B256, fence: &Fence) -> Result<(), SequencerError> {
        let record = self.journal.append(fence, &Record::reset(number, hash))?;
        self.guard.reset(number, hash);
        self.guard_record = Some(record);
        forget_other_branch(&mut self.sealed, number, hash);
        Ok(())
    }

    /// The sealed block that follows on a head, if there is one: it must be in the chain before anything new is built.
    ///
    /// # Errors
    /// If its record, which was intact on disk, is no block.
    pub fn child_of(&mut self, number: u64, hash: B256) -> Result<Option<Arc<Block>>, SequencerError> {
        let next = number.checked_add(1).and_then(|next| self.sealed.get_mut(&next));
        let Some(next) = next.filter(|next| next.parent_hash == hash) else { return Ok(None) };
        let block = match &next.body {
            Body::Block(block) => Arc::clone(block),
            Body::Rlp(bytes) => Arc::new(
                Block::from_rlp(bytes)
                    .map_err(|error| SequencerError::Record { record: next.record, why: error.to_string() })?,
            ),
        };
        next.body = Body::Block(Arc::clone(&block));
        Ok(Some(block))
    }

    /// Blocks up to this number cannot be lost any more. The last record always stays: it is what forbids to seal again.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn forget_up_to(&mut self, durable: u64, fence: &Fence) -> Result<(), JournalError> {
        let Some((&last, _)) = self.sealed.last_key_value() else { return Ok(()) };
        let keep_from = durable.saturating_add(1).min(last);
        if self.sealed.first_key_value().is_none_or(|(&first, _)| first >= keep_from) {
            return Ok(());
        }
        self.sealed = self.sealed.split_off(&keep_from);
        let oldest = self.sealed.values().map(|sealed| sealed.record).chain(self.guard_record).min();
        match oldest {
            Some(record) => self.journal.release_before(fence, record),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Sealable;

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
        assert!(journal.sealed.values().all(|sealed| matches!(sealed.body, Body::Rlp(_))), "decoded when needed");
        assert_eq!(journal.child_of(0, B256::ZERO).unwrap().unwrap(), one);
        assert_eq!(journal.child_of(1, one.hash()).unwrap().unwrap(), two);
        assert!(journal.child_of(1, B256::ZERO).unwrap().is_none());
        assert!(journal.child_of(2, two.hash()).unwrap().is_none());
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

    #[test]
    fn only_small_segments_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
        let mut parent = B256::ZERO;
        for number in 1..=24 {
            let header =
                Header { number, parent_hash: parent, extra_data: vec![7; 1 << 20].into(), ..Default::default() };
            let block = Arc::new(Block { header: header.seal_slow(), transactions: Vec::new() });
            parent = block.hash();
            journal.seal(&block, &fence).unwrap();
            journal.forget_up_to(number - 1, &fence).unwrap();
        }
        drop(journal);
        let journal = SealJournal::open(folder.path(), &fence).unwrap();
        assert!(journal.sealed.len() <= 6, "{} blocks of 1 MiB are read again", journal.sealed.len());
    }

    #[test]
    fn a_reset_takes_the_blocks_above_back_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let one = block(1, B256::ZERO, 1);
        let two = block(2, one.hash(), 1);
        let other = block(2, one.hash(), 2);
        let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
        journal.seal(&one, &fence).unwrap();
        journal.seal(&two, &fence).unwrap();
        journal.reset_to(1, one.hash(), &fence).unwrap();
        assert!(journal.child_of(1, one.hash()).unwrap().is_none(), "the old block would undo the reset");
        drop(journal);
        let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
        assert!(journal.child_of(1, one.hash()).unwrap().is_none());
        assert!(journal.seal(&block(1, B256::ZERO, 3), &fence).is_err(), "what was not taken back holds");
        journal.seal(&other, &fence).unwrap();
        assert!(journal.seal(&two, &fence).is_err(), "and so does the new promise");
        journal.forget_up_to(9, &fence).unwrap();
        drop(journal);
        let mut journal = SealJournal::open(folder.path(), &fence).unwrap();
        assert!(journal.seal(&two, &fence).is_err());
        assert_eq!(journal.child_of(1, one.hash()).unwrap().unwrap(), other);
    }
}
