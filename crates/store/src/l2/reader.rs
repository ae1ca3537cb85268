//! Reading blocks.

use super::{
    BlockRef, Heads, Inner, L2Error, StateSnapshot, StoredTransaction, TransactionLocation,
    columns::{Column, Columns},
    records,
};
use crate::db::DbError;
use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes};
use duskevm_trie::NodeSource;
use std::sync::Arc;

/// Reads the L2 database, from any thread, without ever waiting for the writer. As a [`NodeSource`] it finds trie nodes.
#[derive(Clone, Debug)]
pub struct L2Reader {
    inner: Arc<Inner>,
}

impl L2Reader {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The heads.
    ///
    /// # Errors
    ///
    /// [`L2Error::Empty`] before the genesis is stored, and while the database is reopened.
    pub fn heads(&self) -> Result<Heads, L2Error> {
        Ok(self.inner.head()?.heads)
    }

    /// The header of a canonical block.
    ///
    /// # Errors
    ///
    /// [`L2Error::Db`], [`L2Error::Damaged`]; the same for the other reads.
    pub fn header(&self, hash: &B256) -> Result<Option<Header>, L2Error> {
        self.inner.header(hash)
    }

    /// The transactions of a canonical block.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn body(&self, hash: &B256) -> Result<Option<Vec<StoredTransaction>>, L2Error> {
        let raw = self.inner.db.read(Column::Bodies, hash.as_slice())?;
        raw.map(|raw| records::decode_body(&raw)).transpose()
    }

    /// The receipts of a canonical block, in their EIP-2718 encoding.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn receipts(&self, hash: &B256) -> Result<Option<Vec<Bytes>>, L2Error> {
        let raw = self.inner.db.read(Column::Receipts, hash.as_slice())?;
        raw.map(|raw| records::decode_receipts(&raw)).transpose()
    }

    /// The hash of the canonical block with this number.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn canonical_hash(&self, number: u64) -> Result<Option<B256>, L2Error> {
        self.inner.canonical_hash(number)
    }

    /// Number and hash of a canonical block.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn block(&self, hash: &B256) -> Result<Option<BlockRef>, L2Error> {
        self.inner.block_ref(*hash)
    }

    /// Where a transaction is in the canonical chain.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn transaction_location(&self, hash: &B256) -> Result<Option<TransactionLocation>, L2Error> {
        let Some(raw) = self.inner.db.read(Column::Transactions, hash.as_slice())? else { return Ok(None) };
        let (number, index) = records::decode_location(&raw)?;
        let block = self.inner.canonical_hash(number)?.map(|hash| BlockRef { number, hash });
        Ok(block.map(|block| TransactionLocation { block, index }))
    }

    /// A transaction of the canonical chain.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn transaction(&self, hash: &B256) -> Result<Option<(TransactionLocation, StoredTransaction)>, L2Error> {
        let Some(location) = self.transaction_location(hash)? else { return Ok(None) };
        let Some(mut body) = self.body(&location.block.hash)? else { return Ok(None) };
        let index = location.index as usize;
        // The chain may have been rewound between the look-ups.
        if body.get(index).is_none_or(|transaction| transaction.hash != *hash) {
            return Ok(None);
        }
        Ok(Some((location, body.swap_remove(index))))
    }

    /// Code by its hash.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn code(&self, hash: &B256) -> Result<Option<Bytes>, L2Error> {
        self.inner.flat.code(&self.inner.db, hash)
    }

    /// The state after a canonical block. It goes on answering for this block when the chain grows.
    ///
    /// # Errors
    ///
    /// [`L2Error::UnknownBlock`], [`L2Error::StatePruned`].
    pub fn state_at(&self, hash: &B256) -> Result<StateSnapshot, L2Error> {
        let head = self.inner.head()?;
        if head.heads.latest.hash == *hash {
            return Ok(StateSnapshot::new(self.inner.clone(), head.heads.latest, head.root));
        }
        let header = self.inner.header(hash)?.ok_or(L2Error::UnknownBlock(*hash))?;
        let block = BlockRef { number: header.number, hash: *hash };
        // A block that is being committed right now is not there yet.
        if block.number > head.heads.latest.number {
            return Err(L2Error::UnknownBlock(*hash));
        }
        let oldest = head.heads.oldest_state;
        if block.number < oldest {
            return Err(L2Error::StatePruned { block, oldest });
        }
        Ok(StateSnapshot::new(self.inner.clone(), block, header.state_root))
    }

    /// The state at the head.
    ///
    /// # Errors
    ///
    /// [`L2Error::Empty`] before the genesis is stored, and while the database is reopened.
    pub fn latest_state(&self) -> Result<StateSnapshot, L2Error> {
        let head = self.inner.head()?;
        Ok(StateSnapshot::new(self.inner.clone(), head.heads.latest, head.root))
    }
}

impl NodeSource for L2Reader {
    type Error = DbError;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, DbError> {
        self.inner.node(hash)
    }
}

impl Inner {
    pub(super) fn header(&self, hash: &B256) -> Result<Option<Header>, L2Error> {
        let raw = self.db.read(Column::Headers, hash.as_slice())?;
        raw.map(|raw| records::decode_header(&raw)).transpose()
    }

    pub(super) fn block_ref(&self, hash: B256) -> Result<Option<BlockRef>, L2Error> {
        Ok(self.header(&hash)?.map(|header| BlockRef { number: header.number, hash }))
    }
}
