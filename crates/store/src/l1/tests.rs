//! Tests of the L1 database on real files.

use std::collections::BTreeMap;
use std::fs;

use alloy_primitives::B256;
use duskevm_fence::Gate;
use fail::FailScenario;
use tempfile::TempDir;

use super::*;

const NETWORK: Identity = Identity { chain_id: 7, genesis: B256::repeat_byte(7) };

fn id(height: u64, kind: u8) -> [u8; 32] {
    let mut id = [kind; 32];
    id[..8].copy_from_slice(&height.to_be_bytes());
    id
}

fn block(height: u64) -> BlockCommit {
    let tag = height as u8;
    BlockCommit {
        height,
        hash: [tag; 32],
        record: format!("block {height}").into_bytes(),
        transactions: vec![id(height, 1), id(height, 2)],
        state: vec![
            (b"counter".to_vec(), Some(vec![tag])),
            (format!("made {height}").into_bytes(), Some(vec![1])),
            (format!("made {}", height.wrapping_sub(1)).into_bytes(), None),
        ],
        finality: vec![tag],
        final_height: height.saturating_sub(1),
        undo: vec![
            (b"counter".to_vec(), height.checked_sub(1).map(|_| vec![tag.wrapping_sub(1)])),
            (format!("made {height}").into_bytes(), None),
            (format!("made {}", height.wrapping_sub(1)).into_bytes(), height.checked_sub(1).map(|_| vec![1])),
        ],
        faults: vec![id(height, 3)],
    }
}

/// The same while nothing becomes final.
fn open_block(height: u64) -> BlockCommit {
    BlockCommit { final_height: 0, ..block(height) }
}

fn view(height: u64) -> ViewCommit {
    let tag = height as u8;
    ViewCommit {
        height,
        hash: [tag; 32],
        record: height.to_be_bytes().to_vec(),
        // Two projected transactions of the same Dusk transaction.
        transactions: vec![(id(height, 1), id(height, 9)), (id(height, 2), id(height, 9))],
    }
}

fn view_of(record: &[u8]) -> ViewCommit {
    view(u64::from_be_bytes(record.try_into().unwrap()))
}

fn open(dir: &TempDir) -> L1Store {
    L1Store::open(&dir.path().join("l1"), &NETWORK).unwrap()
}

/// Every file of a directory with its content.
fn content(path: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn stores_blocks_in_order_and_finds_them() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    assert_eq!(store.tip().unwrap(), None);
    for height in 0..100 {
        store.commit_block(&fence, &block(height)).unwrap();
    }
    let check = |store: &L1Store| {
        assert_eq!(store.tip().unwrap(), Some(99));
        assert_eq!(store.block(57).unwrap().unwrap(), b"block 57");
        assert_eq!(store.block(100).unwrap(), None);
        assert_eq!(store.block_height(&[57; 32]).unwrap(), Some(57));
        assert_eq!(store.transaction(&block(57).transactions[1]).unwrap(), Some((57, 1)));
        assert_eq!(store.finality().unwrap(), Some(vec![99]));
        let mut state = store.state().unwrap();
        state.sort();
        assert_eq!(state, [(b"counter".to_vec(), vec![99]), (b"made 99".to_vec(), vec![1])]);
        assert_eq!(store.state_record(b"counter").unwrap(), Some(vec![99]));
        assert_eq!(store.state_record(b"made 98").unwrap(), None);
    };
    check(&store);
    drop(store);
    check(&open(&dir));
}

#[test]
fn a_stored_block_is_not_overwritten() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    assert!(matches!(store.commit_block(&fence, &block(1)), Err(L1StoreError::NotNext { height: 1, next: 0 })));
    store.commit_block(&fence, &block(0)).unwrap();
    store.commit_block(&fence, &block(1)).unwrap();
    let other = BlockCommit { hash: [0xee; 32], ..block(1) };
    assert!(matches!(store.commit_block(&fence, &other), Err(L1StoreError::NotNext { height: 1, next: 2 })));
    assert_eq!(store.block_height(&[0xee; 32]).unwrap(), None);
}

