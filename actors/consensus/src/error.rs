//! What can go wrong in the actor, and what it means.

use alloy_primitives::B256;
use duskevm_dusk_l1::block::BuildError;
use duskevm_dusk_l1::execute::ExecuteError;
use duskevm_dusk_l1::genesis::GenesisError;
use duskevm_dusk_l1::record::RecordError;
use duskevm_dusk_l1::state::StateError;
use duskevm_p2p::PeerId;
use duskevm_store::db::DbError;
use duskevm_store::journal::JournalError;
use duskevm_store::l1::L1StoreError;
use duskevm_supervision::{ActorError, FenceError, Reaction};

/// A failure of the consensus actor. A refused transaction is none.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The genesis cannot work.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The database failed.
    #[error("the L1 database failed: {0}")]
    Store(#[from] L1StoreError),
    /// What is stored is not what was stored.
    #[error("the L1 database is damaged ({0}): restore it from a copy, or start with a new data directory")]
    Damaged(String),
    /// No block could be made.
    #[error("no L1 block can be produced: {0}")]
    Build(#[from] BuildError),
    /// The ledger codec failed while writing to memory.
    #[error("an L1 block cannot be encoded: {0}")]
    Encode(#[source] std::io::Error),
    /// The state in memory cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The clock cannot be right.
    #[error(
        "L1 block {height} is {behind} s ahead of the clock: set the machine's clock; if it is right and the block was made while it was wrong, wait until then or begin with a new data directory"
    )]
    Clock {
        /// The newest block.
        height: u64,
        /// Seconds from the clock to its timestamp.
        behind: u64,
    },
    /// The journal of own messages holds something else.
    #[error(
        "{0}: restore the folder from a copy; without it this provisioner must not vote for a while (move the folder away)"
    )]
    Votes(String),
    /// The journal of own messages failed.
    #[error("the vote journal failed: {0}")]
    Journal(#[from] JournalError),
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// More than a third of the stake has signed for both.
    #[error(
        "two final L1 blocks of height {height} exist: {own} here and {other} at peer {peer}, each with the signatures that make it final. More than a third of the stake has signed for both, and no node can tell which one stands: stop, find out with the other operators which chain goes on, and start with the data of that chain"
    )]
    TwoFinal {
        /// Height of both.
        height: u64,
        /// Hash of the own one.
        own: B256,
        /// Hash of the other one.
        other: B256,
        /// Who has it.
        peer: PeerId,
    },
    /// The worker died that waits for the disk.
    #[error("the thread that waits for the L1 database died: {0}")]
    Lost(String),
    /// A worker that reads or checks died.
    #[error("a worker thread of the L1 died: {0}")]
    Worker(String),
}

impl ConsensusError {
    /// Whether nothing was written because the disk has too little room.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Store(L1StoreError::Db(DbError::DiskFull { .. })))
    }
}

impl From<RecordError> for ConsensusError {
    fn from(error: RecordError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl ActorError for ConsensusError {
    fn reaction(&self) -> Reaction {
        match self {
            // Another start would find the same configuration or the same bytes. A disk that is full from the beginning is among
            // them: later the actor waits for room.
            Self::Genesis(_)
            | Self::Damaged(_)
            | Self::Clock { .. }
            | Self::Votes(_)
            | Self::TwoFinal { .. }
            | Self::Store(L1StoreError::Db(DbError::DiskFull { .. }))
            | Self::Journal(JournalError::Damaged { .. } | JournalError::TooLarge { .. }) => Reaction::Abort,
            Self::Build(BuildError::HeightOverflow) => Reaction::Abort,
            Self::Store(L1StoreError::Db(error)) if error.is_damage() => Reaction::Abort,
            Self::Store(L1StoreError::Reopen(error)) if error.is_lasting() => Reaction::Abort,
            // Memory and disk may differ now: begin again from the disk.
            Self::Store(_) | Self::State(_) | Self::Encode(_) | Self::Fenced(_) | Self::Journal(_) | Self::Lost(_) => {
                Reaction::RestartSelf
            }
            Self::Build(
                BuildError::Codec(_)
                | BuildError::Execute(
                    ExecuteError::State(_) | ExecuteError::Key(_) | ExecuteError::Event(_) | ExecuteError::NoVoters(_),
                ),
            ) => Reaction::RestartSelf,
            // One request fails; the chain is not touched by it.
            Self::Worker(_) => Reaction::Retry,
        }
    }
}
