//! Account updates on a trie of a million accounts: new root and changed nodes, upper levels decoded.

#![allow(missing_docs)]

use alloy_primitives::{B256, Bytes, U256, keccak256, map::B256Map};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use duskevm_trie::{AccountChange, AccountUpdate, EMPTY_ROOT_HASH, HashedUpdate, StateLimits, StateOutcome, StateTrie};
use std::hint::black_box;

const ACCOUNTS: u64 = 1_000_000;

fn account(index: u64, balance: u64) -> (B256, AccountUpdate) {
    let account = AccountChange::Set { nonce: 1, balance: U256::from(balance), code_hash: B256::repeat_byte(0xc5) };
    (keccak256(index.to_be_bytes()), AccountUpdate { account, storage_wiped: false, slots: Vec::new() })
}

fn block(count: u64, seed: u64) -> HashedUpdate {
    // A step without a common factor: every account once.
    let accounts = (0..count).map(|index| account((seed + index * 7_919) % ACCOUNTS, seed + index)).collect();
    let mut update = HashedUpdate { accounts };
    update.sort();
    update
}

fn keep(nodes: &mut B256Map<Bytes>, outcome: StateOutcome) {
    nodes.extend(outcome.changes.inserted);
    for hash in outcome.changes.removed {
        nodes.remove(&hash);
    }
}

fn updates(c: &mut Criterion) {
    let mut nodes = B256Map::default();
    let mut state = StateTrie::new(EMPTY_ROOT_HASH, StateLimits::default());
    for part in 0..20 {
        let size = ACCOUNTS / 20;
        let accounts = (part * size..(part + 1) * size).map(|index| account(index, index)).collect();
        let mut update = HashedUpdate { accounts };
        update.sort();
        if let Ok(outcome) = state.apply(&nodes, &update) {
            keep(&mut nodes, outcome);
        }
    }
    let mut group = c.benchmark_group("state trie of 1,000,000 accounts");
    group.sample_size(10);
    for count in [10_000, 20_000] {
        let update = block(count, 17);
        group.throughput(criterion::Throughput::Elements(count));
        group.bench_function(format!("{count} updated accounts"), |b| {
            b.iter_batched(
                || state.clone(),
                |mut state| black_box(state.apply(&nodes, &update)),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, updates);
criterion_main!(benches);