#[test]
fn a_replaced_writer_writes_nothing() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let gate = Gate::new("consensus");
    let old = gate.advance(std::time::Duration::from_secs(1)).unwrap();
    let new = gate.advance(std::time::Duration::from_secs(1)).unwrap();
    assert!(matches!(store.commit_block(&old, &block(0)), Err(L1StoreError::Fence(_))));
    assert!(matches!(store.commit_views(&old, &[view(0)]), Err(L1StoreError::Fence(_))));
    assert_eq!((store.tip().unwrap(), store.view_tip().unwrap()), (None, None));
    store.commit_block(&new, &block(0)).unwrap();
}

#[test]
fn views_extend_and_truncate() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    let views: Vec<_> = (0..600).map(view).collect();
    store.commit_views(&fence, &views[..10]).unwrap();
    store.commit_views(&fence, &views[10..]).unwrap();
    store.commit_views(&fence, &[]).unwrap();
    assert!(matches!(store.commit_views(&fence, &[view(601)]), Err(L1StoreError::NotNext { next: 600, .. })));
    assert!(matches!(
        store.commit_views(&fence, &[view(600), view(602)]),
        Err(L1StoreError::NotNext { height: 602, next: 601 })
    ));
    assert_eq!(store.view_tip().unwrap(), Some(599));
    assert_eq!(store.view(5).unwrap(), Some(view(5).record));
    let (hash, dusk_id) = view(5).transactions[1];
    assert_eq!(store.view_transaction(&hash).unwrap(), Some((5, 1)));
    assert_eq!(store.view_transaction(&dusk_id).unwrap(), Some((5, 0)), "the first of those it became");
    store.truncate_views(&fence, Some(3), view_of).unwrap();
    assert_eq!(store.view_tip().unwrap(), Some(3));
    assert_eq!((store.view(4).unwrap(), store.view(599).unwrap()), (None, None));
    assert_eq!(store.view_transaction(&hash).unwrap(), None);
    assert_eq!(store.view(3).unwrap(), Some(view(3).record));
    store.commit_views(&fence, &[view(4)]).unwrap();
    store.truncate_views(&fence, None, view_of).unwrap();
    assert_eq!((store.view_tip().unwrap(), store.view(0).unwrap()), (None, None));
    store.commit_views(&fence, &[view(0)]).unwrap();
}

/// A copy of the files, taken while the database is open, is what a killed process leaves behind.
#[test]
fn a_commit_that_returned_survives_a_crash() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    for height in 0..70 {
        store.commit_block(&fence, &block(height)).unwrap();
        if height % 7 == 0 || height > 60 {
            let crashed = TempDir::new().unwrap();
            let target = crashed.path().join("l1");
            fs::create_dir(&target).unwrap();
            for (name, bytes) in content(store.path()) {
                fs::write(target.join(name), bytes).unwrap();
            }
            let copy = L1Store::open(&target, &NETWORK).unwrap();
            assert_eq!(copy.tip().unwrap(), Some(height));
            assert_eq!(copy.block(height).unwrap().unwrap(), block(height).record);
            assert_eq!(copy.state().unwrap().len(), 2);
        }
    }
}

#[test]
fn refuses_another_network_and_writes_nothing() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.commit_block(&Fence::unfenced(), &block(0)).unwrap();
    let path = store.path().to_path_buf();
    assert!(matches!(L1Store::open(&path, &NETWORK), Err(OpenError::Locked { .. })));
    drop(store);
    let before = content(&path);
    for other in [Identity { chain_id: 8, ..NETWORK }, Identity { genesis: B256::ZERO, ..NETWORK }] {
        assert!(matches!(L1Store::open(&path, &other), Err(OpenError::WrongChain { .. })));
        assert_eq!(content(&path), before);
    }
    assert_eq!(L1Store::open(&path, &NETWORK).unwrap().tip().unwrap(), Some(0));
}

