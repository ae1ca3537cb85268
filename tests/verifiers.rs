//! A sequencer and verifiers, each a process of its own: from L1 alone the verifiers arrive at the sequencer's blocks, however late they
//! start and whatever they have lost.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/provisioners.rs"]
mod provisioners;
mod support;

use alloy_primitives::U256;
use jsonrpsee::http_client::HttpClient;
use provisioners::Network;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use support::{Load, accounts, call, head, quantity};

/// A quarter of the stake is away for most of the test: several iterations in a row may fail, and each takes longer than the one before.
const LONG: Duration = Duration::from_secs(480);
const BOB: &str = "0xb0b0000000000000000000000000000000000b0b";

async fn block(rpc: &HttpClient, which: &str) -> Option<(u64, String)> {
    let block = call(rpc, "eth_getBlockByNumber", vec![json!(which), json!(false)]).await.ok()?;
    Some((quantity(block.get("number")?), block["hash"].as_str()?.to_owned()))
}

/// Waits until the safe head of a node is at least this one. Whenever it looks, the safe block is the sequencer's.
async fn safe(network: &Network, number: usize, goal: u64) -> u64 {
    let (sequencer, node, begin) = (network.rpc(), network.rpc_of(number), Instant::now());
    loop {
        if let Some((height, hash)) = block(&node, "safe").await {
            // It may not answer yet, or be behind after a fault; what it has is the same.
            if let Some((_, there)) = block(&sequencer, &format!("{height:#x}")).await {
                assert_eq!(hash, there, "safe block {height} of node {number}\n{}", network.logs());
                if height >= goal {
                    return height;
                }
            }
        }
        assert!(begin.elapsed() < LONG, "node {number} has no safe block {goal}\n{}", network.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn hashes(rpc: &HttpClient, to: u64) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    for number in 0..=to {
        let (_, hash) = block(rpc, &format!("{number:#x}")).await.unwrap_or_else(|| panic!("no block {number}"));
        all.insert(number, hash);
    }
    all
}

async fn balance(rpc: &HttpClient, address: &str) -> U256 {
    let balance = call(rpc, "eth_getBalance", vec![json!(address), json!("safe")]).await.unwrap();
    balance.as_str().unwrap().parse().unwrap()
}

/// Brings a DUSK from the account of a node to Bob.
fn deposit(network: &Network, number: usize) {
    let made = network.run(number, &["bridge", "deposit", "--amount", "1", "--to", BOB, "--json"]);
    assert!(made.status.success(), "{}\n{}", String::from_utf8_lossy(&made.stderr), network.logs());
    assert_eq!(serde_json::from_slice::<Value>(&made.stdout).unwrap()["amount"], json!("1000000000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifiers_have_the_sequencers_chain_from_l1_alone() {
    let mut network = Network::start_some(4, 2, &[]);
    // One knows nothing of the sequencer: neither its blocks before they are on L1 nor where transactions go.
    network.without(2, |line| line.starts_with("l2_") || line.starts_with("sequencer = \"http"));
    (1..=3).for_each(|number| network.start_node(number));
    let load = Load::start(network.port(1, 0), accounts(5), 25.0);
    safe(&network, 2, 5).await;
    deposit(&network, 1);
    deposit(&network, 2);

    // By gossip a node has the newest blocks, from L1 alone those that are safe.
    let begin = Instant::now();
    loop {
        let (safe, _) = block(&network.rpc_of(3), "safe").await.unwrap();
        if head(&network.rpc_of(3)).await > safe {
            break;
        }
        assert!(begin.elapsed() < LONG, "node 3 has safe blocks only\n{}", network.logs());
    }
    let received = |number: usize| {
        let text = support::get(network.port(number, 2), "/metrics");
        let lines = text.lines().filter(|line| line.starts_with("duskevm_block_gossip_received_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    assert_eq!(received(2), 0.0, "node 2 hears no blocks of L2");
    assert!(received(3) > 0.0, "node 3 hears blocks of L2");
    let newest = head(&network.rpc_of(2)).await;
    let (safe_there, _) = block(&network.rpc_of(2), "safe").await.unwrap();
    assert!(newest <= safe_there, "node 2 has block {newest}, which is not safe");

    // One starts late.
    let late: u64 = std::env::var("DUSKEVM_TEST_BLOCKS_LATE").map_or(40, |blocks| blocks.parse().unwrap());
    let begin = Instant::now();
    while head(&network.rpc()).await < late {
        assert!(begin.elapsed() < LONG + Duration::from_secs(2 * late), "{}", network.logs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    network.start_node(4);
    let goal = head(&network.rpc()).await;
    let begin = Instant::now();
    safe(&network, 4, goal).await;
    println!("node 4 started at block {goal} and had it {:.1?} later", begin.elapsed());

    // One loses everything but its keys, while the network runs.
    network.kill(3);
    network.wipe(3);
    network.start_node(3);
    let goal = head(&network.rpc()).await;
    let begin = Instant::now();
    safe(&network, 3, goal).await;
    println!("node 3 lost {goal} blocks and had them {:.1?} later", begin.elapsed());

    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 100, "only {} transactions were acknowledged", acknowledged.len());
    deposit(&network, 1);
    // The L2 origin follows final L1 blocks: some blocks later all of it is in L2.
    let goal = head(&network.rpc()).await + 15;
    for number in network.numbers() {
        safe(&network, number, goal).await;
    }
    let dusk = U256::from(10).pow(U256::from(18));
    let expected = hashes(&network.rpc(), goal).await;
    let mut included = 0;
    for number in network.numbers() {
        let rpc = network.rpc_of(number);
        assert_eq!(hashes(&rpc, goal).await, expected, "node {number}");
        assert_eq!(balance(&rpc, BOB).await, dusk * U256::from(3), "node {number}: each deposit arrives once");
    }
    for hash in &acknowledged {
        let receipt = call(&network.rpc_of(2), "eth_getTransactionReceipt", vec![json!(hash)]).await.unwrap();
        assert!(
            !receipt.is_null() && quantity(&receipt["blockNumber"]) <= goal,
            "{hash} is not safe on node 2: {receipt}"
        );
        included += 1;
    }
    println!("{goal} blocks and {included} transactions are the same on four nodes");
    network.stop();
}
