//! The process is killed, the disk fails: what is found afterwards is a whole chain up to some block, and nothing that
//! was reported as durable is missing.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Block, Chain, FENCE, Op};
use duskevm_store::{
    db::OpenError,
    l2::{L2Error, L2Settings, L2Store},
};
use duskevm_trie::{EMPTY_ROOT_HASH, StateLimits, StateTrie};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

const DIRECTORY: &str = "DUSKEVM_STORE_CRASH_TEST";

fn settings() -> L2Settings {
    L2Settings { history_blocks: Some(5), ..L2Settings::default() }
}

/// The chain is the same in every run: a block's content follows from its number.
fn content(number: u64) -> Vec<(u8, Op)> {
    let slots = |seed: u64| (0..6u8).filter(|slot| seed >> slot & 1 == 1).map(|slot| (slot, seed % 5)).collect();
    let seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut ops =
        vec![((seed % 8) as u8, Op::Set { nonce: number, balance: seed, code: None, slots: slots(seed >> 8) })];
    match seed % 7 {
        0 => ops.push((((seed + 1) % 8) as u8, Op::Destroy)),
        1 => ops.push((((seed + 1) % 8) as u8, Op::Remake { balance: number, slots: slots(seed >> 16) })),
        _ => {}
    }
    ops
}

fn finalize(chain: &Chain) -> Result<(), L2Error> {
    let number = chain.head().commit.header.number as usize;
    let [safe, finalized] = [4, 8].map(|back| chain.blocks[number.saturating_sub(back)].reference());
    chain.store.set_heads(&FENCE, safe, finalized)
}

/// The chain up to `number`, made in memory.
fn model(number: u64) -> Vec<Block> {
    let mut nodes = HashMap::new();
    let mut state = StateTrie::new(EMPTY_ROOT_HASH, StateLimits::default());
    let mut blocks: Vec<Block> = Vec::new();
    for number in 0..=number {
        let block = common::make_block(blocks.last(), &content(number), number, |_, changes| {
            let outcome = state.apply(&nodes, &changes.hashed()).unwrap();
            nodes.extend(outcome.changes.inserted.iter().cloned());
            outcome
        });
        blocks.push(block);
    }
    blocks
}

fn reopened(path: &Path, all: &mut Vec<Block>) -> Chain {
    let begin = std::time::Instant::now();
    let store = loop {
        match L2Store::open(path, &common::identity(&all[0]), settings()) {
            Ok(store) => break store,
            // A process that another test is just starting has the lock until its program begins.
            Err(L2Error::Open(OpenError::Locked { .. })) if begin.elapsed().as_secs() < 10 => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
    };
    let head = if store.is_empty() { 0 } else { store.reader().heads().unwrap().latest.number };
    if head as usize >= all.len() {
        *all = model(head + 200);
    }
    if store.is_empty() {
        store.init_genesis(&FENCE, all[0].commit.clone()).unwrap();
    }
    let tries = common::tries(&store, all[head as usize].commit.header.state_root);
    Chain::resumed(store, tries, all[..=head as usize].to_vec(), path, settings())
}

/// Not a test by itself: the process that is killed. Writes blocks and says which of them are durable.
#[test]
fn child() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let mut chain = reopened(Path::new(&path), &mut model(500));
    loop {
        let number = chain.head().commit.header.number + 1;
        chain.commit(&content(number));
        if number.is_multiple_of(5) {
            finalize(&chain).unwrap();
        }
        if number.is_multiple_of(23) {
            // Out and in again.
            let target = chain.blocks[number as usize - 3].commit.hash;
            chain.store.rewind_to(&FENCE, target).unwrap();
            chain.blocks.truncate(number as usize - 2);
            chain.reset_salt();
            for number in number - 2..=number {
                chain.commit(&content(number));
            }
        }
        if number % 23 > 2 && number % 23 < 20 {
            println!("durable {}", chain.store.durable_number().unwrap_or_default());
        }
    }
}

#[test]
fn killed_while_writing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("l2");
    let mut all = model(300);
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(DIRECTORY, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (mut durable, mut waiting, mut killer) = (0, Some(child), None);
        for line in output.lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("durable ") {
                durable = number.parse().unwrap_or(durable);
                if let Some(mut child) = waiting.take() {
                    killer = Some(thread::spawn(move || {
                        thread::sleep(Duration::from_millis(100 + round * 37));
                        child.kill().unwrap();
                        child.wait().unwrap();
                    }));
                }
            }
        }
        killer.expect("the child wrote something").join().unwrap();
        let chain = reopened(&path, &mut all);
        let head = chain.head().commit.header.number;
        assert!(head + 3 >= durable, "{durable} was durable, {head} is there");
        assert!(head > 0);
        chain.verify_all();
    }
}

/// The same without a process of its own: everything that was not on disk is gone.
#[test]
fn what_was_not_durable_is_lost_in_whole_blocks() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("l2");
    let mut all = model(400);
    let mut seed = 7u64;
    for _ in 0..12 {
        let mut chain = reopened(&path, &mut all);
        for _ in 0..20 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let number = chain.head().commit.header.number + 1;
            chain.commit(&content(number));
            if (seed >> 40).is_multiple_of(4) {
                finalize(&chain).unwrap();
            }
            if (seed >> 45).is_multiple_of(16) {
                chain.store.flush().unwrap();
                assert_eq!(chain.store.durable_number(), Some(number));
            }
        }
        let durable = chain.store.durable_number().unwrap();
        chain.store.crash();
        drop(chain);
        let chain = reopened(&path, &mut all);
        assert!(chain.head().commit.header.number >= durable);
        chain.verify_all();
    }
}
