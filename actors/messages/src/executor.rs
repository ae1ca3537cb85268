//! Messages to the executor, the only writer of L2 blocks and state.

pub mod engine;

use alloy_eips::BlockNumHash;
use alloy_primitives::B256;
use duskevm_evm::{Block, BlockAttributes, RecoveredTx};
use duskevm_supervision::Message;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Where the L2 chain stands. Published by the executor after every change, and once when it starts.
#[derive(Debug, Clone)]
pub struct ChainHeads {
    /// The newest block (*unsafe*).
    pub latest: Arc<Block>,
    /// The newest block derived from L1.
    pub safe: BlockNumHash,
    /// The newest block derived from final L1 blocks.
    pub finalized: BlockNumHash,
    /// Number of the newest block that would survive a power cut.
    pub durable: u64,
    /// The newest block that took the place of an unsafe one because L1 has it: announced blocks from its number on are void if it is
    /// an ancestor of the safe block or that block itself.
    pub replaced: Option<BlockNumHash>,
}

/// The feed of [`ChainHeads`]; `None` until the executor has opened its database for the first time.
pub type HeadsFeed = watch::Receiver<Option<Arc<ChainHeads>>>;

/// Why the executor did not do what was asked. An answer, not a fault: the executor goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutorRefusal {
    /// The block to build on is not the head.
    #[error("the head is block {head_number} {head}, not {wanted}: build on the head")]
    NotTheHead {
        /// What the head is.
        head: B256,
        /// Its number.
        head_number: u64,
        /// What was asked for.
        wanted: B256,
    },
    /// The parent of an imported block is unknown.
    #[error("parent {parent} of block {number} is unknown: import it first")]
    UnknownParent {
        /// The missing block.
        parent: B256,
        /// Number of its child.
        number: u64,
    },
    /// No block of this hash was built, or it was given up since.
    #[error("block {0} is not waiting to be inserted: import it")]
    NotPending(B256),
    /// The block does not follow the rules.
    #[error("invalid block: {0}")]
    Invalid(String),
    /// The change would undo finalized blocks.
    #[error("block {number} is not above the finalized block {finalized}: finalized blocks never change")]
    BelowFinalized {
        /// The block asked for.
        number: u64,
        /// The finalized one.
        finalized: u64,
    },
    /// The change would undo blocks that follow from L1.
    #[error("block {number} is not above the safe block {safe}: only derivation replaces safe blocks")]
    BelowSafe {
        /// The block asked for.
        number: u64,
        /// The safe one.
        safe: u64,
    },
    /// The change would undo blocks for which the database no longer has what that takes.
    #[error(
        "the chain cannot be taken back to block {number}: what came before block {oldest} is pruned (data.history_blocks); sync anew"
    )]
    BelowHistory {
        /// The block asked for.
        number: u64,
        /// The oldest one that is possible.
        oldest: u64,
    },
    /// The block is not known.
    #[error("block {0} is not in the database")]
    UnknownBlock(B256),
}

/// Build a block on the head; asked by the sequencer.
///
/// The block is executed and sealed but not inserted: that is [`Insert`]'s part, after the sequencer has written it to its journal.
/// Delivered twice it builds twice; the last block built is the one that waits.
#[derive(Debug, Clone)]
pub struct Build {
    /// The block to build on; must be the head.
    pub parent: B256,
    /// What it is built from.
    pub attributes: BlockAttributes,
    /// Transactions to try after the forced ones, best first.
    pub pool: Arc<[Arc<RecoveredTx>]>,
    /// When to stop taking transactions from the pool.
    pub until: Option<Instant>,
    /// How much data for L1 those may come to.
    pub da: DaLimits,
}

/// Bounds on the data that pool transactions come to on L1, in bytes by the estimate of Fjord; `None` is no bound. What does not fit
/// stays in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DaLimits {
    /// Each of them.
    pub transaction: Option<u64>,
    /// All of a block.
    pub block: Option<u64>,
}

impl DaLimits {
    /// The narrower bound of each kind.
    pub fn and(self, other: Self) -> Self {
        let narrower = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self { transaction: narrower(self.transaction, other.transaction), block: narrower(self.block, other.block) }
    }
}

/// The bounds that a batcher outside of this node has set (`miner_setMaxDASize`), for whoever builds blocks. They outlive actors, and
/// hold until others are set or the process ends: op-batcher repeats them.
#[derive(Debug, Clone, Default)]
pub struct DaOrders(tokio::sync::watch::Sender<DaLimits>);

impl DaOrders {
    /// Sets them.
    pub fn set(&self, limits: DaLimits) {
        self.0.send_replace(limits);
    }

