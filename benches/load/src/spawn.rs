//! Starts a node for the time of a measurement.

use crate::{follow::head, http::Endpoint, rpc::Client};
use anyhow::{Context as _, Result, bail};
use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a node may take to produce its first block.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END: Duration = Duration::from_secs(15);

/// What is started.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Options that take a port of their own, the JSON-RPC's first.
    pub(crate) ports: Vec<&'static str>,
    /// Option that takes a folder for the chain.
    pub(crate) folder: Option<&'static str>,
    /// The first block that has to be there.
    pub(crate) ready_at: u64,
}

/// A node that ends with this value.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    folder: TempDir,
    pub(crate) url: String,
}

impl Program {
    /// Starts it and waits until it produces blocks.
    pub(crate) async fn start(&self) -> Result<Node> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let ports = free_ports(self.ports.len())?;
        let mut command = Command::new(&self.binary);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        for (option, port) in self.ports.iter().zip(&ports) {
            command.arg(option).arg(port.to_string());
        }
        if let Some(option) = self.folder {
            command.arg(option).arg(folder.path().join("data"));
        }
        let log = |name: &str| File::create(folder.path().join(name)).context("cannot write a log file");
        command.stdin(Stdio::null()).stdout(log("out")?).stderr(log("err")?);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?;
        let port = ports.first().context("a node needs a port")?;
        let mut node = Node { child, folder, url: format!("http://127.0.0.1:{port}") };
        node.wait_for_block(self).await?;
        Ok(node)
    }
}

/// Ports that nothing listens on right now.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All are held until all are known, so that they differ.
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?.iter().map(|a| a.port()).collect())
}

impl Node {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn wait_for_block(&mut self, program: &Program) -> Result<()> {
        let endpoint = Endpoint::parse(&self.url, Duration::from_secs(2))?;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("cannot watch the node")? {
                bail!("{} ended with {status}:\n{}", program.name, self.last_words());
            }
            // Each time a new client: a connection to a node that is starting may be one that nobody serves.
            if head(&mut Client::new(endpoint.clone(), Duration::ZERO)).await.is_ok_and(|head| head >= program.ready_at)
            {
                return Ok(());
            }
            if begin.elapsed() > START {
                bail!("{} has no block after {START:?}:\n{}", program.name, self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn last_words(&self) -> String {
        let tail = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        };
        [tail(&self.folder.path().join("out")), tail(&self.folder.path().join("err"))].join("\n")
    }

    /// Ends it in order; by force if it takes too long. Returns what is odd about its end.
    pub(crate) async fn stop(mut self) -> Result<()> {
        // The standard library can only kill.
        let asked = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        let begin = Instant::now();
        while asked.as_ref().is_ok_and(std::process::ExitStatus::success) && begin.elapsed() < END {
            if self.child.try_wait().context("cannot watch the node")?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("a node did not end within {END:?} of SIGTERM")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing is to be done about a process that has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The two nodes that `compare` knows.
pub(crate) fn duskevm(
    binary: &Path,
    block_time: u64,
    gas_limit: u64,
    more: &[String],
    env: Vec<(String, String)>,
) -> Program {
    let mut args = vec!["dev".to_owned(), "--no-banner".to_owned(), "--log".to_owned(), "warn".to_owned()];
    args.extend(["--block-time".to_owned(), block_time.to_string(), "--gas-limit".to_owned(), gas_limit.to_string()]);
    args.extend_from_slice(more);
    Program {
        name: "duskevm".into(),
        binary: binary.to_owned(),
        args,
        env,
        ports: vec!["--port", "--admin-port", "--metrics-port", "--blob-port", "--l1-rpc-port", "--rollup-rpc-port"],
        folder: Some("--data-dir"),
        ready_at: 1,
    }
}

/// `block_time`: `None` mines each transaction at once, as anvil does by itself.
pub(crate) fn anvil(binary: &Path, block_time: Option<u64>, gas_limit: u64, more: &[String]) -> Program {
    let mut args: Vec<String> =
        ["--chain-id", "31310", "--accounts", "10", "--balance", "10000", "--silent"].map(str::to_owned).into();
    args.extend(["--gas-limit".to_owned(), gas_limit.to_string()]);
    let mut name = "anvil (at once)".to_owned();
    if let Some(seconds) = block_time {
        args.extend(["--block-time".to_owned(), seconds.to_string()]);
        name = format!("anvil ({seconds} s blocks)");
    }
    args.extend_from_slice(more);
    Program { name, binary: binary.to_owned(), args, env: Vec::new(), ports: vec!["--port"], folder: None, ready_at: 0 }
}
