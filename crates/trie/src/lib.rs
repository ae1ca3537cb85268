//! Merkle-Patricia tries over a source of nodes: incremental updates, roots, proofs, witnesses.
//!
//! A [`Trie`] is the partially decoded image of one trie: what an operation needs is fetched from a
//! [`NodeSource`] by hash, everything else stays a hash. An update therefore costs in touched keys, not in
//! state size, and the upper levels stay decoded from block to block. A [`StateTrie`] is the account trie with
//! the storage tries below it, and turns a [`HashedUpdate`] into the new state root.
//!
//! The same code runs in three places: on a full node over its database, in a stateless execution over a
//! [`Witness`], and (with the feature `std`) below a [`Recorder`] that collects such a witness.
//!
//! Keys are always 32 bytes (hashes of addresses and slots), so a branch never holds a value and no key is the
//! prefix of another. Bytes from outside never panic: a node that no such trie can contain is
//! [`TrieError::Malformed`].
//!
//! # What reference counting by hash relies on
//!
//! Two places of a trie can hold equal nodes. [`Changes`] therefore counts *places*: when the node at one place
//! (a trie and a nibble path) is replaced, its hash appears once among the removed, and the hash of what took its
//! place once among the inserted. Whoever adds one per inserted hash at once, and subtracts one per removed
//! hash when the block before the change leaves its history window, holds a positive count for exactly the
//! nodes that the roots of the window reach.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod changes;
mod commit;
mod decode;
mod encode;
mod error;
mod key;
mod node;
mod source;
mod state;
mod trie;
mod update;
mod walk;

pub use changes::{AccountDelta, AccountInfo, SlotDelta, StateChanges};
pub use error::{TrieError, TrieId};
pub use key::NibblePath;
#[cfg(feature = "std")]
pub use source::Recorder;
pub use source::{NodeSource, Witness, WitnessError};
pub use state::{Account, AccountChange, AccountUpdate, HashedUpdate, StateLimits, StateOutcome, StateTrie};
pub use trie::{Change, Changes, Trie};
pub use walk::{Visitor, walk};

use alloy_primitives::{B256, b256};

/// Root of a trie without keys: keccak256 of the RLP empty string.
pub const EMPTY_ROOT_HASH: B256 = b256!("0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/// Size of a key in nibbles.
pub(crate) const KEY_NIBBLES: usize = 64;
