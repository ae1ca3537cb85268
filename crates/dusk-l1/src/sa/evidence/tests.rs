use super::*;
use crate::keys::Signer;
use crate::sa::bls::DuskBls;
use crate::sa::provisioners::Provisioners;
use crate::sa::rules::{MINIMUM_STAKE, Quorums};

const PARENT: [u8; 32] = [4; 32];

struct Chain;

impl Headers for Chain {
    fn height_of(&self, hash: &[u8; 32]) -> Option<u64> {
        (*hash == PARENT).then_some(4999)
    }
}

fn signer(i: u8) -> Signer {
    Signer::from_seed(&[i])
}

fn header(iteration: u8) -> ConsensusHeader {
    ConsensusHeader { prev_block_hash: PARENT, round: 5000, iteration }
}

fn vote_at(signer: &Signer, header: ConsensusHeader, kind: StepKind, vote: Vote) -> VoteFrame {
    let mut frame = VoteFrame { header, vote, signer: *signer.id().as_bytes(), signature: [0; 48] };
    frame.signature = DuskBls::default().sign(signer, &frame.signed_bytes(kind));
    frame
}

fn vote(signer: &Signer, kind: StepKind, vote: Vote) -> VoteFrame {
    vote_at(signer, header(2), kind, vote)
}

const A: Vote = Vote::Valid([1; 32]);
const B: Vote = Vote::Valid([2; 32]);
const BOTH: [StepKind; 2] = [StepKind::Validation, StepKind::Ratification];

fn verify(fault: &Fault, height: u64) -> Result<AccountId, FaultError> {
    verify_fault(&DuskBls::default(), fault, height, &Chain, &|_| None, &|_| false)
}

fn double(kind: StepKind) -> Fault {
    fault(kind, &vote(&signer(1), kind, A), &vote(&signer(1), kind, B)).unwrap()
}

/// A fault of any two halves, whether they belong together or not.
fn raw(kind: StepKind, votes: [&VoteFrame; 2]) -> Fault {
    let mut bytes = vec![if kind == StepKind::Ratification { 1 } else { 2 }];
    for vote in votes {
        write(&mut bytes, &vote.header);
        bytes.extend_from_slice(&vote.signer);
        bytes.extend_from_slice(&vote.signature);
        write(&mut bytes, &vote.vote);
    }
    Fault::read(&mut &bytes[..]).unwrap()
}

#[test]
fn two_votes_become_a_fault_that_the_published_check_takes() {
    crate::forks::activate();
    for kind in BOTH {
        for pair in [(A, B), (A, Vote::NoCandidate), (Vote::Invalid([1; 32]), A)] {
            let (a, b) = (vote(&signer(1), kind, pair.0), vote(&signer(1), kind, pair.1));
            let mut evidence = Evidence::default();
            evidence.note(kind, &a, &b);
            let faults = evidence.take(5000);
            assert_eq!(faults.len(), 1);
            assert!(faults[0].validate(5000).is_ok());
            assert_eq!(verify(&faults[0], 5000), Ok(signer(1).id()));
            // Either order gives the same bytes.
            assert_eq!(written(&faults[0]), written(&fault(kind, &b, &a).unwrap()));
        }
    }
}

#[test]
fn evidence_waits_until_it_is_included_and_is_not_kept_twice() {
    let mut evidence = Evidence::default();
    for kind in BOTH {
        evidence.note(kind, &vote(&signer(1), kind, A), &vote(&signer(1), kind, B));
        evidence.note(kind, &vote(&signer(1), kind, A), &vote(&signer(1), kind, Vote::NoCandidate));
    }
    assert_eq!(evidence.len(), 2);
    let faults = evidence.take(5000);
    assert_eq!(faults.len(), 2);
    assert_eq!(evidence.take(5000).len(), 2);
    assert!(evidence.take(4999).is_empty());
    assert_eq!(evidence.take(5000 + FAULT_LIFETIME).len(), 2);
    assert!(evidence.take(5001 + FAULT_LIFETIME).is_empty());
    evidence.included(&faults[..1]);
    assert_eq!(evidence.len(), 1);
    evidence.forget_before(5001 + FAULT_LIFETIME);
    assert!(evidence.is_empty());
}

#[test]
fn what_proves_nothing_is_not_noted() {
    let mut evidence = Evidence::default();
    let kind = StepKind::Validation;
    let a = vote(&signer(1), kind, A);
    evidence.note(kind, &a, &a);
    evidence.note(kind, &a, &vote(&signer(2), kind, B));
    evidence.note(kind, &a, &vote_at(&signer(1), header(3), kind, B));
    evidence.note(StepKind::Proposal, &a, &vote(&signer(1), kind, B));
    let late = |v| vote_at(&signer(1), header(16), kind, v);
    evidence.note(kind, &late(A), &late(B));
    assert!(evidence.is_empty());
}

