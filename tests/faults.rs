//! A node under load whose actors are stopped, panicked and hung: nothing acknowledged is lost, nothing is done twice.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/batches.rs"]
mod batches;
#[path = "support/blobs.rs"]
mod blobs;
mod support;

use alloy_primitives::B256;
use duskevm::network::NetworkFiles;
use jsonrpsee::http_client::HttpClient;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};
use support::{Load, Node, Ports, accounts, call, check_included, grow, quantity, restarted, restarts, up, verify};

/// Every actor that carries the chain or faces clients.
const ACTORS: [&str; 12] = [
    "consensus",
    "da-store",
    "l1",
    "executor",
    "txpool",
    "sequencer",
    "derivation",
    "batcher",
    "rpc",
    "l1-rpc",
    "rollup-rpc",
    "http",
];

/// Waits until a block is safe.
async fn safe(node: &Node, goal: u64) {
    let (rpc, begin) = (node.rpc(), Instant::now());
    loop {
        let block = call(&rpc, "eth_getBlockByNumber", vec![json!("safe"), json!(false)]).await;
        if block.is_ok_and(|block| quantity(&block["number"]) >= goal) {
            return;
        }
        let status = call(&node.admin(), "admin_why", vec![]).await;
        assert!(begin.elapsed() < Duration::from_secs(120), "no safe block {goal}: {status:?}\n{}", node.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All these blocks are safe, no batch is on L1 twice, and a node that has nothing but L1 arrives at the same blocks. The node is stopped.
async fn check_circle(node: Node, blocks: &[B256]) {
    let (data, ports) = (node.data.clone(), node.ports);
    safe(&node, blocks.len() as u64 - 1).await;
    let files = NetworkFiles::read(&data.join("network")).unwrap();
    let posted = batches::posted(ports.blobs, &files.load().unwrap().rollup);
    assert_eq!(posted.doubles(), "", "posted twice");
    assert!(posted.blocks.len() + 1 >= blocks.len(), "{} of {} blocks", posted.blocks.len(), blocks.len());
    println!("{} frames with {} blocks, none twice", posted.frames.len(), posted.blocks.len());
    assert!(node.stop().success());
    verify(&data);
    derive_again(&data, ports, blocks).await;
}

/// Without its L2 database, its journals and its sequencer the node has the same chain from L1.
async fn derive_again(data: &Path, ports: Ports, blocks: &[B256]) {
    for folder in ["l2", "txpool", "sequencer", "batcher"] {
        std::fs::remove_dir_all(data.join(folder)).unwrap();
    }
    let off = [("DUSKEVM_ACTORS__SEQUENCER", "false"), ("DUSKEVM_ACTORS__BATCHER", "false")];
    let verifier = Node::start_as(data, ports, &[], &off);
    safe(&verifier, blocks.len() as u64 - 1).await;
    let rpc = verifier.rpc();
    for (number, hash) in blocks.iter().enumerate() {
        let block =
            call(&rpc, "eth_getBlockByNumber", vec![json!(format!("{number:#x}")), json!(false)]).await.unwrap();
        assert_eq!(block["hash"], json!(hash), "block {number}");
    }
    println!("the verifier has the same {} blocks", blocks.len());
    assert!(verifier.stop().success());
}

/// Notes the newest block again and again: what was announced once must stay.
struct Announced {
    stop: tokio::sync::watch::Sender<bool>,
    seen: tokio::task::JoinHandle<BTreeMap<u64, Value>>,
}

impl Announced {
    fn watch(rpc: HttpClient) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let seen = tokio::spawn(async move {
            let mut seen = BTreeMap::new();
            while !*stopped.borrow() {
                if let Ok(block) = call(&rpc, "eth_getBlockByNumber", vec![json!("latest"), json!(false)]).await {
                    let (number, hash) = (quantity(&block["number"]), block["hash"].clone());
                    let before = seen.insert(number, hash.clone()).unwrap_or_else(|| hash.clone());
                    assert_eq!(before, hash, "block {number} was announced twice");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            seen
        });
        Self { stop, seen }
    }

    /// What was announced so far. Blocks that are read afterwards must hold all of it.
    async fn finish(self) -> BTreeMap<u64, Value> {
        self.stop.send_replace(true);
        let seen = self.seen.await.unwrap();
        assert!(seen.len() > 5, "{seen:?}");
        seen
    }
}

fn check_announced(seen: &BTreeMap<u64, Value>, blocks: &[B256]) {
    for (number, hash) in seen {
        assert_eq!(&json!(blocks[*number as usize]), hash, "block {number} changed after it was announced");
    }
}

async fn campaign(actors: &[&str], rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ports = Ports::free();
    let node = Node::start(&data, ports);
    let admin = node.admin();
    grow(&node, 1, Duration::from_secs(30)).await;
    let load = Load::start(ports.rpc, accounts(10), 200.0);
    let announced = Announced::watch(node.rpc());

    for _ in 0..rounds {
        for actor in actors {
            for (fault, cause) in [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")] {
                // The fault before may have come back in a block before its actor did.
                up(&admin, actor).await;
                let before = restarts(ports, actor, cause);
                let mut params = vec![json!(actor)];
                if fault == "admin_hang" {
                    params.push(json!(3_600_000));
                }
                call(&admin, fault, params).await.unwrap_or_else(|error| panic!("{fault} {actor}: {error}"));
                // A hang is found by the watchdog; the rest is back at once, unless it was at work on something.
                grow(&node, 2, Duration::from_secs(60)).await;
                restarted(ports, actor, cause, before).await;
            }
        }
    }

    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 100, "only {} transactions were acknowledged", acknowledged.len());
    let seen = announced.finish().await;
    let blocks = check_included(&node, &acknowledged).await;
    for actor in actors {
        for cause in ["stop", "panic", "hang"] {
            let count = restarts(ports, actor, cause);
            assert!(count >= rounds as f64, "restarts of {actor} by {cause}: {count}");
        }
    }
    check_announced(&seen, &blocks);
    check_circle(node, &blocks).await;
}

/// While derivation looks for the place where it begins, the sequencer goes on: what it makes meanwhile stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn derivation_that_begins_again_takes_no_block_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ports = Ports::free();
    let node = Node::start(&data, ports);
    grow(&node, 1, Duration::from_secs(30)).await;
    let load = Load::start(ports.rpc, accounts(10), 100.0);
    let announced = Announced::watch(node.rpc());
    for _ in 0..40 {
        up(&node.admin(), "derivation").await;
        let before = restarts(ports, "derivation", "stop");
        call(&node.admin(), "admin_kill", vec![json!("derivation")]).await.unwrap();
        restarted(ports, "derivation", "stop", before).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let acknowledged = load.finish().await;
    let seen = announced.finish().await;
    let blocks = check_included(&node, &acknowledged).await;
    check_announced(&seen, &blocks);
    check_circle(node, &blocks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_actors_of_the_circle_survive_every_fault_once() {
    campaign(&["derivation", "batcher", "da-store"], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_actors_of_the_chain_survive_every_fault_once() {
    campaign(&["executor", "txpool", "sequencer"], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_actors_around_the_chain_survive_every_fault_once() {
    campaign(&["consensus", "l1", "rpc", "http"], 1).await;
}

/// The whole matrix, several times. About ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it with `cargo test --test faults -- --ignored`"]
async fn every_actor_survives_every_fault_several_times() {
    campaign(&ACTORS, 3).await;
}

async fn killings(times: usize) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ports = Ports::free();
    let mut node = Node::start(&data, ports);
    grow(&node, 1, Duration::from_secs(30)).await;
    let load = Load::start(ports.rpc, accounts(10), 200.0);
    let mut announced = Vec::new();
    for round in 0..times {
        grow(&node, 2, Duration::from_secs(60)).await;
        // Not always at the same point of a block.
        tokio::time::sleep(Duration::from_millis((round as u64 * 137) % 900)).await;
        let rpc = node.rpc();
        let number = support::head(&rpc).await;
        let block =
            call(&rpc, "eth_getBlockByNumber", vec![json!(format!("{number:#x}")), json!(false)]).await.unwrap();
        announced.push((number, block["hash"].clone()));
        node.kill();
        node = Node::start(&data, ports);
    }
    grow(&node, 2, Duration::from_secs(60)).await;
    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 100, "only {} transactions were acknowledged", acknowledged.len());
    let blocks = check_included(&node, &acknowledged).await;
    for (number, hash) in announced {
        assert_eq!(json!(blocks[number as usize]), hash, "block {number} changed after it was announced");
    }
    check_circle(node, &blocks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_minus_nine_loses_nothing() {
    killings(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it with `cargo test --test faults -- --ignored`"]
async fn twenty_times_kill_minus_nine_loses_nothing() {
    killings(20).await;
}
