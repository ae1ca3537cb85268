//! Scripted neighbours: an executor that publishes heads, and a disk that fails and hangs on demand.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs, reason = "each test binary uses a part")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip7702};
use alloy_eips::{
    eip2718::Encodable2718,
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use duskevm_evm::RecoveredTx;
use duskevm_messages::txpool::*;
use duskevm_pool::{AccountReadError, AccountReader, AccountState, Head, Touched};
use duskevm_supervision::{Fault, Intensity, Ref, Strategy, Supervisor, Tree};
use duskevm_txpool::{Log, LogError, OpenLog, OpenedLog, Settings, TxPool, Wiring, spec};
use op_alloy_consensus::OpTxEnvelope;
use op_revm::{L1BlockInfo, OpSpecId};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{broadcast, watch};

pub const CHAIN: u64 = 31310;
pub const GWEI: u128 = 1_000_000_000;
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn address(n: u64) -> Address {
    Address::left_padding_from(&(0x1000 + n).to_be_bytes())
}

/// A transfer with a tip in gwei. The signature is not real: the pool takes the sender as recovered.
pub fn tip_tx(sender: u64, nonce: u64, tip: u128) -> Arc<RecoveredTx> {
    let signature = Signature::new(U256::from(sender + 1), U256::from(1), false);
    let tx = TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: (tip + 10) * GWEI,
        max_priority_fee_per_gas: tip * GWEI,
        to: TxKind::Call(address(999)),
        ..Default::default()
    };
    encode(tx.into_signed(signature).into(), address(sender))
}

pub fn encode(envelope: OpTxEnvelope, sender: Address) -> Arc<RecoveredTx> {
    let bytes: Bytes = envelope.encoded_2718().into();
    Arc::new(RecoveredTx::decode_with_sender(&bytes, sender).unwrap())
}

/// A type-4 transaction of sender 9 with this many authorizations, whose signatures are no real ones either.
pub fn delegating(nonce: u64, authorizations: usize) -> Arc<RecoveredTx> {
    let authorization = Authorization { chain_id: U256::from(CHAIN), address: address(5), nonce: 0 };
    let signed = SignedAuthorization::new_unchecked(authorization, 0, U256::from(1), U256::from(1));
    let tx = TxEip7702 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 1_000_000,
        max_fee_per_gas: 10 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: address(5),
        authorization_list: vec![signed; authorizations],
        ..Default::default()
    };
    encode(tx.into_signed(Signature::new(U256::from(9), U256::from(1), false)).into(), address(9))
}

pub fn tx(sender: u64, nonce: u64) -> Arc<RecoveredTx> {
    tip_tx(sender, nonce, 1)
}

#[derive(Debug, Clone, Default)]
struct Accounts {
    nonces: HashMap<Address, u64>,
    broken: bool,
}

impl AccountReader for Accounts {
    fn account(&self, address: Address) -> Result<AccountState, AccountReadError> {
        if self.broken {
            return Err(AccountReadError { address, reason: "scripted".into() });
        }
        let nonce = self.nonces.get(&address).copied().unwrap_or_default();
        Ok(AccountState { nonce, balance: U256::from(1u128 << 100), ..AccountState::default() })
    }
}

/// A disk that remembers what was synced, and does as it is told.
#[derive(Debug, Default)]
pub struct Disk {
    state: Mutex<DiskState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub struct DiskState {
    pub records: Vec<Vec<u8>>,
    pub appends: usize,
    pub rewrites: usize,
    /// Writes wait.
    pub held: bool,
    /// The next write fails.
    pub fail: bool,
}

impl Disk {
    pub fn with<R>(&self, change: impl FnOnce(&mut DiskState) -> R) -> R {
        let result = change(&mut self.state.lock());
        self.changed.notify_all();
        result
    }
    pub fn hold(&self) {
        self.with(|disk| disk.held = true);
    }
    pub fn release(&self) {
        self.with(|disk| disk.held = false);
    }
    pub fn records(&self) -> usize {
        self.with(|disk| disk.records.len())
    }
    pub fn open(self: &Arc<Self>) -> Arc<OpenLog> {
        let disk = self.clone();
        Arc::new(move |start| {
            let (records, log) =
                (disk.with(|d| d.records.clone()), MemoryLog { disk: disk.clone(), fence: start.fence.clone() });
            Ok(OpenedLog { log: Box::new(log), records })
        })
    }
}

struct MemoryLog {
    disk: Arc<Disk>,
    fence: duskevm_supervision::Fence,
}

impl MemoryLog {
    fn write(&self, write: impl FnOnce(&mut DiskState)) -> Result<(), LogError> {
        let mut state = self.disk.state.lock();
        while state.held {
            self.disk.changed.wait(&mut state);
        }
        if std::mem::take(&mut state.fail) {
            return Err(LogError::new("scripted"));
        }
        self.fence.write(|| write(&mut state)).map_err(LogError::new)
    }
}

impl Log for MemoryLog {
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), LogError> {
        self.write(|disk| {
            disk.appends += 1;
            disk.records.extend_from_slice(records);
        })
    }
    fn rewrite(&mut self, records: &[Vec<u8>]) -> Result<(), LogError> {
        self.write(|disk| {
            disk.rewrites += 1;
            disk.records = records.to_vec();
        })
    }
    fn bytes(&self) -> u64 {
        self.disk.with(|disk| disk.records.iter().map(|record| record.len() as u64).sum())
    }
}

