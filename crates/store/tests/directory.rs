//! Directories that are not a good database of this chain are refused, and stay as they are to the last byte.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Chain, FENCE, Op, files};
use duskevm_store::{
    OpenError,
    l2::{L2Error, L2Settings, L2Store},
};
use std::{fs, path::Path};
use tempfile::TempDir;

fn set(balance: u64) -> Op {
    Op::Set { nonce: 0, balance, code: Some(3), slots: vec![(1, balance)] }
}

/// A closed database of a few blocks, and the model of its chain.
fn database(path: &Path) -> Vec<common::Block> {
    let mut chain = Chain::new(path, L2Settings::default(), &[(0, set(1))]);
    for balance in 2..9 {
        chain.commit(&[(0, set(balance)), (balance as u8 % 8, set(balance))]);
    }
    chain.store.close().unwrap();
    std::mem::take(&mut chain.blocks)
}

fn open(path: &Path, blocks: &[common::Block]) -> Result<L2Store, L2Error> {
    L2Store::open(path, &common::identity(&blocks[0]), L2Settings::default())
}

/// Opening fails, the error names the directory, nothing has changed.
fn refused(path: &Path, blocks: &[common::Block]) -> OpenError {
    let before = files(path);
    let error = match open(path, blocks) {
        Err(L2Error::Open(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened"),
    };
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(files(path) == before, "{error}: but something was written");
    error
}

#[test]
fn a_closed_database_opens_again() {
    let directory = TempDir::new().unwrap();
    let blocks = database(directory.path());
    let store = open(directory.path(), &blocks).unwrap();
    assert_eq!(store.reader().heads().unwrap().latest, blocks.last().unwrap().reference());
    assert_eq!(store.durable_head(), Some(blocks.last().unwrap().reference()));
}

#[test]
fn a_directory_of_something_else() {
    let other = TempDir::new().unwrap();
    let blocks = database(other.path());
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("thesis.tex"), "\\begin").unwrap();
    assert!(matches!(refused(directory.path(), &blocks), OpenError::Foreign { found, .. } if found == "thesis.tex"));
    // A file in its place.
    let file = other.path().join("lock");
    assert!(matches!(open(&file, &blocks), Err(L2Error::Open(OpenError::Io { .. }))));
}

#[test]
fn the_database_of_another_chain() {
    let directory = TempDir::new().unwrap();
    let blocks = database(directory.path());
    let mut other = common::identity(&blocks[0]);
    other.chain_id += 1;
    let before = files(directory.path());
    let error = L2Store::open(directory.path(), &other, L2Settings::default()).unwrap_err();
    assert!(matches!(&error, L2Error::Open(OpenError::WrongChain { field: "chain id", .. })), "{error}");
    assert!(error.to_string().contains("31310") && error.to_string().contains("31311"));
    let stranger = [common::genesis(&[])];
    assert!(matches!(refused(directory.path(), &stranger), OpenError::WrongChain { field: "genesis", .. }));
    assert!(files(directory.path()) == before);
}

#[test]
fn a_database_that_is_in_use() {
    let directory = TempDir::new().unwrap();
    let blocks = database(directory.path());
    let store = open(directory.path(), &blocks).unwrap();
    assert!(matches!(refused(directory.path(), &blocks), OpenError::Locked { .. }));
    drop(store);
    open(directory.path(), &blocks).unwrap();
}

#[test]
fn a_database_of_a_later_program() {
    let directory = TempDir::new().unwrap();
    let blocks = database(directory.path());
    let path = directory.path().join("duskevm.meta");
    let text = fs::read_to_string(&path).unwrap().replace("version=2", "version=3");
    // Whatever it says besides: its CRC is not even looked at.
    fs::write(&path, format!("{text}compression=better\n")).unwrap();
    assert!(matches!(refused(directory.path(), &blocks), OpenError::Version { found: 3, supported: 2, .. }));
}

#[test]
fn any_damage_of_the_small_files() {
    let directory = TempDir::new().unwrap();
    let blocks = database(directory.path());
    for name in ["duskevm.meta", "metadata"] {
        let path = directory.path().join(name);
        let good = fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut raw = good.clone();
            raw[position] ^= 1 << (position % 8);
            fs::write(&path, &raw).unwrap();
            refused(directory.path(), &blocks);
        }
        for length in [0, 5, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            refused(directory.path(), &blocks);
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(refused(directory.path(), &blocks), OpenError::Damaged { .. }));
        fs::write(&path, &good).unwrap();
    }
    open(directory.path(), &blocks).unwrap();
}

#[test]
fn tables_and_indices_that_were_cut_off() {
    let directory = TempDir::new().unwrap();
    let blocks = database(directory.path());
    let names: Vec<_> = files(directory.path()).into_keys().collect();
    let mut tried = 0;
    for path in names {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("table_") || name.starts_with("index_") {
            let good = fs::read(&path).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(good.len() as u64 / 3).unwrap();
            let error = refused(directory.path(), &blocks);
            assert!(error.to_string().contains(&name), "{error}");
            fs::write(&path, &good).unwrap();
            tried += 1;
        }
    }
    assert!(tried > 5);
    open(directory.path(), &blocks).unwrap();
}

/// The newest block or its state is not there: parity-db does not notice, the store does.
#[test]
fn a_table_that_lost_its_content() {
    let original = TempDir::new().unwrap();
    let blocks = database(original.path());
    let (mut refused, mut found) = (0, 0);
    for path in files(original.path()).into_keys() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("table_") {
            continue;
        }
        let directory = TempDir::new().unwrap();
        for path in files(original.path()).into_keys() {
            fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
        }
        let length = fs::metadata(&path).unwrap().len() as usize;
        fs::write(directory.path().join(&name), vec![0; length]).unwrap();
        match open(directory.path(), &blocks).and_then(|store| store.check(|_| ())) {
            Ok(report) => found += usize::from(!report.problems.is_empty()),
            Err(error) => {
                assert!(error.to_string().contains("damaged") || matches!(error, L2Error::Empty), "{name}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && found > 0, "{refused} {found}");
}

/// The process died while the database was being made: nothing was in it yet, so it is made again.
#[test]
fn a_half_made_database_is_made_again() {
    let directory = TempDir::new().unwrap();
    let blocks = database(directory.path());
    fs::rename(directory.path().join("duskevm.meta"), directory.path().join("duskevm.creating")).unwrap();
    let store = open(directory.path(), &blocks).unwrap();
    assert!(store.is_empty());
    store.init_genesis(&FENCE, blocks[0].commit.clone()).unwrap();
    assert!(!directory.path().join("duskevm.creating").exists());
    // But only what can be a database's is deleted.
    drop(store);
    fs::rename(directory.path().join("duskevm.meta"), directory.path().join("duskevm.creating")).unwrap();
    fs::write(directory.path().join("letter"), "dear").unwrap();
    assert!(matches!(refused(directory.path(), &blocks), OpenError::Damaged { .. } | OpenError::Foreign { .. }));
}
