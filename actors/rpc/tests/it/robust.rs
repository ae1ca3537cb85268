//! Bad input: an error each, and the server goes on.

use crate::{
    chain::MemoryChain,
    client::Client,
    node::{Node, transfer, user},
};
use alloy_primitives::{Address, hex};
use duskevm_rpc::Limits;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

async fn still_serves(client: &Client) {
    assert_eq!(client.call("eth_chainId", json!([])).await, "0x7a4e");
}

#[tokio::test]
async fn malformed_json_is_a_parse_error() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    for body in [
        &b"{"[..],
        b"",
        b"nonsense",
        b"{\"jsonrpc\":\"2.0\",\"id\":1",
        b"\xff\xfe\xfd",
        b"[",
        b"123",
        b"\"eth\"",
        b"{]",
    ] {
        let (_, answer) = client.post(body).await;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{body:?}: {e}: {answer}"));
        let code = answer["error"]["code"].as_i64().unwrap();
        assert!(matches!(code, -32700 | -32600), "{body:?}: {answer}");
    }
    for (body, code) in [
        (json!({ "jsonrpc": "2.0", "id": 1 }), -32600),
        (json!({ "jsonrpc": "1.0", "id": 1, "method": "eth_chainId" }), -32600),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": 5 }), -32600),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": "no_such_method" }), -32601),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": "admin_actors" }), -32601),
        (json!([]), -32600),
    ] {
        let (_, answer) = client.post(body.to_string().as_bytes()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{body}: {answer}");
    }
    still_serves(&client).await;
    node.stop().await;
}

#[tokio::test]
async fn wrong_types_and_numbers_are_invalid_params() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let huge = format!("0x1{}", "0".repeat(64));
    let address = Address::ZERO;
    for (method, params) in [
        ("eth_getBalance", json!([])),
        ("eth_getBalance", json!(["0x12", "latest"])),
        ("eth_getBalance", json!([address, "newest"])),
        ("eth_getBalance", json!([address, huge])),
        ("eth_getBalance", json!([address, "latest", 1])),
        ("eth_getBalance", json!({ "address": address })),
        ("eth_getBalance", json!([address, { "blockHash": "0x1" }])),
        ("eth_getBlockByNumber", json!([huge, true])),
        ("eth_getBlockByNumber", json!(["0xffffffffffffffffff", true])),
        ("eth_getBlockByNumber", json!(["latest", "yes"])),
        ("eth_getBlockByHash", json!(["0x", true])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["latest", huge])),
        ("eth_getStorageAt", json!([address, huge, "latest"])),
        ("eth_getStorageAt", json!([address, "slot", "latest"])),
        ("eth_getProof", json!([address, "0x0", "latest"])),
        ("eth_call", json!([{ "to": 5 }])),
        ("eth_call", json!([{ "to": address, "value": huge }])),
        ("eth_call", json!([{ "to": address, "gas": huge }])),
        ("eth_call", json!([{ "to": address }, "latest", [] ])),
        ("eth_call", json!([{ "to": address }, "latest", { "0x": {} } ])),
        ("eth_call", json!([{ "to": address }, "latest", {}, { "baseFeePerGas": huge } ])),
        ("eth_feeHistory", json!([huge, "latest", []])),
        ("eth_feeHistory", json!([-1, "latest", []])),
        ("eth_getLogs", json!([{ "fromBlock": huge }])),
        ("eth_getLogs", json!([{ "topics": [1, 2] }])),
        ("eth_getLogs", json!([{ "topics": [null, null, null, null, null] }])),
        ("eth_getLogs", json!([{ "fromBlock": "0x5", "toBlock": "0x1" }])),
        ("eth_getLogs", json!([{ "fromBlock": "pending" }])),
        ("eth_getLogs", json!(["everything"])),
        ("eth_sendRawTransaction", json!([5])),
        ("eth_sendRawTransaction", json!(["0xzz"])),
        ("eth_sendRawTransaction", json!([])),
        ("eth_newFilter", json!([[]])),
        ("eth_getFilterChanges", json!([1])),
        ("debug_traceTransaction", json!(["0x1"])),
        ("debug_traceCall", json!([{}, "latest", { "tracer": 7 }])),
        ("optimism_outputAtBlock", json!([huge])),
        ("web3_sha3", json!(["0x123"])),
    ] {
        let (code, message) = client.error(method, params.clone()).await;
        assert_eq!(code, -32602, "{method} {params}: {message}");
    }
    still_serves(&client).await;
    node.stop().await;
}