    /// What was set last; no bounds at the start.
    pub fn limits(&self) -> DaLimits {
        *self.0.borrow()
    }
}

/// A block that waits to be inserted.
#[derive(Debug, Clone)]
pub struct Built {
    /// The block.
    pub block: Arc<Block>,
    /// Pool transactions that cannot be executed on this state, with the reason: the pool should drop them.
    pub invalid: Vec<(B256, String)>,
    /// Time spent executing.
    pub execution: Duration,
}

impl Message for Build {
    type Reply = Result<Built, ExecutorRefusal>;
    const NAME: &'static str = "build";
}

/// Insert the block that was built last and make it the head; asked by the sequencer once the block is in its journal.
///
/// Idempotent: a block that is the head already is fine.
#[derive(Debug, Clone, Copy)]
pub struct Insert {
    /// Hash of the block.
    pub hash: B256,
}

impl Message for Insert {
    type Reply = Result<(), ExecutorRefusal>;
    const NAME: &'static str = "insert";
    const IDEMPOTENT: bool = true;
}

/// Execute a block made elsewhere (or before a restart), store it and make it the head; asked by the sequencer from its journal, by
/// gossip. It must be an L2 block of this rollup that can stand on its parent, or it is refused as invalid before it is executed. If its
/// parent is an ancestor of the head, the blocks in between are reorganized out, but never a safe one.
///
/// Idempotent: a canonical block is not executed again and the head does not move back.
#[derive(Debug, Clone)]
pub struct Import {
    /// The block.
    pub block: Arc<Block>,
}

impl Message for Import {
    type Reply = Result<(), ExecutorRefusal>;
    const NAME: &'static str = "import";
    const IDEMPOTENT: bool = true;
}

/// Make an ancestor of the head the head again; asked by the sequencer (see [`ResetTo`](crate::sequencer::ResetTo)), by derivation
/// when L1 was reorganized. Safe blocks stay: who wants to drop them moves the label first.
///
/// Idempotent. The transactions of the dropped blocks go back to the pool.
#[derive(Debug, Clone, Copy)]
pub struct Rewind {
    /// The block that becomes the head.
    pub to: B256,
}

impl Message for Rewind {
    type Reply = Result<(), ExecutorRefusal>;
    const NAME: &'static str = "rewind";
    const IDEMPOTENT: bool = true;
}

/// Make the block that L1 prescribes the child of `parent`, and the safe head; asked by derivation when the chain has no such block.
///
/// What the chain has above `parent` instead is reorganized out; the transactions in it go back to the pool. If the attributes make
/// no valid block, `otherwise` is built (holocene/derivation.md, "Engine queue"). Idempotent: a block that is in the chain already
/// stays there with all that was built on it.
#[derive(Debug, Clone)]
pub struct Derive {
    /// The block to build on: canonical, and not below the safe one.
    pub parent: B256,
    /// What L1 prescribes; `None` if its transactions cannot be decoded.
    pub attributes: Option<BlockAttributes>,
    /// The same without the transactions of the batch: deposits only.
    pub otherwise: Option<BlockAttributes>,
}

/// A block that follows from L1.
#[derive(Debug, Clone)]
pub struct Derived {
    /// The block.
    pub block: Arc<Block>,
    /// Why the attributes made no valid block, if it is the other one.
    pub invalid: Option<String>,
    /// How many blocks it replaced.
    pub replaced: u64,
}

impl Message for Derive {
    type Reply = Result<Derived, ExecutorRefusal>;
    const NAME: &'static str = "derive";
    const IDEMPOTENT: bool = true;
}

/// Note which block is safe once everything up to an L1 block has been read; asked by derivation after each L1 block. Idempotent.
#[derive(Debug, Clone, Copy)]
pub struct NoteSafeHead {
    /// The L1 block, by number and hash of the view, and the safe head. What was noted for later L1 blocks is forgotten; `None` forgets
    /// everything.
    pub at: Option<(BlockNumHash, BlockNumHash)>,
}

impl Message for NoteSafeHead {
    type Reply = ();
    const NAME: &'static str = "note_safe_head";
    const IDEMPOTENT: bool = true;
}

/// Move the safe and finalized labels; asked by derivation. Idempotent; labels never move above the head, `finalized` never back.
#[derive(Debug, Clone, Copy)]
pub struct SetLabels {
    /// New safe block, if it changes.
    pub safe: Option<B256>,
    /// New finalized block, if it changes.
    pub finalized: Option<B256>,
}

impl Message for SetLabels {
    type Reply = Result<(), ExecutorRefusal>;
    const NAME: &'static str = "set_labels";
    const IDEMPOTENT: bool = true;
}
