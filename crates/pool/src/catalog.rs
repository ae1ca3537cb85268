//! All pooled transactions by hash, and their totals.

use alloy_primitives::{
    Address, B256,
    map::{AddressMap, B256Map},
};

use crate::{account::Entry, config::PoolConfig, tx::PoolTx};

/// All pooled transactions by hash, and their totals.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Sender and nonce.
    pub by_hash: B256Map<(Address, u64)>,
    /// How many pooled transactions carry an authorization of an account.
    authorized: AddressMap<usize>,
    pub slots: usize,
    pub bytes: usize,
}

impl Catalog {
    pub(crate) fn place(&self, hash: &B256) -> Option<(Address, u64)> {
        self.by_hash.get(hash).copied()
    }

    pub(crate) fn has_authorization_of(&self, address: &Address) -> bool {
        self.authorized.contains_key(address)
    }

    pub(crate) fn enter(&mut self, tx: &PoolTx, config: &PoolConfig) {
        self.by_hash.insert(tx.hash(), (tx.sender(), tx.nonce()));
        self.slots += config.slots_of(tx.size());
        self.bytes += tx.size();
        for authority in tx.authorities() {
            *self.authorized.entry(*authority).or_default() += 1;
        }
    }

    pub(crate) fn leave(&mut self, entry: &Entry, config: &PoolConfig) {
        self.by_hash.remove(&entry.tx.hash());
        self.slots -= config.slots_of(entry.tx.size());
        self.bytes -= entry.tx.size();
        for authority in entry.tx.authorities() {
            if let Some(count) = self.authorized.get_mut(authority) {
                *count -= 1;
                if *count == 0 {
                    self.authorized.remove(authority);
                }
            }
        }
    }
}
