//! The actor's metrics.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const HEIGHT: &str = "duskevm_consensus_height";
const FINAL: &str = "duskevm_consensus_final_height";
const BLOCKS: &str = "duskevm_consensus_blocks_total";
const TRANSACTIONS: &str = "duskevm_consensus_transactions_total";
const GAS: &str = "duskevm_consensus_gas_total";
const MEMPOOL: &str = "duskevm_consensus_mempool_transactions";
const MEMPOOL_BYTES: &str = "duskevm_consensus_mempool_bytes";
const SUBMITTED: &str = "duskevm_consensus_submitted_total";
const CHECKING: &str = "duskevm_consensus_checking_transactions";
const PRODUCE: &str = "duskevm_consensus_block_seconds";

/// Describes all metrics and makes them appear, so that a dashboard shows zero instead of nothing.
pub(crate) fn describe() {
    describe_gauge!(HEIGHT, "Height of the newest Dusk block");
    describe_gauge!(FINAL, "Height of the newest final Dusk block");
    describe_counter!(BLOCKS, "Dusk blocks produced");
    describe_counter!(TRANSACTIONS, "Dusk transactions included, by result");
    describe_counter!(GAS, "Dusk gas spent by included transactions");
    describe_gauge!(MEMPOOL, "Dusk transactions that wait for a block");
    describe_gauge!(MEMPOOL_BYTES, Unit::Bytes, "Encoded bytes of the Dusk transactions that wait");
    describe_counter!(SUBMITTED, "Dusk transactions submitted, by result");
    describe_gauge!(CHECKING, "Dusk transactions whose signatures are being checked or wait for it");
    describe_histogram!(PRODUCE, Unit::Seconds, "Time to make a Dusk block and to put it on disk, by phase");
    counter!(BLOCKS).increment(0);
    for result in ["ok", "failed"] {
        counter!(TRANSACTIONS, "result" => result).increment(0);
    }
    counter!(GAS).increment(0);
    for result in ["accepted", "refused", "busy"] {
        counter!(SUBMITTED, "result" => result).increment(0);
    }
    mempool(0, 0);
    checking(0);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn tip(height: u64, final_height: u64) {
    gauge!(HEIGHT).set(height as f64);
    gauge!(FINAL).set(final_height as f64);
}

pub(crate) fn block(ok: u64, failed: u64, gas: u64, made: Duration, stored: Duration) {
    counter!(BLOCKS).increment(1);
    counter!(TRANSACTIONS, "result" => "ok").increment(ok);
    counter!(TRANSACTIONS, "result" => "failed").increment(failed);
    counter!(GAS).increment(gas);
    histogram!(PRODUCE, "phase" => "make").record(made.as_secs_f64());
    histogram!(PRODUCE, "phase" => "store").record(stored.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn mempool(transactions: usize, bytes: usize) {
    gauge!(MEMPOOL).set(transactions as f64);
    gauge!(MEMPOOL_BYTES).set(bytes as f64);
}

pub(crate) fn submitted(result: &'static str) {
    counter!(SUBMITTED, "result" => result).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn checking(transactions: usize) {
    gauge!(CHECKING).set(transactions as f64);
}
