//! What is measured.

use metrics::{counter, gauge};

/// Connected peers.
pub(super) fn peers(count: usize) {
    gauge!("duskevm_block_gossip_peers").set(count as f64);
}

/// Peers that are banned now.
pub(super) fn banned(count: usize) {
    gauge!("duskevm_block_gossip_banned_peers").set(count as f64);
}

/// A peer was disconnected or banned.
pub(super) fn sentence(kind: &'static str) {
    counter!("duskevm_block_gossip_sentences_total", "kind" => kind).increment(1);
}

/// A block of this node was announced.
pub(super) fn published(bytes: usize) {
    counter!("duskevm_block_gossip_published_total").increment(1);
    counter!("duskevm_block_gossip_published_bytes_total").increment(bytes as u64);
}

/// A message came: what was done with it, and why.
pub(super) fn received(outcome: &'static str, reason: &'static str) {
    counter!("duskevm_block_gossip_received_total", "outcome" => outcome, "reason" => reason).increment(1);
}

/// A received block was handed to the executor.
pub(super) fn imported(outcome: &'static str) {
    counter!("duskevm_block_gossip_imported_total", "outcome" => outcome).increment(1);
}

/// A peer was asked for a block.
pub(super) fn asked(outcome: &'static str) {
    counter!("duskevm_block_gossip_gap_requests_total", "outcome" => outcome).increment(1);
}

/// A peer asked for a block.
pub(super) fn served(outcome: &'static str) {
    counter!("duskevm_block_gossip_served_total", "outcome" => outcome).increment(1);
}

/// Blocks that wait to be imported or fetched, their bytes, and the highest number that is known of.
pub(super) fn queue(blocks: usize, bytes: usize, highest: u64) {
    gauge!("duskevm_block_gossip_queued_blocks").set(blocks as f64);
    gauge!("duskevm_block_gossip_queued_bytes").set(bytes as f64);
    gauge!("duskevm_block_gossip_highest_block").set(highest as f64);
}
