//! The actor against a scripted backend and a real database.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{B256, keccak256};
use duskevm_dusk_l1::Header;
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_l1::{Backend, BackendError, BackendTip, Embedded, Follow, L1, Wiring, spec};
use duskevm_l1_view::{DuskBlock, DuskEvent, DuskTx, LOG_TOPIC, ViewBlock, ViewConfig, encode_log, project};
use duskevm_messages::consensus::{DuskBlockByHeight, DuskTip};
use duskevm_messages::l1::*;
use duskevm_store::Identity;
use duskevm_store::l1::L1Store;
use duskevm_supervision::{ActorState, AskError, ExitReason, Fault, Intensity, Port, Ref, Strategy, Supervisor, Tree};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(20);
const PORTAL: B256 = B256::repeat_byte(0x70);

fn config() -> ViewConfig {
    ViewConfig { chain_id: 99, emitters: [PORTAL].into(), inbox: None }
}

/// Block `height` of the chain `fork`; forks share what is below the height where they begin.
fn block(height: u64, fork: impl Fn(u64) -> u8) -> DuskBlock {
    let hash = |height: u64| keccak256([&height.to_be_bytes()[..], &[fork(height)]].concat());
    let log = encode_log(&[B256::with_last_byte(1)], &height.to_be_bytes());
    let event = DuskEvent { contract: PORTAL, topic: LOG_TOPIC.into(), data: log.into() };
    DuskBlock {
        height,
        timestamp: 1_000 + height,
        hash: hash(height),
        prev_hash: height.checked_sub(1).map_or(B256::ZERO, hash),
        seed: [height as u8; 48],
        txs: vec![DuskTx { id: keccak256(height.to_be_bytes()), index: 0, events: vec![event] }],
    }
}

fn chain(length: u64, fork: impl Fn(u64) -> u8) -> Vec<DuskBlock> {
    (0..length).map(|height| block(height, &fork)).collect()
}

/// A backend that does as the test says.
struct Script {
    blocks: Mutex<Vec<DuskBlock>>,
    tip: watch::Sender<Option<BackendTip>>,
    asked: Mutex<Vec<u64>>,
    broken: AtomicBool,
}

impl Script {
    fn new(blocks: Vec<DuskBlock>) -> Arc<Self> {
        let script = Self {
            blocks: Mutex::new(vec![]),
            tip: watch::Sender::new(None),
            asked: Mutex::new(vec![]),
            broken: AtomicBool::new(false),
        };
        if !blocks.is_empty() {
            script.set(blocks);
        }
        Arc::new(script)
    }

    fn set(&self, blocks: Vec<DuskBlock>) {
        let height = blocks.len() as u64 - 1;
        let hash = blocks[height as usize].hash;
        *self.blocks.lock() = blocks;
        self.tip.send_replace(Some(BackendTip { height, hash, final_height: height.saturating_sub(3) }));
    }
}

impl Backend for Script {
    fn name(&self) -> Arc<str> {
        "script".into()
    }

    fn tip(&self) -> Option<BackendTip> {
        *self.tip.borrow()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut tip = self.tip.subscribe();
        async move {
            let _ = tip.changed().await;
        }
        .boxed()
    }

    fn block(&self, height: u64, _: Duration) -> BoxFuture<'static, Result<Option<DuskBlock>, BackendError>> {
        self.asked.lock().push(height);
        let answer = if self.broken.load(Ordering::SeqCst) {
            Err(BackendError { who: "script".into(), reason: "broken".into() })
        } else {
            Ok(self.blocks.lock().get(height as usize).cloned())
        };
        async move { answer }.boxed()
    }
}

struct Bed {
    actor: Ref<L1>,
    supervisor: Supervisor,
    heads: L1HeadsFeed,
    store: L1Store,
}

fn open(dir: &TempDir) -> L1Store {
    L1Store::open(&dir.path().join("l1"), &Identity { chain_id: 99, genesis: B256::ZERO }).unwrap()
}

