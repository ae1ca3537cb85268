//! A node in the role `execution` whose consensus client names a head far above its chain, and brings nothing else: the blocks between come
//! from another node, whatever happens to either meanwhile.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/engine.rs"]
mod engine;
mod support;

use alloy_primitives::{Address, B256};
use alloy_rpc_types_engine::PayloadStatusEnum;
use engine::{Envelope, LONG, Node, Pair, hash, head_at};
use jsonrpsee::{
    RpcModule,
    server::{ServerBuilder, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::{accounts, call, client, metrics, quantity, restarted, restarts, transfer, up};

const BLOCKS: usize = 150;
const PAUSE: Duration = Duration::from_millis(50);

async fn number(node: &Node) -> u64 {
    quantity(&call(&node.rpc(), "eth_blockNumber", vec![]).await.unwrap())
}

/// Names a block as the head, as a consensus client does that has heard of nothing but it: the block, and that it is the head.
async fn want(node: &Node, block: &Envelope) {
    for status in [
        node.new_payload(block).await.unwrap().status,
        node.forkchoice(head_at(hash(block)), None).await.unwrap().payload_status.status,
    ] {
        assert_eq!(status, PayloadStatusEnum::Syncing, "{}", node.log());
    }
}

/// Waits until something is so.
async fn until(node: &Node, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < LONG, "{what}\n{}", node.log());
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until_at(node: &Node, wanted: u64) {
    until(node, &format!("{} does not come to block {wanted}", node.name), async || number(node).await == wanted).await;
}

/// The builder has this many blocks, some with transactions.
async fn build(pair: &mut Pair, blocks: usize) {
    let user = &accounts(1)[0];
    for nonce in 0..3 {
        let raw = transfer(user, nonce, Address::repeat_byte(0x77), 5).1;
        pair.builder.ask("eth_sendRawTransaction", vec![json!(raw)]).await.unwrap();
        pair.driver.build(&pair.builder, 1, false).await;
    }
    while pair.driver.chain.len() < blocks {
        pair.driver.build(&pair.builder, 1, true).await;
    }
    pair.driver.lead(&pair.builder).await;
}

/// The next block is one like any other.
async fn goes_on(pair: &mut Pair) {
    pair.driver.build(&pair.builder, 1, false).await;
    let next = pair.driver.chain.last().unwrap();
    assert!(pair.importer.new_payload(next).await.unwrap().is_valid());
    assert!(pair.importer.forkchoice(head_at(hash(next)), None).await.unwrap().is_valid());
    pair.check().await;
}

fn from(ports: support::Ports) -> String {
    format!("sync_from = \"http://127.0.0.1:{}\"\n", ports.rpc)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_far_above_the_chain_is_reached_without_its_consensus_client() {
    let mut pair = Pair::start_with(from).await;
    build(&mut pair, BLOCKS).await;
    want(&pair.importer, pair.driver.chain.last().unwrap()).await;
    until_at(&pair.importer, BLOCKS as u64).await;
    until(&pair.importer, "it is behind for ever", async || {
        call(&pair.importer.rpc(), "eth_syncing", vec![]).await.unwrap() == json!(false)
    })
    .await;
    goes_on(&mut pair).await;
    let text = metrics(pair.importer.ports);
    for series in [
        "duskevm_backfill_attempts_total{end=\"reached\"} 1".to_owned(),
        "duskevm_backfill_attempts_total{end=\"failed\"} 0".to_owned(),
        format!("duskevm_backfill_blocks_total {BLOCKS}"),
        "duskevm_backfill_missing_blocks 0".to_owned(),
    ] {
        assert!(text.contains(&series), "{series}");
    }
    pair.finish();
}

/// A source that gives blocks up to a number only, and those of the builder: so that something can happen in the middle.
struct Gate {
    limit: Arc<AtomicU64>,
    builder: Arc<OnceLock<u16>>,
    port: u16,
    server: ServerHandle,
}

impl Gate {
    async fn new() -> Self {
        let (limit, builder) = (Arc::new(AtomicU64::new(0)), Arc::new(OnceLock::new()));
        let mut module = RpcModule::new((limit.clone(), builder.clone()));
        for method in ["eth_getBlockByHash", "eth_getBlockByNumber"] {
            let answer = move |params: jsonrpsee::types::Params<'static>,
                               ctx: Arc<(Arc<AtomicU64>, Arc<OnceLock<u16>>)>,
                               _: jsonrpsee::Extensions| async move {
                let refused = |why: String| ErrorObjectOwned::owned(-32000, why, None::<()>);
                let params: Vec<Value> = params.parse()?;
                let is_whole = params[1] == true;
                let port = *ctx.1.get().unwrap();
                let found = call(&client(port), method, params).await.map_err(|error| refused(error.to_string()))?;
                if is_whole && quantity(&found["number"]) > ctx.0.load(Ordering::Acquire) {
                    return Err(refused("not yet".into()));
                }
                Ok(found)
            };
            module.register_async_method(method, answer).unwrap();
        }
        let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        Self { limit, builder, port, server: server.start(module) }
    }

    /// Gives blocks up to this number from now on.
    fn open(&self, limit: u64) {
        self.limit.store(limit, Ordering::Release);
    }

    async fn pair(&self) -> Pair {
        Pair::start_with(|ports| {
            self.builder.set(ports.rpc).unwrap();
            format!("sync_from = \"http://127.0.0.1:{}\"\n", self.port)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_a_head_goes_on_whatever_happens_in_the_middle() {
    let gate = Gate::new().await;
    let mut pair = gate.pair().await;
    build(&mut pair, BLOCKS).await;
    let goal = pair.driver.chain.last().unwrap().clone();
    gate.open(30);
    want(&pair.importer, &goal).await;
    until_at(&pair.importer, 30).await;
    let syncing = call(&pair.importer.rpc(), "eth_syncing", vec![]).await.unwrap();
    assert_eq!((quantity(&syncing["currentBlock"]), quantity(&syncing["highestBlock"])), (30, BLOCKS as u64));
    let status = call(&pair.importer.admin(), "admin_status", vec![]).await.unwrap();
    let backfill = status["actors"].as_array().unwrap().iter().find(|actor| actor["name"] == "backfill").unwrap();
    assert!(backfill["waiting"].as_str().unwrap().contains("block 31 of 150"), "{backfill}");
    assert!(status["causes"].to_string().contains("block 30 of 150"), "{status}");

    // The source is away.
    pair.builder.kill();
    gate.open(50);
    until(&pair.importer, "nobody says that the source is away", async || {
        let status = call(&pair.importer.admin(), "admin_status", vec![]).await.unwrap();
        let actors = status["actors"].to_string();
        actors.contains("gives no answer") && !actors.contains("not yet")
    })
    .await;
    assert_eq!(number(&pair.importer).await, 30);
    pair.builder.start();
    pair.builder.up().await;
    pair.driver.lead(&pair.builder).await;
    until_at(&pair.importer, 50).await;

    // `kill -9`: what was wanted is forgotten, and what was durable is there.
    pair.importer.kill();
    pair.importer.start();
    pair.importer.up().await;
    gate.open(70);
    want(&pair.importer, &goal).await;
    until_at(&pair.importer, 70).await;

    // The actor: it goes on by itself.
    for (fault, cause, limit) in
        [("admin_kill", "stop", 85), ("admin_panic", "panic", 100), ("admin_hang", "hang", 115)]
    {
        let before = restarts(pair.importer.ports, "backfill", cause);
        let mut params = vec![json!("backfill")];
        if fault == "admin_hang" {
            params.push(json!(3_600_000));
        }
        call(&pair.importer.admin(), fault, params).await.unwrap();
        restarted(pair.importer.ports, "backfill", cause, before).await;
        gate.open(limit);
        until_at(&pair.importer, limit).await;
    }

    // The executor, which forgets who wants what.
    let before = restarts(pair.importer.ports, "executor", "panic");
    call(&pair.importer.admin(), "admin_panic", vec![json!("executor")]).await.unwrap();
    restarted(pair.importer.ports, "executor", "panic", before).await;
    up(&pair.importer.admin(), "executor").await;
    gate.open(u64::MAX);
    want(&pair.importer, &goal).await;
    until_at(&pair.importer, BLOCKS as u64).await;
    goes_on(&mut pair).await;
    pair.finish();
    gate.server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_consensus_client_says_goes_before_the_way_to_a_head() {
    let gate = Gate::new().await;
    let mut pair = gate.pair().await;
    build(&mut pair, 40).await;
    let at = |pair: &Pair, number: usize| pair.driver.chain[number - 1].clone();
    gate.open(20);
    want(&pair.importer, &at(&pair, 40)).await;
    until_at(&pair.importer, 20).await;
    // Back to an older head: that is where it stays.
    let older = hash(&at(&pair, 10));
    assert!(pair.importer.forkchoice(head_at(older), None).await.unwrap().is_valid());
    gate.open(30);
    until(&pair.importer, "it still goes after the other head", async || {
        call(&pair.importer.rpc(), "eth_syncing", vec![]).await.unwrap() == json!(false)
    })
    .await;
    assert_eq!(number(&pair.importer).await, 10);
    // A part of the way, and meanwhile a newer head is wanted.
    want(&pair.importer, &at(&pair, 35)).await;
    until_at(&pair.importer, 30).await;
    want(&pair.importer, &at(&pair, 40)).await;
    gate.open(u64::MAX);
    until_at(&pair.importer, 40).await;
    goes_on(&mut pair).await;
    pair.finish();
    gate.server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_on_another_branch_changes_nothing_until_its_branch_is_wanted() {
    let mut pair = Pair::start_with(from).await;
    build(&mut pair, 12).await;
    // The importer is at block 8 of this branch, which the builder leaves after block 4.
    let left = pair.driver.chain.split_off(8);
    pair.driver.lead(&pair.importer).await;
    let old = pair.driver.chain.split_off(4);
    pair.driver.lead(&pair.builder).await;
    for _ in 0..8 {
        pair.driver.build(&pair.builder, 7, true).await;
    }
    pair.driver.lead(&pair.builder).await;
    let failed = |text: &str| text.contains("duskevm_backfill_attempts_total{end=\"failed\"} 1");
    want(&pair.importer, left.last().unwrap()).await;
    until(&pair.importer, "the attempt does not end", async || failed(&metrics(pair.importer.ports))).await;
    let latest = pair.importer.block("latest").await;
    assert_eq!(latest["hash"], json!(hash(old.last().unwrap())));
    let status = call(&pair.importer.admin(), "admin_status", vec![]).await.unwrap();
    assert!(status["actors"].to_string().contains("cannot be had from"), "{status}");
    let unknown = pair.importer.forkchoice(head_at(B256::repeat_byte(1)), None).await.unwrap();
    assert_eq!(unknown.payload_status.status, PayloadStatusEnum::Syncing);
    assert_eq!(number(&pair.importer).await, 8);
    // The branch of the source: the importer leaves its own for it.
    want(&pair.importer, pair.driver.chain.last().unwrap()).await;
    until_at(&pair.importer, 12).await;
    goes_on(&mut pair).await;
    pair.finish();
}