/// The chain as the executor would publish it.
pub struct Chain {
    pub feed: watch::Sender<Option<Arc<HeadView>>>,
    accounts: Accounts,
    pub durable: u64,
    pub number: u64,
}

impl Chain {
    pub fn new() -> Self {
        let chain = Self { feed: watch::Sender::new(None), accounts: Accounts::default(), durable: 0, number: 0 };
        chain.publish();
        chain
    }

    pub fn hash(number: u64) -> B256 {
        B256::left_padding_from(&(number + 1).to_be_bytes())
    }

    pub fn view(&self) -> Arc<HeadView> {
        let head = Head {
            number: self.number,
            hash: Self::hash(self.number),
            base_fee: GWEI as u64,
            min_base_fee: 0,
            gas_limit: 30_000_000,
            spec: OpSpecId::ISTHMUS,
            l1: L1BlockInfo::default(),
        };
        Arc::new(HeadView { head, state: Arc::new(self.accounts.clone()), durable: self.durable })
    }

    pub fn publish(&self) {
        self.feed.send_replace(Some(self.view()));
    }

    pub fn nonce(&mut self, sender: u64, nonce: u64) {
        self.accounts.nonces.insert(address(sender), nonce);
    }

    /// The states of the heads from now on cannot be read, or can be again.
    pub fn broken(&mut self, broken: bool) {
        self.accounts.broken = broken;
    }

    pub fn nonce_of(&self, sender: u64) -> u64 {
        self.accounts.nonces.get(&address(sender)).copied().unwrap_or_default()
    }

    /// A block with these transactions; the message that tells of it. The feed has it too.
    pub fn block(&mut self, txs: &[Arc<RecoveredTx>]) -> HeadChanged {
        for tx in txs {
            self.accounts.nonces.insert(tx.sender(), tx.nonce() + 1);
        }
        let from = Self::hash(self.number);
        self.number += 1;
        self.publish();
        HeadChanged {
            from,
            view: self.view(),
            touched: Touched::Accounts(txs.iter().map(|tx| tx.sender()).collect()),
            mined: txs.iter().map(|tx| tx.hash()).collect(),
            reorged_out: Arc::new([]),
        }
    }
}

/// The actor in a tree.
pub struct Bed {
    pub pool: Ref<TxPool>,
    pub supervisor: Supervisor,
    pub pending: broadcast::Receiver<Arc<RecoveredTx>>,
    pub chain: Chain,
}

impl Bed {
    pub async fn start(open: Arc<OpenLog>, chain: Chain, settings: Settings) -> Self {
        let pool: Ref<TxPool> = Ref::declare("txpool");
        let (sender, pending) = broadcast::channel(20_000);
        let wiring = Wiring { heads: chain.feed.subscribe(), pending: sender };
        let supervisor = Tree::new("root", Strategy::OneForOne)
            .intensity(Intensity { max: 50, within: Duration::from_secs(10) })
            .allow_faults(true)
            .actor(spec(&pool, settings, wiring, open))
            .start();
        supervisor.ready().await.unwrap();
        Self { pool, supervisor, pending, chain }
    }

    pub async fn on(disk: &Arc<Disk>) -> Self {
        Self::start(disk.open(), Chain::new(), settings()).await
    }

    /// Ends the tree as `kill -9` would, as far as the pool can tell: without draining anything.
    pub async fn die(self) -> Chain {
        self.kill().await;
        self.supervisor.shutdown(Duration::from_secs(5)).await;
        self.chain
    }

    pub async fn kill(&self) {
        // A head may be published before the instance counts as up.
        self.supervisor.ready().await.unwrap();
        let before = self.supervisor.actors()[0].generation;
        self.supervisor.inject("txpool", Fault::Panic).unwrap();
        while self.supervisor.actors()[0].generation == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.supervisor.ready().await.unwrap();
    }

    pub async fn submit(&self, tx: &Arc<RecoveredTx>) -> Result<B256, duskevm_pool::PoolError> {
        self.pool.ask_within(Submit::new(tx.clone()), PATIENCE).await.unwrap()
    }

    pub async fn best(&self) -> Vec<(Address, u64)> {
        let best = Best { base_fee: GWEI as u64, gas_limit: 30_000_000, count: 100_000 };
        self.pool.ask(best).await.unwrap().iter().map(|tx| (tx.sender(), tx.nonce())).collect()
    }

    pub async fn counts(&self) -> (usize, usize) {
        let status = self.pool.ask(GetStatus).await.unwrap();
        (status.pending, status.queued)
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(self).await {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub fn settings() -> Settings {
    Settings { tick: Duration::from_millis(20), ..Settings::new(CHAIN) }
}
