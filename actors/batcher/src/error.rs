//! What can go wrong in the batcher itself. What goes wrong at its neighbours is waited out, not an error.

use duskevm_batcher_core::{RecordError, ReplayError};
use duskevm_rollup::BlockRefError;
use duskevm_store::{journal::JournalError, l2::L2Error};
use duskevm_supervision::{ActorError, Reaction};

/// A failure of the batcher.
#[derive(Debug, thiserror::Error)]
pub enum BatcherError {
    /// The journal cannot be written or read.
    #[error("journal of the batcher: {0}")]
    Journal(#[from] JournalError),
    /// A record of the journal is not what this program writes.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The records do not go together.
    #[error(transparent)]
    Replay(#[from] ReplayError),
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
    #[error("L2 block {number} is not of this rollup: {source}")]
    Foreign {
        /// Its number.
        number: u64,
        /// What is wrong.
        source: BlockRefError,
    },
    /// The worker died with the state, which the journal has.
    #[error("the worker of the batcher died: {0}")]
    Worker(String),
}

impl ActorError for BatcherError {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Journal(JournalError::Damaged { .. } | JournalError::TooLarge { .. })
            | Self::Record(_)
            | Self::Replay(_)
            | Self::Store(L2Error::Damaged { .. })
            | Self::Damaged { .. }
            | Self::Foreign { .. } => Reaction::Abort,
            // What was not written was not submitted; the database is reopened by the executor.
            Self::Journal(JournalError::Io { .. } | JournalError::ReopenNeeded { .. } | JournalError::Fenced(_))
            | Self::Store(_)
            | Self::Worker(_) => Reaction::RestartSelf,
        }
    }
}
