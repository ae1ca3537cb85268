//! One sender's transactions by nonce, and which of them are ready.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, U256};
use duskevm_evm::RecoveredTx;

use crate::{
    head::{AccountState, Head},
    index::Index,
    order::FeeKey,
    pool::Standing,
    tx::PoolTx,
};

/// A pooled transaction.
#[derive(Debug)]
pub(crate) struct Entry {
    pub tx: Arc<PoolTx>,
    /// Order of arrival, unique in the pool.
    pub seq: u64,
    /// Gas that it uses at least when it is in a block.
    pub min_gas: u64,
    pub standing: Standing,
    /// Seconds; when it arrived or last stopped being ready.
    pub since: u64,
    /// Cheapest tip and cap of this and all earlier transactions of the sender here: it cannot be had without those.
    pub chain_tip: u128,
    pub chain_cap: u128,
    /// Execution refused it at this state of the sender.
    pub refused: bool,
    /// Was it reported as ready before?
    pub announced: bool,
    cost: U256,
    /// The fee epoch that `cost` is of; 0 is none.
    cost_epoch: u64,
}

impl Entry {
    pub(crate) fn new(tx: Arc<PoolTx>, seq: u64, min_gas: u64, now: u64) -> Self {
        Self {
            chain_tip: tx.tip(),
            chain_cap: tx.fee_cap(),
            tx,
            seq,
            min_gas,
            standing: Standing::NonceGap,
            since: now,
            refused: false,
            announced: false,
            cost: U256::ZERO,
            cost_epoch: 0,
        }
    }

    /// The most that it can cost its sender, in wei, by the L1 fees of when it was last looked at.
    pub(crate) const fn cost(&self) -> U256 {
        self.cost
    }

    pub(crate) fn own_key(&self) -> FeeKey {
        FeeKey { tip: self.tx.tip(), cap: self.tx.fee_cap(), seq: self.seq }
    }

    pub(crate) fn chain_key(&self) -> FeeKey {
        FeeKey { tip: self.chain_tip, cap: self.chain_cap, seq: self.seq }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.standing == Standing::Ready
    }
}

/// What the place of a transaction in its sender's list depends on beside the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub head: &'a Head,
    /// Grows when the L1 fees of transactions change.
    pub fee_epoch: u64,
    /// Seconds.
    pub now: u64,
}

/// A sender with at least one transaction.
#[derive(Debug)]
pub(crate) struct Account {
    pub address: Address,
    pub state: AccountState,
    pub txs: BTreeMap<u64, Entry>,
    pub ready: usize,
    /// Sum of what the ready ones may cost.
    pub ready_cost: U256,
    /// Keys under which the first and the last transaction stand in the index.
    first: Option<FeeKey>,
    last: Option<(bool, FeeKey)>,
    /// Is it listed in the index as one whose transactions wait for another state or other fees?
    stuck: bool,
}

impl Account {
    pub(crate) const fn new(address: Address, state: AccountState) -> Self {
        Self {
            address,
            state,
            txs: BTreeMap::new(),
            ready: 0,
            ready_cost: U256::ZERO,
            first: None,
            last: None,
            stuck: false,
        }
    }

    /// The first nonce that neither the chain nor the ready transactions have.
    pub(crate) fn next_nonce(&self) -> u64 {
        self.state.nonce.saturating_add(self.ready as u64)
    }

    /// Takes a transaction out of the list and the index. [`Self::refresh`] from its nonce on must follow.
    pub(crate) fn take(&mut self, nonce: u64, index: &mut Index) -> Option<Entry> {
        let entry = self.txs.remove(&nonce)?;
        if entry.is_ready() {
            self.ready -= 1;
            self.ready_cost = self.ready_cost.saturating_sub(entry.cost);
            index.unready(&entry);
        } else {
            index.unwait(&entry);
        }
        Some(entry)
    }

    /// Puts a transaction into the list. [`Self::refresh`] from its nonce on must follow.
    pub(crate) fn put(&mut self, entry: Entry, index: &mut Index) {
        index.wait(&entry, self.address);
        self.txs.insert(entry.tx.nonce(), entry);
    }

