//! The blob API over real sockets: right answers, and clients that do what they should not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{LONG, Node, blob, hash};
use duskevm_blobs::BYTES;
use duskevm_blobs::api::beacon::{Block, BlockId, Network};
use duskevm_da_store::{ApiLimits, ApiWiring, BlobApi, Socket, api_spec};
use duskevm_messages::da_store::{DropBlobs, FindBlobBlock};
use duskevm_supervision::{Fault, InjectError, Intensity, Port, Ref, Strategy, Supervisor, Tree};
use serde_json::Value;
use tempfile::TempDir;

const GENESIS: u64 = 1_700_000_000;

/// One block at slot 12 with the blobs 0, 1, 2, of which 2 is not kept; the genesis block; one that shows a blob which is not there at
/// first; blocks that show a blob several times.
fn block(id: BlockId) -> Option<Arc<Block>> {
    let block = |timestamp, root: u8, blobs: Vec<_>| {
        Some(Arc::new(Block {
            timestamp,
            root: [root; 32],
            parent_root: [root - 1; 32],
            state_root: [3; 32],
            body_root: [4; 32],
            signature: [5; 48],
            is_final: root < 3,
            blobs,
        }))
    };
    match id {
        BlockId::Genesis | BlockId::Slot(0) => block(GENESIS, 1, Vec::new()),
        BlockId::Head | BlockId::Slot(12) => block(GENESIS + 12, 3, vec![hash(0), hash(1), hash(2)]),
        BlockId::Root(root) if root == [3; 32] => block(GENESIS + 12, 3, vec![hash(0), hash(1), hash(2)]),
        BlockId::Finalized => block(GENESIS + 7, 2, vec![hash(1), hash(0)]),
        BlockId::Slot(14) => block(GENESIS + 14, 4, vec![hash(0), hash(3)]),
        BlockId::Slot(20) => block(GENESIS + 20, 9, vec![hash(0); 16]),
        BlockId::Slot(21) => block(GENESIS + 21, 9, vec![hash(0), hash(0), hash(1), hash(0)]),
        _ => None,
    }
}

struct Server {
    node: Node,
    api: Supervisor,
    address: SocketAddr,
    _dir: TempDir,
}

impl Server {
    async fn start(limits: ApiLimits) -> Self {
        Self::start_with(limits, Port::from_fn(|FindBlobBlock { id }| async move { block(id) })).await
    }

