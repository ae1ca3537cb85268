//! Metrics of derivation.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Names and describes the metrics, and sets them to zero.
pub fn describe() {
    describe_counter!(
        "duskevm_derivation_blocks_total",
        "L2 blocks that became safe, by how: consolidated, derived, deposits_only."
    );
    describe_counter!("duskevm_derivation_resets_total", "Times derivation began anew.");
    describe_counter!("duskevm_derivation_reorgs_total", "Unsafe L2 blocks that L1 data replaced.");
    describe_counter!(
        "duskevm_derivation_foreign_total",
        "Times the unsafe L2 blocks were given up because one of them cannot be of this rollup."
    );
    describe_counter!("duskevm_derivation_notices_total", "Batcher data that no block came of, by kind.");
    describe_counter!("duskevm_derivation_obstacles_total", "Requests that had to be repeated, by reason.");
    describe_gauge!("duskevm_derivation_l1_block", "Number of the L1 block that derivation reads.");
    for how in ["consolidated", "derived", "deposits_only"] {
        counter!("duskevm_derivation_blocks_total", "how" => how).absolute(0);
    }
    counter!("duskevm_derivation_resets_total").absolute(0);
    counter!("duskevm_derivation_reorgs_total").absolute(0);
    counter!("duskevm_derivation_foreign_total").absolute(0);
}

pub(crate) fn block(how: &'static str) {
    counter!("duskevm_derivation_blocks_total", "how" => how).increment(1);
}

pub(crate) fn reset() {
    counter!("duskevm_derivation_resets_total").increment(1);
}

pub(crate) fn replaced(blocks: u64) {
    counter!("duskevm_derivation_reorgs_total").increment(blocks);
}

pub(crate) fn foreign() {
    counter!("duskevm_derivation_foreign_total").increment(1);
}

pub(crate) fn notice(kind: &'static str) {
    counter!("duskevm_derivation_notices_total", "kind" => kind).increment(1);
}

pub(crate) fn obstacle(reason: &'static str) {
    counter!("duskevm_derivation_obstacles_total", "reason" => reason).increment(1);
}

pub(crate) fn l1_block(number: u64) {
    gauge!("duskevm_derivation_l1_block").set(number as f64);
}
