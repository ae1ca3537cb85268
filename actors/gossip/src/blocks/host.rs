//! The host: made once, outlives the instances of the actor.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use duskevm_fence::{Fence, Generation};
use duskevm_messages::block_gossip::{PeerOrder, PeerRefusal, PeersView};
use duskevm_p2p::{Deed, Endpoint, ScoreRules};
use duskevm_unsafe_gossip::PayloadVersion;
use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::address::BlockPeer;
use super::identity::BlockIdentity;
use super::swarm;
use crate::host::HostError;

/// Commands that wait for the host.
const COMMANDS: usize = 1_024;
/// Messages and requests that wait for the actor.
const EVENTS: usize = 32;
/// Bytes of messages that wait for the actor or for their verdict.
const HELD: usize = 64 << 20;

/// What the host needs to know.
#[derive(Debug, Clone)]
pub struct BlockHostSettings {
    /// The L2 chain: part of the names of topics and protocols.
    pub chain_id: u64,
    /// Where to listen; nowhere: this node only dials. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Peers that are dialled again and again, and never banned.
    pub peers: Vec<BlockPeer>,
    /// Connections in all.
    pub max_peers: u32,
    /// When it is enough.
    pub scores: ScoreRules,
}

impl BlockHostSettings {
    /// The usual bounds.
    pub fn new(chain_id: u64, listen: Vec<SocketAddr>, peers: Vec<BlockPeer>) -> Self {
        Self { chain_id, listen, peers, max_peers: 32, scores: ScoreRules::default() }
    }
}

/// The host. Clones are the same one.
#[derive(Clone)]
pub struct BlockHost {
    inner: Arc<Mutex<Inner>>,
    identity: BlockIdentity,
}

struct Inner {
    settings: BlockHostSettings,
    runtime: Handle,
    running: Option<Running>,
    newest: Generation,
}

struct Running {
    commands: mpsc::Sender<(Generation, Command)>,
    attachments: mpsc::UnboundedSender<Attachment>,
    links: watch::Receiver<Arc<[PeerId]>>,
    listening: watch::Receiver<Vec<Endpoint>>,
    task: JoinHandle<()>,
}

impl fmt::Debug for BlockHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockHost").field("id", &self.identity.id()).finish_non_exhaustive()
    }
}

impl BlockHost {
    /// A host that listens, and runs on `runtime`, which must outlive the actor.
    ///
    /// # Errors
    /// [`HostError::Listen`], [`HostError::Setup`].
    pub fn start(settings: BlockHostSettings, identity: BlockIdentity, runtime: Handle) -> Result<Self, HostError> {
        let mut inner = Inner { settings, runtime, running: None, newest: Generation(0) };
        inner.run(&identity)?;
        Ok(Self { inner: Arc::new(Mutex::new(inner)), identity })
    }

    /// By whom it is known.
    pub const fn identity(&self) -> &BlockIdentity {
        &self.identity
    }

    /// Where it listens. Grows as listeners report: await it for the port that a 0 became.
    pub fn listening(&self) -> watch::Receiver<Vec<Endpoint>> {
        let inner = self.inner.lock();
        inner.running.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |running| running.listening.clone())
    }

    /// Gives what happens from now on to this instance, and takes commands from it and from nobody older. Starts the host again if
    /// it died.
    ///
    /// # Errors
    /// [`HostError`]; a replaced instance is refused.
    pub(crate) fn attach(&self, fence: &Fence) -> Result<Attached, HostError> {
        fence.check()?;
        let mut inner = self.inner.lock();
        let (mine, newest) = (fence.generation(), inner.newest);
        if mine < newest {
            return Err(HostError::Replaced { mine, newest });
        }
        inner.newest = mine;
        if inner.running.as_ref().is_none_or(|running| running.task.is_finished()) {
            inner.run(&self.identity)?;
        }
        let Some(running) = &inner.running else { return Err(HostError::Setup("the host did not start".into())) };
        let (events, receiver) = mpsc::channel(EVENTS);
        // A host that dies right now closes the channel of events, which the actor takes as its end.
        let _ = running.attachments.send(Attachment { generation: mine, events });
        Ok(Attached {
            control: Control { generation: mine, commands: running.commands.clone() },
            events: receiver,
            links: running.links.clone(),
        })
    }

    /// Closes all connections and the listeners, whoever is attached.
    pub fn shutdown(&self) {
        if let Some(running) = self.inner.lock().running.take() {
            running.task.abort();
        }
    }
}

