//! Encodings of what is stored. Records that only this program reads go through the codec module.

use super::{
    Heads,
    error::L2Error,
    types::{BlockRef, SafeHead, StoredTransaction},
};
use crate::codec;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use alloy_rlp::{Decodable, Encodable, Header};
use duskevm_trie::AccountInfo;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What the state was before a block, for what the block changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UndoRecord {
    pub(crate) accounts: Vec<(Address, Option<StoredInfo>)>,
    /// Written slots.
    pub(crate) slots: Vec<(Address, Vec<(U256, U256)>)>,
    /// Everything that was in storages that were emptied, by hashed slot.
    pub(crate) wiped: Vec<(Address, Vec<(B256, U256)>)>,
}

/// [`AccountInfo`] for serde.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredInfo {
    nonce: u64,
    balance: U256,
    code_hash: B256,
}

impl From<AccountInfo> for StoredInfo {
    fn from(AccountInfo { nonce, balance, code_hash }: AccountInfo) -> Self {
        Self { nonce, balance, code_hash }
    }
}

impl From<StoredInfo> for AccountInfo {
    fn from(StoredInfo { nonce, balance, code_hash }: StoredInfo) -> Self {
        Self { nonce, balance, code_hash }
    }
}

/// Trie nodes by hash that a block added (released again if it is dropped) and took away (released when the state before it
/// leaves the history window).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    #[serde(with = "hashes")]
    pub(crate) inserted: Vec<B256>,
    #[serde(with = "hashes")]
    pub(crate) removed: Vec<B256>,
}

/// Hashes as one run of bytes.
mod hashes {
    use alloy_primitives::{B256, FixedBytesSliceExt};
    use serde::{
        Deserializer, Serializer,
        de::{Error, Visitor},
    };

    pub(super) fn serialize<S: Serializer>(hashes: &[B256], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(FixedBytesSliceExt::as_flattened(hashes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<B256>, D::Error> {
        deserializer.deserialize_bytes(Hashes)
    }

    struct Hashes;

    impl Visitor<'_> for Hashes {
        type Value = Vec<B256>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("hashes of 32 bytes each")
        }

        fn visit_bytes<E: Error>(self, raw: &[u8]) -> Result<Self::Value, E> {
            let (chunks, rest) = raw.as_chunks::<32>();
            if rest.is_empty() {
                Ok(chunks.iter().map(|chunk| B256::new(*chunk)).collect())
            } else {
                Err(E::invalid_length(raw.len(), &self))
            }
        }
    }
}

pub(crate) fn encode_heads(heads: &Heads) -> Result<Vec<u8>, L2Error> {
    codec::encode(heads).map_err(|error| L2Error::damaged("heads", error))
}

pub(crate) fn decode_heads(raw: &[u8]) -> Result<Heads, L2Error> {
    codec::decode(raw).map_err(|error| L2Error::damaged("heads", error))
}

pub(crate) fn encode_safe_head(record: &SafeHead) -> Result<Vec<u8>, L2Error> {
    codec::encode(record).map_err(|error| L2Error::damaged("safe head", error))
}

pub(crate) fn decode_safe_head(raw: &[u8]) -> Result<SafeHead, L2Error> {
    codec::decode(raw).map_err(|error| L2Error::damaged("safe head", error))
}

pub(crate) fn encode_block_ref(block: &BlockRef) -> Result<Vec<u8>, L2Error> {
    codec::encode(block).map_err(|error| L2Error::damaged("block reference", error))
}

pub(crate) fn decode_block_ref(raw: &[u8]) -> Result<BlockRef, L2Error> {
    codec::decode(raw).map_err(|error| L2Error::damaged("block reference", error))
}

pub(crate) fn decode_number(raw: &[u8]) -> Result<u64, L2Error> {
    raw.try_into().map(u64::from_be_bytes).map_err(|error| L2Error::damaged("number", error))
}

/// First running number and the one after the last.
pub(crate) fn encode_range(range: &Range<u64>) -> Vec<u8> {
    [range.start.to_be_bytes(), range.end.to_be_bytes()].concat()
}

pub(crate) fn decode_range(raw: &[u8]) -> Result<Range<u64>, L2Error> {
    let parts = || Some((raw.get(..8)?.try_into().ok()?, raw.get(8..)?.try_into().ok()?));
    let (start, end) = parts().ok_or_else(|| L2Error::damaged("range of dropped blocks", "not 16 bytes"))?;
    Ok(u64::from_be_bytes(start)..u64::from_be_bytes(end))
}

pub(crate) fn encode_undo(record: &UndoRecord) -> Result<Vec<u8>, L2Error> {
    codec::encode(record).map_err(|error| L2Error::damaged("undo record", error))
}

pub(crate) fn decode_undo(raw: &[u8]) -> Result<UndoRecord, L2Error> {
    codec::decode(raw).map_err(|error| L2Error::damaged("undo record", error))
}

pub(crate) fn encode_nodes(record: &NodeRecord) -> Result<Vec<u8>, L2Error> {
    codec::encode(record).map_err(|error| L2Error::damaged("node record", error))
}

pub(crate) fn decode_nodes(raw: &[u8]) -> Result<NodeRecord, L2Error> {
    codec::decode(raw).map_err(|error| L2Error::damaged("node record", error))
}

/// Nonce and balance, and the code hash if there is code.
pub(crate) fn encode_account(info: &AccountInfo) -> Vec<u8> {
    let code = info.code_hash != KECCAK256_EMPTY;
    let payload_length = info.nonce.length() + info.balance.length() + if code { info.code_hash.length() } else { 0 };
    let mut raw = Vec::with_capacity(payload_length + 2);
    Header { list: true, payload_length }.encode(&mut raw);
    info.nonce.encode(&mut raw);
    info.balance.encode(&mut raw);
    if code {
        info.code_hash.encode(&mut raw);
    }
    raw
}

pub(crate) fn decode_account(raw: &[u8]) -> Result<AccountInfo, L2Error> {
    let decode = || -> alloy_rlp::Result<AccountInfo> {
        let mut rest = raw;
        let mut payload = Header::decode_bytes(&mut rest, true)?;
        let nonce = u64::decode(&mut payload)?;
        let balance = U256::decode(&mut payload)?;
        let code_hash = if payload.is_empty() { KECCAK256_EMPTY } else { B256::decode(&mut payload)? };
        if rest.is_empty() && payload.is_empty() {
            Ok(AccountInfo { nonce, balance, code_hash })
        } else {
            Err(alloy_rlp::Error::UnexpectedLength)
        }
    };
    decode().map_err(|error| L2Error::damaged("account", error))
}

pub(crate) fn encode_slot(value: &U256) -> Vec<u8> {
    value.to_be_bytes_trimmed_vec()
}

pub(crate) fn decode_slot(raw: &[u8]) -> Result<U256, L2Error> {
    U256::try_from_be_slice(raw).ok_or_else(|| L2Error::damaged("storage value", "more than 32 bytes"))
}

/// An RLP list in a buffer of its size: these are megabytes.
fn encode_list<T: Encodable>(items: &[T]) -> Vec<u8> {
    let payload_length = items.iter().map(Encodable::length).sum();
    let header = Header { list: true, payload_length };
    let mut raw = Vec::with_capacity(header.length_with_payload());
    header.encode(&mut raw);
    items.iter().for_each(|item| item.encode(&mut raw));
    raw
}

pub(crate) fn encode_body(transactions: &[StoredTransaction]) -> Vec<u8> {
    encode_list(transactions)
}

pub(crate) fn decode_body(raw: &[u8]) -> Result<Vec<StoredTransaction>, L2Error> {
    alloy_rlp::decode_exact(raw).map_err(|error| L2Error::damaged("block body", error))
}

pub(crate) fn encode_receipts(receipts: &[Bytes]) -> Vec<u8> {
    encode_list(receipts)
}

pub(crate) fn decode_receipts(raw: &[u8]) -> Result<Vec<Bytes>, L2Error> {
    alloy_rlp::decode_exact(raw).map_err(|error| L2Error::damaged("receipts", error))
}

pub(crate) fn decode_header(raw: &[u8]) -> Result<alloy_consensus::Header, L2Error> {
    alloy_rlp::decode_exact(raw).map_err(|error| L2Error::damaged("header", error))
}

pub(crate) fn decode_hash(raw: &[u8]) -> Result<B256, L2Error> {
    B256::try_from(raw).map_err(|error| L2Error::damaged("block hash", error))
}

pub(crate) fn encode_location(number: u64, index: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &index.to_be_bytes()].concat()
}

