//! An executor and a pool for the Engine API: blocks are really built, forkchoice states really judged, but nothing is kept.

use crate::{
    chain::MemoryChain,
    client::Client,
    scripted::{Alone, ScriptedPool},
};
use alloy_consensus::{Header, Sealable as _, proofs::ordered_trie_root_with_encoder};
use alloy_op_hardforks::OpHardforks as _;
use alloy_primitives::{B256, U256};
use duskevm_engine_api::{
    ExecutionPayload, JwtSecret,
    forkchoice::{BlockRef, Chain, Judgement, SideBlock, Way, judge},
};
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants, ForkTimes, RecoveredTx};
use duskevm_messages::{
    executor::{
        DaOrders, ExecutorRefusal,
        engine::{BuildPayload, BuiltPayload, Chosen, Forkchoice, Offer, Offered},
    },
    txpool::{Best, Invalid},
};
use duskevm_rpc::{EngineConfig, EnginePorts, EngineServer, EngineWiring, Heard, Limits, Socket, Wiring, engine_spec};
use duskevm_supervision::{AskError, ChildSpec, Port, Ref, Strategy, Supervisor, Tree};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Notify;

pub(super) const SECRET: [u8; 32] = [7; 32];

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn token() -> String {
    format!("Bearer {}", JwtSecret::new(SECRET).token(now()))
}

/// What the stand-in knows.
#[derive(Default)]
struct State {
    blocks: HashMap<B256, Arc<Block>>,
    canonical: Vec<B256>,
    safe: Option<BlockRef>,
    finalized: Option<BlockRef>,
}

impl State {
    fn at(&self, hash: B256) -> BlockRef {
        BlockRef { number: self.blocks[&hash].number(), hash }
    }
}

impl Chain for State {
    fn canonical_number(&self, hash: B256) -> Option<u64> {
        self.canonical.iter().position(|known| *known == hash).map(|number| number as u64)
    }

    fn side(&self, hash: B256) -> Option<SideBlock> {
        let block = self.blocks.get(&hash)?;
        Some(SideBlock { number: block.number(), parent: block.header.parent_hash })
    }

    fn latest(&self) -> BlockRef {
        self.at(*self.canonical.last().unwrap())
    }

    fn safe(&self) -> Option<BlockRef> {
        self.safe
    }

    fn finalized(&self) -> Option<BlockRef> {
        self.finalized
    }
}

/// The executor, and what it was asked.
pub(super) struct StandIn {
    chain: Arc<MemoryChain>,
    spec: ChainSpec,
    state: Mutex<State>,
    asked: Mutex<Vec<String>>,
    /// What the pool offers, and what it was told.
    pub(super) pool: Mutex<Vec<Arc<RecoveredTx>>>,
    pub(super) invalid: Mutex<Vec<B256>>,
    /// The next question gets no answer, as if the executor had died over it.
    pub(super) dies: Mutex<bool>,
    /// How long it takes to build with transactions of the pool.
    pub(super) building: Mutex<Duration>,
    /// The next building with transactions of the pool gives no answer after that time.
    pub(super) dies_building: Mutex<bool>,
    /// The next question waits for this.
    pub(super) gate: Mutex<Option<Arc<Notify>>>,
}

impl StandIn {
    fn new(chain: Arc<MemoryChain>, spec: ChainSpec) -> Arc<Self> {
        let genesis = chain.head();
        let at = Some(BlockRef { number: 0, hash: genesis.hash() });
        let state = State {
            canonical: vec![genesis.hash()],
            blocks: HashMap::from([(genesis.hash(), genesis)]),
            safe: at,
            finalized: at,
        };
        Arc::new(Self {
            chain,
            spec,
            state: Mutex::new(state),
            asked: Mutex::default(),
            pool: Mutex::default(),
            invalid: Mutex::default(),
            dies: Mutex::default(),
            building: Mutex::default(),
            dies_building: Mutex::default(),
            gate: Mutex::default(),
        })
    }

