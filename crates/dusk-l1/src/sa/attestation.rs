//! Checks of attestations.
//!
//! Source: `verify_att` of the published node and `quorum::verifiers` of its consensus crate. Stricter in what those
//! leave open: the result byte, which nobody signs, must be the one that follows from the vote (otherwise a success can
//! be passed off as a failure and its iteration skipped at no cost); bits beyond the committee are refused; an
//! attestation of `NoQuorum` carries no Validation votes. Each would give one set of votes many forms.

use std::collections::BTreeMap;

use dusk_node_data::ledger::{Attestation, Header, StepVotes};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::{RatificationResult, Vote};

use crate::keys::KeyError;
use crate::sa::bls::Bls;
use crate::sa::committee::{BitsError, Committees};
use crate::sa::rules::{MAX_ITERATION, RELAXED, Step, StepKind};
use crate::sa::wire::{is_empty, signed_bytes};

pub use crate::sa::committee::Voters;

/// What an attestation must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect<'a> {
    /// The success of the block with this hash.
    Success(&'a [u8; 32]),
    /// Any failure.
    Fail,
    /// Anything.
    Any,
}

/// Why an attestation proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// Success without a valid block, or failure with one.
    #[error("the attestation's result {0:?} contradicts its vote")]
    Relabelled(RatificationResult),
    /// Not what it should say.
    #[error("the attestation says {0:?}, which is not what is expected here")]
    Unexpected(RatificationResult),
    /// Of another round than the committees.
    #[error("the attestation is of round {got}, the committees are of round {want}")]
    Round {
        /// Its round.
        got: u64,
        /// The round of the committees.
        want: u64,
    },
    /// Of an iteration that does not exist.
    #[error("iteration {0} does not exist")]
    Iteration(u8),
    /// Votes of the first step where there are none to be.
    #[error("an attestation of no quorum carries Validation votes")]
    Superfluous,
    /// Votes that name nobody.
    #[error("{step:?} votes: {error}")]
    Bits {
        /// Of which step.
        step: StepKind,
        /// What they name.
        error: BitsError,
    },
    /// Not enough of them.
    #[error("{step:?} votes of {credits} credits are less than the quorum of {quorum}")]
    Credits {
        /// Of which step.
        step: StepKind,
        /// Credits of the voters.
        credits: u32,
        /// Credits that are needed.
        quorum: u32,
    },
    /// Not signed by them.
    #[error("{step:?} votes: {error}")]
    Signature {
        /// Of which step.
        step: StepKind,
        /// What is wrong.
        error: KeyError,
    },
}

/// Whether the result is the one that follows from the vote.
pub fn is_consistent(result: &RatificationResult) -> bool {
    *result == RatificationResult::from(*result.vote())
}

/// Checks `attestation` for the iteration of `header` and gives its voters with the credits of both steps. `header` is
/// that of the attested block or iteration, `committees` those of its round.
pub fn verify_attestation<B: Bls>(
    bls: &B,
    attestation: &Attestation,
    header: &ConsensusHeader,
    committees: &Committees,
    expect: Expect<'_>,
) -> Result<Voters, AttestationError> {
    let result = attestation.result;
    if !is_consistent(&result) {
        return Err(AttestationError::Relabelled(result));
    }
    let expected = match expect {
        Expect::Success(hash) => *result.vote() == Vote::Valid(*hash),
        Expect::Fail => result.failed(),
        Expect::Any => true,
    };
    if !expected {
        return Err(AttestationError::Unexpected(result));
    }
    let vote = result.vote();
    let check = |votes: &StepVotes, step: StepKind| verify_step_votes(bls, votes, step, header, vote, committees);
    let first = match (vote, is_empty(&attestation.validation)) {
        (Vote::NoQuorum, true) => Voters::new(),
        (Vote::NoQuorum, false) => return Err(AttestationError::Superfluous),
        _ => check(&attestation.validation, StepKind::Validation)?,
    };
    Ok(merge(first, check(&attestation.ratification, StepKind::Ratification)?))
}

/// Checks that `votes` of a step are a quorum for `vote`, and gives the voters.
pub fn verify_step_votes<B: Bls>(
    bls: &B,
    votes: &StepVotes,
    step: StepKind,
    header: &ConsensusHeader,
    vote: &Vote,
    committees: &Committees,
) -> Result<Voters, AttestationError> {
    if header.round != committees.round() {
        return Err(AttestationError::Round { got: header.round, want: committees.round() });
    }
    let place = Step::new(header.iteration, step).ok_or(AttestationError::Iteration(header.iteration))?;
    let committee = committees.get(place);
    let voters = committee.check_bits(votes.bitset).map_err(|error| AttestationError::Bits { step, error })?;
    let credits = committee.credits(votes.bitset);
    let quorum = committee.quorum(vote);
    if credits < quorum {
        return Err(AttestationError::Credits { step, credits, quorum });
    }
    let message = signed_bytes(step, header, vote);
    bls.verify_ids(voters.iter().map(|(id, _)| id), &message, votes.aggregate_signature().inner())
        .map_err(|error| AttestationError::Signature { step, error })?;
    Ok(voters)
}

/// The voters of an attestation that was verified before.
pub fn voters(
    attestation: &Attestation,
    header: &ConsensusHeader,
    committees: &Committees,
) -> Result<Voters, AttestationError> {
    let of = |votes: &StepVotes, step: StepKind| {
        let place = Step::new(header.iteration, step).ok_or(AttestationError::Iteration(header.iteration))?;
        committees.get(place).check_bits(votes.bitset).map_err(|error| AttestationError::Bits { step, error })
    };
    Ok(merge(
        of(&attestation.validation, StepKind::Validation)?,
        of(&attestation.ratification, StepKind::Ratification)?,
    ))
}

/// Earlier iterations of the header's round that are not attested as failed (PNI). `None` if the iteration does not exist or the
/// list does not fit it, so that a checked header always has one.
pub fn unattested(header: &Header) -> Option<u8> {
    let list = &header.failed_iterations.att_list;
    if header.iteration >= MAX_ITERATION || list.len() != listed(header.iteration) {
        return None;
    }
    let attested = u8::try_from(list.iter().flatten().count()).ok()?;
    header.iteration.checked_sub(attested)
}

/// Entries that a header's list of failed iterations has.
pub(crate) fn listed(iteration: u8) -> usize {
    usize::from(iteration.min(RELAXED))
}

/// Both lists, ascending by key, credits added. Source: `merge_voters`.
fn merge(first: Voters, second: Voters) -> Voters {
    let mut all = BTreeMap::new();
    for (id, credits) in first.into_iter().chain(second) {
        *all.entry(id).or_insert(0) += credits;
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests;
