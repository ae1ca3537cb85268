//! `kona-node` and the node in the role `execution` that it drives, each a process of its own.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "each test uses its part")]

pub use crate::support::free_ports as free;
use crate::support::{Node, Ports, call, client};
use alloy_primitives::B256;
use duskevm_genesis::dev_accounts;
use duskevm_gossip::BlockIdentity;
use duskevm_p2p::Endpoint;
use jsonrpsee::http_client::HttpClient;
use serde_json::{Value, json};
use std::{
    fs::OpenOptions,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(60);
const CHAIN_ID: &str = "31310";
/// The configuration of the role, as this repository has it.
const ROLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/execution.toml");
/// By which others know the peer.
const IDENTITY: [u8; 32] = [0x2a; 32];

/// The program that `DUSKEVM_TEST_KONA_NODE` names.
pub fn program() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("DUSKEVM_TEST_KONA_NODE") else {
        println!("not run: DUSKEVM_TEST_KONA_NODE names no kona-node");
        return None;
    };
    let path = PathBuf::from(path);
    let version =
        Command::new(&path).arg("--version").output().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("{}", String::from_utf8_lossy(&version.stdout).trim());
    Some(path)
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let out = OpenOptions::new().create(true).append(true).open(log).unwrap();
    let err = out.try_clone().unwrap();
    command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    child.wait().unwrap();
}

/// A node in the role `execution`.
pub struct Execution {
    child: Child,
    rpc: u16,
    pub engine: u16,
    ports: [u16; 4],
    folder: PathBuf,
    network: PathBuf,
    sync_from: Option<u16>,
    log: PathBuf,
}

impl Execution {
    /// Starts it in a folder, with the files of a network, and waits until it answers. Blocks that it lacks it asks for at a port.
    pub fn start(folder: &Path, network: &Path, sync_from: Option<u16>) -> Self {
        Self::start_on(folder, network, sync_from, free())
    }

    fn start_on(folder: &Path, network: &Path, sync_from: Option<u16>, ports: [u16; 4]) -> Self {
        let log = folder.join("execution.log");
        let [rpc, engine, admin, http] = ports;
        let mut command = Command::new(env!("CARGO_BIN_EXE_duskevm"));
        command
            .args(["node", "--config", ROLE])
            .env_clear()
            .env("DUSKEVM_DATA__DIR", folder.join("execution"))
            .env("DUSKEVM_NETWORK__GENESIS", network)
            .env("DUSKEVM_RPC__PORT", rpc.to_string())
            .env("DUSKEVM_ENGINE_API__PORT", engine.to_string())
            .env("DUSKEVM_ADMIN__PORT", admin.to_string())
            .env("DUSKEVM_HTTP__PORT", http.to_string())
            .env("DUSKEVM_FAULTS__ALLOW", "true");
        if let Some(port) = sync_from {
            command.env("DUSKEVM_ENGINE_API__SYNC_FROM", format!("http://127.0.0.1:{port}"));
        }
        let mut child = spawn(&mut command, &log);
        let begin = Instant::now();
        while [rpc, engine].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the node ended with {status}: {}", tail(&log));
            }
            assert!(begin.elapsed() < LONG, "the node did not come up: {}", tail(&log));
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, rpc, engine, ports, folder: folder.to_owned(), network: network.to_owned(), sync_from, log }
    }

    pub fn rpc(&self) -> HttpClient {
        client(self.rpc)
    }

    pub const fn rpc_port(&self) -> u16 {
        self.rpc
    }

    pub fn admin(&self) -> HttpClient {
        client(self.ports[2])
    }

    /// Its ports, as the tests of our own network name them.
    pub const fn ports(&self) -> Ports {
        let [rpc, _, admin, http] = self.ports;
        Ports { rpc, admin, http, blobs: 0, l1: 0, rollup: 0 }
    }

    fn secret(&self) -> PathBuf {
        self.folder.join("execution").join("jwt.hex")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// After it was killed: starts it on the same folder and ports.
    pub fn again(&self) -> Self {
        Self::start_on(&self.folder, &self.network, self.sync_from, self.ports)
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", tail(&self.log));
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the peer finds L1.
#[derive(Debug, Clone, Copy)]
pub struct L1Ends {
    pub rpc: u16,
    pub beacon: u16,
}

impl L1Ends {
    pub const fn of(ports: Ports) -> Self {
        Self { rpc: ports.l1, beacon: ports.blobs }
    }
}

/// A running `kona-node`.
pub struct Kona {
    child: Child,
    log: PathBuf,
    rpc: u16,
    /// Where others reach it.
    pub p2p: u16,
}

/// What a `kona-node` is to do.
pub struct Setup<'a> {
    pub program: &'a Path,
    pub folder: &'a Path,
    pub network: &'a Path,
    pub l1: L1Ends,
    /// Where it listens for blocks.
    pub p2p: u16,
    pub extra: &'a [&'a str],
}

