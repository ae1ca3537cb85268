//! The task that runs the host: from the events of libp2p to those of the actor, with the rules of `duskevm_p2p` between.
//!
//! It never waits for the actor: a message that the actor has no room for is ignored, a request is refused. What arrives
//! while no instance is attached waits in a bounded queue for the next one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duskevm_fence::Generation;
use duskevm_messages::gossip::{Fault, PublishFailure, Token, Verdict};
use duskevm_p2p::{
    Answer, Deed, Drop, Endpoint, Flow, Gate, PeerId, Prefix, Refusal, Request, Scores, Sentence, Topic,
};
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError, TopicHash};
use libp2p::request_response;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, SwarmEvent};
use libp2p::{Swarm, identify, ping};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use crate::convert;
use crate::desk::{Asking, Desk};
use crate::host::{Attachment, Command, HostError, HostEvent, HostSettings, Link, Serving, Transport};
use crate::identity::Identity;
use crate::meter::MeteredEvent;
use crate::metrics;
use crate::net::{self, Net, NetEvent};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often what has ended is forgotten.
const SWEEP: Duration = Duration::from_secs(5);
/// Events that wait for the next instance of the actor.
const HELD: usize = 512;
/// Addresses that a peer may name.
const LISTENS: usize = 4;

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
    actor: Option<mpsc::Sender<HostEvent>>,
    held: VecDeque<HostEvent>,
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
    let transport_stack = net::transport(transport, identity)?;
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
                return Err(HostError::Listen { address: endpoint.to_string(), source: std::io::Error::other(error) });
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
        actor: None,
        held: VecDeque::new(),
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
        self.actor = Some(attachment.events);
        for event in std::mem::take(&mut self.held) {
            self.tell(event);
        }
    }

    /// Hands an event to the actor, keeps it for the next instance, or gives it up.
    fn tell(&mut self, event: HostEvent) {
        let event = match &self.actor {
            Some(actor) => match actor.try_send(event) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(event)) => return self.give_up(event),
                Err(mpsc::error::TrySendError::Closed(event)) => event,
            },
            None => event,
        };
        self.actor = None;
        if self.held.len() < HELD {
            self.held.push_back(event);
        } else {
            self.give_up(event);
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

    fn publish(&mut self, topic: Topic, bytes: &[u8]) -> Result<usize, PublishFailure> {
        let Some(name) = self.names.get(&topic) else { return Err(PublishFailure::NotSubscribed) };
        if bytes.len() > topic.max_bytes() {
            return Err(PublishFailure::TooLong { got: bytes.len(), most: topic.max_bytes() });
        }
        let mesh = self.swarm.behaviour_mut().mesh.inner_mut();
        match mesh.publish(name.clone(), bytes) {
            Ok(_) => {
                let reached = mesh.all_peers().filter(|(_, topics)| topics.contains(&name)).count();
                metrics::bytes(topic, "out", bytes.len());
                Ok(reached)
            }
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => Ok(0),
            Err(PublishError::AllQueuesFull(_)) => Err(PublishFailure::Full),
            Err(error) => {
                warn!(%error, topic = topic.label(), "a message could not be published");
                Ok(0)
            }
        }
    }

    fn judged(&mut self, token: Token, verdict: Verdict) {
        let Some(waiting) = self.tokens.remove(&token.0) else { return };
        self.gate.settled(&waiting.peer, waiting.bytes);
        let (acceptance, deed) = match verdict {
            Verdict::Accept => (MessageAcceptance::Accept, Deed::ValidFirst),
            Verdict::Ignore => (MessageAcceptance::Ignore, Deed::Ignored),
            Verdict::Reject(Fault::Garbage) => (MessageAcceptance::Reject, Deed::Garbage),
            Verdict::Reject(Fault::Invalid) => (MessageAcceptance::Reject, Deed::Invalid),
        };
        self.report(&waiting.id, &waiting.from, acceptance);
        self.deed(&waiting.peer, deed);
    }

    fn report(&mut self, id: &MessageId, from: &libp2p::PeerId, acceptance: MessageAcceptance) {
        self.swarm.behaviour_mut().mesh.inner_mut().report_message_validation_result(id, from, acceptance);
    }

    fn dial(&mut self, address: &duskevm_p2p::PeerAddress, reply: oneshot::Sender<bool>) {
        if self.links.contains_key(&address.peer) {
            let _ = reply.send(true);
            return;
        }
        let Some(peer) = convert::libp2p_peer(&address.peer) else { return };
        if self.swarm.behaviour().guard.is_banned(&address.peer) {
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
        if self.links.remove(peer).is_some() {
            self.linked();
        }
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
                self.swarm.behaviour_mut().guard.ban(*peer, prefix, self.start + until);
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
        for (peer, kind) in self.desk.overdue(now) {
            metrics::asked(kind.label(), "timeout");
            self.deed(&peer, Deed::NoAnswer);
        }
        for serving in self.desk.unanswered(now) {
            self.answer(serving, Answer::Refused(Refusal::Unavailable));
        }
        metrics::waiting(self.tokens.len(), self.gate.in_work(), self.desk.asking(), self.desk.serving());
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
                if let Some(peer) = convert::peer(&peer_id)
                    && self.links.remove(&peer).is_some()
                {
                    debug!(%peer, "peer disconnected");
                    self.linked();
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

    fn mesh(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.message(propagation_source, message_id, message);
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => self.deed_of(&peer_id, Deed::SlowReader),
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                // Another network, or something else altogether.
                debug!(peer = %peer_id, "peer does not take part in this network");
                let _ = self.swarm.disconnect_peer_id(peer_id);
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => {}
        }
    }

    fn message(&mut self, from: libp2p::PeerId, id: MessageId, message: gossipsub::Message) {
        let (Some(peer), Some(topic)) = (convert::peer(&from), self.topics.get(&message.topic).copied()) else {
            return self.report(&id, &from, MessageAcceptance::Ignore);
        };
        let bytes = message.data.len();
        metrics::bytes(topic, "in", bytes);
        match self.gate.message(self.now(), &peer, topic, bytes) {
            Flow::Take => {}
            Flow::Drop(why) => {
                let (label, deed) = match why {
                    Drop::Oversize => ("oversize", Some(Deed::Oversize)),
                    Drop::Flood => ("flood", Some(Deed::Flood)),
                    Drop::Busy => ("busy", None),
                };
                metrics::dropped(label);
                self.report(&id, &from, MessageAcceptance::Ignore);
                if let Some(deed) = deed {
                    self.deed(&peer, deed);
                }
                return;
            }
        }
        if let Err(error) = topic.check_head(&message.data) {
            debug!(%peer, %error, topic = topic.label(), "garbage from a peer");
            metrics::dropped("garbage");
            self.gate.settled(&peer, bytes);
            self.report(&id, &from, MessageAcceptance::Reject);
            self.deed(&peer, Deed::Garbage);
            return;
        }
        let token = self.next_token;
        self.next_token += 1;
        let until = Instant::now() + self.patience;
        self.tokens.insert(token, Waiting { id, from, peer, bytes, until });
        self.tell(HostEvent::Message { token: Token(token), peer, topic, bytes: message.data.into() });
    }

    fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(link) = convert::peer(&peer_id).and_then(|peer| self.links.get_mut(&peer)) else { return };
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

    fn ask(
        &mut self,
        peer: PeerId,
        request: Request,
        within: Duration,
        reply: oneshot::Sender<Result<Answer, duskevm_messages::gossip::AskFailure>>,
    ) {
        let linked = self.links.contains_key(&peer);
        let Some(to) = convert::libp2p_peer(&peer).filter(|_| linked) else {
            return Asking::lost(reply, &peer);
        };
        let until = Instant::now() + within.min(net::LONGEST_ASK);
        let swarm = &mut self.swarm;
        self.desk.ask(peer, request, until, reply, |request| swarm.behaviour_mut().ask.send_request(&to, request));
    }

    fn answer(&mut self, serving: Serving, answer: Answer) {
        if let Some((peer, channel)) = self.desk.served(serving) {
            self.gate.answered(&peer);
            // The asker may have gone.
            let _ = self.swarm.behaviour_mut().ask.send_response(channel, answer);
        }
    }

    fn asked(&mut self, event: request_response::Event<Request, Answer>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request, channel, .. } => {
                    let Some(peer) = convert::peer(&peer) else { return };
                    let flow = if self.desk.has_room() {
                        self.gate.request(self.now(), &peer, request.kind())
                    } else {
                        Flow::Drop(Drop::Busy)
                    };
                    match flow {
                        Flow::Take => {
                            let serving = self.desk.serve(peer, channel);
                            self.tell(HostEvent::Request { serving, peer, request });
                        }
                        Flow::Drop(why) => {
                            metrics::dropped("request");
                            let flood = why != Drop::Busy;
                            let refusal = if flood { Refusal::TooMany } else { Refusal::Busy };
                            let _ = self.swarm.behaviour_mut().ask.send_response(channel, Answer::Refused(refusal));
                            if flood {
                                self.deed(&peer, Deed::Flood);
                            }
                        }
                    }
                }
                request_response::Message::Response { request_id, response } => {
                    // An answer that comes too late was held against the peer already.
                    if let Some((peer, kind, good)) = self.desk.answered(request_id, response) {
                        metrics::asked(kind.label(), if good { "answer" } else { "nonsense" });
                        self.deed(&peer, if good { Deed::GoodAnswer } else { Deed::BadAnswer });
                    }
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                if let Some((peer, kind, deed)) = self.desk.failed(request_id, &error) {
                    metrics::asked(kind.label(), "failure");
                    if let Some(deed) = deed {
                        self.deed(&peer, deed);
                    }
                }
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                if let request_response::InboundFailure::Io(error) = error
                    && error.kind() == std::io::ErrorKind::InvalidData
                {
                    metrics::dropped("garbage");
                    self.deed_of(&peer, Deed::Garbage);
                }
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }
}
