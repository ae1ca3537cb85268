//! The pool itself: adding, removing, expiring.

use std::sync::Arc;

use alloy_primitives::{Address, B256, map::AddressMap};
use duskevm_evm::RecoveredTx;

use crate::{
    account::{Account, Entry, View},
    catalog::Catalog,
    config::PoolConfig,
    error::PoolError,
    head::{AccountReadError, AccountReader, AccountState, Head},
    index::Index,
    tx::PoolTx,
};

/// Where a transaction in the pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Can be in the next block, if its fee cap covers the base fee.
    Ready,
    /// Earlier nonces of its sender are missing.
    NonceGap,
    /// The sender's balance does not cover it at the head.
    Unfunded,
    /// Its gas limit is above that of the next block.
    OverGasLimit,
    /// Execution refused it; looked at again when its sender changes.
    Refused,
    /// An earlier transaction of its sender waits.
    Behind,
}

/// How a transaction comes into the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Submitted: every rule holds.
    Submitted,
    /// Accepted before, by this pool in an earlier life or by a block that is no longer part of the chain. It was promised to
    /// somebody, so that rules of price and balance do not refuse it; it waits if need be.
    Restored,
}

/// What accepting a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Of the accepted transaction.
    pub hash: B256,
    /// Where it stands now.
    pub standing: Standing,
    /// The transaction that it replaced.
    pub replaced: Option<Arc<RecoveredTx>>,
    /// Cheaper transactions that had to make room.
    pub evicted: Vec<Arc<RecoveredTx>>,
    /// Transactions that became ready, in nonce order: this one, and those that waited for it.
    pub promoted: Vec<Arc<RecoveredTx>>,
}

/// The transaction pool. See the crate's documentation.
#[derive(Debug)]
pub struct Pool {
    pub(crate) config: PoolConfig,
    pub(crate) head: Head,
    /// Grows when the L1 fees of transactions change; never 0.
    pub(crate) fee_epoch: u64,
    next_seq: u64,
    pub(crate) accounts: AddressMap<Account>,
    pub(crate) catalog: Catalog,
    pub(crate) index: Index,
}

/// What adding a transaction comes to.
struct Plan {
    /// Gas that it uses at least.
    min_gas: u64,
    /// Its sender at the head.
    state: AccountState,
    /// Sender and nonce of those that must leave for it.
    victims: Vec<(Address, u64)>,
}

impl Pool {
    /// An empty pool at a head.
    pub fn new(config: PoolConfig, head: Head) -> Self {
        let mut index = Index::default();
        index.set_base_fee(head.base_fee);
        Self {
            config,
            head,
            fee_epoch: 1,
            next_seq: 0,
            accounts: AddressMap::default(),
            catalog: Catalog::default(),
            index,
        }
    }

    /// The limits that it was made with.
    pub const fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// The head that its standings are of.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Would [`Self::add`] take this transaction now? For an outline of one, all rules but those about its authorities are asked.
    ///
    /// # Errors
    /// [`PoolError`] says which rule refuses it.
    pub fn check(&self, tx: &PoolTx, origin: Origin, reader: &dyn AccountReader) -> Result<(), PoolError> {
        self.plan(tx, origin, reader).map(drop)
    }

    fn plan(&self, tx: &PoolTx, origin: Origin, reader: &dyn AccountReader) -> Result<Plan, PoolError> {
        if self.contains(&tx.hash()) {
            return Err(PoolError::AlreadyKnown(tx.hash()));
        }
        let min_gas = self.check_alone(tx, origin)?;
        // A sender that is in the pool was read at this head already.
        let state = match self.accounts.get(&tx.sender()) {
            Some(account) => account.state,
            None => reader.account(tx.sender())?,
        };
        self.check_with_sender(tx, origin, &state)?;
        let victims = self.plan_room(tx, &state)?;
        Ok(Plan { min_gas, state, victims })
    }

