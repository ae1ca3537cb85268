//! Who gets in, and what else is on the port.

use super::stand_in::{EngineNode, SECRET, new_payload, now, token};
use alloy_primitives::{Address, B256};
use duskevm_engine_api::JwtSecret;
use duskevm_rpc::{EngineConfig, Limits};
use duskevm_supervision::{ActorState, Fault};
use jsonrpsee::{
    core::client::{ClientT as _, Error},
    rpc_params,
    ws_client::{HeaderMap, WsClientBuilder},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// `{"alg":"none","typ":"JWT"}` and `{"alg":"HS512","typ":"JWT"}`.
const ALG_NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
const ALG_HS512: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9";

/// `Authorization` headers that are not let in, each with a word of the reason.
fn wrong() -> Vec<(Option<String>, &'static str)> {
    let issued = |at| format!("Bearer {}", JwtSecret::new(SECRET).token(at));
    let good = JwtSecret::new(SECRET).token(now());
    let (claims, signature) = good.split_once('.').unwrap().1.split_once('.').unwrap();
    vec![
        (None, "missing token"),
        (Some("Basic dXNlcjpwYXNz".into()), "scheme Bearer"),
        (Some(good.clone()), "scheme Bearer"),
        (Some(format!("Bearer {}", JwtSecret::new([8; 32]).token(now()))), "same JWT secret"),
        (Some(issued(now() - 3600)), "stale token"),
        (Some(issued(now() + 3600)), "future token"),
        (Some(format!("Bearer {ALG_NONE}.{claims}.")), "not HS256"),
        (Some(format!("Bearer {ALG_NONE}.{claims}.{signature}")), "not HS256"),
        (Some(format!("Bearer {ALG_HS512}.{claims}.{signature}")), "not HS256"),
        (Some("Bearer nonsense".into()), "1 parts"),
    ]
}

#[tokio::test]
async fn nobody_gets_in_without_a_valid_token() {
    let node = EngineNode::start().await;
    let block = node.block_on(&node.executor.head(), 1);
    let before = node.executor.labels();
    let call = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    };
    let bodies = [call("engine_newPayloadV4", new_payload(&block)), call("eth_chainId", json!([])), "no JSON".into()];
    for (header, reason) in wrong() {
        for (method, body) in
            [("POST", &bodies[0]), ("POST", &bodies[1]), ("POST", &bodies[2]), ("GET", &String::new())]
        {
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(header.as_deref().map(|header| ("authorization", header)));
            let (status, text) = node.client().request(method, &headers, body.as_bytes()).await;
            assert_eq!(status, 401, "{header:?}: {text}");
            assert!(text.contains(reason), "{header:?}: {text}");
        }
    }
    assert_eq!(node.executor.asked(), [""; 0]);
    assert_eq!((node.executor.labels(), node.heard.last()), (before, None));
    // The same calls with a token.
    assert_eq!(node.call("eth_chainId", json!([])).await, "0x7a4e");
    assert_eq!(node.call("engine_newPayloadV4", new_payload(&block)).await["status"], "VALID");
    node.stop().await;
}

#[tokio::test]
async fn a_websocket_needs_a_token_for_its_handshake() {
    let node = EngineNode::start().await;
    let shake = async |authorization: Option<String>| {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let authorization = authorization.map(|header| format!("authorization: {header}\r\n")).unwrap_or_default();
        let upgrade = format!(
            "GET / HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{authorization}\r\n",
            node.address
        );
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        String::from_utf8(head.to_vec()).unwrap()
    };
    for (header, _) in wrong() {
        assert_eq!(shake(header).await, "HTTP/1.1 401");
    }
    assert_eq!(shake(Some(token())).await, "HTTP/1.1 101");
    node.stop().await;
}

#[tokio::test]
async fn calls_over_a_websocket_are_those_over_http() {
    let node = EngineNode::start().await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", token().parse().unwrap());
    headers.insert("user-agent", "op-node/v1".parse().unwrap());
    let client = WsClientBuilder::default().set_headers(headers).build(format!("ws://{}", node.address)).await.unwrap();
    let block = node.block_on(&node.executor.head(), 1);
    let mut params = jsonrpsee::core::params::ArrayParams::new();
    for param in new_payload(&block).as_array().unwrap() {
        params.insert(param).unwrap();
    }
    let status: Value = client.request("engine_newPayloadV4", params).await.unwrap();
    assert_eq!(status["status"], "VALID");
    let unknown = client.request::<Value, _>("engine_getPayloadV4", rpc_params!["0x0300000000000000"]).await;
    assert!(matches!(&unknown, Err(Error::Call(error)) if error.code() == -38001), "{unknown:?}");
    assert_eq!(node.heard.last().unwrap().client, "op-node/v1 at 127.0.0.1");
    node.stop().await;
}

