//! The executor follows L1: blocks that derivation prescribes, what they replace, and what comes of the replaced.

use crate::bed::{Bed, PATIENCE, attributes, deposit, id, transfer};
use alloy_eips::BlockNumHash;
use alloy_primitives::B256;
use duskevm_evm::{Block, BlockAttributes, RecoveredTx};
use duskevm_messages::executor::{Build, DaLimits, ExecutorRefusal, Import, NoteSafeHead, Rewind, SetLabels};
use duskevm_store::l2::{BlockRef, SafeHead};
use op_alloy_consensus::TxDeposit;
use std::sync::{Arc, atomic::Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_derived_on_the_head_and_are_safe() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.derive(&genesis, Some(attributes(&genesis, 1, &[transfer(0)])), None).await.unwrap();
    assert_eq!((one.invalid.clone(), one.replaced, one.block.transactions.len()), (None, 0, 2));
    assert_eq!((bed.head().latest.hash(), bed.head().safe), (one.block.hash(), id(&one.block)));
    // Asked twice, it is the same block, and what was built on it stays.
    let two = bed.seal(&one.block, 2, &[]).await;
    let again = bed.derive(&genesis, Some(attributes(&genesis, 1, &[transfer(0)])), None).await.unwrap();
    assert_eq!((again.block.hash(), again.replaced), (one.block.hash(), 0));
    assert_eq!(bed.head().latest.hash(), two.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_l1_prescribes_replaces_unsafe_blocks_and_their_transactions_come_back() {
    let mut bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.seal(&genesis, 1, &[transfer(0)]).await;
    let two = bed.seal(&one, 2, &[transfer(1)]).await;
    let derived = bed.derive(&genesis, Some(attributes(&genesis, 9, &[])), None).await.unwrap();
    assert_eq!((derived.replaced, derived.block.number()), (2, 1));
    assert_eq!((bed.head().latest.hash(), bed.head().safe), (derived.block.hash(), id(&derived.block)));
    // Whoever announced the others learns that they are void.
    assert_eq!(bed.head().replaced, Some(id(&derived.block)));
    assert_eq!(bed.returned(2).await, [transfer(0).hash(), transfer(1).hash()]);
    bed.until_nothing_is_kept().await;

    // The sequencer still has its blocks: they must not come back in the place of a safe one.
    let refused = bed.executor.ask(Import { block: one.clone() }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::BelowSafe { number: 1, safe: 1 }), "{refused}");
    let refused = bed.executor.ask(Rewind { to: genesis.hash() }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::BelowSafe { .. }), "{refused}");
    let refused = bed.executor.ask(Import { block: two }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::UnknownParent { .. }), "{refused}");
    let refused = bed.derive(&genesis, Some(attributes(&genesis, 8, &[])), None).await.unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::BelowSafe { .. }), "{refused}");
    // Whoever moves the label first may.
    let labels = SetLabels { safe: Some(genesis.hash()), finalized: None };
    bed.executor.ask(labels).await.unwrap().unwrap();
    bed.executor.ask(Import { block: one.clone() }).await.unwrap().unwrap();
    assert_eq!(bed.head().latest.hash(), one.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_executed_leaves_the_deposits() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let deposits = || Some(attributes(&genesis, 1, &[]));
    // A nonce that is too high, then transactions that could not be decoded.
    let bad = Some(attributes(&genesis, 1, &[transfer(5)]));
    let derived = bed.derive(&genesis, bad.clone(), deposits()).await.unwrap();
    assert!(derived.invalid.unwrap().contains("nonce"));
    assert_eq!(derived.block.transactions.len(), 1);
    let again = bed.derive(&genesis, None, deposits()).await.unwrap();
    assert_eq!(again.block.hash(), derived.block.hash());
    assert!(again.invalid.unwrap().contains("decoded"));
    let refused = bed.derive(&derived.block, Some(attributes(&derived.block, 2, &[transfer(5)])), None).await;
    assert!(matches!(refused, Err(ExecutorRefusal::Invalid(_))));
    assert_eq!(bed.head().latest.hash(), derived.block.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_transactions_outlive_a_restart_until_the_pool_has_them() {
    let mut bed = Bed::new();
    let genesis = bed.genesis.clone();
    bed.works.store(false, Ordering::Release);
    bed.seal(&genesis, 1, &[transfer(0)]).await;
    bed.derive(&genesis, Some(attributes(&genesis, 9, &[])), None).await.unwrap();
    assert_eq!(bed.returned(1).await, [transfer(0).hash()]);
    assert_eq!(bed.store.returned().unwrap().transactions.len(), 1);
    let mut bed = bed.restart(true).await;
    assert_eq!(bed.returned(1).await, [transfer(0).hash()]);
    bed.until_nothing_is_kept().await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_heads_are_noted_by_l1_block() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let derived = bed.derive(&genesis, Some(attributes(&genesis, 1, &[])), None).await.unwrap();
    let l1 = BlockNumHash { number: 4, hash: B256::repeat_byte(4) };
    bed.executor.ask(NoteSafeHead { at: Some((l1, id(&derived.block))) }).await.unwrap();
    let block = |id: BlockNumHash| BlockRef { number: id.number, hash: id.hash };
    let noted = SafeHead { l1: block(l1), l2: block(id(&derived.block)) };
    assert_eq!(bed.store.reader().safe_head_at(4).unwrap(), Some(noted));
    bed.executor.ask(NoteSafeHead { at: None }).await.unwrap();
    assert_eq!(bed.store.reader().safe_head_at(4).unwrap(), None);
    bed.supervisor.shutdown(PATIENCE).await;
}

/// A block with right roots, made by another node that has the same chain up to `parent`.
async fn made_elsewhere(blocks: &[Arc<Block>], attributes: BlockAttributes) -> Arc<Block> {
    let other = Bed::new();
    for block in blocks {
        other.executor.ask(Import { block: block.clone() }).await.unwrap().unwrap();
    }
    let parent = blocks.last().unwrap_or(&other.genesis).hash();
    let build = Build { parent, attributes, pool: Arc::default(), until: None, da: DaLimits::default() };
    let block = other.executor.ask(build).await.unwrap().unwrap().block;
    other.supervisor.shutdown(PATIENCE).await;
    block
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_made_elsewhere_that_is_none_of_the_rollup_is_refused_before_it_is_executed() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.seal(&genesis, 1, &[]).await;
    let like = |transactions| BlockAttributes { transactions, ..attributes(&one, 1, &[]) };
    let no_attributes = TxDeposit { gas_limit: 1_000_000, ..Default::default() };
    for (wrong, why) in [
        (like(vec![]), "does not begin with the L1-attributes deposit"),
        (like(vec![transfer(0)]), "does not begin with the L1-attributes deposit"),
        (like(vec![Arc::new(RecoveredTx::deposit(no_attributes))]), "selector"),
        (like(vec![deposit(1, 1, 0)]), "sequence number does not follow"),
        (like(vec![deposit(1, 2, 1)]), "skips a block"),
        (like(vec![deposit(2, 1, 1)]), "must have sequence number 0"),
        (like(vec![deposit(3, 1, 0)]), "skips a block"),
        (BlockAttributes { timestamp: one.header.timestamp + 3, ..attributes(&one, 1, &[]) }, "timestamp"),
    ] {
        let block = made_elsewhere(std::slice::from_ref(&one), wrong).await;
        let refused = bed.executor.ask(Import { block: block.clone() }).await.unwrap().unwrap_err();
        let ExecutorRefusal::Invalid(reason) = &refused else { panic!("{refused}") };
        assert!(reason.contains(why), "{reason}, not {why}");
        assert_eq!(bed.head().latest.hash(), one.hash());
    }
    // In the place of a block of the chain as well.
    let bad = BlockAttributes { transactions: vec![], ..attributes(&genesis, 1, &[]) };
    let refused = bed.executor.ask(Import { block: made_elsewhere(&[], bad).await }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::Invalid(_)), "{refused}");
    assert_eq!(bed.head().latest.hash(), one.hash());
    // Of the same L1 block, or the next one.
    let two = made_elsewhere(std::slice::from_ref(&one), like(vec![deposit(1, 1, 1)])).await;
    let three = made_elsewhere(&[one.clone(), two.clone()], attributes_of(&two, deposit(2, 1, 0))).await;
    for block in [&two, &three] {
        bed.executor.ask(Import { block: block.clone() }).await.unwrap().unwrap();
    }
    assert_eq!(bed.head().latest.hash(), three.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

fn attributes_of(parent: &Block, deposit: Arc<RecoveredTx>) -> BlockAttributes {
    BlockAttributes { transactions: vec![deposit], ..attributes(parent, 1, &[]) }
}
