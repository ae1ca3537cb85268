//! Blocks that others agreed on: fetched, taken back, and final twice.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use common::maker::{Follower, Maker};
use common::*;
use duskevm_blobs::{BYTES, kzg};
use duskevm_consensus::Blobs;
use duskevm_dusk_l1::transfer::Transaction;
use duskevm_dusk_l1::transfer::data::{BlobData, TransactionData};
use duskevm_messages::consensus::*;
use duskevm_messages::da_store::{DropBlobs, KeepBlobs};
use duskevm_p2p::PeerId;
use duskevm_supervision::{ExitReason, Port};
use parking_lot::Mutex;
use tempfile::TempDir;

async fn reaches(tip: &DuskTipFeed, hash: [u8; 32]) -> DuskTip {
    let mut tip = tip.clone();
    let reached = tip.wait_for(|tip| tip.is_some_and(|tip| tip.hash == B256::from(hash)));
    tokio::time::timeout(PATIENCE, reached).await.expect("the block does not come").unwrap().unwrap()
}

async fn status(node: &Follower, id: B256) -> DuskTransactionStatus {
    node.actor.ask_retry(GetDuskTransaction { id }, PATIENCE).await.unwrap()
}

async fn becomes(node: &Follower, id: B256, wanted: &DuskTransactionStatus) {
    let waits = async {
        while status(node, id).await != *wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_fetched_in_batches_and_told_of_when_they_are_on_disk() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::from_secs(3600));
    let mut maker = Maker::new(&genesis);
    maker.more(150);
    let store = open_store(&dir, &genesis);
    let node = Follower::start(settings(&genesis, Shift::default().clock()), &store);
    let (mut tip, disk) = (node.tip.clone(), store.clone());
    let watched = tokio::spawn(async move {
        let mut heights = Vec::new();
        while heights.last() != Some(&150) && tip.changed().await.is_ok() {
            let Some(told) = *tip.borrow_and_update() else { continue };
            assert_eq!(disk.block_height(&told.hash.0).unwrap(), Some(told.height));
            heights.push(told.height);
        }
        heights
    });
    node.connect(1, &maker.blocks, 150, (149, [0; 32]));
    let last = reaches(&node.tip, maker.parent.hash).await;
    assert_eq!((last.height, last.final_height), (150, 149));
    // What it was told of last is there after a crash.
    let mut told = node.status.clone();
    let told = told.wait_for(|told| told.is_some_and(|told| told.tip == (150, maker.parent.hash)));
    tokio::time::timeout(PATIENCE, told).await.expect("peers are not told").unwrap();
    let heights = tokio::time::timeout(PATIENCE, watched).await.expect("the last block is not told of").unwrap();
    // How many blocks share a flush is the disk's to say; the bench `sync` measures it.
    assert!(heights.is_sorted(), "{heights:?}");
    store.crash();
    store.heal().unwrap();
    assert_eq!(store.tip().unwrap(), Some(150));
    node.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_a_block_that_was_taken_back_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::from_secs(3600));
    let sent = transfer("alice", 1, 5).to_vec();
    let (mut first, mut second) = (Maker::new(&genesis), Maker::new(&genesis));
    let late = first.block(1, 0, std::slice::from_ref(&sent));
    let early = second.block(0, 0, &[]);
    let id = B256::from(duskevm_dusk_l1::tx::Tx::decode(&sent, 1).unwrap().id());
    let store = open_store(&dir, &genesis);
    let settings = settings(&genesis, Shift::default().clock());
    {
        let node = Follower::start(settings.clone(), &store);
        node.connect(1, &first.blocks, 9, (0, [0; 32]));
        reaches(&node.tip, late).await;
        assert!(matches!(status(&node, id).await, DuskTransactionStatus::Included { .. }));
        // A block of an earlier iteration wins.
        node.disconnect(1);
        node.connect(2, &second.blocks, 9, (0, [0; 32]));
        reaches(&node.tip, early).await;
        becomes(&node, id, &DuskTransactionStatus::Waiting).await;
        node.supervisor.shutdown(PATIENCE).await;
    }
    let node = Follower::start(settings.clone(), &store);
    becomes(&node, id, &DuskTransactionStatus::Waiting).await;
    // Once it is in a final block again nothing is kept of it.
    second.block(0, 0, &[sent]);
    second.more(3);
    node.connect(2, &second.blocks, 9, (0, [0; 32]));
    reaches(&node.tip, second.parent.hash).await;
    assert!(matches!(status(&node, id).await, DuskTransactionStatus::Included { height: 2, is_final: true, .. }));
    assert!(store.reverted().unwrap().is_empty());
    node.supervisor.shutdown(PATIENCE).await;
}

