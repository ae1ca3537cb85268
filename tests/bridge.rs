//! The rollup's contracts on the L1 of a running node: deposits, messages, batches and changes of the configuration, sent and read from
//! the command line, and found in the L1 view by the Dusk transaction hash.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;
#[path = "support/wallet.rs"]
mod wallet;

use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, TxKind, U256, hex, keccak256};
use alloy_signer::SignerSync;
use duskevm_genesis::{LOCAL_CONTRACTS, evm_address};
use duskevm_settlement::{apply_alias, wallet_address};
use serde_json::{Value, json};
use support::{Node, Ports, call};
use wallet::{ask, contract_call, failure, submit};

const BOB: &str = "0xb0b0000000000000000000000000000000000b0b";
const DEPOSITED: &str = "0xb3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32";
const CONFIG_UPDATE: &str = "0x1d2b0bda21d56b8bd12d4f94ebacffdfb35f5e226f84b461103bb8beab6353be";

fn read(node: &Node, contract: B256, method: &str) -> Value {
    ask(node, &["l1", "read"], &json!({ "contractId": contract, "method": method, "args": [] }))
}

/// The transaction in the L1 view, which follows the chain.
async fn viewed(node: &Node, hash: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = call(&node.admin(), "admin_l1Transaction", vec![hash.clone()]).await.unwrap();
        if !shown.is_null() {
            return shown;
        }
        assert!(Instant::now() < deadline, "{hash} is not in the L1 view");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The receipt of an L2 transaction, which comes with an L1 block.
async fn arrived(node: &Node, hash: &Value) -> Value {
    assert!(hash.is_string(), "{hash}");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let receipt = call(&node.rpc(), "eth_getTransactionReceipt", vec![hash.clone()]).await.unwrap();
        if !receipt.is_null() {
            return receipt;
        }
        assert!(Instant::now() < deadline, "{hash} is not on L2");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn log_data(log: &Value) -> Vec<u8> {
    hex::decode(log["data"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn deposits_are_in_the_view_by_their_dusk_hash() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("data"), Ports::free());
    let (portal, messenger) = (evm_address(LOCAL_CONTRACTS.portal), evm_address(LOCAL_CONTRACTS.messenger));

    // By the command for people.
    let line = ["bridge", "deposit", "--dev", "--amount", "2.5", "--to", BOB, "--json"];
    let done = ask(&node, &line, &Value::Null);
    assert_eq!((&done["action"], &done["amount"]), (&json!("deposit"), &json!("2500000000")));
    let shown = viewed(&node, &done["id"]).await;
    assert_eq!(shown["blockNumber"], done["height"]);
    // It names the transaction that arrives on L2.
    let receipt = arrived(&node, &done["l2Transaction"]).await;
    assert_eq!((&receipt["status"], &receipt["type"]), (&json!("0x1"), &json!("0x7e")));
    let logs = shown["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 5, "{logs:?}");
    let deposited = &logs[2];
    assert_eq!((&deposited["address"], &deposited["topics"][0]), (&json!(portal), &json!(DEPOSITED)));
    assert_eq!(deposited["topics"][1], json!(apply_alias(messenger).into_word()));
    assert_eq!(deposited["topics"][2], json!(duskevm_settlement::L2_CROSS_DOMAIN_MESSENGER.into_word()));
    assert_eq!(deposited["logIndex"], "0x2");
    let wei = U256::from(2_500_000_000_000_000_000u64).to_be_bytes::<32>();
    let data = log_data(deposited);
    assert_eq!([&data[64..96], &data[96..128]], [wei, wei], "minted and sent");

    // By the adapter for programs: directly through the portal, by a wallet.
    let args = json!([BOB, "7", 100_000, false, "0x0102"]);
    let (hash, success) = submit(&node, &contract_call(LOCAL_CONTRACTS.portal, "depositTransaction", args, 3));
    assert!(success);
    let shown = viewed(&node, &hash).await;
    let [deposited] = shown["logs"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    let wallet = wallet_address(duskevm::network::local_producer().id().as_bytes());
    assert_eq!(deposited["topics"][1], json!(wallet.into_word()), "not aliased");
    let data = log_data(deposited);
    assert_eq!(data[64..96], U256::from(3_000_000_000u64).to_be_bytes::<32>());
    assert_eq!(data[96..128], U256::from(7).to_be_bytes::<32>());

    // Amounts that differ, and tokens, are refused in the block, and nothing is shown.
    let bridge = LOCAL_CONTRACTS.standard_bridge;
    for (request, why) in [
        (contract_call(bridge, "depositETHToWithValue", json!([BOB, "5", 200_000, "0x"]), 4), "4 lux are attached"),
        (contract_call(bridge, "bridgeERC20To", json!([BOB, BOB, BOB, "1", 1, "0x"]), 0), "no DRC20 or DRC721 tokens"),
    ] {
        let (hash, success) = submit(&node, &request);
        assert!(!success);
        let became = call(&node.admin(), "admin_duskTransaction", vec![hash.clone()]).await.unwrap();
        assert!(became["error"].as_str().unwrap().contains(why), "{became}");
        assert!(call(&node.admin(), "admin_l1Transaction", vec![hash]).await.unwrap().is_null());
    }
    let said = failure(&node, &["l1", "submit", "--dev"], &contract_call(bridge, "claimNativeCredit", json!([]), 0));
    assert!(said.contains("can be called with depositETHToWithValue"), "{said}");
    let said = failure(&node, &["l1", "submit", "--dev"], &json!({ "kind": "transfer", "amountLux": "0.5" }));
    assert!(said.contains("no whole number"), "{said}");
    assert!(node.stop().success());
}

/// What an account has on L2.
async fn balance(node: &Node, address: &str) -> U256 {
    let balance = call(&node.rpc(), "eth_getBalance", vec![json!(address), json!("latest")]).await.unwrap();
    balance.as_str().unwrap().parse().unwrap()
}

/// The user deposits of L2, with their receipts, up to the first block whose L1 origin is above a height.
async fn user_deposits(node: &Node, l1_height: u64) -> Vec<(Value, Value)> {
    let (rpc, begin) = (node.rpc(), Instant::now());
    let mut deposits = Vec::new();
    let mut number = 1u64;
    loop {
        let block = call(&rpc, "eth_getBlockByNumber", vec![json!(format!("{number:#x}")), json!(true)]).await.unwrap();
        if block.is_null() {
            assert!(begin.elapsed() < Duration::from_secs(60), "L2 does not come to L1 block {l1_height}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        number += 1;
        let transactions = block["transactions"].as_array().unwrap();
        // The L1 attributes: the number of the origin is in the bytes 28 to 36 of Ecotone's form.
        let input = hex::decode(transactions[0]["input"].as_str().unwrap()).unwrap();
        if u64::from_be_bytes(input[28..36].try_into().unwrap()) > l1_height {
            return deposits;
        }
        for tx in transactions[1..].iter().filter(|tx| tx["type"] == json!("0x7e")) {
            let receipt = call(&rpc, "eth_getTransactionReceipt", vec![tx["hash"].clone()]).await.unwrap();
            deposits.push((tx.clone(), receipt));
        }
    }
}

#[tokio::test]
async fn deposits_arrive_on_l2_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("data"), Ports::free());
    let wallet = wallet_address(duskevm::network::local_producer().id().as_bytes());

    // DUSK through the bridge, a call through the portal, and a contract whose creation fails.
    let line = ["bridge", "deposit", "--dev", "--amount", "2.5", "--to", BOB, "--json"];
    ask(&node, &line, &Value::Null);
    let portal = |args: Value, lux| contract_call(LOCAL_CONTRACTS.portal, "depositTransaction", args, lux);
    let zero = "0x0000000000000000000000000000000000000000";
    for (args, lux) in [
        (json!([BOB, "7", 100_000, false, "0x0102"]), 3),
        (json!([zero, "0", 200_000, true, "0x60006000fd"]), 5),
        // More is sent than the wallet has: the call fails, what was minted stays.
        (json!([BOB, "1000000000000000000", 100_000, false, "0x"]), 2),
    ] {
        let (_, success) = submit(&node, &portal(args, lux));
        assert!(success);
    }
    let message = contract_call(LOCAL_CONTRACTS.messenger, "sendMessage", json!([BOB, "0x010203", 250_000]), 0);
    let (last, success) = submit(&node, &message);
    assert!(success);
    let height = viewed(&node, &last).await["blockNumber"].as_u64().unwrap();

    let deposits = user_deposits(&node, height).await;
    let statuses: Vec<_> = deposits.iter().map(|(_, receipt)| receipt["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["0x1", "0x1", "0x0", "0x0", "0x1"], "{deposits:#?}");
    let mut sources: Vec<_> = deposits.iter().map(|(tx, _)| tx["sourceHash"].as_str().unwrap()).collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 5, "each deposit has a source of its own");
    let messenger = json!(apply_alias(evm_address(LOCAL_CONTRACTS.messenger)).to_checksum(None).to_lowercase());
    let from = |at: usize| json!(deposits[at].0["from"].as_str().unwrap().to_lowercase());
    assert_eq!([from(0), from(4)], [messenger.clone(), messenger], "contracts are aliased");
    assert_eq!(from(1), json!(wallet.to_string().to_lowercase()), "wallets are not");

    let (gwei, dusk) = (U256::from(1_000_000_000u64), U256::from(1_000_000_000_000_000_000u64));
    assert_eq!(balance(&node, BOB).await, dusk * U256::from(5) / U256::from(2) + U256::from(7));
    assert_eq!(balance(&node, &wallet.to_string()).await, gwei * U256::from(10) - U256::from(7), "what was minted");
    let ports = node.ports;
    node.kill();
    let node = Node::start(&folder.path().join("data"), ports);
    support::grow(&node, 3, Duration::from_secs(60)).await;
    assert_eq!(user_deposits(&node, height).await.len(), 5, "not once more after a restart");
    assert_eq!(balance(&node, BOB).await, dusk * U256::from(5) / U256::from(2) + U256::from(7));
    assert!(node.stop().success());
}

#[tokio::test]
async fn messages_batches_and_configuration_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data, Ports::free());
    let config = LOCAL_CONTRACTS.system_config;
    assert_eq!(read(&node, config, "gasLimit"), json!("60000000"));
    let wallet = wallet_address(duskevm::network::local_producer().id().as_bytes());
    assert_eq!(read(&node, config, "owner"), json!(wallet.to_string()));

    let message = contract_call(LOCAL_CONTRACTS.messenger, "sendMessage", json!([BOB, "0x010203", 250_000]), 0);
    let (hash, success) = submit(&node, &message);
    assert!(success);
    assert_eq!(viewed(&node, &hash).await["logs"].as_array().unwrap().len(), 3);

    // A batch: a signed Ethereum transaction, shown as it is.
    let tx = TxEip1559 {
        chain_id: duskevm_genesis::NetworkSpec::LOCAL_L1_CHAIN_ID,
        gas_limit: 21_000,
        max_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(evm_address(LOCAL_CONTRACTS.batch_inbox)),
        input: Bytes::from_static(&[0, 7]),
        ..Default::default()
    };
    let signature = support::accounts(1)[0].sign_hash_sync(&tx.signature_hash()).unwrap();
    let envelope = Bytes::from(TxEnvelope::from(tx.into_signed(signature)).encoded_2718());
    let submission = contract_call(LOCAL_CONTRACTS.batch_inbox, "submitEnvelope", json!([envelope]), 0);
    let (hash, success) = submit(&node, &submission);
    assert!(success);
    assert_eq!(viewed(&node, &hash).await["transactionHash"], json!(keccak256(&envelope)));

    let (hash, success) = submit(&node, &contract_call(config, "setGasLimit", json!(["45000000"]), 0));
    assert!(success);
    let shown = viewed(&node, &hash).await;
    let log = &shown["logs"][0];
    assert_eq!((&log["address"], &log["topics"][0]), (&json!(evm_address(config)), &json!(CONFIG_UPDATE)));
    assert_eq!(log["topics"][2], json!(B256::with_last_byte(2)));
    assert_eq!(log_data(log)[64..], U256::from(45_000_000).to_be_bytes::<32>());
    let (_, success) = submit(&node, &contract_call(config, "setGasLimit", json!(["1"]), 0));
    assert!(!success);

    let ports = node.ports;
    node.kill();
    let node = Node::start(&data, ports);
    assert_eq!(read(&node, config, "gasLimit"), json!("45000000"));
    let nonce = read(&node, LOCAL_CONTRACTS.messenger, "messageNonce");
    let first = U256::from_be_bytes(hex!("0001000000000000000000000000000000000000000000000000000000000001"));
    assert_eq!(nonce, json!(first.to_string()));
    let (_, success) = submit(&node, &submission);
    assert!(!success, "an envelope lands once");
    assert_eq!(viewed(&node, &hash).await, shown, "the view is the same");
    assert!(node.stop().success());
}
