//! Messages to `gossip`, the actor that talks to peers, and the messages that it sends to those who know the answers.

use duskevm_p2p::{Answer, PeerAddress, PeerId, PeerStatus, Request, SidecarBytes, Topic};
use duskevm_supervision::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Names one message that waits for a verdict. Valid within the process; outlives restarts of `gossip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A message from the network; sent by `gossip` to the actor that knows its topic, by [`tell`](duskevm_supervision::Port::tell).
///
/// It is on the topic it belongs to, within its size and its sender's rate; nothing else is known of it. It is not
/// forwarded to other peers before it is [`Judged`]; without a verdict in time it is ignored. May be delivered twice.
#[derive(Debug, Clone)]
pub struct GossipFrame {
    /// For the verdict.
    pub token: Token,
    /// Who brought it first; its author may be another.
    pub peer: PeerId,
    /// Where it was published.
    pub topic: Topic,
    /// The message.
    pub bytes: Arc<[u8]>,
}

impl Message for GossipFrame {
    type Reply = ();
    const NAME: &'static str = "gossip-frame";
    const IDEMPOTENT: bool = true;
}

/// What is to be done with a message from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: forward it.
    Accept,
    /// Of no use (late, known, not for now): do not forward it; nobody is to blame.
    Ignore,
    /// An honest node would not have relayed it: do not forward it, and blame the sender.
    Reject(Fault),
}

/// What is wrong with a rejected message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It cannot be decoded.
    Garbage,
    /// It breaks a rule: a wrong signature, a signer outside the committee.
    Invalid,
}

/// The verdict on a [`GossipFrame`]; sent by whoever got it.
///
/// May be delivered twice; a verdict that comes too late has no effect.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// Which message.
    pub token: Token,
    /// The verdict.
    pub verdict: Verdict,
}

impl Message for Judged {
    type Reply = ();
    const NAME: &'static str = "judged";
    const IDEMPOTENT: bool = true;
}

/// Publish a message of one's own; sent by `consensus`, later by the sequencer.
///
/// The reply is the number of peers it went to: 0 with no peer on the topic, and for a message that the network knows
/// already. May be delivered twice.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where.
    pub topic: Topic,
    /// The message, whole.
    pub bytes: Arc<[u8]>,
}

impl Message for Publish {
    type Reply = Result<usize, PublishFailure>;
    const NAME: &'static str = "publish";
    const IDEMPOTENT: bool = true;
}

/// Why a message is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishFailure {
    /// Longer than the topic allows.
    #[error("{got} bytes are more than the {most} that this topic allows")]
    TooLong {
        /// Its length.
        got: usize,
        /// The bound.
        most: usize,
    },
    /// This node is not on the topic.
    #[error("this node does not take part in the topic")]
    NotSubscribed,
    /// No peer reads as fast as this node publishes.
    #[error("the queues to all peers are full: publish it again in a moment")]
    Full,
    /// The network part is starting again.
    #[error("the network host is not running: publish it again in a moment")]
    Down,
}

/// Which peer to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerChoice {
    /// This one.
    Peer(PeerId),
    /// One of those whose newest block is at least this high, and not one of these.
    AtHeight {
        /// The height; 0 for any peer.
        height: u64,
        /// Peers that were asked already.
        not: Vec<PeerId>,
    },
    /// One that keeps the blobs of this height, and not one of these.
    WithBlobs {
        /// The height.
        height: u64,
        /// Peers that were asked already.
        not: Vec<PeerId>,
    },
}

/// Ask a peer; sent by `consensus` and `da-store`.
///
/// The reply names the peer, so that a wrong answer can be reported with [`BadAnswer`]. May be delivered twice.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whom.
    pub peer: PeerChoice,
    /// What.
    pub request: Request,
    /// How long the answer may take; at most 30 s.
    pub within: Duration,
}

impl Message for Ask {
    type Reply = Result<(PeerId, Answer), AskFailure>;
    const NAME: &'static str = "ask-peer";
    const IDEMPOTENT: bool = true;
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    /// No connected peer fits the choice.
    #[error("no connected peer can be asked for this")]
    NoPeer,
    /// Too many requests are on their way.
    #[error("too many requests to peers are on their way: ask again in a moment")]
    Busy,
    /// The request is beyond what may be asked.
    #[error("the request is longer than peers accept")]
    TooLong,
    /// The peer said nothing in time.
    #[error("peer {0} did not answer in time")]
    Timeout(PeerId),
    /// The connection was lost, or the peer does not speak the protocol.
    #[error("peer {0} is not reachable any more")]
    Lost(PeerId),
    /// The peer answered something else; it was blamed for it.
    #[error("peer {0} gave no answer to the question")]
    Nonsense(PeerId),
    /// The network part is starting again.
    #[error("the network host is not running: ask again in a moment")]
    Down,
}

/// An answer turned out wrong (a blob that does not fit its hash, a block that is not the one asked for); sent by whoever asked.
///
/// May be delivered twice, and then counts twice.
#[derive(Debug, Clone, Copy)]
pub struct BadAnswer {
    /// Whose.
    pub peer: PeerId,
}

impl Message for BadAnswer {
    type Reply = ();
    const NAME: &'static str = "bad-answer";
}

/// A peer asks with a Dusk frame (GetResource, GetBlocks, GetMempool); asked by `gossip`, answered by `consensus`.
///
/// The reply is whole frames; as many of the first ones as fit are sent. May be delivered twice.
#[derive(Debug, Clone)]
pub struct ServeFrames {
    /// Who asks.
    pub peer: PeerId,
    /// The frame, as it came.
    pub frame: Vec<u8>,
}

impl Message for ServeFrames {
    type Reply = Vec<Vec<u8>>;
    const NAME: &'static str = "serve-frames";
    const IDEMPOTENT: bool = true;
}

/// A peer asks for blobs; asked by `gossip`, answered by `da-store`.
///
/// The reply has one entry per hash, in order: only what is on this node, nothing fetched. May be delivered twice.
#[derive(Debug, Clone)]
pub struct ServeBlobs {
    /// Versioned hashes, 1 to 6.
    pub hashes: Vec<[u8; 32]>,
}

impl Message for ServeBlobs {
    type Reply = Vec<Option<SidecarBytes>>;
    const NAME: &'static str = "serve-blobs";
    const IDEMPOTENT: bool = true;
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Who.
    pub id: PeerId,
    /// Where it can be dialled, if known.
    pub address: Option<PeerAddress>,
    /// Whether it dialled this node.
    pub inbound: bool,
    /// Where it stands; `None` until it has said so.
    pub status: Option<PeerStatus>,
}

/// The feed of connected peers, ascending by id. Published by `gossip` after every change.
pub type PeerFeed = watch::Receiver<Arc<[PeerInfo]>>;

/// The feed of what this node tells peers about itself; `None` until its chain is open. Written by the node's wiring.
pub type OwnStatusFeed = watch::Receiver<Option<PeerStatus>>;
