//! Metrics of the executor.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

/// Names and describes the metrics, and sets them to zero.
pub fn describe() {
    describe_gauge!("duskevm_head", "Number of a head: layer l1 or l2, kind unsafe, safe, finalized or durable.");
    describe_counter!("duskevm_gas_total", "Gas used by canonical L2 blocks.");
    describe_counter!("duskevm_transactions_total", "Transactions in canonical L2 blocks.");
    describe_counter!("duskevm_reorgs_total", "Times that canonical L2 blocks were dropped.");
    describe_counter!("duskevm_blocks_invalid_total", "Blocks that were refused by execution.");
    describe_histogram!("duskevm_block_seconds", "Seconds that a phase of making a block takes.");
    for kind in ["unsafe", "safe", "finalized", "durable"] {
        gauge!("duskevm_head", "layer" => "l2", "kind" => kind).set(0.0);
    }
    counter!("duskevm_gas_total").absolute(0);
    counter!("duskevm_transactions_total").absolute(0);
    counter!("duskevm_reorgs_total").absolute(0);
    counter!("duskevm_blocks_invalid_total").absolute(0);
}

pub(crate) fn phase(phase: &'static str, took: Duration) {
    histogram!("duskevm_block_seconds", "phase" => phase).record(took);
}

pub(crate) fn inserted(gas: u64, transactions: usize) {
    counter!("duskevm_gas_total").increment(gas);
    counter!("duskevm_transactions_total").increment(transactions as u64);
}

pub(crate) fn heads(latest: u64, safe: u64, finalized: u64, durable: u64) {
    for (kind, number) in [("unsafe", latest), ("safe", safe), ("finalized", finalized), ("durable", durable)] {
        gauge!("duskevm_head", "layer" => "l2", "kind" => kind).set(number as f64);
    }
}

pub(crate) fn reorganized() {
    counter!("duskevm_reorgs_total").increment(1);
}

pub(crate) fn invalid() {
    counter!("duskevm_blocks_invalid_total").increment(1);
}
