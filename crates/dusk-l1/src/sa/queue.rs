//! Messages that come before their time.
//!
//! A node that has not yet seen the block that another voted on gets votes of a round that it cannot check: committees
//! depend on the block below. They wait here, unverified and unrelayed, until their round begins. Anybody can invent such a
//! message under the name of any provisioner, so what waits is kept by who brought it: a peer's inventions neither take the
//! place of what another brings under the same name, nor more than a share of the room. Where all of it is taken, whoever
//! holds most gives way. Published node: `queue` of the consensus crate, 1000 messages per step, one per signer. Different
//! here: shares, a bound over everything, and candidates have one of their own in bytes.

use std::collections::BTreeMap;

use super::machine::{PeerId, Source};
use super::rules::{MAX_ROUND_DISTANCE, Step, StepKind};

/// Most messages of one round and step that one peer brings: a committee has no more members, and honest peers relay the
/// votes of no others.
pub const MAX_PER_STEP: usize = 64;
/// Most candidates of one round and iteration that one peer brings.
pub const MAX_CANDIDATES: usize = 2;
/// Most bytes of all candidates.
pub const MAX_CANDIDATE_BYTES: usize = 8 << 20;
/// Most bytes of the candidates that one peer brings.
pub const PEER_CANDIDATE_BYTES: usize = 2 << 20;
/// Most bytes of everything else.
pub const MAX_VOTE_BYTES: usize = 8 << 20;
/// Most bytes of everything else that one peer brings: the votes of a dozen iterations.
pub const PEER_VOTE_BYTES: usize = 512 << 10;

/// Who brought whose message of which step: one may wait.
type Key = (Step, PeerId, [u8; 96]);

/// Bytes that wait, of one kind.
#[derive(Debug, Default)]
struct Share {
    total: usize,
    by_peer: BTreeMap<PeerId, usize>,
}

impl Share {
    fn of(&self, peer: PeerId) -> usize {
        self.by_peer.get(&peer).copied().unwrap_or_default()
    }

    fn add(&mut self, peer: PeerId, bytes: usize) {
        self.total += bytes;
        *self.by_peer.entry(peer).or_default() += bytes;
    }

    fn remove(&mut self, peer: PeerId, bytes: usize) {
        self.total = self.total.saturating_sub(bytes);
        if let Some(held) = self.by_peer.get_mut(&peer) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// Who holds more than `bytes`, and most of all.
    fn largest(&self, bytes: usize) -> Option<PeerId> {
        let (peer, held) = self.by_peer.iter().max_by_key(|(_, held)| **held)?;
        (*held > bytes).then_some(*peer)
    }
}

/// Waiting messages of later rounds, with where they came from.
#[derive(Debug)]
pub struct Queue<M> {
    rounds: BTreeMap<u64, BTreeMap<Key, (usize, M)>>,
    candidates: Share,
    votes: Share,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self { rounds: BTreeMap::new(), candidates: Share::default(), votes: Share::default() }
    }
}

const fn is_candidate(step: Step) -> bool {
    matches!(step.kind, StepKind::Proposal)
}

impl<M> Queue<M> {
    fn share(&mut self, candidate: bool) -> &mut Share {
        if candidate { &mut self.candidates } else { &mut self.votes }
    }

    /// Drops what of this kind is furthest ahead of all that a peer brought.
    fn shorten(&mut self, peer: PeerId, candidate: bool) -> bool {
        let theirs = |key: &&Key| key.1 == peer && is_candidate(key.0) == candidate;
        let last = self
            .rounds
            .iter()
            .rev()
            .find_map(|(round, waiting)| waiting.keys().rev().find(theirs).map(|key| (*round, *key)));
        let Some((round, key)) = last else { return false };
        let Some(waiting) = self.rounds.get_mut(&round) else { return false };
        let dropped = waiting.remove(&key);
        if waiting.is_empty() {
            self.rounds.remove(&round);
        }
        if let Some((bytes, _)) = dropped {
            self.share(candidate).remove(peer, bytes);
        }
        true
    }

