//! A peer that speaks the protocols and does not keep the rules.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use duskevm_p2p::{PeerAddress, PeerId, Topic};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, PublishError, ValidationMode};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{StreamProtocol, Swarm, Transport as _, identify, identity, noise, tcp, yamux};

use super::{NETWORK, in_time};

/// Writes any bytes on any protocol, and reads answers unless it is deaf.
#[derive(Clone, Default)]
pub struct Raw {
    deaf: Arc<AtomicBool>,
}

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.take(1 << 20).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        p: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        if self.deaf.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.read_request(p, io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await?;
        io.close().await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        p: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        self.write_request(p, io, bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub struct EvilNet {
    pub mesh: gossipsub::Behaviour,
    pub ask: request_response::Behaviour<Raw>,
    pub raw_mesh: request_response::Behaviour<Raw>,
    pub identify: identify::Behaviour,
}

pub struct Evil {
    pub swarm: Swarm<EvilNet>,
    pub id: PeerId,
    pub target: libp2p::PeerId,
    address: PeerAddress,
    /// What it answers to any request; nothing if `None`.
    pub answer: Option<Vec<u8>>,
    kept: Vec<request_response::ResponseChannel<Vec<u8>>>,
    /// Whether it asks and does not read the answers.
    pub deaf: Arc<AtomicBool>,
    /// Pushes of its addresses that went out.
    pub pushed: usize,
}

fn swarm(secret: u8, deaf: Arc<AtomicBool>) -> Swarm<EvilNet> {
    let keys = identity::Keypair::ed25519_from_bytes([secret; 32]).unwrap();
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(NETWORK.mesh_prefix())
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|_| {
            // The same bytes can be sent again and again.
            static NEXT: AtomicU64 = AtomicU64::new(0);
            gossipsub::MessageId::new(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes())
        })
        .max_transmit_size(32 << 20)
        .connection_handler_queue_len(200_000)
        .publish_queue_duration(Duration::from_secs(60))
        .heartbeat_initial_delay(Duration::from_millis(50))
        .build()
        .unwrap();
    let raw = |protocol: String| {
        let protocol = (StreamProtocol::try_from_owned(protocol).unwrap(), ProtocolSupport::Full);
        let codec = Raw { deaf };
        request_response::Behaviour::with_codec(codec, [protocol], request_response::Config::default())
    };
    let outgoing = StreamProtocol::try_from_owned(format!("{}/1.1.0", NETWORK.mesh_prefix())).unwrap();
    let behaviour = EvilNet {
        mesh: gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap(),
        ask: raw(NETWORK.ask_protocol()),
        raw_mesh: request_response::Behaviour::new(
            [(outgoing, ProtocolSupport::Outbound)],
            request_response::Config::default(),
        ),
        identify: identify::Behaviour::new(identify::Config::new(format!("/dusk/{NETWORK}/id/1"), keys.public())),
    };
    let noise = noise::Config::new(&keys).unwrap();
    let memory = MemoryTransport::new()
        .or_transport(tcp::tokio::Transport::default())
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .boxed();
    let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
    Swarm::new(memory, behaviour, keys.public().to_peer_id(), config)
}

impl Evil {
    /// Connects, joins all topics, and waits until the victim is known to read votes.
    pub async fn connect(secret: u8, address: PeerAddress) -> Self {
        let deaf = Arc::new(AtomicBool::new(false));
        let mut swarm = swarm(secret, deaf.clone());
        for topic in Topic::L1 {
            swarm.behaviour_mut().mesh.subscribe(&IdentTopic::new(topic.name(&NETWORK))).unwrap();
        }
        let target = libp2p::PeerId::from_bytes(&address.peer.to_bytes()).unwrap();
        let id = PeerId::from_bytes(&swarm.local_peer_id().to_bytes()).unwrap();
        let mut evil = Self { swarm, id, target, address, answer: None, kept: Vec::new(), deaf, pushed: 0 };
        evil.dial();
        evil.subscribed().await;
        evil
    }

    /// Goes on until the victim is known to read all topics.
    pub async fn subscribed(&mut self) {
        in_time("the victim subscribes", async {
            let known = |evil: &Self| {
                evil.swarm.behaviour().mesh.all_peers().any(|(_, topics)| topics.len() == Topic::L1.len())
            };
            while !known(self) {
                self.step().await;
            }
        })
        .await;
    }

    pub fn dial(&mut self) {
        self.swarm.dial(self.address.endpoint.to_string().parse::<libp2p::Multiaddr>().unwrap()).unwrap();
    }

    async fn step(&mut self) -> Option<SwarmEvent<EvilNetEvent>> {
        let event = self.swarm.select_next_some().await;
        if let SwarmEvent::Behaviour(EvilNetEvent::Ask(request_response::Event::Message {
            message: request_response::Message::Request { channel, .. },
            ..
        })) = event
        {
            match &self.answer {
                Some(answer) => {
                    let _ = self.swarm.behaviour_mut().ask.send_response(channel, answer.clone());
                }
                None => self.kept.push(channel),
            }
            return None;
        }
        if let SwarmEvent::Behaviour(EvilNetEvent::Identify(identify::Event::Pushed { .. })) = event {
            self.pushed += 1;
        }
        Some(event)
    }

    /// Goes on until something else is done.
    pub async fn until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                result = &mut done => return result,
                _ = self.step() => {}
            }
        }
    }

    /// Goes on until the victim has closed the connection, or refused it.
    pub async fn until_closed(&mut self) {
        in_time("the victim closes the connection", async {
            loop {
                if let Some(SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. }) =
                    self.step().await
                {
                    return;
                }
            }
        })
        .await;
    }

    pub fn publish(&mut self, topic: Topic, bytes: &[u8]) -> Result<(), PublishError> {
        self.swarm.behaviour_mut().mesh.publish(IdentTopic::new(topic.name(&NETWORK)), bytes).map(drop)
    }

    /// Bytes on a stream of the request protocol.
    pub fn ask_raw(&mut self, bytes: Vec<u8>) {
        let target = self.target;
        self.swarm.behaviour_mut().ask.send_request(&target, bytes);
    }

    /// Says where it is, again, and goes on until that is sent or the connection is over.
    pub async fn push(&mut self) {
        let (target, before) = (self.target, self.pushed);
        self.swarm.behaviour_mut().identify.push([target]);
        while self.pushed == before && self.swarm.is_connected(&target) {
            self.step().await;
        }
    }

    /// Bytes on a stream of gossipsub.
    pub fn mesh_raw(&mut self, bytes: Vec<u8>) {
        let target = self.target;
        self.swarm.behaviour_mut().raw_mesh.send_request(&target, bytes);
    }
}
