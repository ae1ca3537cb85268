//! How the node is doing, for operators: one screen, readiness with reasons, and the doors to the supervisor.

use super::provisioner::{Provisioner, View};
use crate::network::Network;
use alloy_primitives::B256;
use duskevm_http::{Readiness, ReadyReport};
use duskevm_messages::{
    backfill::CatchingUpFeed,
    executor::HeadsFeed,
    l1::{L1BlockRef, L1HeadsFeed},
    sequencer::SequencingFeed,
    txpool::GetStatus,
};
use duskevm_rpc::{
    AdminBackend, DuskPorts, Heard,
    node::{L1Ref, L1Status, NodeView, SyncProgress},
};
use duskevm_supervision::{ActorState, ActorStatus, Cause, Fault, InjectError, Port, Supervisor};
use futures::{
    FutureExt,
    future::{BoxFuture, join, join_all},
};
use serde_json::{Map, Value, json};
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// How long the pool is asked for its figures before they are left out.
const PATIENCE: Duration = Duration::from_millis(500);

/// L2 heads older than this many block times count as standing still.
const LATE_BLOCKS: u64 = 5;

/// A consensus client that has not called for so long is gone.
const SILENT: Duration = Duration::from_secs(60);

/// What the parts of the node that face operators know of the rest.
pub(super) struct NodeStatus {
    pub(super) network: Arc<Network>,
    pub(super) heads: HeadsFeed,
    pub(super) l1_heads: L1HeadsFeed,
    /// The L1 block that derivation reads; none while it does not run.
    pub(super) current_l1: watch::Receiver<Option<L1BlockRef>>,
    pub(super) pool: Port<GetStatus>,
    /// The L1 of this process; the first of them serves this node. None where L1 does not run here.
    pub(super) provisioners: Vec<Provisioner>,
    /// The ways to the L1 of this node.
    pub(super) dusk: Option<DuskPorts>,
    /// Whether this node makes blocks, so that heads must move; `None` if it never does.
    pub(super) sequencing: Option<SequencingFeed>,
    /// Who drives this node through the Engine API was heard from last; `None` where nobody may.
    pub(super) driver: Option<Heard>,
    /// How far the chain is behind what the consensus client wants, while blocks are fetched.
    pub(super) catching_up: CatchingUpFeed,
    pub(super) started: Instant,
    /// Known once the tree runs.
    pub(super) supervisor: OnceLock<Supervisor>,
    pub(super) endpoints: OnceLock<Value>,
}

impl std::fmt::Debug for NodeStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeStatus").field("sequencing", &self.is_sequencing()).finish_non_exhaustive()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

const fn l1_ref(block: &L1BlockRef) -> L1Ref {
    L1Ref { hash: block.hash, number: block.number, parent_hash: block.parent_hash, timestamp: block.timestamp }
}

impl NodeStatus {
    fn is_sequencing(&self) -> bool {
        self.sequencing.as_ref().is_some_and(|sequencing| sequencing.borrow().active)
    }

    fn supervisor(&self) -> Option<&Supervisor> {
        self.supervisor.get()
    }

    /// Heads of both layers as JSON.
    fn heads_json(&self) -> Map<String, Value> {
        let block = |number: u64, hash: B256| json!({ "number": number, "hash": hash });
        let mut all = Map::new();
        if let Some(heads) = self.heads.borrow().as_ref() {
            all.insert("unsafe".into(), block(heads.latest.number(), heads.latest.hash()));
            all.insert("safe".into(), block(heads.safe.number, heads.safe.hash));
            all.insert("finalized".into(), block(heads.finalized.number, heads.finalized.hash));
            all.insert("durable".into(), heads.durable.into());
        }
        if let Some(heads) = self.l1_heads.borrow().as_ref() {
            all.insert("l1Tip".into(), block(heads.latest.number, heads.latest.hash));
            all.insert("l1Final".into(), block(heads.finalized.number, heads.finalized.hash));
        }
        all
    }

