//! One round: the iterations and steps by which the block after the tip is agreed on.
//!
//! A port of the published loop (`consensus`, `execution_ctx`, the three step handlers) to a machine without tasks. What
//! differs is meant to: iterations re-align by evidence instead of by luck ([`Round::catch_up`]), an own message is sent
//! again instead of being made anew, an adopted Validation result completes an attestation, the quorum of any iteration
//! counts, and after a quorum whose block is not here yet nothing is voted for another block.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dusk_node_data::ledger::Attestation;
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::{RatificationResult, Vote};

use super::ballots::{BallotKey, Ballots};
use super::bls::Bls;
use super::committee::Committees;
use super::evidence::Evidence;
use super::machine::{Action, Channel, Note, Now, Persist, TimerId, TipInfo, Unsigned, Verdict, Want};
use super::registry::Registry;
use super::rules::{EMERGENCY, MAX_ITERATION, RELAXED, Rules, Step, StepKind};
use super::timeouts::Timeouts;
use super::triage::{Checked, Seen};
use super::votes::{Cast, Tally};
use super::wire::{self, CandidateFrame, Frame, QuorumFrame, RatificationFrame, ValidationResult, VoteFrame, VqFrame};
use crate::keys::AccountId;

/// Distinct candidates of one iteration that are kept.
pub(super) const MAX_CANDIDATES: usize = 2;

/// What a round uses of its surroundings.
pub(super) struct Cx<'a, B: Bls> {
    pub(super) bls: &'a B,
    pub(super) rules: &'a Rules,
    /// Absent: follow, and sign nothing.
    pub(super) me: Option<AccountId>,
    /// Number of the first step of the round in which to sign.
    pub(super) signs_from: u8,
    pub(super) ballots: &'a mut Ballots,
    pub(super) timeouts: &'a mut Timeouts,
    pub(super) evidence: &'a mut Evidence,
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<Action>,
}

/// A block that both committees agreed on.
#[derive(Debug, Clone)]
pub(super) struct Attained {
    pub(super) iteration: u8,
    pub(super) hash: [u8; 32],
    pub(super) attestation: Attestation,
}

/// State of the round above one tip.
pub(super) struct Round<B: Bls> {
    pub(super) number: u64,
    pub(super) prev: [u8; 32],
    pub(super) committees: Arc<Committees>,
    pub(super) iteration: u8,
    pub(super) kind: StepKind,
    /// The last step of the last iteration ran out of time: only a block ends the round.
    pub(super) open: bool,
    pub(super) seen: Seen,
    /// Blocks that were agreed on, not yet taken by the machine.
    pub(super) attained: VecDeque<Attained>,
    /// An attested block of this round is awaited or being applied: no vote for another.
    pub(super) awaited: Option<[u8; 32]>,
    /// A block is being applied: steps wait for the outcome.
    pub(super) halted: bool,
    parent_cert: Attestation,
    /// Unix time before which no candidate is voted on.
    slot: Duration,
    /// The round was begun so late that candidates may have come and gone: that one is missing says nothing of its generator. A node
    /// that returns would otherwise vote for a failure of every iteration that it slept through, and where few are eligible its vote
    /// alone is a quorum, which takes stake from a generator that did its part.
    late: bool,
    began: Duration,
    /// From the beginning of the iteration to the slot.
    early: Duration,
    deadline: Option<Duration>,
    candidates: BTreeMap<u8, Vec<Arc<CandidateFrame>>>,
    verdicts: BTreeMap<[u8; 32], Verdict>,
    checking: Option<[u8; 32]>,
    to_check: VecDeque<Arc<CandidateFrame>>,
    building: Option<u8>,
    signing: BTreeSet<BallotKey>,
    results: BTreeMap<u8, ValidationResult>,
    tally: Tally<B>,
    /// Credits of all signers heard in a step, whatever they voted.
    heard: BTreeMap<Step, u32>,
    registry: Registry,
    quorums: BTreeSet<(u8, Vote)>,
}

