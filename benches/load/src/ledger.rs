//! What is known of each transaction of the load. Submitters and the follower write, everybody reads; nobody waits.

use crate::load::Load;
use alloy_primitives::{B256, map::HashMap};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

const NEVER: u64 = u64::MAX;

/// One transaction.
#[derive(Debug)]
struct Entry {
    /// When it was sent, or in an open loop should have been, in nanoseconds since the start.
    due: AtomicU64,
    accepted: AtomicU64,
    included: AtomicU64,
    /// In how many blocks it was seen.
    seen: AtomicU8,
}

/// All transactions of a load.
#[derive(Debug)]
pub(crate) struct Ledger {
    start: Instant,
    entries: Vec<Entry>,
    by_hash: HashMap<B256, usize>,
    accepted: AtomicU64,
    included: AtomicU64,
    /// Included although the acceptance was not seen (yet).
    resent: AtomicU64,
    rejected: Mutex<BTreeMap<String, u64>>,
    /// Never sent, because an earlier transaction of the account was rejected.
    pub(crate) dropped: AtomicU64,
    /// Wakes who waits for room.
    pub(crate) progress: Notify,
}

impl Ledger {
    /// Time starts now.
    pub(crate) fn new(load: &Load) -> Self {
        let entry = || Entry {
            due: AtomicU64::new(NEVER),
            accepted: AtomicU64::new(NEVER),
            included: AtomicU64::new(NEVER),
            seen: AtomicU8::new(0),
        };
        Self {
            start: Instant::now(),
            entries: load.transactions.iter().map(|_| entry()).collect(),
            by_hash: load.transactions.iter().enumerate().map(|(i, t)| (t.signed.hash, i)).collect(),
            accepted: AtomicU64::new(0),
            included: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            rejected: Mutex::default(),
            dropped: AtomicU64::new(0),
            progress: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(NEVER - 1)
    }

    pub(crate) const fn start(&self) -> Instant {
        self.start
    }

    /// It is being sent. In an open loop `due` is when it should have been: what a slow node makes late counts as its delay.
    pub(crate) fn sent(&self, index: usize, due: Option<Duration>) {
        let when = due.map_or_else(|| self.now(), |due| u64::try_from(due.as_nanos()).unwrap_or(NEVER - 1));
        let _ = self.entries[index].due.compare_exchange(NEVER, when, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The node answered with its hash.
    pub(crate) fn accepted(&self, index: usize) {
        let now = self.now();
        if self.entries[index].accepted.compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It was sent again because the first answer was lost.
    pub(crate) fn resent(&self) {
        self.resent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self, message: &str) {
        *self.rejected.lock().entry(general(message)).or_default() += 1;
    }

    /// A block was seen that holds this hash. Returns the transaction, if it is one of ours.
    pub(crate) fn included(&self, hash: &B256) -> Option<usize> {
        let index = *self.by_hash.get(hash)?;
        let entry = &self.entries[index];
        if entry.seen.fetch_add(1, Ordering::Relaxed) == 0 {
            entry.included.store(self.now(), Ordering::Relaxed);
            self.included.fetch_add(1, Ordering::Relaxed);
        }
        Some(index)
    }

    pub(crate) fn index_of(&self, hash: &B256) -> Option<usize> {
        self.by_hash.get(hash).copied()
    }

    pub(crate) fn is_accepted(&self, index: usize) -> bool {
        self.entries[index].accepted.load(Ordering::Relaxed) != NEVER
    }

    pub(crate) fn included_count(&self) -> u64 {
        self.included.load(Ordering::Relaxed)
    }

    /// Accepted and not seen in a block.
    pub(crate) fn pending(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed).saturating_sub(self.included.load(Ordering::Relaxed))
    }

    /// Every accepted transaction was seen in a block.
    pub(crate) fn is_drained(&self) -> bool {
        self.entries
            .iter()
            .all(|e| e.accepted.load(Ordering::Relaxed) == NEVER || e.included.load(Ordering::Relaxed) != NEVER)
    }

    /// Figures of the whole load.
    pub(crate) fn summary(&self) -> Summary {
        let load = |value: &AtomicU64| Some(value.load(Ordering::Relaxed)).filter(|value| *value != NEVER);
        let first = self.entries.iter().filter_map(|e| load(&e.due)).min();
        let last = self.entries.iter().filter_map(|e| load(&e.included)).max();
        let last_accepted = self.entries.iter().filter_map(|e| load(&e.accepted)).max();
        let since_first =
            |to: Option<u64>| first.zip(to).map_or(0.0, |(from, to)| to.saturating_sub(from) as f64 / 1e9);
        let latencies = |until: fn(&Entry) -> &AtomicU64| {
            let mut all: Vec<u64> =
                self.entries.iter().filter_map(|e| Some(load(until(e))?.saturating_sub(load(&e.due)?))).collect();
            all.sort_unstable();
            Latencies::of(&all)
        };
        let (included, accepted) = (self.included_count(), self.accepted.load(Ordering::Relaxed));
        let per_second = |count: u64, seconds: f64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let seconds = since_first(last);
        Summary {
            transactions: self.entries.len() as u64,
            accepted,
            included,
            resent: self.resent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            seconds,
            included_per_second: per_second(included, seconds),
            accepted_per_second: per_second(accepted, since_first(last_accepted)),
            receipt_ms: latencies(|e| &e.included),
            answer_ms: latencies(|e| &e.accepted),
            rejected: self.rejected.lock().clone(),
        }
    }
}

/// A message without the numbers that make each one different.
fn general(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for word in message.split(' ') {
        if !text.is_empty() {
            text.push(' ');
        }
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if bare.starts_with("0x") || (!bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit())) {
            text.push('#');
        } else {
            text.push_str(word);
        }
    }
    text.truncate(text.char_indices().nth(160).map_or(text.len(), |(at, _)| at));
    text
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latencies {
    /// From nanoseconds in order.
    fn of(sorted: &[u64]) -> Self {
        // Nearest rank: the smallest value that at least this share does not exceed.
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1e6)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// What came of a load.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) transactions: u64,
    /// Answered with their hash.
    pub(crate) accepted: u64,
    /// Seen in a block.
    pub(crate) included: u64,
    /// Sent again because an answer was lost or the node was not ready.
    pub(crate) resent: u64,
    /// Not sent, because an earlier one of the same account was rejected.
    pub(crate) dropped: u64,
    /// From the first transaction sent to the last one seen in a block.
    pub(crate) seconds: f64,
    pub(crate) included_per_second: f64,
    pub(crate) accepted_per_second: f64,
    /// From sending (open loop: from when it was due) until its block is seen.
    pub(crate) receipt_ms: Latencies,
    /// From sending until the node answers with the hash.
    pub(crate) answer_ms: Latencies,
    /// How many were refused, by message.
    pub(crate) rejected: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let all: Vec<u64> = (1..=100).map(|ms| ms * 1_000_000).collect();
        let latencies = Latencies::of(&all);
        assert_eq!((latencies.p50, latencies.p90, latencies.p99, latencies.max), (50.0, 90.0, 99.0, 100.0));
        let one = Latencies::of(&[2_000_000]);
        assert_eq!((one.p50, one.p99), (2.0, 2.0));
        assert_eq!(Latencies::of(&[]).max, 0.0);
    }

    #[test]
    fn messages_are_counted_without_their_numbers() {
        let a = general("nonce too low: address 0xabc, tx: 5 state: 7");
        assert_eq!(a, general("nonce too low: address 0xdef, tx: 55 state: 77"));
        assert_eq!(general("txpool is full"), "txpool is full");
        assert_eq!(general(&"é".repeat(500)).chars().count(), 160);
    }
}
