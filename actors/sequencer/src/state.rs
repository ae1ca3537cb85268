//! What the sequencer knows: settings, neighbours, and how to plan the next block.

use crate::throttle::DaThrottle;
use duskevm_evm::ChainSpec;
use duskevm_messages::{
    consensus::DuskTipFeed,
    executor::{Build, DaOrders, HeadsFeed, Import, Insert, Rewind},
    l1::{L1BlockRef, L1HeadsFeed, ViewBlockByHash, ViewBlockByNumber},
    sequencer::Sequencing,
    txpool::{Best, Invalid},
};
use duskevm_rollup::RollupConfig;
use duskevm_supervision::Port;
use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// Tells the time since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// Another one.
    pub fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

/// What does not change while the sequencer runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The rollup.
    pub rollup: Arc<RollupConfig>,
    /// Its execution rules.
    pub spec: Arc<ChainSpec>,
    /// The journal file of sealed blocks.
    pub journal: PathBuf,
    /// How long pool transactions are taken into a block.
    pub time_budget: Duration,
    /// Pool transactions to ask for per block.
    pub max_transactions: usize,
    /// L1 blocks that an origin must be below the L1 head.
    pub confirmations: u64,
    /// No block is made while the head is this many blocks or more above the safe one; 0 is no bound.
    pub max_safe_lag: u64,
    /// How much less data blocks have while the batcher is behind.
    pub throttle: DaThrottle,
    /// The time.
    pub clock: Clock,
}

/// The neighbours.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named like its message")]
pub struct Ports {
    pub build: Port<Build>,
    pub insert: Port<Insert>,
    pub import: Port<Import>,
    pub rewind: Port<Rewind>,
    pub best: Port<Best>,
    pub invalid: Port<Invalid>,
    pub l1_by_hash: Port<ViewBlockByHash>,
    pub l1_by_number: Port<ViewBlockByNumber>,
    /// Heads of the L2 chain.
    pub heads: HeadsFeed,
    /// Heads of L1.
    pub l1_heads: L1HeadsFeed,
    /// L1's newest block, which the view may show later.
    pub l1_tip: DuskTipFeed,
    /// The L1 block that derivation reads; `None` where nothing is derived.
    pub derived: Option<watch::Receiver<Option<L1BlockRef>>>,
    /// What an operator has said. Published here.
    pub sequencing: watch::Sender<Sequencing>,
    /// By how many thousandths the batcher asks for less data; 0 where none runs here.
    pub throttle: watch::Receiver<u16>,
    /// What a batcher outside of this node asks for.
    pub da_orders: DaOrders,
}

/// A pause that grows from one failure to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    next: Duration,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);
    /// From here on it is worth a line in the log.
    pub(crate) const LOUD: Duration = Duration::from_millis(500);

    pub(crate) const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    pub(crate) fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause
    }

    pub(crate) const fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

/// How long before its timestamp the building of a block starts: as long as the last ones took, so that it is announced at its
/// time, but never so early that it could not take what arrives in the second half of its slot.
pub(crate) fn lead(build_cost: Duration, block_time: Duration) -> Duration {
    build_cost.min(block_time / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_start_again() {
        let mut pause = Pause::new();
        let taken: Vec<_> = (0..12).map(|_| pause.take()).collect();
        assert_eq!(taken[0], Duration::from_millis(5));
        assert_eq!(taken[1], Duration::from_millis(10));
        assert_eq!(taken[11], Duration::from_secs(1));
        pause.reset();
        assert_eq!(pause.take(), Duration::from_millis(5));
    }
}
