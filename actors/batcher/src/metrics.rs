//! Metrics of the batcher.

use duskevm_batcher_core::{Backlog, Notice, Why};
use metrics::{counter, describe_counter, describe_gauge, gauge};

const CHANNELS: &str = "duskevm_batcher_channels_total";
const BYTES: &str = "duskevm_batcher_bytes_total";
const TRANSACTIONS: &str = "duskevm_batcher_transactions_total";
const OBSTACLES: &str = "duskevm_batcher_obstacles_total";

/// Names and describes the metrics, and sets them to zero.
pub fn describe() {
    describe_counter!(CHANNELS, "Channels, by what became of them: closed, settled, abandoned.");
    describe_counter!("duskevm_batcher_blocks_total", "L2 blocks in closed channels.");
    describe_counter!(BYTES, "Bytes of closed channels: plain (before compression), compressed.");
    describe_counter!(TRANSACTIONS, "Dusk transactions: signed, submitted, refused.");
    describe_counter!("duskevm_batcher_bumps_total", "Times that a submission was offered at a higher price.");
    describe_counter!(OBSTACLES, "Requests that had to be repeated, by reason.");
    describe_gauge!("duskevm_batcher_backlog_blocks", "L2 blocks that are not on L1.");
    describe_gauge!("duskevm_batcher_backlog_bytes", "About how many bytes of batcher data they come to.");
    describe_gauge!(
        "duskevm_batcher_throttle_permille",
        "By how many thousandths the sequencer should make less data."
    );
    describe_gauge!("duskevm_batcher_balance_lux", "Balance of the batcher's Dusk account.");
    for what in ["closed", "settled", "abandoned"] {
        counter!(CHANNELS, "what" => what).absolute(0);
    }
    for what in ["plain", "compressed"] {
        counter!(BYTES, "what" => what).absolute(0);
    }
    for what in ["signed", "submitted", "refused"] {
        counter!(TRANSACTIONS, "what" => what).absolute(0);
    }
    counter!("duskevm_batcher_blocks_total").absolute(0);
    counter!("duskevm_batcher_bumps_total").absolute(0);
}

pub(crate) fn notice(notice: &Notice) {
    match notice {
        Notice::Closed { id, blocks, rlp_bytes, compressed_bytes, frames } => {
            counter!(CHANNELS, "what" => "closed").increment(1);
            counter!("duskevm_batcher_blocks_total").increment(*blocks);
            counter!(BYTES, "what" => "plain").increment(*rlp_bytes as u64);
            counter!(BYTES, "what" => "compressed").increment(*compressed_bytes as u64);
            tracing::debug!(channel = %id, blocks, bytes = compressed_bytes, frames, "channel closed");
        }
        Notice::Settled { id } => {
            counter!(CHANNELS, "what" => "settled").increment(1);
            tracing::debug!(channel = %id, "channel is on L1 for good");
        }
        Notice::Abandoned { id, why } => {
            counter!(CHANNELS, "what" => "abandoned").increment(1);
            match why {
                Why::Reorg | Why::Overtaken | Why::Expired | Why::Nonce | Why::Gap => {
                    tracing::info!(channel = %id, %why, "channel given up");
                }
                Why::Failed(_) | Why::Order | Why::TimedOut | Why::NotDerived | Why::Different => {
                    tracing::warn!(channel = %id, %why, "channel given up: its blocks are posted in another one");
                }
            }
        }
        Notice::Bumped { channel, gas_price } => {
            counter!("duskevm_batcher_bumps_total").increment(1);
            tracing::info!(%channel, gas_price, "L1 lets a submission wait: more is offered");
        }
        Notice::Unpostable { number, why } => {
            tracing::error!(number, %why, "no channel can carry this L2 block: L1 will replace it");
        }
    }
}

pub(crate) fn transactions(what: &'static str, count: usize) {
    counter!(TRANSACTIONS, "what" => what).increment(count as u64);
}

pub(crate) fn obstacle(reason: &'static str) {
    counter!(OBSTACLES, "reason" => reason).increment(1);
}

pub(crate) fn backlog(backlog: Backlog, throttle: u16) {
    gauge!("duskevm_batcher_backlog_blocks").set(backlog.blocks as f64);
    gauge!("duskevm_batcher_backlog_bytes").set(backlog.bytes as f64);
    gauge!("duskevm_batcher_throttle_permille").set(f64::from(throttle));
}

pub(crate) fn balance(lux: u64) {
    gauge!("duskevm_batcher_balance_lux").set(lux as f64);
}
