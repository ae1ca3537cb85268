//! What must hold in every run, looked at after everything that happens.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dusk_node_data::ledger::Header;
use dusk_node_data::message::ConsensusHeader;
use duskevm_dusk_l1::sa::attestation::unattested;
use duskevm_dusk_l1::sa::rules::Step;
use duskevm_dusk_l1::sa::wire::Frame;

use crate::ledger::Ledger;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two honest nodes hold different final blocks.
    #[error("two final blocks at height {height}: node {a} and node {b}")]
    TwoFinal {
        /// Where.
        height: u64,
        /// Who was first.
        a: usize,
        /// Who has another.
        b: usize,
    },
    /// A final block was replaced.
    #[error("node {node} replaced its final block at height {height}")]
    FinalReplaced {
        /// Who.
        node: usize,
        /// Where.
        height: u64,
    },
    /// An honest node signed two messages for one step.
    #[error("node {node} signed twice in round {round}, step {step:?}")]
    DoubleBallot {
        /// Who.
        node: usize,
        /// Round of both.
        round: u64,
        /// Step of both.
        step: Step,
    },
    /// An honest node took a message of its own for another's.
    #[error("node {node} does not know its own message of round {round}, step {step:?}")]
    OtherSigner {
        /// Who.
        node: usize,
        /// Round of the message.
        round: u64,
        /// Its step.
        step: Step,
    },
    /// A node's labels are not those that the rolling rule gives its chain.
    #[error(
        "node {node} holds block {last_final} for the newest final one at height {height}, the rule says {expected}"
    )]
    Finality {
        /// Who.
        node: usize,
        /// Its tip.
        height: u64,
        /// Its newest final block.
        last_final: u64,
        /// What it should be.
        expected: u64,
    },
    /// The chain did not grow although everything worked again.
    #[error("no progress: heights {heights:?} after {seconds} s of a healthy network, {target} wanted")]
    Stuck {
        /// Tips of the honest nodes.
        heights: Vec<u64>,
        /// Virtual time since the last fault.
        seconds: u64,
        /// The height to reach.
        target: u64,
    },
}

/// What a message is for: node, round, parent, step.
type Signed = (usize, u64, [u8; 32], Step);

/// What a message is for, whoever signs it: round, parent, step.
type Place = (u64, [u8; 32], Step);

/// Rounds below the newest final block whose messages are still compared.
const COMPARED: u64 = 100;

/// What honest nodes were shown of iterations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Iterations that were attested one way or the other.
    pub attested: u64,
    /// Those that were attested both ways.
    pub both: u64,
}

/// Everything that was final or signed.
#[derive(Debug, Default)]
pub struct Checks {
    finals: BTreeMap<u64, ([u8; 32], usize)>,
    /// Height up to which each node's blocks were final when it was last looked at.
    own: HashMap<usize, u64>,
    ballots: HashMap<Signed, Arc<[u8]>>,
    pruned: u64,
    twins: HashMap<([u8; 96], Place), Arc<[u8]>>,
    /// By round, parent and iteration: attested as a success (1), as a failure (2), as both (3).
    outcomes: BTreeMap<(u64, [u8; 32], u8), u8>,
}

impl Checks {
    /// Looks at an honest node's chain after it changed.
    pub fn chain(&mut self, node: usize, ledger: &Ledger) -> Result<(), Violation> {
        let known = self.own.get(&node).copied().unwrap_or_default();
        if ledger.height() < known {
            return Err(Violation::FinalReplaced { node, height: known });
        }
        let last_final = ledger.last_final().max(known);
        // The newest that was final before is looked at again: with it, what is below it is still the same.
        for entry in ledger.entries().iter().skip(known as usize) {
            let (height, hash) = (entry.header.height, entry.header.hash);
            if height > last_final {
                break;
            }
            let (first, a) = *self.finals.entry(height).or_insert((hash, node));
            if first != hash {
                return Err(match height == known {
                    true => Violation::FinalReplaced { node, height },
                    false => Violation::TwoFinal { height, a, b: node },
                });
            }
        }
        self.own.insert(node, last_final);
        let low = self.highest_final().saturating_sub(COMPARED);
        if low >= self.pruned + COMPARED {
            self.pruned = low;
            self.ballots.retain(|(_, round, ..), _| *round >= low);
            self.twins.retain(|(_, (round, ..)), _| *round >= low);
        }
        Ok(())
    }

