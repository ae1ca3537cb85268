//! A whole node as programs of the OP Stack see it: where the chain stands, what the rollup is, and the sequencer stopped and started.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};
use support::{Node, Ports, call, client, quantity, up};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the head is at least here.
async fn head(node: &Node, goal: u64) -> Value {
    let (rpc, begin) = (node.rpc(), Instant::now());
    loop {
        let block = call(&rpc, "eth_getBlockByNumber", vec![json!("latest"), json!(false)]).await.unwrap();
        if quantity(&block["number"]) >= goal {
            return block;
        }
        assert!(begin.elapsed() < PATIENCE, "no block {goal}\n{}", node.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn op_programs_follow_the_node_and_stop_its_sequencer() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data, Ports::free());
    for actor in ["rollup-rpc", "l1-rpc"] {
        up(&node.admin(), actor).await;
    }
    let (rollup, rpc) = (client(node.ports.rollup), node.rpc());
    head(&node, 2).await;

    // One and the same: what the node answers, and what lies in its folder for other programs.
    let network = data.join("network");
    let file: Value = serde_json::from_str(&fs::read_to_string(network.join("rollup.json")).unwrap()).unwrap();
    assert_eq!(call(&rollup, "optimism_rollupConfig", vec![]).await.unwrap(), file);
    let l1: Value = serde_json::from_str(&fs::read_to_string(network.join("l1-chain-config.json")).unwrap()).unwrap();
    assert_eq!(l1["chainId"], file["l1_chain_id"]);
    let genesis = call(&rpc, "eth_getBlockByNumber", vec![json!("0x0"), json!(false)]).await.unwrap();
    assert_eq!(genesis["hash"], file["genesis"]["l2"]["hash"]);
    let l1_genesis = client(node.ports.l1);
    let l1_genesis = call(&l1_genesis, "eth_getBlockByNumber", vec![json!("0x0"), json!(false)]).await.unwrap();
    assert_eq!(l1_genesis["hash"], file["genesis"]["l1"]["hash"]);

    // What op-conductor does to move the sequencer elsewhere, and back.
    assert_eq!(call(&rollup, "admin_sequencerActive", vec![]).await.unwrap(), true);
    let stopped_at = call(&rollup, "admin_stopSequencer", vec![]).await.unwrap();
    let status = call(&rollup, "optimism_syncStatus", vec![]).await.unwrap();
    assert_eq!(status["unsafe_l2"]["hash"], stopped_at);
    assert_eq!(call(&rollup, "admin_sequencerActive", vec![]).await.unwrap(), false);
    // A new instance of the actor has not forgotten it.
    call(&node.admin(), "admin_restart", vec![json!("sequencer")]).await.unwrap();
    let begin = Instant::now();
    loop {
        let why = call(&node.admin(), "admin_status", vec![]).await.unwrap();
        let actors = why["actors"].as_array().unwrap();
        let sequencer = actors.iter().find(|actor| actor["name"] == "sequencer").unwrap();
        if sequencer["restarts"] == 1 && sequencer["waiting"].as_str().is_some_and(|what| what.contains("stopped")) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{sequencer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = call(&rollup, "admin_startSequencer", vec![genesis["hash"].clone()]).await.unwrap_err().to_string();
    assert!(refused.contains("block hash does not match"), "{refused}");
    assert_eq!(head(&node, 0).await["hash"], stopped_at, "nothing was made");
    assert!(call(&rollup, "admin_startSequencer", vec![stopped_at.clone()]).await.unwrap().is_null());
    let again = call(&rollup, "admin_startSequencer", vec![stopped_at]).await.unwrap_err().to_string();
    assert!(again.contains("sequencer already running"), "{again}");
    let goal = status["unsafe_l2"]["number"].as_u64().unwrap() + 2;
    head(&node, goal).await;

    // The pipeline begins anew, and the safe chain goes on.
    assert!(call(&rollup, "admin_resetDerivationPipeline", vec![]).await.unwrap().is_null());
    let begin = Instant::now();
    loop {
        let status = call(&rollup, "optimism_syncStatus", vec![]).await.unwrap();
        if status["safe_l2"]["number"].as_u64().unwrap() >= goal {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(node.stop().success());
}

/// The answer of the blob API, without its head.
fn blob_api(node: &Node, path: &str) -> Value {
    let answer = support::get(node.ports.blobs, path);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or(("", &answer));
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
}

/// As a client reads numbers there.
fn decimal(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_l1_block_has_a_slot_of_its_own_and_its_blobs_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("data"), Ports::free());
    for actor in ["blob-api", "l1-rpc"] {
        up(&node.admin(), actor).await;
    }
    let l1 = client(node.ports.l1);
    // What op-node and kona-node ask when they start.
    let seconds = decimal(&blob_api(&node, "/eth/v1/config/spec")["data"]["SECONDS_PER_SLOT"]);
    let genesis = decimal(&blob_api(&node, "/eth/v1/beacon/genesis")["data"]["genesis_time"]);
    assert!(blob_api(&node, "/eth/v1/node/version")["data"]["version"].as_str().unwrap().starts_with("duskevm/"));
    let (mut slots, mut number, begin) = (Vec::new(), 0, Instant::now());
    loop {
        assert!(begin.elapsed() < PATIENCE, "no batch on L1\n{}", node.log_tail());
        let block = call(&l1, "eth_getBlockByNumber", vec![json!(format!("{number:#x}")), json!(true)]).await.unwrap();
        if block.is_null() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        let slot = (quantity(&block["timestamp"]) - genesis) / seconds;
        assert!(!slots.contains(&slot), "two blocks in slot {slot}");
        slots.push(slot);
        let header = blob_api(&node, &format!("/eth/v1/beacon/headers/{slot}"));
        assert_eq!(header["data"]["root"], block["extraData"], "the block of slot {slot}");
        let hashes: Vec<&str> = block["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|transaction| transaction["blobVersionedHashes"].as_array().into_iter().flatten())
            .map(|hash| hash.as_str().unwrap())
            .collect();
        let sidecars = blob_api(&node, &format!("/eth/v1/beacon/blob_sidecars/{slot}"));
        assert_eq!(sidecars["data"].as_array().unwrap().len(), hashes.len(), "slot {slot}");
        if let Some(last) = hashes.len().checked_sub(1) {
            let one = blob_api(&node, &format!("/eth/v1/beacon/blob_sidecars/{slot}?indices={last}"));
            assert_eq!(decimal(&one["data"][0]["index"]), last as u64);
            let path = format!("/eth/v1/beacon/blobs/{slot}?versioned_hashes={}", hashes[last]);
            assert_eq!(blob_api(&node, &path)["data"][0], one["data"][0]["blob"]);
            break;
        }
        number += 1;
    }
    assert!(slots.len() > 1);
    assert!(node.stop().success());
}
