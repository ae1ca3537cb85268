//! Rules of one machine, each by a name of its own.

#![allow(clippy::unwrap_used)] // Helpers of tests, not test functions.

use std::sync::Arc;
use std::time::Duration;

use dusk_node_data::ledger::{Attestation, Block, Signature, StepVotes};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::{RatificationResult, Vote};
use duskevm_dusk_l1::keys::AccountId;
use duskevm_dusk_l1::sa::ballots::{BallotKey, Ballots};
use duskevm_dusk_l1::sa::bls::{Bls, StandIn};
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::machine::{
    Action, Event, Machine, Note, Now, PeerId, Persist, Source, Start, TimerId, Token, Unsigned, Verdict, Want,
};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{MINIMUM_STAKE, Step, StepKind};
use duskevm_dusk_l1::sa::timeouts::Timeouts;
use duskevm_dusk_l1::sa::triage::{Triage, Why};
use duskevm_dusk_l1::sa::wire::{CandidateFrame, Frame, QuorumFrame, VoteFrame, encode, signed_bytes};
use duskevm_l1_sim::ledger::{GENESIS_TIME, Ledger};
use duskevm_l1_sim::scenario::rules;

const NODES: u64 = 6;
const FROM: Source = Source { peer: PeerId(1), token: Some(Token(1)) };

struct One {
    ledger: Ledger,
    committees: Committees,
    machine: Machine<StandIn>,
}

fn provisioners() -> Arc<Provisioners> {
    Arc::new(Provisioners::from_entries((0..NODES).map(|n| (StandIn::id(n), MINIMUM_STAKE, 0))))
}

fn committees(ledger: &Ledger) -> Committees {
    Committees::new(*ledger.tip().header.seed.inner(), 1, provisioners(), rules().quorums())
}

/// A first start on this chain.
fn start(ledger: &Ledger) -> Start {
    Start {
        tip: ledger.tip_info(),
        ballots: Ballots::default(),
        timeouts: Timeouts::new(rules().times),
        resume: None,
        journal_lost: false,
        signed_before: false,
        awaited: None,
    }
}

/// A machine of `me` in the first round, begun.
fn one(me: AccountId, ballots: Ballots) -> (One, Vec<Action>) {
    one_with(me, ballots, None)
}

/// The same with a quorum of an earlier life.
fn one_with(me: AccountId, ballots: Ballots, awaited: Option<Arc<[u8]>>) -> (One, Vec<Action>) {
    one_at(0, me, ballots, awaited)
}

/// The same, begun some seconds after the genesis block.
fn one_at(seconds: u64, me: AccountId, ballots: Ballots, awaited: Option<Arc<[u8]>>) -> (One, Vec<Action>) {
    let ledger = Ledger::new(rules(), provisioners(), false);
    let start = Start { ballots, awaited, ..start(&ledger) };
    let machine = Machine::new(Arc::new(StandIn), rules(), Some(me), start);
    let mut one = One { committees: committees(&ledger), ledger, machine };
    let actions = one.feed(seconds, Event::Begin);
    (one, actions)
}

fn now(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), unix: Duration::from_secs(GENESIS_TIME + seconds) }
}

impl One {
    fn feed(&mut self, seconds: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.machine.handle(now(seconds), event, &mut actions);
        actions
    }

    fn triage(&mut self, frame: &Frame) -> Triage {
        self.machine.triage(now(3), FROM, frame)
    }

    /// Whether the frame passes triage and check.
    fn passes(&mut self, frame: &Frame) -> Result<(), Why> {
        match self.triage(frame) {
            Triage::Check(check) => check.run(&StandIn).map(|_| ()),
            Triage::Reject(why) | Triage::Ignore(why) => Err(why),
            Triage::Later => Err(Why::Far),
        }
    }

    fn deliver(&mut self, seconds: u64, frame: &Frame) -> Vec<Action> {
        let Triage::Check(check) = self.triage(frame) else { panic!("{frame:?}") };
        let frame = check.run(&StandIn).unwrap();
        self.feed(seconds, Event::Frame { from: FROM, frame })
    }

    fn at(&self, iteration: u8) -> ConsensusHeader {
        ConsensusHeader { prev_block_hash: self.ledger.tip().header.hash, round: 1, iteration }
    }

