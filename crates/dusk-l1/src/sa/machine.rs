//! The consensus as a machine: events in, actions out.
//!
//! It holds no secret, no clock, no store and no socket; its owner carries out the [`Action`]s and reports what came of
//! them as [`Event`]s. At most one block is built, one checked and one applied at a time; answers that no longer fit are
//! dropped. Frames come in two stages: [`Machine::triage`] decides cheaply what becomes of one, a [`super::triage::Check`]
//! verifies it wherever there is a processor to spare, and what passed comes back as [`Event::Frame`].
//!
//! Order of an own message: [`Action::Sign`], then the owner signs ([`Unsigned::signable`], [`Unsigned::frame`]), asks its
//! [`Ballots`], writes and syncs the record, and reports [`Event::Signed`], or [`Event::Refused`] if its journal holds
//! another message. Only then the machine publishes it and counts it itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dusk_node_data::ledger::Attestation;

use super::ballots::{BallotKey, Ballots};
use super::bls::Bls;
use super::evidence::Evidence;
use super::queue::Queue;
use super::round::{Cx, Round};
use super::rules::{Rules, Step, StepKind};
use super::sync::Sync;
use super::timeouts::Timeouts;
use super::triage::{self, Checked, Scene, Triage};
use super::wire::{CandidateFrame, Frame, Limits, QuorumFrame, VqFrame, decode, encode};
use crate::keys::AccountId;
use crate::sha3::sha3_256;

mod types;

pub use types::*;

/// How long an attestation waits for its block, during which nothing else is voted for in its round.
const AWAIT_BLOCK: Duration = Duration::from_secs(60);
/// Iterations more than their least times allow that others may have gone through: they can fail without a wait.
const QUICK: u8 = 4;
/// How often a missing block is asked for.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// An attested block of this round that is not here, or is being applied.
struct Pending {
    hash: [u8; 32],
    iteration: u8,
    attestation: Attestation,
    until: Duration,
}

/// The consensus of one node.
pub struct Machine<B: Bls> {
    bls: Arc<B>,
    rules: Rules,
    me: Option<AccountId>,
    /// The journal was lost.
    journal_lost: bool,
    /// The key began before it.
    signed_before: bool,
    /// Another node signs with the own key: this one does not.
    muted: bool,
    /// Frame of a quorum of an earlier life, until the first round begins.
    awaited: Option<Arc<[u8]>>,
    /// Unix time of the first event: what was signed without a record of it was signed before.
    began: Duration,
    resume: Option<([u8; 32], u8)>,
    pub(super) tip: Arc<TipInfo>,
    ballots: Ballots,
    timeouts: Timeouts,
    evidence: Evidence,
    queue: Queue<(Source, Frame)>,
    round: Round<B>,
    pending: Option<Pending>,
    /// Hash of the block that is being applied.
    pub(super) applying: Option<[u8; 32]>,
    /// Its bytes are a peer's copy: if they are wrong, that says nothing about the block.
    copy: bool,
    pub(super) reverting: bool,
    /// The round runs. Not while blocks that others agreed on wait to be applied.
    begun: bool,
    pub(super) sync: Sync,
}

impl<B: Bls> fmt::Debug for Machine<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("view", &self.view()).finish_non_exhaustive()
    }
}

impl<B: Bls> Machine<B> {
    /// A machine above `start.tip`. It does nothing before [`Event::Begin`]. Without `me` it follows and signs nothing.
    pub fn new(bls: Arc<B>, rules: Rules, me: Option<AccountId>, start: Start) -> Self {
        let round = Round::new(&start.tip, &rules, Now::default());
        Self {
            bls,
            me,
            journal_lost: start.journal_lost,
            signed_before: start.signed_before,
            muted: false,
            awaited: start.awaited,
            began: Duration::ZERO,
            resume: start.resume,
            tip: start.tip,
            ballots: start.ballots,
            timeouts: start.timeouts,
            evidence: Evidence::default(),
            queue: Queue::default(),
            round,
            pending: None,
            applying: None,
            copy: false,
            reverting: false,
            begun: false,
            sync: Sync::new(&rules),
            rules,
        }
    }

