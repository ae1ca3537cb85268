//! Pairs of signed votes as faults, and what the published check says of them.

use dusk_bytes::Serializable as _;
use dusk_core::signatures::bls::{BlsVersion, sign_multisig};
use dusk_node_data::Serializable;
use dusk_node_data::ledger::Fault;
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::Vote;
use serde_json::{Value, json};

use crate::network::{ROUND, hexed, public, secret};

const A: Vote = Vote::Valid([1; 32]);
const B: Vote = Vote::Valid([2; 32]);

fn header(iteration: u8) -> ConsensusHeader {
    ConsensusHeader { prev_block_hash: [0x55; 32], round: ROUND, iteration }
}

/// One half: header, signer, signature, data. The fields of the published type are private, so faults are read.
fn half(number: u64, header: ConsensusHeader, seed: &[u8], data: &[u8]) -> Vec<u8> {
    let mut message = header.signable();
    message.extend_from_slice(seed);
    message.extend_from_slice(data);
    let signature = sign_multisig(&secret(number), public(number).inner(), &message, BlsVersion::V2).to_bytes();
    let mut bytes = Vec::new();
    header.write(&mut bytes).expect("a vector takes everything");
    bytes.extend_from_slice(public(number).bytes().inner());
    bytes.extend_from_slice(&signature);
    bytes.extend_from_slice(data);
    bytes
}

fn read(tag: u8, halves: [Vec<u8>; 2]) -> Fault {
    let bytes = [vec![tag], halves.concat()].concat();
    Fault::read(&mut &bytes[..]).expect("a fault")
}

fn vote(number: u64, header: ConsensusHeader, seed: u8, vote: Vote) -> Vec<u8> {
    let mut data = Vec::new();
    vote.write(&mut data).expect("a vector takes everything");
    half(number, header, &[seed], &data)
}

fn votes(tag: u8, a: (u64, ConsensusHeader, Vote), b: (u64, ConsensusHeader, Vote)) -> Fault {
    // The second committee's votes are tag 1, and signed with a 2.
    let seed = 3 - tag;
    read(tag, [vote(a.0, a.1, seed, a.2), vote(b.0, b.1, seed, b.2)])
}

pub fn samples() -> Vec<Fault> {
    let h = header(2);
    vec![votes(1, (3, h, A), (3, h, B)), votes(2, (4, h, A), (4, h, Vote::NoCandidate))]
}

pub fn faults() -> Value {
    let h = header(2);
    let other_seed = |tag: u8, seed| read(tag, [vote(3, h, seed, A), vote(3, h, seed, B)]);
    let parent = ConsensusHeader { prev_block_hash: [0x56; 32], ..h };
    // Name, fault, height of the block, whether ours takes it.
    let cases = [
        ("two ratifications", votes(1, (3, h, A), (3, h, B)), ROUND, true),
        ("two validations", votes(2, (3, h, A), (3, h, B)), ROUND, true),
        ("the lesser vote last", votes(2, (3, h, B), (3, h, A)), ROUND, true),
        ("valid and no candidate", votes(2, (3, h, Vote::NoCandidate), (3, h, A)), ROUND, true),
        ("valid and invalid", votes(1, (3, h, A), (3, h, Vote::Invalid([1; 32]))), ROUND, true),
        ("no quorum and valid", votes(1, (3, h, A), (3, h, Vote::NoQuorum)), ROUND, true),
        ("as old as it may be", votes(1, (3, h, A), (3, h, B)), ROUND + 2160, true),
        ("too old", votes(1, (3, h, A), (3, h, B)), ROUND + 2161, false),
        ("of the future", votes(1, (3, h, A), (3, h, B)), ROUND - 1, false),
        ("twice the same", votes(1, (3, h, A), (3, h, A)), ROUND, false),
        ("two signers", votes(1, (3, h, A), (4, h, B)), ROUND, false),
        ("two iterations", votes(1, (3, h, A), (3, header(3), B)), ROUND, false),
        ("two parents", votes(1, (3, h, A), (3, parent, B)), ROUND, false),
        ("signed for the other step", other_seed(1, 1), ROUND, false),
        ("of emergency mode", votes(1, (3, header(16), A), (3, header(16), B)), ROUND, false),
        ("two candidates", read(0, [half(3, h, &[], &[1; 32]), half(3, h, &[], &[2; 32])]), ROUND, false),
    ];
    let case = |(name, fault, height, ours): &(&str, Fault, u64, bool)| {
        let published = fault.validate(*height).map_or_else(|error| error.to_string(), |_| "accepted".into());
        json!({
            "name": name, "fault": hexed(fault), "height": height, "digest": hex::encode(fault.digest()),
            "size": fault.size(), "published": published, "ours": if *ours { "accepted" } else { "refused" },
        })
    };
    cases.iter().map(case).collect()
}