/// Lets every step of the disk fail in turn, and looks at what is there afterwards.
#[test]
fn failed_writes_are_all_or_nothing_and_heal() {
    let _scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    store.commit_block(&fence, &block(0)).unwrap();
    let mut next = 1;
    let (mut failures, mut lost) = (0, 0);
    let steps = ["store-db-commit", "store-db-process", "store-db-flush", "store-db-enact", "store-db-clean"];
    for point in steps.into_iter().cycle().take(25) {
        fail::cfg(point, "return(disk full)").unwrap();
        let result = store.commit_block(&fence, &block(next));
        if result.is_err() {
            failures += 1;
            assert!(matches!(store.commit_block(&fence, &block(next)), Err(L1StoreError::Db(_))));
        }
        // A step after the fsync fails behind the back of the commit that returned: wait for it.
        let _ = store.state();
        fail::remove(point);
        store.heal().unwrap();
        if store.tip().unwrap() == Some(next - 1) {
            assert!(result.is_err(), "a commit that returned is lost");
            lost += 1;
            assert_eq!(store.block(next).unwrap(), None);
            assert_eq!(store.transaction(&block(next).transactions[0]).unwrap(), None);
        } else {
            assert_eq!(store.block(next).unwrap().unwrap(), block(next).record);
            next += 1;
        }
        store.commit_block(&fence, &block(next)).unwrap();
        assert_eq!(store.tip().unwrap(), Some(next));
        let mut state = store.state().unwrap();
        state.sort();
        assert_eq!((state.len(), &state[0].1), (2, &vec![next as u8]));
        next += 1;
    }
    assert!(failures > 10 && lost > 0, "{failures} failures, {lost} lost");
    drop(store);
    let store = open(&dir);
    for height in 0..next {
        assert_eq!(store.block(height).unwrap().unwrap(), block(height).record);
    }
}

#[test]
fn view_config_goes_with_the_views() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    assert_eq!(store.view_config().unwrap(), None);
    store.commit_views(&fence, &[view(0), view(1)]).unwrap();
    store.reset_views(&fence, b"two", view_of).unwrap();
    assert_eq!((store.view_tip().unwrap(), store.view_config().unwrap()), (None, Some(b"two".to_vec())));
}

/// Everything that is stored, so that it can be compared.
fn whole(store: &L1Store) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut state = store.state().unwrap();
    state.sort();
    let heights: Vec<_> = (0..20)
        .map(|height| {
            let block = block(height);
            let transactions = block.transactions.map_to(|id| store.transaction(id).unwrap());
            let faults = block.faults.map_to(|id| store.fault(id).unwrap());
            (
                store.block(height).unwrap(),
                store.undo(height).unwrap(),
                store.block_height(&block.hash).unwrap(),
                transactions,
                faults,
            )
        })
        .collect();
    (store.tip().unwrap(), store.final_height().unwrap(), store.finality().unwrap(), state, heights)
}

trait MapTo<T> {
    fn map_to<U>(&self, f: impl Fn(&T) -> U) -> Vec<U>;
}

impl<T> MapTo<T> for Vec<T> {
    fn map_to<U>(&self, f: impl Fn(&T) -> U) -> Vec<U> {
        self.iter().map(f).collect()
    }
}

