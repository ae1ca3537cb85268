//! The state trie against alloy-trie from scratch.

#![allow(clippy::unwrap_used)]

mod common;

use alloy_primitives::{B256, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::{Nibbles, proof::verify_proof};
use common::{Counted, ModelAccount, oracle_state_root, oracle_storage_root, places};
use duskevm_trie::{
    Account, AccountChange, AccountUpdate, EMPTY_ROOT_HASH, HashedUpdate, Recorder, StateLimits, StateTrie, TrieError,
    TrieId, Visitor, Witness, walk,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

type Model = BTreeMap<B256, ModelAccount>;

fn slots() -> impl Strategy<Value = Vec<(B256, U256)>> {
    let slot = (
        0u8..12,
        prop_oneof![Just(U256::ZERO), (1u64..4).prop_map(U256::from), any::<[u8; 32]>().prop_map(U256::from_be_bytes)],
    );
    prop::collection::btree_map(0u8..12, slot, 0..8)
        .prop_map(|slots| slots.into_iter().map(|(slot, (_, value))| (keccak256([slot]), value)).collect())
}

fn account_update() -> impl Strategy<Value = AccountUpdate> {
    let account = prop_oneof![
        1 => Just(AccountChange::Destroyed),
        5 => (0u64..5, any::<u64>()).prop_map(|(nonce, balance)| AccountChange::Set {
            nonce,
            balance: U256::from(balance),
            code_hash: KECCAK256_EMPTY,
        }),
    ];
    (account, prop::bool::weighted(0.1), slots()).prop_map(|(account, storage_wiped, slots)| AccountUpdate {
        account,
        storage_wiped,
        slots,
    })
}

fn update() -> impl Strategy<Value = HashedUpdate> {
    prop::collection::btree_map(0u8..20, account_update(), 0..12).prop_map(|accounts| {
        let mut update = HashedUpdate {
            accounts: accounts.into_iter().map(|(address, update)| (keccak256([address]), update)).collect(),
        };
        update.sort();
        update
    })
}

fn write_model(model: &mut Model, update: &HashedUpdate) {
    for (address, update) in &update.accounts {
        let AccountChange::Set { nonce, balance, code_hash } = update.account else {
            model.remove(address);
            continue;
        };
        let account = model.entry(*address).or_default();
        (account.nonce, account.balance, account.code_hash) = (nonce, balance, code_hash);
        if update.storage_wiped {
            account.slots.clear();
        }
        for (slot, value) in &update.slots {
            if value.is_zero() {
                account.slots.remove(slot);
            } else {
                account.slots.insert(*slot, *value);
            }
        }
    }
}

/// Places of the account trie and of every storage trie.
fn state_places(store: &Counted, root: B256, model: &Model) -> HashMap<B256, i64> {
    let mut counts = HashMap::new();
    places(store, TrieId::Accounts, root, &mut counts);
    for (address, account) in model {
        places(store, TrieId::Storage(*address), oracle_storage_root(&account.slots), &mut counts);
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn state_follows_the_model(
        history in prop::collection::vec(update(), 1..10),
        account_nodes in 0usize..40,
        storage_nodes in 0usize..40,
    ) {
        let mut state = StateTrie::new(EMPTY_ROOT_HASH, StateLimits { account_nodes, storage_nodes });
        let mut store = Counted::default();
        let mut model = Model::new();
        for update in history {
            let root_before = state.root();
            // Somebody who only has the witness of this block gets the same root.
            let recorder = Recorder::new(&store);
            let mut recorded = StateTrie::stateless(root_before);
            for (address, account) in &update.accounts {
                let known = model.get(address);
                let found = recorded.account(&recorder, address).unwrap();
                prop_assert_eq!(found.map(|account| account.nonce), known.map(|known| known.nonce));
                for (slot, _) in &account.slots {
                    let expected = known.and_then(|known| known.slots.get(slot)).copied().unwrap_or_default();
                    prop_assert_eq!(recorded.storage(&recorder, address, slot).unwrap(), expected);
                }
            }
            let recorded_root = recorded.apply(&recorder, &update).unwrap().root;
            let witness = Witness::new(recorder.into_witness().iter().map(|(_, raw)| raw.clone()));
            let mut stateless = StateTrie::stateless(root_before);
            prop_assert_eq!(stateless.apply(&witness, &update).unwrap().root, recorded_root);

            let outcome = state.apply(&store, &update).unwrap();
            write_model(&mut model, &update);
            prop_assert_eq!(outcome.root, oracle_state_root(&model));
            prop_assert_eq!(recorded_root, outcome.root);
            prop_assert_eq!(state.root(), outcome.root);
            for (address, root) in &outcome.storage_roots {
                prop_assert_eq!(*root, oracle_storage_root(&model[address].slots));
            }
            store.insert(&outcome.changes);
            store.release(&outcome.changes.removed);
            let counts: HashMap<B256, i64> = store.nodes.iter().map(|(hash, (count, _))| (*hash, *count)).collect();
            prop_assert_eq!(counts, state_places(&store, outcome.root, &model));
            let (accounts, storages) = state.decoded_nodes();
            prop_assert!(accounts <= account_nodes && storages <= storage_nodes);
        }
        for address in (0u8..20).map(|address| keccak256([address])) {
            let account = state.account(&store, &address).unwrap();
            let known = model.get(&address);
            prop_assert_eq!(account.is_some(), known.is_some());
            if let (Some(account), Some(known)) = (account, known) {
                let expected = Account {
                    nonce: known.nonce,
                    balance: known.balance,
                    storage_root: oracle_storage_root(&known.slots),
                    code_hash: known.code_hash,
                };
                prop_assert_eq!(account, expected);
                let proof = state.prove_account(&store, &address).unwrap();
                verify_proof(state.root(), Nibbles::unpack(address), Some(alloy_rlp::encode(account)), &proof).unwrap();
                for slot in (0u8..12).map(|slot| keccak256([slot])) {
                    let value = state.storage(&store, &address, &slot).unwrap();
                    prop_assert_eq!(value, known.slots.get(&slot).copied().unwrap_or_default());
                    let proof = state.prove_storage(&store, &address, &slot).unwrap();
                    let expected = (!value.is_zero()).then(|| alloy_rlp::encode(value));
                    verify_proof(account.storage_root, Nibbles::unpack(slot), expected, &proof).unwrap();
                }
            }
        }
    }
}

fn block(accounts: impl IntoIterator<Item = (B256, AccountUpdate)>) -> HashedUpdate {
    let mut update = HashedUpdate { accounts: accounts.into_iter().collect() };
    update.sort();
    update
}

fn holder(index: u64, slots: u64) -> (B256, AccountUpdate) {
    let account = AccountChange::Set { nonce: index, balance: U256::from(index), code_hash: KECCAK256_EMPTY };
    let slots = (0..slots).map(|slot| (keccak256(slot.to_be_bytes()), U256::from(slot + index + 1))).collect();
    (keccak256(index.to_be_bytes()), AccountUpdate { account, storage_wiped: false, slots })
}

/// Enough accounts and slots for the threads to run; a clone is thrown away without a trace.
#[test]
fn many_accounts_with_storage() {
    let mut state = StateTrie::new(EMPTY_ROOT_HASH, StateLimits::default());
    let mut store = Counted::default();
    let mut model = Model::new();
    for round in 0..3u64 {
        let update = block((0..400).map(|index| holder(index, (index + round) % 7 * if index == 3 { 100 } else { 1 })));
        let mut tried = state.clone();
        let tried_root = tried.apply(&store, &update).unwrap().root;
        let discarded = block([holder(5, 3), holder(1000, 0)]);
        assert_ne!(state.clone().apply(&store, &discarded).unwrap().root, tried_root);

        state.prefetch(&store, &[(update.accounts[0].0, vec![keccak256([0])])]).unwrap();
        let outcome = state.apply(&store, &update).unwrap();
        write_model(&mut model, &update);
        assert_eq!((outcome.root, tried_root), (oracle_state_root(&model), outcome.root));
        store.insert(&outcome.changes);
        store.release(&outcome.changes.removed);
    }
    let mut leaves = 0;
    walk(&store, TrieId::Accounts, state.root(), &mut |visit| {
        leaves += usize::from(matches!(visit, Visitor::Leaf { .. }))
    })
    .unwrap();
    assert_eq!(leaves, 400);
}

#[test]
fn a_failed_block_leaves_the_state_as_it_was() {
    let mut state = StateTrie::new(EMPTY_ROOT_HASH, StateLimits { account_nodes: 0, storage_nodes: 0 });
    let mut store = Counted::default();
    let first = block((0..50).map(|index| holder(index, 20)));
    store.insert(&state.apply(&store, &first).unwrap().changes);
    let root = state.root();

    let (victim, _) = holder(7, 0);
    let storage_root = state.account(&store, &victim).unwrap().unwrap().storage_root;
    let mut broken = store.clone();
    broken.nodes.remove(&storage_root);
    let update = block([holder(6, 21), holder(7, 21), holder(8, 21)]);
    match state.apply(&broken, &update) {
        Err(TrieError::Missing { hash, trie, path }) => {
            assert_eq!((hash, trie, path.len()), (storage_root, TrieId::Storage(victim), 0));
        }
        other => panic!("expected a missing node, got {other:?}"),
    }
    assert_eq!(state.root(), root);
    let mut model = Model::new();
    write_model(&mut model, &first);
    write_model(&mut model, &update);
    assert_eq!(state.apply(&store, &update).unwrap().root, oracle_state_root(&model));
    state.set_root(root);
    assert_eq!(state.account(&store, &victim).unwrap().unwrap().storage_root, storage_root);
}
