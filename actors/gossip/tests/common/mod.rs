//! Nodes with scripted neighbours, and peers that do not keep the rules.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs, reason = "each test binary uses a part")]

pub mod evil;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use duskevm_gossip::{Gossip, GossipSettings, Host, HostSettings, Identity, Pace, Transport, spec};
use duskevm_messages::gossip::*;
use duskevm_p2p::{Endpoint, NetworkId, PeerAddress, PeerId, PeerStatus, Topic};
use duskevm_supervision::{Fault as Injected, Intensity, Port, Ref, Strategy, Supervisor, Tree};
use tokio::sync::{mpsc, watch};

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const NETWORK: NetworkId = NetworkId { chain: 7, genesis: [1, 2, 3, 4] };

/// A number under which nobody in this process listens.
pub fn memory() -> Transport {
    static NEXT: AtomicU64 = AtomicU64::new(1_000);
    Transport::Memory(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn loopback() -> Transport {
    Transport::Tcp { listen: vec!["127.0.0.1:0".parse().unwrap()] }
}

pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub fn status(height: u64) -> PeerStatus {
    PeerStatus { identity: [9; 32], tip: (height, [height as u8; 32]), finalized: (0, [0; 32]), oldest_blob: 0 }
}

/// A frame of a kind that belongs on the topic of votes.
pub fn vote(n: u32) -> Arc<[u8]> {
    [&[1, 0, 0, 0, 0, 17][..], &n.to_le_bytes()].concat().into()
}

pub struct Options {
    pub secret: u8,
    pub transport: Transport,
    pub host: HostSettings,
    pub settings: GossipSettings,
    frames: mpsc::UnboundedReceiver<GossipFrame>,
    peers: PeerFeed,
    status: watch::Sender<Option<PeerStatus>>,
}

/// A node that is not running yet. It has no boot nodes and is content with one peer.
pub fn options(secret: u8, transport: Transport) -> Options {
    let (frames_out, frames) = mpsc::unbounded_channel();
    let (peers_out, peers) = watch::channel(Arc::from([]));
    let (status_out, status_in) = watch::channel(Some(status(secret.into())));
    let settings = GossipSettings {
        frames: Port::from_fn(move |frame: GossipFrame| {
            let sent = frames_out.send(frame);
            async move { drop(sent) }
        }),
        serve_frames: Port::unwired("consensus"),
        serve_blobs: Port::unwired("da-store"),
        status: status_in,
        peers: peers_out,
        boot: Vec::new(),
        enough_peers: 1,
        allow_private: true,
        folder: None,
        pace: Pace {
            tick: Duration::from_millis(50),
            // Within what peers allow per second.
            status: Duration::from_millis(600),
            exchange: Duration::from_millis(1_100),
            save: Duration::from_millis(100),
        },
    };
    let host = HostSettings::new(NETWORK, Topic::L1.to_vec());
    Options { secret, transport, host, settings, frames, peers, status: status_out }
}

pub struct Node {
    pub host: Host,
    pub actor: Ref<Gossip>,
    pub supervisor: Supervisor,
    pub frames: mpsc::UnboundedReceiver<GossipFrame>,
    pub peers: PeerFeed,
    pub status: watch::Sender<Option<PeerStatus>>,
}

impl Options {
    pub fn boot(mut self, boot: &[PeerAddress]) -> Self {
        self.settings.boot = boot.to_vec();
        self
    }

    pub fn enough(mut self, peers: usize) -> Self {
        self.settings.enough_peers = peers;
        self
    }

    pub async fn start(self) -> Node {
        let identity = Identity::from_secret([self.secret; 32]);
        let runtime = tokio::runtime::Handle::current();
        let host = Host::start(self.host, self.transport, identity, runtime).unwrap();
        let actor = Ref::declare("gossip");
        let supervisor = Tree::new("root", Strategy::OneForOne)
            .intensity(Intensity { max: 100, within: Duration::from_secs(10) })
            .allow_faults(true)
            .actor(spec(&actor, Arc::new(self.settings), host.clone()))
            .start();
        supervisor.ready().await.unwrap();
        Node { host, actor, supervisor, frames: self.frames, peers: self.peers, status: self.status }
    }
}

impl Node {
    pub fn id(&self) -> PeerId {
        self.host.id()
    }

    pub async fn address(&self) -> PeerAddress {
        let mut listening = self.host.listening();
        let endpoint: Endpoint = in_time("listening", listening.wait_for(|known| !known.is_empty())).await.unwrap()[0];
        PeerAddress { peer: self.id(), endpoint }
    }

    /// Waits until the connected peers are as described.
    pub async fn peers(&self, what: &str, mut wanted: impl FnMut(&[PeerInfo]) -> bool) -> Arc<[PeerInfo]> {
        let mut peers = self.peers.clone();
        in_time(what, peers.wait_for(|peers| wanted(peers))).await.unwrap().clone()
    }

    pub async fn connected(&self, to: &[&Self]) {
        let ids: Vec<PeerId> = to.iter().map(|node| node.id()).collect();
        self.peers("connected", |peers| ids.iter().all(|id| peers.iter().any(|peer| peer.id == *id))).await;
    }

    pub async fn without(&self, peer: PeerId) {
        self.peers("disconnected", |peers| peers.iter().all(|known| known.id != peer)).await;
    }

    /// Publishes votes until one goes to so many peers at once; its number. Subscriptions travel after connections.
    pub async fn publish_to(&self, reach: usize, first: u32) -> u32 {
        in_time("reaching peers", async {
            for n in first.. {
                let publish = Publish { topic: Topic::Votes, bytes: vote(n) };
                if self.actor.ask_retry(publish, PATIENCE).await.unwrap().unwrap() >= reach {
                    return n;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            unreachable!("numbers end")
        })
        .await
    }

    /// The next message from the network.
    pub async fn frame(&mut self) -> GossipFrame {
        in_time("a message", self.frames.recv()).await.unwrap()
    }

    pub async fn judge(&self, frame: &GossipFrame, verdict: Verdict) {
        self.actor.ask_retry(Judged { token: frame.token, verdict }, PATIENCE).await.unwrap();
    }

    /// Takes messages, accepting all, until this one comes.
    pub async fn accept_until(&mut self, bytes: &[u8]) {
        loop {
            let frame = self.frame().await;
            self.judge(&frame, Verdict::Accept).await;
            if *frame.bytes == *bytes {
                return;
            }
        }
    }

    pub async fn ask(
        &self,
        peer: PeerChoice,
        request: duskevm_p2p::Request,
    ) -> Result<(PeerId, duskevm_p2p::Answer), AskFailure> {
        self.actor.ask_within(Ask { peer, request, within: Duration::from_secs(10) }, PATIENCE).await.unwrap()
    }

    /// Makes the actor fail, and waits for its next instance.
    pub async fn fault(&self, fault: Injected) {
        let before = self.supervisor.actors()[0].generation;
        self.supervisor.inject("gossip", fault).unwrap();
        in_time("another instance", async {
            while self.supervisor.actors()[0].generation == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.supervisor.ready().await.unwrap();
    }

    pub async fn stop(self) {
        self.supervisor.shutdown(PATIENCE).await;
        self.host.shutdown();
    }
}