    /// Number of the first step of the running round in which this node signs.
    fn signs_from(&self) -> u8 {
        if self.muted { u8::MAX } else { self.signed_up_to() }
    }

    /// Number of the first step of the running round in which this node can have signed nothing that its journal does not hold. After
    /// the journal was lost that is above all that can have been reached until it began. Nobody votes before the
    /// slot, but a candidate may be signed as soon as there is a tip. Above the genesis block nothing but the mark of its key tells
    /// whether the network is older than the node, and soon after it a start without a candidate would cost a young network time; a
    /// sole provisioner has nobody to contradict itself to.
    fn signed_up_to(&self) -> u8 {
        let (header, round) = (&self.tip.header, &self.round);
        let tip = Duration::from_secs(header.timestamp);
        let begins_here = header.height == 0 && !self.signed_before;
        if !self.journal_lost
            || begins_here
            || round.committees.eligible() < 2
            || (tip > self.began && header.height > 0)
        {
            return 0;
        }
        let slot = tip + Duration::from_secs(self.rules.block_time);
        if self.began <= slot {
            return u8::from(header.height != 1);
        }
        let possible = (self.began - slot).as_millis() / self.rules.times.min.as_millis().max(1);
        let iterations = u8::try_from(possible).unwrap_or(u8::MAX).saturating_add(QUICK);
        Step::new(iterations, StepKind::Proposal).map_or(u8::MAX, Step::number)
    }

    /// Another node signs with this node's key: from now on this one signs nothing.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    /// The other one does not any more.
    pub fn unmute(&mut self) {
        self.muted = false;
    }

    /// Whether a checked frame of this round has this node's signature but is not what it signed for the step. What it may have
    /// signed before its journal was lost is no proof of anything.
    fn is_foreign(&self, frame: &Frame) -> Option<Step> {
        self.me.filter(|me| triage::signer(frame) == Some(*me.as_bytes()))?;
        let (header, step) = (frame.consensus_header()?, frame.step()?);
        if step.number() < self.signed_up_to() {
            return None;
        }
        let key = BallotKey { round: header.round, prev: header.prev_block_hash, step };
        let own = self.ballots.get(&key).and_then(|bytes| decode(bytes, &Limits::default()).ok());
        let same = match (&own, frame) {
            (Some(Frame::Candidate(own)), Frame::Candidate(other)) => own.header().hash == other.header().hash,
            (Some(Frame::Validation(own)), Frame::Validation(other)) => own.vote == other.vote,
            (Some(Frame::Ratification(own)), Frame::Ratification(other)) => own.vote.vote == other.vote.vote,
            _ => false,
        };
        (!same).then_some(step)
    }

    /// Whether this node signs: it has a key, and does not wait because its journal was lost.
    pub fn votes(&self) -> bool {
        let now = Step::new(self.round.iteration, self.round.kind);
        self.me.is_some() && now.is_some_and(|step| step.number() >= self.signs_from())
    }

    /// The measured step times, as [`Timeouts::encode`] writes them.
    pub fn times(&self) -> Vec<u8> {
        self.timeouts.encode()
    }

    /// Whether blocks of others are being applied or awaited.
    pub fn is_syncing(&self) -> bool {
        self.sync.is_busy()
    }

    /// A peer says that its newest block is at `height`.
    pub fn heard_of(&mut self, now: Now, peer: PeerId, height: u64) {
        if height > self.tip.header.height {
            self.sync.hint(now, peer, height.saturating_add(1));
        }
    }

    /// Where the machine stands.
    pub fn view(&self) -> View {
        View {
            round: self.round.number,
            iteration: self.round.iteration,
            kind: self.round.kind,
            open: self.round.open,
            missing: self.pending.as_ref().filter(|_| self.applying.is_none()).map(|pending| pending.hash),
            applying: self.applying.is_some() || self.reverting,
        }
    }