impl<B: Bls> Round<B> {
    /// The round after `tip`. [`Self::begin`] starts it.
    pub(super) fn new(tip: &TipInfo, rules: &Rules, now: Now) -> Self {
        let number = tip.header.height + 1;
        let slot = Duration::from_secs(tip.header.timestamp.saturating_add(rules.block_time));
        Self {
            number,
            prev: tip.header.hash,
            committees: Committees::shared(*tip.header.seed.inner(), number, &tip.provisioners, rules.quorums()),
            iteration: 0,
            kind: StepKind::Proposal,
            open: false,
            seen: Seen::default(),
            attained: VecDeque::new(),
            awaited: None,
            halted: false,
            parent_cert: tip.header.att,
            slot,
            late: now.unix > slot + rules.times.min,
            began: now.mono,
            early: Duration::ZERO,
            deadline: None,
            candidates: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            checking: None,
            to_check: VecDeque::new(),
            building: None,
            signing: BTreeSet::new(),
            results: BTreeMap::new(),
            tally: Tally::default(),
            heard: BTreeMap::new(),
            registry: Registry::default(),
            quorums: BTreeSet::new(),
        }
    }

    pub(super) fn header(&self, iteration: u8) -> ConsensusHeader {
        ConsensusHeader { prev_block_hash: self.prev, round: self.number, iteration }
    }

    fn key(&self, step: Step) -> BallotKey {
        BallotKey { round: self.number, prev: self.prev, step }
    }

    fn is_member(&self, cx: &Cx<'_, B>, step: Step) -> bool {
        let me = cx.me.filter(|_| step.number() >= cx.signs_from);
        me.is_some_and(|me| self.committees.get(step).credits_of(me.as_bytes()).is_some())
    }

    fn enter(&mut self, cx: &mut Cx<'_, B>, kind: StepKind, wait: Duration) {
        self.kind = kind;
        self.began = cx.now.mono;
        let at = cx.now.mono + wait;
        self.deadline = Some(at);
        cx.out.push(Action::SetTimer { id: TimerId::Step, at });
    }

    /// Begins an iteration, the first one or after a restart the interrupted one.
    pub(super) fn begin(&mut self, cx: &mut Cx<'_, B>, iteration: u8) {
        self.iteration = iteration;
        self.open = false;
        cx.out.push(Action::Persist(Persist::Resume { prev: self.prev, iteration }));
        cx.out.push(Action::Note(Note::Iteration { round: self.number, iteration }));
        let early = self.slot.saturating_sub(cx.now.unix);
        self.early = early;
        let wait = cx.timeouts.of(StepKind::Proposal) + early;
        self.enter(cx, StepKind::Proposal, wait);
        if self.results.contains_key(&iteration) {
            // Its Validation is over; a vote in it would come too late.
            return self.enter_ratification(cx);
        }
        self.propose(cx);
        if self.iteration == iteration && self.kind == StepKind::Proposal {
            self.candidate_ready(cx);
        }
    }

    fn propose(&mut self, cx: &mut Cx<'_, B>) {
        let Some(step) = Step::new(self.iteration, StepKind::Proposal) else { return };
        if self.kind != StepKind::Proposal || !self.is_member(cx, step) {
            return;
        }
        if cx.ballots.get(&self.key(step)).is_some() {
            return self.send_again(cx, self.key(step));
        }
        if self.building.is_some() || self.candidates.contains_key(&self.iteration) {
            return;
        }
        self.building = Some(self.iteration);
        cx.out.push(Action::Build {
            round: self.number,
            iteration: self.iteration,
            parent: self.prev,
            cert: self.parent_cert,
            failed: self.registry.failed(self.iteration.min(RELAXED)),
            faults: cx.evidence.take(self.number),
        });
    }

    /// The block that [`Action::Build`] asked for, or none.
    pub(super) fn built(&mut self, cx: &mut Cx<'_, B>, iteration: u8, block: Option<Arc<crate::Block>>) {
        if self.building != Some(iteration) {
            return;
        }
        self.building = None;
        if iteration != self.iteration || self.kind != StepKind::Proposal {
            return self.propose(cx);
        }
        // One for another parent of the same height was asked for before blocks were taken back.
        let block = block.filter(|block| block.header().prev_block_hash == self.prev);
        let (Some(step), Some(block)) = (Step::new(iteration, StepKind::Proposal), block) else { return };
        self.sign(cx, step, Unsigned::Candidate(block));
    }

    /// Has `what` signed, or sends what was signed for the step before.
    fn sign(&mut self, cx: &mut Cx<'_, B>, step: Step, what: Unsigned) {
        let key = self.key(step);
        if cx.ballots.get(&key).is_some() {
            self.send_again(cx, key);
        } else if self.signing.insert(key) {
            cx.out.push(Action::Sign { key, what });
        }
    }

