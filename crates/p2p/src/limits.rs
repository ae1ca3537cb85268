//! How much a peer may send: token buckets per peer and topic, and bounds on what is in work.

use std::collections::HashMap;
use std::time::Duration;

use crate::ids::PeerId;
use crate::request::Kind;
use crate::topics::Topic;

/// So much at once, and so much per second in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// What a bucket holds.
    pub burst: u64,
    /// What flows in per second.
    pub per_second: u64,
}

impl Rate {
    /// A rate.
    pub const fn new(burst: u64, per_second: u64) -> Self {
        Self { burst, per_second }
    }
}

/// A token bucket, full at first. It counts in billionths of a token, so that nothing is lost however often it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    level: u128,
    at: Duration,
}

const UNIT: u128 = 1_000_000_000;

impl Bucket {
    /// A full bucket.
    pub const fn full(rate: Rate, now: Duration) -> Self {
        Self { level: rate.burst as u128 * UNIT, at: now }
    }

    fn fill(&mut self, rate: Rate, now: Duration) {
        // A clock that steps back gives nothing and takes nothing.
        let elapsed = now.saturating_sub(self.at).as_nanos();
        let most = u128::from(rate.burst) * UNIT;
        self.level = self.level.saturating_add(elapsed.saturating_mul(u128::from(rate.per_second))).min(most);
        self.at = self.at.max(now);
    }

    /// Takes `tokens` if they are there; takes nothing otherwise.
    pub fn take(&mut self, rate: Rate, now: Duration, tokens: u64) -> bool {
        self.fill(rate, now);
        match self.level.checked_sub(u128::from(tokens) * UNIT) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }

    /// Whether nothing is known of its owner that a new bucket would forget.
    pub fn is_full(&mut self, rate: Rate, now: Duration) -> bool {
        self.fill(rate, now);
        self.level == u128::from(rate.burst) * UNIT
    }
}

/// Bounds of one topic, for each peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLimit {
    /// Messages.
    pub messages: Rate,
    /// Bytes.
    pub bytes: Rate,
}

/// The bounds of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Votes and quorums.
    pub votes: TopicLimit,
    /// Candidates.
    pub candidates: TopicLimit,
    /// Transactions.
    pub transactions: TopicLimit,
    /// Blocks.
    pub blocks: TopicLimit,
    /// Blocks of rollups.
    pub l2: TopicLimit,
    /// Requests for the status.
    pub status: Rate,
    /// Requests for frames: blocks, candidates, transactions.
    pub frames: Rate,
    /// Requests for blobs.
    pub blobs: Rate,
    /// Requests for addresses.
    pub peers: Rate,
    /// Requests of one peer that are answered at the same time: until the answer is written.
    pub requests_at_once: usize,
    /// Bytes of answers to all peers that are being made or written.
    pub answers: u64,
    /// The same of one peer.
    pub answers_per_peer: u64,
    /// Bytes of messages of all peers that wait for a verdict.
    pub in_work: u64,
    /// The same of one peer.
    pub in_work_per_peer: u64,
    /// Peers that are remembered.
    pub remembered: usize,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

impl Default for Limits {
    /// Enough for a peer that relays everything of 64 provisioners with steps of one second (some 200 votes per step, a
    /// candidate per iteration) twice over.
    fn default() -> Self {
        let topic = |messages, bytes| TopicLimit { messages, bytes };
        Self {
            votes: topic(Rate::new(2_000, 500), Rate::new(MIB, 256 * KIB)),
            candidates: topic(Rate::new(16, 4), Rate::new(16 * MIB, 4 * MIB)),
            transactions: topic(Rate::new(4_000, 1_000), Rate::new(16 * MIB, 4 * MIB)),
            blocks: topic(Rate::new(16, 4), Rate::new(16 * MIB, 4 * MIB)),
            l2: topic(Rate::new(32, 8), Rate::new(32 * MIB, 8 * MIB)),
            status: Rate::new(16, 2),
            frames: Rate::new(64, 16),
            blobs: Rate::new(64, 16),
            peers: Rate::new(4, 1),
            // A peer of this program asks for two large answers at a time, and may ask again before the end of the last one
            // is noted here.
            requests_at_once: 4,
            answers: 128 * MIB,
            answers_per_peer: 17 * MIB,
            in_work: 64 * MIB,
            in_work_per_peer: 16 * MIB,
            remembered: 4_096,
        }
    }
}