    /// The newest block.
    pub fn tip(&self) -> &Arc<TipInfo> {
        &self.tip
    }

    /// A candidate of this round by hash, for peers that ask.
    pub fn candidate_with(&self, hash: &[u8; 32]) -> Option<&Arc<CandidateFrame>> {
        self.round.candidate_with(hash)
    }

    /// The candidate or Validation quorum of an iteration of this round, for peers that ask.
    pub fn answer(&self, want: &Want) -> Option<Frame> {
        match want {
            Want::CandidateOf(header) if *header == self.round.header(header.iteration) => {
                self.round.candidate_of(header.iteration).cloned().map(Frame::Candidate)
            }
            Want::Validation(header) if *header == self.round.header(header.iteration) => {
                let result = *self.round.result_of(header.iteration)?;
                Some(Frame::ValidationQuorum(VqFrame { header: *header, result }))
            }
            _ => None,
        }
    }

    /// What becomes of a decoded frame. Cheap; also notes who is ahead or elsewhere.
    pub fn triage(&mut self, now: Now, from: Source, frame: &Frame) -> Triage {
        let scene = Scene {
            height: self.tip.header.height,
            tip: &self.tip.header.hash,
            committees: &self.round.committees,
            provisioners: &self.tip.provisioners,
            seen: &self.round.seen,
        };
        let outcome = triage::triage(&scene, frame);
        if let Some(header) = frame.consensus_header() {
            let round = self.round.number;
            if header.round > round || (header.round == round && header.prev_block_hash != self.round.prev) {
                self.sync.hint(now, from.peer, header.round);
            }
        }
        outcome
    }