    pub(super) fn head(&self) -> Arc<Block> {
        let state = self.state.lock();
        state.blocks[&state.latest().hash].clone()
    }

    /// What it was asked since it was last looked at.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock())
    }

    /// Waits until it was asked this so often, and forgets what it was asked.
    pub(super) async fn until_asked(&self, what: &str, often: usize) {
        while self.asked.lock().iter().filter(|asked| *asked == what).count() < often {
            tokio::task::yield_now().await;
        }
        self.asked();
    }

    /// Head, safe and finalized.
    pub(super) fn labels(&self) -> (B256, Option<BlockRef>, Option<BlockRef>) {
        let state = self.state.lock();
        (state.latest().hash, state.safe, state.finalized)
    }

    fn note(&self, what: &str) -> Result<(), AskError> {
        self.asked.lock().push(what.to_owned());
        if std::mem::take(&mut *self.dies.lock()) {
            return Err(AskError::Gone { actor: "executor".into() });
        }
        Ok(())
    }

    fn offer(&self, block: Arc<Block>) -> Offered {
        let mut state = self.state.lock();
        let Some(parent) = state.blocks.get(&block.header.parent_hash) else { return Offered::UnknownParent };
        if block.number() != parent.number() + 1 {
            let latest_valid = Some(parent.hash());
            return Offered::Invalid { why: "the number is not its parent's and one".into(), latest_valid };
        }
        state.blocks.insert(block.hash(), block);
        Offered::Valid
    }

    fn choose(&self, forkchoice: Forkchoice) -> <Forkchoice as duskevm_supervision::Message>::Reply {
        let mut state = self.state.lock();
        let update = match judge(&*state, &forkchoice.state)? {
            Judgement::Syncing => return Ok(Chosen::Syncing),
            Judgement::BelowFinalized(head) => return Ok(Chosen::BelowFinalized(head)),
            Judgement::Update(update) => update,
        };
        match update.way {
            Way::Stay => {}
            Way::Rewind => state.canonical.truncate(update.head.number as usize + 1),
            Way::Switch { fork, blocks } => {
                state.canonical.truncate(fork.number as usize + 1);
                state.canonical.extend(blocks.iter().map(|block| block.hash));
            }
        }
        (state.safe, state.finalized) = (update.safe, update.finalized);
        Ok(Chosen::Updated { head: state.blocks[&update.head.hash].clone() })
    }

    fn build(&self, build: BuildPayload) -> Result<BuiltPayload, ExecutorRefusal> {
        let head = self.head();
        if head.hash() != build.parent {
            let (head, head_number) = (head.hash(), head.number());
            return Err(ExecutorRefusal::NotTheHead { head, head_number, wanted: build.parent });
        }
        let mut attributes = build.attributes;
        if !self.spec.hardforks().is_canyon_active_at_timestamp(attributes.timestamp) {
            let block = Arc::new(before_canyon(&head, &attributes));
            self.state.lock().blocks.insert(block.hash(), block.clone());
            return Ok(BuiltPayload { block, value: U256::ZERO, invalid: Vec::new() });
        }
        let (good, bad): (Vec<_>, Vec<_>) = build.pool.iter().cloned().partition(|tx| tx.nonce() < 100);
        attributes.transactions.extend(good.clone());
        let (executed, _) = self.chain.execute(&head, &attributes).map_err(ExecutorRefusal::Invalid)?;
        let value = duskevm_engine_api::get_payload::block_value(&executed.block, &executed.receipts).unwrap();
        let invalid = bad.iter().map(|tx| (tx.hash(), "nonce too high".to_owned())).collect();
        let block = Arc::new(executed.block);
        self.state.lock().blocks.insert(block.hash(), block.clone());
        Ok(BuiltPayload { block, value, invalid })
    }

    fn ports(self: &Arc<Self>) -> EnginePorts {
        macro_rules! port {
            ($message:ty, $name:literal, |$this:ident, $msg:ident| $answer:expr) => {{
                let this = self.clone();
                Port::try_from_fn(move |$msg: $message| {
                    let $this = this.clone();
                    async move {
                        $this.note($name)?;
                        let gate = $this.gate.lock().take();
                        if let Some(gate) = gate {
                            gate.notified().await;
                        }
                        // Others may come in between, if they are let in.
                        tokio::task::yield_now().await;
                        let answer = $answer;
                        $this.asked.lock().push(concat!($name, " done").to_owned());
                        Ok(answer)
                    }
                })
            }};
        }
        EnginePorts {
            offer: port!(Offer, "offer", |this, msg| Ok(this.offer(msg.block))),
            forkchoice: port!(Forkchoice, "forkchoice", |this, msg| this.choose(msg)),
            build: port!(BuildPayload, "build", |this, msg| {
                let takes = *this.building.lock();
                if !msg.pool.is_empty() {
                    tokio::time::sleep(takes).await;
                    let dies = std::mem::take(&mut *this.dies_building.lock());
                    if dies {
                        return Err(AskError::Gone { actor: "executor".into() });
                    }
                }
                this.build(msg)
            }),
            best: {
                let this = self.clone();
                Port::from_fn(move |_: Best| {
                    let pool = this.pool.lock().clone().into();
                    this.asked.lock().push("best".to_owned());
                    async move { pool }
                })
            },
            invalid: {
                let this = self.clone();
                Port::from_fn(move |told: Invalid| {
                    this.invalid.lock().extend(told.txs.into_iter().map(|(hash, _)| hash));
                    async {}
                })
            },
        }
    }
}

