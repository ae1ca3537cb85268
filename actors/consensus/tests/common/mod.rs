//! A consensus actor in a tree, with a clock that can be moved and an L1 database on disk.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs, reason = "each test binary uses a part")]

pub mod cast;
pub mod maker;
pub mod neighbours;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{B256, Bytes};
use duskevm_consensus::{Clock, Consensus, Settings, Wiring, spec};
use duskevm_dusk_l1::contracts::NoContracts;
use duskevm_dusk_l1::genesis::{ConsensusParams, Genesis, GenesisAccount, GenesisStake};
use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::mempool::Limits;
use duskevm_dusk_l1::transfer::Transaction;
use duskevm_dusk_l1::transfer::data::TransactionData;
use duskevm_messages::consensus::*;
use duskevm_store::Identity;
use duskevm_store::l1::L1Store;
use duskevm_supervision::{Fault, Intensity, Ref, Strategy, Supervisor, Tree};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::watch;

pub const CHAIN_ID: u8 = 7;
pub const DUSK: u64 = 1_000_000_000;
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn signer(name: &str) -> Signer {
    Signer::from_seed(name.as_bytes())
}

pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A network whose first block is due since `overdue`.
pub fn genesis(block_time: u64, overdue: Duration) -> Genesis {
    Genesis {
        chain_id: CHAIN_ID,
        timestamp: (now() - overdue).as_secs() - block_time,
        block_time,
        block_gas_limit: 3_000_000_000,
        treasury: signer("treasury").id(),
        accounts: vec![GenesisAccount { key: signer("alice").id(), balance: 1000 * DUSK }],
        stakes: vec![GenesisStake { key: signer("producer").id(), amount: 1_000_000 * DUSK, eligibility: 0 }],
        contracts: Vec::new(),
        consensus: ConsensusParams::default(),
    }
}

/// A clock that runs with the machine's, shifted by some milliseconds.
#[derive(Clone, Default)]
pub struct Shift(Arc<AtomicI64>);

impl Shift {
    pub fn by(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let shift = self.0.clone();
        Arc::new(move || {
            let millis = i64::try_from(now().as_millis()).unwrap() + shift.load(Ordering::SeqCst);
            Duration::from_millis(u64::try_from(millis).unwrap())
        })
    }
}

pub fn settings(genesis: &Genesis, clock: Clock) -> Settings {
    Settings {
        genesis: genesis.clone(),
        signer: Some(signer("producer")),
        limits: Limits::default(),
        contracts: Arc::new(NoContracts),
        // The machine was up, or asleep, all the time.
        uptime: clock.clone(),
        clock,
    }
}

pub fn open_store(dir: &TempDir, genesis: &Genesis) -> L1Store {
    let identity = Identity { chain_id: genesis.chain_id.into(), genesis: genesis.identity() };
    L1Store::open(&dir.path().join("l1"), &identity).unwrap()
}

pub fn transfer(from: &str, nonce: u64, value: u64) -> Bytes {
    let to = *signer("bob").public_key();
    let from = signer(from);
    let none = None::<TransactionData>;
    Transaction::moonlight(from.secret_key(), Some(to), value, 0, 100_000, 1, nonce, CHAIN_ID, none)
        .unwrap()
        .to_network_bytes()
        .into()
}

pub struct Bed {
    pub actor: Ref<Consensus>,
    pub supervisor: Supervisor,
    pub tip: DuskTipFeed,
    /// Every tip that was announced, by height.
    pub announced: Arc<Mutex<BTreeMap<u64, B256>>>,
    pub store: L1Store,
}

impl Bed {
    /// The journal of own messages lies beside the store.
    pub fn start(settings: Settings, store: L1Store) -> Self {
        let votes = store.path().with_file_name("votes");
        let actor = Ref::declare("consensus");
        let (sender, tip) = watch::channel(None);
        let announced = Arc::new(Mutex::new(BTreeMap::new()));
        let mut heard: DuskTipFeed = tip.clone();
        let seen = announced.clone();
        tokio::spawn(async move {
            while heard.changed().await.is_ok() {
                if let Some(tip) = *heard.borrow_and_update() {
                    let before = seen.lock().insert(tip.height, tip.hash);
                    assert!(before.is_none_or(|hash| hash == tip.hash), "block {} was replaced", tip.height);
                }
            }
        });
        let supervisor = Tree::new("root", Strategy::OneForOne)
            .intensity(Intensity { max: 100, within: Duration::from_secs(10) })
            .allow_faults(true)
            .actor(spec(
                &actor,
                settings,
                Wiring { store: store.clone(), votes, mark: None, tip: sender, network: None, blobs: None },
            ))
            .start();
        Self { actor, supervisor, tip, announced, store }
    }

    pub async fn height(&self, height: u64) -> DuskTip {
        let mut tip = self.tip.clone();
        let reached = tip.wait_for(|tip| tip.is_some_and(|tip| tip.height >= height));
        tokio::time::timeout(PATIENCE, reached).await.expect("the chain stands still").unwrap().unwrap()
    }

    pub async fn fault(&self, fault: Fault) {
        // A head may be published before the instance counts as up.
        self.supervisor.ready().await.unwrap();
        let before = self.supervisor.actors()[0].generation;
        self.supervisor.inject("consensus", fault).unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.supervisor.actors()[0].generation == before {
            assert!(tokio::time::Instant::now() < deadline, "no new instance after {fault:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.supervisor.ready().await.unwrap();
    }

    pub async fn submit(&self, bytes: Bytes) -> Result<B256, SubmitRefusal> {
        self.actor.ask_retry(SubmitDuskTransaction { bytes }, PATIENCE).await.unwrap()
    }

    pub async fn status(&self, id: B256) -> DuskTransactionStatus {
        self.actor.ask_retry(GetDuskTransaction { id }, PATIENCE).await.unwrap()
    }

    pub async fn account(&self, name: &str) -> DuskAccount {
        self.actor.ask_retry(GetDuskAccount { account: signer(name).id() }, PATIENCE).await.unwrap()
    }

    pub async fn included(&self, id: B256) -> (u64, u64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let DuskTransactionStatus::Included { height, gas_spent, .. } = self.status(id).await {
                return (height, gas_spent);
            }
            assert!(tokio::time::Instant::now() < deadline, "never included");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything announced is what the database holds.
    pub fn check_announced(&self) {
        for (height, hash) in self.announced.lock().iter() {
            assert_eq!(self.store.block_height(&hash.0).unwrap(), Some(*height), "announced block {height} is gone");
        }
    }
}
