//! Nodes over loopback, whose chain and L1 are the test's.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "for the tests beside it"
)]

use alloy_consensus::{Header, Sealable as _};
use alloy_eips::BlockNumHash;
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use duskevm_evm::{Block, ChainSpec, Eip1559Constants, ForkTimes, RecoveredTx};
use duskevm_gossip::{
    BlockGossip, BlockGossipSettings, BlockHost, BlockHostSettings, BlockIdentity, BlockPeer, OwnChain, Role,
    SignerSource, block_spec,
};
use duskevm_l1_view::ViewBlock;
use duskevm_messages::block_gossip::{DescribePeers, PeerOrder, PeerRefusal, PeersView};
use duskevm_messages::consensus::ReadDuskContract;
use duskevm_messages::executor::{ChainHeads, ExecutorRefusal, HeadsFeed, Import};
use duskevm_messages::l1::{L1BlockRef, L1Heads, ViewBlockByNumber};
use duskevm_messages::sequencer::Sequencing;
use duskevm_rollup::{L1Info, L1InfoFork, SystemConfig};
use duskevm_supervision::{Fault as Injected, Intensity, Port, Ref, Strategy, Supervisor, Tree};
use duskevm_unsafe_gossip::{Payload, PayloadVersion, UnsafeSigner};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

pub const PATIENCE: Duration = Duration::from_secs(60);
pub const CHAIN: u64 = 745;
/// A block with this mark breaks the rules of the chain.
pub const BAD: u8 = 0xbd;

pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn signer(byte: u8) -> UnsafeSigner {
    UnsafeSigner::new(&B256::repeat_byte(byte)).unwrap()
}

/// An Isthmus block without transactions; `mark` tells forks apart.
pub fn block(number: u64, parent: B256, mark: u8) -> Arc<Block> {
    block_of(None, number, parent, mark)
}

/// The same with the attributes of an L1 block.
pub fn block_of(origin: Option<&ViewBlock>, number: u64, parent: B256, mark: u8) -> Arc<Block> {
    let attributes = origin.map(|l1| {
        let (fork, system) = (L1InfoFork::Isthmus, SystemConfig::default());
        let info = L1Info::new(fork, &system, l1.number(), l1.timestamp(), U256::ONE, U256::ONE, l1.hash(), 0);
        RecoveredTx::deposit(info.deposit(true)).encoded().clone()
    });
    let empty = Payload {
        version: PayloadVersion::V4,
        parent_hash: parent,
        fee_recipient: Address::ZERO,
        state_root: B256::repeat_byte(mark),
        receipts_root: B256::ZERO,
        logs_bloom: Bloom::ZERO,
        prev_randao: B256::ZERO,
        number,
        gas_limit: 30_000_000,
        gas_used: 0,
        timestamp: unix(),
        extra_data: Bytes::new(),
        base_fee_per_gas: U256::from(1),
        hash: B256::ZERO,
        transactions: attributes.into_iter().collect(),
        withdrawals: Vec::new(),
        blob_gas_used: 0,
        excess_blob_gas: 0,
        withdrawals_root: B256::ZERO,
        parent_beacon_block_root: B256::ZERO,
    };
    let hash = alloy_consensus::Sealable::hash_slow(&empty.header().unwrap());
    Arc::new(Payload { hash, ..empty }.to_block().unwrap())
}

/// A chain in memory, and the feed of its head.
#[derive(Debug, Clone)]
pub struct Chain {
    pub blocks: Arc<Mutex<Vec<Arc<Block>>>>,
    pub heads: Arc<watch::Sender<Option<Arc<ChainHeads>>>>,
}

impl Chain {
    pub fn new(genesis: &Arc<Block>) -> Self {
        let chain =
            Self { blocks: Arc::new(Mutex::new(vec![genesis.clone()])), heads: Arc::new(watch::channel(None).0) };
        chain.announce();
        chain
    }

    pub fn announce(&self) {
        let blocks = self.blocks.lock().unwrap();
        let id = |block: &Arc<Block>| BlockNumHash { number: block.number(), hash: block.hash() };
        let (first, latest) = (id(&blocks[0]), blocks.last().unwrap().clone());
        let durable = latest.number();
        let heads = ChainHeads { latest, safe: first, finalized: first, durable, replaced: None };
        drop(blocks);
        self.heads.send_replace(Some(Arc::new(heads)));
    }

