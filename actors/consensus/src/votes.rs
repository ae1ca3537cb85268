//! The journal of own messages: what was signed is on disk before it is sent, and is sent again instead of being signed anew.
//!
//! Records: kind 0 says that the journal was there before, so that it holds whatever was signed; kind 1 a message ([`Ballots`]);
//! kind 2 the iteration that runs above a block, written together with the next message: losing it costs time and never safety.
//!
//! A journal counts as there before only when it has seen a round above the first. A node that lost its data believes itself at the
//! beginning until it hears of the others: what it signs then says nothing about what it may have signed later.

use std::path::Path;
use std::sync::Arc;

use duskevm_dusk_l1::sa::ballots::{Ballot, BallotKey, Ballots};
use duskevm_store::journal::{Journal, JournalLimits};
use duskevm_supervision::Fence;

use crate::error::ConsensusError;

const NAME: &str = "own consensus messages";
const WHOLE: u8 = 0;
const MESSAGE: u8 = 1;
const RESUME: u8 = 2;
/// The round above the genesis block.
const FIRST_ROUND: u64 = 1;
/// hash ‖ iteration.
const RESUME_BYTES: usize = 32 + 1;

/// A message is a candidate at most: a block of a MiB and its frame.
const LIMITS: JournalLimits = JournalLimits { record_bytes: 2 << 20, segment_bytes: 8 << 20 };

/// Appended bytes after which what is of no use any more is left out.
const REWRITE: usize = 16 << 20;

/// The journal, and what it holds.
#[derive(Debug)]
pub(crate) struct Votes {
    journal: Journal,
    ballots: Ballots,
    resume: Option<([u8; 32], u8)>,
    /// Not written yet.
    pending: Option<Vec<u8>>,
    /// At the start there was no journal that holds whatever was signed.
    lost: bool,
    /// The journal holds whatever this instance and its successors signed.
    whole: bool,
    appended: usize,
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind], payload].concat()
}

fn resume_record((prev, iteration): ([u8; 32], u8)) -> Vec<u8> {
    record(RESUME, &[prev.as_slice(), &[iteration]].concat())
}

impl Votes {
    /// Opens the journal, or begins one.
    pub(crate) fn open(folder: &Path, fence: &Fence) -> Result<Self, ConsensusError> {
        let (mut ballots, mut resume, mut whole, mut wrong) = (Ballots::default(), None, false, None);
        let mut replayed = 0;
        let (journal, recovered) = Journal::open(folder, fence, NAME, LIMITS, |number, bytes| {
            replayed += bytes.len();
            let outcome = match bytes.split_first() {
                Some((&WHOLE, [])) => {
                    whole = true;
                    Ok(())
                }
                Some((&MESSAGE, message)) => ballots.replay(message).map_err(|error| error.to_string()),
                Some((&RESUME, rest)) if rest.len() == RESUME_BYTES => {
                    resume = rest.split_first_chunk::<32>().map(|(prev, iteration)| (*prev, iteration[0]));
                    Ok(())
                }
                _ => Err("of no known kind".to_owned()),
            };
            if let Err(why) = outcome {
                wrong.get_or_insert_with(|| format!("record {number} of the vote journal: {why}"));
            }
        })?;
        if let Some(wrong) = wrong {
            return Err(ConsensusError::Votes(wrong));
        }
        tracing::debug!(records = recovered.records, torn = recovered.torn_bytes, "vote journal read");
        let whole = whole || ballots.newest_round().is_some_and(|round| round > FIRST_ROUND);
        Ok(Self { journal, ballots, resume, pending: None, lost: !whole, whole, appended: replayed })
    }

    /// Whether there was no journal, or one of the first round only: this node may have signed anything.
    pub(crate) fn was_lost(&self) -> bool {
        self.lost
    }

    /// What was signed.
    pub(crate) fn ballots(&self) -> &Ballots {
        &self.ballots
    }

    /// The block and the iteration above it that ran last.
    pub(crate) fn resume(&self) -> Option<([u8; 32], u8)> {
        self.resume
    }

