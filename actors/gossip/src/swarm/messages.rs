//! Messages of the network: out to peers, in to the actor, and the verdicts on them.

use std::time::Instant;

use duskevm_messages::gossip::{Fault, PublishFailure, Token, Verdict};
use duskevm_p2p::{Deed, Drop, Flow, Topic};
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use tracing::{debug, warn};

use super::{Task, Waiting};
use crate::convert;
use crate::host::HostEvent;
use crate::metrics;

impl Task {
    pub(super) fn publish(&mut self, topic: Topic, bytes: &[u8]) -> Result<usize, PublishFailure> {
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

    pub(super) fn judged(&mut self, token: Token, verdict: Verdict) {
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

    pub(super) fn mesh(&mut self, event: gossipsub::Event) {
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
        self.tell(peer, HostEvent::Message { token: Token(token), peer, topic, bytes: message.data.into() });
    }
}
