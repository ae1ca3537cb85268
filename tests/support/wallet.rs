//! Calls of the rollup's contracts on L1, as a user makes them with `duskevm l1 submit`.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs, reason = "each test uses its part")]

use super::support::Node;
use alloy_primitives::B256;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

/// Runs `duskevm` against the node, with a request on its standard input.
pub fn run(node: &Node, line: &[&str], request: &Value) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_duskevm"))
        .args(line)
        .args(["--admin", &format!("http://127.0.0.1:{}", node.ports.admin)])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The answer to a request that succeeds.
pub fn ask(node: &Node, line: &[&str], request: &Value) -> Value {
    let output = run(node, line, request);
    assert!(output.status.success(), "{line:?} {request}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a request that fails is answered.
pub fn failure(node: &Node, line: &[&str], request: &Value) -> String {
    let output = run(node, line, request);
    assert!(!output.status.success(), "{line:?} {request}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

pub fn contract_call(contract: B256, method: &str, args: Value, lux: u64) -> Value {
    json!({ "kind": "contract_call", "contractId": contract, "method": method, "args": args, "amountLux": lux.to_string() })
}

/// Submits a call and waits for it: its Dusk transaction hash and whether it succeeded.
pub fn submit(node: &Node, request: &Value) -> (Value, bool) {
    let sent = ask(node, &["l1", "submit", "--dev"], request);
    let hash = sent["transactionHash"].clone();
    let options = json!({ "timeoutMs": 60_000, "pollIntervalMs": 200 });
    let done = ask(node, &["l1", "wait"], &json!({ "transactionHash": hash, "options": options }));
    assert_eq!(done["transactionHash"], hash);
    assert!(done["blockHeight"].as_u64().unwrap() > 0 && done["finalized"].is_boolean(), "{done}");
    (hash, done["success"].as_bool().unwrap())
}
