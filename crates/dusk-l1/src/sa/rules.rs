//! Numbers of the protocol: iterations, credits, quorums, step times.
//!
//! Source: `config` of the published consensus crate. What a network may choose is in [`Rules`]; the rest are constants.
//! One difference of form from the published node: the last iteration is 49 and iteration 255, its emergency block, does
//! not exist here, so that no step number can overflow.

use std::time::Duration;

use dusk_node_data::message::payload::Vote;

/// Iterations of a round: 0 to 49.
pub const MAX_ITERATION: u8 = 50;

/// Iterations that a later block may list as failed: 0 to 7. From here on a round is in relaxed mode.
pub const RELAXED: u8 = 8;

/// First iteration of emergency mode, in which only votes for a block are cast and counted.
pub const EMERGENCY: u8 = 16;

/// Credits of a Validation and of a Ratification committee.
pub const CREDITS: u32 = 64;

/// Credits of a Proposal committee: the generator.
pub const PROPOSAL_CREDITS: u32 = 1;

/// Credits that leave the eligible weight with each extraction, in lux: one DUSK.
pub const CREDIT_WEIGHT: u64 = 1_000_000_000;

/// Least stake of a provisioner in lux, without the locked part: 1000 DUSK.
pub const MINIMUM_STAKE: u64 = dusk_core::stake::DEFAULT_MINIMUM_STAKE;

/// Rounds ahead of the own one whose messages are kept.
pub const MAX_ROUND_DISTANCE: u64 = 10;

/// Most bytes of an encoded block, sidecars included.
pub const MAX_BLOCK_BYTES: usize = 1024 * 1024;

/// Rounds after which two different votes of one signer are no evidence any more.
pub const FAULT_LIFETIME: u64 = dusk_core::stake::EPOCH;

/// Whether `iteration` is in emergency mode.
pub fn is_emergency(iteration: u8) -> bool {
    iteration >= EMERGENCY
}

/// Whether the generator of the next iteration is kept out of the committees of `iteration`: in all but the last.
pub fn excludes_next_generator(iteration: u8) -> bool {
    iteration < MAX_ITERATION - 1
}

/// What a network agrees on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Least distance of two blocks in seconds.
    pub block_time: u64,
    /// How long steps wait. Nodes that differ in it still agree, but more slowly.
    pub times: StepTimes,
    /// Gas limit that every header carries.
    pub block_gas_limit: u64,
    /// Credits of one step of a later iteration that make a node follow there.
    pub catch_up_credits: u32,
    quorums: Quorums,
}

impl Rules {
    /// The published quorums and step times.
    pub fn new(block_time: u64, block_gas_limit: u64) -> Self {
        Self {
            block_time,
            times: StepTimes::published(),
            block_gas_limit,
            catch_up_credits: 22,
            quorums: Quorums::published(),
        }
    }

    /// The same with other step times.
    pub fn with_times(self, times: StepTimes) -> Self {
        Self { times, ..self }
    }

    /// The same with other quorums. Only a simulation that shows what a broken quorum does has a use for it.
    #[doc(hidden)]
    pub fn with_quorums(self, quorums: Quorums) -> Self {
        Self { quorums, ..self }
    }

    /// Credits that decide a step.
    pub fn quorums(&self) -> Quorums {
        self.quorums
    }
}

/// How long a step waits for its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepTimes {
    /// Before anything was measured.
    pub initial: Duration,
    /// Never less.
    pub min: Duration,
    /// Never more.
    pub max: Duration,
    /// Added each time the step ran out of time in this round.
    pub increase: Duration,
}

impl StepTimes {
    /// 40 s, 7 s, 40 s, 2 s.
    pub const fn published() -> Self {
        Self {
            initial: Duration::from_secs(40),
            min: Duration::from_secs(7),
            max: Duration::from_secs(40),
            increase: Duration::from_secs(2),
        }
    }
}

/// Credits that decide a step. They are counted of the configured 64 credits, however many were extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorums {
    valid: u32,
    other: u32,
}

impl Quorums {
    /// Two thirds, rounded up, for a valid block (43); more than a half for everything else (33).
    pub const fn published() -> Self {
        Self { valid: CREDITS - CREDITS / 3, other: CREDITS / 2 + 1 }
    }

    /// Credits that decide a step for `vote`.
    pub fn of(&self, vote: &Vote) -> u32 {
        if vote.is_valid() { self.valid } else { self.other }
    }

    /// Numbers with which the protocol is not safe.
    #[doc(hidden)]
    pub const fn broken_for_tests(valid: u32, other: u32) -> Self {
        Self { valid, other }
    }
}

/// The three steps of an iteration, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// The generator publishes a candidate.
    Proposal,
    /// The first committee votes on it.
    Validation,
    /// The second committee votes on the outcome of the first.
    Ratification,
}

impl StepKind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Proposal, Self::Validation, Self::Ratification];

    /// 0, 1 or 2.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Credits that are extracted for the step.
    pub const fn credits(self) -> u32 {
        match self {
            Self::Proposal => PROPOSAL_CREDITS,
            Self::Validation | Self::Ratification => CREDITS,
        }
    }
}

/// A step of a round. Made by [`Step::new`], which refuses iterations that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Step {
    /// 0 to 49.
    pub iteration: u8,
    /// Which of its three steps.
    pub kind: StepKind,
}

impl Step {
    /// Steps of a round.
    pub const COUNT: usize = MAX_ITERATION as usize * 3;

    /// The step, if the iteration exists.
    pub const fn new(iteration: u8, kind: StepKind) -> Option<Self> {
        if iteration < MAX_ITERATION { Some(Self { iteration, kind }) } else { None }
    }

    /// The number that sortition hashes: 0 to 149. Source: `StepName::to_step`.
    pub const fn number(self) -> u8 {
        self.iteration * 3 + self.kind as u8
    }

    /// The step with a number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        let kind = match number % 3 {
            0 => StepKind::Proposal,
            1 => StepKind::Validation,
            _ => StepKind::Ratification,
        };
        Self::new(number / 3, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_are_the_published_ones() {
        let quorums = Rules::new(10, 1).quorums();
        assert_eq!(quorums.of(&Vote::Valid([1; 32])), 43);
        for vote in [Vote::Invalid([1; 32]), Vote::NoCandidate, Vote::NoQuorum] {
            assert_eq!(quorums.of(&vote), 33, "{vote:?}");
        }
    }

    #[test]
    fn step_numbers_are_those_of_the_published_node() {
        for iteration in 0..=u8::MAX {
            for (kind, name) in StepKind::ALL.into_iter().zip([
                dusk_node_data::StepName::Proposal,
                dusk_node_data::StepName::Validation,
                dusk_node_data::StepName::Ratification,
            ]) {
                let Some(step) = Step::new(iteration, kind) else {
                    assert!(iteration >= MAX_ITERATION);
                    continue;
                };
                assert_eq!(step.number(), name.to_step(iteration));
                assert_eq!(Step::from_number(step.number()), Some(step));
            }
        }
        assert_eq!(Step::from_number(150), None);
    }

    #[test]
    fn modes_begin_where_they_should() {
        assert!(!is_emergency(15) && is_emergency(16));
        assert!(excludes_next_generator(48) && !excludes_next_generator(49));
    }
}
