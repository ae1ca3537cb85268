//! Provisioners that lie.

use std::sync::Arc;

use dusk_node_data::ledger::{Block, Header};
use dusk_node_data::message::payload::{RatificationResult, Vote};
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::Unsigned;
use duskevm_dusk_l1::sa::rules::StepKind;
use duskevm_dusk_l1::sa::wire::{self, Frame, ValidationResult};

/// How a provisioner lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Follows, but never says anything.
    Silent,
    /// Votes one way to one half of the others and another way to the other half.
    SplitVotes,
    /// Proposes one block to one half and another to the other half.
    TwoCandidates,
    /// Proposes blocks that break a rule.
    BadCandidate,
    /// Shows candidates to a single other node.
    Withhold,
    /// Sends every quorum again as the failure of its iteration: the published node would believe it.
    Relabel,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Silent, Self::SplitVotes, Self::TwoCandidates, Self::BadCandidate, Self::Withhold, Self::Relabel];

    /// The message that goes out in place of `what`; none for silence.
    pub fn first(self, what: &Unsigned) -> Option<Unsigned> {
        match (self, what) {
            (Self::Silent, _) => None,
            (Self::BadCandidate, Unsigned::Candidate(block)) => {
                let header = Header { state_hash: [0xbb; 32], ..block.header().clone() };
                Some(Unsigned::Candidate(rehashed(header)?))
            }
            _ => Some(what.clone()),
        }
    }

    /// A second message, for the other half of the nodes.
    pub fn second(self, what: &Unsigned) -> Option<Unsigned> {
        match (self, what) {
            (Self::TwoCandidates, Unsigned::Candidate(block)) => {
                let header = Header { timestamp: block.header().timestamp + 1, ..block.header().clone() };
                Some(Unsigned::Candidate(rehashed(header)?))
            }
            (Self::SplitVotes, Unsigned::Vote { kind, header, vote, .. }) => {
                let (vote, result) = match (kind, vote) {
                    (StepKind::Ratification, Vote::NoQuorum) => return None,
                    (StepKind::Ratification, _) => (Vote::NoQuorum, Some(ValidationResult::none())),
                    (_, Vote::NoCandidate) => return None,
                    _ => (Vote::NoCandidate, None),
                };
                Some(Unsigned::Vote { kind: *kind, header: *header, vote, result })
            }
            _ => None,
        }
    }

    /// A lie that a frame just heard allows.
    pub fn echo(self, frame: &Frame) -> Option<Frame> {
        match (self, frame) {
            (Self::Relabel, Frame::Quorum(quorum)) => {
                let mut lie = quorum.clone();
                let RatificationResult::Success(vote) = lie.attestation.result else { return None };
                lie.attestation.result = RatificationResult::Fail(vote);
                Some(Frame::Quorum(lie))
            }
            _ => None,
        }
    }
}

fn rehashed(header: Header) -> Option<Arc<Block>> {
    Block::new(Header { hash: [0; 32], ..header }, Vec::new(), Vec::new()).ok().map(Arc::new)
}

/// Signs without asking any journal.
pub fn sign<B: Bls>(bls: &B, secret: &B::Secret, what: &Unsigned, unix: u64) -> Option<Arc<[u8]>> {
    let signature = bls.sign(secret, &what.signable());
    let frame = what.frame(&bls.id(secret), signature, unix).ok()?;
    Some(wire::encode(&frame).into())
}
