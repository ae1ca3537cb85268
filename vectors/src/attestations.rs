//! Attestations, good and bad, with what the published verifiers say of both steps.

use dusk_bytes::Serializable as _;
use dusk_consensus::quorum::verifiers::{verify_quorum_votes, verify_step_votes};
use dusk_consensus::user::committee::CommitteeSet;
use dusk_core::signatures::bls::{BlsVersion, MultisigSignature, sign_multisig};
use dusk_node_data::ledger::{Attestation, Seed, StepVotes};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::{RatificationResult, Vote};
use dusk_node_data::{Serializable as _, StepName};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::network::{ROUND, STEPS, Set, hexed, secret, seeds, sets};

const HASH: [u8; 32] = [0xab; 32];

fn header(iteration: u8) -> ConsensusHeader {
    ConsensusHeader { prev_block_hash: [0x17; 32], round: ROUND, iteration }
}

/// The members that `bits` names sign `vote`.
fn votes(set: &Set, seed: Seed, iteration: u8, step: StepName, vote: &Vote, bits: u64) -> StepVotes {
    let mut message = header(iteration).signable();
    message.push(step as u8);
    vote.write(&mut message).expect("a vector takes everything");
    let excluded = set.excluded(seed, ROUND, iteration, step);
    let committee = set.committee(seed, ROUND, iteration, step, &excluded).expect("members");
    let signatures: Vec<MultisigSignature> = committee
        .members()
        .keys()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, key)| sign_multisig(&secret(set.number(key)), key.inner(), &message, BlsVersion::V2))
        .collect();
    let sum = signatures.split_first().map_or([0; 48], |(first, rest)| first.aggregate(rest).to_bytes());
    StepVotes::new(sum, bits)
}

/// The first members that together have `credits` or more.
fn first_bits(set: &Set, seed: Seed, iteration: u8, step: StepName, credits: usize) -> u64 {
    let excluded = set.excluded(seed, ROUND, iteration, step);
    let committee = set.committee(seed, ROUND, iteration, step, &excluded).expect("members");
    let (mut bits, mut total) = (0, 0);
    for (bit, (_, weight)) in committee.members().iter().enumerate() {
        if total >= credits {
            break;
        }
        bits |= 1 << bit;
        total += weight;
    }
    bits
}

/// Voters of one step, or why there are none.
fn outcome(set: &Set, seed: Seed, iteration: u8, step: StepName, vote: &Vote, votes: &StepVotes) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let committees = RwLock::new(CommitteeSet::new(&set.provisioners));
    let header = header(iteration);
    let check = verify_step_votes(&header, vote, votes, &committees, seed, step);
    match runtime.block_on(check) {
        Ok(voters) => voters.iter().map(|(key, credits)| json!([set.number(key), credits])).collect(),
        Err(error) => json!(error.to_string()),
    }
}

struct Case<'a> {
    set: &'a Set,
    seed: Seed,
    iteration: u8,
    cases: &'a mut Vec<Value>,
}

impl Case<'_> {
    fn push(
        &mut self,
        name: &str,
        result: RatificationResult,
        validation: StepVotes,
        ratification: StepVotes,
        ours: bool,
    ) {
        let attestation = Attestation { result, validation, ratification };
        let vote = result.vote();
        let of = |step, votes| outcome(self.set, self.seed, self.iteration, step, vote, votes);
        self.cases.push(json!({
            "set": self.set.name, "seed": hex::encode(self.seed.inner()), "name": name,
            "header": hexed(&header(self.iteration)), "attestation": hexed(&attestation),
            "validation": of(StepName::Validation, &validation),
            "ratification": of(StepName::Ratification, &ratification),
            "ours": if ours { "accepted" } else { "refused" },
        }));
    }
}