    /// As the executor does it.
    pub fn import(&self, block: &Arc<Block>) -> Result<(), ExecutorRefusal> {
        if block.header.state_root == B256::repeat_byte(BAD) {
            return Err(ExecutorRefusal::Invalid("a bad root".into()));
        }
        {
            let mut blocks = self.blocks.lock().unwrap();
            let parent = usize::try_from(block.number()).unwrap() - 1;
            if blocks.get(parent + 1).is_some_and(|known| known.hash() == block.hash()) {
                return Ok(());
            }
            if blocks.get(parent).map(|parent| parent.hash()) != Some(block.header.parent_hash) {
                return Err(ExecutorRefusal::UnknownParent {
                    parent: block.header.parent_hash,
                    number: block.number(),
                });
            }
            blocks.truncate(parent + 1);
            blocks.push(block.clone());
        }
        self.announce();
        Ok(())
    }

    /// The sequencer makes a block.
    pub fn grow(&self, count: u64) -> Arc<Block> {
        for _ in 0..count {
            let parent = self.latest();
            self.import(&block(parent.number() + 1, parent.hash(), 1)).unwrap();
        }
        self.latest()
    }

    pub fn latest(&self) -> Arc<Block> {
        self.blocks.lock().unwrap().last().unwrap().clone()
    }

    pub fn feed(&self) -> HeadsFeed {
        self.heads.subscribe()
    }

    pub async fn reaches(&self, block: &Arc<Block>) {
        let mut feed = self.feed();
        let wanted = |heads: &Option<Arc<ChainHeads>>| heads.as_ref().is_some_and(|heads| heads.latest == *block);
        in_time(&format!("block {}", block.number()), feed.wait_for(wanted)).await.unwrap();
    }
}

impl OwnChain for Chain {
    fn hash(&self, number: u64) -> Option<B256> {
        self.block(number).map(|block| block.hash())
    }

    fn block(&self, number: u64) -> Option<Arc<Block>> {
        self.blocks.lock().unwrap().get(usize::try_from(number).unwrap()).cloned()
    }
}

/// A block of L1; `mark` tells forks apart.
pub fn l1_block(number: u64, mark: u8) -> ViewBlock {
    let header = Header { number, timestamp: unix(), mix_hash: B256::repeat_byte(mark), ..Default::default() };
    ViewBlock { header: header.seal_slow(), transactions: Vec::new(), receipts: Vec::new() }
}

/// What a node knows of L1: the signer that it names, and the newest block.
#[derive(Clone)]
pub struct L1 {
    pub named: Arc<Mutex<Address>>,
    pub blocks: Arc<Mutex<BTreeMap<u64, Arc<ViewBlock>>>>,
    pub heads: Arc<watch::Sender<Option<L1Heads>>>,
    pub asked: Arc<AtomicUsize>,
}

impl L1 {
    pub fn new() -> Self {
        let named = Arc::new(Mutex::new(signer(7).address()));
        Self { named, blocks: Arc::default(), heads: Arc::new(watch::channel(None).0), asked: Arc::default() }
    }

    /// How often a block was asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// A new block, and this signer.
    pub fn moves(&self, block: ViewBlock, named: Address) {
        *self.named.lock().unwrap() = named;
        let latest = L1BlockRef::from(&block);
        self.blocks.lock().unwrap().insert(block.number(), Arc::new(block));
        self.heads.send_replace(Some(L1Heads { latest, safe: latest, finalized: latest }));
    }
}

pub struct Node {
    pub chain: Chain,
    pub l1: L1,
    pub host: BlockHost,
    pub actor: Ref<BlockGossip>,
    pub supervisor: Supervisor,
    /// Whether a sequencer makes blocks.
    pub sequencing: watch::Sender<Sequencing>,
}

