//! Runs simulations by the thousand and says which seed broke what.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use duskevm_l1_sim::scenario::{Kind, Scenario, broken_rules, rules};

/// Simulation of Dusk L1's consensus on virtual time.
#[derive(Debug, Parser)]
#[command(name = "l1-sim")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios of all kinds, or of one.
    Small {
        /// How many of each kind.
        #[arg(long, default_value_t = 1000)]
        runs: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Only this kind.
        #[arg(long)]
        kind: Option<Name>,
    },
    /// Runs one scenario again and shows what it was made of and what came of it.
    Replay {
        /// Its kind.
        kind: Name,
        /// Its seed.
        seed: u64,
    },
    /// Shows that the checks find a network whose quorums are too small.
    BrokenQuorum {
        /// How many runs.
        #[arg(long, default_value_t = 20)]
        runs: u64,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Crashes,
    Partitions,
    Lies,
    Forks,
    Emergency,
}

impl Name {
    fn kind(self) -> Kind {
        match self {
            Self::Crashes => Kind::Crashes,
            Self::Partitions => Kind::Partitions,
            Self::Lies => Kind::Lies,
            Self::Forks => Kind::Forks,
            Self::Emergency => Kind::Emergency,
        }
    }
}

fn main() -> ExitCode {
    let good = match Arguments::parse().command {
        Command::Small { runs, first, kind } => {
            let kinds = kind.map_or(Kind::ALL.to_vec(), |name| vec![name.kind()]);
            // All of them run, whatever the first ones show.
            kinds.into_iter().filter(|kind| !small(*kind, first, runs)).count() == 0
        }
        Command::Replay { kind, seed } => {
            let scenario = kind.kind().scenario(seed);
            println!("{scenario:#?}");
            match scenario.run(rules()) {
                Ok(outcome) => println!("{outcome:#?}"),
                Err(violation) => println!("violation: {violation}"),
            }
            true
        }
        Command::BrokenQuorum { runs } => {
            let found = (0..runs).filter(|seed| Scenario::halves(*seed).run(broken_rules()).is_err()).count();
            println!("{found} of {runs} runs with quorums of 22 credits broke a promise");
            found > 0
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs `runs` scenarios of a kind. True if none broke a promise.
fn small(kind: Kind, first: u64, runs: u64) -> bool {
    let (mut broken, mut blocks, mut forks, mut caught_up, mut highest) = (0u64, 0u64, 0u64, 0u64, 0u8);
    for seed in first..first.saturating_add(runs) {
        match kind.scenario(seed).run(rules()) {
            Ok(outcome) => {
                blocks += outcome.heights.iter().max().copied().unwrap_or_default();
                forks += outcome.tally.forks;
                caught_up += outcome.tally.caught_up;
                highest = highest.max(outcome.tally.highest_iteration);
            }
            Err(violation) => {
                broken += 1;
                println!("{kind:?}, seed {seed}: {violation}; again: l1-sim replay {} {seed}", name(kind));
            }
        }
    }
    println!(
        "{kind:?}: {runs} runs, {broken} broken; {blocks} blocks, {forks} branches given up, {caught_up} times followed \
         to a later iteration, highest iteration {highest}"
    );
    broken == 0
}

fn name(kind: Kind) -> String {
    format!("{kind:?}").to_lowercase()
}
