use std::sync::Arc;

use super::*;
use crate::keys::{AccountId, Signer};
use crate::sa::bls::{DuskBls, StandIn};
use crate::sa::provisioners::Provisioners;
use crate::sa::rules::{MINIMUM_STAKE, Quorums};

const HASH: [u8; 32] = [1; 32];

fn header(iteration: u8) -> ConsensusHeader {
    ConsensusHeader { prev_block_hash: [2; 32], round: 3, iteration }
}

fn committees(ids: impl Iterator<Item = AccountId>) -> Committees {
    let set = Provisioners::from_entries(ids.map(|id| (id, MINIMUM_STAKE, 0)));
    Committees::new([5; 48], 3, Arc::new(set), Quorums::published())
}

/// The bits of a step's first members, as few as have at least `credits`.
fn bits(committees: &Committees, iteration: u8, step: StepKind, credits: u32) -> u64 {
    let committee = committees.get(Step::new(iteration, step).unwrap());
    let mut bits = 0;
    for i in 0..committee.len() {
        if committee.credits(bits) >= credits {
            break;
        }
        bits |= 1 << i;
    }
    bits
}

struct Network<B: Bls> {
    bls: B,
    committees: Committees,
    secrets: Vec<B::Secret>,
}

impl Network<StandIn> {
    fn stand_in() -> Self {
        let secrets: Vec<_> = (0..20).map(StandIn::id).collect();
        Self { bls: StandIn, committees: committees(secrets.iter().copied()), secrets }
    }
}

impl<B: Bls> Network<B> {
    fn votes(&self, iteration: u8, step: StepKind, vote: &Vote, bits: u64) -> StepVotes {
        let committee = self.committees.get(Step::new(iteration, step).unwrap());
        let message = signed_bytes(step, &header(iteration), vote);
        let mut sum = None;
        for secret in &self.secrets {
            let named = committee.position(self.bls.id(secret).as_bytes()).is_some_and(|bit| bits >> bit & 1 == 1);
            if named {
                sum = Some(self.bls.add(sum, &self.bls.sign(secret, &message)).unwrap());
            }
        }
        StepVotes::new(sum.map_or([0; 48], |sum| self.bls.sum_bytes(&sum)), bits)
    }

    /// An attestation in due form.
    fn attest(&self, iteration: u8, vote: Vote) -> Attestation {
        let quorum = Quorums::published().of(&vote);
        let votes = |step| self.votes(iteration, step, &vote, bits(&self.committees, iteration, step, quorum));
        let validation = if vote == Vote::NoQuorum { StepVotes::default() } else { votes(StepKind::Validation) };
        Attestation { result: vote.into(), validation, ratification: votes(StepKind::Ratification) }
    }

    fn verify(&self, attestation: &Attestation, expect: Expect<'_>) -> Result<Voters, AttestationError> {
        verify_attestation(&self.bls, attestation, &header(4), &self.committees, expect)
    }
}

const EVERY_VOTE: [Vote; 4] = [Vote::Valid(HASH), Vote::Invalid(HASH), Vote::NoCandidate, Vote::NoQuorum];

fn good_ones_pass<B: Bls>(network: &Network<B>) {
    for vote in EVERY_VOTE {
        let attestation = network.attest(4, vote);
        let voters = network.verify(&attestation, Expect::Any).unwrap();
        assert!(voters.is_sorted_by(|(a, _), (b, _)| a < b));
        let credits: u32 = voters.iter().map(|(_, credits)| credits).sum();
        let steps = if vote == Vote::NoQuorum { 1 } else { 2 };
        assert!(credits >= steps * Quorums::published().of(&vote), "{vote:?}");
        assert_eq!(network.verify(&attestation, Expect::Fail).is_ok(), !vote.is_valid());
        assert_eq!(network.verify(&attestation, Expect::Success(&HASH)).is_ok(), vote.is_valid());
        assert!(network.verify(&attestation, Expect::Success(&[9; 32])).is_err());
        assert_eq!(super::voters(&attestation, &header(4), &network.committees), Ok(voters));
    }
}

#[test]
fn attestations_in_due_form_pass() {
    good_ones_pass(&Network::stand_in());
}

