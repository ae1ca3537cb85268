//! What peers did, and when it is enough.
//!
//! A score falls with bad deeds and halves with time; good deeds lift it a little, never far, so that a long good record
//! buys no licence. At a first mark a peer is disconnected, at a second banned, for longer each time.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use crate::ids::{PeerId, Prefix};

/// Something a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Was the first to bring a message that turned out valid.
    ValidFirst,
    /// Brought a message that is of no use and no offence.
    Ignored,
    /// Brought a message that an honest node does not relay: a wrong signature, a signer outside the committee.
    Invalid,
    /// Brought what is valid at another time or by another node's view of L1: a block that is too old, or of a signer that is no
    /// longer or not yet the one.
    Stale,
    /// Sent more bytes than a message may have.
    Oversize,
    /// Sent bytes that are no message.
    Garbage,
    /// Sent more than its rate.
    Flood,
    /// Does not read what it subscribed to.
    SlowReader,
    /// Did not answer in time.
    NoAnswer,
    /// Answered something else than was asked.
    BadAnswer,
    /// Answered well.
    GoodAnswer,
}

impl Deed {
    /// Points it gives. With the usual rules two oversize messages, three pieces of garbage or five invalid messages ban,
    /// even if the first ones have faded a little.
    pub const fn points(self) -> f64 {
        match self {
            Self::ValidFirst => 0.5,
            Self::GoodAnswer => 1.0,
            Self::Ignored => 0.0,
            Self::Flood => -2.0,
            Self::Stale => -4.0,
            Self::SlowReader | Self::NoAnswer => -10.0,
            Self::Invalid => -21.0,
            Self::Garbage | Self::BadAnswer => -34.0,
            Self::Oversize => -51.0,
        }
    }

    /// Short name for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ValidFirst => "valid",
            Self::Ignored => "ignored",
            Self::Invalid => "invalid",
            Self::Stale => "stale",
            Self::Oversize => "oversize",
            Self::Garbage => "garbage",
            Self::Flood => "flood",
            Self::SlowReader => "slow_reader",
            Self::NoAnswer => "no_answer",
            Self::BadAnswer => "bad_answer",
            Self::GoodAnswer => "good_answer",
        }
    }
}

/// What follows from a deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sentence {
    /// Close its connections; it may come back.
    Disconnect,
    /// Close its connections and refuse new ones.
    Ban {
        /// Until then, on the clock of the caller.
        until: Duration,
        /// Its address is banned as well, for the same time.
        prefix: Option<Prefix>,
    },
}

/// When it is enough.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRules {
    /// The time in which a score halves.
    pub half_life: Duration,
    /// The best score.
    pub best: f64,
    /// Falling to this score disconnects.
    pub disconnect: f64,
    /// Falling to this score bans.
    pub ban: f64,
    /// How long the first ban lasts; every further one twice as long.
    pub first_ban: Duration,
    /// The longest ban.
    pub longest_ban: Duration,
    /// Peers that are remembered.
    pub remembered: usize,
}

impl Default for ScoreRules {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(300),
            best: 20.0,
            disconnect: -60.0,
            ban: -100.0,
            first_ban: Duration::from_secs(600),
            longest_ban: Duration::from_secs(86_400),
            remembered: 4_096,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    score: f64,
    at: Duration,
    bans: u32,
    until: Option<Duration>,
}

/// The scores of all peers, and who is banned. `P` names a peer.
#[derive(Debug)]
pub struct Scores<P = PeerId> {
    rules: ScoreRules,
    records: HashMap<P, Record>,
    prefixes: HashMap<Prefix, Duration>,
    spared: HashSet<P>,
}

/// What costs the connection at once when there is no room to remember it.
const NO_CHANCE: f64 = -10.0;
/// A score nearer to zero than this is forgotten.
const NOTHING: f64 = 0.05;

impl<P: Copy + Eq + Hash> Scores<P> {
    /// Nobody did anything yet.
    pub fn new(rules: ScoreRules) -> Self {
        Self { rules, records: HashMap::new(), prefixes: HashMap::new(), spared: HashSet::new() }
    }