    fn members(&self, iteration: u8, kind: StepKind) -> Vec<AccountId> {
        self.committees.get(Step::new(iteration, kind).unwrap()).iter().map(|(id, _)| id).collect()
    }

    fn vote(&self, iteration: u8, signer: AccountId, vote: Vote) -> VoteFrame {
        let header = self.at(iteration);
        let signature = StandIn.sign(&signer, &signed_bytes(StepKind::Validation, &header, &vote));
        VoteFrame { header, vote, signer: *signer.as_bytes(), signature }
    }

    /// The votes of a whole committee.
    fn all(&self, iteration: u8, kind: StepKind, vote: Vote) -> StepVotes {
        let members = self.members(iteration, kind);
        let bytes = signed_bytes(kind, &self.at(iteration), &vote);
        let sum = members.iter().fold(None, |sum, id| Some(StandIn.add(sum, &StandIn.sign(id, &bytes)).unwrap()));
        StepVotes::new(StandIn.sum_bytes(&sum.unwrap()), (1 << members.len()) - 1)
    }

    fn quorum(&self, iteration: u8, vote: Vote) -> Frame {
        let attestation = Attestation {
            result: RatificationResult::from(vote),
            validation: self.all(iteration, StepKind::Validation, vote),
            ratification: self.all(iteration, StepKind::Ratification, vote),
        };
        Frame::Quorum(QuorumFrame { header: self.at(iteration), attestation })
    }

    fn candidate(&self, iteration: u8) -> Frame {
        let generator = self.committees.generator(iteration).unwrap();
        let failed = vec![None; usize::from(iteration)];
        let mut block: Block = self
            .ledger
            .build(&StandIn, &generator, iteration, Attestation::default(), failed, GENESIS_TIME + 2)
            .unwrap();
        let signature = StandIn.sign(&generator, &block.header().hash);
        block.set_signature(Signature::from(signature));
        Frame::Candidate(Arc::new(CandidateFrame::from_block(&block).unwrap()))
    }
}

fn votes(actions: &[Action]) -> Vec<Vote> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Sign { what: Unsigned::Vote { vote, .. }, .. } => Some(*vote),
            _ => None,
        })
        .collect()
}

/// Somebody in the Validation committees of iterations 0 and 1.
fn voter() -> AccountId {
    let committees = committees(&Ledger::new(rules(), provisioners(), false));
    let is_in = |id: &AccountId, i| {
        let step = Step::new(i, StepKind::Validation).unwrap();
        committees.get(step).contains(id.as_bytes())
    };
    (0..NODES).map(StandIn::id).find(|id| is_in(id, 0) && is_in(id, 1)).unwrap()
}

#[test]
fn triage_sorts_out_before_any_signature_is_checked() {
    let (mut one, _) = one(voter(), Ballots::default());
    let member = one.members(0, StepKind::Validation)[0];
    let good = one.vote(0, member, Vote::NoCandidate);
    assert_eq!(one.passes(&Frame::Validation(good.clone())), Ok(()));

    let generator = one.committees.generator(0).unwrap();
    let outsider = one.vote(0, generator, Vote::NoCandidate);
    assert!(matches!(one.triage(&Frame::Validation(outsider)), Triage::Reject(Why::NotMember)));
    let with = |header: ConsensusHeader| Frame::Validation(VoteFrame { header, ..good.clone() });
    let at = good.header;
    let elsewhere = with(ConsensusHeader { prev_block_hash: [9; 32], ..at });
    assert!(matches!(one.triage(&elsewhere), Triage::Ignore(Why::Elsewhere)));
    assert!(matches!(one.triage(&with(ConsensusHeader { round: 0, ..at })), Triage::Ignore(Why::Past)));
    assert!(matches!(one.triage(&with(ConsensusHeader { round: 11, ..at })), Triage::Ignore(Why::Far)));
    assert!(matches!(one.triage(&with(ConsensusHeader { round: 10, ..at })), Triage::Later));

    let forged = VoteFrame { signature: [1; 48], ..good.clone() };
    assert_eq!(one.passes(&Frame::Validation(forged)), Err(Why::Invalid));
    one.deliver(3, &Frame::Validation(good.clone()));
    assert_eq!(one.passes(&Frame::Validation(good.clone())), Err(Why::Known));
    // A second vote is evidence and passes, a third is nothing new.
    for (hash, outcome) in [([1; 32], Ok(())), ([2; 32], Err(Why::Known))] {
        let other = Frame::Validation(one.vote(0, member, Vote::Valid(hash)));
        assert_eq!(one.passes(&other), outcome);
        if outcome.is_ok() {
            one.deliver(3, &other);
        }
    }
}

