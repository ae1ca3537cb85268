//! A network of provisioners, each a process of its own on loopback, made by `duskevm genesis --provisioners`.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test uses its part"
)]

use super::support::{call, client, get};
use jsonrpsee::http_client::HttpClient;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// The longest that a step may take: an iteration that fails takes some seconds, and several in a row may.
const LONG: Duration = Duration::from_secs(240);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
const PASSWORD: &str = "correct horse battery staple";
/// The ports of a node and of the next one differ by this, as `genesis` writes them.
const STEP: u16 = 10;

/// A block's hash and state root.
pub type Roots = (String, String);

/// What a node says of its L1.
#[derive(Debug, Clone)]
pub struct Look {
    pub height: u64,
    pub hash: String,
    pub final_height: u64,
    pub syncing: bool,
    pub peers: u64,
}

/// The processes, numbered from 1.
pub struct Network {
    folder: tempfile::TempDir,
    children: Vec<Option<Child>>,
    first_port: u16,
}

/// The first of ports that were free a moment ago, below those that systems hand out by themselves.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const LOWEST: u16 = 12_000;
    const PLACES: u16 = 180;
    let begin = u16::try_from(std::process::id() % u32::from(PLACES)).unwrap();
    for _ in 0..PLACES {
        let place = (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % PLACES;
        let first = LOWEST + place * 100;
        if (first..first + count * STEP).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no free ports");
}

fn duskevm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duskevm"));
    command.env_clear().env("DUSKEVM_PASSWORD", PASSWORD).stdin(Stdio::null());
    command
}

impl Network {
    /// Makes the files of a network and starts its nodes. `block_time` of L1 in seconds.
    pub fn start(count: u16, block_time: u64) -> Self {
        Self::start_some(count, block_time, &(1..=usize::from(count)).collect::<Vec<_>>())
    }

    /// The same, but only these nodes are started.
    pub fn start_some(count: u16, block_time: u64, numbers: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let first_port = free_ports(count);
        let port = |offset: u16| (first_port + offset).to_string();
        let made = duskevm()
            .args(["genesis", "--out", "net", "--provisioners", &count.to_string()])
            .args(["--block-time", "1", "--l1-block-time", &block_time.to_string()])
            .env("DUSKEVM_RPC__PORT", port(0))
            .env("DUSKEVM_ADMIN__PORT", port(1))
            .env("DUSKEVM_HTTP__PORT", port(2))
            .env("DUSKEVM_BLOBS__PORT", port(3))
            .env("DUSKEVM_L1_RPC__PORT", port(6))
            .env("DUSKEVM_ROLLUP_RPC__PORT", port(7))
            .env("DUSKEVM_GOSSIP__LISTEN", format!("127.0.0.1:{}", port(4)))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut network = Self { folder, children: (0..count).map(|_| None).collect(), first_port };
        for &number in numbers {
            network.start_node(number);
        }
        network
    }

    pub fn numbers(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.children.len()
    }

    pub fn running(&self) -> Vec<usize> {
        self.numbers().filter(|number| self.children[number - 1].is_some()).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("net").join(name)
    }

    fn config(&self, number: usize) -> PathBuf {
        self.file(&format!("node-{number}.toml"))
    }

    pub fn port(&self, number: usize, offset: u16) -> u16 {
        self.first_port + STEP * u16::try_from(number - 1).unwrap() + offset
    }

