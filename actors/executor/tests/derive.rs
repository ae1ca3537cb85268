//! The executor follows L1: blocks that derivation prescribes, what they replace, and what comes of the replaced.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

use alloy_consensus::{Header, Sealable, SignableTransaction, TxEip1559};
use alloy_eips::{BlockNumHash, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B64, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants, ForkTimes, RecoveredTx};
use duskevm_executor::{Executor, Feeds, Settings, Suspect, genesis_commit};
use duskevm_fence::Fence;
use duskevm_messages::{
    executor::{
        Build, ChainHeads, DaLimits, Derive, Derived, ExecutorRefusal, Import, Insert, NoteSafeHead, Rewind, SetLabels,
    },
    txpool::HeadChanged,
};
use duskevm_rollup::{BlockId, L1Info, L1InfoFork, RollupConfig, RollupGenesis, SystemConfig};
use duskevm_store::{
    Identity,
    l2::{BlockRef, L2Settings, L2Store, SafeHead},
};
use duskevm_supervision::{ChildSpec, Port, Ref, Strategy, Supervisor, Tree};
use duskevm_trie::{AccountDelta, AccountInfo, EMPTY_ROOT_HASH, StateChanges, StateLimits, StateTrie, Witness};
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(30);
const CHAIN_ID: u64 = 310;

fn signer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