impl Setup<'_> {
    /// Starts it on its execution client.
    pub fn start(&self, execution: &Execution) -> Kona {
        let log = self.folder.join("kona.log");
        let ([rpc], p2p) = (free(), self.p2p);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let accounts = dev_accounts().unwrap();
        let mut command = Command::new(self.program);
        command
            .args(["node", "--chain", CHAIN_ID, "--l1-eth-rpc", &url(self.l1.rpc), "--l1-beacon", &url(self.l1.beacon)])
            .args(["--l2-engine-rpc", &url(execution.engine), "--l2-engine-jwt-secret"])
            .arg(execution.secret())
            .arg("--l2-config-file")
            .arg(self.network.join("rollup.json"))
            .args(["--rpc.addr", "127.0.0.1", "--port", &rpc.to_string(), "--rpc.enable-admin"])
            .args(["--p2p.no-discovery", "--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", &p2p.to_string()])
            .args(["--p2p.priv.raw", &B256::from(IDENTITY).to_string()])
            .args(["--p2p.unsafe.block.signer", &accounts.sequencer.address.to_string()])
            .args(self.extra)
            .current_dir(self.folder)
            .env("HOME", self.folder)
            .env("NO_COLOR", "1");
        Kona { child: spawn(&mut command, &log), log, rpc, p2p }
    }

    /// The address that our block gossip dials it at.
    pub fn address(&self) -> String {
        let identity = BlockIdentity::from_secret(IDENTITY).unwrap();
        identity.at(Endpoint::Ip4([127, 0, 0, 1], self.p2p)).to_string()
    }
}

impl Kona {
    /// Gives it the first block as an unsafe one, as an operator can. It derives nothing before it has heard of a block by gossip or by this.
    pub async fn begin(&self, ours: &Node) {
        let payload = payload(&ours.rpc(), 1).await;
        let begin = Instant::now();
        while call(&self.rpc(), "admin_postUnsafePayload", vec![payload.clone()]).await.is_err() {
            assert!(begin.elapsed() < LONG, "kona-node does not take a block: {}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub fn rpc(&self) -> HttpClient {
        client(self.rpc)
    }

    /// Has its stopped sequencer begin on a block.
    pub async fn sequence(&self, head: B256) {
        let begin = Instant::now();
        while let Err(error) = call(&self.rpc(), "admin_startSequencer", vec![json!(head)]).await {
            assert!(begin.elapsed() < LONG, "kona-node does not begin: {error}\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Kona {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A block as `admin_postUnsafePayload` takes it.
async fn payload(rpc: &HttpClient, number: u64) -> Value {
    let block = call(rpc, "eth_getBlockByNumber", vec![json!(format!("{number:#x}")), json!(false)]).await.unwrap();
    let mut transactions = Vec::new();
    for hash in block["transactions"].as_array().unwrap() {
        transactions.push(call(rpc, "eth_getRawTransactionByHash", vec![hash.clone()]).await.unwrap());
    }
    let mut payload = json!({ "transactions": transactions, "withdrawals": [] });
    for (theirs, ours) in [
        ("parentHash", "parentHash"),
        ("feeRecipient", "miner"),
        ("stateRoot", "stateRoot"),
        ("receiptsRoot", "receiptsRoot"),
        ("logsBloom", "logsBloom"),
        ("prevRandao", "mixHash"),
        ("blockNumber", "number"),
        ("gasLimit", "gasLimit"),
        ("gasUsed", "gasUsed"),
        ("timestamp", "timestamp"),
        ("extraData", "extraData"),
        ("baseFeePerGas", "baseFeePerGas"),
        ("blockHash", "hash"),
        ("blobGasUsed", "blobGasUsed"),
        ("excessBlobGas", "excessBlobGas"),
        ("withdrawalsRoot", "withdrawalsRoot"),
    ] {
        payload[theirs] = block[ours].clone();
    }
    json!({ "executionPayload": payload, "parentBeaconBlockRoot": block["parentBeaconBlockRoot"] })
}
