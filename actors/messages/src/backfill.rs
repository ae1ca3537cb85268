//! What backfill says of itself.

use tokio::sync::watch;

/// How far the chain is on its way to a head that the consensus client wants. All are block numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchingUp {
    /// The head when it began.
    pub start: u64,
    /// The newest block on the way.
    pub current: u64,
    /// The wanted head.
    pub goal: u64,
}

/// The feed of [`CatchingUp`]; `None` while nothing is fetched.
pub type CatchingUpFeed = watch::Receiver<Option<CatchingUp>>;