    fn send_again(&mut self, cx: &mut Cx<'_, B>, key: BallotKey) {
        let Some(bytes) = cx.ballots.get(&key).cloned() else { return };
        self.deliver(cx, bytes);
    }

    /// A message of this node that is signed and journalled.
    pub(super) fn signed(&mut self, cx: &mut Cx<'_, B>, key: BallotKey, bytes: Arc<[u8]>) {
        if self.signing.remove(&key) {
            self.deliver(cx, bytes);
        }
    }

    /// Signing was refused: the journal holds another message.
    pub(super) fn refused(&mut self, key: &BallotKey) {
        self.signing.remove(key);
    }

    fn deliver(&mut self, cx: &mut Cx<'_, B>, bytes: Arc<[u8]>) {
        let Ok(frame) = wire::decode(&bytes, &wire::Limits::default()) else { return };
        let channel = if matches!(frame, Frame::Candidate(_)) { Channel::Candidates } else { Channel::Votes };
        cx.out.push(Action::Publish(channel, bytes));
        self.take(cx, Checked::trusted(frame));
    }

    /// Takes a message of this round whose signatures were checked. False if it was known.
    pub(super) fn take(&mut self, cx: &mut Cx<'_, B>, frame: Checked<Frame>) -> bool {
        let bit = match &*frame {
            Frame::Validation(vote) => self.bit(StepKind::Validation, vote),
            Frame::Ratification(frame) => self.bit(StepKind::Ratification, &frame.vote),
            _ => None,
        };
        if !self.seen.note(&frame, bit) {
            return false;
        }
        match frame.into_inner() {
            Frame::Candidate(candidate) => self.candidate(cx, candidate),
            Frame::Validation(vote) => self.validation(cx, vote),
            Frame::Ratification(vote) => self.ratification(cx, vote),
            Frame::Quorum(QuorumFrame { header, attestation }) => self.quorum(cx, header.iteration, attestation, false),
            Frame::ValidationQuorum(VqFrame { header, result }) => self.adopt(cx, header.iteration, result),
            _ => return false,
        }
        true
    }

    /// The signer's bit in the committee of its vote.
    fn bit(&self, kind: StepKind, vote: &VoteFrame) -> Option<u8> {
        self.committees.get(Step::new(vote.header.iteration, kind)?).position(&vote.signer)
    }

    fn candidate(&mut self, cx: &mut Cx<'_, B>, candidate: Arc<CandidateFrame>) {
        let iteration = candidate.header().iteration;
        let known = self.candidates.entry(iteration).or_default();
        if known.len() == MAX_CANDIDATES || known.iter().any(|c| c.header().hash == candidate.header().hash) {
            return;
        }
        known.push(candidate.clone());
        if known.len() > 1 {
            cx.out.push(Action::Note(Note::TwoCandidates { round: self.number, iteration }));
            return;
        }
        if iteration == self.iteration {
            match self.kind {
                StepKind::Proposal => self.candidate_ready(cx),
                // Late, but nothing was voted in emergency mode without it.
                _ if iteration >= EMERGENCY => self.consider(cx, candidate),
                _ => {}
            }
        } else if iteration >= EMERGENCY && iteration < self.iteration {
            self.consider(cx, candidate);
        }
    }

    /// The candidate with a hash.
    pub(super) fn candidate_with(&self, hash: &[u8; 32]) -> Option<&Arc<CandidateFrame>> {
        self.candidates.values().flatten().find(|candidate| candidate.header().hash == *hash)
    }

    /// The first candidate of an iteration.
    pub(super) fn candidate_of(&self, iteration: u8) -> Option<&Arc<CandidateFrame>> {
        self.candidates.get(&iteration)?.first()
    }

    /// The outcome of an iteration's Validation.
    pub(super) fn result_of(&self, iteration: u8) -> Option<&ValidationResult> {
        self.results.get(&iteration)
    }

    /// Goes on with the candidate of this iteration, if it is here and its time has come.
    fn candidate_ready(&mut self, cx: &mut Cx<'_, B>) {
        if self.kind != StepKind::Proposal || self.halted || self.candidate_of(self.iteration).is_none() {
            return;
        }
        let early = self.slot.saturating_sub(cx.now.unix);
        if early.is_zero() {
            // What was waited for the slot says nothing about how long a proposal takes.
            cx.timeouts.record(StepKind::Proposal, cx.now.mono.saturating_sub(self.began + self.early));
            self.enter_validation(cx);
        } else {
            cx.out.push(Action::SetTimer { id: TimerId::Slot, at: cx.now.mono + early });
        }
    }

