//! One trie against alloy-trie from scratch, over random histories.

#![allow(clippy::unwrap_used)]

mod common;

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::{Nibbles, proof::verify_proof};
use common::{Counted, key, oracle_root, places, value};
use duskevm_trie::{Change, Changes, EMPTY_ROOT_HASH, Recorder, Trie, TrieError, TrieId, Witness, WitnessError};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

fn batch() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((key(), prop::option::weighted(0.6, value())), 0..40)
}

fn history() -> impl Strategy<Value = Vec<Vec<Change>>> {
    prop::collection::vec(batch(), 1..12)
}

fn write_model(model: &mut BTreeMap<B256, Bytes>, batch: &[Change]) {
    for (key, value) in batch {
        match value {
            Some(value) => drop(model.insert(*key, value.clone())),
            None => drop(model.remove(key)),
        }
    }
}

/// The trie that holds `model`, and its nodes.
fn stored(model: &BTreeMap<B256, Bytes>) -> (B256, Counted) {
    let mut trie = Trie::from_root(EMPTY_ROOT_HASH);
    let mut store = Counted::default();
    trie.update(&store, model.iter().map(|(key, value)| (*key, Some(value.clone()))).collect()).unwrap();
    let mut changes = Changes::default();
    let root = trie.commit(&mut changes);
    store.insert(&changes);
    (root, store)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Roots equal those from scratch, whatever is kept decoded; values read back.
    #[test]
    fn roots_and_values_follow_the_model(history in history(), keep in 0usize..60, probes in prop::collection::vec(key(), 10)) {
        let mut trie = Trie::from_root(EMPTY_ROOT_HASH);
        let mut store = Counted::default();
        let mut model = BTreeMap::new();
        for batch in history {
            write_model(&mut model, &batch);
            trie.update(&store, batch).unwrap();
            for probe in &probes {
                prop_assert_eq!(trie.get(&store, probe).unwrap(), model.get(probe).cloned());
            }
            let mut changes = Changes::default();
            prop_assert_eq!(trie.commit(&mut changes), oracle_root(&model));
            store.insert(&changes);
            trie.shrink(keep);
            prop_assert!(trie.decoded_nodes() <= keep);
            // A clone that goes its own way leaves the original alone.
            let mut other = trie.clone();
            other.update(&store, probes.iter().map(|probe| (*probe, None)).collect()).unwrap();
            other.commit(&mut Changes::default());
        }
        let all: Vec<B256> = model.keys().copied().collect();
        let values: Vec<_> = trie.get_many(&store, &all).unwrap().into_iter().map(Option::unwrap).collect();
        prop_assert_eq!(values, model.into_values().collect::<Vec<_>>());
    }

    /// Several updates before one commit are the same as one.
    #[test]
    fn updates_add_up_before_a_commit(history in history()) {
        let mut trie = Trie::from_root(EMPTY_ROOT_HASH);
        let mut store = Counted::default();
        let mut model = BTreeMap::new();
        for batches in history.chunks(3) {
            for batch in batches {
                write_model(&mut model, batch);
                trie.update(&store, batch.clone()).unwrap();
            }
            let mut changes = Changes::default();
            prop_assert_eq!(trie.commit(&mut changes), oracle_root(&model));
            store.insert(&changes);
            store.release(&changes.removed);
            let mut reached = HashMap::new();
            places(&store, TrieId::Accounts, trie.root(), &mut reached);
            prop_assert_eq!(counts(&store), reached);
        }
    }

    /// A window of the last blocks: what is counted is exactly what its roots reach. With reorganisations: blocks
    /// that fall out of the chain release what they inserted.
    #[test]
    fn counts_are_exact_over_a_window(history in history(), window in 1usize..5, keep in 0usize..100, reorgs in prop::collection::vec(0usize..3, 12)) {
        let mut store = Counted::default();
        let mut chain: Vec<(B256, Changes)> = Vec::new();
        let mut trie = Trie::from_root(EMPTY_ROOT_HASH);
        let mut pruned = 0;
        for (batch, reorg) in history.into_iter().zip(reorgs) {
            for _ in 0..reorg.min((chain.len() - pruned).saturating_sub(1)) {
                let (_, changes) = chain.pop().unwrap();
                store.release(&changes.inserted.iter().map(|(hash, _)| *hash).collect::<Vec<_>>());
                trie = Trie::from_root(chain.last().map_or(EMPTY_ROOT_HASH, |(root, _)| *root));
            }
            trie.update(&store, batch).unwrap();
            let mut changes = Changes::default();
            let root = trie.commit(&mut changes);
            store.insert(&changes);
            chain.push((root, changes));
            trie.shrink(keep);
            while chain.len() - pruned > window {
                pruned += 1;
                store.release(&chain[pruned].1.removed);
            }
            let mut reached = HashMap::new();
            for (root, _) in &chain[pruned..] {
                places(&store, TrieId::Accounts, *root, &mut reached);
            }
            for hash in store.nodes.keys() {
                prop_assert!(reached.contains_key(hash), "{} is kept but not reachable", hash);
            }
            prop_assert_eq!(reached.len(), store.nodes.len());
        }
        // Release all but the last root: the counts are its places.
        while pruned + 1 < chain.len() {
            pruned += 1;
            store.release(&chain[pruned].1.removed);
        }
        let mut reached = HashMap::new();
        places(&store, TrieId::Accounts, trie.root(), &mut reached);
        prop_assert_eq!(counts(&store), reached);
        trie.clear(&store).unwrap();
        let mut changes = Changes::default();
        prop_assert_eq!(trie.commit(&mut changes), EMPTY_ROOT_HASH);
        store.release(&changes.removed);
        prop_assert!(store.nodes.is_empty());
    }

    /// An independent library accepts the proofs, of keys that are there and of keys that are not.
    #[test]
    fn proofs_verify(batch in batch(), probes in prop::collection::vec(key(), 1..8), keep in 0usize..30) {
        let mut model: BTreeMap<B256, Bytes> = BTreeMap::new();
        write_model(&mut model, &batch);
        // alloy-trie does not know a root node shorter than its hash.
        for last in 0..2 { model.insert(keccak256([last]), Bytes::from(vec![7; 40])); }
        let (root, store) = stored(&model);
        let mut trie = Trie::from_root(root);
        for probe in probes.iter().chain(model.keys()) {
            let proof = trie.prove(&store, probe).unwrap();
            let expected = model.get(probe).map(|value| value.to_vec());
            verify_proof(root, Nibbles::unpack(probe), expected, &proof).unwrap();
            prop_assert_eq!(keccak256(&proof[0]), root);
            trie.shrink(keep);
        }
    }

    /// The nodes seen during reads and an update suffice to do both again.
    #[test]
    fn a_recorded_witness_is_closed(before in batch(), after in batch(), reads in prop::collection::vec(key(), 0..5)) {
        let mut model = BTreeMap::new();
        write_model(&mut model, &before);
        let (root, store) = stored(&model);
        let run = |source: &dyn Fn(&mut Trie) -> Vec<Option<Bytes>>| {
            let mut trie = Trie::from_root(root);
            let read = source(&mut trie);
            (read, trie.commit(&mut Changes::default()))
        };
        let recorder = Recorder::new(&store);
        let full = run(&|trie| {
            let read = reads.iter().map(|key| trie.get(&recorder, key).unwrap()).collect();
            trie.update(&recorder, after.clone()).unwrap();
            read
        });
        let witness = Witness::from_pairs(recorder.into_witness().iter().map(|(hash, raw)| (*hash, raw.clone()))).unwrap();
        let stateless = run(&|trie| {
            let read = reads.iter().map(|key| trie.get(&witness, key).unwrap()).collect();
            trie.update(&witness, after.clone()).unwrap();
            read
        });
        write_model(&mut model, &after);
        prop_assert_eq!(&full, &stateless);
        prop_assert_eq!(full.1, oracle_root(&model));
        // And each of them was needed.
        for left_out in witness.iter().map(|(hash, _)| *hash) {
            let partial = Witness::new(witness.iter().filter(|(hash, _)| **hash != left_out).map(|(_, raw)| raw.clone()));
            let mut trie = Trie::from_root(root);
            let result = reads.iter().try_for_each(|key| trie.get(&partial, key).map(drop))
                .and_then(|()| trie.update(&partial, after.clone()));
            match result {
                Err(TrieError::Missing { hash, trie: TrieId::Accounts, .. }) => prop_assert_eq!(hash, left_out),
                other => prop_assert!(false, "expected a missing node, got {:?}", other),
            }
        }
    }

    /// Whatever stands in a node, nothing panics, and a failed update leaves the trie as it was.
    #[test]
    fn damaged_nodes_are_errors(before in batch(), after in batch(), at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut model = BTreeMap::new();
        write_model(&mut model, &before);
        let (root, mut store) = stored(&model);
        prop_assume!(!store.nodes.is_empty());
        let mut hashes: Vec<B256> = store.nodes.keys().copied().collect();
        hashes.sort();
        let victim = at.get(&hashes);
        let good = store.clone();
        let entry = store.nodes.get_mut(victim).unwrap();
        let mut raw = entry.1.to_vec();
        let position = byte.index(raw.len());
        raw[position] ^= flip;
        entry.1 = raw.into();
        let mut trie = Trie::from_root(root);
        for (key, _) in &after { let _ = trie.get(&store, key); let _ = trie.prove(&store, key); }
        let mut trie = Trie::from_root(root);
        if trie.update(&store, after.clone()).is_err() {
            prop_assert_eq!(trie.root(), root);
            trie.update(&good, after.clone()).unwrap();
            write_model(&mut model, &after);
            prop_assert_eq!(trie.commit(&mut Changes::default()), oracle_root(&model));
        } else {
            trie.commit(&mut Changes::default());
        }
    }

    /// Random bytes as a node.
    #[test]
    fn garbage_is_an_error(raw in prop::collection::vec(any::<u8>(), 0..200), probe in key()) {
        let witness = Witness::new([Bytes::from(raw.clone())]);
        let root = keccak256(&raw);
        let mut trie = Trie::from_root(root);
        let _ = trie.get(&witness, &probe);
        let result = trie.update(&witness, vec![(probe, Some(Bytes::from(vec![1])))]);
        if result.is_ok() { trie.commit(&mut Changes::default()); } else { prop_assert_eq!(trie.root(), root); }
    }
}

