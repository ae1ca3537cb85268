//! The program from the outside: arguments, exit codes, configuration, what it asks a running node.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use duskevm::config::{Config, Effective, Loader};
use jsonrpsee::RpcModule;
use jsonrpsee::server::ServerBuilder;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};

/// The program with a clean environment, so that the tests say the same on every machine.
fn duskevm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duskevm"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn output(arguments: &[&str]) -> Output {
    duskevm(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version_succeed_and_wrong_usage_is_code_2() {
    let help = output(&["--help"]);
    assert_eq!(code(&help), 0);
    for command in ["dev", "node", "genesis", "status", "actors", "config", "db"] {
        assert!(stdout(&help).contains(&format!("\n  {command} ")), "{}", stdout(&help));
        let help = output(&[command, "--help"]);
        assert_eq!(code(&help), 0);
        assert!(stdout(&help).contains("Usage: duskevm"), "{}", stdout(&help));
    }
    let version = output(&["--version"]);
    assert_eq!(stdout(&version), format!("duskevm {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in [&[][..], &["fly"], &["dev", "--prot", "1"], &["node"]] {
        assert_eq!(code(&output(wrong)), 2, "{wrong:?}");
    }
    let mistyped = output(&["dev", "--prot", "1"]);
    assert!(stderr(&mistyped).contains("'--port'"), "the nearest flag is named: {}", stderr(&mistyped));
}

#[test]
fn config_show_prints_values_and_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, "[rpc]\nmax_batch = 7\n").unwrap();
    let shown = duskevm(&["config", "show", "--config", file.to_str().unwrap()])
        .env("DUSKEVM_RPC__PORT", "4000")
        .output()
        .unwrap();
    assert_eq!(code(&shown), 0, "{}", stderr(&shown));
    let line = |key: &str| stdout(&shown).lines().find(|line| line.starts_with(key)).map(str::to_owned).unwrap();
    assert!(line("port = 4000").ends_with("# environment DUSKEVM_RPC__PORT"));
    assert!(line("max_batch = 7").ends_with(&format!("# {}:2", file.display())));
    assert!(line("max_log_blocks").ends_with("# default"));

    let shown = duskevm(&["config", "show", "--dev", "--json"]).env("DUSKEVM_LOG__LEVEL", "debug").output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["log.level"]["value"], "debug");
    assert_eq!(shown["log.level"]["origin"], json!({"layer": "env", "variable": "DUSKEVM_LOG__LEVEL"}));
    assert_eq!(shown["faults.allow"], json!({"value": true, "origin": {"layer": "dev"}}));
}

#[test]
fn mistakes_in_the_configuration_are_code_2_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, "[rpc]\nprot = 1\n").unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        &["config", "show", "--config", file][..],
        &["node", "--config", file],
        &["dev", "--config", file],
        &["status", "--config", file],
        &["actors", "list", "--config", file],
        &["genesis", "--out", folder.path().to_str().unwrap(), "--config", file],
        &["db", "check", "--config", file],
    ] {
        let refused = output(arguments);
        assert_eq!(code(&refused), 2, "{arguments:?}");
        let message = stderr(&refused);
        assert!(message.contains("unknown key `rpc.prot`") && message.contains("`rpc.port`"), "{message}");
        assert!(message.contains(&format!("{file}:2")), "{message}");
    }
    let refused = duskevm(&["config", "show"]).env("DUSKEVM_RPC_PORT", "1").output().unwrap();
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("DUSKEVM_RPC__PORT"), "{}", stderr(&refused));
    let refused = output(&["dev", "--mnemonic", "not a mnemonic"]);
    assert_eq!(code(&refused), 2);
    assert!(!stderr(&refused).contains("not a mnemonic"), "a mnemonic is never repeated: {}", stderr(&refused));
}

#[test]
fn a_genesis_is_made_for_local_networks_only() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("net");
    let out = out.to_str().unwrap();
    for network in ["mainnet", "testnet", "devnet"] {
        let refused = output(&["genesis", "--out", out, "--network", network]);
        assert_eq!(code(&refused), 2, "{network}");
        assert!(stderr(&refused).contains(network) && stderr(&refused).contains("--chain-id"), "{}", stderr(&refused));
        let refused = duskevm(&["genesis", "--out", out]).env("DUSKEVM_NETWORK__NAME", network).output().unwrap();
        assert_eq!(code(&refused), 2, "{network}");
    }
    assert!(!Path::new(out).exists(), "nothing is written");
}

