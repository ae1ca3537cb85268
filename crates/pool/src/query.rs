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

/// All transactions with their places, as taken from the pool at one moment; not in any order. Taking it costs little, so that a
/// pool of many transactions is not kept from its work while [`Listing::sorted`] does the rest elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Listing(Vec<Listed>);

#[derive(Debug, Clone)]
struct Listed {
    sender: Address,
    nonce: u64,
    pending: bool,
    tx: Arc<RecoveredTx>,
}

impl Listing {
    /// The same by sender and nonce.
    pub fn sorted(self) -> Content {
        let mut content = Content::new();
        for Listed { sender, nonce, pending, tx } in self.0 {
            let of_sender = content.entry(sender).or_default();
            let part = if pending { &mut of_sender.pending } else { &mut of_sender.queued };
            part.insert(nonce, tx);
        }
        content
    }
}

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
        self.listing().sorted()
    }

    /// Everything, in no order.
    pub fn listing(&self) -> Listing {
        let mut listing = Vec::with_capacity(self.len());
        for account in self.accounts.values() {
            listing.extend(self.listed(account));
        }
        Listing(listing)
    }

    /// One sender's transactions.
    pub fn content_from(&self, sender: &Address) -> SenderContent {
        let listing: Vec<_> = self.accounts.get(sender).into_iter().flat_map(|account| self.listed(account)).collect();
        Listing(listing).sorted().remove(sender).unwrap_or_default()
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

    fn listed<'a>(&'a self, account: &'a Account) -> impl Iterator<Item = Listed> + 'a {
        account.txs.iter().map(|(&nonce, entry)| Listed {
            sender: account.address,
            nonce,
            pending: entry.is_ready() && entry.chain_cap >= u128::from(self.index.base_fee()),
            tx: entry.tx.tx().clone(),
        })
    }
}
