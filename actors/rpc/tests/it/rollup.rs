//! The server of a rollup node.

use crate::{chain::MemoryChain, client::Client, scripted::Alone};
use alloy_primitives::B256;
use duskevm_engine_api::ExecutionPayload;
use duskevm_messages::{
    derivation::ResetPipeline,
    executor::Import,
    sequencer::{NotSequencing, Sequencing, SetRecovery, StartRefusal, StartSequencing, StopSequencing},
};
use duskevm_rpc::{
    RollupControls, RollupRpcConfig, RollupRpcServer, RollupWiring, SequencerPorts, Socket, rollup_rpc_spec,
};
use duskevm_supervision::{
    Actor, ActorError, ChildSpec, Context, Handle, Port, Reaction, Ref, Reply, Strategy, Supervisor, Tree,
};
use parking_lot::Mutex;
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::watch;

/// A sequencer that knows its head and whether it is running.
struct Scripted {
    head: B256,
    state: watch::Sender<Sequencing>,
}

#[derive(Debug, thiserror::Error)]
enum Never {}

impl ActorError for Never {
    fn reaction(&self) -> Reaction {
        match *self {}
    }
}

impl Actor for Scripted {
    type Error = Never;
}

impl Handle<StartSequencing> for Scripted {
    fn handle(&mut self, message: StartSequencing, _: &mut Context<Self>) -> Result<Reply<StartSequencing>, Never> {
        if self.state.borrow().active {
            return Ok(Reply::Now(Err(StartRefusal::Running)));
        }
        if message.head != self.head {
            let (head, received) = (self.head, message.head);
            return Ok(Reply::Now(Err(StartRefusal::OtherHead { head, number: 7, received })));
        }
        self.state.send_modify(|state| state.active = true);
        Ok(Reply::Now(Ok(())))
    }
}

impl Handle<StopSequencing> for Scripted {
    fn handle(&mut self, _: StopSequencing, _: &mut Context<Self>) -> Result<Reply<StopSequencing>, Never> {
        let was_active = self.state.borrow().active;
        self.state.send_modify(|state| state.active = false);
        Ok(Reply::Now(if was_active { Ok(self.head) } else { Err(NotSequencing) }))
    }
}

impl Handle<SetRecovery> for Scripted {
    fn handle(&mut self, message: SetRecovery, _: &mut Context<Self>) -> Result<Reply<SetRecovery>, Never> {
        self.state.send_modify(|state| state.recovering = message.on);
        Ok(Reply::Now(()))
    }
}

/// Nobody to move.
pub(crate) fn nobody() -> RollupControls {
    RollupControls { sequencer: None, reset: None, import: Port::unwired("executor"), peers: None, peer_orders: true }
}

async fn start(chain: &Arc<MemoryChain>) -> (Client, Supervisor) {
    start_with(chain, false, |tree| (tree, nobody())).await
}

pub(crate) async fn start_with(
    chain: &Arc<MemoryChain>,
    admin: bool,
    controls: impl FnOnce(Tree) -> (Tree, RollupControls),
) -> (Client, Supervisor) {
    let config = RollupRpcConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), admin, ..RollupRpcConfig::default() };
    let (tree, controls) = controls(Tree::new("root", Strategy::OneForOne));
    let socket = Socket::new(config.listen);
    let wiring = RollupWiring {
        config,
        socket: socket.clone(),
        reader: chain.clone(),
        spec: chain.spec.clone(),
        node: Arc::new(Alone),
        rollup: chain.rollup.clone(),
        controls,
    };
    let actor: Ref<RollupRpcServer> = Ref::declare("rollup-rpc");
    let supervisor = tree.actor(rollup_rpc_spec(&actor, wiring)).start();
    supervisor.ready().await.unwrap();
    (Client::new(socket.local_addr().unwrap()), supervisor)
}

