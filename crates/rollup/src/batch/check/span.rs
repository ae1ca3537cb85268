//! Span batches: the rules about the whole span, then its blocks one by one.

use super::{BatchContext, DropReason, Missing, Validity};
use crate::{
    batch::{SingularBatch, SpanBatch, SpanBlocks},
    config::{BlockId, RollupConfig},
    origin::L2BlockRef,
};
use Validity::{Drop, Undecided};
use alloc::vec::Vec;
use alloy_primitives::B256;

/// May the span follow on the safe head, as far as its ends tell?
///
/// A span may overlap with the safe chain. It is then judged by the L2 block before its first one: the judgement is
/// [`Missing::L2Block`], and the same batch is to be judged again with that block as `parent`. Otherwise `parent` is not looked at.
pub fn check_span_prefix(context: &BatchContext<'_>, batch: &SpanBatch, parent: Option<&L2BlockRef>) -> Validity {
    let BatchContext { config, l1_blocks, safe_head, inclusion } = *context;
    let Some(epoch) = l1_blocks.first() else { return Undecided(Missing::L1Blocks) };
    let start_epoch = batch.start_epoch();
    let start_origin = if epoch.number.checked_add(1) == Some(start_epoch) {
        match l1_blocks.get(1) {
            Some(next) => next,
            None => return Undecided(Missing::NextL1Block),
        }
    } else {
        epoch
    };
    if !RollupConfig::active(config.delta_time, start_origin.timestamp) {
        return Drop(DropReason::BeforeDelta);
    }
    let (first, last) = (batch.first_timestamp(config), batch.last_timestamp(config));
    let next_timestamp = context.next_timestamp();
    if first > next_timestamp {
        return context.future(DropReason::Future);
    }
    if last < next_timestamp {
        return context.past(DropReason::Past);
    }
    let parent = if first < next_timestamp {
        let Some(behind) = safe_head.timestamp.checked_sub(first) else { return Drop(DropReason::Misaligned) };
        if behind.checked_rem(config.block_time) != Some(0) {
            return Drop(DropReason::Misaligned);
        }
        let overlapping = behind / config.block_time + 1;
        let Some(number) =
            safe_head.number.checked_sub(overlapping).filter(|number| *number >= config.genesis.l2.number)
        else {
            return Undecided(Missing::BeforeGenesis);
        };
        match parent.filter(|parent| parent.number == number) {
            Some(parent) => parent,
            None => return Undecided(Missing::L2Block(number)),
        }
    } else {
        safe_head
    };
    if parent.hash[..20] != batch.parent_check()[..] {
        return Drop(DropReason::Parent);
    }
    if start_epoch.saturating_add(config.seq_window_size) < inclusion.number {
        return Drop(DropReason::WindowExpired);
    }
    if start_epoch > parent.l1_origin.number.saturating_add(1) {
        return Drop(DropReason::EpochTooNew);
    }
    match l1_blocks.iter().find(|block| block.number == batch.last_epoch()) {
        None => return Undecided(Missing::SpanOrigin(batch.last_epoch())),
        Some(origin) if origin.hash[..20] != batch.l1_origin_check()[..] => return Drop(DropReason::EpochHash),
        Some(_) => {}
    }
    if start_epoch < parent.l1_origin.number {
        return Drop(DropReason::EpochTooOld);
    }
    Validity::Accept
}

/// The blocks of a span that the safe chain has already, one at a time: they must be those of the safe chain. To be used once
/// [`check_span_prefix`] has accepted the span, and before [`expand_span`].
///
/// Source: holocene/derivation.md, "Span Batches", and delta/span-batches.md, "Overlapped blocks checks"; Holocene has kept them since
/// ethereum-optimism/specs#928.
#[derive(Debug, Clone)]
pub struct OverlapWalk {
    blocks: SpanBlocks,
    number: u64,
    safe: u64,
}