pub(crate) fn decode_location(raw: &[u8]) -> Result<(u64, u32), L2Error> {
    let parts = || Some((raw.get(..8)?.try_into().ok()?, raw.get(8..)?.try_into().ok()?));
    let (number, index) = parts().ok_or_else(|| L2Error::damaged("transaction location", "not 12 bytes"))?;
    Ok((u64::from_be_bytes(number), u32::from_be_bytes(index)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn accounts_and_slots_round_trip(nonce: u64, balance: [u8; 32], code: Option<[u8; 32]>) {
            let balance = U256::from_be_bytes(balance);
            let info = AccountInfo { nonce, balance, code_hash: code.map_or(KECCAK256_EMPTY, B256::new) };
            prop_assert_eq!(decode_account(&encode_account(&info)).unwrap(), info);
            prop_assert_eq!(decode_slot(&encode_slot(&balance)).unwrap(), balance);
        }

        #[test]
        fn records_round_trip(
            inserted in prop::collection::vec(any::<[u8; 32]>(), 0..5),
            removed in prop::collection::vec(any::<[u8; 32]>(), 0..5),
            address: [u8; 20],
            words in prop::collection::vec(any::<[u8; 32]>(), 2),
        ) {
            let [a, b] = [words[0], words[1]].map(U256::from_be_bytes);
            let nodes = NodeRecord {
                inserted: inserted.into_iter().map(B256::new).collect(),
                removed: removed.into_iter().map(B256::new).collect(),
            };
            prop_assert_eq!(decode_nodes(&encode_nodes(&nodes).unwrap()).unwrap(), nodes);
            let address = Address::new(address);
            let info = StoredInfo { nonce: 1, balance: a, code_hash: B256::from(b) };
            let undo = UndoRecord {
                accounts: vec![(address, Some(info)), (Address::ZERO, None)],
                slots: vec![(address, vec![(a, b), (b, U256::ZERO)])],
                wiped: vec![(address, vec![(B256::from(a), b)])],
            };
            prop_assert_eq!(decode_undo(&encode_undo(&undo).unwrap()).unwrap(), undo);
        }

        #[test]
        fn damaged_records_are_errors(raw in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_heads(&raw);
            let _ = decode_safe_head(&raw);
            let _ = decode_block_ref(&raw);
            let _ = decode_number(&raw);
            let _ = decode_range(&raw);
            let _ = decode_undo(&raw);
            let _ = decode_nodes(&raw);
            let _ = decode_account(&raw);
            let _ = decode_slot(&raw);
            let _ = decode_body(&raw);
            let _ = decode_receipts(&raw);
            let _ = decode_header(&raw);
            let _ = decode_location(&raw);
        }
    }
}