/// A node that announces with a key, or that follows; L1 names the signer with the key 7.
pub async fn node(genesis: &Arc<Block>, key: Option<u8>, peers: Vec<BlockPeer>) -> Node {
    let chain = Chain::new(genesis);
    let import = chain.clone();
    let importing = Port::from_fn(move |msg: Import| {
        let outcome = import.import(&msg.block);
        async move { outcome }
    });
    let sequencing = watch::Sender::new(Sequencing { active: true, recovering: false });
    let role = match key {
        Some(key) => Role::Sequence { signer: signer(key), sequencing: sequencing.subscribe(), import: importing },
        None => Role::Follow(importing),
    };
    let l1 = L1::new();
    let (named, l1_blocks, asked_l1) = (l1.named.clone(), l1.blocks.clone(), l1.asked.clone());
    let zero = Some(0);
    let times = ForkTimes {
        regolith: zero,
        canyon: zero,
        ecotone: zero,
        fjord: zero,
        granite: zero,
        holocene: zero,
        isthmus: zero,
        jovian: None,
    };
    let settings = BlockGossipSettings {
        spec: Arc::new(ChainSpec::new(CHAIN, times, Eip1559Constants::default()).unwrap()),
        chain_id: CHAIN,
        role,
        signer: SignerSource {
            read: Port::from_fn(move |_: ReadDuskContract| {
                let address = *named.lock().unwrap();
                async move { Ok(Bytes::from([&[0x94][..], address.as_slice()].concat())) }
            }),
            question: ReadDuskContract { contract: B256::ZERO, method: String::new(), args: Bytes::new() },
            l1_heads: l1.heads.subscribe(),
        },
        l1_by_number: Port::from_fn(move |asked: ViewBlockByNumber| {
            let found = l1_blocks.lock().unwrap().get(&asked.number).cloned();
            asked_l1.fetch_add(1, Ordering::Relaxed);
            async move { found }
        }),
        heads: chain.feed(),
        chain: Arc::new(chain.clone()),
        clock: Arc::new(unix),
        tick: Duration::from_millis(50),
    };
    let listen: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap()];
    let runtime = tokio::runtime::Handle::current();
    let host =
        BlockHost::start(BlockHostSettings::new(CHAIN, listen, peers), BlockIdentity::generate(), runtime).unwrap();
    let actor: Ref<BlockGossip> = Ref::declare("block-gossip");
    let supervisor = Tree::new("root", Strategy::OneForOne)
        .intensity(Intensity { max: 100, within: Duration::from_secs(10) })
        .allow_faults(true)
        .actor(block_spec(&actor, Arc::new(settings), host.clone()))
        .start();
    supervisor.ready().await.unwrap();
    Node { chain, l1, host, actor, supervisor, sequencing }
}

impl Node {
    pub async fn address(&self) -> BlockPeer {
        let mut listening = self.host.listening();
        let endpoint = in_time("listening", listening.wait_for(|known| !known.is_empty())).await.unwrap()[0];
        self.host.identity().at(endpoint)
    }

    pub async fn order(&self, order: PeerOrder) -> Result<(), PeerRefusal> {
        self.actor.ask_within(order, PATIENCE).await.unwrap()
    }

    /// The peers, as soon as they are so.
    pub async fn sees(&self, what: &str, holds: impl Fn(&PeersView) -> bool) -> PeersView {
        in_time(what, async {
            loop {
                let view = *self.actor.ask_within(DescribePeers, PATIENCE).await.unwrap().unwrap();
                if holds(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Makes the actor fail, and waits for its next instance.
    pub async fn fault(&self, fault: Injected) {
        let before = self.supervisor.actors()[0].generation;
        self.supervisor.inject("block-gossip", fault).unwrap();
        in_time("another instance", async {
            while self.supervisor.actors()[0].generation == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.supervisor.ready().await.unwrap();
    }

    pub async fn stop(self) {
        self.supervisor.shutdown(PATIENCE).await;
        self.host.shutdown();
    }
}

/// Makes blocks until one reaches all: subscriptions travel after connections.
pub async fn until_heard(from: &Node, by: &[&Node]) {
    in_time("blocks reach the followers", async {
        loop {
            let made = from.chain.grow(1);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if by.iter().all(|node| node.chain.latest().number() + 1 >= made.number()) {
                return;
            }
        }
    })
    .await;
}

/// A sequencer, a follower that dials it, and one that dials only the first follower.
pub async fn row() -> (Arc<Block>, [Node; 3]) {
    let genesis = block(0, B256::ZERO, 0);
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let middle = node(&genesis, None, vec![sequencer.address().await]).await;
    let end = node(&genesis, None, vec![middle.address().await]).await;
    (genesis, [sequencer, middle, end])
}
