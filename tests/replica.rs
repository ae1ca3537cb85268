//! A sequencer and a replica, each a process of its own on loopback: the replica follows L1 by the gossip of L1 and the newest L2
//! blocks by the gossip of blocks, also after it was away, and whichever instance of the actor fails on either side.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use duskevm_gossip::{BlockIdentity, Identity};
use duskevm_p2p::Endpoint;
use jsonrpsee::http_client::HttpClient;
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use support::{Load, Ports, accounts, call, client, free_ports, head, metrics, quantity};

/// Starting, and catching up, on a busy machine.
const LONG: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(100);
/// Blocks that a replica may be behind: what is made while a block is on its way and executed on a busy machine.
const NEAR: u64 = 4;

/// One of the two.
struct Node {
    name: &'static str,
    ports: Ports,
    child: Option<Child>,
}

/// Both.
struct Pair {
    folder: tempfile::TempDir,
    sequencer: Node,
    replica: Node,
}

fn duskevm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duskevm"));
    command.env_clear().env("DUSKEVM_PASSWORD", "secret").stdin(Stdio::null());
    command
}

impl Pair {
    /// Makes a network with one provisioner, which is the sequencer too, and a replica that has no stake; starts both.
    fn start() -> Self {
        Self::start_as("[actors]\nsequencer = false\nbatcher = false\n")
    }