/// A block with a blob comes, goes and comes back, while the keeper takes its time to let go of it.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_a_block_that_comes_back_are_kept_last() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::from_secs(3600));
    let data: Vec<u8> = (0..BYTES).map(|at| if at % 32 == 0 { 0 } else { at as u8 }).collect();
    let sidecar = kzg::commit_and_prove(&data).unwrap().sidecar().clone();
    let blobs = vec![BlobData { hash: sidecar.hash(), data: Some((&sidecar).into()) }];
    let data = Some(TransactionData::Blob(blobs));
    let key = signer("alice");
    let sent = Transaction::moonlight(key.secret_key(), None, 0, 0, 10_000_000, 1, 1, CHAIN_ID, data).unwrap();
    let (mut late, mut early) = (Maker::new(&genesis), Maker::new(&genesis));
    let first = late.block(1, 0, &[sent.to_network_bytes()]);
    let second = early.block(0, 0, &[]);

    let log = Arc::new(Mutex::new(Vec::new()));
    let (kept, dropped) = (log.clone(), log.clone());
    let blobs = Blobs {
        keep: Port::from_fn(move |keep: KeepBlobs| {
            kept.lock().push(("keep", keep.block));
            async {}
        }),
        drop: Port::from_fn(move |drop: DropBlobs| {
            let log = dropped.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                log.lock().push(("drop", drop.block));
            }
        }),
        keep_blocks: None,
    };
    let store = open_store(&dir, &genesis);
    let node = Follower::start_with(settings(&genesis, Shift::default().clock()), &store, Some(blobs));
    node.connect(1, &late.blocks, 9, (0, [0; 32]));
    reaches(&node.tip, first).await;
    node.disconnect(1);
    node.connect(2, &early.blocks, 9, (0, [0; 32]));
    reaches(&node.tip, second).await;
    // By those above it the first one becomes final, and so wins in the end.
    late.more(3);
    node.disconnect(2);
    node.connect(1, &late.blocks, 9, (0, [0; 32]));
    reaches(&node.tip, late.parent.hash).await;
    assert_eq!(*log.lock(), [("keep", first), ("drop", first), ("keep", first)]);
    node.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_final_blocks_of_one_height_end_the_node_and_a_mere_claim_does_not() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::from_secs(3600));
    let mut own = Maker::new(&genesis);
    own.block(0, 0, &[]);
    let mut other = own.clone();
    own.more(5);
    let forked = other.block(0, 1, &[]);
    let node = Follower::start(settings(&genesis, Shift::default().clock()), &open_store(&dir, &genesis));
    node.connect(1, &own.blocks, 9, (0, [0; 32]));
    reaches(&node.tip, own.parent.hash).await;
    // One block alone is not final, whatever the peer says.
    node.connect(2, &other.blocks, 2, (2, forked));
    let looked = async {
        while !node.asked.lock().contains(&(PeerId([2; 32]), 3)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("nobody looks");
    assert_eq!(node.actor.ask(GetDuskTip).await.unwrap().hash, B256::from(own.parent.hash));
    other.more(3);
    node.connect(2, &other.blocks, 5, (4, other.parent.prev_block_hash));
    let reason = tokio::time::timeout(PATIENCE, node.supervisor.wait()).await.expect("it goes on");
    assert!(matches!(reason, ExitReason::Aborted { .. }), "{reason}");
    let text = reason.to_string();
    assert!(
        text.contains("two final L1 blocks of height 2") && text.contains(&B256::from(forked).to_string()),
        "{text}"
    );
}