    /// These peers, which the operator chose, are disconnected at most: without them a node may hear nothing at all, and a third party
    /// that made one of them misbehave would have cut it off for a day.
    #[must_use]
    pub fn sparing(mut self, peers: impl IntoIterator<Item = P>) -> Self {
        self.spared.extend(peers);
        self
    }

    /// Spares one more.
    pub fn spare(&mut self, peer: P) {
        self.spared.insert(peer);
    }

    /// This one is a peer like any other again.
    pub fn spare_no_more(&mut self, peer: &P) {
        self.spared.remove(peer);
    }

    /// How many are spared.
    pub fn spared(&self) -> usize {
        self.spared.len()
    }

    /// Whether this is one of the peers that are never banned.
    pub fn spares(&self, peer: &P) -> bool {
        self.spared.contains(peer)
    }

    fn faded(rules: &ScoreRules, record: &Record, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(record.at).as_secs_f64();
        record.score * (-elapsed / rules.half_life.as_secs_f64().max(f64::MIN_POSITIVE)).exp2()
    }

    /// A peer did something. `prefix` is its address if that may be banned with it.
    pub fn deed(&mut self, now: Duration, peer: &P, prefix: Option<Prefix>, deed: Deed) -> Option<Sentence> {
        if !self.records.contains_key(peer) {
            if deed.points() == 0.0 {
                return None;
            }
            // Only bans that run are in the way, of very many peers: who cannot be remembered is given no second chance.
            if !self.make_room(now) {
                return (deed.points() <= NO_CHANCE).then_some(Sentence::Disconnect);
            }
        }
        let rules = &self.rules;
        let record = self.records.entry(*peer).or_insert(Record { score: 0.0, at: now, bans: 0, until: None });
        let before = Self::faded(rules, record, now);
        record.at = record.at.max(now);
        record.score = (before + deed.points()).clamp(2.0 * rules.ban, rules.best);
        if record.until.is_some_and(|until| until > now) {
            return None;
        }
        if record.score <= rules.ban && self.spared.contains(peer) {
            record.score = rules.disconnect / 2.0;
            return Some(Sentence::Disconnect);
        }
        if record.score <= rules.ban {
            let length = rules.first_ban.saturating_mul(1u32.checked_shl(record.bans).unwrap_or(u32::MAX));
            let until = now.saturating_add(length.min(rules.longest_ban));
            record.bans = record.bans.saturating_add(1);
            record.until = Some(until);
            // The ban is the price; it starts again below zero, but not at the edge.
            record.score = rules.disconnect / 2.0;
            if let Some(prefix) = prefix
                && (self.prefixes.contains_key(&prefix) || self.prefixes.len() < rules.remembered)
            {
                let end = self.prefixes.entry(prefix).or_insert(until);
                *end = (*end).max(until);
            }
            return Some(Sentence::Ban { until, prefix });
        }
        (before > rules.disconnect && record.score <= rules.disconnect).then_some(Sentence::Disconnect)
    }

    fn make_room(&mut self, now: Duration) -> bool {
        if self.records.len() >= self.rules.remembered {
            self.decay(now);
        }
        if self.records.len() >= self.rules.remembered {
            // The best of those who were never banned has the least to lose by being forgotten; after them whose ban ended
            // first. A ban that runs is not forgotten.
            let best = self
                .records
                .iter()
                .filter(|(_, record)| record.until.is_none_or(|until| until <= now))
                .min_by(|(_, a), (_, b)| a.until.cmp(&b.until).then(b.score.total_cmp(&a.score)))
                .map(|(peer, _)| *peer);
            if let Some(best) = best {
                self.records.remove(&best);
            }
        }
        self.records.len() < self.rules.remembered
    }