fn spec() -> Arc<ChainSpec> {
    let constants = Eip1559Constants { elasticity: 6, denominator: 50, canyon_denominator: 250 };
    Arc::new(ChainSpec::new(CHAIN_ID, ForkTimes::isthmus_at_genesis(), constants).unwrap())
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

/// A user's transfer.
fn transfer(nonce: u64) -> Arc<RecoveredTx> {
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
fn deposit(number: u64, salt: u8, sequence: u64) -> Arc<RecoveredTx> {
    let hash = keccak256([salt, number as u8]);
    let system = SystemConfig::default();
    let info = L1Info::new(L1InfoFork::Isthmus, &system, number, 1_000, U256::ONE, U256::ONE, hash, sequence);
    Arc::new(RecoveredTx::deposit(info.deposit(true)))
}

/// A block of the next L1 block; `salt` makes one unlike another.
fn attributes(parent: &Block, salt: u8, users: &[Arc<RecoveredTx>]) -> BlockAttributes {
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
struct Pool {
    works: Arc<AtomicBool>,
    told: mpsc::UnboundedSender<HeadChanged>,
}

struct Bed {
    folder: TempDir,
    genesis: Arc<Block>,
    store: Arc<L2Store>,
    supervisor: Supervisor,
    executor: Ref<Executor>,
    heads: watch::Receiver<Option<Arc<ChainHeads>>>,
    works: Arc<AtomicBool>,
    told: mpsc::UnboundedReceiver<HeadChanged>,
}

impl Bed {
    fn new() -> Self {
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

    fn start(folder: TempDir, genesis: Arc<Block>, store: Arc<L2Store>, works: bool) -> Self {
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
        let settings = Settings { spec: spec(), block_time: 2, trie: StateLimits::default() };
        let feeds = Feeds { heads: heads_out, pool: pool_out, head_changed, suspect: Suspect::default() };
        let (rollup, opened) = (Arc::new(rollup(&genesis)), store.clone());
        let child = ChildSpec::new(&executor, move |start| {
            Ok(Executor::open(settings.clone(), rollup.clone(), opened.clone(), feeds.clone(), &start)?)
        });
        let supervisor = Tree::new("root", Strategy::OneForOne).actor(child).start();
        Self { folder, genesis, store, supervisor, executor, heads, works, told }
    }

    async fn restart(self, works: bool) -> Self {
        self.supervisor.shutdown(PATIENCE).await;
        Self::start(self.folder, self.genesis, self.store, works)
    }

    fn head(&self) -> Arc<ChainHeads> {
        self.heads.borrow().clone().unwrap()
    }

    /// A block as the sequencer makes it.
    async fn seal(&self, parent: &Block, salt: u8, users: &[Arc<RecoveredTx>]) -> Arc<Block> {
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

    async fn derive(
        &self,
        parent: &Block,
        first: Option<BlockAttributes>,
        otherwise: Option<BlockAttributes>,
    ) -> Result<Derived, ExecutorRefusal> {
        let message = Derive { parent: parent.hash(), attributes: first, otherwise };
        self.executor.ask_retry(message, PATIENCE).await.unwrap()
    }

    /// Transactions that came back to the pool, until this many did.
    async fn returned(&mut self, count: usize) -> Vec<B256> {
        let mut returned = Vec::new();
        while returned.len() < count {
            let message = tokio::time::timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap();
            returned.extend(message.reorged_out.iter().map(|tx| tx.hash()));
        }
        returned
    }

    async fn until_nothing_is_kept(&self) {
        let begun = std::time::Instant::now();
        while !self.store.returned().unwrap().transactions.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "the executor keeps what the pool has");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn id(block: &Block) -> BlockNumHash {
    BlockNumHash { number: block.number(), hash: block.hash() }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_derived_on_the_head_and_are_safe() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.derive(&genesis, Some(attributes(&genesis, 1, &[transfer(0)])), None).await.unwrap();
    assert_eq!((one.invalid.clone(), one.replaced, one.block.transactions.len()), (None, 0, 2));
    assert_eq!((bed.head().latest.hash(), bed.head().safe), (one.block.hash(), id(&one.block)));
    // Asked twice, it is the same block, and what was built on it stays.
    let two = bed.seal(&one.block, 2, &[]).await;
    let again = bed.derive(&genesis, Some(attributes(&genesis, 1, &[transfer(0)])), None).await.unwrap();
    assert_eq!((again.block.hash(), again.replaced), (one.block.hash(), 0));
    assert_eq!(bed.head().latest.hash(), two.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_l1_prescribes_replaces_unsafe_blocks_and_their_transactions_come_back() {
    let mut bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.seal(&genesis, 1, &[transfer(0)]).await;
    let two = bed.seal(&one, 2, &[transfer(1)]).await;
    let derived = bed.derive(&genesis, Some(attributes(&genesis, 9, &[])), None).await.unwrap();
    assert_eq!((derived.replaced, derived.block.number()), (2, 1));
    assert_eq!((bed.head().latest.hash(), bed.head().safe), (derived.block.hash(), id(&derived.block)));
    // Whoever announced the others learns that they are void.
    assert_eq!(bed.head().replaced, Some(id(&derived.block)));
    assert_eq!(bed.returned(2).await, [transfer(0).hash(), transfer(1).hash()]);
    bed.until_nothing_is_kept().await;

    // The sequencer still has its blocks: they must not come back in the place of a safe one.
    let refused = bed.executor.ask(Import { block: one.clone() }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::BelowSafe { number: 1, safe: 1 }), "{refused}");
    let refused = bed.executor.ask(Rewind { to: genesis.hash() }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::BelowSafe { .. }), "{refused}");
    let refused = bed.executor.ask(Import { block: two }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::UnknownParent { .. }), "{refused}");
    let refused = bed.derive(&genesis, Some(attributes(&genesis, 8, &[])), None).await.unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::BelowSafe { .. }), "{refused}");
    // Whoever moves the label first may.
    let labels = SetLabels { safe: Some(genesis.hash()), finalized: None };
    bed.executor.ask(labels).await.unwrap().unwrap();
    bed.executor.ask(Import { block: one.clone() }).await.unwrap().unwrap();
    assert_eq!(bed.head().latest.hash(), one.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_executed_leaves_the_deposits() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let deposits = || Some(attributes(&genesis, 1, &[]));
    // A nonce that is too high, then transactions that could not be decoded.
    let bad = Some(attributes(&genesis, 1, &[transfer(5)]));
    let derived = bed.derive(&genesis, bad.clone(), deposits()).await.unwrap();
    assert!(derived.invalid.unwrap().contains("nonce"));
    assert_eq!(derived.block.transactions.len(), 1);
    let again = bed.derive(&genesis, None, deposits()).await.unwrap();
    assert_eq!(again.block.hash(), derived.block.hash());
    assert!(again.invalid.unwrap().contains("decoded"));
    let refused = bed.derive(&derived.block, Some(attributes(&derived.block, 2, &[transfer(5)])), None).await;
    assert!(matches!(refused, Err(ExecutorRefusal::Invalid(_))));
    assert_eq!(bed.head().latest.hash(), derived.block.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_transactions_outlive_a_restart_until_the_pool_has_them() {
    let mut bed = Bed::new();
    let genesis = bed.genesis.clone();
    bed.works.store(false, Ordering::Release);
    bed.seal(&genesis, 1, &[transfer(0)]).await;
    bed.derive(&genesis, Some(attributes(&genesis, 9, &[])), None).await.unwrap();
    assert_eq!(bed.returned(1).await, [transfer(0).hash()]);
    assert_eq!(bed.store.returned().unwrap().transactions.len(), 1);
    let mut bed = bed.restart(true).await;
    assert_eq!(bed.returned(1).await, [transfer(0).hash()]);
    bed.until_nothing_is_kept().await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_heads_are_noted_by_l1_block() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let derived = bed.derive(&genesis, Some(attributes(&genesis, 1, &[])), None).await.unwrap();
    let l1 = BlockNumHash { number: 4, hash: B256::repeat_byte(4) };
    bed.executor.ask(NoteSafeHead { at: Some((l1, id(&derived.block))) }).await.unwrap();
    let block = |id: BlockNumHash| BlockRef { number: id.number, hash: id.hash };
    let noted = SafeHead { l1: block(l1), l2: block(id(&derived.block)) };
    assert_eq!(bed.store.reader().safe_head_at(4).unwrap(), Some(noted));
    bed.executor.ask(NoteSafeHead { at: None }).await.unwrap();
    assert_eq!(bed.store.reader().safe_head_at(4).unwrap(), None);
    bed.supervisor.shutdown(PATIENCE).await;
}

/// A block with right roots, made by another node that has the same chain up to `parent`.
async fn made_elsewhere(blocks: &[Arc<Block>], attributes: BlockAttributes) -> Arc<Block> {
    let other = Bed::new();
    for block in blocks {
        other.executor.ask(Import { block: block.clone() }).await.unwrap().unwrap();
    }
    let parent = blocks.last().unwrap_or(&other.genesis).hash();
    let build = Build { parent, attributes, pool: Arc::default(), until: None, da: DaLimits::default() };
    let block = other.executor.ask(build).await.unwrap().unwrap().block;
    other.supervisor.shutdown(PATIENCE).await;
    block
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_made_elsewhere_that_is_none_of_the_rollup_is_refused_before_it_is_executed() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.seal(&genesis, 1, &[]).await;
    let like = |transactions| BlockAttributes { transactions, ..attributes(&one, 1, &[]) };
    let no_attributes = TxDeposit { gas_limit: 1_000_000, ..Default::default() };
    for (wrong, why) in [
        (like(vec![]), "does not begin with the L1-attributes deposit"),
        (like(vec![transfer(0)]), "does not begin with the L1-attributes deposit"),
        (like(vec![Arc::new(RecoveredTx::deposit(no_attributes))]), "selector"),
        (like(vec![deposit(1, 1, 0)]), "sequence number does not follow"),
        (like(vec![deposit(1, 2, 1)]), "skips a block"),
        (like(vec![deposit(2, 1, 1)]), "must have sequence number 0"),
        (like(vec![deposit(3, 1, 0)]), "skips a block"),
        (BlockAttributes { timestamp: one.header.timestamp + 3, ..attributes(&one, 1, &[]) }, "timestamp"),
    ] {
        let block = made_elsewhere(std::slice::from_ref(&one), wrong).await;
        let refused = bed.executor.ask(Import { block: block.clone() }).await.unwrap().unwrap_err();
        let ExecutorRefusal::Invalid(reason) = &refused else { panic!("{refused}") };
        assert!(reason.contains(why), "{reason}, not {why}");
        assert_eq!(bed.head().latest.hash(), one.hash());
    }
    // In the place of a block of the chain as well.
    let bad = BlockAttributes { transactions: vec![], ..attributes(&genesis, 1, &[]) };
    let refused = bed.executor.ask(Import { block: made_elsewhere(&[], bad).await }).await.unwrap().unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::Invalid(_)), "{refused}");
    assert_eq!(bed.head().latest.hash(), one.hash());
    // Of the same L1 block, or the next one.
    let two = made_elsewhere(std::slice::from_ref(&one), like(vec![deposit(1, 1, 1)])).await;
    let three = made_elsewhere(&[one.clone(), two.clone()], attributes_of(&two, deposit(2, 1, 0))).await;
    for block in [&two, &three] {
        bed.executor.ask(Import { block: block.clone() }).await.unwrap().unwrap();
    }
    assert_eq!(bed.head().latest.hash(), three.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

fn attributes_of(parent: &Block, deposit: Arc<RecoveredTx>) -> BlockAttributes {
    BlockAttributes { transactions: vec![deposit], ..attributes(parent, 1, &[]) }
}
