//! Settings, neighbours, and the chain of this node as the rules read it.

use alloy_primitives::B256;
use duskevm_engine_api::{backfill::OwnChain, forkchoice::BlockRef};
use duskevm_messages::{
    backfill::CatchingUp,
    executor::{
        ChainHeads, HeadsFeed,
        engine::{Advance, Condemn, Offer, WantedFeed},
    },
};
use duskevm_store::l2::L2Reader;
use duskevm_supervision::Port;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// What does not change while it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URL of the `eth_` namespace of the node to fetch from.
    pub source: String,
    /// How long it may take over one answer.
    pub timeout: Duration,
    /// Bytes of one answer.
    pub max_answer: u32,
}

impl Settings {
    /// The usual bounds. A block of 60,000,000 gas holds 6 MB of call data (EIP-7623), which hex doubles; an answer with one block ten times
    /// as large must fit.
    pub fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), timeout: Duration::from_secs(20), max_answer: 128 * 1024 * 1024 }
    }
}

/// The neighbours.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Which head the consensus client wants.
    pub wanted: WantedFeed,
    /// Executes a block.
    pub offer: Port<Offer>,
    /// Makes it the head.
    pub advance: Port<Advance>,
    /// Is told that a wanted head is invalid.
    pub condemn: Port<Condemn>,
    /// Heads of the chain.
    pub heads: HeadsFeed,
    /// The chain.
    pub reader: L2Reader,
    /// How far it is, for whoever asks. The sender lives as long as the node.
    pub catching_up: watch::Sender<Option<CatchingUp>>,
}

/// The chain of this node.
pub(crate) struct StoredChain<'a> {
    pub(crate) heads: Arc<ChainHeads>,
    pub(crate) reader: &'a L2Reader,
}

impl OwnChain for StoredChain<'_> {
    fn head(&self) -> BlockRef {
        BlockRef { number: self.heads.latest.number(), hash: self.heads.latest.hash() }
    }

    fn finalized(&self) -> u64 {
        self.heads.finalized.number
    }

    fn hash(&self, number: u64) -> Option<B256> {
        if number > self.heads.latest.number() {
            return None;
        }
        // A database that cannot be read is the executor's to report; here the block is just not known.
        self.reader
            .canonical_hash(number)
            .inspect_err(|error| tracing::warn!(%error, number, "no hash from the database"))
            .ok()?
    }
}