    /// A node begins anew from genesis. Above genesis it may sign again: nothing tells it there that the network is older
    /// than it. That round is over for everybody else.
    pub fn wiped(&mut self, node: usize) {
        self.own.remove(&node);
        self.ballots.retain(|(signer, round, ..), _| (*signer, *round) != (node, 1));
    }

    /// Looks at a frame that an honest node sends. The whole frame is compared: what is sent again are the same bytes.
    /// True if it is an own message that was sent before.
    pub fn published(
        &mut self,
        node: usize,
        signer: &[u8; 96],
        frame: &Frame,
        bytes: &Arc<[u8]>,
    ) -> Result<bool, Violation> {
        if let Frame::Quorum(_) = frame {
            self.outcome(frame);
        }
        let Some((round, prev, step)) = own(signer, frame) else { return Ok(false) };
        match self.ballots.insert((node, round, prev, step), bytes.clone()) {
            None => Ok(false),
            Some(first) if first == *bytes => Ok(true),
            Some(_) => Err(Violation::DoubleBallot { node, round, step }),
        }
    }

    /// Looks at a frame that one of two twins sends. True if the other sent another one for the same step.
    pub fn twin(&mut self, signer: &[u8; 96], frame: &Frame, bytes: &Arc<[u8]>) -> bool {
        let Some(place) = own(signer, frame) else { return false };
        self.twins.insert((*signer, place), bytes.clone()).is_some_and(|first| first != *bytes)
    }

    /// Takes note of an outcome that an honest node was shown.
    pub fn outcome(&mut self, frame: &Frame) {
        if let Frame::Quorum(quorum) = frame {
            let bit = if quorum.attestation.result.vote().is_valid() { 1 } else { 2 };
            let ConsensusHeader { round, prev_block_hash, iteration } = quorum.header;
            *self.outcomes.entry((round, prev_block_hash, iteration)).or_default() |= bit;
        }
    }

    /// What was noted of outcomes.
    pub fn outcomes(&self) -> Outcomes {
        let both = self.outcomes.values().filter(|bits| **bits == 3).count() as u64;
        Outcomes { attested: self.outcomes.len() as u64, both }
    }

    /// Looks at a chain at the end of a run: its labels are those of the rolling rule, computed here in another way than
    /// in the ledger, from the newest block down.
    pub fn finality(node: usize, ledger: &Ledger) -> Result<(), Violation> {
        let (height, last_final) = (ledger.height(), ledger.last_final());
        let expected = newest_final(&ledger.entries().iter().skip(1).map(|e| e.header.clone()).collect::<Vec<_>>());
        if last_final == expected { Ok(()) } else { Err(Violation::Finality { node, height, last_final, expected }) }
    }

    /// Height up to which somebody has final blocks.
    pub fn highest_final(&self) -> u64 {
        self.finals.last_key_value().map_or(0, |(height, _)| *height)
    }
}

/// Round, parent and step of a frame that `signer` signed.
fn own(signer: &[u8; 96], frame: &Frame) -> Option<Place> {
    let own = match frame {
        Frame::Candidate(candidate) => candidate.header().generator_bls_pubkey.inner() == signer,
        Frame::Validation(vote) => vote.signer == *signer,
        Frame::Ratification(frame) => frame.vote.signer == *signer,
        _ => false,
    };
    let header = frame.consensus_header().filter(|_| own)?;
    Some((header.round, header.prev_block_hash, frame.step()?))
}

/// The newest final block of a chain that begins with height 1, by the words of the rule: a block without unattested
/// iterations needs one stable successor, one with n of them needs 2n; stable are blocks without unattested iterations
/// and blocks that were confirmed; a block is final when it and all below it are confirmed.
fn newest_final(chain: &[Header]) -> u64 {
    let needed: Vec<u64> =
        chain.iter().map(|header| u64::from(unattested(header).unwrap_or(u8::MAX)).saturating_mul(2).max(1)).collect();
    let mut confirmed = vec![false; chain.len()];
    for tip in 0..chain.len() {
        if needed[tip] > 1 {
            continue;
        }
        // From the new block down, as long as what is above suffices.
        for (stable, at) in (1..).zip((0..tip).rev()) {
            if !confirmed[at] {
                if stable < needed[at] {
                    break;
                }
                confirmed[at] = true;
            }
        }
    }
    confirmed.iter().take_while(|confirmed| **confirmed).count() as u64
}
