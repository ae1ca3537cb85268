//! A disk that fails under the actor. In a test binary of its own: failpoints belong to the process.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::time::Duration;

use alloy_primitives::B256;
use common::*;
use duskevm_messages::consensus::{DuskSnapshot, DuskTransactionStatus, GetDuskSnapshot, GetDuskTip, ReadDuskContract};
use fail::FailScenario;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn production_survives_failing_writes() {
    let scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let shift = Shift::default();
    let bed = Bed::start(settings(&genesis, shift.clock()), open_store(&dir, &genesis));
    bed.height(1).await;
    for point in ["store-db-commit", "store-db-process", "store-db-flush", "store-db-enact", "store-db-clean"] {
        let restarts = bed.supervisor.actors()[0].restarts;
        fail::cfg(point, "1*return(disk full)->off").unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while bed.supervisor.actors()[0].restarts == restarts {
            assert!(tokio::time::Instant::now() < deadline, "{point} hurt nobody");
            shift.by(1_000);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fail::remove(point);
        let at = bed.tip.borrow().unwrap().height;
        shift.by(1_000);
        bed.height(at + 1).await;
        bed.check_announced();
    }
    bed.supervisor.shutdown(PATIENCE).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_the_node_waits_for_room_and_says_so() {
    let scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let settings = settings(&genesis, Shift::default().clock());
    let bed = Bed::start(settings.clone(), open_store(&dir, &genesis));
    bed.height(1).await;
    bed.supervisor.shutdown(PATIENCE).await;
    bed.store.close().unwrap();
    drop(bed);
    // A database asks for the free space with its first commit.
    fail::cfg("store-db-free", "return(1000)").unwrap();
    let bed = Bed::start(settings, open_store(&dir, &genesis));
    let state = || bed.supervisor.actors()[0].state.to_string();
    let complains = async {
        while !state().contains("is full") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, complains).await.expect("it does not say so");
    let told = bed.actor.ask(GetDuskTip).await.unwrap();
    assert_eq!(bed.store.tip().unwrap(), Some(told.height), "nothing is told of that is not on disk");
    bed.submit(transfer("alice", 1, 5)).await.unwrap();
    fail::remove("store-db-free");
    bed.height(told.height + 2).await;
    assert!(!state().contains("full"), "{}", state());
    assert_eq!(bed.supervisor.actors()[0].restarts, 0, "it goes on");
    bed.check_announced();
    bed.supervisor.shutdown(PATIENCE).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_of_one_moment_though_the_disk_is_behind() {
    let scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let bed = Bed::start(settings(&genesis, Shift::default().clock()), open_store(&dir, &genesis));
    bed.height(1).await;
    let snapshot = async |id: B256| -> DuskSnapshot {
        let question = ReadDuskContract { contract: B256::ZERO, method: "owner".into(), args: Default::default() };
        let asked = GetDuskSnapshot { account: signer("alice").id(), transactions: vec![B256::ZERO, id], question };
        bed.actor.ask_retry(asked, PATIENCE).await.unwrap()
    };
    fail::cfg("store-db-flush", "pause").unwrap();
    let id = bed.submit(transfer("alice", 1, 5)).await.unwrap();
    let executed = async {
        loop {
            let found = snapshot(id).await;
            if found.account.nonce == 1 {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, executed).await.expect("the transaction is in no block");
    // The nonce is used and the transaction is not told of: only together do they say that it is in a block.
    assert_eq!(found.transactions, [DuskTransactionStatus::Unknown, DuskTransactionStatus::Waiting]);
    assert!(found.height > bed.actor.ask_retry(GetDuskTip, PATIENCE).await.unwrap().height);
    assert!(found.answer.is_err(), "there is no such contract");
    fail::remove("store-db-flush");
    let (height, _) = bed.included(id).await;
    assert!(height <= found.height);
    bed.supervisor.shutdown(PATIENCE).await;
    scenario.teardown();
}
