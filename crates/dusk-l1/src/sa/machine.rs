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

use dusk_node_data::ledger::{Attestation, Header, IterationInfo, Signature};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::Vote;

use super::ballots::{BallotKey, Ballots};
use super::bls::Bls;
use super::provisioners::Provisioners;
use super::queue::Queue;
use super::round::{Cx, Round};
use super::rules::{Rules, Step, StepKind};
use super::sync::Sync;
use super::timeouts::Timeouts;
use super::triage::{self, Checked, Scene, Triage};
use super::wire::{CandidateFrame, Frame, RatificationFrame, ValidationResult, VoteFrame, WireError, signed_bytes};
use crate::Block;
use crate::finality::Finality;
use crate::keys::AccountId;
use crate::sha3::sha3_256;

/// How long an attestation waits for its block, during which nothing else is voted for in its round.
const AWAIT_BLOCK: Duration = Duration::from_secs(60);
/// How often a missing block is asked for.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The two clocks of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Never goes back; timers are in it.
    pub mono: Duration,
    /// Since the Unix epoch; slots are in it.
    pub unix: Duration,
}

/// A peer, as the owner numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// A message whose further way the network layer decides by the machine's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Its sender.
    pub peer: PeerId,
    /// Absent when the frame was an answer, or waited here: nobody asks for a verdict then.
    pub token: Option<Token>,
}

/// The newest block and what the round above it needs.
#[derive(Debug, Clone)]
pub struct TipInfo {
    /// Its header, attestation included.
    pub header: Header,
    /// Provisioners after the block.
    pub provisioners: Arc<Provisioners>,
    /// How ripe the newest blocks are.
    pub labels: Finality,
    /// The blocks that are not final and the last final one, ascending, up to and without the tip.
    pub recent: Vec<Recent>,
}

/// A block below the tip that may still be replaced, or the last final one.
#[derive(Debug, Clone)]
pub struct Recent {
    /// Its header.
    pub header: Header,
    /// Provisioners after it.
    pub provisioners: Arc<Provisioners>,
}

/// What a machine starts from.
#[derive(Debug)]
pub struct Start {
    /// The newest block.
    pub tip: Arc<TipInfo>,
    /// What was signed before.
    pub ballots: Ballots,
    /// Measured step times.
    pub timeouts: Timeouts,
    /// Hash of the tip and iteration that ran above it, from [`Persist::Resume`].
    pub resume: Option<([u8; 32], u8)>,
    /// First round in which to sign: later than the next after the journal was lost.
    pub may_vote_from: u64,
}

/// A block from a peer, attested.
#[derive(Debug, Clone)]
pub struct SyncBlock {
    /// Header, as `bytes` hold it.
    pub header: Header,
    /// The encoded block.
    pub bytes: Arc<[u8]>,
}

impl SyncBlock {
    /// Reads the header of an encoded block.
    pub fn new(bytes: Arc<[u8]>) -> Result<Self, WireError> {
        Ok(Self { header: super::wire::decode_header(&bytes)?, bytes })
    }
}

/// What a provisioner thinks of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Votes for it.
    Valid,
    /// Votes against it.
    Invalid,
    /// Cannot say: no vote.
    Abstain,
}

