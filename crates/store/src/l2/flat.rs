//! The state at the head, and what it was before the last blocks.
//!
//! The flat columns hold one state: the one after the head. A [`Published`] says which block that is and carries layers: for
//! each of the last blocks, the values that the block overwrote. A snapshot of an older block looks through the layers of
//! the blocks after it, oldest first; the first one that holds the key holds the snapshot's value, and a key that is in
//! none of them has not changed since, so the flat columns have it.
//!
//! Readers take no lock that a writer holds. Every published version is immutable and has a number of its own; a read from the
//! flat columns counts only if the same version is still published afterwards. The writer
//!
//! 1. publishes a version that shows the coming block's layer (or, before a block is taken out, that its state is going
//!    away),
//! 2. commits to the database, which makes all changes visible at once,
//! 3. corrects the cache,
//! 4. publishes a version with the new head.
//!
//! Whoever saw the version before 1 and then read a value from after 2 finds another version and reads again; whoever saw
//! that of 1 or later finds changed keys in a layer and never reads them from the flat columns.

use super::{
    BlockRef, Heads, L2Error,
    cache::Cache,
    columns::{Column, Columns, storage_key},
    records,
};
use crate::db::Db;
use alloy_primitives::{
    Address, B256, Bytes, U256, keccak256,
    map::{AddressHashMap, B256HashMap, HashMap},
};
use arc_swap::{ArcSwap, Guard};
use duskevm_trie::AccountInfo;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Values before a block, of what the block changed.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) block: BlockRef,
    pub(crate) parent: B256,
    pub(crate) accounts: AddressHashMap<Option<AccountInfo>>,
    pub(crate) slots: HashMap<(Address, U256), U256>,
    /// Storages that the block emptied: all they held, by hashed slot.
    pub(crate) wiped: AddressHashMap<B256HashMap<U256>>,
}

impl Layer {
    pub(crate) fn entries(&self) -> usize {
        self.accounts.len() + self.slots.len() + self.wiped.values().map(|slots| slots.len()).sum::<usize>()
    }

    fn slot(&self, address: &Address, slot: &U256) -> Option<U256> {
        if let Some(value) = self.slots.get(&(*address, *slot)) {
            return Some(*value);
        }
        let wiped = self.wiped.get(address)?;
        Some(wiped.get(&keccak256(slot.to_be_bytes::<32>())).copied().unwrap_or_default())
    }
}

/// What readers see at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    version: u64,
    /// `None` before the genesis, and while the database is being reopened.
    pub(crate) head: Option<Head>,
    /// Layers of the last blocks up to the head, oldest first.
    layers: Vec<Arc<Layer>>,
    /// The layer of a block that is being committed.
    coming: Option<Arc<Layer>>,
    /// Blocks above this one are being taken out.
    cut: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) heads: Heads,
    /// State root of the latest block.
    pub(crate) root: B256,
}

/// Where the state of a block is found.
enum Position<'a> {
    /// In these layers, and in the flat columns below them.
    Layers(&'a [Arc<Layer>]),
    /// In the tries only.
    Tries,
    /// The block is not in the chain any more.
    Gone,
}

impl Published {
    fn position(&self, block: &BlockRef) -> Position<'_> {
        let Some(head) = &self.head else { return Position::Gone };
        let latest = head.heads.latest;
        if block.number > self.cut.unwrap_or(u64::MAX) {
            return Position::Gone;
        }
        let Some(behind) = latest.number.checked_sub(block.number) else { return Position::Gone };
        if behind == 0 {
            return if latest.hash == block.hash { Position::Layers(&[]) } else { Position::Gone };
        }
        let from = usize::try_from(behind).ok().and_then(|behind| self.layers.len().checked_sub(behind));
        match from.and_then(|from| self.layers.get(from..)) {
            None => Position::Tries,
            Some(layers) if layers.first().is_some_and(|layer| layer.parent == block.hash) => Position::Layers(layers),
            Some(_) => Position::Gone,
        }
    }
}

