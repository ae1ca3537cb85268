//! Which batches may follow on a safe head.
//!
//! Pure functions of a batch and of what is known of both chains. The rules are those of Holocene; where earlier forks differ,
//! the time of the L1 block that included the batch decides.
//!
//! Source: OP Stack specification, derivation.md, "Batch queue"; delta/span-batches.md; holocene/derivation.md, "Span batches" and
//! "Batch queue"; isthmus and jovian/derivation.md.

mod singular;
mod span;
#[cfg(test)]
mod tests;

pub use singular::check_singular;
pub use span::{ExpandedSpan, OverlapWalk, SpanExpandError, check_span_prefix, expand_span};

use crate::{
    config::RollupConfig,
    origin::{L1BlockRef, L2BlockRef},
};

/// What is known when a batch is judged.
#[derive(Debug, Clone, Copy)]
pub struct BatchContext<'a> {
    /// The rollup's parameters.
    pub config: &'a RollupConfig,
    /// Consecutive L1 blocks in order, as far as the pipeline has seen them. The first one is the current epoch.
    pub l1_blocks: &'a [L1BlockRef],
    /// The L2 block that the batch is to follow on.
    pub safe_head: &'a L2BlockRef,
    /// The L1 block in which the batch's channel became complete.
    pub inclusion: &'a L1BlockRef,
}

impl BatchContext<'_> {
    /// Do the Holocene rules hold?
    fn holocene(&self) -> bool {
        RollupConfig::active(self.config.forks.holocene, self.inclusion.timestamp)
    }

    /// Time of the block after the safe head in seconds.
    const fn next_timestamp(&self) -> u64 {
        self.safe_head.timestamp.saturating_add(self.config.block_time)
    }

    /// What a batch in the future is.
    fn future(&self, reason: DropReason) -> Validity {
        if self.holocene() { Validity::Drop(reason) } else { Validity::Future }
    }

    /// What a batch in the past is.
    fn past(&self, reason: DropReason) -> Validity {
        if self.holocene() { Validity::Past } else { Validity::Drop(reason) }
    }
}

/// The judgement of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It follows on the safe head.
    Accept,
    /// All its blocks are part of the safe chain already: leave it out and go on. Holocene only.
    Past,
    /// It comes too early and may be valid later. Before Holocene only.
    Future,
    /// Something must be known first.
    Undecided(Missing),
    /// It is invalid. In Holocene the rest of its channel goes with it.
    Drop(DropReason),
}

/// What is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No L1 block at all. Give more of them and ask again: the answer must not depend on when it was asked.
    #[error("no L1 block is known")]
    L1Blocks,
    /// The L1 block after the current epoch. Give it and ask again.
    #[error("the L1 block after the current epoch is not known")]
    NextL1Block,
    /// The L2 block of this number, on which the span batch builds. Give it and ask again.
    #[error("L2 block {0} is needed, on which the span batch builds")]
    L2Block(u64),
    /// The L1 origin of the span batch's last block, which lies behind the L1 blocks that the pipeline has seen. All implementations
    /// have taken the batch from its channel by now and go on with the one after it, so this is as final as a drop.
    #[error("L1 block {0}, origin of the span batch's last block, lies behind the blocks seen so far")]
    SpanOrigin(u64),
    /// The span batch begins with the genesis block or before it, so that no block can be the one that it builds on. As final as
    /// [`Self::SpanOrigin`].
    #[error("the span batch begins before the block after genesis")]
    BeforeGenesis,
}

impl Missing {
    /// Will no further knowledge change the judgement? The batch is then left out without its channel, while for all else the same
    /// batch must be asked about again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::SpanOrigin(_) | Self::BeforeGenesis)
    }
}

/// Why a batch is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// Span batches are of a later fork.
    #[error("span batches are not active yet")]
    BeforeDelta,
    /// Its first block comes after a gap.
    #[error("the batch begins after the next block")]
    Future,
    /// The block is part of the safe chain already.
    #[error("the batch holds no new block")]
    Past,
    /// The blocks of a span do not fall on those of the safe chain.
    #[error("the blocks of the span batch do not line up with the safe chain")]
    Misaligned,
    /// A block of a span that the safe chain has already is not the one of the safe chain.
    #[error("block {0}, which the span batch repeats, is another one in the safe chain")]
    Overlap(u64),
    /// It follows on another block.
    #[error("the batch follows on another block")]
    Parent,
    /// It came after the sequencing window of its epoch.
    #[error("the batch was included after the sequencing window")]
    WindowExpired,
    /// Its epoch lies before the one that is current.
    #[error("the epoch is too old")]
    EpochTooOld,
    /// Its epoch skips an L1 block.
    #[error("the epoch skips an L1 block")]
    EpochTooNew,
    /// Its epoch is on another L1 chain.
    #[error("the L1 origin has another hash")]
    EpochHash,
    /// Its time is before that of its L1 origin.
    #[error("the block is older than its L1 origin")]
    BeforeOrigin,
    /// Its time is too far ahead of its L1 origin for a block with transactions.
    #[error("the block is too far ahead of its L1 origin to have transactions")]
    Drift,
    /// It keeps its L1 origin although the next one is due.
    #[error("past the drift the block must adopt the next L1 origin")]
    OriginDue,
    /// The block that activates this fork has transactions.
    #[error("the block that activates a fork must have no transactions")]
    ActivationBlock,
    /// A transaction of no bytes.
    #[error("transaction {0} is empty")]
    EmptyTx(usize),
    /// A deposit, which only L1 can make.
    #[error("transaction {0} is a deposit")]
    Deposit(usize),
    /// A set-code transaction before Isthmus.
    #[error("transaction {0} sets code, which Isthmus allows first")]
    SetCode(usize),
}
