//! The transactions that the sequencer hands over with a build, in the order in which they are tried.

use alloy_primitives::B256;
use duskevm_evm::{RecoveredTx, Rejection, TxSource};
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
    invalid: Vec<(B256, String)>,
}

impl PoolSource {
    pub(crate) fn new(list: Arc<[Arc<RecoveredTx>]>, until: Option<Instant>) -> Self {
        Self { list, next: 0, until, invalid: Vec::new() }
    }

    /// Transactions that cannot be executed on this state, with the reason.
    pub(crate) fn into_invalid(self) -> Vec<(B256, String)> {
        self.invalid
    }
}

impl TxSource for PoolSource {
    fn next(&mut self, gas_left: u64, _: u64) -> Option<Arc<RecoveredTx>> {
        if gas_left < MIN_TX_GAS {
            return None;
        }
        if self.next.is_multiple_of(CLOCK_INTERVAL) && self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        let tx = self.list.get(self.next)?;
        self.next += 1;
        Some(Arc::clone(tx))
    }

    fn rejected(&mut self, tx: &Arc<RecoveredTx>, reason: &Rejection) {
        if let Rejection::Invalid(why) = reason {
            self.invalid.push((tx.hash(), why.clone()));
        }
    }
}
