//! Messages to the gossip of L2 blocks: what operators ask of its peers and order.

use alloy_primitives::B256;
use duskevm_p2p::Subnet;
use duskevm_supervision::Message;
use std::{net::IpAddr, time::Duration};

/// Who made a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// There is none.
    #[default]
    Unknown,
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// What is known of a peer, or of this node. Texts that the peer says of itself are cut to a bounded length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerView {
    /// Its libp2p id.
    pub id: String,
    /// Keccak-256 of its public key, by which Ethereum's discovery knows it; `None` if it has no secp256k1 key.
    pub node_id: Option<B256>,
    /// Its program, as it says.
    pub user_agent: String,
    /// Its protocol family, as it says.
    pub protocol_version: String,
    /// Where it is, each with its id.
    pub addresses: Vec<String>,
    /// What it speaks, as it says.
    pub protocols: Vec<String>,
    /// Whether there is a connection.
    pub connected: bool,
    /// Who made it.
    pub direction: Direction,
    /// Whether it is never banned.
    pub protected: bool,
    /// What a ping took last.
    pub latency: Option<Duration>,
    /// Whether it has subscribed to blocks.
    pub gossips: bool,
}

/// Whom the operator keeps away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockedPeers {
    /// Ids.
    pub peers: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Ranges of addresses.
    pub subnets: Vec<Subnet>,
}

/// The peers at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeersView {
    /// This node.
    pub own: PeerView,
    /// The chain whose blocks are gossiped.
    pub chain_id: u64,
    /// Those that are connected and those that the settings name.
    pub peers: Vec<PeerView>,
    /// Whom the operator keeps away.
    pub blocked: BlockedPeers,
    /// Connected peers that subscribed to the topic of each version of blocks, the first version first.
    pub topics: [usize; 4],
    /// Peers that are banned for what they did.
    pub banned: usize,
}

/// Who the peers are; asked by the RPC. `None` if the host has died, which the next instance of the actor repairs. Idempotent.
#[derive(Debug, Clone, Copy)]
pub struct DescribePeers;

impl Message for DescribePeers {
    type Reply = Option<Box<PeersView>>;
    const NAME: &'static str = "describe_peers";
    const IDEMPOTENT: bool = true;
}

/// What an operator wants of the peers; asked by the RPC. Holds until the process ends. Peers are named by their libp2p ids. What is
/// blocked makes no new connections and is dialled by nobody; connections that there are stay, as with op-node. Idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerOrder {
    /// Keep a peer away.
    BlockPeer(String),
    /// No longer.
    UnblockPeer(String),
    /// Keep an address away.
    BlockAddress(IpAddr),
    /// No longer.
    UnblockAddress(IpAddr),
    /// Keep a range of addresses away.
    BlockSubnet(Subnet),
    /// No longer.
    UnblockSubnet(Subnet),
    /// Never ban a peer.
    Protect(String),
    /// As any other peer.
    Unprotect(String),
    /// Connect to a peer at an address `/ip4/…/tcp/…/p2p/…`. The reply comes when there is a connection.
    Connect(String),
    /// Close the connections to a peer; one of the settings is dialled again.
    Disconnect(String),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefusal {
    /// The text is no id of a peer.
    #[error("`{0}` is no id of a peer, such as 16Uiu2HA…")]
    Id(String),
    /// The text is no address of a peer.
    #[error("bad peer address: {0}")]
    Address(String),
    /// No more can be remembered.
    #[error("{0} {1} are the most that are remembered: remove one first")]
    TooMany(usize, &'static str),
    /// The settings name the peer.
    #[error("{0} is one of gossip.l2_peers, which are always protected: remove it there")]
    Chosen(String),
    /// There is no connection.
    #[error("no connection to {peer}: {why}")]
    Unreachable {
        /// Whom to.
        peer: String,
        /// What happened.
        why: String,
    },
    /// The host has died.
    #[error("the host that talks to peers has died and is started again: try again")]
    HostGone,
}

impl Message for PeerOrder {
    type Reply = Result<(), PeerRefusal>;
    const NAME: &'static str = "peer_order";
    const IDEMPOTENT: bool = true;
}
