//! The task that runs the host: libp2p on one side, the actor on the other. It never waits for the actor: what that has no room for
//! is ignored or refused.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use duskevm_fence::Generation;
use duskevm_p2p::{Deed, Endpoint, Prefix, Scores, Sentence};
use duskevm_unsafe_gossip::by_number::{self, Answer};
use duskevm_unsafe_gossip::{PayloadVersion, topic};
use futures::StreamExt;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, PublishError, TopicHash};
use libp2p::request_response::{
    self, InboundRequestId, OutboundFailure, OutboundRequestId, ProtocolSupport, ResponseChannel,
};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, ping};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use super::allowance::{Allowances, RPCS};
use super::codec::ByNumber;
use super::host::{Attachment, BlockHostSettings, Command, Event, Incoming, NoAnswer, Room, Serving};
use super::identity::BlockIdentity;
use super::mesh::{Mesh, cost, mesh, setup};
use super::metrics;
use super::orders::Notes;
use crate::convert;
use crate::guard::{Guard, Keys};
use crate::host::{HostError, Transport};
use crate::meter::{Metered, MeteredEvent};
use crate::net::{self, PENDING};

/// How often deadlines are looked at and peers dialled.
const TICK: Duration = Duration::from_millis(200);
/// How often what has ended is forgotten.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a peer may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Requests of peers that wait for an answer.
const SERVING: usize = 32;
/// Questions on their way.
const ASKING: usize = 64;
/// The longest pause between two dials of a peer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that lasted for so long was no mistake.
const STAYED: Duration = Duration::from_secs(10);

/// What this node says of itself: its protocol family and its program.
pub(super) const FAMILY: &str = "optimism";
pub(super) const AGENT: &str = "duskevm";

