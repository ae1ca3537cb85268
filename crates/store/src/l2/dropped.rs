//! The transactions of blocks that were taken out, until somebody else keeps them: a crash in between must not lose them.

use super::{
    Inner, L2Error, L2Store, StoredTransaction,
    columns::{Column, ColumnBatch, Columns, DROPPED, number_key},
    records,
};
use crate::db::Batch;
use duskevm_fence::Fence;
use std::ops::Range;

/// EIP-2718 type of a deposit transaction.
const DEPOSIT_TYPE: u8 = 0x7e;

/// Transactions of blocks that were taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Oldest block first, without deposits: those come from L1 again.
    pub transactions: Vec<StoredTransaction>,
    upto: u64,
}

impl L2Store {
    /// The transactions of all blocks that were taken out and not [forgotten](Self::forget_returned) since.
    ///
    /// # Errors
    ///
    /// [`L2Error::Db`], [`L2Error::Damaged`].
    pub fn returned(&self) -> Result<Returned, L2Error> {
        let _writer = self.inner.lock_writer();
        let range = self.inner.dropped_range()?;
        let mut returned = Returned { transactions: Vec::new(), upto: range.end };
        // They were taken out newest first.
        for number in range.rev() {
            let raw = self.inner.db.read(Column::Dropped, &number_key(number))?;
            let raw = raw.ok_or_else(|| L2Error::damaged("dropped blocks", format!("none of number {number}")))?;
            returned.transactions.extend(records::decode_body(&raw)?);
        }
        Ok(returned)
    }

    /// Somebody else keeps these now.
    ///
    /// # Errors
    ///
    /// [`L2Error::Fenced`], [`L2Error::Db`].
    pub fn forget_returned(&self, fence: &Fence, returned: &Returned) -> Result<(), L2Error> {
        fence.write(|| {
            let inner = &self.inner;
            let _writer = inner.lock_writer();
            let range = inner.dropped_range()?;
            let upto = returned.upto.min(range.end);
            if upto <= range.start {
                return Ok(());
            }
            let mut batch = Batch::new();
            for number in range.start..upto {
                batch.remove(Column::Dropped, number_key(number));
            }
            batch.put(Column::Meta, DROPPED, records::encode_range(&(upto..range.end)));
            inner.commit(batch, inner.head()?.heads.latest)
        })?
    }
}

impl Inner {
    fn dropped_range(&self) -> Result<Range<u64>, L2Error> {
        let raw = self.db.read(Column::Meta, DROPPED)?;
        raw.map_or(Ok(0..0), |raw| records::decode_range(&raw))
    }

    /// Adds to the batch that takes a block out what keeps its transactions.
    pub(super) fn keep_dropped(&self, batch: &mut Batch, transactions: &[StoredTransaction]) -> Result<(), L2Error> {
        let users: Vec<_> = transactions.iter().filter(|tx| tx.raw.first() != Some(&DEPOSIT_TYPE)).cloned().collect();
        if users.is_empty() {
            return Ok(());
        }
        let range = self.dropped_range()?;
        batch.put(Column::Dropped, number_key(range.end), records::encode_body(&users));
        batch.put(Column::Meta, DROPPED, records::encode_range(&(range.start..range.end + 1)));
        Ok(())
    }
}