#[tokio::test]
async fn long_payloads_fit_and_longer_bodies_do_not() {
    let node = EngineNode::start().await;
    let block = node.block_on(&node.executor.head(), 1);
    let mut params = new_payload(&block);
    // No transaction, which is found out after all of it was read.
    params[0]["transactions"][0] = json!(format!("0x7e{}", "00".repeat(16 << 20)));
    assert_eq!(node.call("engine_newPayloadV4", params).await["status"], "INVALID");
    node.stop().await;
    let node = EngineNode::with(Limits { max_request_bytes: 1 << 20, ..EngineConfig::default().limits }).await;
    let headers = [("content-type", "application/json"), ("authorization", &token())];
    let (status, _) = node.client().request("POST", &headers, &vec![b' '; (1 << 20) + 1]).await;
    assert_eq!(status, 413);
    node.stop().await;
}

#[tokio::test]
async fn the_reads_of_the_public_server_are_on_the_same_port() {
    let node = EngineNode::start().await;
    let head = node.chain.mine(vec![]);
    for tag in ["latest", "safe", "finalized"] {
        let block = node.call("eth_getBlockByNumber", json!([tag, true])).await;
        assert_eq!(block["number"], if tag == "latest" { "0x1" } else { "0x0" });
    }
    assert_eq!(node.call("eth_getBlockByHash", json!([head.hash(), true])).await["transactions"][0]["type"], "0x7e");
    let proof = node.call("eth_getProof", json!([Address::repeat_byte(1), [B256::ZERO], "latest"])).await;
    assert!(!proof["accountProof"].as_array().unwrap().is_empty());
    assert_eq!(node.call("eth_syncing", json!([])).await, false);
    assert_eq!(node.call("net_version", json!([])).await, "31310");
    assert!(node.call("debug_getRawHeader", json!(["latest"])).await.is_string());
    let modules = node.call("rpc_modules", json!([])).await;
    assert!(modules["engine"] == "1.0" && modules["txpool"].is_null(), "{modules}");
    // What is not the consensus client's is not here.
    assert_eq!(node.error("txpool_status", json!([])).await, -32601);
    node.stop().await;
}

#[tokio::test]
async fn the_client_that_called_last_is_known() {
    let node = EngineNode::start().await;
    node.call("eth_chainId", json!([])).await;
    assert_eq!(node.heard.last(), None, "a read is no driver's call");
    let offered = node.call("engine_exchangeCapabilities", json!([["engine_newPayloadV4"]])).await;
    assert!(offered.as_array().unwrap().contains(&json!("engine_getPayloadV4")), "{offered}");
    assert_eq!(node.heard.last().unwrap().client, "unnamed at 127.0.0.1");
    let kona = json!({ "code": "KN", "name": "kona-node", "version": "1.2.3", "commit": "00000000" });
    let ours = node.call("engine_getClientVersionV1", json!([kona])).await;
    assert_eq!(ours[0]["name"], "duskevm");
    let last = node.heard.last().unwrap();
    assert_eq!((last.method, last.client.as_str()), ("engine_getClientVersionV1", "kona-node 1.2.3 at 127.0.0.1"));
    node.stop().await;
}

#[tokio::test]
async fn it_serves_again_on_the_same_port_and_lets_nobody_else_in() {
    let node = EngineNode::start().await;
    for (fault, restarts) in [(Fault::Stop, 1), (Fault::Panic, 2)] {
        node.supervisor.inject("engine-api", fault).unwrap();
        loop {
            let status = &node.supervisor.actors()[0];
            if status.restarts >= restarts && status.state == ActorState::Running {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(node.call("eth_chainId", json!([])).await, "0x7a4e");
        assert_eq!(node.client().post(b"{}").await.0, 401);
    }
    node.stop().await;
}

#[tokio::test]
async fn strangers_keep_nobody_out_and_no_connection() {
    let node = EngineNode::with(Limits { max_connections: 2, ..EngineConfig::default().limits }).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(node.address).await.unwrap());
    }
    assert_eq!(node.call("eth_chainId", json!([])).await, "0x7a4e");
    // Who is refused is not kept, although it would like to be.
    let mut refused = TcpStream::connect(node.address).await.unwrap();
    refused.write_all(format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", node.address).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(std::time::Duration::from_secs(30), refused.read_to_end(&mut answer)).await;
    closed.expect("it is kept open").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
    // Those who have a token are not more than may be, and stay.
    let knock = async || {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\n\r\n", node.address, token());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        (stream, String::from_utf8(head.to_vec()).unwrap())
    };
    let mut known = Vec::new();
    while known.len() < 2 {
        // The places of those before may not be free yet.
        let (stream, status) = knock().await;
        if status == "HTTP/1.1 200" {
            known.push(stream);
        }
    }
    assert_eq!(knock().await.1, "HTTP/1.1 503");
    node.stop().await;
}

#[tokio::test]
async fn a_connection_that_shows_no_token_is_closed() {
    let node = EngineNode::with(Limits { token_ms: 50, ..EngineConfig::default().limits }).await;
    let mut silent = TcpStream::connect(node.address).await.unwrap();
    let mut nothing = Vec::new();
    let closed = tokio::time::timeout(std::time::Duration::from_secs(30), silent.read_to_end(&mut nothing)).await;
    assert_eq!(closed.expect("it is kept open").unwrap(), 0);
    node.stop().await;
}
