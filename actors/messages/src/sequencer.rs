//! Messages to the sequencer, which makes the blocks of the chain.

use crate::executor::ExecutorRefusal;
use alloy_primitives::B256;
use duskevm_supervision::{AskError, Message};
use tokio::sync::watch;

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

/// What an operator has told the sequencer. It outlives the instances of the actor, and not the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequencing {
    /// Whether it makes blocks.
    pub active: bool,
    /// Whether it leaves users' transactions out and takes the newest L1 origin that the rules allow.
    pub recovering: bool,
}

/// The feed of [`Sequencing`], published by the sequencer.
pub type SequencingFeed = watch::Receiver<Sequencing>;

/// Why the sequencer did not begin to make blocks. The first words are op-node's, by which its clients know the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartRefusal {
    /// It does already.
    #[error("sequencer already running")]
    Running,
    /// It is being stopped, and the block under way is not finished.
    #[error("the sequencer is being stopped: try again when it has")]
    Stopping,
    /// The chain is not open.
    #[error("no prestate, cannot determine if sequencer start at {0} is safe: the chain is being opened, try again")]
    NoChain(B256),
    /// The head is another block: two sequencers could have made blocks of one height.
    #[error("block hash does not match: head {head} (block {number}), received {received}")]
    OtherHead {
        /// The head.
        head: B256,
        /// Its number.
        number: u64,
        /// What was named.
        received: B256,
    },
}

/// Begin to make blocks on this head; asked by the RPC for `admin_startSequencer`. Not idempotent: a second one is refused.
#[derive(Debug, Clone, Copy)]
pub struct StartSequencing {
    /// Must be the unsafe head.
    pub head: B256,
}

impl Message for StartSequencing {
    type Reply = Result<(), StartRefusal>;
    const NAME: &'static str = "start_sequencing";
}

/// The sequencer makes no blocks. The words are op-node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sequencer not running")]
pub struct NotSequencing;

/// Make no more blocks; asked by the RPC for `admin_stopSequencer`. The block under way, and one that is in the journal, is finished
/// first. The reply is the unsafe head then (zero if the chain is not open), on which another sequencer may go on. Whoever asks again meanwhile
/// gets the same reply; afterwards it is [`NotSequencing`].
#[derive(Debug, Clone, Copy)]
pub struct StopSequencing;

impl Message for StopSequencing {
    type Reply = Result<B256, NotSequencing>;
    const NAME: &'static str = "stop_sequencing";
}

/// Recover, or end that: see [`Sequencing::recovering`]; asked by the RPC for `admin_setRecoverMode`. Idempotent.
#[derive(Debug, Clone, Copy)]
pub struct SetRecovery {
    /// Whether to.
    pub on: bool,
}

impl Message for SetRecovery {
    type Reply = ();
    const NAME: &'static str = "set_recovery";
    const IDEMPOTENT: bool = true;
}
