//! Blocks that are not on L1 yet, by gossip between `kona-node` and our node.

use crate::{
    agree, block,
    kona::{self, Execution, L1Ends, Setup, free},
    support::{Load, Node, Ports, accounts, call, client, grow},
};
use duskevm_genesis::dev_accounts;
use serde_json::json;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(180);
const GOSSIP: (&str, &str) = ("DUSKEVM_ACTORS__GOSSIP", "true");
/// L1 has no blobs of ours: what the peer has it has heard.
const NO_BATCHER: (&str, &str) = ("DUSKEVM_ACTORS__BATCHER", "false");
const NO_SEQUENCER: (&str, &str) = ("DUSKEVM_ACTORS__SEQUENCER", "false");

/// `kona-node` follows the blocks that our sequencer announces, also after either side was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kona_node_follows_our_blocks_by_gossip() {
    let Some(program) = kona::program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (ports, [p2p]) = (Ports::free(), free());
    let network = data.join("network");
    let setup =
        Setup { program: &program, folder: folder.path(), network: &network, l1: L1Ends::of(ports), p2p, extra: &[] };
    let address = setup.address();
    let settings = [GOSSIP, NO_BATCHER, ("DUSKEVM_GOSSIP__L2_PEERS", address.as_str())];
    let mut node = Node::start_as(&data, ports, &[], &settings);
    grow(&node, 2, Duration::from_secs(60)).await;
    // It has missed the first blocks, and nobody brings them by gossip.
    let mut execution = Execution::start(folder.path(), &network, Some(ports.rpc));
    let mut kona = setup.start(&execution);
    let load = Load::start(ports.rpc, accounts(3), 20.0);
    let (ours, theirs) = (node.rpc(), execution.rpc());
    let mut goal = block(&ours, "latest").await.unwrap().0 + 20;
    agree("latest", &theirs, &ours, goal, || kona.log_tail()).await;

    kona.kill();
    kona = setup.start(&execution);
    goal = block(&ours, "latest").await.unwrap().0 + 20;
    agree("latest", &theirs, &ours, goal, || kona.log_tail()).await;

    execution.kill();
    execution = execution.again();
    goal = block(&ours, "latest").await.unwrap().0 + 20;
    agree("latest", &theirs, &ours, goal, || kona.log_tail()).await;

    node.kill();
    node = Node::start_as(&data, ports, &[], &settings);
    goal = block(&ours, "latest").await.unwrap().0 + 20;
    agree("latest", &theirs, &ours, goal, || kona.log_tail()).await;
    let acknowledged = load.finish().await;
    println!("kona-node followed to block {goal} by gossip, under {} transactions", acknowledged.len());
    kona.kill();
    execution.stop();
    assert!(node.stop().success());
}

/// A `kona-node` with our node in the role `execution` is the sequencer; our verifier follows the blocks that it announces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_verifier_follows_the_blocks_of_a_kona_node() {
    let Some(program) = kona::program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (ports, [p2p]) = (Ports::free(), free());
    let network = data.join("network");
    let key = dev_accounts().unwrap().sequencer.private_key.to_string();
    let setup = Setup {
        program: &program,
        folder: folder.path(),
        network: &network,
        l1: L1Ends::of(ports),
        p2p,
        extra: &[
            "--mode",
            "sequencer",
            "--p2p.sequencer.key",
            &key,
            "--sequencer.l1-confs",
            "1",
            "--sequencer.stopped",
        ],
    };
    let address = setup.address();
    let settings = [GOSSIP, NO_BATCHER, NO_SEQUENCER, ("DUSKEVM_GOSSIP__L2_PEERS", address.as_str())];
    let node = Node::start_as(&data, ports, &[], &settings);
    let execution = Execution::start(folder.path(), &network, None);
    let mut kona = setup.start(&execution);
    // What it made before they are connected our node would have to wait for until it is on L1: a kona-node does not answer requests
    // for blocks.
    let begin = Instant::now();
    loop {
        let peers = call(&client(ports.rollup), "opp2p_peers", vec![json!(true)]).await.unwrap();
        if peers["totalConnected"] == json!(1) {
            break;
        }
        assert!(begin.elapsed() < LONG, "not connected: {peers}\n{}", kona.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let genesis = block(&execution.rpc(), "0x0").await.unwrap().1;
    kona.sequence(genesis).await;
    let load = Load::start(execution.rpc_port(), accounts(3), 20.0);
    let (ours, theirs) = (node.rpc(), execution.rpc());
    agree("latest", &ours, &theirs, 30, || format!("{}\n{}", kona.log_tail(), node.log_tail())).await;
    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 20, "only {} transactions were acknowledged", acknowledged.len());
    // All of them are in blocks, on our side too.
    let begin = Instant::now();
    for hash in &acknowledged {
        loop {
            let receipt = call(&ours, "eth_getTransactionReceipt", vec![json!(hash)]).await.unwrap();
            if receipt.is_object() {
                break;
            }
            assert!(begin.elapsed() < LONG, "{hash} is in no block\n{}", kona.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let newest = block(&ours, "latest").await.unwrap().0;
    println!("our verifier has {newest} blocks of a kona-node, with {} transactions", acknowledged.len());
    kona.kill();
    execution.stop();
    assert!(node.stop().success());
}