/// Why a block was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyFailure {
    /// It breaks a rule.
    Invalid,
    /// It does not fit the tip any more.
    Outdated,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Begins the first round. Before anything else, once.
    Begin,
    /// A timer fired, perhaps one that was set anew meanwhile.
    Timer(TimerId),
    /// A frame that [`super::triage::Check::run`] passed.
    Frame {
        /// Its sender.
        from: Source,
        /// The frame.
        frame: Checked<Frame>,
    },
    /// A frame that [`Machine::triage`] put off.
    Later {
        /// Its sender.
        from: Source,
        /// The frame.
        frame: Frame,
    },
    /// The block of [`Action::Build`]: unsigned, hash set. None if it could not be built.
    Built {
        /// Round of the request.
        round: u64,
        /// Iteration of the request.
        iteration: u8,
        /// The block.
        block: Option<Arc<Block>>,
    },
    /// Answer to [`Action::Check`].
    Verdict {
        /// Round of the block.
        round: u64,
        /// Iteration of the block.
        iteration: u8,
        /// Hash of the block.
        hash: [u8; 32],
        /// What its check found.
        verdict: Verdict,
    },
    /// An own message: signed and journalled.
    Signed {
        /// What it is for.
        key: BallotKey,
        /// The whole frame.
        frame: Arc<[u8]>,
    },
    /// The journal holds another message for this step: nothing was signed.
    Refused {
        /// What it was for.
        key: BallotKey,
    },
    /// Answer to [`Action::Apply`].
    Applied(Result<Arc<TipInfo>, ApplyFailure>),
    /// Answer to [`Action::RevertTo`].
    Reverted(Result<Arc<TipInfo>, ApplyFailure>),
    /// Blocks that were asked for, ascending.
    Blocks {
        /// Who sent them.
        from: PeerId,
        /// The blocks.
        blocks: Vec<SyncBlock>,
    },
}

/// Which timer. Setting one again replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerId {
    /// The time before which no candidate is voted on.
    Slot,
    /// The running step.
    Step,
    /// A block that is attested but not here.
    Missing,
    /// Looks whether others are ahead or elsewhere.
    Heartbeat,
}

/// On which of the network's channels a frame goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Votes and quorums.
    Votes,
    /// Candidates.
    Candidates,
}

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Attested blocks of these heights, answered by [`Event::Blocks`].
    Range {
        /// First height.
        from: u64,
        /// Last height.
        to: u64,
    },
    /// The block with this hash, attested or not, answered by [`Event::Blocks`].
    Block([u8; 32]),
    /// A candidate, answered by its frame.
    CandidateOf(ConsensusHeader),
    /// A Validation quorum, answered by its frame.
    Validation(ConsensusHeader),
}

/// What to keep over a restart. Losing it costs time, never safety.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Persist {
    /// The running iteration above a block.
    Resume {
        /// Hash of that block.
        prev: [u8; 32],
        /// The iteration.
        iteration: u8,
    },
    /// Step times, as [`Timeouts::encode`] writes them.
    Timeouts(Vec<u8>),
}

/// For metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Note {
    /// An iteration begins.
    Iteration { round: u64, iteration: u8 },
    /// A step ran out of time.
    TimedOut { round: u64, iteration: u8, kind: StepKind },
    /// A Validation quorum.
    Validated { round: u64, iteration: u8, vote: Vote },
    /// An iteration's outcome, built here or heard.
    Quorum { round: u64, iteration: u8, vote: Vote, built: bool },
    /// Followed others to a later iteration.
    CaughtUp { round: u64, iteration: u8 },
    /// A generator proposed two blocks.
    TwoCandidates { round: u64, iteration: u8 },
    /// A provisioner voted twice: evidence.
    TwoVotes { step: Step, first: Box<VoteFrame>, second: Box<VoteFrame> },
    /// Blocks are fetched from this height on.
    Syncing { from: u64 },
    /// Another branch is taken from this height on.
    Fork { height: u64 },
    /// Nothing was accepted for long.
    Stalled { round: u64 },
}

