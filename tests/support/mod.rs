//! What the whole-node tests share: a node in its own process, a client, and a load whose every answer is remembered.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each test uses its part"
)]

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner};
use jsonrpsee::{
    core::{ClientError, client::ClientT},
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub const CHAIN_ID: u64 = 31310;
pub const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// Ports that were free a moment ago. Restarts of the same node use them again.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub rpc: u16,
    pub admin: u16,
    pub http: u16,
    pub blobs: u16,
    pub l1: u16,
    pub rollup: u16,
}

/// Ports that nobody has, each given to one test of this process only. They are not of the range from which the system takes those of
/// outgoing connections (from 32,768 on): such a connection could have the port before the node does, or be one to itself.
pub fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u64 = 10_240;
    const COUNT: u64 = 22_000;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Tests of another process begin elsewhere.
    let offset = u64::from(std::process::id()).wrapping_mul(7919);
    let next = || {
        let tries = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).take(COUNT as usize);
        let mut ports = tries.map(|number| (FIRST + offset.wrapping_add(number) % COUNT) as u16);
        ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
    };
    std::array::from_fn(|_| next())
}

impl Ports {
    pub fn free() -> Self {
        let [rpc, admin, http, blobs, l1, rollup] = free_ports();
        Self { rpc, admin, http, blobs, l1, rollup }
    }
}

/// A running node.
pub struct Node {
    child: Child,
    pub ports: Ports,
    pub data: PathBuf,
    pub log: PathBuf,
}

impl Node {
    /// Starts `duskevm dev` on a data folder and waits until it answers.
    pub fn start(data: &Path, ports: Ports) -> Self {
        Self::start_with(data, ports, &[])
    }

    pub fn start_with(data: &Path, ports: Ports, extra: &[&str]) -> Self {
        Self::start_as(data, ports, extra, &[])
    }

