//! Backfill between a real executor and a source whose chain has a block that breaks a rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use alloy_consensus::{Header, Sealable as _};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use duskevm_backfill::{Backfiller, Ports};
use duskevm_engine_api::ForkchoiceState;
use duskevm_evm::{Block, ChainSpec, Eip1559Constants, ForkTimes};
use duskevm_executor::{Executor, Feeds, KeptBlocks, Settings, Suspect, genesis_commit};
use duskevm_messages::{
    backfill::CatchingUpFeed,
    executor::{
        HeadsFeed,
        engine::{Chosen, Forkchoice, Offer, Offered, WantedFeed},
    },
};
use duskevm_rollup::{BlockId, RollupConfig, RollupGenesis, SystemConfig};
use duskevm_store::{
    Identity,
    l2::{L2Settings, L2Store},
};
use duskevm_supervision::{ChildSpec, Fence, Port, Ref, Strategy, Supervisor, Tree};
use duskevm_trie::{AccountDelta, AccountInfo, EMPTY_ROOT_HASH, StateChanges, StateLimits, StateTrie, Witness};
use jsonrpsee::{
    RpcModule,
    server::{ServerBuilder, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

const LONG: Duration = Duration::from_secs(60);
const CHAIN_ID: u64 = 310;
/// Version 0, denominator 250, elasticity 6.
const EXTRA_DATA: &[u8] = &[0, 0, 0, 0, 250, 0, 0, 0, 6];

/// A block on another one. With extra data of its own it breaks a rule; else nobody has found out yet.
fn block_on(parent: &Block, extra_data: &'static [u8]) -> Arc<Block> {
    let header = Header {
        parent_hash: parent.hash(),
        number: parent.number() + 1,
        timestamp: parent.header.timestamp + 2,
        extra_data: Bytes::from_static(extra_data),
        ..parent.header.inner().clone()
    };
    Arc::new(Block { header: header.seal_slow(), transactions: Vec::new() })
}

/// A block as a node's JSON-RPC has it.
fn shown(block: Option<&Arc<Block>>) -> Value {
    let Some(block) = block else { return Value::Null };
    let mut shown = serde_json::to_value(block.header.inner()).unwrap();
    shown["hash"] = json!(block.hash());
    shown["transactions"] = json!([]);
    shown["uncles"] = json!([]);
    shown
}

/// A source that has these blocks. The counter is of blocks that were asked for, headers apart.
async fn source(blocks: Vec<Arc<Block>>) -> (String, Arc<AtomicUsize>, ServerHandle) {
    let bodies = Arc::new(AtomicUsize::new(0));
    let mut module = RpcModule::new((blocks, bodies.clone()));
    module
        .register_method::<Result<Value, ErrorObjectOwned>, _>("eth_getBlockByHash", |params, (blocks, bodies), _| {
            let (hash, is_whole): (B256, bool) = params.parse()?;
            if is_whole {
                bodies.fetch_add(1, Ordering::AcqRel);
            }
            Ok(shown(blocks.iter().find(|block| block.hash() == hash)))
        })
        .unwrap();
    module
        .register_method::<Result<Value, ErrorObjectOwned>, _>("eth_getBlockByNumber", |params, (blocks, _), _| {
            let (number, _): (U256, bool) = params.parse()?;
            Ok(shown(blocks.get(number.to::<usize>())))
        })
        .unwrap();
    let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    (url, bodies, server.start(module))
}

fn rollup(genesis: &Block) -> RollupConfig {
    RollupConfig {
        genesis: RollupGenesis {
            l1: BlockId::default(),
            l2: BlockId { hash: genesis.hash(), number: 0 },
            l2_time: genesis.header.timestamp,
            system_config: SystemConfig::default(),
        },
        block_time: 2,
        max_sequencer_drift: 600,
        seq_window_size: 3600,
        l1_chain_id: 3,
        l2_chain_id: CHAIN_ID,
        forks: ForkTimes::isthmus_at_genesis(),
        delta_time: Some(0),
        batch_inbox_address: Address::ZERO,
        deposit_contract_address: Address::ZERO,
        l1_system_config_address: Address::ZERO,
        eip1559: (6, 50, 250),
    }
}

/// An executor at its genesis block, and backfill.
struct Node {
    _folder: TempDir,
    supervisor: Supervisor,
    executor: Ref<Executor>,
    heads: HeadsFeed,
    wanted: WantedFeed,
    catching_up: CatchingUpFeed,
}

impl Node {
    fn store(folder: &TempDir) -> (Arc<L2Store>, Arc<Block>) {
        let info = AccountInfo { nonce: 0, balance: U256::from(1), code_hash: KECCAK256_EMPTY };
        let state = StateChanges {
            accounts: vec![AccountDelta::new(Address::repeat_byte(1), Some(info), false, [])],
            ..Default::default()
        };
        let outcome = StateTrie::stateless(EMPTY_ROOT_HASH).apply(&Witness::default(), &state.hashed()).unwrap();
        let header = Header {
            state_root: outcome.root,
            gas_limit: 30_000_000,
            timestamp: 1_000,
            base_fee_per_gas: Some(1_000_000_000),
            extra_data: Bytes::from_static(EXTRA_DATA),
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Default::default()
        };
        let genesis = Block { header: header.seal_slow(), transactions: Vec::new() };
        let identity = Identity { chain_id: CHAIN_ID, genesis: genesis.hash() };
        let store = L2Store::open(folder.path(), &identity, L2Settings::default()).unwrap();
        store.init_genesis(&Fence::unfenced(), genesis_commit(&genesis, state, outcome.changes)).unwrap();
        (Arc::new(store), Arc::new(genesis))
    }

    async fn start(folder: TempDir, store: Arc<L2Store>, genesis: &Block, url: &str) -> Self {
        let executor: Ref<Executor> = Ref::declare("executor");
        let (heads_out, heads) = watch::channel(None);
        let (pool, _) = watch::channel(None);
        let (wanted_out, wanted) = watch::channel(None);
        let (catching_up_out, catching_up) = watch::channel(None);
        let spec = ChainSpec::new(CHAIN_ID, ForkTimes::isthmus_at_genesis(), Eip1559Constants::default()).unwrap();
        let settings = Settings { spec: Arc::new(spec), block_time: 2, trie: StateLimits::default(), answered: None };
        let feeds = Feeds {
            heads: heads_out,
            pool,
            head_changed: Port::unwired("txpool"),
            suspect: Suspect::default(),
            wanted: wanted_out,
            kept: KeptBlocks::default(),
        };
        let ports = Ports {
            wanted: wanted.clone(),
            offer: executor.port(),
            advance: executor.port(),
            condemn: executor.port(),
            heads: heads.clone(),
            reader: store.reader(),
            catching_up: catching_up_out,
        };
        let rollup = Arc::new(rollup(genesis));
        let executes = ChildSpec::new(&executor, move |start| {
            Ok(Executor::open(settings.clone(), rollup.clone(), store.clone(), feeds.clone(), &start)?)
        });
        let backfill: Ref<Backfiller> = Ref::declare("backfill");
        let settings = duskevm_backfill::Settings::new(url);
        let fetches = ChildSpec::new(&backfill, move |start| Ok(Backfiller::open(&settings, ports.clone(), &start)?));
        let supervisor = Tree::new("root", Strategy::OneForOne).actor(executes).actor(fetches).start();
        supervisor.ready().await.unwrap();
        Self { _folder: folder, supervisor, executor, heads, wanted, catching_up }
    }

    async fn choose(&self, head: &Block) -> Chosen {
        let state = ForkchoiceState { head_block_hash: head.hash(), ..ForkchoiceState::default() };
        self.executor.ask_retry(Forkchoice { state }, LONG).await.unwrap().unwrap()
    }

    /// A head is wanted; waits until it is not any more.
    async fn until_given_up(&self, head: &Block) {
        assert_eq!(self.choose(head).await, Chosen::Syncing);
        let mut wanted = self.wanted.clone();
        timeout(LONG, wanted.wait_for(Option::is_none)).await.unwrap().unwrap();
    }

    async fn is_invalid(&self, head: &Arc<Block>, ancestor: &Block) {
        for _ in 0..2 {
            let chosen = self.choose(head).await;
            let Chosen::Invalid { latest_valid, .. } = chosen else { panic!("{chosen:?}") };
            assert_eq!(latest_valid, Some(ancestor.hash()));
        }
        let offered = self.executor.ask_retry(Offer { block: head.clone() }, LONG).await.unwrap().unwrap();
        let Offered::Invalid { latest_valid, .. } = offered else { panic!("{offered:?}") };
        assert_eq!(latest_valid, Some(ancestor.hash()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_above_an_invalid_block_is_answered_invalid_and_not_fetched_again() {
    let folder = TempDir::new().unwrap();
    let (store, genesis) = Node::store(&folder);
    let bad = block_on(&genesis, b"none");
    let between = block_on(&bad, EXTRA_DATA);
    let goal = block_on(&between, EXTRA_DATA);
    let newer = block_on(&goal, EXTRA_DATA);
    let blocks = vec![genesis.clone(), bad, between, goal.clone(), newer.clone()];
    let (url, bodies, server) = source(blocks).await;
    let node = Node::start(folder, store, &genesis, &url).await;

    // What the consensus client brings has no parent here.
    let offered = node.executor.ask_retry(Offer { block: goal.clone() }, LONG).await.unwrap();
    assert_eq!(offered, Ok(Offered::UnknownParent));
    node.until_given_up(&goal).await;
    node.is_invalid(&goal, &genesis).await;
    assert_eq!(*node.wanted.borrow(), None, "it is not wanted again");
    assert_eq!(*node.catching_up.borrow(), None, "nothing is lacking");
    let fetched = bodies.load(Ordering::Acquire);
    assert!(fetched > 0, "the block was fetched, and executed");

    // What nobody brought, and stands on it: its headers are enough.
    node.until_given_up(&newer).await;
    node.is_invalid(&newer, &genesis).await;
    assert_eq!(bodies.load(Ordering::Acquire), fetched);
    assert_eq!(node.heads.borrow().as_ref().unwrap().latest.hash(), genesis.hash());
    node.supervisor.shutdown(LONG).await;
    server.stop().unwrap();
}
