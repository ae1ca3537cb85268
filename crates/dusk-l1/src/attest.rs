//! The certificate of a block when one provisioner holds every credit.
//!
//! With a single eligible stake Dusk's sortition gives it all 64 credits of every committee, and each of its votes is a
//! quorum. The attestation made here is exactly that network's: real votes, signed and aggregated in the published
//! formats, committee bit 0 set.

use dusk_node_data::ledger::{Attestation, Header, StepVotes};
use dusk_node_data::message::payload::{Ratification, RatificationResult, Validation, ValidationResult, Vote};
use dusk_node_data::message::{ConsensusHeader, SignInfo};

use crate::keys::{AccountId, KeyError, Signer, sign_info, verify_step};
use crate::rewards::COMMITTEE_CREDITS;

/// Bitset of a committee with one member.
const SOLE_MEMBER: u64 = 1;

/// Why a certificate is not a success of the sole provisioner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// Not a success, or of another block.
    #[error("the certificate does not attest the block")]
    WrongResult,
    /// Votes of a member that does not exist, or none.
    #[error("the certificate's {0} votes are not those of the one provisioner")]
    WrongCommittee(&'static str),
    /// A vote's signature.
    #[error("the certificate's {step} vote: {error}")]
    Signature {
        /// `validation` or `ratification`.
        step: &'static str,
        /// What is wrong with it.
        error: KeyError,
    },
}

fn validation(header: &Header, info: SignInfo) -> Validation {
    Validation { header: consensus_header(header), vote: Vote::Valid(header.hash), sign_info: info }
}

fn ratification(header: &Header, info: SignInfo) -> Ratification {
    Ratification {
        header: consensus_header(header),
        vote: Vote::Valid(header.hash),
        timestamp: header.timestamp,
        validation_result: ValidationResult::default(),
        sign_info: info,
    }
}

fn consensus_header(header: &Header) -> ConsensusHeader {
    header.to_consensus_header()
}

/// Votes for the block with `header` (its hash set) in both steps.
pub fn attest(provisioner: &Signer, header: &Header) -> Attestation {
    let mut first = validation(header, SignInfo::default());
    provisioner.sign_step(&mut first);
    let mut second = ratification(header, SignInfo::default());
    provisioner.sign_step(&mut second);
    Attestation {
        result: RatificationResult::Success(Vote::Valid(header.hash)),
        validation: StepVotes::new(*first.sign_info.signature.inner(), SOLE_MEMBER),
        ratification: StepVotes::new(*second.sign_info.signature.inner(), SOLE_MEMBER),
    }
}

/// Checks that `attestation` is the sole provisioner's for the block with `header` (its hash set).
pub fn verify(attestation: &Attestation, header: &Header, provisioner: &AccountId) -> Result<(), AttestationError> {
    if attestation.result != RatificationResult::Success(Vote::Valid(header.hash)) {
        return Err(AttestationError::WrongResult);
    }
    let votes = |step: &'static str, votes: &StepVotes| {
        // Dusk ignores bits beyond the committee; here they would give one block many forms.
        if votes.bitset != SOLE_MEMBER {
            return Err(AttestationError::WrongCommittee(step));
        }
        sign_info(provisioner, votes.aggregate_signature()).map_err(|error| AttestationError::Signature { step, error })
    };
    let info = votes("validation", &attestation.validation)?;
    verify_step(&validation(header, info))
        .map_err(|error| AttestationError::Signature { step: "validation", error })?;
    let info = votes("ratification", &attestation.ratification)?;
    verify_step(&ratification(header, info))
        .map_err(|error| AttestationError::Signature { step: "ratification", error })
}

/// The voters of a certificate with their credits: everything to the sole provisioner, nobody for the empty one.
pub fn voters(attestation: &Attestation, provisioner: AccountId) -> Vec<(AccountId, u32)> {
    let credits = [attestation.validation.bitset, attestation.ratification.bitset]
        .into_iter()
        .filter(|bitset| *bitset == SOLE_MEMBER)
        .count() as u32
        * COMMITTEE_CREDITS as u32;
    if credits == 0 { Vec::new() } else { vec![(provisioner, credits)] }
}
