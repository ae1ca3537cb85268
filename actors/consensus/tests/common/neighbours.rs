//! Neighbours that play along: peers that only listen, a keeper that keeps everything.

use duskevm_blobs::{BYTES, Sidecar, kzg};
use duskevm_consensus::{Blobs, Network};
use duskevm_messages::da_store::{DropBlobs, KeepBlobs};
use duskevm_messages::gossip::*;
use duskevm_p2p::{PeerId, PeerStatus};
use duskevm_supervision::Port;
use tokio::sync::watch;

/// A peer that is at the genesis block.
pub fn peer(number: u8) -> PeerInfo {
    let status = PeerStatus { identity: [0; 32], tip: (0, [0; 32]), finalized: (0, [0; 32]), oldest_blob: 0 };
    PeerInfo { id: PeerId([number; 32]), address: None, inbound: false, status: Some(status) }
}

/// A network in which nobody has anything.
pub fn network(publish: Port<Publish>, peers: PeerFeed) -> Network {
    Network {
        publish,
        ask: Port::from_fn(|_: Ask| async { Err(AskFailure::NoPeer) }),
        judged: Port::from_fn(|_: Judged| async {}),
        bad_answer: Port::from_fn(|_: BadAnswer| async {}),
        peers,
        status: watch::channel(None).0,
    }
}

/// Whatever is to be kept is kept.
pub fn blobs_kept() -> Blobs {
    Blobs {
        keep: Port::from_fn(|_: KeepBlobs| async {}),
        drop: Port::from_fn(|_: DropBlobs| async {}),
        keep_blocks: None,
    }
}

/// One of 256 blobs.
pub fn blob(seed: u8) -> Sidecar {
    let mut data: Vec<u8> = (0..BYTES).map(|at| (at as u8).wrapping_mul(seed) ^ (at >> 8) as u8).collect();
    data.chunks_mut(32).for_each(|element| element[0] = 0);
    kzg::commit_and_prove(&data).unwrap().sidecar().clone()
}
