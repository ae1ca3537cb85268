//! The libp2p host: made once, outlives the instances of the actor.
//!
//! An actor that hangs keeps its thread and everything in it. If the connections were the instance's own, its replacement
//! could not listen on the port again, and peers would lose a neighbour each time. So the host runs as a task of the node's
//! runtime, and instances attach to it: the newest attachment, by the generation of its fence, gets what happens, and
//! commands of older ones are dropped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use duskevm_fence::{Fence, FenceError, Generation};
use duskevm_messages::gossip::{AskFailure, PublishFailure, Token, Verdict};
use duskevm_p2p::{Answer, Deed, Endpoint, Limits, NetworkId, PeerAddress, PeerId, Request, ScoreRules, Topic};
use libp2p::TransportError;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::identity::Identity;
use crate::swarm;

/// Commands that wait for the host.
const COMMANDS: usize = 4_096;
/// Messages and requests that are on their way to the actor. More of them wait in the host, where peers take turns.
const EVENTS: usize = 64;

/// What the host needs to know.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// Which network.
    pub network: NetworkId,
    /// What this node takes part in.
    pub topics: Vec<Topic>,
    /// Connections in all.
    pub max_peers: u32,
    /// Connections that others made. A part of `max_peers`, up to eight, is not given to them in any case.
    pub max_inbound: u32,
    /// Addresses that are not banned with their peers: configured ones.
    pub trusted: Vec<PeerAddress>,
    /// Where others reach this node besides where it listens, such as a port that a router forwards. Peers take only those whose
    /// IP address is the one that they see it at.
    pub external: Vec<Endpoint>,
    /// Bounds per peer.
    pub limits: Limits,
    /// When it is enough.
    pub scores: ScoreRules,
    /// How long a message waits for its verdict.
    pub patience: Duration,
    /// How long a peer may take to read an answer, besides a second for each MiB of it.
    pub reading: Duration,
}

impl HostSettings {
    /// The usual bounds.
    pub fn new(network: NetworkId, topics: Vec<Topic>) -> Self {
        Self {
            network,
            topics,
            max_peers: 64,
            max_inbound: 48,
            trusted: Vec::new(),
            external: Vec::new(),
            limits: Limits::default(),
            scores: ScoreRules::default(),
            patience: Duration::from_secs(5),
            reading: Duration::from_secs(2),
        }
    }
}

/// How peers are reached.
#[derive(Debug, Clone)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Where to listen; nowhere: this node only dials. Port 0 takes a free one.
        listen: Vec<SocketAddr>,
    },
    /// Within this process, under a number that is not 0.
    Memory(u64),
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address} for peers: {source}. Free the port, or change the address in the section `gossip`"
    )]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The protocols cannot be set up.
    #[error("the peer-to-peer protocols cannot be set up: {0}")]
    Setup(String),
    /// A newer instance of the actor has attached.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// A newer instance of the actor has attached.
    #[error("generation {newest} of the actor has attached to the network already: generation {mine} must stop")]
    Replaced {
        /// The refused one.
        mine: Generation,
        /// The attached one.
        newest: Generation,
    },
}

impl HostError {
    /// An address cannot be listened on. The errors of libp2p's transports say nothing themselves, only the cause within does.
    pub(crate) fn listen(endpoint: &Endpoint, error: TransportError<io::Error>) -> Self {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(within) = cause.source() {
            cause = within;
        }
        Self::Listen { address: endpoint.to_string(), source: io::Error::other(cause.to_string()) }
    }
}

/// The host. Clones are the same one.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Mutex<Inner>>,
    identity: Identity,
}

struct Inner {
    settings: HostSettings,
    transport: Transport,
    runtime: Handle,
    running: Option<Running>,
    newest: Generation,
}

struct Running {
    commands: mpsc::Sender<(Generation, Command)>,
    attachments: mpsc::UnboundedSender<Attachment>,
    links: watch::Receiver<Arc<[Link]>>,
    listening: watch::Receiver<Vec<Endpoint>>,
    task: JoinHandle<()>,
}

/// An instance that takes over.
pub(crate) struct Attachment {
    pub(crate) generation: Generation,
    pub(crate) events: mpsc::Sender<HostEvent>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("id", &self.identity.id()).finish_non_exhaustive()
    }
}

impl Host {
    /// A host that listens, and runs on `runtime`, which must outlive the actor.
    ///
    /// # Errors
    /// [`HostError::Listen`], [`HostError::Setup`].
    pub fn start(
        settings: HostSettings,
        transport: Transport,
        identity: Identity,
        runtime: Handle,
    ) -> Result<Self, HostError> {
        let mut inner = Inner { settings, transport, runtime, running: None, newest: Generation(0) };
        inner.run(&identity)?;
        Ok(Self { inner: Arc::new(Mutex::new(inner)), identity })
    }

    /// How peers call this node.
    pub const fn id(&self) -> PeerId {
        self.identity.id()
    }

