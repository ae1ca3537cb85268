//! Transactions that are handed to a sequencer elsewhere: what it says is said, and where it says nothing that is said as well.

use crate::{
    chain::MemoryChain,
    client::number,
    node::{Node, config, transfer, user},
};
use alloy_primitives::{Address, B256};
use duskevm_rpc::{BlockMaker, Limits, RpcConfig};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

const DEAD: Address = Address::repeat_byte(0xde);

fn forwarding(sequencer: SocketAddr, limits: Limits) -> RpcConfig {
    RpcConfig { sequencer: BlockMaker::Elsewhere(format!("http://{sequencer}")), ..config(limits) }
}

async fn replica(sequencer: SocketAddr, limits: Limits) -> Node {
    Node::configured(MemoryChain::isthmus(), forwarding(sequencer, limits)).await
}

/// Status line and body of an answer; `None` leaves the client without one.
type Answer = Option<(&'static str, String)>;

/// A server that answers what the test says to each body of a POST, and tells the test of each.
async fn scripted(
    answer: impl Fn(Value) -> Answer + Send + Sync + 'static,
) -> (SocketAddr, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::unbounded_channel();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        // Connections stay open as long as the test runs.
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(tokio::spawn(serve(stream, answer.clone(), tell.clone())));
        }
    });
    (address, asked)
}

