//! The actor's metrics.

use std::time::Duration;

use duskevm_dusk_l1::sa::machine::{Note, Verdict, View};
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
const STORE: &str = "duskevm_consensus_store_seconds";
const ROUND: &str = "duskevm_consensus_round";
const ITERATION: &str = "duskevm_consensus_iteration";
const SYNCING: &str = "duskevm_consensus_syncing";
const ITERATIONS: &str = "duskevm_consensus_block_iteration";
const EVENTS: &str = "duskevm_consensus_events_total";
const FRAMES: &str = "duskevm_consensus_messages_total";
const WAITING: &str = "duskevm_consensus_waiting_messages";
const VERDICTS: &str = "duskevm_consensus_verdicts_total";

/// Describes all metrics and makes them appear, so that a dashboard shows zero instead of nothing.
pub(crate) fn describe() {
    describe_gauge!(HEIGHT, "Height of the newest Dusk block");
    describe_gauge!(FINAL, "Height of the newest final Dusk block");
    describe_counter!(BLOCKS, "Dusk blocks accepted");
    describe_counter!(TRANSACTIONS, "Dusk transactions included, by result");
    describe_counter!(GAS, "Dusk gas spent by included transactions");
    describe_gauge!(MEMPOOL, "Dusk transactions that wait for a block");
    describe_gauge!(MEMPOOL_BYTES, Unit::Bytes, "Encoded bytes of the Dusk transactions that wait");
    describe_counter!(SUBMITTED, "Dusk transactions submitted, by result");
    describe_gauge!(CHECKING, "Dusk transactions whose signatures are being checked or wait for it");
    describe_histogram!(STORE, Unit::Seconds, "Time to put an accepted Dusk block on disk");
    describe_gauge!(ROUND, "Height that the consensus works on");
    describe_gauge!(ITERATION, "Iteration of the running round");
    describe_gauge!(SYNCING, "1 while blocks of peers are fetched and applied");
    describe_histogram!(ITERATIONS, "Iteration in which an accepted block was made");
    describe_counter!(EVENTS, "What happened in the consensus, by kind");
    describe_counter!(FRAMES, "Messages of the consensus from peers, by outcome");
    describe_gauge!(WAITING, "Messages of the consensus that wait for the check of their signatures");
    describe_counter!("duskevm_consensus_questions_total", "Questions of the consensus to peers");
    describe_counter!(VERDICTS, "Candidates judged, by verdict");
    for kind in KINDS {
        counter!(EVENTS, "kind" => kind).increment(0);
    }
    for outcome in ["checked", "ignored", "rejected", "full"] {
        counter!(FRAMES, "outcome" => outcome).increment(0);
    }
    for verdict in ["valid", "invalid", "abstain"] {
        counter!(VERDICTS, "verdict" => verdict).increment(0);
    }
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

pub(crate) fn block(ok: u64, failed: u64, gas: u64, iteration: u8, stored: Duration) {
    counter!(BLOCKS).increment(1);
    counter!(TRANSACTIONS, "result" => "ok").increment(ok);
    counter!(TRANSACTIONS, "result" => "failed").increment(failed);
    counter!(GAS).increment(gas);
    histogram!(ITERATIONS).record(f64::from(iteration));
    histogram!(STORE).record(stored.as_secs_f64());
}

/// Kinds of events that are counted.
const KINDS: [&str; 16] = [
    "iteration",
    "timeout",
    "validation-quorum",
    "quorum",
    "caught-up",
    "two-candidates",
    "two-votes",
    "sync",
    "fork",
    "stalled",
    "reverted",
    "unbuilt",
    "refused-to-sign",
    "unspread",
    "other-signer",
    "other-final",
];

fn happened(kind: &'static str) {
    counter!(EVENTS, "kind" => kind).increment(1);
}

/// What the consensus reports.
pub(crate) fn note(note: &Note) {
    happened(match note {
        Note::Iteration { .. } => "iteration",
        Note::TimedOut { .. } => "timeout",
        Note::Validated { .. } => "validation-quorum",
        Note::Quorum { .. } => "quorum",
        Note::CaughtUp { .. } => "caught-up",
        Note::TwoCandidates { .. } => "two-candidates",
        Note::TwoVotes { .. } => "two-votes",
        Note::Syncing { .. } => "sync",
        Note::Fork { .. } => "fork",
        Note::Stalled { .. } => "stalled",
        Note::OtherSigner { .. } => return,
    });
}

/// Another node signed with this node's key.
pub(crate) fn other_signer() {
    happened("other-signer");
}

/// A peer names another final block.
pub(crate) fn other_final() {
    happened("other-final");
}

/// A block was taken back.
pub(crate) fn reverted() {
    happened("reverted");
}

/// A block could not be made.
pub(crate) fn unbuilt() {
    happened("unbuilt");
}

/// The journal held another message.
pub(crate) fn refused_to_sign() {
    happened("refused-to-sign");
}

/// A message was not spread.
pub(crate) fn unspread() {
    happened("unspread");
}

/// A peer is asked.
pub(crate) fn asked() {
    counter!("duskevm_consensus_questions_total").increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn round(view: &View, syncing: bool) {
    gauge!(ROUND).set(view.round as f64);
    gauge!(ITERATION).set(f64::from(view.iteration));
    gauge!(SYNCING).set(f64::from(u8::from(syncing)));
}

/// Messages of the consensus, by outcome.
pub(crate) fn frames(outcome: &'static str) {
    counter!(FRAMES, "outcome" => outcome).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn waiting_frames(frames: usize) {
    gauge!(WAITING).set(frames as f64);
}

/// A candidate was judged.
pub(crate) fn judged(verdict: Verdict) {
    let verdict = match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Abstain => "abstain",
    };
    counter!(VERDICTS, "verdict" => verdict).increment(1);
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