#[test]
fn taking_blocks_back_restores_what_was() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    store.commit_block(&fence, &block(0)).unwrap();
    let mut history = Vec::new();
    for height in 1..10 {
        history.push(whole(&store));
        store.commit_block(&fence, &open_block(height)).unwrap();
    }
    assert_eq!(store.fault(&id(9, 3)).unwrap(), Some(9));
    for height in (1..10).rev() {
        store.revert_block(&fence, height, &block(height).hash, &block(height - 1).finality, None).unwrap();
        assert_eq!(whole(&store), history.pop().unwrap());
    }
    assert_eq!(store.transaction(&block(5).transactions[0]).unwrap(), None);
    // Another branch grows where the first one stood.
    let other = BlockCommit { hash: [0xee; 32], record: b"other".to_vec(), ..open_block(1) };
    store.commit_block(&fence, &other).unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!((store.block(1).unwrap(), store.block_height(&[0xee; 32]).unwrap()), (Some(b"other".to_vec()), Some(1)));
}

#[test]
fn only_the_newest_block_that_is_not_final_can_go() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    assert!(matches!(store.revert_block(&fence, 0, &[0; 32], &[], None), Err(L1StoreError::NotTip { tip: None, .. })));
    for height in 0..4 {
        store.commit_block(&fence, &open_block(height)).unwrap();
    }
    let before = whole(&store);
    let revert = |height: u64, hash: [u8; 32]| store.revert_block(&fence, height, &hash, &[], None);
    assert!(matches!(revert(2, [2; 32]), Err(L1StoreError::NotTip { height: 2, tip: Some(3) })));
    assert!(matches!(revert(4, [4; 32]), Err(L1StoreError::NotTip { .. })));
    assert!(matches!(revert(3, [9; 32]), Err(L1StoreError::OtherBlock { height: 3 })));
    assert!(matches!(revert(3, [2; 32]), Err(L1StoreError::OtherBlock { height: 3 })));
    let gate = Gate::new("consensus");
    let old = gate.advance(std::time::Duration::from_secs(1)).unwrap();
    gate.advance(std::time::Duration::from_secs(1)).unwrap();
    assert!(matches!(store.revert_block(&old, 3, &[3; 32], &[], None), Err(L1StoreError::Fence(_))));
    assert_eq!(whole(&store), before);

    // Block 4 makes everything up to 3 final: what would take back the blocks below is gone, block 4 itself can go.
    store.commit_block(&fence, &block(4)).unwrap();
    assert_eq!(store.final_height().unwrap(), Some(3));
    let kept: Vec<u64> = (0..5).filter(|height| store.undo(*height).unwrap().is_some()).collect();
    assert_eq!(kept, [3, 4], "the last final block's stays, for the stakes below it");
    revert(4, [4; 32]).unwrap();
    assert!(matches!(revert(3, [3; 32]), Err(L1StoreError::Final { height: 3, last_final: 3 })));
    assert_eq!(store.tip().unwrap(), Some(3));
}

#[test]
fn genesis_stays() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    store.commit_block(&fence, &block(0)).unwrap();
    assert!(matches!(
        store.revert_block(&fence, 0, &[0; 32], &[], None),
        Err(L1StoreError::Final { height: 0, last_final: 0 })
    ));
}

/// A killed process leaves the block or its absence, never a part.
#[test]
fn taking_back_survives_a_crash() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    store.commit_block(&fence, &block(0)).unwrap();
    for height in 1..15 {
        store.commit_block(&fence, &open_block(height)).unwrap();
    }
    for height in (1..15).rev() {
        store.revert_block(&fence, height, &block(height).hash, &block(height - 1).finality, None).unwrap();
        let expected = whole(&store);
        let crashed = TempDir::new().unwrap();
        let target = crashed.path().join("l1");
        fs::create_dir(&target).unwrap();
        for (name, bytes) in content(store.path()) {
            fs::write(target.join(name), bytes).unwrap();
        }
        assert_eq!(whole(&L1Store::open(&target, &NETWORK).unwrap()), expected);
    }
}

