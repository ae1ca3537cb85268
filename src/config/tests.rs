//! Layers, their order, and what is said about mistakes in each of them.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::*;

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn env(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn from_file(text: &str) -> Result<Effective, ConfigError> {
    Loader::new().file(Some(&file(text).path)).load()
}

fn from_env(variables: &[(&str, &str)]) -> Result<Effective, ConfigError> {
    Loader::new().environment(env(variables)).load()
}

/// The problems of a configuration that must have some.
fn problems(result: Result<Effective, ConfigError>) -> Vec<Problem> {
    match result {
        Err(ConfigError::Problems(problems)) => problems,
        other => panic!("expected problems, got {other:?}"),
    }
}

fn the_problem(result: Result<Effective, ConfigError>) -> String {
    let problems = problems(result);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

#[test]
fn defaults_are_valid_and_those_of_the_architecture() {
    let config = Loader::new().load().unwrap().config;
    assert_eq!((config.rpc.port, config.admin.port, config.http.port), (9545, 9546, 7300));
    assert!(config.rpc.host.is_loopback() && config.admin.host.is_loopback() && config.http.host.is_loopback());
    assert_eq!(config.chain_id(), 31310);
    assert!(!config.faults.allow);
    assert_eq!((config.genesis.accounts, config.genesis.balance), (10, 10_000));
    let dev = Loader::dev().load().unwrap();
    assert!(dev.config.faults.allow);
    assert_eq!(dev.origin("faults.allow"), Origin::Dev);
    assert_eq!(config.forks.times(), duskevm_evm::ForkTimes::isthmus_at_genesis());
}

#[test]
fn later_layers_win_and_are_named() {
    let file = file("[rpc]\nport = 1\nmax_batch = 1\ncall_gas_cap = 1\n\n[log]\nlevel = \"warn\"\n");
    let effective = Loader::dev()
        .file(Some(&file.path))
        .environment(env(&[("DUSKEVM_RPC__PORT", "2"), ("DUSKEVM_RPC__MAX_BATCH", "2"), ("HOME", "/")]))
        .flag("--port", "rpc.port", 3)
        .load()
        .unwrap();
    let rpc = &effective.config.rpc;
    assert_eq!((rpc.port, rpc.max_batch, rpc.call_gas_cap, rpc.max_filters), (3, 2, 1, 1024));
    assert_eq!(effective.origin("rpc.port"), Origin::Flag { flag: "--port".into() });
    assert_eq!(effective.origin("rpc.max_batch"), Origin::Env { variable: "DUSKEVM_RPC__MAX_BATCH".into() });
    assert_eq!(effective.origin("rpc.call_gas_cap"), Origin::File { path: file.path.clone(), line: 4 });
    assert_eq!(effective.origin("rpc.max_filters"), Origin::Default);
    assert_eq!(effective.origin("rpc.cors"), Origin::Dev);
    assert_eq!(rpc.namespaces, duskevm_rpc::NAMESPACES);
    assert_eq!(from_file("").unwrap().config.rpc.namespaces, ["eth", "net", "rpc", "web3"]);
}

#[test]
fn unknown_keys_in_a_file_name_the_nearest_one_and_the_line() {
    for (text, key, nearest, line) in [
        ("[rpc]\nprot = 1\n", "rpc.prot", "rpc.port", 2),
        ("[rcp]\nport = 1\n", "rcp.port", "rpc.port", 2),
        ("[rpc]\n\n\nmax_bach = 1\n", "rpc.max_bach", "rpc.max_batch", 4),
        ("[l2.forks]\njovain = 0\n", "l2.forks.jovain", "l2.forks.jovian", 2),
        ("[forks]\njovian = 0\n", "forks.jovian", "l2.forks.jovian", 2),
        ("[metrics]\nport = 1\n", "metrics.port", "http.port", 2),
        ("[p2p]\nboot = []\n", "p2p.boot", "gossip.boot", 2),
        ("[gossip]\nbootnodes = []\n", "gossip.bootnodes", "gossip.boot", 2),
        ("[logging]\nlevel = \"info\"\n", "logging.level", "log.level", 2),
        ("archive = true\n", "archive", "data.archive", 1),
        ("rpc.port = 1\nfaults = { alow = true }\n", "faults.alow", "faults.allow", 2),
        ("[datum]\n", "datum", "data", 1),
    ] {
        let problem = the_problem(from_file(text));
        assert!(problem.contains(&format!("unknown key `{key}` ")), "{text}: {problem}");
        assert!(problem.ends_with(&format!("the nearest known key is `{nearest}`")), "{text}: {problem}");
        assert!(problem.contains(&format!("node.toml:{line})")), "{text}: {problem}");
    }
}

#[test]
fn unknown_variables_name_the_nearest_one() {
    for (variable, nearest) in [
        ("DUSKEVM_RPC__PROT", "DUSKEVM_RPC__PORT"),
        ("DUSKEVM_RPC_PORT", "DUSKEVM_RPC__PORT"),
        ("DUSKEVM_RPC__MAXBATCH", "DUSKEVM_RPC__MAX_BATCH"),
        ("DUSKEVM_L2_FORKS_JOVIAN", "DUSKEVM_L2__FORKS__JOVIAN"),
        ("DUSKEVM_METRICS__PORT", "DUSKEVM_HTTP__PORT"),
        ("DUSKEVM_ARCHIVE", "DUSKEVM_DATA__ARCHIVE"),
    ] {
        let problem = the_problem(from_env(&[(variable, "1")]));
        assert!(problem.contains(&format!("`{variable}` (environment {variable})")), "{problem}");
        assert!(problem.ends_with(&format!("`{nearest}`")), "{problem}");
    }
}

#[test]
fn a_section_in_the_place_of_a_value_and_the_other_way_round() {
    assert!(the_problem(from_file("[rpc.port]\nx = 1\n")).contains("wrong value for `rpc.port`"));
    assert!(the_problem(from_file("rpc = 1\n")).contains("this is a section"));
    assert!(the_problem(from_env(&[("DUSKEVM_RPC", "1")])).contains("this is a section"));
    // An empty section is nothing.
    from_file("[rpc]\n").unwrap();
}

#[test]
fn wrong_types_name_the_key_the_place_and_what_was_expected() {
    for (text, key, expected) in [
        ("[rpc]\nport = \"9545\"\n", "rpc.port", "expected u16"),
        ("[rpc]\nport = 70000\n", "rpc.port", "expected u16"),
        ("[rpc]\nport = -1\n", "rpc.port", "expected u16"),
        ("[rpc]\nport = 1.5\n", "rpc.port", "expected u16"),
        ("[rpc]\nhost = \"localhost\"\n", "rpc.host", "IP address"),
        ("[rpc]\ncors = \"*\"\n", "rpc.cors", "expected a sequence"),
        ("[data]\narchive = \"yes\"\n", "data.archive", "expected a boolean"),
        ("[l1]\nbackend = \"rusk\"\n", "l1.backend", "expected `embedded`"),
        ("[network]\nname = \"moon\"\n", "network.name", "`local`, `devnet`"),
        ("[l2.forks]\njovian = \"soon\"\n", "l2.forks.jovian", "\"never\""),
        ("[l2.forks]\njovian = -5\n", "l2.forks.jovian", "\"never\""),
        ("[l2]\ngas_limit = 99999999999999999999\n", "l2.gas_limit", "out of range"),
        ("[keys]\nmnemonic = 5\n", "keys.mnemonic", "expected a string"),
        ("[gossip]\nlisten = [\"9222\"]\n", "gossip.listen", "socket address"),
        ("[gossip]\nboot = [\"/ip4/1.2.3.4/tcp/9222\"]\n", "gossip.boot", "/p2p/<peer id>"),
        ("[gossip]\nboot = [\"/ip4/1.2.3.4/tcp/9222/p2p/12D3\"]\n", "gossip.boot", "no peer id"),
        ("[gossip]\nexternal = [\"1.2.3.4:5\"]\n", "gossip.external", "/ip4/<address>/tcp/<port>"),
        ("[gossip]\nl2_peers = [\"/ip4/1.2.3.4/tcp/9223\"]\n", "gossip.l2_peers", "/p2p/<peer id>"),
        ("[l1]\nfollow = \"head\"\n", "l1.follow", "`auto`, `tip`"),
    ] {
        let problem = the_problem(from_file(text));
        assert!(problem.contains(&format!("wrong value for `{key}`")), "{text}: {problem}");
        assert!(problem.contains("node.toml:2)") && problem.contains(expected), "{text}: {problem}");
    }
    let problem = the_problem(from_env(&[("DUSKEVM_RPC__PORT", "high")]));
    assert!(problem.contains("`rpc.port` (environment DUSKEVM_RPC__PORT)"), "{problem}");
    let problem = the_problem(from_env(&[("DUSKEVM_RPC__PORT", "70000")]));
    assert!(problem.contains("70000"), "the number is at fault, not that it is text: {problem}");
    let problem = the_problem(from_env(&[("DUSKEVM_GOSSIP__LISTEN", "nonsense")]));
    assert!(problem.contains("socket address"), "the address is at fault, not that it is no list: {problem}");
}

#[test]
fn text_from_the_environment_takes_the_type_of_its_key() {
    let config = from_env(&[
        ("DUSKEVM_RPC__PORT", "0x2549"),
        ("DUSKEVM_DATA__ARCHIVE", "true"),
        ("DUSKEVM_RPC__CORS", "https://a.example, https://b.example"),
        ("DUSKEVM_L2__GAS_LIMIT", "30_000_000"),
        ("DUSKEVM_L2__FORKS__JOVIAN", "0"),
        ("DUSKEVM_LOG__LEVEL", "debug"),
        ("DUSKEVM_DATA__DIR", "12345"),
        ("DUSKEVM_HTTP__HOST", "::1"),
        ("DUSKEVM_PASSWORD", "not a setting"),
        ("DUSKEVM_TEST_SEED", "7"),
        ("DUSKEVM_ADMIN__PORT", ""),
    ])
    .unwrap()
    .config;
    assert_eq!((config.rpc.port, config.admin.port), (9545, 9546));
    assert!(config.data.archive);
    assert_eq!(config.rpc.cors, ["https://a.example", "https://b.example"]);
    assert_eq!(config.l2.gas_limit, 30_000_000);
    assert_eq!(config.forks.jovian, ForkTime::GENESIS);
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.data.dir, Some(PathBuf::from("12345")), "a folder may be called like a number");
    assert_eq!(config.http.host.to_string(), "::1");
    let config = from_env(&[("DUSKEVM_RPC__CORS", "[\"*\"]"), ("DUSKEVM_L2__FORKS__ISTHMUS", "never")]).unwrap().config;
    assert_eq!((config.rpc.cors, config.forks.isthmus), (vec!["*".to_owned()], ForkTime::NEVER));
}

#[test]
fn the_usual_log_variable_counts_less_than_our_own() {
    assert_eq!(from_env(&[("RUST_LOG", "trace")]).unwrap().config.log.level, "trace");
    let both = [("RUST_LOG", "trace"), ("DUSKEVM_LOG__LEVEL", "warn")];
    assert_eq!(from_env(&both).unwrap().config.log.level, "warn");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let variables = [(OsString::from("DUSKEVM_DATA__DIR"), OsString::from_vec(vec![0xff]))];
    assert!(the_problem(Loader::new().environment(variables).load()).contains("not valid Unicode"));
}

#[test]
fn relative_paths_in_a_file_start_at_the_file() {
    let file = file("[data]\ndir = \"chain\"\n[network]\ngenesis = \"/absolute\"\n");
    let config = Loader::new().file(Some(&file.path)).load().unwrap().config;
    assert_eq!(config.data.dir, Some(file.path.with_file_name("chain")));
    assert_eq!(config.network.genesis, Some(PathBuf::from("/absolute")));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let found = problems(from_file("[rpc]\nprot = 1\nhost = 5\n[foo]\nbar = 1\n"));
    assert_eq!(found.len(), 3, "{found:?}");
    let error = ConfigError::Problems(found).to_string();
    assert!(error.starts_with("the configuration has 3 problems:\n  - unknown key `rpc.prot`"), "{error}");
}

#[test]
fn files_that_are_missing_or_no_toml() {
    let missing = Loader::new().file(Some(Path::new("/nowhere/node.toml"))).load().unwrap_err();
    assert!(matches!(missing, ConfigError::Read { .. }), "{missing}");
    let error = from_file("[rpc]\nport = = 1\n").unwrap_err().to_string();
    assert!(error.contains("not valid TOML") && error.contains("line 2"), "{error}");
    let error = from_file("[rpc]\nport = 1\nport = 2\n").unwrap_err().to_string();
    assert!(error.contains("duplicate key"), "{error}");
}

#[test]
fn forks_this_node_does_not_run_are_refused_with_the_reason() {
    for fork in ["karst", "interop"] {
        let problem = the_problem(from_file(&format!("[l2.forks]\n{fork} = 0\n")));
        assert!(problem.contains("up to Jovian"), "{problem}");
    }
}

#[test]
fn senseless_values_are_refused_with_what_to_do() {
    for (text, key, part) in [
        ("[l1]\nblock_time = 1\n", "l1.block_time", "shorter than the L2 block time"),
        ("[l2]\nblock_time = 0\n", "l2.block_time", "not between 1"),
        ("[l2]\nchain_id = 744\n", "l2.chain_id", "valid there"),
        ("[l2]\nchain_id = 0\n", "l2.chain_id", "not between"),
        ("[l2]\ngas_limit = 21000\n", "l2.gas_limit", "not between"),
        ("[l2]\nsequencing_window = 1\n", "l2.sequencing_window", "not between"),
        ("[l2]\nsequencing_window = 3\n", "l2.sequencing_window", "before a user's transaction"),
        ("[l2]\nsequencing_window = 9\n[sequencer]\nl1_confirmations = 5\n", "l2.sequencing_window", "(9, with"),
        ("[actors]\nsequencer = false\n", "actors.sequencer", "batcher needs it"),
        ("[actors]\nderivation = false\n", "actors.derivation", "batcher needs it"),
        ("[actors]\ncarrier = true\nl1_rpc = false\n", "actors.l1_rpc", "carrier needs it"),
        ("[actors]\ncarrier = true\n[carrier]\ngas_price = 0\n", "carrier", "gas_price is 0"),
        ("[l2.forks]\nisthmus = \"never\"\njovian = 0\n", "l2.forks.jovian", "isthmus before it"),
        ("[l2.forks]\nholocene = 50\nisthmus = 40\n", "l2.forks.isthmus", "holocene before it"),
        (
            "[actors]\nexecutor = false\nsequencer = false\nbatcher = false\nderivation = false\ntxpool = false\n",
            "actors.executor",
            "rpc needs it",
        ),
        ("[actors]\ntxpool = false\nrpc = false\n", "actors.txpool", "sequencer needs it"),
        ("[rpc]\nport = 7300\n", "http.port", "taken by `rpc.port`"),
        ("[rpc]\nport = 7300\nhost = \"0.0.0.0\"\n", "http.port", "taken by `rpc.port`"),
        ("[admin]\nhost = \"0.0.0.0\"\n", "admin.host", "no password"),
        ("[log]\nlevel = \"loud,,=\"\n", "log.level", "not a level"),
        ("[data]\nhistory_blocks = 0\n", "data.history_blocks", "at least 1"),
        ("[genesis]\nbalance = 99999999999\n", "genesis.balance", "lower it"),
        ("[sequencer]\ntime_budget_ms = 5000\n", "sequencer.time_budget_ms", "block time of 2 s"),
        ("[actors]\nderivation = false\n[sequencer]\nmax_safe_lag = 5\n", "sequencer.max_safe_lag", "leave it at 0"),
        ("[supervision]\nbackoff_min_ms = 9000\n", "supervision.backoff_max_ms", "raise it"),
        ("[network]\nname = \"testnet\"\n", "keys.mnemonic", "everybody knows"),
        ("[network]\ngenesis = \"g\"\n[l2]\ngas_limit = 30000000\n", "l2.gas_limit", "remove the setting"),
        ("[rpc]\nsequencer = \"192.0.2.7:9545\"\n", "rpc.sequencer", "is no URL"),
        ("[rpc]\nsequencer = \"ws://192.0.2.7:9546\"\n", "rpc.sequencer", "neither http"),
        ("[rpc]\nsequencer = \"http://192.0.2.7:9545\"\n", "rpc.sequencer", "makes the blocks itself"),
        (
            "[actors]\nsequencer = false\nbatcher = false\n[rpc]\nsequencer = \"http://localhost:9545\"\n",
            "rpc.sequencer",
            "this node's own RPC",
        ),
        ("[rpc]\nmax_batch = 0\n", "rpc.max_batch", "at least 1"),
        ("[rpc]\nnamespaces = [\"eth\", \"personal\"]\n", "rpc.namespaces", "no namespace \"personal\""),
        ("[rpc]\nhost = \"0.0.0.0\"\nnamespaces = [\"eth\", \"miner\"]\n", "rpc.namespaces", "allow_remote_miner"),
        ("[rpc]\nmax_unsent_bytes = 1000\n", "rpc.max_unsent_bytes", "raise it"),
        ("[l1_rpc]\nmax_log_blocks = 0\n", "l1_rpc.max_log_blocks", "at least 1"),
        ("[l1_rpc]\nmax_unsent_bytes = 1000\n", "l1_rpc.max_unsent_bytes", "raise it"),
        ("[l1_rpc]\nport = 9545\n", "l1_rpc.port", "taken by `rpc.port`"),
        ("[engine_api]\ntime_budget_ms = 6000\n", "engine_api.time_budget_ms", "5000"),
        ("[engine_api]\nsync_from = \"http://192.0.2.7:9545\"\n", "engine_api.sync_from", "`actors.engine_api` is off"),
        ("[engine_api]\nsync_from = \"192.0.2.7:9545\"\n", "engine_api.sync_from", "is no URL"),
        ("[engine_api]\nsync_from = \"ws://192.0.2.7:9545\"\n", "engine_api.sync_from", "neither http:// nor https://"),
        ("[rollup_rpc]\nport = 9545\n", "rollup_rpc.port", "taken by `rpc.port`"),
        ("[rollup_rpc]\nadmin = true\nhost = \"0.0.0.0\"\n", "rollup_rpc.admin", "allow_remote_admin"),
        (
            "[actors]\nexecutor = false\nsequencer = false\nbatcher = false\nderivation = false\ntxpool = false\nrpc = false\n",
            "actors.executor",
            "rollup_rpc needs it",
        ),
        ("[rollup_rpc]\nmax_batch = 0\n", "rollup_rpc.max_batch", "at least 1"),
        (
            "[actors]\nl1 = false\nexecutor = false\nsequencer = false\nbatcher = false\nderivation = false\ntxpool = false\nrpc = false\n",
            "actors.l1",
            "l1_rpc needs it",
        ),
        ("[rpc]\nport = 5052\n", "blobs.port", "taken by `rpc.port`"),
        ("[gossip]\nlisten = [\"0.0.0.0:7300\"]\n", "gossip.listen", "taken by `http.port`"),
        ("[gossip]\nlisten = [\"[::]:9\", \"127.0.0.1:9\"]\n", "gossip.listen", "taken by `gossip.listen`"),
        ("[gossip]\nmax_peers = 3\n", "gossip.max_inbound", "lower it"),
        ("[gossip]\nl2_max_peers = 0\n", "gossip.l2_max_peers", "raise it"),
        ("[gossip]\nl2_listen = [\"0.0.0.0:7300\"]\n", "gossip.l2_listen", "taken by `http.port`"),
        ("[gossip]\nlisten = [\"[::]:9\"]\nl2_listen = [\"[::]:9\"]\n", "gossip.l2_listen", "taken by `gossip.listen`"),
        (
            "[gossip]\nl2_listen = [\"127.0.0.1:9\"]\n[actors]\nexecutor = false\nrollup_rpc = false\nsequencer = false\nbatcher = false\nderivation = false\ntxpool = false\nrpc = false\n",
            "actors.executor",
            "gossip needs it",
        ),
        ("[gossip]\nmax_peers = 0\n", "gossip.max_peers", "at least 1"),
        ("[gossip]\nexternal = [\"/ip4/1.2.3.4/tcp/0\"]\n", "gossip.external", "nobody can connect"),
        ("[gossip]\nexternal = [\"/memory/7\"]\n", "gossip.external", "nobody can connect"),
        ("[blobs]\nmax_response_blobs = 6\n", "blobs.max_response_blobs", "at least 7"),
        ("[actors]\nda_store = false\n", "actors.da_store", "blob_api needs it"),
        (
            "[gossip]\nlisten = [\"127.0.0.1:9\"]\n[actors]\nda_store = false\nblob_api = false\n",
            "actors.da_store",
            "gossip needs it",
        ),
        ("[l1]\nprovisioners = 0\n", "l1.provisioners", "not between 1 and 64"),
        ("[l1]\nprovisioners = 65\n", "l1.provisioners", "not between 1 and 64"),
        ("[l1]\nprovisioners = 2\n[network]\ngenesis = \"g\"\n", "l1.provisioners", "remove the setting"),
        ("[l1]\nprovisioners = 2\n[gossip]\nlisten = [\"127.0.0.1:9\"]\n", "gossip.listen", "--provisioners"),
        ("[l1]\nprovisioners = 2\n[keys]\nconsensus = \"k\"\n", "keys.consensus", "everybody knows"),
        ("[l1]\nprovisioners = 2\n[actors]\ngossip = false\n", "actors.gossip", "turn it on"),
    ] {
        let found = problems(from_file(text));
        let problem = found.iter().map(ToString::to_string).find(|problem| problem.starts_with(&format!("`{key}` ")));
        assert!(problem.as_ref().is_some_and(|problem| problem.contains(part)), "{text}: {found:?}");
    }
    // A chain has one driver.
    let driven = "[actors]\nengine_api = true\n";
    let off = ["sequencer", "batcher", "derivation"].map(|actor| format!("{actor} = false\n"));
    for (index, own) in off.iter().enumerate() {
        let others = off.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, text)| text.as_str());
        let text: String = [driven].into_iter().chain(others).collect();
        let found = problems(from_file(&text)).iter().map(ToString::to_string).collect::<String>();
        let actor = own.split(' ').next().unwrap();
        assert!(found.contains(&format!("`actors.{actor}`")) && found.contains("drives the chain"), "{text}: {found}");
    }
    let alone = format!("{driven}{}", off.concat());
    from_file(&alone).unwrap();
    from_file(&format!("{alone}[engine_api]\nsync_from = \"http://192.0.2.7:9545\"\n")).unwrap();
    for port in [9545, 8551] {
        let itself = format!("{alone}[engine_api]\nsync_from = \"http://localhost:{port}\"\n");
        assert!(the_problem(from_file(&itself)).contains("a port of this node itself"));
    }
    let gossiping = format!("{alone}[gossip]\nl2_listen = [\"127.0.0.1:9\"]\n");
    assert!(the_problem(from_file(&gossiping)).contains("gossip of L2 blocks does not go with"));
    let bare = "consensus = false\ngossip = false\nda_store = false\nblob_api = false\nl1 = false\nl1_rpc = false\n";
    from_file(&format!("{alone}{bare}")).unwrap();
    let poolless = format!("{alone}{bare}rpc = false\ntxpool = false\n");
    assert!(the_problem(from_file(&poolless)).contains("engine_api needs it"));
    // The same port on different addresses, and free ports, are no clash; nor is a port of an actor that is off.
    from_file("[rpc]\nport = 7300\nhost = \"127.0.0.2\"\n").unwrap();
    from_file("[rpc]\nport = 0\n[http]\nport = 0\n[admin]\nport = 0\n").unwrap();
    from_file("[rpc]\nport = 7300\n[actors]\nhttp = false\n").unwrap();
    from_file("[admin]\nhost = \"0.0.0.0\"\nallow_remote = true\n").unwrap();
    from_file("[gossip]\nlisten = [\"127.0.0.1:7300\"]\n[actors]\ngossip = false\n").unwrap();
    from_file("[actors]\nda_store = false\nblob_api = false\n").unwrap();
    from_file("[gossip]\nmax_inbound = 0\n[blobs]\nretention_blocks = 0\n[l1]\nprovisioners = 64\n").unwrap();
}

