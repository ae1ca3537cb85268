//! Taking blocks back. Their bytes stay until what they held is of no use any more, so that their transactions are not lost
//! with the memory of this process.
//!
//! Kept beside the undo records, whose keys are heights: an index under one name, and each body under its block's hash.

use duskevm_fence::Fence;

use super::{Column, L1Store, L1StoreError, Meta, put, put_state};
use crate::db::Batch;

/// Bodies that are kept at most; the oldest goes first. Each is a megabyte at most.
pub const MAX_REVERTED: usize = 16;

const INDEX: &[u8] = b"reverted";
/// height ‖ hash.
const ENTRY: usize = 8 + 32;

/// A block that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevertedBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

fn body_key(hash: &[u8; 32]) -> Vec<u8> {
    [INDEX, hash].concat()
}

fn encode(blocks: &[RevertedBlock]) -> Vec<u8> {
    blocks.iter().flat_map(|block| block.height.to_be_bytes().into_iter().chain(block.hash)).collect()
}

fn decode(bytes: &[u8]) -> Option<Vec<RevertedBlock>> {
    let (entries, rest) = bytes.as_chunks::<ENTRY>();
    let entry = |bytes: &[u8; ENTRY]| {
        let (height, hash) = bytes.split_first_chunk::<8>()?;
        Some(RevertedBlock { height: u64::from_be_bytes(*height), hash: hash.try_into().ok()? })
    };
    rest.is_empty().then(|| entries.iter().map(entry).collect())?
}

/// Adds a body to what is kept.
pub(super) fn keep(batch: &mut Batch, mut known: Vec<RevertedBlock>, block: RevertedBlock, body: &[u8]) {
    known.retain(|other| other.hash != block.hash);
    known.push(block);
    let surplus = known.len().saturating_sub(MAX_REVERTED);
    for old in known.drain(..surplus) {
        batch.delete(Column::Undo as u8, body_key(&old.hash));
    }
    put(batch, Column::Undo, body_key(&block.hash), body);
    put(batch, Column::Undo, INDEX, encode(&known));
}

impl L1Store {
    /// Takes the newest block back: block, hash, places of its transactions, faults and state are as before it, in one commit.
    /// `finality` are the labels of the blocks below. `body` is kept for [`reverted_body`](Self::reverted_body). On return it is durable. Several blocks go one by one from the top, so that a
    /// crash leaves a shorter chain. View blocks stay until their own writer [truncates](Self::truncate_views) them.
    ///
    /// # Errors
    /// [`L1StoreError::NotTip`], [`L1StoreError::OtherBlock`], [`L1StoreError::Final`], [`L1StoreError::Fence`]: nothing was
    /// written. After any other error as [`commit_block`](Self::commit_block).
    pub fn revert_block(
        &self,
        fence: &Fence,
        height: u64,
        hash: &[u8; 32],
        finality: &[u8],
        body: Option<&[u8]>,
    ) -> Result<(), L1StoreError> {
        fence.write(|| {
            let tip = self.tip()?;
            if tip != Some(height) {
                return Err(L1StoreError::NotTip { height, tip });
            }
            if self.block_height(hash)? != Some(height) {
                return Err(L1StoreError::OtherBlock { height });
            }
            let last_final = self.final_height()?.unwrap_or(0);
            let Some(below) = height.checked_sub(1).filter(|_| height > last_final) else {
                return Err(L1StoreError::Final { height, last_final });
            };
            let undo = self.undo_record(height)?.ok_or_else(|| self.missing_undo(height))?;
            let mut batch = Batch::new();
            batch.delete(Column::Blocks as u8, height.to_be_bytes());
            batch.delete(Column::BlockHeights as u8, *hash);
            batch.delete(Column::Undo as u8, height.to_be_bytes());
            for id in &undo.transactions {
                batch.delete(Column::Transactions as u8, *id);
            }
            for id in &undo.faults {
                batch.delete(Column::Faults as u8, *id);
            }
            put_state(&mut batch, &undo.changes);
            put(&mut batch, Column::Meta, Meta::Tip.key(), below.to_be_bytes());
            put(&mut batch, Column::Meta, Meta::Finality.key(), finality);
            if let Some(body) = body {
                keep(&mut batch, self.reverted()?, RevertedBlock { height, hash: *hash }, body);
            }
            self.commit(batch)
        })?
    }

    /// The blocks that were taken back and whose bodies are kept, in the order in which that happened.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn reverted(&self) -> Result<Vec<RevertedBlock>, L1StoreError> {
        let Some(bytes) = self.get(Column::Undo, INDEX)? else { return Ok(Vec::new()) };
        decode(&bytes).ok_or_else(|| self.damaged(Column::Undo, bytes.len()))
    }

    /// The body of a block that was taken back, as it was given to [`revert_block`](Self::revert_block).
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn reverted_body(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, L1StoreError> {
        self.get(Column::Undo, &body_key(hash))
    }

    /// Lets go of bodies. Does not wait for the disk: losing this leaves them there a while longer.
    ///
    /// # Errors
    /// As [`commit_block`](Self::commit_block), without [`L1StoreError::NotNext`].
    pub fn forget_reverted(&self, fence: &Fence, hashes: &[[u8; 32]]) -> Result<(), L1StoreError> {
        fence.write(|| {
            let mut known = self.reverted()?;
            known.retain(|block| !hashes.contains(&block.hash));
            let mut batch = Batch::new();
            for hash in hashes {
                batch.delete(Column::Undo as u8, body_key(hash));
            }
            put(&mut batch, Column::Undo, INDEX, encode(&known));
            Ok(self.db.commit(batch).map(drop)?)
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_round_trips_and_refuses_other_lengths() {
        let blocks: Vec<_> = (0..5).map(|n| RevertedBlock { height: 1 << n, hash: [n; 32] }).collect();
        let bytes = encode(&blocks);
        assert_eq!(decode(&bytes), Some(blocks));
        assert_eq!(decode(&[]), Some(Vec::new()));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }
}
