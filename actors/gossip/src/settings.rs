//! What the actor needs to know.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use duskevm_messages::gossip::{GossipFrame, OwnStatusFeed, PeerInfo, ServeBlobs, ServeFrames};
use duskevm_p2p::PeerAddress;
use duskevm_supervision::Port;
use tokio::sync::watch;

/// Settings of the gossip actor; the same for all its instances.
#[derive(Debug)]
pub struct GossipSettings {
    /// Who judges messages of the L1.
    pub frames: Port<GossipFrame>,
    /// Who answers peers' questions for blocks, candidates and transactions.
    pub serve_frames: Port<ServeFrames>,
    /// Who answers peers' questions for blobs.
    pub serve_blobs: Port<ServeBlobs>,
    /// What this node tells peers about itself.
    pub status: OwnStatusFeed,
    /// Where connected peers are announced.
    pub peers: watch::Sender<Arc<[PeerInfo]>>,
    /// Peers that are dialled as long as there are too few.
    pub boot: Vec<PeerAddress>,
    /// Below this number of peers the node dials more.
    pub enough_peers: usize,
    /// Whether addresses of private networks and this machine are learnt from peers and told to them.
    pub allow_private: bool,
    /// Where the address book is kept; nowhere in tests.
    pub folder: Option<PathBuf>,
    /// How often things are done.
    pub pace: Pace,
}

/// How often things are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Looking for more peers.
    pub tick: Duration,
    /// Asking each peer where it stands.
    pub status: Duration,
    /// Asking peers for other peers, as long as there are too few.
    pub exchange: Duration,
    /// Keeping the address book.
    pub save: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            status: Duration::from_secs(4),
            exchange: Duration::from_secs(20),
            save: Duration::from_secs(60),
        }
    }
}