    /// The same with further settings, by their names in the environment.
    pub fn start_as(data: &Path, ports: Ports, extra: &[&str], settings: &[(&str, &str)]) -> Self {
        let log = data.with_extension("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_duskevm"))
            .args(["dev", "--no-banner", "--block-time", "1", "--l1-block-time", "2"])
            .args(["--port", &ports.rpc.to_string(), "--admin-port", &ports.admin.to_string()])
            .args(["--metrics-port", &ports.http.to_string(), "--blob-port", &ports.blobs.to_string()])
            .args([
                "--l1-rpc-port",
                &ports.l1.to_string(),
                "--rollup-rpc-port",
                &ports.rollup.to_string(),
                "--data-dir",
            ])
            .arg(data)
            .args(extra)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut node = Self { child, ports, data: data.to_owned(), log };
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", ports.rpc)).is_err() {
            if let Some(status) = node.child.try_wait().unwrap() {
                panic!("the node ended with {status}: {}", node.log_tail());
            }
            assert!(Instant::now() < deadline, "the node did not come up: {}", node.log_tail());
            std::thread::sleep(Duration::from_millis(20));
        }
        node
    }

    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn rpc(&self) -> HttpClient {
        client(self.ports.rpc)
    }

    pub fn admin(&self) -> HttpClient {
        client(self.ports.admin)
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// An ordered stop by SIGTERM.
    pub fn stop(mut self) -> ExitStatus {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the node does not stop: {}", self.log_tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn client(port: u16) -> HttpClient {
    HttpClientBuilder::default()
        .request_timeout(Duration::from_secs(20))
        .max_response_size(64 << 20)
        .build(format!("http://127.0.0.1:{port}"))
        .unwrap()
}

pub async fn call(client: &HttpClient, method: &str, params: Vec<Value>) -> Result<Value, ClientError> {
    let mut list = rpc_params![];
    for param in params {
        list.insert(param).unwrap();
    }
    client.request(method, list).await
}

pub fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

pub async fn head(client: &HttpClient) -> u64 {
    quantity(&call(client, "eth_blockNumber", vec![]).await.unwrap())
}

/// Waits until the chain has grown by `blocks`; panics with the node's own reasons if it does not.
pub async fn grow(node: &Node, blocks: u64, within: Duration) {
    let (rpc, deadline) = (node.rpc(), Instant::now() + within);
    let mut goal = None;
    loop {
        if let Ok(value) = call(&rpc, "eth_blockNumber", vec![]).await {
            let number = quantity(&value);
            if number >= *goal.get_or_insert(number + blocks) {
                return;
            }
        }
        if Instant::now() > deadline {
            let why = call(&node.admin(), "admin_why", vec![]).await;
            panic!("no {blocks} blocks within {within:?}: {why:?}\n{}", node.log_tail());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The funded accounts of the local network.
pub fn accounts(count: u32) -> Vec<PrivateKeySigner> {
    let parent = MnemonicBuilder::from_phrase(MNEMONIC).build_parent_key().unwrap();
    (0..count).map(|index| parent.child(index).unwrap().signer()).collect()
}

pub fn transfer(signer: &PrivateKeySigner, nonce: u64, to: Address, wei: u64) -> (B256, Bytes) {
    let tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1_000_000,
        to: TxKind::Call(to),
        value: U256::from(wei),
        ..Default::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    let signed = tx.into_signed(signature);
    let encoded: Bytes = alloy_consensus::TxEnvelope::from(signed).encoded_2718().into();
    (keccak256(&encoded), encoded)
}

/// So long, in seconds of the load, may answers be outstanding before the node counts as broken.
const OUTSTANDING: f64 = 60.0;
/// A connection that gives no answer for so long is given up: the instance behind it may hang.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries of one transaction, and of connecting.
const PAUSE: Duration = Duration::from_millis(100);

/// An open loop of transfers: every `1 / rate` seconds one is sent, whatever became of those before it, and each is sent again
/// until the node says that it has it. Many requests share a connection, so that the number of connections is no bound.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<B256>>>,
    sent: Arc<AtomicU64>,
    clock: tokio::task::JoinHandle<()>,
}

impl Load {
    /// Starts sending from these accounts in turn, together `per_second` transactions per second.
    pub fn start(port: u16, senders: Vec<PrivateKeySigner>, per_second: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(AtomicU64::new(0));
        let clock = {
            let (stop, acknowledged, sent) = (stop.clone(), acknowledged.clone(), sent.clone());
            tokio::spawn(async move {
                let http = client(port);
                let mut accounts = Vec::new();
                for signer in senders {
                    let nonce = start_nonce(&http, signer.address(), &stop).await;
                    accounts.push((signer, nonce, Arc::new(Line::new(port))));
                }
                let mut flying = tokio::task::JoinSet::new();
                let begin = tokio::time::Instant::now();
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    // By the schedule, not by the last send: a delay is made up for at once.
                    tokio::time::sleep_until(begin + Duration::from_secs_f64(turn as f64 / per_second)).await;
                    let at = turn % accounts.len();
                    turn += 1;
                    let (signer, nonce, line) = &mut accounts[at];
                    let to =
                        Address::from_word(keccak256([signer.address().as_slice(), &nonce.to_be_bytes()].concat()));
                    let (hash, raw) = transfer(signer, *nonce, to, 1_000);
                    *nonce += 1;
                    sent.fetch_add(1, Ordering::Relaxed);
                    let (line, acknowledged) = (line.clone(), acknowledged.clone());
                    flying.spawn(async move {
                        submit(&line, hash, &raw).await;
                        acknowledged.lock().unwrap().push(hash);
                    });
                    while let Some(ended) = flying.try_join_next() {
                        ended.unwrap();
                    }
                    let most = (per_second * OUTSTANDING) as usize;
                    assert!(flying.len() <= most, "{} transactions have no answer", flying.len());
                }
                // All of them: one that is missing would hold back those of its account that the node has.
                let left = flying.len();
                let rest = tokio::time::timeout(Duration::from_secs_f64(OUTSTANDING), async {
                    while let Some(ended) = flying.join_next().await {
                        ended.unwrap();
                    }
                });
                assert!(rest.await.is_ok(), "the node does not take the last {left} transactions");
            })
        };
        Self { stop, acknowledged, sent, clock }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the load and returns the hashes that the node acknowledged.
    pub async fn finish(self) -> Vec<B256> {
        self.stop.store(true, Ordering::Relaxed);
        self.clock.await.unwrap();
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

/// A connection that is made again when it breaks.
struct Line {
    url: String,
    current: tokio::sync::Mutex<(Option<Arc<WsClient>>, Option<tokio::time::Instant>)>,
}

impl Line {
    fn new(port: u16) -> Self {
        Self { url: format!("ws://127.0.0.1:{port}"), current: tokio::sync::Mutex::default() }
    }

    /// The connection; `None` if there is none at this moment.
    async fn client(&self) -> Option<Arc<WsClient>> {
        let mut current = self.current.lock().await;
        if let Some(client) = current.0.as_ref().filter(|client| client.is_connected()) {
            return Some(client.clone());
        }
        // One of many that wait has just tried.
        if current.1.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        let client = WsClientBuilder::default()
            .connection_timeout(ANSWER_WITHIN)
            .request_timeout(ANSWER_WITHIN)
            .max_concurrent_requests(1 << 20)
            .max_buffer_capacity_per_subscription(1)
            .build(&self.url)
            .await;
        *current = (client.ok().map(Arc::new), Some(tokio::time::Instant::now()));
        current.0.clone()
    }

    /// Gives up a connection, unless somebody else did.
    async fn drop_client(&self, broken: &Arc<WsClient>) {
        let mut current = self.current.lock().await;
        if current.0.as_ref().is_some_and(|client| Arc::ptr_eq(client, broken)) {
            current.0 = None;
        }
    }
}

async fn start_nonce(client: &HttpClient, address: Address, stop: &AtomicBool) -> u64 {
    loop {
        if let Ok(value) = call(client, "eth_getTransactionCount", vec![json!(address), json!("pending")]).await {
            return quantity(&value);
        }
        assert!(!stop.load(Ordering::Relaxed), "the node never answered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends until the node says that it has the transaction.
async fn submit(line: &Line, hash: B256, raw: &Bytes) {
    loop {
        if let Some(client) = line.client().await {
            let answer: Result<Value, _> = client.request("eth_sendRawTransaction", rpc_params![raw]).await;
            match answer {
                Ok(answer) => {
                    assert_eq!(answer, json!(hash), "a transaction has one hash");
                    return;
                }
                Err(ClientError::Call(error)) => {
                    // It arrived before the answer was lost.
                    if error.message().contains("already known") || error.message().contains("nonce too low") {
                        return;
                    }
                }
                // The process is being started again, or the instance behind the connection hangs.
                Err(_) => line.drop_client(&client).await,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Every acknowledged transaction is in exactly one block, and no transaction is in two. Returns the hashes of all blocks.
pub async fn check_included(node: &Node, acknowledged: &[B256]) -> Vec<B256> {
    let rpc = node.rpc();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seen: HashMap<B256, u64> = HashMap::new();
    let mut blocks = Vec::new();
    loop {
        let latest = head(&rpc).await;
        while blocks.len() as u64 <= latest {
            let number = blocks.len() as u64;
            let block =
                call(&rpc, "eth_getBlockByNumber", vec![json!(format!("{number:#x}")), json!(false)]).await.unwrap();
            for hash in block["transactions"].as_array().unwrap() {
                let hash: B256 = serde_json::from_value(hash.clone()).unwrap();
                if let Some(before) = seen.insert(hash, number) {
                    panic!("transaction {hash} is in block {before} and in block {number}");
                }
            }
            blocks.push(serde_json::from_value(block["hash"].clone()).unwrap());
        }
        let missing: Vec<&B256> = acknowledged.iter().filter(|hash| !seen.contains_key(*hash)).collect();
        if missing.is_empty() {
            return blocks;
        }
        assert!(
            Instant::now() < deadline,
            "{} of {} acknowledged transactions are in no block, the first is {}\n{}",
            missing.len(),
            acknowledged.len(),
            missing[0],
            node.log_tail()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// `duskevm db verify` on the folder of a node that does not run.
pub fn verify(data: &Path) {
    db("verify", data);
}

/// `duskevm db check` on the folder of a node that does not run.
pub fn check(data: &Path) {
    db("check", data);
}

fn db(command: &str, data: &Path) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_duskevm")).args(["db", command, "--data-dir"]).arg(data).output().unwrap();
    assert!(
        output.status.success(),
        "db {command}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits until an actor runs.
pub async fn up(admin: &HttpClient, actor: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let actors = call(admin, "admin_actors", vec![]).await;
        let running = actors.as_ref().ok().and_then(|list| list.as_array()).is_some_and(|list| {
            list.iter().any(|entry| entry["name"] == json!(actor) && entry["state"].as_str() == Some("running"))
        });
        if running {
            return;
        }
        assert!(Instant::now() < deadline, "{actor} does not come back: {actors:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How often an actor was restarted for this cause.
pub fn restarts(ports: Ports, actor: &str, cause: &str) -> f64 {
    let text = metrics(ports);
    let series = text.lines().find(|line| {
        line.starts_with("duskevm_actor_restarts_total")
            && line.contains(&format!("actor=\"{actor}\""))
            && line.contains(&format!("cause=\"{cause}\""))
    });
    series.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |count| count.parse().unwrap())
}

/// Waits until an actor was restarted for this cause more often than `before`. What it does for the chain need not have been missed.
pub async fn restarted(ports: Ports, actor: &str, cause: &str, before: f64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while restarts(ports, actor, cause) <= before {
        assert!(Instant::now() < deadline, "{actor} is not restarted by {cause}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The text of `/metrics`.
pub fn metrics(ports: Ports) -> String {
    get(ports.http, "/metrics")
}

/// The whole answer to a GET, head included.
pub fn get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
