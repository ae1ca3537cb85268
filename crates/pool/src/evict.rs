//! Making room: which transactions a better one pushes out.

use std::{cmp::Reverse, collections::BinaryHeap};

use alloy_primitives::{Address, U256};

use crate::{error::PoolError, head::AccountState, order::FeeKey, pool::Pool, tx::PoolTx};

/// From the worst to the best: waiting before ready, cheap before dear, late before early.
type Worth = (bool, u128, Reverse<u64>);

impl Pool {
    /// Which transactions leave so that this one fits, worst first. Only the last transaction of a sender is ever taken (and
    /// then the one before it), so none loses one that it depends on; and each of them is worth less than the new one.
    pub(crate) fn plan_room(&self, tx: &PoolTx, state: &AccountState) -> Result<Vec<(Address, u64)>, PoolError> {
        let (sender, nonce, config) = (tx.sender(), tx.nonce(), &self.config);
        let pooled = self.accounts.get(&sender).map(|account| &account.txs);
        let replaced = pooled.and_then(|txs| txs.get(&nonce)).map(|entry| entry.tx.size());
        let mut slots =
            self.catalog.slots + config.slots_of(tx.size()) - replaced.map_or(0, |size| config.slots_of(size));
        let mut bytes = self.catalog.bytes + tx.size() - replaced.unwrap_or(0);
        if slots <= config.max_slots && bytes <= config.max_bytes {
            return Ok(Vec::new());
        }

        let base_fee = self.index.base_fee();
        let before = pooled.and_then(|txs| txs.range(..nonce).next_back());
        let chain = FeeKey {
            tip: before.map_or(u128::MAX, |(_, entry)| entry.chain_tip).min(tx.tip()),
            cap: before.map_or(u128::MAX, |(_, entry)| entry.chain_cap).min(tx.fee_cap()),
            seq: u64::MAX,
        };
        let follows = before.map_or(nonce == state.nonce, |(before, entry)| entry.is_ready() && before + 1 == nonce);
        let payable = self.head.cost(tx).unwrap_or(U256::MAX) <= state.balance && tx.gas_limit() <= self.head.gas_limit;
        let worth: Worth = (follows && payable, chain.price(base_fee), Reverse(u64::MAX));

        let lasts = |ready: bool| {
            self.index.lasts(ready).worst().map(move |(key, sender)| {
                let worth: Worth = (ready, key.price(base_fee), Reverse(key.seq));
                (worth, sender)
            })
        };
        let mut lasts = lasts(false).chain(lasts(true)).peekable();
        // Those that become the last of their sender when others leave.
        let mut next_lasts: BinaryHeap<Reverse<(Worth, Address, u64)>> = BinaryHeap::new();
        let mut victims = Vec::new();
        while slots > config.max_slots || bytes > config.max_bytes {
            let from_heap = match (lasts.peek(), next_lasts.peek()) {
                (Some((last, _)), Some(Reverse((next, ..)))) => next < last,
                (None, Some(_)) => true,
                _ => false,
            };
            let candidate = if from_heap {
                next_lasts.pop().map(|Reverse((worth, from, nonce))| (worth, from, nonce))
            } else {
                lasts.next().and_then(|(worth, from)| {
                    let (&nonce, _) = self.accounts.get(&from)?.txs.last_key_value()?;
                    Some((worth, from, nonce))
                })
            };
            let Some((victim, from, last)) = candidate else { return Err(PoolError::Full) };
            if victim >= worth {
                return Err(PoolError::Underpriced { cheapest: victim.1 });
            }
            if from == sender && last <= nonce {
                // Its own predecessors carry it, and the one that it replaces leaves anyway.
                continue;
            }
            let Some(txs) = self.accounts.get(&from).map(|account| &account.txs) else { continue };
            let Some(entry) = txs.get(&last) else { continue };
            slots -= config.slots_of(entry.tx.size());
            bytes -= entry.tx.size();
            victims.push((from, last));
            if let Some((&before, entry)) = txs.range(..last).next_back() {
                let key = entry.chain_key();
                let worth: Worth = (entry.is_ready(), key.price(base_fee), Reverse(key.seq));
                next_lasts.push(Reverse((worth, from, before)));
            }
        }
        Ok(victims)
    }
}
