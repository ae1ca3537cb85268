//! What this provisioner has signed: never two for one step.
//!
//! A provisioner that signs two different messages for one step can be slashed, and two that do so can break the chain.
//! So every own message is written to a journal as a whole frame, signature included, before it is sent, and after a
//! restart the frame of the journal is sent again instead of a new one. The published node keeps no such record: it
//! skips the interrupted iteration instead. One rule is ours too: also in emergency iterations a step has one message.
//!
//! This is the memory of that journal; writing and syncing are its owner's. Order: sign, [`Ballots::cast`], write the
//! record and sync, send.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::{Step, StepKind};

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BallotKey {
    /// Height of the block that is voted on. First, so that old rounds are a prefix.
    pub round: u64,
    /// Hash of the block below.
    pub prev: [u8; 32],
    /// Iteration and step; a candidate is the message of the Proposal step.
    pub step: Step,
}

/// Answer of [`Ballots::cast`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ballot {
    /// Nothing was signed for this step: write the record, then send.
    New,
    /// The same was signed before: send this frame again.
    Same(Arc<[u8]>),
    /// Something else was signed for this step: stay silent.
    Refused,
}

/// A journal record: version, key, digest and frame.
pub type Record = Vec<u8>;

/// Why a journal record is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than key and digest take.
    #[error("a record of the vote journal has {0} bytes, fewer than its fixed part")]
    Short(usize),
    /// Written by another version.
    #[error("a record of the vote journal has version {0}; this program reads version {VERSION}")]
    Version(u8),
    /// A step that does not exist.
    #[error("a record of the vote journal names iteration {iteration}, step {step}")]
    Step {
        /// Iteration of the record.
        iteration: u8,
        /// Number of the step in it.
        step: u8,
    },
    /// Two records of one step that differ: the journal was written by two nodes, or edited.
    #[error(
        "the vote journal holds two different messages for round {round}, iteration {iteration}: the folder was used by two nodes at once"
    )]
    Double {
        /// Round of both.
        round: u64,
        /// Iteration of both.
        iteration: u8,
    },
}

const VERSION: u8 = 1;
/// version ‖ prev ‖ round ‖ iteration ‖ step ‖ digest.
const FIXED: usize = 1 + 32 + 8 + 1 + 1 + 32;

/// Own messages, by what they are for.
#[derive(Debug, Clone, Default)]
pub struct Ballots {
    cast: BTreeMap<BallotKey, ([u8; 32], Arc<[u8]>)>,
    replayed: bool,
}

impl Ballots {
    /// Takes one record of the journal, in the order of writing.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let (key, digest, frame) = decode(record)?;
        self.replayed = true;
        match self.cast.get(&key) {
            Some((known, _)) if *known == digest => Ok(()),
            Some(_) => Err(RecordError::Double { round: key.round, iteration: key.step.iteration }),
            None => {
                self.cast.insert(key, (digest, frame));
                Ok(())
            }
        }
    }

    /// Takes a signed message. `digest` tells messages apart by what is signed, since a frame also holds unsigned parts.
    /// With [`Ballot::New`] comes the record to write before the frame leaves.
    pub fn cast(&mut self, key: BallotKey, digest: [u8; 32], frame: Arc<[u8]>) -> (Ballot, Option<Record>) {
        match self.cast.get(&key) {
            Some((known, old)) if *known == digest => (Ballot::Same(old.clone()), None),
            Some(_) => (Ballot::Refused, None),
            None => {
                let record = encode(&key, &digest, &frame);
                self.cast.insert(key, (digest, frame));
                (Ballot::New, Some(record))
            }
        }
    }

    /// The frame that was signed for a step.
    pub fn get(&self, key: &BallotKey) -> Option<&Arc<[u8]>> {
        self.cast.get(key).map(|(_, frame)| frame)
    }

    /// Takes a frame that another [`Ballots`] let pass, by [`Ballot::New`] or [`Ballot::Same`].
    pub(crate) fn remember(&mut self, key: BallotKey, digest: [u8; 32], frame: Arc<[u8]>) {
        self.cast.entry(key).or_insert((digest, frame));
    }

    /// Drops rounds below `height`. The caller keeps every height that is not final, whose rounds can come back.
    pub fn forget_below(&mut self, height: u64) {
        self.cast.retain(|key, _| key.round >= height);
    }

    /// Records of everything held, to rewrite the journal with.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.cast.iter().map(|(key, (digest, frame))| encode(key, digest, frame))
    }

    /// Nothing was replayed: a new provisioner, or one whose journal is gone and who may have signed anything.
    pub fn is_fresh(&self) -> bool {
        !self.replayed
    }

    /// Height of the newest round that a message is for.
    pub fn newest_round(&self) -> Option<u64> {
        self.cast.last_key_value().map(|(key, _)| key.round)
    }

    /// Messages held.
    pub fn len(&self) -> usize {
        self.cast.len()
    }

    /// No message is held.
    pub fn is_empty(&self) -> bool {
        self.cast.is_empty()
    }
}

fn encode(key: &BallotKey, digest: &[u8; 32], frame: &[u8]) -> Record {
    let mut record = Vec::with_capacity(FIXED + frame.len());
    record.push(VERSION);
    record.extend_from_slice(&key.prev);
    record.extend_from_slice(&key.round.to_le_bytes());
    record.push(key.step.iteration);
    record.push(key.step.kind.index() as u8);
    record.extend_from_slice(digest);
    record.extend_from_slice(frame);
    record
}

