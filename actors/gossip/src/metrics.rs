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

/// Messages that wait for a verdict, and their bytes; requests on their way out; requests that wait for an answer of ours.
pub(crate) fn waiting(verdicts: usize, bytes: u64, asked: usize, serving: usize) {
    gauge!("duskevm_gossip_waiting", "for" => "verdict").set(verdicts as f64);
    gauge!("duskevm_gossip_waiting_bytes").set(bytes as f64);
    gauge!("duskevm_gossip_waiting", "for" => "peer").set(asked as f64);
    gauge!("duskevm_gossip_waiting", "for" => "answer").set(serving as f64);
}

/// Addresses in the book.
pub(crate) fn book(addresses: usize) {
    gauge!("duskevm_gossip_known_peers").set(addresses as f64);
}

/// A request to a peer ended.
pub(crate) fn asked(kind: &'static str, outcome: &'static str) {
    counter!("duskevm_gossip_requests_total", "kind" => kind, "outcome" => outcome).increment(1);
}
