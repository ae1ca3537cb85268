//! What can go wrong in the actor, and what it means.

use duskevm_pool::AccountReadError;
use duskevm_supervision::{ActorError, Reaction};

use crate::log::LogError;

/// A failure of the pool actor. A refused transaction is none.
#[derive(Debug, thiserror::Error)]
pub enum TxPoolError {
    /// The journal could not be opened or written.
    #[error("the journal of the transaction pool failed: {0}; check the disk and its free space")]
    Journal(#[source] LogError),
    /// The journal holds something that is not of this version.
    #[error(
        "record {index} of the transaction pool's journal cannot be read ({reason}): it was written by another version; move the file away to start with an empty pool"
    )]
    Record {
        /// Position in the journal.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The writer's thread could not be started.
    #[error("no thread for the journal: {0}")]
    Thread(#[source] std::io::Error),
    /// The executor has published no head in time.
    #[error("no L2 head after {0:?}: the executor has not opened its database yet")]
    NoHead(std::time::Duration),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] AccountReadError),
}

impl ActorError for TxPoolError {
    fn reaction(&self) -> Reaction {
        match self {
            // Another start would read the same bytes.
            Self::Journal(error) if error.is_permanent() => Reaction::Abort,
            // What is in memory may not be on disk: begin again from what is.
            Self::Journal(_) | Self::Thread(_) | Self::NoHead(_) => Reaction::RestartSelf,
            Self::Record { .. } => Reaction::Abort,
            // The pool stays at its head and follows with the next try.
            Self::State(_) => Reaction::Retry,
        }
    }
}