#[test]
fn peers_in_a_file_and_in_the_environment() {
    let peer = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    let boot = format!("/ip4/127.0.0.1/tcp/9223/p2p/{peer}");
    let file = file(&format!(
        "[gossip]\nlisten = [\"127.0.0.1:9222\"]\nboot = [\"{boot}\"]\n[keys]\nconsensus = \"node-1.keys\"\npassword_file = \"p\"\n"
    ));
    let config = Loader::new().file(Some(&file.path)).load().unwrap().config;
    assert!(config.has_peers() && !Config::default().has_peers());
    assert_eq!(config.gossip.boot[0].to_string(), boot);
    let folder = file.path.parent().unwrap();
    assert_eq!(config.keys.consensus, Some(folder.join("node-1.keys")), "relative to the file");
    assert_eq!(config.keys.password_file, Some(folder.join("p")));
    let config = from_env(&[
        ("DUSKEVM_GOSSIP__LISTEN", "127.0.0.1:9222,[::1]:9222"),
        ("DUSKEVM_GOSSIP__BOOT", &boot),
        ("DUSKEVM_GOSSIP__EXTERNAL", "/ip6/2a00::1/tcp/5"),
        ("DUSKEVM_ACTORS__GOSSIP", "false"),
    ])
    .unwrap()
    .config;
    assert_eq!(config.gossip.listen.len(), 2);
    assert_eq!(config.gossip.external[0].to_string(), "/ip6/2a00::1/tcp/5");
    assert!(!config.has_peers(), "gossip is off");
}