impl Limits {
    /// The bounds of a topic.
    pub const fn topic(&self, topic: Topic) -> TopicLimit {
        match topic {
            Topic::Votes => self.votes,
            Topic::Candidates => self.candidates,
            Topic::Transactions => self.transactions,
            Topic::Blocks => self.blocks,
            Topic::L2(_) => self.l2,
        }
    }

    /// The rate of a kind of request.
    pub const fn request(&self, kind: Kind) -> Rate {
        match kind {
            Kind::Status => self.status,
            Kind::Frame => self.frames,
            Kind::Blobs => self.blobs,
            Kind::Peers => self.peers,
        }
    }
}

/// Why something is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// Longer than its topic allows. The sender's fault.
    Oversize,
    /// More than a peer may send. The sender's fault.
    Flood,
    /// This node has enough to do. Nobody's fault.
    Busy,
}

/// What to do with a message or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on with it.
    Take,
    /// Do not look at it.
    Drop(Drop),
}

#[derive(Debug, Default)]
struct Account {
    topics: HashMap<Topic, (Bucket, Bucket)>,
    requests: HashMap<Kind, Bucket>,
    answering: usize,
    answers: u64,
    in_work: u64,
}

/// Keeps account of what each peer sends. Accounts outlive connections: coming back does not fill the buckets.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    accounts: HashMap<PeerId, Account>,
    in_work: u64,
    answers: u64,
}

/// What one peer may hold of something that all share, where `held` of `room` are taken and `share` is what it may hold at
/// most: while more than half is free all of its share, then an eighth of it. So a few peers cannot take everything.
const fn share_of(share: u64, held: u64, room: u64) -> u64 {
    if held < room / 2 { share } else { share / 8 }
}

impl Gate {
    /// An empty account book.
    pub fn new(limits: Limits) -> Self {
        Self { limits, accounts: HashMap::new(), in_work: 0, answers: 0 }
    }

    /// The bounds.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes that wait for a verdict.
    pub const fn in_work(&self) -> u64 {
        self.in_work
    }

    /// Bytes of answers that are being made or written.
    pub const fn answers(&self) -> u64 {
        self.answers
    }

    /// Peers that are remembered.
    pub fn remembered(&self) -> usize {
        self.accounts.len()
    }

    fn account(&mut self, now: Duration, peer: &PeerId) -> Option<&mut Account> {
        if !self.accounts.contains_key(peer) && self.accounts.len() >= self.limits.remembered {
            self.sweep(now);
            if self.accounts.len() >= self.limits.remembered {
                return None;
            }
        }
        Some(self.accounts.entry(*peer).or_default())
    }

    /// A message arrived. What is taken must be [`settled`](Self::settled) later, with the same number of bytes.
    pub fn message(&mut self, now: Duration, peer: &PeerId, topic: Topic, bytes: usize) -> Flow {
        if bytes > topic.max_bytes() {
            return Flow::Drop(Drop::Oversize);
        }
        let bytes = bytes as u64;
        let limit = self.limits.topic(topic);
        let (in_work, room, room_per_peer) = (self.in_work, self.limits.in_work, self.limits.in_work_per_peer);
        let Some(account) = self.account(now, peer) else { return Flow::Drop(Drop::Busy) };
        let (messages, volume) = account
            .topics
            .entry(topic)
            .or_insert_with(|| (Bucket::full(limit.messages, now), Bucket::full(limit.bytes, now)));
        if !messages.take(limit.messages, now, 1) || !volume.take(limit.bytes, now, bytes) {
            return Flow::Drop(Drop::Flood);
        }
        let share = share_of(room_per_peer, in_work, room);
        // Who holds nothing may bring one message, however long it is.
        let fits = account.in_work == 0 || account.in_work.saturating_add(bytes) <= share;
        if in_work.saturating_add(bytes) > room || bytes > room_per_peer || !fits {
            return Flow::Drop(Drop::Busy);
        }
        account.in_work += bytes;
        self.in_work += bytes;
        Flow::Take
    }

