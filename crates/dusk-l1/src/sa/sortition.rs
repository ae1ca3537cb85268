//! Deterministic sortition: who is drawn for a step.
//!
//! Source: `user::sortition` and `CommitteeGenerator` of the published consensus crate. Its big integers fit 64 bits
//! here: a weight is a sum of stakes in lux, and the supply is below 2^60 of them.

use crate::keys::AccountId;
use crate::sa::provisioners::Provisioners;
use crate::sa::rules::{CREDIT_WEIGHT, Step, StepKind};
use crate::sha3::sha3_256;

/// The hash that decides one credit: seed ‖ number of the step ‖ credits drawn before. The round is not part of it.
/// Source: `create_sortition_hash`.
pub fn score_hash(seed: &[u8; 48], step: Step, counter: u32) -> [u8; 32] {
    sha3_256(&[seed, &[step.number()], &counter.to_le_bytes()])
}

/// The hash as a big-endian number modulo `weight`; nothing if there is no weight. Source: `generate_sortition_score`.
pub fn score(hash: &[u8; 32], weight: u64) -> Option<u64> {
    if weight == 0 {
        return None;
    }
    let (limbs, _) = hash.as_chunks::<8>();
    let rest = limbs.iter().fold(0u64, |rest, limb| {
        let value = (u128::from(rest) << 64) | u128::from(u64::from_be_bytes(*limb));
        // Less than `weight`, hence a u64.
        (value % u128::from(weight)) as u64
    });
    Some(rest)
}

/// Draws `credits` for `step` of `round` and gives them by place in `provisioners`, ascending. Members of `exclude` are
/// left out, unless only one provisioner is eligible at all. Fewer credits are drawn when the weight runs out, none when
/// nobody is left (there the published function panics).
pub fn extract(
    seed: &[u8; 48],
    step: Step,
    round: u64,
    provisioners: &Provisioners,
    exclude: &[AccountId],
    credits: u32,
) -> Vec<(usize, u32)> {
    let eligible: Vec<_> = provisioners.eligible(round).iter().map(|(index, p)| (index, p.value)).collect();
    let exclude: Vec<_> = if eligible.len() > 1 {
        exclude.iter().filter_map(|id| provisioners.position(id.as_bytes())).collect()
    } else {
        Vec::new()
    };
    draw(seed, step, &eligible, &exclude, credits)
}

/// The generator of an iteration: the one credit of its Proposal step. Nobody if nobody is eligible.
/// Source: `Provisioners::get_generator`.
pub fn generator(seed: &[u8; 48], iteration: u8, round: u64, provisioners: &Provisioners) -> Option<AccountId> {
    let step = Step::new(iteration, StepKind::Proposal)?;
    let drawn = extract(seed, step, round, provisioners, &[], step.kind.credits());
    let (index, _) = drawn.first()?;
    provisioners.get(*index).map(|p| p.id)
}

/// Draws from `eligible` (place and weight, ascending by place) without the places in `exclude`.
pub(crate) fn draw(
    seed: &[u8; 48],
    step: Step,
    eligible: &[(usize, u64)],
    exclude: &[usize],
    credits: u32,
) -> Vec<(usize, u32)> {
    let places: Vec<_> = eligible.iter().filter(|(index, _)| !exclude.contains(index)).copied().collect();
    let mut weights = Weights::new(&places);
    let mut drawn = vec![0u32; places.len()];
    for counter in 0..credits {
        let Some(score) = score(&score_hash(seed, step, counter), weights.total) else { break };
        let at = weights.find(score);
        if let Some(count) = drawn.get_mut(at) {
            *count += 1;
        }
        weights.take(at);
    }
    places.iter().zip(drawn).filter(|(_, count)| *count > 0).map(|((index, _), count)| (*index, count)).collect()
}

/// Weights with their running sums, as a Fenwick tree: a credit costs a logarithm of the set instead of a walk over it.
struct Weights {
    left: Vec<u64>,
    /// `sums[i]` is the sum of the `i & -i` weights that end with the `i`-th.
    sums: Vec<u64>,
    total: u64,
}

