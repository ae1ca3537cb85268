//! What the tests share: an oracle built from scratch with alloy-trie, a counting node store, key strategies.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs)]

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_trie::{HashBuilder, Nibbles};
use duskevm_trie::{Changes, NodeSource, TrieId, Visitor, walk};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
};

/// The root that alloy-trie computes from all leaves.
pub fn oracle_root(leaves: &BTreeMap<B256, Bytes>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in leaves {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

/// The state root that alloy-trie computes from all accounts.
pub fn oracle_state_root(accounts: &BTreeMap<B256, ModelAccount>) -> B256 {
    let leaves = accounts
        .iter()
        .map(|(address, account)| {
            let raw = alloy_rlp::encode(alloy_trie::TrieAccount {
                nonce: account.nonce,
                balance: account.balance,
                storage_root: oracle_storage_root(&account.slots),
                code_hash: account.code_hash,
            });
            (*address, raw.into())
        })
        .collect();
    oracle_root(&leaves)
}

pub fn oracle_storage_root(slots: &BTreeMap<B256, U256>) -> B256 {
    oracle_root(&slots.iter().map(|(slot, value)| (*slot, alloy_rlp::encode(value).into())).collect())
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelAccount {
    pub nonce: u64,
    pub balance: U256,
    pub code_hash: B256,
    pub slots: BTreeMap<B256, U256>,
}

/// Nodes with reference counts.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    pub nodes: HashMap<B256, (i64, Bytes)>,
}

impl Counted {
    pub fn insert(&mut self, changes: &Changes) {
        for (hash, raw) in &changes.inserted {
            assert_eq!(keccak256(raw), *hash);
            self.nodes.entry(*hash).or_insert((0, raw.clone())).0 += 1;
        }
    }

    pub fn release(&mut self, removed: &[B256]) {
        for hash in removed {
            let entry = self.nodes.get_mut(hash).expect("only stored nodes are released");
            entry.0 -= 1;
            assert!(entry.0 >= 0);
            if entry.0 == 0 {
                self.nodes.remove(hash);
            }
        }
    }
}

impl NodeSource for Counted {
    type Error = Infallible;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.nodes.get(hash).map(|(_, raw)| raw.clone()))
    }
}

/// Every place below a root, as counts by hash.
pub fn places<S: NodeSource>(source: &S, trie: TrieId, root: B256, counts: &mut HashMap<B256, i64>) {
    walk(source, trie, root, &mut |visit: Visitor<'_>| {
        if let Visitor::Node { hash } = visit {
            *counts.entry(*hash).or_default() += 1;
        }
    })
    .expect("the trie is complete");
}

/// Keys that collide on long prefixes and long middles: extensions, deep branches and inline nodes all occur.
pub fn key() -> impl Strategy<Value = B256> {
    (0u8..3, 0u8..3, prop_oneof![Just(0u8), Just(0x10), any::<u8>()], 0u8..20, any::<bool>()).prop_map(
        |(first, middle, spread, last, hashed)| {
            let mut key = B256::ZERO;
            key[0] = first << 4;
            key[1] = spread;
            key[15] = middle;
            key[31] = last;
            if hashed { keccak256(key) } else { key }
        },
    )
}

/// Values from one byte (inline leaves) to account size.
pub fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => prop::collection::vec(1u8..4, 1..2),
        2 => prop::collection::vec(any::<u8>(), 1..40),
        1 => prop::collection::vec(any::<u8>(), 70..110),
    ]
    .prop_map(Bytes::from)
}