#[test]
fn slower_l2_blocks_slow_l1_down_unless_it_is_set() {
    let l1 = |loader: Loader| loader.flag("--block-time", "l2.block_time", 12).load().map(|e| e.config.l1.block_time);
    assert_eq!(l1(Loader::dev()).unwrap(), 24);
    assert_eq!(l1(Loader::new().flag("--l1-block-time", "l1.block_time", 30)).unwrap(), 30);
    assert!(l1(Loader::new().flag("--l1-block-time", "l1.block_time", 6)).is_err());
}

#[test]
fn a_node_needs_a_data_folder() {
    assert!(the_problem(Loader::new().needs_data_dir().load()).contains("data.dir"));
    assert!(Config::default().data_dir().is_err());
    let config = Loader::new().needs_data_dir().flag("--data-dir", "data.dir", "/d").load().unwrap().config;
    assert_eq!(config.data_dir().unwrap(), Path::new("/d"));
}

#[test]
fn what_is_shown_can_be_read_again() {
    let effective = Loader::dev()
        .flag("--data-dir", "data.dir", "/with \"quotes\" and \\ in it")
        .flag("--jovian", "l2.forks.jovian", 0)
        .flag("--external", "gossip.external", vec!["/ip4/1.2.3.4/tcp/5"])
        .load()
        .unwrap();
    for docs in [false, true] {
        let shown = effective.to_toml(Show { docs, secrets: true });
        let again = from_file(&shown).unwrap();
        assert_eq!(again.config, effective.config, "{shown}");
    }
    let shown = effective.to_toml(Show::default());
    assert!(shown.lines().any(|line| line.starts_with("jovian = 0 ") && line.ends_with("# flag --jovian")), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("# genesis is not set ")), "{shown}");
    let json = effective.to_json(Show::default());
    assert_eq!(json["rpc.port"], serde_json::json!({"value": 9545, "origin": {"layer": "default"}}));
    assert_eq!(json["network.genesis"]["value"], serde_json::Value::Null);
    assert_eq!(json["l2.forks.jovian"]["origin"]["flag"], "--jovian");
}