pub(crate) async fn stop(supervisor: Supervisor) {
    assert_eq!(supervisor.shutdown(Duration::from_secs(10)).await.exit_code(), 0);
}

#[tokio::test]
async fn a_rollup_node_tells_where_the_chain_stands() {
    let chain = MemoryChain::isthmus();
    let (client, supervisor) = start(&chain).await;
    let block = chain.mine(vec![]);
    let status = client.call("optimism_syncStatus", json!([])).await;
    assert_eq!(status["unsafe_l2"]["hash"], json!(block.hash()));
    assert_eq!(status["unsafe_l2"]["number"], 1);
    let output = client.call("optimism_outputAtBlock", json!(["0x1"])).await;
    assert_eq!(output["blockRef"], status["unsafe_l2"]);
    assert_eq!(client.call("optimism_rollupConfig", json!([])).await["l2_chain_id"], 31310);
    assert_eq!(client.error("optimism_safeHeadAtL1Block", json!(["0x0"])).await, (-32000, "not found".to_owned()));
    stop(supervisor).await;
}

#[tokio::test]
async fn a_rollup_node_is_no_execution_client() {
    let (client, supervisor) = start(&MemoryChain::isthmus()).await;
    for method in ["eth_blockNumber", "txpool_status", "debug_getRawHeader", "admin_kill", "admin_actors"] {
        assert_eq!(client.error(method, json!([])).await.0, -32601, "{method}");
    }
    stop(supervisor).await;
}

#[tokio::test]
async fn who_has_not_switched_it_on_cannot_be_stopped() {
    let (client, supervisor) = start(&MemoryChain::isthmus()).await;
    for method in ["admin_stopSequencer", "admin_sequencerActive", "admin_postUnsafePayload"] {
        assert_eq!(client.error(method, json!([])).await.0, -32601, "{method}");
    }
    stop(supervisor).await;
}

#[tokio::test]
async fn op_conductor_stops_and_starts_the_sequencer() {
    let head = B256::repeat_byte(7);
    let state = watch::Sender::new(Sequencing { active: true, recovering: false });
    let feed = state.subscribe();
    let (client, supervisor) = start_with(&MemoryChain::isthmus(), true, |tree| {
        let actor: Ref<Scripted> = Ref::declare("sequencer");
        let sequencer = Some(SequencerPorts::of(&actor, state.subscribe()));
        let tree = tree.actor(ChildSpec::new(&actor, move |_| Ok(Scripted { head, state: state.clone() })));
        (tree, RollupControls { sequencer, ..nobody() })
    })
    .await;
    assert_eq!(client.call("admin_sequencerActive", json!([])).await, true);
    let already = (-32000, "sequencer already running".to_owned());
    assert_eq!(client.error("admin_startSequencer", json!([head])).await, already);
    assert_eq!(client.call("admin_stopSequencer", json!([])).await, json!(head));
    assert_eq!(client.error("admin_stopSequencer", json!([])).await, (-32000, "sequencer not running".to_owned()));
    assert_eq!(client.call("admin_sequencerActive", json!([])).await, false);
    let (code, message) = client.error("admin_startSequencer", json!([B256::repeat_byte(8)])).await;
    assert!(code == -32000 && message.starts_with("block hash does not match: head 0x0707"), "{message}");
    assert_eq!(client.error("admin_startSequencer", json!([])).await.0, -32602);
    assert!(client.call("admin_startSequencer", json!([head])).await.is_null());
    assert_eq!(client.call("admin_sequencerActive", json!([])).await, true);
    assert!(client.call("admin_setRecoverMode", json!([true])).await.is_null());
    assert!(feed.borrow().recovering);
    // There is no conductor to be overridden.
    assert_eq!(client.call("admin_conductorEnabled", json!([])).await, false);
    assert!(client.call("admin_overrideLeader", json!([])).await.is_null());
    stop(supervisor).await;
}

