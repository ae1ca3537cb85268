//! The disk fails at some operation: a typed error that asks for a reopen, and recovery.

#![allow(clippy::unwrap_used)]

mod common;

use alloy_primitives::B256;
use common::{Chain, FENCE, Op};
use duskevm_fence::Fence;
use duskevm_store::{
    Identity,
    db::{Batch, ColumnKind, Db, DbError, DbLimits, Schema},
    journal::{Journal, JournalError, JournalLimits},
    l2::{L2Error, L2Settings},
};
use fail::FailScenario;
use tempfile::TempDir;

fn content(number: u64) -> Vec<(u8, Op)> {
    vec![(
        (number % 8) as u8,
        Op::Set { nonce: number, balance: number, code: None, slots: vec![((number % 6) as u8, number % 4)] },
    )]
}

/// Commits until the disk fails, then recovers. Returns how many blocks were lost.
fn fail_and_recover(chain: &mut Chain, most: u64) -> u64 {
    let reader = chain.store.reader();
    let held = reader.latest_state().unwrap();
    let held_state = chain.head().state.clone();
    let mut durable = 0;
    let mut failed = None;
    for _ in 0..most {
        let number = chain.head().commit.header.number + 1;
        // The tries read too.
        let next = chain.try_next(&content(number));
        let result = next.and_then(|block| {
            chain.store.commit_block(&FENCE, block.commit.clone())?;
            chain.blocks.push(block);
            // Some go to the disk alone, some together.
            if number.is_multiple_of(3) { chain.store.flush() } else { Ok(()) }
        });
        durable = chain.store.durable_number().unwrap();
        if let Err(error) = result {
            failed = Some(error);
            break;
        }
    }
    let error = failed.unwrap_or_else(|| chain.store.flush().expect_err("the fault must show"));
    assert!(error.needs_reopen(), "{error}");
    assert!(error.to_string().contains("reopen"), "{error}");
    let durable = durable.max(chain.store.durable_number().unwrap());
    // Nothing works until then.
    assert!(chain.store.set_heads(&FENCE, chain.head().reference(), chain.blocks[0].reference()).is_err());
    let known = chain.head().commit.header.number;
    assert!(chain.store.reader().transaction(&chain.head().commit.hash).is_err());
    let found = chain.store.reopen(&FENCE).unwrap().map(|block| block.number);
    assert!(found <= Some(known), "{found:?} is there, {known} was the last one: {error}");
    chain.forget_lost();
    let head = chain.head().commit.header.number;
    assert!(head >= durable, "{durable} was durable, {head} is there");
    chain.verify_all();
    if held.block().number <= head {
        match common::assert_state(&held, &held_state) {
            Ok(()) => {}
            Err(L2Error::StatePruned { block, oldest }) => {
                assert!(block.number < oldest && oldest + 3 <= head.max(known))
            }
            Err(error) => panic!("{error}"),
        }
    }
    chain.commit(&content(head + 1));
    chain.store.flush().unwrap();
    chain.verify_all();
    known - head
}

#[test]
fn every_step_may_fail() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let settings = L2Settings { history_blocks: Some(3), ..L2Settings::default() };
    let mut chain = Chain::new(directory.path(), settings, &content(0));
    chain.store.flush().unwrap();
    for point in ["store-db-commit", "store-db-process", "store-db-flush", "store-db-enact", "store-db-clean"] {
        for skip in [0, 1, 4] {
            let before = chain.head().reference();
            chain.store.set_heads(&FENCE, before, before).unwrap();
            chain.store.flush().unwrap();
            fail::cfg(point, &format!("{skip}*off->1*return(no space left)->off")).unwrap();
            fail_and_recover(&mut chain, 90);
            fail::remove(point);
        }
    }
    scenario.teardown();
}

/// parity-db's own switch: every file operation of the writing thread fails from the n-th on.
#[test]
fn every_file_operation_may_fail() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let settings = L2Settings { history_blocks: Some(3), ..L2Settings::default() };
    let mut chain = Chain::new(directory.path(), settings, &content(0));
    chain.store.flush().unwrap();
    let mut lost = 0;
    for operations in (0..120).chain((120..1500).step_by(61)) {
        fail::cfg("store-db-io", &format!("1*return({operations})->off")).unwrap();
        lost += fail_and_recover(&mut chain, 90);
        fail::remove("store-db-io");
    }
    assert!(lost > 0, "at least once something that was not durable must have been lost");
    scenario.teardown();
}