#[test]
fn a_success_sold_as_a_failure_is_refused() {
    let (mut one, _) = one(voter(), Ballots::default());
    let good = one.quorum(0, Vote::Valid([7; 32]));
    assert_eq!(one.passes(&good), Ok(()));
    let Frame::Quorum(mut lie) = good else { panic!() };
    lie.attestation.result = RatificationResult::Fail(Vote::Valid([7; 32]));
    assert_eq!(one.passes(&Frame::Quorum(lie)), Err(Why::Invalid));
}

#[test]
fn while_an_attested_block_is_missing_nothing_else_is_voted_for() {
    for missing in [false, true] {
        let (mut one, _) = one(voter(), Ballots::default());
        let vote = if missing { Vote::Valid([7; 32]) } else { Vote::NoCandidate };
        let actions = one.deliver(3, &one.quorum(0, vote));
        let asks = |action: &Action| matches!(action, Action::Request { want: Want::Block(_), .. });
        assert_eq!(actions.iter().any(asks), missing);
        assert_eq!(one.machine.view().iteration, 1, "the iteration is over either way");
        let candidate = one.candidate(1);
        let Frame::Candidate(block) = &candidate else { panic!() };
        let hash = block.header().hash;
        let actions = one.deliver(3, &candidate);
        assert!(actions.iter().any(|action| matches!(action, Action::Check { .. })));
        let verdict = Event::Verdict { round: 1, iteration: 1, hash, verdict: Verdict::Valid };
        let expected = if missing { vec![] } else { vec![Vote::Valid(hash)] };
        assert_eq!(votes(&one.feed(3, verdict)), expected);
    }
}

/// What it slept through it cannot judge: alone in a committee it would take stake from a generator that did its part.
#[test]
fn who_comes_late_to_a_round_does_not_say_that_there_was_no_candidate() {
    let late = rules().block_time + rules().times.min.as_secs() + 1;
    for (begun, expected) in [(0, vec![Vote::NoCandidate]), (late, vec![])] {
        let (mut one, _) = one_at(begun, voter(), Ballots::default(), None);
        let wait = rules().block_time + rules().times.initial.as_secs() + 1;
        assert_eq!(votes(&one.feed(begun + wait, Event::Timer(TimerId::Step))), expected);
    }
    // A candidate that comes after all is judged as ever.
    let (mut one, _) = one_at(late, voter(), Ballots::default(), None);
    let candidate = one.candidate(0);
    let Frame::Candidate(block) = &candidate else { panic!() };
    let hash = block.header().hash;
    one.deliver(late + 1, &candidate);
    let verdict = Event::Verdict { round: 1, iteration: 0, hash, verdict: Verdict::Valid };
    assert_eq!(votes(&one.feed(late + 1, verdict)), [Vote::Valid(hash)]);
}

#[test]
fn a_restart_sends_the_vote_of_before_and_makes_no_other() {
    let me = voter();
    let (mut before, _) = one(me, Ballots::default());
    // No candidate comes: the Proposal runs out of time.
    let actions = before.feed(30, Event::Timer(TimerId::Step));
    assert_eq!(votes(&actions), [Vote::NoCandidate]);
    let Some((key, what)) = actions.into_iter().find_map(|action| match action {
        Action::Sign { key, what } => Some((key, what)),
        _ => None,
    }) else {
        panic!("nothing to sign")
    };
    let frame = what.frame(&me, StandIn.sign(&me, &what.signable()), 0).unwrap();
    let bytes: Arc<[u8]> = encode(&frame).into();
    let mut ballots = Ballots::default();
    ballots.cast(key, what.digest(), bytes.clone());

    // This time there is a candidate, and it is good.
    let (mut after, _) = one(me, ballots);
    let candidate = after.candidate(0);
    let Frame::Candidate(block) = &candidate else { panic!() };
    let hash = block.header().hash;
    after.deliver(3, &candidate);
    let actions = after.feed(3, Event::Verdict { round: 1, iteration: 0, hash, verdict: Verdict::Valid });
    assert_eq!(votes(&actions), []);
    assert!(actions.iter().any(|action| matches!(action, Action::Publish(_, sent) if *sent == bytes)));
}

