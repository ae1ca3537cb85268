//! What the pool tells about itself.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256};
use duskevm_evm::RecoveredTx;

use crate::{
    account::Account,
    pool::{Pool, Standing},
};

/// Numbers of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStatus {
    /// Ready and payable at the next base fee.
    pub pending: usize,
    /// All others.
    pub queued: usize,
    /// Senders.
    pub senders: usize,
    /// Encoded bytes of all.
    pub bytes: usize,
}

/// One sender's transactions by nonce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SenderContent {
    /// Ready and payable at the next base fee.
    pub pending: BTreeMap<u64, Arc<RecoveredTx>>,
    /// The others.
    pub queued: BTreeMap<u64, Arc<RecoveredTx>>,
}

/// All transactions by sender.
pub type Content = BTreeMap<Address, SenderContent>;

impl Pool {
    /// Is this transaction in the pool?
    pub fn contains(&self, hash: &B256) -> bool {
        self.catalog.by_hash.contains_key(hash)
    }

    /// A transaction by its hash.
    pub fn get(&self, hash: &B256) -> Option<&Arc<RecoveredTx>> {
        let (sender, nonce) = self.catalog.place(hash)?;
        Some(self.accounts.get(&sender)?.txs.get(&nonce)?.tx.tx())
    }

    /// Where a transaction stands.
    pub fn standing(&self, hash: &B256) -> Option<Standing> {
        let (sender, nonce) = self.catalog.place(hash)?;
        Some(self.accounts.get(&sender)?.txs.get(&nonce)?.standing)
    }

    /// The first nonce that a sender has neither in the chain nor ready in the pool; `None` if it has nothing in the pool, so
    /// that the chain's nonce is the answer.
    pub fn next_nonce(&self, sender: &Address) -> Option<u64> {
        self.accounts.get(sender).map(Account::next_nonce)
    }

    /// Number of transactions.
    pub fn len(&self) -> usize {
        self.catalog.by_hash.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.catalog.by_hash.is_empty()
    }

    /// Numbers by state, in constant time.
    pub fn status(&self) -> PoolStatus {
        let pending = self.index.pending();
        PoolStatus { pending, queued: self.len() - pending, senders: self.accounts.len(), bytes: self.catalog.bytes }
    }

    /// Everything, by sender and nonce.
    pub fn content(&self) -> Content {
        self.accounts.iter().map(|(&sender, account)| (sender, self.split(account))).collect()
    }

    /// One sender's transactions.
    pub fn content_from(&self, sender: &Address) -> SenderContent {
        self.accounts.get(sender).map(|account| self.split(account)).unwrap_or_default()
    }

    /// Every transaction, in the order of arrival.
    pub fn all(&self) -> Vec<Arc<RecoveredTx>> {
        let mut all: Vec<_> = self
            .accounts
            .values()
            .flat_map(|account| account.txs.values().map(|entry| (entry.seq, entry.tx.tx().clone())))
            .collect();
        all.sort_unstable_by_key(|(seq, _)| *seq);
        all.into_iter().map(|(_, tx)| tx).collect()
    }

    fn split(&self, account: &Account) -> SenderContent {
        let mut content = SenderContent::default();
        for (&nonce, entry) in &account.txs {
            let pending = entry.is_ready() && entry.chain_cap >= u128::from(self.index.base_fee());
            let part = if pending { &mut content.pending } else { &mut content.queued };
            part.insert(nonce, entry.tx.tx().clone());
        }
        content
    }
}
