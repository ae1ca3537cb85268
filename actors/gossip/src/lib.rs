//! The actor that talks to peers over libp2p.
//!
//! | part | does | rules in |
//! |---|---|---|
//! | [`Host`] | TCP or memory, noise, yamux, gossipsub, requests; gates, scores and bans | `duskevm_p2p::{limits, score, request, topics}` |
//! | [`Gossip`] | whom to dial, what to tell about oneself, who of this node answers and judges | `duskevm_p2p::peers` |
//!
//! The host is made once by the node's wiring and outlives the instances of the actor: a restart keeps the connections, and
//! what arrives meanwhile waits in a bounded queue. Gates, scores and bans belong to the host for the same reason.
//!
//! A message from a peer goes: size and rate, head of the frame, a token, [`GossipFrame`](duskevm_messages::gossip::GossipFrame)
//! to the actor that knows the topic; it is forwarded only after that actor's verdict. Durable: `identity` (ed25519, for its
//! owner only) and `peers` (the address book) in the actor's folder.
//!
//! What peers could do that libp2p itself does not report: copies of known messages and control messages are counted in front
//! of gossipsub and cost points when they are too many; bytes that are no RPC of gossipsub close the stream (at most five
//! times per connection) and cost nothing; bytes that are no question are handed on by the codec, and cost points. Streams
//! beyond what a connection may have are dropped unseen. Addresses are IP and memory only: names are not looked up.
//!
//! Unsafe blocks of the L2 go another way, by [`BlockGossip`] on a [`BlockHost`] of its own: with the protocols, topics, limits and
//! secp256k1 identities of the OP Stack, so that op-node and kona-node are peers like any other. Rules: `duskevm_unsafe_gossip`.
//!
//! What is shared is shared out: messages that wait, answers until they are written, questions to peers, connections from one
//! address, places in the address book. Who takes much takes it from himself, and a part of the connections is kept for those
//! that this node makes itself.

mod actor;
mod blocked;
mod blocks;
mod book_file;
mod closing;
mod codec;
mod convert;
mod desk;
mod error;
mod guard;
mod host;
mod identity;
mod inbox;
mod ingress;
mod meter;
mod metrics;
mod neighbours;
mod net;
mod settings;
mod swarm;

pub use actor::{Gossip, spec};
pub use blocks::{
    BlockGossip, BlockGossipSettings, BlockHost, BlockHostSettings, BlockIdentity, BlockPeer, OwnChain, ParsePeerError,
    Role, SignerSource, StoredChain, block_spec,
};
pub use error::GossipError;
pub use host::{Attached, Control, Host, HostError, HostEvent, HostSettings, Link, Serving, Transport};
pub use identity::{Identity, IdentityError};
pub use settings::{GossipSettings, Pace};