#[derive(NetworkBehaviour)]
pub(super) struct Net {
    pub(super) guard: Guard,
    limits: connection_limits::Behaviour,
    pub(super) mesh: Metered<Mesh>,
    ask: request_response::Behaviour<ByNumber>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// The task's ends of the channels.
pub(super) struct Ends {
    pub(super) commands: mpsc::Receiver<(Generation, Command)>,
    pub(super) attachments: mpsc::UnboundedReceiver<Attachment>,
    pub(super) links: watch::Sender<Arc<[PeerId]>>,
    pub(super) listening: watch::Sender<Vec<Endpoint>>,
}

/// A peer that is dialled again and again.
pub(super) struct Static {
    pub(super) peer: PeerId,
    pub(super) address: Multiaddr,
    failures: u32,
    not_before: Instant,
    dialling: Option<ConnectionId>,
    since: Option<Instant>,
}

impl Static {
    fn failed(&mut self, now: Instant) {
        let pause = Duration::from_millis(250).saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause.min(LONGEST_PAUSE);
        (self.dialling, self.since) = (None, None);
    }
}

/// A request that is being answered.
struct Open {
    channel: ResponseChannel<Vec<u8>>,
    until: Instant,
}

/// The running host.
pub(super) struct Task {
    pub(super) swarm: Swarm<Net>,
    ends: Ends,
    pub(super) start: Instant,
    topics: HashMap<TopicHash, PayloadVersion>,
    pub(super) chain_id: u64,
    pub(super) statics: Vec<Static>,
    trusted: Vec<Prefix>,
    pub(super) scores: Scores<PeerId>,
    pub(super) links: BTreeSet<PeerId>,
    /// For operators.
    pub(super) notes: Notes,
    remotes: HashMap<PeerId, Endpoint>,
    allowances: Allowances,
    held: Arc<AtomicUsize>,
    asking: HashMap<OutboundRequestId, oneshot::Sender<Result<Vec<u8>, NoAnswer>>>,
    serving: HashMap<Serving, Open>,
    /// Answers that are being made or on their way, and when they are given up.
    writing: HashMap<InboundRequestId, Instant>,
    next: u64,
    generation: Generation,
    actor: Option<mpsc::Sender<Event>>,
    pub(super) listening: Vec<Endpoint>,
}

/// Sets the host up and listens. Call it within the runtime.
pub(super) fn build(
    settings: &BlockHostSettings,
    identity: &BlockIdentity,
    runtime: &Handle,
    ends: Ends,
) -> Result<Task, HostError> {
    let start = Instant::now();
    let trusted: Vec<Prefix> = settings.peers.iter().filter_map(|peer| peer.endpoint.prefix()).collect();
    let (mesh, topics) = mesh(settings.chain_id)?;
    let statics = u32::try_from(settings.peers.len()).unwrap_or(u32::MAX);
    // Places for those whom this node dials itself.
    let max_inbound = settings.max_peers.saturating_sub(statics.min(settings.max_peers / 2));
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING))
        .with_max_pending_outgoing(Some(PENDING))
        .with_max_established_incoming(Some(max_inbound))
        .with_max_established(Some(settings.max_peers))
        // Two nodes may dial each other at the same time.
        .with_max_established_per_peer(Some(2));
    let protocol = StreamProtocol::try_from_owned(by_number::protocol(settings.chain_id)).map_err(setup)?;
    let identify = identify::Config::new(FAMILY.into(), identity.keys().public())
        .with_agent_version(AGENT.into())
        .with_cache_size(0);
    let behaviour = Net {
        guard: Guard::new(start, Keys::Any, trusted.iter().copied(), (max_inbound / 4).max(4) as usize),
        limits: connection_limits::Behaviour::new(limits),
        mesh: Metered::with_cost(mesh, RPCS, cost, start),
        ask: request_response::Behaviour::new(
            [(protocol, ProtocolSupport::Full)],
            request_response::Config::default().with_request_timeout(ANSWER).with_max_concurrent_streams(8),
        ),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(15))),
    };
    let spawner = runtime.clone();
    let config = swarm::Config::with_executor(move |task| {
        spawner.spawn(task);
    })
    .with_idle_connection_timeout(Duration::from_secs(86_400))
    .with_max_negotiating_inbound_streams(32);
    let transport = net::transport(&Transport::Tcp { listen: Vec::new() }, identity.keys())?;
    let mut swarm = Swarm::new(transport, behaviour, identity.peer(), config);
    for address in &settings.listen {
        let endpoint = match address {
            std::net::SocketAddr::V4(v4) => Endpoint::Ip4(v4.ip().octets(), v4.port()),
            std::net::SocketAddr::V6(v6) => Endpoint::Ip6(v6.ip().octets(), v6.port()),
        };
        swarm.listen_on(convert::multiaddr(&endpoint)).map_err(|error| HostError::listen(&endpoint, error))?;
    }
    let statics = settings.peers.iter().filter(|peer| peer.peer != identity.peer()).map(|peer| Static {
        peer: peer.peer,
        address: peer.multiaddr(),
        failures: 0,
        not_before: start,
        dialling: None,
        since: None,
    });
    Ok(Task {
        statics: statics.collect(),
        swarm,
        ends,
        start,
        topics,
        chain_id: settings.chain_id,
        trusted,
        scores: Scores::new(settings.scores.clone()).sparing(settings.peers.iter().map(|peer| peer.peer)),
        links: BTreeSet::new(),
        notes: Notes::default(),
        remotes: HashMap::new(),
        allowances: Allowances::new(),
        held: Arc::new(AtomicUsize::new(0)),
        asking: HashMap::new(),
        serving: HashMap::new(),
        writing: HashMap::new(),
        next: 0,
        generation: Generation(0),
        actor: None,
        listening: Vec::new(),
    })
}

