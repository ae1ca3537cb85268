//! The chain behind the actor, driven by hand.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use common::*;
use duskevm_consensus::{Chain, ConsensusError};
use duskevm_dusk_l1::block::{ChainParams, verify_block};
use duskevm_dusk_l1::contracts::NoContracts;
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::state::MemoryState;
use duskevm_supervision::{ActorError, Fence, Reaction};
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn every_produced_block_passes_the_full_check() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(2, Duration::ZERO);
    let store = open_store(&dir, &genesis);
    let shift = Shift::default();
    let fence = Fence::unfenced();
    let mut chain = Chain::open(settings(&genesis, shift.clock()), store.clone(), &fence).unwrap();
    for height in 1..=20 {
        chain.produce(&fence).unwrap();
        assert_eq!((chain.tip().height, chain.tip().final_height), (height, height - 1));
        shift.by(2_000);
    }
    drop(chain);

    // Another node that has nothing but the blocks arrives at the same chain.
    let params = ChainParams::new(&genesis).unwrap();
    let mut state = MemoryState::default();
    state.apply(&genesis.state()).unwrap();
    let mut parent = genesis.block().header().clone();
    for height in 1..=20 {
        let stored = AcceptedBlock::decode(&store.block(height).unwrap().unwrap()).unwrap();
        let block = stored.block().unwrap();
        let checked = verify_block(&parent, block, &params, None, &state, &NoContracts).unwrap();
        assert_eq!(checked.executed.outcomes, stored.outcomes);
        state.apply(&checked.executed.diff).unwrap();
        parent = stored.header;
    }

    let chain = Chain::open(settings(&genesis, shift.clock()), store, &fence).unwrap();
    assert_eq!(chain.tip().hash.0, parent.hash);
}

#[test]
fn timestamps_are_the_clock_s_but_never_too_early() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(5, Duration::ZERO);
    let store = open_store(&dir, &genesis);
    let shift = Shift::default();
    let fence = Fence::unfenced();
    let mut chain = Chain::open(settings(&genesis, shift.clock()), store, &fence).unwrap();
    chain.produce(&fence).unwrap();
    let first = chain.tip().timestamp;
    assert!(first >= genesis.timestamp + 5);
    // Asked too early: the timestamp is that of the slot.
    chain.produce(&fence).unwrap();
    assert_eq!(chain.tip().timestamp, first + 5);
    shift.by(3_600_000);
    chain.produce(&fence).unwrap();
    let late = chain.tip().timestamp;
    assert!(late >= first + 3_600, "after a pause it is the current time");
    shift.by(-7_200_000);
    chain.produce(&fence).unwrap();
    assert_eq!(chain.tip().timestamp, late + 5, "a clock that goes back does not take time back");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(2, Duration::ZERO);
    let store = open_store(&dir, &genesis);
    let fence = Fence::unfenced();
    let good = settings(&genesis, Shift::default().clock());
    let mut chain = Chain::open(good.clone(), store.clone(), &fence).unwrap();
    chain.produce(&fence).unwrap();
    drop(chain);

    let mut foreign = good.clone();
    foreign.signer = signer("somebody else");
    let mut chain = Chain::open(foreign, store.clone(), &fence).unwrap();
    let error = chain.produce(&fence).unwrap_err();
    assert!(matches!(error, ConsensusError::Build(_)) && error.reaction() == Reaction::Abort, "{error}");

    // A state record that does not belong: the root shows it.
    let next = store.tip().unwrap().unwrap() + 1;
    let stored = store.block(next - 1).unwrap().unwrap();
    let odd = duskevm_store::l1::BlockCommit {
        height: next,
        hash: [9; 32],
        record: stored,
        state: vec![(vec![1; 97], Some(vec![1; 16]))],
        finality: store.finality().unwrap().unwrap(),
        ..Default::default()
    };
    store.commit_block(&fence, &odd).unwrap();
    let error = Chain::open(good, store, &fence).unwrap_err();
    assert!(matches!(error, ConsensusError::Damaged(_)) && error.reaction() == Reaction::Abort, "{error}");
}
