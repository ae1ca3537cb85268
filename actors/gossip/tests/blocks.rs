//! Hosts that gossip blocks over loopback: what one makes the others import, gaps are closed by asking, strangers' blocks and garbage
//! change nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_consensus::{Header, Sealable as _};
use alloy_eips::BlockNumHash;
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use duskevm_evm::{Block, ChainSpec, Eip1559Constants, ForkTimes, RecoveredTx};
use duskevm_gossip::{
    BlockGossip, BlockGossipSettings, BlockHost, BlockHostSettings, BlockIdentity, BlockPeer, OwnChain, Role,
    SignerSource, block_spec,
};
use duskevm_l1_view::ViewBlock;
use duskevm_messages::consensus::ReadDuskContract;
use duskevm_messages::executor::{ChainHeads, ExecutorRefusal, HeadsFeed, Import};
use duskevm_messages::l1::{L1BlockRef, L1Heads, ViewBlockByNumber};
use duskevm_rollup::{L1Info, L1InfoFork, SystemConfig};
use duskevm_supervision::{Fault as Injected, Intensity, Port, Ref, Strategy, Supervisor, Tree};
use duskevm_unsafe_gossip::{Payload, PayloadVersion, UnsafeSigner, message_id, topic};
use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, Transport as _, noise, tcp, yamux};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);
const CHAIN: u64 = 745;
/// A block with this mark breaks the rules of the chain.
const BAD: u8 = 0xbd;

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signer(byte: u8) -> UnsafeSigner {
    UnsafeSigner::new(&B256::repeat_byte(byte)).unwrap()
}

/// An Isthmus block without transactions; `mark` tells forks apart.
fn block(number: u64, parent: B256, mark: u8) -> Arc<Block> {
    block_of(None, number, parent, mark)
}

