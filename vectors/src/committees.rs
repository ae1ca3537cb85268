//! Sortition: hashes and scores, and the committees of every step.

use dusk_consensus::user::sortition::{Config, create_sortition_hash, generate_sortition_score};
use num_bigint::BigInt;
use serde_json::{Value, json};

use crate::network::{ROUND, STEPS, seeds, sets};

/// Hashes of single credits, and what they are modulo some weights.
pub fn sortition() -> Value {
    let weights: [u64; 7] = [1, 2, 1000, 123_342_342, 1_000_000_000_000, u64::MAX / 7, u64::MAX];
    let mut cases = Vec::new();
    for seed in seeds() {
        for (iteration, step) in [(0, 0), (0, 1), (1, 0), (7, 2), (16, 1), (49, 2)] {
            let config = Config::new(seed, ROUND, iteration, STEPS[step], vec![]);
            for counter in [0, 1, 63, u32::MAX] {
                let hash = create_sortition_hash(&config, counter);
                let scores: Vec<_> = weights
                    .iter()
                    .map(|weight| json!([weight, generate_sortition_score(hash, &BigInt::from(*weight)).to_string()]))
                    .collect();
                cases.push(json!({
                    "seed": hex::encode(seed.inner()), "iteration": iteration, "kind": step, "counter": counter,
                    "hash": hex::encode(hash), "scores": scores,
                }));
            }
        }
    }
    cases.into()
}

/// Committees by set, seed, round and step. Without members where the published crate panics.
pub fn committees() -> Value {
    let sets = sets();
    let mut cases = Vec::new();
    for set in &sets {
        for (i, seed) in seeds().into_iter().enumerate() {
            let iterations: Vec<u8> = match (set.name, i) {
                ("ten" | "two", 1) => (0..50).collect(),
                ("thousand", _) => vec![0, 49],
                _ => vec![0, 1, 5, 15, 16, 48, 49],
            };
            for iteration in iterations {
                for (kind, step) in STEPS.into_iter().enumerate() {
                    for round in if set.name == "edges" { vec![ROUND - 1, ROUND, ROUND + 1] } else { vec![ROUND] } {
                        let excluded = set.excluded(seed, round, iteration, step);
                        let committee = set.committee(seed, round, iteration, step, &excluded);
                        cases.push(json!({
                            "set": set.name, "seed": hex::encode(seed.inner()), "round": round,
                            "iteration": iteration, "kind": kind, "excluded": excluded,
                            "members": committee.map(|committee| set.members(&committee)),
                        }));
                    }
                }
            }
        }
    }
    json!({ "sets": sets.iter().map(|set| set.json()).collect::<Value>(), "cases": cases })
}
