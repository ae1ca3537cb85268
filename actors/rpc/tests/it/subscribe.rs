//! Subscriptions over WebSocket.

use crate::{
    chain::MemoryChain,
    node::{Node, STORE_AND_LOG, deploy, dynamic, transfer, user, word},
};
use alloy_primitives::{Address, TxKind};
use jsonrpsee::{
    core::client::{ClientT, Error, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, json};
use std::time::Duration;

async fn connect(node: &Node) -> WsClient {
    WsClientBuilder::default().build(format!("ws://{}", node.address)).await.unwrap()
}

async fn subscribe(client: &WsClient, params: Vec<Value>) -> Subscription<Value> {
    let mut array = jsonrpsee::core::params::ArrayParams::new();
    for param in params {
        array.insert(param).unwrap();
    }
    client.subscribe("eth_subscribe", array, "eth_unsubscribe").await.unwrap()
}

async fn next(subscription: &mut Subscription<Value>) -> Value {
    tokio::time::timeout(Duration::from_secs(10), subscription.next()).await.expect("nothing came").unwrap().unwrap()
}

#[tokio::test]
async fn heads_and_logs_follow_the_chain_and_its_reorganizations() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let base = node.chain.head();
    let client = connect(&node).await;
    let mut heads = subscribe(&client, vec![json!("newHeads")]).await;
    let mut logs = subscribe(&client, vec![json!("logs"), json!({ "address": contract })]).await;
    let call = |value| dynamic(&user(0), 0, TxKind::Call(contract), 0, word(value));

    let first = node.chain.mine(vec![call(1)]);
    let mut head = next(&mut heads).await;
    // The deployment may be announced only now.
    if head["number"] == "0x1" {
        head = next(&mut heads).await;
    }
    assert_eq!((&head["hash"], &head["number"]), (&json!(first.hash()), &json!("0x2")));
    assert!(head["baseFeePerGas"].is_string() && head["logsBloom"].is_string());
    let log = next(&mut logs).await;
    assert_eq!((&log["data"], &log["removed"]), (&json!(word(1)), &json!(false)));

    let second = node.chain.mine_on(&base, vec![call(2)], 5);
    assert_eq!(next(&mut heads).await["hash"], json!(second.hash()));
    let removed = next(&mut logs).await;
    assert_eq!((&removed["data"], &removed["removed"]), (&json!(word(1)), &json!(true)));
    assert_eq!(removed["blockHash"], json!(first.hash()));
    let added = next(&mut logs).await;
    assert_eq!((&added["data"], &added["removed"]), (&json!(word(2)), &json!(false)));

    // Calls go over the same connection.
    let number: String = client.request("eth_blockNumber", rpc_params![]).await.unwrap();
    assert_eq!(number, "0x2");
    heads.unsubscribe().await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn pending_transactions_come_as_hashes_or_in_full() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = connect(&node).await;
    let mut hashes = subscribe(&client, vec![json!("newPendingTransactions")]).await;
    let mut full = subscribe(&client, vec![json!("newPendingTransactions"), json!(true)]).await;
    let tx = transfer(&user(0), 0, Address::ZERO, 1);
    let hash: Value = client.request("eth_sendRawTransaction", rpc_params![tx.encoded()]).await.unwrap();
    assert_eq!(next(&mut hashes).await, hash);
    let shown = next(&mut full).await;
    assert_eq!((&shown["hash"], &shown["from"]), (&hash, &json!(user(0).address())));
    node.stop().await;
}

#[tokio::test]
async fn wrong_subscriptions_are_errors() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = connect(&node).await;
    for (params, code) in [
        (json!(["weather"]), -32601),
        (json!([]), -32602),
        (json!(["logs", { "topics": "x" }]), -32602),
        (json!(["newHeads", 1, 2, 3]), -32602),
    ] {
        let error = client.request::<Value, _>("eth_subscribe", params.as_array().unwrap().clone()).await.unwrap_err();
        let Error::Call(error) = error else { panic!("{error}") };
        assert_eq!(error.code(), code, "{params}: {error}");
    }
    // Over HTTP nothing can be pushed.
    let http = node.client();
    assert_eq!(http.error("eth_subscribe", json!(["newHeads"])).await, (-32001, "notifications not supported".into()));
    node.stop().await;
}

#[tokio::test]
async fn subscriptions_per_connection_are_bounded() {
    let limits = duskevm_rpc::Limits { max_subscriptions: 2, ..duskevm_rpc::Limits::default() };
    let node = Node::with(MemoryChain::isthmus(), limits).await;
    let client = connect(&node).await;
    let _first = subscribe(&client, vec![json!("newHeads")]).await;
    let second = subscribe(&client, vec![json!("newHeads")]).await;
    let third = client.request::<Value, _>("eth_subscribe", rpc_params!["newHeads"]).await.unwrap_err();
    assert!(matches!(third, Error::Call(_)), "{third}");
    second.unsubscribe().await.unwrap();
    // Its place is free as soon as its task has ended.
    let freed = async {
        while client.subscribe::<Value, _>("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.expect("its place is not freed");
    node.stop().await;
}

#[tokio::test]
async fn a_reorganization_below_the_start_of_the_server_is_announced() {
    let chain = MemoryChain::isthmus();
    let base = chain.mine(vec![]);
    (0..3).for_each(|_| drop(chain.mine(vec![])));
    // The server has seen none of these blocks being made, and the database drops them.
    let node = Node::start(chain).await;
    let client = connect(&node).await;
    let mut heads = subscribe(&client, vec![json!("newHeads")]).await;
    // Wait until it follows.
    loop {
        let marker = node.chain.mine(vec![]);
        if let Ok(head) = tokio::time::timeout(Duration::from_millis(500), heads.next()).await {
            assert_eq!(head.unwrap().unwrap()["hash"], json!(marker.hash()));
            break;
        }
    }
    let mut parent = base;
    let mut announced = Vec::new();
    for _ in 0..3 {
        parent = node.chain.mine_on(&parent, vec![], 7);
        announced.push(json!(parent.hash()));
    }
    for hash in announced {
        assert_eq!(next(&mut heads).await["hash"], hash);
    }
    node.stop().await;
}
