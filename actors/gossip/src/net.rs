//! The protocols of a peer, and how they are set up.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use duskevm_p2p::{NetworkId, Rate, Topic, message_id};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{self, DataTransform, IdentTopic, MessageAuthenticity, RawMessage, TopicHash, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, StreamProtocol, Transport as _, identify, noise, ping, tcp, yamux};

use crate::closing::Closing;
use crate::codec::AskCodec;
use crate::guard::{Guard, Keys};
use crate::host::{HostError, HostSettings, Transport};
use crate::identity::Identity;
use crate::meter::Metered;

/// Longest time for a request: reading it, answering it, sending the answer.
pub(crate) const LONGEST_ASK: Duration = Duration::from_secs(30);
/// Longest time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a peer may take over the end of its connection.
pub(crate) const CLOSING: Duration = Duration::from_secs(2);
/// Connections that are being made at the same time, in each direction.
pub(crate) const PENDING: u32 = 64;
/// Streams of one connection at the same time. Each may hold 256 KiB that nobody has read yet; two nodes need some twenty.
const STREAMS: usize = 64;
/// Of the connections that others make, one in so many may come from one address; at least so many.
const ADDRESSES: u32 = 4;
const LEAST_FROM_ONE: u32 = 4;
/// Of all connections, one in so many is kept for those that this node makes itself, and so many are enough.
const OWN_SHARE: u32 = 4;
const OWN: u32 = 8;
/// Room for what stands around a message and for what arrives together with it: gossipsub bounds its whole read buffer.
pub(crate) const SLACK: usize = 256 << 10;
/// RPCs of gossipsub from one peer: above what a peer may send in messages, with room for copies and control.
const RPCS: Rate = Rate::new(12_000, 3_000);

/// Messages on topics that this node has not joined are refused before they are kept.
#[derive(Debug, Clone)]
pub(crate) struct OnlyOurs {
    pub(crate) topics: HashSet<TopicHash>,
}

impl DataTransform for OnlyOurs {
    fn inbound_transform(&self, raw: RawMessage) -> Result<gossipsub::Message, io::Error> {
        if !self.topics.contains(&raw.topic) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(gossipsub::Message {
            source: raw.source,
            data: raw.data,
            sequence_number: raw.sequence_number,
            topic: raw.topic,
        })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        Ok(data)
    }
}

pub(crate) type Mesh = gossipsub::Behaviour<OnlyOurs, gossipsub::WhitelistSubscriptionFilter>;

#[derive(NetworkBehaviour)]
pub(crate) struct Net {
    pub(crate) guard: Guard,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) mesh: Metered<Mesh>,
    pub(crate) ask: request_response::Behaviour<AskCodec>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
}

/// The topics of a node by the name that gossipsub uses.
pub(crate) fn topics(network: &NetworkId, topics: &[Topic]) -> HashMap<TopicHash, Topic> {
    topics.iter().map(|topic| (IdentTopic::new(topic.name(network)).hash(), *topic)).collect()
}

fn mesh(settings: &HostSettings) -> Result<Mesh, HostError> {
    let setup = |what: String| HostError::Setup(what);
    let longest = settings.topics.iter().map(Topic::max_bytes).max().unwrap_or(0);
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(settings.network.mesh_prefix())
        .validate_messages()
        // The messages carry their own signatures; who relays them is nobody's business.
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId::new(&message_id(message.topic.as_str(), &message.data)))
        .max_transmit_size(longest + SLACK)
        .mesh_n(6)
        .mesh_n_low(3)
        .mesh_n_high(12)
        .mesh_outbound_min(1)
        .heartbeat_interval(Duration::from_millis(700))
        .heartbeat_initial_delay(Duration::from_millis(100))
        // A message must be kept until its verdict: longer than the patience with verdicts.
        .history_length(12)
        .history_gossip(3)
        .flood_publish(true)
        .connection_handler_queue_len(256)
        .max_publish_messages(512)
        .max_control_messages_sent(512)
        // Shorter than the time after which a provisioner repeats what it has signed: a repetition must get through.
        .duplicate_cache_time(Duration::from_secs(25))
        .build()
        .map_err(|error| setup(error.to_string()))?;
    let names = topics(&settings.network, &settings.topics);
    let hashes: HashSet<TopicHash> = names.into_keys().collect();
    let mut mesh = Mesh::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Anonymous,
        config,
        gossipsub::WhitelistSubscriptionFilter(hashes.clone()),
        OnlyOurs { topics: hashes },
    )
    .map_err(|error| setup(error.into()))?;
    for topic in &settings.topics {
        let name = IdentTopic::new(topic.name(&settings.network));
        mesh.subscribe(&name).map_err(|error| setup(error.to_string()))?;
    }
    Ok(mesh)
}

pub(crate) fn behaviour(settings: &HostSettings, identity: &Identity, start: Instant) -> Result<Net, HostError> {
    let own = OWN.min(settings.max_peers / OWN_SHARE);
    let max_inbound = settings.max_inbound.min(settings.max_peers.saturating_sub(own));
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING))
        .with_max_pending_outgoing(Some(PENDING))
        .with_max_established_incoming(Some(max_inbound))
        .with_max_established(Some(settings.max_peers))
        // Two nodes may dial each other at the same time.
        .with_max_established_per_peer(Some(2));
    let ask = StreamProtocol::try_from_owned(settings.network.ask_protocol())
        .map_err(|error| HostError::Setup(error.to_string()))?;
    let ask_config =
        request_response::Config::default().with_request_timeout(LONGEST_ASK).with_max_concurrent_streams(8);
    let codec = AskCodec::new(settings.reading);
    let identify = identify::Config::new(format!("/dusk/{}/id/1", settings.network), identity.keys().public())
        .with_agent_version("duskevm".into())
        .with_cache_size(0);
    let trusted = settings.trusted.iter().filter_map(|address| address.endpoint.prefix());
    Ok(Net {
        guard: Guard::new(start, Keys::Ed25519, trusted, (max_inbound / ADDRESSES).max(LEAST_FROM_ONE) as usize),
        limits: connection_limits::Behaviour::new(limits),
        mesh: Metered::new(mesh(settings)?, RPCS, start),
        ask: request_response::Behaviour::with_codec(codec, [(ask, ProtocolSupport::Full)], ask_config),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(15))),
    })
}

/// Noise and yamux over TCP or memory.
pub(crate) fn transport(kind: &Transport, keys: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, HostError> {
    let noise = noise::Config::new(keys).map_err(|error| HostError::Setup(error.to_string()))?;
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(STREAMS);
    let connected = match kind {
        Transport::Tcp { .. } => tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(muxer)
            .timeout(HANDSHAKE)
            .boxed(),
        Transport::Memory(_) => MemoryTransport::new()
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(muxer)
            .timeout(HANDSHAKE)
            .boxed(),
    };
    Ok(connected.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Closing::new(muxer, CLOSING)))).boxed())
}
