//! What every decoder of bytes from outside must hold, as functions of bytes.
//!
//! Each function takes any bytes and panics if a rule is broken: nothing panics, what decodes encodes to the same bytes, and
//! what stays bounded is bounded. The fuzzer (`fuzz/`) drives them for as long as one likes; the tests here drive them with
//! some thousand inputs, made of garbage and of bent samples. [`TARGETS`] names them all.

#![allow(clippy::missing_panics_doc, reason = "panicking on a broken rule is what these functions are for")]

pub mod batches;
pub mod blobs;
pub mod carrier;
pub mod consensus;
pub mod derivation;
pub mod ledger;
pub mod network;
mod samples;
pub mod settlement;
pub mod stored;
pub mod unsafe_blocks;

/// A decoder with its rules.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the fuzz target and of its folder of samples.
    pub name: &'static str,
    /// Panics if a rule is broken.
    pub check: fn(&[u8]),
    /// Good inputs to begin from.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Whether one input takes milliseconds, so that tests try fewer.
    pub slow: bool,
}

const fn target(name: &'static str, check: fn(&[u8]), samples: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, check, samples, slow: false }
}

const fn slow(name: &'static str, check: fn(&[u8]), samples: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, check, samples, slow: true }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("frame", consensus::frame, samples::frames),
    slow("block", consensus::block, samples::blocks),
    target("header", consensus::header, samples::headers),
    slow("fault", consensus::fault, samples::faults),
    slow("transaction", ledger::transaction, samples::transactions),
    slow("contract_call", ledger::contract_call, samples::contract_calls),
    slow("key_file", ledger::key_file, samples::key_files),
    slow("genesis", ledger::genesis, samples::geneses),
    target("p2p_request", network::request, samples::requests),
    target("p2p_answer", network::answer, samples::answers),
    target("l2_message", unsafe_blocks::message, unsafe_blocks::messages),
    target("l2_answer", unsafe_blocks::answer, unsafe_blocks::answers),
    target("p2p_address", network::address, samples::addresses),
    target("p2p_book", network::book, samples::books),
    target("blob_route", blobs::route, samples::routes),
    target("beacon_block_id", blobs::block_id, samples::block_ids),
    slow("sidecar", blobs::sidecar, samples::sidecars),
    target("accepted_block", stored::accepted_block, samples::accepted_blocks),
    target("ballots", stored::ballots, samples::ballots),
    target("finality", stored::finality, samples::finalities),
    target("timeouts", stored::timeouts, samples::timeouts),
    target("state_records", stored::state_records, samples::state_records),
    target("view_block", stored::view_block, samples::view_blocks),
    target("batcher_frames", batches::frames, samples::batcher_frames),
    target("channel", batches::channel, samples::channels),
    target("batch", batches::batch, samples::batches),
    slow("op_blob", batches::blob, samples::op_blobs),
    target("batcher_records", batches::records, samples::batcher_records),
    slow("l1_blocks", derivation::l1_blocks, derivation::samples),
    target("settlement_call", settlement::settlement_call, samples::settlement_calls),
    target("envelope", settlement::envelope, samples::envelopes),
    slow("carried_envelope", carrier::carried_envelope, samples::carried_envelopes),
    target("view_events", ledger::view_events, samples::view_events),
    slow("journal", stored::journal, samples::journals),
];

/// The target of a name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests;
