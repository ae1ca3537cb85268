//! The newest blocks are taken out again.

use super::{
    BlockRef, DroppedBlock, Inner, L2Error, L2Store,
    columns::{Column, ColumnBatch, Columns, HEADS, number_key, storage_key},
    flat::Head,
    records::{self, UndoRecord},
};
use crate::db::Batch;
use alloy_primitives::{B256, keccak256};
use duskevm_fence::Fence;

impl L2Store {
    /// Takes out the blocks above `target`, so that it is the head again. Returns them in ascending order, with their
    /// transactions, which the pool may want back.
    ///
    /// Each block is one commit of the database: after a crash or an error in the middle the head is one of them or `target`.
    /// The same commit keeps the transactions, also for [`returned`](Self::returned).
    ///
    /// # Errors
    ///
    /// [`L2Error::UnknownBlock`] if the target is not canonical, [`L2Error::BelowFinalized`], [`L2Error::BelowHistory`],
    /// [`L2Error::Fenced`], [`L2Error::Db`].
    pub fn rewind_to(&self, fence: &Fence, target: B256) -> Result<Vec<DroppedBlock>, L2Error> {
        let target = self.inner.block_ref(target)?.ok_or(L2Error::UnknownBlock(target))?;
        let mut dropped = Vec::new();
        // One turn of the gate per block: a long way back must not keep a replacement of this instance waiting.
        while let Some(block) = fence.write(|| self.inner.drop_one_above(target))?? {
            dropped.push(block);
        }
        dropped.reverse();
        Ok(dropped)
    }
}

impl Inner {
    /// Takes out the newest block if it is above the target.
    fn drop_one_above(&self, target: BlockRef) -> Result<Option<DroppedBlock>, L2Error> {
        let _writer = self.lock_writer();
        let head = self.head()?;
        let (finalized, oldest) = (head.heads.finalized, head.heads.oldest_state);
        if target.number < finalized.number {
            return Err(L2Error::BelowFinalized { target, finalized });
        }
        if target.number < oldest {
            return Err(L2Error::BelowHistory { target, oldest });
        }
        if self.canonical_hash(target.number)? != Some(target.hash) {
            return Err(L2Error::UnknownBlock(target.hash));
        }
        if head.heads.latest.number <= target.number {
            return Ok(None);
        }
        self.drop_head(head).map(Some)
    }

    fn drop_head(&self, head: Head) -> Result<DroppedBlock, L2Error> {
        let block = head.heads.latest;
        let missing = |what: &str| L2Error::damaged(what, format!("none of block {block}"));
        let read = |column: Column, key: &[u8], what: &str| -> Result<Vec<u8>, L2Error> {
            self.db.read(column, key)?.ok_or_else(|| missing(what))
        };
        let key = number_key(block.number);
        let header = records::decode_header(&read(Column::Headers, block.hash.as_slice(), "header")?)?;
        let parent = BlockRef { number: block.number.saturating_sub(1), hash: header.parent_hash };
        let parent_header = records::decode_header(&read(Column::Headers, parent.hash.as_slice(), "parent header")?)?;
        let transactions = records::decode_body(&read(Column::Bodies, block.hash.as_slice(), "body")?)?;
        let undo = records::decode_undo(&read(Column::Undo, &key, "undo record")?)?;
        let nodes = records::decode_nodes(&read(Column::NodeChanges, &key, "node record")?)?;

        let mut batch = Batch::new();
        for column in [Column::Headers, Column::Bodies, Column::Receipts] {
            batch.remove(column, block.hash.as_slice());
        }
        for column in [Column::Canonical, Column::Undo, Column::NodeChanges] {
            batch.remove(column, key);
        }
        for transaction in &transactions {
            batch.remove(Column::Transactions, transaction.hash.as_slice());
        }
        for hash in nodes.inserted {
            batch.remove(Column::Nodes, hash.as_slice());
        }
        restore(&mut batch, &undo);
        let mut heads = head.heads;
        heads.latest = parent;
        if heads.safe.number > parent.number {
            heads.safe = parent;
        }
        batch.put(Column::Meta, HEADS, records::encode_heads(&heads)?);
        self.keep_dropped(&mut batch, &transactions)?;
        self.flat.announce_cut(parent.number);
        if let Err(error) = self.commit(batch, parent) {
            self.flat.withdraw();
            return Err(error);
        }
        undo.wiped.iter().for_each(|(address, _)| self.flat.forget_storage(address));
        for (address, info) in undo.accounts {
            self.flat.correct_account(address, info.map(Into::into));
        }
        for (address, slots) in undo.slots {
            slots.into_iter().for_each(|(slot, value)| self.flat.correct_slot(address, slot, value));
        }
        self.flat.retreat(Head { heads, root: parent_header.state_root });
        Ok(DroppedBlock { block, transactions })
    }
}

/// The flat columns as they were.
fn restore(batch: &mut Batch, undo: &UndoRecord) {
    for (address, info) in &undo.accounts {
        let hashed = keccak256(address);
        match info {
            Some(info) => {
                batch.put(Column::Accounts, hashed.as_slice(), records::encode_account(&(*info).into()));
            }
            None => batch.remove(Column::Accounts, hashed.as_slice()),
        }
    }
    let slots = undo.slots.iter().flat_map(|(address, slots)| {
        let hashed = keccak256(address);
        slots.iter().map(move |(slot, value)| (hashed, keccak256(slot.to_be_bytes::<32>()), *value))
    });
    let wiped = undo.wiped.iter().flat_map(|(address, slots)| {
        let hashed = keccak256(address);
        slots.iter().map(move |(slot, value)| (hashed, *slot, *value))
    });
    for (address, slot, value) in slots.chain(wiped) {
        let key = storage_key(&address, &slot);
        if value.is_zero() {
            batch.remove(Column::Storage, key);
        } else {
            batch.put(Column::Storage, key, records::encode_slot(&value));
        }
    }
}
