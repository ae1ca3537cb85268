//! The executor driven by a consensus client while its disk stalls, fails or is slow. In a process of its own: the faults are those of
//! all databases in it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

#[allow(dead_code, reason = "each test uses its part")]
#[path = "it/bed.rs"]
mod bed;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "it/driving.rs"]
mod driving;

use alloy_consensus::Sealable;
use alloy_primitives::B256;
use bed::{Bed, PATIENCE};
use driving::made_elsewhere;
use duskevm_evm::Block;
use duskevm_executor::KeptBlocks;
use duskevm_fence::Fence;
use duskevm_messages::executor::engine::{Chosen, Offered};
use duskevm_store::journal::{Journal, JournalLimits};
use duskevm_supervision::Fault;
use fail::FailScenario;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_a_failing_disk_lost_is_known_still() {
    let scenario = FailScenario::setup();
    let blocks = made_elsewhere(&[], 2, 1, &[]).await;
    let bed = Bed::new();
    assert_eq!(bed.offer(&blocks[0]).await, Ok(Offered::Valid));
    bed.store.flush().unwrap();
    fail::cfg("store-db-flush", "1*return(the disk is gone)->off").unwrap();
    bed.go_to(blocks[0].hash()).await;
    // It was answered, and then it was lost, which somebody finds out sooner or later.
    assert!(bed.store.flush().is_err() || bed.restarts() > 0);
    // Its child can be the head all the same.
    assert_eq!(bed.offer(&blocks[1]).await, Ok(Offered::Valid));
    bed.go_to(blocks[1].hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_again_after_a_failure_is_owed_the_disk_too() {
    let scenario = FailScenario::setup();
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let own = bed.build_payload(&genesis, 1, &[]).await.unwrap().block.hash();
    bed.store.flush().unwrap();
    // The block is stored, its labels are not; and the disk does not come to what is stored.
    fail::cfg("store-db-process", "pause").unwrap();
    fail::cfg("store-db-commit", "1*off->1*panic->off").unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(2), bed.choose(own, own, B256::ZERO)).await;
    assert!(asked.is_err(), "answered before it was on disk: {asked:?}");
    assert_eq!(bed.restarts(), 1);
    fail::remove("store-db-process");
    let chosen = bed.choose(own, own, B256::ZERO).await.unwrap();
    assert!(matches!(chosen, Chosen::Updated { .. }), "{chosen:?}");
    assert_eq!((bed.head().safe.hash, bed.head().durable), (own, 1));
    bed.supervisor.shutdown(PATIENCE).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_noted_and_comes_back_when_the_database_has_lost_it() {
    let scenario = FailScenario::setup();
    let journal = tempfile::tempdir().unwrap();
    let bed = Bed::new().answering(journal.path()).await;
    let genesis = bed.genesis.clone();
    // The disk does not come to what is stored: it is answered all the same, and then lost.
    fail::cfg("store-db-process", "pause").unwrap();
    let one = bed.advance(&genesis, 1, &[]).await;
    let two = bed.advance(&one, 2, &[]).await;
    let chosen = bed.choose(two.hash(), one.hash(), B256::ZERO).await.unwrap();
    assert!(matches!(chosen, Chosen::Updated { .. }), "{chosen:?}");
    assert_eq!(bed.head().durable, 0);
    fail::cfg("store-db-flush", "1*return(the disk is gone)->off").unwrap();
    fail::remove("store-db-process");
    assert!(bed.store.flush().is_err(), "nothing is lost");
    bed.replace(Fault::Panic).await;
    assert_eq!((bed.head().latest.hash(), bed.head().safe.hash), (two.hash(), one.hash()));
    // What the client has left does not come back.
    bed.go_to(one.hash()).await;
    bed.store.crash();
    bed.replace(Fault::Panic).await;
    assert_eq!(bed.head().latest.hash(), one.hash());
    bed.supervisor.shutdown(PATIENCE).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_block_that_is_refused_now_does_not_keep_the_node_from_starting() {
    let scenario = FailScenario::setup();
    let journal = tempfile::tempdir().unwrap();
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let blocks = made_elsewhere(&[], 2, 1, &[]).await;
    let mut wrong = blocks[1].header.inner().clone();
    wrong.state_root = B256::ZERO;
    let wrong = Block { header: wrong.seal_slow(), transactions: blocks[1].transactions.clone() };
    let limits = JournalLimits { record_bytes: 1 << 20, segment_bytes: 1 << 20 };
    let noted = |records: &[Vec<u8>]| {
        let name = "answered L2 blocks";
        let (mut journal, before) = Journal::open(journal.path(), &Fence::unfenced(), name, limits, |_, _| {}).unwrap();
        journal.append_all(&Fence::unfenced(), records).unwrap();
        before.records
    };
    noted(&[blocks[0].to_rlp(), wrong.to_rlp()]);
    let bed = bed.answering(journal.path()).await;
    bed.offer(&blocks[0]).await.unwrap();
    assert_eq!(bed.head().latest.hash(), blocks[0].hash(), "the block before it is there");
    assert_ne!(genesis.hash(), blocks[0].hash());
    bed.supervisor.shutdown(PATIENCE).await;
    assert_eq!(noted(&[]), 0, "the journal began anew");
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_way_back_is_no_hang() {
    const BLOCKS: u8 = 120;
    let scenario = FailScenario::setup();
    let Bed { folder, genesis, store, supervisor, .. } = Bed::new();
    supervisor.shutdown(PATIENCE).await;
    let deadline = Some(Duration::from_secs(3));
    let bed = Bed::with(folder, genesis.clone(), store, true, KeptBlocks::default(), deadline);
    let mut head = genesis.clone();
    for salt in 0..BLOCKS {
        head = bed.advance(&head, salt, &[]).await;
    }
    // More than the deadline for all, and much less for some of them.
    fail::cfg("store-db-commit", "sleep(40)").unwrap();
    bed.go_to(genesis.hash()).await;
    assert_eq!(bed.restarts(), 0, "it counted as hung");
    bed.supervisor.shutdown(PATIENCE).await;
    scenario.teardown();
}
