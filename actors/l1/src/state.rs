//! What the actor knows: the newest view blocks, and how they are rebuilt from disk.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_primitives::B256;
use duskevm_l1_view::{DuskBlock, VERSION, ViewBlock, ViewConfig, project};
use duskevm_messages::l1::{L1BlockRef, L1Heads};
use duskevm_store::l1::{L1Store, ViewCommit};
use duskevm_supervision::Fence;

use crate::error::L1Error;

/// View blocks that are kept in memory.
const RECENT: usize = 256;

/// The stored view.
#[derive(Debug)]
pub struct View {
    config: ViewConfig,
    store: L1Store,
    /// The newest blocks in ascending order; the last one is the cursor.
    recent: VecDeque<Arc<ViewBlock>>,
    /// Height of the newest final block.
    finalized: Option<u64>,
}

/// What [`View::extend`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Extended {
    /// All blocks were added.
    Added,
    /// The backend's blocks do not follow the cursor.
    Forked,
}

impl View {
    /// Opens the view at its cursor. A view of another mapping or configuration is dropped, as is every view if `reset`.
    ///
    /// # Errors
    /// If the database fails or holds what is no view block.
    pub fn open(config: ViewConfig, store: L1Store, fence: &Fence, reset: bool) -> Result<Self, L1Error> {
        store.heal()?;
        let wanted = encode_config(&config);
        if reset || store.view_config()?.as_deref() != Some(wanted.as_slice()) {
            store.reset_views(fence, &wanted, summary_of)?;
        }
        let mut view = Self { config, store, recent: VecDeque::new(), finalized: None };
        if let Some(tip) = view.store.view_tip()? {
            view.recent.push_back(view.read(tip)?.ok_or(L1Error::Missing(tip))?);
        }
        Ok(view)
    }

    /// The newest view block.
    pub fn tip(&self) -> Option<&Arc<ViewBlock>> {
        self.recent.back()
    }

    /// Height of the next block to project.
    pub(crate) fn next(&self) -> u64 {
        self.tip().map_or(0, |tip| tip.number() + 1)
    }

    /// Projects and stores the blocks after the cursor, in one commit.
    pub(crate) fn extend(&mut self, fence: &Fence, blocks: &[DuskBlock]) -> Result<Extended, L1Error> {
        let mut new: Vec<Arc<ViewBlock>> = Vec::with_capacity(blocks.len());
        for block in blocks {
            let parent = new.last().or(self.recent.back());
            let wanted = parent.map_or(0, |parent| parent.number() + 1);
            if block.height != wanted {
                return Err(L1Error::WrongBlock { wanted, got: block.height });
            }
            if parent.is_some_and(|parent| parent.dusk_hash() != block.prev_hash) {
                if new.is_empty() {
                    return Ok(Extended::Forked);
                }
                // The backend went another way while it was asked: the next request shows how far back.
                break;
            }
            new.push(Arc::new(project(&self.config, parent.map(|parent| &parent.header), block)?));
        }
        let commits: Vec<ViewCommit> = new.iter().map(|view| commit_of(view)).collect();
        self.store.commit_views(fence, &commits)?;
        self.recent.extend(new);
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        Ok(Extended::Added)
    }

    /// Removes the newest view block, because the backend has another one in its place.
    pub(crate) fn step_back(&mut self, fence: &Fence) -> Result<(), L1Error> {
        let Some(tip) = self.tip().map(|tip| tip.number()) else { return Ok(()) };
        if tip == 0 {
            return Err(L1Error::OtherChain);
        }
        if self.finalized.is_some_and(|finalized| tip <= finalized) {
            return Err(L1Error::FinalReplaced { number: tip });
        }
        self.store.truncate_views(fence, Some(tip - 1), summary_of)?;
        self.recent.pop_back();
        if self.recent.is_empty() {
            self.recent.push_back(self.read(tip - 1)?.ok_or(L1Error::Missing(tip - 1))?);
        }
        Ok(())
    }

