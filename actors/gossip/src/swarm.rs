//! The task that runs the host: from the events of libp2p to those of the actor, with the rules of `duskevm_p2p` between.
//!
//! It never waits for the actor: what the actor has no room for waits in a bounded queue in which peers take turns, also while
//! no instance is attached; beyond that messages are ignored and requests refused.

mod messages;
mod requests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duskevm_fence::Generation;
use duskevm_messages::gossip::{Token, Verdict};
use duskevm_p2p::{Answer, Deed, Endpoint, Gate, PeerId, Prefix, Refusal, Scores, Sentence, Topic};
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{MessageId, TopicHash};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, SwarmEvent};
use libp2p::{Swarm, identify, ping};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use crate::convert;
use crate::desk::Desk;
use crate::host::{Attachment, Command, HostError, HostEvent, HostSettings, Link, Transport};
use crate::identity::Identity;
use crate::inbox::Inbox;
use crate::meter::MeteredEvent;
use crate::metrics;
use crate::net::{self, Net, NetEvent};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often what has ended is forgotten.
const SWEEP: Duration = Duration::from_secs(5);
/// Addresses that a peer may name.
const LISTENS: usize = 4;
/// How often it may introduce itself over one connection; an honest one does when it connects and when its addresses change.
const INTRODUCTIONS: u32 = 16;

/// The task's ends of the channels.
pub(crate) struct Ends {
    pub(crate) commands: mpsc::Receiver<(Generation, Command)>,
    pub(crate) attachments: mpsc::UnboundedReceiver<Attachment>,
    pub(crate) links: watch::Sender<Arc<[Link]>>,
    pub(crate) listening: watch::Sender<Vec<Endpoint>>,
}

/// A message that waits for its verdict.
struct Waiting {
    id: MessageId,
    from: libp2p::PeerId,
    peer: PeerId,
    bytes: usize,
    until: Instant,
}

/// The running host.
pub(crate) struct Task {
    swarm: Swarm<Net>,
    ends: Ends,
    start: Instant,
    patience: Duration,
    topics: HashMap<TopicHash, Topic>,
    names: HashMap<Topic, TopicHash>,
    trusted: Vec<Prefix>,
    gate: Gate,
    scores: Scores,
    links: BTreeMap<PeerId, Link>,
    connections: u64,
    tokens: BTreeMap<u64, Waiting>,
    next_token: u64,
    desk: Desk,
    dialling: HashMap<ConnectionId, oneshot::Sender<bool>>,
    generation: Generation,
    inbox: Inbox<HostEvent>,
    /// How often connected peers have introduced themselves.
    introductions: HashMap<PeerId, u32>,
    listening: Vec<Endpoint>,
    listeners: Vec<ListenerId>,
}

/// Sets the host up and listens. Call it within the runtime.
pub(crate) fn build(
    settings: &HostSettings,
    transport: &Transport,
    identity: &Identity,
    runtime: &Handle,
    ends: Ends,
) -> Result<Task, HostError> {
    let start = Instant::now();
    let behaviour = net::behaviour(settings, identity, start)?;
    let spawner = runtime.clone();
    let config = swarm::Config::with_executor(move |task| {
        spawner.spawn(task);
    })
    // Peers stay connected although nothing happens.
    .with_idle_connection_timeout(Duration::from_secs(86_400))
    .with_max_negotiating_inbound_streams(32);
    let transport_stack = net::transport(transport, identity.keys())?;
    let mut swarm = Swarm::new(transport_stack, behaviour, identity.keys().public().to_peer_id(), config);
    let listen: Vec<Endpoint> = match transport {
        Transport::Memory(number) => vec![Endpoint::Memory(*number)],
        Transport::Tcp { listen } => listen
            .iter()
            .map(|address| match address {
                std::net::SocketAddr::V4(v4) => Endpoint::Ip4(v4.ip().octets(), v4.port()),
                std::net::SocketAddr::V6(v6) => Endpoint::Ip6(v6.ip().octets(), v6.port()),
            })
            .collect(),
    };
    let mut listeners = Vec::new();
    for endpoint in listen {
        match swarm.listen_on(convert::multiaddr(&endpoint)) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                listeners.into_iter().for_each(|listener| {
                    swarm.remove_listener(listener);
                });
                return Err(HostError::listen(&endpoint, error));
            }
        }
    }
    for endpoint in &settings.external {
        swarm.add_external_address(convert::multiaddr(endpoint));
    }
    let topics = net::topics(&settings.network, &settings.topics);
    Ok(Task {
        swarm,
        ends,
        start,
        patience: settings.patience,
        names: topics.iter().map(|(name, topic)| (*topic, name.clone())).collect(),
        topics,
        trusted: settings.trusted.iter().filter_map(|address| address.endpoint.prefix()).collect(),
        gate: Gate::new(settings.limits.clone()),
        scores: Scores::new(settings.scores.clone()),
        links: BTreeMap::new(),
        connections: 0,
        tokens: BTreeMap::new(),
        // Verdicts on messages of a host that died name nothing here.
        next_token: rand::random::<u32>().into(),
        desk: Desk::default(),
        dialling: HashMap::new(),
        generation: Generation(0),
        inbox: Inbox::new(),
        introductions: HashMap::new(),
        listening: Vec::new(),
        listeners,
    })
}

