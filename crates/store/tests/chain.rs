//! The L2 store against a model: growth, reorganisations, finality, pruning, restarts, and snapshots held through it all.

#![allow(clippy::unwrap_used)]

mod common;

use alloy_primitives::{Address, U256, keccak256};
use common::{ACCOUNTS, Chain, FENCE, Op, address, assert_state, ops};
use duskevm_fence::Gate;
use duskevm_store::{
    db::{ColumnKind, Db, DbLimits, Schema},
    l2::{BlockRef, L2_SCHEMA_VERSION, L2Error, L2Settings, SafeHead, StateSnapshot},
};
use duskevm_trie::{Trie, TrieId, Witness};
use proptest::prelude::*;
use std::{path::Path, time::Duration};
use tempfile::TempDir;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, Op)>),
    Rewind(u8),
    Heads(u8, u8),
    Hold(u8),
    Restart,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => ops().prop_map(Step::Commit),
        2 => (1u8..5).prop_map(Step::Rewind),
        2 => (0u8..4, 0u8..4).prop_map(|(safe, more)| Step::Heads(safe, more)),
        3 => (0u8..6).prop_map(Step::Hold),
        1 => Just(Step::Restart),
        1 => Just(Step::Reopen),
    ]
}

fn settings() -> impl Strategy<Value = L2Settings> {
    (prop::option::weighted(0.8, 0u64..6), 0usize..200, 0usize..5).prop_map(|(history_blocks, cache, recent_blocks)| {
        let (cached_accounts, cached_slots, cached_codes) = (cache, cache, cache);
        L2Settings {
            history_blocks,
            cached_accounts,
            cached_slots,
            cached_codes,
            recent_blocks,
            ..L2Settings::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_store_follows_the_model(first in ops(), steps in prop::collection::vec(step(), 1..30), settings in settings()) {
        let directory = TempDir::new().unwrap();
        let mut chain = Chain::new(&directory.path().join("l2"), settings, &first);
        let mut held: Vec<(StateSnapshot, common::State)> = Vec::new();
        let mut highest = 0;
        for step in steps {
            let heads = chain.store.reader().heads().unwrap();
            match step {
                Step::Commit(ops) => chain.commit(&ops),
                Step::Rewind(count) => {
                    let lowest = heads.finalized.number.max(heads.oldest_state);
                    let target = heads.latest.number.saturating_sub(count.into()).max(lowest) as usize;
                    let hash = chain.blocks[target].commit.hash;
                    let dropped = chain.store.rewind_to(&FENCE, hash).unwrap();
                    let expected = chain.blocks.split_off(target + 1);
                    prop_assert_eq!(dropped.len(), expected.len());
                    for (dropped, expected) in dropped.iter().zip(&expected) {
                        prop_assert_eq!(dropped.block, expected.reference());
                        prop_assert_eq!(&dropped.transactions, &expected.commit.transactions);
                        prop_assert_eq!(chain.store.reader().header(&dropped.block.hash).unwrap(), None);
                        for transaction in &dropped.transactions {
                            prop_assert_eq!(chain.store.reader().transaction(&transaction.hash).unwrap(), None);
                        }
                    }
                    let safe = chain.store.reader().heads().unwrap().safe;
                    prop_assert!(safe.number <= target as u64);
                }
                Step::Heads(safe, more) => {
                    let safe = heads.latest.number.saturating_sub(safe.into()).max(heads.finalized.number);
                    let finalized = safe.saturating_sub(more.into()).max(heads.finalized.number);
                    let [safe, finalized] = [safe, finalized].map(|number| chain.blocks[number as usize].reference());
                    chain.store.set_heads(&FENCE, safe, finalized).unwrap();
                }
                Step::Hold(back) => {
                    let number = heads.latest.number.saturating_sub(back.into());
                    let block = &chain.blocks[number as usize];
                    match chain.store.reader().state_at(&block.commit.hash) {
                        Ok(snapshot) => held.push((snapshot, block.state.clone())),
                        Err(L2Error::StatePruned { block: pruned, oldest }) => {
                            prop_assert!(pruned == block.reference() && number < oldest && oldest == heads.oldest_state);
                        }
                        Err(error) => prop_assert!(false, "{}", error),
                    }
                }
                Step::Restart => {
                    held.clear();
                    chain.open_again();
                }
                Step::Reopen => {
                    chain.store.flush().unwrap();
                    chain.store.crash();
                    let head = chain.store.reopen(&FENCE).unwrap();
                    prop_assert_eq!(head, Some(heads.latest));
                }
            }
            chain.verify_head();
            let heads = chain.store.reader().heads().unwrap();
            highest = highest.max(heads.latest.number);
            let oldest = settings.history_blocks.map_or(0, |history| highest.saturating_sub(history.max(1)));
            prop_assert_eq!(heads.oldest_state, oldest);
            for (snapshot, state) in &held {
                let block = snapshot.block();
                let canonical = chain.blocks.get(block.number as usize).is_some_and(|known| known.reference() == block);
                match assert_state(snapshot, state) {
                    // Also right if its block is gone: the tries may still have all that was asked.
                    Ok(()) => {}
                    Err(L2Error::Reorged { block: gone }) => prop_assert!(!canonical && gone == block),
                    Err(L2Error::StatePruned { block: gone, oldest }) => {
                        prop_assert!(gone == block && block.number < oldest && oldest == heads.oldest_state);
                    }
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
        }
        chain.verify_all();
        chain.open_again();
        chain.verify_all();
    }
}

fn set(balance: u64, slots: &[(u8, u64)]) -> Op {
    Op::Set { nonce: 1, balance, code: Some(7), slots: slots.to_vec() }
}

#[test]
fn proofs_check_against_the_state_root() {
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &[(0, set(1, &[(0, 1), (1, 2)]))]);
    let old = chain.store.reader().latest_state().unwrap();
    chain.commit(&[(0, set(5, &[(0, 0), (2, 9)])), (1, set(6, &[]))]);
    for (snapshot, balance, values) in
        [(old, 1u64, [1u64, 2, 0]), (chain.store.reader().latest_state().unwrap(), 5, [0, 2, 9])]
    {
        let slots: Vec<U256> = (0..3u64).map(U256::from).collect();
        let proof = snapshot.prove(&address(0), &slots).unwrap();
        let account = proof.account.unwrap();
        assert_eq!(account.balance, U256::from(balance));
        // Whoever has nothing but the proof finds the same.
        let witness = Witness::new(proof.proof.clone());
        let mut trie = Trie::from_root(snapshot.root());
        let raw = trie.get(&witness, &keccak256(address(0))).unwrap().unwrap();
        assert_eq!(alloy_rlp::decode_exact::<duskevm_trie::Account>(&raw).unwrap(), account);
        for (slot, value) in proof.slots.iter().zip(values) {
            assert_eq!(slot.value, U256::from(value));
            let witness = Witness::new(slot.proof.clone());
            let mut trie = Trie::new(TrieId::Storage(keccak256(address(0))), account.storage_root);
            let raw = trie.get(&witness, &keccak256(slot.slot.to_be_bytes::<32>())).unwrap();
            assert_eq!(raw.is_some(), value != 0);
        }
        let absent = snapshot.prove(&Address::ZERO, &[U256::ZERO]).unwrap();
        assert_eq!(absent.account, None);
        assert_eq!(
            Trie::from_root(snapshot.root()).get(&Witness::new(absent.proof), &keccak256(Address::ZERO)),
            Ok(None)
        );
    }
}

#[test]
fn block_hashes_are_those_of_the_snapshots_ancestors() {
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &[]);
    for _ in 0..4 {
        chain.commit(&[]);
    }
    let snapshot = chain.store.reader().state_at(&chain.blocks[3].commit.hash).unwrap();
    for number in 0..4 {
        assert_eq!(snapshot.block_hash(number).unwrap(), Some(chain.blocks[number as usize].commit.hash));
    }
    assert_eq!(snapshot.block_hash(4).unwrap(), None);
    chain.store.rewind_to(&FENCE, chain.blocks[2].commit.hash).unwrap();
    assert!(matches!(snapshot.block_hash(1), Err(L2Error::Reorged { .. })));
    assert!(matches!(snapshot.account(&address(0)), Err(L2Error::Reorged { .. })));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &[(0, set(1, &[]))]);
    for balance in 2..6 {
        chain.commit(&[(0, set(balance, &[(1, balance)]))]);
    }
    let next = chain.next(&[(1, set(1, &[]))]);
    let store = &chain.store;
    let references: Vec<_> = chain.blocks.iter().map(common::Block::reference).collect();

    let genesis = chain.blocks[0].commit.clone();
    assert!(matches!(store.init_genesis(&FENCE, genesis), Err(L2Error::NotEmpty { head }) if head == references[4]));
    let old = chain.blocks[2].commit.clone();
    assert!(matches!(store.commit_block(&FENCE, old), Err(L2Error::NotOnHead { head, .. }) if head == references[4]));
    let mut wrong = next.commit.clone();
    wrong.hash = keccak256("wrong");
    assert!(matches!(store.commit_block(&FENCE, wrong), Err(L2Error::WrongHash { .. })));

    store.set_heads(&FENCE, references[3], references[2]).unwrap();
    let mut stranger = references[3];
    stranger.hash = keccak256("stranger");
    assert!(matches!(store.set_heads(&FENCE, stranger, references[2]), Err(L2Error::UnknownBlock(_))));
    for (safe, finalized) in [(2, 3), (3, 1), (1, 1)] {
        let result = store.set_heads(&FENCE, references[safe], references[finalized]);
        assert!(matches!(result, Err(L2Error::BadHeads { .. })), "{result:?}");
    }
    assert!(matches!(store.rewind_to(&FENCE, stranger.hash), Err(L2Error::UnknownBlock(_))));
    match store.rewind_to(&FENCE, references[1].hash) {
        Err(L2Error::BelowFinalized { target, finalized }) => {
            assert_eq!((target, finalized), (references[1], references[2]));
        }
        other => panic!("{other:?}"),
    }

    let gate = Gate::new("executor");
    let stale = gate.advance(Duration::from_secs(1)).unwrap();
    let current = gate.advance(Duration::from_secs(1)).unwrap();
    assert!(matches!(store.commit_block(&stale, next.commit.clone()), Err(L2Error::Fenced(_))));
    assert!(matches!(store.rewind_to(&stale, references[3].hash), Err(L2Error::Fenced(_))));
    assert!(matches!(store.set_heads(&stale, references[4], references[4]), Err(L2Error::Fenced(_))));
    assert!(matches!(store.reopen(&stale), Err(L2Error::Fenced(_))));
    chain.verify_all();
    assert_eq!(chain.store.reader().heads().unwrap().safe, references[3]);
    chain.store.commit_block(&current, next.commit.clone()).unwrap();
    chain.blocks.push(next);
    chain.verify_all();
}

#[test]
fn safe_heads_are_found_by_l1_number_until_l1_is_read_again() {
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &[(0, set(1, &[]))]);
    for balance in 2..6 {
        chain.commit(&[(0, set(balance, &[]))]);
    }
    let blocks: Vec<_> = chain.blocks.iter().map(common::Block::reference).collect();
    let l1 = |number: u64, fork: &str| BlockRef { number, hash: keccak256(format!("{fork}{number}")) };
    let at = |chain: &Chain, number| chain.store.reader().safe_head_at(number).unwrap();
    assert_eq!(at(&chain, 3), None);
    for (number, l2) in [(10, 1), (11, 1), (12, 3)] {
        chain.store.note_safe_head(&FENCE, l1(number, "a"), blocks[l2]).unwrap();
    }
    assert_eq!(at(&chain, 9), None);
    assert_eq!(at(&chain, 11), Some(SafeHead { l1: l1(11, "a"), l2: blocks[1] }));
    assert_eq!(at(&chain, 99), Some(SafeHead { l1: l1(12, "a"), l2: blocks[3] }));
    // L1 is read again from block 11 on, which is another one.
    chain.store.note_safe_head(&FENCE, l1(11, "b"), blocks[2]).unwrap();
    assert_eq!(at(&chain, 12), Some(SafeHead { l1: l1(11, "b"), l2: blocks[2] }));
    chain.open_again();
    assert_eq!(at(&chain, 12), Some(SafeHead { l1: l1(11, "b"), l2: blocks[2] }));
    assert_eq!(at(&chain, 10), Some(SafeHead { l1: l1(10, "a"), l2: blocks[1] }));
    chain.verify_all();
}

#[test]
fn transactions_of_dropped_blocks_are_kept_until_they_are_forgotten() {
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &[(0, set(1, &[]))]);
    for balance in 2..6 {
        chain.commit(&[(0, set(balance, &[]))]);
    }
    let users = |blocks: &[common::Block]| -> Vec<_> {
        let all = blocks.iter().flat_map(|block| block.commit.transactions.clone());
        all.filter(|tx| tx.raw.first() != Some(&0x7e)).collect()
    };
    let (upper, lower) = (users(&chain.blocks[4..]), users(&chain.blocks[2..]));
    assert!(!upper.is_empty() && lower.len() > upper.len());
    assert_eq!(chain.store.returned().unwrap().transactions, []);

    chain.store.rewind_to(&FENCE, chain.blocks[3].commit.hash).unwrap();
    let first = chain.store.returned().unwrap();
    assert_eq!(first.transactions, upper);
    chain.store.rewind_to(&FENCE, chain.blocks[1].commit.hash).unwrap();
    chain.blocks.truncate(2);
    chain.open_again();
    let all = chain.store.returned().unwrap();
    assert_eq!(all.transactions, lower);
    // What came after the first answer was not seen by whoever took that.
    chain.store.forget_returned(&FENCE, &first).unwrap();
    assert_eq!(chain.store.returned().unwrap().transactions, lower[..lower.len() - upper.len()]);
    chain.store.forget_returned(&FENCE, &all).unwrap();
    chain.store.forget_returned(&FENCE, &first).unwrap();
    chain.open_again();
    assert_eq!(chain.store.returned().unwrap().transactions, []);
    chain.verify_all();
}

