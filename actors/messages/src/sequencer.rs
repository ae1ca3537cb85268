//! Messages to the sequencer, which makes the blocks of the chain.

use crate::executor::ExecutorRefusal;
use alloy_primitives::B256;
use duskevm_supervision::{AskError, Message};

/// Why the sequencer did not reset the chain. Nothing has changed, or the same request completes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResetRefusal {
    /// The block cannot become the head.
    #[error(transparent)]
    Executor(#[from] ExecutorRefusal),
    /// The executor did not answer.
    #[error("the chain was not taken back: {0}")]
    Unavailable(#[from] AskError),
}

/// Take the chain back to an ancestor of the head, and forget that later blocks were sealed; asked by derivation when L1 has
/// replaced blocks, so that unsafe blocks above the given one do not follow from it any more. The only way to get other blocks
/// at heights that were announced: whoever sends it answers for that.
///
/// The sequencer gives up what is under way, lets the executor rewind, notes the reset in its journal, and goes on from there. A
/// rewind behind its back would be undone with the blocks of its journal. Idempotent.
#[derive(Debug, Clone, Copy)]
pub struct ResetTo {
    /// Number of the block that becomes the head.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

impl Message for ResetTo {
    type Reply = Result<(), ResetRefusal>;
    const NAME: &'static str = "reset_to";
    const IDEMPOTENT: bool = true;
}
