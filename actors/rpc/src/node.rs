//! What the RPC asks of the rest of the node.

use alloy_primitives::B256;
use duskevm_rollup::RollupConfig;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// A block of L1, as the rollup RPC shows it: numbers are plain JSON integers there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct L1Ref {
    /// Its hash.
    pub hash: B256,
    /// Its number.
    pub number: u64,
    /// Hash of its parent.
    pub parent_hash: B256,
    /// In seconds.
    pub timestamp: u64,
}

/// How far L1 is known and derived from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct L1Status {
    /// The block that derivation reads: what lies below it is derived from. All zeros where nothing is derived.
    pub current_l1: L1Ref,
    /// The same as `finalized_l1`.
    pub current_l1_finalized: L1Ref,
    /// The newest one.
    pub head_l1: L1Ref,
    /// The newest safe one.
    pub safe_l1: L1Ref,
    /// The newest final one.
    pub finalized_l1: L1Ref,
}

/// Progress of a node that is behind, for `eth_syncing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncProgress {
    /// Where it started.
    #[serde(with = "alloy_serde::quantity")]
    pub starting_block: u64,
    /// Where it is.
    #[serde(with = "alloy_serde::quantity")]
    pub current_block: u64,
    /// Where it is going.
    #[serde(with = "alloy_serde::quantity")]
    pub highest_block: u64,
}

/// What the RPC wants to know of the rest of the node. Cheap and never blocking: it is asked on the threads that serve sockets.
pub trait NodeView: Send + Sync {
    /// How far L1 is known and derived from.
    fn l1(&self) -> L1Status;
    /// Connected peers.
    fn peers(&self) -> u64;
    /// `None` if the node is not behind.
    fn syncing(&self) -> Option<SyncProgress>;
}

/// The rollup that this chain is.
#[derive(Debug, Clone)]
pub struct Rollup {
    /// Its parameters.
    pub config: RollupConfig,
    /// The same as op-node writes it, for `optimism_rollupConfig`.
    pub json: Arc<RawValue>,
}
