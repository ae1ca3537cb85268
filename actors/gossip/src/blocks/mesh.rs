//! Gossipsub as it is set up for blocks of L2, and what it costs to listen to it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use duskevm_unsafe_gossip::{MAX_MESSAGE, PayloadVersion, message_id, topic};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, TopicHash, ValidationMode};
use libp2p::swarm::THandlerOutEvent;

use super::allowance::{self, MOST_MESSAGES};
use crate::host::HostError;
use crate::net::{OnlyOurs, SLACK};

pub(super) type Mesh = gossipsub::Behaviour<OnlyOurs, gossipsub::WhitelistSubscriptionFilter>;
type FromHandler = THandlerOutEvent<Mesh>;

pub(super) fn setup(error: impl ToString) -> HostError {
    HostError::Setup(error.to_string())
}

/// As op-node has it (rollup-node-p2p.md, "Gossipsub"): messages carry no author, and are forwarded after a verdict only.
pub(super) fn mesh(chain_id: u64) -> Result<(Mesh, HashMap<TopicHash, PayloadVersion>), HostError> {
    let config = gossipsub::ConfigBuilder::default()
        .validate_messages()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId::new(&message_id(message.topic.as_str(), &message.data)))
        .max_transmit_size(MAX_MESSAGE + SLACK)
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .gossip_lazy(6)
        .heartbeat_interval(Duration::from_millis(500))
        .heartbeat_initial_delay(Duration::from_millis(100))
        .fanout_ttl(Duration::from_secs(24))
        .history_length(12)
        .history_gossip(3)
        .duplicate_cache_time(Duration::from_secs(65))
        .flood_publish(false)
        .max_publish_messages(MOST_MESSAGES)
        // A large message is told to all of the mesh before anybody has looked at it, an RPC each: with messages of no worth a stranger
        // would make this node flood its neighbours.
        .idontwant_message_size_threshold(usize::MAX)
        .build()
        .map_err(setup)?;
    let names: HashMap<TopicHash, PayloadVersion> =
        PayloadVersion::ALL.map(|version| (IdentTopic::new(topic(chain_id, version)).hash(), version)).into();
    let hashes: HashSet<TopicHash> = names.keys().cloned().collect();
    let mut mesh = Mesh::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Anonymous,
        config,
        gossipsub::WhitelistSubscriptionFilter(hashes.clone()),
        OnlyOurs { topics: hashes },
    )
    .map_err(setup)?;
    for version in PayloadVersion::ALL {
        mesh.subscribe(&IdentTopic::new(topic(chain_id, version))).map_err(setup)?;
    }
    Ok((mesh, names))
}

/// How many tokens an RPC of gossipsub costs.
pub(super) fn cost(event: &FromHandler) -> u64 {
    let FromHandler::Message { rpc, .. } = event else { return 1 };
    allowance::cost(rpc.messages.iter().map(|message| &message.data[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::BlockIdentity;
    use crate::blocks::allowance::RPCS;
    use crate::host::Transport;
    use crate::meter::{Metered, MeteredEvent};
    use crate::net::transport;
    use futures::StreamExt as _;
    use libp2p::gossipsub::MessageAcceptance;
    use libp2p::swarm::{Config, SwarmEvent};
    use libp2p::{Multiaddr, Swarm};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    static REFUSED_BEFOREHAND: AtomicUsize = AtomicUsize::new(0);

    fn count(event: &FromHandler) -> u64 {
        if format!("{event:?}").contains("IDontWant") {
            REFUSED_BEFOREHAND.fetch_add(1, Ordering::Relaxed);
        }
        1
    }

    fn swarm(cost: crate::meter::Cost<Mesh>) -> Swarm<Metered<Mesh>> {
        let identity = BlockIdentity::generate();
        let (mesh, _) = mesh(745).unwrap();
        let transport = transport(&Transport::Memory(0), identity.keys()).unwrap();
        let config = Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
        Swarm::new(transport, Metered::with_cost(mesh, RPCS, cost, Instant::now()), identity.peer(), config)
    }

    async fn listen(swarm: &mut Swarm<Metered<Mesh>>) -> Multiaddr {
        swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return address;
            }
        }
    }

    /// The message of an event, if it is one.
    fn message(event: SwarmEvent<MeteredEvent<gossipsub::Event>>) -> Option<(libp2p::PeerId, gossipsub::MessageId)> {
        match event {
            SwarmEvent::Behaviour(MeteredEvent::Inner(gossipsub::Event::Message {
                propagation_source,
                message_id,
                ..
            })) => Some((propagation_source, message_id)),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_message_that_nobody_has_looked_at_yet_is_not_told_to_the_neighbours() {
        let (mut from, mut relay, mut end) = (swarm(cost), swarm(cost), swarm(count));
        let (relay_at, end_at) = (listen(&mut relay).await, listen(&mut end).await);
        from.dial(relay_at).unwrap();
        relay.dial(end_at).unwrap();
        let name = IdentTopic::new(topic(745, PayloadVersion::V4));
        let end_peer = *end.local_peer_id();
        let mut published = false;
        let way = async {
            loop {
                let joined = relay.behaviour_mut().inner_mut().mesh_peers(&name.hash()).any(|peer| *peer == end_peer);
                if joined && !published {
                    published = from.behaviour_mut().inner_mut().publish(name.clone(), vec![1; 5_000]).is_ok();
                }
                tokio::select! {
                    _ = from.select_next_some() => {}
                    event = relay.select_next_some() => {
                        if let Some((peer, id)) = message(event) {
                            let mesh = relay.behaviour_mut().inner_mut();
                            mesh.report_message_validation_result(&id, &peer, MessageAcceptance::Accept);
                        }
                    }
                    event = end.select_next_some() => {
                        if message(event).is_some() {
                            return;
                        }
                    }
                    // Heartbeats make no events.
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), way).await.unwrap();
        assert_eq!(REFUSED_BEFOREHAND.load(Ordering::Relaxed), 0);
    }
}
