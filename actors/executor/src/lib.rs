//! The executor actor: the only writer of L2 blocks and state.
//!
//! It builds blocks for the sequencer, executes blocks made elsewhere, keeps the incremental state trie from block to block, and
//! publishes the heads. Reads never come here: they are served from the store's snapshots.

mod actor;
mod answered;
mod driven;
mod error;
mod ingress;
mod kept;
mod metrics;
mod pool_source;
mod publish;
mod side;
mod state;
mod suspect;

pub use actor::Executor;
pub use error::ExecutorError;
pub use ingress::{DEADLINE, MAILBOX};
pub use kept::KeptBlocks;
pub use metrics::describe;
pub use publish::Feeds;
pub use state::{
    ChainState, Executed, Labels, Outcome, Settings, SnapshotDb, SnapshotError, TrieSource, genesis_commit,
};
pub use suspect::Suspect;