    /// Where it listens. Grows as listeners report: await it for the port that a 0 became.
    pub fn listening(&self) -> watch::Receiver<Vec<Endpoint>> {
        let inner = self.inner.lock();
        inner.running.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |running| running.listening.clone())
    }

    /// Gives what happens from now on to this instance, and takes commands from it and from nobody older. Starts the host
    /// again if it died.
    ///
    /// # Errors
    /// [`HostError`]; a replaced instance is refused.
    pub fn attach(&self, fence: &Fence) -> Result<Attached, HostError> {
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
            listening: running.listening.clone(),
            id: self.identity.id(),
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
    fn run(&mut self, identity: &Identity) -> Result<(), HostError> {
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
            swarm::build(&self.settings, &self.transport, identity, &self.runtime, ends)?
        };
        let task = self.runtime.spawn(task.run());
        self.running = Some(Running { commands, attachments, links, listening, task });
        Ok(())
    }
}

/// A connected peer, as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who.
    pub peer: PeerId,
    /// Whether it dialled this node.
    pub inbound: bool,
    /// Where its connection comes from or goes to; of an inbound one not where it listens.
    pub remote: Option<Endpoint>,
    /// Where it says it listens.
    pub listens: Vec<Endpoint>,
    /// Counts its connections: a peer that came back is another link.
    pub number: u64,
}

/// Names a request of a peer that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serving(pub(crate) u64);

/// What happens on the network.
#[derive(Debug)]
pub enum HostEvent {
    /// A message that passed the gate.
    Message {
        /// For the verdict.
        token: Token,
        /// Who brought it.
        peer: PeerId,
        /// On which topic.
        topic: Topic,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// A question of a peer.
    Request {
        /// For the answer.
        serving: Serving,
        /// Who asks.
        peer: PeerId,
        /// What.
        request: Request,
    },
}

/// What an attached instance wants.
#[derive(Debug)]
pub(crate) enum Command {
    Publish { topic: Topic, bytes: Arc<[u8]>, reply: oneshot::Sender<Result<usize, PublishFailure>> },
    Judged { token: Token, verdict: Verdict },
    Ask { peer: PeerId, request: Request, within: Duration, reply: oneshot::Sender<Result<Answer, AskFailure>> },
    Answer { serving: Serving, answer: Answer },
    Deed { peer: PeerId, deed: Deed },
    Dial { address: PeerAddress, reply: oneshot::Sender<bool> },
    Disconnect { peer: PeerId },
}

/// One instance's hold on the host.
#[derive(Debug)]
pub struct Attached {
    /// For commands.
    pub control: Control,
    /// What happens. Ends when a newer instance attaches or the host dies.
    pub events: mpsc::Receiver<HostEvent>,
    /// Who is connected, ascending by id.
    pub links: watch::Receiver<Arc<[Link]>>,
    /// Where the host listens.
    pub listening: watch::Receiver<Vec<Endpoint>>,
    /// How peers call this node.
    pub id: PeerId,
}

/// Takes commands to the host. They never wait: a host that cannot keep up refuses.
#[derive(Debug, Clone)]
pub struct Control {
    generation: Generation,
    commands: mpsc::Sender<(Generation, Command)>,
}

impl Control {
    fn send(&self, command: Command) -> bool {
        self.commands.try_send((self.generation, command)).is_ok()
    }

    /// Publishes a message; the number of peers it went to.
    ///
    /// # Errors
    /// [`PublishFailure`].
    pub async fn publish(&self, topic: Topic, bytes: Arc<[u8]>) -> Result<usize, PublishFailure> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Publish { topic, bytes, reply }) {
            return Err(PublishFailure::Down);
        }
        answer.await.unwrap_or(Err(PublishFailure::Down))
    }

    /// The verdict on a message. A verdict that is lost counts as [`Verdict::Ignore`] after a while.
    pub fn judged(&self, token: Token, verdict: Verdict) {
        self.send(Command::Judged { token, verdict });
    }

    /// Asks a peer.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub async fn ask(&self, peer: PeerId, request: Request, within: Duration) -> Result<Answer, AskFailure> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Ask { peer, request, within, reply }) {
            return Err(AskFailure::Down);
        }
        answer.await.unwrap_or(Err(AskFailure::Down))
    }

    /// Answers a peer.
    pub fn answer(&self, serving: Serving, answer: Answer) {
        self.send(Command::Answer { serving, answer });
    }

    /// A peer did something that only others could see.
    pub fn deed(&self, peer: PeerId, deed: Deed) {
        self.send(Command::Deed { peer, deed });
    }

    /// Dials a peer; whether it is connected then.
    pub async fn dial(&self, address: PeerAddress) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Dial { address, reply }) && answer.await.unwrap_or(false)
    }

    /// Closes the connections to a peer.
    pub fn disconnect(&self, peer: PeerId) {
        self.send(Command::Disconnect { peer });
    }
}
