//! The orders that span senders.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, map::AddressSet};

use crate::{account::Entry, order::FeeOrder};

/// The orders that span senders. [`crate::account::Account::refresh`] keeps them in line.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The first transaction of each sender, if it is ready, by what it pays itself.
    pub firsts: FeeOrder,
    /// The last transaction of each sender whose last one is ready, by the cheapest of its list.
    ready_lasts: FeeOrder,
    /// The same for those whose last one is waiting.
    waiting_lasts: FeeOrder,
    /// Ready transactions by the lowest fee cap up to them: (cap, seq).
    ready_caps: BTreeSet<(u128, u64)>,
    /// How many of them lie below the base fee.
    parked: usize,
    /// Waiting transactions by age: (since, seq) to sender and nonce.
    waiting: BTreeMap<(u64, u64), (Address, u64)>,
    /// Senders of which a transaction cannot be paid or was refused by execution.
    pub stuck: AddressSet,
    base_fee: u64,
}

impl Index {
    pub(crate) fn set_base_fee(&mut self, base_fee: u64) {
        self.firsts.set_base_fee(base_fee);
        self.ready_lasts.set_base_fee(base_fee);
        self.waiting_lasts.set_base_fee(base_fee);
        let (old, new) = (u128::from(self.base_fee), u128::from(base_fee));
        let between = self.ready_caps.range((old.min(new), 0)..(old.max(new), 0)).count();
        if new > old {
            self.parked += between;
        } else {
            self.parked -= between;
        }
        self.base_fee = base_fee;
    }

    pub(crate) const fn base_fee(&self) -> u64 {
        self.base_fee
    }

    fn is_parked(&self, entry: &Entry) -> bool {
        entry.chain_cap < u128::from(self.base_fee)
    }

    pub(crate) fn ready(&mut self, entry: &Entry) {
        if self.ready_caps.insert((entry.chain_cap, entry.seq)) && self.is_parked(entry) {
            self.parked += 1;
        }
    }

    pub(crate) fn unready(&mut self, entry: &Entry) {
        if self.ready_caps.remove(&(entry.chain_cap, entry.seq)) && self.is_parked(entry) {
            self.parked -= 1;
        }
    }

    pub(crate) fn wait(&mut self, entry: &Entry, sender: Address) {
        self.waiting.insert((entry.since, entry.seq), (sender, entry.tx.nonce()));
    }

    pub(crate) fn unwait(&mut self, entry: &Entry) {
        self.waiting.remove(&(entry.since, entry.seq));
    }

    /// The sender and nonce of the longest waiting transaction, and since when it waits.
    pub(crate) fn oldest_waiting(&self) -> Option<(u64, Address, u64)> {
        self.waiting.first_key_value().map(|(&(since, _), &(sender, nonce))| (since, sender, nonce))
    }

    pub(crate) fn lasts_mut(&mut self, ready: bool) -> &mut FeeOrder {
        if ready { &mut self.ready_lasts } else { &mut self.waiting_lasts }
    }

    pub(crate) const fn lasts(&self, ready: bool) -> &FeeOrder {
        if ready { &self.ready_lasts } else { &self.waiting_lasts }
    }

    /// Ready and payable at the base fee.
    pub(crate) fn pending(&self) -> usize {
        self.ready_caps.len() - self.parked
    }
}