    /// The L1 of each provisioner of this process, at this moment.
    fn look(&self) -> impl Future<Output = Vec<View>> + Send + use<> {
        join_all(self.provisioners.iter().cloned().map(Provisioner::look))
    }

    /// What keeps the node from doing its work; empty if nothing does.
    fn obstacles(&self, l1: Option<&View>) -> Vec<String> {
        let Some(supervisor) = self.supervisor() else { return vec!["the node is starting".into()] };
        let mut seen = Vec::new();
        if let Some(down) = supervisor.actors().iter().find(|actor| !is_at_work(&actor.state)) {
            seen.push(format!("{} is {}", down.name, state_text(&down.state)));
        }
        if self.is_sequencing() {
            match self.heads.borrow().as_ref() {
                None => seen.push("no L2 head yet".into()),
                Some(heads) => {
                    let age = now().saturating_sub(heads.latest.header.timestamp);
                    if age > LATE_BLOCKS * self.network.rollup.block_time {
                        seen.push(format!("unsafe head {} stands still for {age} s", heads.latest.number()));
                    }
                }
            }
        }
        seen.extend(self.driver.as_ref().and_then(silence));
        if let Some(at) = *self.catching_up.borrow() {
            seen.push(format!("the chain catches up with its consensus client: block {} of {}", at.current, at.goal));
        }
        let l1_block_time = self.network.dusk.as_ref().map(|dusk| dusk.l1.block_time);
        seen.extend(l1.zip(l1_block_time).and_then(|(l1, block_time)| l1.obstacle(now(), block_time)));
        if !seen.is_empty() {
            seen.extend(links(&supervisor.why()).map(ToString::to_string));
        }
        seen
    }

    fn peers(&self) -> u64 {
        self.provisioners.first().map_or(0, |own| own.peers.borrow().len() as u64)
    }

    fn actors(&self) -> Vec<ActorStatus> {
        self.supervisor().map(Supervisor::actors).unwrap_or_default()
    }

    /// One screen about the node.
    fn screen(&self, l1: &[View]) -> Value {
        let causes = self.obstacles(l1.first());
        let actors: Vec<Value> = self
            .actors()
            .iter()
            .map(|actor| {
                json!({
                    "name": &*actor.name,
                    "state": state_text(&actor.state),
                    "restarts": actor.restarts,
                    "lastCause": actor.last_cause.as_ref().map(ToString::to_string),
                    "mailbox": actor.mailbox_depth,
                    "done": actor.lease.done.as_ref().map(|(what, _)| what.clone()),
                    "waiting": actor.lease.waiting_for.as_ref().map(|(what, _)| what.clone()),
                })
            })
            .collect();
        let mut screen = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "chainId": self.network.rollup.l2_chain_id,
            "uptimeSeconds": self.started.elapsed().as_secs(),
            "ready": causes.is_empty(),
            "causes": causes,
            "heads": self.heads_json(),
            "peers": self.peers(),
            "actors": actors,
        });
        if let Some(last) = self.driver.as_ref().and_then(Heard::last) {
            screen["consensusClient"] =
                json!({ "name": last.client, "lastCall": last.method, "heardSeconds": last.ago.as_secs() });
        }
        match l1 {
            [] => {}
            [own] => screen["l1"] = own.json(),
            all => screen["provisioners"] = all.iter().map(View::json).collect(),
        }
        screen
    }
}

/// What keeps a driven node from moving: nobody drives it.
fn silence(driver: &Heard) -> Option<String> {
    let Some(last) = driver.last() else {
        return Some("no consensus client has called the Engine API yet".into());
    };
    (last.ago > SILENT).then(|| {
        let (client, seconds) = (last.client, last.ago.as_secs());
        format!("the consensus client ({client}) has not called the Engine API for {seconds} s")
    })
}

/// The causes that explain something. An actor that waits for work explains nothing, unless another one waits for it.
fn links(why: &[Cause]) -> impl Iterator<Item = &Cause> {
    why.iter().filter(|cause| {
        cause.is_trouble() || cause.on().is_some() || why.iter().any(|other| other.on() == Some(&cause.actor))
    })
}

