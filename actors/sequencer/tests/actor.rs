//! The sequencer against scripted neighbours.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

use alloy_consensus::{Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealable};
use alloy_eips::BlockNumHash;
use alloy_primitives::{Address, B64, B256, Bytes, Log};
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants, ForkTimes};
use duskevm_fence::Fence;
use duskevm_l1_view::ViewBlock;
use duskevm_messages::{
    consensus::DuskTip,
    executor::{Build, Built, ChainHeads, DaLimits, DaOrders, Import, Insert, Rewind},
    l1::{L1BlockRef, L1Heads},
    sequencer::{NotSequencing, ResetTo, Sequencing, SetRecovery, StartRefusal, StartSequencing, StopSequencing},
};
use duskevm_rollup::{
    BlockId, ConfigUpdate, DEPOSITOR_ACCOUNT, RollupConfig, RollupGenesis, SystemConfig, TRANSACTION_DEPOSITED,
    encode_deposit_log,
};
use duskevm_sequencer::{Clock, DaThrottle, Ports, SealJournal, Sequencer, Settings};
use duskevm_supervision::{ActorState, ChildSpec, Port, Ref, Strategy, Supervisor, Tree};
use op_alloy_consensus::TxDeposit;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(20);
const START: u64 = 1_000_000;
const PORTAL: Address = Address::repeat_byte(0x70);

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Build(B256),
    Insert(B256),
    Import(B256),
    Rewind(B256),
}

fn block(number: u64, parent_hash: B256) -> Arc<Block> {
    let header = Header {
        number,
        parent_hash,
        timestamp: START + 2 * number,
        gas_limit: 30_000_000,
        base_fee_per_gas: Some(7),
        // Holocene: version 0, denominator 250, elasticity 6.
        extra_data: vec![0, 0, 0, 0, 250, 0, 0, 0, 6].into(),
        ..Default::default()
    };
    Arc::new(Block { header: header.seal_slow(), transactions: Vec::new() })
}

fn l1_block(number: u64, parent_hash: B256, logs: Vec<Log>) -> Arc<ViewBlock> {
    let header = Header { number, parent_hash, timestamp: START + 2 * number, ..Default::default() };
    let receipt = ReceiptWithBloom::from(Receipt { status: true.into(), cumulative_gas_used: 0, logs });
    Arc::new(ViewBlock {
        header: header.seal_slow(),
        transactions: Vec::new(),
        receipts: vec![ReceiptEnvelope::Eip1559(receipt)],
    })
}

/// A chain at its genesis block, whose time is over by far, and neighbours that tell what they are asked.
struct Bed {
    folder: TempDir,
    genesis: Arc<Block>,
    l1: [Arc<ViewBlock>; 2],
    heads: watch::Sender<Option<Arc<ChainHeads>>>,
    l1_heads: watch::Sender<Option<L1Heads>>,
    l1_tip: watch::Sender<Option<DuskTip>>,
    derived: Option<watch::Sender<Option<L1BlockRef>>>,
    throttle: watch::Sender<u16>,
    da_orders: DaOrders,
    sequencing: watch::Sender<Sequencing>,
    clock: Arc<AtomicU64>,
    /// How often the pool was asked.
    pool_asked: Arc<AtomicU64>,
    tell: mpsc::UnboundedSender<Asked>,
    asked: mpsc::UnboundedReceiver<Asked>,
    tell_built: mpsc::UnboundedSender<(BlockAttributes, DaLimits)>,
    built: mpsc::UnboundedReceiver<(BlockAttributes, DaLimits)>,
}

fn heads(latest: &Arc<Block>) -> Option<Arc<ChainHeads>> {
    let zero = BlockNumHash::default();
    Some(Arc::new(ChainHeads { latest: latest.clone(), safe: zero, finalized: zero, durable: 0, replaced: None }))
}