    /// Forgets what time has healed. Call it now and then.
    pub fn decay(&mut self, now: Duration) {
        let rules = &self.rules;
        self.prefixes.retain(|_, until| *until > now);
        self.records.retain(|_, record| {
            record.score = Self::faded(rules, record, now);
            record.at = record.at.max(now);
            // Earlier bans are remembered for as long as the longest one.
            let banned = record.until.is_some_and(|until| until.saturating_add(rules.longest_ban) > now);
            banned || record.score.abs() >= NOTHING
        });
    }

    /// Whether a peer is banned.
    pub fn banned(&self, now: Duration, peer: &P) -> bool {
        self.records.get(peer).and_then(|record| record.until).is_some_and(|until| until > now)
    }

    /// Whether an address is banned.
    pub fn prefix_banned(&self, now: Duration, prefix: &Prefix) -> bool {
        self.prefixes.get(prefix).is_some_and(|until| *until > now)
    }

    /// The score of a peer; 0 for a stranger.
    pub fn score(&self, now: Duration, peer: &P) -> f64 {
        self.records.get(peer).map_or(0.0, |record| Self::faded(&self.rules, record, now))
    }

    /// How many peers are banned.
    pub fn bans(&self, now: Duration) -> usize {
        self.records.values().filter(|record| record.until.is_some_and(|until| until > now)).count()
    }

