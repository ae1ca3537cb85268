//! A block becomes the head.

use super::{
    BlockCommit, BlockRef, Heads, Inner, L2Error, L2Store,
    columns::{Column, ColumnBatch, Columns, HEADS, number_key, storage_key},
    flat::{Head, Layer},
    records::{self, NodeRecord, UndoRecord},
};
use crate::db::{Batch, DbError};
use alloy_primitives::{B256, Bytes, U256, map::B256HashMap};
use duskevm_fence::Fence;
use duskevm_trie::{EMPTY_ROOT_HASH, NodeSource, Trie, TrieId, Visitor, walk};
use std::sync::Arc;

/// Trie nodes that one commit releases at most, beyond those of a single block: a window that was made shorter must not hold
/// up the next block.
const PRUNE_STEP: usize = 50_000;

/// What a block counts for in [`PRUNE_STEP`] besides its nodes: its records are read and deleted.
const PRUNE_BLOCK: usize = 50;

/// A block with the part of its database batch that depends on nothing else: headers, body, receipts, places of transactions, code.
/// Making it takes longer than the rest of a commit, and can be done while others still decide whether the block is to be stored.
#[derive(Debug)]
pub struct PreparedBlock {
    block: BlockCommit,
    batch: Batch,
    /// Of the header, as it will be stored.
    header_hash: B256,
}

impl From<BlockCommit> for PreparedBlock {
    fn from(block: BlockCommit) -> Self {
        let mut batch = Batch::new();
        let (number, hash) = (block.header.number, block.hash);
        let header = alloy_rlp::encode(&block.header);
        let header_hash = alloy_primitives::keccak256(&header);
        batch.put(Column::Headers, hash.as_slice(), header);
        batch.put(Column::Bodies, hash.as_slice(), records::encode_body(&block.transactions));
        batch.put(Column::Receipts, hash.as_slice(), records::encode_receipts(&block.receipts));
        batch.put(Column::Canonical, number_key(number), hash.as_slice());
        for (index, transaction) in (0u32..).zip(&block.transactions) {
            batch.put(Column::Transactions, transaction.hash.as_slice(), records::encode_location(number, index));
        }
        for (hash, code) in &block.state.codes {
            batch.put(Column::Code, hash.as_slice(), code.as_ref());
        }
        Self { block, batch, header_hash }
    }
}

impl PreparedBlock {
    /// The block.
    pub const fn block(&self) -> &BlockCommit {
        &self.block
    }
}

impl L2Store {
    /// Stores the first block of the chain. It is latest, safe and finalized.
    ///
    /// # Errors
    ///
    /// [`L2Error::NotEmpty`], [`L2Error::WrongGenesis`] if the hash is not that of the chain's [`Identity`](crate::Identity),
    /// [`L2Error::WrongHash`], [`L2Error::Fenced`], [`L2Error::Db`].
    pub fn init_genesis(&self, fence: &Fence, genesis: BlockCommit) -> Result<(), L2Error> {
        fence.write(|| {
            let _writer = self.inner.lock_writer();
            match self.inner.head() {
                Err(L2Error::Empty) => {}
                Ok(head) => return Err(L2Error::NotEmpty { head: head.heads.latest }),
                Err(error) => return Err(error),
            }
            if genesis.hash != self.inner.identity.genesis {
                return Err(L2Error::WrongGenesis { found: genesis.hash, expected: self.inner.identity.genesis });
            }
            let block = BlockRef { number: genesis.header.number, hash: genesis.hash };
            let heads = Heads { latest: block, safe: block, finalized: block, oldest_state: block.number };
            self.inner.add_block(genesis.into(), heads)
        })?
    }