/// What the owner is to do.
#[derive(Debug)]
pub enum Action {
    /// Send a frame to everybody.
    Publish(Channel, Arc<[u8]>),
    /// The frame is good: pass it on.
    Accept(Token),
    /// The frame is of no use: do not pass it on.
    Ignore(Token),
    /// Triage these again: their round has begun.
    Again(Vec<(Source, Frame)>),
    /// Fire a timer at this monotonic time.
    SetTimer {
        /// Which.
        id: TimerId,
        /// When.
        at: Duration,
    },
    /// Build a block.
    Build {
        /// Its height.
        round: u64,
        /// Its iteration.
        iteration: u8,
        /// Its parent's hash.
        parent: [u8; 32],
        /// The parent's attestation.
        cert: Attestation,
        /// What the block lists of the iterations before.
        failed: Vec<Option<IterationInfo>>,
    },
    /// Check a candidate: header, body, execution.
    Check {
        /// The candidate.
        block: Arc<CandidateFrame>,
    },
    /// Sign, journal, report.
    Sign {
        /// What for.
        key: BallotKey,
        /// What.
        what: Unsigned,
    },
    /// Check a block with its attestation, execute it on the tip and store it.
    Apply {
        /// The encoded block, with or without an attestation.
        bytes: Arc<[u8]>,
        /// Its hash.
        hash: [u8; 32],
        /// Its attestation.
        attestation: Attestation,
    },
    /// Undo blocks until the block with this hash is the tip.
    RevertTo {
        /// The new tip.
        hash: [u8; 32],
    },
    /// Ask a peer.
    Request {
        /// Whom; nobody in particular if absent.
        peer: Option<PeerId>,
        /// For what.
        want: Want,
    },
    /// Keep something.
    Persist(Persist),
    /// Report something.
    Note(Note),
}

/// What is to be signed.
#[derive(Debug, Clone)]
pub enum Unsigned {
    /// A block, its hash set.
    Candidate(Arc<Block>),
    /// A vote.
    Vote {
        /// Validation or Ratification.
        kind: StepKind,
        /// Round, iteration and parent.
        header: ConsensusHeader,
        /// For what.
        vote: Vote,
        /// Of a Ratification vote: what it rests on.
        result: Option<ValidationResult>,
    },
}

impl Unsigned {
    /// The bytes to sign.
    pub fn signable(&self) -> Vec<u8> {
        match self {
            Self::Candidate(block) => block.header().hash.to_vec(),
            Self::Vote { kind, header, vote, .. } => signed_bytes(*kind, header, vote).to_vec(),
        }
    }

    /// Tells messages apart for [`Ballots::cast`]: the hash of what is signed.
    pub fn digest(&self) -> [u8; 32] {
        sha3_256(&[&self.signable()])
    }

    /// The signed frame. `unix` (seconds) goes into Ratification votes. Fails if a block does not encode.
    pub fn frame(&self, signer: &AccountId, signature: [u8; 48], unix: u64) -> Result<Frame, WireError> {
        Ok(match self {
            Self::Candidate(block) => {
                let mut block = Block::clone(block);
                block.set_signature(Signature::from(signature));
                Frame::Candidate(Arc::new(CandidateFrame::from_block(&block)?))
            }
            Self::Vote { kind, header, vote, result } => {
                let frame = VoteFrame { header: *header, vote: *vote, signer: *signer.as_bytes(), signature };
                match (kind, result) {
                    (StepKind::Ratification, Some(result)) => {
                        Frame::Ratification(RatificationFrame { vote: frame, timestamp: unix, result: *result })
                    }
                    _ => Frame::Validation(frame),
                }
            }
        })
    }
}

