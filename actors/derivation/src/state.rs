//! Settings and neighbours.

use duskevm_evm::ChainSpec;
use duskevm_messages::{
    da_store::FindBlobs,
    executor::{Derive, HeadsFeed, NoteSafeHead, Rewind, SetLabels},
    l1::{L1BlockRef, L1HeadsFeed, ViewBlockByNumber},
    sequencer::ResetTo,
};
use duskevm_rollup::RollupConfig;
use duskevm_store::l2::L2Reader;
use duskevm_supervision::Port;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// What does not change while derivation runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The rollup; it has passed [`RollupConfig::validate`].
    pub rollup: Arc<RollupConfig>,
    /// Its execution rules.
    pub spec: Arc<ChainSpec>,
}

/// The neighbours.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named like its message")]
pub struct Ports {
    pub derive: Port<Derive>,
    pub set_labels: Port<SetLabels>,
    pub note_safe_head: Port<NoteSafeHead>,
    pub rewind: Port<Rewind>,
    /// The sequencer of this node, if it has one: only it may take announced blocks back.
    pub reset_to: Option<Port<ResetTo>>,
    pub l1_by_number: Port<ViewBlockByNumber>,
    /// `None` if this node keeps no blobs: then only batches in call data can be derived.
    pub blobs: Option<Port<FindBlobs>>,
    /// Heads of the L2 chain.
    pub heads: HeadsFeed,
    /// Heads of L1.
    pub l1_heads: L1HeadsFeed,
    /// The L2 chain.
    pub reader: L2Reader,
    /// The L1 block that is being read: what lies below it is read in full. Published here; `None` before the first one.
    pub current_l1: watch::Sender<Option<L1BlockRef>>,
}

/// A pause that grows from one failure to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    next: Duration,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(2);
    /// From here on it is worth a line in the log.
    pub(crate) const LOUD: Duration = Duration::from_millis(600);

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