/// However the task ends: the memory transport keeps a number taken until it is told otherwise, and the next host would
/// not get it.
impl std::ops::Drop for Task {
    fn drop(&mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener);
        }
    }
}

impl Task {
    /// Runs until the last handle is dropped.
    pub(crate) async fn run(mut self) {
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
                permit = self.inbox.room() => self.inbox.ready(permit),
                event = self.swarm.select_next_some() => self.event(event),
                _ = tick.tick() => {
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
        if attachment.generation < self.generation {
            return;
        }
        self.generation = attachment.generation;
        self.inbox.attach(attachment.events);
    }

    /// Hands what a peer sent to the actor, keeps it until the actor has room, or gives something up for it.
    fn tell(&mut self, peer: PeerId, event: HostEvent) {
        if let Some(dropped) = self.inbox.put(peer, event) {
            self.give_up(dropped);
        }
    }

    fn give_up(&mut self, event: HostEvent) {
        metrics::dropped("actor_full");
        match event {
            HostEvent::Message { token, .. } => self.judged(token, Verdict::Ignore),
            HostEvent::Request { serving, .. } => self.answer(serving, Answer::Refused(Refusal::Busy)),
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
            Command::Publish { topic, bytes, reply } => {
                let outcome = self.publish(topic, &bytes);
                let _ = reply.send(outcome);
            }
            Command::Judged { token, verdict } => self.judged(token, verdict),
            Command::Ask { peer, request, within, reply } => self.ask(peer, request, within, reply),
            Command::Answer { serving, answer } => self.answer(serving, answer),
            Command::Deed { peer, deed } => self.deed(&peer, deed),
            Command::Dial { address, reply } => self.dial(&address, reply),
            Command::Disconnect { peer } => self.disconnect(&peer),
        }
    }

    fn dial(&mut self, address: &duskevm_p2p::PeerAddress, reply: oneshot::Sender<bool>) {
        if self.links.contains_key(&address.peer) {
            let _ = reply.send(true);
            return;
        }
        let Some(peer) = convert::libp2p_peer(&address.peer) else { return };
        if self.swarm.behaviour().guard.is_banned(&peer) {
            return;
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(vec![convert::multiaddr(&address.endpoint)])
            .build();
        let connection = options.connection_id();
        // A refused dial drops the reply, which says that it failed.
        if self.swarm.dial(options).is_ok() {
            self.dialling.insert(connection, reply);
        }
    }

    fn disconnect(&mut self, peer: &PeerId) {
        if let Some(peer) = convert::libp2p_peer(peer) {
            // An error says that there was no connection.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        // Closing waits for the peer to read what is on its way to it; one that does not is no neighbour any more either.
        self.unlink(peer);
    }

    /// Holds something against a peer, or for it, and acts on what follows.
    fn deed(&mut self, peer: &PeerId, deed: Deed) {
        metrics::deed(deed.label());
        let remote = self.links.get(peer).and_then(|link| link.remote);
        let prefix = remote.and_then(|remote| remote.prefix()).filter(|prefix| !self.trusted.contains(prefix));
        let now = self.now();
        match self.scores.deed(now, peer, prefix, deed) {
            None => {}
            Some(Sentence::Disconnect) => {
                info!(%peer, reason = deed.label(), "peer disconnected for what it did");
                metrics::sentence("disconnect");
                self.disconnect(peer);
            }
            Some(Sentence::Ban { until, prefix }) => {
                let length = until.saturating_sub(now);
                warn!(%peer, reason = deed.label(), seconds = length.as_secs(), "peer banned");
                metrics::sentence("ban");
                if let Some(banned) = convert::libp2p_peer(peer) {
                    self.swarm.behaviour_mut().guard.ban(banned, prefix, self.start + until);
                }
                metrics::banned(self.scores.bans(now));
                self.disconnect(peer);
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        // Tokens ascend with their deadlines.
        while let Some(entry) = self.tokens.first_entry()
            && entry.get().until <= now
        {
            let token = Token(*entry.key());
            metrics::dropped("no_verdict");
            self.judged(token, Verdict::Ignore);
        }
        self.expire_requests(now);
        metrics::waiting(&[
            ("verdict", self.tokens.len()),
            ("actor", self.inbox.len()),
            ("peer", self.desk.asking()),
            ("answer", self.desk.serving()),
            ("reader", self.desk.writing()),
        ]);
        metrics::held(self.gate.in_work(), self.gate.answers());
    }

    fn sweep(&mut self) {
        let now = self.now();
        self.gate.sweep(now);
        self.scores.decay(now);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.guard.sweep();
        behaviour.mesh.sweep();
        metrics::banned(self.scores.bans(now));
    }

    fn event(&mut self, event: SwarmEvent<NetEvent>) {
        match event {
            SwarmEvent::Behaviour(NetEvent::Mesh(MeteredEvent::Inner(event))) => self.mesh(event),
            SwarmEvent::Behaviour(NetEvent::Mesh(MeteredEvent::Excess(peer))) => {
                metrics::dropped("excess");
                self.deed_of(&peer, Deed::Flood);
            }
            SwarmEvent::Behaviour(NetEvent::Ask(event)) => self.asked(event),
            SwarmEvent::Behaviour(NetEvent::Identify(event)) => self.identified(event),
            SwarmEvent::Behaviour(NetEvent::Ping(ping::Event {
                peer, result: Err(ping::Failure::Timeout), ..
            })) => {
                debug!(%peer, "peer does not answer pings");
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            SwarmEvent::Behaviour(NetEvent::Ping(_)) => {}
            SwarmEvent::Behaviour(NetEvent::Guard(never)) => match never {},
            SwarmEvent::Behaviour(NetEvent::Limits(never)) => match never {},
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                if let Some(reply) = self.dialling.remove(&connection_id) {
                    let _ = reply.send(true);
                }
                if let Some(peer) = convert::peer(&peer_id)
                    && !self.links.contains_key(&peer)
                {
                    self.connections += 1;
                    let link = Link {
                        peer,
                        inbound: endpoint.is_listener(),
                        remote: convert::endpoint(endpoint.get_remote_address()),
                        listens: Vec::new(),
                        number: self.connections,
                    };
                    debug!(%peer, inbound = link.inbound, "peer connected");
                    self.links.insert(peer, link);
                    self.linked();
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                if let Some(peer) = convert::peer(&peer_id) {
                    debug!(%peer, "peer disconnected");
                    self.unlink(&peer);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                debug!(%error, "a dial failed");
                if let Some(reply) = self.dialling.remove(&connection_id) {
                    let _ = reply.send(false);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(endpoint) = convert::endpoint(&address) {
                    info!(%endpoint, "listening for peers");
                    self.listening.push(endpoint);
                    self.ends.listening.send_replace(self.listening.clone());
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Some(endpoint) = convert::endpoint(&address) {
                    self.listening.retain(|known| *known != endpoint);
                    self.ends.listening.send_replace(self.listening.clone());
                }
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                warn!(?addresses, ?reason, "no longer listening for peers");
            }
            SwarmEvent::ListenerError { error, .. } => debug!(%error, "a connection could not be accepted"),
            SwarmEvent::IncomingConnectionError { error, .. } => {
                debug!(%error, "an incoming connection failed");
                metrics::dropped("connection");
            }
            _ => {}
        }
    }

    fn unlink(&mut self, peer: &PeerId) {
        self.introductions.remove(peer);
        if self.links.remove(peer).is_some() {
            self.linked();
        }
    }

    fn linked(&mut self) {
        let inbound = self.links.values().filter(|link| link.inbound).count();
        metrics::peers(inbound, self.links.len() - inbound);
        self.ends.links.send_replace(self.links.values().cloned().collect());
    }

    fn deed_of(&mut self, peer: &libp2p::PeerId, deed: Deed) {
        if let Some(peer) = convert::peer(peer) {
            self.deed(&peer, deed);
        }
    }

    fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(peer) = convert::peer(&peer_id).filter(|peer| self.links.contains_key(peer)) else { return };
        // Each changes what other parts of the node are told.
        let introductions = self.introductions.entry(peer).or_default();
        *introductions = introductions.saturating_add(1);
        if *introductions > INTRODUCTIONS {
            metrics::dropped("introduction");
            return self.deed(&peer, Deed::Flood);
        }
        let Some(link) = self.links.get_mut(&peer) else { return };
        let listens: Vec<Endpoint> = info
            .listen_addrs
            .iter()
            .filter_map(convert::endpoint)
            .filter(Endpoint::is_dialable)
            .take(LISTENS)
            .collect();
        if link.listens != listens {
            link.listens = listens;
            self.linked();
        }
    }
}
