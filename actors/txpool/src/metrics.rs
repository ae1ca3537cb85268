//! The actor's metrics.

use std::time::Duration;

use duskevm_pool::{PoolError, PoolStatus};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const TRANSACTIONS: &str = "duskevm_txpool_transactions";
const BYTES: &str = "duskevm_txpool_bytes";
const ACCEPTED: &str = "duskevm_txpool_accepted_total";
const REJECTED: &str = "duskevm_txpool_rejected_total";
const REMOVED: &str = "duskevm_txpool_removed_total";
const JOURNAL_BYTES: &str = "duskevm_txpool_journal_bytes";
const FSYNC: &str = "duskevm_txpool_fsync_seconds";
const BATCH: &str = "duskevm_txpool_fsync_transactions";

/// Why a transaction left the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left {
    Included,
    Superseded,
    Replaced,
    Evicted,
    Expired,
}

impl Left {
    const ALL: [Self; 5] = [Self::Included, Self::Superseded, Self::Replaced, Self::Evicted, Self::Expired];

    const fn label(self) -> &'static str {
        match self {
            Self::Included => "included",
            Self::Superseded => "superseded",
            Self::Replaced => "replaced",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
        }
    }
}

/// Describes all metrics and makes them appear, so that a dashboard shows zero instead of nothing.
pub(crate) fn describe() {
    describe_gauge!(
        TRANSACTIONS,
        "Transactions in the pool: pending (could be in the next block) and queued (wait for a nonce, funds or a lower base fee)"
    );
    describe_gauge!(BYTES, metrics::Unit::Bytes, "Encoded bytes of all transactions in the pool");
    describe_counter!(ACCEPTED, "Submitted transactions that were accepted");
    describe_counter!(REJECTED, "Submitted transactions that were refused, by reason");
    describe_counter!(REMOVED, "Transactions that left the pool, by reason");
    describe_gauge!(JOURNAL_BYTES, metrics::Unit::Bytes, "Size of the pool's journal");
    describe_histogram!(FSYNC, metrics::Unit::Seconds, "Time of one synced write to the pool's journal");
    describe_histogram!(BATCH, "Accepted transactions that one synced write made durable");
    for state in ["pending", "queued"] {
        gauge!(TRANSACTIONS, "state" => state).set(0.0);
    }
    counter!(ACCEPTED).increment(0);
    for reason in PoolError::LABELS {
        counter!(REJECTED, "reason" => *reason).increment(0);
    }
    for reason in Left::ALL {
        counter!(REMOVED, "reason" => reason.label()).increment(0);
    }
    gauge!(JOURNAL_BYTES).set(0.0);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn status(status: &PoolStatus) {
    gauge!(TRANSACTIONS, "state" => "pending").set(status.pending as f64);
    gauge!(TRANSACTIONS, "state" => "queued").set(status.queued as f64);
    gauge!(BYTES).set(status.bytes as f64);
}

pub(crate) fn accepted() {
    counter!(ACCEPTED).increment(1);
}

pub(crate) fn rejected(error: &PoolError) {
    counter!(REJECTED, "reason" => error.label()).increment(1);
}

pub(crate) fn left(why: Left, count: usize) {
    if count > 0 {
        counter!(REMOVED, "reason" => why.label()).increment(count as u64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn journal_bytes(bytes: u64) {
    gauge!(JOURNAL_BYTES).set(bytes as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a histogram takes floats")]
pub(crate) fn synced(took: Duration, transactions: usize) {
    histogram!(FSYNC).record(took.as_secs_f64());
    histogram!(BATCH).record(transactions as f64);
}
