//! What the tests of this crate share.

use crate::settings::{Carrier, CarrierChoice, Gas, Settings, Throttling};
use duskevm_rollup::channel_out::Compression;

/// Settings of a small network.
pub(crate) fn settings() -> Settings {
    Settings {
        compression: Compression::Zlib,
        target_blobs: 6,
        carrier: CarrierChoice::Always(Carrier::Blobs),
        blobs_per_submission: 6,
        max_calldata: 100_000,
        max_channel_duration: 10,
        window_margin: 5,
        timeout_margin: 10,
        max_in_flight: 4,
        gas_price: 1,
        max_gas_price: 1000,
        fee_bump_percent: 10,
        bump_after: 3,
        throttling: Throttling { from_bytes: 1 << 20, full_bytes: 1 << 22 },
        gas: Gas { per_blob: 1_000_000, least: 75_000, call: 1_000_000, per_call_byte: 100 },
    }
}
