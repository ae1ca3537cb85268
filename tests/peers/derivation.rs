//! `kona-node` derives our chain from our L1.

use crate::{
    Comparison, LONG, agree, block,
    circle::{Circle, Fill},
    kona::{self, Execution, L1Ends, Setup, free},
    support::{Load, Node, Ports, accounts, call, client, grow, head, restarted, up},
    wallet::{self, contract_call, submit},
};
use alloy_primitives::U256;
use duskevm_genesis::LOCAL_CONTRACTS;
use jsonrpsee::http_client::HttpClient;
use serde_json::json;
use std::{
    process::Command,
    time::{Duration, Instant},
};

const BOB: &str = "0xb0b0000000000000000000000000000000000b0b";
/// Six L1 blocks of two seconds.
const WINDOW: (&str, &str) = ("DUSKEVM_L2__SEQUENCING_WINDOW", "6");
const NO_BATCHER: (&str, &str) = ("DUSKEVM_ACTORS__BATCHER", "false");
/// Blocks that are waited for after each fault of a part.
const STEP: u64 = 6;

fn deposit(node: &Node) {
    let output = Command::new(env!("CARGO_BIN_EXE_duskevm"))
        .args(["bridge", "deposit", "--dev", "--amount", "2.5", "--to", BOB, "--json"])
        .args(["--admin", &format!("http://127.0.0.1:{}", node.ports.admin)])
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every kind of change that the owner of the system config can make and that goes on working.
fn configure(node: &Node) {
    let config = LOCAL_CONTRACTS.system_config;
    let batcher =
        wallet::ask(node, &["l1", "read"], &json!({ "contractId": config, "method": "batcherHash", "args": [] }));
    for (method, args) in [
        ("setBatcherHash", json!([batcher])),
        ("setGasConfigEcotone", json!([2_000, 700_000])),
        ("setGasLimit", json!(["45000000"])),
        ("setEIP1559Params", json!([100, 4])),
        ("setOperatorFeeScalars", json!([3, "1000"])),
    ] {
        let (hash, success) = submit(node, &contract_call(config, method, args, 0));
        assert!(success, "{method}: {hash}");
    }
}

/// How many blocks the peer is to derive.
fn blocks() -> u64 {
    std::env::var("DUSKEVM_TEST_PEER_BLOCKS").map_or(120, |blocks| blocks.parse().unwrap())
}

/// `kona-node` reads our L1 endpoint and blob API and drives our node in the role `execution`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kona_node_derives_our_chain_from_our_l1() {
    let Some(program) = kona::program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ports = Ports::free();
    let node = Node::start_as(&data, ports, &[], &[WINDOW]);
    grow(&node, 2, Duration::from_secs(60)).await;
    let network = data.join("network");
    let mut execution = Execution::start(folder.path(), &network, None);
    let [p2p] = free();
    let setup =
        Setup { program: &program, folder: folder.path(), network: &network, l1: L1Ends::of(ports), p2p, extra: &[] };
    let mut kona = setup.start(&execution);
    kona.begin(&node).await;
    let mut comparison = Comparison::new(&node, &execution);

    // Batches, deposits, and changes of the configuration.
    let load = Load::start(ports.rpc, accounts(5), 20.0);
    let third = blocks() / 3;
    deposit(&node);
    comparison.to(third / 2, || kona.log_tail()).await;
    configure(&node);
    deposit(&node);
    comparison.to(third, || kona.log_tail()).await;

    // Our side is killed, and each part of it that the peer talks to fails; the peer goes on where it was.
    execution.kill();
    execution = execution.again();
    comparison.theirs = execution.rpc();
    comparison.to(comparison.compared + STEP, || kona.log_tail()).await;
    for (admin, metrics, actor) in [
        (execution.admin(), execution.ports(), "engine-api"),
        (execution.admin(), execution.ports(), "executor"),
        (node.admin(), ports, "l1-rpc"),
        (node.admin(), ports, "blob-api"),
    ] {
        for (fault, cause) in [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")] {
            up(&admin, actor).await;
            let mut params = vec![json!(actor)];
            if fault == "admin_hang" {
                params.push(json!(3_600_000));
            }
            call(&admin, fault, params).await.unwrap_or_else(|error| panic!("{fault} {actor}: {error}"));
            restarted(metrics, actor, cause, 0.0).await;
            comparison.to(comparison.compared + STEP, || kona.log_tail()).await;
        }
    }

    // A sequencing window without a batch: L1 prescribes the blocks.
    assert!(node.stop().success());
    let node = Node::start_as(&data, ports, &[], &[WINDOW, NO_BATCHER]);
    let goal = head(&node.rpc()).await + 15;
    comparison.to(goal, || kona.log_tail()).await;
    assert!(node.stop().success());
    let node = Node::start_as(&data, ports, &[], &[WINDOW]);
    let goal = (comparison.compared + third).max(blocks());
    comparison.to(goal, || kona.log_tail()).await;

    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 100, "only {} transactions were acknowledged", acknowledged.len());
    let balance = call(&comparison.theirs, "eth_getBalance", vec![json!(BOB), json!("safe")]).await.unwrap();
    let dusk = U256::from(10).pow(U256::from(17)) * U256::from(50);
    assert_eq!(serde_json::from_value::<U256>(balance).unwrap(), dusk, "each deposit arrives once");
    let final_there = block(&comparison.theirs, "finalized").await;
    let final_here = match final_there {
        Some((number, _)) => block(&comparison.ours, &format!("{number:#x}")).await,
        None => None,
    };
    assert_eq!(final_there, final_here);
    println!(
        "kona-node derived {} blocks as we did, finalized {:?}, with {} transactions",
        comparison.compared,
        final_there,
        acknowledged.len()
    );
    kona.kill();
    execution.stop();
    assert!(node.stop().success());
}

