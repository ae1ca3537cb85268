//! Proof of two different votes by one signer.
//!
//! Source: `ledger::faults` of the published data crate and `verify_faults` of the published node. That node never makes
//! a fault; here two conflicting votes become one, for the next own block. Differences in what is accepted:
//!
//! - Two candidates are no proof. The published fault covers header ‖ hash, which no candidate signs, and the hash that
//!   it does sign names no iteration.
//! - One signer has one fault per step. The published identity of a fault leaves out the signer, so that of two signers
//!   with the same pair of votes one goes free, and three votes of one signer make three faults.
//! - Where the committees of the round are known, the signer must have been a member.

use std::collections::BTreeMap;
use std::sync::Arc;

use dusk_node_data::Serializable;
use dusk_node_data::ledger::Fault;
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::Vote;

use crate::keys::{AccountId, KeyError};
use crate::sa::bls::Bls;
use crate::sa::committee::Committees;
use crate::sa::rules::{FAULT_LIFETIME, Step, StepKind, is_emergency};
use crate::sa::wire::{HEADER, SIGN_INFO, VoteFrame, write, written};
use crate::sha3::sha3_256;

/// Most faults of a block.
pub const MAX_FAULTS: usize = dusk_node_data::MAX_NUMBER_OF_FAULTS;

/// Most faults that wait for a block.
const MAX_WAITING: usize = 1_000;

/// Names what is punished once: step, round, parent and signer, hashed.
pub type FaultId = [u8; 32];

/// Why a fault proves nothing, or not in this block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Two candidates.
    #[error("a fault of two candidates cannot be proven")]
    Candidates,
    /// Bytes that are no fault.
    #[error("malformed fault")]
    Malformed,
    /// Votes of different rounds, iterations or parents.
    #[error("the votes are not of one step")]
    DifferentSteps,
    /// Votes of different signers.
    #[error("the votes are not of one signer")]
    DifferentSigners,
    /// Twice the same vote.
    #[error("both votes are the same")]
    SameVote,
    /// Of emergency mode, where several votes are allowed, or of an iteration that does not exist.
    #[error("iteration {0} allows more than one vote")]
    Emergency(u8),
    /// Older than an epoch.
    #[error("the votes of round {round} are too old at height {height}")]
    Expired {
        /// Round of the votes.
        round: u64,
        /// Height of the block.
        height: u64,
    },
    /// Newer than the block, or of the genesis.
    #[error("the votes of round {round} cannot be in the block of height {height}")]
    Round {
        /// Round of the votes.
        round: u64,
        /// Height of the block.
        height: u64,
    },
    /// Above a block that is not the chain's at that height.
    #[error("the votes are above a block that is not this chain's")]
    UnknownParent,
    /// The signer had no vote.
    #[error("{0} was not in the committee")]
    NotMember(Box<AccountId>),
    /// A vote that the signer did not sign.
    #[error(transparent)]
    Signature(#[from] KeyError),
    /// Punished already.
    #[error("this fault is in the chain already")]
    Known,
}

/// Hashes of the own chain.
pub trait Headers {
    /// The height of the block with `hash`, if it is in the chain that is built upon.
    fn height_of(&self, hash: &[u8; 32]) -> Option<u64>;
}

/// The fields of a fault, which the published type keeps to itself.
struct Parts {
    kind: StepKind,
    votes: [VoteFrame; 2],
}

impl Parts {
    fn of(fault: &Fault) -> Result<Self, FaultError> {
        let kind = match fault {
            Fault::DoubleCandidate(..) => return Err(FaultError::Candidates),
            Fault::DoubleRatificationVote(..) => StepKind::Ratification,
            Fault::DoubleValidationVote(..) => StepKind::Validation,
        };
        let bytes = written(fault);
        let mut rest = bytes.get(1..).ok_or(FaultError::Malformed)?;
        let votes = [Self::vote(&mut rest)?, Self::vote(&mut rest)?];
        Ok(Self { kind, votes })
    }

    /// One half: header ‖ signer ‖ signature ‖ vote.
    fn vote(rest: &mut &[u8]) -> Result<VoteFrame, FaultError> {
        let (fixed, tail) = rest.split_at_checked(HEADER + SIGN_INFO).ok_or(FaultError::Malformed)?;
        let (mut header, keys) = fixed.split_at_checked(HEADER).ok_or(FaultError::Malformed)?;
        let (signer, keys) = keys.split_first_chunk().ok_or(FaultError::Malformed)?;
        let (signature, _) = keys.split_first_chunk().ok_or(FaultError::Malformed)?;
        *rest = tail;
        Ok(VoteFrame {
            header: ConsensusHeader::read(&mut header).map_err(|_| FaultError::Malformed)?,
            vote: Vote::read(rest).map_err(|_| FaultError::Malformed)?,
            signer: *signer,
            signature: *signature,
        })
    }

    fn id(&self) -> FaultId {
        id(self.kind, &self.votes[0])
    }
}

fn id(kind: StepKind, vote: &VoteFrame) -> FaultId {
    sha3_256(&[&[kind as u8], &written(&vote.header), &vote.signer])
}

/// What a fault is about: to be kept with the block that holds it.
pub fn fault_id(fault: &Fault) -> Result<FaultId, FaultError> {
    Parts::of(fault).map(|parts| parts.id())
}

/// Whether two votes are proof of anything.
fn is_proof(kind: StepKind, a: &VoteFrame, b: &VoteFrame) -> bool {
    kind != StepKind::Proposal
        && a.header == b.header
        && a.signer == b.signer
        && a.vote != b.vote
        && !is_emergency(a.header.iteration)
}

