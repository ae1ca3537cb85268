//! The carrier as this endpoint sees it: a port to its actor, and the feed of what it carries. Both survive its restarts, and reads go to
//! the feed only, so that they neither wait for the carrier nor take places that clients' transactions need.

use alloy_consensus::transaction::Recovered;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::TransactionInfo;
use duskevm_carrier_core::Envelope;
use duskevm_messages::carrier::{CarriedFeed, Carry};
use duskevm_supervision::Port;
use std::sync::Arc;

use super::types::L1Transaction;

/// The ways to the carrier.
#[derive(Debug, Clone)]
pub struct CarrierPorts {
    /// Takes transactions.
    pub carry: Port<Carry>,
    /// What it carries.
    pub carried: CarriedFeed,
}

impl CarrierPorts {
    /// A transaction that may not be in the view.
    pub(crate) fn get(&self, hash: &B256) -> Option<Arc<Envelope>> {
        self.carried.borrow().get(hash).cloned()
    }

    /// The nonce after those that are carried, from the one on that L1 takes next.
    pub(crate) fn next_nonce(&self, sender: &Address, next: u64) -> u64 {
        self.carried.borrow().next_nonce(sender, next)
    }
}

/// A transaction that waits, as geth shows it: in no block.
pub(crate) fn pending(envelope: &Envelope) -> L1Transaction {
    let info = TransactionInfo { hash: Some(envelope.hash()), ..TransactionInfo::default() };
    L1Transaction::from_transaction(Recovered::new_unchecked(envelope.tx().clone(), envelope.sender()), info)
}