/// What a record holds: key, digest, frame.
type Decoded = (BallotKey, [u8; 32], Arc<[u8]>);

fn decode(record: &[u8]) -> Result<Decoded, RecordError> {
    let short = || RecordError::Short(record.len());
    let (version, rest) = record.split_first().ok_or_else(short)?;
    if *version != VERSION {
        return Err(RecordError::Version(*version));
    }
    let (prev, rest) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    let (round, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let ([iteration, step], rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (digest, frame) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    let kind = StepKind::ALL.get(usize::from(*step)).copied();
    let step = kind
        .and_then(|kind| Step::new(*iteration, kind))
        .ok_or(RecordError::Step { iteration: *iteration, step: *step })?;
    Ok((BallotKey { round: u64::from_le_bytes(*round), prev: *prev, step }, *digest, frame.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(round: u64, iteration: u8, kind: StepKind) -> BallotKey {
        BallotKey { round, prev: [7; 32], step: Step::new(iteration, kind).unwrap() }
    }

    fn frame(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn a_step_has_one_message() {
        let mut ballots = Ballots::default();
        assert!(ballots.is_fresh());
        let at = key(5, 0, StepKind::Validation);
        let (first, record) = ballots.cast(at, [1; 32], frame("a"));
        assert_eq!(first, Ballot::New);
        assert!(record.is_some());
        assert_eq!(ballots.cast(at, [1; 32], frame("a, later")), (Ballot::Same(frame("a")), None));
        assert_eq!(ballots.cast(at, [2; 32], frame("b")), (Ballot::Refused, None));
        for other in
            [key(5, 0, StepKind::Ratification), key(5, 1, StepKind::Validation), key(6, 0, StepKind::Validation)]
        {
            assert_eq!(ballots.cast(other, [2; 32], frame("b")).0, Ballot::New);
        }
        let elsewhere = BallotKey { prev: [8; 32], ..at };
        assert_eq!(ballots.cast(elsewhere, [2; 32], frame("b")).0, Ballot::New);
    }

    #[test]
    fn a_restart_sends_the_journalled_frame() {
        let mut before = Ballots::default();
        let at = key(5, 20, StepKind::Ratification);
        let (_, record) = before.cast(at, [1; 32], frame("a"));
        let mut after = Ballots::default();
        after.replay(&record.unwrap()).unwrap();
        assert!(!after.is_fresh());
        assert_eq!(after.get(&at), Some(&frame("a")));
        assert_eq!(after.cast(at, [2; 32], frame("b")).0, Ballot::Refused);
        assert_eq!(after.cast(at, [1; 32], frame("c")).0, Ballot::Same(frame("a")));
    }

    #[test]
    fn a_journal_of_two_nodes_is_refused() {
        let at = key(5, 0, StepKind::Validation);
        let record = |digest| Ballots::default().cast(at, digest, frame("x")).1.unwrap();
        let mut ballots = Ballots::default();
        ballots.replay(&record([1; 32])).unwrap();
        ballots.replay(&record([1; 32])).unwrap();
        assert_eq!(ballots.replay(&record([2; 32])), Err(RecordError::Double { round: 5, iteration: 0 }));
    }

    #[test]
    fn bad_records_are_named() {
        let good = Ballots::default().cast(key(5, 49, StepKind::Ratification), [1; 32], frame("")).1.unwrap();
        assert_eq!(good.len(), FIXED);
        let mut ballots = Ballots::default();
        assert_eq!(ballots.replay(&[]), Err(RecordError::Short(0)));
        assert_eq!(ballots.replay(&good[..FIXED - 1]), Err(RecordError::Short(FIXED - 1)));
        let edited = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        assert_eq!(ballots.replay(&edited(0, 9)), Err(RecordError::Version(9)));
        assert_eq!(ballots.replay(&edited(41, 50)), Err(RecordError::Step { iteration: 50, step: 2 }));
        assert_eq!(ballots.replay(&edited(42, 3)), Err(RecordError::Step { iteration: 49, step: 3 }));
        assert!(ballots.is_fresh());
        assert_eq!(ballots.replay(&good), Ok(()));
    }

    proptest! {
        #[test]
        fn the_records_rebuild_what_was_not_forgotten(
            messages in prop::collection::vec((0u64..6, 0u8..50, 0usize..3, any::<[u8; 32]>(), prop::collection::vec(any::<u8>(), 0..40)), 0..30),
            keep in 0u64..7,
        ) {
            let mut ballots = Ballots::default();
            let mut journal = Vec::new();
            for (round, iteration, kind, digest, bytes) in messages {
                journal.extend(ballots.cast(key(round, iteration, StepKind::ALL[kind]), digest, bytes.into()).1);
            }
            let mut replayed = Ballots::default();
            for record in &journal {
                replayed.replay(record).unwrap();
            }
            prop_assert_eq!(&replayed.cast, &ballots.cast);
            ballots.forget_below(keep);
            let mut rewritten = Ballots::default();
            for record in ballots.records() {
                rewritten.replay(&record).unwrap();
            }
            replayed.forget_below(keep);
            prop_assert_eq!(rewritten.len(), ballots.len());
            prop_assert_eq!(rewritten.cast, replayed.cast);
        }
    }
}
