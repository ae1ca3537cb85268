//! The journal of own messages: what was signed is on disk before it is sent, and is sent again instead of being signed anew.
//!
//! Records: kind 0 says that the journal was there before, so that it holds whatever was signed; kind 1 a message ([`Ballots`]);
//! kind 2 the iteration that runs above a block, written together with the next message: losing it costs time and never safety;
//! kind 3 that the key began here ([`Mark`]); kind 4 a quorum whose block is awaited; kind 5 that another node signs with this
//! key, or (kind 6) does so no more.
//!
//! A journal counts as there before only when it has seen a round above the first. A node that lost its data believes itself at the
//! beginning until it hears of the others: what it signs then says nothing about what it may have signed later.

use std::path::Path;
use std::sync::Arc;

use duskevm_dusk_l1::sa::ballots::{Ballot, BallotKey, Ballots};
use duskevm_store::journal::{Journal, JournalLimits};
use duskevm_supervision::Fence;

use crate::error::ConsensusError;
use crate::mark::Mark;

const NAME: &str = "own consensus messages";
const WHOLE: u8 = 0;
const MESSAGE: u8 = 1;
const RESUME: u8 = 2;
const BEGAN: u8 = 3;
const AWAITED: u8 = 4;
const TWIN: u8 = 5;
const NO_TWIN: u8 = 6;
/// The round above the genesis block.
const FIRST_ROUND: u64 = 1;
/// hash ‖ iteration.
const RESUME_BYTES: usize = 32 + 1;

/// A message is a candidate at most: a block of a MiB and its frame.
const LIMITS: JournalLimits = JournalLimits { record_bytes: 2 << 20, segment_bytes: 8 << 20 };

/// Appended bytes after which what is of no use any more is left out.
const REWRITE: usize = 16 << 20;

/// What the records say.
#[derive(Debug, Default)]
struct Said {
    ballots: Ballots,
    resume: Option<([u8; 32], u8)>,
    awaited: Option<Arc<[u8]>>,
    whole: bool,
    began: bool,
    twin: bool,
}

impl Said {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        match bytes.split_first() {
            Some((&WHOLE, [])) => self.whole = true,
            Some((&MESSAGE, message)) => self.ballots.replay(message).map_err(|error| error.to_string())?,
            Some((&RESUME, rest)) if rest.len() == RESUME_BYTES => {
                self.resume = rest.split_first_chunk::<32>().map(|(prev, iteration)| (*prev, iteration[0]));
            }
            Some((&BEGAN, [])) => self.began = true,
            Some((&AWAITED, quorum)) => self.awaited = Some(quorum.into()),
            Some((&TWIN, [])) => self.twin = true,
            Some((&NO_TWIN, [])) => self.twin = false,
            _ => return Err("of no known kind".to_owned()),
        }
        Ok(())
    }
}

/// The journal, and what it holds.
#[derive(Debug)]
pub(crate) struct Votes {
    journal: Journal,
    said: Said,
    /// Not written yet: the running iteration, and the quorum whose block is awaited.
    pending: [Option<Vec<u8>>; 2],
    /// At the start there was no journal that holds whatever was signed.
    lost: bool,
    /// Of a lost one: the key has signed before, as far as is known.
    signed_before: bool,
    appended: usize,
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind], payload].concat()
}

fn resume_record((prev, iteration): ([u8; 32], u8)) -> Vec<u8> {
    record(RESUME, &[prev.as_slice(), &[iteration]].concat())
}