#[test]
fn votes_of_a_third_lead_to_a_later_iteration_but_not_sooner_than_it_can_be() {
    // Iteration 5 takes at least five times the least step time after the slot, which is 2 s after genesis.
    for (seconds, expected) in [(6, 0), (7, 5)] {
        let (mut one, _) = one(voter(), Ballots::default());
        let step = Step::new(5, StepKind::Validation).unwrap();
        let mut heard = 0;
        for member in one.members(5, StepKind::Validation) {
            let before = one.machine.view().iteration;
            assert!(before == 0 || heard >= rules().catch_up_credits, "{heard} credits are too few");
            let vote = Frame::Validation(one.vote(5, member, Vote::Valid([member.as_bytes()[0]; 32])));
            one.deliver(seconds, &vote);
            heard += one.committees.get(step).credits_of(member.as_bytes()).unwrap();
        }
        assert_eq!(one.machine.view().iteration, expected);
    }
}

/// A ledger with a block in every slot.
fn grown(blocks: u64) -> Ledger {
    let mut ledger = Ledger::new(rules(), provisioners(), false);
    for height in 1..=blocks {
        let tip = ledger.tip().header.clone();
        let committees = Committees::new(*tip.seed.inner(), height, provisioners(), rules().quorums());
        let generator = committees.generator(0).unwrap();
        let mut block = ledger.build(&StandIn, &generator, 0, tip.att, Vec::new(), 0).unwrap();
        block.set_signature(Signature::from(StandIn.sign(&generator, &block.header().hash)));
        let vote = Vote::Valid(block.header().hash);
        let votes = |kind| {
            let committee = committees.get(Step::new(0, kind).unwrap());
            let bytes = signed_bytes(kind, &block.header().to_consensus_header(), &vote);
            let add = |sum, (id, _)| Some(StandIn.add(sum, &StandIn.sign(&id, &bytes)).unwrap());
            let sum = committee.iter().fold(None, add).unwrap();
            StepVotes::new(StandIn.sum_bytes(&sum), (1 << committee.len()) - 1)
        };
        let (validation, ratification) = (votes(StepKind::Validation), votes(StepKind::Ratification));
        let attestation = Attestation { result: RatificationResult::from(vote), validation, ratification };
        let frame = CandidateFrame::from_block(&block).unwrap();
        ledger.apply(&StandIn, frame.bytes(), attestation).unwrap();
    }
    ledger
}

#[test]
fn without_its_journal_a_node_signs_only_where_it_cannot_have_signed_before() {
    // Blocks at 2, 4 and 6 s: the slot of the next is at 8 s. An iteration takes a second at least, four may have been
    // quicker.
    let ledger = grown(3);
    for (lost, starts, expected) in
        [(false, 13, 0), (true, 5, 0), (true, 7, 1), (true, 8, 1), (true, 9, 5), (true, 13, 9)]
    {
        for iteration in 0..12 {
            let resume = Some((ledger.tip().header.hash, iteration));
            let start = Start { resume, journal_lost: lost, ..start(&ledger) };
            let mut machine = Machine::new(Arc::new(StandIn), rules(), Some(voter()), start);
            machine.handle(now(starts), Event::Begin, &mut Vec::new());
            assert_eq!(machine.view().iteration, iteration);
            assert_eq!(machine.votes(), iteration >= expected, "started at {starts} s, iteration {iteration}");
        }
    }
}

