//! What can go wrong in the sequencer itself. What goes wrong at its neighbours is waited out, not an error.

use crate::guard::SealConflict;
use duskevm_fence::FenceError;
use duskevm_rollup::BlockRefError;
use duskevm_store::journal::JournalError;
use duskevm_supervision::{ActorError, Reaction};

/// A failure of the sequencer.
#[derive(Debug, thiserror::Error)]
pub enum SequencerError {
    /// The journal cannot be written or read.
    #[error("journal of sealed blocks: {0}")]
    Journal(#[from] JournalError),
    /// A record of the journal is not what this program writes.
    #[error(
        "record {record} of the journal of sealed blocks is not a block ({why}): move the journal away only if another node has its blocks"
    )]
    Record {
        /// Its number.
        record: u64,
        /// What is wrong.
        why: String,
    },
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// A second block at a sealed height.
    #[error(transparent)]
    Conflict(#[from] SealConflict),
    /// The head of the chain is no block of this rollup.
    #[error("the head of the chain is not of this rollup: {0}")]
    Head(#[from] BlockRefError),
}

impl ActorError for SequencerError {
    fn reaction(&self) -> Reaction {
        match self {
            // A write that failed may work after the file is opened again; what was not synced was not announced.
            Self::Journal(JournalError::Damaged { .. } | JournalError::TooLarge { .. })
            | Self::Record { .. }
            | Self::Head(_) => Reaction::Abort,
            Self::Journal(JournalError::Io { .. } | JournalError::ReopenNeeded { .. } | JournalError::Fenced(_))
            | Self::Fenced(_) => Reaction::RestartSelf,
            // The chain went back below a block that was announced: sequencing on would equivocate. The loop waits this out.
            Self::Conflict(_) => Reaction::Degrade,
        }
    }
}
