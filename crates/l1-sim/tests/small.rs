//! A network in which nothing goes wrong, real signatures, and proof that the checks find what they are for.

use std::time::Duration;

use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::sa::bls::DuskBls;
use duskevm_l1_sim::check::Violation;
use duskevm_l1_sim::node::Trap;
use duskevm_l1_sim::scenario::{Kind, Outcome, Scenario, broken_rules, rules};
use duskevm_l1_sim::tally::Trouble;
use duskevm_l1_sim::world::Fault;

fn run(scenario: &Scenario) -> Outcome {
    scenario.run(rules()).unwrap_or_else(|violation| panic!("{violation}\n{scenario:#?}"))
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

/// Three provisioners, and five of which one crashes with an unsent vote, while another signs everything twice.
#[test]
fn real_signatures() {
    let mut calm = Scenario::calm(1, 3);
    calm.blocks = 2;
    let mut troubled = Scenario::calm(2, 5);
    troubled.with_twins(&[0]);
    troubled.fault(Duration::from_millis(1_500), Fault::CrashAt(3, Trap::Journalled));
    troubled.fault(Duration::from_secs(6), Fault::Restart(3));
    troubled.blocks = 2;
    for scenario in [calm, troubled] {
        let outcome = scenario.run_with(DuskBls::default(), |i| Signer::from_seed(&[i as u8]), rules()).unwrap();
        assert!(outcome.heights.iter().all(|height| *height >= 2), "{outcome:?}");
        assert_eq!(outcome.tally.of(Trouble::CrashBeforeSending) > 0, scenario.provisioners == 5, "{outcome:?}");
    }
}

#[test]
fn a_seed_repeats_its_run() {
    for kind in Kind::ALL {
        assert_eq!(kind.scenario(7).run(rules()), kind.scenario(7).run(rules()), "{kind:?}");
    }
}