impl Weights {
    fn new(places: &[(usize, u64)]) -> Self {
        let left: Vec<_> = places.iter().map(|(_, weight)| *weight).collect();
        let mut sums = vec![0u64; left.len() + 1];
        for (place, weight) in left.iter().enumerate() {
            let i = place + 1;
            sums[i] = sums[i].saturating_add(*weight);
            let next = i + (i & i.wrapping_neg());
            if next < sums.len() {
                sums[next] = sums[next].saturating_add(sums[i]);
            }
        }
        let total = left.iter().fold(0u64, |sum, weight| sum.saturating_add(*weight));
        Self { left, sums, total }
    }

    /// The first place up to which the weights reach `score`. A score of 0 is reached by the first place even if nothing
    /// is left of it: the published walk compares with `>=` and keeps empty entries.
    fn find(&self, score: u64) -> usize {
        let (mut at, mut score) = (0, score);
        let mut width = self.sums.len().next_power_of_two();
        while width > 0 {
            if let Some(sum) = self.sums.get(at + width).filter(|sum| **sum < score) {
                at += width;
                score -= sum;
            }
            width /= 2;
        }
        at
    }

    /// Takes one credit's weight from a place, or what is left of it. The extraction ends when nothing else is left.
    fn take(&mut self, at: usize) {
        let Some(left) = self.left.get_mut(at) else {
            self.total = 0;
            return;
        };
        let taken = CREDIT_WEIGHT.min(*left);
        *left -= taken;
        self.total = self.total.saturating_sub(taken);
        let mut i = at + 1;
        while let Some(sum) = self.sums.get_mut(i) {
            *sum = sum.saturating_sub(taken);
            i += i & i.wrapping_neg();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Signer;
    use crate::sa::bls::StandIn;
    use crate::sa::rules::{CREDITS, MINIMUM_STAKE};

    /// Keys of the published crate's own tests.
    const KEYS: [&str; 5] = [
        "7f6f2ccdb23f2abb7b69278e947c01c6160a31cf02c19d06d0f6e5ab1d768b15",
        "611830d3641a68f94a690dcc25d1f4b0dac948325ac18f6dd32564371735f32c",
        "1fbec814b18b1d4c3eaa7cec41007e04bf0a98453b06ec7582aa29882c52eb3e",
        "ecd9c4a53ea15f18447b08fb96a13c5ab7dc7d24067b102fcbaaf7b39ca52e2d",
        "e463bcb1a6e57288ffd4671503082fa8656e3eacb78fb1925f8a7c76400e8e15",
    ];

    fn published_set() -> Provisioners {
        let entries = KEYS.iter().enumerate().skip(1).map(|(i, key)| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(key, &mut bytes).unwrap();
            (Signer::from_bytes(&bytes).unwrap().id(), i as u64 * MINIMUM_STAKE, 0)
        });
        Provisioners::from_entries(entries)
    }

    fn step(number: u8) -> Step {
        Step::from_number(number).unwrap()
    }

    fn credits(drawn: &[(usize, u32)]) -> Vec<u32> {
        drawn.iter().map(|(_, credits)| *credits).collect()
    }

    #[test]
    fn published_hash_and_scores() {
        let hash = score_hash(&[3; 48], step(3), 1);
        assert_eq!(hex::encode(hash), "4a40eeaee2340b695dfbcc0689b00e604d8b5c4c07b2261084e90db44ececc1f");
        assert_eq!(score(&hash, 123_342_342), Some(80_689_917));
        assert_eq!(score(&score_hash(&[4; 48], step(3), 1), 44_443_333), Some(20_330_495));
        assert_eq!(score(&hash, 0), None);
    }

    #[test]
    fn published_extractions() {
        let set = published_set();
        assert_eq!(credits(&extract(&[0; 48], step(1), 1, &set, &[], 64)), [4, 29, 9, 22]);
        assert_eq!(credits(&extract(&[3; 48], step(8), 7777, &set, &[], 45)), [6, 13, 11, 15]);
        let generator = generator(&[3; 48], 2, 7777, &set).unwrap();
        assert_eq!(credits(&extract(&[3; 48], step(8), 7777, &set, &[generator], 45)), [8, 13, 24]);
    }

    /// The rule as it is written down: a walk.
    fn walk(seed: &[u8; 48], step: Step, eligible: &[(usize, u64)], credits: u32) -> Vec<(usize, u32)> {
        let mut weights = eligible.to_vec();
        let mut drawn = std::collections::BTreeMap::new();
        let mut total: u64 = weights.iter().map(|(_, weight)| weight).sum();
        for counter in 0..credits {
            let Some(mut score) = score(&score_hash(seed, step, counter), total) else { break };
            for (index, weight) in &mut weights {
                if *weight >= score {
                    let taken = CREDIT_WEIGHT.min(*weight);
                    *weight -= taken;
                    *drawn.entry(*index).or_insert(0) += 1;
                    total -= taken;
                    break;
                }
                score -= *weight;
            }
        }
        drawn.into_iter().collect()
    }

    proptest! {
        #[test]
        fn the_tree_is_the_walk(
            seed in any::<[u8; 32]>(),
            number in 0..150u8,
            weights in prop::collection::vec(prop_oneof![1..4u64, 1..3 * CREDIT_WEIGHT, 1..1u64 << 50], 1..70),
        ) {
            let mut long = [0; 48];
            long[..32].copy_from_slice(&seed);
            let eligible: Vec<_> = weights.into_iter().enumerate().collect();
            prop_assert_eq!(
                draw(&long, step(number), &eligible, &[], CREDITS),
                walk(&long, step(number), &eligible, CREDITS)
            );
        }

        #[test]
        fn credits_add_up_and_the_excluded_are_out(
            seed in any::<[u8; 32]>(),
            number in 0..150u8,
            stakes in prop::collection::vec(MINIMUM_STAKE..50 * MINIMUM_STAKE, 3..40),
        ) {
            let mut long = [0; 48];
            long[..32].copy_from_slice(&seed);
            let set = Provisioners::from_entries(
                stakes.into_iter().enumerate().map(|(i, value)| (StandIn::id(i as u64), value, 0)),
            );
            let out = [StandIn::id(0), StandIn::id(1)];
            let drawn = extract(&long, step(number), 1, &set, &out, CREDITS);
            prop_assert_eq!(drawn.iter().map(|(_, credits)| credits).sum::<u32>(), CREDITS);
            prop_assert!(drawn.iter().all(|(i, _)| set.get(*i).is_some_and(|p| !out.contains(&p.id))));
        }
    }

    #[test]
    fn a_score_of_nothing_picks_the_first_even_if_it_is_drained() {
        let mut weights = Weights::new(&[(0, 1), (1, 5)]);
        weights.take(0);
        assert_eq!(weights.find(0), 0);
        assert_eq!(weights.find(1), 1);
        assert_eq!(weights.find(5), 1);
    }

    #[test]
    fn one_eligible_provisioner_is_never_excluded_and_nobody_gives_nobody() {
        let set = Provisioners::from_entries([(StandIn::id(1), MINIMUM_STAKE, 0), (StandIn::id(2), 1, 0)]);
        let drawn = extract(&[1; 48], step(1), 1, &set, &[StandIn::id(1)], CREDITS);
        assert_eq!(credits(&drawn), [CREDITS]);
        let nobody = Provisioners::default();
        assert!(extract(&[1; 48], step(1), 1, &nobody, &[], CREDITS).is_empty());
        assert_eq!(generator(&[1; 48], 0, 1, &nobody), None);
        let two = Provisioners::from_entries([(StandIn::id(1), MINIMUM_STAKE, 0), (StandIn::id(2), MINIMUM_STAKE, 0)]);
        let both = [StandIn::id(1), StandIn::id(2)];
        assert!(extract(&[1; 48], step(1), 1, &two, &both, CREDITS).is_empty());
    }
}
