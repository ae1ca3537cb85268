//! Derivation with a real executor on a real database, over an L1 that the test makes: what a sequencer posted becomes safe, a verifier
//! arrives at the same blocks, L1 reorganizations and silence of the batcher are followed, and dying changes nothing.
#![allow(clippy::unwrap_used, reason = "a test")]

use alloy_consensus::{
    EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealable, SignableTransaction, TxEip1559,
};
use alloy_eips::{eip2718::Encodable2718, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_derivation::{Derivation, Ports, Settings};
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants, ForkTimes, NoPool, RecoveredTx};
use duskevm_executor::{ChainState, Executor, Feeds, KeptBlocks, Suspect, genesis_commit};
use duskevm_l1_view::{ViewBlock, ViewTransaction};
use duskevm_messages::{
    executor::{Build, ChainHeads, DaLimits, Insert},
    l1::{L1BlockRef, L1Heads, ViewBlockByNumber},
    txpool::HeadChanged,
};
use duskevm_rollup::{
    BlockId, OriginBlock, OriginChoice, RollupConfig, RollupGenesis, SystemConfig,
    batch::batch_of_block,
    channel_out::{ChannelSettings, Compression, build_frames},
    epoch_attributes,
    frame::encode_frames,
    l2_block_ref, system_config_of,
};
use duskevm_store::{
    Identity,
    l2::{L2Settings, L2Store},
};
use duskevm_supervision::{ChildSpec, Fault, Fence, Port, Ref, Strategy, Supervisor, Tree};
use duskevm_trie::{AccountDelta, AccountInfo, EMPTY_ROOT_HASH, StateChanges, StateLimits, StateTrie, Witness};
use op_alloy_consensus::OpTxEnvelope;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);
const L1_CHAIN: u64 = 31_311;
const L2_CHAIN: u64 = 310;
const START: u64 = 1_000_000;
const WINDOW: u64 = 8;
const INBOX: Address = Address::repeat_byte(0x1b);

fn signer(index: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(index)).unwrap()
}

/// An L1 that can be reorganized.
#[derive(Clone)]
struct L1 {
    /// Seconds from one block to the next.
    block_time: u64,
    blocks: Arc<Mutex<Vec<Arc<ViewBlock>>>>,
    heads: watch::Sender<Option<L1Heads>>,
}

impl L1 {
    fn new(block_time: u64) -> Self {
        let l1 = Self { block_time, blocks: Arc::default(), heads: watch::Sender::new(None) };
        l1.mine(0, Vec::new());
        l1
    }

    /// `salt` tells the blocks of one branch from those of another.
    fn mine(&self, salt: u8, batches: Vec<Bytes>) -> u64 {
        let mut blocks = self.blocks.lock().unwrap();
        let number = blocks.len() as u64;
        let transactions: Vec<_> = batches
            .into_iter()
            .map(|input| {
                let tx = TxEip1559 {
                    chain_id: L1_CHAIN,
                    nonce: number,
                    gas_limit: 21_000,
                    to: TxKind::Call(INBOX),
                    input,
                    ..Default::default()
                };
                let signature = signer(3).sign_hash_sync(&tx.signature_hash()).unwrap();
                ViewTransaction {
                    dusk_id: B256::repeat_byte(salt),
                    envelope: EthereumTxEnvelope::Eip1559(tx.into_signed(signature)),
                }
            })
            .collect();
        let receipt =
            ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(Receipt { status: true.into(), ..Default::default() }));
        let header = Header {
            number,
            parent_hash: blocks.last().map_or(B256::ZERO, |parent| parent.hash()),
            timestamp: START + self.block_time * number,
            base_fee_per_gas: Some(7),
            mix_hash: B256::repeat_byte(salt),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Default::default()
        };
        let receipts = vec![receipt; transactions.len()];
        blocks.push(Arc::new(ViewBlock { header: header.seal_slow(), transactions, receipts }));
        drop(blocks);
        self.publish(0);
        number
    }

    fn mine_empty(&self, count: u64) {
        for _ in 0..count {
            self.mine(0, Vec::new());
        }
    }

    fn publish(&self, finalized: u64) {
        let at = |number: u64| {
            let block = self.blocks.lock().unwrap()[number as usize].clone();
            L1BlockRef::from(&*block)
        };
        let latest = self.blocks.lock().unwrap().len() as u64 - 1;
        let before = self.heads.borrow().map_or(0, |heads| heads.finalized.number);
        let finalized = at(finalized.max(before));
        self.heads.send_replace(Some(L1Heads { latest: at(latest), safe: finalized, finalized }));
    }

    /// Takes the blocks from `number` on out, and mines as many others and one more. Nobody sees less than before.
    fn reorganize(&self, number: u64) {
        let height = self.blocks.lock().unwrap().len() as u64;
        self.blocks.lock().unwrap().truncate(number as usize);
        for _ in number..=height {
            self.mine(1, Vec::new());
        }
    }

    fn port(&self) -> Port<ViewBlockByNumber> {
        let blocks = self.blocks.clone();
        Port::from_fn(move |asked: ViewBlockByNumber| {
            let found = blocks.lock().unwrap().get(asked.number as usize).cloned();
            async move { found }
        })
    }
}

