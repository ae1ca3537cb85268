//! The transactions that the sequencer hands over with a build, in the order in which they are tried.

use alloy_primitives::{Address, B256, map::HashSet};
use duskevm_evm::{RecoveredTx, Rejection, TxSource};
use duskevm_messages::executor::DaLimits;
use std::{sync::Arc, time::Instant};

/// Gas of the cheapest transaction: with less left the block is full.
const MIN_TX_GAS: u64 = 21_000;

/// How many transactions are tried between two looks at the clock.
const CLOCK_INTERVAL: usize = 16;

/// Takes transactions from a list until the block is full or its time is up.
#[derive(Debug)]
pub(crate) struct PoolSource {
    list: Arc<[Arc<RecoveredTx>]>,
    next: usize,
    until: Option<Instant>,
    da: DaLimits,
    /// Estimated bytes of what was handed out and not rejected.
    da_used: u64,
    /// Estimated bytes of the last one handed out.
    da_last: u64,
    /// Senders of what was left out: what follows from them would leave a gap in their nonces.
    held: HashSet<Address>,
    invalid: Vec<(B256, String)>,
}

impl PoolSource {
    pub(crate) fn new(list: Arc<[Arc<RecoveredTx>]>, until: Option<Instant>, da: DaLimits) -> Self {
        Self { list, next: 0, until, da, da_used: 0, da_last: 0, held: HashSet::default(), invalid: Vec::new() }
    }

    /// Transactions that cannot be executed on this state, with the reason.
    pub(crate) fn into_invalid(self) -> Vec<(B256, String)> {
        self.invalid
    }

    /// May it be tried, given the data of those before it? Rules of op-geth's miner; as there, a smaller one may still follow.
    fn fits(&mut self, tx: &RecoveredTx) -> bool {
        if self.da == DaLimits::default() {
            return true;
        }
        if self.held.contains(&tx.sender()) {
            return false;
        }
        let bytes = tx.da_size();
        let used = self.da_used.saturating_add(bytes);
        let fits =
            self.da.transaction.is_none_or(|most| bytes <= most) && self.da.block.is_none_or(|most| used <= most);
        if fits {
            (self.da_used, self.da_last) = (used, bytes);
        } else {
            self.held.insert(tx.sender());
        }
        fits
    }
}

impl TxSource for PoolSource {
    fn next(&mut self, gas_left: u64, _: u64) -> Option<Arc<RecoveredTx>> {
        if gas_left < MIN_TX_GAS {
            return None;
        }
        loop {
            if self.next.is_multiple_of(CLOCK_INTERVAL) && self.until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
            let tx = self.list.get(self.next).cloned()?;
            self.next += 1;
            if self.fits(&tx) {
                return Some(tx);
            }
        }
    }

    fn rejected(&mut self, tx: &Arc<RecoveredTx>, reason: &Rejection) {
        // The one handed out last: it takes no room after all.
        self.da_used = self.da_used.saturating_sub(std::mem::take(&mut self.da_last));
        self.held.insert(tx.sender());
        if let Rejection::Invalid(why) = reason {
            self.invalid.push((tx.hash(), why.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{SignableTransaction, TxEip1559};
    use alloy_eips::eip2718::Encodable2718 as _;
    use alloy_primitives::{Bytes, Signature, TxKind, U256};
    use op_alloy_consensus::OpTxEnvelope;

    const GAS: u64 = 30_000_000;

    /// A transaction with so many bytes of call data that do not compress.
    fn tx(sender: u8, nonce: u64, data: usize) -> Arc<RecoveredTx> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ nonce;
        let input: Vec<u8> = (0..data)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let tx = TxEip1559 { nonce, to: TxKind::Call(Address::ZERO), input: input.into(), ..Default::default() };
        let signature = Signature::new(U256::from(1), U256::from(1), false);
        let bytes = Bytes::from(OpTxEnvelope::from(tx.into_signed(signature)).encoded_2718());
        Arc::new(RecoveredTx::decode_with_sender(&bytes, Address::repeat_byte(sender)).unwrap())
    }

    fn taken(list: &[Arc<RecoveredTx>], da: DaLimits) -> Vec<B256> {
        let mut source = PoolSource::new(list.into(), None, da);
        std::iter::from_fn(|| source.next(GAS, 0).map(|tx| tx.hash())).collect()
    }

    #[test]
    fn the_estimate_is_at_least_100_bytes() {
        assert_eq!(tx(1, 0, 0).da_size(), 100);
        let large = tx(1, 0, 2_000);
        // What does not compress: 0.8365 bytes for each, less 42.5856 (fjord/exec-engine.md).
        assert_eq!(large.da_size(), large.da_size_scaled() / 1_000_000);
        assert!((1_600..1_800).contains(&large.da_size()), "{}", large.da_size());
    }

    #[test]
    fn one_that_is_too_large_holds_back_those_of_its_sender_only() {
        let list = [tx(1, 0, 2_000), tx(2, 0, 0), tx(1, 1, 0), tx(2, 1, 0)];
        let da = DaLimits { transaction: Some(500), block: None };
        assert_eq!(taken(&list, da), [list[1].hash(), list[3].hash()]);
        assert_eq!(taken(&list, DaLimits::default()).len(), 4);
    }

    #[test]
    fn a_block_holds_as_much_data_as_it_may() {
        let list: Vec<_> = (1..=5).map(|sender| tx(sender, 0, 0)).collect();
        let block = |most| taken(&list, DaLimits { transaction: None, block: Some(most) }).len();
        assert_eq!([block(99), block(100), block(399), block(400), block(10_000)], [0, 1, 3, 4, 5]);
        // A smaller one still finds room.
        let list = [tx(1, 0, 0), tx(2, 0, 2_000), tx(3, 0, 0)];
        let da = DaLimits { transaction: None, block: Some(1_000) };
        assert_eq!(taken(&list, da), [list[0].hash(), list[2].hash()]);
    }

    #[test]
    fn what_is_rejected_takes_no_room() {
        let list = [tx(1, 0, 0), tx(2, 0, 0)];
        let da = DaLimits { transaction: None, block: Some(100) };
        let mut source = PoolSource::new(list.clone().into(), None, da);
        let first = source.next(GAS, 0).unwrap();
        source.rejected(&first, &Rejection::Invalid("nonce".to_owned()));
        assert_eq!(source.next(GAS, 0).map(|tx| tx.hash()), Some(list[1].hash()));
        assert_eq!(source.into_invalid(), [(list[0].hash(), "nonce".to_owned())]);
    }
}