fn counts(store: &Counted) -> HashMap<B256, i64> {
    store.nodes.iter().map(|(hash, (count, _))| (*hash, *count)).collect()
}

/// More changes than the threshold for threads, on a root that is a branch and on one that is not.
#[test]
fn large_batches_agree_with_the_oracle() {
    for shared_prefix in [false, true] {
        let make_key = |index: u32| {
            let mut key = keccak256(index.to_be_bytes());
            if shared_prefix {
                key[0] = 0x77;
            }
            key
        };
        let mut trie = Trie::from_root(EMPTY_ROOT_HASH);
        let mut store = Counted::default();
        let mut model = BTreeMap::new();
        for round in 0u32..4 {
            let batch: Vec<Change> = (0..3000u32)
                .map(|index| {
                    let key = make_key(index + round * 1500);
                    let delete = round > 0 && index % 3 == 0;
                    (key, (!delete).then(|| Bytes::from(vec![round as u8 + 1; 1 + (index % 60) as usize])))
                })
                .collect();
            write_model(&mut model, &batch);
            trie.update(&store, batch).unwrap();
            let mut changes = Changes::default();
            assert_eq!(trie.commit(&mut changes), oracle_root(&model));
            store.insert(&changes);
            store.release(&changes.removed);
            trie.shrink(500);
        }
        let mut reached = HashMap::new();
        places(&store, TrieId::Accounts, trie.root(), &mut reached);
        assert_eq!(counts(&store), reached);
        let keys: Vec<B256> = model.keys().rev().copied().collect();
        let values = Trie::from_root(trie.root()).get_many(&store, &keys).unwrap();
        assert!(keys.iter().zip(values).all(|(key, value)| value.as_ref() == model.get(key)));
    }
}

