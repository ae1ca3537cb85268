//! The view as it is stored, read beside the actor that writes it.
//!
//! The writer replaces blocks while others read. A block is one record, so each is whole; what could go wrong is to join records of
//! two branches. Hence blocks are found by number and known by hash, and nobody is told of a block above the published head, or of one
//! whose hash is not that of its number any more.

use super::block::L1Block;
use crate::{
    cache::Cache,
    chain::{BlockRef, Heads, ReadError},
    feed::HeadSignal,
    source::Source,
};
use alloy_consensus::{Header, Sealed};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use duskevm_l1_view::{DecodeError, ViewBlock};
use duskevm_messages::l1::{L1BlockRef, L1HeadsFeed};
use duskevm_store::l1::{L1Store, L1StoreError};
use std::{fmt, sync::Arc};

/// How often a read begins again because the chain changed under it.
const TRIES: usize = 4;

/// The stored view. Cheap to clone.
#[derive(Clone)]
pub(crate) struct View {
    inner: Arc<Inner>,
}

struct Inner {
    store: L1Store,
    feed: L1HeadsFeed,
    /// What clients asked for, by hash.
    blocks: Cache<B256, L1Block>,
    /// What was announced, by hash. Whoever is told that the logs of a replaced block are gone needs it when the database has it no
    /// more, so searches of clients must not drive it out.
    announced: Cache<B256, L1Block>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("heads", &*self.inner.feed.borrow()).finish_non_exhaustive()
    }
}

impl From<L1StoreError> for ReadError {
    fn from(error: L1StoreError) -> Self {
        match error {
            // It is opened again by the actors that write it.
            L1StoreError::Db(error) if error.ended_epoch().is_some() => Self::NotReady,
            other => Self::Backend(other.to_string()),
        }
    }
}

fn damaged(number: u64, error: DecodeError) -> ReadError {
    ReadError::Backend(format!("L1 view block {number}: {error}; run `duskevm db check`"))
}

fn moved() -> ReadError {
    ReadError::Reorged("what was asked for".to_owned())
}

impl View {
    /// Keeps up to `cache_bytes` of recently read blocks.
    pub(crate) fn new(store: L1Store, feed: L1HeadsFeed, cache_bytes: usize) -> Self {
        let announced = cache_bytes / 4;
        let blocks = Cache::new(cache_bytes - announced);
        Self { inner: Arc::new(Inner { store, feed, blocks, announced: Cache::new(announced) }) }
    }

    /// The database, for what is in it besides the view.
    pub(crate) fn store(&self) -> &L1Store {
        &self.inner.store
    }

    /// Says when the heads moved.
    pub(crate) fn signal(&self) -> HeadSignal {
        let feed = self.inner.feed.clone();
        Arc::new(move || {
            let feed = feed.clone();
            Box::pin(futures::stream::unfold(feed, |mut feed| async move {
                feed.changed().await.ok()?;
                Some(((), feed))
            }))
        })
    }

    /// Is this the block that the view has at its number?
    fn is_canonical(&self, hash: B256, number: u64) -> Result<bool, ReadError> {
        Ok(self.inner.store.view_height(&hash.0)? == Some(number))
    }

    /// Where the view stands.
    ///
    /// # Errors
    /// [`ReadError::NotReady`] before the first block, and while the view is made anew: it must not seem to go back below what is final.
    pub(crate) fn heads(&self) -> Result<Heads, ReadError> {
        let at = |block: L1BlockRef| BlockRef { number: block.number, hash: block.hash };
        for _ in 0..TRIES {
            let heads = (*self.inner.feed.borrow()).ok_or(ReadError::NotReady)?;
            let known = Heads { latest: at(heads.latest), safe: at(heads.safe), finalized: at(heads.finalized) };
            if self.is_canonical(heads.latest.hash, heads.latest.number)? {
                return Ok(known);
            }
            // The newest blocks are just being replaced: what is left below them is the chain.
            let tip = self.inner.store.view_tip()?.filter(|tip| *tip >= heads.finalized.number);
            let tip = tip.ok_or(ReadError::NotReady)?.min(heads.latest.number);
            if let Some(header) = self.stored_header(tip)? {
                let latest = BlockRef { number: tip, hash: header.hash() };
                return Ok(Heads { latest, ..known });
            }
        }
        Err(moved())
    }

    /// The header that is stored at a number.
    fn stored_header(&self, number: u64) -> Result<Option<Sealed<Header>>, ReadError> {
        let Some(record) = self.inner.store.view(number)? else { return Ok(None) };
        ViewBlock::decode_header(&record).map(Some).map_err(|error| damaged(number, error))
    }

