//! Runs generated chains through both pipelines and prints what came of them.

use clap::Parser;
use duskevm_rollup_differential::{
    compare::{compare, silence_panics},
    departure::Departure,
    generate::{Fault, generate},
};
use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Holds the node's derivation against kona's on generated L1 chains.
#[derive(Debug, Parser)]
struct Args {
    /// How many chains.
    #[arg(long, default_value_t = 300)]
    chains: u64,
    /// Seed of the first one; the others have those after it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

#[derive(Debug, Default)]
struct Totals {
    chains: u64,
    attributes: u64,
    replaced: u64,
    published_differs: u64,
    /// Chains about a fault, attributes in them, how often the fault was put into any chain.
    faults: BTreeMap<Fault, (u64, u64, u64)>,
    /// Chains and times.
    departures: BTreeMap<Departure, (u64, u64, u64)>,
    /// A chain on which one departure alone makes kona give something else.
    shown: BTreeMap<Departure, u64>,
    failed: Vec<(u64, Fault, String)>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    silence_panics();
    let (next, totals) = (AtomicU64::new(args.seed), Mutex::new(Totals::default()));
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seed.saturating_add(args.chains) {
                        break;
                    }
                    one(seed, &totals);
                }
            });
        }
    });
    report(&totals.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn one(seed: u64, totals: &Mutex<Totals>) {
    let verdict = compare(generate(seed));
    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
    totals.chains += 1;
    totals.attributes += verdict.attributes as u64;
    totals.replaced += verdict.replaced as u64;
    totals.published_differs += u64::from(verdict.published_differs);
    let about = totals.faults.entry(verdict.focus).or_default();
    about.0 += 1;
    about.1 += verdict.attributes as u64;
    for (fault, times) in &verdict.faults {
        totals.faults.entry(*fault).or_default().2 += times;
    }
    for (departure, times) in &verdict.departures {
        let entry = totals.departures.entry(*departure).or_default();
        entry.0 += 1;
        entry.1 += times;
        entry.2 += u64::from(verdict.published_differs && verdict.departures.len() == 1);
    }
    if let Some(departure) = verdict.departures.keys().next()
        && verdict.departures.len() == 1
        && verdict.published_differs
        && verdict.difference.is_none()
    {
        totals.shown.entry(*departure).and_modify(|first| *first = seed.min(*first)).or_insert(seed);
    }
    if let Some(difference) = verdict.difference {
        eprintln!("seed {seed} ({:?}): {difference}", verdict.focus);
        totals.failed.push((seed, verdict.focus, difference));
    }
}

fn report(totals: &Totals) -> ExitCode {
    println!("{:<28} {:>8} {:>12} {:>10}", "fault", "chains", "attributes", "times");
    for (fault, (chains, attributes, times)) in &totals.faults {
        println!("{:<28} {chains:>8} {attributes:>12} {times:>10}", format!("{fault:?}"));
    }
    println!("\n{:<32} {:>8} {:>8} {:>18} {:>8}", "departure of kona", "chains", "times", "alone and visible", "seed");
    for departure in Departure::ALL {
        let (chains, times, alone) = totals.departures.get(&departure).copied().unwrap_or_default();
        let seed = totals.shown.get(&departure).map_or_else(|| "-".to_string(), ToString::to_string);
        println!("{:<32} {chains:>8} {times:>8} {alone:>18} {seed:>8}", format!("{departure:?}"));
    }
    println!(
        "\n{} chains, {} payload attributes compared ({} of them replaced by their deposits)",
        totals.chains, totals.attributes, totals.replaced
    );
    println!(
        "{} chains on which kona as published gives something else, all by the departures above",
        totals.published_differs
    );
    println!("{} chains with a difference that no departure explains", totals.failed.len());
    for (seed, fault, difference) in &totals.failed {
        println!("  --seed {seed} --chains 1   {fault:?}: {difference}");
    }
    if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
