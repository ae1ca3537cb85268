//! The Ethereum-shaped endpoint of Dusk L1 under the questions that an op-node asks of each L1 block.
//!
//! A `duskevm dev` of its own makes L1 blocks, with batches and deposits in them. Then clients, each with one connection and one question
//! at a time, walk over the whole chain: the header of the number, the whole block and its receipts by hash, and now and then the head,
//! the safe and the finalized block.
//!
//! `cargo bench --bench l1_endpoint`; `DUSKEVM_BENCH_BLOCKS` (of L1) and `DUSKEVM_BENCH_SECONDS` (of asking, per number of clients) say how
//! much.

use duskevm_genesis::LOCAL_CONTRACTS;
use jsonrpsee::{
    core::client::ClientT,
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const CLIENTS: [usize; 3] = [1, 8, 32];
const UP: Duration = Duration::from_secs(60);

fn wanted(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// A node, and a folder that goes with it.
struct Node {
    child: Child,
    l1: String,
    admin: String,
    _folder: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(url: &str) -> HttpClient {
    HttpClientBuilder::default().max_response_size(64 << 20).build(url).expect("an address")
}

impl Node {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listeners: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<_> = listeners.iter().map(|one| one.local_addr().expect("an address").port()).collect();
        drop(listeners);
        let mut command = Command::new(env!("CARGO_BIN_EXE_duskevm"));
        command.args(["dev", "--no-banner", "--block-time", "1", "--l1-block-time", "1", "--data-dir"]);
        command.arg(folder.path().join("data")).env_clear();
        let flags = ["--port", "--admin-port", "--metrics-port", "--blob-port", "--l1-rpc-port", "--rollup-rpc-port"];
        for (flag, port) in flags.iter().zip(&ports) {
            command.arg(flag).arg(port.to_string());
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let node =
            Self { child: child.expect("the program"), l1: url(ports[4]), admin: url(ports[1]), _folder: folder };
        let begin = Instant::now();
        while number(&client(&node.l1)).await.is_none() {
            assert!(begin.elapsed() < UP, "the node does not come up");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        node
    }

    fn deposit(&self) {
        let to = format!("{}", duskevm_genesis::evm_address(LOCAL_CONTRACTS.portal));
        let made = Command::new(env!("CARGO_BIN_EXE_duskevm"))
            .args(["bridge", "deposit", "--dev", "--amount", "1", "--to", &to, "--admin", &self.admin])
            .env_clear()
            .output()
            .expect("the program");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

async fn number(l1: &HttpClient) -> Option<u64> {
    let answer: String = l1.request("eth_blockNumber", rpc_params![]).await.ok()?;
    u64::from_str_radix(answer.trim_start_matches("0x"), 16).ok()
}

/// How long the answers took, by method.
type Times = BTreeMap<&'static str, Vec<Duration>>;

async fn ask(l1: &HttpClient, times: &mut Times, method: &'static str, params: [Value; 2]) -> Value {
    let [first, second] = params;
    let mut list = rpc_params![first];
    if !second.is_null() {
        list.insert(second).expect("a value");
    }
    let begin = Instant::now();
    let answer: Value = l1.request(method, list).await.expect("an answer");
    times.entry(method).or_default().push(begin.elapsed());
    assert!(!answer.is_null(), "{method}");
    answer
}

/// One client: it walks over the blocks until the time is over.
async fn walk(url: String, first: u64, blocks: u64, until: Instant) -> Times {
    let (l1, mut times, mut at) = (client(&url), Times::new(), first);
    while Instant::now() < until {
        at = (at + 1) % blocks;
        let tag = match at % 24 {
            0 => Some("finalized"),
            8 => Some("safe"),
            16 => Some("latest"),
            _ => None,
        };
        if let Some(tag) = tag {
            ask(&l1, &mut times, "eth_getBlockByNumber", [json!(tag), json!(false)]).await;
        }
        let header = ask(&l1, &mut times, "eth_getBlockByNumber", [json!(format!("{at:#x}")), json!(false)]).await;
        let hash = header["hash"].clone();
        ask(&l1, &mut times, "eth_getBlockByHash", [hash.clone(), json!(true)]).await;
        ask(&l1, &mut times, "eth_getBlockReceipts", [hash, Value::Null]).await;
    }
    times
}

fn print(clients: usize, took: Duration, times: Times) {
    let total: usize = times.values().map(Vec::len).sum();
    println!("{clients} clients: {:.0} requests/s", total as f64 / took.as_secs_f64());
    for (method, mut times) in times {
        times.sort_unstable();
        let part = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("  {method:<22} {:>8} p50 {:>7.2} ms  p99 {:>7.2} ms", times.len(), part(0.5), part(0.99));
    }
}

fn main() {
    // `cargo test --benches` asks whether it works, not how fast.
    let test = !std::env::args().any(|argument| argument == "--bench");
    let (blocks, seconds) = if test { (4, 1) } else { (60, 10) };
    let blocks = wanted("DUSKEVM_BENCH_BLOCKS", blocks);
    let seconds = Duration::from_secs(wanted("DUSKEVM_BENCH_SECONDS", seconds));
    tokio::runtime::Runtime::new().expect("threads").block_on(async {
        let node = Node::start().await;
        let l1 = client(&node.l1);
        let mut paid = 0;
        let newest = loop {
            let newest = number(&l1).await.expect("an answer");
            if newest >= blocks {
                break newest;
            }
            // A deposit after a few blocks: the command waits until it has arrived.
            if newest >= 4 * paid {
                node.deposit();
                paid += 1;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        println!("{newest} L1 blocks with {paid} deposits, {seconds:?} each");
        for clients in CLIENTS {
            let begin = Instant::now();
            let walks: Vec<_> = (0..clients)
                .map(|one| tokio::spawn(walk(node.l1.clone(), one as u64 * 7, newest, begin + seconds)))
                .collect();
            let mut all = Times::new();
            for one in walks {
                for (method, times) in one.await.expect("a client") {
                    all.entry(method).or_default().extend(times);
                }
            }
            print(clients, begin.elapsed(), all);
        }
    });
}