impl Bed {
    fn start(store: L1Store, backend: Arc<dyn Backend>, config: ViewConfig) -> Self {
        let actor = Ref::declare("l1");
        let (sender, heads) = watch::channel(None);
        let wiring = Wiring { store: store.clone(), backend, heads: sender };
        let supervisor = Tree::new("root", Strategy::OneForOne)
            .intensity(Intensity { max: 100, within: Duration::from_secs(10) })
            .allow_faults(true)
            .actor(spec(&actor, config, wiring))
            .start();
        Self { actor, supervisor, heads, store }
    }

    async fn until(&self, what: &str, holds: impl Fn(&L1Heads) -> bool) -> L1Heads {
        let mut heads = self.heads.clone();
        let reached = heads.wait_for(|heads| heads.as_ref().is_some_and(&holds));
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never {what}")).unwrap().unwrap()
    }

    async fn at(&self, hash: B256) -> L1Heads {
        self.until("at the wanted head", |heads| heads.latest.hash == hash).await
    }

    async fn by_number(&self, number: u64) -> Option<Arc<ViewBlock>> {
        self.actor.ask_retry(ViewBlockByNumber { number }, PATIENCE).await.unwrap()
    }

    /// Ends the process, as far as the files can tell.
    async fn end(self) {
        self.supervisor.shutdown(PATIENCE).await;
        self.store.close().unwrap();
    }

