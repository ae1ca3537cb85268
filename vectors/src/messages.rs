//! Votes as the published steps build them, and a frame of every topic.

use std::collections::HashMap;

use dusk_consensus::commons::RoundUpdate;
use dusk_consensus::{build_ratification_payload, build_validation_payload};
use dusk_node_data::ledger::{Attestation, Block, Header, StepVotes};
use dusk_node_data::message::payload::{
    self, Candidate, GetBlocks, GetMempool, GetResource, Inv, Quorum, QuorumType, RatificationResult, ValidationQuorum,
    ValidationResult, Vote,
};
use dusk_node_data::message::{ConsensusHeader, Message, SignedStepMessage};
use serde_json::{Value, json};

use crate::blocks;
use crate::network::{ROUND, hexed, public, secret};
use crate::transactions;

const VOTES: [Vote; 4] = [Vote::NoCandidate, Vote::Valid([0xa1; 32]), Vote::Invalid([0xb2; 32]), Vote::NoQuorum];

fn round(number: u64) -> RoundUpdate {
    let tip = Header { height: ROUND - 1, hash: [0x55; 32], ..Default::default() };
    RoundUpdate::new(public(number), secret(number), &tip, HashMap::new(), Vec::new())
}

fn step_votes(byte: u8) -> StepVotes {
    StepVotes::new([byte; 48], 0x0123_4567_89ab_cdef)
}

fn result(vote: Vote) -> ValidationResult {
    let (votes, kind) = match vote {
        Vote::NoCandidate => (step_votes(1), QuorumType::NoCandidate),
        Vote::Valid(_) => (step_votes(2), QuorumType::Valid),
        Vote::Invalid(_) => (step_votes(3), QuorumType::Invalid),
        Vote::NoQuorum => (StepVotes::default(), QuorumType::NoQuorum),
    };
    ValidationResult::new(votes, vote, kind)
}

/// Each kind of vote in both steps by several signers: what is signed, the signature, the frame.
pub fn votes() -> Value {
    let mut cases = Vec::new();
    for number in [2, 3, 1_000_003] {
        let round = round(number);
        for iteration in [0, 16, 49] {
            for vote in VOTES {
                if vote != Vote::NoQuorum {
                    let validation = build_validation_payload(vote, &round, iteration);
                    assert!(validation.verify_signature().is_ok());
                    cases.push(case(number, 1, &vote, validation.clone(), validation));
                }
                let mut ratification = build_ratification_payload(&round, iteration, &result(vote));
                // The step takes the time of day.
                ratification.timestamp = 1_700_000_000;
                assert!(ratification.verify_signature().is_ok());
                cases.push(case(number, 2, &vote, ratification.clone(), ratification));
            }
        }
    }
    cases.into()
}

fn case<M: SignedStepMessage>(number: u64, kind: u8, vote: &Vote, signed: M, message: impl Into<Message>) -> Value {
    json!({
        "signer": number, "kind": kind, "iteration": signed.header().iteration, "step": signed.get_step(),
        "vote": hexed(vote), "signed": hex::encode(signed.signable()),
        "signature": hex::encode(signed.sign_info().signature.inner()), "frame": hexed(&message.into()),
    })
}

/// A frame of every topic, in every form.
pub fn messages() -> Value {
    let header = |iteration| ConsensusHeader { prev_block_hash: [0x55; 32], round: ROUND, iteration };
    let mut frames: Vec<(String, Message)> = Vec::new();
    for (i, vote) in VOTES.into_iter().enumerate() {
        for result in [RatificationResult::Fail(vote), RatificationResult::Success(vote)] {
            let att = Attestation { result, validation: step_votes(4), ratification: step_votes(5) };
            frames.push((format!("quorum {i} {}", result.failed()), Quorum { header: header(3), att }.into()));
        }
        let quorum = ValidationQuorum { header: header(17), result: result(vote) };
        frames.push((format!("validation quorum {i}"), quorum.into()));
    }
    let mut inv = Inv::new(7);
    frames.push(("empty inventory".into(), Inv::new(0).into()));
    inv.add_tx_id([1; 32]);
    inv.add_block_from_hash([2; 32]);
    inv.add_block_from_height(u64::MAX);
    inv.add_candidate_from_hash([3; 32]);
    inv.add_candidate_from_iteration(header(49));
    inv.add_validation_result(header(0));
    frames.push(("inventory".into(), inv.clone().into()));
    for address in ["127.0.0.1:9000", "[fe80::1]:1"] {
        let address = address.parse().expect("an address");
        let request = GetResource::new(inv.clone(), Some(address), 1_700_000_000, 16);
        frames.push((format!("request from {address}"), request.into()));
    }
    let mut blocks = GetBlocks::new([0x66; 32]);
    blocks.set_nonce(0xdead_beef_u64);
    frames.push(("blocks".into(), blocks.into()));
    let mut mempool = GetMempool::default();
    mempool.set_nonce(u64::MAX);
    frames.push(("mempool".into(), mempool.into()));
    for (name, tx) in transactions::samples() {
        frames.push((format!("transaction: {name}"), tx.into()));
    }
    for (name, block) in blocks::samples() {
        let bare = Header { att: Attestation::default(), ..block.header().clone() };
        let bare = Block::new(bare, block.txs().clone(), block.faults().clone()).expect("a block");
        frames.push((format!("candidate: {name}"), payload::Candidate { candidate: bare }.into()));
        frames.push((format!("block: {name}"), block.into()));
    }
    frames
        .iter()
        .map(|(name, message)| json!({ "name": name, "topic": message.topic() as u8, "frame": hexed(message) }))
        .collect()
}

/// Signs a block as its generator does.
pub fn signed(block: Block, number: u64) -> Block {
    let mut candidate = Candidate { candidate: block };
    candidate.sign(&secret(number), public(number).inner());
    assert!(candidate.verify_signature().is_ok());
    candidate.candidate
}
