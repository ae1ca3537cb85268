//! What goes in and comes out.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use duskevm_trie::{Account, Changes, StateChanges};
use serde::{Deserialize, Serialize};

/// A block by number and hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
}

impl std::fmt::Display for BlockRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.number, self.hash)
    }
}

/// The heads of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// The newest block: the state is the one after it.
    pub latest: BlockRef,
    /// The newest block that was derived from L1 data.
    pub safe: BlockRef,
    /// The newest block that L1 finality covers. Nothing at or below it is ever changed.
    pub finalized: BlockRef,
    /// Number of the oldest block whose state is still there as a whole, and to which the chain can be taken back. It
    /// follows the latest block at the distance of the history window, whether that is final or not.
    pub oldest_state: u64,
}

/// What was the safe head once everything up to an L1 block had been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafeHead {
    /// The L1 block.
    pub l1: BlockRef,
    /// The newest L2 block that follows from L1 up to there.
    pub l2: BlockRef,
}

/// A transaction with what was once computed about it.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct StoredTransaction {
    /// Transaction hash.
    pub hash: B256,
    /// Recovered sender (the `from` of a deposit).
    pub sender: Address,
    /// EIP-2718 encoding.
    pub raw: Bytes,
}

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLocation {
    /// The block.
    pub block: BlockRef,
    /// Index in the block.
    pub index: u32,
}

/// A whole block to store, with everything it did.
#[derive(Clone, Debug)]
pub struct BlockCommit {
    /// Hash of the header.
    pub hash: B256,
    /// The header; its parent must be the head.
    pub header: Header,
    /// Transactions in order.
    pub transactions: Vec<StoredTransaction>,
    /// Receipts in order, in their EIP-2718 encoding.
    pub receipts: Vec<Bytes>,
    /// What it did to the state, by plain keys.
    pub state: StateChanges,
    /// What it did to the tries; their root is the header's state root.
    pub nodes: Changes,
}

/// A block that a reorganisation took out of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedBlock {
    /// The block.
    pub block: BlockRef,
    /// Its transactions, deposits included.
    pub transactions: Vec<StoredTransaction>,
}

/// Proof of an account and of some of its slots, against the state root of the snapshot's block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account.
    pub address: Address,
    /// What the trie says about it; `None` if it does not exist.
    pub account: Option<Account>,
    /// Nodes from the state root down.
    pub proof: Vec<Bytes>,
    /// The slots, in the order in which they were asked for.
    pub slots: Vec<SlotProof>,
}

/// Proof of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotProof {
    /// The slot.
    pub slot: U256,
    /// Its value, zero if it was never written.
    pub value: U256,
    /// Nodes from the account's storage root down; empty if it has no storage.
    pub proof: Vec<Bytes>,
}
