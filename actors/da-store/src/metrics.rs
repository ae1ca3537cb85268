//! The metrics of the keeper and of its API.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const KEPT: &str = "duskevm_blobs_kept";
const BYTES: &str = "duskevm_blobs_bytes";
const MISSING: &str = "duskevm_blobs_missing";
const PRUNED: &str = "duskevm_blobs_pruned_total";
const FETCHED: &str = "duskevm_blobs_fetched_total";
const REFUSED: &str = "duskevm_blobs_refused_total";
const DAMAGED: &str = "duskevm_blobs_damaged_total";
const REQUESTS: &str = "duskevm_blob_api_requests_total";
const CONNECTIONS: &str = "duskevm_blob_api_connections";

/// Describes all metrics and makes them appear, so that a dashboard shows zero instead of nothing.
pub(crate) fn describe() {
    describe_gauge!(KEPT, "Blobs on disk");
    describe_gauge!(BYTES, Unit::Bytes, "Bytes of the blobs on disk with their commitments and proofs");
    describe_gauge!(MISSING, "Blobs that blocks have and the disk has not");
    describe_counter!(PRUNED, "Blobs deleted because their blocks are beyond the retention");
    describe_counter!(FETCHED, "Blobs that came from peers and were good");
    describe_counter!(REFUSED, "Blobs that came from peers and were not what was asked for");
    describe_counter!(DAMAGED, "Blobs whose record on disk was damaged");
    for name in [PRUNED, FETCHED, REFUSED, DAMAGED] {
        counter!(name).increment(0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn kept(stored: usize, missing: usize) {
    gauge!(KEPT).set(stored as f64);
    gauge!(BYTES).set(stored as f64 * duskevm_blobs::ENCODED as f64);
    gauge!(MISSING).set(missing as f64);
}

pub(crate) fn pruned(blobs: usize) {
    counter!(PRUNED).increment(blobs as u64);
}

pub(crate) fn fetched(good: usize, bad: usize) {
    counter!(FETCHED).increment(good as u64);
    counter!(REFUSED).increment(bad as u64);
}

pub(crate) fn damaged() {
    counter!(DAMAGED).increment(1);
}

/// One answered request. Unknown routes share one label, since clients choose them.
pub(crate) fn request(route: &'static str, status: u16) {
    counter!(REQUESTS, "route" => route, "status" => status.to_string()).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn connections(open: usize) {
    gauge!(CONNECTIONS).set(open as f64);
}
