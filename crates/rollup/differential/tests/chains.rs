//! A few hundred generated chains, and a chain for each departure of kona.

#![allow(clippy::unwrap_used)]

use duskevm_rollup_differential::{
    compare::{Verdict, compare, silence_panics},
    departure::Departure,
    generate::{Fault, generate, generate_about},
};

fn agree(seed: u64) -> Verdict {
    let verdict = compare(generate(seed));
    assert_eq!(verdict.difference, None, "seed {seed}, {:?}", verdict.focus);
    verdict
}

/// Ten chains about every fault.
#[test]
fn both_derive_the_same_attributes() {
    silence_panics();
    let verdicts: Vec<_> = (0..300).map(agree).collect();
    for fault in Fault::ALL.into_iter().skip(1) {
        let times: u64 = verdicts.iter().filter_map(|verdict| verdict.faults.get(&fault)).sum();
        assert!(times > 0, "{fault:?} never happened");
    }
    assert!(verdicts.iter().map(|verdict| verdict.attributes).sum::<usize>() > 10_000);
    assert!(verdicts.iter().any(|verdict| verdict.replaced > 0), "no payload was invalid");
}

#[test]
fn chains_without_faults_need_no_repair() {
    let verdict = compare(
        duskevm_rollup_differential::generate::steady::steady(
            300,
            1,
            duskevm_rollup_differential::generate::steady::Posting::SpanBrotli,
        )
        .0,
    );
    assert_eq!(verdict.difference, None);
    assert!(verdict.departures.is_empty() && !verdict.published_differs, "{:?}", verdict.departures);
    assert!(verdict.attributes >= 300);
}

/// On this chain kona as published gives something else than the specification demands, and with this one repair it does not.
fn departs(departure: Departure, fault: Fault, seed: u64) {
    silence_panics();
    let verdict = compare(generate_about(seed, fault));
    assert_eq!(verdict.difference, None);
    assert_eq!(verdict.departures.keys().copied().collect::<Vec<_>>(), [departure]);
    assert!(verdict.published_differs);
}
