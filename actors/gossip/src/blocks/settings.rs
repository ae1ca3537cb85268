//! What the actor needs to know.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use duskevm_evm::ChainSpec;
use duskevm_messages::consensus::ReadDuskContract;
use duskevm_messages::executor::{HeadsFeed, Import};
use duskevm_messages::l1::{L1HeadsFeed, ViewBlockByNumber};
use duskevm_messages::sequencer::SequencingFeed;
use duskevm_supervision::Port;
use duskevm_unsafe_gossip::UnsafeSigner;

use super::chain::OwnChain;

/// What this node does with blocks.
#[derive(Debug, Clone)]
pub enum Role {
    /// It makes them, and announces them with a key; while its sequencer is stopped, it imports those of another one.
    Sequence {
        /// Signs.
        signer: UnsafeSigner,
        /// Whether it makes blocks at the moment.
        sequencing: SequencingFeed,
        /// Takes those of others.
        import: Port<Import>,
    },
    /// It imports those of the sequencer.
    Follow(Port<Import>),
}

impl Role {
    /// The key, if this node makes blocks now.
    pub(super) fn announces(&self) -> Option<UnsafeSigner> {
        match self {
            Self::Sequence { signer, sequencing, .. } => sequencing.borrow().active.then(|| signer.clone()),
            Self::Follow(_) => None,
        }
    }

    /// Who takes blocks of others, if they are wanted now.
    pub(super) fn follows(&self) -> Option<Port<Import>> {
        match self {
            Self::Sequence { import, sequencing, .. } => (!sequencing.borrow().active).then(|| import.clone()),
            Self::Follow(import) => Some(import.clone()),
        }
    }
}

/// Where the address of the unsafe-block signer is read: at the tip of L1, after every L1 block.
#[derive(Debug, Clone)]
pub struct SignerSource {
    /// Answers.
    pub read: Port<ReadDuskContract>,
    /// What is asked: the answer is the RLP of an address.
    pub question: ReadDuskContract,
    /// News of L1.
    pub l1_heads: L1HeadsFeed,
}

/// Settings of the actor; the same for all its instances.
pub struct BlockGossipSettings {
    /// The rules of the chain.
    pub spec: Arc<ChainSpec>,
    /// The chain.
    pub chain_id: u64,
    /// What this node does with blocks.
    pub role: Role,
    /// Whose blocks are valid.
    pub signer: SignerSource,
    /// L1: whether the block that a received one belongs to still stands.
    pub l1_by_number: Port<ViewBlockByNumber>,
    /// Where the chain stands.
    pub heads: HeadsFeed,
    /// The chain.
    pub chain: Arc<dyn OwnChain>,
    /// Unix seconds.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How often what could not be done is tried again.
    pub tick: Duration,
}

impl fmt::Debug for BlockGossipSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockGossipSettings")
            .field("chain_id", &self.chain_id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
