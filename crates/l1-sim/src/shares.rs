//! How much of the stake may lie: an attack on purpose, measured, beside what the binomial distribution says of it.
//!
//! The attack: honest provisioners of equal stakes fall into two halves that cannot hear each other, and every Byzantine
//! provisioner runs a node with its key in each half ([`Strategy::Twin`]), so that all of the Byzantine stake votes for
//! everything on both sides. Safety *breaks* in a run if two honest nodes hold different final blocks at one height.
//!
//! The estimate takes the credits of each side in each committee for binomial: 64 draws, each for the side with the
//! probability of its reach, the Byzantine share and half of the rest. It plays the side's iterations with the quorums,
//! step times and rule of finality and asks whether a new block becomes final on the side while the attack lasts. The
//! sides decide above different blocks, hence by different committees: that both do has the square of that probability.
//!
//! [`Strategy::Twin`]: crate::byzantine::Strategy::Twin

use std::sync::Arc;
use std::time::Duration;

use dusk_node_data::message::payload::Vote;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::sa::bls::StandIn;
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{CREDITS, EMERGENCY, MAX_ITERATION, MINIMUM_STAKE, RELAXED, Rules, Step, StepKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::network::Network;
use crate::scenario::{Scenario, rules};
use crate::world::Fault;

/// Provisioners of the attacked network.
pub const PROVISIONERS: usize = 60;
/// When the attack begins.
const BEGIN: Duration = Duration::from_secs(5);
/// Committees that are drawn for a row.
const DRAWN: u64 = 4_000;
/// Times that the estimate is played.
const PLAYED: u64 = 20_000;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Byzantine provisioners of [`PROVISIONERS`].
    pub byzantine: usize,
    /// Chance that their credits suffice for both outcomes of one committee, by the binomial distribution.
    pub both_estimated: f64,
    /// Share of committees drawn by sortition in which they do.
    pub both_drawn: f64,
    /// Share of runs in which an iteration was attested both as a success and as a failure.
    pub both_attested: f64,
    /// Chance of two final blocks at one height, estimated.
    pub break_estimated: f64,
    /// Runs in which there were.
    pub broken: u64,
    /// Runs.
    pub runs: u64,
}

/// The attack by `byzantine` of [`PROVISIONERS`], for so long.
pub fn attack(seed: u64, byzantine: usize, lasts: Duration) -> Scenario {
    let mut new = Scenario::calm(seed, PROVISIONERS);
    new.with_twins(&(0..byzantine).collect::<Vec<_>>());
    // A twin's second node is on the other side than its first one.
    let sides = (0..PROVISIONERS).map(|node| if node < byzantine { 0 } else { (node % 2) as u8 });
    let sides = sides.chain((0..byzantine).map(|_| 1)).collect();
    new.fault(BEGIN, Fault::Network(Network { sides, ..new.network.clone() }));
    new.fault(BEGIN + lasts, Fault::Network(new.network.clone()));
    new
}

/// Credits with which somebody can give a committee both outcomes: its quorums overlap in so many.
fn overlap(rules: &Rules) -> u32 {
    let quorums = rules.quorums();
    quorums.of(&Vote::Valid([0; 32])) + quorums.of(&Vote::NoQuorum) - CREDITS
}

/// Chance of `least` or more successes in 64 draws.
fn tail(least: u32, chance: f64) -> f64 {
    let mut term = (1.0 - chance).powi(CREDITS as i32);
    let mut sum = 0.0;
    for k in 0..=CREDITS {
        if k >= least {
            sum += term;
        }
        term *= f64::from(CREDITS - k) / f64::from(k + 1) * chance / (1.0 - chance);
    }
    sum
}

/// Share of committees in which the first `byzantine` provisioners have at least `least` credits.
fn drawn(byzantine: usize, least: u32, rules: &Rules) -> f64 {
    let stakes = (0..PROVISIONERS as u64).map(|number| (StandIn::id(number), MINIMUM_STAKE, 0));
    let set = Arc::new(Provisioners::from_entries(stakes));
    let ids: Vec<_> = (0..byzantine as u64).map(StandIn::id).collect();
    let steps = [StepKind::Validation, StepKind::Ratification].map(|kind| Step::new(0, kind));
    let mut found = 0u64;
    for seed in 0..DRAWN / 2 {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let committees = Committees::new(bytes, 1, set.clone(), rules.quorums());
        for committee in steps.iter().flatten().map(|step| committees.get(*step)) {
            let credits: u32 = ids.iter().filter_map(|id| committee.credits_of(id.as_bytes())).sum();
            found += u64::from(credits >= least);
        }
    }
    found as f64 / DRAWN as f64
}