/// What all nodes of a test share.
#[derive(Clone)]
struct Rollup {
    config: Arc<RollupConfig>,
    spec: Arc<ChainSpec>,
    genesis: Arc<Block>,
    state: StateChanges,
    nodes: duskevm_trie::Changes,
    l1: L1,
}

impl Rollup {
    fn new() -> Self {
        Self::with_l1_block_time(2)
    }

    fn with_l1_block_time(seconds: u64) -> Self {
        let l1 = L1::new(seconds);
        let forks = ForkTimes::isthmus_at_genesis();
        let constants = Eip1559Constants { elasticity: 6, denominator: 50, canyon_denominator: 250 };
        let info = AccountInfo { nonce: 0, balance: U256::from(10u64.pow(18)), code_hash: KECCAK256_EMPTY };
        let state = StateChanges {
            accounts: vec![AccountDelta::new(signer(7).address(), Some(info), false, [])],
            ..Default::default()
        };
        let outcome = StateTrie::stateless(EMPTY_ROOT_HASH).apply(&Witness::default(), &state.hashed()).unwrap();
        let header = Header {
            state_root: outcome.root,
            gas_limit: 30_000_000,
            timestamp: START,
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
        let first = l1.blocks.lock().unwrap()[0].hash();
        let config = RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId { hash: first, number: 0 },
                l2: BlockId { hash: genesis.hash(), number: 0 },
                l2_time: START,
                system_config: SystemConfig {
                    batcher_address: signer(3).address(),
                    gas_limit: 30_000_000,
                    scalar: SystemConfig::scalar_v1(1368, 810_949),
                    ..Default::default()
                },
            },
            block_time: 2,
            max_sequencer_drift: 600,
            seq_window_size: WINDOW,
            l1_chain_id: L1_CHAIN,
            l2_chain_id: L2_CHAIN,
            forks,
            delta_time: Some(0),
            batch_inbox_address: INBOX,
            deposit_contract_address: Address::repeat_byte(0x70),
            l1_system_config_address: Address::repeat_byte(0x73),
            eip1559: (6, 50, 250),
        };
        config.validate().unwrap();
        let spec = Arc::new(ChainSpec::new(L2_CHAIN, forks, constants).unwrap());
        Self { config: Arc::new(config), spec, genesis: Arc::new(genesis), state, nodes: outcome.changes, l1 }
    }

    /// A batch of these blocks, as call data.
    fn batch(&self, channel: u8, blocks: &[Arc<Block>]) -> Bytes {
        let settings = ChannelSettings {
            compression: Compression::Brotli9,
            target_bytes: 100_000,
            max_frame_data: 100_000,
            max_rlp_bytes: 1_000_000,
        };
        let batches: Vec<_> = blocks.iter().map(|block| batch_of_block(&self.config, block).unwrap()).collect();
        let batches = batches.iter().map(|(batch, sequence_number)| (batch, *sequence_number));
        let frames = build_frames(&self.config, settings, [channel; 16].into(), batches).unwrap();
        encode_frames(&frames).into()
    }
}

