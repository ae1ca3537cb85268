//! What the network part counts.

use duskevm_p2p::Topic;
use metrics::{counter, gauge};

/// Connected peers.
pub(crate) fn peers(inbound: usize, outbound: usize) {
    gauge!("duskevm_gossip_peers", "direction" => "inbound").set(inbound as f64);
    gauge!("duskevm_gossip_peers", "direction" => "outbound").set(outbound as f64);
}

/// A peer was sentenced.
pub(crate) fn sentence(kind: &'static str) {
    counter!("duskevm_gossip_sentences_total", "kind" => kind).increment(1);
}

/// Peers that are banned now.
pub(crate) fn banned(peers: usize) {
    gauge!("duskevm_gossip_banned_peers").set(peers as f64);
}

/// Something a peer did.
pub(crate) fn deed(label: &'static str) {
    counter!("duskevm_gossip_deeds_total", "deed" => label).increment(1);
}

/// Bytes of messages, by topic and direction.
pub(crate) fn bytes(topic: Topic, direction: &'static str, bytes: usize) {
    counter!("duskevm_gossip_messages_total", "topic" => topic.label(), "direction" => direction).increment(1);
    counter!("duskevm_gossip_bytes_total", "topic" => topic.label(), "direction" => direction).increment(bytes as u64);
}

/// A message or request that was not looked at.
pub(crate) fn dropped(why: &'static str) {
    counter!("duskevm_gossip_dropped_total", "why" => why).increment(1);
}

/// How much waits for what: messages for a verdict or for the actor, questions of this node for a peer, questions of peers for
/// an answer, answers for their reader.
pub(crate) fn waiting(counts: &[(&'static str, usize)]) {
    for (what, count) in counts {
        gauge!("duskevm_gossip_waiting", "for" => *what).set(*count as f64);
    }
}

/// Bytes of messages that wait for a verdict, and of answers that are being made or written.
pub(crate) fn held(messages: u64, answers: u64) {
    gauge!("duskevm_gossip_waiting_bytes").set(messages as f64);
    gauge!("duskevm_gossip_answer_bytes").set(answers as f64);
}

/// Addresses in the book.
pub(crate) fn book(addresses: usize) {
    gauge!("duskevm_gossip_known_peers").set(addresses as f64);
}

/// A request to a peer ended.
pub(crate) fn asked(kind: &'static str, outcome: &'static str) {
    counter!("duskevm_gossip_requests_total", "kind" => kind, "outcome" => outcome).increment(1);
}
