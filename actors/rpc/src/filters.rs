//! Installed filters. They keep no results, only where they stand: what is new since then is read from the chain when it is asked for.

use crate::{
    api::log::{Found, check},
    chain::Chain,
    config::Limits,
    error::RpcError,
    known::{Known, Path},
    types::{RpcTransaction, pending},
};
use alloy_primitives::{B256, map::HashMap};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};
use duskevm_evm::RecoveredTx;
use parking_lot::Mutex;
use rand::Rng;
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::broadcast;

/// Hashes that each filter remembers: how deep a reorganization may be for it to see the removed logs.
const REMEMBERED: usize = 64;

/// Pending transactions that are remembered for filters.
const PENDING: usize = 16_384;

/// What is new since the last poll.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Changes {
    /// Blocks or transactions.
    Hashes(Vec<B256>),
    /// Logs, those of reverted blocks first.
    Logs(Vec<Log>),
    /// Transactions in full.
    Transactions(Vec<RpcTransaction>),
}

#[derive(Debug)]
enum Kind {
    Blocks { seen: Known },
    Logs { filter: Box<Filter>, seen: Known },
    Pending { next: u64, full: bool },
}

#[derive(Debug)]
struct Entry {
    kind: Mutex<Kind>,
    used: Mutex<Instant>,
}

/// The newest pending transactions, numbered.
#[derive(Debug, Default)]
struct Ring {
    first: u64,
    transactions: VecDeque<Arc<RecoveredTx>>,
}

/// All installed filters.
#[derive(Debug)]
pub(crate) struct Filters {
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    ring: Mutex<Ring>,
    most: usize,
    ttl: Duration,
}

