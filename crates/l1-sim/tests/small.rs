//! Some two hundred small runs, and proof that the checks find what they are for.

use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::sa::bls::DuskBls;
use duskevm_l1_sim::check::Violation;
use duskevm_l1_sim::scenario::{Kind, Outcome, Scenario, broken_rules, rules};

fn run(scenario: &Scenario) -> Outcome {
    scenario.run(rules()).unwrap_or_else(|violation| panic!("{violation}\n{scenario:#?}"))
}

fn runs(kind: Kind, seeds: u64) -> Vec<Outcome> {
    (0..seeds).map(|seed| run(&kind.scenario(seed))).collect()
}

#[test]
fn one_to_sixteen_provisioners_make_a_block_per_slot() {
    for nodes in 1..=16 {
        let outcome = run(&Scenario::calm(nodes as u64, nodes));
        assert_eq!((outcome.tally.timeouts, outcome.tally.failed_iterations), (0, 0), "{nodes}: {outcome:?}");
        assert!((20..22).contains(&outcome.took.as_secs()), "ten blocks of two seconds: {outcome:?}");
    }
}

#[test]
fn crashes_and_losses_delay_only() {
    let outcomes = runs(Kind::Crashes, 60);
    assert!(outcomes.iter().any(|outcome| outcome.tally.sent_again > 0), "no restart found an own message");
    assert!(outcomes.iter().any(|outcome| outcome.tally.syncs > 0));
}

#[test]
fn after_a_partition_everybody_goes_on() {
    let outcomes = runs(Kind::Partitions, 50);
    assert!(outcomes.iter().any(|outcome| outcome.tally.caught_up > 0), "nobody followed to a later iteration");
}

#[test]
fn one_liar_breaks_nothing() {
    let outcomes = runs(Kind::Lies, 50);
    assert!(outcomes.iter().any(|outcome| outcome.tally.double_votes > 0), "no split vote was noticed");
    assert!(outcomes.iter().any(|outcome| outcome.tally.failed_iterations > 0));
}

#[test]
fn branches_are_joined() {
    let outcomes = runs(Kind::Forks, 20);
    assert!(outcomes.iter().any(|outcome| outcome.tally.forks > 0), "no branch was given up");
}

#[test]
fn emergency_mode_and_the_end_of_a_round_are_left_again() {
    let outcomes = runs(Kind::Emergency, 10);
    let highest = outcomes.iter().map(|outcome| outcome.tally.highest_iteration).max();
    assert!(highest >= Some(16), "{highest:?}");
}

#[test]
fn a_broken_quorum_is_found() {
    let split = |outcome| matches!(outcome, Err(Violation::TwoFinal { .. } | Violation::FinalReplaced { .. }));
    let found = (0..5).filter(|seed| split(Scenario::halves(*seed).run(broken_rules())));
    assert!(found.count() > 0);
    for seed in 0..5 {
        run(&Scenario::halves(seed));
    }
}

#[test]
fn a_lost_journal_is_found() {
    let double = |outcome| matches!(outcome, Err(Violation::DoubleBallot { .. }));
    assert!((0..40).any(|seed| double(Scenario::amnesia(seed).run(rules()))));
}

#[test]
fn real_signatures() {
    let mut scenario = Scenario::calm(1, 3);
    scenario.blocks = 2;
    let secrets = (0..3u8).map(|i| Signer::from_seed(&[i])).collect();
    let outcome = scenario.run_with(DuskBls::default(), secrets, rules());
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn a_seed_repeats_its_run() {
    for kind in Kind::ALL {
        assert_eq!(kind.scenario(7).run(rules()), kind.scenario(7).run(rules()), "{kind:?}");
    }
}
