//! Following the executor, and serving the sequencer and the RPC.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::sync::Arc;

use common::*;
use duskevm_messages::txpool::*;
use duskevm_pool::{PoolError, Touched};
use duskevm_txpool::Settings;

#[tokio::test(flavor = "multi_thread")]
async fn a_block_removes_and_promotes() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    for (sender, nonce) in [(1, 0), (1, 1), (2, 1)] {
        bed.submit(&tx(sender, nonce)).await.unwrap();
    }
    assert_eq!(bed.counts().await, (2, 1));
    let block = bed.chain.block(&[tx(1, 0), tx(2, 0)]);
    bed.pool.ask(block.clone()).await.unwrap();
    assert_eq!(bed.best().await, [(address(1), 1), (address(2), 1)]);
    // Twice does what once does.
    bed.pool.ask(block).await.unwrap();
    assert_eq!(bed.counts().await, (2, 0));
    let announced: Vec<_> =
        std::iter::from_fn(|| bed.pending.try_recv().ok()).map(|tx| (tx.sender(), tx.nonce())).collect();
    assert_eq!(announced, [(address(1), 0), (address(1), 1), (address(2), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_message_is_made_up_for() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    for nonce in 0..3 {
        bed.submit(&tx(1, nonce)).await.unwrap();
    }
    // Lost, and nothing follows: the feed tells.
    bed.chain.block(&[tx(1, 0)]);
    bed.until("caught up", async |bed| bed.counts().await == (2, 0)).await;
    // Lost, and the next one follows at once; it names a head that the pool never saw.
    bed.chain.block(&[tx(1, 1)]);
    let next = bed.chain.block(&[]);
    bed.pool.ask(next).await.unwrap();
    assert_eq!(bed.best().await, [(address(1), 2)]);
    // A late message about an old head changes nothing.
    let old = HeadChanged {
        from: Chain::hash(0),
        view: Chain::new().view(),
        touched: Touched::All,
        mined: Arc::new([]),
        reorged_out: Arc::new([]),
    };
    bed.pool.ask(old).await.unwrap();
    assert_eq!(bed.best().await, [(address(1), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_a_block_that_left_come_back_for_good() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    bed.submit(&tx(1, 0)).await.unwrap();
    let foreign = tx(7, 0);
    let block = bed.chain.block(&[tx(1, 0), foreign.clone()]);
    bed.pool.ask(block).await.unwrap();
    assert_eq!(bed.counts().await, (0, 0));

    // Another block at the same height, without the two.
    let from = Chain::hash(bed.chain.number);
    bed.chain.nonce(1, 0);
    bed.chain.nonce(7, 0);
    bed.chain.number += 100;
    bed.chain.publish();
    let reorg = HeadChanged {
        from,
        view: bed.chain.view(),
        touched: Touched::Accounts(vec![address(1), address(7)]),
        mined: Arc::new([]),
        reorged_out: vec![tx(1, 0), foreign].into(),
    };
    bed.pool.ask(reorg.clone()).await.unwrap();
    assert_eq!(bed.best().await.len(), 2);
    bed.pool.ask(reorg).await.unwrap();
    assert_eq!(bed.best().await.len(), 2);
    // The one that this pool never had is in the journal too.
    bed.until("written", async |_| disk.records() >= 3).await;
    bed.kill().await;
    assert_eq!(bed.best().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganization_that_nobody_told_of_loses_nothing() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    bed.submit(&tx(1, 0)).await.unwrap();
    let block = bed.chain.block(&[tx(1, 0)]);
    bed.pool.ask(block).await.unwrap();
    bed.chain.nonce(1, 0);
    bed.chain.number += 50;
    bed.chain.publish();
    bed.until("back", async |bed| bed.best().await == [(address(1), 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_one_is_set_aside() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    bed.submit(&tx(1, 0)).await.unwrap();
    bed.submit(&tx(2, 0)).await.unwrap();
    let txs = vec![(tx(1, 0).hash(), "scripted".to_owned()), (tx(9, 9).hash(), "unknown".to_owned())];
    bed.pool.ask(Invalid { txs }).await.unwrap();
    assert_eq!(bed.best().await, [(address(2), 0)]);
    let block = bed.chain.block(&[tx(2, 0)]);
    bed.pool.ask(block).await.unwrap();
    assert!(bed.best().await.is_empty());
    let mut block = bed.chain.block(&[]);
    block.touched = Touched::Accounts(vec![address(1)]);
    bed.pool.ask(block).await.unwrap();
    assert_eq!(bed.best().await, [(address(1), 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_by_sender() {
    let disk = Arc::new(Disk::default());
    let bed = Bed::on(&disk).await;
    for (sender, nonce) in [(1, 0), (1, 3), (2, 0)] {
        bed.submit(&tx(sender, nonce)).await.unwrap();
    }
    let content = bed.pool.ask(GetContent).await.unwrap();
    assert_eq!(content.len(), 2);
    let one = bed.pool.ask(GetContentFrom { sender: address(1) }).await.unwrap();
    assert_eq!(content[&address(1)], one);
    // As long as nothing changes all who ask share one copy; a change is seen by whoever asks after it.
    for _ in 0..40 {
        assert!(Arc::ptr_eq(&bed.pool.ask(GetContent).await.unwrap(), &content));
    }
    bed.submit(&tx(2, 1)).await.unwrap();
    assert_eq!(bed.pool.ask(GetContent).await.unwrap()[&address(2)].pending.len(), 2);
    assert_eq!((one.pending.len(), one.queued.len()), (1, 1));
    assert_eq!(bed.pool.ask(NonceOf { sender: address(3) }).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn type_4_takes_the_same_way() {
    let disk = Arc::new(Disk::default());
    let bed = Bed::on(&disk).await;
    assert_eq!(bed.submit(&delegating(0, 20)).await, Ok(delegating(0, 20).hash()));
    assert!(matches!(bed.submit(&delegating(0, 20)).await, Err(PoolError::AlreadyKnown(_))));
    bed.kill().await;
    assert_eq!(bed.best().await, [(address(9), 0)]);
}

/// No signature is ever recovered here, so that whatever is answered was answered without.
#[tokio::test(flavor = "multi_thread")]
async fn authorizations_are_recovered_only_of_what_would_come_in() {
    let disk = Arc::new(Disk::default());
    let mut chain = Chain::new();
    chain.nonce(9, 3);
    chain.publish();
    let size = delegating(3, 20).encoded().len();
    let settings = Settings { recoveries: 0, waiting_bytes: 2 * size, ..settings() };
    let bed = Bed::start(disk.open(), chain, settings).await;
    let refused = bed.submit(&delegating(2, 20)).await;
    assert!(matches!(refused, Err(PoolError::NonceTooLow { .. })), "{refused:?}");
    let refused = bed.submit(&delegating(3, 100)).await;
    assert!(matches!(refused, Err(PoolError::IntrinsicGas { .. })), "{refused:?}");
    // Those that wait for it count as waiting, with their bytes.
    bed.pool.tell(Submit::new(delegating(3, 20))).unwrap();
    bed.submit(&tx(1, 0)).await.unwrap();
    bed.pool.tell(Submit::new(delegating(4, 20))).unwrap();
    let busy = bed.submit(&tx(1, 1)).await;
    assert!(matches!(busy, Err(PoolError::Busy { waiting: 2 })), "{busy:?}");
}

/// A block left the chain, and these were in it.
fn left(chain: &Chain, txs: &[Arc<duskevm_evm::RecoveredTx>]) -> HeadChanged {
    let hash = Chain::hash(chain.number);
    let touched = Touched::Accounts(vec![]);
    HeadChanged { from: hash, view: chain.view(), touched, mined: Arc::new([]), reorged_out: txs.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_come_back_at_once_comes_back_later() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    // The state cannot be read.
    bed.chain.broken(true);
    let block = bed.chain.block(&[]);
    bed.pool.ask(block).await.unwrap();
    let (pool, message) = (bed.pool.clone(), left(&bed.chain, &[tx(7, 0)]));
    let returned = tokio::spawn(async move { pool.ask_retry(message, PATIENCE).await });
    assert_eq!(bed.counts().await, (0, 0));
    // Whoever brought it keeps it until it is here.
    assert!(!returned.is_finished());
    bed.chain.broken(false);
    let block = bed.chain.block(&[]);
    bed.pool.ask(block).await.unwrap();
    returned.await.unwrap().unwrap();
    assert_eq!(disk.records(), 1);
    assert_eq!(bed.best().await, [(address(7), 0)]);

    // Its authorizations are recovered first.
    bed.pool.ask(left(&bed.chain, &[delegating(0, 20)])).await.unwrap();
    assert_eq!((bed.counts().await, disk.records()), ((2, 0), 2));
    bed.kill().await;
    assert_eq!(bed.counts().await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    let clients: Vec<_> = (0..50u64)
        .map(|sender| {
            let pool = bed.pool.clone();
            tokio::spawn(async move {
                for nonce in 0..100 {
                    pool.ask_retry(Submit::new(tx(sender, nonce)), PATIENCE).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    // Meanwhile blocks are made, and the actor dies a few times.
    for round in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        bed.kill().await;
        let best = Best { base_fee: GWEI as u64, gas_limit: 1_000_000, count: 40 };
        let txs = bed.pool.ask(best).await.unwrap();
        let block = bed.chain.block(&txs);
        bed.pool.ask(block).await.unwrap();
        assert!(bed.chain.number == round + 1);
    }
    for client in clients {
        client.await.unwrap();
    }
    // Everything is included in the end, each once.
    let mut included = Vec::new();
    for _ in 0..2 {
        let best = Best { base_fee: GWEI as u64, gas_limit: u64::MAX, count: usize::MAX };
        let txs = bed.pool.ask(best).await.unwrap();
        included.extend(txs.iter().map(|tx| tx.hash()));
        let block = bed.chain.block(&txs);
        bed.pool.ask(block).await.unwrap();
    }
    assert_eq!(bed.counts().await, (0, 0));
    for sender in 0..50 {
        assert_eq!(bed.chain.nonce_of(sender), 100, "sender {sender}");
    }
    let count = included.len();
    included.sort();
    included.dedup();
    assert_eq!(included.len(), count);
}