/// Two votes as a fault, if they are proof of anything. The lesser vote comes first, so that a pair has one form.
fn fault(kind: StepKind, a: &VoteFrame, b: &VoteFrame) -> Option<Fault> {
    if !is_proof(kind, a, b) {
        return None;
    }
    let tag = if kind == StepKind::Ratification { 1 } else { 2 };
    let (a, b) = if a.vote <= b.vote { (a, b) } else { (b, a) };
    let mut bytes = vec![tag];
    for vote in [a, b] {
        write(&mut bytes, &vote.header);
        bytes.extend_from_slice(&vote.signer);
        bytes.extend_from_slice(&vote.signature);
        write(&mut bytes, &vote.vote);
    }
    Fault::read(&mut &bytes[..]).ok()
}

/// Faults that wait for a block of this node.
#[derive(Debug, Default)]
pub struct Evidence {
    /// By round, then by identity.
    waiting: BTreeMap<(u64, FaultId), Waiting>,
}

/// Two votes that prove a fault.
#[derive(Debug)]
enum Waiting {
    /// As they came: a fault decompresses its keys, which takes longer than everything else that is done with a vote.
    Votes(StepKind, Box<[VoteFrame; 2]>),
    /// As a fault, made when this node first proposed it.
    Fault(Box<Fault>),
}

impl Evidence {
    /// Notes two votes of one signer in one step of kind `kind`, both with good signatures. What proves nothing is
    /// ignored, and of too many the oldest are forgotten.
    pub fn note(&mut self, kind: StepKind, a: &VoteFrame, b: &VoteFrame) {
        let key = (a.header.round, id(kind, a));
        if self.waiting.contains_key(&key) {
            return;
        }
        if is_proof(kind, a, b) {
            self.waiting.insert(key, Waiting::Votes(kind, Box::new([a.clone(), b.clone()])));
            if self.waiting.len() > MAX_WAITING {
                self.waiting.pop_first();
            }
        }
    }

    /// Faults for the block of `height`, the oldest first: at most as many as a block may have, and none that is too old
    /// for it. They stay until they are [`included`](Self::included), because the block may not become one. Whoever
    /// builds it leaves out those that [`verify_fault`] refuses, such as votes above a block that was replaced.
    pub fn take(&mut self, height: u64) -> Vec<Fault> {
        let oldest = height.saturating_sub(FAULT_LIFETIME);
        let (mut faults, mut useless) = (Vec::new(), Vec::new());
        for (key, waiting) in self.waiting.range_mut((oldest, [0; 32])..=(height, [0xff; 32])) {
            if let Waiting::Votes(kind, votes) = waiting {
                match fault(*kind, &votes[0], &votes[1]) {
                    Some(fault) => *waiting = Waiting::Fault(Box::new(fault)),
                    None => useless.push(*key),
                }
            }
            if let Waiting::Fault(fault) = waiting {
                faults.push(Fault::clone(fault));
            }
            if faults.len() + useless.len() == MAX_FAULTS {
                break;
            }
        }
        for key in useless {
            self.waiting.remove(&key);
        }
        faults
    }

    /// Forgets the faults of an accepted block, whoever made it.
    pub fn included(&mut self, faults: &[Fault]) {
        for parts in faults.iter().filter_map(|fault| Parts::of(fault).ok()) {
            self.waiting.remove(&(parts.votes[0].header.round, parts.id()));
        }
    }

    /// Forgets faults that are too old for the block of `height`.
    pub fn forget_before(&mut self, height: u64) {
        let oldest = height.saturating_sub(FAULT_LIFETIME);
        self.waiting = self.waiting.split_off(&(oldest, [0; 32]));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Checks a fault in the block of `height` and gives the culprit. `committees_of` gives the committees of a round where
/// they are known; all nodes must know the same ones, so the caller decides by the chain and not by what it happens to
/// remember. `seen` tells whether an identity is in the chain, or earlier in the same block.
pub fn verify_fault<B: Bls>(
    bls: &B,
    fault: &Fault,
    height: u64,
    chain: &dyn Headers,
    committees_of: &dyn Fn(u64) -> Option<Arc<Committees>>,
    seen: &dyn Fn(&FaultId) -> bool,
) -> Result<AccountId, FaultError> {
    let parts = Parts::of(fault)?;
    let [a, b] = &parts.votes;
    if a.header != b.header {
        return Err(FaultError::DifferentSteps);
    }
    if a.signer != b.signer {
        return Err(FaultError::DifferentSigners);
    }
    if a.vote == b.vote {
        return Err(FaultError::SameVote);
    }
    let ConsensusHeader { prev_block_hash, round, iteration } = a.header;
    if round == 0 || round > height {
        return Err(FaultError::Round { round, height });
    }
    if round < height.saturating_sub(FAULT_LIFETIME) {
        return Err(FaultError::Expired { round, height });
    }
    let step = Step::new(iteration, parts.kind)
        .filter(|step| !is_emergency(step.iteration))
        .ok_or(FaultError::Emergency(iteration))?;
    if chain.height_of(&prev_block_hash) != Some(round - 1) {
        return Err(FaultError::UnknownParent);
    }
    if seen(&parts.id()) {
        return Err(FaultError::Known);
    }
    // The fault's own reader has decompressed the key, so the bytes are those of a point.
    let culprit = AccountId::from_trusted(a.signer);
    if committees_of(round).is_some_and(|committees| !committees.get(step).contains(&a.signer)) {
        return Err(FaultError::NotMember(Box::new(culprit)));
    }
    for vote in [a, b] {
        bls.verify_ids([&culprit], &vote.signed_bytes(parts.kind), &vote.signature)?;
    }
    Ok(culprit)
}

#[cfg(test)]
mod tests;