pub fn attestations() -> Value {
    let sets: Vec<_> =
        sets().into_iter().filter(|set| ["one", "four equal", "ten", "fifty equal"].contains(&set.name)).collect();
    let mut cases = Vec::new();
    for set in &sets {
        for (seed, iteration) in [(seeds()[1], 0), (seeds()[3], 7)] {
            let mut case = Case { set, seed, iteration, cases: &mut cases };
            for vote in [Vote::Valid(HASH), Vote::Invalid(HASH), Vote::NoCandidate, Vote::NoQuorum] {
                let quorum = if vote.is_valid() { 43 } else { 33 };
                let bits = |step, credits| first_bits(set, seed, iteration, step, credits);
                let signed = |step, bits| votes(set, seed, iteration, step, &vote, bits);
                let [_, first, second] = STEPS;
                let of_first = |bits| if vote == Vote::NoQuorum { StepVotes::default() } else { signed(first, bits) };
                let result = RatificationResult::from(vote);
                let (v, r) = (of_first(bits(first, quorum)), signed(second, bits(second, quorum)));
                case.push("quorum", result, v, r, true);
                case.push("everybody", result, of_first(bits(first, 64)), signed(second, bits(second, 64)), true);

                let last = 63 - r.bitset.leading_zeros();
                let few = signed(second, r.bitset & !(1 << last));
                case.push("without the last voter", result, v, few, false);
                case.push(
                    "an unsigned bit",
                    result,
                    v,
                    StepVotes::new(*few.aggregate_signature().inner(), r.bitset),
                    false,
                );
                case.push("nobody", result, v, StepVotes::default(), false);
                // The published check looks at members only.
                let beyond = StepVotes::new(*r.aggregate_signature().inner(), r.bitset | 1 << 63);
                case.push("a bit beyond the committee", result, v, beyond, false);
                case.push("votes of the other step", result, v, signed(first, bits(first, quorum)), false);
                let relabelled = match result {
                    RatificationResult::Success(vote) => RatificationResult::Fail(vote),
                    RatificationResult::Fail(vote) => RatificationResult::Success(vote),
                };
                case.push("relabelled", relabelled, v, r, false);
                if vote == Vote::NoQuorum {
                    case.push("validation votes of no quorum", result, signed(first, bits(first, 33)), r, false);
                }
            }
        }
    }
    thresholds(&sets, &mut cases);
    json!({ "sets": sets.iter().map(Set::json).collect::<Value>(), "cases": cases })
}

/// In a committee of many members with one credit each, the credits on both sides of every quorum.
fn thresholds(sets: &[Set], cases: &mut Vec<Value>) {
    let Some(set) = sets.iter().find(|set| set.name == "fifty equal") else { return };
    let seed = seeds()[0];
    let excluded = set.excluded(seed, ROUND, 0, StepName::Ratification);
    let committee = set.committee(seed, ROUND, 0, StepName::Ratification, &excluded).expect("members");
    for vote in [Vote::Valid(HASH), Vote::NoCandidate] {
        for credits in [32, 33, 42, 43] {
            // As many of the largest as fit, then single credits: every sum can be had.
            let mut members: Vec<_> = committee.members().values().enumerate().collect();
            members.sort_by_key(|(bit, weight)| (std::cmp::Reverse(**weight), *bit));
            let (mut bits, mut total) = (0u64, 0);
            for (bit, weight) in members {
                if total + weight <= credits {
                    bits |= 1 << bit;
                    total += weight;
                }
            }
            assert_eq!(total, credits, "the committee has no such sum");
            let ratification = votes(set, seed, 0, StepName::Ratification, &vote, bits);
            let passes =
                verify_quorum_votes(&header(0), StepName::Ratification, &vote, &ratification, &committee).is_ok();
            let validation =
                votes(set, seed, 0, StepName::Validation, &vote, first_bits(set, seed, 0, StepName::Validation, 43));
            let mut case = Case { set, seed, iteration: 0, cases };
            case.push(&format!("{credits} credits"), vote.into(), validation, ratification, passes);
        }
    }
}
