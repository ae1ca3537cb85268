//! What can go wrong in backfill itself. What the source does or does not is waited out, not an error.

use duskevm_supervision::{ActorError, FenceError, Reaction};

/// A failure of backfill.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// No client can be made for the URL.
    #[error("`engine_api.sync_from`: {0}")]
    Source(String),
    /// Another instance has taken over.
    #[error(transparent)]
    Fenced(#[from] FenceError),
}

impl ActorError for BackfillError {
    fn reaction(&self) -> Reaction {
        match self {
            // The next start would do the same again.
            Self::Source(_) => Reaction::Abort,
            Self::Fenced(_) => Reaction::RestartSelf,
        }
    }
}