async fn serve(
    stream: TcpStream,
    answer: Arc<impl Fn(Value) -> Answer + Send + Sync>,
    tell: mpsc::UnboundedSender<Value>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let reply = if body["method"] == json!("eth_getBlockByNumber") {
            // It says nothing of its network.
            result(&body, Value::Null)
        } else {
            let reply = answer(body.clone());
            let _ = tell.send(body);
            reply
        };
        let Some((status, body)) = reply else { std::future::pending().await };
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

fn result(request: &Value, result: Value) -> Answer {
    Some(("200 OK", json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string()))
}

#[tokio::test]
async fn a_transaction_goes_to_the_sequencer_and_stays_in_the_own_pool() {
    let sequencer = Node::start(MemoryChain::isthmus()).await;
    let node = replica(sequencer.address, Limits::default()).await;
    let client = node.client();
    let alice = user(0);
    let tx = transfer(&alice, 0, DEAD, 1);
    let hash = client.call("eth_sendRawTransaction", json!([tx.encoded()])).await;
    assert_eq!(hash, json!(tx.hash()));
    // Both have it, so that whoever asks this node finds it and counts on from it.
    for client in [&client, &sequencer.client()] {
        let found = client.call("eth_getTransactionByHash", json!([hash])).await;
        assert_eq!((&found["hash"], &found["blockHash"]), (&hash, &Value::Null));
        let nonce = client.call("eth_getTransactionCount", json!([alice.address(), "pending"])).await;
        assert_eq!(number(&nonce), 1);
    }
    node.stop().await;
    sequencer.stop().await;
}

#[tokio::test]
async fn a_node_of_another_network_gets_no_transaction() {
    let stranger = Node::start(MemoryChain::jovian()).await;
    let node = replica(stranger.address, Limits::default()).await;
    let tx = transfer(&user(0), 0, DEAD, 1);
    for _ in 0..2 {
        let (code, message) = node.client().error("eth_sendRawTransaction", json!([tx.encoded()])).await;
        assert!(
            code == -32000 && message.contains("another network") && message.contains("rpc.sequencer"),
            "{message}"
        );
    }
    assert!(node.pool.take().is_empty() && stranger.pool.take().is_empty());
    node.stop().await;
    stranger.stop().await;
}

#[tokio::test]
async fn what_the_sequencer_refuses_is_refused_in_its_words_and_not_kept() {
    let least = Limits { max_tx_bytes: 100, ..Limits::default() };
    let sequencer = Node::with(MemoryChain::isthmus(), least).await;
    let node = replica(sequencer.address, Limits::default()).await;
    let tx = transfer(&user(0), 0, DEAD, 1);
    let direct = sequencer.client().error("eth_sendRawTransaction", json!([tx.encoded()])).await;
    assert_eq!(node.client().error("eth_sendRawTransaction", json!([tx.encoded()])).await, direct);
    assert!(node.pool.take().is_empty());
    // What is no transaction does not get that far.
    assert_eq!(node.client().error("eth_sendRawTransaction", json!(["0x02c0"])).await.0, -32000);
    node.stop().await;
    sequencer.stop().await;

    let (address, mut asked) = scripted(|request| {
        let error = json!({ "code": -38014, "message": "out of cheese", "data": { "left": [0] } });
        Some(("200 OK", json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string()))
    })
    .await;
    let node = replica(address, Limits::default()).await;
    let answer = node.client().raw("eth_sendRawTransaction", json!([tx.encoded()])).await;
    assert_eq!(answer["error"], json!({ "code": -38014, "message": "out of cheese", "data": { "left": [0] } }));
    let request = asked.recv().await.unwrap();
    assert_eq!((&request["method"], &request["params"]), (&json!("eth_sendRawTransaction"), &json!([tx.encoded()])));
    assert!(node.pool.take().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn what_the_own_pool_refuses_the_sequencer_has_all_the_same() {
    let tx = transfer(&user(0), 0, DEAD, 1);
    let hash = tx.hash();
    let (address, mut asked) = scripted(move |request| result(&request, json!(hash))).await;
    let node = replica(address, Limits::default()).await;
    for _ in 0..2 {
        // The second time the own pool knows it already.
        assert_eq!(node.client().call("eth_sendRawTransaction", json!([tx.encoded()])).await, json!(hash));
        asked.recv().await.unwrap();
    }
    node.stop().await;
}

#[tokio::test]
async fn what_the_sequencer_has_already_may_be_sent_again() {
    let sequencer = Node::start(MemoryChain::isthmus()).await;
    let node = replica(sequencer.address, Limits::default()).await;
    let tx = transfer(&user(0), 0, DEAD, 1);
    // The first time its answer got lost on the way.
    sequencer.client().call("eth_sendRawTransaction", json!([tx.encoded()])).await;
    assert_eq!(node.client().call("eth_sendRawTransaction", json!([tx.encoded()])).await, json!(tx.hash()));
    assert_eq!(node.pool.take().len(), 1);
    node.stop().await;
    sequencer.stop().await;
}

#[tokio::test]
async fn a_node_without_a_sequencer_refuses_what_nobody_would_include() {
    let config = RpcConfig { sequencer: BlockMaker::Unknown, ..config(Limits::default()) };
    let node = Node::configured(MemoryChain::isthmus(), config).await;
    let tx = transfer(&user(0), 0, DEAD, 1);
    for method in ["eth_sendRawTransaction", "eth_sendRawTransactionSync"] {
        let (code, message) = node.client().error(method, json!([tx.encoded()])).await;
        assert_eq!((code, message.contains("rpc.sequencer")), (-32000, true), "{method}: {message}");
    }
    assert!(node.pool.take().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn a_sequencer_that_cannot_be_reached_is_an_error() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let node = replica(address, Limits::default()).await;
    let tx = transfer(&user(0), 0, DEAD, 1);
    let (code, message) = node.client().error("eth_sendRawTransaction", json!([tx.encoded()])).await;
    assert_eq!(code, -32000);
    assert!(message.contains("did not confirm the transaction") && message.contains("refused"), "{message}");
    assert!(node.pool.take().is_empty(), "nobody would ever send it on");
    node.stop().await;
}

#[tokio::test]
async fn a_sequencer_that_does_not_answer_is_given_up() {
    let (address, mut asked) = scripted(|_| None).await;
    let node = replica(address, Limits { forward_timeout_ms: 100, ..Limits::default() }).await;
    let tx = transfer(&user(0), 0, DEAD, 1);
    let (code, message) = node.client().error("eth_sendRawTransaction", json!([tx.encoded()])).await;
    assert_eq!(code, -32000);
    assert!(message.contains("no answer within 100ms") && message.contains("send it again"), "{message}");
    asked.recv().await.unwrap();
    assert!(node.pool.take().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn answers_that_make_no_sense_are_errors() {
    let answers: [fn(&Value) -> Answer; 5] = [
        |request| result(request, json!(B256::repeat_byte(9))),
        |request| result(request, json!("0x12")),
        |_| Some(("200 OK", "<html>".to_owned())),
        |_| Some(("200 OK", json!({ "jsonrpc": "2.0", "id": 123_456, "result": B256::ZERO }).to_string())),
        |_| Some(("503 Service Unavailable", "try later".to_owned())),
    ];
    let tx = transfer(&user(0), 0, DEAD, 1);
    for (n, answer) in answers.into_iter().enumerate() {
        let (address, _asked) = scripted(move |request| answer(&request)).await;
        let node = replica(address, Limits::default()).await;
        let (code, message) = node.client().error("eth_sendRawTransaction", json!([tx.encoded()])).await;
        assert_eq!(code, -32000, "{n}: {message}");
        assert!(message.contains("did not confirm the transaction"), "{n}: {message}");
        assert!(node.pool.take().is_empty(), "{n}");
        node.stop().await;
    }
}

#[tokio::test]
async fn no_more_wait_for_the_sequencer_than_may() {
    let (address, mut asked) = scripted(|_| None).await;
    let limits = Limits { forward_concurrency: 1, forward_queue: 0, ..Limits::default() };
    let node = replica(address, limits).await;
    let (first, second) = (transfer(&user(0), 0, DEAD, 1), transfer(&user(1), 0, DEAD, 1));
    let client = node.client();
    let waiting = tokio::spawn(async move { client.raw("eth_sendRawTransaction", json!([first.encoded()])).await });
    asked.recv().await.unwrap();
    let (code, message) = node.client().error("eth_sendRawTransaction", json!([second.encoded()])).await;
    assert_eq!((code, message.contains("transactions for the sequencer")), (-32005, true), "{message}");
    waiting.abort();
    node.stop().await;
}