/// Where a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Height that is worked on.
    pub round: u64,
    /// Its iteration.
    pub iteration: u8,
    /// Its step.
    pub kind: StepKind,
    /// The last iteration ran out of time.
    pub open: bool,
    /// Hash of an attested block that is not here.
    pub missing: Option<[u8; 32]>,
    /// A block is being applied, or blocks undone.
    pub applying: bool,
}

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
    may_vote_from: u64,
    resume: Option<([u8; 32], u8)>,
    pub(super) tip: Arc<TipInfo>,
    ballots: Ballots,
    timeouts: Timeouts,
    queue: Queue<(Source, Frame)>,
    round: Round<B>,
    pending: Option<Pending>,
    /// Hash of the block that is being applied.
    pub(super) applying: Option<[u8; 32]>,
    pub(super) reverting: bool,
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
            may_vote_from: start.may_vote_from,
            resume: start.resume,
            tip: start.tip,
            ballots: start.ballots,
            timeouts: start.timeouts,
            queue: Queue::default(),
            round,
            pending: None,
            applying: None,
            reverting: false,
            sync: Sync::new(&rules),
            rules,
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
                Some(Frame::ValidationQuorum(super::wire::VqFrame { header: *header, result }))
            }
            _ => None,
        }
    }

    /// What becomes of a decoded frame. Cheap; also notes who is ahead or elsewhere.
    pub fn triage(&mut self, now: Now, from: Source, frame: &Frame) -> Triage {
        let scene = Scene {
            height: self.tip.header.height,
            tip: &self.tip.header.hash,
            iteration: self.round.iteration,
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
        let may_vote = self.round.number >= self.may_vote_from;
        let mut cx = Cx {
            bls: &*self.bls,
            rules: &self.rules,
            me: self.me.filter(|_| may_vote),
            ballots: &mut self.ballots,
            timeouts: &mut self.timeouts,
            now,
            out,
        };
        f(&mut self.round, &mut cx)
    }

    /// Takes an event; what is to be done is appended to `out`, in order.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Begin => {
                self.sync.accepted(now);
                out.push(Action::SetTimer { id: TimerId::Heartbeat, at: now.mono + self.sync.heartbeat() });
                self.begin_round(now, out);
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
                self.ballots.forget_below(self.tip.labels.last_final());
                out.push(Action::Persist(Persist::Timeouts(self.timeouts.encode())));
                self.begin_round(now, out);
                self.next_block(now, out);
            }
            Event::Applied(Err(failure)) => self.not_applied(now, failure, out),
            Event::Reverted(Ok(tip)) => {
                self.reverting = false;
                self.tip = tip;
                self.begin_round(now, out);
                self.next_block(now, out);
            }
            Event::Reverted(Err(_)) => {
                self.reverting = false;
                self.sync.clear();
                self.round.halted = false;
                self.with_round(now, out, |round, cx| round.rearm(cx));
            }
            Event::Blocks { from, blocks } => self.blocks(now, from, blocks, out),
        }
        self.attained(now, out);
    }

    fn begin_round(&mut self, now: Now, out: &mut Vec<Action>) {
        self.round = Round::new(&self.tip, &self.rules, now);
        self.pending = None;
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
        let waiting = self.queue.take(self.round.number);
        if !waiting.is_empty() {
            out.push(Action::Again(waiting));
        }
    }

    fn frame(&mut self, now: Now, from: Source, frame: Checked<Frame>, out: &mut Vec<Action>) {
        let fits = frame.consensus_header().is_some_and(|header| header == self.round.header(header.iteration));
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
        self.apply(bytes, hash, attestation, out);
        true
    }

    pub(super) fn apply(&mut self, bytes: Arc<[u8]>, hash: [u8; 32], attestation: Attestation, out: &mut Vec<Action>) {
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
            let (hash, attestation) = (pending.hash, pending.attestation);
            self.apply(block.bytes.clone(), hash, attestation, out);
        }
        true
    }

    fn not_applied(&mut self, now: Now, failure: ApplyFailure, out: &mut Vec<Action>) {
        let Some(hash) = self.applying.take() else { return };
        self.sync.clear();
        let pending = self.pending.take_if(|pending| pending.hash == hash && failure == ApplyFailure::Invalid);
        self.with_round(now, out, |round, cx| round.give_up(cx, &hash));
        if let Some(pending) = pending {
            self.with_round(now, out, |round, cx| round.advance(cx, pending.iteration + 1));
        }
    }

    fn missing(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(pending) = &self.pending else { return };
        if self.applying.is_some() {
            return;
        }
        if now.mono >= pending.until {
            self.pending = None;
            self.round.awaited = None;
            return;
        }
        out.push(Action::Request { peer: None, want: Want::Block(pending.hash) });
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
