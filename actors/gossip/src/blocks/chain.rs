//! The chain of this node, as far as gossip reads it.

use std::fmt::Debug;
use std::sync::Arc;

use alloy_primitives::B256;
use duskevm_evm::Block;
use duskevm_messages::executor::HeadsFeed;
use duskevm_store::l2::L2Reader;
use tracing::warn;

/// Reads the chain of this node, from any thread.
pub trait OwnChain: Debug + Send + Sync {
    /// Hash of the canonical block of a number.
    fn hash(&self, number: u64) -> Option<B256>;
    /// The canonical block of a number.
    fn block(&self, number: u64) -> Option<Arc<Block>>;
}

/// The chain in the L2 database. The newest block comes from the executor's feed, where it is decoded already.
#[derive(Debug, Clone)]
pub struct StoredChain {
    heads: HeadsFeed,
    reader: L2Reader,
}

impl StoredChain {
    /// Reads what the executor writes. Both arguments stay valid when it is restarted.
    pub const fn new(heads: HeadsFeed, reader: L2Reader) -> Self {
        Self { heads, reader }
    }

    fn newest(&self, number: u64) -> Option<Arc<Block>> {
        self.heads.borrow().as_ref().map(|heads| heads.latest.clone()).filter(|block| block.number() == number)
    }
}

impl OwnChain for StoredChain {
    fn hash(&self, number: u64) -> Option<B256> {
        if let Some(block) = self.newest(number) {
            return Some(block.hash());
        }
        // A database that cannot be read is the executor's to report; here the block is just not known.
        self.reader
            .canonical_hash(number)
            .inspect_err(|error| warn!(%error, number, "no hash from the database"))
            .ok()?
    }

    fn block(&self, number: u64) -> Option<Arc<Block>> {
        if let Some(block) = self.newest(number) {
            return Some(block);
        }
        let hash = self.hash(number)?;
        let header = self.reader.header(&hash).ok()??;
        let body = self.reader.body(&hash).ok()??;
        let transactions = body.into_iter().map(|stored| (stored.raw, stored.sender));
        match Block::from_stored(header, hash, transactions) {
            Ok(block) => Some(Arc::new(block)),
            Err(error) => {
                warn!(%error, number, "a stored block cannot be read: run `duskevm db verify`");
                None
            }
        }
    }
}
