//! What can go wrong in derivation itself. What goes wrong at its neighbours is waited out, not an error.

use duskevm_rollup::{BlockRefError, SyncError};
use duskevm_store::l2::L2Error;
use duskevm_supervision::{ActorError, FenceError, Reaction};

/// A failure of derivation.
#[derive(Debug, thiserror::Error)]
pub enum DerivationError {
    /// The L2 database cannot be read.
    #[error(transparent)]
    Store(#[from] L2Error),
    /// A stored block cannot be decoded.
    #[error(
        "L2 block {number} of the database is damaged ({why}): run `duskevm db check`, or start from a copy of the data folder"
    )]
    Damaged {
        /// Its number.
        number: u64,
        /// What is wrong.
        why: String,
    },
    /// A block of the chain is no block of this rollup.
    #[error(
        "L2 block {number} is not of this rollup: {source}; if it counts as safe the data folder is another network's or damaged: delete the L2 data to sync anew"
    )]
    Foreign {
        /// Its number.
        number: u64,
        /// What is wrong.
        source: BlockRefError,
    },
    /// L1 and the L2 chain of this node do not belong together.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Another instance has taken over.
    #[error(transparent)]
    Fenced(#[from] FenceError),
}

impl DerivationError {
    /// The L2 block to blame for a failure that is over once this block and all above it are given up. Whoever holds the sequencer's
    /// key can put an unsafe block there that L1 will never have; no safe one.
    pub(crate) const fn block(&self) -> Option<u64> {
        match self {
            Self::Foreign { number, .. } => Some(*number),
            Self::Sync(error) => error.block(),
            Self::Store(_) | Self::Damaged { .. } | Self::Fenced(_) => None,
        }
    }
}

impl ActorError for DerivationError {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Store(L2Error::Damaged { .. }) | Self::Damaged { .. } | Self::Foreign { .. } => Reaction::Abort,
            Self::Store(L2Error::Db(error)) if error.is_damage() => Reaction::Abort,
            // The executor reopens the database; then it can be read again.
            Self::Store(_) | Self::Fenced(_) => Reaction::RestartSelf,
            Self::Sync(error) => match error {
                SyncError::L1Moved(_) => RESTART,
                // Nothing here gets better by itself, and to go on would derive from the wrong L1. Unsafe blocks that are to blame
                // were given up before.
                SyncError::Finalized(_)
                | SyncError::WrongGenesis { .. }
                | SyncError::TooDeep { .. }
                | SyncError::Chain { .. } => Reaction::Abort,
            },
        }
    }
}

/// It keeps nothing: a new instance begins the search again.
const RESTART: Reaction = Reaction::RestartSelf;