impl Task {
    /// Runs until the last handle is dropped.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                attachment = self.ends.attachments.recv() => match attachment {
                    Some(attachment) => self.attach(attachment),
                    None => return,
                },
                command = self.ends.commands.recv() => match command {
                    Some((generation, command)) => self.command(generation, command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event),
                _ = tick.tick() => {
                    self.dial();
                    self.expire();
                    if swept.elapsed() >= SWEEP {
                        swept = Instant::now();
                        self.sweep();
                    }
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn attach(&mut self, attachment: Attachment) {
        if attachment.generation >= self.generation {
            (self.generation, self.actor) = (attachment.generation, Some(attachment.events));
        }
    }

    fn command(&mut self, generation: Generation, command: Command) {
        // An instance may command before the host has seen it attach.
        while generation > self.generation
            && let Ok(attachment) = self.ends.attachments.try_recv()
        {
            self.attach(attachment);
        }
        // The answers of a replaced instance close with the channels that it waits on.
        if generation != self.generation && !matches!(command, Command::Judged { .. }) {
            return;
        }
        match command {
            Command::Publish { version, bytes, reply } => {
                let _ = reply.send(self.publish(version, bytes));
            }
            Command::Judged { id, from, acceptance } => self.report(&id, &from, acceptance),
            Command::Ask { peer, number, reply } => {
                if self.links.contains(&peer) && self.asking.len() < ASKING {
                    let id = self.swarm.behaviour_mut().ask.send_request(&peer, Some(number));
                    self.asking.insert(id, reply);
                } else {
                    let _ = reply.send(Err(NoAnswer::Unreachable));
                }
            }
            Command::Answer { serving, answer } => self.answer(serving, answer),
            Command::Deed { peer, deed } => self.deed(&peer, deed),
            Command::Describe { reply } => {
                let _ = reply.send(self.describe());
            }
            Command::Obey { order, reply } => self.obey(order, reply),
        }
    }

    fn publish(&mut self, version: PayloadVersion, bytes: Vec<u8>) -> bool {
        let name = IdentTopic::new(topic(self.chain_id, version)).hash();
        let length = bytes.len();
        match self.swarm.behaviour_mut().mesh.inner_mut().publish(name, bytes) {
            // Who comes later asks for it by its number.
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {
                metrics::published(length);
                true
            }
            Err(PublishError::AllQueuesFull(_)) => false,
            Err(error) => {
                warn!(%error, "a block could not be announced");
                true
            }
        }
    }

    fn report(&mut self, id: &gossipsub::MessageId, from: &PeerId, acceptance: MessageAcceptance) {
        self.swarm.behaviour_mut().mesh.inner_mut().report_message_validation_result(id, from, acceptance);
    }

    fn answer(&mut self, serving: Serving, answer: Vec<u8>) {
        if let Some(open) = self.serving.remove(&serving) {
            // An error says that the asker has gone.
            let _ = self.swarm.behaviour_mut().ask.send_response(open.channel, answer);
        }
    }

    fn dial(&mut self) {
        let now = Instant::now();
        for known in &mut self.statics {
            if known.dialling.is_some() || known.not_before > now || self.links.contains(&known.peer) {
                continue;
            }
            let options = DialOpts::peer_id(known.peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![known.address.clone()])
                .build();
            let connection = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => known.dialling = Some(connection),
                Err(_) => known.failed(now),
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let late: Vec<Serving> =
            self.serving.iter().filter(|(_, open)| open.until <= now).map(|(serving, _)| *serving).collect();
        for serving in late {
            metrics::served("late");
            self.answer(serving, Answer::Failed(3).encode());
        }
    }

    fn sweep(&mut self) {
        let now = self.now();
        self.scores.decay(now);
        let links = &self.links;
        self.allowances.sweep(now, |peer| links.contains(peer));
        // The end of every answer is reported; if one were not, its place must not be taken for ever.
        let late = Instant::now();
        self.writing.retain(|_, until| *until > late);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.guard.sweep();
        behaviour.mesh.sweep();
        metrics::banned(self.scores.bans(now));
    }

    /// Holds something against a peer, or for it, and acts on what follows.
    fn deed(&mut self, peer: &PeerId, deed: Deed) {
        // Where it and this node do not agree on the time or the signer it may as well be this node that is behind.
        if deed == Deed::Stale && self.scores.spares(peer) {
            return;
        }
        let remote = self.remotes.get(peer);
        let prefix = remote.and_then(Endpoint::prefix).filter(|prefix| !self.trusted.contains(prefix));
        let now = self.now();
        match self.scores.deed(now, peer, prefix, deed) {
            None => return,
            Some(Sentence::Disconnect) => {
                info!(%peer, reason = deed.label(), "peer of the L2 disconnected for what it did");
                metrics::sentence("disconnect");
            }
            Some(Sentence::Ban { until, prefix }) => {
                let length = until.saturating_sub(now);
                warn!(%peer, reason = deed.label(), seconds = length.as_secs(), "peer of the L2 banned");
                metrics::sentence("ban");
                self.swarm.behaviour_mut().guard.ban(*peer, prefix, self.start + until);
                metrics::banned(self.scores.bans(now));
            }
        }
        // An error says that there was no connection.
        let _ = self.swarm.disconnect_peer_id(*peer);
    }

    fn event(&mut self, event: SwarmEvent<NetEvent>) {
        match event {
            SwarmEvent::Behaviour(NetEvent::Mesh(MeteredEvent::Inner(event))) => self.mesh(event),
            SwarmEvent::Behaviour(NetEvent::Mesh(MeteredEvent::Excess(peer))) => self.deed(&peer, Deed::Flood),
            SwarmEvent::Behaviour(NetEvent::Ask(event)) => self.asked(event),
            SwarmEvent::Behaviour(NetEvent::Ping(ping::Event {
                peer, result: Err(ping::Failure::Timeout), ..
            })) => {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            SwarmEvent::Behaviour(NetEvent::Ping(ping::Event { peer, result: Ok(latency), .. })) => {
                self.notes.answered(&peer, latency);
            }
            SwarmEvent::Behaviour(NetEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.notes.identified(peer_id, &info);
            }
            SwarmEvent::Behaviour(NetEvent::Ping(_) | NetEvent::Identify(_)) => {}
            SwarmEvent::Behaviour(NetEvent::Guard(never)) => match never {},
            SwarmEvent::Behaviour(NetEvent::Limits(never)) => match never {},
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.notes.connected(peer_id, connection_id, &endpoint);
                if let Some(known) = self.statics.iter_mut().find(|known| known.peer == peer_id) {
                    known.dialling = None;
                    known.since.get_or_insert_with(Instant::now);
                }
                if let Some(remote) = convert::endpoint(endpoint.get_remote_address()) {
                    self.remotes.insert(peer_id, remote);
                }
                if self.links.insert(peer_id) {
                    debug!(peer = %peer_id, "peer of the L2 connected");
                    self.linked();
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                debug!(peer = %peer_id, "peer of the L2 disconnected");
                let now = Instant::now();
                if let Some(known) = self.statics.iter_mut().find(|known| known.peer == peer_id) {
                    if known.since.is_some_and(|since| now.saturating_duration_since(since) >= STAYED) {
                        known.failures = 0;
                    }
                    known.failed(now);
                }
                self.remotes.remove(&peer_id);
                self.notes.gone(&peer_id);
                if self.links.remove(&peer_id) {
                    self.linked();
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                debug!(%error, "a dial failed");
                self.notes.not_connected(connection_id, &error);
                let now = Instant::now();
                self.statics
                    .iter_mut()
                    .filter(|known| known.dialling == Some(connection_id))
                    .for_each(|known| known.failed(now));
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.extend(convert::endpoint(&address));
                self.ends.listening.send_replace(self.listening.clone());
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                warn!(?reason, "this node does not listen for peers of the L2 any more");
                let gone: Vec<Endpoint> = addresses.iter().filter_map(convert::endpoint).collect();
                self.listening.retain(|endpoint| !gone.contains(endpoint));
                self.ends.listening.send_replace(self.listening.clone());
            }
            _ => {}
        }
    }

    fn linked(&mut self) {
        metrics::peers(self.links.len());
        self.ends.links.send_replace(self.links.iter().copied().collect());
    }

    fn mesh(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.message(propagation_source, message_id, message);
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => self.deed(&peer_id, Deed::SlowReader),
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                debug!(peer = %peer_id, "peer does not gossip");
                let _ = self.swarm.disconnect_peer_id(peer_id);
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => {}
        }
    }

    fn message(&mut self, from: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let Some(version) = self.topics.get(&message.topic).copied() else {
            return self.report(&id, &from, MessageAcceptance::Ignore);
        };
        if !self.allowances.may_send(&from, self.start.elapsed(), message.data.len()) {
            metrics::received("ignored", "flood");
            self.report(&id, &from, MessageAcceptance::Ignore);
            return self.deed(&from, Deed::Flood);
        }
        let Some(room) = Room::take(&self.held, message.data.len()) else {
            metrics::received("ignored", "busy");
            return self.report(&id, &from, MessageAcceptance::Ignore);
        };
        let is_chosen = self.scores.spares(&from);
        let incoming = Incoming { id: id.clone(), from, is_chosen, version, bytes: message.data, room };
        if !self.tell(Event::Message(incoming)) {
            metrics::received("ignored", "busy");
            self.report(&id, &from, MessageAcceptance::Ignore);
        }
    }

    fn tell(&self, event: Event) -> bool {
        self.actor.as_ref().is_some_and(|actor| actor.try_send(event).is_ok())
    }

    fn asked(&mut self, event: request_response::Event<Option<u64>, Vec<u8>>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request_id, request, channel } => {
                    self.requested(peer, request_id, request, channel);
                }
                request_response::Message::Response { request_id, response } => {
                    if let Some(reply) = self.asking.remove(&request_id) {
                        let _ = reply.send(Ok(response));
                    }
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                let failure = match error {
                    OutboundFailure::Timeout | OutboundFailure::Io(_) => NoAnswer::Silent,
                    OutboundFailure::DialFailure
                    | OutboundFailure::ConnectionClosed
                    | OutboundFailure::UnsupportedProtocols => NoAnswer::Unreachable,
                };
                if let Some(reply) = self.asking.remove(&request_id) {
                    let _ = reply.send(Err(failure));
                }
            }
            request_response::Event::InboundFailure { request_id, .. }
            | request_response::Event::ResponseSent { request_id, .. } => {
                self.writing.remove(&request_id);
            }
        }
    }

    fn requested(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        number: Option<u64>,
        channel: ResponseChannel<Vec<u8>>,
    ) {
        let Some(number) = number else {
            metrics::served("garbage");
            let _ = self.swarm.behaviour_mut().ask.send_response(channel, Answer::Invalid.encode());
            return self.deed(&peer, Deed::Garbage);
        };
        let allowed = self.allowances.may_ask(&peer, self.start.elapsed(), self.scores.spares(&peer));
        let is_full = self.writing.len() >= SERVING;
        if is_full || allowed.is_err() {
            metrics::served(if is_full { "busy" } else { "flood" });
            let _ = self.swarm.behaviour_mut().ask.send_response(channel, Answer::Failed(3).encode());
            if let Err(Some(deed)) = allowed {
                self.deed(&peer, deed);
            }
            return;
        }
        let serving = Serving(self.next);
        self.next += 1;
        self.serving.insert(serving, Open { channel, until: Instant::now() + ANSWER });
        self.writing.insert(id, Instant::now() + 3 * ANSWER);
        if !self.tell(Event::Request { serving, number }) {
            metrics::served("busy");
            self.answer(serving, Answer::Failed(3).encode());
        }
    }
}