impl Filters {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            ring: Mutex::default(),
            most: limits.max_filters,
            ttl: limits.filter_ttl(),
        })
    }

    /// Remembers pending transactions until the pool's channel closes.
    pub(crate) async fn remember(self: Arc<Self>, mut pending: broadcast::Receiver<Arc<RecoveredTx>>) {
        loop {
            match pending.recv().await {
                Ok(tx) => {
                    let mut ring = self.ring.lock();
                    ring.transactions.push_back(tx);
                    if ring.transactions.len() > PENDING {
                        ring.transactions.pop_front();
                        ring.first += 1;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// # Errors
    /// If too many are installed, or the head cannot be read.
    pub(crate) fn install_blocks(&self, chain: &Chain) -> Result<String, RpcError> {
        self.install(Kind::Blocks { seen: Known::at_head(chain, REMEMBERED)? })
    }

    /// # Errors
    /// If too many are installed, or the filter is larger than allowed.
    pub(crate) fn install_logs(&self, chain: &Chain, filter: Filter) -> Result<String, RpcError> {
        check(&filter)?;
        self.install(Kind::Logs { filter: Box::new(filter), seen: Known::at_head(chain, REMEMBERED)? })
    }

    /// # Errors
    /// If too many are installed.
    pub(crate) fn install_pending(&self, full: bool) -> Result<String, RpcError> {
        let next = {
            let ring = self.ring.lock();
            ring.first + ring.transactions.len() as u64
        };
        self.install(Kind::Pending { next, full })
    }

    fn install(&self, kind: Kind) -> Result<String, RpcError> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| now.duration_since(*entry.used.lock()) < self.ttl);
        if entries.len() >= self.most {
            return Err(RpcError::LimitExceeded(format!(
                "too many filters: {} are installed, uninstall some or use subscriptions",
                self.most
            )));
        }
        let id = random_id();
        entries.insert(id.clone(), Arc::new(Entry { kind: Mutex::new(kind), used: Mutex::new(now) }));
        Ok(id)
    }

    /// Was it installed?
    pub(crate) fn uninstall(&self, id: &str) -> bool {
        self.entries.lock().remove(id).is_some()
    }

    fn find(&self, id: &str) -> Result<Arc<Entry>, RpcError> {
        let missing = || RpcError::server("filter not found");
        let entry = self.entries.lock().get(id).cloned().ok_or_else(missing)?;
        let now = Instant::now();
        let mut used = entry.used.lock();
        if now.duration_since(*used) >= self.ttl {
            drop(used);
            self.uninstall(id);
            return Err(missing());
        }
        *used = now;
        drop(used);
        Ok(entry)
    }

    /// The filter behind an id, for `eth_getFilterLogs`.
    ///
    /// # Errors
    /// If there is none, or it is not one for logs.
    pub(crate) fn log_filter(&self, id: &str) -> Result<Filter, RpcError> {
        match &*self.find(id)?.kind.lock() {
            Kind::Logs { filter, .. } => Ok((**filter).clone()),
            _ => Err(RpcError::server("filter not found")),
        }
    }

    /// What is new since the last poll. May read many blocks.
    ///
    /// # Errors
    /// If there is no such filter, or too much is new.
    pub(crate) fn changes(&self, id: &str, chain: &Chain, limits: &Limits) -> Result<Changes, RpcError> {
        let entry = self.find(id)?;
        let mut kind = entry.kind.lock();
        let head = chain.heads()?.latest;
        let most = usize::try_from(limits.max_log_blocks).unwrap_or(usize::MAX);
        match &mut *kind {
            Kind::Blocks { seen } => Ok(Changes::Hashes(seen.advance(chain, head, most)?.applied)),
            Kind::Logs { filter, seen } => {
                let mut after = seen.clone();
                let path = after.advance(chain, head, most)?;
                let found = logs_along(chain, filter, path, limits);
                // What could not be read now is there at the next poll. But a filter that has too much to say must move on, else it
                // would fail for ever.
                if matches!(found, Ok(_) | Err(RpcError::LimitExceeded(_))) {
                    *seen = after;
                }
                found.map(Changes::Logs)
            }
            Kind::Pending { next, full } => {
                let ring = self.ring.lock();
                let skip = usize::try_from(next.saturating_sub(ring.first)).unwrap_or(usize::MAX);
                let new: Vec<Arc<RecoveredTx>> = ring.transactions.iter().skip(skip).cloned().collect();
                *next = ring.first + ring.transactions.len() as u64;
                drop(ring);
                Ok(if *full {
                    Changes::Transactions(new.iter().map(|tx| pending(tx)).collect())
                } else {
                    Changes::Hashes(new.iter().map(|tx| tx.hash()).collect())
                })
            }
        }
    }
}

/// The logs of reverted and new blocks.
fn logs_along(chain: &Chain, filter: &Filter, path: Path, limits: &Limits) -> Result<Vec<Log>, RpcError> {
    let mut found = Found::new(limits);
    let reverted = path.reverted.into_iter().map(|hash| (hash, true));
    for (hash, removed) in reverted.chain(path.applied.into_iter().map(|hash| (hash, false))) {
        found.take_block(chain, hash, filter, removed)?;
    }
    found.logs.retain(|log| log.block_number.is_none_or(|number| in_range(filter, number)));
    Ok(found.logs)
}

/// Is a block within the numbers that a filter names? Tags do not bound what is new.
pub(crate) fn in_range(filter: &Filter, number: u64) -> bool {
    match filter.block_option {
        FilterBlockOption::AtBlockHash(_) => false,
        FilterBlockOption::Range { from_block, to_block } => {
            from_block.and_then(|tag| tag.as_number()).is_none_or(|from| number >= from)
                && to_block.and_then(|tag| tag.as_number()).is_none_or(|to| number <= to)
        }
    }
}

/// 128 random bits in hex: ids cannot be guessed, so nobody polls another one's filter.
pub(crate) fn random_id() -> String {
    format!("{:#034x}", rand::rng().random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(most: usize, ttl_s: u64) -> Arc<Filters> {
        Filters::new(&Limits { max_filters: most, filter_ttl_s: ttl_s, ..Limits::default() })
    }

    #[test]
    fn their_number_is_bounded() {
        let filters = filters(2, 300);
        let first = filters.install_pending(false).unwrap();
        filters.install_pending(false).unwrap();
        assert!(matches!(filters.install_pending(false), Err(RpcError::LimitExceeded(_))));
        assert!(filters.uninstall(&first));
        assert!(!filters.uninstall(&first));
        filters.install_pending(false).unwrap();
    }

    #[test]
    fn unpolled_ones_expire() {
        let filters = filters(1, 0);
        let id = filters.install_pending(false).unwrap();
        assert_eq!(filters.find(&id).unwrap_err(), RpcError::server("filter not found"));
        // And they make room for others.
        filters.install_pending(false).unwrap();
        filters.install_pending(false).unwrap();
    }

    #[test]
    fn ids_are_long_and_differ() {
        let (a, b) = (random_id(), random_id());
        assert_eq!((a.len(), a.starts_with("0x")), (34, true));
        assert_ne!(a, b);
    }

    #[test]
    fn a_filter_by_numbers_sees_only_those() {
        let filter = Filter::new().from_block(5u64).to_block(7u64);
        assert_eq!([4, 5, 7, 8].map(|n| in_range(&filter, n)), [false, true, true, false]);
        assert!(in_range(&Filter::new(), 1));
    }
}