    /// A message that was taken has its verdict, or nobody waits for one any more.
    pub fn settled(&mut self, peer: &PeerId, bytes: usize) {
        let bytes = bytes as u64;
        self.in_work = self.in_work.saturating_sub(bytes);
        if let Some(account) = self.accounts.get_mut(peer) {
            account.in_work = account.in_work.saturating_sub(bytes);
        }
    }

    /// A request arrived, whose answer may take up to `longest` bytes. Room for them is kept from now on: one that is taken
    /// must be [`answered`](Self::answered) later with the same number of bytes, or with what [`answer`](Self::answer) made
    /// of it.
    pub fn request(&mut self, now: Duration, peer: &PeerId, kind: Kind, longest: usize) -> Flow {
        let rate = self.limits.request(kind);
        let longest = longest as u64;
        let (at_once, room, per_peer) =
            (self.limits.requests_at_once, self.limits.answers, self.limits.answers_per_peer);
        let held = self.answers;
        let Some(account) = self.account(now, peer) else { return Flow::Drop(Drop::Busy) };
        let bucket = account.requests.entry(kind).or_insert_with(|| Bucket::full(rate, now));
        if !bucket.take(rate, now, 1) {
            return Flow::Drop(Drop::Flood);
        }
        let share = share_of(per_peer, held, room);
        // Who holds nothing may ask for one answer, however long it is.
        let fits = account.answering == 0 || account.answers.saturating_add(longest) <= share;
        if account.answering >= at_once || held.saturating_add(longest) > room || longest > per_peer || !fits {
            return Flow::Drop(Drop::Busy);
        }
        account.answering += 1;
        account.answers += longest;
        self.answers += longest;
        Flow::Take
    }

    /// The answer is here and begins to be written: it takes `bytes`, not the `longest` that were thought of.
    pub fn answer(&mut self, peer: &PeerId, longest: usize, bytes: usize) {
        let (longest, bytes) = (longest as u64, bytes as u64);
        self.answers = self.answers.saturating_sub(longest).saturating_add(bytes);
        if let Some(account) = self.accounts.get_mut(peer) {
            account.answers = account.answers.saturating_sub(longest).saturating_add(bytes);
        }
    }

    /// The answer to a request that was taken has been written, or will not be: its `bytes` are free again.
    pub fn answered(&mut self, peer: &PeerId, bytes: usize) {
        let bytes = bytes as u64;
        self.answers = self.answers.saturating_sub(bytes);
        if let Some(account) = self.accounts.get_mut(peer) {
            account.answering = account.answering.saturating_sub(1);
            account.answers = account.answers.saturating_sub(bytes);
        }
    }