#[test]
fn a_journal_whose_write_failed_must_be_reopened() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let limits = JournalLimits { record_bytes: 1000, segment_bytes: 400 };
    let (mut journal, _) = Journal::open(directory.path(), &FENCE, "faults", limits, |_, _| ()).unwrap();
    let mut acknowledged: Vec<Vec<u8>> = Vec::new();
    let faults = ["store-journal-write", "store-journal-sync", "store-journal-segment"];
    for round in 0..60u8 {
        let record = vec![round; usize::from(round)];
        let fault = faults[usize::from(round) % 3];
        if round % 4 == 3 {
            fail::cfg(fault, &format!("1*return({})->off", round % 32)).unwrap();
        }
        match journal.append(&fence, &record) {
            Ok(_) => acknowledged.push(record),
            Err(JournalError::Io { .. }) => {
                assert!(matches!(journal.append(&fence, b"more"), Err(JournalError::ReopenNeeded { .. })));
                let mut found = Vec::new();
                journal.reopen(&fence, |_, record| found.push(record.to_vec())).unwrap();
                // The record that failed may be there or not.
                assert!(found.len() - acknowledged.len() <= 1);
                assert_eq!(found[..acknowledged.len()], acknowledged);
                acknowledged = found;
            }
            Err(error) => panic!("{error}"),
        }
        fail::remove(fault);
    }
    drop(journal);
    let mut found = Vec::new();
    Journal::open(directory.path(), &FENCE, "faults", limits, |_, record| found.push(record.to_vec())).unwrap();
    assert_eq!(found, acknowledged);
    assert!(found.len() >= 45);
    scenario.teardown();
}

/// Two users of one database see the same failure. What the first one commits after reopening is not thrown away by the
/// second, and a lost commit is never taken for the later one that got its number.
#[test]
fn a_lost_commit_stays_lost_and_only_one_reopens() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let schema = Schema { layer: "test", version: 1, columns: &[ColumnKind::Plain] };
    let identity = Identity { chain_id: 1, genesis: B256::ZERO };
    let db = Db::open(&directory.path().join("db"), schema, &identity, DbLimits::default()).unwrap();
    let commit = |key: &[u8]| {
        let mut batch = Batch::new();
        batch.set(0, key, b"value");
        db.commit(batch).unwrap()
    };
    let kept = commit(b"kept");
    db.wait_durable(kept).unwrap();
    fail::cfg("store-db-process", "return").unwrap();
    let lost = commit(b"lost");
    let seen = [(); 2].map(|()| db.wait_durable(lost).unwrap_err().ended_epoch().unwrap());
    fail::remove("store-db-process");

    db.reopen(seen[0]).unwrap();
    // Nothing of this is on disk when the other one comes.
    fail::cfg("store-db-process", "pause").unwrap();
    let next = commit(b"next");
    assert_eq!((next.number, db.is_durable(next)), (lost.number, false));
    db.reopen(seen[1]).unwrap();
    assert_eq!(db.get(0, b"next").unwrap(), Some(b"value".to_vec()));
    fail::remove("store-db-process");
    db.wait_durable(next).unwrap();
    assert!(db.is_durable(next) && !db.is_durable(lost));
    assert!(matches!(db.wait_durable(lost), Err(DbError::Reopened { .. })));
    assert!(matches!(db.wait_durable(kept), Err(DbError::Reopened { .. })), "nobody can know");
    assert_eq!(db.get(0, b"lost").unwrap(), None);
    scenario.teardown();
}

/// A full disk refuses commits, with words that help, and nothing else; when there is room again they go on.
#[test]
fn a_full_disk_refuses_commits_until_there_is_room() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &content(0));
    let reserve = L2Settings::default().db.reserve_bytes;
    fail::cfg("store-db-free", &format!("return({})", reserve - 1)).unwrap();
    // It is not asked at every commit.
    let (mut taken, mut refused) = (0, None);
    while refused.is_none() && taken < 200 {
        let number = chain.head().commit.header.number + 1;
        let block = chain.next(&content(number));
        match chain.store.commit_block(&FENCE, block.commit.clone()) {
            Ok(()) => chain.blocks.push(block),
            Err(error) => refused = Some((error, block)),
        }
        taken += 1;
    }
    let (error, block) = refused.unwrap();
    assert!(matches!(&error, L2Error::Db(DbError::DiskFull { free, .. }) if *free == reserve - 1), "{error}");
    assert!(!error.needs_reopen() && error.to_string().contains("511 MiB are free"), "{error}");
    chain.store.flush().unwrap();
    assert_eq!(chain.store.durable_head(), Some(chain.head().reference()));
    chain.verify_all();
    // Now at every commit.
    for _ in 0..3 {
        let result = chain.store.commit_block(&FENCE, block.commit.clone());
        assert!(matches!(result, Err(L2Error::Db(DbError::DiskFull { .. }))));
    }
    let target = chain.blocks[1].commit.hash;
    assert!(matches!(chain.store.rewind_to(&FENCE, target), Err(L2Error::Db(DbError::DiskFull { .. }))));
    chain.verify_all();
    fail::cfg("store-db-free", &format!("return({reserve})")).unwrap();
    chain.store.commit_block(&FENCE, block.commit.clone()).unwrap();
    chain.blocks.push(block);
    chain.verify_all();
    scenario.teardown();
}