impl Votes {
    /// Opens the journal, or begins one. Without a `mark` a journal that is gone in the first round is taken for a new one.
    pub(crate) fn open(folder: &Path, mark: Option<&Mark>, fence: &Fence) -> Result<Self, ConsensusError> {
        let (mut said, mut wrong, mut replayed) = (Said::default(), None, 0);
        let (mut journal, recovered) = Journal::open(folder, fence, NAME, LIMITS, |number, bytes| {
            replayed += bytes.len();
            if let Err(why) = said.take(bytes) {
                wrong.get_or_insert_with(|| format!("record {number} of the vote journal: {why}"));
            }
        })?;
        if let Some(wrong) = wrong {
            return Err(ConsensusError::Votes(wrong));
        }
        tracing::debug!(records = recovered.records, torn = recovered.torn_bytes, "vote journal read");
        said.whole |= said.ballots.newest_round().is_some_and(|round| round > FIRST_ROUND);
        let mut signed_before = false;
        if let Some(mark) = mark {
            let marked = mark.is_set();
            signed_before = marked && !said.began;
            if !marked {
                if !said.began {
                    // In this order: nothing is signed before the mark, so a crash in between loses nothing.
                    journal.append(fence, &[BEGAN])?;
                    said.began = true;
                }
                mark.set();
            }
        }
        Ok(Self { journal, lost: !said.whole, signed_before, said, pending: [None, None], appended: replayed })
    }

    /// Whether there was no journal, or one of the first round only: this node may have signed anything.
    pub(crate) fn was_lost(&self) -> bool {
        self.lost
    }

    /// Whether the key is known to have begun before this journal.
    pub(crate) fn signed_before(&self) -> bool {
        self.lost && self.signed_before
    }

    /// What was signed.
    pub(crate) fn ballots(&self) -> &Ballots {
        &self.said.ballots
    }

    /// The block and the iteration above it that ran last.
    pub(crate) fn resume(&self) -> Option<([u8; 32], u8)> {
        self.said.resume
    }

    /// The newest quorum whose block was awaited, as its frame.
    pub(crate) fn awaited(&self) -> Option<Arc<[u8]>> {
        self.said.awaited.clone()
    }

    /// Whether another node was seen to sign with this key.
    pub(crate) fn has_twin(&self) -> bool {
        self.said.twin
    }

    fn append(&mut self, fence: &Fence, first: Option<Vec<u8>>) -> Result<(), ConsensusError> {
        let noted = self.pending.iter_mut().filter_map(Option::take);
        let records: Vec<Vec<u8>> = first.into_iter().chain(noted).collect();
        if !records.is_empty() {
            self.appended += records.iter().map(Vec::len).sum::<usize>();
            self.journal.append_all(fence, &records)?;
        }
        Ok(())
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
        match self.said.ballots.cast(key, digest, frame.clone()) {
            (Ballot::New, Some(message)) => {
                self.append(fence, Some(record(MESSAGE, &message)))?;
                self.said.whole |= key.round > FIRST_ROUND;
                Ok(Some(frame))
            }
            (Ballot::Same(frame), _) => Ok(Some(frame)),
            (Ballot::New, None) | (Ballot::Refused, _) => Ok(None),
        }
    }

    /// Notes which iteration runs. On disk with the next message.
    pub(crate) fn note_iteration(&mut self, prev: [u8; 32], iteration: u8) {
        self.said.resume = Some((prev, iteration));
        self.pending[0] = Some(resume_record((prev, iteration)));
    }

    /// Notes a quorum whose block is awaited. On disk with the next message, or by [`write_noted`](Self::write_noted).
    pub(crate) fn note_awaited(&mut self, quorum: Arc<[u8]>) {
        self.pending[1] = Some(record(AWAITED, &quorum));
        self.said.awaited = Some(quorum);
    }

    /// Puts what was noted on disk.
    pub(crate) fn write_noted(&mut self, fence: &Fence) -> Result<(), ConsensusError> {
        self.append(fence, None)
    }

    /// Notes, on disk, whether another node signs with this key.
    pub(crate) fn set_twin(&mut self, fence: &Fence, twin: bool) -> Result<(), ConsensusError> {
        if self.said.twin != twin {
            self.append(fence, Some(vec![if twin { TWIN } else { NO_TWIN }]))?;
            self.said.twin = twin;
        }
        Ok(())
    }