#[test]
fn with_its_data_gone_in_the_first_round_a_key_that_has_begun_signs_only_later() {
    // The slot of the first block is at 2 s.
    let ledger = Ledger::new(rules(), provisioners(), false);
    for (signed_before, starts, expected) in [(false, 20, 0), (true, 1, 1), (true, 3, 5), (true, 7, 9)] {
        for iteration in 0..12 {
            let resume = Some((ledger.tip().header.hash, iteration));
            let start = Start { resume, journal_lost: true, signed_before, ..start(&ledger) };
            let mut machine = Machine::new(Arc::new(StandIn), rules(), Some(voter()), start);
            let mut actions = Vec::new();
            machine.handle(now(starts), Event::Begin, &mut actions);
            assert_eq!(machine.votes(), iteration >= expected, "started at {starts} s, iteration {iteration}");
        }
    }
}

fn asked_for(actions: &[Action]) -> Vec<[u8; 32]> {
    let wanted = |action: &Action| match action {
        Action::Request { want: Want::Block(hash), .. } => Some(*hash),
        _ => None,
    };
    actions.iter().filter_map(wanted).collect()
}

#[test]
fn a_block_that_was_awaited_is_asked_for_again_after_a_restart() {
    let (mut before, _) = one(voter(), Ballots::default());
    let hash = [7; 32];
    let quorum = before.quorum(0, Vote::Valid(hash));
    let actions = before.deliver(3, &quorum);
    assert_eq!(asked_for(&actions), [hash]);
    let noted = actions.iter().position(|action| {
        matches!(action, Action::Persist(Persist::Awaited { quorum: noted, at_hand: false }) if **noted == encode(&quorum))
    });
    let asked = actions.iter().position(|action| matches!(action, Action::Request { .. }));
    assert!(noted.unwrap() < asked.unwrap(), "noted before anybody is asked");

    let (mut after, actions) = one_with(voter(), Ballots::default(), Some(encode(&quorum).into()));
    assert_eq!(asked_for(&actions), [hash]);
    assert_eq!(after.machine.view().missing, Some(hash));
    // As before the restart nothing is voted for another block of the round.
    let candidate = after.candidate(1);
    let Frame::Candidate(block) = &candidate else { panic!() };
    let other = block.header().hash;
    let actions = after.deliver(4, &candidate);
    assert!(actions.iter().any(|action| matches!(action, Action::Check { .. })), "{actions:?}");
    let verdict = Event::Verdict { round: 1, iteration: 1, hash: other, verdict: Verdict::Valid };
    assert_eq!(votes(&after.feed(4, verdict)), []);

    // One of another round is of no use.
    let header = ConsensusHeader { round: 9, ..before.at(0) };
    let Frame::Quorum(frame) = quorum else { panic!() };
    let other = encode(&Frame::Quorum(QuorumFrame { header, ..frame }));
    assert!(asked_for(&one_with(voter(), Ballots::default(), Some(other.into())).1).is_empty());
}

#[test]
fn a_message_of_the_own_key_that_is_not_in_the_journal_is_reported() {
    let foreign = |actions: &[Action]| {
        actions.iter().any(|action| matches!(action, Action::Note(Note::OtherSigner { round: 1, .. })))
    };
    let (mut node, _) = one(voter(), Ballots::default());
    let mine = node.vote(0, voter(), Vote::NoCandidate);
    let others = node.members(0, StepKind::Validation).into_iter().find(|id| *id != voter()).unwrap();
    let theirs = Frame::Validation(node.vote(0, others, Vote::NoCandidate));
    assert!(!foreign(&node.deliver(3, &theirs)), "somebody else's");
    assert!(foreign(&node.deliver(3, &Frame::Validation(mine.clone()))));
    node.machine.mute();
    assert!(!node.machine.votes());
    node.machine.unmute();
    assert!(node.machine.votes());

    // What is in the journal comes back from peers after a restart.
    let step = Step::new(0, StepKind::Validation).unwrap();
    let key = BallotKey { round: 1, prev: mine.header.prev_block_hash, step };
    let bytes: Arc<[u8]> = encode(&Frame::Validation(mine.clone())).into();
    let mut ballots = Ballots::default();
    ballots.cast(key, [1; 32], bytes);
    let (mut node, _) = one(voter(), ballots);
    assert!(!foreign(&node.deliver(3, &Frame::Validation(mine))));
    let second = Frame::Validation(node.vote(0, voter(), Vote::Invalid([3; 32])));
    assert!(foreign(&node.deliver(3, &second)), "another vote than the one in the journal");
}
