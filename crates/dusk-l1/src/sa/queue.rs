//! Messages that come before their time.
//!
//! A node that has not yet seen the block that another voted on gets votes of a round that it cannot check: committees
//! depend on the block below. They wait here, unverified and unrelayed, until their round begins. What may wait is bounded
//! by rounds, by signer and in all; published node: `queue` of the consensus crate, 1000 messages per step, one per
//! signer. Different here: a bound over everything, and candidates have one of their own in bytes.

use std::collections::BTreeMap;

use super::rules::{MAX_ROUND_DISTANCE, Step, StepKind};

/// Most messages of one round and step.
pub const MAX_PER_STEP: usize = 1000;
/// Most candidates of one round and iteration.
pub const MAX_CANDIDATES: usize = 2;
/// Most bytes of all candidates.
pub const MAX_CANDIDATE_BYTES: usize = 4 << 20;
/// Most bytes of everything else.
pub const MAX_VOTE_BYTES: usize = 8 << 20;

/// Whose message of which step: one may wait.
type Signed = (Step, [u8; 96]);

/// Waiting messages of later rounds.
#[derive(Debug)]
pub struct Queue<T> {
    rounds: BTreeMap<u64, BTreeMap<Signed, (usize, T)>>,
    candidate_bytes: usize,
    vote_bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { rounds: BTreeMap::new(), candidate_bytes: 0, vote_bytes: 0 }
    }
}

impl<T> Queue<T> {
    /// Keeps `message` of `bytes` bytes for `round`, if `height` is the tip's and every bound allows it.
    pub fn put(&mut self, height: u64, round: u64, step: Step, signer: [u8; 96], bytes: usize, message: T) -> bool {
        if round <= height || round > height.saturating_add(MAX_ROUND_DISTANCE) {
            return false;
        }
        let candidate = step.kind == StepKind::Proposal;
        let (total, most_bytes, most) = match candidate {
            true => (&mut self.candidate_bytes, MAX_CANDIDATE_BYTES, MAX_CANDIDATES),
            false => (&mut self.vote_bytes, MAX_VOTE_BYTES, MAX_PER_STEP),
        };
        if total.saturating_add(bytes) > most_bytes {
            return false;
        }
        let waiting = self.rounds.entry(round).or_default();
        if waiting.contains_key(&(step, signer))
            || waiting.range((step, [0; 96])..=(step, [0xff; 96])).take(most).count() == most
        {
            return false;
        }
        *total += bytes;
        waiting.insert((step, signer), (bytes, message));
        true
    }

    /// Takes everything that waits for `round` and drops what waited for earlier ones.
    pub fn take(&mut self, round: u64) -> Vec<T> {
        let later = self.rounds.split_off(&round.saturating_add(1));
        let mut before = std::mem::replace(&mut self.rounds, later);
        let mut taken = Vec::new();
        let now = before.remove(&round);
        for ((step, _), (bytes, _)) in before.values().chain(now.as_ref()).flatten() {
            match step.kind {
                StepKind::Proposal => self.candidate_bytes -= bytes,
                _ => self.vote_bytes -= bytes,
            }
        }
        taken.extend(now.into_iter().flatten().map(|(_, (_, message))| message));
        taken
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.rounds.values().map(BTreeMap::len).sum()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(iteration: u8, kind: StepKind) -> Step {
        Step::new(iteration, kind).unwrap()
    }

    #[test]
    fn one_message_per_signer_and_step_within_ten_rounds() {
        let mut queue = Queue::default();
        let v = step(0, StepKind::Validation);
        assert!(!queue.put(10, 10, v, [1; 96], 200, "past"));
        assert!(!queue.put(10, 21, v, [1; 96], 200, "far"));
        assert!(queue.put(10, 12, v, [1; 96], 200, "a"));
        assert!(!queue.put(10, 12, v, [1; 96], 200, "again"));
        assert!(queue.put(10, 12, v, [2; 96], 200, "b"));
        assert!(queue.put(10, 12, step(0, StepKind::Ratification), [1; 96], 300, "c"));
        assert!(queue.put(10, 13, v, [1; 96], 200, "d"));
        assert_eq!(queue.take(11), Vec::<&str>::new());
        assert_eq!(queue.take(12), ["a", "b", "c"]);
        assert_eq!(queue.take(20), Vec::<&str>::new());
        assert!(queue.is_empty());
        assert_eq!((queue.vote_bytes, queue.candidate_bytes), (0, 0));
    }

    #[test]
    fn floods_are_bounded() {
        let mut queue = Queue::default();
        let signer = |i: u32| {
            let mut id = [0; 96];
            id[..4].copy_from_slice(&i.to_be_bytes());
            id
        };
        let taken = (0..2000).filter(|i| queue.put(0, 1, step(0, StepKind::Validation), signer(*i), 218, ())).count();
        assert_eq!(taken, MAX_PER_STEP);
        let p = |i| step(i, StepKind::Proposal);
        let taken = (0..10).filter(|i| queue.put(0, 1, p(0), signer(*i), 1 << 20, ())).count();
        assert_eq!(taken, MAX_CANDIDATES);
        let taken = (1..50).filter(|i| queue.put(0, 1, p(*i), signer(0), 1 << 20, ())).count();
        assert_eq!(taken, 2, "4 MiB of candidates in all");
        let mut bytes = 0;
        for i in 0..50 {
            for s in 0..1000 {
                if queue.put(0, 2, step(i, StepKind::Ratification), signer(s), 316, ()) {
                    bytes += 316;
                }
            }
        }
        assert!(bytes + 1000 * 218 <= MAX_VOTE_BYTES && bytes > MAX_VOTE_BYTES / 2);
        queue.take(5);
        assert_eq!((queue.len(), queue.vote_bytes, queue.candidate_bytes), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn the_byte_counts_are_those_of_what_waits(
            puts in prop::collection::vec((1u64..12, 0u8..3, 0usize..3, 0u8..4, 0usize..2_000_000), 0..60),
            takes in prop::collection::vec(1u64..12, 0..4),
        ) {
            let mut queue = Queue::default();
            let mut takes = takes.into_iter();
            for (at, (round, iteration, kind, signer, bytes)) in puts.into_iter().enumerate() {
                queue.put(0, round, step(iteration, StepKind::ALL[kind]), [signer; 96], bytes, ());
                if at % 15 == 14 && let Some(round) = takes.next() {
                    queue.take(round);
                }
            }
            let sum = |candidates: bool| -> usize {
                queue.rounds.values().flatten().filter(|((step, _), _)| (step.kind == StepKind::Proposal) == candidates)
                    .map(|(_, (bytes, ()))| *bytes).sum()
            };
            prop_assert_eq!((queue.candidate_bytes, queue.vote_bytes), (sum(true), sum(false)));
            prop_assert!(queue.candidate_bytes <= MAX_CANDIDATE_BYTES && queue.vote_bytes <= MAX_VOTE_BYTES);
        }
    }
}