    /// The slot's time has come.
    pub(super) fn slot_reached(&mut self, cx: &mut Cx<'_, B>) {
        self.candidate_ready(cx);
    }

    fn enter_validation(&mut self, cx: &mut Cx<'_, B>) {
        let wait = cx.timeouts.of(StepKind::Validation);
        self.enter(cx, StepKind::Validation, wait);
        let iteration = self.iteration;
        match self.candidate_of(iteration).cloned() {
            Some(candidate) => self.consider(cx, candidate),
            None if iteration < EMERGENCY && !self.late => {
                self.vote(cx, StepKind::Validation, iteration, Vote::NoCandidate);
            }
            None => {}
        }
        if self.iteration == iteration && self.kind == StepKind::Validation && self.results.contains_key(&iteration) {
            self.enter_ratification(cx);
        }
    }

    /// Votes on a candidate if this node may, checking it first.
    fn consider(&mut self, cx: &mut Cx<'_, B>, candidate: Arc<CandidateFrame>) {
        let (iteration, hash) = (candidate.header().iteration, candidate.header().hash);
        let Some(step) = Step::new(iteration, StepKind::Validation) else { return };
        if !self.is_member(cx, step) {
            return;
        }
        if let Some(verdict) = self.verdicts.get(&hash).copied() {
            return self.judge(cx, iteration, hash, verdict);
        }
        if self.checking.is_none() {
            self.checking = Some(hash);
            cx.out.push(Action::Check { block: candidate });
        } else if self.checking != Some(hash) && !self.to_check.iter().any(|c| c.header().hash == hash) {
            self.to_check.push_back(candidate);
        }
    }

    /// The answer to [`Action::Check`].
    pub(super) fn verdict(&mut self, cx: &mut Cx<'_, B>, iteration: u8, hash: [u8; 32], verdict: Verdict) {
        if self.checking != Some(hash) {
            return;
        }
        self.checking = None;
        // Below emergency mode only the running iteration can still be voted on.
        let floor = self.iteration;
        self.to_check.retain(|c| c.header().iteration >= EMERGENCY || c.header().iteration >= floor);
        if let Some(next) = self.to_check.pop_front() {
            self.consider(cx, next);
        }
        if verdict != Verdict::Abstain {
            self.verdicts.insert(hash, verdict);
        }
        if iteration == self.iteration || (iteration >= EMERGENCY && iteration < self.iteration) {
            self.judge(cx, iteration, hash, verdict);
        }
    }

    fn judge(&mut self, cx: &mut Cx<'_, B>, iteration: u8, hash: [u8; 32], verdict: Verdict) {
        match verdict {
            Verdict::Valid => self.vote(cx, StepKind::Validation, iteration, Vote::Valid(hash)),
            Verdict::Invalid if iteration < EMERGENCY => {
                self.vote(cx, StepKind::Validation, iteration, Vote::Invalid(hash));
            }
            Verdict::Invalid | Verdict::Abstain => {}
        }
    }

    fn vote(&mut self, cx: &mut Cx<'_, B>, kind: StepKind, iteration: u8, vote: Vote) {
        let Some(step) = Step::new(iteration, kind) else { return };
        if !self.is_member(cx, step) {
            return;
        }
        // An attested block of this round is on its way. A vote for another would help two blocks to one height.
        if let (Vote::Valid(hash), Some(awaited)) = (&vote, &self.awaited)
            && hash != awaited
        {
            return;
        }
        let result = match kind {
            StepKind::Ratification => Some(self.results.get(&iteration).copied().unwrap_or_default()),
            _ => None,
        };
        self.sign(cx, step, Unsigned::Vote { kind, header: self.header(iteration), vote, result });
    }

    fn enter_ratification(&mut self, cx: &mut Cx<'_, B>) {
        let wait = cx.timeouts.of(StepKind::Ratification);
        self.enter(cx, StepKind::Ratification, wait);
        let iteration = self.iteration;
        let vote = self.results.get(&iteration).map_or(Vote::NoQuorum, |result| result.vote);
        if iteration < EMERGENCY || vote.is_valid() {
            self.vote(cx, StepKind::Ratification, iteration, vote);
        }
    }

