//! An executor on a disk of its own, with a pool that only listens.

use alloy_consensus::{Header, Sealable, SignableTransaction, TxEip1559};
use alloy_eips::{BlockNumHash, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B64, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants, ForkTimes, RecoveredTx};
use duskevm_executor::{Executor, Feeds, KeptBlocks, Settings, Suspect, genesis_commit};
use duskevm_fence::Fence;
use duskevm_messages::{
    executor::{Build, ChainHeads, DaLimits, Derive, Derived, ExecutorRefusal, Insert, engine::WantedFeed},
    txpool::HeadChanged,
};
use duskevm_rollup::{BlockId, L1Info, L1InfoFork, RollupConfig, RollupGenesis, SystemConfig};
use duskevm_store::{
    Identity,
    l2::{L2Settings, L2Store},
};
use duskevm_supervision::{ActorState, ChildSpec, Fault, Port, Ref, Strategy, Supervisor, Tree};
use duskevm_trie::{AccountDelta, AccountInfo, EMPTY_ROOT_HASH, StateChanges, StateLimits, StateTrie, Witness};
use op_alloy_consensus::OpTxEnvelope;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const CHAIN_ID: u64 = 310;

pub(crate) fn signer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

pub(crate) fn spec() -> Arc<ChainSpec> {
    let constants = Eip1559Constants { elasticity: 6, denominator: 50, canyon_denominator: 250 };
    Arc::new(ChainSpec::new(CHAIN_ID, ForkTimes::isthmus_at_genesis(), constants).unwrap())
}

pub(crate) fn rollup(genesis: &Block) -> RollupConfig {
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

/// A user's transfer.
pub(crate) fn transfer(nonce: u64) -> Arc<RecoveredTx> {
    let tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        to: TxKind::Call(Address::repeat_byte(9)),
        value: U256::from(1),
        ..Default::default()
    };
    let signature = signer().sign_hash_sync(&tx.signature_hash()).unwrap();
    let bytes =
        Bytes::from(alloy_eips::eip2718::Encodable2718::encoded_2718(&OpTxEnvelope::from(tx.into_signed(signature))));
    Arc::new(RecoveredTx::decode(&bytes).unwrap())
}

/// The attributes of L1 block `number`, of which `hash` is made; `sequence` L2 blocks of it came before.
pub(crate) fn deposit(number: u64, salt: u8, sequence: u64) -> Arc<RecoveredTx> {
    let hash = keccak256([salt, number as u8]);
    let system = SystemConfig::default();
    let info = L1Info::new(L1InfoFork::Isthmus, &system, number, 1_000, U256::ONE, U256::ONE, hash, sequence);
    Arc::new(RecoveredTx::deposit(info.deposit(true)))
}

/// A block of the next L1 block; `salt` makes one unlike another.
pub(crate) fn attributes(parent: &Block, salt: u8, users: &[Arc<RecoveredTx>]) -> BlockAttributes {
    BlockAttributes {
        timestamp: parent.header.timestamp + 2,
        prev_randao: B256::ZERO,
        fee_recipient: Address::repeat_byte(3),
        parent_beacon_block_root: Some(B256::ZERO),
        gas_limit: 30_000_000,
        eip1559_params: Some(B64::ZERO),
        min_base_fee: None,
        transactions: [deposit(parent.number() + 1, salt, 0)].into_iter().chain(users.iter().cloned()).collect(),
    }
}

/// What the pool is told, and whether it takes it.
#[derive(Clone)]
pub(crate) struct Pool {
    works: Arc<AtomicBool>,
    told: mpsc::UnboundedSender<HeadChanged>,
}

