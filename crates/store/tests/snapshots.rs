//! Snapshots keep answering for their block while the chain moves.

#![allow(clippy::unwrap_used)]

mod common;

use alloy_primitives::U256;
use common::{Chain, FENCE, Op, address};
use duskevm_store::l2::{L2Error, L2Settings, StateSnapshot};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};
use tempfile::TempDir;

const TOTAL: u64 = 8_000_000;

/// A block that moves balance around. Slot 0 of account 0 holds the block number, other slots what the block chose.
fn transfer(chain: &Chain, seed: u64) -> Vec<(u8, Op)> {
    let number = chain.head().commit.header.number + 1;
    let balance =
        |index: u8| chain.head().state.get(&address(index)).map_or(0, |account| account.info.balance.to::<u64>());
    let (from, to) = ((seed % 7 + 1) as u8, ((seed / 7) % 7 + 1) as u8);
    let amount = balance(from).min(seed % 1000);
    let set = |balance, slots| Op::Set { nonce: number, balance, code: None, slots };
    let mut ops = vec![(0, set(balance(0), vec![(0, number), ((seed % 5 + 1) as u8, number)]))];
    if from != to {
        ops.push((from, set(balance(from) - amount, vec![(0, number)])));
        ops.push((to, set(balance(to) + amount, vec![(1, number)])));
    }
    ops
}

/// Reads everything, twice, and checks what holds in every state.
fn look(snapshot: &StateSnapshot) -> Result<(), L2Error> {
    let number = U256::from(snapshot.block().number);
    let mut first = None;
    for _ in 0..2 {
        let mut values = Vec::new();
        let mut total = U256::ZERO;
        for index in 0..8 {
            let info = snapshot.account(&address(index))?.expect("the accounts stay");
            total += info.balance;
            values.push(info.balance);
            for slot in 0..6 {
                let value = snapshot.storage(&address(index), &U256::from(slot))?;
                assert!(value <= number, "slot {slot} of {index} at {number} is from the future: {value}");
                values.push(value);
            }
        }
        assert_eq!(total, U256::from(TOTAL), "at {number}");
        assert_eq!(snapshot.storage(&address(0), &U256::ZERO)?, number);
        let first = first.get_or_insert(values.clone());
        assert_eq!(*first, values, "at {number}");
    }
    Ok(())
}

#[test]
fn readers_see_whole_states_while_blocks_come_and_go() {
    let directory = TempDir::new().unwrap();
    let first: Vec<_> =
        (0..8).map(|index| (index, Op::Set { nonce: 0, balance: TOTAL / 8, code: None, slots: vec![] })).collect();
    // A cache that forgets, few layers and a short window, so that every way of reading is taken.
    let settings = L2Settings {
        history_blocks: Some(40),
        cached_accounts: 100,
        cached_slots: 100,
        recent_blocks: 10,
        ..L2Settings::default()
    };
    let mut chain = Chain::new(directory.path(), settings, &first);
    let (done, looks, gone) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let reader = chain.store.reader();
    thread::scope(|scope| {
        for lag in [0, 3, 60] {
            let (done, looks, gone, reader) = (&done, &looks, &gone, reader.clone());
            scope.spawn(move || {
                let mut held: Vec<StateSnapshot> = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    held.push(reader.latest_state().unwrap());
                    if held.len() > lag {
                        held.remove(0);
                    }
                    let newest = reader.latest_state().unwrap();
                    for snapshot in held.iter().take(5).chain([&newest]) {
                        match look(snapshot) {
                            Ok(()) => looks.fetch_add(1, Ordering::Relaxed),
                            Err(L2Error::Reorged { .. } | L2Error::StatePruned { .. }) => {
                                gone.fetch_add(1, Ordering::Relaxed)
                            }
                            Err(error) => panic!("{error}"),
                        };
                    }
                }
            });
        }
        // A panic in the writer must not leave the readers running.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut seed = 12345u64;
            for round in 0..600u64 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let ops = transfer(&chain, seed >> 33);
                chain.commit(&ops);
                if round % 17 == 16 {
                    let target = chain.blocks.len() - 1 - (round % 4) as usize - 1;
                    chain.store.rewind_to(&FENCE, chain.blocks[target].commit.hash).unwrap();
                    chain.blocks.truncate(target + 1);
                }
                if round % 10 == 9 {
                    let [safe, finalized] = [5, 6].map(|back| chain.blocks.len().saturating_sub(back));
                    let [safe, finalized] = [safe, finalized].map(|number| chain.blocks[number].reference());
                    chain.store.set_heads(&FENCE, safe, finalized).unwrap();
                }
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(looks.load(Ordering::Relaxed) > 100);
    chain.verify_all();
}

#[test]
fn a_snapshot_outlives_the_window_with_a_typed_error() {
    let directory = TempDir::new().unwrap();
    let settings = L2Settings { history_blocks: Some(2), recent_blocks: 1, ..L2Settings::default() };
    let mut chain =
        Chain::new(directory.path(), settings, &[(1, Op::Set { nonce: 0, balance: 5, code: None, slots: vec![] })]);
    let [snapshot, unread] = [(); 2].map(|()| chain.store.reader().latest_state().unwrap());
    for balance in 6..12 {
        chain.commit(&[(1, Op::Set { nonce: 0, balance, code: None, slots: vec![] })]);
        assert_eq!(snapshot.account(&address(1)).unwrap().unwrap().balance, U256::from(5), "read while it was there");
    }
    chain.store.flush().unwrap();
    // What was read before is still known, and right; what was not is gone.
    assert_eq!(snapshot.account(&address(1)).unwrap().unwrap().balance, U256::from(5));
    match unread.account(&address(1)) {
        Err(error @ L2Error::StatePruned { .. }) => assert!(error.to_string().contains("archive")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(unread.prove(&address(1), &[]), Err(L2Error::StatePruned { .. })));
    chain.verify_all();
}

/// Whoever holds a reader learns that the store was closed; the directory is free for the next owner.
#[test]
fn readers_outlive_the_store() {
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(&directory.path().join("l2"), L2Settings::default(), &[]);
    chain.commit(&[(1, Op::Set { nonce: 0, balance: 5, code: None, slots: vec![] })]);
    let (reader, snapshot) = (chain.store.reader(), chain.store.reader().latest_state().unwrap());
    chain.open_again();
    assert!(matches!(reader.heads(), Err(L2Error::Db(_))));
    assert!(matches!(snapshot.account(&address(3)), Err(L2Error::Db(_))));
    chain.verify_all();
}
