//! What derivation leaves behind: which L2 block was safe at which L1 block (what `optimism_safeHeadAtL1Block` answers from), and where
//! it put another block in the place of one that had been announced.

use super::{
    BlockRef, Inner, L2Error, L2Reader, L2Store, SafeHead,
    columns::{Column, ColumnBatch, Columns, REPLACED, SAFE_HEADS, number_key},
    records,
};
use crate::db::Batch;
use duskevm_fence::Fence;

impl L2Store {
    /// Notes that `l2` is the safe head once everything up to the L1 block `l1` has been read. To be called for every L1 block in its
    /// order. What is known of later L1 blocks is forgotten with it: whoever reads an L1 block again reads the later ones again, too.
    ///
    /// # Errors
    ///
    /// [`L2Error::Fenced`], [`L2Error::Db`].
    pub fn note_safe_head(&self, fence: &Fence, l1: BlockRef, l2: BlockRef) -> Result<(), L2Error> {
        fence.write(|| self.inner.note_safe_head(SafeHead { l1, l2 }))?
    }

    /// Forgets all safe heads: none of the L1 blocks that they name is a part of L1 any more.
    ///
    /// # Errors
    ///
    /// [`L2Error::Fenced`], [`L2Error::Db`].
    pub fn forget_safe_heads(&self, fence: &Fence) -> Result<(), L2Error> {
        fence.write(|| {
            let inner = &self.inner;
            let _writer = inner.lock_writer();
            let mut batch = Batch::new();
            batch.remove(Column::Meta, SAFE_HEADS);
            inner.commit(batch, inner.head()?.heads.latest)
        })?
    }

    /// Notes that L1 puts `block` in the place of another one. To be called before the other one is taken out, so that whoever had
    /// announced that one learns of it whatever happens in between.
    ///
    /// # Errors
    ///
    /// [`L2Error::Fenced`], [`L2Error::Db`].
    pub fn note_replaced(&self, fence: &Fence, block: BlockRef) -> Result<(), L2Error> {
        fence.write(|| {
            let inner = &self.inner;
            let _writer = inner.lock_writer();
            let mut batch = Batch::new();
            batch.put(Column::Meta, REPLACED, records::encode_block_ref(&block)?);
            inner.commit(batch, inner.head()?.heads.latest)
        })?
    }
}

impl L2Reader {
    /// What was safe at the newest L1 block that is not above `l1_number`; `None` if this node has not read that block: it lies
    /// before the part of L1 that it began with.
    ///
    /// # Errors
    ///
    /// [`L2Error::Db`], [`L2Error::Damaged`].
    pub fn safe_head_at(&self, l1_number: u64) -> Result<Option<SafeHead>, L2Error> {
        let inner = self.inner();
        let Some(newest) = inner.db.read(Column::Meta, SAFE_HEADS)? else { return Ok(None) };
        let number = l1_number.min(records::decode_number(&newest)?);
        let raw = inner.db.read(Column::SafeHeads, &number_key(number))?;
        raw.map(|raw| records::decode_safe_head(&raw)).transpose()
    }

    /// The newest block that took the place of another one because L1 has it. It may be out of the chain again.
    ///
    /// # Errors
    ///
    /// [`L2Error::Db`], [`L2Error::Damaged`].
    pub fn replaced(&self) -> Result<Option<BlockRef>, L2Error> {
        let raw = self.inner().db.read(Column::Meta, REPLACED)?;
        raw.map(|raw| records::decode_block_ref(&raw)).transpose()
    }
}

impl Inner {
    fn note_safe_head(&self, record: SafeHead) -> Result<(), L2Error> {
        let _writer = self.lock_writer();
        let latest = self.head()?.heads.latest;
        let key = number_key(record.l1.number);
        let mut batch = Batch::new();
        batch.put(Column::SafeHeads, key, records::encode_safe_head(&record)?);
        batch.put(Column::Meta, SAFE_HEADS, key);
        self.commit(batch, latest)
    }
}