/// What was read from logs after a crash is in the tables, and these are on disk, before it counts as durable.
#[test]
fn replayed_logs_are_on_disk_at_open() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &content(0));
    chain.commit(&content(1));
    chain.store.flush().unwrap();
    chain.store.crash();
    let logged = || -> u64 {
        let length = |(path, raw): (std::path::PathBuf, Vec<u8>)| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.starts_with("log") { raw.len() as u64 } else { 0 }
        };
        common::files(directory.path()).into_iter().map(length).sum()
    };
    assert!(logged() > 0);
    chain.store.reopen(&FENCE).unwrap();
    assert_eq!(logged(), 0);
    chain.verify_all();
    scenario.teardown();
}

/// Reading the head fails once after the files were opened again: that is no empty database.
#[test]
fn a_head_that_could_not_be_read_is_read_again() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &content(0));
    chain.commit(&content(1));
    chain.store.flush().unwrap();
    chain.store.crash();
    fail::cfg("store-l2-load", "1*return(bad sector)->off").unwrap();
    assert!(chain.store.reopen(&FENCE).is_err());
    for error in [chain.store.reader().heads().unwrap_err(), chain.store.reader().latest_state().unwrap_err()] {
        assert!(matches!(error, L2Error::HeadUnknown) && error.needs_reopen(), "{error}");
    }
    assert!(!chain.store.is_empty());
    let genesis = chain.blocks[0].commit.clone();
    assert!(matches!(chain.store.init_genesis(&FENCE, genesis), Err(L2Error::HeadUnknown)));
    assert_eq!(chain.store.reopen(&FENCE).unwrap(), Some(chain.head().reference()));
    chain.commit(&content(2));
    chain.verify_all();
    scenario.teardown();
}

/// Blocks that a rewind took out are not reported as durable, and what replaces them is not before it is.
#[test]
fn the_durable_head_is_in_the_chain() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &content(0));
    for number in 1..4 {
        chain.commit(&content(number));
    }
    chain.store.flush().unwrap();
    assert_eq!(chain.store.durable_head(), Some(chain.blocks[3].reference()));
    // From here on nothing reaches the disk.
    fail::cfg("store-db-process", "pause").unwrap();
    chain.commit(&content(4));
    chain.store.rewind_to(&FENCE, chain.blocks[1].commit.hash).unwrap();
    chain.blocks.truncate(2);
    for number in [12, 13] {
        assert_eq!(chain.store.durable_head(), Some(chain.blocks[1].reference()));
        chain.commit(&content(number));
    }
    assert_eq!(chain.store.durable_head(), Some(chain.blocks[1].reference()));
    fail::remove("store-db-process");
    chain.store.flush().unwrap();
    assert_eq!(chain.store.durable_head(), Some(chain.head().reference()));
    chain.verify_all();
    scenario.teardown();
}

/// A snapshot of a block that was lost says so.
#[test]
fn snapshots_of_lost_blocks() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let mut chain = Chain::new(directory.path(), L2Settings::default(), &content(0));
    chain.store.flush().unwrap();
    fail::cfg("store-db-process", "return").unwrap();
    chain.commit(&content(1));
    let lost = chain.store.reader().state_at(&chain.head().commit.hash).unwrap();
    let error = chain.store.flush().unwrap_err();
    assert!(matches!(&error, L2Error::Db(DbError::ReopenNeeded { cause, .. }) if cause.contains("injected")));
    assert!(lost.account(&common::address(5)).unwrap_err().needs_reopen());
    fail::remove("store-db-process");
    chain.store.reopen(&FENCE).unwrap();
    assert!(matches!(lost.account(&common::address(1)), Err(L2Error::Reorged { .. })));
    chain.forget_lost();
    assert_eq!(chain.blocks.len(), 1);
    chain.commit(&content(2));
    assert!(matches!(lost.account(&common::address(1)), Err(L2Error::Reorged { .. })));
    chain.verify_all();
    scenario.teardown();
}
