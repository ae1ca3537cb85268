//! Transactions that wait for a block.
//!
//! A pure structure: the caller passes account states and the time. Signatures have been checked before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::block::LedgerParams;
use crate::contracts::NativeContracts;
use crate::execute::{Rejection, check_stateless};
use crate::keys::AccountId;
use crate::state::Account;
use crate::tx::{Tx, TxId, VerifiedTx};

/// Bounds of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most transactions in all.
    pub transactions: usize,
    /// Most bytes in all.
    pub bytes: usize,
    /// Most transactions of one account, and how far a nonce may be ahead of the account's.
    pub per_account: u64,
    /// Least gas limit.
    pub min_gas_limit: u64,
    /// Seconds after which a waiting transaction is dropped.
    pub expiry: u64,
}

impl Default for Limits {
    /// The published node's bounds, plus one on the bytes.
    fn default() -> Self {
        Self {
            transactions: 10_000,
            bytes: 256 * 1024 * 1024,
            per_account: 64,
            min_gas_limit: 75_000,
            expiry: 3 * 24 * 60 * 60,
        }
    }
}

/// Why a transaction is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MempoolError {
    /// It could never be included.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The same transaction waits already.
    #[error("the transaction is in the mempool already")]
    Known,
    /// Blobs whose data are missing, or were not proved to be those of their hashes.
    #[error("the transaction's blobs were not checked: submit it with its blobs to a node that keeps them")]
    UncheckedBlobs,
    /// Another one with this nonce waits and pays at least as much.
    #[error("a transaction with nonce {nonce} waits at a gas price of {price} lux: offer more to replace it")]
    Underpriced {
        /// The nonce.
        nonce: u64,
        /// Price of the one that waits.
        price: u64,
    },
    /// The nonce is too far ahead.
    #[error("nonce {nonce} is more than {limit} ahead of the account's {account}: send the missing ones first")]
    NonceGap {
        /// What the transaction says.
        nonce: u64,
        /// What the account has.
        account: u64,
        /// How far it may be ahead.
        limit: u64,
    },
    /// The pool is full of better-paying transactions.
    #[error("the mempool is full: offer a gas price above {price} lux")]
    Full {
        /// What the cheapest one pays.
        price: u64,
    },
}

/// What taking a transaction did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inserted {
    /// The transaction with the same account and nonce that it replaced.
    pub replaced: Option<TxId>,
    /// Transactions that had to make room.
    pub evicted: Vec<TxId>,
}

#[derive(Debug, Clone)]
struct Waiting {
    tx: VerifiedTx,
    since: u64,
}

/// The pool.
#[derive(Clone)]
pub struct Mempool {
    limits: Limits,
    params: LedgerParams,
    contracts: Arc<dyn NativeContracts + Send + Sync>,
    queues: BTreeMap<AccountId, BTreeMap<u64, Waiting>>,
    ids: HashMap<TxId, (AccountId, u64)>,
    bytes: usize,
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool").field("len", &self.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Mempool {
    /// An empty pool of one network.
    pub fn new(limits: Limits, params: LedgerParams, contracts: Arc<dyn NativeContracts + Send + Sync>) -> Self {
        Self { limits, params, contracts, queues: BTreeMap::new(), ids: HashMap::new(), bytes: 0 }
    }

    /// Number of waiting transactions.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Bytes of all waiting transactions.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a transaction waits here.
    pub fn contains(&self, id: &TxId) -> bool {
        self.ids.contains_key(id)
    }

    /// Whether the sender, in the state that `account` gives, could pay for the transaction and has not used its nonce. Costs
    /// nothing, unlike the check of its signature, so it comes before that.
    ///
    /// # Errors
    /// [`Rejection::NonceUsed`], [`Rejection::InsufficientBalance`], [`Rejection::Overflow`], [`MempoolError::NonceGap`].
    pub fn check_account(&self, tx: &Tx, account: Account) -> Result<(), MempoolError> {
        let nonce = tx.nonce();
        if nonce <= account.nonce {
            return Err(Rejection::NonceUsed { got: nonce, next: account.nonce.saturating_add(1) }.into());
        }
        if nonce - account.nonce > self.limits.per_account {
            let limit = self.limits.per_account;
            return Err(MempoolError::NonceGap { nonce, account: account.nonce, limit });
        }
        let need = tx.cost().ok_or(Rejection::Overflow)?;
        if account.balance < need {
            return Err(Rejection::InsufficientBalance { have: account.balance, need }.into());
        }
        Ok(())
    }