    /// The block that is stored at a number.
    fn stored_block(&self, number: u64) -> Result<Option<Arc<L1Block>>, ReadError> {
        let Some(record) = self.inner.store.view(number)? else { return Ok(None) };
        // To hash a header is far cheaper than to check a whole block.
        let hash = ViewBlock::decode_header(&record).map_err(|error| damaged(number, error))?.hash();
        if let Some(block) = self.inner.blocks.get(&hash) {
            return Ok(Some(block));
        }
        let view = ViewBlock::decode(&record).map_err(|error| damaged(number, error))?;
        let block = Arc::new(L1Block::new(view));
        self.inner.blocks.insert(hash, block.clone(), block.weight());
        Ok(Some(block))
    }

    /// A header by number; `None` above the newest block.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn header_at(&self, number: u64) -> Result<Option<Sealed<Header>>, ReadError> {
        if number > self.heads()?.latest.number {
            return Ok(None);
        }
        self.stored_header(number)
    }

    /// A block by number; `None` above the newest one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn block_at(&self, number: u64) -> Result<Option<Arc<L1Block>>, ReadError> {
        if number > self.heads()?.latest.number {
            return Ok(None);
        }
        self.stored_block(number)
    }

    /// A block of the chain by hash; `None` for one that was replaced.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn block_by_hash(&self, hash: B256) -> Result<Option<Arc<L1Block>>, ReadError> {
        let latest = self.heads()?.latest.number;
        let Some(number) = self.inner.store.view_height(&hash.0)?.filter(|number| *number <= latest) else {
            return Ok(None);
        };
        if let Some(block) = self.inner.blocks.get(&hash) {
            return Ok(Some(block));
        }
        Ok(self.stored_block(number)?.filter(|block| block.hash() == hash))
    }

    /// The block that an id names.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn block_of(&self, id: BlockId) -> Result<Option<Arc<L1Block>>, ReadError> {
        let tag = match id {
            // Nothing but the chain is known by hash, so that `requireCanonical` changes nothing.
            BlockId::Hash(wanted) => return self.block_by_hash(wanted.block_hash),
            BlockId::Number(BlockNumberOrTag::Number(number)) => return self.block_at(number),
            BlockId::Number(BlockNumberOrTag::Earliest) => return self.block_at(0),
            BlockId::Number(tag) => tag,
        };
        for _ in 0..TRIES {
            let heads = self.heads()?;
            let wanted = match tag {
                BlockNumberOrTag::Safe => heads.safe,
                BlockNumberOrTag::Finalized => heads.finalized,
                _ => heads.latest,
            };
            if let Some(block) = self.block_by_hash(wanted.hash)? {
                return Ok(Some(block));
            }
        }
        // A tag always names a block: it would be wrong to say that there is none.
        Err(moved())
    }

    /// A transaction with its block and its place there, by its projected hash or by the id of its Dusk transaction.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn transaction(&self, id: B256) -> Result<Option<(Arc<L1Block>, usize)>, ReadError> {
        let Some((number, index)) = self.inner.store.view_transaction(&id.0)? else { return Ok(None) };
        let Some(block) = self.block_at(number)? else { return Ok(None) };
        let index = index as usize;
        // What was read first may be of another branch than what was read second.
        let fits = block.view.transactions.get(index).is_some_and(|tx| tx.hash() == id || tx.dusk_id == id);
        Ok(fits.then_some((block, index)))
    }
}

impl Source for View {
    type Block = Arc<L1Block>;

    fn heads(&self) -> Result<Heads, ReadError> {
        Self::heads(self)
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError> {
        Ok(self.header_at(number)?.map(|header| header.hash()))
    }

    fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError> {
        if let Some(block) = self.inner.announced.get(&hash) {
            return Ok(Some(block.view.header.clone()));
        }
        let Some(number) = self.inner.store.view_height(&hash.0)? else { return Ok(None) };
        Ok(self.stored_header(number)?.filter(|header| header.hash() == hash))
    }

    fn whole(&self, hash: B256) -> Result<Option<Arc<L1Block>>, ReadError> {
        if let Some(block) = self.inner.announced.get(&hash) {
            return Ok(Some(block));
        }
        let Some(number) = self.inner.store.view_height(&hash.0)? else { return Ok(None) };
        let block = self.stored_block(number)?.filter(|block| block.hash() == hash);
        if let Some(block) = &block {
            self.inner.announced.insert(hash, block.clone(), block.weight());
        }
        Ok(block)
    }
}
