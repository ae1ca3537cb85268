//! Provisioners that lie.

use std::sync::Arc;

use dusk_node_data::ledger::{Block, Header, IterationsInfo, Signature, StepVotes};
use dusk_node_data::message::payload::{RatificationResult, Vote};
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::Unsigned;
use duskevm_dusk_l1::sa::rules::StepKind;
use duskevm_dusk_l1::sa::wire::{self, CandidateFrame, Frame, ValidationResult, VoteFrame};
use rand::Rng;
use rand::rngs::StdRng;

use crate::tally::Trouble;

/// How a provisioner lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Follows, but never says anything.
    Silent,
    /// Votes one way to one half of the others and another way to the other half.
    SplitVotes,
    /// Proposes one block to one half and another to the other half, and votes for both.
    TwoCandidates,
    /// Proposes blocks that break a rule.
    BadCandidate,
    /// Shows candidates to a single other node.
    Withhold,
    /// Proposes blocks whose blobs about half of the others cannot have.
    WithholdBlobs,
    /// Sends every quorum again as the failure of its iteration: the published node would believe it.
    Relabel,
    /// Sends old messages again, messages in the name of others, and bytes that are none.
    Forge,
    /// Follows the rules twice at once: two nodes with one key, of which neither knows what the other signs. Whatever
    /// divides the network has one of them on each side.
    Twin,
}

impl Strategy {
    /// Those that a single node follows.
    pub const ALL: [Self; 8] = [
        Self::Silent,
        Self::SplitVotes,
        Self::TwoCandidates,
        Self::BadCandidate,
        Self::Withhold,
        Self::WithholdBlobs,
        Self::Relabel,
        Self::Forge,
    ];

    /// The message that goes out in place of `what`; none for silence. With it, what is wrong with it.
    pub fn first(self, what: &Unsigned) -> (Option<Unsigned>, Option<Trouble>) {
        match (self, what) {
            (Self::Silent, _) => (None, Some(Trouble::Silence)),
            (Self::BadCandidate, Unsigned::Candidate(block)) => {
                (rehashed(spoilt(block.header().clone())), Some(Trouble::InvalidCandidate))
            }
            (Self::Withhold, Unsigned::Candidate(_)) => (Some(what.clone()), Some(Trouble::WithheldCandidate)),
            (Self::WithholdBlobs, Unsigned::Candidate(_)) => (Some(what.clone()), Some(Trouble::WithheldBlobs)),
            _ => (Some(what.clone()), None),
        }
    }

    /// A second message, for the other half of the nodes.
    pub fn second(self, what: &Unsigned) -> Option<(Unsigned, Trouble)> {
        match (self, what) {
            (Self::TwoCandidates, Unsigned::Candidate(block)) => {
                let header = Header { timestamp: block.header().timestamp + 1, ..block.header().clone() };
                Some((rehashed(header)?, Trouble::TwoCandidates))
            }
            (Self::SplitVotes, Unsigned::Vote { kind, header, vote, .. }) => {
                let (vote, result) = match (kind, vote) {
                    (StepKind::Ratification, Vote::NoQuorum) => return None,
                    (StepKind::Ratification, _) => (Vote::NoQuorum, Some(ValidationResult::none())),
                    (_, Vote::NoCandidate) => return None,
                    _ => (Vote::NoCandidate, None),
                };
                Some((Unsigned::Vote { kind: *kind, header: *header, vote, result }, Trouble::TwoVotes))
            }
            _ => None,
        }
    }

    /// What a liar signs on hearing a frame: a vote for every candidate of others who propose two.
    pub fn joins(self, frame: &Frame) -> Option<Unsigned> {
        match (self, frame) {
            (Self::TwoCandidates, Frame::Candidate(candidate)) => Some(Unsigned::Vote {
                kind: StepKind::Validation,
                header: candidate.consensus_header(),
                vote: Vote::Valid(candidate.header().hash),
                result: None,
            }),
            _ => None,
        }
    }