    fn with_round<R>(
        &mut self,
        now: Now,
        out: &mut Vec<Action>,
        f: impl FnOnce(&mut Round<B>, &mut Cx<'_, B>) -> R,
    ) -> R {
        let signs_from = self.signs_from();
        let mut cx = Cx {
            bls: &*self.bls,
            rules: &self.rules,
            me: self.me,
            signs_from,
            ballots: &mut self.ballots,
            timeouts: &mut self.timeouts,
            evidence: &mut self.evidence,
            now,
            out,
        };
        f(&mut self.round, &mut cx)
    }

    /// Takes an event; what is to be done is appended to `out`, in order.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Begin => {
                self.began = now.unix;
                self.sync.accepted(now);
                out.push(Action::SetTimer { id: TimerId::Heartbeat, at: now.mono + self.sync.heartbeat() });
                self.next_round(now, out);
            }
            Event::Timer(TimerId::Slot) => self.with_round(now, out, |round, cx| round.slot_reached(cx)),
            Event::Timer(TimerId::Step) => self.with_round(now, out, |round, cx| round.step_timer(cx)),
            Event::Timer(TimerId::Missing) => self.missing(now, out),
            Event::Timer(TimerId::Heartbeat) => {
                out.push(Action::SetTimer { id: TimerId::Heartbeat, at: now.mono + self.sync.heartbeat() });
                self.look_around(now, out);
            }
            Event::Frame { from, frame } => self.frame(now, from, frame, out),
            Event::Later { from, frame } => {
                if let (Some(header), Some(step), Some(signer)) =
                    (frame.consensus_header(), frame.step(), triage::signer(&frame))
                {
                    let bytes = triage::weight(&frame);
                    let from = Source { token: None, ..from };
                    self.queue.put(self.tip.header.height, header.round, step, signer, bytes, (from, frame));
                }
                if let Some(token) = from.token {
                    out.push(Action::Ignore(token));
                }
            }
            Event::Built { round, iteration, block } => {
                if round == self.round.number {
                    self.with_round(now, out, |round, cx| round.built(cx, iteration, block));
                }
            }
            Event::Verdict { round, iteration, hash, verdict } => {
                if round == self.round.number {
                    self.with_round(now, out, |round, cx| round.verdict(cx, iteration, hash, verdict));
                }
            }
            Event::Signed { key, frame } => {
                // Only the frame is looked at here; what was signed is compared by the owner's ballots.
                self.ballots.remember(key, sha3_256(&[&frame]), frame.clone());
                if (key.round, key.prev) == (self.round.number, self.round.prev) {
                    self.with_round(now, out, |round, cx| round.signed(cx, key, frame));
                }
            }
            Event::Refused { key } => self.round.refused(&key),
            Event::Applied(Ok(tip)) => {
                self.applying = None;
                self.sync.accepted(now);
                self.tip = tip;
                self.evidence.included(&self.tip.faults);
                self.evidence.forget_before(self.round.number);
                self.ballots.forget_below(self.tip.labels.last_final());
                out.push(Action::Persist(Persist::Timeouts(self.timeouts.encode())));
                self.next_round(now, out);
            }
            Event::Applied(Err(failure)) => self.not_applied(now, failure, out),
            Event::Reverted(Ok(tip)) => {
                self.reverting = false;
                self.tip = tip;
                self.next_round(now, out);
            }
            Event::Reverted(Err(_)) => {
                self.reverting = false;
                self.sync.clear();
                self.round.halted = false;
                if self.begun {
                    self.with_round(now, out, |round, cx| round.rearm(cx));
                } else {
                    self.begin_round(now, out);
                }
            }
            Event::Blocks { from, blocks } => self.blocks(now, from, blocks, out),
        }
        self.attained(now, out);
    }

    /// The round above a new tip. It begins unless a block for it is here already.
    fn next_round(&mut self, now: Now, out: &mut Vec<Action>) {
        self.round = Round::new(&self.tip, &self.rules, now);
        self.pending = None;
        self.begun = false;
        self.next_block(now, out);
        if self.applying.is_none() {
            self.begin_round(now, out);
        }
    }

    fn begin_round(&mut self, now: Now, out: &mut Vec<Action>) {
        self.begun = true;
        self.timeouts.start_round();
        let iteration = match self.resume.take() {
            Some((prev, iteration))
                if prev == self.tip.header.hash && Step::new(iteration, StepKind::Proposal).is_some() =>
            {
                iteration
            }
            _ => 0,
        };
        self.with_round(now, out, |round, cx| round.begin(cx, iteration));
        if let Some(Frame::Quorum(quorum)) =
            self.awaited.take().and_then(|bytes| decode(&bytes, &Limits::default()).ok())
            && quorum.header == self.round.header(quorum.header.iteration)
        {
            // It was checked before it was written.
            self.with_round(now, out, |round, cx| round.take(cx, Checked::trusted(Frame::Quorum(quorum))));
        }
        let waiting = self.queue.take(self.round.number);
        if !waiting.is_empty() {
            out.push(Action::Again(waiting));
        }
    }

    fn frame(&mut self, now: Now, from: Source, frame: Checked<Frame>, out: &mut Vec<Action>) {
        let fits = frame.consensus_header().is_some_and(|header| header == self.round.header(header.iteration));
        if fits && let Some(step) = self.is_foreign(&frame) {
            out.push(Action::Note(Note::OtherSigner { round: self.round.number, step }));
        }
        let new = fits && self.with_round(now, out, |round, cx| round.take(cx, frame));
        if let Some(token) = from.token {
            out.push(if new { Action::Accept(token) } else { Action::Ignore(token) });
        }
        if let Some(hash) = self.pending.as_ref().map(|pending| pending.hash)
            && self.applying.is_none()
        {
            self.try_apply(hash, out);
        }
    }

    /// Blocks that the round agreed on.
    fn attained(&mut self, now: Now, out: &mut Vec<Action>) {
        while let Some(attained) = self.round.attained.pop_front() {
            if self.pending.is_some() || self.reverting {
                continue;
            }
            self.pending = Some(Pending {
                hash: attained.hash,
                iteration: attained.iteration,
                attestation: attained.attestation,
                until: now.mono + AWAIT_BLOCK,
            });
            let quorum =
                QuorumFrame { header: self.round.header(attained.iteration), attestation: attained.attestation };
            out.push(Action::Persist(Persist::Awaited {
                quorum: encode(&Frame::Quorum(quorum)).into(),
                at_hand: self.round.candidate_with(&attained.hash).is_some(),
            }));
            if !self.try_apply(attained.hash, out) {
                out.push(Action::Request { peer: None, want: Want::Block(attained.hash) });
                out.push(Action::SetTimer { id: TimerId::Missing, at: now.mono + ASK_AGAIN });
                if attained.iteration >= self.round.iteration {
                    self.with_round(now, out, |round, cx| round.advance(cx, attained.iteration + 1));
                }
            }
        }
    }

    /// Applies the pending block if it is here.
    fn try_apply(&mut self, hash: [u8; 32], out: &mut Vec<Action>) -> bool {
        if self.applying.is_some() || self.reverting {
            // Whatever is applied now is this block or makes the round end.
            return true;
        }
        let Some(pending) = self.pending.as_ref().filter(|pending| pending.hash == hash) else { return false };
        let Some(candidate) = self.round.candidate_with(&hash) else { return false };
        let (bytes, attestation) = (candidate.bytes().clone(), pending.attestation);
        self.copy = false;
        self.apply(bytes, hash, attestation, out);
        true
    }

    /// Has a block applied that a peer sent.
    pub(super) fn apply_copy(&mut self, block: SyncBlock, attestation: Attestation, out: &mut Vec<Action>) {
        self.copy = true;
        self.apply(block.bytes, block.header.hash, attestation, out);
    }

    fn apply(&mut self, bytes: Arc<[u8]>, hash: [u8; 32], attestation: Attestation, out: &mut Vec<Action>) {
        self.applying = Some(hash);
        self.round.halted = true;
        out.push(Action::Apply { bytes, hash, attestation });
    }

    /// A block that was asked for by hash.
    pub(super) fn found(&mut self, block: &SyncBlock, out: &mut Vec<Action>) -> bool {
        let Some(pending) = self.pending.as_ref().filter(|pending| pending.hash == block.header.hash) else {
            return false;
        };
        if self.applying.is_none() && !self.reverting {
            let attestation = pending.attestation;
            self.apply_copy(block.clone(), attestation, out);
        }
        true
    }

    fn not_applied(&mut self, now: Now, failure: ApplyFailure, out: &mut Vec<Action>) {
        let Some(hash) = self.applying.take() else { return };
        self.sync.clear();
        // A wrong copy is one peer's doing, and a failure of this node's own passes: the block is asked for again.
        let wrong = failure == ApplyFailure::Invalid && !self.copy;
        let pending = self.pending.take_if(|pending| wrong && pending.hash == hash);
        if wrong {
            self.with_round(now, out, |round, cx| round.give_up(cx, &hash));
        } else {
            self.round.halted = false;
            self.with_round(now, out, |round, cx| round.rearm(cx));
        }
        if self.pending.is_some() {
            out.push(Action::SetTimer { id: TimerId::Missing, at: now.mono + ASK_AGAIN });
        }
        if !self.begun {
            self.begin_round(now, out);
        }
        if let Some(pending) = pending {
            self.with_round(now, out, |round, cx| round.advance(cx, pending.iteration + 1));
        }
    }

    fn missing(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some((hash, until)) = self.pending.as_ref().map(|pending| (pending.hash, pending.until)) else { return };
        if self.applying.is_none() {
            if now.mono >= until {
                self.pending = None;
                self.round.awaited = None;
                return;
            }
            if !self.try_apply(hash, out) {
                out.push(Action::Request { peer: None, want: Want::Block(hash) });
            }
        }
        out.push(Action::SetTimer { id: TimerId::Missing, at: now.mono + ASK_AGAIN });
    }

    /// Sends own messages of the running round again.
    pub(super) fn repeat(&mut self, now: Now, out: &mut Vec<Action>) {
        self.with_round(now, out, |round, cx| round.repeat(cx));
    }

    pub(super) fn halt(&mut self) {
        self.round.halted = true;
    }

    pub(super) fn bls(&self) -> &B {
        &self.bls
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }
}