#[tokio::test]
async fn garbage_is_no_transaction() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let valid = transfer(&user(0), 0, Address::ZERO, 1);
    let deposit = node.chain.mine(vec![]).transactions[0].encoded().clone();
    let mut bad: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![2],
        vec![3, 0xc0],
        vec![4, 0xc0],
        vec![0x7d, 0xc0],
        vec![0x7e, 0xc0],
        vec![0x7f],
        vec![0xc0],
        vec![0xff; 300],
        // A list that claims to be longer than memory.
        hex!("02fbffffffffffffffff").to_vec(),
        deposit.to_vec(),
        [&valid.encoded()[..], &[0]].concat(),
        valid.encoded()[..valid.encoded().len() - 1].to_vec(),
        vec![0x02; 200 * 1024],
    ];
    // Every single byte turned over: another transaction or none, never a fault.
    bad.extend((0..valid.encoded().len()).map(|at| {
        let mut bytes = valid.encoded().to_vec();
        bytes[at] ^= 0xff;
        bytes
    }));
    for (index, bytes) in bad.iter().enumerate() {
        let answer = client.raw("eth_sendRawTransaction", json!([hex::encode_prefixed(bytes)])).await;
        match answer["error"]["code"].as_i64() {
            Some(code) => assert_eq!(code, -32000, "{index}: {answer}"),
            None => assert!(index >= 15, "garbage {index} was taken: {answer}"),
        }
    }
    let unprotected = crate::node::sign(
        &user(0),
        alloy_consensus::TxLegacy { chain_id: None, gas_limit: 21_000, gas_price: 1_000_000_000, ..Default::default() },
    );
    let (code, message) = client.error("eth_sendRawTransaction", json!([unprotected.encoded()])).await;
    assert_eq!((code, message.as_str()), (-32000, "only replay-protected (EIP-155) transactions allowed over RPC"));
    still_serves(&client).await;
    node.stop().await;
}

#[tokio::test]
async fn batches_are_bounded_and_answered_in_order() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let call = |id: usize, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] });
    let batch: Vec<Value> = (0..10_000).map(|id| call(id, "eth_blockNumber")).collect();
    let (_, answer) = client.post(json!(batch).to_string().as_bytes()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    assert_eq!(answer["error"]["message"], "batch too large: more than 1000 calls");

    let mut batch: Vec<Value> =
        (0..1000).map(|id| call(id, if id % 2 == 0 { "eth_gasPrice" } else { "eth_chainId" })).collect();
    batch[3] = json!(7);
    batch[4] = call(4, "no_such_method");
    let (status, answer) = client.post(json!(batch).to_string().as_bytes()).await;
    let answers: Vec<Value> = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, answers.len()), (200, 1000));
    for (id, answer) in answers.iter().enumerate() {
        match id {
            3 => assert_eq!(answer["error"]["code"], -32600),
            4 => assert_eq!(answer["error"]["code"], -32601),
            _ => assert!(answer["id"] == id && answer["result"].is_string(), "{id}: {answer}"),
        }
    }
    still_serves(&client).await;
    node.stop().await;
}

#[tokio::test]
async fn size_and_depth_are_bounded() {
    let limits = Limits { max_request_bytes: 64 * 1024, max_response_bytes: 4 * 1024, ..Limits::default() };
    let node = Node::with(MemoryChain::isthmus(), limits).await;
    let client = node.client();
    let (status, answer) = client.post(&vec![b' '; 100 * 1024]).await;
    assert_eq!(status, 413, "{answer}");
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"web3_sha3","params":["0x{}"]}}"#, "00".repeat(64 * 1024));
    let (status, answer) = client.post(long.as_bytes()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["error"]["code"]), (413, &json!(-32600)));

    for open in ["[", "{\"a\":"] {
        let close = if open == "[" { "]" } else { "}" };
        let nested = format!("{}1{}", open.repeat(5000), close.repeat(5000));
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{nested}]}}"#);
        let (_, answer) = client.post(body.as_bytes()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("nest deeper than 64"));
    }
    // 3 KiB of output make more than 4 KiB of hex.
    let returns_3k = "0x610c005ff3";
    let (code, message) = client.error("eth_call", json!([{ "data": returns_3k }])).await;
    assert_eq!((code, message.starts_with("response too large")), (-32005, true), "{message}");
    still_serves(&client).await;
    node.stop().await;
}

#[tokio::test]
async fn log_queries_are_bounded() {
    let limits = Limits { max_log_blocks: 5, max_log_results: 3, ..Limits::default() };
    let node = Node::with(MemoryChain::isthmus(), limits).await;
    let client = node.client();
    let contract = crate::node::deploy(&node.chain, 0, crate::node::STORE_AND_LOG);
    for nonce in 0..8 {
        let log =
            crate::node::dynamic(&user(0), nonce, alloy_primitives::TxKind::Call(contract), 0, crate::node::word(1));
        node.chain.mine(vec![log]);
    }
    for range in [
        json!({ "fromBlock": "0x0" }),
        json!({ "fromBlock": "0x0", "toBlock": "0xffffffffffffffff" }),
        json!({ "fromBlock": "earliest" }),
    ] {
        assert_eq!(client.error("eth_getLogs", json!([range])).await, (-32602, "exceed maximum block range: 5".into()));
    }
    let found = client.call("eth_getLogs", json!([{ "fromBlock": "0x7", "toBlock": "0xffffffffffffffff" }])).await;
    assert_eq!(found.as_array().unwrap().len(), 3);
    let (code, message) = client.error("eth_getLogs", json!([{ "fromBlock": "0x5" }])).await;
    assert_eq!((code, message.as_str()), (-32005, "query returned more than 3 results"));
    let many: Vec<Address> = (0..1001u64).map(|i| Address::left_padding_from(&i.to_be_bytes())).collect();
    assert_eq!(
        client.error("eth_getLogs", json!([{ "address": many }])).await,
        (-32602, "exceed max addresses".into())
    );
    still_serves(&client).await;
    node.stop().await;
}

