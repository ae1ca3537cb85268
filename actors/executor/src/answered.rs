//! The journal of what a consensus client was answered and the database may not have on disk yet.
//!
//! A head that was answered VALID must be there after `kill -9`: op-node does not bring a block again that it knows to be valid. To wait
//! until the database has written a block takes many times as long as to append it to a file. So the answer waits for the file, and what
//! the database has lost is executed again at the next start.

use crate::{
    error::ExecutorError,
    state::{ChainState, Labels},
};
use alloy_consensus::Header;
use alloy_primitives::B256;
use alloy_rlp::{Decodable, Header as RlpHeader};
use duskevm_evm::Block;
use duskevm_fence::Fence;
use duskevm_store::journal::{Journal, JournalLimits};
use std::{path::Path, sync::Arc};

/// What the journal is for, as its files say.
const NAME: &str = "answered L2 blocks";

/// A block with more bytes than this cannot be made: gas for call data ends long before.
const LIMITS: JournalLimits = JournalLimits { record_bytes: 256 << 20, segment_bytes: 64 << 20 };

/// After so many records the database is waited for and the journal begins anew: all of them may have to be executed at a start.
const MOST_RECORDS: usize = 128;

/// The same, in bytes of records.
const MOST_BYTES: usize = 32 << 20;

/// First byte of a record of labels: `LABELS ‖ safe (32 bytes) ‖ finalized (32 bytes)`. All other records are whole blocks as RLP, which
/// are lists and so begin with 0xc0 or above.
const LABELS: u8 = 1;

/// See the module.
#[derive(Debug)]
pub(crate) struct Answered {
    journal: Journal,
    fence: Fence,
    /// The newest block that is noted here, or was on disk when the journal began anew; zero while what is noted had no room in the chain.
    head: B256,
    records: usize,
    bytes: usize,
}

/// A record as it is read at the start.
enum Record<'a> {
    Block { hash: B256, number: u64, parent: B256, rlp: &'a [u8] },
    Labels { safe: B256, finalized: B256 },
}

impl<'a> Record<'a> {
    /// Only the header of a block is read: to recover the senders takes long, and most blocks are in the chain.
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        if let Some((&LABELS, rest)) = bytes.split_first() {
            let (hashes, rest) = rest.as_chunks::<32>();
            let [safe, finalized] = hashes else { return Err("labels that are cut off".into()) };
            return rest
                .is_empty()
                .then_some(Self::Labels { safe: B256::from(*safe), finalized: B256::from(*finalized) })
                .ok_or_else(|| "labels with something behind them".into());
        }
        let mut rest = bytes;
        let list = RlpHeader::decode(&mut rest).map_err(|error| error.to_string())?;
        if !list.list {
            return Err("not a list".into());
        }
        let header = Header::decode(&mut rest).map_err(|error| error.to_string())?;
        Ok(Self::Block { hash: header.hash_slow(), number: header.number, parent: header.parent_hash, rlp: bytes })
    }

    /// The whole block, if it is one.
    fn block(&self) -> Option<Arc<Block>> {
        let Self::Block { rlp, .. } = self else { return None };
        Block::from_rlp(rlp).ok().map(Arc::new)
    }

    fn labels(labels: &Labels) -> Vec<u8> {
        [&[LABELS][..], labels.safe.hash.as_slice(), labels.finalized.hash.as_slice()].concat()
    }
}

impl Answered {
    /// Opens the journal in this directory, or begins one, and brings back into the chain what the database has lost. Where the disk is too
    /// full for that, the blocks are returned.
    ///
    /// # Errors
    /// If the journal is damaged or cannot be read or written, or if the store fails.
    pub(crate) fn open(
        directory: &Path,
        chain: &mut ChainState,
        fence: &Fence,
    ) -> Result<(Self, Vec<Arc<Block>>), ExecutorError> {
        let mut records = Vec::new();
        let visit = |_: u64, bytes: &[u8]| records.push(bytes.to_vec());
        let (journal, _) = Journal::open(directory, fence, NAME, LIMITS, visit)?;
        let mut answered = Self { journal, fence: fence.clone(), head: B256::ZERO, records: records.len(), bytes: 0 };
        let unreadable = |(record, why)| ExecutorError::Answered { path: directory.to_owned(), record, why };
        let records = records.iter().enumerate().map(|(at, bytes)| Record::read(bytes).map_err(|why| (at, why)));
        let records = records.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        match bring_back(&records, chain) {
            Ok(()) => {
                // Also what nobody was answered: the next record stands on it.
                chain.flush()?;
                answered.flushed(chain.head().hash())?;
                Ok((answered, Vec::new()))
            }
            // The node serves what it has. Nothing is noted, and nothing is forgotten, before there is room for what is noted here.
            Err(error) if error.is_full_disk() => {
                tracing::warn!(%error, "blocks that a consensus client was answered are not in the chain yet");
                Ok((answered, records.iter().filter_map(Record::block).collect()))
            }
            Err(error) => Err(error),
        }
    }