    fn count(&mut self, cx: &mut Cx<'_, B>, step: Step, vote: VoteFrame) -> Option<dusk_node_data::ledger::StepVotes> {
        let committee = self.committees.get(step);
        let (bit, credits) = committee.member(&vote.signer)?;
        let first = self.seen.votes(step, bit) <= 1;
        let checked = Checked::trusted(vote);
        let cast = self.tally.cast(cx.bls, &committee, step, &checked).ok()?;
        if first {
            *self.heard.entry(step).or_default() += credits;
        }
        match cast {
            Cast::Counted { quorum, .. } => quorum,
            Cast::Conflict(earlier) => {
                cx.evidence.note(step.kind, &earlier, &checked);
                let second = Box::new(checked.into_inner());
                cx.out.push(Action::Note(Note::TwoVotes { step, first: earlier, second }));
                None
            }
            _ => None,
        }
    }

    fn validation(&mut self, cx: &mut Cx<'_, B>, vote: VoteFrame) {
        let (iteration, choice) = (vote.header.iteration, vote.vote);
        let Some(step) = Step::new(iteration, StepKind::Validation) else { return };
        if let Some(votes) = self.count(cx, step, vote) {
            self.adopt(cx, iteration, ValidationResult { votes, vote: choice });
        }
        self.catch_up(cx, step);
    }

    /// A Validation quorum: counted here, or proven by another.
    fn adopt(&mut self, cx: &mut Cx<'_, B>, iteration: u8, result: ValidationResult) {
        if result.vote == Vote::NoQuorum || (iteration >= EMERGENCY && !result.vote.is_valid()) {
            return;
        }
        if let Some(attestation) = self.set(cx, iteration, StepKind::Validation, &result) {
            self.quorum(cx, iteration, attestation, true);
        }
        if self.results.contains_key(&iteration) {
            return;
        }
        self.results.insert(iteration, result);
        cx.out.push(Action::Note(Note::Validated { round: self.number, iteration, vote: result.vote }));
        if iteration == self.iteration && self.kind == StepKind::Validation && !self.halted {
            cx.timeouts.record(StepKind::Validation, cx.now.mono.saturating_sub(self.began));
            self.enter_ratification(cx);
        } else if iteration >= EMERGENCY
            && iteration <= self.iteration
            && self.kind_of(iteration) > StepKind::Validation
        {
            self.vote(cx, StepKind::Ratification, iteration, result.vote);
        }
    }

    /// How far an iteration at or below the own one is.
    fn kind_of(&self, iteration: u8) -> StepKind {
        if iteration == self.iteration { self.kind } else { StepKind::Ratification }
    }

    fn set(
        &mut self,
        _cx: &Cx<'_, B>,
        iteration: u8,
        kind: StepKind,
        result: &ValidationResult,
    ) -> Option<Attestation> {
        let generator = self.committees.generator(iteration)?;
        self.registry.set(iteration, &generator, result.vote, result.votes, kind, true)
    }

    fn ratification(&mut self, cx: &mut Cx<'_, B>, frame: RatificationFrame) {
        let RatificationFrame { vote, result, .. } = frame;
        let (iteration, choice) = (vote.header.iteration, vote.vote);
        let Some(step) = Step::new(iteration, StepKind::Ratification) else { return };
        self.adopt(cx, iteration, result);
        if let Some(votes) = self.count(cx, step, vote)
            && let Some(attestation) =
                self.set(cx, iteration, StepKind::Ratification, &ValidationResult { votes, vote: choice })
        {
            self.quorum(cx, iteration, attestation, true);
        }
        self.catch_up(cx, step);
    }

    /// The outcome of an iteration: built here from votes, or made by another and checked.
    fn quorum(&mut self, cx: &mut Cx<'_, B>, iteration: u8, attestation: Attestation, built: bool) {
        let vote = *attestation.result.vote();
        if !self.quorums.insert((iteration, vote)) {
            return;
        }
        if built {
            let frame = Frame::Quorum(QuorumFrame { header: self.header(iteration), attestation });
            self.seen.note(&frame, None);
            cx.out.push(Action::Publish(Channel::Votes, wire::encode(&frame).into()));
        }
        cx.out.push(Action::Note(Note::Quorum { round: self.number, iteration, vote, built }));
        if iteration == self.iteration && self.kind == StepKind::Ratification {
            cx.timeouts.record(StepKind::Ratification, cx.now.mono.saturating_sub(self.began));
        }
        match (attestation.result, vote) {
            (RatificationResult::Success(_), Vote::Valid(hash)) => {
                if self.awaited.is_none() {
                    self.awaited = Some(hash);
                }
                self.attained.push_back(Attained { iteration, hash, attestation });
            }
            _ => {
                if let Some(generator) = self.committees.generator(iteration) {
                    self.registry.put(iteration, &generator, &Checked::trusted(attestation));
                }
                if iteration >= self.iteration {
                    self.advance(cx, iteration + 1);
                }
            }
        }
    }