    /// Adds a block on top of the head, in one commit of the database. When this returns, the block is the head for every reader;
    /// it is on disk once [`durable_number`](Self::durable_number) says so. Waits while too much is waiting for the disk.
    ///
    /// # Errors
    ///
    /// [`L2Error::NotOnHead`], [`L2Error::WrongHash`], [`L2Error::Fenced`], [`L2Error::Db`]: the head has not moved.
    pub fn commit_block(&self, fence: &Fence, block: impl Into<PreparedBlock>) -> Result<(), L2Error> {
        let prepared: PreparedBlock = block.into();
        fence.write(|| {
            let _writer = self.inner.lock_writer();
            let Head { mut heads, .. } = self.inner.head()?;
            let block = prepared.block();
            let next = BlockRef { number: block.header.number, hash: block.hash };
            if block.header.parent_hash != heads.latest.hash || next.number != heads.latest.number + 1 {
                let parent = block.header.parent_hash;
                return Err(L2Error::NotOnHead { block: next, parent, head: heads.latest });
            }
            heads.latest = next;
            self.inner.add_block(prepared, heads)
        })?
    }
}

/// Reads nodes from the database.
impl NodeSource for Inner {
    type Error = DbError;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, DbError> {
        Ok(self.db.read(Column::Nodes, hash.as_slice())?.map(Bytes::from))
    }
}

impl Inner {
    /// Stores a block that was found to fit; `heads` are those after it.
    fn add_block(&self, prepared: PreparedBlock, mut heads: Heads) -> Result<(), L2Error> {
        let PreparedBlock { block, mut batch, header_hash } = prepared;
        let number = block.header.number;
        if header_hash != block.hash {
            return Err(L2Error::WrongHash { number, claimed: block.hash, actual: header_hash });
        }
        let root_before = self.flat.published().head.map_or(EMPTY_ROOT_HASH, |head| head.root);
        let head = Head { heads, root: block.header.state_root };
        let layer = Arc::new(self.overwritten(&block, root_before)?);
        put_state(&mut batch, &block, &layer);

        let removed = block.nodes.removed.clone();
        let inserted: Vec<B256> = block.nodes.inserted.iter().map(|(hash, _)| *hash).collect();
        // What comes in first: a node that goes and comes must not be gone in between.
        for (hash, raw) in block.nodes.inserted {
            batch.put(Column::Nodes, hash.as_slice(), Vec::from(raw.0));
        }
        if heads.finalized.number < number {
            batch.put(Column::Undo, number_key(number), records::encode_undo(&undo_record(&layer))?);
            let record = records::encode_nodes(&NodeRecord { inserted, removed })?;
            batch.put(Column::NodeChanges, number_key(number), record);
        }
        self.prune(&mut batch, &mut heads)?;
        batch.put(Column::Meta, HEADS, records::encode_heads(&heads)?);

        let oldest_before = self.flat.published().head.map_or(heads.oldest_state, |head| head.heads.oldest_state);
        self.flat.announce(layer.clone());
        self.flat.set_oldest(heads.oldest_state);
        if let Err(error) = self.commit(batch, heads.latest) {
            self.flat.withdraw();
            self.flat.set_oldest(oldest_before);
            return Err(error);
        }
        layer.wiped.keys().for_each(|address| self.flat.forget_storage(address));
        for delta in &block.state.accounts {
            self.flat.correct_account(delta.address, delta.info);
            if delta.info.is_some() {
                delta.slots.iter().for_each(|slot| self.flat.correct_slot(delta.address, slot.slot, slot.value));
            }
        }
        self.flat.advance(Head { heads, ..head });
        Ok(())
    }

    /// What the block overwrites, read from the state before it.
    fn overwritten(&self, block: &BlockCommit, root_before: B256) -> Result<Layer, L2Error> {
        let mut layer = Layer {
            block: BlockRef { number: block.header.number, hash: block.hash },
            parent: block.header.parent_hash,
            ..Layer::default()
        };
        let mut accounts = Trie::from_root(root_before);
        for delta in &block.state.accounts {
            let before = self.flat.account_at_head(&self.db, &delta.address)?;
            layer.accounts.insert(delta.address, before);
            if before.is_some() && (delta.storage_wiped || delta.info.is_none()) {
                // The flat columns cannot list an account's slots; its storage trie can.
                let storage = self.storage_before(&mut accounts, delta.hashed)?;
                if !storage.is_empty() {
                    layer.wiped.insert(delta.address, storage);
                }
            }
            if delta.info.is_none() {
                continue;
            }
            for slot in &delta.slots {
                let before = match layer.wiped.get(&delta.address) {
                    Some(wiped) => wiped.get(&slot.hashed).copied().unwrap_or_default(),
                    None => self.flat.slot_at_head(&self.db, &delta.address, &slot.slot)?,
                };
                layer.slots.insert((delta.address, slot.slot), before);
            }
        }
        Ok(layer)
    }