    /// A lie that a frame just heard allows.
    pub fn echo(self, frame: &Frame) -> Option<(Frame, Trouble)> {
        match (self, frame) {
            (Self::Relabel, Frame::Quorum(quorum)) => {
                let mut lie = quorum.clone();
                let RatificationResult::Success(vote) = lie.attestation.result else { return None };
                lie.attestation.result = RatificationResult::Fail(vote);
                Some((Frame::Quorum(lie), Trouble::Relabelled))
            }
            _ => None,
        }
    }
}

/// A header that no honest provisioner votes for: each height has another fault.
fn spoilt(header: Header) -> Header {
    match header.height % 6 {
        0 => Header { state_hash: [0xbb; 32], ..header },
        1 => Header { gas_limit: header.gas_limit + 1, ..header },
        2 => Header { seed: Signature::from([0xcc; 48]), ..header },
        3 => Header { timestamp: header.timestamp.saturating_sub(1000), ..header },
        4 => {
            let mut cert = header.prev_block_cert;
            cert.ratification = StepVotes::new([0xdd; 48], cert.ratification.bitset);
            Header { prev_block_cert: cert, ..header }
        }
        _ => {
            let mut failed = header.failed_iterations.att_list.clone();
            failed.push(None);
            Header { failed_iterations: IterationsInfo::new(failed), state_hash: [0xee; 32], ..header }
        }
    }
}

fn rehashed(header: Header) -> Option<Unsigned> {
    let block = Block::new(Header { hash: [0; 32], ..header }, Vec::new(), Vec::new()).ok()?;
    Some(Unsigned::Candidate(Arc::new(block)))
}

/// A frame like one just heard that its signer has not signed.
pub fn forged(frame: &Frame, dice: &mut StdRng) -> Option<Frame> {
    let vote = |vote: &VoteFrame, dice: &mut StdRng| {
        let mut lie = vote.clone();
        match dice.random_range(0..3) {
            0 => lie.header.iteration = (lie.header.iteration + 1) % 50,
            1 => lie.signature[dice.random_range(0..48)] ^= 1,
            _ => lie.header.round += dice.random_range(1..4),
        }
        lie
    };
    Some(match frame {
        Frame::Validation(heard) => match dice.random_bool(0.5) {
            true => Frame::Validation(vote(heard, dice)),
            false => Frame::Validation(VoteFrame { vote: Vote::Valid(dice.random()), ..heard.clone() }),
        },
        Frame::Ratification(heard) => {
            let mut lie = heard.clone();
            match heard.result.vote == Vote::NoQuorum || dice.random_bool(0.5) {
                true => lie.vote = vote(&heard.vote, dice),
                // Only the vote is signed: what it rests on can be exchanged by anybody.
                false => {
                    let votes = heard.result.votes;
                    lie.result.votes = StepVotes::new(*votes.aggregate_signature().inner(), votes.bitset ^ 1);
                }
            }
            Frame::Ratification(lie)
        }
        Frame::Quorum(heard) => {
            let mut lie = heard.clone();
            lie.attestation.ratification = StepVotes::new(
                *lie.attestation.ratification.aggregate_signature().inner(),
                lie.attestation.ratification.bitset ^ (1 << dice.random_range(0..20)),
            );
            Frame::Quorum(lie)
        }
        Frame::Candidate(heard) => {
            let header = Header { timestamp: heard.header().timestamp + 1, hash: [0; 32], ..heard.header().clone() };
            let block = Block::new(header, Vec::new(), Vec::new()).ok()?;
            Frame::Candidate(Arc::new(CandidateFrame::from_block(&block).ok()?))
        }
        _ => return None,
    })
}

/// Signs without asking any journal.
pub fn sign<B: Bls>(bls: &B, secret: &B::Secret, what: &Unsigned, unix: u64) -> Option<Arc<[u8]>> {
    let signature = bls.sign(secret, &what.signable());
    let frame = what.frame(&bls.id(secret), signature, unix).ok()?;
    Some(wire::encode(&frame).into())
}
