//! What followers of a chain need to know of it, be it the chain of L2 or the view of L1.

use crate::{
    chain::{BlockAndReceipts, Chain, Heads, ReadError},
    types::logs_of,
};
use alloy_consensus::{Header, Sealed};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{B256, Log};
use alloy_rpc_types_eth::Filter;
use std::fmt;

/// A block with its logs.
pub(crate) trait Announced: Clone + fmt::Debug + Send + Sync + 'static {
    /// Its header.
    fn header(&self) -> &Sealed<Header>;
    /// Hash and logs of each transaction, in order.
    fn transactions(&self) -> impl Iterator<Item = (B256, &[Log])>;

    /// Can the block hold logs that a filter wants, going by its bloom?
    fn may_match(&self, filter: &Filter) -> bool {
        may_match(self.header(), filter)
    }

    /// The logs that a filter wants. `removed` says that the block is no longer part of the chain.
    fn matching(&self, filter: &Filter, removed: bool) -> Vec<alloy_rpc_types_eth::Log> {
        let mut found = Vec::new();
        let collected: Result<(), std::convert::Infallible> = logs_of(
            self,
            removed,
            |log| filter.matches(log),
            |log| {
                found.push(log);
                Ok(())
            },
        );
        let Ok(()) = collected;
        found
    }
}

/// Can a block with this header hold logs that a filter wants, going by its bloom?
pub(crate) fn may_match(header: &Header, filter: &Filter) -> bool {
    !header.logs_bloom.is_zero() && filter.matches_bloom(header.logs_bloom)
}

/// A chain whose head can be followed. Reads may block for the disk.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// Its blocks.
    type Block: Announced;

    /// Where it stands.
    ///
    /// # Errors
    /// [`ReadError::NotReady`] before it was opened for the first time.
    fn heads(&self) -> Result<Heads, ReadError>;
    /// Hash of the canonical block with this number; `None` above the newest one.
    ///
    /// # Errors
    /// If it cannot be read.
    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError>;
    /// A header by hash, also of a block that was replaced, as long as it is at hand.
    ///
    /// # Errors
    /// If it cannot be read.
    fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError>;
    /// A block by hash, also one that was replaced, as long as it is at hand.
    ///
    /// # Errors
    /// If it cannot be read.
    fn whole(&self, hash: B256) -> Result<Option<Self::Block>, ReadError>;

    /// Number that a tag stands for now. `pending` is the newest block: no block is built ahead of its time.
    ///
    /// # Errors
    /// As [`Self::heads`].
    fn number_of(&self, tag: BlockNumberOrTag) -> Result<u64, ReadError> {
        let heads = self.heads()?;
        Ok(match tag {
            BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => heads.latest.number,
            BlockNumberOrTag::Safe => heads.safe.number,
            BlockNumberOrTag::Finalized => heads.finalized.number,
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Number(number) => number,
        })
    }
}

impl Announced for BlockAndReceipts {
    fn header(&self) -> &Sealed<Header> {
        &self.block.header
    }

    fn transactions(&self) -> impl Iterator<Item = (B256, &[Log])> {
        self.block.transactions.iter().zip(self.receipts.iter()).map(|(tx, receipt)| (tx.hash(), receipt.logs()))
    }
}

impl Source for Chain {
    type Block = BlockAndReceipts;

    fn heads(&self) -> Result<Heads, ReadError> {
        Self::heads(self)
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError> {
        Self::canonical_hash(self, number)
    }

    fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError> {
        Self::header(self, hash)
    }

    fn whole(&self, hash: B256) -> Result<Option<BlockAndReceipts>, ReadError> {
        self.block_and_receipts(hash)
    }
}