    /// Forgets messages for heights below `height`, and now and then their records.
    pub(crate) fn forget_below(&mut self, fence: &Fence, height: u64) -> Result<(), ConsensusError> {
        self.said.ballots.forget_below(height);
        if self.appended < REWRITE {
            return Ok(());
        }
        let Said { ballots, resume, awaited, whole, began, twin } = &self.said;
        let flags = [(*whole, WHOLE), (*began, BEGAN), (*twin, TWIN)];
        let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, kind)| vec![kind]);
        let messages = ballots.records().map(|message| record(MESSAGE, &message));
        let awaited = awaited.as_ref().map(|quorum| record(AWAITED, quorum));
        let records: Vec<Vec<u8>> = flags.chain(messages).chain(resume.map(resume_record)).chain(awaited).collect();
        self.journal.rewrite(fence, &records)?;
        self.pending = [None, None];
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
            let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
            assert!(votes.was_lost());
            votes.note_iteration([3; 32], 4);
            assert_eq!(votes.cast(&fence, key(7), [1; 32], frame.clone()).unwrap(), Some(frame.clone()));
        }
        let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
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
            let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
            assert_eq!(votes.was_lost(), lost, "before round {round}");
            votes.cast(&fence, key(round), [1; 32], frame.clone()).unwrap();
        }
    }

    #[test]
    fn the_journal_does_not_grow_and_stays_begun() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
        let large: Arc<[u8]> = vec![5; 1 << 20].into();
        for round in 0..40 {
            votes.cast(&fence, key(round), [1; 32], large.clone()).unwrap();
            votes.forget_below(&fence, round).unwrap();
        }
        drop(votes);
        let size: u64 =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(size < 24 << 20, "{size}");
        let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
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
        assert!(matches!(Votes::open(folder.path(), None, &fence), Err(ConsensusError::Votes(_))));
    }

    #[test]
    fn a_journal_that_is_gone_is_told_from_a_new_one_in_the_first_round() {
        let (data, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let fence = Fence::unfenced();
        let (folder, mark) = (data.path().join("votes"), keys.path().join("node-1.begun"));
        let open = |network: u8| Votes::open(&folder, Some(&Mark::new(mark.clone(), &[network; 32])), &fence).unwrap();
        let frame: Arc<[u8]> = Arc::from(&b"the vote"[..]);
        let mut votes = open(1);
        assert!(!votes.signed_before(), "new");
        votes.cast(&fence, key(1), [1; 32], frame.clone()).unwrap();
        drop(votes);
        assert!(!open(1).signed_before(), "a restart in the first round");
        std::fs::remove_dir_all(&folder).unwrap();
        let mut votes = open(1);
        assert!(votes.was_lost() && votes.signed_before(), "wiped");
        // What is signed in the first round after that does not make it whole.
        votes.cast(&fence, key(1), [1; 32], frame.clone()).unwrap();
        drop(votes);
        let mut votes = open(1);
        assert!(votes.signed_before(), "wiped, and restarted");
        votes.cast(&fence, key(2), [1; 32], frame).unwrap();
        drop(votes);
        assert!(!open(1).signed_before(), "whole");
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!open(2).signed_before(), "another network");
    }

    #[test]
    fn what_is_awaited_and_a_twin_survive_a_restart_and_a_rewrite() {
        let folder = tempfile::tempdir().unwrap();
        let fence = Fence::unfenced();
        let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
        assert!(votes.awaited().is_none() && !votes.has_twin());
        votes.note_awaited(vec![4; 99].into());
        votes.write_noted(&fence).unwrap();
        votes.set_twin(&fence, true).unwrap();
        drop(votes);
        let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
        assert!(votes.awaited().as_deref() == Some(&[4; 99][..]) && votes.has_twin());
        votes.appended = REWRITE;
        votes.forget_below(&fence, 9).unwrap();
        drop(votes);
        let mut votes = Votes::open(folder.path(), None, &fence).unwrap();
        assert!(votes.awaited().as_deref() == Some(&[4; 99][..]) && votes.has_twin());
        votes.set_twin(&fence, false).unwrap();
        drop(votes);
        assert!(!Votes::open(folder.path(), None, &fence).unwrap().has_twin());
    }
}
