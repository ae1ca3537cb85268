//! Drawing a committee of 64 credits.

#![allow(missing_docs, reason = "criterion makes undocumented items")]

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use duskevm_dusk_l1::sa::bls::StandIn;
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{CREDITS, MAX_ITERATION, MINIMUM_STAKE, Quorums, Step, StepKind};
use duskevm_dusk_l1::sa::sortition::extract;

fn draws(c: &mut Criterion) {
    let Some(step) = Step::new(0, StepKind::Validation) else { return };
    for n in [4, 64, 1000] {
        let set = Provisioners::from_entries((0..n).map(|i| (StandIn::id(i), MINIMUM_STAKE * (1 + i % 7), 0)));
        let set = Arc::new(set);
        c.bench_with_input(BenchmarkId::new("sortition/64 credits of", n), &n, |b, _| {
            b.iter(|| extract(&[3; 48], step, 1, &set, &[], CREDITS));
        });
        // What a round can need at most: the committees of all of its iterations.
        c.bench_with_input(BenchmarkId::new("sortition/a round's committees of", n), &n, |b, _| {
            b.iter(|| {
                let committees = Committees::new([3; 48], 1, set.clone(), Quorums::published());
                let steps = (0..MAX_ITERATION).flat_map(|i| StepKind::ALL.map(|kind| Step::new(i, kind)));
                steps.flatten().map(|step| committees.get(step).len()).sum::<usize>()
            });
        });
        c.bench_with_input(BenchmarkId::new("sortition/an iteration's committees of", n), &n, |b, _| {
            b.iter(|| {
                let committees = Committees::new([3; 48], 1, set.clone(), Quorums::published());
                let drawn = StepKind::ALL.into_iter().filter_map(|kind| Step::new(0, kind));
                drawn.map(|step| committees.get(step).len()).sum::<usize>()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = draws
}
criterion_main!(benches);
