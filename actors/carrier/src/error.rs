//! What can go wrong in the carrier itself. What goes wrong at its neighbours is waited out, not an error.

use duskevm_carrier_core::{RecordError, ReplayError};
use duskevm_store::journal::JournalError;
use duskevm_supervision::{ActorError, Reaction};

/// A failure of the carrier.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// The journal cannot be written or read.
    #[error("journal of the carrier: {0}")]
    Journal(#[from] JournalError),
    /// A record of the journal is not what this program writes.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The records do not go together.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A worker died.
    #[error("a worker of the carrier died: {0}")]
    Worker(String),
}

impl ActorError for CarrierError {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Journal(JournalError::Damaged { .. } | JournalError::TooLarge { .. })
            | Self::Record(_)
            | Self::Replay(_) => Reaction::Abort,
            // What was not written was not promised, and not submitted.
            Self::Journal(JournalError::Io { .. } | JournalError::ReopenNeeded { .. } | JournalError::Fenced(_))
            | Self::Worker(_) => Reaction::RestartSelf,
        }
    }
}
