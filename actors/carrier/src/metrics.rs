//! Metrics of the carrier.

use duskevm_carrier_core::Notice;
use metrics::{counter, describe_counter, describe_gauge, gauge};

const ENVELOPES: &str = "duskevm_carrier_envelopes_total";
const TRANSACTIONS: &str = "duskevm_carrier_transactions_total";
const OBSTACLES: &str = "duskevm_carrier_obstacles_total";

/// Names and describes the metrics, and sets them to zero.
pub fn describe() {
    describe_counter!(
        ENVELOPES,
        "Ethereum transactions to the batch inbox, by what became of them: taken, refused, landed, taken_back, settled."
    );
    describe_counter!(TRANSACTIONS, "Dusk transactions: signed, submitted, refused, failed.");
    describe_counter!("duskevm_carrier_bumps_total", "Times that a Dusk transaction was offered at a higher price.");
    describe_counter!(OBSTACLES, "Requests that had to be repeated, by reason.");
    describe_gauge!("duskevm_carrier_waiting", "Envelopes that are not on L1.");
    describe_gauge!("duskevm_carrier_bytes", "Bytes of the envelopes that are kept, with their blobs.");
    describe_gauge!("duskevm_carrier_balance_lux", "Balance of the carrier's Dusk account.");
    for what in ["taken", "refused", "landed", "taken_back", "settled"] {
        counter!(ENVELOPES, "what" => what).absolute(0);
    }
    for what in ["signed", "submitted", "refused", "failed"] {
        counter!(TRANSACTIONS, "what" => what).absolute(0);
    }
    counter!("duskevm_carrier_bumps_total").absolute(0);
}

pub(crate) fn notice(notice: &Notice) {
    match notice {
        Notice::Landed { hash, height } => {
            envelopes("landed");
            tracing::info!(%hash, height, "a carried transaction is on L1");
        }
        Notice::TakenBack { hash } => {
            envelopes("taken_back");
            tracing::info!(%hash, "L1 took back a carried transaction: it is carried again");
        }
        Notice::Settled { hash } => {
            envelopes("settled");
            tracing::debug!(%hash, "a carried transaction is on L1 for good");
        }
        Notice::Failed { id, why } => {
            transactions("failed");
            tracing::warn!(%id, why, "a Dusk transaction of the carrier failed: it is tried again");
        }
        Notice::Bumped { nonce, gas_price } => {
            counter!("duskevm_carrier_bumps_total").increment(1);
            tracing::info!(nonce, gas_price, "L1 lets a transaction of the carrier wait: more is offered");
        }
        Notice::Stolen { nonce } => {
            tracing::warn!(nonce, "another program uses the carrier's Dusk account: give the carrier one of its own");
        }
    }
}

pub(crate) fn envelopes(what: &'static str) {
    counter!(ENVELOPES, "what" => what).increment(1);
}

pub(crate) fn transactions(what: &'static str) {
    counter!(TRANSACTIONS, "what" => what).increment(1);
}

pub(crate) fn obstacle(reason: &'static str) {
    counter!(OBSTACLES, "reason" => reason).increment(1);
}

pub(crate) fn load((waiting, bytes): (usize, usize)) {
    gauge!("duskevm_carrier_waiting").set(waiting as f64);
    gauge!("duskevm_carrier_bytes").set(bytes as f64);
}

pub(crate) fn balance(lux: u64) {
    gauge!("duskevm_carrier_balance_lux").set(lux as f64);
}
