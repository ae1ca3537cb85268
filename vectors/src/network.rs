//! Keys and sets of provisioners that the chapters share. A key is named by a small number, its secret scalar.

use std::collections::BTreeMap;

use dusk_bytes::Serializable as _;
use dusk_consensus::user::committee::Committee;
use dusk_consensus::user::provisioners::Provisioners;
use dusk_consensus::user::sortition::Config;
use dusk_consensus::user::stake::Stake;
use dusk_core::signatures::bls::{PublicKey as BlsPublicKey, SecretKey};
use dusk_node_data::bls::{PublicKey, PublicKeyBytes};
use dusk_node_data::ledger::Seed;
use dusk_node_data::{Serializable, StepName};
use serde_json::{Value, json};

/// One DUSK in lux.
pub const DUSK: u64 = 1_000_000_000;

pub fn secret(number: u64) -> SecretKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(&bytes).expect("a small scalar")
}

pub fn public(number: u64) -> PublicKey {
    PublicKey::new(BlsPublicKey::from(&secret(number)))
}

pub fn hexed<T: Serializable>(value: &T) -> String {
    let mut bytes = Vec::new();
    value.write(&mut bytes).expect("a vector takes everything");
    hex::encode(bytes)
}

pub const STEPS: [StepName; 3] = [StepName::Proposal, StepName::Validation, StepName::Ratification];

/// A set of stakes: key, lux, first round.
pub struct Set {
    pub name: &'static str,
    pub stakes: Vec<(u64, u64, u64)>,
    pub provisioners: Provisioners,
    numbers: BTreeMap<PublicKey, u64>,
}

impl Set {
    pub fn new(name: &'static str, stakes: Vec<(u64, u64, u64)>) -> Self {
        let mut provisioners = Provisioners::empty();
        let mut numbers = BTreeMap::new();
        for (number, value, since) in &stakes {
            provisioners.add_provisioner(public(*number), Stake::new(*value, *since));
            numbers.insert(public(*number), *number);
        }
        Self { name, stakes, provisioners, numbers }
    }

    pub fn number(&self, key: &PublicKey) -> u64 {
        self.numbers[key]
    }

    pub fn number_of_bytes(&self, key: &PublicKeyBytes) -> u64 {
        self.numbers.iter().find(|(k, _)| k.bytes() == key).map(|(_, number)| *number).expect("a key of the set")
    }

    pub fn json(&self) -> Value {
        json!({ "name": self.name, "stakes": self.stakes })
    }

    /// Key and credits of each member, in the order of the bits.
    pub fn members(&self, committee: &Committee) -> Value {
        committee.members().iter().map(|(key, credits)| json!([self.number(key), credits])).collect()
    }

    pub fn generator(&self, seed: Seed, round: u64, iteration: u8) -> u64 {
        self.number_of_bytes(&self.provisioners.get_generator(iteration, seed, round))
    }

    /// Who stays out of a step, as `get_step_committee` decides it.
    pub fn excluded(&self, seed: Seed, round: u64, iteration: u8, step: StepName) -> Vec<u64> {
        if step == StepName::Proposal {
            return Vec::new();
        }
        let mut excluded = vec![self.generator(seed, round, iteration)];
        if dusk_consensus::config::exclude_next_generator(iteration) {
            excluded.push(self.generator(seed, round, iteration + 1));
        }
        excluded
    }

    /// The committee, or nothing where the published function panics.
    pub fn committee(
        &self,
        seed: Seed,
        round: u64,
        iteration: u8,
        step: StepName,
        excluded: &[u64],
    ) -> Option<Committee> {
        let left = self.provisioners.eligibles(round).filter(|(key, _)| !excluded.contains(&self.number(key))).count();
        // One eligible provisioner is never excluded.
        if left == 0 && self.provisioners.eligibles(round).count() != 1 {
            return None;
        }
        let exclusion = excluded.iter().map(|number| *public(*number).bytes()).collect();
        Some(Committee::new(&self.provisioners, &Config::new(seed, round, iteration, step, exclusion)))
    }
}

/// The round of most cases.
pub const ROUND: u64 = 7777;

pub fn sets() -> Vec<Set> {
    let equal = |n: u64| (2..n + 2).map(|number| (number, 1000 * DUSK, 0)).collect();
    let rising =
        |n: u64| (2..n + 2).map(|number| (number, (1000 + 137 * number * (number % 11)) * DUSK + number, 0)).collect();
    vec![
        Set::new("one", equal(1)),
        Set::new("two", rising(2)),
        Set::new("three", rising(3)),
        Set::new("four equal", equal(4)),
        Set::new("ten", rising(10)),
        Set::new(
            "edges",
            vec![
                (2, 999 * DUSK, 0),
                (3, 1000 * DUSK - 1, 0),
                (4, 1000 * DUSK, ROUND - 1),
                (5, 1000 * DUSK, ROUND),
                (6, 1000 * DUSK, ROUND + 1),
                (7, 1001 * DUSK, ROUND),
                (8, 0, 0),
                (9, 5000 * DUSK, u64::MAX),
            ],
        ),
        Set::new("one able of three", vec![(2, 5000 * DUSK, 0), (3, 10 * DUSK, 0), (4, 5000 * DUSK, ROUND + 1)]),
        Set::new(
            "whale",
            vec![(2, 400_000_000 * DUSK, 0), (3, 1000 * DUSK, 0), (4, 1000 * DUSK, 0), (5, 1000 * DUSK, 0)],
        ),
        Set::new("fifty equal", equal(50)),
        Set::new("thousand", rising(1000)),
    ]
}

pub fn seeds() -> [Seed; 4] {
    let mut mixed = [0; 48];
    for (i, byte) in mixed.iter_mut().enumerate() {
        *byte = (i * 37 + 11) as u8;
    }
    [Seed::from([0; 48]), Seed::from([3; 48]), Seed::from([0xff; 48]), Seed::from(mixed)]
}