impl Inner {
    fn run(&mut self, identity: &BlockIdentity) -> Result<(), HostError> {
        // The old task is over or never was; a port is free before it is bound again.
        self.running = None;
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (attachments, attachment_queue) = mpsc::unbounded_channel();
        let (links_out, links) = watch::channel(Arc::from([]));
        let (listening_out, listening) = watch::channel(Vec::new());
        let ends = swarm::Ends {
            commands: command_queue,
            attachments: attachment_queue,
            links: links_out,
            listening: listening_out,
        };
        let task = {
            let _runtime = self.runtime.enter();
            swarm::build(&self.settings, identity, &self.runtime, ends)?
        };
        let task = self.runtime.spawn(task.run());
        self.running = Some(Running { commands, attachments, links, listening, task });
        Ok(())
    }
}

/// An instance that takes over.
pub(super) struct Attachment {
    pub(super) generation: Generation,
    pub(super) events: mpsc::Sender<Event>,
}

/// Room for bytes that wait; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    /// Room for so many bytes; `None` if too many are held.
    pub(super) fn take(held: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        let room = Self { held: held.clone(), bytes };
        (before.saturating_add(bytes) <= HELD).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A message that waits for its verdict.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(super) id: MessageId,
    pub(super) from: PeerId,
    /// The operator chose this peer.
    pub(super) is_chosen: bool,
    pub(super) version: PayloadVersion,
    pub(super) bytes: Vec<u8>,
    pub(super) room: Room,
}

/// Names a request of a peer that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Serving(pub(super) u64);

/// What happens on the network.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message within the bounds of its sender.
    Message(Incoming),
    /// A peer asks for a block.
    Request {
        /// For the answer.
        serving: Serving,
        /// Which.
        number: u64,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The peer is gone, does not speak the protocol, or the host is busy: nobody is to blame.
    Unreachable,
    /// The peer said nothing in time, or something else.
    Silent,
}

/// What an attached instance wants.
#[derive(Debug)]
pub(super) enum Command {
    Publish { version: PayloadVersion, bytes: Vec<u8>, reply: oneshot::Sender<bool> },
    Judged { id: MessageId, from: PeerId, acceptance: MessageAcceptance },
    Ask { peer: PeerId, number: u64, reply: oneshot::Sender<Result<Vec<u8>, NoAnswer>> },
    Answer { serving: Serving, answer: Vec<u8> },
    Deed { peer: PeerId, deed: Deed },
    Describe { reply: oneshot::Sender<PeersView> },
    Obey { order: PeerOrder, reply: oneshot::Sender<Result<(), PeerRefusal>> },
}

/// One instance's hold on the host.
#[derive(Debug)]
pub(crate) struct Attached {
    /// For commands.
    pub(super) control: Control,
    /// What happens. Ends when a newer instance attaches or the host dies.
    pub(super) events: mpsc::Receiver<Event>,
    /// Who is connected.
    pub(super) links: watch::Receiver<Arc<[PeerId]>>,
}

/// Takes commands to the host. They never wait: a host that cannot keep up refuses.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    generation: Generation,
    commands: mpsc::Sender<(Generation, Command)>,
}

impl Control {
    fn send(&self, command: Command) -> bool {
        self.commands.try_send((self.generation, command)).is_ok()
    }

    /// Publishes a message. False if it must be tried again.
    pub(super) async fn publish(&self, version: PayloadVersion, bytes: Vec<u8>) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Publish { version, bytes, reply }) && answer.await.unwrap_or(false)
    }

    /// The verdict on a message. One that is lost counts as "ignore" when the message is forgotten.
    pub(super) fn judged(&self, id: MessageId, from: PeerId, acceptance: MessageAcceptance) {
        self.send(Command::Judged { id, from, acceptance });
    }

    /// Asks a peer for a block; the bytes of its answer.
    pub(super) async fn ask(&self, peer: PeerId, number: u64) -> Result<Vec<u8>, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Ask { peer, number, reply }) {
            return Err(NoAnswer::Unreachable);
        }
        answer.await.unwrap_or(Err(NoAnswer::Unreachable))
    }

    /// Answers a peer.
    pub(super) fn answer(&self, serving: Serving, answer: Vec<u8>) {
        self.send(Command::Answer { serving, answer });
    }

    /// Who the peers are; `None` if the host has died or cannot keep up.
    pub(super) async fn describe(&self) -> Option<PeersView> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Describe { reply }) {
            return None;
        }
        answer.await.ok()
    }

    /// What an operator wants.
    pub(super) async fn order(&self, order: PeerOrder) -> Result<(), PeerRefusal> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Obey { order, reply }) {
            return Err(PeerRefusal::HostGone);
        }
        answer.await.unwrap_or(Err(PeerRefusal::HostGone))
    }

    /// A peer did something that only the actor could see.
    pub(super) fn deed(&self, peer: PeerId, deed: Deed) {
        self.send(Command::Deed { peer, deed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_given_back() {
        let held = Arc::new(AtomicUsize::new(0));
        let first = Room::take(&held, HELD).unwrap();
        assert!(Room::take(&held, 1).is_none());
        drop(first);
        assert!(Room::take(&held, 1).is_some());
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }
}