/// A block of the first fork, which the chain in memory does not execute: nothing is right but its form.
fn before_canyon(parent: &Block, attributes: &BlockAttributes) -> Block {
    let encoded: Vec<_> = attributes.transactions.iter().map(|tx| tx.encoded().clone()).collect();
    let header = Header {
        parent_hash: parent.hash(),
        number: parent.number() + 1,
        timestamp: attributes.timestamp,
        gas_limit: attributes.gas_limit,
        beneficiary: attributes.fee_recipient,
        mix_hash: attributes.prev_randao,
        base_fee_per_gas: Some(7),
        transactions_root: ordered_trie_root_with_encoder(&encoded, |tx, out| out.extend_from_slice(tx)),
        ..Header::default()
    };
    Block { header: header.seal_slow(), transactions: attributes.transactions.clone() }
}

/// A supervised Engine API on a free port.
pub(super) struct EngineNode {
    pub(super) chain: Arc<MemoryChain>,
    pub(super) executor: Arc<StandIn>,
    pub(super) supervisor: Supervisor,
    pub(super) address: SocketAddr,
    pub(super) heard: Heard,
}

impl EngineNode {
    pub(super) async fn start() -> Self {
        Self::with(EngineConfig::default().limits).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let chain = MemoryChain::isthmus();
        let spec = chain.spec.clone();
        Self::build(chain, spec, limits, |spec| spec).await
    }

    /// On a chain whose blocks are those before Canyon for so many seconds after its genesis block, and of Canyon then.
    pub(super) async fn canyon_after(seconds: u64) -> Self {
        let chain = MemoryChain::isthmus();
        let canyon = Some(chain.head().header.timestamp + seconds);
        let times = ForkTimes { regolith: Some(0), canyon, ..ForkTimes::default() };
        let spec = ChainSpec::new(chain.spec.chain_id, times, Eip1559Constants::default()).unwrap();
        Self::build(chain, spec, EngineConfig::default().limits, |spec| spec).await
    }

    /// With another deadline of the watchdog.
    pub(super) async fn watched(deadline: Duration) -> Self {
        let chain = MemoryChain::isthmus();
        let spec = chain.spec.clone();
        Self::build(chain, spec, EngineConfig::default().limits, |spec| spec.deadline(deadline)).await
    }