    /// Goes to `iteration` if that is forward and exists.
    pub(super) fn advance(&mut self, cx: &mut Cx<'_, B>, iteration: u8) {
        if self.halted || iteration <= self.iteration {
            return;
        }
        if iteration >= MAX_ITERATION {
            self.open = true;
            self.deadline = None;
            return;
        }
        self.begin(cx, iteration);
    }

    /// Follows provisioners that are in a later iteration: forward only, on verified votes of a third of a committee,
    /// and never further than the steps' least times allow, so that no single voter can drag others into emergency mode.
    /// Not voting in what is skipped is always safe.
    fn catch_up(&mut self, cx: &mut Cx<'_, B>, step: Step) {
        if step.iteration <= self.iteration || self.halted {
            return;
        }
        let heard = self.heard.get(&step).copied().unwrap_or_default();
        let elapsed = cx.now.unix.saturating_sub(self.slot).as_millis();
        let possible = elapsed / cx.rules.times.min.as_millis().max(1);
        if heard >= cx.rules.catch_up_credits && u128::from(step.iteration) <= possible {
            cx.out.push(Action::Note(Note::CaughtUp { round: self.number, iteration: step.iteration }));
            self.begin(cx, step.iteration);
        }
    }

    /// The step's timer fired.
    pub(super) fn step_timer(&mut self, cx: &mut Cx<'_, B>) {
        match self.deadline {
            Some(at) if at > cx.now.mono => cx.out.push(Action::SetTimer { id: TimerId::Step, at }),
            Some(_) if !self.halted => self.timed_out(cx),
            _ => {}
        }
    }

    fn timed_out(&mut self, cx: &mut Cx<'_, B>) {
        let (iteration, header) = (self.iteration, self.header(self.iteration));
        cx.out.push(Action::Note(Note::TimedOut { round: self.number, iteration, kind: self.kind }));
        if self.kind == StepKind::Ratification && iteration + 1 == MAX_ITERATION {
            self.open = true;
            self.deadline = None;
            return;
        }
        cx.timeouts.timed_out(self.kind);
        match self.kind {
            StepKind::Proposal => {
                if iteration >= EMERGENCY {
                    cx.out.push(Action::Request { peer: None, want: Want::CandidateOf(header) });
                }
                self.enter_validation(cx);
            }
            StepKind::Validation => {
                if iteration >= EMERGENCY {
                    cx.out.push(Action::Request { peer: None, want: Want::Validation(header) });
                }
                self.enter_ratification(cx);
            }
            StepKind::Ratification => self.advance(cx, iteration + 1),
        }
    }

    /// The block that was to be applied is not valid after all.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_, B>, hash: &[u8; 32]) {
        for known in self.candidates.values_mut() {
            known.retain(|candidate| candidate.header().hash != *hash);
        }
        self.candidates.retain(|_, known| !known.is_empty());
        if self.awaited == Some(*hash) {
            self.awaited = None;
        }
        self.halted = false;
        self.rearm(cx);
    }

    /// Goes on after a halt: a step whose time ran out meanwhile ends at once.
    pub(super) fn rearm(&mut self, cx: &mut Cx<'_, B>) {
        if let Some(at) = self.deadline {
            cx.out.push(Action::SetTimer { id: TimerId::Step, at: at.max(cx.now.mono) });
        }
    }

    /// Own messages of this round that can still matter, for peers that missed them.
    pub(super) fn repeat(&self, cx: &mut Cx<'_, B>) {
        let from = if self.iteration >= EMERGENCY { EMERGENCY } else { self.iteration };
        for iteration in from..=self.iteration {
            for kind in StepKind::ALL {
                let Some(step) = Step::new(iteration, kind) else { continue };
                if let Some(bytes) = cx.ballots.get(&self.key(step)) {
                    let channel = if kind == StepKind::Proposal { Channel::Candidates } else { Channel::Votes };
                    cx.out.push(Action::Publish(channel, bytes.clone()));
                }
            }
        }
    }
}
