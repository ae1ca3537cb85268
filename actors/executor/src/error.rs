//! What can go wrong in the executor itself. A block that is invalid, or a request that does not fit the chain, is an answer instead.

use crate::state::SnapshotError;
use duskevm_fence::FenceError;
use duskevm_store::{db::DbError, journal::JournalError, l2::L2Error};
use duskevm_supervision::{ActorError, Reaction};
use std::path::PathBuf;

/// A failure of the executor.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The database.
    #[error(transparent)]
    Store(#[from] L2Error),
    /// Blocks were being taken out: how many are gone is on the disk.
    #[error("taking the chain back stopped half-way: {0}")]
    Rewind(#[source] Box<L2Error>),
    /// The state could not be read.
    #[error("reading the state: {0}")]
    State(#[from] SnapshotError),
    /// The journal of what a consensus client was answered.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record of it, which was intact on disk, makes no sense.
    #[error("record {record} of the journal {path} makes no sense ({why}): move the folder away to start without it", path = .path.display())]
    Answered {
        /// The journal's folder.
        path: PathBuf,
        /// How many came before it.
        record: usize,
        /// What is wrong.
        why: String,
    },
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// Execution failed for a reason that is not in the block.
    #[error("execution: {0}")]
    Execution(String),
    /// The stored chain makes no sense.
    #[error("the stored chain is damaged ({0}): run `duskevm db check`, or start from a copy of the data folder")]
    Head(String),
    /// Two executions of one block on one state differ.
    #[error("a block that was valid a moment ago is refused now: {0}")]
    Contradiction(String),
}

impl ExecutorError {
    /// Is there no room on the disk, and nothing else wrong?
    pub(crate) const fn is_full_disk(&self) -> bool {
        matches!(self, Self::Store(L2Error::Db(DbError::DiskFull { .. })))
    }
}

impl ActorError for ExecutorError {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Store(error) => match error {
                // The same damage would be there after a restart.
                L2Error::Damaged { .. }
                | L2Error::Trie(_)
                | L2Error::WrongGenesis { .. }
                | L2Error::Empty
                | L2Error::NotEmpty { .. } => Reaction::Abort,
                L2Error::Db(error) if error.is_damage() => Reaction::Abort,
                L2Error::Open(error) if error.is_lasting() => Reaction::Abort,
                // Nothing was written, and the block can be brought again.
                L2Error::Db(DbError::DiskFull { .. }) => Reaction::Degrade,
                // The next instance opens the database again.
                L2Error::Db(_)
                | L2Error::HeadUnknown
                | L2Error::Open(_)
                | L2Error::Fenced(_)
                | L2Error::NotOnHead { .. }
                | L2Error::WrongHash { .. }
                | L2Error::UnknownBlock(_)
                | L2Error::BadHeads { .. }
                | L2Error::BelowFinalized { .. }
                | L2Error::BelowHistory { .. }
                | L2Error::StatePruned { .. }
                | L2Error::Reorged { .. } => Reaction::RestartSelf,
            },
            Self::Journal(JournalError::Damaged { .. } | JournalError::TooLarge { .. }) | Self::Answered { .. } => {
                Reaction::Abort
            }
            // A write that failed may work after the file is opened again; what was not synced was not answered.
            Self::Journal(_) => Reaction::RestartSelf,
            Self::Rewind(_) | Self::Fenced(_) | Self::State(_) | Self::Execution(_) | Self::Contradiction(_) => {
                Reaction::RestartSelf
            }
            Self::Head(_) => Reaction::Abort,
        }
    }
}