/// Lets every step of the disk fail while blocks come and go.
#[test]
fn failed_reverts_are_all_or_nothing_and_heal() {
    let _scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    store.commit_block(&fence, &block(0)).unwrap();
    let (mut failures, mut undone) = (0, 0);
    let steps = ["store-db-commit", "store-db-process", "store-db-flush", "store-db-enact", "store-db-clean"];
    for point in steps.into_iter().cycle().take(25) {
        store.commit_block(&fence, &open_block(1)).unwrap();
        store.commit_block(&fence, &open_block(2)).unwrap();
        let with = whole(&store);
        fail::cfg(point, "return(disk full)").unwrap();
        let result = store.revert_block(&fence, 2, &[2; 32], &[1], None);
        failures += usize::from(result.is_err());
        // A step after the fsync fails behind the back of the call that returned: wait for it.
        let _ = store.state();
        fail::remove(point);
        store.heal().unwrap();
        if store.tip().unwrap() == Some(2) {
            assert!(result.is_err(), "a revert that returned is lost");
            assert_eq!(whole(&store), with);
            store.revert_block(&fence, 2, &[2; 32], &[1], None).unwrap();
        } else {
            undone += 1;
        }
        assert_eq!((store.tip().unwrap(), store.block(2).unwrap()), (Some(1), None));
        assert_eq!((store.undo(2).unwrap(), store.fault(&id(2, 3)).unwrap()), (None, None));
        let mut state = store.state().unwrap();
        state.sort();
        assert_eq!(state, [(b"counter".to_vec(), vec![1]), (b"made 1".to_vec(), vec![1])]);
        store.revert_block(&fence, 1, &[1; 32], &[0], None).unwrap();
    }
    assert!(failures > 10 && undone > 0, "{failures} failures, {undone} undone");
}

#[test]
fn timeouts_are_kept() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    assert_eq!(store.timeouts().unwrap(), None);
    store.set_timeouts(&Fence::unfenced(), b"seven").unwrap();
    drop(store);
    assert_eq!(open(&dir).timeouts().unwrap(), Some(b"seven".to_vec()));
}

#[test]
fn bodies_of_reverted_blocks_survive_a_crash_and_are_bounded() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = L1Store::open(dir.path(), &NETWORK).unwrap();
    store.commit_block(&fence, &open_block(0)).unwrap();
    let mut hashes = Vec::new();
    for turn in 0..MAX_REVERTED as u8 + 2 {
        let hash = [100 + turn; 32];
        store.commit_block(&fence, &BlockCommit { hash, ..open_block(1) }).unwrap();
        store.revert_block(&fence, 1, &hash, &[0], Some(&[turn; 1000])).unwrap();
        hashes.push(hash);
    }
    store.crash();
    store.heal().unwrap();
    let kept: Vec<[u8; 32]> = store.reverted().unwrap().iter().map(|block| block.hash).collect();
    assert_eq!(kept, hashes[2..], "the oldest went");
    assert_eq!(store.reverted_body(&hashes[1]).unwrap(), None);
    assert_eq!(store.reverted_body(&hashes[2]).unwrap(), Some(vec![2; 1000]));
    store.forget_reverted(&fence, &hashes[3..]).unwrap();
    assert_eq!(store.reverted().unwrap(), [RevertedBlock { height: 1, hash: hashes[2] }]);
    assert_eq!(store.reverted_body(&hashes[3]).unwrap(), None);
}

#[test]
fn queued_blocks_are_seen_at_once_and_durable_after_the_wait() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = L1Store::open(dir.path(), &NETWORK).unwrap();
    let commits: Vec<CommitId> = (0..20).map(|height| store.queue_block(&fence, &block(height)).unwrap()).collect();
    assert_eq!(store.tip().unwrap(), Some(19));
    store.wait_durable(commits[15]).unwrap();
    store.crash();
    store.heal().unwrap();
    let tip = store.tip().unwrap().unwrap();
    assert!((15..20).contains(&tip), "{tip}");
    assert_eq!(store.block(tip).unwrap(), Some(block(tip).record));
    // What a crash took is no reason to refuse it later.
    store.commit_block(&fence, &block(tip + 1)).unwrap();
}
