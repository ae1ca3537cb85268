//! A node of another make.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "for the tests beside it"
)]

use crate::bed::{CHAIN, in_time};
use duskevm_gossip::BlockPeer;
use duskevm_unsafe_gossip::{PayloadVersion, message_id, topic};
use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::{Multiaddr, Swarm, Transport as _, noise, tcp, yamux};
use std::time::Duration;

/// A bare libp2p node with an ed25519 key and go-libp2p-like settings, written with nothing of ours but names and ids.
pub fn stranger() -> Swarm<gossipsub::Behaviour> {
    let keys = libp2p::identity::Keypair::generate_ed25519();
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .max_transmit_size(10 << 20)
        .message_id_fn(|message| gossipsub::MessageId::new(&message_id(message.topic.as_str(), &message.data)))
        .heartbeat_initial_delay(Duration::from_millis(50))
        .flood_publish(true)
        .build()
        .unwrap();
    let mut mesh: gossipsub::Behaviour = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    for version in PayloadVersion::ALL {
        mesh.subscribe(&IdentTopic::new(topic(CHAIN, version))).unwrap();
    }
    let transport = tcp::tokio::Transport::default()
        .upgrade(libp2p::core::upgrade::Version::V1)
        .authenticate(noise::Config::new(&keys).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
    Swarm::new(transport, mesh, keys.public().to_peer_id(), config)
}

/// Goes on until the node is known to read all topics.
pub async fn join(swarm: &mut Swarm<gossipsub::Behaviour>, address: &BlockPeer) {
    swarm.dial(address.to_string().parse::<Multiaddr>().unwrap()).unwrap();
    in_time("the node subscribes", async {
        while !swarm.behaviour().all_peers().any(|(_, topics)| topics.len() == PayloadVersion::ALL.len()) {
            swarm.select_next_some().await;
        }
    })
    .await;
}

pub fn publish(swarm: &mut Swarm<gossipsub::Behaviour>, version: PayloadVersion, message: Vec<u8>) {
    swarm.behaviour_mut().publish(IdentTopic::new(topic(CHAIN, version)), message).unwrap();
}