/// Executor and derivation of one node.
struct Node {
    rollup: Rollup,
    folder: TempDir,
    store: Arc<L2Store>,
    supervisor: Supervisor,
    executor: Ref<Executor>,
    heads: watch::Receiver<Option<Arc<ChainHeads>>>,
    returned: Arc<Mutex<Vec<B256>>>,
    current_l1: watch::Receiver<Option<L1BlockRef>>,
}

impl Node {
    async fn start(rollup: &Rollup) -> Self {
        let folder = TempDir::new().unwrap();
        let identity = Identity { chain_id: L2_CHAIN, genesis: rollup.genesis.hash() };
        let store = Arc::new(L2Store::open(folder.path(), &identity, L2Settings::default()).unwrap());
        let commit = genesis_commit(&rollup.genesis, rollup.state.clone(), rollup.nodes.clone());
        store.init_genesis(&Fence::unfenced(), commit).unwrap();
        let node = Self::open(rollup, folder, store);
        node.supervisor.ready().await.unwrap();
        node.until("the executor to open", |heads| heads.latest.number() == 0).await;
        node
    }

    /// Starts on a chain that is there.
    fn open(rollup: &Rollup, folder: TempDir, store: Arc<L2Store>) -> Self {
        let executor: Ref<Executor> = Ref::declare("executor");
        let derivation: Ref<Derivation> = Ref::declare("derivation");
        let (heads_out, heads) = watch::channel(None);
        let (pool_out, _) = watch::channel(None);
        let returned: Arc<Mutex<Vec<B256>>> = Arc::default();
        let noted = returned.clone();
        let head_changed = Port::from_fn(move |message: HeadChanged| {
            noted.lock().unwrap().extend(message.reorged_out.iter().map(|tx| tx.hash()));
            std::future::ready(())
        });
        let settings = duskevm_executor::Settings {
            spec: rollup.spec.clone(),
            block_time: 2,
            trie: StateLimits::default(),
            answered: None,
        };
        let (suspect, kept) = (Suspect::default(), KeptBlocks::default());
        let (wanted, _) = watch::channel(None);
        let feeds = Feeds { heads: heads_out, pool: pool_out, head_changed, suspect, wanted, kept };
        let (config, opened) = (rollup.config.clone(), store.clone());
        let executor_spec = ChildSpec::new(&executor, move |start| {
            Ok(Executor::open(settings.clone(), config.clone(), opened.clone(), feeds.clone(), &start)?)
        });
        let (current_l1_out, current_l1) = watch::channel(None);
        let settings = Arc::new(Settings { rollup: rollup.config.clone(), spec: rollup.spec.clone() });
        let ports = Ports {
            derive: executor.port(),
            set_labels: executor.port(),
            note_safe_head: executor.port(),
            rewind: executor.port(),
            reset_to: None,
            l1_by_number: rollup.l1.port(),
            blobs: None,
            heads: heads.clone(),
            l1_heads: rollup.l1.heads.subscribe(),
            reader: store.reader(),
            current_l1: current_l1_out,
        };
        let derivation_spec =
            ChildSpec::new(&derivation, move |_| Ok(Derivation::new(settings.clone(), ports.clone())));
        let tree = Tree::new("root", Strategy::OneForOne).allow_faults(true);
        let supervisor = tree.actor(executor_spec).actor(derivation_spec).start();
        let rollup = rollup.clone();
        Self { rollup, folder, store, supervisor, executor, heads, returned, current_l1 }
    }

    async fn until(&self, what: &str, reached: impl Fn(&ChainHeads) -> bool) -> Arc<ChainHeads> {
        self.within(PATIENCE, what, reached).await
    }