    /// Takes everything that waits for `round` and drops what waited for earlier ones.
    pub fn take(&mut self, round: u64) -> Vec<M> {
        let later = self.rounds.split_off(&round.saturating_add(1));
        let mut before = std::mem::replace(&mut self.rounds, later);
        let now = before.remove(&round);
        for ((step, peer, _), (bytes, _)) in before.values().chain(now.as_ref()).flatten() {
            self.share(is_candidate(*step)).remove(*peer, *bytes);
        }
        now.into_iter().flatten().map(|(_, (_, message))| message).collect()
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

impl<T> Queue<(Source, T)> {
    /// Keeps `message` of `bytes` bytes, which names `signer`, for `round`, if `height` is the tip's and every bound allows it.
    pub fn put(
        &mut self,
        height: u64,
        round: u64,
        step: Step,
        signer: [u8; 96],
        bytes: usize,
        message: (Source, T),
    ) -> bool {
        if round <= height || round > height.saturating_add(MAX_ROUND_DISTANCE) {
            return false;
        }
        let peer = message.0.peer;
        let candidate = is_candidate(step);
        let (most_bytes, peer_bytes, most) = match candidate {
            true => (MAX_CANDIDATE_BYTES, PEER_CANDIDATE_BYTES, MAX_CANDIDATES),
            false => (MAX_VOTE_BYTES, PEER_VOTE_BYTES, MAX_PER_STEP),
        };
        let own = self.share(candidate).of(peer).saturating_add(bytes);
        if own > peer_bytes {
            return false;
        }
        if let Some(waiting) = self.rounds.get(&round)
            && (waiting.contains_key(&(step, peer, signer))
                || waiting.range((step, peer, [0; 96])..=(step, peer, [0xff; 96])).take(most).count() == most)
        {
            return false;
        }
        while self.share(candidate).total.saturating_add(bytes) > most_bytes {
            let Some(largest) = self.share(candidate).largest(own) else { return false };
            if !self.shorten(largest, candidate) {
                return false;
            }
        }
        self.share(candidate).add(peer, bytes);
        self.rounds.entry(round).or_default().insert((step, peer, signer), (bytes, message));
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(iteration: u8, kind: StepKind) -> Step {
        Step::new(iteration, kind).unwrap()
    }

    fn from<T>(peer: u64, what: T) -> (Source, T) {
        (Source { peer: PeerId(peer), token: None }, what)
    }

    fn signer(i: u32) -> [u8; 96] {
        let mut id = [0; 96];
        id[..4].copy_from_slice(&i.to_be_bytes());
        id
    }

    fn taken<T>(queue: &mut Queue<(Source, T)>, round: u64) -> Vec<T> {
        queue.take(round).into_iter().map(|(_, what)| what).collect()
    }

    #[test]
    fn one_message_per_peer_signer_and_step_within_ten_rounds() {
        let mut queue = Queue::default();
        let v = step(0, StepKind::Validation);
        assert!(!queue.put(10, 10, v, [1; 96], 200, from(1, "past")));
        assert!(!queue.put(10, 21, v, [1; 96], 200, from(1, "far")));
        assert!(queue.put(10, 12, v, [1; 96], 200, from(1, "a")));
        assert!(!queue.put(10, 12, v, [1; 96], 200, from(1, "again")));
        assert!(queue.put(10, 12, v, [2; 96], 200, from(1, "b")));
        assert!(queue.put(10, 12, step(0, StepKind::Ratification), [1; 96], 300, from(1, "c")));
        assert!(queue.put(10, 13, v, [1; 96], 200, from(1, "d")));
        assert_eq!(taken(&mut queue, 11), Vec::<&str>::new());
        assert_eq!(taken(&mut queue, 12), ["a", "b", "c"]);
        assert_eq!(taken(&mut queue, 20), Vec::<&str>::new());
        assert!(queue.is_empty());
        assert_eq!((queue.votes.total, queue.candidates.total), (0, 0));
    }

    #[test]
    fn an_invented_message_does_not_take_the_place_of_the_true_one() {
        let mut queue = Queue::default();
        let v = step(0, StepKind::Validation);
        assert!(queue.put(10, 12, v, [1; 96], 200, from(66, "invented")));
        assert!(queue.put(10, 12, v, [1; 96], 200, from(1, "true")));
        // The same with candidates, of which only two of an iteration wait.
        let p = step(0, StepKind::Proposal);
        assert!((0..2).all(|i| queue.put(10, 12, p, signer(i), 1 << 20, from(66, "invented"))));
        assert!(queue.put(10, 12, p, signer(0), 1 << 20, from(1, "true")));
        assert_eq!(taken(&mut queue, 12).iter().filter(|what| **what == "true").count(), 2);
    }

    #[test]
    fn a_flood_of_one_peer_is_bounded() {
        let mut queue = Queue::default();
        let v = step(0, StepKind::Validation);
        let count = (0..2000).filter(|i| queue.put(0, 1, v, signer(*i), 218, from(66, ()))).count();
        assert_eq!(count, MAX_PER_STEP);
        let p = |i| step(i, StepKind::Proposal);
        assert_eq!(
            (0..10).filter(|i| queue.put(0, 1, p(0), signer(*i), 1 << 10, from(66, ()))).count(),
            MAX_CANDIDATES
        );
        let count = (1..50).filter(|i| queue.put(0, 1, p(*i), signer(0), 1 << 20, from(66, ()))).count();
        assert_eq!(count, 1, "2 MiB of candidates");
        for i in 0..50 {
            (0..64).for_each(|s| {
                queue.put(0, 2, step(i, StepKind::Ratification), signer(s), 316, from(66, ()));
            });
        }
        assert!(queue.votes.total <= PEER_VOTE_BYTES && queue.votes.total > PEER_VOTE_BYTES - 316);
        // Others have their room.
        assert!(
            queue.put(0, 1, v, signer(0), 218, from(1, ())) && queue.put(0, 1, p(0), signer(0), 1 << 20, from(1, ()))
        );
        queue.take(5);
        assert_eq!((queue.len(), queue.votes.total, queue.candidates.total), (0, 0, 0));
        assert!(queue.votes.by_peer.is_empty() && queue.candidates.by_peer.is_empty());
    }

    #[test]
    fn where_all_room_is_taken_who_holds_most_gives_way() {
        let mut queue = Queue::default();
        let kinds = [StepKind::Validation, StepKind::Ratification];
        for peer in 100..200 {
            for i in 0..50 {
                for (kind, s) in kinds.into_iter().flat_map(|kind| (0..64).map(move |s| (kind, s))) {
                    queue.put(0, 9, step(i, kind), signer(s), 316, from(peer, "flood"));
                }
            }
        }
        assert!(queue.votes.total <= MAX_VOTE_BYTES && queue.votes.total > MAX_VOTE_BYTES - 316);
        // The votes of a whole iteration find room, and those of later steps go.
        for s in 0..64 {
            assert!(queue.put(0, 9, step(0, StepKind::Validation), signer(s), 316, from(1, "true")));
        }
        assert!(queue.votes.total <= MAX_VOTE_BYTES);
        assert_eq!(queue.votes.of(PeerId(1)), 64 * 316);
        assert_eq!(taken(&mut queue, 9).iter().filter(|what| **what == "true").count(), 64);
    }

    proptest! {
        #[test]
        fn the_byte_counts_are_those_of_what_waits(
            puts in prop::collection::vec((1u64..12, 0u8..3, 0usize..3, 0u8..4, 0u64..6, 0usize..2_000_000), 0..60),
            takes in prop::collection::vec(1u64..12, 0..4),
        ) {
            let mut queue = Queue::default();
            let mut takes = takes.into_iter();
            for (at, (round, iteration, kind, signer, peer, bytes)) in puts.into_iter().enumerate() {
                let step = step(iteration, StepKind::ALL[kind]);
                queue.put(0, round, step, [signer; 96], bytes, from(peer, ()));
                if at % 15 == 14 && let Some(round) = takes.next() {
                    queue.take(round);
                }
            }
            for (candidates, share, most, peer_most) in [
                (true, &queue.candidates, MAX_CANDIDATE_BYTES, PEER_CANDIDATE_BYTES),
                (false, &queue.votes, MAX_VOTE_BYTES, PEER_VOTE_BYTES),
            ] {
                let mut by_peer: BTreeMap<PeerId, usize> = BTreeMap::new();
                let waiting = queue.rounds.values().flatten();
                for ((_, peer, _), (bytes, _)) in waiting.filter(|((step, ..), _)| is_candidate(*step) == candidates) {
                    *by_peer.entry(*peer).or_default() += bytes;
                }
                by_peer.retain(|_, bytes| *bytes > 0);
                let held: BTreeMap<_, _> = share.by_peer.iter().filter(|(_, bytes)| **bytes > 0).map(|(p, b)| (*p, *b)).collect();
                prop_assert_eq!(share.total, by_peer.values().sum::<usize>());
                prop_assert_eq!(&held, &by_peer);
                prop_assert!(share.total <= most && by_peer.values().all(|bytes| *bytes <= peer_most));
            }
        }
    }
}
