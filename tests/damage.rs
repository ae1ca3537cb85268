//! A data folder whose files were damaged while the node did not run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Node, Ports, grow};

fn check(data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_duskevm")).args(["db", "check", "--data-dir"]).arg(data).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The files of a folder with this beginning or end.
fn files(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| is_meant(path.file_name().unwrap().to_str().unwrap()));
    found.sort();
    found
}

/// Turns bits over from an offset on, for as long as `file` is the guard's.
struct Bent {
    path: PathBuf,
    before: Vec<u8>,
}

impl Bent {
    fn new(path: &Path, range: impl Fn(usize) -> bool) -> Self {
        let before = std::fs::read(path).unwrap();
        let bent: Vec<u8> = before
            .iter()
            .enumerate()
            .map(|(at, byte)| if range(at) && *byte != 0 { byte ^ 0x5a } else { *byte })
            .collect();
        assert_ne!(before, bent, "{} has nothing to bend", path.display());
        std::fs::write(path, bent).unwrap();
        Self { path: path.to_owned(), before }
    }
}

impl Drop for Bent {
    fn drop(&mut self) {
        std::fs::write(&self.path, &self.before).unwrap();
    }
}

/// Starts `duskevm dev` on the folder and waits for its end.
fn start(data: &Path) -> (ExitStatus, String) {
    let ports = Ports::free();
    let log = data.with_extension("again.log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_duskevm"))
        .args(["dev", "--no-banner", "--port", &ports.rpc.to_string(), "--admin-port", &ports.admin.to_string()])
        .args(["--metrics-port", &ports.http.to_string(), "--blob-port", &ports.blobs.to_string()])
        .args(["--l1-rpc-port", &ports.l1.to_string(), "--rollup-rpc-port", &ports.rollup.to_string(), "--data-dir"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    (child.wait().unwrap(), std::fs::read_to_string(&log).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_damaged_and_the_node_does_not_go_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data, Ports::free());
    grow(&node, 8, Duration::from_secs(120)).await;
    assert!(node.stop().success());
    let good = check(&data);
    assert!(good.status.success(), "{}", text(&good));
    for told in ["journal sequencer", "journal votes", "L1 tip", "all is well"] {
        assert!(text(&good).contains(told), "{told}: {}", text(&good));
    }

    // The first record of the votes: later ones were written after it was on disk.
    let journal = files(&data.join("votes"), |name| name.ends_with(".journal")).remove(0);
    let bent = Bent::new(&journal, |at| (32..64).contains(&at));
    let found = check(&data);
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    assert!(text(&found).contains("journal") && text(&found).contains("damaged at offset"), "{}", text(&found));
    drop(bent);

    // Every value of the L1 database.
    let tables = files(&data.join("l1"), |name| name.starts_with("table_"));
    let bent: Vec<Bent> = tables
        .iter()
        .filter(|path| std::fs::read(path).unwrap().iter().skip(64).any(|byte| *byte != 0))
        .map(|path| Bent::new(path, |at| at >= 64))
        .collect();
    let found = check(&data);
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    let (status, log) = start(&data);
    assert!(status.code().is_some_and(|code| code != 0), "it goes on: {log}");
    drop(bent);
    assert!(check(&data).status.success());
}
