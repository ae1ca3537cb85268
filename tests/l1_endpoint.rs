//! The Ethereum-shaped endpoint of Dusk L1 on a running node: every block is what it claims to be, deposits are found by their Dusk hash, and
//! no fault of an actor stops it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/l1_chain.rs"]
mod l1_chain;
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256, keccak256};
use duskevm::network::NetworkFiles;
use duskevm_genesis::{LOCAL_CONTRACTS, dev_accounts, evm_address};
use jsonrpsee::http_client::HttpClient;
use l1_chain::{Checked, check_block};
use serde_json::{Value, json};
use support::{Node, Ports, call, client, head, quantity, restarted, restarts, up};

const BOB: &str = "0xb0b0000000000000000000000000000000000b0b";
const LONG: Duration = Duration::from_secs(90);

/// Brings DUSK to L2; what the command says of it.
fn deposit(node: &Node) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_duskevm"))
        .args(["bridge", "deposit", "--dev", "--amount", "2.5", "--to", BOB, "--json"])
        .args(["--admin", &format!("http://127.0.0.1:{}", node.ports.admin)])
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn ask(l1: &HttpClient, method: &str, params: Value) -> Value {
    let Value::Array(params) = params else { panic!("{params}") };
    call(l1, method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Asks until the answer is as wanted.
async fn until(l1: &HttpClient, method: &str, params: Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let Value::Array(list) = params.clone() else { panic!("{params}") };
        let answer = call(l1, method, list).await;
        if let Ok(answer) = &answer
            && wanted(answer)
        {
            return answer.clone();
        }
        assert!(begin.elapsed() < LONG, "{method} {params}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn grow(l1: &HttpClient, blocks: u64) {
    let goal = until(l1, "eth_blockNumber", json!([]), |_| true).await;
    let goal = quantity(&goal) + blocks;
    until(l1, "eth_blockNumber", json!([]), |number| quantity(number) >= goal).await;
}

async fn read(l1: &HttpClient, to: B256, signature: &str) -> B256 {
    let input = &keccak256(signature)[..4];
    let request = json!({ "to": evm_address(to), "input": alloy_primitives::hex::encode_prefixed(input) });
    serde_json::from_value(ask(l1, "eth_call", json!([request, "latest"])).await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_is_what_it_claims_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data, Ports::free());
    let l1 = client(node.ports.l1);
    let network = NetworkFiles::read(&data.join("network")).unwrap().load().unwrap();
    let chain_id = network.rollup.l1_chain_id;
    assert_eq!(quantity(&ask(&l1, "eth_chainId", json!([])).await), chain_id);
    assert_eq!(ask(&l1, "net_version", json!([])).await, json!(chain_id.to_string()));
    assert_eq!(ask(&l1, "eth_syncing", json!([])).await, json!(false));
    assert!(ask(&l1, "web3_clientVersion", json!([])).await.as_str().unwrap().starts_with("duskevm/"));

    let deposits = [deposit(&node), deposit(&node)];
    // A batch, which the blobs of a signed envelope carry.
    let batcher = dev_accounts().unwrap().batcher.address;
    let sent = until(&l1, "eth_getTransactionCount", json!([batcher, "latest"]), |count| quantity(count) >= 2).await;

    let tip = head(&l1).await;
    let ask_l1 = async |method: &str, params: Value| ask(&l1, method, params).await;
    let mut blocks: Vec<Checked> = Vec::new();
    for number in 0..=tip {
        let block = check_block(&ask_l1, number, blocks.last()).await;
        blocks.push(block);
    }
    assert_eq!(blocks[network.rollup.genesis.l1.number as usize].hash, network.rollup.genesis.l1.hash);
    let envelopes = blocks.iter().flat_map(|block| &block.transactions).filter(|tx| tx.is_eip4844()).count();
    assert!(envelopes as u64 >= quantity(&sent), "{envelopes} of {sent}");
    assert!(blocks.iter().any(|block| !block.logs.is_empty()));

    // A deposit by its Dusk hash, and the L2 transaction that it leads to.
    for made in &deposits {
        let receipt = ask(&l1, "eth_getTransactionReceipt", json!([made["id"]])).await;
        assert_eq!(quantity(&receipt["blockNumber"]), made["height"].as_u64().unwrap());
        let projected = &receipt["transactionHash"];
        assert_ne!(*projected, made["id"]);
        assert_eq!(ask(&l1, "eth_getTransactionReceipt", json!([projected])).await, receipt);
        assert_eq!(ask(&l1, "eth_getTransactionByHash", json!([made["id"]])).await["hash"], *projected);
        assert_eq!(receipt["logs"].as_array().unwrap().len(), 5);
    }

    // Logs of a range are those of its blocks, by address and topic too.
    let logs = ask(&l1, "eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": format!("{tip:#x}") }])).await;
    let all: Vec<_> = blocks.iter().flat_map(|block| &block.logs).collect();
    assert_eq!(logs, json!(all));
    let (portal, topic) =
        (evm_address(LOCAL_CONTRACTS.portal), keccak256("TransactionDeposited(address,address,uint256,bytes)"));
    for (filter, wanted) in [
        (json!({ "address": portal, "fromBlock": "earliest" }), 2),
        (json!({ "address": [portal, Address::ZERO], "topics": [[B256::ZERO, topic]], "fromBlock": "0x0" }), 2),
        (json!({ "address": Address::ZERO, "fromBlock": "0x0" }), 0),
        (json!({ "topics": [null, null, B256::ZERO], "fromBlock": "0x0" }), 0),
    ] {
        let found = ask(&l1, "eth_getLogs", json!([filter])).await;
        assert_eq!(found.as_array().unwrap().len(), wanted, "{filter}");
    }

    // What the contracts hold.
    let config = LOCAL_CONTRACTS.system_config;
    assert_eq!(read(&l1, config, "gasLimit()").await, B256::from(U256::from(60_000_000)));
    assert_eq!(read(&l1, config, "batcherHash()").await, batcher.into_word());
    let signer = dev_accounts().unwrap().sequencer.address;
    assert_eq!(read(&l1, config, "unsafeBlockSigner()").await, signer.into_word());
    let slot = duskevm_settlement::UNSAFE_BLOCK_SIGNER_SLOT;
    let at = ask(&l1, "eth_getStorageAt", json!([evm_address(config), slot, "latest"])).await;
    assert_eq!(at, json!(signer.into_word()));
    // op-node names the block by its hash.
    let latest = ask(&l1, "eth_getBlockByNumber", json!(["latest", false])).await;
    let at = ask(&l1, "eth_getStorageAt", json!([evm_address(config), slot, latest["hash"]])).await;
    assert_eq!(at, json!(signer.into_word()));
    let held = ask(&l1, "eth_getBalance", json!([portal, "latest"])).await;
    assert_eq!(held, json!(U256::from(5_000_000_000_000_000_000u64)));
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_an_actor_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("data"), Ports::free());
    let (l1, admin) = (client(node.ports.l1), node.admin());
    let made = deposit(&node);
    let receipt = until(&l1, "eth_getTransactionReceipt", json!([made["id"]]), |receipt| !receipt.is_null()).await;
    for actor in ["l1-rpc", "l1"] {
        for (fault, cause) in [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")] {
            up(&admin, actor).await;
            let before = restarts(node.ports, actor, cause);
            let mut params = vec![json!(actor)];
            if fault == "admin_hang" {
                params.push(json!(3_600_000));
            }
            call(&admin, fault, params).await.unwrap();
            // What is known stays known meanwhile, and the chain goes on.
            let again = until(&l1, "eth_getTransactionReceipt", json!([made["id"]]), |_| true).await;
            assert_eq!(again, receipt, "{fault} {actor}");
            restarted(node.ports, actor, cause, before).await;
            grow(&l1, 1).await;
        }
    }
    let ask_l1 = async |method: &str, params: Value| ask(&l1, method, params).await;
    let mut below: Option<Checked> = None;
    for number in 0..=head(&l1).await {
        below = Some(check_block(&ask_l1, number, below.as_ref()).await);
    }
    assert!(node.stop().success());
}
