//! Messages to `da-store`, the actor that keeps blobs, and the one question that its blob API asks of others.
//!
//! Peers' questions come as [`ServeBlobs`](crate::gossip::ServeBlobs).

use duskevm_blobs::api::beacon::{Block, BlockId};
use duskevm_blobs::{Hash, Verified};
use duskevm_supervision::Message;
use std::sync::Arc;
use std::time::Duration;

/// Keep the blobs of a block; sent by `consensus` before it stores the block.
///
/// The reply comes when claim and blobs are on disk. Blobs of the block that are not among the sidecars are noted as missing and
/// fetched from peers in the background. A block below the retention is not kept. May be delivered twice.
#[derive(Debug, Clone)]
pub struct KeepBlobs {
    /// Height of the block.
    pub height: u64,
    /// Its hash.
    pub block: Hash,
    /// Versioned hashes of all its blobs, in order.
    pub blobs: Vec<Hash>,
    /// Those that are at hand, in any order.
    pub sidecars: Vec<Arc<Verified>>,
}

impl Message for KeepBlobs {
    type Reply = ();
    const NAME: &'static str = "keep-blobs";
    const IDEMPOTENT: bool = true;
}

/// A block is not in the chain any more; sent by `consensus` when it reverts one.
///
/// The reply comes when its blobs are gone, except those that another block has too. May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct DropBlobs {
    /// Height of the block.
    pub height: u64,
    /// Its hash.
    pub block: Hash,
}

impl Message for DropBlobs {
    type Reply = ();
    const NAME: &'static str = "drop-blobs";
    const IDEMPOTENT: bool = true;
}

/// Find blobs, on disk first, then at peers; asked by `consensus` for a candidate that came without, and after a restart.
///
/// The reply has one entry per hash, in order. What comes from peers was checked; it is kept only if a block claims it. May be
/// delivered twice.
#[derive(Debug, Clone)]
pub struct FindBlobs {
    /// Versioned hashes.
    pub hashes: Vec<Hash>,
    /// Height of the block that has them: only peers that keep its blobs are asked.
    pub height: u64,
    /// How long peers may be asked; zero asks none.
    pub within: Duration,
}

impl Message for FindBlobs {
    type Reply = Vec<Option<Arc<Verified>>>;
    const NAME: &'static str = "find-blobs";
    const IDEMPOTENT: bool = true;
}

/// What a blob is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobName {
    /// Its versioned hash.
    Hash(Hash),
    /// Its commitment.
    Commitment([u8; 48]),
}

/// What became of a blob that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundBlob {
    /// It was on disk.
    Here(Arc<Verified>),
    /// A kept block has it, but the disk has not: it did not come yet, or its record was damaged. It is looked for at peers.
    Awaited,
    /// No kept block has it: it has expired, or was never seen.
    Unknown,
}

/// A blob from the disk, whichever block has it; asked by the blob API.
///
/// May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetBlob {
    /// Which.
    pub name: BlobName,
}

impl Message for GetBlob {
    type Reply = FoundBlob;
    const NAME: &'static str = "get-blob";
    const IDEMPOTENT: bool = true;
}

/// A blob of a block: its versioned hash, and itself if it is here.
pub type BlobOfBlock = (Hash, Option<Arc<Verified>>);

/// The blobs of a block, from the disk, in order; asked by the RPC and by derivation.
///
/// The reply is `None` for a block that has no blobs, is not known or has expired. May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct BlobsOfBlock {
    /// Height of the block.
    pub height: u64,
    /// Its hash.
    pub block: Hash,
}

impl Message for BlobsOfBlock {
    type Reply = Option<Vec<BlobOfBlock>>;
    const NAME: &'static str = "blobs-of-block";
    const IDEMPOTENT: bool = true;
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobStatus {
    /// Blobs on disk.
    pub stored: u64,
    /// Blobs that blocks have and the disk has not.
    pub missing: u64,
    /// Blocks that have blobs.
    pub blocks: u64,
    /// Height of the oldest of them.
    pub oldest: Option<u64>,
}

/// What is kept; asked by the admin interface, and for what this node tells peers about itself.
///
/// May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetBlobStatus;

impl Message for GetBlobStatus {
    type Reply = BlobStatus;
    const NAME: &'static str = "get-blob-status";
    const IDEMPOTENT: bool = true;
}

/// A block and the blobs that clients see in it; asked by the blob API of whoever knows the chain.
///
/// Slots are counted as [`beacon`](duskevm_blobs::api::beacon) says. Which blobs a block shows, and in which order, is
/// decided by who answers: the API serves what it is told. The reply is `None` if there is no such block. May be
/// delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct FindBlobBlock {
    /// Which.
    pub id: BlockId,
}

impl Message for FindBlobBlock {
    type Reply = Option<Arc<Block>>;
    const NAME: &'static str = "find-blob-block";
    const IDEMPOTENT: bool = true;
}
