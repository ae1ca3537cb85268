//! Some two hundred small runs, and proof that the checks find what they are for.

use duskevm_l1_sim::check::Violation;
use duskevm_l1_sim::scenario::{Scenario, broken_rules, rules};

fn run(scenario: &Scenario) -> duskevm_l1_sim::scenario::Outcome {
    scenario.run(rules()).unwrap_or_else(|violation| panic!("{violation}\n{scenario:#?}"))
}

#[test]
fn one_to_sixteen_provisioners_agree() {
    for nodes in 1..=16 {
        let outcome = run(&Scenario::calm(nodes as u64, nodes));
        println!("{nodes}: {outcome:?}");
    }
}

#[test]
fn crashes_and_losses() {
    for seed in 0..50 {
        let outcome = run(&Scenario::crashes(seed));
        println!("{seed}: {outcome:?}");
    }
}

#[test]
fn partitions() {
    for seed in 0..50 {
        let outcome = run(&Scenario::partitions(seed));
        println!("{seed}: {outcome:?}");
    }
}

#[test]
fn lies() {
    for seed in 0..50 {
        let outcome = run(&Scenario::lies(seed));
        println!("{seed}: {outcome:?}");
    }
}

#[test]
fn a_broken_quorum_is_found() {
    let found = (0..10).filter(|seed| {
        matches!(
            Scenario::halves(*seed).run(broken_rules()),
            Err(Violation::TwoFinal { .. } | Violation::FinalReplaced { .. })
        )
    });
    assert!(found.count() > 0);
    for seed in 0..10 {
        run(&Scenario::halves(seed));
    }
}