#[test]
fn each_rule_refuses_with_its_own_error() {
    let kind = StepKind::Validation;
    let (a, b) = (vote(&signer(1), kind, A), vote(&signer(1), kind, B));
    assert_eq!(verify(&raw(kind, [&a, &b]), 5000), Ok(signer(1).id()));
    assert_eq!(verify(&raw(kind, [&a, &a]), 5000), Err(FaultError::SameVote));
    let other = vote(&signer(2), kind, B);
    assert_eq!(verify(&raw(kind, [&a, &other]), 5000), Err(FaultError::DifferentSigners));
    let elsewhere = vote_at(&signer(1), header(3), kind, B);
    assert_eq!(verify(&raw(kind, [&a, &elsewhere]), 5000), Err(FaultError::DifferentSteps));

    let fault = raw(kind, [&a, &b]);
    assert_eq!(verify(&fault, 4999), Err(FaultError::Round { round: 5000, height: 4999 }));
    assert!(verify(&fault, 5000 + FAULT_LIFETIME).is_ok());
    let height = 5001 + FAULT_LIFETIME;
    assert_eq!(verify(&fault, height), Err(FaultError::Expired { round: 5000, height }));

    let pair = |header: ConsensusHeader| {
        raw(kind, [&vote_at(&signer(1), header, kind, A), &vote_at(&signer(1), header, kind, B)])
    };
    for iteration in [16, 50, 255] {
        assert_eq!(verify(&pair(header(iteration)), 5000), Err(FaultError::Emergency(iteration)));
    }
    let genesis = ConsensusHeader { round: 0, ..header(2) };
    assert_eq!(verify(&pair(genesis), 10), Err(FaultError::Round { round: 0, height: 10 }));
    let replaced = ConsensusHeader { prev_block_hash: [5; 32], ..header(2) };
    assert_eq!(verify(&pair(replaced), 5000), Err(FaultError::UnknownParent));
    let lower = ConsensusHeader { round: 4999, ..header(2) };
    assert_eq!(verify(&pair(lower), 5000), Err(FaultError::UnknownParent));
}

#[test]
fn signatures_are_checked_for_the_right_step() {
    let (a, b) = (vote(&signer(1), StepKind::Validation, A), vote(&signer(1), StepKind::Validation, B));
    assert_eq!(
        verify(&raw(StepKind::Ratification, [&a, &b]), 5000),
        Err(FaultError::Signature(KeyError::BadSignature))
    );
    let forged = VoteFrame { vote: Vote::NoCandidate, ..a.clone() };
    assert!(matches!(verify(&raw(StepKind::Validation, [&a, &forged]), 5000), Err(FaultError::Signature(_))));
}

#[test]
fn a_fault_is_punished_once_for_each_signer_and_step() {
    let known = fault_id(&double(StepKind::Validation)).unwrap();
    let seen = |id: &FaultId| *id == known;
    let check = |fault: &Fault| verify_fault(&DuskBls::default(), fault, 5000, &Chain, &|_| None, &seen);
    assert_eq!(check(&double(StepKind::Validation)), Err(FaultError::Known));
    let kind = StepKind::Validation;
    let third = fault(kind, &vote(&signer(1), kind, A), &vote(&signer(1), kind, Vote::NoCandidate)).unwrap();
    assert_eq!(check(&third), Err(FaultError::Known));
    assert!(check(&double(StepKind::Ratification)).is_ok());
    // The same two votes of somebody else.
    let other = fault(kind, &vote(&signer(2), kind, A), &vote(&signer(2), kind, B)).unwrap();
    assert_eq!(check(&other), Ok(signer(2).id()));
}

#[test]
fn members_only_where_the_committee_is_known() {
    let set = Provisioners::from_entries((1..6).map(|i| (signer(i).id(), MINIMUM_STAKE, 0)));
    let committees = Arc::new(Committees::new([7; 48], 5000, Arc::new(set), Quorums::published()));
    let kind = StepKind::Validation;
    let committee = committees.get(Step::new(2, kind).unwrap());
    let known = |round| (round == 5000).then(|| committees.clone());
    let mut members = 0;
    for i in 1..6 {
        let fault = fault(kind, &vote(&signer(i), kind, A), &vote(&signer(i), kind, B)).unwrap();
        let result = verify_fault(&DuskBls::default(), &fault, 5000, &Chain, &known, &|_| false);
        if committee.contains(signer(i).id().as_bytes()) {
            members += 1;
            assert_eq!(result, Ok(signer(i).id()));
        } else {
            assert_eq!(result, Err(FaultError::NotMember(Box::new(signer(i).id()))));
        }
    }
    assert!((1..5).contains(&members), "{members}");
}

#[test]
fn two_candidates_are_no_proof() {
    let mut bytes = vec![0];
    for byte in [1, 2] {
        write(&mut bytes, &header(2));
        bytes.extend_from_slice(signer(1).id().as_bytes());
        bytes.extend_from_slice(&[byte; 48]);
        bytes.extend_from_slice(&[byte; 32]);
    }
    let fault = Fault::read(&mut &bytes[..]).unwrap();
    assert_eq!(verify(&fault, 5000), Err(FaultError::Candidates));
    assert_eq!(fault_id(&fault), Err(FaultError::Candidates));
}

#[test]
fn waiting_evidence_is_bounded() {
    let mut evidence = Evidence::default();
    let (a, b) = (vote(&signer(1), StepKind::Validation, A), vote(&signer(1), StepKind::Validation, B));
    for round in 1..=MAX_WAITING as u64 + 5 {
        let at = |v: &VoteFrame| VoteFrame { header: ConsensusHeader { round, ..v.header }, ..v.clone() };
        evidence.note(StepKind::Validation, &at(&a), &at(&b));
    }
    assert_eq!(evidence.len(), MAX_WAITING);
    assert_eq!(evidence.take(MAX_WAITING as u64).len(), MAX_FAULTS);
}