#[test]
fn the_genesis_must_be_the_chains() {
    let directory = TempDir::new().unwrap();
    let (right, wrong) = (common::genesis(&[(0, set(1, &[]))]), common::genesis(&[(0, set(2, &[]))]));
    let store =
        duskevm_store::l2::L2Store::open(directory.path(), &common::identity(&right), L2Settings::default()).unwrap();
    assert!(matches!(store.reader().heads(), Err(L2Error::Empty)));
    assert!(matches!(store.commit_block(&FENCE, right.commit.clone()), Err(L2Error::Empty)));
    assert!(matches!(store.init_genesis(&FENCE, wrong.commit), Err(L2Error::WrongGenesis { .. })));
    store.init_genesis(&FENCE, right.commit.clone()).unwrap();
    store.flush().unwrap();
    assert_eq!(store.durable_head(), Some(right.reference()));
}

/// Blocks are tried out on the same parent before one of them is stored.
#[test]
fn discarded_blocks_leave_no_trace() {
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &[(0, set(1, &[(0, 3)]))]);
    for round in 0..20u64 {
        let discarded: Vec<_> = (0..3).map(|index| chain.next(&[(index, set(round, &[(index, round)]))])).collect();
        assert!(discarded.iter().all(|block| block.commit.header.number == round + 1));
        let index = (round % u64::from(ACCOUNTS)) as u8;
        chain.commit(&[(index, set(round, &[(3, round % 4)])), (0, Op::Remake { balance: 9, slots: vec![(1, 1)] })]);
    }
    chain.verify_all();
}

