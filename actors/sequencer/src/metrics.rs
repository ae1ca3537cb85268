//! Metrics of the sequencer.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

/// Names and describes the metrics, and sets them to zero.
pub fn describe() {
    describe_counter!("duskevm_sequencer_blocks_total", "Blocks sealed by this node.");
    describe_counter!("duskevm_sequencer_resealed_total", "Blocks taken from the journal after a restart.");
    describe_counter!("duskevm_sequencer_obstacles_total", "Attempts to build that had to be repeated, by reason.");
    describe_counter!(
        "duskevm_sequencer_voided_total",
        "Times that L1 had another block than one announced by this node."
    );
    describe_gauge!("duskevm_sequencer_active", "1 while this node makes blocks, 0 while an operator has stopped it.");
    describe_histogram!("duskevm_block_seconds", "Seconds that a phase of making a block takes.");
    counter!("duskevm_sequencer_blocks_total").absolute(0);
    counter!("duskevm_sequencer_resealed_total").absolute(0);
    counter!("duskevm_sequencer_voided_total").absolute(0);
}

pub(crate) fn sealed(build: Duration, journal: Duration) {
    counter!("duskevm_sequencer_blocks_total").increment(1);
    histogram!("duskevm_block_seconds", "phase" => "build").record(build);
    histogram!("duskevm_block_seconds", "phase" => "journal").record(journal);
}

pub(crate) fn resealed() {
    counter!("duskevm_sequencer_resealed_total").increment(1);
}

pub(crate) fn voided() {
    counter!("duskevm_sequencer_voided_total").increment(1);
}

pub(crate) fn obstacle(reason: &'static str) {
    counter!("duskevm_sequencer_obstacles_total", "reason" => reason).increment(1);
}

pub(crate) fn active(active: bool) {
    gauge!("duskevm_sequencer_active").set(f64::from(u8::from(active)));
}
