//! What is acknowledged is on disk, and comes back.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use duskevm_messages::txpool::*;
use duskevm_pool::PoolError;
use duskevm_supervision::{ActorError, ActorState, AskError, Reaction, StartContext};
use duskevm_txpool::{Settings, TxPool, TxPoolError, Wiring};
use tokio::sync::{broadcast, watch};

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_is_answered_after_the_write() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    disk.hold();
    let (pool, first) = (bed.pool.clone(), tx(1, 0));
    let submit = Submit::new(first.clone());
    let asked = tokio::spawn(async move { pool.ask(submit).await.unwrap() });
    bed.until("in the pool", async |bed| bed.counts().await == (1, 0)).await;
    // Another client is not told that it is known before that is true of the disk.
    let (pool, again) = (bed.pool.clone(), Submit::new(first.clone()));
    let mut known = Box::pin(async move { pool.ask(again).await.unwrap() });
    // The first poll sends it, and whoever is answered after that was in the mailbox behind it.
    tokio::select! {
        biased;
        answer = &mut known => panic!("answered too early: {answer:?}"),
        counts = bed.counts() => assert_eq!(counts, (1, 0)),
    }
    assert!(!asked.is_finished());
    assert!(bed.pending.try_recv().is_err(), "announced too early");
    disk.release();
    assert_eq!(asked.await.unwrap(), Ok(first.hash()));
    assert!(matches!(known.await, Err(PoolError::AlreadyKnown(_))));
    assert_eq!(disk.records(), 1);
    assert_eq!(bed.pending.recv().await.unwrap().hash(), first.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_write_answers_many() {
    let disk = Arc::new(Disk::default());
    let bed = Bed::on(&disk).await;
    disk.hold();
    let asks: Vec<_> = (0..300)
        .map(|n| {
            let pool = bed.pool.clone();
            tokio::spawn(async move { pool.ask(Submit::new(tx(n, 0))).await.unwrap().unwrap() })
        })
        .collect();
    bed.until("all in the pool", async |bed| bed.counts().await == (300, 0)).await;
    disk.release();
    for ask in asks {
        ask.await.unwrap();
    }
    assert_eq!(disk.records(), 300);
    assert!(disk.with(|d| d.appends) <= 3, "{}", disk.with(|d| d.appends));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_the_actor() {
    let disk = Arc::new(Disk::default());
    let bed = Bed::on(&disk).await;
    for nonce in [0, 1, 2, 5] {
        bed.submit(&tx(1, nonce)).await.unwrap();
    }
    bed.submit(&tip_tx(2, 0, 7)).await.unwrap();
    let before = (bed.best().await, bed.counts().await);
    assert_eq!(before.1, (4, 1));
    for _ in 0..3 {
        bed.kill().await;
        assert_eq!((bed.best().await, bed.counts().await), before);
    }
    assert_eq!(bed.pool.ask(NonceOf { sender: address(1) }).await.unwrap(), Some(3));
    let pooled = bed.pool.ask(GetPooled { hash: tx(1, 5).hash() }).await.unwrap().unwrap();
    assert_eq!(pooled.sender(), address(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_before_the_write_is_told_and_a_retry_succeeds() {
    let disk = Arc::new(Disk::default());
    let bed = Bed::on(&disk).await;
    disk.hold();
    let ask = |submit: Submit, retry: bool| {
        let pool = bed.pool.clone();
        tokio::spawn(async move {
            if retry { pool.ask_retry(submit, PATIENCE).await } else { pool.ask_within(submit, PATIENCE).await }
        })
    };
    let (once, retried) = (ask(Submit::new(tx(1, 0)), false), ask(Submit::new(tx(2, 0)), true));
    bed.until("both in the pool", async |bed| bed.counts().await == (2, 0)).await;
    bed.kill().await;
    assert!(matches!(once.await.unwrap(), Err(AskError::Died { .. })));
    assert!(bed.pool.ask(GetPooled { hash: tx(1, 0).hash() }).await.unwrap().is_none(), "nobody was promised it");
    disk.release();
    assert_eq!(retried.await.unwrap().unwrap(), Ok(tx(2, 0).hash()));
    bed.kill().await;
    assert_eq!(bed.best().await, [(address(2), 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_ends_the_actor_and_the_next_one_is_what_the_disk_says() {
    let disk = Arc::new(Disk::default());
    let bed = Bed::on(&disk).await;
    bed.submit(&tx(1, 0)).await.unwrap();
    disk.with(|d| d.fail = true);
    let died = bed.pool.ask(Submit::new(tx(2, 0))).await.unwrap_err();
    assert!(died.to_string().contains("scripted"), "{died}");
    bed.until("back", async |bed| bed.pool.ask(GetStatus).await.is_ok_and(|status| status.pending == 1)).await;
    disk.with(|d| d.fail = true);
    let submit = Submit::new(tx(3, 0));
    assert_eq!(bed.pool.ask_retry(submit, PATIENCE).await.unwrap(), Ok(tx(3, 0).hash()));
    assert_eq!(bed.counts().await, (2, 0));
}

/// Blocks are progress, so that the watchdog sees nothing wrong: the actor itself finds the write that does not end.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_hangs_ends_the_actor_although_blocks_go_on() {
    let disk = Arc::new(Disk::default());
    let settings = Settings { write_deadline: Duration::from_millis(100), ..settings() };
    let mut bed = Bed::start(disk.open(), Chain::new(), settings).await;
    disk.hold();
    let pool = bed.pool.clone();
    let asked = tokio::spawn(async move { pool.ask_within(Submit::new(tx(1, 0)), PATIENCE).await });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !asked.is_finished() {
        assert!(tokio::time::Instant::now() < deadline, "nobody notices");
        let block = bed.chain.block(&[]);
        let _ = bed.pool.ask(block).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = asked.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("a write has not ended"), "{error}");
    // The next instance works with what is on disk; the write of the old one is refused when it goes on.
    bed.supervisor.ready().await.unwrap();
    disk.release();
    bed.submit(&tx(2, 0)).await.unwrap();
    assert_eq!(bed.best().await, [(address(2), 0)]);
    assert_eq!(disk.records(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_delivery_is_answered_and_a_second_submission_refused() {
    let disk = Arc::new(Disk::default());
    let mut bed = Bed::on(&disk).await;
    let (first, hash) = (Submit::new(tx(1, 0)), tx(1, 0).hash());
    for _ in 0..2 {
        assert_eq!(bed.pool.ask(first.clone()).await.unwrap(), Ok(hash));
    }
    assert!(matches!(bed.submit(&tx(1, 0)).await, Err(PoolError::AlreadyKnown(_))));
    // After a restart the pool does not know who had an answer: the first to ask gets one.
    bed.kill().await;
    assert_eq!(bed.pool.ask(first.clone()).await.unwrap(), Ok(hash));
    assert!(matches!(bed.submit(&tx(1, 0)).await, Err(PoolError::AlreadyKnown(_))));
    // In a block by now.
    let block = bed.chain.block(&[tx(1, 0)]);
    bed.pool.ask(block).await.unwrap();
    assert_eq!(bed.pool.ask(first.clone()).await.unwrap(), Ok(hash));
    assert!(matches!(bed.submit(&tx(1, 0)).await, Err(PoolError::NonceTooLow { .. })));
    bed.kill().await;
    assert_eq!(bed.pool.ask(first).await.unwrap(), Ok(hash));
    assert_eq!(disk.records(), 1, "written once");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_evicted_and_expired_ones_stay_away() {
    let disk = Arc::new(Disk::default());
    let mut settings = settings();
    settings.pool.max_slots = 3;
    settings.pool.waiting_lifetime = 1;
    let bed = Bed::start(disk.open(), Chain::new(), settings).await;
    bed.submit(&tx(1, 0)).await.unwrap();
    bed.submit(&tip_tx(1, 0, 20)).await.unwrap();
    bed.submit(&tip_tx(2, 0, 2)).await.unwrap();
    bed.submit(&tip_tx(3, 9, 3)).await.unwrap();
    bed.submit(&tip_tx(4, 0, 3)).await.unwrap();
    assert!(bed.pool.ask(GetPooled { hash: tip_tx(3, 9, 3).hash() }).await.unwrap().is_none(), "evicted");
    bed.kill().await;
    assert_eq!(bed.best().await, [(address(1), 0), (address(4), 0), (address(2), 0)]);
    assert!(bed.pool.ask(GetPooled { hash: tx(1, 0).hash() }).await.unwrap().is_none());

    // Room for one that waits, until it expires.
    let block = {
        let mut bed = bed;
        let block = bed.chain.block(&[tip_tx(1, 0, 20)]);
        (bed, block)
    };
    let (bed, block) = block;
    bed.pool.ask(block).await.unwrap();
    bed.submit(&tip_tx(5, 4, 3)).await.unwrap();
    let records = disk.records();
    bed.until("expired", async |bed| bed.counts().await == (2, 0)).await;
    bed.until("written", async |_| disk.records() == records + 1).await;
    bed.kill().await;
    assert_eq!(bed.counts().await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_takes_its_transactions_out_of_the_journal_only_when_it_is_durable() {
    let disk = Arc::new(Disk::default());
    let mut settings = settings();
    settings.compact_bytes = 0;
    let mut bed = Bed::start(disk.open(), Chain::new(), settings.clone()).await;
    for nonce in 0..40 {
        bed.submit(&tx(1, nonce)).await.unwrap();
    }
    let txs: Vec<_> = (0..39).map(|nonce| tx(1, nonce)).collect();
    let block = bed.chain.block(&txs);
    bed.pool.ask(block).await.unwrap();
    assert_eq!(bed.counts().await, (1, 0));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((disk.records(), disk.with(|d| d.rewrites)), (40, 0), "the block may be lost");

    // The power fails and the block with it: its transactions are there.
    bed.die().await;
    let mut bed = Bed::start(disk.open(), Chain::new(), settings.clone()).await;
    assert_eq!(bed.counts().await, (40, 0));

    // The same block again; the actor alone dies. The next one knows that the block is not durable yet.
    let block = bed.chain.block(&txs);
    bed.pool.ask(block).await.unwrap();
    bed.kill().await;
    assert_eq!(bed.counts().await, (1, 0));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(disk.records(), 40);

    // Durable now.
    bed.chain.durable = 1;
    bed.chain.publish();
    let told = HeadChanged {
        from: Chain::hash(0),
        view: bed.chain.view(),
        touched: duskevm_pool::Touched::Accounts(vec![]),
        mined: Arc::new([]),
        reorged_out: Arc::new([]),
    };
    bed.pool.ask(told).await.unwrap();
    bed.until("compacted", async |_| disk.records() == 1).await;
    let mut chain = bed.die().await;
    chain.publish();
    chain.nonce(1, 39);
    let bed = Bed::start(disk.open(), chain, settings).await;
    assert_eq!(bed.best().await, [(address(1), 39)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_bound_it_says_busy() {
    let disk = Arc::new(Disk::default());
    let settings = Settings { waiting: 5, ..settings() };
    let bed = Bed::start(disk.open(), Chain::new(), settings).await;
    disk.hold();
    let asks: Vec<_> = (0..20)
        .map(|n| {
            let pool = bed.pool.clone();
            tokio::spawn(async move { pool.ask_within(Submit::new(tx(n, 0)), PATIENCE).await.unwrap() })
        })
        .collect();
    // One is with the writer, five wait.
    bed.until("refusals", async |_| asks.iter().filter(|ask| ask.is_finished()).count() == 14).await;
    disk.release();
    let mut busy = 0;
    for ask in asks {
        match ask.await.unwrap() {
            Ok(_) => {}
            Err(error) => {
                assert!(error.to_string().starts_with("txpool is busy"), "{error}");
                busy += 1;
            }
        }
    }
    assert_eq!(busy, 14);
    assert_eq!(bed.counts().await, (6, 0));
    bed.submit(&tx(100, 0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_writes_what_waits() {
    let disk = Arc::new(Disk::default());
    let bed = Bed::on(&disk).await;
    disk.hold();
    let asks: Vec<_> = (0..10)
        .map(|n| {
            let pool = bed.pool.clone();
            tokio::spawn(async move { pool.ask(Submit::new(tx(n, 0))).await })
        })
        .collect();
    bed.until("in the pool", async |bed| bed.counts().await == (10, 0)).await;
    let supervisor = bed.supervisor.clone();
    let stopping = tokio::spawn(async move { supervisor.shutdown(Duration::from_secs(10)).await });
    let is_stopping = async |bed: &Bed| bed.supervisor.actors()[0].state == ActorState::Stopping;
    bed.until("it is told to stop", is_stopping).await;
    disk.release();
    stopping.await.unwrap();
    for ask in asks {
        assert!(ask.await.unwrap().unwrap().is_ok());
    }
    assert_eq!(disk.records(), 10);
}

fn open(disk: &Arc<Disk>, chain: &Chain) -> Result<TxPool, TxPoolError> {
    let (pending, _) = broadcast::channel(1);
    let wiring = Wiring { heads: chain.feed.subscribe(), pending };
    TxPool::open(settings(), wiring, &*disk.open(), &StartContext::detached("txpool"))
}

#[test]
fn a_record_of_another_version_is_refused_and_left_alone() {
    for bad in [vec![], vec![9, 0, 0], vec![1, 77], vec![1, 0], vec![1, 1, 0, 0]] {
        let disk = Arc::new(Disk::default());
        disk.with(|d| d.records.push(bad.clone()));
        let error = open(&disk, &Chain::new()).unwrap_err();
        assert_eq!(error.reaction(), Reaction::Abort);
        assert!(error.to_string().contains("record 0"), "{error}");
        assert_eq!(disk.with(|d| d.records.clone()), [bad]);
    }
}

#[test]
fn without_a_head_it_does_not_start() {
    let mut chain = Chain::new();
    chain.feed = watch::Sender::new(None);
    let (pending, _) = broadcast::channel(1);
    let wiring = Wiring { heads: chain.feed.subscribe(), pending };
    let settings = Settings { head_patience: Duration::from_millis(30), ..settings() };
    let disk = Arc::new(Disk::default());
    let error = TxPool::open(settings, wiring, &*disk.open(), &StartContext::detached("txpool")).unwrap_err();
    assert_eq!(error.reaction(), Reaction::RestartSelf);
    assert!(matches!(error, TxPoolError::NoHead(_)));
}
