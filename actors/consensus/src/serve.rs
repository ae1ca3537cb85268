//! Answers to others: frames for peers, blocks for the blob API.

use std::collections::VecDeque;
use std::sync::Arc;

use duskevm_blobs::api::beacon::{Block as BlobBlock, BlockId};
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::wire::{self, Frame, Inventory, Item};
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
/// Shown are the blobs of the block's own blob transactions, in their order.
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
    if let Some(known) = cache.lock().get(&block.header.hash) {
        return Ok(Some(if known.is_final == is_final {
            known
        } else {
            Arc::new(BlobBlock { is_final, ..(*known).clone() })
        }));
    }
    let shown = Arc::new(shown(&block, is_final)?);
    cache.lock().keep(block.header.hash, shown.clone());
    Ok(Some(shown))
}

fn shown(block: &AcceptedBlock, is_final: bool) -> Result<BlobBlock, ConsensusError> {
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
