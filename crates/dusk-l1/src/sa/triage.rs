//! What may be asked of the processor before a signature is known to be good.
//!
//! [`triage`] looks at a frame without any cryptography: height, branch, iteration, whether it is known, whether its
//! signer belongs to the committee. What remains is a [`Check`], which any worker can run; only it makes a [`Checked`].

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use dusk_node_data::ledger::Header;
use dusk_node_data::message::payload::{RatificationResult, Vote};

use super::attestation::{Expect, verify_attestation, verify_step_votes};
use super::bls::Bls;
use super::committee::Committees;
use super::provisioners::Provisioners;
use super::round::MAX_CANDIDATES;
use super::rules::{MAX_ROUND_DISTANCE, Step, StepKind};
use super::wire::{Frame, VoteFrame, encode};
use crate::Block;
use crate::keys::AccountId;

/// Distinct votes of one signer for one step that are passed on: a second one is evidence.
const MAX_VOTES: usize = 2;

/// Something whose signatures were checked: made by the checks of this module, or of what this node signed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// For what this node signed or verified by other means, and for tests.
    pub(crate) fn trusted(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Why a frame goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Of a round that is over.
    #[error("the round is over")]
    Past,
    /// Too many rounds ahead.
    #[error("too many rounds ahead")]
    Far,
    /// Above another block than the own tip.
    #[error("above another block")]
    Elsewhere,
    /// Nothing new.
    #[error("known")]
    Known,
    /// Not a message of the consensus.
    #[error("not a message of the consensus")]
    Topic,
    /// Signed by nobody who may.
    #[error("the signer is not in the committee of the step")]
    NotMember,
    /// A signature, hash or root does not match.
    #[error("a signature or hash does not match")]
    Invalid,
}

/// What becomes of a frame.
#[derive(Debug)]
pub enum Triage {
    /// Its sender should have known better.
    Reject(Why),
    /// Of no use here.
    Ignore(Why),
    /// Cannot be judged yet.
    Later,
    /// Worth checking.
    Check(Box<Check>),
}

/// What the machine knows when a frame comes.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) height: u64,
    pub(super) tip: &'a [u8; 32],
    pub(super) committees: &'a Arc<Committees>,
    pub(super) provisioners: &'a Provisioners,
    pub(super) seen: &'a Seen,
}

/// Distinct votes of one member in one step.
type Said = [Option<Vote>; MAX_VOTES];

/// What of a round was taken, so that repetitions cost nothing. Bounded by committees and iterations.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By the bits of the members.
    votes: BTreeMap<Step, Vec<Said>>,
    candidates: BTreeMap<u8, Vec<[u8; 32]>>,
    outcomes: BTreeMap<Step, Vec<Vote>>,
}

impl Seen {
    /// Takes note of a frame that passed its check. `bit` is the signer's in the committee of the step, if the frame is a
    /// vote. False if it is known or one too many.
    pub(super) fn note(&mut self, frame: &Frame, bit: Option<u8>) -> bool {
        if self.knows(frame, bit) {
            return false;
        }
        let Some(step) = frame.step() else { return false };
        match frame {
            Frame::Candidate(candidate) => {
                self.candidates.entry(step.iteration).or_default().push(candidate.header().hash);
            }
            Frame::Validation(vote) => self.note_vote(step, bit, vote.vote),
            Frame::Ratification(frame) => self.note_vote(step, bit, frame.vote.vote),
            _ => match outcome(frame) {
                Some(vote) => self.outcomes.entry(step).or_default().push(vote),
                None => return false,
            },
        }
        true
    }

    fn note_vote(&mut self, step: Step, bit: Option<u8>, vote: Vote) {
        let said = self.votes.entry(step).or_default();
        let at = usize::from(bit.unwrap_or_default());
        if said.len() <= at {
            said.resize(at + 1, Said::default());
        }
        if let Some(free) = said.get_mut(at).and_then(|said| said.iter_mut().find(|said| said.is_none())) {
            *free = Some(vote);
        }
    }

    /// Whether there is nothing to be had from a frame any more.
    fn knows(&self, frame: &Frame, bit: Option<u8>) -> bool {
        let Some(step) = frame.step() else { return true };
        match frame {
            Frame::Candidate(candidate) => self
                .candidates
                .get(&step.iteration)
                .is_some_and(|known| known.len() >= MAX_CANDIDATES || known.contains(&candidate.header().hash)),
            Frame::Validation(vote) => self.knows_vote(step, bit, vote.vote),
            Frame::Ratification(frame) => self.knows_vote(step, bit, frame.vote.vote),
            _ => outcome(frame).is_none_or(|vote| self.outcomes.get(&step).is_some_and(|known| known.contains(&vote))),
        }
    }

    fn knows_vote(&self, step: Step, bit: Option<u8>, vote: Vote) -> bool {
        // Who has no bit has no vote.
        let Some(bit) = bit else { return true };
        let said = self.votes.get(&step).and_then(|said| said.get(usize::from(bit)));
        said.is_some_and(|said| said.iter().all(Option::is_some) || said.contains(&Some(vote)))
    }

    /// Distinct votes of a member in a step.
    pub(super) fn votes(&self, step: Step, bit: u8) -> usize {
        let said = self.votes.get(&step).and_then(|said| said.get(usize::from(bit)));
        said.map_or(0, |said| said.iter().flatten().count())
    }
}