impl Bed {
    fn new(l1_logs: Vec<Log>) -> Self {
        let genesis = block(0, B256::ZERO);
        let zero = l1_block(0, B256::ZERO, vec![]);
        let one = l1_block(1, zero.hash(), l1_logs);
        let (tell, asked) = mpsc::unbounded_channel();
        let (tell_built, built) = mpsc::unbounded_channel();
        Self {
            folder: TempDir::new().unwrap(),
            heads: watch::Sender::new(heads(&genesis)),
            genesis,
            l1: [zero, one],
            l1_heads: watch::Sender::new(None),
            l1_tip: watch::Sender::new(None),
            derived: None,
            throttle: watch::Sender::new(0),
            da_orders: DaOrders::default(),
            sequencing: watch::Sender::new(Sequencing { active: true, recovering: false }),
            clock: Arc::new(AtomicU64::new(START + 1_000)),
            pool_asked: Arc::default(),
            tell,
            asked,
            tell_built,
            built,
        }
    }

    fn journal(&self) -> SealJournal {
        SealJournal::open(self.folder.path(), &Fence::unfenced()).unwrap()
    }

    fn settings(&self) -> Settings {
        let forks = ForkTimes::isthmus_at_genesis();
        let constants = Eip1559Constants { elasticity: 6, denominator: 50, canyon_denominator: 250 };
        let rollup = RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId { hash: self.l1[0].hash(), number: 0 },
                l2: BlockId { hash: self.genesis.hash(), number: 0 },
                l2_time: START,
                system_config: SystemConfig {
                    gas_limit: 30_000_000,
                    eip1559_params: B64::from([0, 0, 0, 250, 0, 0, 0, 6]),
                    ..Default::default()
                },
            },
            block_time: 2,
            max_sequencer_drift: 1800,
            seq_window_size: 3600,
            l1_chain_id: 3,
            l2_chain_id: 31310,
            forks,
            delta_time: Some(0),
            batch_inbox_address: Address::repeat_byte(0x71),
            deposit_contract_address: PORTAL,
            l1_system_config_address: Address::repeat_byte(0x72),
            eip1559: (6, 50, 250),
        };
        let clock = self.clock.clone();
        Settings {
            rollup: Arc::new(rollup),
            spec: Arc::new(ChainSpec::new(31310, forks, constants).unwrap()),
            journal: self.folder.path().to_owned(),
            time_budget: Duration::from_millis(100),
            max_transactions: 10,
            confirmations: 0,
            max_safe_lag: 0,
            throttle: DaThrottle { transaction_from: 900, transaction_full: 100, block_from: 9_000, block_full: 1_000 },
            clock: Clock::new(move || Duration::from_secs(clock.load(Ordering::SeqCst))),
        }
    }

    fn ports(&self) -> Ports {
        let (on_build, on_insert, on_import, on_rewind) =
            (self.tell.clone(), self.tell.clone(), self.tell.clone(), self.tell.clone());
        let built = self.tell_built.clone();
        let (rewound, genesis) = (self.heads.clone(), self.genesis.clone());
        let by_hash = self.l1.clone();
        let by_number = self.l1.clone();
        let on_best = self.pool_asked.clone();
        Ports {
            build: Port::from_fn(move |build: Build| {
                let _ = built.send((build.attributes.clone(), build.da));
                let _ = on_build.send(Asked::Build(build.parent));
                let mut header = block(1, build.parent).header.inner().clone();
                header.timestamp = build.attributes.timestamp;
                header.mix_hash = B256::repeat_byte(0xbb);
                let block = Arc::new(Block { header: header.seal_slow(), transactions: Vec::new() });
                async move { Ok(Built { block, invalid: Vec::new(), execution: Duration::ZERO }) }
            }),
            insert: Port::from_fn(move |insert: Insert| {
                let _ = on_insert.send(Asked::Insert(insert.hash));
                async move { Ok(()) }
            }),
            import: Port::from_fn(move |import: Import| {
                let _ = on_import.send(Asked::Import(import.block.hash()));
                async move { Ok(()) }
            }),
            rewind: Port::from_fn(move |rewind: Rewind| {
                let _ = on_rewind.send(Asked::Rewind(rewind.to));
                if rewind.to == genesis.hash() {
                    rewound.send_replace(heads(&genesis));
                }
                async move { Ok(()) }
            }),
            best: Port::from_fn(move |_| {
                on_best.fetch_add(1, Ordering::SeqCst);
                async { Arc::from([]) }
            }),
            invalid: Port::from_fn(|_| async {}),
            l1_by_hash: Port::from_fn(move |ask: duskevm_messages::l1::ViewBlockByHash| {
                let found = by_hash.iter().find(|block| block.hash() == ask.hash).cloned();
                async move { found }
            }),
            l1_by_number: Port::from_fn(move |ask: duskevm_messages::l1::ViewBlockByNumber| {
                let found = by_number.iter().find(|block| block.number() == ask.number).cloned();
                async move { found }
            }),
            heads: self.heads.subscribe(),
            l1_heads: self.l1_heads.subscribe(),
            l1_tip: self.l1_tip.subscribe(),
            derived: self.derived.as_ref().map(watch::Sender::subscribe),
            throttle: self.throttle.subscribe(),
            da_orders: self.da_orders.clone(),
            sequencing: self.sequencing.clone(),
        }
    }

    fn start(&self) -> (Ref<Sequencer>, Supervisor) {
        self.start_with(self.settings())
    }

    fn start_with(&self, settings: Settings) -> (Ref<Sequencer>, Supervisor) {
        let actor = Ref::declare("sequencer");
        let (settings, ports) = (Arc::new(settings), self.ports());
        let supervisor = Tree::new("root", Strategy::OneForOne)
            .actor(ChildSpec::new(&actor, move |start| Sequencer::open(settings.clone(), ports.clone(), &start.fence)))
            .start();
        (actor, supervisor)
    }

    async fn next(&mut self) -> Asked {
        tokio::time::timeout(PATIENCE, self.asked.recv()).await.expect("the sequencer stands still").unwrap()
    }
}

