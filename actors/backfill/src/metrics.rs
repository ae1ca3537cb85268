//! Metrics of backfill.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Names and describes the metrics, and sets them to zero.
pub(crate) fn describe() {
    describe_counter!("duskevm_backfill_attempts_total", "Heads of the consensus client that were gone after, by end.");
    describe_counter!("duskevm_backfill_requests_total", "Requests to the source, by what for and outcome.");
    describe_counter!(
        "duskevm_backfill_blocks_total",
        "Blocks from the source that became the head or wait beside the chain."
    );
    describe_gauge!("duskevm_backfill_missing_blocks", "Blocks between the chain and the head that is fetched.");
    for end in ["reached", "failed", "invalid"] {
        counter!("duskevm_backfill_attempts_total", "end" => end).absolute(0);
    }
    for what in ["header", "headers", "blocks"] {
        for outcome in ["answered", "no_answer", "wrong"] {
            counter!("duskevm_backfill_requests_total", "what" => what, "outcome" => outcome).absolute(0);
        }
    }
    counter!("duskevm_backfill_blocks_total").absolute(0);
    missing(0);
}

pub(crate) fn ended(end: &'static str) {
    counter!("duskevm_backfill_attempts_total", "end" => end).increment(1);
}

pub(crate) fn asked(what: &'static str, outcome: &'static str) {
    counter!("duskevm_backfill_requests_total", "what" => what, "outcome" => outcome).increment(1);
}

pub(crate) fn taken() {
    counter!("duskevm_backfill_blocks_total").increment(1);
}

pub(crate) fn missing(blocks: u64) {
    gauge!("duskevm_backfill_missing_blocks").set(blocks as f64);
}
