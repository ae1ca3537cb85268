//! The actor's metrics.

use std::time::Duration;

use duskevm_messages::l1::L1Heads;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const HEAD: &str = "duskevm_head";
const BLOCKS: &str = "duskevm_l1_view_blocks_total";
const REORGS: &str = "duskevm_l1_reorgs_total";
const FAILURES: &str = "duskevm_l1_backend_failures_total";
const STEP: &str = "duskevm_l1_view_step_seconds";

/// Describes all metrics and makes them appear, so that a dashboard shows zero instead of nothing.
pub(crate) fn describe() {
    describe_gauge!(HEAD, "Number of the newest block, by layer and kind");
    describe_counter!(BLOCKS, "L1 blocks projected into the view");
    describe_counter!(REORGS, "Blocks that the L1 replaced before they were final");
    describe_counter!(FAILURES, "Requests that the L1 backend did not answer");
    describe_histogram!(STEP, Unit::Seconds, "Time to project and store one step of L1 blocks");
    counter!(BLOCKS).increment(0);
    counter!(REORGS).increment(0);
    counter!(FAILURES).increment(0);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn heads(heads: &L1Heads) {
    for (kind, block) in [("latest", heads.latest), ("safe", heads.safe), ("finalized", heads.finalized)] {
        gauge!(HEAD, "layer" => "l1", "kind" => kind).set(block.number as f64);
    }
}

pub(crate) fn projected(blocks: usize, took: Duration) {
    counter!(BLOCKS).increment(blocks as u64);
    histogram!(STEP).record(took.as_secs_f64());
}

pub(crate) fn replaced() {
    counter!(REORGS).increment(1);
}

pub(crate) fn backend_failed() {
    counter!(FAILURES).increment(1);
}