    async fn fault(&self, fault: Fault) {
        // A head may be published before the instance counts as up.
        self.supervisor.ready().await.unwrap();
        let before = self.supervisor.actors()[0].generation;
        self.supervisor.inject("l1", fault).unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.supervisor.actors()[0].generation == before {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.supervisor.ready().await.unwrap();
    }
}

/// The view of a chain, computed without the actor.
fn views(blocks: &[DuskBlock], config: &ViewConfig) -> Vec<ViewBlock> {
    let mut out: Vec<ViewBlock> = Vec::new();
    for block in blocks {
        let view = project(config, out.last().map(|view| &view.header), block).unwrap();
        out.push(view);
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_and_serves() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(vec![]);
    let bed = Bed::start(open(&dir), backend.clone(), config());
    bed.supervisor.ready().await.unwrap();
    assert_eq!(bed.actor.ask(GetL1Heads).await.unwrap(), None);
    assert_eq!(bed.by_number(0).await, None);

    // A long chain at once, in several steps, more than is kept in memory.
    let expected = views(&chain(400, |_| 0), &config());
    backend.set(chain(400, |_| 0));
    let heads = bed.at(expected[399].hash()).await;
    assert_eq!(heads.latest, L1BlockRef::from(&expected[399]));
    assert_eq!((heads.safe, heads.finalized), (L1BlockRef::from(&expected[396]), L1BlockRef::from(&expected[396])));
    assert_eq!(bed.actor.ask(GetL1Heads).await.unwrap(), Some(heads));
    for number in [0, 1, 143, 144, 399] {
        let by_number = bed.by_number(number).await.unwrap();
        assert_eq!(*by_number, expected[number as usize]);
        let by_hash = bed.actor.ask(ViewBlockByHash { hash: by_number.hash() }).await.unwrap().unwrap();
        assert_eq!(by_hash, by_number);
        let tx = &by_number.transactions[0];
        for id in [tx.hash(), tx.dusk_id] {
            let (block, index) = bed.actor.ask(ViewTransaction { id }).await.unwrap().unwrap();
            assert_eq!((block.number(), index), (number, 0));
        }
    }
    assert_eq!(bed.by_number(400).await, None);
    assert_eq!(bed.actor.ask(ViewBlockByHash { hash: B256::ZERO }).await.unwrap(), None);
    assert_eq!(bed.actor.ask(ViewTransaction { id: B256::ZERO }).await.unwrap(), None);
    let next = views(&chain(401, |_| 0), &config())[400].hash();
    backend.set(chain(401, |_| 0));
    bed.at(next).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_finds_only_its_own_block() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let bed = Bed::start(store, Script::new(chain(10, |_| 0)), config());
    bed.until("at 9", |heads| heads.latest.number == 9).await;
    // The index names a block under a foreign hash, as an entry does that outlived its block.
    let number = 10;
    let view = views(&chain(11, |_| 0), &config()).pop().unwrap();
    let foreign = B256::repeat_byte(0xee);
    let commit =
        duskevm_store::l1::ViewCommit { height: number, hash: foreign.0, record: view.encode(), transactions: vec![] };
    bed.store.commit_views(&duskevm_supervision::Fence::unfenced(), &[commit]).unwrap();
    assert_eq!(bed.by_number(number).await.unwrap().hash(), view.hash());
    assert_eq!(bed.actor.ask(ViewBlockByHash { hash: foreign }).await.unwrap(), None);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn continues_from_the_cursor() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(chain(100, |_| 0));
    let expected = views(&chain(130, |_| 0), &config());
    let bed = Bed::start(open(&dir), backend.clone(), config());
    let heads = bed.at(expected[99].hash()).await;
    for fault in [Fault::Panic, Fault::Stop, Fault::Restart] {
        backend.asked.lock().clear();
        bed.fault(fault).await;
        assert_eq!(*bed.heads.borrow(), Some(heads), "{fault:?}: the heads stay");
        assert_eq!(*bed.by_number(3).await.unwrap(), expected[3]);
        assert!(backend.asked.lock().is_empty(), "{fault:?}: nothing is fetched again");
    }
    bed.end().await;

    // A new process: the feed is empty, and filled again from the cursor.
    backend.asked.lock().clear();
    let bed = Bed::start(open(&dir), backend.clone(), config());
    assert_eq!(bed.at(expected[99].hash()).await, heads);
    backend.set(chain(130, |_| 0));
    bed.at(expected[129].hash()).await;
    assert_eq!(backend.asked.lock().iter().min(), Some(&100));
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_a_reorganisation_above_the_final_block() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(chain(50, |_| 0));
    let bed = Bed::start(open(&dir), backend.clone(), config());
    let old = views(&chain(50, |_| 0), &config());
    let heads = bed.at(old[49].hash()).await;
    assert_eq!(heads.finalized.number, 46);
    // 47 to 49 are replaced. A sibling of the same height alone is not followed, and makes nothing final.
    let fork = |height| u8::from(height >= 47);
    backend.set(chain(50, fork));
    backend.tip.send_modify(|tip| tip.as_mut().unwrap().final_height = 48);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(*bed.heads.borrow(), Some(heads));
    let new = views(&chain(53, fork), &config());
    backend.set(chain(53, fork));
    let heads = bed.at(new[52].hash()).await;
    assert_eq!(heads.finalized.number, 49);
    assert_eq!(*bed.by_number(48).await.unwrap(), new[48]);
    assert_eq!(bed.actor.ask(ViewBlockByHash { hash: old[48].hash() }).await.unwrap(), None);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_final_block_ends_the_node() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(chain(50, |_| 0));
    let bed = Bed::start(open(&dir), backend.clone(), config());
    bed.until("at 49", |heads| heads.latest.number == 49).await;
    backend.set(chain(55, |height| u8::from(height >= 40)));
    let reason = tokio::time::timeout(PATIENCE, bed.supervisor.wait()).await.unwrap();
    assert!(matches!(reason, ExitReason::Aborted { .. }), "{reason}");
    assert!(reason.to_string().contains("replaced final block 46"), "{reason}");
    assert_eq!(bed.heads.borrow().unwrap().finalized.number, 46);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_genesis_ends_the_node() {
    let dir = TempDir::new().unwrap();
    let bed = Bed::start(open(&dir), Script::new(chain(1, |_| 0)), config());
    bed.until("at 0", |heads| heads.latest.number == 0).await;
    bed.end().await;
    let bed = Bed::start(open(&dir), Script::new(chain(5, |_| 1)), config());
    let reason = tokio::time::timeout(PATIENCE, bed.supervisor.wait()).await.unwrap();
    assert!(reason.to_string().contains("genesis block is not the one"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_backend_is_named_and_asked_again() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(chain(10, |_| 0));
    backend.broken.store(true, Ordering::SeqCst);
    let bed = Bed::start(open(&dir), backend.clone(), config());
    bed.supervisor.ready().await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !matches!(&bed.supervisor.actors()[0].state, ActorState::Degraded { .. }) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", bed.supervisor.actors()[0].state);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = backend.asked.lock().len();
    assert!(asked < 20, "asked {asked} times without a pause");
    assert_eq!(bed.supervisor.actors()[0].restarts, 0);
    backend.broken.store(false, Ordering::SeqCst);
    bed.until("at 9", |heads| heads.latest.number == 9).await;
    // Heads are published a moment before the actor says that it is well.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while matches!(&bed.supervisor.actors()[0].state, ActorState::Degraded { .. }) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", bed.supervisor.actors()[0].state);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_makes_the_view_anew() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(chain(20, |_| 0));
    let bed = Bed::start(open(&dir), backend.clone(), config());
    let old = bed.until("at 19", |heads| heads.latest.number == 19).await;
    bed.end().await;
    let other = ViewConfig { emitters: Default::default(), ..config() };
    let bed = Bed::start(open(&dir), backend, other.clone());
    let new = bed.until("at 19", |heads| heads.latest.number == 19).await;
    assert_ne!(new, old);
    assert_eq!(*bed.by_number(7).await.unwrap(), views(&chain(20, |_| 0), &other)[7]);
    assert_eq!(bed.actor.ask(ViewBlockByHash { hash: old.latest.hash }).await.unwrap(), None);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_view_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(chain(10, |_| 0));
    let expected = views(&chain(12, |_| 0), &config());
    let bed = Bed::start(open(&dir), backend.clone(), config());
    bed.at(expected[9].hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
    // A view block that nobody can read.
    let bad = duskevm_store::l1::ViewCommit { height: 10, record: b"junk".to_vec(), ..Default::default() };
    bed.store.commit_views(&duskevm_supervision::Fence::unfenced(), &[bad]).unwrap();
    bed.store.close().unwrap();
    backend.set(chain(12, |_| 0));
    let bed = Bed::start(open(&dir), backend, config());
    bed.at(expected[11].hash()).await;
    assert_eq!(*bed.by_number(10).await.unwrap(), expected[10]);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_do_not_go_back_while_the_view_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let backend = Script::new(chain(300, |_| 0));
    let expected = views(&chain(300, |_| 0), &config());
    let bed = Bed::start(open(&dir), backend.clone(), config());
    let heads = bed.at(expected[299].hash()).await;
    let mut feed = bed.heads.clone();
    feed.mark_unchanged();
    // Block 300 is stored as junk: a start finds it and asks for everything to be made anew.
    let bad = duskevm_store::l1::ViewCommit { height: 300, record: b"junk".to_vec(), ..Default::default() };
    bed.store.commit_views(&duskevm_supervision::Fence::unfenced(), &[bad]).unwrap();
    bed.fault(Fault::Panic).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bed.by_number(299).await.is_none() {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(*bed.by_number(299).await.unwrap(), expected[299]);
    assert_eq!(*bed.heads.borrow(), Some(heads));
    assert!(!feed.has_changed().unwrap(), "nothing was published in between");
    bed.supervisor.shutdown(PATIENCE).await;
}

/// The embedded backend over the messages of the consensus actor, which is restarting at first.
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_backend_asks_the_consensus_actor() {
    let accepted = |height: u64| AcceptedBlock {
        header: Header {
            height,
            timestamp: 1_000 + height,
            hash: [height as u8 + 1; 32],
            prev_block_hash: [height as u8; 32],
            ..Header::default()
        },
        encoded: Default::default(),
        outcomes: vec![],
        events: vec![],
    };
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let blocks: Port<DuskBlockByHeight> = Port::try_from_fn(move |msg: DuskBlockByHeight| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        let answer = if call < 3 {
            Err(AskError::Restarting { actor: "consensus".into() })
        } else {
            Ok((msg.height <= 5).then(|| Arc::new(accepted(msg.height))))
        };
        async move { answer }
    });
    let tip = watch::Sender::new(None);
    let dir = TempDir::new().unwrap();
    let bed = Bed::start(open(&dir), Arc::new(Embedded::new(blocks, tip.subscribe(), Follow::Tip)), config());
    bed.supervisor.ready().await.unwrap();
    let at = |height: u64| {
        let hash = B256::repeat_byte(height as u8 + 1);
        Some(DuskTip { height, hash, timestamp: 1_000 + height, final_height: height.saturating_sub(1) })
    };
    tip.send_replace(at(3));
    let heads = bed.until("at 3", |heads| heads.latest.number == 3).await;
    assert_eq!(heads.finalized.number, 2);
    assert_eq!(bed.by_number(3).await.unwrap().dusk_hash(), B256::repeat_byte(4));
    // Only finality moves.
    tip.send_modify(|tip| tip.as_mut().unwrap().final_height = 3);
    bed.until("final at 3", |heads| heads.finalized.number == 3).await;
    tip.send_replace(at(5));
    bed.until("at 5", |heads| heads.latest.number == 5).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

/// Blocks above the final one are not looked at, so that replacing them is nobody's business.
#[tokio::test(flavor = "multi_thread")]
async fn only_final_blocks_are_followed_if_so_asked() {
    let fork = Arc::new(AtomicU64::new(0));
    let asked = fork.clone();
    // From block 4 on the hash tells the fork.
    let hash = |height: u64, fork: u64| [height as u8 + 1 + if height >= 4 { 100 * fork as u8 } else { 0 }; 32];
    let blocks: Port<DuskBlockByHeight> = Port::try_from_fn(move |msg: DuskBlockByHeight| {
        let (height, fork) = (msg.height, asked.load(Ordering::SeqCst));
        let header = Header {
            height,
            timestamp: 1_000 + height,
            hash: hash(height, fork),
            prev_block_hash: height.checked_sub(1).map_or([0; 32], |parent| hash(parent, fork)),
            ..Header::default()
        };
        let block = AcceptedBlock { header, encoded: Default::default(), outcomes: vec![], events: vec![] };
        async move { Ok(Some(Arc::new(block))) }
    });
    let tip = watch::Sender::new(None);
    let at = |height: u64, fork: u64, final_height: u64| {
        Some(DuskTip { height, hash: hash(height, fork).into(), timestamp: 1_000 + height, final_height })
    };
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let backend = Arc::new(Embedded::new(blocks, tip.subscribe(), Follow::Final));
    let bed = Bed::start(store, backend.clone(), config());
    tip.send_replace(at(5, 0, 2));
    let heads = bed.until("at 2", |heads| heads.latest.number == 2).await;
    assert_eq!((heads.safe, heads.finalized), (heads.latest, heads.latest));
    assert_eq!(bed.by_number(3).await, None);

    // A higher tip alone is no news; a replaced block neither.
    tip.send_replace(at(6, 0, 2));
    fork.store(1, Ordering::SeqCst);
    tip.send_replace(at(5, 1, 3));
    bed.until("at 3", |heads| heads.finalized.number == 3 && heads.latest == heads.finalized).await;
    assert_eq!(backend.tip().map(|tip| tip.height), Some(3));
    tip.send_replace(at(7, 1, 6));
    let heads = bed.until("at 6", |heads| heads.finalized.number == 6).await;
    assert_eq!(heads.latest, heads.finalized);
    assert_eq!(bed.by_number(4).await.unwrap().dusk_hash(), B256::from(hash(4, 1)));

    // A new instance publishes at once what its cursor stands for.
    bed.fault(Fault::Panic).await;
    assert_eq!(*bed.heads.borrow(), Some(heads));
    bed.end().await;
    // So does a new process, which has to ask for the hash first.
    let bed = Bed::start(open(&dir), backend, config());
    assert_eq!(bed.until("at 6 again", |_| true).await, heads);
    bed.supervisor.shutdown(PATIENCE).await;
}