impl OverlapWalk {
    /// Begins at the first block of the span, which comes after the block of number `parent`.
    pub fn new(config: &RollupConfig, batch: &SpanBatch, parent: u64, safe_head: &L2BlockRef) -> Self {
        Self { blocks: batch.blocks(config), number: parent.saturating_add(1), safe: safe_head.number }
    }

    /// Number of the next block that is in both; `None` if there is none any more.
    pub fn next(&self) -> Option<u64> {
        (self.number <= self.safe && self.blocks.next_timestamp().is_some()).then_some(self.number)
    }

    /// Compares the next block with that of the safe chain, as a batch holds it: the transactions byte for byte, and the number of the
    /// L1 origin.
    ///
    /// # Errors
    /// [`DropReason::Overlap`].
    pub fn compare(&mut self, safe: &SingularBatch) -> Result<(), DropReason> {
        let (number, block) = (self.number, self.blocks.next());
        self.number = self.number.saturating_add(1);
        let same = block
            .is_some_and(|block| block.epoch_number == safe.epoch.number && block.transactions == safe.transactions);
        if same { Ok(()) } else { Err(DropReason::Overlap(number)) }
    }
}

/// Why a span batch whose prefix was accepted has no blocks to give. It is then to be treated like a dropped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpanExpandError {
    /// The first new block has an older epoch than the safe head.
    #[error("the first new block of the span has epoch {found}, the safe head has {safe}")]
    EpochTooOld {
        /// Epoch of the first new block.
        found: u64,
        /// Epoch of the safe head.
        safe: u64,
    },
    /// An epoch of the span is not among the L1 blocks.
    #[error("L1 block {0}, epoch of a block of the span, is not known")]
    UnknownEpoch(u64),
}

/// The new blocks of a span batch as singular batches, made one at a time.
#[derive(Debug, Clone)]
pub struct ExpandedSpan {
    blocks: SpanBlocks,
    /// The L1 blocks of the span's remaining epochs, in order.
    origins: Vec<BlockId>,
}

/// The blocks of a span that come after the safe head. [`check_span_prefix`] has accepted it in the same context.
///
/// # Errors
/// See [`SpanExpandError`].
pub fn expand_span(context: &BatchContext<'_>, batch: &SpanBatch) -> Result<ExpandedSpan, SpanExpandError> {
    let mut blocks = batch.blocks(context.config);
    while blocks.next_timestamp().is_some_and(|timestamp| timestamp <= context.safe_head.timestamp) {
        blocks.skip_block();
    }
    let Some(first) = blocks.next_epoch() else { return Ok(ExpandedSpan { blocks, origins: Vec::new() }) };
    let safe = context.safe_head.l1_origin.number;
    if first < safe {
        return Err(SpanExpandError::EpochTooOld { found: first, safe });
    }
    // Epochs grow by one at a time, so all of them are known if the ends are.
    let last = batch.last_epoch();
    let known = |number| context.l1_blocks.iter().position(|block| block.number == number);
    let from = known(first).ok_or(SpanExpandError::UnknownEpoch(first))?;
    let to = known(last).filter(|to| from <= *to).ok_or(SpanExpandError::UnknownEpoch(last))?;
    let origins = context.l1_blocks.iter().take(to + 1).skip(from);
    Ok(ExpandedSpan {
        blocks,
        origins: origins.map(|block| BlockId { hash: block.hash, number: block.number }).collect(),
    })
}

impl ExpandedSpan {
    /// Time of the next block in seconds; `None` if there is none.
    pub fn next_timestamp(&self) -> Option<u64> {
        self.blocks.next_timestamp()
    }

    /// The next block, on this parent; `None` if there is none. A span says nothing of the parents of its later blocks.
    pub fn next_batch(&mut self, parent_hash: B256) -> Option<SingularBatch> {
        let block = self.blocks.next()?;
        let epoch = self.origins.iter().find(|origin| origin.number == block.epoch_number).copied()?;
        Some(SingularBatch { parent_hash, epoch, timestamp: block.timestamp, transactions: block.transactions })
    }
}
