//! Runs simulations by the thousand and says which seed broke what.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_l1_sim::scenario::{Kind, Outcome, Scenario, broken_rules, rules};
use duskevm_l1_sim::shares;
use duskevm_l1_sim::tally::Tally;

/// Simulation of Dusk L1's consensus on virtual time.
#[derive(Debug, Parser)]
#[command(name = "l1-sim")]
struct Arguments {
    /// Quorums of 22 credits, with which two halves of a network decide without each other: shows that the checks find
    /// it, so the program fails.
    #[arg(long, global = true)]
    broken_quorum: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios of small networks, of all kinds or of one.
    Small {
        /// How many in all, in equal parts of each kind.
        #[arg(long, default_value_t = 6000)]
        runs: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Only this kind.
        #[arg(long)]
        kind: Option<Name>,
    },
    /// Runs a large network through many rounds.
    Large {
        /// How many.
        #[arg(long, default_value_t = 1)]
        runs: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Provisioners.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(8..=200))]
        provisioners: u16,
        /// Height to reach.
        #[arg(long, default_value_t = 1000)]
        rounds: u64,
    },
    /// Prints how often safety breaks at which share of Byzantine stake, as the table of crates/dusk-l1/README.md.
    Shares {
        /// Runs of each row.
        #[arg(long, default_value_t = 200)]
        runs: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How long the attack lasts, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Runs one small scenario again and shows what it was made of and what came of it.
    Replay {
        /// Its kind.
        kind: Name,
        /// Its seed.
        seed: u64,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Crashes,
    Partitions,
    Lies,
    Forks,
    Emergency,
    Stakes,
}

impl Name {
    fn kind(self) -> Kind {
        match self {
            Self::Crashes => Kind::Crashes,
            Self::Partitions => Kind::Partitions,
            Self::Lies => Kind::Lies,
            Self::Forks => Kind::Forks,
            Self::Emergency => Kind::Emergency,
            Self::Stakes => Kind::Stakes,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let rules = if arguments.broken_quorum { broken_rules() } else { rules() };
    let switch = if arguments.broken_quorum { " --broken-quorum" } else { "" };
    let good = match arguments.command {
        Command::Small { runs, first, kind } => {
            let kinds = kind.map_or(Kind::ALL.to_vec(), |name| vec![name.kind()]);
            let each = runs.div_ceil(kinds.len() as u64);
            // All of them run, whatever the first ones show.
            let failed = kinds.into_iter().filter(|kind| {
                let again = |seed| format!("l1-sim{switch} replay {} {seed}", name(*kind));
                !all(name(*kind), first, each, &rules, |seed| kind.scenario(seed), again)
            });
            failed.count() == 0
        }
        Command::Large { runs, first, provisioners, rounds } => {
            let provisioners = usize::from(provisioners);
            let again =
                |seed| format!("l1-sim{switch} large --first {seed} --provisioners {provisioners} --rounds {rounds}");
            let name = format!("{provisioners} provisioners, {rounds} rounds");
            all(name, first, runs, &rules, |seed| Scenario::large(seed, provisioners, rounds), again)
        }
        Command::Shares { runs, first, seconds } => {
            table(runs, first, Duration::from_secs(seconds));
            true
        }
        Command::Replay { kind, seed } => {
            let scenario = kind.kind().scenario(seed);
            println!("{scenario:#?}");
            let outcome = scenario.run(rules);
            match &outcome {
                Ok(outcome) => println!("{outcome:#?}"),
                Err(violation) => println!("violation: {violation}"),
            }
            outcome.is_ok()
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn name(kind: Kind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// Runs the scenarios of `runs` seeds. True if none broke a promise.
fn all(
    name: String,
    first: u64,
    runs: u64,
    rules: &Rules,
    scenario: impl Fn(u64) -> Scenario,
    again: impl Fn(u64) -> String,
) -> bool {
    let (began, mut broken, mut blocks, mut virtually) = (Instant::now(), 0u64, 0u64, Duration::ZERO);
    let mut tally = Tally::default();
    for seed in first..first.saturating_add(runs) {
        match scenario(seed).run(rules.clone()) {
            Ok(Outcome { heights, took, tally: new, .. }) => {
                blocks += heights.into_iter().max().unwrap_or_default();
                virtually += took;
                tally += new;
            }
            Err(violation) => {
                broken += 1;
                println!("{name}, seed {seed}: {violation}; again: {}", again(seed));
            }
        }
    }
    println!(
        "{name}: {runs} runs from seed {first}, {broken} broken; {blocks} blocks, {} virtual hours in {:.1} s; {tally}",
        virtually.as_secs() / 3600,
        began.elapsed().as_secs_f64()
    );
    broken == 0
}

/// Prints the table of shares.
fn table(runs: u64, first: u64, lasts: Duration) {
    println!(
        "| Byzantine stake | a committee can decide both ways: estimate | drawn | an iteration attested both ways | two \
         final blocks: estimate | runs with two final blocks |\n|---|---|---|---|---|---|"
    );
    for byzantine in [6, 9, 12, 15, 18, 20] {
        let row = shares::row(byzantine, lasts, runs, first);
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        println!(
            "| {byzantine} of {} ({:.0} %) | {} | {} | {} | {} | {} of {} ({}) |",
            shares::PROVISIONERS,
            byzantine as f64 / shares::PROVISIONERS as f64 * 100.0,
            percent(row.both_estimated),
            percent(row.both_drawn),
            percent(row.both_attested),
            percent(row.break_estimated),
            row.broken,
            row.runs,
            percent(row.broken as f64 / row.runs.max(1) as f64),
        );
    }
}
