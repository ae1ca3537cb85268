//! Runs made from a seed: how many nodes, which faults, which liars.

use std::time::Duration;

use duskevm_dusk_l1::keys::AccountId;
use duskevm_dusk_l1::sa::bls::{Bls, StandIn};
use duskevm_dusk_l1::sa::rules::{Quorums, Rules, StepTimes};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::byzantine::Strategy;
use crate::check::{Checks, Outcomes, Violation};
use crate::network::Network;
use crate::node::Trap;
use crate::tally::Tally;
use crate::world::{Cast, Fault, World};

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
    /// See [`Scenario::stakes`].
    Stakes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Crashes, Self::Partitions, Self::Lies, Self::Forks, Self::Emergency, Self::Stakes];

    /// The scenario of this kind that follows from `seed`.
    pub fn scenario(self, seed: u64) -> Scenario {
        match self {
            Self::Crashes => Scenario::crashes(seed),
            Self::Partitions => Scenario::partitions(seed),
            Self::Lies => Scenario::lies(seed),
            Self::Forks => Scenario::forks(seed),
            Self::Emergency => Scenario::emergency(seed),
            Self::Stakes => Scenario::stakes(seed),
        }
    }
}

/// What a run is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// Provisioners with equal stakes.
    pub provisioners: usize,
    /// Which of them have a second node with the same key, from node `provisioners` on.
    pub twins: Vec<usize>,
    /// Who lies, and how.
    pub liars: Vec<(usize, Strategy)>,
    /// Nodes that are not up at the beginning.
    pub absent: Vec<usize>,
    /// Blocks change the stakes.
    pub changing: bool,
    /// The network while it is not partitioned.
    pub network: Network,
    /// What goes wrong, and when.
    pub faults: Vec<(Duration, Fault)>,
    /// When the last fault is over.
    pub healed: Duration,
    /// Blocks that everybody must have after that.
    pub blocks: u64,
    /// Height that everybody must reach in any case.
    pub height: u64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Tips of the honest nodes.
    pub heights: Vec<u64>,
    /// Height of the newest final block of anybody.
    pub last_final: u64,
    /// Virtual time that it took.
    pub took: Duration,
    /// What happened.
    pub tally: Tally,
    /// What honest nodes were shown of iterations.
    pub outcomes: Outcomes,
}

fn millis(dice: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(dice.random_range(range))
}

impl Scenario {
    /// Everything works.
    pub fn calm(seed: u64, provisioners: usize) -> Self {
        Self {
            seed,
            provisioners,
            twins: Vec::new(),
            liars: Vec::new(),
            absent: Vec::new(),
            changing: false,
            network: Network::default(),
            faults: Vec::new(),
            healed: Duration::ZERO,
            blocks: 10,
            height: 0,
        }
    }

    /// Has something go wrong at a time.
    pub fn fault(&mut self, at: Duration, fault: Fault) {
        self.faults.push((at, fault));
        self.healed = self.healed.max(at);
    }

