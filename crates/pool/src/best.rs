//! What the next block should take.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use alloy_primitives::Address;
use duskevm_evm::RecoveredTx;

use crate::pool::Pool;

/// No transaction uses less than a plain transfer (before refunds, which a transfer has none of).
const LEAST_GAS: u64 = 21_000;

/// How much [`Pool::best`] returns at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BestLimits {
    /// Gas of the block that they are for. A transaction is left out, with those of its sender after it, if it needs more, or
    /// if the least gas that it must use does not fit beside the least gas of those before it. The list ends where not even a
    /// transfer would fit.
    pub gas: u64,
    /// Number of transactions.
    pub count: usize,
}

impl Pool {
    /// The ready transactions whose fee cap covers `base_fee`, by effective tip, the earlier first among equals, and by nonce
    /// for each sender. Costs what it returns, and one look at each sender that it passes over because it does not fit.
    pub fn best(&mut self, base_fee: u64, limits: BestLimits) -> Vec<Arc<RecoveredTx>> {
        self.index.firsts.set_base_fee(base_fee);
        let price = |cap: u128, tip: u128| tip.saturating_add(u128::from(base_fee)).min(cap);
        let mut firsts =
            self.index.firsts.best().map(|(key, sender)| (key.price(base_fee), Reverse(key.seq), sender)).peekable();
        // The transactions that follow those already taken: price, arrival, sender, nonce.
        let mut followers: BinaryHeap<(u128, Reverse<u64>, Address, u64)> = BinaryHeap::new();
        let mut taken = Vec::new();
        let mut gas = 0u64;
        while taken.len() < limits.count {
            let from_heap = match (firsts.peek(), followers.peek()) {
                (Some((price, seq, _)), Some((next_price, next_seq, ..))) => (next_price, next_seq) > (price, seq),
                (None, Some(_)) => true,
                _ => false,
            };
            let next = if from_heap {
                followers.pop().map(|(price, _, sender, nonce)| (price, sender, Some(nonce)))
            } else {
                firsts.next().map(|(price, _, sender)| (price, sender, None))
            };
            let Some((offer, sender, nonce)) = next else { break };
            if offer < u128::from(base_fee) {
                break;
            }
            let Some(account) = self.accounts.get(&sender) else { continue };
            let found = match nonce {
                Some(nonce) => account.txs.get_key_value(&nonce),
                None => account.txs.first_key_value(),
            };
            let Some((&nonce, entry)) = found else { continue };
            if entry.tx.gas_limit() > limits.gas {
                continue;
            }
            let left = limits.gas - gas;
            if left < LEAST_GAS {
                break;
            }
            if entry.min_gas > left {
                continue;
            }
            gas += entry.min_gas;
            taken.push(entry.tx.tx().clone());
            if let Some(nonce) = nonce.checked_add(1)
                && let Some(follower) = account.txs.get(&nonce).filter(|entry| entry.is_ready())
            {
                let price = price(follower.tx.fee_cap(), follower.tx.tip());
                followers.push((price, Reverse(follower.seq), sender, nonce));
            }
        }
        drop(firsts);
        self.index.firsts.set_base_fee(self.index.base_fee());
        taken
    }
}
