//! Headers with their hashes, and Merkle roots.

use dusk_consensus::merkle::merkle_root;
use dusk_node_data::ledger::{Attestation, Block, Fault, Header, IterationsInfo, LedgerTransaction, Seed, StepVotes};
use dusk_node_data::message::payload::Vote;
use serde_json::{Value, json};

use crate::messages::signed;
use crate::network::{ROUND, hexed, public};
use crate::{faults, transactions};

fn attestation(vote: Vote) -> Attestation {
    let votes = |byte| StepVotes::new([byte; 48], u64::from(byte) << 32 | 5);
    let validation = if vote == Vote::NoQuorum { StepVotes::default() } else { votes(7) };
    Attestation { result: vote.into(), validation, ratification: votes(9) }
}

fn failures(count: usize) -> IterationsInfo {
    let votes = [Vote::NoCandidate, Vote::NoQuorum, Vote::Invalid([0x77; 32])];
    let failure = |i: usize| (i % 4 != 3).then(|| (attestation(votes[i % 3]), *public(i as u64 + 2).bytes()));
    IterationsInfo::new((0..count).map(failure).collect())
}

fn block(
    name: &'static str,
    iteration: u8,
    failed: usize,
    txs: Vec<LedgerTransaction>,
    faults: Vec<Fault>,
) -> (&'static str, Block) {
    let digests: Vec<[u8; 32]> = txs.iter().map(LedgerTransaction::digest).collect();
    let fault_digests: Vec<[u8; 32]> = faults.iter().map(Fault::digest).collect();
    let mut bloom = [0; 256];
    bloom[7] = 0x80;
    let header = Header {
        version: 1,
        height: ROUND,
        timestamp: 1_700_000_000,
        prev_block_hash: [0x55; 32],
        seed: Seed::from([0x31; 48]),
        state_hash: [0x42; 32],
        event_bloom: bloom,
        generator_bls_pubkey: *public(2).bytes(),
        txroot: merkle_root(&digests),
        faultroot: merkle_root(&fault_digests),
        gas_limit: 3_000_000_000,
        iteration,
        prev_block_cert: attestation(Vote::Valid([0x55; 32])),
        failed_iterations: failures(failed),
        ..Default::default()
    };
    let mut block = signed(Block::new(header, txs, faults).expect("a block"), 2);
    block.set_attestation(attestation(Vote::Valid(block.header().hash)));
    (name, block)
}

pub fn samples() -> Vec<(&'static str, Block)> {
    let txs: Vec<_> = transactions::samples().into_iter().map(|(_, tx)| tx).collect();
    vec![
        ("empty", block("empty", 0, 0, vec![], vec![]).1),
        block("one transaction", 1, 1, txs[..1].to_vec(), vec![]),
        block("three failures", 3, 3, txs[..2].to_vec(), vec![]),
        block("eight failures and faults", 20, 8, txs, faults::samples()),
    ]
}

pub fn headers() -> Value {
    let genesis = Header { timestamp: 1_700_000_000, state_hash: [0x42; 32], ..Default::default() };
    let genesis = ("genesis", Block::new(genesis, vec![], vec![]).expect("a block"));
    let case = |(name, block): (&str, Block)| {
        let header = block.header();
        json!({
            "name": name, "block": hexed(&block), "header": hexed(header), "hash": hex::encode(header.hash),
            "txroot": hex::encode(header.txroot), "faultroot": hex::encode(header.faultroot),
            "digests": block.txs().iter().map(|tx| hex::encode(tx.digest())).collect::<Vec<_>>(),
            "faults": block.faults().iter().map(|fault| hex::encode(fault.digest())).collect::<Vec<_>>(),
        })
    };
    std::iter::once(genesis).chain(samples()).map(case).collect()
}

/// Roots over leaves of which leaf `i` has the bytes `i + 1` as a big-endian number.
pub fn merkle() -> Value {
    let leaf = |i: u64| {
        let mut leaf = [0; 32];
        leaf[24..].copy_from_slice(&(i + 1).to_be_bytes());
        leaf
    };
    let root = |n: u64| hex::encode(merkle_root(&(0..n).map(leaf).collect::<Vec<_>>()));
    (0..=33).chain([100, 255, 256, 257, 999, 1000]).map(|n| json!([n, root(n)])).collect()
}