#[test]
fn a_network_of_several_provisioners_needs_a_password_and_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let make = |more: &[&str], password: Option<&str>| {
        let mut command = duskevm(&["genesis", "--provisioners", "2", "--out", "net", "--l1-block-time", "2"]);
        command.args(more).current_dir(folder.path());
        if let Some(password) = password {
            command.env("DUSKEVM_PASSWORD", password);
        }
        command.output().unwrap()
    };
    let refused = make(&[], None);
    assert_eq!(code(&refused), 2);
    let message = stderr(&refused);
    assert!(message.contains("--password-file") && message.contains("DUSKEVM_PASSWORD"), "{message}");
    assert!(!folder.path().join("net").exists(), "nothing is written");

    let made = make(&[], Some("secret"));
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert!(stdout(&made).contains("duskevm node --config net/node-2.toml"), "{}", stdout(&made));
    let net = folder.path().join("net");
    let keys = fs::read(net.join("node-1.keys")).unwrap();
    fs::write(folder.path().join("password"), "other").unwrap();
    let again = make(&["--password-file", "password"], None);
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    assert_eq!(fs::read(net.join("node-1.keys")).unwrap(), keys);

    // Wherever it is started: what the file names lies beside it.
    let elsewhere = folder.path().join("else");
    fs::create_dir(&elsewhere).unwrap();
    let shown = duskevm(&["config", "show", "--json", "--config", "../net/node-2.toml"])
        .current_dir(elsewhere)
        .output()
        .unwrap();
    assert_eq!(code(&shown), 0, "{}", stderr(&shown));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["keys.consensus"]["value"], "../net/node-2.keys");
    assert_eq!(shown["actors.sequencer"]["value"], false);
}

