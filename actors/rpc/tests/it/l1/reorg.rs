//! L1 replaces blocks.

use super::bed::Bed;
use alloy_primitives::B256;
use duskevm_rpc::Limits;
use jsonrpsee::{
    core::client::{Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

async fn next(subscription: &mut Subscription<Value>) -> Value {
    tokio::time::timeout(Duration::from_secs(20), subscription.next()).await.expect("nothing came").unwrap().unwrap()
}

/// The branch that a log is of.
fn branch(log: &Value) -> &Value {
    &log["topics"][1]
}

#[tokio::test]
async fn what_was_replaced_is_not_there_any_more() {
    let mut bed = Bed::start(9, 4).await;
    let old = bed.chain.blocks[8].clone();
    // It is in the cache.
    assert_eq!(bed.ask("eth_getBlockByHash", json!([old.hash(), true])).await["hash"], json!(old.hash()));
    bed.chain.take_back(6);
    bed.chain.grow(9, 2, 4);
    let new = bed.chain.blocks[8].clone();
    assert_ne!(old.hash(), new.hash());
    let gone = &old.transactions[0];
    for (method, params) in [
        ("eth_getBlockByHash", json!([old.hash(), true])),
        ("eth_getBlockReceipts", json!([old.hash()])),
        ("eth_getTransactionByHash", json!([gone.hash()])),
        ("eth_getTransactionReceipt", json!([gone.hash()])),
        ("eth_getTransactionReceipt", json!([gone.dusk_id])),
        ("eth_getTransactionByBlockHashAndIndex", json!([old.hash(), "0x0"])),
    ] {
        assert_eq!(bed.ask(method, params).await, Value::Null, "{method}");
    }
    let (code, _) = bed.client().error("eth_getLogs", json!([{ "blockHash": old.hash() }])).await;
    assert_eq!(code, -32000);
    assert_eq!(bed.ask("eth_getBlockByNumber", json!(["0x8", false])).await["hash"], json!(new.hash()));
    let logs = bed.ask("eth_getLogs", json!([{ "fromBlock": "0x5", "toBlock": "0x9" }])).await;
    let branches: Vec<_> = logs.as_array().unwrap().iter().map(branch).cloned().collect();
    let of = |number| json!(B256::with_last_byte(number));
    assert_eq!(branches, [of(1), of(1), of(2), of(2), of(2)]);
    bed.stop().await;
}

/// Between the removal of blocks and the news of it the chain is what is left of it.
#[tokio::test]
async fn a_tag_names_a_block_while_blocks_are_replaced() {
    let mut bed = Bed::start(9, 4).await;
    bed.chain.take_back(6);
    assert_eq!(bed.ask("eth_blockNumber", json!([])).await, "0x6");
    let latest = bed.ask("eth_getBlockByNumber", json!(["latest", true])).await;
    assert_eq!(latest["hash"], json!(bed.chain.blocks[6].hash()));
    assert_eq!(bed.ask("eth_getBlockByNumber", json!(["0x7", true])).await, Value::Null);
    // What is stored and not announced yet is not shown either.
    bed.chain.publish(4);
    bed.chain.add(2, super::bed::system_config(), 4);
    assert_eq!(bed.ask("eth_getBlockByNumber", json!(["0x7", true])).await, Value::Null);
    let unannounced = bed.chain.blocks[7].clone();
    assert_eq!(bed.ask("eth_getBlockByHash", json!([unannounced.hash(), true])).await, Value::Null);
    let id = unannounced.transactions[0].dusk_id;
    assert_eq!(bed.ask("eth_getTransactionReceipt", json!([id])).await, Value::Null);
    bed.stop().await;
}

#[tokio::test]
async fn a_view_that_is_made_anew_is_not_a_chain_that_went_back() {
    let bed = Bed::start(9, 4).await;
    bed.chain.reset();
    for (method, params) in [
        ("eth_blockNumber", json!([])),
        ("eth_getBlockByNumber", json!(["latest", false])),
        ("eth_getBlockByNumber", json!(["0x3", false])),
        ("eth_getBlockByHash", json!([bed.chain.blocks[3].hash(), false])),
    ] {
        let (code, message) = bed.client().error(method, params).await;
        assert_eq!((code, message.contains("being opened")), (-32000, true), "{method}: {message}");
    }
    assert_eq!(bed.ask("eth_syncing", json!([])).await["highestBlock"], "0x9");
    bed.stop().await;
}

#[tokio::test]
async fn subscribers_hear_of_new_blocks_and_of_removed_logs() {
    let mut bed = Bed::start(6, 2).await;
    let client: WsClient = WsClientBuilder::default().build(format!("ws://{}", bed.address)).await.unwrap();
    let mut heads: Subscription<Value> =
        client.subscribe("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe").await.unwrap();
    let mut logs: Subscription<Value> =
        client.subscribe("eth_subscribe", rpc_params!["logs", json!({})], "eth_unsubscribe").await.unwrap();
    bed.chain.grow(7, 1, 2);
    // Following may have begun below the block that was there at the start.
    while next(&mut heads).await["hash"] != json!(bed.chain.blocks[7].hash()) {}
    let old = loop {
        let log = next(&mut logs).await;
        assert_eq!(log["removed"], json!(false));
        if log["blockNumber"] == "0x7" {
            break log;
        }
    };
    bed.chain.take_back(6);
    bed.chain.grow(8, 2, 2);
    for number in [7, 8] {
        assert_eq!(next(&mut heads).await["hash"], json!(bed.chain.blocks[number].hash()));
    }
    let removed = next(&mut logs).await;
    assert_eq!((&removed["removed"], &removed["blockHash"]), (&json!(true), &old["blockHash"]));
    for number in ["0x7", "0x8"] {
        let log = next(&mut logs).await;
        assert_eq!((&log["removed"], &log["blockNumber"]), (&json!(false), &json!(number)));
        assert_eq!(branch(&log), &json!(B256::with_last_byte(2)));
    }
    drop((heads, logs));
    let refused = client
        .subscribe::<Value, _>("eth_subscribe", rpc_params!["newPendingTransactions"], "eth_unsubscribe")
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("newPendingTransactions"), "{refused}");
    bed.stop().await;
}

#[tokio::test]
async fn a_search_does_not_drive_out_the_logs_that_may_be_removed() {
    // Room for a few blocks only.
    let limits = Limits { cache_bytes: 48 * 1024, ..Limits::default() };
    let mut bed = Bed::with(40, 10, limits, |spec| spec).await;
    let client: WsClient = WsClientBuilder::default().build(format!("ws://{}", bed.address)).await.unwrap();
    let mut logs: Subscription<Value> =
        client.subscribe("eth_subscribe", rpc_params!["logs", json!({})], "eth_unsubscribe").await.unwrap();
    bed.chain.grow(41, 1, 10);
    while next(&mut logs).await["blockNumber"] != "0x29" {}
    let all = bed.ask("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "0x28" }])).await;
    assert_eq!(all.as_array().unwrap().len(), 41);
    bed.chain.take_back(40);
    bed.chain.grow(42, 2, 10);
    let removed = next(&mut logs).await;
    assert_eq!((&removed["removed"], &removed["blockNumber"]), (&json!(true), &json!("0x29")));
    bed.stop().await;
}

/// Whatever is asked while blocks come and go, each answer is of one chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_joins_two_branches() {
    const FORK: u64 = 20;
    let mut bed = Bed::start(30, FORK).await;
    let client = bed.client();
    let stop = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                let filter = json!([{ "fromBlock": "0xf", "toBlock": "0x1e" }]);
                let answer = client.raw("eth_getLogs", filter).await;
                // Too many changes in a row are told as such.
                let Some(logs) = answer["result"].as_array() else {
                    assert!(answer["error"]["message"].as_str().unwrap().contains("no longer part"), "{answer}");
                    continue;
                };
                let above = logs
                    .iter()
                    .filter(|log| u64::from_str_radix(&log["blockNumber"].as_str().unwrap()[2..], 16).unwrap() > FORK);
                let branches: std::collections::BTreeSet<String> = above.map(|log| branch(log).to_string()).collect();
                assert!(branches.len() <= 1, "{branches:?}");
                answers += usize::from(!branches.is_empty());

                let block = client.call("eth_getBlockByNumber", json!(["latest", true])).await;
                let hash = block["hash"].clone();
                assert!(block["transactions"].as_array().unwrap().iter().all(|tx| tx["blockHash"] == hash));
            }
            answers
        }
    });
    for turn in 0..8u8 {
        bed.chain.take_back(FORK);
        bed.chain.grow(30, 2 + turn % 2, FORK);
    }
    stop.store(true, Ordering::Relaxed);
    let answers = reading.await.unwrap();
    assert!(answers > 0, "nothing was read while blocks were replaced");
    bed.stop().await;
}
