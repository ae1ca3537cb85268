//! Following the chain.

use std::sync::Arc;

use alloy_primitives::{
    Address, B256,
    map::{AddressSet, B256Set},
};
use duskevm_evm::RecoveredTx;

use crate::{
    account::View,
    error::PoolError,
    head::{AccountReadError, AccountReader, Head},
    pool::{Added, Origin, Pool},
    tx::PoolTx,
};

/// The accounts whose nonce, balance or code differ between the pool's head and the new one.
#[derive(Debug, Clone)]
pub enum Touched {
    /// These, and no others.
    Accounts(Vec<Address>),
    /// Not known: read every sender again.
    All,
}

/// A new head.
#[derive(Debug)]
pub struct HeadChange {
    /// The new head.
    pub head: Head,
    /// Which accounts changed.
    pub touched: Touched,
    /// Hashes of the transactions that came into the chain. It may list more than the pool has.
    pub mined: Vec<B256>,
    /// Transactions of blocks that left the chain, in block order. They come back into the pool.
    pub reorged_out: Vec<PoolTx>,
}

/// A transaction of a block that left the chain, offered to the pool again.
#[derive(Debug)]
pub struct Reinjected {
    /// The transaction.
    pub tx: Arc<RecoveredTx>,
    /// Whether the pool took it. The usual refusal is that its nonce is used in the new chain.
    pub result: Result<Added, PoolError>,
}

/// What a new head did to the pool.
#[derive(Debug, Default)]
pub struct HeadEffects {
    /// Left the pool because they are in the chain now.
    pub included: Vec<Arc<RecoveredTx>>,
    /// Left the pool because another transaction used their nonce.
    pub superseded: Vec<Arc<RecoveredTx>>,
    /// Became ready for the first time, except through `reinjected`.
    pub promoted: Vec<Arc<RecoveredTx>>,
    /// What became of the transactions that lost their block.
    pub reinjected: Vec<Reinjected>,
}

impl Pool {
    /// Moves to a new head. `reader` reads accounts there; `now` is in seconds.
    ///
    /// # Errors
    /// [`AccountReadError`]; the pool stays at its old head then.
    pub fn on_head(
        &mut self,
        change: HeadChange,
        reader: &dyn AccountReader,
        now: u64,
    ) -> Result<HeadEffects, AccountReadError> {
        let HeadChange { head, touched, mined, reorged_out } = change;
        let mut senders: AddressSet = match touched {
            Touched::All => self.accounts.keys().copied().collect(),
            Touched::Accounts(list) => list.into_iter().filter(|sender| self.accounts.contains_key(sender)).collect(),
        };
        // The sender of an included transaction changed, whatever the list says.
        senders.extend(mined.iter().filter_map(|hash| self.catalog.place(hash)).map(|(sender, _)| sender));
        let mut states = Vec::with_capacity(senders.len());
        for &sender in &senders {
            states.push((sender, reader.account(sender)?));
        }

        let new_fees = !head.same_l1_fees(&self.head);
        if new_fees {
            self.fee_epoch += 1;
        }
        let new_rules = !head.same_rules(&self.head);
        self.head = head;
        self.index.set_base_fee(self.head.base_fee);

        let mut effects = HeadEffects::default();
        let mined: B256Set = mined.into_iter().collect();
        let view = View { head: &self.head, fee_epoch: self.fee_epoch, now };
        for (sender, state) in states {
            let Some(account) = self.accounts.get_mut(&sender) else { continue };
            account.state = state;
            while let Some((&nonce, _)) = account.txs.first_key_value().filter(|(nonce, _)| **nonce < state.nonce) {
                let Some(entry) = account.take(nonce, &mut self.index) else { break };
                self.catalog.leave(&entry, &self.config);
                let gone =
                    if mined.contains(&entry.tx.hash()) { &mut effects.included } else { &mut effects.superseded };
                gone.push(entry.tx.tx().clone());
            }
            for entry in account.txs.values_mut() {
                entry.refused = false;
            }
            account.refresh(0, view, &mut self.index, &mut effects.promoted);
            if account.txs.is_empty() {
                self.accounts.remove(&sender);
            }
        }
        // A transaction that was too dear for its sender may be payable now, and so may one that execution refused. The ready
        // ones are left alone: fees that rose show when they are executed.
        let stuck: Vec<Address> = if new_fees { self.index.stuck.iter().copied().collect() } else { Vec::new() };
        for sender in stuck.into_iter().filter(|sender| !senders.contains(sender)) {
            if let Some(account) = self.accounts.get_mut(&sender) {
                account.txs.values_mut().for_each(|entry| entry.refused = false);
                account.refresh(0, view, &mut self.index, &mut effects.promoted);
            }
        }
        if new_rules {
            for account in self.accounts.values_mut().filter(|account| !senders.contains(&account.address)) {
                account.refresh(0, view, &mut self.index, &mut effects.promoted);
            }
        }
        for tx in reorged_out {
            let offered = tx.tx().clone();
            let result = self.add(tx, Origin::Restored, reader, now);
            effects.reinjected.push(Reinjected { tx: offered, result });
        }
        Ok(effects)
    }
}