    /// All slots of an account.
    fn storage_before(&self, accounts: &mut Trie, hashed_address: B256) -> Result<B256HashMap<U256>, L2Error> {
        let mut slots = B256HashMap::default();
        let Some(raw) = accounts.get(self, &hashed_address)? else { return Ok(slots) };
        let account: duskevm_trie::Account =
            alloy_rlp::decode_exact(&raw).map_err(|error| L2Error::damaged("account in the trie", error))?;
        let mut malformed = None;
        walk(self, TrieId::Storage(hashed_address), account.storage_root, &mut |visit: Visitor<'_>| {
            if let Visitor::Leaf { key, value } = visit {
                match alloy_rlp::decode_exact(value) {
                    Ok(value) => drop(slots.insert(*key, value)),
                    Err(error) => malformed = Some(error),
                }
            }
        })?;
        match malformed {
            None => Ok(slots),
            Some(error) => Err(L2Error::damaged("slot in the trie", error)),
        }
    }

    /// Releases what the states that leave the history window do not share with later ones, and what a rewind to them would
    /// take. Finality does not matter: it may be late, or never come, and the disk must not fill up meanwhile. What is not safe
    /// is kept longer, for L1 takes it back when a sequencing window passes without batches, but not without end either.
    pub(super) fn prune(&self, batch: &mut Batch, heads: &mut Heads) -> Result<(), L2Error> {
        let Some(history) = self.settings.history_blocks else { return Ok(()) };
        // One at least: the records of the newest block are in this very batch.
        let history = history.max(1);
        let bound = heads.latest.number.saturating_sub(history.max(self.settings.unsafe_blocks));
        let wanted = heads.latest.number.saturating_sub(history).min(heads.safe.number.max(bound));
        let mut released = 0;
        while heads.oldest_state < wanted && released < PRUNE_STEP {
            let number = heads.oldest_state + 1;
            let key = number_key(number);
            let raw = self.db.read(Column::NodeChanges, &key)?;
            let raw = raw.ok_or_else(|| L2Error::damaged("node record", format!("none of block {number}")))?;
            let NodeRecord { removed, .. } = records::decode_nodes(&raw)?;
            released += removed.len() + PRUNE_BLOCK;
            for hash in removed {
                batch.remove(Column::Nodes, hash.as_slice());
            }
            batch.remove(Column::NodeChanges, key);
            if number > heads.finalized.number {
                batch.remove(Column::Undo, key);
            }
            heads.oldest_state = number;
        }
        Ok(())
    }
}

/// The flat columns.
fn put_state(batch: &mut Batch, block: &BlockCommit, layer: &Layer) {
    for delta in &block.state.accounts {
        if let Some(wiped) = layer.wiped.get(&delta.address) {
            for slot in wiped.keys() {
                batch.remove(Column::Storage, storage_key(&delta.hashed, slot));
            }
        }
        match &delta.info {
            Some(info) => batch.put(Column::Accounts, delta.hashed.as_slice(), records::encode_account(info)),
            None => {
                batch.remove(Column::Accounts, delta.hashed.as_slice());
                continue;
            }
        }
        for slot in &delta.slots {
            let key = storage_key(&delta.hashed, &slot.hashed);
            if slot.value.is_zero() {
                batch.remove(Column::Storage, key);
            } else {
                batch.put(Column::Storage, key, records::encode_slot(&slot.value));
            }
        }
    }
}

fn undo_record(layer: &Layer) -> UndoRecord {
    let mut slots = alloy_primitives::map::AddressHashMap::<Vec<_>>::default();
    for ((address, slot), value) in &layer.slots {
        slots.entry(*address).or_default().push((*slot, *value));
    }
    UndoRecord {
        accounts: layer.accounts.iter().map(|(address, info)| (*address, info.map(Into::into))).collect(),
        slots: slots.into_iter().collect(),
        wiped: layer
            .wiped
            .iter()
            .map(|(address, slots)| (*address, slots.iter().map(|(slot, value)| (*slot, *value)).collect()))
            .collect(),
    }
}
