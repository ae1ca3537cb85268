//! Which L2 block was safe at which L1 block: the rule of the database behind `optimism_safeHeadAtL1Block`.
//!
//! The database is ordered by key. There is a record for each L1 block at which the safe head changed; in between the record before
//! holds. Source: op-node's RPC (the specification does not have it).

use crate::{
    config::BlockId,
    origin::{L1BlockRef, L2BlockRef},
};
use alloy_primitives::B256;

/// The safe head after an L1 block was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafeHeadRecord {
    /// The L1 block.
    pub l1: BlockId,
    /// The L2 block.
    pub l2: BlockId,
}

/// Bytes of a record besides its key.
pub const SAFE_HEAD_VALUE_LEN: usize = 32 + 32 + 8;

impl SafeHeadRecord {
    /// The block that became safe while the pipeline read this L1 block. A later one of the same L1 block replaces it.
    pub const fn new(l1: &L1BlockRef, l2: &L2BlockRef) -> Self {
        Self { l1: BlockId { hash: l1.hash, number: l1.number }, l2: BlockId { hash: l2.hash, number: l2.number } }
    }

    /// The key of an L1 block: its number, big-endian, so that keys are ordered like numbers.
    pub const fn key(l1_number: u64) -> [u8; 8] {
        l1_number.to_be_bytes()
    }

    /// L1 hash ‖ L2 hash ‖ L2 number (u64, big-endian).
    pub fn value(&self) -> [u8; SAFE_HEAD_VALUE_LEN] {
        let mut out = [0; SAFE_HEAD_VALUE_LEN];
        out[..32].copy_from_slice(self.l1.hash.as_slice());
        out[32..64].copy_from_slice(self.l2.hash.as_slice());
        out[64..].copy_from_slice(&self.l2.number.to_be_bytes());
        out
    }

    /// The inverse; `None` if the bytes are no record.
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let key: [u8; 8] = key.try_into().ok()?;
        let value: &[u8; SAFE_HEAD_VALUE_LEN] = value.try_into().ok()?;
        let (l1, rest) = value.split_first_chunk::<32>()?;
        let (l2, number) = rest.split_first_chunk::<32>()?;
        Some(Self {
            l1: BlockId { hash: B256::from(*l1), number: u64::from_be_bytes(key) },
            l2: BlockId { hash: B256::from(*l2), number: u64::from_be_bytes(number.try_into().ok()?) },
        })
    }
}

/// What to change when the safe head is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafeHeadCut {
    /// Remove all records of this L1 block and of later ones.
    pub from_l1: u64,
    /// Then write this one, if it is known that the new safe head became safe there.
    pub write: Option<SafeHeadRecord>,
}

/// The records to cut when `safe` becomes the safe head again.
///
/// `records` are those from the L1 origin of `safe` on, in ascending order: no L1 block before its origin can have made it safe.
/// `earlier` tells whether the database has a record of any L1 block below a number.
pub fn cut_safe_heads(
    records: impl IntoIterator<Item = SafeHeadRecord>,
    safe: &L2BlockRef,
    earlier: impl FnOnce(u64) -> bool,
) -> Option<SafeHeadCut> {
    let first = records.into_iter().find(|record| record.l2.number >= safe.number)?;
    // At the beginning of the records it is unknown whether the block was safe before.
    let write = earlier(first.l1.number)
        .then_some(SafeHeadRecord { l1: first.l1, l2: BlockId { hash: safe.hash, number: safe.number } });
    Some(SafeHeadCut { from_l1: first.l1.number, write })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn record(l1: u64, l2: u64) -> SafeHeadRecord {
        let id = |number: u64| BlockId { hash: B256::left_padding_from(&number.to_be_bytes()), number };
        SafeHeadRecord { l1: id(l1), l2: id(l2) }
    }

    fn block(number: u64) -> L2BlockRef {
        L2BlockRef { number, hash: B256::repeat_byte(9), ..Default::default() }
    }

    #[test]
    fn keys_are_ordered_like_numbers() {
        assert!(SafeHeadRecord::key(255) < SafeHeadRecord::key(256));
    }

    #[test]
    fn a_cut_begins_where_the_block_became_safe() {
        let records = [record(10, 1), record(12, 5), record(13, 9)];
        let cut = cut_safe_heads(records, &block(4), |l1| l1 > 10).unwrap();
        assert_eq!(cut.from_l1, 12);
        let written = cut.write.unwrap();
        assert_eq!((written.l1, written.l2.number, written.l2.hash), (records[1].l1, 4, B256::repeat_byte(9)));
    }

    #[test]
    fn at_the_beginning_of_the_records_nothing_is_claimed() {
        let cut = cut_safe_heads([record(10, 5)], &block(4), |_| false).unwrap();
        assert_eq!(cut, SafeHeadCut { from_l1: 10, write: None });
    }

    #[test]
    fn a_safe_head_above_all_records_cuts_nothing() {
        let records: Vec<_> = [record(10, 1)].into();
        assert_eq!(cut_safe_heads(records, &block(4), |_| true), None);
    }

    proptest! {
        #[test]
        fn records_survive(l1: u64, l2: u64, hashes: [[u8; 32]; 2]) {
            let mut record = record(l1, l2);
            (record.l1.hash, record.l2.hash) = (hashes[0].into(), hashes[1].into());
            prop_assert_eq!(SafeHeadRecord::decode(&SafeHeadRecord::key(l1), &record.value()), Some(record));
        }

        #[test]
        fn what_has_another_length_is_no_record(key in proptest::collection::vec(any::<u8>(), 0..12), value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let fits = key.len() == 8 && value.len() == SAFE_HEAD_VALUE_LEN;
            prop_assert_eq!(SafeHeadRecord::decode(&key, &value).is_some(), fits);
        }
    }
}