fn shipped(name: &str) -> Effective {
    let path = Path::new("config").join(name);
    let loader = if name == "dev.toml" { Loader::dev() } else { Loader::new().needs_data_dir() };
    loader.file(Some(&path)).load().unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_shipped_files_are_valid_and_say_what_is_true() {
    assert_eq!(shipped("dev.toml").config.l2, Loader::dev().load().unwrap().config.l2);
    // The node's file spells the defaults out; it must not drift away from them.
    let mut node = shipped("node.toml").config;
    assert_eq!(node.data.dir, Some("config/../node-data".into()), "relative to the file");
    node.data.dir = None;
    node.log.format = Config::default().log.format;
    assert_eq!(node, Config::default());
    let on = shipped("execution.toml").config.actors;
    assert!(on.engine_api && on.executor && on.txpool && on.rpc && on.http);
    assert!(!(on.consensus || on.l1 || on.da_store || on.blob_api || on.l1_rpc || on.gossip));
    assert!(!(on.sequencer || on.derivation || on.batcher));
}

#[test]
fn the_dashboard_is_json_and_asks_for_the_documented_metrics() {
    let folder = Path::new("config");
    let text = fs::read_to_string(folder.join("grafana/duskevm.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap();
    for metric in [
        "duskevm_actor_up{",
        "duskevm_actor_restarts_total{",
        "duskevm_actor_mailbox_depth{",
        "duskevm_actor_handle_seconds_bucket{",
        "duskevm_head{",
        "duskevm_block_seconds_bucket{",
        "duskevm_gas_total{",
        "duskevm_txpool_transactions{",
        "duskevm_rpc_requests_total{",
        "duskevm_rpc_request_seconds_bucket{",
        "duskevm_batcher_backlog_blocks{",
        "duskevm_derivation_blocks_total{",
        "duskevm_block_gossip_peers{",
        "duskevm_engine_statuses_total{",
    ] {
        assert!(text.contains(metric), "{metric}");
    }
}

#[test]
fn db_refuses_a_folder_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for command in ["check", "verify"] {
        let refused = output(&["db", command, "--data-dir", missing.to_str().unwrap()]);
        assert_eq!(code(&refused), 1);
        assert!(stderr(&refused).contains("nothing to check"), "{}", stderr(&refused));
        assert!(!missing.exists(), "a check makes nothing");
    }
}

/// An admin server that answers as a node does, and notes what it was asked.
struct Admin {
    url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    _runtime: tokio::runtime::Runtime,
}

fn admin() -> Admin {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut module = RpcModule::new(asked.clone());
    let answers = [
        ("admin_actors", json!([{"name": "executor", "state": "running", "restarts": 3}])),
        ("admin_status", json!({"chainId": 31310, "heads": {"unsafe": {"number": 12, "hash": "0xab"}}})),
        ("admin_kill", json!(true)),
        ("admin_panic", json!(true)),
        ("admin_hang", json!(true)),
    ];
    for (method, answer) in answers {
        module
            .register_method(method, move |params, asked: &Arc<Mutex<Vec<(String, Value)>>>, _| {
                let params = params.as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
                asked.lock().unwrap().push((method.to_owned(), params));
                answer.clone()
            })
            .unwrap();
    }
    module
        .register_method("admin_restart", |_, _, _| -> Result<bool, ErrorObjectOwned> {
            Err(ErrorObjectOwned::owned(-32000, "faults are not allowed on this node", None::<()>))
        })
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address: SocketAddr = runtime.block_on(async {
        let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        // Serves until the runtime is dropped.
        tokio::spawn(server.start(module).stopped());
        address
    });
    Admin { url: format!("http://{address}"), asked, _runtime: runtime }
}

#[test]
fn client_commands_ask_the_admin_server() {
    let admin = admin();
    let ask = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--admin", &admin.url]);
        let output = output(&all);
        (code(&output), stdout(&output), stderr(&output))
    };
    let (code, out, _) = ask(&["actors", "list"]);
    assert_eq!((code, out.lines().nth(1)), (0, Some("executor  running  3")), "{out}");
    let (_, out, _) = ask(&["actors", "list", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()[0]["restarts"], 3);
    let (code, out, _) = ask(&["status"]);
    assert!(code == 0 && out.contains("chain id  31310") && out.contains("  unsafe  12  0xab"), "{out}");
    assert_eq!(ask(&["actors", "kill", "rpc"]).0, 0);
    assert_eq!(ask(&["actors", "panic", "rpc"]).0, 0);
    assert_eq!(ask(&["actors", "hang", "rpc", "--for", "2s"]).0, 0);
    let (code, _, err) = ask(&["actors", "restart", "rpc"]);
    assert!(code == 1 && err.contains("faults are not allowed on this node"), "{err}");
    let asked: Vec<_> = admin.asked.lock().unwrap().drain(..).filter(|(_, params)| *params != json!([])).collect();
    let expected =
        [("admin_kill", json!(["rpc"])), ("admin_panic", json!(["rpc"])), ("admin_hang", json!(["rpc", 2000]))];
    let asked: Vec<_> =
        asked.into_iter().filter(|(method, _)| !matches!(&**method, "admin_actors" | "admin_status")).collect();
    assert_eq!(asked, expected.map(|(method, params)| (method.to_owned(), params)));
}

#[test]
fn the_admin_address_comes_from_the_configuration() {
    let admin = admin();
    let port = admin.url.rsplit(':').next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, format!("[admin]\nport = {port}\n")).unwrap();
    assert_eq!(code(&output(&["status", "--config", file.to_str().unwrap()])), 0);
    let by_environment = duskevm(&["status"]).env("DUSKEVM_ADMIN__PORT", port).output().unwrap();
    assert_eq!(code(&by_environment), 0, "{}", stderr(&by_environment));
}

#[test]
fn a_node_that_is_not_there_is_code_1_and_says_what_to_do() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for arguments in [&["status"][..], &["actors", "list"], &["actors", "kill", "rpc"]] {
        let failed = duskevm(arguments).env("DUSKEVM_ADMIN__PORT", port.to_string()).output().unwrap();
        assert_eq!(code(&failed), 1);
        assert!(stderr(&failed).contains("no node answers at"), "{}", stderr(&failed));
        assert!(stdout(&failed).is_empty());
    }
}