#[test]
fn attestations_with_real_signatures_pass() {
    let secrets: Vec<_> = (0..6u8).map(|i| Signer::from_seed(&[i])).collect();
    let committees = committees(secrets.iter().map(Signer::id));
    good_ones_pass(&Network { bls: DuskBls::default(), committees, secrets });
}

/// The published check takes any failure whatever its vote: a success of block A with its result byte changed would
/// count as a failed iteration.
#[test]
fn a_success_is_not_passed_off_as_a_failure() {
    let network = Network::stand_in();
    for vote in EVERY_VOTE {
        let mut attestation = network.attest(4, vote);
        attestation.result = match attestation.result {
            RatificationResult::Success(vote) => RatificationResult::Fail(vote),
            RatificationResult::Fail(vote) => RatificationResult::Success(vote),
        };
        let result = attestation.result;
        for expect in [Expect::Any, Expect::Fail, Expect::Success(&HASH)] {
            assert_eq!(network.verify(&attestation, expect), Err(AttestationError::Relabelled(result)));
        }
    }
}

#[test]
fn no_quorum_carries_no_validation_votes() {
    let network = Network::stand_in();
    let mut attestation = network.attest(4, Vote::NoQuorum);
    for votes in
        [network.attest(4, Vote::NoCandidate).validation, StepVotes::new([0; 48], 1), StepVotes::new([1; 48], 0)]
    {
        attestation.validation = votes;
        assert_eq!(network.verify(&attestation, Expect::Any), Err(AttestationError::Superfluous));
    }
}

#[test]
fn bits_beyond_the_committee_are_refused() {
    let network = Network::stand_in();
    for step in [StepKind::Validation, StepKind::Ratification] {
        let mut attestation = network.attest(4, Vote::Valid(HASH));
        let votes =
            if step == StepKind::Validation { &mut attestation.validation } else { &mut attestation.ratification };
        *votes = StepVotes::new(*votes.aggregate_signature().inner(), votes.bitset | 1 << 63);
        let error = network.verify(&attestation, Expect::Any).unwrap_err();
        assert!(matches!(error, AttestationError::Bits { step: s, .. } if s == step), "{error}");
    }
}

#[test]
fn one_credit_less_is_no_quorum() {
    let network = Network::stand_in();
    for vote in EVERY_VOTE {
        let quorum = Quorums::published().of(&vote);
        let mut attestation = network.attest(4, vote);
        // Without the last of the voters that were just enough.
        let bits = attestation.ratification.bitset;
        let bits = bits & !(1 << (63 - bits.leading_zeros()));
        attestation.ratification = network.votes(4, StepKind::Ratification, &vote, bits);
        let error = network.verify(&attestation, Expect::Any).unwrap_err();
        assert!(
            matches!(error, AttestationError::Credits { credits, quorum: q, .. } if credits < q && q == quorum),
            "{error}"
        );
    }
    let nothing = Attestation::default();
    assert!(matches!(network.verify(&nothing, Expect::Any), Err(AttestationError::Credits { credits: 0, .. })));
}

#[test]
fn signatures_bind_round_parent_iteration_step_and_vote() {
    let network = Network::stand_in();
    let attestation = network.attest(4, Vote::Valid(HASH));
    let check = |header: &ConsensusHeader, attestation: &Attestation| {
        verify_attestation(&network.bls, attestation, header, &network.committees, Expect::Any)
    };
    assert!(check(&header(4), &attestation).is_ok());
    let parent = ConsensusHeader { prev_block_hash: [3; 32], ..header(4) };
    assert!(matches!(check(&parent, &attestation), Err(AttestationError::Signature { .. })));
    assert!(check(&header(5), &attestation).is_err());
    let round = ConsensusHeader { round: 4, ..header(4) };
    assert_eq!(check(&round, &attestation), Err(AttestationError::Round { got: 4, want: 3 }));
    assert_eq!(check(&header(50), &attestation), Err(AttestationError::Iteration(50)));
    assert_eq!(check(&header(255), &attestation), Err(AttestationError::Iteration(255)));
    let swapped =
        Attestation { validation: attestation.ratification, ratification: attestation.validation, ..attestation };
    assert!(check(&header(4), &swapped).is_err());
    let other = Attestation { result: Vote::Valid([8; 32]).into(), ..attestation };
    assert!(matches!(check(&header(4), &other), Err(AttestationError::Signature { .. })));
}
