//! `duskevm dev` as a process: it says how to reach it, stops in order, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far longer than any step takes, also in a debug build on a busy machine.
const LONG: Duration = Duration::from_secs(60);

struct Dev {
    process: Child,
    banner: String,
}

impl Dev {
    /// Starts it on free ports and waits for the end of the banner.
    fn start() -> Self {
        Self::start_with(&["--log", "error"], Stdio::inherit())
    }

    fn start_with(arguments: &[&str], log: Stdio) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_duskevm"))
            .args(["dev", "--port", "0", "--admin-port", "0", "--metrics-port", "0", "--blob-port", "0"])
            .args(["--l1-rpc-port", "0", "--rollup-rpc-port", "0"])
            .args(arguments)
            .env_clear()
            .stderr(log)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut banner = String::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            banner.push_str(&line);
            banner.push('\n');
            if line.starts_with("Up after") {
                return Self { process, banner };
            }
        }
        panic!("it ended with {} after printing:\n{banner}", process.wait().unwrap());
    }

    /// What follows a word of the banner up to the next space.
    fn said(&self, word: &str) -> &str {
        let (_, rest) = self.banner.split_once(word).unwrap_or_else(|| panic!("no {word} in:\n{}", self.banner));
        rest.split_whitespace().next().unwrap()
    }

    fn actors(&self, arguments: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_duskevm"))
            .arg("actors")
            .args(arguments)
            .args(["--admin", self.said("admin")])
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until a line of the metrics begins like this.
    fn wait_for_metric(&self, series: &str) {
        let start = Instant::now();
        while !get(self.said("metrics")).contains(&format!("\n{series}")) {
            assert!(start.elapsed() < LONG, "{series} does not appear");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LONG, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Ended already unless an assertion failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // An instance that dies with the connection in its hands resets it; what is asserted then is the answer.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn it_prints_what_one_needs_and_stops_in_order() {
    let mut dev = Dev::start();
    assert!(dev.banner.contains("(0) 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 (10000 DUSK)"), "{}", dev.banner);
    assert!(dev.banner.contains("test test test test test test test test test test test junk"));
    assert_eq!(dev.said("chain id"), "31310");
    let data = PathBuf::from(dev.said("data"));
    assert!(data.is_dir(), "{data:?}");

    for series in ["duskevm_build_info{", "duskevm_actor_up{actor=\"http\"} 1\n", "process_resident_memory_bytes "] {
        dev.wait_for_metric(series);
    }
    assert!(get(dev.said("health")).ends_with("\r\n\r\nok\n"));

    dev.signal("-TERM");
    assert_eq!(dev.wait().code(), Some(0));
    assert!(!data.exists(), "the temporary folder is removed");
}

#[test]
fn interrupting_works_like_terminating() {
    let mut dev = Dev::start();
    dev.signal("-INT");
    assert_eq!(dev.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut dev = Dev::start();
    let data = PathBuf::from(dev.said("data"));
    // An actor that hangs holds an ordered stop up.
    dev.actors(&["hang", "http", "--for", "5m"]);
    dev.signal("-TERM");
    dev.signal("-INT");
    let code = dev.wait().code();
    // 128 + the number of the signal that came second; which one that is, the system decides.
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
    assert!(!data.exists(), "the temporary folder is removed all the same");
}

#[test]
fn every_log_line_is_json_even_when_an_actor_panics() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut dev = Dev::start_with(&["--json-logs"], fs::File::create(&log).unwrap().into());
    dev.actors(&["panic", "http"]);
    // Answered by the next instance: the panic is over by then.
    dev.wait_for_metric("duskevm_actor_restarts_total{actor=\"http\",cause=\"panic\"} 1\n");
    dev.signal("-TERM");
    assert_eq!(dev.wait().code(), Some(0));
    let lines: Vec<Value> = fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    let panic = lines.iter().find(|line| line["message"].as_str().is_some_and(|text| text.starts_with("panicked: ")));
    assert!(panic.is_some_and(|line| line["level"] == "ERROR" && line["location"].is_string()), "{lines:#?}");
}