/// An update reads what it touches: logarithmic, not the whole trie.
#[test]
fn the_cost_is_in_touched_keys() {
    let model: BTreeMap<B256, Bytes> =
        (0u32..20_000).map(|index| (keccak256(index.to_be_bytes()), Bytes::from(vec![1; 40]))).collect();
    let (root, store) = stored(&model);
    let recorder = Recorder::new(&store);
    let mut trie = Trie::from_root(root);
    let change = (*model.keys().next().unwrap(), Some(Bytes::from(vec![2; 40])));
    trie.update(&recorder, vec![change]).unwrap();
    let mut changes = Changes::default();
    trie.commit(&mut changes);
    assert!(changes.inserted.len() <= 6 && changes.removed.len() == changes.inserted.len());
    assert_eq!(recorder.into_witness().len(), changes.removed.len());
}

#[test]
fn a_missing_node_is_named_with_its_place() {
    let model: BTreeMap<B256, Bytes> =
        (0u8..200).map(|index| (keccak256([index]), Bytes::from(vec![index + 1; 40]))).collect();
    let (root, mut store) = stored(&model);
    let key = *model.keys().next().unwrap();
    let proof = Trie::from_root(root).prove(&store, &key).unwrap();
    let gone = keccak256(proof.last().unwrap());
    store.nodes.remove(&gone);
    let owner = B256::repeat_byte(9);
    let error = Trie::new(TrieId::Storage(owner), root).get(&store, &key).unwrap_err();
    let TrieError::Missing { hash, path, trie } = &error else { panic!("{error}") };
    assert_eq!((*hash, *trie, path.len()), (gone, TrieId::Storage(owner), proof.len() - 1));
    assert!(key.to_string()[2..].starts_with(&path.to_string()));
    for part in [gone.to_string(), path.to_string(), owner.to_string()] {
        assert!(error.to_string().contains(&part), "{error} does not name {part}");
    }
}