    /// How many peers are remembered.
    pub fn remembered(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: PeerId = PeerId([1; 32]);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn ban(scores: &mut Scores, now: Duration) -> Duration {
        for _ in 0..10 {
            if let Some(Sentence::Ban { until, .. }) = scores.deed(now, &PEER, None, Deed::Oversize) {
                return until;
            }
        }
        panic!("ten of them are enough");
    }

    #[test]
    fn bad_deeds_disconnect_then_ban() {
        let mut scores = Scores::new(ScoreRules::default());
        let prefix = Prefix::V4([8; 4]);
        assert_eq!(scores.deed(secs(0), &PEER, Some(prefix), Deed::Invalid), None);
        assert_eq!(scores.deed(secs(0), &PEER, Some(prefix), Deed::Invalid), None);
        assert_eq!(scores.deed(secs(0), &PEER, Some(prefix), Deed::Invalid), Some(Sentence::Disconnect));
        assert_eq!(scores.deed(secs(0), &PEER, Some(prefix), Deed::Invalid), None);
        let sentence = Sentence::Ban { until: secs(600), prefix: Some(prefix) };
        assert_eq!(scores.deed(secs(0), &PEER, Some(prefix), Deed::Invalid), Some(sentence));
        assert!(scores.banned(secs(599), &PEER) && scores.prefix_banned(secs(599), &prefix));
        assert!(!scores.banned(secs(600), &PEER) && !scores.prefix_banned(secs(600), &prefix));
        assert_eq!(scores.deed(secs(1), &PEER, Some(prefix), Deed::Oversize), None, "no second sentence while banned");
    }

    #[test]
    fn a_second_ban_lasts_twice_as_long_up_to_a_day() {
        let mut scores = Scores::new(ScoreRules::default());
        let mut now = secs(0);
        for expected in [600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800, 86_400, 86_400] {
            let until = ban(&mut scores, now);
            assert_eq!(until - now, secs(expected));
            now = until;
            scores.decay(now);
        }
    }

    #[test]
    fn a_peer_that_the_operator_chose_is_disconnected_again_and_again_but_never_banned() {
        let mut scores = Scores::new(ScoreRules::default()).sparing([PEER]);
        let sentences: Vec<_> =
            (0..500).filter_map(|_| scores.deed(secs(0), &PEER, Some(Prefix::V4([8; 4])), Deed::Flood)).collect();
        assert!(sentences.len() > 10, "{}", sentences.len());
        assert!(sentences.iter().all(|sentence| *sentence == Sentence::Disconnect));
        assert_eq!((scores.bans(secs(0)), scores.prefix_banned(secs(0), &Prefix::V4([8; 4]))), (0, false));
    }

    #[test]
    fn time_heals() {
        let mut scores = Scores::new(ScoreRules::default());
        scores.deed(secs(0), &PEER, None, Deed::Oversize);
        assert!((scores.score(secs(300), &PEER) + 25.5).abs() < 1e-9);
        scores.decay(secs(300));
        assert!((scores.score(secs(600), &PEER) + 12.75).abs() < 1e-9, "decaying early changes nothing");
        scores.decay(secs(6_000));
        assert_eq!(scores.remembered(), 0);
    }

    #[test]
    fn a_good_record_is_no_licence() {
        let mut scores = Scores::new(ScoreRules::default());
        for _ in 0..100_000 {
            scores.deed(secs(0), &PEER, None, Deed::ValidFirst);
        }
        assert_eq!(scores.score(secs(0), &PEER), 20.0);
        let sentences = (0..3).filter_map(|_| scores.deed(secs(0), &PEER, None, Deed::Oversize)).count();
        assert_eq!(sentences, 2, "three oversize messages disconnect and ban");
    }

    #[test]
    fn an_honest_peer_with_rare_mishaps_is_not_banned() {
        let mut scores = Scores::new(ScoreRules::default());
        for time in 0..600 {
            assert_eq!(scores.deed(secs(180 * time), &PEER, None, Deed::NoAnswer), None);
        }
    }

    #[test]
    fn very_many_banned_peers_are_no_shelter_for_others() {
        let mut scores = Scores::new(ScoreRules { remembered: 8, ..ScoreRules::default() });
        let banned = |n: u8| PeerId([100 + n; 32]);
        for n in 0..8 {
            for _ in 0..3 {
                scores.deed(secs(0), &banned(n), None, Deed::Oversize);
            }
        }
        assert_eq!(scores.bans(secs(0)), 8);
        // While their bans run nobody else is remembered, so the first bad deed costs the connection.
        assert_eq!(scores.deed(secs(1), &PEER, None, Deed::Invalid), Some(Sentence::Disconnect));
        assert_eq!(scores.deed(secs(1), &PEER, None, Deed::Flood), None);
        // When they have ended, though they are remembered for a day, somebody new can be banned.
        assert!(
            (0..3).any(|_| matches!(scores.deed(secs(700), &PEER, None, Deed::Oversize), Some(Sentence::Ban { .. })))
        );
        assert!(scores.banned(secs(700), &PEER));
    }

    fn any_deed() -> impl Strategy<Value = Deed> {
        prop::sample::select(vec![
            Deed::ValidFirst,
            Deed::Ignored,
            Deed::Invalid,
            Deed::Oversize,
            Deed::Garbage,
            Deed::Flood,
            Deed::SlowReader,
            Deed::NoAnswer,
            Deed::BadAnswer,
            Deed::GoodAnswer,
        ])
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_the_banned_stay_banned(
            deeds in prop::collection::vec((0u8..40, any_deed(), 0u64..30), 1..400),
        ) {
            let mut scores = Scores::new(ScoreRules { remembered: 8, ..ScoreRules::default() });
            let mut now = Duration::ZERO;
            let mut sentenced: HashMap<PeerId, Duration> = HashMap::new();
            for (peer, deed, pause) in deeds {
                now += secs(pause);
                let peer = PeerId([peer; 32]);
                if let Some(Sentence::Ban { until, .. }) = scores.deed(now, &peer, None, deed) {
                    sentenced.insert(peer, until);
                }
                prop_assert!(scores.remembered() <= 8);
                for (peer, until) in &sentenced {
                    prop_assert_eq!(scores.banned(now, peer), now < *until);
                }
            }
        }

        #[test]
        fn good_deeds_never_sentence(deeds in prop::collection::vec((any::<bool>(), 0u64..100), 1..100)) {
            let mut scores = Scores::new(ScoreRules::default());
            let mut now = Duration::ZERO;
            for (valid, pause) in deeds {
                now += secs(pause);
                let deed = if valid { Deed::ValidFirst } else { Deed::GoodAnswer };
                prop_assert_eq!(scores.deed(now, &PEER, None, deed), None);
                prop_assert!((0.0..=20.0).contains(&scores.score(now, &PEER)));
            }
        }
    }
}
