//! What a consensus client may count on whatever happens here: op-node does not send a block again that was answered VALID.

use crate::{
    bed::{Bed, CHAIN_ID, PATIENCE, transfer},
    driving::made_elsewhere,
};
use alloy_primitives::B256;
use duskevm_engine_api::ForkchoiceState;
use duskevm_executor::KeptBlocks;
use duskevm_messages::executor::engine::{Chosen, Forkchoice, Offered};
use duskevm_store::{
    Identity,
    db::DbLimits,
    l2::{L2Settings, L2Store},
};
use duskevm_supervision::Fault;
use std::{slice::from_ref, sync::Arc};

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_block_outlives_the_instance() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[transfer(0)]).await;
    let next = made_elsewhere(from_ref(&one), 3, 20, &[transfer(1)]).await;
    for (block, fault) in next.iter().zip([Fault::Panic, Fault::Stop, Fault::Panic]) {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
        bed.replace(fault).await;
    }
    // All three, executed again.
    bed.go_to(next[2].hash()).await;
    let report = bed.store.check(|_| {}).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_block_outlives_the_instance_and_is_on_disk_once_it_is_the_head() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let built = bed.build_payload(&genesis, 1, &[]).await.unwrap().block;
    bed.replace(Fault::Panic).await;
    assert_eq!(bed.offer(&built).await, Ok(Offered::Valid));
    bed.go_to(built.hash()).await;
    assert!(bed.head().durable >= 1, "it is the client's own also when it is executed by another instance");
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_under_a_forkchoice_state_costs_no_block() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[transfer(0)]).await;
    let next = made_elsewhere(from_ref(&one), 2, 20, &[transfer(1)]).await;
    for block in &next {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
    }
    bed.store.crash();
    // The same question is put to the next instance.
    bed.go_to(next[1].hash()).await;
    assert!(bed.restarts() >= 1);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_as_long_as_it_is_full_and_costs_no_block() {
    let Bed { folder, genesis, store, supervisor, .. } = Bed::new();
    supervisor.shutdown(PATIENCE).await;
    drop(store);
    let blocks = made_elsewhere(&[], 2, 1, &[]).await;
    let open = |reserve_bytes| {
        let settings = L2Settings { db: DbLimits { reserve_bytes, ..DbLimits::default() }, ..L2Settings::default() };
        let identity = Identity { chain_id: CHAIN_ID, genesis: genesis.hash() };
        Arc::new(L2Store::open(folder.path(), &identity, settings).unwrap())
    };
    let (full, kept) = (open(u64::MAX), KeptBlocks::default());
    let bed = Bed::with(folder, genesis.clone(), full, true, kept, None);
    for block in &blocks {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
    }
    let state = ForkchoiceState { head_block_hash: blocks[1].hash(), ..ForkchoiceState::default() };
    for _ in 0..3 {
        let answer = bed.executor.ask(Forkchoice { state }).await;
        assert!(answer.as_ref().is_err_and(|error| error.to_string().contains("full")), "{answer:?}");
    }
    assert_eq!((bed.restarts(), bed.head().latest.hash()), (0, genesis.hash()));
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_block_is_on_disk_before_it_is_answered_with_or_without_users() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[transfer(0)]).await;
    assert!(bed.head().durable >= 1, "nobody else can bring a block that was built here");
    let two = bed.advance(&one, 2, &[]).await;
    assert!(bed.head().durable >= 2, "also if nobody sent a transaction");
    // What was taken out of the chain was answered VALID too.
    bed.go_to(genesis.hash()).await;
    bed.go_to(two.hash()).await;
    assert!(bed.head().durable >= 2, "also if it was out of the chain meanwhile");
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_block_is_on_disk_before_it_is_answered() {
    let bed = Bed::new();
    let block = made_elsewhere(&[], 1, 1, &[]).await.remove(0);
    let one = block.hash();
    assert_eq!(bed.offer(&block).await, Ok(Offered::Valid));
    assert!(matches!(bed.choose(one, one, B256::ZERO).await, Ok(Chosen::Updated { .. })));
    assert!(bed.head().durable >= 1);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_process_the_side_is_empty() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[transfer(0)]).await;
    let next = made_elsewhere(from_ref(&one), 1, 20, &[]).await;
    assert_eq!(bed.offer(&next[0]).await, Ok(Offered::Valid));
    let bed = bed.restart(true).await;
    assert_eq!(bed.choose(next[0].hash(), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing));
    assert_eq!(bed.offer(&next[0]).await, Ok(Offered::Valid));
    bed.go_to(next[0].hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
}