    async fn within(&self, patience: Duration, what: &str, reached: impl Fn(&ChainHeads) -> bool) -> Arc<ChainHeads> {
        let mut heads = self.heads.clone();
        let found =
            tokio::time::timeout(patience, heads.wait_for(|heads| heads.as_ref().is_some_and(|heads| reached(heads))));
        match found.await {
            Ok(found) => found.unwrap().clone().unwrap(),
            Err(_) => {
                let heads = self.heads.borrow().clone().unwrap();
                panic!("waiting for {what}: latest {}, safe {:?}", heads.latest.number(), heads.safe)
            }
        }
    }

    fn hash(&self, number: u64) -> Option<B256> {
        self.store.reader().canonical_hash(number).unwrap()
    }

    /// A block as the sequencer makes it: on the head, of the next L1 block if `next_origin`.
    async fn seal(&self, next_origin: bool, users: &[Arc<RecoveredTx>]) -> Arc<Block> {
        let Rollup { config, spec, l1, .. } = &self.rollup;
        let parent = self.heads.borrow().clone().unwrap().latest.clone();
        let head = l2_block_ref(config, &parent).unwrap();
        let system = system_config_of(config, spec, &parent).unwrap();
        let number = head.l1_origin.number + u64::from(next_origin);
        let found = l1.blocks.lock().unwrap()[number as usize].clone();
        let origin = OriginBlock::read(config, &found.header, &found.receipts);
        let sequence_number = if next_origin { 0 } else { head.sequence_number + 1 };
        let choice = OriginChoice { origin: origin.block_ref(), sequence_number, no_user_transactions: false };
        let attributes = epoch_attributes(config, &system, head.timestamp + 2, &choice, &origin).unwrap();
        let block = self.insert(&parent, attributes, users).await;
        assert_eq!(block.transactions.len(), 1 + users.len());
        block
    }

    async fn insert(&self, parent: &Block, attributes: BlockAttributes, users: &[Arc<RecoveredTx>]) -> Arc<Block> {
        let build = Build {
            parent: parent.hash(),
            attributes,
            pool: users.to_vec().into(),
            until: None,
            da: DaLimits::default(),
        };
        let block = self.executor.ask(build).await.unwrap().unwrap().block;
        self.executor.ask(Insert { hash: block.hash() }).await.unwrap().unwrap();
        block
    }

    /// Stops, puts two blocks on the head of the data folder, of which the first one cannot be of this rollup, and starts again. Nobody
    /// would import it; a folder may hold it all the same. `safe` makes them count as safe.
    async fn restart_spoiled(self, how: Spoil, safe: bool) -> Self {
        let parent = self.heads.borrow().clone().unwrap().latest.clone();
        let two = [self.spoiled(&parent, 0, how), self.spoiled(&parent, 1, how)];
        self.supervisor.shutdown(PATIENCE).await;
        let settings = duskevm_executor::Settings {
            spec: self.rollup.spec.clone(),
            block_time: 2,
            trie: StateLimits::default(),
            answered: None,
        };
        let mut chain = ChainState::open(settings, self.store.clone(), Fence::unfenced()).unwrap();
        for attributes in two {
            let block = chain.build(&attributes, &mut NoPool).unwrap().unwrap();
            chain.commit(block).unwrap();
        }
        assert_eq!(chain.head().number(), parent.number() + 2);
        if safe {
            let head = chain.head().hash();
            chain.set_labels(Some(head), None).unwrap().unwrap();
        }
        Self::open(&self.rollup, self.folder, self.store)
    }

    /// The attributes of the block at this distance from the child of `parent`, without those of L1, or with a sequence number that
    /// does not come after the parent's.
    fn spoiled(&self, parent: &Block, distance: u64, how: Spoil) -> BlockAttributes {
        let Rollup { config, spec, l1, .. } = &self.rollup;
        let head = l2_block_ref(config, parent).unwrap();
        let system = system_config_of(config, spec, parent).unwrap();
        let found = l1.blocks.lock().unwrap()[head.l1_origin.number as usize].clone();
        let origin = OriginBlock::read(config, &found.header, &found.receipts);
        let sequence_number = head.sequence_number + 3 + distance;
        let choice = OriginChoice { origin: origin.block_ref(), sequence_number, no_user_transactions: false };
        let timestamp = head.timestamp + 2 + 2 * distance;
        let attributes = epoch_attributes(config, &system, timestamp, &choice, &origin).unwrap();
        match how {
            Spoil::NoAttributes => BlockAttributes { transactions: Vec::new(), ..attributes },
            Spoil::SequenceNumber => attributes,
        }
    }