    /// Offers a transaction. `reader` reads accounts at [`Self::head`]; `now` is in seconds, from any fixed start.
    ///
    /// # Errors
    /// [`PoolError`] says which rule refused it; the pool is then as it was before.
    pub fn add(
        &mut self,
        tx: PoolTx,
        origin: Origin,
        reader: &dyn AccountReader,
        now: u64,
    ) -> Result<Added, PoolError> {
        let mut tx = tx;
        tx.recover();
        let Plan { min_gas, state, victims } = self.plan(&tx, origin, reader)?;

        // From here on nothing fails.
        let mut promoted = Vec::new();
        let mut evicted = Vec::with_capacity(victims.len());
        for (sender, nonce) in victims {
            evicted.extend(self.remove_at(sender, nonce, now, &mut promoted));
        }
        let (hash, sender, nonce) = (tx.hash(), tx.sender(), tx.nonce());
        let account = self.accounts.entry(sender).or_insert_with(|| Account::new(sender, state));
        let replaced = account.take(nonce, &mut self.index);
        if let Some(old) = &replaced {
            self.catalog.leave(old, &self.config);
        }

        let seq = self.next_seq;
        self.next_seq += 1;
        self.catalog.enter(&tx, &self.config);
        account.put(Entry::new(Arc::new(tx), seq, min_gas, now), &mut self.index);
        let view = View { head: &self.head, fee_epoch: self.fee_epoch, now };
        account.refresh(nonce, view, &mut self.index, &mut promoted);
        let standing = account.txs.get(&nonce).map_or(Standing::NonceGap, |entry| entry.standing);
        Ok(Added { hash, standing, replaced: replaced.map(|entry| entry.tx.tx().clone()), evicted, promoted })
    }

    /// Execution found a pooled transaction invalid, although the pool counts it as ready. If the state at the head explains
    /// it, the transaction waits for that; otherwise it is set aside until its sender changes, so that it is not tried in
    /// every block.
    ///
    /// # Errors
    /// [`AccountReadError`]; nothing changed then.
    pub fn refuse(&mut self, hash: &B256, reader: &dyn AccountReader, now: u64) -> Result<(), AccountReadError> {
        let Some((sender, nonce)) = self.catalog.place(hash) else { return Ok(()) };
        let state = reader.account(sender)?;
        let Some(account) = self.accounts.get_mut(&sender) else { return Ok(()) };
        // The nonce is the business of `on_head`, which also takes out what is below it.
        account.state.balance = state.balance;
        account.state.code = state.code;
        let view = View { head: &self.head, fee_epoch: self.fee_epoch, now };
        let mut promoted = Vec::new();
        account.refresh(0, view, &mut self.index, &mut promoted);
        if let Some(entry) = account.txs.get_mut(&nonce).filter(|entry| entry.is_ready()) {
            entry.refused = true;
            account.refresh(nonce, view, &mut self.index, &mut promoted);
        }
        Ok(())
    }

    /// Removes one transaction, whatever its standing; those of its sender after it wait. Returns it if it was there.
    pub fn remove(&mut self, hash: &B256, now: u64) -> Option<Arc<RecoveredTx>> {
        let (sender, nonce) = self.catalog.place(hash)?;
        self.remove_at(sender, nonce, now, &mut Vec::new())
    }

    /// Drops the transactions that have waited longer than [`PoolConfig::waiting_lifetime`].
    pub fn expire(&mut self, now: u64) -> Vec<Arc<RecoveredTx>> {
        let mut expired = Vec::new();
        while let Some((since, sender, nonce)) = self.index.oldest_waiting() {
            if now.saturating_sub(since) < self.config.waiting_lifetime {
                break;
            }
            match self.remove_at(sender, nonce, now, &mut Vec::new()) {
                Some(tx) => expired.push(tx),
                None => break,
            }
        }
        expired
    }

    pub(crate) fn remove_at(
        &mut self,
        sender: Address,
        nonce: u64,
        now: u64,
        promoted: &mut Vec<Arc<RecoveredTx>>,
    ) -> Option<Arc<RecoveredTx>> {
        let account = self.accounts.get_mut(&sender)?;
        let entry = account.take(nonce, &mut self.index)?;
        self.catalog.leave(&entry, &self.config);
        let view = View { head: &self.head, fee_epoch: self.fee_epoch, now };
        account.refresh(nonce, view, &mut self.index, promoted);
        if account.txs.is_empty() {
            self.accounts.remove(&sender);
        }
        Some(entry.tx.tx().clone())
    }
}
