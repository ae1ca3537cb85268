//! Runs made from a seed: how many nodes, which faults, which liars.

use std::time::Duration;

use duskevm_dusk_l1::sa::bls::{Bls, StandIn};
use duskevm_dusk_l1::sa::rules::{Quorums, Rules, StepTimes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::byzantine::Strategy;
use crate::check::Violation;
use crate::world::{Fault, Network, Tally, World};

/// Seconds between blocks.
const BLOCK_TIME: u64 = 2;

/// Rules of the simulated networks: blocks of two seconds and step times to match.
pub fn rules() -> Rules {
    let times = StepTimes {
        initial: Duration::from_secs(4),
        min: Duration::from_secs(1),
        max: Duration::from_secs(10),
        increase: Duration::from_millis(500),
    };
    Rules::new(BLOCK_TIME, 3_000_000_000).with_times(times)
}

/// Quorums with which two halves of a network can decide without each other.
pub fn broken_rules() -> Rules {
    rules().with_quorums(Quorums::broken_for_tests(22, 22))
}

/// Kinds of scenarios that a seed chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// See [`Scenario::crashes`].
    Crashes,
    /// See [`Scenario::partitions`].
    Partitions,
    /// See [`Scenario::lies`].
    Lies,
    /// See [`Scenario::forks`].
    Forks,
    /// See [`Scenario::emergency`].
    Emergency,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crashes, Self::Partitions, Self::Lies, Self::Forks, Self::Emergency];

    /// The scenario of this kind that follows from `seed`.
    pub fn scenario(self, seed: u64) -> Scenario {
        match self {
            Self::Crashes => Scenario::crashes(seed),
            Self::Partitions => Scenario::partitions(seed),
            Self::Lies => Scenario::lies(seed),
            Self::Forks => Scenario::forks(seed),
            Self::Emergency => Scenario::emergency(seed),
        }
    }
}

/// What a run is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// Provisioners with equal stakes.
    pub nodes: usize,
    /// Who lies, and how.
    pub liars: Vec<(usize, Strategy)>,
    /// The network while it is not partitioned.
    pub network: Network,
    /// What goes wrong, and when.
    pub faults: Vec<(Duration, Fault)>,
    /// When the last fault is over.
    pub healed: Duration,
    /// Blocks that everybody must have after that.
    pub blocks: u64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Tips of the honest nodes.
    pub heights: Vec<u64>,
    /// Virtual time that it took.
    pub took: Duration,
    /// What happened.
    pub tally: Tally,
}