/// An archive that is later told to prune does so completely.
#[test]
fn an_archive_can_start_to_prune() {
    let directory = TempDir::new().unwrap();
    let archive = L2Settings { history_blocks: None, ..L2Settings::default() };
    let mut chain = Chain::new(&directory.path().join("l2"), archive, &[(0, set(1, &[(0, 3)]))]);
    for round in 0..30 {
        chain.commit(&[((round % 8) as u8, set(round, &[((round % 5) as u8, round)]))]);
    }
    assert_eq!(chain.store.reader().heads().unwrap().oldest_state, 0);
    chain.verify_all();
    chain.settings.history_blocks = Some(3);
    chain.open_again();
    chain.commit(&[]);
    assert_eq!(chain.store.reader().heads().unwrap().oldest_state, 28);
    chain.verify_all();
}

/// Numbers of records in the two columns that only rewinds and pruning use.
fn rewind_records(path: &Path, blocks: &[common::Block]) -> [usize; 2] {
    use ColumnKind::{Compressed, Counted, Hashed, Plain};
    let columns = &[
        Plain, Hashed, Compressed, Compressed, Plain, Hashed, Hashed, Plain, Hashed, Counted, Compressed, Plain, Plain,
        Compressed,
    ];
    let schema = Schema { layer: "l2", version: L2_SCHEMA_VERSION, columns };
    let db = Db::open(path, schema, &common::identity(&blocks[0]), DbLimits::default()).unwrap();
    [10, 11].map(|column| {
        let mut count = 0;
        db.for_each(column, |_, _| {
            count += 1;
            true
        })
        .unwrap();
        count
    })
}