    /// Drops lines from the configuration of a node.
    pub fn without(&self, number: usize, drops: impl Fn(&str) -> bool) {
        let path = self.config(number);
        let text = std::fs::read_to_string(&path).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !drops(line)).collect();
        assert!(kept.len() < text.lines().count(), "nothing to drop:\n{text}");
        std::fs::write(&path, kept.join("\n")).unwrap();
    }

    pub fn start_node(&mut self, number: usize) {
        let log = self.file(&format!("node-{number}.log"));
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = duskevm()
            .args(["node", "--config"])
            .arg(self.config(number))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let before = self.children[number - 1].replace(child);
        assert!(before.is_none(), "node {number} runs already");
    }

    /// `kill -9`.
    pub fn kill(&mut self, number: usize) {
        let mut child = self.children[number - 1].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Deletes the databases and vote journals of a node that does not run. Its keys and its configuration stay.
    pub fn wipe(&self, number: usize) {
        assert!(self.children[number - 1].is_none(), "node {number} runs");
        std::fs::remove_dir_all(self.file(&format!("node-{number}"))).unwrap();
    }

    /// Ends all nodes in order and checks their files; `db verify` executes what the first one has once more.
    pub fn stop(mut self) {
        for child in self.children.iter().flatten() {
            assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        }
        for number in self.numbers() {
            let Some(mut child) = self.children[number - 1].take() else { continue };
            let begin = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                assert!(begin.elapsed() < Duration::from_secs(60), "node {number} does not stop\n{}", self.logs());
                std::thread::sleep(LOOK);
            };
            assert!(status.success(), "node {number} ended with {status}\n{}", self.logs());
            let command = if number == 1 { "verify" } else { "check" };
            let checked = duskevm().args(["db", command, "--config"]).arg(self.config(number)).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }

    /// Runs a subcommand of `duskevm l1` with the key of a node.
    pub fn l1(&self, number: usize, line: &[&str]) -> Output {
        self.run(number, &[&["l1"], line].concat())
    }

    /// Runs a subcommand of `duskevm` with the configuration of a node.
    pub fn run(&self, number: usize, line: &[&str]) -> Output {
        duskevm().args(line).arg("--config").arg(self.config(number)).output().unwrap()
    }

    /// `duskevm status --json`.
    pub fn status(&self, number: usize) -> Value {
        let output = duskevm().args(["status", "--json", "--config"]).arg(self.config(number)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn rpc(&self) -> HttpClient {
        self.rpc_of(1)
    }

    /// The L2 JSON-RPC of a node.
    pub fn rpc_of(&self, number: usize) -> HttpClient {
        client(self.port(number, 0))
    }

    /// What a node says of its L1; `None` while it does not answer.
    pub async fn look(&self, number: usize) -> Option<Look> {
        let status = call(&client(self.port(number, 1)), "admin_status", vec![]).await.ok()?;
        let l1 = &status["l1"];
        Some(Look {
            height: l1["tip"]["number"].as_u64()?,
            hash: l1["tip"]["hash"].as_str()?.to_owned(),
            final_height: l1["final"].as_u64()?,
            syncing: l1["syncing"].as_bool()?,
            peers: l1["peers"].as_u64()?,
        })
    }

    /// Waits until these nodes are as wanted.
    pub async fn until(&mut self, numbers: &[usize], what: &str, wanted: impl Fn(&[Look]) -> bool) -> Vec<Look> {
        self.until_within(LONG, numbers, what, wanted).await
    }

    pub async fn until_within(
        &mut self,
        within: Duration,
        numbers: &[usize],
        what: &str,
        wanted: impl Fn(&[Look]) -> bool,
    ) -> Vec<Look> {
        let begin = Instant::now();
        loop {
            let mut seen = Vec::new();
            for &number in numbers {
                seen.extend(self.look(number).await);
                if let Some(status) = self.children[number - 1].as_mut().unwrap().try_wait().unwrap() {
                    panic!("node {number} ended with {status}\n{}", self.logs());
                }
            }
            if seen.len() == numbers.len() && wanted(&seen) {
                return seen;
            }
            assert!(begin.elapsed() < within, "not in time: {what}: {seen:#?}\n{}", self.logs());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The greatest height of the nodes that run.
    pub async fn highest(&mut self) -> u64 {
        let running = self.running();
        let all = self.until(&running, "an answer of each", |_| true).await;
        all.iter().map(|look| look.height).max().unwrap()
    }

    /// Waits until a node that has just been started has what the others have now. Returns their height.
    pub async fn catch_up(&mut self, number: usize) -> u64 {
        let others: Vec<usize> = self.running().into_iter().filter(|other| *other != number).collect();
        let all = self.until(&others, "an answer of each", |_| true).await;
        let goal = all.iter().map(|look| look.height).max().unwrap();
        self.until(&[number], &format!("node {number} has block {goal}"), |all| {
            all[0].height >= goal && !all[0].syncing
        })
        .await;
        goal
    }

    /// Waits until the nodes that run have so many blocks more than the one that is ahead now.
    pub async fn grow(&mut self, blocks: u64) {
        let goal = self.highest().await + blocks;
        let running = self.running();
        self.until(&running, &format!("L1 block {goal} on {running:?}"), |all| {
            all.iter().all(|look| look.height >= goal)
        })
        .await;
    }

    fn header(&self, number: usize, root: &str) -> Option<(String, Roots)> {
        let answer = get(self.port(number, 3), &format!("/eth/v1/beacon/headers/{root}"));
        let body = answer.split_once("\r\n\r\n")?.1;
        let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        let data = &answer["data"];
        let message = &data["header"]["message"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some((text(&message["parent_root"])?, (text(&data["root"])?, text(&message["state_root"])?)))
    }

    /// The chain of a node from its tip down to a height. A tip that is replaced meanwhile is asked for again.
    async fn chain(&self, number: usize, lowest: u64) -> BTreeMap<u64, Roots> {
        let begin = Instant::now();
        'again: loop {
            assert!(begin.elapsed() < LONG, "node {number} does not give its chain\n{}", self.logs());
            let mut chain = BTreeMap::new();
            if let Some(tip) = self.look(number).await {
                let mut root = tip.hash;
                for height in (lowest..=tip.height).rev() {
                    let Some((parent, block)) = self.header(number, &root) else {
                        tokio::time::sleep(LOOK).await;
                        continue 'again;
                    };
                    assert_eq!(block.0, root, "node {number}, block {height}");
                    chain.insert(height, block);
                    root = parent;
                }
                return chain;
            }
        }
    }

    /// The nodes that run have the same hashes and state roots from `lowest` up to the lowest of their final heights. Returns
    /// these blocks.
    pub async fn agree(&mut self, lowest: u64) -> BTreeMap<u64, Roots> {
        let running = self.running();
        let looks = self.until(&running, "an answer of each", |_| true).await;
        let top = looks.iter().map(|look| look.final_height).min().unwrap();
        assert!(top >= lowest, "nothing is final above {lowest}: {looks:#?}\n{}", self.logs());
        let mut agreed: Option<BTreeMap<u64, Roots>> = None;
        for number in running {
            let mut chain = self.chain(number, lowest).await;
            drop(chain.split_off(&(top + 1)));
            assert_eq!(chain.len() as u64, top - lowest + 1);
            match &agreed {
                Some(agreed) => assert_eq!(agreed, &chain, "node {number} has another chain\n{}", self.logs()),
                None => agreed = Some(chain),
            }
        }
        agreed.unwrap()
    }

    /// Waits until the nodes that run have the same block at this height, which may not be final yet.
    pub async fn agree_at(&mut self, height: u64) {
        let begin = Instant::now();
        loop {
            let mut blocks = Vec::new();
            for number in self.running() {
                blocks.extend(self.chain(number, height).await.remove(&height));
            }
            if blocks.len() == self.running().len() && blocks.iter().all(|block| *block == blocks[0]) {
                return;
            }
            assert!(begin.elapsed() < LONG, "block {height} is not the same: {blocks:#?}\n{}", self.logs());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for number in self.numbers() {
            let text = std::fs::read_to_string(self.file(&format!("node-{number}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            all.push_str(&format!("-- node {number}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n")));
        }
        all
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