/// Plays one side of the attack with binomial credits. True if a block becomes final in time.
fn side_finalizes(reach: f64, lasts: Duration, rules: &Rules, dice: &mut StdRng) -> bool {
    let (valid, other) = (rules.quorums().of(&Vote::Valid([0; 32])), rules.quorums().of(&Vote::NoQuorum));
    let mut finality = Finality::genesis();
    let mut time = Duration::ZERO;
    while time < lasts {
        let mut waits = [rules.times.min; 3];
        let (mut unattested, mut iteration) = (0u8, 0u8);
        // A block comes a block time after the one before, but a failed iteration uses that time as well.
        let began = time;
        loop {
            if time >= lasts || iteration == MAX_ITERATION {
                return false;
            }
            let mut credits = || (0..CREDITS).filter(|_| dice.random_bool(reach)).count() as u32;
            let (first, second) = (credits(), credits());
            let proposed = dice.random_bool(reach);
            let agreed = first >= if proposed { valid } else { other };
            let needed = if proposed && agreed { valid } else { other };
            if iteration == 0 {
                time = time.max(began + Duration::from_secs(rules.block_time));
            }
            let missed = [!proposed, !agreed, second < needed];
            for (wait, _) in waits.iter_mut().zip(missed).filter(|(_, missed)| *missed) {
                time += *wait;
                *wait = (*wait + rules.times.increase).min(rules.times.max);
            }
            if proposed && agreed && second >= valid {
                break;
            }
            let attested = second >= needed && iteration < EMERGENCY;
            unattested += u8::from(!attested || iteration >= RELAXED);
            iteration += 1;
        }
        finality.accept(unattested);
        if finality.last_final() > 0 {
            return true;
        }
    }
    false
}

/// Attacks `runs` times and estimates.
pub fn row(byzantine: usize, lasts: Duration, runs: u64, first: u64) -> Row {
    let rules = rules();
    let share = byzantine as f64 / PROVISIONERS as f64;
    let (mut broken, mut both) = (0, 0);
    for seed in first..first.saturating_add(runs) {
        let scenario = attack(seed, byzantine, lasts);
        let mut world = scenario.world(StandIn, scenario.accounts(), rules.clone());
        // Some seconds more, in which each half hears of the other.
        broken += u64::from(world.run(scenario.healed + Duration::from_secs(20), u64::MAX).is_err());
        both += u64::from(world.outcomes().both > 0);
    }
    let mut dice = StdRng::seed_from_u64(first);
    let reach = share + (1.0 - share) / 2.0;
    let finalized = (0..PLAYED).filter(|_| side_finalizes(reach, lasts, &rules, &mut dice)).count();
    Row {
        byzantine,
        both_estimated: tail(overlap(&rules), share),
        both_drawn: drawn(byzantine, overlap(&rules), &rules),
        both_attested: both as f64 / runs.max(1) as f64,
        break_estimated: (finalized as f64 / PLAYED as f64).powi(2),
        broken,
        runs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binomial_tail_is_the_known_one() {
        assert_eq!(overlap(&rules()), 12);
        for (share, expected) in [(0.10, 0.024), (0.15, 0.246), (0.20, 0.648), (0.25, 0.907), (0.30, 0.986)] {
            assert!((tail(12, share) - expected).abs() < 0.001, "{share}: {}", tail(12, share));
        }
        assert!((tail(0, 0.3) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn sortition_draws_as_the_distribution_says() {
        for byzantine in [6, 12] {
            let estimate = tail(12, byzantine as f64 / PROVISIONERS as f64);
            let drawn = drawn(byzantine, 12, &rules());
            assert!((drawn - estimate).abs() < 0.05, "{byzantine}: {drawn}, {estimate}");
        }
    }

    #[test]
    fn a_third_breaks_it_and_a_tenth_does_not() {
        let lasts = Duration::from_secs(60);
        let (few, many) = (row(6, lasts, 2, 0), row(20, lasts, 8, 0));
        assert_eq!(few.broken, 0, "{few:?}");
        assert!(few.break_estimated < 0.01, "{few:?}");
        assert!(many.broken > 0 && many.break_estimated > 0.1, "{many:?}");
    }
}
