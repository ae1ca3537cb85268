//! `duskevm l1` against a running node: money moves, a stake begins and ends, rewards are taken, and mistakes cost nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use duskevm_dusk_l1::keyfile;
use duskevm_dusk_l1::keys::Signer;
use serde_json::Value;
use support::{Node, Ports};

const DUSK: u64 = 1_000_000_000;
const PASSWORD: &str = "correct horse";

/// A node, and somebody with a key of his own.
struct Bed {
    node: Node,
    folder: tempfile::TempDir,
    key: PathBuf,
    password: PathBuf,
    account: String,
}

impl Bed {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(b"somebody who stakes");
        let (key, password) = (folder.path().join("consensus.keys"), folder.path().join("password"));
        std::fs::write(&key, keyfile::encrypt(&signer, PASSWORD, &[7; keyfile::RANDOM_BYTES]).unwrap()).unwrap();
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        let node = Node::start(&folder.path().join("data"), Ports::free());
        Self { node, key, password, account: signer.id().to_string(), folder }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duskevm"));
        command
            .arg("l1")
            .args(line)
            .args(["--admin", &format!("http://127.0.0.1:{}", self.node.ports.admin)])
            .env_clear();
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().unwrap()
    }

    /// The arguments that name the own key.
    fn mine<'a>(&'a self, line: &[&'a str]) -> Vec<&'a str> {
        let (key, password) = (self.key.to_str().unwrap(), self.password.to_str().unwrap());
        [line, &["--key", key, "--password-file", password]].concat()
    }

    /// What a command that succeeds prints as JSON.
    fn json(&self, line: &[&str]) -> Value {
        let output = self.run(&[line, &["--json"]].concat());
        assert!(output.status.success(), "{line:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a command that fails says.
    fn failure(&self, line: &[&str], code: i32) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(code), "{line:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stderr)
    }

    fn account(&self) -> Value {
        self.json(&["account", &self.account])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An amount in lux.
fn lux(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_stake_begins_grows_and_ends() {
    let bed = Bed::start();
    assert_eq!(lux(&bed.account()["balance"]), 0);
    let before = bed.json(&["provisioners"]);
    assert_eq!(before.as_array().unwrap().len(), 1, "{before}");

    // Without money nothing is sent; without a key nothing is asked.
    let said = bed.failure(&bed.mine(&["stake", "--amount", "1000"]), 1);
    assert!(said.contains("is 0 DUSK, and this needs 1000.008"), "{said}");
    let said = bed.failure(&["stake", "--amount", "1000"], 2);
    assert!(said.contains("--key FILE"), "{said}");
    let said = bed.failure(&["account", "--key", bed.key.to_str().unwrap()], 1);
    assert!(said.contains("DUSKEVM_PASSWORD"), "{said}");
    let wrong = bed.folder.path().join("wrong");
    std::fs::write(&wrong, "wrong horse").unwrap();
    let (key, wrong) = (bed.key.to_str().unwrap(), wrong.to_str().unwrap());
    let said = bed.failure(&["account", "--key", key, "--password-file", wrong], 1);
    assert!(said.contains("password is wrong"), "{said}");

    let paid = bed.json(&["transfer", "--dev", "--to", &bed.account, "--amount", "2000.5"]);
    assert_eq!((&paid["action"], &paid["to"]), (&"transfer".into(), &bed.account.as_str().into()));
    let mut balance = 2_000 * DUSK + DUSK / 2;
    assert_eq!(lux(&bed.account()["balance"]), balance);
    // What became of it can be asked for later, too.
    let state = bed.json(&["transaction", paid["id"].as_str().unwrap()]);
    assert_eq!(
        (&state["state"], &state["height"], &state["error"]),
        (&"included".into(), &paid["height"], &Value::Null)
    );

    let said = bed.failure(&bed.mine(&["stake", "--amount", "999.9"]), 1);
    assert!(said.contains("at least 1000 DUSK, not 999.9"), "{said}");
    let staked = bed.json(&bed.mine(&["stake", "--amount", "1500"]));
    balance -= 1_500 * DUSK + lux(&staked["fee"]);
    let height = staked["height"].as_u64().unwrap();
    assert!(staked["eligibility"].as_u64().unwrap() > height + 2160, "{staked}");
    let output = bed.run(&bed.mine(&["stake", "--amount", "0.000000001", "--gas-price", "2"]));
    let said = text(&output.stdout);
    assert!(output.status.success() && said.starts_with("staked 0.000000001 DUSK in L1 block "), "{said}");
    let id = said.split_once("(transaction ").unwrap().1.split(')').next().unwrap();
    let gas = bed.json(&["transaction", id])["gasSpent"].as_u64().unwrap();
    balance -= 1 + 2 * gas;
    let all = bed.json(&["provisioners"]);
    let mine = all.as_array().unwrap().iter().find(|one| one["account"] == *bed.account).unwrap();
    assert_eq!((all.as_array().unwrap().len(), lux(&mine["stake"])), (2, 1_500 * DUSK + 1));
    assert_eq!(mine["eligibility"], staked["eligibility"]);

    // What would fail in a block is not sent.
    for (amount, why) in [("2000", "only 1500.000000001 DUSK are staked"), ("1000", "leave at least 1000")] {
        let said = bed.failure(&bed.mine(&["unstake", "--amount", amount]), 1);
        assert!(said.contains(why), "{said}");
    }
    let said = bed.failure(&bed.mine(&["withdraw"]), 1);
    assert!(said.contains("no rewards"), "{said}");
    assert_eq!(lux(&bed.account()["balance"]), balance, "refusals cost nothing");
    // What fails all the same says so, and costs its gas.
    let said = bed.failure(&bed.mine(&["unstake", "--amount", "500", "--gas-limit", "100000"]), 1);
    assert!(said.contains("failed in L1 block"), "{said}");
    balance -= 100_000;

    let part = bed.json(&bed.mine(&["unstake", "--amount", "500.000000001"]));
    let rest = bed.json(&bed.mine(&["unstake", "--amount", "1000"]));
    balance += 1_500 * DUSK + 1 - lux(&part["fee"]) - lux(&rest["fee"]);
    let account = bed.account();
    assert_eq!((lux(&account["stake"]), lux(&account["balance"])), (0, balance));
    assert_eq!(bed.json(&["provisioners"]).as_array().unwrap().len(), 1);

    // The provisioner of the node has earned something.
    let earned = bed.json(&["withdraw", "--dev"]);
    assert!(lux(&earned["amount"]) > DUSK, "{earned}");
    let said = bed.failure(&["withdraw", "--dev", "--amount", "100000000"], 1);
    assert!(said.contains("the rewards are"), "{said}");
}

#[test]
fn a_restart_of_the_l1_loses_no_transaction_and_an_absent_node_is_named() {
    let bed = Bed::start();
    let admin = format!("http://127.0.0.1:{}", bed.node.ports.admin);
    let mut sending = bed
        .command(&["transfer", "--dev", "--to", &bed.account, "--amount", "3", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The mempool is in memory: whatever waits is lost with the actor.
    let broken = Command::new(env!("CARGO_BIN_EXE_duskevm"))
        .args(["actors", "kill", "consensus", "--admin", &admin])
        .env_clear()
        .output()
        .unwrap();
    assert!(broken.status.success(), "{}", text(&broken.stderr));
    let deadline = Instant::now() + Duration::from_secs(150);
    while sending.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = sending.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(lux(&bed.account()["balance"]), 3 * DUSK);
    assert!(Path::new(&bed.node.data).exists());

    let Bed { node, folder, key, password, account } = bed;
    let port = node.ports.admin;
    assert!(node.stop().success());
    let away = Command::new(env!("CARGO_BIN_EXE_duskevm"))
        .args(["l1", "account", &account, "--admin", &format!("http://127.0.0.1:{port}")])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(away.status.code(), Some(1));
    assert!(text(&away.stderr).contains("no node answers at"), "{}", text(&away.stderr));
    drop((folder, key, password));
}
