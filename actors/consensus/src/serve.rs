//! Answers to others: frames for peers, blocks for the blob API.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_consensus::Transaction as _;
use duskevm_blobs::Hash;
use duskevm_blobs::api::beacon::{Block as BlobBlock, BlockId};
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::wire::{self, Frame, Inventory, Item};
use duskevm_l1_view::ViewBlock;
use duskevm_messages::consensus::DuskTip;
use duskevm_store::l1::L1Store;

use crate::chain::read_block;
use crate::error::ConsensusError;
use crate::work::blob_hashes;

/// Frames of an answer; peers take as many.
pub(crate) const MAX_FRAMES: usize = 100;
/// Bytes of frames in an answer.
const MAX_BYTES: usize = 8 << 20;

/// One part of an answer.
#[derive(Debug)]
pub(crate) enum Part {
    /// It was in memory.
    Frame(Box<Frame>),
    /// Hashes of the blocks above the one with this hash.
    After([u8; 32]),
    /// A block on disk.
    Height(u64),
    /// A block on disk.
    Hash([u8; 32]),
}

/// Reads what is on disk, up to the height `told`. Stops where the answer would become too large; what is not there is left out.
pub(crate) fn read_parts(store: &L1Store, told: u64, parts: Vec<Part>) -> Result<Vec<Vec<u8>>, ConsensusError> {
    let (mut frames, mut bytes) = (Vec::new(), 0);
    for part in parts {
        let height = match part {
            Part::Frame(frame) => {
                let frame = wire::encode(&frame);
                bytes += frame.len();
                if bytes > MAX_BYTES {
                    break;
                }
                frames.push(frame);
                continue;
            }
            Part::After(locator) => {
                let items = after(store, told, &locator)?;
                frames.push(wire::encode(&Frame::Inv(Inventory { items, max_entries: 0 })));
                continue;
            }
            Part::Height(height) => Some(height),
            Part::Hash(hash) => store.block_height(&hash)?,
        };
        // The genesis block is everybody's own.
        let Some(height) = height.filter(|height| (1..=told).contains(height)) else { continue };
        let Some(block) = read_block(store, height)? else { continue };
        let frame = wire::encode(&Frame::Block(block.encoded.to_vec().into()));
        bytes += frame.len();
        if bytes > MAX_BYTES {
            break;
        }
        frames.push(frame);
    }
    Ok(frames)
}

/// Hashes of the blocks above `locator`, as the answer to a peer that has it.
fn after(store: &L1Store, told: u64, locator: &[u8; 32]) -> Result<Vec<Item>, ConsensusError> {
    let Some(from) = store.block_height(locator)? else { return Ok(Vec::new()) };
    let mut items = Vec::new();
    for height in from.saturating_add(1)..=told.min(from.saturating_add(MAX_FRAMES as u64)) {
        let Some(block) = read_block(store, height)? else { break };
        items.push(Item::Block(block.header.hash));
    }
    Ok(items)
}

/// Blocks that were asked for by clients of the blob API, newest last: decoding one takes a millisecond for each of its
/// transactions.
#[derive(Debug, Default)]
pub(crate) struct BlobBlocks {
    kept: VecDeque<([u8; 32], Arc<BlobBlock>)>,
}

const KEPT_BLOCKS: usize = 64;

impl BlobBlocks {
    fn get(&self, hash: &[u8; 32]) -> Option<Arc<BlobBlock>> {
        self.kept.iter().find(|(known, _)| known == hash).map(|(_, block)| block.clone())
    }

    fn keep(&mut self, hash: [u8; 32], block: Arc<BlobBlock>) {
        if self.get(&hash).is_none() {
            if self.kept.len() == KEPT_BLOCKS {
                self.kept.pop_front();
            }
            self.kept.push_back((hash, block));
        }
    }
}