    /// A node stops somehow at `at` and is there again at `up`.
    fn stop(&mut self, dice: &mut StdRng, node: usize, at: Duration, up: Duration) {
        // Of a small network one disk is lost: if all are, so is the chain.
        let may_lose = self.provisioners > 16 || !self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Wipe(_)));
        let fault = match dice.random_range(0..6) {
            0 | 1 => Fault::CrashAt(node, Trap::Journalled),
            2 => Fault::CrashAt(node, Trap::Stored),
            3 if may_lose => Fault::Wipe(node),
            _ => Fault::Crash(node),
        };
        self.fault(at, fault);
        self.fault(up, Fault::Restart(node));
    }

    /// The network has `sides` sides from `at` to `until`.
    fn split(&mut self, dice: &mut StdRng, sides: u8, at: Duration, until: Duration) {
        let nodes = self.provisioners + self.twins.len();
        let sides = (0..nodes).map(|_| dice.random_range(0..sides)).collect();
        self.fault(at, Fault::Network(Network { sides, ..self.network.clone() }));
        self.fault(until, Fault::Network(self.network.clone()));
    }

    /// Crashes with restarts, at any time and at the worst, lost disks, a late joiner, and losses.
    pub fn crashes(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(3..=9));
        new.network.loss = dice.random_range(0.0..0.03);
        new.network.late = (dice.random_range(0.0..0.02), 3_000);
        new.network.repeated = 0.02;
        new.network.delay = (5, dice.random_range(20..300));
        if dice.random_bool(0.3) {
            let node = dice.random_range(0..new.provisioners);
            new.absent.push(node);
            new.fault(millis(&mut dice, 10_000..60_000), Fault::Restart(node));
        }
        let mut at = Duration::from_secs(3);
        for _ in 0..dice.random_range(1..=4) {
            let node = dice.random_range(0..new.provisioners);
            at += millis(&mut dice, 0..9_000);
            let up = at + millis(&mut dice, 100..25_000);
            new.stop(&mut dice, node, at, up);
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
            at += millis(&mut dice, 0..8_000);
            let until = at + millis(&mut dice, 500..40_000);
            let sides = dice.random_range(2..=3);
            new.split(&mut dice, sides, at, until);
            at = until;
        }
        new
    }

    /// One of ten to sixteen lies, and the network loses messages. A twin does so with a partition of his own.
    pub fn lies(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(10..=16));
        new.network.delay = (5, dice.random_range(20..200));
        new.network.loss = dice.random_range(0.0..0.02);
        let liar = dice.random_range(0..new.provisioners);
        match Strategy::ALL.get(dice.random_range(0..=Strategy::ALL.len())) {
            Some(strategy) => new.liars = vec![(liar, *strategy)],
            None => new.with_twins(&[liar]),
        }
        new
    }

    /// Gives provisioners a second node.
    pub fn with_twins(&mut self, of: &[usize]) {
        for twin in of {
            self.liars.push((*twin, Strategy::Twin));
            self.liars.push((self.provisioners + self.twins.len(), Strategy::Twin));
            self.twins.push(*twin);
        }
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
        let hears = dice.random_range(0..new.provisioners);
        let deaf = (0..new.provisioners).filter(|node| *node != hears).collect();
        let from = millis(&mut dice, 2_500..9_000);
        let until = from + millis(&mut dice, 1_500..6_000);
        new.fault(from, Fault::Network(Network { deaf, ..new.network.clone() }));
        new.fault(until, Fault::Network(new.network.clone()));
        new
    }

    /// A partition in which nobody has a quorum, for so long that rounds go into emergency mode or to their end.
    pub fn emergency(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(4..=10));
        let sides = (0..new.provisioners as u8).map(|node| node % 3).collect();
        let until = Duration::from_secs(dice.random_range(200..3_000));
        new.fault(Duration::from_secs(3), Fault::Network(Network { sides, ..new.network.clone() }));
        new.fault(until, Fault::Network(new.network.clone()));
        new
    }

    /// Blocks stake, unstake and punish, while nodes crash and the network falls apart for a while.
    pub fn stakes(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, dice.random_range(8..=14));
        new.changing = true;
        new.network.delay = (5, dice.random_range(20..200));
        new.network.loss = dice.random_range(0.0..0.02);
        if dice.random_bool(0.3) {
            new.liars = vec![(dice.random_range(0..new.provisioners), Strategy::BadCandidate)];
        }
        let at = millis(&mut dice, 20_000..40_000);
        let until = at + millis(&mut dice, 500..30_000);
        new.split(&mut dice, 2, at, until);
        let node = dice.random_range(0..new.provisioners);
        let at = millis(&mut dice, 5_000..60_000);
        let up = at + millis(&mut dice, 100..40_000);
        new.stop(&mut dice, node, at, up);
        new.height = 40;
        new
    }

    /// Halves that cannot reach each other for long.
    pub fn halves(seed: u64) -> Self {
        let mut new = Self::calm(seed, 8);
        let sides = (0..8).map(|node| node % 2).collect();
        let apart = Network { sides, ..new.network.clone() };
        new.fault(Duration::from_secs(3), Fault::Network(apart));
        new.fault(Duration::from_secs(90), Fault::Network(new.network.clone()));
        new
    }

    /// A large network over many rounds, in which all of that happens again and again until the last tenth: losses, late
    /// and repeated messages, partitions, crashes of an eighth of the nodes at once, lost disks, late joiners, and liars
    /// with up to 15 % of the stake. Of four runs one changes the stakes, with fewer liars, since an unstaking of others
    /// raises their share.
    pub fn large(seed: u64, provisioners: usize, rounds: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut new = Self::calm(seed, provisioners);
        new.height = rounds;
        new.changing = seed % 4 == 3;
        new.network = Network {
            delay: (5, dice.random_range(40..250)),
            late: (dice.random_range(0.0..0.005), 3_000),
            loss: dice.random_range(0.0..0.02),
            repeated: dice.random_range(0.0..0.01),
            ..Network::default()
        };
        let share = if new.changing { 0.10 } else { 0.15 };
        let liars = (provisioners as f64 * share) as usize;
        let mut order: Vec<_> = (0..provisioners).collect();
        order.shuffle(&mut dice);
        let (liars, honest) = order.split_at(liars);
        // Every other run they are of one mind, else each has his own way.
        let alike = Strategy::ALL.get(dice.random_range(0..=Strategy::ALL.len())).copied();
        match (seed.is_multiple_of(2), alike) {
            (true, Some(strategy)) => new.liars = liars.iter().map(|liar| (*liar, strategy)).collect(),
            (true, None) => new.with_twins(liars),
            (false, _) => {
                let (twins, others) = liars.split_at(liars.len() / 4);
                new.liars = others.iter().zip(Strategy::ALL.iter().cycle()).map(|(l, s)| (*l, *s)).collect();
                new.with_twins(twins);
            }
        }
        // Blocks come every two seconds at best, so the faults are over before nine tenths of the rounds are.
        let end = Duration::from_secs(rounds * BLOCK_TIME * 9 / 10);
        let late = dice.random_range(0..=provisioners / 20);
        for node in honest.iter().take(late) {
            new.absent.push(*node);
            new.fault(end.mul_f64(dice.random_range(0.05..0.9)), Fault::Restart(*node));
        }
        let mut at = Duration::from_secs(10);
        while at + Duration::from_secs(120) < end {
            let until = at + millis(&mut dice, 500..40_000);
            match dice.random_range(0..3) {
                0 => {
                    let sides = dice.random_range(2..=3);
                    new.split(&mut dice, sides, at, until);
                }
                1 => {
                    for _ in 0..dice.random_range(1..=provisioners / 8) {
                        let node = dice.random_range(0..provisioners);
                        let up = at + millis(&mut dice, 500..90_000);
                        new.stop(&mut dice, node, at, up);
                    }
                }
                _ => {}
            }
            at = until + millis(&mut dice, 1_000..60_000);
        }
        new
    }

    /// Who takes part, by numbers: each provisioner's, and again for its twin.
    fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.provisioners).chain(self.twins.iter().copied())
    }

    /// Runs it by `rules`.
    pub fn run(&self, rules: Rules) -> Result<Outcome, Violation> {
        self.run_with(StandIn, self.accounts(), rules)
    }

    /// The accounts of the provisioners, others for each seed: committees follow from them and the chain alone, so the same
    /// ones would draw the same committees in every run.
    pub fn accounts(&self) -> impl Fn(usize) -> AccountId + use<> {
        let first = self.seed << 16;
        move |number| StandIn::id(first + number as u64)
    }

    /// The world of it, at its beginning.
    pub fn world<B: Bls>(&self, bls: B, secret: impl Fn(usize) -> B::Secret, rules: Rules) -> World<B> {
        let cast = Cast {
            secrets: self.numbers().map(secret).collect(),
            liars: self.liars.clone(),
            absent: self.absent.clone(),
            changing: self.changing,
        };
        let mut world = World::new(bls, rules, self.seed, cast);
        world.schedule(Duration::ZERO, Fault::Network(self.network.clone()));
        for (at, fault) in &self.faults {
            world.schedule(*at, fault.clone());
        }
        world
    }

    /// Runs it with signatures of another kind and the provisioners' secrets.
    pub fn run_with<B: Bls>(
        &self,
        bls: B,
        secret: impl Fn(usize) -> B::Secret,
        rules: Rules,
    ) -> Result<Outcome, Violation> {
        let mut world = self.world(bls, secret, rules);
        world.run(self.healed, u64::MAX)?;
        let target = self.height.max(world.heights().into_iter().max().unwrap_or_default() + self.blocks);
        // Generous: what is promised is that it goes on, not how fast. Two hours of it cost little.
        let patience = Duration::from_secs(7200);
        if !world.run(self.healed + patience, target)? {
            return Err(Violation::Stuck { heights: world.heights(), seconds: patience.as_secs(), target });
        }
        for (node, ledger) in world.ledgers() {
            Checks::finality(node, ledger)?;
        }
        Ok(Outcome {
            heights: world.heights(),
            last_final: world.highest_final(),
            took: world.now(),
            tally: world.tally(),
            outcomes: world.outcomes(),
        })
    }
}
