//! The part of the Ethereum beacon API that OP-Stack clients ask for blobs, over Dusk blocks.
//!
//! A slot is one second: `SECONDS_PER_SLOT` is 1 and a block's slot is its timestamp less that of the genesis block. Block
//! timestamps rise by at least a second, so a slot has at most one block, and a client that computes the slot from a block's
//! timestamp finds the block. Most slots have none.
//!
//! What a Dusk block does not have is filled in so:
//!
//! | field | value |
//! |---|---|
//! | `genesis_validators_root` | the identity of the network |
//! | `genesis_fork_version`, `proposer_index` | zero |
//! | `root`, `parent_root`, `state_root` | the block's hash, its parent's, its state root |
//! | `body_root` | the root of its transactions |
//! | `signature` | the generator's 48 bytes, then zeros |
//! | `kzg_commitment_inclusion_proof` | empty: there is no SSZ body in which to prove it |

use std::collections::HashSet;
use std::str::FromStr;

use serde_json::{Value, json};

use super::{Answer, JSON, prefixed, push_hex};
use crate::{BYTES, Hash, Sidecar};

/// Which block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockId {
    /// The newest.
    Head,
    /// The newest that is final. `justified` means the same here.
    Finalized,
    /// The first.
    Genesis,
    /// That of a slot: seconds since the genesis block.
    Slot(u64),
    /// That of a root, which is the block's hash.
    Root(Hash),
}

/// A text that names no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block must be head, finalized, justified, genesis, a slot number, or 0x and 64 hexadecimal digits")]
pub struct BadBlockId;

impl FromStr for BlockId {
    type Err = BadBlockId;

    fn from_str(text: &str) -> Result<Self, BadBlockId> {
        match text {
            "head" => Ok(Self::Head),
            "finalized" | "justified" => Ok(Self::Finalized),
            "genesis" => Ok(Self::Genesis),
            // A sign is no digit.
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map(Self::Slot).map_err(|_| BadBlockId),
            _ => prefixed(text).map(Self::Root).ok_or(BadBlockId),
        }
    }
}

/// What there is to know of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Timestamp of the genesis block, Unix seconds.
    pub genesis_time: u64,
    /// The network's identity.
    pub identity: Hash,
    /// Its chain id.
    pub chain_id: u64,
    /// Program and version.
    pub version: String,
}

impl Network {
    /// The slot of a block with this timestamp.
    pub const fn slot(&self, timestamp: u64) -> u64 {
        timestamp.saturating_sub(self.genesis_time)
    }

    /// The timestamp of a slot's block; `None` beyond the end of time.
    pub const fn timestamp(&self, slot: u64) -> Option<u64> {
        self.genesis_time.checked_add(slot)
    }
}

/// What there is to know of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its timestamp, Unix seconds.
    pub timestamp: u64,
    /// Its hash.
    pub root: Hash,
    /// Its parent's hash.
    pub parent_root: Hash,
    /// Its state root.
    pub state_root: Hash,
    /// The root of its transactions.
    pub body_root: Hash,
    /// The generator's signature.
    pub signature: [u8; 48],
    /// Whether it can never be replaced.
    pub is_final: bool,
    /// Versioned hashes of the blobs that clients see in it, in their order.
    pub blobs: Vec<Hash>,
}

/// `/eth/v1/beacon/genesis`.
pub fn genesis(network: &Network) -> Answer {
    Answer::json(&json!({ "data": {
        "genesis_time": network.genesis_time.to_string(),
        "genesis_validators_root": quantity(&network.identity),
        "genesis_fork_version": "0x00000000",
    }}))
}

/// `/eth/v1/config/spec`: what a client needs to find a block's slot, and the size of a blob.
pub fn spec(network: &Network) -> Answer {
    Answer::json(&json!({ "data": {
        "CONFIG_NAME": "dusk",
        "DEPOSIT_CHAIN_ID": network.chain_id.to_string(),
        "MIN_GENESIS_TIME": network.genesis_time.to_string(),
        "GENESIS_FORK_VERSION": "0x00000000",
        "SECONDS_PER_SLOT": "1",
        "SLOT_DURATION_MS": "1000",
        "FIELD_ELEMENTS_PER_BLOB": "4096",
    }}))
}

/// `/eth/v1/node/version`.
pub fn version(network: &Network) -> Answer {
    Answer::json(&json!({ "data": { "version": network.version } }))
}

/// `/eth/v1/beacon/headers/{block}`.
pub fn header(network: &Network, block: &Block) -> Answer {
    Answer::json(&json!({
        "execution_optimistic": false,
        "finalized": block.is_final,
        "data": { "root": quantity(&block.root), "canonical": true, "header": signed_header(network, block) },
    }))
}