    async fn build(
        chain: Arc<MemoryChain>,
        spec: ChainSpec,
        limits: Limits,
        adjust: impl FnOnce(ChildSpec<EngineServer>) -> ChildSpec<EngineServer>,
    ) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = EngineConfig { listen, limits, ..EngineConfig::default() }.reads();
        let socket = Socket::new(config.listen);
        let executor = StandIn::new(chain.clone(), spec.clone());
        let heard = Heard::default();
        let wiring = EngineWiring {
            reads: Wiring {
                socket: socket.clone(),
                reader: chain.clone(),
                spec,
                heads: chain.signal(),
                pool: ScriptedPool::new().ports(),
                node: Arc::new(Alone),
                rollup: chain.rollup.clone(),
                da_orders: DaOrders::default(),
                config,
            },
            secret: JwtSecret::new(SECRET),
            ports: executor.ports(),
            time_budget: Duration::from_secs(5),
            max_transactions: 100,
            heard: heard.clone(),
            turns: Arc::default(),
        };
        let actor: Ref<EngineServer> = Ref::declare("engine-api");
        let supervisor = Tree::new("root", Strategy::OneForOne)
            .allow_faults(true)
            .actor(adjust(engine_spec(&actor, wiring)))
            .start();
        supervisor.ready().await.unwrap();
        Self { chain, executor, supervisor, address: socket.local_addr().unwrap(), heard }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(super) async fn raw(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let headers = [("content-type", "application/json"), ("authorization", &token())];
        let (status, body) = self.client().request("POST", &headers, request.as_bytes()).await;
        assert_eq!(status, 200, "{method}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{method}: {error}: {body}"))
    }

    /// The result of a call that succeeds.
    pub(super) async fn call(&self, method: &str, params: Value) -> Value {
        let mut answer = self.raw(method, params.clone()).await;
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    /// The code of a call that fails.
    pub(super) async fn error(&self, method: &str, params: Value) -> i64 {
        let answer = self.raw(method, params.clone()).await;
        answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{method} {params} succeeded: {answer}"))
    }

    /// A block on any block, which nobody but the chain knows.
    pub(super) fn block_on(&self, parent: &Block, salt: u8) -> Arc<Block> {
        let (executed, _) = self.chain.execute(parent, &self.chain.attributes(parent, Vec::new(), salt)).unwrap();
        Arc::new(executed.block)
    }

    /// Offers a block, and makes it the head.
    pub(super) async fn import(&self, block: &Block) {
        assert_eq!(self.call("engine_newPayloadV4", new_payload(block)).await["status"], "VALID");
        let answer =
            self.call("engine_forkchoiceUpdatedV3", json!([state(block.hash(), B256::ZERO, B256::ZERO)])).await;
        assert_eq!(answer["payloadStatus"]["status"], "VALID", "{answer}");
    }

    pub(super) async fn stop(self) {
        let reason = self.supervisor.shutdown(Duration::from_secs(10)).await;
        assert_eq!(reason.exit_code(), 0, "{reason}");
    }
}

/// The parameters of `engine_newPayloadV4`.
pub(super) fn new_payload(block: &Block) -> Value {
    json!([ExecutionPayload::from_block(block), [], block.header.parent_beacon_block_root, []])
}

pub(super) fn state(head: B256, safe: B256, finalized: B256) -> Value {
    json!({ "headBlockHash": head, "safeBlockHash": safe, "finalizedBlockHash": finalized })
}

/// Attributes as a consensus client sends them.
pub(super) fn attributes_json(attributes: &BlockAttributes, no_tx_pool: bool) -> Value {
    let transactions: Vec<_> = attributes.transactions.iter().map(|tx| tx.encoded().clone()).collect();
    json!({
        "timestamp": U256::from(attributes.timestamp),
        "prevRandao": attributes.prev_randao,
        "suggestedFeeRecipient": attributes.fee_recipient,
        "withdrawals": [],
        "parentBeaconBlockRoot": attributes.parent_beacon_block_root,
        "transactions": transactions,
        "noTxPool": no_tx_pool,
        "gasLimit": U256::from(attributes.gas_limit),
        "eip1559Params": attributes.eip1559_params,
    })
}