    /// Decides anew which transactions from nonce `from` on are ready, and brings the index in line. Those that became ready
    /// for the first time are appended to `promoted`.
    pub(crate) fn refresh(
        &mut self,
        from: u64,
        view: View<'_>,
        index: &mut Index,
        promoted: &mut Vec<Arc<RecoveredTx>>,
    ) {
        let (mut expected, mut unbroken, mut chain_tip, mut chain_cap) = match self.txs.range(..from).next_back() {
            Some((nonce, entry)) => (nonce.saturating_add(1), entry.is_ready(), entry.chain_tip, entry.chain_cap),
            None => (self.state.nonce, true, u128::MAX, u128::MAX),
        };
        let mut ready_cost = self.ready_cost;
        let is_stuck = |standing: Standing| matches!(standing, Standing::Unfunded | Standing::Refused);
        let mut stuck = self.txs.range(..from).any(|(_, entry)| is_stuck(entry.standing));
        for (&nonce, entry) in self.txs.range_mut(from..) {
            chain_tip = chain_tip.min(entry.tx.tip());
            chain_cap = chain_cap.min(entry.tx.fee_cap());
            let old_cost = entry.cost;
            if entry.cost_epoch != view.fee_epoch {
                entry.cost = view.head.cost(&entry.tx).unwrap_or(U256::MAX);
                entry.cost_epoch = view.fee_epoch;
            }
            let standing = if !unbroken {
                Standing::Behind
            } else if nonce != expected {
                Standing::NonceGap
            } else if entry.refused {
                Standing::Refused
            } else if entry.cost > self.state.balance {
                Standing::Unfunded
            } else if entry.tx.gas_limit() > view.head.gas_limit {
                Standing::OverGasLimit
            } else {
                Standing::Ready
            };
            let was_ready = entry.is_ready();
            let is_ready = standing == Standing::Ready;
            if was_ready {
                ready_cost = ready_cost.saturating_sub(old_cost);
            }
            if is_ready {
                ready_cost = ready_cost.saturating_add(entry.cost);
            }
            if was_ready && (!is_ready || entry.chain_cap != chain_cap) {
                index.unready(entry);
            } else if !was_ready && is_ready {
                index.unwait(entry);
            }
            let enters = is_ready && (!was_ready || entry.chain_cap != chain_cap);
            entry.standing = standing;
            entry.chain_tip = chain_tip;
            entry.chain_cap = chain_cap;
            if enters {
                index.ready(entry);
            }
            if was_ready && !is_ready {
                entry.since = view.now;
                index.wait(entry, self.address);
                self.ready -= 1;
            } else if !was_ready && is_ready {
                self.ready += 1;
                if !entry.announced {
                    entry.announced = true;
                    promoted.push(entry.tx.tx().clone());
                }
            }
            stuck |= is_stuck(standing);
            unbroken = is_ready;
            expected = nonce.saturating_add(1);
        }
        self.ready_cost = ready_cost;
        if stuck != self.stuck {
            self.stuck = stuck;
            if stuck {
                index.stuck.insert(self.address);
            } else {
                index.stuck.remove(&self.address);
            }
        }
        self.reindex_ends(index);
    }

    fn reindex_ends(&mut self, index: &mut Index) {
        let first = self.txs.first_key_value().map(|(_, entry)| entry).filter(|e| e.is_ready()).map(Entry::own_key);
        if first != self.first {
            if let Some(key) = self.first.take() {
                index.firsts.remove(&key);
            }
            if let Some(key) = first {
                index.firsts.insert(key, self.address);
            }
            self.first = first;
        }
        let last = self.txs.last_key_value().map(|(_, entry)| (entry.is_ready(), entry.chain_key()));
        if last != self.last {
            if let Some((ready, key)) = self.last.take() {
                index.lasts_mut(ready).remove(&key);
            }
            if let Some((ready, key)) = last {
                index.lasts_mut(ready).insert(key, self.address);
            }
            self.last = last;
        }
    }
}