    async fn start_with(limits: ApiLimits, blocks: Port<FindBlobBlock>) -> Self {
        let dir = TempDir::new().unwrap();
        let node = Node::start(dir.path(), None, None).await;
        node.keep(10, &[0, 1], &[0, 1]).await;
        let network =
            Network { genesis_time: GENESIS, identity: [8; 32], chain_id: 250, version: "duskevm/1.2.3".to_owned() };
        let wiring = ApiWiring { network: Arc::new(network), blocks, blobs: node.keeper.port() };
        let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = socket.bind().unwrap();
        let actor: Ref<BlobApi> = Ref::declare("blob-api");
        let api = Tree::new("root", Strategy::OneForOne)
            .allow_faults(true)
            .intensity(Intensity { max: u32::MAX, within: LONG })
            .actor(api_spec(&actor, socket, limits, wiring).deadline(Duration::from_secs(1)))
            .start();
        api.ready().await.unwrap();
        Self { node, api, address, _dir: dir }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// One request on a connection of its own.
    async fn ask(&self, head: &str, body: &str) -> Response {
        let mut stream = self.connect();
        let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n{body}");
        tokio::task::spawn_blocking(move || {
            // A server that refuses early may close before it has read everything.
            let _ = stream.write_all(request.as_bytes());
            Response::read(&mut stream)
        })
        .await
        .unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET {path} HTTP/1.1"), "").await
    }

    async fn post(&self, path: &str, headers: &str) -> Response {
        self.ask(&format!("POST {path} HTTP/1.1\r\nContent-Length: 0{headers}"), "").await
    }

    async fn stop(self) {
        self.api.shutdown(LONG).await;
        self.node.stop().await;
    }
}

#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    /// Everything until the server closes; a reset counts as closing. Status 0 is no answer at all.
    fn read(stream: &mut TcpStream) -> Self {
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the server neither answered nor closed: {error}"),
            }
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let body = bytes.split_off(end);
        let head = String::from_utf8(bytes).unwrap();
        let status = head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
        Self { status, head, body }
    }

    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_op_stack_client_finds_its_blobs() {
    let server = Server::start(ApiLimits::default()).await;
    // What a client asks once, and the slot that it computes from it.
    let genesis = server.get("/eth/v1/beacon/genesis").await.json();
    assert_eq!(genesis["data"]["genesis_time"], GENESIS.to_string());
    let spec = server.get("/eth/v1/config/spec").await.json();
    assert_eq!(spec["data"]["SECONDS_PER_SLOT"], "1");
    assert_eq!(server.get("/eth/v1/node/version").await.json()["data"]["version"], "duskevm/1.2.3");
    let header = server.get("/eth/v1/beacon/headers/head").await.json();
    assert_eq!(header["data"]["header"]["message"]["slot"], "12");
    assert_eq!(header["finalized"], false);
    assert_eq!(server.get("/eth/v1/beacon/headers/finalized").await.json()["data"]["root"], text(&[2; 32]));

    let sidecars = server.get("/eth/v1/beacon/blob_sidecars/12?indices=1&indices=0").await.json();
    let data = sidecars["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    for (number, entry) in data.iter().enumerate() {
        let expected = blob(number);
        assert_eq!(entry["index"], number.to_string());
        assert_eq!(entry["blob"], text(&expected.sidecar().data[..]));
        assert_eq!(entry["kzg_commitment"], text(&expected.sidecar().commitment));
        assert_eq!(entry["kzg_proof"], text(&expected.sidecar().proof));
        assert_eq!(entry["signed_block_header"]["message"]["slot"], "12");
    }
    let (first, second) = (text(&hash(0)), text(&hash(1)));
    let blobs = server.get(&format!("/eth/v1/beacon/blobs/12?versioned_hashes={second},{first}")).await.json();
    let expected = [0, 1].map(|number| Value::String(text(&blob(number).sidecar().data[..])));
    assert_eq!(blobs["data"].as_array().unwrap(), &expected, "in the order of the block");
    let root = format!("/eth/v1/beacon/blobs/{}?versioned_hashes={first}", text(&[3; 32]));
    assert_eq!(server.get(&root).await.json()["data"].as_array().unwrap().len(), 1);
    let finalized = server.get("/eth/v1/beacon/blobs/finalized").await.json();
    assert_eq!((finalized["data"][0].as_str(), finalized["finalized"].as_bool()), (expected[1].as_str(), Some(true)));
    assert_eq!(server.get("/eth/v1/beacon/blobs/genesis").await.json()["data"], Value::Array(Vec::new()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said() {
    let server = Server::start(ApiLimits::default()).await;
    for (path, status) in [
        ("/eth/v1/beacon/blob_sidecars/13", 404),
        ("/eth/v1/beacon/headers/13", 404),
        ("/eth/v1/beacon/blob_sidecars/12", 404),
        ("/eth/v1/beacon/blob_sidecars/12?indices=2", 404),
        ("/eth/v1/beacon/blob_sidecars/latest", 400),
        ("/eth/v1/beacon/blob_sidecars/12?indices=x", 400),
        ("/eth/v1/beacon/blobs/20", 200),
        ("/", 404),
        ("/metrics", 404),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.head);
        if status != 200 {
            assert_eq!(answer.json()["code"], status, "{path}");
            assert!(answer.json()["message"].as_str().is_some_and(|message| message.len() > 5), "{path}");
        }
    }
    let expired = server.get("/eth/v1/beacon/blob_sidecars/12?indices=2").await.json();
    assert!(expired["message"].as_str().unwrap().contains(&text(&hash(2))), "{expired}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_only_missing_for_now_is_no_expired_one() {
    let server = Server::start(ApiLimits::default()).await;
    let dusk = format!("/on/blobs:{}/hash", &text(&hash(3))[2..]);
    let all = format!("/eth/v1/beacon/blobs/14?versioned_hashes={},{}", text(&hash(3)), text(&hash(0)));
    let paths = ["/eth/v1/beacon/blob_sidecars/14", "/eth/v1/beacon/blob_sidecars/14?indices=1", all.as_str()];
    let expect = async |status: u16, words: &str| {
        let dusk = server.post(&dusk, "").await;
        assert_eq!(dusk.status, status, "{}", dusk.head);
        assert_eq!(dusk.head.contains("retry-after: 1\r\n"), status == 503, "{}", dusk.head);
        for path in paths {
            let answer = server.get(path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.head);
            assert_eq!(answer.head.contains("retry-after: 1\r\n"), status == 503, "{path}: {}", answer.head);
            if status != 200 {
                let json = answer.json();
                let message = json["message"].as_str().unwrap();
                assert!(message.contains(&text(&hash(3))) && message.contains(words), "{path}: {message}");
            }
        }
        assert_eq!(server.get("/eth/v1/beacon/blob_sidecars/14?indices=0").await.status, 200, "the other is there");
    };
    expect(404, "expired").await;
    // An earlier block claims it, and nobody has it yet.
    server.node.keep(11, &[3], &[]).await;
    expect(503, "ask again").await;
    // It came with another block. Whoever claims it: the block at slot 14 shows it.
    server.node.keep(12, &[3], &[3]).await;
    expect(200, "").await;
    for height in [11, 12] {
        server.node.keeper.ask(DropBlobs { height, block: [height as u8; 32] }).await.unwrap();
    }
    expect(404, "expired").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_request_that_names_too_many_blobs_is_refused() {
    let places = |answer: &Value| -> Vec<String> {
        let data = answer["data"].as_array().unwrap();
        data.iter().map(|entry| entry["index"].as_str().unwrap().to_owned()).collect()
    };
    let server = Server::start(ApiLimits { max_blobs: 2, max_blobs_at_once: 1, ..ApiLimits::default() }).await;
    let sidecars = server.get("/eth/v1/beacon/blob_sidecars/21").await.json();
    assert_eq!(places(&sidecars), ["0", "2"], "each blob once, at its first place");
    assert_eq!(sidecars["data"][1]["blob"], text(&blob(1).sidecar().data[..]));
    let blobs = server.get("/eth/v1/beacon/blobs/21").await.json();
    let expected = [0, 1].map(|number| Value::String(text(&blob(number).sidecar().data[..])));
    assert_eq!(blobs["data"].as_array().unwrap(), &expected);
    // The third one is not even there.
    assert_eq!(places(&server.get("/eth/v1/beacon/blob_sidecars/12").await.json()), ["0", "1"]);
    // A filter counts places as ever.
    let filtered = server.get("/eth/v1/beacon/blob_sidecars/21?indices=1,3").await.json();
    assert_eq!(places(&filtered), ["1", "3"]);
    let hashes = [0, 0, 1].map(|number| text(&hash(number))).join(",");
    for path in [
        "/eth/v1/beacon/blob_sidecars/21?indices=0,1,2".to_owned(),
        format!("/eth/v1/beacon/blobs/21?versioned_hashes={hashes}"),
    ] {
        let refused = server.get(&path).await;
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.json()["message"].as_str().unwrap().contains("more than the 2 of one answer"), "{path}");
    }
    server.stop().await;
    let server = Server::start(ApiLimits { max_blobs: 4, ..ApiLimits::default() }).await;
    let sidecars = server.get("/eth/v1/beacon/blob_sidecars/21").await.json();
    assert_eq!(places(&sidecars), ["0", "1", "2", "3"], "repeats stay where all fit");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_post_and_other_methods() {
    let server = Server::start(ApiLimits::default()).await;
    let get = server.get("/eth/v1/beacon/blob_sidecars/12?indices=0").await;
    let head = server.ask("HEAD /eth/v1/beacon/blob_sidecars/12?indices=0 HTTP/1.1", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.head.contains(&format!("content-length: {}\r\n", get.body.len())), "{}", head.head);
    assert_eq!(server.ask("HEAD /nothing HTTP/1.1", "").await.status, 404);
    let post = server.post("/eth/v1/beacon/genesis", "").await;
    assert_eq!(post.status, 405);
    assert!(post.head.contains("allow: GET, HEAD\r\n"), "{}", post.head);
    assert_eq!(server.post("/nothing", "").await.status, 404);
    let dusk = format!("/on/blobs:{}/hash", &text(&hash(0))[2..]);
    for method in ["GET", "HEAD", "DELETE"] {
        let answer = server.ask(&format!("{method} {dusk} HTTP/1.1"), "").await;
        assert_eq!(answer.status, 405);
        assert!(answer.head.contains("allow: POST\r\n"), "{}", answer.head);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dusk_client_finds_its_blobs() {
    let server = Server::start(ApiLimits::default()).await;
    let bytes = blob(1).sidecar().encode();
    let by_hash = format!("/on/blobs:{}/hash", &text(&hash(1))[2..]);
    let by_commitment = format!("/on/blobs:{}/commitment", &text(&blob(1).sidecar().commitment)[2..]);
    for path in [&by_hash, &by_commitment] {
        let plain = server.post(path, "").await;
        assert_eq!(plain.body, &text(&bytes).as_bytes()[2..]);
        assert!(plain.head.contains("rusk-version: 1.7.0\r\n"), "{}", plain.head);
        let binary = server.post(path, "\r\nContent-Type: application/octet-stream\r\nX-Request: 7").await;
        assert_eq!(binary.body, bytes);
        assert!(binary.head.contains("x-request: 7\r\n"), "{}", binary.head);
        assert_eq!(server.post(path, "\r\nAccept: application/octet-stream").await.body, bytes);
        let json = server.post(path, "\r\nContent-Type: application/json").await.json();
        assert_eq!(json["data"], text(&bytes[96..])[2..]);
        assert_eq!(json["proof"], text(&bytes[48..96])[2..]);
    }
    let unknown = server.post(&by_hash.replace(&text(&hash(1))[2..], &text(&hash(2))[2..]), "").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["error"].is_string());
    assert_eq!(server.post("/on/blobs:00/hash", "").await.status, 400);
    assert_eq!(server.post("/on/node/info", "").await.status, 404);
    // A body is allowed, and means nothing.
    let with_body = server.ask(&format!("POST {by_hash} HTTP/1.1\r\nContent-Length: 4"), "0x00").await;
    assert_eq!(with_body.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_requests_are_refused() {
    let limits = ApiLimits { request_timeout: Duration::from_millis(500), ..ApiLimits::default() };
    let server = Server::start(limits).await;
    for head in [
        format!("GET /{} HTTP/1.1", "a".repeat(40_000)),
        format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(40_000)),
        format!("GET / HTTP/1.1{}", "\r\nA: b".repeat(1_000)),
    ] {
        let answer = server.ask(&head, "").await;
        assert!(matches!(answer.status, 0 | 431 | 414), "{}", answer.head);
    }
    let path = format!("/on/blobs:{}/hash", &text(&hash(1))[2..]);
    let long = "a".repeat(1025);
    let announced = server.ask(&format!("POST {path} HTTP/1.1\r\nContent-Length: 1025"), &long).await;
    assert_eq!(announced.status, 413);
    assert!(announced.json()["error"].is_string());
    let chunked = format!("401\r\n{long}\r\n0\r\n\r\n");
    assert_eq!(server.ask(&format!("POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked"), &chunked).await.status, 413);
    let get = server.ask("GET /eth/v1/node/version HTTP/1.1\r\nContent-Length: 1025", &long).await;
    assert_eq!(get.status, 413);
    let slow = server.ask(&format!("POST {path} HTTP/1.1\r\nContent-Length: 1000"), "a").await;
    assert_eq!(slow.status, 408, "a body that does not come");
    let start = Instant::now();
    let silent = server.ask("GET /eth/v1/node/version HTTP/1.1\r\nX: ", "").await;
    assert!(silent.status == 200 && start.elapsed() < LONG);
    assert_eq!(server.get("/eth/v1/node/version").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_silence_end_only_their_own_connections() {
    let limits = ApiLimits { request_timeout: Duration::from_millis(300), ..ApiLimits::default() };
    let server = Server::start(limits).await;
    let garbage: [&[u8]; 5] =
        [b"\x16\x03\x01\x02\x00\x01", b"\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""];
    for bytes in garbage {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        let answer = tokio::task::spawn_blocking(move || Response::read(&mut stream)).await.unwrap();
        assert!(matches!(answer.status, 0 | 400), "{bytes:?}: {}", answer.head);
    }
    assert_eq!(server.get("/eth/v1/node/version").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_take_only_the_places_there_are() {
    let limits = ApiLimits {
        max_blobs: 16,
        max_blobs_at_once: 16,
        request_timeout: Duration::from_millis(500),
        patience: LONG,
        connection_timeout: Duration::from_secs(30),
        ..ApiLimits::default()
    };
    let server = Server::start(limits).await;
    let mut stuck = server.connect();
    // 4 MiB each: more than all buffers between the two hold.
    for _ in 0..16 {
        stuck.write_all(b"GET /eth/v1/beacon/blobs/20 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    let start = Instant::now();
    let refused = loop {
        let answer = server.get("/eth/v1/beacon/blobs/12?versioned_hashes=").await;
        assert_eq!(answer.status, 400, "a list without entries asks for nothing");
        let answer = server.get("/eth/v1/beacon/blob_sidecars/12?indices=0").await;
        if answer.status == 503 {
            break answer;
        }
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(start.elapsed() < LONG, "the place is never taken");
    };
    assert!(refused.head.contains("retry-after: 1\r\n"), "{}", refused.head);
    assert_eq!(server.get("/eth/v1/beacon/headers/head").await.status, 200, "what needs no place is answered");
    drop(stuck);
    let start = Instant::now();
    while server.get("/eth/v1/beacon/blob_sidecars/12?indices=0").await.status != 200 {
        assert!(start.elapsed() < LONG, "the place was never given back");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_given_up() {
    const ASKED: usize = 16;
    let limits = ApiLimits {
        max_blobs: 16,
        max_blobs_at_once: 16,
        request_timeout: LONG,
        patience: Duration::from_millis(300),
        connection_timeout: LONG,
        ..ApiLimits::default()
    };
    let server = Server::start(limits).await;
    let mut stuck = server.connect();
    // 4 MiB each: more than all buffers between the two hold.
    for _ in 0..ASKED {
        stuck.write_all(b"GET /eth/v1/beacon/blobs/20 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    // The first answer has begun: it holds all places.
    stuck.peek(&mut [0]).unwrap();
    let start = Instant::now();
    // Long enough for the buffers to fill, and ten times the patience.
    while start.elapsed() < Duration::from_secs(3) {
        assert_eq!(server.get("/eth/v1/beacon/blob_sidecars/12?indices=0").await.status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(20), "the place is held until the connection's time is up");
    let taken = tokio::task::spawn_blocking(move || Response::read(&mut stuck)).await.unwrap();
    assert!(taken.body.len() < ASKED * 16 * 2 * BYTES, "the connection did not end");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let limits = ApiLimits { max_connections: 2, request_timeout: Duration::from_millis(300), ..ApiLimits::default() };
    let server = Server::start(limits).await;
    let start = Instant::now();
    let _idle = [server.connect(), server.connect()];
    assert_eq!(server.get("/eth/v1/node/version").await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(200), "both places were taken for the time of a head");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_without_its_neighbours_says_so() {
    let server = Server::start_with(ApiLimits::default(), Port::unwired("consensus")).await;
    let answer = server.get("/eth/v1/beacon/headers/head").await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["message"].as_str().unwrap().contains("consensus"));
    server.node.supervisor.shutdown(LONG).await;
    let dusk = format!("/on/blobs:{}/hash", &text(&hash(0))[2..]);
    let answer = server.post(&dusk, "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].is_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_at_the_same_port_after_every_kind_of_death() {
    let server = Server::start(ApiLimits::default()).await;
    for fault in [Fault::Stop, Fault::Panic, Fault::Restart, Fault::Hang(LONG)] {
        let before = server.api.actors()[0].restarts;
        // A client that waits for an answer for as long as it takes.
        let mut waiting = server.connect();
        waiting.write_all(b"GET /eth/v1/beacon/genesis HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        // The instance has it.
        assert!(waiting.read(&mut [0; 4096]).unwrap() > 0);
        while server.api.inject("blob-api", fault) == Err(InjectError::Restarting { actor: "blob-api".into() }) {
            server.api.ready().await.unwrap();
        }
        let start = Instant::now();
        while server.api.actors()[0].restarts <= before {
            assert!(start.elapsed() < LONG, "{fault:?}: {:?}", server.api.actors());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.api.ready().await.unwrap();
        let ended = waiting.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        let is_open = matches!(ended, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!is_open, "{fault:?}: a connection of the instance before is open");
        let answer = server.get("/eth/v1/beacon/blob_sidecars/12?indices=0").await;
        assert_eq!(answer.status, 200, "after {fault:?}");
        assert!(answer.body.len() > 2 * BYTES);
    }
    server.stop().await;
}