/// How much is kept in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlatLimits {
    pub(crate) accounts: usize,
    pub(crate) slots: usize,
    pub(crate) codes: usize,
    pub(crate) layers: usize,
    pub(crate) layer_entries: usize,
}

/// The flat state with its caches.
#[derive(Debug)]
pub(crate) struct Flat {
    published: ArcSwap<Published>,
    version: AtomicU64,
    accounts: Cache<Address, Option<AccountInfo>>,
    slots: Cache<(Address, U256), U256>,
    codes: Cache<B256, Bytes>,
    limits: FlatLimits,
}

/// What a read at a block came to.
pub(crate) enum Found<T> {
    Value(T),
    /// Only the tries have it.
    Tries,
    /// The block left the chain.
    Gone,
}

impl Flat {
    pub(crate) fn new(limits: FlatLimits) -> Self {
        let nothing = Published { version: 0, head: None, layers: Vec::new(), coming: None, cut: None };
        Self {
            published: ArcSwap::from_pointee(nothing),
            version: AtomicU64::new(0),
            accounts: Cache::new(limits.accounts),
            slots: Cache::new(limits.slots),
            codes: Cache::new(limits.codes),
            limits,
        }
    }

    pub(crate) fn published(&self) -> Guard<Arc<Published>> {
        self.published.load()
    }

    fn is_current(&self, version: u64) -> bool {
        self.published.load().version == version
    }

    /// An account at `block`.
    pub(crate) fn account_at(
        &self,
        db: &Db,
        block: &BlockRef,
        address: &Address,
    ) -> Result<Found<Option<AccountInfo>>, L2Error> {
        self.read_at(block, |layer| layer.accounts.get(address).copied(), |version| self.account(db, version, address))
    }

    /// A slot at `block`.
    pub(crate) fn slot_at(
        &self,
        db: &Db,
        block: &BlockRef,
        address: &Address,
        slot: &U256,
    ) -> Result<Found<U256>, L2Error> {
        self.read_at(block, |layer| layer.slot(address, slot), |version| self.slot(db, version, address, slot))
    }

    fn read_at<T>(
        &self,
        block: &BlockRef,
        in_layer: impl Fn(&Layer) -> Option<T>,
        in_flat: impl Fn(u64) -> Result<T, L2Error>,
    ) -> Result<Found<T>, L2Error> {
        // Each turn means that a block was committed meanwhile, which bounds them.
        loop {
            let seen = self.published.load();
            let layers = match seen.position(block) {
                Position::Layers(layers) => layers,
                Position::Tries => return Ok(Found::Tries),
                Position::Gone => return Ok(Found::Gone),
            };
            if let Some(value) = layers.iter().chain(&seen.coming).find_map(|layer| in_layer(layer)) {
                return Ok(Found::Value(value));
            }
            let value = in_flat(seen.version);
            if self.is_current(seen.version) {
                return value.map(Found::Value);
            }
        }
    }

    /// An account at the head, as the writer sees it.
    pub(crate) fn account_at_head(&self, db: &Db, address: &Address) -> Result<Option<AccountInfo>, L2Error> {
        self.account(db, self.published.load().version, address)
    }

    /// A slot at the head, as the writer sees it.
    pub(crate) fn slot_at_head(&self, db: &Db, address: &Address, slot: &U256) -> Result<U256, L2Error> {
        self.slot(db, self.published.load().version, address, slot)
    }

    fn account(&self, db: &Db, version: u64, address: &Address) -> Result<Option<AccountInfo>, L2Error> {
        if let Some(info) = self.accounts.get(address) {
            return Ok(info);
        }
        let raw = db.read(Column::Accounts, keccak256(address).as_slice())?;
        let info = raw.map(|raw| records::decode_account(&raw)).transpose()?;
        self.accounts.insert_if(*address, info, || self.is_current(version));
        Ok(info)
    }

