//! A block of many account updates on a large state: state root, commit, and until it is on disk.

#![allow(missing_docs)]

use alloy_consensus::Header;
use alloy_primitives::{Address, Bytes, U256, keccak256};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use duskevm_fence::Fence;
use duskevm_store::{
    Identity,
    l2::{BlockCommit, L2Error, L2Settings, L2Store, StoredTransaction},
};
use duskevm_trie::{AccountDelta, AccountInfo, EMPTY_ROOT_HASH, StateChanges, StateLimits};
use std::time::{Duration, Instant};
use tries::StateTries;

#[path = "../tests/common/tries.rs"]
mod tries;

const ACCOUNTS: u64 = 1_000_000;
const FENCE: Fence = Fence::unfenced();

struct Chain {
    store: L2Store,
    tries: StateTries,
    head: Header,
}

/// Time of each part of a block.
#[derive(Default)]
struct Times {
    root: Duration,
    commit: Duration,
    durable: Duration,
}

fn changes(from: u64, count: u64, step: u64) -> StateChanges {
    let accounts = (0..count).map(|index| {
        let number = (from + index * step) % ACCOUNTS;
        let info = AccountInfo { nonce: from, balance: U256::from(from + index), ..AccountInfo::default() };
        AccountDelta::new(Address::from_word(keccak256(number.to_be_bytes())), Some(info), false, [])
    });
    StateChanges { accounts: accounts.collect(), codes: Vec::new() }
}

impl Chain {
    fn new(path: &std::path::Path) -> Result<Self, L2Error> {
        let head = Header { state_root: EMPTY_ROOT_HASH, ..Header::default() };
        let identity = Identity { chain_id: 31310, genesis: head.hash_slow() };
        let store = L2Store::open(path, &identity, L2Settings::default())?;
        let tries = StateTries::new(store.reader(), EMPTY_ROOT_HASH, StateLimits::default());
        let genesis = BlockCommit {
            hash: identity.genesis,
            header: head.clone(),
            transactions: Vec::new(),
            receipts: Vec::new(),
            state: StateChanges::default(),
            nodes: duskevm_trie::Changes::default(),
        };
        store.init_genesis(&FENCE, genesis)?;
        let mut chain = Self { store, tries, head };
        for part in 0..50 {
            chain.block(changes(part * ACCOUNTS / 50, ACCOUNTS / 50, 1), 0)?;
        }
        Ok(chain)
    }

    fn block(&mut self, state: StateChanges, transactions: u64) -> Result<Times, L2Error> {
        let number = self.head.number + 1;
        let transactions: Vec<_> = (0..transactions)
            .map(|index| {
                let raw: Bytes = [&[7; 100][..], &number.to_be_bytes(), &index.to_be_bytes()].concat().into();
                StoredTransaction { hash: keccak256(&raw), sender: Address::ZERO, raw }
            })
            .collect();
        let receipts = transactions.iter().map(|_| Bytes::from(vec![0; 270])).collect();
        let start = Instant::now();
        let outcome = self.tries.apply(self.head.state_root, &state)?;
        let root = start.elapsed();
        let parent_hash = self.head.hash_slow();
        self.head = Header { number, parent_hash, state_root: outcome.root, ..Header::default() };
        let (hash, header) = (self.head.hash_slow(), self.head.clone());
        let block = BlockCommit { hash, header, transactions, receipts, state, nodes: outcome.changes };
        let start = Instant::now();
        self.store.commit_block(&FENCE, block)?;
        let commit = start.elapsed();
        self.store.flush()?;
        Ok(Times { root, commit, durable: start.elapsed() })
    }
}

fn blocks(c: &mut Criterion) {
    let directory = std::env::temp_dir().join(format!("duskevm-bench-{}", std::process::id()));
    let mut chain = match Chain::new(&directory) {
        Ok(chain) => chain,
        Err(error) => {
            eprintln!("cannot make the database: {error}");
            return;
        }
    };
    let mut group = c.benchmark_group("l2 store with 1,000,000 accounts");
    group.sample_size(10);
    type Part = fn(Times) -> Duration;
    let parts: [(&str, Part); 3] =
        [("state root", |times| times.root), ("commit", |times| times.commit), ("durable", |times| times.durable)];
    let mut seed = 1;
    for accounts in [10_000, 20_000] {
        group.throughput(Throughput::Elements(accounts));
        for (name, part) in parts {
            group.bench_function(format!("{accounts} accounts: {name}"), |b| {
                b.iter_custom(|count| {
                    let mut total = Duration::ZERO;
                    for _ in 0..count {
                        seed += 31;
                        match chain.block(changes(seed, accounts, 7_919), accounts / 2) {
                            Ok(times) => total += part(times),
                            Err(error) => eprintln!("block failed: {error}"),
                        }
                    }
                    total
                });
            });
        }
    }
    group.finish();
    drop(chain);
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        eprintln!("cannot delete {}: {error}", directory.display());
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);
