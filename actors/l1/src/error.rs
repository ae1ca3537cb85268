//! What can go wrong in the actor, and what it means.

use duskevm_l1_view::{DecodeError, ViewError};
use duskevm_store::l1::L1StoreError;
use duskevm_supervision::{ActorError, FenceError, Reaction};

/// A failure of the L1 port. A backend that does not answer is none: it is asked again.
#[derive(Debug, thiserror::Error)]
pub enum L1Error {
    /// The database failed.
    #[error("the store of the L1 view failed: {0}")]
    Store(#[from] L1StoreError),
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// A stored view block is not what was stored.
    #[error("view block {number} cannot be read from the store ({error}): the view is made again")]
    Stored {
        /// Number of the block.
        number: u64,
        /// What is wrong.
        error: DecodeError,
    },
    /// A stored view block is missing below the cursor.
    #[error("view block {0} is missing from the store: the view is made again")]
    Missing(u64),
    /// A Dusk block has no view.
    #[error("the L1 has a block that cannot be shown to L2: {0}")]
    View(#[from] ViewError),
    /// The backend follows another chain than the stored view, from the genesis block on.
    #[error(
        "the L1 backend's genesis block is not the one of the stored view: connect to the right network, or use a new data directory"
    )]
    OtherChain,
    /// The backend replaced a block that was final.
    #[error(
        "the L1 backend replaced final block {number}: nothing that was built on it can be trusted; find out which L1 node is wrong"
    )]
    FinalReplaced {
        /// Number of the block.
        number: u64,
    },
    /// The backend answered with another block than it was asked for.
    #[error("the L1 backend answered with block {got} instead of {wanted}")]
    WrongBlock {
        /// What was asked for.
        wanted: u64,
        /// What came.
        got: u64,
    },
}

impl ActorError for L1Error {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Store(_) | Self::Fenced(_) | Self::WrongBlock { .. } => Reaction::RestartSelf,
            // The view is a function of the L1 blocks: it can always be made again.
            Self::Stored { .. } | Self::Missing(_) => Reaction::ResetChainState,
            Self::View(_) | Self::OtherChain | Self::FinalReplaced { .. } => Reaction::Abort,
        }
    }
}