pub(crate) struct Bed {
    pub(crate) folder: TempDir,
    pub(crate) genesis: Arc<Block>,
    pub(crate) store: Arc<L2Store>,
    pub(crate) supervisor: Supervisor,
    pub(crate) executor: Ref<Executor>,
    pub(crate) heads: watch::Receiver<Option<Arc<ChainHeads>>>,
    pub(crate) works: Arc<AtomicBool>,
    pub(crate) told: mpsc::UnboundedReceiver<HeadChanged>,
    pub(crate) wanted: WantedFeed,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let info =
            AccountInfo { nonce: 0, balance: U256::from(10u64.pow(18)), code_hash: alloy_primitives::KECCAK256_EMPTY };
        let state = StateChanges {
            accounts: vec![AccountDelta::new(signer().address(), Some(info), false, [])],
            ..Default::default()
        };
        let outcome = StateTrie::stateless(EMPTY_ROOT_HASH).apply(&Witness::default(), &state.hashed()).unwrap();
        let header = Header {
            state_root: outcome.root,
            gas_limit: 30_000_000,
            timestamp: 1_000,
            base_fee_per_gas: Some(1_000_000_000),
            extra_data: vec![0, 0, 0, 0, 250, 0, 0, 0, 6].into(),
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Default::default()
        };
        let genesis = Block { header: header.seal_slow(), transactions: Vec::new() };
        let folder = TempDir::new().unwrap();
        let identity = Identity { chain_id: CHAIN_ID, genesis: genesis.hash() };
        let store = L2Store::open(folder.path(), &identity, L2Settings::default()).unwrap();
        store.init_genesis(&Fence::unfenced(), genesis_commit(&genesis, state, outcome.changes)).unwrap();
        Self::start(folder, Arc::new(genesis), Arc::new(store), true)
    }

    /// With other bounds on the blocks that are known beside the chain.
    pub(crate) fn keeping(kept: KeptBlocks) -> Self {
        let Self { folder, genesis, store, .. } = Self::new();
        Self::with(folder, genesis, store, true, kept, None)
    }

    pub(crate) fn start(folder: TempDir, genesis: Arc<Block>, store: Arc<L2Store>, works: bool) -> Self {
        Self::with(folder, genesis, store, works, KeptBlocks::default(), None)
    }

    /// The same chain under an executor with a journal of what it answers, which knows nothing else of before.
    #[allow(dead_code, reason = "each test uses its part")]
    pub(crate) async fn answering(self, journal: &Path) -> Self {
        self.supervisor.shutdown(PATIENCE).await;
        let journal = Some(journal.to_owned());
        Self::noting(self.folder, self.genesis, self.store, true, KeptBlocks::default(), None, journal)
    }

    /// `deadline` is that of the watchdog.
    pub(crate) fn with(
        folder: TempDir,
        genesis: Arc<Block>,
        store: Arc<L2Store>,
        works: bool,
        kept: KeptBlocks,
        deadline: Option<Duration>,
    ) -> Self {
        Self::noting(folder, genesis, store, works, kept, deadline, None)
    }

    fn noting(
        folder: TempDir,
        genesis: Arc<Block>,
        store: Arc<L2Store>,
        works: bool,
        kept: KeptBlocks,
        deadline: Option<Duration>,
        answered: Option<PathBuf>,
    ) -> Self {
        let executor: Ref<Executor> = Ref::declare("executor");
        let (heads_out, heads) = watch::channel(None);
        let (pool_out, _) = watch::channel(None);
        let (tell, told) = mpsc::unbounded_channel();
        let pool = Pool { works: Arc::new(AtomicBool::new(works)), told: tell };
        let works = pool.works.clone();
        let head_changed = Port::from_fn(move |message: HeadChanged| {
            let pool = pool.clone();
            async move {
                let _ = pool.told.send(message);
                while !pool.works.load(Ordering::Acquire) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let settings = Settings { spec: spec(), block_time: 2, trie: StateLimits::default(), answered };
        let (wanted_out, wanted) = watch::channel(None);
        let suspect = Suspect::default();
        let feeds = Feeds { heads: heads_out, pool: pool_out, head_changed, suspect, wanted: wanted_out, kept };
        let (rollup, opened) = (Arc::new(rollup(&genesis)), store.clone());
        let child = ChildSpec::new(&executor, move |start| {
            Ok(Executor::open(settings.clone(), rollup.clone(), opened.clone(), feeds.clone(), &start)?)
        });
        let child = match deadline {
            Some(deadline) => child.deadline(deadline),
            None => child,
        };
        let supervisor = Tree::new("root", Strategy::OneForOne).allow_faults(true).actor(child).start();
        Self { folder, genesis, store, supervisor, executor, heads, works, told, wanted }
    }

    pub(crate) async fn restart(self, works: bool) -> Self {
        self.supervisor.shutdown(PATIENCE).await;
        Self::start(self.folder, self.genesis, self.store, works)
    }

    /// Ends the instance, and waits for the next one. What the process knows stays.
    pub(crate) async fn replace(&self, fault: Fault) {
        let before = self.restarts();
        self.supervisor.inject("executor", fault).unwrap();
        while self.restarts() == before || self.supervisor.actors()[0].state != ActorState::Running {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.supervisor.actors()[0].restarts
    }

    pub(crate) fn head(&self) -> Arc<ChainHeads> {
        self.heads.borrow().clone().unwrap()
    }

    /// A block as the sequencer makes it.
    pub(crate) async fn seal(&self, parent: &Block, salt: u8, users: &[Arc<RecoveredTx>]) -> Arc<Block> {
        let build = Build {
            parent: parent.hash(),
            attributes: attributes(parent, salt, &[]),
            pool: users.to_vec().into(),
            until: None,
            da: DaLimits::default(),
        };
        let block = self.executor.ask(build).await.unwrap().unwrap().block;
        self.executor.ask(Insert { hash: block.hash() }).await.unwrap().unwrap();
        block
    }

    pub(crate) async fn derive(
        &self,
        parent: &Block,
        first: Option<BlockAttributes>,
        otherwise: Option<BlockAttributes>,
    ) -> Result<Derived, ExecutorRefusal> {
        let message = Derive { parent: parent.hash(), attributes: first, otherwise };
        self.executor.ask_retry(message, PATIENCE).await.unwrap()
    }

    /// Transactions that came back to the pool, until this many did.
    pub(crate) async fn returned(&mut self, count: usize) -> Vec<B256> {
        let mut returned = Vec::new();
        while returned.len() < count {
            let message = tokio::time::timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap();
            returned.extend(message.reorged_out.iter().map(|tx| tx.hash()));
        }
        returned
    }

    pub(crate) async fn until_nothing_is_kept(&self) {
        let begun = std::time::Instant::now();
        while !self.store.returned().unwrap().transactions.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "the executor keeps what the pool has");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) fn id(block: &Block) -> BlockNumHash {
    BlockNumHash { number: block.number(), hash: block.hash() }
}