    /// The same; `second` is what the other node is.
    fn start_as(second: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = duskevm()
            .args(["genesis", "--out", "net", "--provisioners", "1", "--block-time", "1", "--l1-block-time", "2"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let [l1, l2, replica_l1, replica_l2] = free_ports();
        let net = folder.path().join("net");
        let l1_peer = Identity::read(&net.join("node-1.p2p")).unwrap().id();
        let loopback = |port| Endpoint::Ip4([127, 0, 0, 1], port);
        let l2_peer = BlockIdentity::read(&net.join("node-1.l2p2p")).unwrap().at(loopback(l2));
        let pair = Self {
            sequencer: Node { name: "sequencer", ports: Ports::free(), child: None },
            replica: Node { name: "replica", ports: Ports::free(), child: None },
            folder,
        };
        let common = |node: &Node, l1: u16, l2: u16| {
            let Ports { rpc, admin, http, blobs, l1: l1_rpc, rollup } = node.ports;
            format!(
                "[network]\nname = \"local\"\ngenesis = \".\"\n[data]\ndir = \"{}\"\n[rpc]\nport = {rpc}\n[l1_rpc]\nport = {l1_rpc}\n[rollup_rpc]\nport = {rollup}\nadmin = true\n\
                 [admin]\nport = {admin}\n[http]\nport = {http}\n[blobs]\nport = {blobs}\n[faults]\nallow = true\n\
                 [gossip]\nallow_private = true\nlisten = [\"127.0.0.1:{l1}\"]\nl2_listen = [\"127.0.0.1:{l2}\"]\n",
                node.name
            )
        };
        let sequencer = format!(
            "{}identity = \"node-1.p2p\"\nl2_identity = \"node-1.l2p2p\"\n[keys]\nconsensus = \"node-1.keys\"\n",
            common(&pair.sequencer, l1, l2)
        );
        let replica = format!(
            "{}boot = [\"/ip4/127.0.0.1/tcp/{l1}/p2p/{l1_peer}\"]\nl2_peers = [\"{l2_peer}\"]\n\
             {second}",
            common(&pair.replica, replica_l1, replica_l2)
        );
        fs::write(pair.file("sequencer.toml"), sequencer).unwrap();
        fs::write(pair.file("replica.toml"), replica).unwrap();
        let mut pair = pair;
        let net = pair.file("");
        pair.sequencer.start(&net);
        pair.replica.start(&net);
        pair
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("net").join(name)
    }

    fn logs(&self) -> String {
        let tail = |node: &Node| {
            let text = fs::read_to_string(self.file(&format!("{}.log", node.name))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("-- {}\n{}\n", node.name, lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        tail(&self.sequencer) + &tail(&self.replica)
    }

    /// Nobody ended who was not killed.
    fn both_run(&mut self) {
        let over = [&mut self.sequencer, &mut self.replica]
            .into_iter()
            .find_map(|node| Some((node.name, node.child.as_mut()?.try_wait().unwrap()?)));
        if let Some((name, status)) = over {
            panic!("the {name} ended with {status}\n{}", self.logs());
        }
    }

    /// Waits until the sequencer has this block.
    async fn sequencer_reaches(&mut self, number: u64) {
        let begin = Instant::now();
        while self.sequencer.newest().await.is_none_or(|(newest, _)| newest < number) {
            self.both_run();
            assert!(begin.elapsed() < LONG, "no block {number}\n{}", self.logs());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the replica has this block or a later one, is near the sequencer, and its newest block is the sequencer's of the
    /// same number.
    async fn follows(&mut self, number: u64) -> u64 {
        let begin = Instant::now();
        loop {
            self.both_run();
            if let Some((at, hash)) = self.replica.newest().await
                && at >= number
            {
                let rpc = self.sequencer.rpc();
                let params = vec![json!(format!("{at:#x}")), json!(false)];
                let theirs = call(&rpc, "eth_getBlockByNumber", params).await.unwrap();
                // It may be the other one that makes the blocks.
                if let Some(theirs) = theirs["hash"].as_str() {
                    assert_eq!(theirs, hash, "block {at}\n{}", self.logs());
                    if head(&rpc).await <= at + NEAR {
                        return at;
                    }
                }
            }
            assert!(begin.elapsed() < LONG, "the replica does not have block {number}\n{}", self.logs());
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Node {
    fn start(&mut self, net: &std::path::Path) {
        let log = net.join(format!("{}.log", self.name));
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = duskevm()
            .args(["node", "--config"])
            .arg(net.join(format!("{}.toml", self.name)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        assert!(self.child.replace(child).is_none());
    }

    fn rpc(&self) -> HttpClient {
        client(self.ports.rpc)
    }

    /// Number and hash of its newest block; `None` while it does not answer.
    async fn newest(&self) -> Option<(u64, String)> {
        let block = call(&self.rpc(), "eth_getBlockByNumber", vec![json!("latest"), json!(false)]).await.ok()?;
        let hash = block["hash"].as_str()?.to_owned();
        Some((quantity(&block["number"]), hash))
    }

    /// `kill -9`.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The sum of a counter over all its series with this label.
    fn counter(&self, name: &str, label: &str) -> f64 {
        let text = metrics(self.ports);
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_follows_and_comes_back_after_thirty_blocks() {
    let mut pair = Pair::start();
    pair.sequencer_reaches(3).await;
    let at = pair.follows(3).await;
    pair.follows(at + 5).await;
    assert!(pair.sequencer.counter("duskevm_block_gossip_published_total", "") >= 5.0);
    assert!(pair.replica.counter("duskevm_block_gossip_received_total", "outcome=\"accepted\"") >= 5.0);
    assert_eq!(pair.replica.counter("duskevm_block_gossip_received_total", "outcome=\"rejected\""), 0.0);

    pair.replica.kill();
    let away = head(&pair.sequencer.rpc()).await;
    pair.sequencer_reaches(away + 30).await;
    let net = pair.file("");
    pair.replica.start(&net);
    pair.follows(away + 30).await;
    let fetched = pair.replica.counter("duskevm_block_gossip_gap_requests_total", "outcome=\"block\"");
    assert!(fetched >= 25.0, "{fetched} blocks were fetched");
    assert!(pair.sequencer.counter("duskevm_block_gossip_served_total", "outcome=\"payload\"") >= fetched);

    // The sequencer comes back and goes on to announce.
    pair.sequencer.kill();
    pair.sequencer.start(&net);
    pair.sequencer_reaches(away + 35).await;
    pair.follows(away + 35).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_of_blocks_survives_every_fault_on_both_sides() {
    let mut pair = Pair::start();
    pair.sequencer_reaches(2).await;
    let mut at = pair.follows(2).await;
    for ports in [pair.sequencer.ports, pair.replica.ports] {
        let admin = client(ports.admin);
        for (fault, cause) in [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")] {
            support::up(&admin, "block-gossip").await;
            let mut params: Vec<Value> = vec![json!("block-gossip")];
            if fault == "admin_hang" {
                params.push(json!(3_600_000));
            }
            call(&admin, fault, params).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
            support::restarted(ports, "block-gossip", cause, 0.0).await;
            at = pair.follows(at + 3).await;
        }
    }
}

/// As op-conductor moves the sequencer, and back: stopped on one node, started on the other one on the same head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sequencer_moves_to_another_node_and_back() {
    let mut pair = Pair::start_as("[actors]\nbatcher = false\n[sequencer]\nstopped = true\n");
    pair.sequencer_reaches(2).await;
    pair.follows(2).await;
    let load = Load::start(pair.sequencer.ports.rpc, accounts(3), 10.0);
    for turn in 0..2 {
        let (from, to) = if turn == 0 { (&pair.sequencer, &pair.replica) } else { (&pair.replica, &pair.sequencer) };
        let (from, to) = (client(from.ports.rollup), client(to.ports.rollup));
        assert_eq!(call(&to, "admin_sequencerActive", vec![]).await.unwrap(), json!(false));
        let head = call(&from, "admin_stopSequencer", vec![]).await.unwrap();
        // The other one has it when it has heard of the last block.
        let begin = Instant::now();
        while let Err(refused) = call(&to, "admin_startSequencer", vec![head.clone()]).await {
            assert!(begin.elapsed() < LONG, "{refused}\n{}", pair.logs());
            tokio::time::sleep(LOOK).await;
        }
        let at = pair.follows(0).await;
        pair.sequencer_reaches(at + 5).await;
        pair.follows(at + 5).await;
    }
    // Blocks of both, and one chain; what users sent meanwhile is in it.
    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 20, "only {} transactions were acknowledged", acknowledged.len());
    let begin = Instant::now();
    for hash in acknowledged {
        while call(&pair.replica.rpc(), "eth_getTransactionReceipt", vec![json!(hash)]).await.unwrap().is_null() {
            assert!(begin.elapsed() < LONG, "{hash} is in no block\n{}", pair.logs());
            tokio::time::sleep(LOOK).await;
        }
    }
}