const fn is_at_work(state: &ActorState) -> bool {
    matches!(state, ActorState::Running | ActorState::Degraded { .. } | ActorState::Stopped)
}

fn state_text(state: &ActorState) -> String {
    match state {
        ActorState::Starting => "starting".into(),
        ActorState::Running => "running".into(),
        ActorState::Degraded { why } => format!("degraded: {why}"),
        ActorState::Restarting { attempt } => format!("restarting (attempt {attempt})"),
        ActorState::Stopping => "stopping".into(),
        ActorState::Stopped => "stopped".into(),
    }
}

/// The same for all servers, whose answers may outlive a request.
#[derive(Debug, Clone)]
pub(super) struct SharedStatus(pub(super) Arc<NodeStatus>);

impl Deref for SharedStatus {
    type Target = NodeStatus;

    fn deref(&self) -> &NodeStatus {
        &self.0
    }
}

impl Readiness for SharedStatus {
    fn ready(&self) -> BoxFuture<'static, ReadyReport> {
        let status = self.clone();
        async move {
            let l1 = status.look().await;
            let causes = status.obstacles(l1.first());
            let mut report = if causes.is_empty() { ReadyReport::ready() } else { ReadyReport::not_ready(causes) };
            report.details.insert("heads".into(), Value::Object(status.heads_json()));
            report
        }
        .boxed()
    }
}

impl NodeView for SharedStatus {
    fn l1(&self) -> L1Status {
        self.l1_heads.borrow().as_ref().map_or_else(L1Status::default, |heads| {
            let (latest, safe, finalized) = (l1_ref(&heads.latest), l1_ref(&heads.safe), l1_ref(&heads.finalized));
            L1Status {
                current_l1: self.current_l1.borrow().as_ref().map_or_else(L1Ref::default, l1_ref),
                // As op-node has it since it dropped what was behind this name.
                current_l1_finalized: finalized,
                head_l1: latest,
                safe_l1: safe,
                finalized_l1: finalized,
            }
        })
    }

    fn peers(&self) -> u64 {
        self.0.peers()
    }

    fn syncing(&self) -> Option<SyncProgress> {
        let at = (*self.catching_up.borrow())?;
        Some(SyncProgress { starting_block: at.start, current_block: at.current, highest_block: at.goal })
    }
}

impl AdminBackend for SharedStatus {
    fn actors(&self) -> Vec<ActorStatus> {
        self.0.actors()
    }

    fn why(&self) -> Vec<Cause> {
        self.supervisor().map(Supervisor::why).unwrap_or_default()
    }

    fn inject(&self, name: &str, fault: Fault) -> Result<(), InjectError> {
        match self.supervisor() {
            Some(supervisor) => supervisor.inject(name, fault),
            None => Err(InjectError::Unknown { name: name.into(), known: Vec::new() }),
        }
    }

    fn status(&self) -> BoxFuture<'static, Value> {
        let status = self.clone();
        // Whoever is down does not take the rest of the screen with it.
        async move {
            let (l1, pool) = join(status.look(), status.pool.ask_within(GetStatus, PATIENCE)).await;
            let mut screen = status.screen(&l1);
            if let Ok(pool) = pool {
                screen["pool"] = json!({ "pending": pool.pending, "queued": pool.queued });
            }
            screen
        }
        .boxed()
    }

    fn node_info(&self) -> Value {
        json!({
            "name": "duskevm",
            "version": env!("CARGO_PKG_VERSION"),
            "l1ChainId": self.network.rollup.l1_chain_id,
            "l2ChainId": self.network.rollup.l2_chain_id,
            "l2Genesis": self.network.rollup.genesis.l2.hash,
            "endpoints": self.endpoints.get().cloned().unwrap_or(Value::Null),
        })
    }
    fn dusk(&self) -> Option<DuskPorts> {
        self.dusk.clone()
    }
}
