//! What is stored where.

use crate::db::{Batch, ColumnKind, Db, DbError, Schema};
use alloy_primitives::B256;

/// Layout version of the L2 database.
pub const L2_SCHEMA_VERSION: u32 = 2;

/// The columns of the L2 database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Column {
    /// Single records: see [`HEADS`].
    Meta = 0,
    /// Block hash → header, RLP. Canonical blocks only, as in the next four.
    Headers = 1,
    /// Block hash → transactions with hash and sender, RLP.
    Bodies = 2,
    /// Block hash → receipts in their EIP-2718 encoding, an RLP list.
    Receipts = 3,
    /// Block number, big-endian → block hash.
    Canonical = 4,
    /// Transaction hash → block number, big-endian, and index in the block, u32 big-endian.
    Transactions = 5,
    /// keccak256(address) → nonce, balance and code hash at the head, RLP.
    Accounts = 6,
    /// keccak256(address) keccak256(slot) → value at the head, big-endian without leading zeros. No zero values.
    Storage = 7,
    /// Code hash → code. Code is never deleted.
    Code = 8,
    /// keccak256 → trie node, RLP. Counted per place.
    Nodes = 9,
    /// Block number, big-endian → [`UndoRecord`](super::records::UndoRecord). For blocks above both the finalized one and the
    /// oldest kept state.
    Undo = 10,
    /// Block number, big-endian → [`NodeRecord`](super::records::NodeRecord). For blocks above the
    /// oldest kept state.
    NodeChanges = 11,
    /// L1 block number, big-endian → [`SafeHead`](super::types::SafeHead). Valid up to [`SAFE_HEADS`] only: what is above was
    /// derived from L1 blocks that are being read again.
    SafeHeads = 12,
    /// Running number, big-endian → transactions of a block that was taken out, as in [`Bodies`](Self::Bodies): until somebody else
    /// keeps them.
    Dropped = 13,
}

/// Key of the heads in [`Column::Meta`].
pub(crate) const HEADS: &[u8] = b"heads";

/// Key in [`Column::Meta`] of the newest L1 block number, big-endian, in [`Column::SafeHeads`].
pub(crate) const SAFE_HEADS: &[u8] = b"safe-heads";

/// Key in [`Column::Meta`] of the newest block that took the place of another one because L1 has it.
pub(crate) const REPLACED: &[u8] = b"replaced";

/// Key in [`Column::Meta`] of the range of running numbers in [`Column::Dropped`].
pub(crate) const DROPPED: &[u8] = b"dropped";

/// Kinds of the columns, in their order.
pub(crate) const SCHEMA: Schema = Schema {
    layer: "l2",
    version: L2_SCHEMA_VERSION,
    columns: &[
        ColumnKind::Plain,
        ColumnKind::Hashed,
        ColumnKind::Compressed,
        ColumnKind::Compressed,
        ColumnKind::Plain,
        ColumnKind::Hashed,
        ColumnKind::Hashed,
        ColumnKind::Plain,
        ColumnKind::Hashed,
        ColumnKind::Counted,
        ColumnKind::Compressed,
        ColumnKind::Plain,
        ColumnKind::Plain,
        ColumnKind::Compressed,
    ],
};

/// Key of records by block number.
pub(crate) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Key in [`Column::Storage`].
pub(crate) fn storage_key(hashed_address: &B256, hashed_slot: &B256) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(hashed_address.as_slice());
    key[32..].copy_from_slice(hashed_slot.as_slice());
    key
}

/// The columns by name.
pub(crate) trait Columns {
    fn read(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, DbError>;
}

impl Columns for Db {
    fn read(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.get(column as u8, key)
    }
}

/// A batch by column name.
pub(crate) trait ColumnBatch {
    fn put(&mut self, column: Column, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>);
    fn remove(&mut self, column: Column, key: impl Into<Vec<u8>>);
}

impl ColumnBatch for Batch {
    fn put(&mut self, column: Column, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.set(column as u8, key, value);
    }

    fn remove(&mut self, column: Column, key: impl Into<Vec<u8>>) {
        self.delete(column as u8, key);
    }
}