    /// A transaction that waits here.
    pub fn get(&self, id: &TxId) -> Option<&VerifiedTx> {
        let (account, nonce) = self.ids.get(id)?;
        Some(&self.queues.get(account)?.get(nonce)?.tx)
    }

    /// Ids of all that waits here, in no particular order.
    pub fn ids(&self) -> impl Iterator<Item = &TxId> {
        self.ids.keys()
    }

    /// The nonce that the account's next transaction should carry, counting what waits without a gap.
    pub fn next_nonce(&self, id: &AccountId, account: Account) -> u64 {
        let mut next = account.nonce.saturating_add(1);
        if let Some(queue) = self.queues.get(id) {
            while queue.contains_key(&next) {
                next = next.saturating_add(1);
            }
        }
        next
    }

    /// Takes a transaction. `account` is the sender's state at the tip, `now` the time in seconds. Blobs must have been
    /// [checked](VerifiedTx::with_checked_blobs); they wait here with the transaction and count in its bytes.
    pub fn insert(&mut self, tx: VerifiedTx, account: Account, now: u64) -> Result<Inserted, MempoolError> {
        check_stateless(&tx, &self.params.tx_rules(&*self.contracts))?;
        if tx.gas_limit() < self.limits.min_gas_limit {
            return Err(Rejection::GasLimitTooLow { got: tx.gas_limit(), need: self.limits.min_gas_limit }.into());
        }
        if self.contains(tx.id()) {
            return Err(MempoolError::Known);
        }
        if !tx.blobs_checked() {
            return Err(MempoolError::UncheckedBlobs);
        }
        self.check_account(&tx, account)?;
        let (nonce, sender) = (tx.nonce(), *tx.sender());
        let mut outcome = Inserted::default();
        if let Some(old) = self.queues.get(&sender).and_then(|queue| queue.get(&nonce)) {
            if tx.gas_price() <= old.tx.gas_price() {
                return Err(MempoolError::Underpriced { nonce, price: old.tx.gas_price() });
            }
            outcome.replaced = Some(*old.tx.id());
        }
        let freed = outcome.replaced.and_then(|id| self.size_of(&id));
        outcome.evicted = self.make_room(&tx, freed)?;
        if let Some(old) = outcome.replaced {
            self.remove(&old);
        }
        for id in &outcome.evicted {
            self.remove(id);
        }
        self.bytes += tx.size();
        self.ids.insert(*tx.id(), (sender, nonce));
        self.queues.entry(sender).or_default().insert(nonce, Waiting { tx, since: now });
        Ok(outcome)
    }

    fn size_of(&self, id: &TxId) -> Option<usize> {
        Some(self.get(id)?.size())
    }

    /// Which transactions must go for `tx` to fit. Only the last of an account's queue is ever chosen, so that no gap
    /// opens in front of others; it must pay less than the newcomer.
    fn make_room(&self, tx: &VerifiedTx, freed: Option<usize>) -> Result<Vec<TxId>, MempoolError> {
        let mut count = self.len() - usize::from(freed.is_some()) + 1;
        let mut bytes = self.bytes - freed.unwrap_or(0) + tx.size();
        let over = |count: usize, bytes: usize| count > self.limits.transactions || bytes > self.limits.bytes;
        if !over(count, bytes) {
            return Ok(Vec::new());
        }
        // Tails by price; the sender's own queue stays as it is, or its new transaction could lose its predecessor.
        let mut tails: BTreeSet<(u64, AccountId, u64)> = self
            .queues
            .iter()
            .filter(|(id, _)| *id != tx.sender())
            .filter_map(|(id, queue)| queue.last_key_value().map(|(nonce, w)| (w.tx.gas_price(), *id, *nonce)))
            .collect();
        let mut victims = Vec::new();
        while over(count, bytes) {
            let Some((price, id, nonce)) = tails.pop_first() else {
                return Err(MempoolError::Full { price: tx.gas_price() });
            };
            if price >= tx.gas_price() {
                return Err(MempoolError::Full { price });
            }
            let Some(queue) = self.queues.get(&id) else { continue };
            let Some(victim) = queue.get(&nonce) else { continue };
            victims.push(*victim.tx.id());
            count -= 1;
            bytes -= victim.tx.size();
            if let Some((nonce, next)) = queue.range(..nonce).next_back() {
                tails.insert((next.tx.gas_price(), id, *nonce));
            }
        }
        Ok(victims)
    }

