//! A batcher that is away for longer than the sequencing window while the sequencer goes on: L1 prescribes blocks without users'
//! transactions, the sequencer goes on from them, and what was in its own blocks comes back. Users go on sending all the time.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use alloy_primitives::B256;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use support::{Load, Node, Ports, accounts, call, grow, head, quantity, restarts, verify};

const LONG: Duration = Duration::from_secs(180);
/// L1 blocks of two seconds.
const WINDOW: (&str, &str) = ("DUSKEVM_L2__SEQUENCING_WINDOW", "6");

async fn block(node: &Node, which: &str) -> Option<Value> {
    call(&node.rpc(), "eth_getBlockByNumber", vec![json!(which), json!(false)]).await.ok().filter(Value::is_object)
}

/// Waits until the safe block is at least this one.
async fn safe(node: &Node, goal: u64) -> u64 {
    let begin = Instant::now();
    loop {
        if let Some(number) = block(node, "safe").await.map(|block| quantity(&block["number"]))
            && number >= goal
        {
            return number;
        }
        let why = call(&node.admin(), "admin_why", vec![]).await;
        assert!(begin.elapsed() < LONG, "no safe block {goal}: {why:?}\n{}", node.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// In which safe block each transaction is; each is in one at most.
async fn included(node: &Node, to: u64) -> HashMap<B256, u64> {
    let mut all = HashMap::new();
    for number in 0..=to {
        let block = block(node, &format!("{number:#x}")).await.unwrap();
        for hash in block["transactions"].as_array().unwrap() {
            let before = all.insert(serde_json::from_value(hash.clone()).unwrap(), number);
            assert_eq!(before, None, "{hash} is in block {number} too");
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_beyond_the_sequencing_window_costs_blocks_but_no_transaction() {
    outage("tip").await;
}

/// As in a network of several nodes: L2 sees an L1 block when the next one is there, so a batch that is made for the oldest block that
/// it sees is always too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_where_l2_is_shown_final_l1_blocks_only() {
    outage("final").await;
}

async fn outage(follow: &str) {
    let follow = ("DUSKEVM_L1__FOLLOW", follow);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ports = Ports::free();
    let without_batcher = [WINDOW, follow, ("DUSKEVM_ACTORS__BATCHER", "false")];
    let node = Node::start_as(&data, ports, &[], &without_batcher);
    grow(&node, 1, Duration::from_secs(30)).await;
    let load = Load::start(ports.rpc, accounts(5), 20.0);
    grow(&node, 3, Duration::from_secs(30)).await;
    // Blocks as the sequencer made them, with transactions.
    let mut announced = HashMap::new();
    for number in 1..=head(&node.rpc()).await {
        announced.insert(number, block(&node, &format!("{number:#x}")).await.unwrap());
    }

    // The window is over: the blocks that L1 prescribes have deposits only.
    let forced = safe(&node, 5).await;
    let mut replaced = 0;
    for number in 1..=forced {
        let block = block(&node, &format!("{number:#x}")).await.unwrap();
        assert_eq!(block["transactions"].as_array().unwrap().len(), 1, "block {number} holds the L1 attributes only");
        let before = announced.get(&number).map(|before| &before["hash"]);
        replaced += u64::from(before.is_some_and(|hash| *hash != block["hash"]));
    }
    assert!(replaced > 0, "no block of the sequencer was replaced");
    // The sequencer goes on from the new blocks, not from its own old ones, and nothing of it had to be restarted.
    grow(&node, 5, Duration::from_secs(60)).await;
    for actor in ["sequencer", "executor", "derivation", "txpool"] {
        for cause in ["error", "panic", "hang", "stop"] {
            assert_eq!(restarts(ports, actor, cause), 0.0, "{actor} was restarted by {cause}\n{}", node.log_tail());
        }
    }
    println!("{replaced} announced blocks were replaced, up to block {forced}");

    // The batcher is back.
    assert!(node.stop().success());
    let node = Node::start_as(&data, ports, &[], &[WINDOW, follow]);
    grow(&node, 5, Duration::from_secs(60)).await;
    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 100, "only {} transactions were acknowledged", acknowledged.len());
    let begin = Instant::now();
    loop {
        let goal = head(&node.rpc()).await;
        let reached = safe(&node, goal).await;
        let found = included(&node, reached).await;
        let missing: Vec<_> = acknowledged.iter().filter(|hash| !found.contains_key(*hash)).collect();
        if missing.is_empty() {
            println!("all of {} transactions are in safe blocks, up to block {reached}", acknowledged.len());
            break;
        }
        assert!(
            begin.elapsed() < LONG,
            "{} of {} transactions are in no safe block: {:?}\n{}",
            missing.len(),
            acknowledged.len(),
            missing[0],
            node.log_tail()
        );
    }
    assert!(node.stop().success());
    verify(&data);
}
