//! Gossip of unsafe L2 blocks as the OP Stack does it, so that op-node and kona-node are peers like any other.
//!
//! It has a host of its own, apart from that of the L1. OP nodes know each other by secp256k1 keys and speak `/meshsub/1.1.0` with
//! message ids and limits of their own; the L1's network knows only ed25519 keys, has another protocol name so that no stranger joins
//! its mesh, and disconnects who does not speak it. In one swarm each side would have to be exempt from the rules of the other.
//!
//! [`BlockHost`] outlives the instances of [`BlockGossip`] for the reasons that [`Host`](crate::Host) does.

mod actor;
mod address;
mod allowance;
mod chain;
mod codec;
mod follow;
mod host;
mod identity;
mod mesh;
mod metrics;
mod orders;
mod settings;
mod swarm;

pub use actor::{BlockGossip, block_spec};
pub use address::{BlockPeer, ParsePeerError};
pub use chain::{OwnChain, StoredChain};
pub use host::{BlockHost, BlockHostSettings};
pub use identity::BlockIdentity;
pub use settings::{BlockGossipSettings, Role, SignerSource};