    /// Drops one transaction.
    pub fn remove(&mut self, id: &TxId) -> bool {
        let Some((account, nonce)) = self.ids.remove(id) else { return false };
        if let Some(queue) = self.queues.get_mut(&account) {
            if let Some(waiting) = queue.remove(&nonce) {
                self.bytes -= waiting.tx.size();
            }
            if queue.is_empty() {
                self.queues.remove(&account);
            }
        }
        true
    }

    /// The transactions that can run now, best price first, each after those of its account with a lower nonce.
    ///
    /// `nonce_of` gives the account's nonce at the tip.
    pub fn ready(&self, mut nonce_of: impl FnMut(&AccountId) -> u64) -> Vec<&VerifiedTx> {
        let mut heads: BTreeSet<(u64, std::cmp::Reverse<AccountId>)> = BTreeSet::new();
        let mut next: BTreeMap<AccountId, u64> = BTreeMap::new();
        for (id, queue) in &self.queues {
            let nonce = nonce_of(id).saturating_add(1);
            if let Some(waiting) = queue.get(&nonce) {
                heads.insert((waiting.tx.gas_price(), std::cmp::Reverse(*id)));
                next.insert(*id, nonce);
            }
        }
        let mut out = Vec::new();
        while let Some((_, std::cmp::Reverse(id))) = heads.pop_last() {
            let (Some(nonce), Some(queue)) = (next.get_mut(&id), self.queues.get(&id)) else { continue };
            if let Some(waiting) = queue.get(nonce) {
                out.push(&waiting.tx);
            }
            *nonce = nonce.saturating_add(1);
            if let Some(waiting) = queue.get(nonce) {
                heads.insert((waiting.tx.gas_price(), std::cmp::Reverse(id)));
            }
        }
        out
    }

    /// After a block: drops what the accounts' new nonces made void. `changed` are the senders of the block with their
    /// new state. Returns what was dropped.
    pub fn on_block(&mut self, changed: impl IntoIterator<Item = (AccountId, Account)>) -> Vec<TxId> {
        let mut dropped = Vec::new();
        for (id, account) in changed {
            if let Some(queue) = self.queues.get(&id) {
                dropped.extend(queue.range(..=account.nonce).map(|(_, waiting)| *waiting.tx.id()));
            }
        }
        for id in &dropped {
            self.remove(id);
        }
        dropped
    }

    /// After a block was taken back: takes its transactions again, in their order, as if they had just come. `account_of` gives
    /// the senders' state at the new tip. Returns those that do not wait here now, with the reason; [`MempoolError::Known`] and
    /// [`MempoolError::Underpriced`] mean that something at least as good does.
    ///
    /// Blobs of a block that was kept without them must be found and checked again before.
    pub fn revive(
        &mut self,
        txs: impl IntoIterator<Item = VerifiedTx>,
        mut account_of: impl FnMut(&AccountId) -> Account,
        now: u64,
    ) -> Vec<(TxId, MempoolError)> {
        let mut refused = Vec::new();
        for tx in txs {
            let (id, account) = (*tx.id(), account_of(tx.sender()));
            if let Err(error) = self.insert(tx, account, now) {
                refused.push((id, error));
            }
        }
        refused
    }

    /// Drops what has waited too long and returns it.
    pub fn expire(&mut self, now: u64) -> Vec<TxId> {
        let limit = self.limits.expiry;
        let old: Vec<TxId> = self
            .queues
            .values()
            .flat_map(BTreeMap::values)
            .filter(|waiting| now.saturating_sub(waiting.since) > limit)
            .map(|waiting| *waiting.tx.id())
            .collect();
        for id in &old {
            self.remove(id);
        }
        old
    }
}

#[cfg(test)]
#[path = "mempool_tests.rs"]
mod tests;