    /// Is all that is noted in the chain?
    pub(crate) fn is_placed(&self) -> bool {
        self.head != B256::ZERO
    }

    /// Notes the way to a head, if it begins where the last one ended, and the labels if they have moved. When this returns true all of it
    /// is on disk. Else the database must be waited for.
    ///
    /// # Errors
    /// If the disk refuses, or if this instance was replaced.
    pub(crate) fn note(
        &mut self,
        way: &[Arc<Block>],
        head: B256,
        labels: Option<&Labels>,
    ) -> Result<bool, ExecutorError> {
        let begins = way.first().map_or(head, |block| block.header.parent_hash);
        if begins != self.head {
            return Ok(false);
        }
        let records: Vec<Vec<u8>> = way.iter().map(|block| block.to_rlp()).chain(labels.map(Record::labels)).collect();
        let bytes = records.iter().map(Vec::len).sum::<usize>();
        if self.records + records.len() > MOST_RECORDS || self.bytes + bytes > MOST_BYTES {
            return Ok(false);
        }
        self.journal.append_all(&self.fence, &records)?;
        self.head = head;
        self.records += records.len();
        self.bytes += bytes;
        Ok(true)
    }

    /// Everything up to this head is on disk: what was noted is of no use any more, and what was dropped must not come back.
    ///
    /// # Errors
    /// If the disk refuses, or if this instance was replaced.
    pub(crate) fn flushed(&mut self, head: B256) -> Result<(), ExecutorError> {
        if self.records > 0 {
            self.journal.rewrite(&self.fence, std::iter::empty::<&[u8]>())?;
            (self.records, self.bytes) = (0, 0);
        }
        self.head = head;
        Ok(())
    }
}

/// Executes again what follows on the head. What is in the chain is passed over, and what stands on something else.
fn bring_back(records: &[Record<'_>], chain: &mut ChainState) -> Result<(), ExecutorError> {
    let (mut labels, mut brought) = (None, 0u64);
    for record in records {
        match *record {
            Record::Labels { safe, finalized } => labels = Some((safe, finalized)),
            Record::Block { hash, number, parent, rlp } => {
                if chain.is_canonical(number, hash)? || parent != chain.head().hash() {
                    continue;
                }
                let executed = match Block::from_rlp(rlp) {
                    Ok(block) => chain.execute(&block)?.map_err(|refusal| refusal.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                match executed {
                    Ok(executed) => chain.commit(executed)?,
                    Err(why) => {
                        // By a program with other rules it was valid. It would be refused at every start.
                        tracing::error!(number, %hash, %why, "a block that a consensus client was answered is refused now: it is dropped");
                        break;
                    }
                }
                brought += 1;
            }
        }
    }
    if let Some((safe, finalized)) = labels
        && let Err(refusal) = chain.set_labels(Some(safe), Some(finalized))?
    {
        // They come again with the client's next forkchoice state.
        tracing::debug!(%refusal, "labels of the journal are not set");
    }
    if brought > 0 {
        let head = chain.head().hash();
        tracing::info!(blocks = brought, %head, "blocks that a consensus client was answered are executed again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Sealable;
    use alloy_eips::BlockNumHash;

    #[test]
    fn records_are_read_as_they_were_written() {
        let header = Header { number: 7, parent_hash: B256::repeat_byte(6), ..Default::default() }.seal_slow();
        let block = Block { header, transactions: Vec::new() };
        let bytes = block.to_rlp();
        let Ok(Record::Block { hash, number, parent, rlp }) = Record::read(&bytes) else { panic!("no block") };
        assert_eq!((hash, number, parent, rlp), (block.hash(), 7, B256::repeat_byte(6), &bytes[..]));
        let id = |byte: u8| BlockNumHash { number: byte.into(), hash: B256::repeat_byte(byte) };
        let bytes = Record::labels(&Labels { safe: id(2), finalized: id(1) });
        let Ok(Record::Labels { safe, finalized }) = Record::read(&bytes) else { panic!("no labels") };
        assert_eq!((safe, finalized), (id(2).hash, id(1).hash));
        for wrong in [&[][..], &[LABELS], &bytes[..64], &[&bytes[..], &[0]].concat(), &[0x80], &[0xc3, 1, 2, 3]] {
            assert!(Record::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