    /// Takes a signed message, and syncs it to disk if it is new. Gives the frame to send: this one, or the one that was signed
    /// for the same before. `None` if another one was.
    pub(crate) fn cast(
        &mut self,
        fence: &Fence,
        key: BallotKey,
        digest: [u8; 32],
        frame: Arc<[u8]>,
    ) -> Result<Option<Arc<[u8]>>, ConsensusError> {
        match self.ballots.cast(key, digest, frame.clone()) {
            (Ballot::New, Some(message)) => {
                let records = [Some(record(MESSAGE, &message)), self.pending.take()];
                let records: Vec<Vec<u8>> = records.into_iter().flatten().collect();
                self.appended += records.iter().map(Vec::len).sum::<usize>();
                self.journal.append_all(fence, &records)?;
                self.whole |= key.round > FIRST_ROUND;
                Ok(Some(frame))
            }
            (Ballot::Same(frame), _) => Ok(Some(frame)),
            (Ballot::New, None) | (Ballot::Refused, _) => Ok(None),
        }
    }

    /// Notes which iteration runs. On disk with the next message.
    pub(crate) fn note_iteration(&mut self, prev: [u8; 32], iteration: u8) {
        self.resume = Some((prev, iteration));
        self.pending = Some(resume_record((prev, iteration)));
    }

    /// Forgets messages for heights below `height`, and now and then their records.
    pub(crate) fn forget_below(&mut self, fence: &Fence, height: u64) -> Result<(), ConsensusError> {
        self.ballots.forget_below(height);
        if self.appended < REWRITE {
            return Ok(());
        }
        let messages = self.ballots.records().map(|message| record(MESSAGE, &message));
        let resume = self.resume.map(resume_record);
        let records: Vec<Vec<u8>> = self.whole.then(|| vec![WHOLE]).into_iter().chain(messages).chain(resume).collect();
        self.journal.rewrite(fence, &records)?;
        self.appended = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duskevm_dusk_l1::sa::rules::{Step, StepKind};

    fn key(round: u64) -> BallotKey {
        BallotKey { round, prev: [3; 32], step: Step::new(0, StepKind::Validation).unwrap() }
    }

    #[test]
    fn what_was_signed_is_sent_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let frame: Arc<[u8]> = Arc::from(&b"the vote"[..]);
        {
            let mut votes = Votes::open(folder.path(), &fence).unwrap();
            assert!(votes.was_lost());
            votes.note_iteration([3; 32], 4);
            assert_eq!(votes.cast(&fence, key(7), [1; 32], frame.clone()).unwrap(), Some(frame.clone()));
        }
        let mut votes = Votes::open(folder.path(), &fence).unwrap();
        assert!(!votes.was_lost());
        assert_eq!(votes.resume(), Some(([3; 32], 4)));
        let other: Arc<[u8]> = Arc::from(&b"the same, other time"[..]);
        assert_eq!(votes.cast(&fence, key(7), [1; 32], other.clone()).unwrap(), Some(frame));
        assert_eq!(votes.cast(&fence, key(7), [2; 32], other.clone()).unwrap(), None);
        assert_eq!(votes.cast(&fence, key(8), [2; 32], other.clone()).unwrap(), Some(other));
    }

    #[test]
    fn what_was_signed_at_the_beginning_alone_makes_no_journal_whole() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let frame: Arc<[u8]> = Arc::from(&b"the vote"[..]);
        for (round, lost) in [(1, true), (2, true), (3, false)] {
            let mut votes = Votes::open(folder.path(), &fence).unwrap();
            assert_eq!(votes.was_lost(), lost, "before round {round}");
            votes.cast(&fence, key(round), [1; 32], frame.clone()).unwrap();
        }
    }

    #[test]
    fn the_journal_does_not_grow_and_stays_begun() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let mut votes = Votes::open(folder.path(), &fence).unwrap();
        let large: Arc<[u8]> = vec![5; 1 << 20].into();
        for round in 0..40 {
            votes.cast(&fence, key(round), [1; 32], large.clone()).unwrap();
            votes.forget_below(&fence, round).unwrap();
        }
        drop(votes);
        let size: u64 =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(size < 24 << 20, "{size}");
        let mut votes = Votes::open(folder.path(), &fence).unwrap();
        votes.forget_below(&fence, 100).unwrap();
        assert!(!votes.was_lost());
    }

    #[test]
    fn a_journal_that_is_not_one_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let (mut journal, _) = Journal::open(folder.path(), &fence, NAME, LIMITS, |_, _| {}).unwrap();
        journal.append(&fence, &[9, 9]).unwrap();
        drop(journal);
        assert!(matches!(Votes::open(folder.path(), &fence), Err(ConsensusError::Votes(_))));
    }
}