    /// Forgets peers of whom there is nothing to remember: all buckets full, nothing in work.
    pub fn sweep(&mut self, now: Duration) {
        let limits = &self.limits;
        self.accounts.retain(|_, account| {
            let idle = account.in_work == 0
                && account.answering == 0
                && account.topics.iter_mut().all(|(topic, (messages, bytes))| {
                    let limit = limits.topic(*topic);
                    messages.is_full(limit.messages, now) && bytes.is_full(limit.bytes, now)
                })
                && account.requests.iter_mut().all(|(kind, bucket)| bucket.is_full(limits.request(*kind), now));
            !idle
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: PeerId = PeerId([1; 32]);
    const OTHER: PeerId = PeerId([2; 32]);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn oversize_is_seen_before_anything_is_counted() {
        let mut gate = Gate::new(Limits::default());
        assert_eq!(gate.message(secs(0), &PEER, Topic::Votes, 2049), Flow::Drop(Drop::Oversize));
        assert_eq!(gate.message(secs(0), &PEER, Topic::Votes, 2048), Flow::Take);
        assert_eq!((gate.in_work(), gate.remembered()), (2048, 1));
    }

    #[test]
    fn a_flood_is_cut_off_and_honest_peers_are_not() {
        let mut gate = Gate::new(Limits::default());
        let taken = (0..10_000).filter(|_| gate.message(secs(5), &PEER, Topic::Votes, 218) == Flow::Take).count();
        assert_eq!(taken, 2_000);
        assert_eq!(gate.message(secs(5), &OTHER, Topic::Votes, 218), Flow::Take);
        // Another topic has its own buckets.
        assert_eq!(gate.message(secs(5), &PEER, Topic::Transactions, 500), Flow::Take);
        // A second gives what a second gives.
        let taken = (0..10_000).filter(|_| gate.message(secs(6), &PEER, Topic::Votes, 218) == Flow::Take).count();
        assert_eq!(taken, 500);
    }

    #[test]
    fn bytes_in_work_are_bounded_per_peer_and_in_all() {
        let limits = Limits { in_work: 5_000, in_work_per_peer: 3_000, ..Limits::default() };
        let mut gate = Gate::new(limits);
        assert_eq!(gate.message(secs(0), &PEER, Topic::Transactions, 2_000), Flow::Take);
        assert_eq!(gate.message(secs(0), &PEER, Topic::Transactions, 2_000), Flow::Drop(Drop::Busy));
        assert_eq!(gate.message(secs(0), &OTHER, Topic::Transactions, 3_000), Flow::Take);
        assert_eq!(gate.message(secs(0), &PeerId([3; 32]), Topic::Transactions, 1), Flow::Drop(Drop::Busy));
        gate.settled(&PEER, 2_000);
        assert_eq!(gate.message(secs(0), &PEER, Topic::Transactions, 2_000), Flow::Take);
    }

    #[test]
    fn a_few_peers_do_not_take_all_room_for_messages() {
        let limits = Limits { in_work: 64_000, in_work_per_peer: 16_000, ..Limits::default() };
        let mut gate = Gate::new(limits);
        for hostile in 0..40 {
            while gate.message(secs(0), &PeerId([hostile; 32]), Topic::Transactions, 1_000) == Flow::Take {}
        }
        assert_eq!(gate.in_work(), 64_000);
        let holders = gate.accounts.values().filter(|account| account.in_work > 0).count();
        assert_eq!(holders, 2 + 16, "half for the first two, an eighth of a share for each of the others");
    }

    #[test]
    fn four_requests_of_a_peer_at_once() {
        let mut gate = Gate::new(Limits::default());
        for _ in 0..4 {
            assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 100), Flow::Take);
        }
        assert_eq!(gate.request(secs(0), &PEER, Kind::Blobs, 100), Flow::Drop(Drop::Busy));
        assert_eq!(gate.request(secs(0), &OTHER, Kind::Frame, 100), Flow::Take);
        gate.answered(&PEER, 100);
        assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 100), Flow::Take);
    }

    #[test]
    fn answers_take_room_until_they_are_written() {
        let limits = Limits { answers: 10_000, answers_per_peer: 3_000, ..Limits::default() };
        let mut gate = Gate::new(limits);
        assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 3_001), Flow::Drop(Drop::Busy));
        assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 2_000), Flow::Take);
        assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 2_000), Flow::Drop(Drop::Busy));
        // It turned out shorter: the rest is free at once, the answer itself when it is written.
        gate.answer(&PEER, 2_000, 500);
        assert_eq!(gate.answers(), 500);
        assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 2_500), Flow::Take);
        assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 1), Flow::Drop(Drop::Busy));
        gate.answered(&PEER, 500);
        assert_eq!(gate.request(secs(0), &PEER, Kind::Frame, 500), Flow::Take);
        gate.answered(&PEER, 2_500);
        gate.answered(&PEER, 500);
        assert_eq!(gate.answers(), 0);
    }

    #[test]
    fn a_few_slow_readers_do_not_take_all_room_for_answers() {
        let limits = Limits { answers: 64_000, answers_per_peer: 16_000, ..Limits::default() };
        let mut gate = Gate::new(limits);
        for hostile in 0..40 {
            while gate.request(secs(0), &PeerId([hostile; 32]), Kind::Frame, 8_000) == Flow::Take {}
        }
        // Two with two answers each, then one each until it is full.
        assert_eq!(gate.answers(), 64_000);
        assert_eq!(gate.accounts.values().filter(|account| account.answering > 0).count(), 2 + 4);
    }

    #[test]
    fn requests_have_a_rate_by_kind() {
        let mut gate = Gate::new(Limits::default());
        for _ in 0..4 {
            assert_eq!(gate.request(secs(0), &PEER, Kind::Peers, 9), Flow::Take);
            gate.answered(&PEER, 9);
        }
        assert_eq!(gate.request(secs(0), &PEER, Kind::Peers, 9), Flow::Drop(Drop::Flood));
        assert_eq!(gate.request(secs(0), &PEER, Kind::Status, 9), Flow::Take);
        gate.answered(&PEER, 9);
        assert_eq!(gate.request(secs(1), &PEER, Kind::Peers, 9), Flow::Take);
    }

    #[test]
    fn accounts_outlive_connections_but_not_for_ever() {
        let mut gate = Gate::new(Limits { remembered: 2, ..Limits::default() });
        gate.message(secs(0), &PEER, Topic::Votes, 100);
        gate.message(secs(0), &OTHER, Topic::Votes, 100);
        assert_eq!(gate.message(secs(0), &PeerId([3; 32]), Topic::Votes, 1), Flow::Drop(Drop::Busy));
        gate.settled(&PEER, 100);
        gate.sweep(secs(60));
        assert_eq!(gate.remembered(), 1, "the other's message is still in work");
        assert_eq!(gate.message(secs(60), &PeerId([3; 32]), Topic::Votes, 1), Flow::Take);
    }

    proptest! {
        #[test]
        fn no_window_gets_more_than_burst_and_rate(
            burst in 1u64..50, per_second in 1u64..50, steps in prop::collection::vec((0u64..2_000, 1u64..5), 1..200),
        ) {
            let rate = Rate::new(burst, per_second);
            let mut bucket = Bucket::full(rate, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut taken: Vec<(Duration, u64)> = Vec::new();
            for (pause, tokens) in steps {
                now += Duration::from_millis(pause);
                if bucket.take(rate, now, tokens) {
                    taken.push((now, tokens));
                }
            }
            for (index, (start, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (at, tokens) in &taken[index..] {
                    sum += tokens;
                    let allowed = burst as f64 + (*at - *start).as_secs_f64() * per_second as f64;
                    prop_assert!(sum as f64 <= allowed + 1e-6, "{sum} > {allowed}");
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(per_second in 1u64..1000, count in 1u32..300) {
            let rate = Rate::new(1, per_second);
            let mut bucket = Bucket::full(rate, Duration::ZERO);
            for n in 0..count {
                // The pause is rounded up to the nanosecond.
                let now = Duration::from_nanos(u64::from(n) * 1_000_000_000_u64.div_ceil(per_second));
                prop_assert!(bucket.take(rate, now, 1), "{n}");
            }
        }

        #[test]
        fn a_clock_that_steps_back_gives_nothing(times in prop::collection::vec(0u64..10, 1..50)) {
            let rate = Rate::new(3, 1);
            let mut bucket = Bucket::full(rate, Duration::ZERO);
            let taken = times.iter().filter(|at| bucket.take(rate, secs(**at), 1)).count() as u64;
            prop_assert!(taken <= 3 + times.iter().max().copied().unwrap_or(0));
        }

        #[test]
        fn what_is_in_work_is_what_was_taken_and_not_settled(steps in prop::collection::vec((0u8..4, 1usize..3_000, any::<bool>()), 1..200)) {
            let mut gate = Gate::new(Limits { in_work: 20_000, in_work_per_peer: 8_000, ..Limits::default() });
            let mut open: Vec<(PeerId, usize)> = Vec::new();
            for (peer, bytes, settle) in steps {
                let peer = PeerId([peer; 32]);
                if settle && let Some((peer, bytes)) = open.pop() {
                    gate.settled(&peer, bytes);
                } else if gate.message(secs(0), &peer, Topic::Transactions, bytes) == Flow::Take {
                    open.push((peer, bytes));
                }
                let all: usize = open.iter().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(gate.in_work(), all as u64);
                prop_assert!(all <= 20_000);
                for n in 0..4 {
                    let mine: usize = open.iter().filter(|(peer, _)| *peer == PeerId([n; 32])).map(|(_, b)| b).sum();
                    prop_assert!(mine <= 8_000);
                }
            }
        }
    }
}