impl Scenario {
    /// Everything works.
    pub fn calm(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            liars: Vec::new(),
            network: Network::default(),
            faults: Vec::new(),
            healed: Duration::ZERO,
            blocks: 10,
        }
    }

    /// Crashes with restarts, and losses.
    pub fn crashes(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(3..=9));
        new.network.loss = dice.random_range(0.0..0.03);
        new.network.repeated = 0.02;
        new.network.delay = (5, dice.random_range(20..300));
        let mut at = Duration::from_secs(3);
        for _ in 0..dice.random_range(1..=4) {
            let node = dice.random_range(0..new.nodes);
            at += Duration::from_millis(dice.random_range(0..9_000));
            let up = at + Duration::from_millis(dice.random_range(100..25_000));
            new.faults.push((at, Fault::Crash(node)));
            new.faults.push((up, Fault::Restart(node)));
            new.healed = new.healed.max(up);
        }
        new
    }

    /// The network falls apart into two or three sides, several times.
    pub fn partitions(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(4..=12));
        new.network.delay = (5, dice.random_range(20..200));
        let mut at = Duration::from_secs(2);
        for _ in 0..dice.random_range(1..=3) {
            at += Duration::from_millis(dice.random_range(0..8_000));
            let sides = dice.random_range(2..=3);
            let sides = (0..new.nodes).map(|_| dice.random_range(0..sides)).collect();
            new.faults.push((at, Fault::Network(Network { sides, ..new.network.clone() })));
            at += Duration::from_millis(dice.random_range(500..40_000));
            new.faults.push((at, Fault::Network(new.network.clone())));
        }
        new.healed = at;
        new
    }

    /// One of ten to sixteen lies, and the network loses messages.
    pub fn lies(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(10..=16));
        new.network.delay = (5, dice.random_range(20..200));
        new.network.loss = dice.random_range(0.0..0.02);
        let strategy = Strategy::ALL[dice.random_range(0..Strategy::ALL.len())];
        new.liars = vec![(dice.random_range(0..new.nodes), strategy)];
        new
    }

    /// A node stops in the middle of things and comes back without the journal of what it has signed.
    pub fn amnesia(seed: u64) -> Self {
        let mut new = Self::calm(seed, 4);
        let node = (seed % 4) as usize;
        let at = Duration::from_millis(200 + seed * 37);
        let up = at + Duration::from_millis(3_500);
        new.faults = vec![(at, Fault::Crash(node)), (at, Fault::ForgetJournal(node)), (up, Fault::Restart(node))];
        new.healed = up;
        new
    }

    /// For some seconds a single node hears the outcome of iterations: it goes on alone with a block of which the others
    /// know nothing, who agree on a later one.
    pub fn forks(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(5..=12));
        let hears = dice.random_range(0..new.nodes);
        let deaf = (0..new.nodes).filter(|node| *node != hears).collect();
        let from = Duration::from_millis(dice.random_range(2_500..9_000));
        let until = from + Duration::from_millis(dice.random_range(1_500..6_000));
        new.faults = vec![
            (from, Fault::Network(Network { deaf, ..new.network.clone() })),
            (until, Fault::Network(new.network.clone())),
        ];
        new.healed = until;
        new
    }

    /// A partition in which nobody has a quorum, for so long that rounds go into emergency mode or to their end.
    pub fn emergency(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(4..=10));
        let sides = (0..new.nodes as u8).map(|node| node % 3).collect();
        let until = Duration::from_secs(dice.random_range(200..3_000));
        new.faults = vec![
            (Duration::from_secs(3), Fault::Network(Network { sides, ..new.network.clone() })),
            (until, Fault::Network(new.network.clone())),
        ];
        new.healed = until;
        new
    }

    /// Halves that cannot reach each other for long.
    pub fn halves(seed: u64) -> Self {
        let mut new = Self::calm(seed, 8);
        let sides = (0..8).map(|node| node % 2).collect();
        let apart = Network { sides, ..new.network.clone() };
        new.faults = vec![
            (Duration::from_secs(3), Fault::Network(apart)),
            (Duration::from_secs(90), Fault::Network(new.network.clone())),
        ];
        new.healed = Duration::from_secs(90);
        new
    }

    /// Runs it by `rules`.
    pub fn run(&self, rules: Rules) -> Result<Outcome, Violation> {
        self.run_with(StandIn, (0..self.nodes as u64).map(StandIn::id).collect(), rules)
    }

    /// Runs it with signatures of another kind, one secret for each node.
    pub fn run_with<B: Bls>(&self, bls: B, secrets: Vec<B::Secret>, rules: Rules) -> Result<Outcome, Violation> {
        let mut world = World::new(bls, rules, self.seed, secrets, &self.liars);
        world.schedule(Duration::ZERO, Fault::Network(self.network.clone()));
        for (at, fault) in &self.faults {
            world.schedule(*at, fault.clone());
        }
        world.run(self.healed, u64::MAX)?;
        let target = world.heights().into_iter().max().unwrap_or_default() + self.blocks;
        // Generous: what is promised is that it goes on, not how fast. Two hours of it cost little.
        let patience = Duration::from_secs(7200);
        if !world.run(self.healed + patience, target)? {
            return Err(Violation::Stuck { heights: world.heights(), seconds: patience.as_secs(), target });
        }
        Ok(Outcome { heights: world.heights(), took: world.now(), tally: world.tally() })
    }
}