    fn slot(&self, db: &Db, version: u64, address: &Address, slot: &U256) -> Result<U256, L2Error> {
        let key = (*address, *slot);
        if let Some(value) = self.slots.get(&key) {
            return Ok(value);
        }
        let hashed = storage_key(&keccak256(address), &keccak256(slot.to_be_bytes::<32>()));
        let raw = db.read(Column::Storage, &hashed)?;
        let value = raw.map(|raw| records::decode_slot(&raw)).transpose()?.unwrap_or_default();
        self.slots.insert_if(key, value, || self.is_current(version));
        Ok(value)
    }

    /// Code by its hash.
    pub(crate) fn code(&self, db: &Db, hash: &B256) -> Result<Option<Bytes>, L2Error> {
        if let Some(code) = self.codes.get(hash) {
            return Ok(Some(code));
        }
        let code = db.read(Column::Code, hash.as_slice())?.map(Bytes::from);
        if let Some(code) = &code {
            self.codes.insert(*hash, code.clone());
        }
        Ok(code)
    }

    fn publish(&self, change: impl FnOnce(&mut Published)) {
        let mut next = Published::clone(&self.published.load());
        next.version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        change(&mut next);
        self.published.store(Arc::new(next));
    }

    /// Step 1 of a block's commit.
    pub(crate) fn announce(&self, layer: Arc<Layer>) {
        self.publish(|next| next.coming = Some(layer));
    }

    /// States below this block are being released, or are there after all: nobody must take a released node for a lost one.
    pub(crate) fn set_oldest(&self, number: u64) {
        self.publish(|next| {
            if let Some(head) = &mut next.head {
                head.heads.oldest_state = number;
            }
        });
    }

    /// Step 1 of taking out the block above `number`.
    pub(crate) fn announce_cut(&self, number: u64) {
        self.publish(|next| next.cut = Some(number));
    }

    /// What was announced did not happen.
    pub(crate) fn withdraw(&self) {
        self.publish(|next| {
            next.coming = None;
            next.cut = None;
        });
    }

    /// Step 3, one entry at a time.
    pub(crate) fn correct_account(&self, address: Address, info: Option<AccountInfo>) {
        self.accounts.insert(address, info);
    }

    /// Step 3, one entry at a time.
    pub(crate) fn correct_slot(&self, address: Address, slot: U256, value: U256) {
        self.slots.insert((address, slot), value);
    }

    /// Step 3, for a storage that was emptied or filled as a whole. The slots written beside that come after.
    pub(crate) fn forget_storage(&self, address: &Address) {
        self.slots.retain(|(owner, _)| owner != address);
    }

    /// Step 4 of a block's commit: the announced layer belongs to the head now.
    pub(crate) fn advance(&self, head: Head) {
        self.publish(|next| {
            next.head = Some(head);
            next.layers.extend(next.coming.take());
            let mut entries: usize = next.layers.iter().map(|layer| layer.entries()).sum();
            while next.layers.len() > self.limits.layers || entries > self.limits.layer_entries {
                if next.layers.is_empty() {
                    break;
                }
                entries -= next.layers.remove(0).entries();
            }
        });
    }

    /// Step 4 of taking out a block.
    pub(crate) fn retreat(&self, head: Head) {
        self.publish(|next| {
            next.head = Some(head);
            next.cut = None;
            next.layers.retain(|layer| layer.block.number <= head.heads.latest.number);
        });
    }

    /// Only safe, finalized or the window moved.
    pub(crate) fn set_heads(&self, heads: Heads) {
        self.publish(|next| {
            if let Some(head) = &mut next.head {
                head.heads = heads;
            }
        });
    }

    /// Forgets everything; all snapshots are gone until the head is set again.
    pub(crate) fn reset(&self) {
        self.publish(|next| {
            next.head = None;
            next.layers.clear();
            next.coming = None;
            next.cut = None;
        });
        // After that nobody inserts what was read under an older version.
        self.accounts.clear();
        self.slots.clear();
        self.codes.clear();
    }

    /// Sets the head after [`reset`](Self::reset).
    pub(crate) fn restart(&self, head: Option<Head>) {
        self.publish(|next| next.head = head);
    }
}