/// Places in the block of the blobs that a request without a filter is given, in their order: all, or if they are more than `most`, the
/// first `most` different ones, each at its first place.
///
/// So such a request is never refused: anybody can bring envelopes that name blobs of earlier blocks, and by them make a block show more
/// than fits an answer, and a client that knows no filter would not get past it. Repeats stay as long as all fit, since older kona-nodes
/// ask for everything and end if there is nothing at the place where they counted a blob.
pub fn without_filter(block: &Block, most: usize) -> Vec<usize> {
    if block.blobs.len() <= most {
        return (0..block.blobs.len()).collect();
    }
    let mut seen = HashSet::new();
    let different = block.blobs.iter().enumerate().filter(|(_, hash)| seen.insert(**hash));
    different.map(|(place, _)| place).take(most).collect()
}

/// Places in the block of the blobs that `blob_sidecars` asks for, in their order. Indices that the block does not have are
/// ignored.
pub fn with_indices(block: &Block, indices: &[u64]) -> Vec<usize> {
    (0..block.blobs.len()).filter(|place| indices.contains(&(*place as u64))).collect()
}

/// Places in the block of the blobs that `blobs` asks for, in their order. A blob that the block has several times is given
/// as often as it is asked for.
pub fn with_hashes(block: &Block, hashes: &[Hash]) -> Vec<usize> {
    let mut wanted = hashes.to_vec();
    let mut take = |hash: &Hash| match wanted.iter().position(|other| other == hash) {
        Some(place) => {
            wanted.swap_remove(place);
            true
        }
        None => false,
    };
    block.blobs.iter().enumerate().filter(|(_, hash)| take(hash)).map(|(place, _)| place).collect()
}

/// Bytes that stand around a blob and its header at most. The room is made at once: a body that grows as it is written takes up to twice
/// its bytes.
const AROUND_A_BLOB: usize = 512;

/// `/eth/v1/beacon/blob_sidecars/{block}` with these blobs: each with its place in the block.
pub fn sidecars(network: &Network, block: &Block, blobs: &[(usize, Sidecar)]) -> Answer {
    let header = signed_header(network, block).to_string();
    let mut body = opening(r#""version":"deneb","#, block);
    body.reserve(blobs.len() * (2 * BYTES + header.len() + AROUND_A_BLOB));
    for (number, (place, sidecar)) in blobs.iter().enumerate() {
        body.extend_from_slice(if number == 0 { b"{" } else { b",{" });
        body.extend_from_slice(format!(r#""index":"{place}","blob":"0x"#).as_bytes());
        push_hex(&mut body, &sidecar.data[..]);
        body.extend_from_slice(br#"","kzg_commitment":"0x"#);
        push_hex(&mut body, &sidecar.commitment);
        body.extend_from_slice(br#"","kzg_proof":"0x"#);
        push_hex(&mut body, &sidecar.proof);
        body.extend_from_slice(br#"","signed_block_header":"#);
        body.extend_from_slice(header.as_bytes());
        body.extend_from_slice(br#","kzg_commitment_inclusion_proof":[]}"#);
    }
    body.extend_from_slice(b"]}");
    Answer::ok(JSON, body)
}

/// `/eth/v1/beacon/blobs/{block}` with these blobs.
pub fn blobs(block: &Block, blobs: &[Sidecar]) -> Answer {
    let mut body = opening("", block);
    body.reserve(blobs.len() * (2 * BYTES + AROUND_A_BLOB));
    for (number, sidecar) in blobs.iter().enumerate() {
        body.extend_from_slice(if number == 0 { b"\"0x" } else { b",\"0x" });
        push_hex(&mut body, &sidecar.data[..]);
        body.push(b'"');
    }
    body.extend_from_slice(b"]}");
    Answer::ok(JSON, body)
}

/// There is no such block.
pub fn no_block() -> Answer {
    Answer::refuse(404, "there is no such block: most slots have none, since a slot is one second")
}

/// The block shows the blob, but this node does not keep it. An answer without it would look as if the block had fewer. Clients take it
/// for gone: op-node and kona-node reset their derivation.
pub fn no_blob(hash: &Hash) -> Answer {
    let hash = quantity(hash);
    Answer::refuse(404, &format!("blob {hash} is not here: it has expired, or was never seen; ask another node"))
}

/// The block shows the blob, and this node has not found it yet. Clients ask again.
pub fn awaited_blob(hash: &Hash) -> Answer {
    let hash = quantity(hash);
    Answer::refuse(503, &format!("blob {hash} of this block is being fetched from peers: ask again"))
}

fn opening(version: &str, block: &Block) -> Vec<u8> {
    let is_final = block.is_final;
    format!(r#"{{{version}"execution_optimistic":false,"finalized":{is_final},"data":["#).into_bytes()
}

fn signed_header(network: &Network, block: &Block) -> Value {
    let mut signature = [0; 96];
    signature[..48].copy_from_slice(&block.signature);
    json!({
        "message": {
            "slot": network.slot(block.timestamp).to_string(),
            "proposer_index": "0",
            "parent_root": quantity(&block.parent_root),
            "state_root": quantity(&block.state_root),
            "body_root": quantity(&block.body_root),
        },
        "signature": quantity(&signature),
    })
}

fn quantity(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