/// The same with the attributes of an L1 block.
fn block_of(origin: Option<&ViewBlock>, number: u64, parent: B256, mark: u8) -> Arc<Block> {
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
struct Chain {
    blocks: Arc<Mutex<Vec<Arc<Block>>>>,
    heads: Arc<watch::Sender<Option<Arc<ChainHeads>>>>,
}

impl Chain {
    fn new(genesis: &Arc<Block>) -> Self {
        let chain =
            Self { blocks: Arc::new(Mutex::new(vec![genesis.clone()])), heads: Arc::new(watch::channel(None).0) };
        chain.announce();
        chain
    }

    fn announce(&self) {
        let blocks = self.blocks.lock().unwrap();
        let id = |block: &Arc<Block>| BlockNumHash { number: block.number(), hash: block.hash() };
        let (first, latest) = (id(&blocks[0]), blocks.last().unwrap().clone());
        let durable = latest.number();
        let heads = ChainHeads { latest, safe: first, finalized: first, durable, replaced: None };
        drop(blocks);
        self.heads.send_replace(Some(Arc::new(heads)));
    }

    /// As the executor does it.
    fn import(&self, block: &Arc<Block>) -> Result<(), ExecutorRefusal> {
        if block.header.state_root == B256::repeat_byte(BAD) {
            return Err(ExecutorRefusal::Invalid("a bad root".into()));
        }
        {
            let mut blocks = self.blocks.lock().unwrap();
            let parent = usize::try_from(block.number()).unwrap() - 1;
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
    fn grow(&self, count: u64) -> Arc<Block> {
        for _ in 0..count {
            let parent = self.latest();
            self.import(&block(parent.number() + 1, parent.hash(), 1)).unwrap();
        }
        self.latest()
    }

    fn latest(&self) -> Arc<Block> {
        self.blocks.lock().unwrap().last().unwrap().clone()
    }

    fn feed(&self) -> HeadsFeed {
        self.heads.subscribe()
    }

    async fn reaches(&self, block: &Arc<Block>) {
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
fn l1_block(number: u64, mark: u8) -> ViewBlock {
    let header = Header { number, timestamp: unix(), mix_hash: B256::repeat_byte(mark), ..Default::default() };
    ViewBlock { header: header.seal_slow(), transactions: Vec::new(), receipts: Vec::new() }
}

/// What a node knows of L1: the signer that it names, and the newest block.
#[derive(Clone)]
struct L1 {
    named: Arc<Mutex<Address>>,
    blocks: Arc<Mutex<BTreeMap<u64, Arc<ViewBlock>>>>,
    heads: Arc<watch::Sender<Option<L1Heads>>>,
    asked: Arc<AtomicUsize>,
}

impl L1 {
    fn new() -> Self {
        let named = Arc::new(Mutex::new(signer(7).address()));
        Self { named, blocks: Arc::default(), heads: Arc::new(watch::channel(None).0), asked: Arc::default() }
    }

    /// How often a block was asked for.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// A new block, and this signer.
    fn moves(&self, block: ViewBlock, named: Address) {
        *self.named.lock().unwrap() = named;
        let latest = L1BlockRef::from(&block);
        self.blocks.lock().unwrap().insert(block.number(), Arc::new(block));
        self.heads.send_replace(Some(L1Heads { latest, safe: latest, finalized: latest }));
    }
}

struct Node {
    chain: Chain,
    l1: L1,
    host: BlockHost,
    supervisor: Supervisor,
}

/// A node that announces with a key, or that follows; L1 names the signer with the key 7.
async fn node(genesis: &Arc<Block>, key: Option<u8>, peers: Vec<BlockPeer>) -> Node {
    let chain = Chain::new(genesis);
    let import = chain.clone();
    let importing = Port::from_fn(move |msg: Import| {
        let outcome = import.import(&msg.block);
        async move { outcome }
    });
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
        role: key.map_or(Role::Follow(importing), |key| Role::Announce(signer(key))),
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
    Node { chain, l1, host, supervisor }
}

impl Node {
    async fn address(&self) -> BlockPeer {
        let mut listening = self.host.listening();
        let endpoint = in_time("listening", listening.wait_for(|known| !known.is_empty())).await.unwrap()[0];
        self.host.identity().at(endpoint)
    }

    /// Makes the actor fail, and waits for its next instance.
    async fn fault(&self, fault: Injected) {
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

    async fn stop(self) {
        self.supervisor.shutdown(PATIENCE).await;
        self.host.shutdown();
    }
}

/// Makes blocks until one reaches all: subscriptions travel after connections.
async fn until_heard(from: &Node, by: &[&Node]) {
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
async fn row() -> (Arc<Block>, [Node; 3]) {
    let genesis = block(0, B256::ZERO, 0);
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let middle = node(&genesis, None, vec![sequencer.address().await]).await;
    let end = node(&genesis, None, vec![middle.address().await]).await;
    (genesis, [sequencer, middle, end])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_travel_from_node_to_node() {
    let (_, [sequencer, middle, end]) = row().await;
    until_heard(&sequencer, &[&middle, &end]).await;
    let made = sequencer.chain.grow(1);
    middle.chain.reaches(&made).await;
    end.chain.reaches(&made).await;
    // Several at once: the feed shows only the last one.
    let made = sequencer.chain.grow(9);
    end.chain.reaches(&made).await;
    for node in [sequencer, middle, end] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_asks_for_what_it_missed() {
    let (genesis, [sequencer, middle, end]) = row().await;
    until_heard(&sequencer, &[&middle, &end]).await;
    sequencer.chain.grow(60);
    let late = node(&genesis, None, vec![sequencer.address().await, end.address().await]).await;
    // It hears of the chain with the next block that reaches it.
    until_heard(&sequencer, &[&middle, &end, &late]).await;
    let made = sequencer.chain.grow(1);
    late.chain.reaches(&made).await;
    assert_eq!(*late.chain.blocks.lock().unwrap(), *sequencer.chain.blocks.lock().unwrap());
    for node in [sequencer, middle, end, late] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_come_and_go_and_blocks_go_on() {
    let (_, [sequencer, middle, end]) = row().await;
    until_heard(&sequencer, &[&middle, &end]).await;
    for fault in [Injected::Stop, Injected::Panic] {
        for node in [&sequencer, &middle] {
            node.fault(fault).await;
            let made = sequencer.chain.grow(3);
            end.chain.reaches(&made).await;
        }
    }
    for node in [sequencer, middle, end] {
        node.stop().await;
    }
}

/// A bare libp2p node with an ed25519 key and go-libp2p-like settings, written with nothing of ours but names and ids.
fn stranger() -> Swarm<gossipsub::Behaviour> {
    let keys = libp2p::identity::Keypair::generate_ed25519();
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .max_transmit_size(10 << 20)
        .message_id_fn(|message| gossipsub::MessageId::new(&message_id(message.topic.as_str(), &message.data)))
        .heartbeat_initial_delay(Duration::from_millis(50))
        .flood_publish(true)
        .build()
        .unwrap();
    let mut mesh: gossipsub::Behaviour = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    for version in PayloadVersion::ALL {
        mesh.subscribe(&IdentTopic::new(topic(CHAIN, version))).unwrap();
    }
    let transport = tcp::tokio::Transport::default()
        .upgrade(libp2p::core::upgrade::Version::V1)
        .authenticate(noise::Config::new(&keys).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
    Swarm::new(transport, mesh, keys.public().to_peer_id(), config)
}

/// Goes on until the node is known to read all topics.
async fn join(swarm: &mut Swarm<gossipsub::Behaviour>, address: &BlockPeer) {
    swarm.dial(address.to_string().parse::<Multiaddr>().unwrap()).unwrap();
    in_time("the node subscribes", async {
        while !swarm.behaviour().all_peers().any(|(_, topics)| topics.len() == PayloadVersion::ALL.len()) {
            swarm.select_next_some().await;
        }
    })
    .await;
}

fn publish(swarm: &mut Swarm<gossipsub::Behaviour>, version: PayloadVersion, message: Vec<u8>) {
    swarm.behaviour_mut().publish(IdentTopic::new(topic(CHAIN, version)), message).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_another_implementation_and_key_is_heard_and_hears() {
    let genesis = block(0, B256::ZERO, 0);
    let follower = node(&genesis, None, Vec::new()).await;
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let mut other = stranger();
    join(&mut other, &follower.address().await).await;
    let made = block(1, genesis.hash(), 1);
    publish(&mut other, PayloadVersion::V4, signer(7).message(CHAIN, &Payload::from_block(&made)).unwrap());
    let feed = follower.chain.clone();
    tokio::select! {
        () = feed.reaches(&made) => {}
        () = async { loop { other.select_next_some().await; } } => {}
    }
    let mut other = stranger();
    join(&mut other, &sequencer.address().await).await;
    let chain = sequencer.chain.clone();
    let growing = tokio::spawn(async move {
        loop {
            chain.grow(1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let heard = in_time("a message", async {
        loop {
            if let SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) = other.select_next_some().await {
                return message;
            }
        }
    })
    .await;
    growing.abort();
    assert_eq!(heard.topic, IdentTopic::new(topic(CHAIN, PayloadVersion::V4)).hash());
    let (signature, body) = duskevm_unsafe_gossip::message::open(&heard.data).unwrap();
    let recovered = duskevm_unsafe_gossip::message::recover(CHAIN, &signature, &body).unwrap();
    assert_eq!(recovered, signer(7).address());
    follower.stop().await;
    sequencer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_signer_and_garbage_change_nothing_and_cost_the_connection() {
    let genesis = block(0, B256::ZERO, 0);
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let follower = node(&genesis, None, vec![sequencer.address().await]).await;
    until_heard(&sequencer, &[&follower]).await;
    let mut evil = stranger();
    join(&mut evil, &follower.address().await).await;
    let head = follower.chain.latest();
    let forged = block(head.number() + 1, head.hash(), 9);
    publish(&mut evil, PayloadVersion::V4, signer(8).message(CHAIN, &Payload::from_block(&forged)).unwrap());
    // A promise of 4 GiB; no snappy at all; snappy of nothing.
    publish(&mut evil, PayloadVersion::V4, vec![0xff, 0xff, 0xff, 0xff, 0x0f]);
    for n in 0..20u8 {
        publish(&mut evil, PayloadVersion::V4, vec![0xff, n]);
    }
    in_time("the stranger is parted from", async {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = evil.select_next_some().await {
                return;
            }
        }
    })
    .await;
    let made = sequencer.chain.grow(2);
    follower.chain.reaches(&made).await;
    assert!(follower.chain.blocks.lock().unwrap().iter().all(|block| *block != forged));
    // It may not come back.
    evil.dial(follower.address().await.to_string().parse::<Multiaddr>().unwrap()).unwrap();
    in_time("the stranger is refused", async {
        loop {
            match evil.select_next_some().await {
                SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => return,
                _ => {}
            }
        }
    })
    .await;
    sequencer.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_block_that_is_invalid_is_left_out() {
    let genesis = block(0, B256::ZERO, 0);
    let follower = node(&genesis, None, Vec::new()).await;
    let mut other = stranger();
    join(&mut other, &follower.address().await).await;
    let (bad, good) = (block(1, genesis.hash(), BAD), block(1, genesis.hash(), 1));
    for made in [&bad, &good, &block(2, good.hash(), 1)] {
        publish(&mut other, PayloadVersion::V4, signer(7).message(CHAIN, &Payload::from_block(made)).unwrap());
    }
    let feed = follower.chain.clone();
    tokio::select! {
        () = async {
            let mut heads = feed.feed();
            let reached = heads.wait_for(|heads| heads.as_ref().is_some_and(|heads| heads.latest.number() == 2));
            in_time("the good blocks", reached).await.unwrap();
        } => {}
        () = async { loop { other.select_next_some().await; } } => {}
    }
    assert_eq!(follower.chain.block(1), Some(good));
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequencer_whose_key_l1_does_not_name_announces_nothing() {
    let genesis = block(0, B256::ZERO, 0);
    let former = node(&genesis, Some(8), Vec::new()).await;
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let follower = node(&genesis, None, vec![former.address().await, sequencer.address().await]).await;
    until_heard(&sequencer, &[&follower]).await;
    former.chain.grow(3);
    let made = sequencer.chain.grow(1);
    follower.chain.reaches(&made).await;
    let report = former.supervisor.actors()[0].clone();
    assert!(format!("{report:?}").contains("keys.unsafe_signer"), "{report:?}");
    for node in [former, sequencer, follower] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_whose_origin_l1_has_replaced_waits_until_it_is_there_again() {
    let genesis = block(0, B256::ZERO, 0);
    let follower = node(&genesis, None, Vec::new()).await;
    let (old, new) = (l1_block(5, 1), l1_block(5, 2));
    follower.l1.moves(new, signer(7).address());
    let mut other = stranger();
    join(&mut other, &follower.address().await).await;
    let early = block(1, genesis.hash(), 1);
    let late = block_of(Some(&old), 2, early.hash(), 1);
    for made in [&late, &early] {
        publish(&mut other, PayloadVersion::V4, signer(7).message(CHAIN, &Payload::from_block(made)).unwrap());
    }
    let feed = follower.chain.clone();
    tokio::select! {
        () = async {
            // What stands below is imported, and then this one is looked at.
            feed.reaches(&early).await;
            in_time("the block to be put off", async {
                while follower.l1.asked() == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            assert_eq!(feed.latest(), early);
            follower.l1.moves(old, signer(7).address());
            feed.reaches(&late).await;
        } => {}
        () = async { loop { other.select_next_some().await; } } => {}
    }
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chosen_peer_is_not_banned_while_the_own_l1_or_its_signer_is_old() {
    let genesis = block(0, B256::ZERO, 0);
    let sequencer = node(&genesis, Some(8), Vec::new()).await;
    sequencer.l1.moves(l1_block(1, 1), signer(8).address());
    let follower = node(&genesis, None, vec![sequencer.address().await]).await;
    // It has read L1 up to where the signer was another one, as long ago as it was.
    let long_ago = Header { number: 1, timestamp: 1, ..Default::default() };
    let behind = ViewBlock { header: long_ago.seal_slow(), transactions: Vec::new(), receipts: Vec::new() };
    follower.l1.moves(behind, signer(7).address());
    for (fresh, hint) in [(None, "catches up"), (Some(2), "of this network")] {
        if let Some(number) = fresh {
            follower.l1.moves(l1_block(number, 1), signer(7).address());
        }
        // More blocks than it takes to be banned, and until it is told what is wrong.
        let mut made = 0;
        in_time(hint, async {
            while made < 30 || !format!("{:?}", follower.supervisor.actors()[0]).contains(hint) {
                sequencer.chain.grow(1);
                made += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    assert_eq!(follower.chain.latest().number(), 0);
    // L1 has caught up.
    follower.l1.moves(l1_block(3, 1), signer(8).address());
    until_heard(&sequencer, &[&follower]).await;
    for node in [sequencer, follower] {
        node.stop().await;
    }
}