    /// `count` blocks, each of the next L1 block, with a transfer each.
    async fn seal_many(&self, count: u64, nonce: u64) -> Vec<Arc<Block>> {
        let mut blocks = Vec::new();
        for n in 0..count {
            blocks.push(self.seal(true, &[transfer(nonce + n)]).await);
        }
        blocks
    }

    async fn stop(self) {
        self.supervisor.shutdown(PATIENCE).await;
    }
}

/// What is wrong with a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoil {
    NoAttributes,
    SequenceNumber,
}

fn transfer(nonce: u64) -> Arc<RecoveredTx> {
    let tx = TxEip1559 {
        chain_id: L2_CHAIN,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        to: TxKind::Call(Address::repeat_byte(9)),
        value: U256::from(1),
        ..Default::default()
    };
    let signature = signer(7).sign_hash_sync(&tx.signature_hash()).unwrap();
    let bytes = Bytes::from(OpTxEnvelope::from(tx.into_signed(signature)).encoded_2718());
    Arc::new(RecoveredTx::decode(&bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sequencer_posted_becomes_safe_and_final_and_a_verifier_has_the_same() {
    let rollup = Rollup::new();
    rollup.l1.mine_empty(5);
    let sequencer = Node::start(&rollup).await;
    let blocks = sequencer.seal_many(4, 0).await;
    assert_eq!(sequencer.heads.borrow().clone().unwrap().safe.number, 0);
    let posted = rollup.l1.mine(0, vec![rollup.batch(1, &blocks)]);
    let heads = sequencer.until("the batch to be safe", |heads| heads.safe.number == 4).await;
    assert_eq!((heads.safe.hash, heads.latest.hash()), (blocks[3].hash(), blocks[3].hash()));
    assert_eq!(heads.replaced, None);

    // A verifier that saw none of the blocks, and none of the way.
    let verifier = Node::start(&rollup).await;
    let heads = verifier.until("the same blocks", |heads| heads.safe.number == 4).await;
    assert_eq!(heads.latest.hash(), blocks[3].hash());
    for block in &blocks {
        assert_eq!(verifier.hash(block.number()), Some(block.hash()));
    }
    // Finality is that of the L1 block with the batch, not that of the origins.
    rollup.l1.publish(posted - 1);
    rollup.l1.mine_empty(1);
    assert_eq!(verifier.heads.borrow().clone().unwrap().finalized.number, 0);
    rollup.l1.publish(posted);
    for node in [&sequencer, &verifier] {
        let heads = node.until("finality", |heads| heads.finalized.number == 4).await;
        assert_eq!(heads.finalized.hash, blocks[3].hash());
    }
    // What was safe when the batch was read is noted once the next L1 block is.
    let noted = sequencer.store.reader().safe_head_at(posted).unwrap().unwrap();
    assert_eq!((noted.l1.number, noted.l2.hash), (posted, blocks[3].hash()));
    // The next L1 block is being read by then, and says so.
    let reads = sequencer.current_l1.borrow().unwrap();
    assert_eq!(reads, L1BlockRef::from(&**rollup.l1.blocks.lock().unwrap().last().unwrap()));
    sequencer.stop().await;
    verifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_leaves_l1_makes_its_blocks_unsafe_again() {
    let rollup = Rollup::new();
    rollup.l1.mine_empty(4);
    let node = Node::start(&rollup).await;
    let blocks = node.seal_many(3, 0).await;
    let batch = rollup.batch(1, &blocks);
    let posted = rollup.l1.mine(0, vec![batch.clone()]);
    node.until("the batch to be safe", |heads| heads.safe.number == 3).await;

    rollup.l1.reorganize(posted);
    let heads = node.until("the safe head to go back", |heads| heads.safe.number == 0).await;
    // The origins are still there: the blocks stay as unsafe ones.
    assert_eq!(heads.latest.hash(), blocks[2].hash());
    rollup.l1.mine(1, vec![batch]);
    let heads = node.until("the batch to be safe again", |heads| heads.safe.number == 3).await;
    assert_eq!((heads.latest.hash(), heads.replaced), (blocks[2].hash(), None));

    // Now the origins of blocks 2 and 3 go.
    rollup.l1.reorganize(2);
    let heads = node.until("the blocks of lost origins to go", |heads| heads.latest.number() == 1).await;
    assert_eq!(heads.latest.hash(), blocks[0].hash());
    let begun = Instant::now();
    while node.returned.lock().unwrap().len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "the transactions of dropped blocks did not come back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(*node.returned.lock().unwrap(), [transfer(1).hash(), transfer(2).hash()]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_posts_l1_prescribes_empty_blocks() {
    let rollup = Rollup::new();
    rollup.l1.mine_empty(5);
    let node = Node::start(&rollup).await;
    let verifier = Node::start(&rollup).await;
    let blocks = node.seal_many(4, 0).await;
    rollup.l1.mine_empty(WINDOW + 2);
    let heads = node.until("empty blocks", |heads| heads.safe.number >= 4).await;
    assert_eq!(heads.replaced.map(|block| block.number), Some(1));
    assert_ne!(node.hash(1), Some(blocks[0].hash()));
    let begun = Instant::now();
    while node.returned.lock().unwrap().len() < 4 {
        assert!(begun.elapsed() < PATIENCE, "the transactions of dropped blocks did not come back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let safe = heads.safe;
    let heads = verifier.until("the same empty blocks", |heads| heads.safe.number >= safe.number).await;
    assert!(heads.latest.transactions.iter().all(|tx| tx.is_deposit()));
    assert_eq!(verifier.hash(safe.number), Some(safe.hash));
    node.stop().await;
    verifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_changes_nothing() {
    let rollup = Rollup::new();
    rollup.l1.mine_empty(5);
    let sequencer = Node::start(&rollup).await;
    let verifier = Node::start(&rollup).await;
    let mut all = Vec::new();
    let faults = [Fault::Panic, Fault::Stop, Fault::Panic];
    for (round, fault) in faults.into_iter().enumerate() {
        let blocks = sequencer.seal_many(2, 2 * round as u64).await;
        rollup.l1.mine(0, vec![rollup.batch(round as u8, &blocks)]);
        rollup.l1.mine_empty(2);
        all.extend(blocks);
        // While it reads, or just after.
        let restarts = |node: &Node| node.supervisor.actors().iter().map(|actor| actor.restarts).sum::<u64>();
        let before = restarts(&verifier);
        let actor = if round == 1 { "executor" } else { "derivation" };
        while verifier.supervisor.inject(actor, fault).is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let begun = Instant::now();
        while restarts(&verifier) == before {
            assert!(begun.elapsed() < PATIENCE, "{actor} did not die");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for node in [&sequencer, &verifier] {
            node.until("the batch to be safe", |heads| heads.safe.number == all.len() as u64).await;
        }
    }
    for block in &all {
        assert_eq!(verifier.hash(block.number()), Some(block.hash()));
    }
    sequencer.stop().await;
    verifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_blocks_that_cannot_be_of_the_rollup_are_given_up_at_a_start_and_later() {
    let rollup = Rollup::new();
    rollup.l1.mine_empty(5);
    let mut node = Node::start(&rollup).await;
    let blocks = node.seal_many(2, 0).await;
    rollup.l1.mine(0, vec![rollup.batch(1, &blocks)]);
    node.until("the batch to be safe", |heads| heads.safe.number == 2).await;
    for how in [Spoil::NoAttributes, Spoil::SequenceNumber] {
        node = node.restart_spoiled(how, false).await;
        let heads = node.until("the chain to go back to the safe block", |heads| heads.latest.number() == 2).await;
        assert_eq!((heads.latest.hash(), heads.safe.hash), (blocks[1].hash(), blocks[1].hash()));
        assert!(node.supervisor.actors().iter().all(|actor| actor.restarts == 0));
    }
    // While it runs the newest block is looked at with each L1 block.
    node.insert(&blocks[1], node.spoiled(&blocks[1], 0, Spoil::NoAttributes), &[]).await;
    rollup.l1.mine_empty(1);
    node.until("the chain to go back to the safe block", |heads| heads.latest.number() == 2).await;
    // It goes on from there.
    let more = node.seal_many(2, 2).await;
    rollup.l1.mine(0, vec![rollup.batch(2, &more)]);
    let heads = node.until("the next batch to be safe", |heads| heads.safe.number == 4).await;
    assert_eq!(heads.latest.hash(), more[1].hash());
    assert!(node.supervisor.actors().iter().all(|actor| actor.restarts == 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_block_that_cannot_be_of_the_rollup_ends_the_node() {
    let rollup = Rollup::new();
    rollup.l1.mine_empty(5);
    let node = Node::start(&rollup).await;
    node.seal_many(1, 0).await;
    let node = node.restart_spoiled(Spoil::NoAttributes, true).await;
    let reason = tokio::time::timeout(PATIENCE, node.supervisor.wait()).await.unwrap();
    assert!(reason.to_string().contains("not of this rollup"), "{reason}");
    assert_eq!(node.store.reader().heads().unwrap().latest.number, 3, "nothing was given up");
}

/// How fast a node that has nothing comes to a long chain, execution included; prints it. `DUSKEVM_TEST_BLOCKS` says how long.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of some minutes"]
async fn a_long_chain_is_derived_from_l1_alone() {
    const USERS: u64 = 10;
    const PER_L1_BLOCK: u64 = 6;
    let wanted = std::env::var("DUSKEVM_TEST_BLOCKS").map_or(10_000, |blocks| blocks.parse().unwrap());
    let rollup = Rollup::with_l1_block_time(2 * PER_L1_BLOCK);
    let sequencer = Node::start(&rollup).await;
    let (mut made, mut nonce, mut posted) = (0u64, 0, 0);
    let (mut blocks, mut batches) = (Vec::new(), Vec::new());
    while made < wanted {
        made += 1;
        // No block is older than its origin.
        let next_origin = made.is_multiple_of(PER_L1_BLOCK);
        if next_origin {
            rollup.l1.mine(0, std::mem::take(&mut batches));
        }
        let users: Vec<_> = (nonce..nonce + USERS).map(transfer).collect();
        nonce += USERS;
        blocks.push(sequencer.seal(next_origin, &users).await);
        // The L2 blocks of five L1 blocks are one channel, which the next L1 block has: well within the sequencing window.
        if made.is_multiple_of(5 * PER_L1_BLOCK) || made == wanted {
            let batch = rollup.batch((made % 251) as u8, &std::mem::take(&mut blocks));
            posted += batch.len();
            batches.push(batch);
        }
    }
    rollup.l1.mine(0, batches);
    sequencer.within(LONG, "the whole chain to be safe", |heads| heads.safe.number == made).await;
    let head = sequencer.heads.borrow().clone().unwrap().latest.hash();
    sequencer.stop().await;

    let begin = Instant::now();
    let verifier = Node::start(&rollup).await;
    let heads = verifier.within(LONG, "the whole chain to be derived", |heads| heads.safe.number == made).await;
    let took = begin.elapsed().as_secs_f64();
    assert_eq!(heads.latest.hash(), head);
    println!(
        "{made} blocks with {nonce} transactions, {:.1} MB of batches: {took:.1} s, {:.0} blocks/s, {:.0} transactions/s",
        posted as f64 / 1e6,
        made as f64 / took,
        nonce as f64 / took
    );
    verifier.stop().await;
}