/// What a quorum agrees on.
fn outcome(frame: &Frame) -> Option<Vote> {
    match frame {
        Frame::Quorum(quorum) => Some(*quorum.attestation.result.vote()),
        Frame::ValidationQuorum(quorum) => Some(quorum.result.vote),
        _ => None,
    }
}

/// Who signed a frame, or is said to.
pub(super) fn signer(frame: &Frame) -> Option<[u8; 96]> {
    match frame {
        Frame::Candidate(candidate) => Some(*candidate.header().generator_bls_pubkey.inner()),
        Frame::Validation(vote) => Some(vote.signer),
        Frame::Ratification(frame) => Some(frame.vote.signer),
        _ => None,
    }
}

/// Bytes that a waiting frame takes.
pub(super) fn weight(frame: &Frame) -> usize {
    match frame {
        Frame::Candidate(candidate) => candidate.bytes().len(),
        other => encode(other).len(),
    }
}

/// Decides by `scene` what becomes of `frame`.
pub(super) fn triage(scene: &Scene<'_>, frame: &Frame) -> Triage {
    let (Some(header), Some(step)) = (frame.consensus_header(), frame.step()) else {
        return Triage::Ignore(Why::Topic);
    };
    if header.round <= scene.height {
        return Triage::Ignore(Why::Past);
    }
    if header.round - scene.height > MAX_ROUND_DISTANCE {
        return Triage::Ignore(Why::Far);
    }
    let signer = signer(frame);
    if header.round > scene.height + 1 {
        return match signer {
            Some(signer) if !scene.provisioners.is_eligible(&signer, header.round) => Triage::Ignore(Why::NotMember),
            // A quorum alone is of no use without its block's parent.
            None => Triage::Ignore(Why::Far),
            Some(_) => Triage::Later,
        };
    }
    if header.prev_block_hash != *scene.tip {
        return Triage::Ignore(Why::Elsewhere);
    }
    // A round has 150 committees, drawn once each, so asking for those of far iterations costs nobody much.
    let (entitled, bit) = match (signer, step.kind) {
        (None, _) => (true, None),
        (Some(signer), StepKind::Proposal) => {
            (scene.committees.generator(step.iteration).is_some_and(|id| *id.as_bytes() == signer), None)
        }
        (Some(signer), _) => {
            let bit = scene.committees.get(step).position(&signer);
            (bit.is_some(), bit)
        }
    };
    if !entitled {
        return Triage::Reject(Why::NotMember);
    }
    if scene.seen.knows(frame, bit) {
        return Triage::Ignore(Why::Known);
    }
    Triage::Check(Box::new(Check { frame: frame.clone(), step, committees: scene.committees.clone() }))
}

/// The costly part: signatures and hashes of one frame.
#[derive(Debug)]
pub struct Check {
    frame: Frame,
    step: Step,
    committees: Arc<Committees>,
}

impl Check {
    /// Verifies the frame.
    pub fn run<B: Bls>(self, bls: &B) -> Result<Checked<Frame>, Why> {
        let committees = &self.committees;
        let good = match &self.frame {
            Frame::Candidate(candidate) => {
                let header = candidate.header();
                hash_of(header) == Some(header.hash)
                    && committees
                        .generator(header.iteration)
                        .is_some_and(|generator| verifies(bls, &generator, &header.hash, header.signature.inner()))
            }
            Frame::Validation(vote) => self.vote(bls, vote),
            Frame::Ratification(frame) => {
                self.vote(bls, &frame.vote)
                    && (frame.result.vote == Vote::NoQuorum
                        || verify_step_votes(
                            bls,
                            &frame.result.votes,
                            StepKind::Validation,
                            &frame.vote.header,
                            &frame.result.vote,
                            committees,
                        )
                        .is_ok())
            }
            Frame::Quorum(quorum) => {
                quorum.attestation.result == RatificationResult::from(*quorum.attestation.result.vote())
                    && verify_attestation(bls, &quorum.attestation, &quorum.header, committees, Expect::Any).is_ok()
            }
            Frame::ValidationQuorum(quorum) => {
                quorum.result.vote != Vote::NoQuorum
                    && verify_step_votes(
                        bls,
                        &quorum.result.votes,
                        StepKind::Validation,
                        &quorum.header,
                        &quorum.result.vote,
                        committees,
                    )
                    .is_ok()
            }
            _ => false,
        };
        if good { Ok(Checked(self.frame)) } else { Err(Why::Invalid) }
    }

    fn vote<B: Bls>(&self, bls: &B, vote: &VoteFrame) -> bool {
        let Some(id) = self.committees.provisioners().position(&vote.signer) else { return false };
        self.committees
            .provisioners()
            .get(id)
            .is_some_and(|p| verifies(bls, &p.id, &vote.signed_bytes(self.step.kind), &vote.signature))
    }
}

fn verifies<B: Bls>(bls: &B, id: &AccountId, message: &[u8], signature: &[u8; 48]) -> bool {
    bls.key(id).is_ok_and(|key| bls.verify(&[&key], message, signature).is_ok())
}

/// The hash that a header should have.
pub(super) fn hash_of(header: &Header) -> Option<[u8; 32]> {
    let header = Header { hash: [0; 32], ..header.clone() };
    Block::new(header, Vec::new(), Vec::new()).ok().map(|block| block.header().hash)
}