/// L1 takes back blocks that the peer has derived from, up to ten of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kona_node_follows_when_l1_replaces_its_newest_blocks() {
    let Some(program) = kona::program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut circle = Circle::start(folder.path()).await;
    let load = Load::start(circle.sequencer.node.ports.rpc, accounts(5), 10.0);
    circle.catch_up().await;
    let network = folder.path().join("sequencer").join("network");
    let execution = Execution::start(folder.path(), &network, None);
    let [p2p] = free();
    let setup = Setup {
        program: &program,
        folder: folder.path(),
        network: &network,
        l1: L1Ends::of(circle.sequencer.node.ports),
        p2p,
        extra: &[],
    };
    let mut kona = setup.start(&execution);
    kona.begin(&circle.sequencer.node).await;
    let theirs = execution.rpc();
    let mut goal = follow(&mut circle, &theirs, || kona.log_tail()).await;
    for depth in [1, 3, 10] {
        circle.reorg(depth, true).await;
        goal = follow(&mut circle, &theirs, || kona.log_tail()).await;
    }
    let acknowledged = load.finish().await;
    println!("kona-node followed three reorgs to safe block {goal}, under {} transactions", acknowledged.len());
    kona.kill();
    execution.stop();
    let Circle { peer, sequencer, verifier, .. } = circle;
    assert!(sequencer.node.stop().success());
    assert!(verifier.node.stop().success());
    peer.stop().await;
}

/// Makes L1 blocks until the peer's safe chain has our newest safe block, and compares all of it. The peer sees that an L1 block was
/// replaced when the next one does not stand on it.
async fn follow(circle: &mut Circle, theirs: &HttpClient, why: impl Fn() -> String) -> u64 {
    let ours = client(circle.sequencer.node.ports.rpc);
    let goal = circle.sequencer.heads().await.safe.number;
    let (at, begin) = (format!("{goal:#x}"), Instant::now());
    loop {
        let safe = block(theirs, "safe").await.map_or(0, |(number, _)| number);
        if safe >= goal && block(theirs, &at).await == block(&ours, &at).await {
            break;
        }
        assert!(begin.elapsed() < LONG, "not block {goal}: the safe block is {safe}\n{}", why());
        circle.block(0, Fill::Pool, None).await;
        circle.show().await;
        circle.built_on().await;
    }
    agree("safe", theirs, &ours, goal, why).await;
    goal
}
