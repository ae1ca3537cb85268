//! Two hundred and forty small runs, in which everything that can go wrong does so at least once and breaks nothing.

use duskevm_l1_sim::scenario::{Kind, Outcome, Scenario, rules};
use duskevm_l1_sim::tally::{Tally, Trouble};

fn run(scenario: &Scenario) -> Outcome {
    scenario.run(rules()).unwrap_or_else(|violation| panic!("{violation}\n{scenario:#?}"))
}

/// The sum of the first `seeds` runs of a kind.
fn runs(kind: Kind, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..seeds {
        tally += run(&kind.scenario(seed)).tally;
    }
    tally
}

fn all_occurred(tally: &Tally, troubles: &[Trouble]) {
    for trouble in troubles {
        assert!(tally.of(*trouble) > 0, "no {trouble:?}: {tally}");
    }
}

#[test]
fn crashes_and_losses_delay_only() {
    use Trouble::{
        Crash, CrashAfterStoring, CrashBeforeSending, Delayed, LateJoiner, Lost, Reordered, Repeated, Restart, Wiped,
    };
    let tally = runs(Kind::Crashes, 60);
    assert!(tally.sent_again > 0, "no restart found an own message");
    assert!(tally.syncs > 0);
    all_occurred(&tally, &[Lost, Delayed, Reordered, Repeated, Crash, CrashBeforeSending, CrashAfterStoring]);
    all_occurred(&tally, &[Restart, LateJoiner, Wiped]);
}

#[test]
fn after_a_partition_everybody_goes_on() {
    let tally = runs(Kind::Partitions, 40);
    assert!(tally.caught_up > 0, "nobody followed to a later iteration");
    all_occurred(&tally, &[Trouble::Partition, Trouble::Healed]);
}

#[test]
fn liars_break_nothing() {
    use Trouble::{
        Abstained, Forged, Garbage, InvalidCandidate, Relabelled, Silence, Stale, TwoCandidates, TwoVotes,
        WithheldBlobs, WithheldCandidate,
    };
    let tally = runs(Kind::Lies, 80);
    assert!(tally.double_votes > 0, "no split vote was noticed");
    assert!(tally.failed_iterations > 0);
    all_occurred(&tally, &[TwoCandidates, TwoVotes, WithheldBlobs, Abstained, WithheldCandidate, InvalidCandidate]);
    all_occurred(&tally, &[Silence, Stale, Forged, Garbage, Relabelled]);
}

#[test]
fn branches_are_joined() {
    assert!(runs(Kind::Forks, 20).forks > 0, "no branch was given up");
}

#[test]
fn emergency_mode_and_the_end_of_a_round_are_left_again() {
    assert!(runs(Kind::Emergency, 10).highest_iteration >= 16);
}

#[test]
fn provisioners_come_and_go() {
    let tally = runs(Kind::Stakes, 30);
    assert!(tally.of(Trouble::StakesChanged) > 100, "{tally}");
}

/// A network and a tenth of the rounds of what `l1-sim large` runs.
#[test]
fn a_large_network_goes_its_way() {
    let scenario = Scenario::large(2, 32, 100);
    let outcome = run(&scenario);
    assert!(outcome.last_final >= 98, "{outcome:?}");
}
