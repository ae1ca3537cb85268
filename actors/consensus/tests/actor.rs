//! The actor in a tree: block time, transactions, faults.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::time::{Duration, Instant};

use alloy_primitives::B256;
use common::*;
use duskevm_dusk_l1::execute::{Rejection, gas};
use duskevm_dusk_l1::mempool::MempoolError;
use duskevm_dusk_l1::tx::TxError;
use duskevm_messages::consensus::*;
use duskevm_supervision::{ActorState, ExitReason, Fault};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_block_comes_at_once_and_the_next_in_time() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let started = Instant::now();
    let bed = Bed::start(settings(&genesis, Shift::default().clock()), open_store(&dir, &genesis));
    let first = bed.height(1).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let third = bed.height(3).await;
    assert!(third.timestamp >= first.timestamp + 2);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert_eq!(third.final_height, third.height - 1);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_pause_costs_one_block() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(10, Duration::from_secs(3600));
    let shift = Shift::default();
    let bed = Bed::start(settings(&genesis, shift.clock()), open_store(&dir, &genesis));
    let first = bed.height(1).await;
    assert!(now().as_secs() - first.timestamp < 5, "the current time, not the missed slot");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(bed.tip.borrow().unwrap().height, 1, "missed slots are not made up for");
    // The machine sleeps for a day.
    shift.by(86_400_000);
    let second = bed.height(2).await;
    assert!(second.timestamp >= first.timestamp + 86_400);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(bed.tip.borrow().unwrap().height, 2);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_forward_makes_no_final_block_in_the_future() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let shift = Shift::default();
    let mut settings = settings(&genesis, shift.clock());
    settings.uptime = duskevm_consensus::system_uptime();
    let bed = Bed::start(settings, open_store(&dir, &genesis));
    bed.height(1).await;
    shift.by(3_600_000);
    let degraded = async {
        while !matches!(&bed.supervisor.actors()[0].state, ActorState::Degraded { why } if why.contains("set forward"))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, degraded).await.unwrap();
    // Another instance does not believe it either.
    bed.fault(Fault::Panic).await;
    let wrong = bed.tip.borrow().unwrap();
    assert!(wrong.timestamp <= now().as_secs(), "{wrong:?}");
    shift.by(-3_600_000);
    let right = bed.height(wrong.height + 1).await;
    assert!(right.timestamp <= now().as_secs() + 1, "{right:?}");
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_behind_the_newest_block_is_refused_at_start() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let shift = Shift::default();
    let store = open_store(&dir, &genesis);
    let bed = Bed::start(settings(&genesis, shift.clock()), store.clone());
    bed.height(1).await;
    bed.supervisor.shutdown(PATIENCE).await;
    shift.by(-3_600_000);
    let bed = Bed::start(settings(&genesis, shift.clock()), store);
    let reason = tokio::time::timeout(PATIENCE, bed.supervisor.wait()).await.unwrap();
    assert!(matches!(reason, ExitReason::Aborted { .. }), "{reason}");
    assert!(reason.to_string().contains("ahead of the clock"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_from_submission_to_finality() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let bed = Bed::start(settings(&genesis, Shift::default().clock()), open_store(&dir, &genesis));
    bed.height(1).await;
    assert_eq!(bed.status(B256::ZERO).await, DuskTransactionStatus::Unknown);

    // The second first: it waits for the first.
    let second = bed.submit(transfer("alice", 2, 5)).await.unwrap();
    assert_eq!(bed.account("alice").await.next_nonce, 1);
    let first = bed.submit(transfer("alice", 1, DUSK)).await.unwrap();
    assert_eq!(bed.submit(transfer("alice", 1, DUSK)).await.unwrap(), first, "twice is once");
    let (height, gas_spent) = bed.included(first).await;
    let (later, _) = bed.included(second).await;
    assert!(later >= height);
    assert_eq!(gas_spent, gas::TRANSACTION);
    assert_eq!(bed.submit(transfer("alice", 1, DUSK)).await.unwrap(), first, "included is answered like known");
    let alice = bed.account("alice").await;
    assert_eq!((alice.nonce, alice.next_nonce), (2, 3));
    assert_eq!(alice.balance, 999 * DUSK - 5 - 2 * gas::TRANSACTION);
    assert_eq!(bed.account("bob").await.balance, DUSK + 5);
    assert!(bed.account("producer").await.reward > 0);

    let block = bed.actor.ask(DuskBlockByHeight { height }).await.unwrap().unwrap();
    assert_eq!(block.header.height, height);
    assert_eq!(block.outcomes[0].id, first.0);
    assert_eq!(block.block().unwrap().txs().len(), block.outcomes.len());
    assert!(bed.actor.ask(DuskBlockByHeight { height: 1 << 40 }).await.unwrap().is_none());
    bed.height(later + 1).await;
    assert!(matches!(bed.status(first).await, DuskTransactionStatus::Included { is_final: true, .. }));
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_transactions_are_refused_with_a_reason() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let bed = Bed::start(settings(&genesis, Shift::default().clock()), open_store(&dir, &genesis));
    assert_eq!(bed.submit(vec![].into()).await, Err(TxError::Malformed.into()));
    assert_eq!(bed.submit(vec![1; 2_000_000].into()).await, Err(TxError::TooLarge(2_000_000).into()));
    // The signature of another transaction of hers.
    let (mut forged, other) = (transfer("alice", 1, 5).to_vec(), transfer("alice", 1, 6));
    let at = forged.len() - 48;
    forged[at..].copy_from_slice(&other[at..]);
    assert!(matches!(bed.submit(forged.into()).await, Err(SubmitRefusal::Invalid(_))));
    assert!(matches!(
        bed.submit(transfer("pauper", 1, 5)).await,
        Err(SubmitRefusal::Mempool(MempoolError::Rejected(Rejection::InsufficientBalance { have: 0, .. })))
    ));
    assert!(matches!(
        bed.submit(transfer("alice", 0, 5)).await,
        Err(SubmitRefusal::Mempool(MempoolError::Rejected(Rejection::NonceUsed { got: 0, next: 1 })))
    ));
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_replace_no_announced_block() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let shift = Shift::default();
    let bed = Bed::start(settings(&genesis, shift.clock()), open_store(&dir, &genesis));
    let id = bed.submit(transfer("alice", 1, 5)).await.unwrap();
    bed.included(id).await;
    for fault in [Fault::Panic, Fault::Stop, Fault::Restart, Fault::Panic, Fault::Restart] {
        let before = bed.tip.borrow().unwrap();
        bed.fault(fault).await;
        assert!(bed.tip.borrow().unwrap().height >= before.height, "the tip goes on where it was");
        shift.by(1_000);
        bed.height(before.height + 1).await;
        bed.check_announced();
    }
    // What was included stays so, and is read from disk now.
    assert!(matches!(bed.status(id).await, DuskTransactionStatus::Included { .. }));
    let block = bed.actor.ask(DuskBlockByHeight { height: 0 }).await.unwrap().unwrap();
    assert_eq!(block.header.hash, genesis.block().header().hash);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let shift = Shift::default();
    let mut announced = std::collections::BTreeMap::new();
    for round in 0..4 {
        let store = open_store(&dir, &genesis);
        let bed = Bed::start(settings(&genesis, shift.clock()), store.clone());
        let goal = announced.len() as u64 + 1;
        bed.height(goal).await;
        shift.by(1_000);
        bed.height(goal + 1).await;
        bed.check_announced();
        for (height, hash) in &announced {
            assert_eq!(store.block_height(hash).unwrap(), Some(*height), "round {round}");
        }
        // Whatever is not on disk at this moment is lost.
        store.crash();
        announced.extend(bed.announced.lock().iter().map(|(height, hash)| (*height, hash.0)));
        bed.supervisor.shutdown(PATIENCE).await;
        // A supervisor may have let a new instance open the files again.
        store.crash();
        shift.by(1_000);
    }
    assert!(announced.len() >= 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_instance_is_replaced_and_cannot_write() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let bed = Bed::start(settings(&genesis, Shift::default().clock()), open_store(&dir, &genesis));
    bed.height(1).await;
    bed.fault(Fault::Hang(Duration::from_secs(14))).await;
    let at = bed.tip.borrow().unwrap().height;
    bed.height(at + 1).await;
    // The old instance wakes up and finds itself replaced; no height is written twice.
    tokio::time::sleep(Duration::from_secs(6)).await;
    bed.check_announced();
    let at = bed.tip.borrow().unwrap().height;
    bed.height(at + 1).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stake_a_node_follows_and_signs_nothing() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    for key in [None, Some(signer("somebody else"))] {
        let mut settings = settings(&genesis, Shift::default().clock());
        settings.signer = key.clone();
        let store = open_store(&dir, &genesis);
        let bed = Bed::start(settings, store.clone());
        let state = bed.actor.ask_retry(GetConsensusState, PATIENCE).await.unwrap();
        assert_eq!((state.round, state.votes), (1, key.is_some()));
        assert_eq!(bed.actor.ask_retry(GetProvisioners, PATIENCE).await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(bed.tip.borrow().unwrap().height, 0, "nobody else makes blocks");
        bed.supervisor.shutdown(PATIENCE).await;
        store.close().unwrap();
    }
}