async fn until(supervisor: &Supervisor, what: &str, holds: impl Fn(&duskevm_supervision::ActorStatus) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !supervisor.actors().iter().any(&holds) {
        assert!(Instant::now() < deadline, "never {what}: {:?}", supervisor.actors());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_is_noticed_at_once() {
    let mut bed = Bed::new(vec![]);
    // The clock is an hour behind the chain.
    bed.clock.store(START - 3600, Ordering::SeqCst);
    let (_, supervisor) = bed.start();
    until(&supervisor, "waiting", |actor| {
        actor.lease.waiting_for.as_ref().is_some_and(|(what, _)| what == "the time of block 1")
    })
    .await;
    bed.clock.store(START + 2, Ordering::SeqCst);
    assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_transactions_stay_out_of_blocks_that_may_not_reach_l1_in_time() {
    // The origin is block 0, the window 3600 blocks, of which 20 are left to the batcher. The view is far behind.
    for (height, asked) in [(3579, 1), (3580, 0)] {
        let mut bed = Bed::new(vec![]);
        bed.l1_tip.send_replace(Some(DuskTip { height, hash: B256::ZERO, timestamp: START, final_height: 0 }));
        let (_, supervisor) = bed.start();
        assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
        assert_eq!(bed.pool_asked.load(Ordering::SeqCst), asked, "at L1 block {height}");
        supervisor.shutdown(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_moves_no_head_is_not_repeated_without_a_pause() {
    let mut bed = Bed::new(vec![]);
    let one = block(1, bed.genesis.hash());
    bed.journal().seal(&one, &Fence::unfenced()).unwrap();
    let started = Instant::now();
    let (_, supervisor) = bed.start();
    for _ in 0..6 {
        assert_eq!(bed.next().await, Asked::Import(one.hash()));
    }
    // Five pauses of 5, 10, 20, 40 and 80 ms.
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_not_undone_from_the_journal() {
    let mut bed = Bed::new(vec![]);
    let one = block(1, bed.genesis.hash());
    let two = block(2, one.hash());
    for block in [&one, &two] {
        bed.journal().seal(block, &Fence::unfenced()).unwrap();
    }
    bed.heads.send_replace(heads(&two));
    // It waits for the time of block 3.
    bed.clock.store(START, Ordering::SeqCst);
    let (actor, supervisor) = bed.start();
    supervisor.ready().await.unwrap();
    let reset = ResetTo { number: 0, hash: bed.genesis.hash() };
    actor.ask_retry(reset, PATIENCE).await.unwrap().unwrap();
    bed.clock.store(START + 2, Ordering::SeqCst);
    assert_eq!(bed.next().await, Asked::Rewind(bed.genesis.hash()));
    assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()), "another block at an announced height");
    let Asked::Insert(other) = bed.next().await else { panic!("the new block is announced") };
    assert_ne!(other, one.hash());
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_conflict_it_goes_on_when_the_head_is_back() {
    let mut bed = Bed::new(vec![]);
    let four = block(4, B256::repeat_byte(3));
    let five = block(5, four.hash());
    bed.journal().seal(&five, &Fence::unfenced()).unwrap();
    let (_, supervisor) = bed.start();
    until(
        &supervisor,
        "degraded",
        |actor| matches!(&actor.state, ActorState::Degraded { why } if why.contains("block 5")),
    )
    .await;
    // Others bring the blocks in between.
    bed.heads.send_replace(heads(&four));
    assert_eq!(bed.next().await, Asked::Import(five.hash()), "and nothing was built");
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_a_conflict() {
    let mut bed = Bed::new(vec![]);
    bed.journal().seal(&block(5, B256::repeat_byte(4)), &Fence::unfenced()).unwrap();
    let (actor, supervisor) = bed.start();
    until(&supervisor, "degraded", |actor| matches!(&actor.state, ActorState::Degraded { .. })).await;
    actor.ask_retry(ResetTo { number: 0, hash: bed.genesis.hash() }, PATIENCE).await.unwrap().unwrap();
    assert_eq!(bed.next().await, Asked::Rewind(bed.genesis.hash()));
    assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
    supervisor.shutdown(PATIENCE).await;
}

/// The sequencer at the first block of L1 block 1, whose receipt has this log.
fn at_an_origin_with(log: Log) -> Bed {
    let bed = Bed::new(vec![log]);
    let tip = L1BlockRef::from(&*bed.l1[1]);
    bed.l1_heads.send_replace(Some(L1Heads { latest: tip, safe: tip, finalized: tip }));
    bed
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_and_config_updates_of_the_origin_are_carried_over() {
    let deposit = TxDeposit { from: Address::repeat_byte(5), gas_limit: 21_000, ..Default::default() };
    let mut bed = at_an_origin_with(encode_deposit_log(PORTAL, &deposit));
    let (_, supervisor) = bed.start();
    let Asked::Build(parent) = bed.next().await else { panic!("it builds first") };
    assert_eq!(parent, bed.genesis.hash());
    let (attributes, _) = bed.built.try_recv().unwrap();
    let senders: Vec<_> = attributes.transactions.iter().map(|tx| tx.sender()).collect();
    assert_eq!(senders, [DEPOSITOR_ACCOUNT, deposit.from]);
    supervisor.shutdown(PATIENCE).await;

    let update = ConfigUpdate::GasLimit(20_000_000).encode(Address::repeat_byte(0x72));
    let mut bed = at_an_origin_with(update);
    let (_, supervisor) = bed.start();
    bed.next().await;
    assert_eq!(bed.built.try_recv().unwrap().0.gas_limit, 20_000_000);
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_with_a_malformed_deposit_is_not_passed_over() {
    let mut bed = at_an_origin_with(Log::new_unchecked(PORTAL, vec![TRANSACTION_DEPOSITED], Bytes::new()));
    let (_, supervisor) = bed.start();
    until(&supervisor, "stopped at the deposit", |actor| {
        actor.lease.waiting_for.as_ref().is_some_and(|(what, _)| what.contains("is no valid deposit"))
    })
    .await;
    assert!(bed.asked.try_recv().is_err(), "nothing is built");
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_have_as_much_data_as_the_batcher_can_post() {
    let bounds = |transaction, block| DaLimits { transaction: Some(transaction), block: Some(block) };
    for (permille, expected) in [(0, DaLimits::default()), (500, bounds(500, 5_000)), (1000, bounds(100, 1_000))] {
        let mut bed = Bed::new(vec![]);
        bed.throttle.send_replace(permille);
        let (_, supervisor) = bed.start();
        assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
        assert_eq!(bed.built.try_recv().unwrap().1, expected);
        supervisor.shutdown(PATIENCE).await;
    }

    // Of the own batcher and another one the narrower bound of each kind.
    let mut bed = Bed::new(vec![]);
    bed.throttle.send_replace(1000);
    bed.da_orders.set(bounds(90, 2_000));
    let (_, supervisor) = bed.start();
    assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
    assert_eq!(bed.built.try_recv().unwrap().1, bounds(90, 1_000));
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_for_long_gets_what_l1_has_first() {
    let mut bed = Bed::new(vec![]);
    let derived = watch::Sender::new(None);
    bed.derived = Some(derived.clone());
    let (_, supervisor) = bed.start();
    let held = |actor: &duskevm_supervision::ActorStatus| {
        actor.lease.waiting_for.as_ref().is_some_and(|(what, _)| what.contains("what L1 has of the chain"))
    };
    until(&supervisor, "held", held).await;
    // L1 is being fetched: its blocks are old too, however far they are derived.
    let at = |number, timestamp| L1BlockRef { number, timestamp, ..L1BlockRef::from(&*bed.l1[1]) };
    let tip = |block| Some(L1Heads { latest: block, safe: block, finalized: block });
    bed.l1_heads.send_replace(tip(at(9, START + 10)));
    derived.send_replace(Some(at(9, START + 10)));
    until(&supervisor, "still held", held).await;
    // L1 is there, and not yet read.
    bed.l1_heads.send_replace(tip(at(50, START + 995)));
    until(&supervisor, "still held", held).await;
    assert!(bed.asked.try_recv().is_err(), "nothing is built");
    derived.send_replace(Some(at(50, START + 995)));
    assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_block_is_made_while_the_safe_head_is_too_far_behind() {
    let mut bed = Bed::new(vec![]);
    let four = block(4, B256::repeat_byte(3));
    let at_safe = |number| {
        let mut heads = (*heads(&four).unwrap()).clone();
        heads.safe = BlockNumHash { number, hash: B256::ZERO };
        Some(Arc::new(heads))
    };
    bed.heads.send_replace(at_safe(1));
    let (_, supervisor) = bed.start_with(Settings { max_safe_lag: 3, ..bed.settings() });
    until(&supervisor, "held", |actor| {
        actor.lease.waiting_for.as_ref().is_some_and(|(what, _)| what.contains("3 blocks behind"))
            && matches!(actor.state, ActorState::Degraded { .. })
    })
    .await;
    assert!(bed.asked.try_recv().is_err(), "nothing is built");
    // As soon as the safe head follows it goes on.
    bed.clock.store(START, Ordering::SeqCst);
    bed.heads.send_replace(at_safe(2));
    until(&supervisor, "on its way to the next block", |actor| {
        actor.lease.waiting_for.as_ref().is_some_and(|(what, _)| what == "the time of block 5")
    })
    .await;
    supervisor.shutdown(PATIENCE).await;
}

/// What the scripted executor built from these attributes.
fn built_from(attributes: &BlockAttributes, parent: B256) -> Arc<Block> {
    let mut header = block(1, parent).header.inner().clone();
    header.timestamp = attributes.timestamp;
    header.mix_hash = B256::repeat_byte(0xbb);
    Arc::new(Block { header: header.seal_slow(), transactions: Vec::new() })
}

async fn until_stopped(supervisor: &Supervisor) {
    until(supervisor, "stopped", |actor| {
        actor.lease.waiting_for.as_ref().is_some_and(|(what, _)| what.contains("it is stopped"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_block_under_way_and_names_the_head() {
    let mut bed = Bed::new(vec![]);
    let (actor, supervisor) = bed.start();
    assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
    let one = built_from(&bed.built.recv().await.unwrap().0, bed.genesis.hash());
    assert_eq!(bed.next().await, Asked::Insert(one.hash()));
    // It is sealed and not in the chain yet: nobody may go on below it.
    let stop = tokio::spawn({
        let actor = actor.clone();
        async move { actor.ask_within(StopSequencing, PATIENCE).await.unwrap() }
    });
    for _ in 0..3 {
        assert_eq!(bed.next().await, Asked::Import(one.hash()));
    }
    assert!(!stop.is_finished());
    // A conductor takes "not running" and "already running" for success: neither is true yet.
    let mut again = Box::pin(actor.ask_within(StopSequencing, PATIENCE));
    tokio::select! {
        biased;
        answer = &mut again => panic!("{answer:?}"),
        () = std::future::ready(()) => {}
    }
    let start = actor.ask_within(StartSequencing { head: one.hash() }, PATIENCE).await.unwrap();
    assert_eq!(start, Err(StartRefusal::Stopping));
    assert_eq!(bed.next().await, Asked::Import(one.hash()));
    bed.heads.send_replace(heads(&one));
    assert_eq!(stop.await.unwrap(), Ok(one.hash()));
    assert_eq!(again.await.unwrap(), Ok(one.hash()));
    assert!(!bed.sequencing.borrow().active);
    until_stopped(&supervisor).await;
    while let Ok(asked) = bed.asked.try_recv() {
        assert_eq!(asked, Asked::Import(one.hash()), "no other block is made");
    }
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sequencer_starts_on_its_head_only_and_once() {
    let mut bed = Bed::new(vec![]);
    bed.sequencing.send_modify(|sequencing| sequencing.active = false);
    let (actor, supervisor) = bed.start();
    until_stopped(&supervisor).await;
    assert_eq!(actor.ask_within(StopSequencing, PATIENCE).await.unwrap(), Err(NotSequencing));
    let (head, received) = (bed.genesis.hash(), B256::repeat_byte(9));
    let refused = actor.ask_within(StartSequencing { head: received }, PATIENCE).await.unwrap();
    assert_eq!(refused, Err(StartRefusal::OtherHead { head, number: 0, received }));
    assert!(bed.asked.try_recv().is_err(), "nothing is built");
    actor.ask_within(StartSequencing { head }, PATIENCE).await.unwrap().unwrap();
    assert_eq!(bed.next().await, Asked::Build(head));
    let again = actor.ask_within(StartSequencing { head }, PATIENCE).await.unwrap();
    assert_eq!(again, Err(StartRefusal::Running));
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_holds_for_the_next_instance() {
    let mut bed = Bed::new(vec![]);
    // It waits for the time of block 1, and need not wait that long to be stopped.
    bed.clock.store(START, Ordering::SeqCst);
    let (actor, supervisor) = bed.start();
    supervisor.ready().await.unwrap();
    assert_eq!(actor.ask_within(StopSequencing, PATIENCE).await.unwrap(), Ok(bed.genesis.hash()));
    supervisor.shutdown(PATIENCE).await;
    bed.clock.store(START + 1_000, Ordering::SeqCst);
    let (_, supervisor) = bed.start();
    until_stopped(&supervisor).await;
    assert!(bed.asked.try_recv().is_err(), "nothing is built");
    supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_a_recovery_are_without_users_transactions() {
    for (recovering, asked) in [(true, 0), (false, 1)] {
        let mut bed = Bed::new(vec![]);
        bed.sequencing.send_modify(|sequencing| sequencing.active = false);
        let (actor, supervisor) = bed.start();
        actor.ask_retry(SetRecovery { on: recovering }, PATIENCE).await.unwrap();
        actor.ask_within(StartSequencing { head: bed.genesis.hash() }, PATIENCE).await.unwrap().unwrap();
        assert_eq!(bed.next().await, Asked::Build(bed.genesis.hash()));
        assert_eq!(bed.pool_asked.load(Ordering::SeqCst), asked);
        supervisor.shutdown(PATIENCE).await;
    }
}
