//! What must hold in every run, looked at after everything that happens.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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

/// Everything that was final or signed.
#[derive(Debug, Default)]
pub struct Checks {
    finals: BTreeMap<u64, ([u8; 32], usize)>,
    own: HashMap<usize, BTreeMap<u64, [u8; 32]>>,
    ballots: HashMap<Signed, Arc<[u8]>>,
}

impl Checks {
    /// Looks at an honest node's chain after it changed.
    pub fn chain(&mut self, node: usize, ledger: &Ledger) -> Result<(), Violation> {
        let own = self.own.entry(node).or_default();
        let known = own.last_key_value().map_or(0, |(height, _)| *height);
        if ledger.height() < known {
            return Err(Violation::FinalReplaced { node, height: known });
        }
        let last_final = ledger.last_final().max(known);
        for entry in ledger.entries().iter().skip(known as usize) {
            let (height, hash) = (entry.header.height, entry.header.hash);
            if height > last_final {
                break;
            }
            if *own.entry(height).or_insert(hash) != hash {
                return Err(Violation::FinalReplaced { node, height });
            }
            let (first, a) = *self.finals.entry(height).or_insert((hash, node));
            if first != hash {
                return Err(Violation::TwoFinal { height, a, b: node });
            }
        }
        Ok(())
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
        let own = match frame {
            Frame::Candidate(candidate) => candidate.header().generator_bls_pubkey.inner() == signer,
            Frame::Validation(vote) => vote.signer == *signer,
            Frame::Ratification(frame) => frame.vote.signer == *signer,
            _ => false,
        };
        let (true, Some(header), Some(step)) = (own, frame.consensus_header(), frame.step()) else { return Ok(false) };
        let key = (node, header.round, header.prev_block_hash, step);
        match self.ballots.insert(key, bytes.clone()) {
            None => Ok(false),
            Some(first) if first == *bytes => Ok(true),
            Some(_) => Err(Violation::DoubleBallot { node, round: header.round, step }),
        }
    }

    /// Height up to which somebody has final blocks.
    pub fn highest_final(&self) -> u64 {
        self.finals.last_key_value().map_or(0, |(height, _)| *height)
    }
}
