//! A transaction pool that takes everything but what is already in it, and a node without peers.

use alloy_primitives::{Address, B256};
use duskevm_evm::RecoveredTx;
use duskevm_messages::txpool::PendingFeed;
use duskevm_pool::{PoolError, PoolStatus, SenderContent};
use duskevm_rpc::{
    PoolPorts,
    node::{L1Ref, L1Status, NodeView, SyncProgress},
};
use duskevm_supervision::Port;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::broadcast;

type BySender = BTreeMap<Address, BTreeMap<u64, Arc<RecoveredTx>>>;

/// What was submitted, by sender and nonce.
#[derive(Clone)]
pub(crate) struct ScriptedPool {
    by_sender: Arc<Mutex<BySender>>,
    by_hash: Arc<Mutex<HashMap<B256, Arc<RecoveredTx>>>>,
    pending: PendingFeed,
}

impl ScriptedPool {
    pub(crate) fn new() -> Self {
        Self { by_sender: Arc::default(), by_hash: Arc::default(), pending: broadcast::channel(1024).0 }
    }

    /// Takes everything out, in order of nonce.
    pub(crate) fn take(&self) -> Vec<Arc<RecoveredTx>> {
        self.by_hash.lock().clear();
        std::mem::take(&mut *self.by_sender.lock()).into_values().flat_map(BTreeMap::into_values).collect()
    }

    fn find(&self, hash: B256) -> Option<Arc<RecoveredTx>> {
        self.by_hash.lock().get(&hash).cloned()
    }

    fn content_from(&self, sender: Address) -> SenderContent {
        let pending = self.by_sender.lock().get(&sender).cloned().unwrap_or_default();
        SenderContent { pending, queued: BTreeMap::new() }
    }

    pub(crate) fn ports(&self) -> PoolPorts {
        let this = self.clone();
        let submit = Port::from_fn(move |submit: duskevm_messages::txpool::Submit| {
            let this = this.clone();
            async move {
                let (tx, hash) = (submit.tx.clone(), submit.tx.hash());
                if this.find(hash).is_some() {
                    return Err(PoolError::AlreadyKnown(hash));
                }
                this.by_hash.lock().insert(hash, tx.clone());
                this.by_sender.lock().entry(tx.sender()).or_default().insert(tx.nonce(), tx.clone());
                let _ = this.pending.send(tx);
                Ok(hash)
            }
        });
        let (content, content_from, status, pooled, nonce) =
            (self.clone(), self.clone(), self.clone(), self.clone(), self.clone());
        PoolPorts {
            submit,
            content: Port::from_fn(move |_| {
                let senders: Vec<Address> = content.by_sender.lock().keys().copied().collect();
                let all = senders.into_iter().map(|sender| (sender, content.content_from(sender))).collect();
                async move { Arc::new(all) }
            }),
            content_from: Port::from_fn(move |ask: duskevm_messages::txpool::GetContentFrom| {
                let found = content_from.content_from(ask.sender);
                async move { found }
            }),
            status: Port::from_fn(move |_| {
                let pending = status.by_sender.lock().values().map(BTreeMap::len).sum();
                async move { PoolStatus { pending, queued: 0, senders: 0, bytes: 0 } }
            }),
            pooled: Port::from_fn(move |ask: duskevm_messages::txpool::GetPooled| {
                let found = pooled.find(ask.hash);
                async move { found }
            }),
            nonce: Port::from_fn(move |ask: duskevm_messages::txpool::NonceOf| {
                let last = nonce.by_sender.lock().get(&ask.sender).and_then(|txs| txs.keys().last().copied());
                async move { last.map(|nonce| nonce + 1) }
            }),
            pending: self.pending.clone(),
        }
    }
}

pub(crate) struct Alone;

impl NodeView for Alone {
    fn l1(&self) -> L1Status {
        let at = |number| L1Ref { number, hash: B256::with_last_byte(number as u8), ..L1Ref::default() };
        L1Status { current_l1: at(5), current_l1_finalized: at(2), head_l1: at(6), safe_l1: at(4), finalized_l1: at(3) }
    }

    fn peers(&self) -> u64 {
        3
    }

    fn syncing(&self) -> Option<SyncProgress> {
        None
    }
}