#[test]
fn a_witness_refuses_an_item_under_a_wrong_hash() {
    let item = Bytes::from_static(b"some node");
    let claimed = B256::repeat_byte(1);
    let error = Witness::from_pairs([(claimed, item.clone())]).unwrap_err();
    assert_eq!(error, WitnessError::WrongHash { claimed, actual: keccak256(&item) });
    assert!(error.to_string().contains(&claimed.to_string()));
}

#[test]
fn uncommitted_changes_are_not_proved() {
    let mut trie = Trie::from_root(EMPTY_ROOT_HASH);
    let store = Counted::default();
    trie.update(&store, vec![(B256::ZERO, Some(Bytes::from_static(b"x")))]).unwrap();
    assert_eq!(trie.prove(&store, &B256::ZERO), Err(TrieError::Uncommitted { trie: TrieId::Accounts }));
    trie.reset();
    assert_eq!(trie.prove(&store, &B256::ZERO), Ok(vec![]));
}

/// Of several changes of one key, in any order among the others, the last one counts.
#[test]
fn unsorted_and_repeated_changes_are_put_in_order() {
    let store = Counted::default();
    let (a, b) = (B256::repeat_byte(1), B256::repeat_byte(2));
    let value = |byte| Some(Bytes::from(vec![byte; 33]));
    let mut trie = Trie::from_root(EMPTY_ROOT_HASH);
    trie.update(&store, vec![(b, value(1)), (a, value(2)), (b, value(3)), (a, None), (a, value(4))]).unwrap();
    assert_eq!(trie.get(&store, &a).unwrap(), value(4));
    assert_eq!(trie.get(&store, &b).unwrap(), value(3));
    trie.update(&store, vec![(b, value(5)), (b, Some(Bytes::new()))]).unwrap();
    assert_eq!(trie.get(&store, &b).unwrap(), None);
}
