//! `dev --provisioners 4`: four provisioners in one process agree on L1, and go on whichever of their actors fails.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use jsonrpsee::http_client::HttpClient;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use support::{Node, Ports, call, get, grow, metrics, quantity};

/// An iteration that fails takes some seconds, and a hung actor is replaced after ten.
const LONG: Duration = Duration::from_secs(180);
/// The longest that a client may have to wait.
const ANSWER: Duration = Duration::from_secs(5);

fn start(data: &std::path::Path, ports: Ports) -> Node {
    Node::start_with(data, ports, &["--provisioners", "4"])
}

/// What each provisioner says of itself.
async fn provisioners(admin: &HttpClient) -> Vec<Value> {
    let status = call(admin, "admin_status", vec![]).await.unwrap();
    status["provisioners"].as_array().unwrap_or_else(|| panic!("no provisioners in {status}")).clone()
}

fn height(provisioner: &Value) -> Option<u64> {
    provisioner["tip"]["number"].as_u64()
}

/// Waits until the provisioners are as wanted.
async fn until(node: &Node, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let (admin, begin) = (node.admin(), Instant::now());
    loop {
        let all = provisioners(&admin).await;
        if wanted(&all) {
            return all;
        }
        if begin.elapsed() > LONG {
            let why = call(&admin, "admin_why", vec![]).await;
            panic!("not in time: {what}: {all:#?}\n{why:?}\n{}", node.log_tail());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every provisioner has so many blocks more than the one that is ahead now.
async fn l1_grows(node: &Node, blocks: u64) {
    let highest = provisioners(&node.admin()).await.iter().filter_map(height).max().unwrap_or(0);
    let goal = highest + blocks;
    until(node, &format!("L1 block {goal} everywhere"), |all| {
        all.len() == 4 && all.iter().all(|one| height(one).is_some_and(|height| height >= goal))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_provisioners_agree() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ports = Ports::free();
    let node = start(&data, ports);
    l1_grows(&node, 4).await;
    grow(&node, 2, LONG).await;

    // All of them have the same chain: some moment shows four equal tips, of which an older block is final.
    let all = until(&node, "one tip, and a final block", |all| {
        all.iter().all(|one| one["tip"] == all[0]["tip"] && one["final"].as_u64() > Some(0))
    })
    .await;
    let names: Vec<&str> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["consensus", "consensus-2", "consensus-3", "consensus-4"]);
    for one in &all {
        assert_eq!((&one["votes"], &one["peers"]), (&json!(true), &json!(3)), "{one}");
        assert!(one["round"].as_u64() > height(one), "{one}");
    }
    assert_eq!(quantity(&call(&node.rpc(), "net_peerCount", vec![]).await.unwrap()), 3);

    // The servers of the first one.
    let ready = get(ports.http, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    let genesis = get(ports.blobs, "/eth/v1/beacon/genesis");
    assert!(genesis.starts_with("HTTP/1.1 200 ") && genesis.contains("genesis_time"), "{genesis}");
    let head = get(ports.blobs, "/eth/v1/beacon/headers/head");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\"canonical\":true"), "{head}");
    let text = metrics(ports);
    for series in
        ["duskevm_gossip_peers{", "duskevm_gossip_messages_total{", "duskevm_blobs_kept ", "duskevm_consensus_"]
    {
        assert!(text.lines().any(|line| line.starts_with(series)), "{series} is missing in\n{text}");
    }
    for actor in ["gossip-4", "da-store-2", "consensus-3", "blob-api"] {
        assert!(text.contains(&format!("duskevm_actor_up{{actor=\"{actor}\"}} 1\n")), "{actor}");
    }

    // The number belongs to the folder: the next start needs no flag.
    let tip = all.iter().filter_map(height).max().unwrap();
    assert!(node.stop().success());
    let node = Node::start(&data, ports);
    let all = until(&node, "the chain goes on", |all| all.iter().all(|one| height(one) > Some(tip))).await;
    assert_eq!(all.len(), 4);
    assert!(node.stop().success());
    support::verify(&data);
    support::check(&data);
}

/// Asks the RPC again and again: it answers whatever becomes of the L1.
struct Watch {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(u64, Duration)>,
}

impl Watch {
    fn start(rpc: HttpClient) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let task = tokio::spawn(async move {
            let (mut answers, mut longest) = (0, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                call(&rpc, "eth_blockNumber", vec![]).await.unwrap();
                longest = longest.max(begin.elapsed());
                answers += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (answers, longest)
        });
        Self { stop, task }
    }

    async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (answers, longest) = self.task.await.unwrap();
        assert!(answers > 100 && longest < ANSWER, "{answers} answers, one after {longest:?}");
    }
}

async fn campaign(actors: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = start(&data, Ports::free());
    let admin = node.admin();
    l1_grows(&node, 1).await;
    grow(&node, 1, LONG).await;
    let watch = Watch::start(node.rpc());
    for actor in actors {
        for (fault, cause) in [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")] {
            support::up(&admin, actor).await;
            let mut params = vec![json!(actor)];
            if fault == "admin_hang" {
                params.push(json!(3_600_000));
            }
            call(&admin, fault, params).await.unwrap_or_else(|error| panic!("{fault} {actor}: {error}"));
            l1_grows(&node, 2).await;
            grow(&node, 2, LONG).await;
            support::restarted(node.ports, actor, cause, 0.0).await;
        }
    }
    watch.finish().await;
    assert!(node.stop().success());
    support::verify(&data);
    support::check(&data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_provisioner_survives_every_fault() {
    campaign(&["consensus-2", "gossip-3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provisioner_of_this_node_survives_every_fault() {
    campaign(&["consensus", "da-store"]).await;
}
