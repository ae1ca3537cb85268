//! Messages of a consensus client that drives the executor through the Engine API, where nobody else does: no sequencer, no
//! derivation, no gossip.
//!
//! Blocks that it offers or has built wait on the side, executed, until a forkchoice state makes one of them the head. The side is in
//! memory and bounded: after a restart of the process, or when newer blocks took its place, a block is unknown again. A restart of the
//! executor loses none.

use super::{DaLimits, ExecutorRefusal};
use alloy_primitives::{B256, U256};
use duskevm_engine_api::{EngineError, ForkchoiceState, forkchoice::BlockRef};
use duskevm_evm::{Block, BlockAttributes, RecoveredTx};
use duskevm_supervision::{Generation, Message};
use std::{sync::Arc, time::Instant};
use tokio::sync::watch;

/// Execute a block on its parent's state and keep it on the side; asked by the Engine API for `engine_newPayload`.
///
/// The head stays. Idempotent: a block that is known is not executed again.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The block.
    pub block: Arc<Block>,
}

/// What became of an offered block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// It is in the chain, or on the side with all its ancestors above the chain: a forkchoice state can make it the head.
    Valid,
    /// It does not follow the rules, or it descends from a block that does not.
    Invalid {
        /// Which rule.
        why: String,
        /// Its nearest ancestor that is valid; `None` if that one is not known any more.
        latest_valid: Option<B256>,
    },
    /// Its parent is not known, neither in the chain nor on the side; or its ancestors on the side do not lead to the chain, or only
    /// over more blocks than are executed beside it.
    UnknownParent,
}

impl Message for Offer {
    /// A refusal is only [`BelowHistory`](ExecutorRefusal::BelowHistory): the state of its parent is pruned.
    type Reply = Result<Offered, ExecutorRefusal>;
    const NAME: &'static str = "offer";
    const IDEMPOTENT: bool = true;
}

/// Move the head and the labels, all at once for whoever reads; asked by the Engine API for `engine_forkchoiceUpdated`. Idempotent.
///
/// The transactions of blocks that leave the chain go back to the pool. Safe blocks are taken back if the state says so, final ones never.
#[derive(Debug, Clone, Copy)]
pub struct Forkchoice {
    /// The head and the labels.
    pub state: ForkchoiceState,
}

/// What became of a forkchoice state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// The head and the labels are where it says.
    Updated {
        /// The head.
        head: Arc<Block>,
    },
    /// The head is a block of the chain below the final one: nothing was changed and nothing is to be built.
    BelowFinalized(BlockRef),
    /// The head is not known, or not connected to the chain: nothing was changed.
    Syncing,
    /// The head was offered and is invalid: nothing was changed.
    Invalid {
        /// Which rule it broke.
        why: String,
        /// Its nearest ancestor that is valid; `None` if that one is not known any more.
        latest_valid: Option<B256>,
    },
}

/// Why a forkchoice state cannot be taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkchoiceRefusal {
    /// It contradicts itself, or what is final.
    #[error(transparent)]
    Contradiction(#[from] EngineError),
    /// The way to its head cannot be gone.
    #[error(transparent)]
    Chain(#[from] ExecutorRefusal),
}

impl Message for Forkchoice {
    type Reply = Result<Chosen, ForkchoiceRefusal>;
    const NAME: &'static str = "forkchoice";
    const IDEMPOTENT: bool = true;
}

/// What the consensus client has said so far: it is another one after each forkchoice state that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mandate {
    /// The instance of the executor. What an earlier one was told is not known to it.
    pub generation: Generation,
    /// Forkchoice states that it has taken.
    pub taken: u64,
}

/// A head that the consensus client wants, and that is not here or not connected to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its hash.
    pub head: B256,
    /// With what the chain may be led there.
    pub mandate: Mandate,
}

/// The feed of [`Wanted`], for whoever brings missing blocks: sent each time that a head is wanted, and `None` once the client has one, or
/// the wanted one is [condemned](Condemn).
pub type WantedFeed = watch::Receiver<Option<Wanted>>;

/// Make an offered block the head and leave the labels as they are; asked by backfill, on the way to a head that the consensus client
/// wants. Idempotent.
///
/// The client's commands come first: one that was taken since the head was wanted ends the mandate.
#[derive(Debug, Clone, Copy)]
pub struct Advance {
    /// What the head must be.
    pub from: B256,
    /// What becomes the head.
    pub to: B256,
    /// That of [`Wanted`].
    pub mandate: Mandate,
}

/// What became of an [`Advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    /// The block is the head.
    Done,
    /// The mandate is over, or the head is another one: nothing was changed.
    Superseded,
    /// The block is not known: offer it (again).
    Unknown,
}

impl Message for Advance {
    type Reply = Result<Advanced, ForkchoiceRefusal>;
    const NAME: &'static str = "advance";
    const IDEMPOTENT: bool = true;
}

/// Remember that a wanted head is invalid, because a block that it descends from is; asked by backfill, to which [`Offer`] said that of
/// the block. Idempotent.
///
/// From then on the head is answered as [invalid](Chosen::Invalid), and is not wanted any more. A head that is in the chain, or was found
/// valid, stays what it is.
#[derive(Debug, Clone)]
pub struct Condemn {
    /// The head.
    pub head: B256,
    /// Which rule its ancestor broke.
    pub why: String,
    /// The nearest ancestor that is valid; `None` if that one is not known any more.
    pub latest_valid: Option<B256>,
}

impl Message for Condemn {
    type Reply = ();
    const NAME: &'static str = "condemn";
    const IDEMPOTENT: bool = true;
}

/// Build a block on the head and keep it on the side; asked by the Engine API. Delivered twice it builds twice.
#[derive(Debug, Clone)]
pub struct BuildPayload {
    /// The block to build on; must be the head.
    pub parent: B256,
    /// What it is built from.
    pub attributes: BlockAttributes,
    /// Is it to be a block of the forced transactions and nothing else, as L1 gives them? Such a block can be built again; any other,
    /// also without a transaction of the pool, is the consensus client's own, and only here.
    pub no_tx_pool: bool,
    /// Transactions to try after the forced ones, best first; empty for a block of forced ones only.
    pub pool: Arc<[Arc<RecoveredTx>]>,
    /// When to stop taking transactions from the pool.
    pub until: Option<Instant>,
    /// How much data for L1 those may come to.
    pub da: DaLimits,
}

/// A block that was built for the Engine API.
#[derive(Debug, Clone)]
pub struct BuiltPayload {
    /// The block.
    pub block: Arc<Block>,
    /// What its fee recipient earns by priority fees, in wei.
    pub value: U256,
    /// Pool transactions that cannot be executed on this state, with the reason: the pool should drop them.
    pub invalid: Vec<(B256, String)>,
}

impl Message for BuildPayload {
    type Reply = Result<BuiltPayload, ExecutorRefusal>;
    const NAME: &'static str = "build_payload";
}