#[tokio::test]
async fn long_logs_are_bounded_in_bytes() {
    // 4 KiB of zeros as the data of one log: 9 KiB of JSON, so that only a few fit.
    const LONG_LOG: &[u8] = &[0x61, 0x10, 0x00, 0x5f, 0xa0];
    let node = Node::with(MemoryChain::isthmus(), Limits { max_response_bytes: 32 * 1024, ..Limits::default() }).await;
    let client = node.client();
    let contract = crate::node::deploy(&node.chain, 0, LONG_LOG);
    let call =
        |nonce| crate::node::dynamic(&user(0), nonce, alloy_primitives::TxKind::Call(contract), 0, vec![].into());
    node.chain.mine((0..3).map(call).collect());
    assert_eq!(client.call("eth_getLogs", json!([{}])).await.as_array().unwrap().len(), 3);
    node.chain.mine((3..10).map(call).collect());
    let (code, message) = client.error("eth_getLogs", json!([{}])).await;
    assert_eq!((code, message.starts_with("response too large")), (-32005, true), "{message}");
    node.stop().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let node = Node::with(MemoryChain::isthmus(), Limits { max_connections: 4, ..Limits::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(node.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The fifth is closed at once.
    let mut fifth = TcpStream::connect(node.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), fifth.read(&mut [0; 1])).await.expect("it was kept open");
    assert!(matches!(read, Ok(0) | Err(_)));
    drop(idle);
    tokio::time::sleep(Duration::from_millis(300)).await;
    still_serves(&node.client()).await;
    node.stop().await;
}

#[tokio::test]
async fn http_is_spoken_properly() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    assert_eq!(client.request("GET", &[], b"").await.0, 200, "load balancers ask like this");
    assert_eq!(client.request("PUT", &[("content-type", "application/json")], b"{}").await.0, 405);
    assert_eq!(client.request("POST", &[("content-type", "text/plain")], b"{}").await.0, 415);
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    assert_eq!(client.request("OPTIONS", &preflight, b"").await.0, 200);
    // Not HTTP at all.
    let mut raw = TcpStream::connect(node.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut raw, &[0xff; 1000]).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), raw.read_to_end(&mut answer)).await.expect("it was kept open");
    still_serves(&client).await;
    node.stop().await;
}

#[tokio::test]
async fn namespaces_can_be_left_out() {
    let mut config = crate::node::config(Limits::default());
    config.namespaces = vec!["eth".to_owned(), "rpc".to_owned()];
    let node = Node::configured(MemoryChain::isthmus(), config).await;
    let client = node.client();
    still_serves(&client).await;
    assert_eq!(client.call("rpc_modules", json!([])).await, json!({ "eth": "1.0", "rpc": "1.0" }));
    assert_eq!(client.error("debug_getRawHeader", json!(["latest"])).await.0, -32601);
    assert_eq!(client.error("txpool_status", json!([])).await.0, -32601);
    node.stop().await;
}

#[tokio::test]
async fn only_local_names_reach_a_server_on_loopback() {
    let mut config = crate::node::config(Limits::default());
    config.hosts = vec!["node.example".to_owned()];
    let node = Node::configured(MemoryChain::isthmus(), config).await;
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
    for (host, status) in [("localhost", 200), ("127.0.0.1", 200), ("node.example:1", 200), ("evil.example", 403)] {
        let headers = [("content-type", "application/json"), ("host", host)];
        assert_eq!(node.client().request("POST", &headers, body).await.0, status, "{host}");
    }
    node.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_open_no_websocket() {
    let mut config = crate::node::config(Limits::default());
    config.cors = vec!["https://a.example".to_owned()];
    let node = Node::configured(MemoryChain::isthmus(), config).await;
    for (origin, status) in [(Some("https://a.example"), 101), (Some("https://b.example"), 403), (None, 101)] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
        let upgrade = format!(
            "GET / HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n",
            node.address
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, upgrade.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(std::str::from_utf8(&head).unwrap(), format!("HTTP/1.1 {status}"), "{origin:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn the_size_of_transactions_is_a_setting() {
    let node = Node::with(MemoryChain::isthmus(), Limits { max_tx_bytes: 200 * 1024, ..Limits::default() }).await;
    let client = node.client();
    let with_data = |bytes: usize| {
        let to = alloy_primitives::TxKind::Call(Address::ZERO);
        let tx = crate::node::dynamic(&user(0), 0, to, 0, vec![0; bytes].into());
        json!([tx.encoded()])
    };
    client.call("eth_sendRawTransaction", with_data(150 * 1024)).await;
    let (code, message) = client.error("eth_sendRawTransaction", with_data(201 * 1024)).await;
    assert_eq!((code, message.starts_with("oversized data")), (-32000, true), "{message}");
    node.stop().await;
}