#[tokio::test]
async fn a_node_without_a_sequencer_says_so() {
    let (client, supervisor) = start_with(&MemoryChain::isthmus(), true, |tree| (tree, nobody())).await;
    assert_eq!(client.call("admin_sequencerActive", json!([])).await, false);
    for (method, params) in [
        ("admin_startSequencer", json!([B256::ZERO])),
        ("admin_stopSequencer", json!([])),
        ("admin_overrideLeader", json!([])),
        ("admin_setRecoverMode", json!([true])),
    ] {
        assert_eq!(client.error(method, params).await, (-32000, "sequencer is not enabled".to_owned()), "{method}");
    }
    let (_, message) = client.error("admin_resetDerivationPipeline", json!([])).await;
    assert!(message.contains("actors.derivation"), "{message}");
    let (_, message) = client.error("admin_setLogLevel", json!(["debug"])).await;
    assert!(message.contains("log.level"), "{message}");
    stop(supervisor).await;
}

#[tokio::test]
async fn derivation_begins_anew_when_it_is_told() {
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    let (client, supervisor) = start_with(&MemoryChain::isthmus(), true, |tree| {
        let reset = Port::from_fn(move |_: ResetPipeline| {
            *counted.lock() += 1;
            async {}
        });
        (tree, RollupControls { reset: Some(reset), ..nobody() })
    })
    .await;
    assert!(client.call("admin_resetDerivationPipeline", json!([])).await.is_null());
    assert_eq!(*asked.lock(), 1);
    stop(supervisor).await;
}

#[tokio::test]
async fn a_posted_block_is_imported_if_it_is_one() {
    // Another node has a block more.
    let chain = MemoryChain::isthmus();
    let block = MemoryChain::isthmus().mine(vec![]);
    let imported: Arc<Mutex<Vec<B256>>> = Arc::default();
    let state = watch::Sender::new(Sequencing { active: false, recovering: false });
    let (told, made) = (imported.clone(), state.clone());
    let (client, supervisor) = start_with(&chain, true, |tree| {
        let actor: Ref<Scripted> = Ref::declare("sequencer");
        let sequencer = Some(SequencerPorts::of(&actor, made.subscribe()));
        let tree = tree.actor(ChildSpec::new(&actor, move |_| Ok(Scripted { head: B256::ZERO, state: made.clone() })));
        let import = Port::from_fn(move |import: Import| {
            told.lock().push(import.block.hash());
            async { Ok(()) }
        });
        (tree, RollupControls { sequencer, import, ..nobody() })
    })
    .await;
    let payload = serde_json::to_value(ExecutionPayload::from_block(&block)).unwrap();
    let root = block.header.parent_beacon_block_root;
    let envelope = json!({ "executionPayload": payload, "parentBeaconBlockRoot": root });
    assert!(client.call("admin_postUnsafePayload", json!([envelope.clone()])).await.is_null());
    assert_eq!(*imported.lock(), [block.hash()]);

    let mut other = envelope.clone();
    other["executionPayload"]["blockHash"] = json!(B256::repeat_byte(1));
    let (code, message) = client.error("admin_postUnsafePayload", json!([other])).await;
    assert!(code == -32000 && message.contains("payload is no valid block"), "{message}");
    let incomplete = json!({ "executionPayload": payload });
    assert_eq!(client.error("admin_postUnsafePayload", json!([incomplete])).await.0, -32602);
    // What is not above the head takes nothing out of the chain.
    let own = chain.mine(vec![]);
    assert_eq!(own.hash(), block.hash());
    assert!(client.call("admin_postUnsafePayload", json!([envelope.clone()])).await.is_null());
    assert_eq!(imported.lock().len(), 1);
    // Two would make blocks at once.
    state.send_modify(|state| state.active = true);
    let (_, message) = client.error("admin_postUnsafePayload", json!([envelope])).await;
    assert!(message.contains("admin_stopSequencer"), "{message}");
    assert_eq!(imported.lock().len(), 1);
    stop(supervisor).await;
}
