//! The same promises on real files.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use common::*;
use duskevm_messages::txpool::*;
use duskevm_supervision::{ActorError, Reaction, StartContext};
use duskevm_txpool::{TxPool, TxPoolError, Wiring, journal_in};
use tokio::sync::broadcast;

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn open(directory: &Path) -> Result<TxPool, TxPoolError> {
    let chain = Chain::new();
    let (pending, _) = broadcast::channel(1);
    let wiring = Wiring { heads: chain.feed.subscribe(), pending };
    TxPool::open(settings(), wiring, &*journal_in(directory), &StartContext::detached("txpool"))
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_actor_and_process() {
    let directory = tempfile::tempdir().unwrap();
    let bed = Bed::start(journal_in(directory.path()), Chain::new(), settings()).await;
    for nonce in 0..50 {
        bed.submit(&tx(1, nonce)).await.unwrap();
    }
    bed.submit(&tip_tx(1, 49, 9)).await.unwrap();
    bed.kill().await;
    assert_eq!(bed.counts().await, (50, 0));
    bed.submit(&tx(2, 0)).await.unwrap();
    let before = bed.best().await;
    let chain = bed.die().await;
    let bed = Bed::start(journal_in(directory.path()), chain, settings()).await;
    assert_eq!(bed.best().await, before);
    let replaced = bed.pool.ask(GetPooled { hash: tx(1, 49).hash() }).await.unwrap();
    assert!(replaced.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_costs_only_what_was_not_answered() {
    let directory = tempfile::tempdir().unwrap();
    let bed = Bed::start(journal_in(directory.path()), Chain::new(), settings()).await;
    for nonce in 0..3 {
        bed.submit(&tx(1, nonce)).await.unwrap();
    }
    let whole = fs::metadata(&files(directory.path())[0]).unwrap().len();
    bed.submit(&tx(1, 3)).await.unwrap();
    bed.die().await;
    // The last write, as if the power had failed in the midst of it.
    let file = files(directory.path()).remove(0);
    let full = fs::metadata(&file).unwrap().len();
    for length in [full - 1, whole + 30, whole + 1] {
        OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap();
        let bed = Bed::start(journal_in(directory.path()), Chain::new(), settings()).await;
        assert_eq!(bed.counts().await, (3, 0), "cut at {length}");
        bed.submit(&tx(1, 3)).await.unwrap();
        bed.die().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_the_end_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let bed = Bed::start(journal_in(directory.path()), Chain::new(), settings()).await;
    for nonce in 0..3 {
        bed.submit(&tx(1, nonce)).await.unwrap();
    }
    bed.die().await;
    let path = files(directory.path()).remove(0);
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(100)).unwrap();
    file.write_all(&[0xff; 8]).unwrap();
    drop(file);
    let before = fs::read(&path).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert_eq!(error.reaction(), Reaction::Abort);
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_what_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.compact_bytes = 4096;
    let mut bed = Bed::start(journal_in(directory.path()), Chain::new(), settings.clone()).await;
    let bytes = || files(directory.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
    for nonce in 0..100 {
        bed.submit(&tx(1, nonce)).await.unwrap();
    }
    let large = bytes();
    let txs: Vec<_> = (0..95).map(|nonce| tx(1, nonce)).collect();
    let first = bed.chain.block(&txs);
    bed.pool.ask(first).await.unwrap();
    assert!(bytes() >= large, "nothing is durable yet");
    // The second block is not durable, but the first is from here on.
    bed.chain.durable = 1;
    let second = bed.chain.block(&[tx(1, 95)]);
    bed.pool.ask(second).await.unwrap();
    bed.until("compacted", async |_| bytes() < large / 4).await;
    bed.submit(&tx(1, 100)).await.unwrap();
    // The power fails and takes the second block along.
    let mut chain = bed.die().await;
    chain.nonce(1, 95);
    chain.publish();
    let bed = Bed::start(journal_in(directory.path()), chain, settings).await;
    assert_eq!(bed.best().await, (95..101).map(|nonce| (address(1), nonce)).collect::<Vec<_>>());
}