    /// Notes that `height` is final on the backend. Only for a backend of which it is known that its chain contains the
    /// cursor: else a block that the backend has replaced would count as final.
    pub(crate) fn finalize(&mut self, height: u64) {
        let height = height.min(self.tip().map_or(0, |tip| tip.number()));
        // A backend that restarted may be behind what it said before.
        self.finalized = self.finalized.max(Some(height));
    }

    /// The heads, if there is a block and it is known what is final.
    pub(crate) fn heads(&self) -> Result<Option<L1Heads>, L1Error> {
        let (Some(tip), Some(finalized)) = (self.tip(), self.finalized) else { return Ok(None) };
        let block = self.by_number(finalized)?.ok_or(L1Error::Missing(finalized))?;
        let finalized = L1BlockRef::from(&*block);
        Ok(Some(L1Heads { latest: L1BlockRef::from(&**tip), safe: finalized, finalized }))
    }

    /// Takes over what an earlier instance published as final.
    pub(crate) fn remember_final(&mut self, published: Option<L1Heads>) {
        let tip = self.tip().map_or(0, |tip| tip.number());
        self.finalized = published.map(|heads| heads.finalized.number).filter(|number| *number <= tip);
    }

    /// A block from memory.
    fn in_memory(&self, number: u64) -> Option<Arc<ViewBlock>> {
        let first = self.recent.front()?.number();
        self.recent.get(usize::try_from(number.checked_sub(first)?).ok()?).cloned()
    }

    /// A block by number.
    ///
    /// # Errors
    /// If the database fails or holds what is no view block.
    pub fn by_number(&self, number: u64) -> Result<Option<Arc<ViewBlock>>, L1Error> {
        match self.in_memory(number) {
            Some(block) => Ok(Some(block)),
            None => self.read(number),
        }
    }

    /// A block by view hash.
    ///
    /// # Errors
    /// As [`by_number`](Self::by_number).
    pub fn by_hash(&self, hash: &B256) -> Result<Option<Arc<ViewBlock>>, L1Error> {
        if let Some(block) = self.recent.iter().rev().find(|block| block.hash() == *hash) {
            return Ok(Some(block.clone()));
        }
        match self.store.view_height(&hash.0)? {
            // An index entry may have outlived its block: what a record that cannot be decoded named is not known at its removal.
            Some(number) => Ok(self.by_number(number)?.filter(|block| block.hash() == *hash)),
            None => Ok(None),
        }
    }

    /// Block and index of a transaction, by projected hash or Dusk id.
    ///
    /// # Errors
    /// As [`by_number`](Self::by_number).
    pub fn transaction(&self, id: &B256) -> Result<Option<(Arc<ViewBlock>, u32)>, L1Error> {
        let Some((number, index)) = self.store.view_transaction(&id.0)? else { return Ok(None) };
        let block = self.by_number(number)?.ok_or(L1Error::Missing(number))?;
        Ok(Some((block, index)))
    }

    fn read(&self, number: u64) -> Result<Option<Arc<ViewBlock>>, L1Error> {
        let Some(record) = self.store.view(number)? else { return Ok(None) };
        let block = ViewBlock::decode(&record).map_err(|error| L1Error::Stored { number, error })?;
        Ok(Some(Arc::new(block)))
    }
}

fn commit_of(view: &ViewBlock) -> ViewCommit {
    ViewCommit {
        height: view.number(),
        hash: view.hash().0,
        record: view.encode(),
        transactions: view.transactions.iter().map(|tx| (tx.hash().0, tx.dusk_id.0)).collect(),
    }
}

/// What a stored view block names, for its removal. A record that does not decode names nothing: its index entries stay behind
/// and point to a number whose block answers for itself.
fn summary_of(record: &[u8]) -> ViewCommit {
    ViewBlock::decode(record).map(|view| commit_of(&view)).unwrap_or_default()
}

/// Everything that the view depends on besides the blocks.
fn encode_config(config: &ViewConfig) -> Vec<u8> {
    let mut out = VERSION.to_be_bytes().to_vec();
    out.extend_from_slice(&config.chain_id.to_be_bytes());
    out.push(u8::from(config.inbox.is_some()));
    out.extend(config.inbox.iter().flat_map(|id| id.0));
    out.extend(config.emitters.iter().flat_map(|id| id.0));
    out
}