/// What L1 may still take back keeps its state longer than the window, but not without end.
#[test]
fn blocks_that_are_not_safe_keep_their_state_up_to_a_bound() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("l2");
    let settings = L2Settings { history_blocks: Some(4), unsafe_blocks: 12, ..L2Settings::default() };
    let mut chain = Chain::new(&path, settings, &[(0, set(1, &[(0, 3)]))]);
    let commit = |chain: &mut Chain, rounds: std::ops::Range<u64>| {
        for round in rounds {
            chain.commit(&[((round % 8) as u8, set(round, &[((round % 5) as u8, round)]))]);
        }
        chain.verify_all();
        chain.store.reader().heads().unwrap().oldest_state
    };
    assert_eq!(commit(&mut chain, 0..10), 0, "the safe block is that of genesis");
    assert_eq!(commit(&mut chain, 10..14), 2, "14 blocks, of which 12 are kept");
    let safe = chain.blocks[11].reference();
    chain.store.set_heads(&FENCE, safe, chain.blocks[0].reference()).unwrap();
    assert_eq!(commit(&mut chain, 14..16), 11, "the safe block is in the window no more");
    assert_eq!(chain.store.rewind_to(&FENCE, safe.hash).unwrap().len(), 5);
}

/// Without finality the window alone decides what is kept, and how far the chain can be taken back.
#[test]
fn history_is_pruned_without_finality() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("l2");
    let settings = L2Settings { history_blocks: Some(4), ..L2Settings::default() };
    let mut chain = Chain::new(&path, settings, &[(0, set(1, &[(0, 3)]))]);
    for round in 0..20 {
        chain.commit(&[((round % 8) as u8, set(round, &[((round % 5) as u8, round)]))]);
    }
    chain.verify_all();
    let heads = chain.store.reader().heads().unwrap();
    assert_eq!((heads.finalized.number, heads.oldest_state), (0, 16));
    let [below, oldest] = [15, 16].map(|number| chain.blocks[number].reference());
    match chain.store.rewind_to(&FENCE, below.hash) {
        Err(error @ L2Error::BelowHistory { target, oldest: 16 }) => {
            assert!(target == below && error.to_string().contains("longer history window"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    chain.verify_all();
    chain.store.close().unwrap();
    assert_eq!(rewind_records(&path, &chain.blocks), [4, 4]);

    chain.open_again();
    assert_eq!(chain.store.rewind_to(&FENCE, oldest.hash).unwrap().len(), 4);
    chain.blocks.truncate(17);
    chain.verify_all();
    // Finality that comes late, below the window and then in it.
    for (finalized, oldest) in [(3, 16), (16, 16), (18, 16), (21, 18)] {
        while chain.head().commit.header.number < finalized.max(oldest + 1) {
            chain.commit(&[(1, set(finalized, &[(1, oldest)]))]);
        }
        let block = chain.blocks[finalized as usize].reference();
        chain.store.set_heads(&FENCE, block, block).unwrap();
        chain.commit(&[]);
        let heads = chain.store.reader().heads().unwrap();
        assert_eq!((heads.finalized.number, heads.oldest_state), (finalized, oldest));
        chain.verify_all();
    }
    chain.store.close().unwrap();
    assert_eq!(rewind_records(&path, &chain.blocks), [1, 4]);
}