#[test]
fn secrets_are_shown_only_on_request() {
    let effective = Loader::new().flag("--mnemonic", "keys.mnemonic", "my own words").load().unwrap();
    for text in
        [effective.to_toml(Show::default()), effective.to_json(Show::default()).to_string(), format!("{effective:?}")]
    {
        assert!(text.contains("<hidden>") && !text.contains("my own"), "{text}");
    }
    assert!(effective.to_toml(Show { secrets: true, docs: false }).contains("my own words"));
}

#[test]
fn every_setting_is_documented_and_has_a_variable_of_its_own() {
    let mut variables = std::collections::BTreeSet::new();
    for section in Config::SECTIONS {
        assert!(!section.keys.is_empty() && !section.doc.is_empty(), "{}", section.path);
        for key in section.keys {
            assert!(key.doc.iter().all(|line| line.len() > 4), "{}.{}", section.path, key.name);
            let path = format!("{}.{}", section.path, key.name);
            assert!(variables.insert(super::layers::variable_of(&path)), "{path}");
        }
    }
}

#[test]
fn l2_stays_within_its_distance_from_l1() {
    assert!(the_problem(from_file("[l1]\nblock_time = 900\n")).contains("1800 s ahead"));
    assert!(from_file("[l1]\nblock_time = 899\n").is_ok());
    let problem = the_problem(from_file("[sequencer]\nl1_confirmations = 178\n"));
    assert!(problem.contains("sequencer.l1_confirmations"), "{problem}");
    assert!(from_file("[sequencer]\nl1_confirmations = 177\n").is_ok());
    assert!(the_problem(from_file(&format!("[sequencer]\nl1_confirmations = {}\n", i64::MAX))).contains("ahead"));
}

#[test]
fn building_ends_long_before_the_executor_counts_as_hung() {
    let text = |budget| format!("[l2]\nblock_time = 30\n[sequencer]\ntime_budget_ms = {budget}\n");
    assert!(the_problem(from_file(&text(5_001))).contains("seem to hang"));
    assert!(from_file(&text(5_000)).is_ok());
}

#[test]
fn dev_carries_unless_what_it_stands_on_is_off() {
    let carries = |variables| Loader::dev().environment(env(variables)).load().unwrap().config.actors.carrier;
    assert!(carries(&[]));
    assert!(!carries(&[("DUSKEVM_ACTORS__L1_RPC", "false")]));
    assert!(!Loader::new().load().unwrap().config.actors.carrier);
    // Whoever asks for it in so many words is told what it needs.
    let asked = env(&[("DUSKEVM_ACTORS__L1_RPC", "false"), ("DUSKEVM_ACTORS__CARRIER", "true")]);
    let refused = Loader::dev().environment(asked).load().unwrap_err().to_string();
    assert!(refused.contains("carrier needs it"), "{refused}");
}