/// Finds the block that a client of the blob API means. Slots are seconds since the genesis block; timestamps rise by at least
/// one from block to block, so a slot names at most one block.
///
/// Shown are first the blobs that the L1 view names in this block, in its order, because that is where programs of the OP Stack count
/// them: an envelope stands in the block of its call of the batch inbox, which may come after the block of its blobs. The others of the
/// block's own blob transactions follow.
pub(crate) fn blob_block(
    store: &L1Store,
    told: DuskTip,
    id: BlockId,
    cache: &parking_lot::Mutex<BlobBlocks>,
) -> Result<Option<Arc<BlobBlock>>, ConsensusError> {
    let (tip, last_final) = (told.height, told.final_height);
    let height = match id {
        BlockId::Head => Some(tip),
        BlockId::Finalized => Some(last_final),
        BlockId::Genesis => Some(0),
        BlockId::Root(hash) => store.block_height(&hash)?,
        BlockId::Slot(slot) => height_of_slot(store, slot, tip)?,
    };
    let Some(height) = height.filter(|height| *height <= tip) else { return Ok(None) };
    let Some(block) = read_block(store, height)? else { return Ok(None) };
    let is_final = height <= last_final;
    let known = cache.lock().get(&block.header.hash);
    let carried = match known {
        Some(known) => known,
        None => {
            let carried = Arc::new(carried(&block, is_final)?);
            cache.lock().keep(block.header.hash, carried.clone());
            carried
        }
    };
    let named = named_in_view(store, height, &block.header.hash)?;
    if named.is_empty() && carried.is_final == is_final {
        return Ok(Some(carried));
    }
    let blobs = in_order_of_view(named, &carried.blobs);
    Ok(Some(Arc::new(BlobBlock { is_final, blobs, ..(*carried).clone() })))
}

/// The blobs that the envelopes of a view block name, one after the other; none while there is no view of this very block.
fn named_in_view(store: &L1Store, height: u64, block: &[u8; 32]) -> Result<Vec<Hash>, ConsensusError> {
    let Some(record) = store.view(height)? else { return Ok(Vec::new()) };
    let view = ViewBlock::decode(&record)
        .map_err(|error| ConsensusError::Damaged(format!("L1 view block {height}: {error}")))?;
    // The view of a block that was replaced may be there until the new one's is.
    if view.dusk_hash() != *block {
        return Ok(Vec::new());
    }
    let named = view.transactions.iter().flat_map(|tx| tx.envelope.blob_versioned_hashes().unwrap_or_default());
    Ok(named.map(|hash| hash.0).collect())
}

fn in_order_of_view(named: Vec<Hash>, carried: &[Hash]) -> Vec<Hash> {
    let mut blobs = named;
    let others: Vec<Hash> = carried.iter().filter(|hash| !blobs.contains(hash)).copied().collect();
    blobs.extend(others);
    blobs
}

fn carried(block: &AcceptedBlock, is_final: bool) -> Result<BlobBlock, ConsensusError> {
    let header = &block.header;
    let decoded = block.block().map_err(|error| ConsensusError::Damaged(error.to_string()))?;
    Ok(BlobBlock {
        timestamp: header.timestamp,
        root: header.hash,
        parent_root: header.prev_block_hash,
        state_root: header.state_hash,
        body_root: header.txroot,
        signature: *header.signature.inner(),
        is_final,
        blobs: blob_hashes(decoded.txs()),
    })
}

fn height_of_slot(store: &L1Store, slot: u64, tip: u64) -> Result<Option<u64>, ConsensusError> {
    let timestamp =
        |height: u64| Ok::<_, ConsensusError>(read_block(store, height)?.map(|block| block.header.timestamp));
    let Some(genesis) = timestamp(0)? else { return Ok(None) };
    let Some(wanted) = genesis.checked_add(slot) else { return Ok(None) };
    let (mut low, mut high) = (0, tip);
    while low <= high {
        let middle = low + (high - low) / 2;
        let Some(there) = timestamp(middle)? else { return Ok(None) };
        match there.cmp(&wanted) {
            std::cmp::Ordering::Equal => return Ok(Some(middle)),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => match middle.checked_sub(1) {
                Some(below) => high = below,
                None => return Ok(None),
            },
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_stand_where_the_view_names_them_and_the_others_after_them() {
        let hash = |byte: u8| [byte; 32];
        let carried = [hash(1), hash(2), hash(3)];
        assert_eq!(in_order_of_view(vec![], &carried), carried);
        // One of the block before, and one of this block that comes before another envelope's.
        assert_eq!(in_order_of_view(vec![hash(9), hash(3)], &carried), [hash(9), hash(3), hash(1), hash(2)]);
        // Two envelopes may name the same blob: each counts.
        assert_eq!(in_order_of_view(vec![hash(2), hash(2)], &carried[1..2]), [hash(2), hash(2)]);
    }
}
