//! A transaction with what the pool computes once about it.

use std::sync::Arc;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, U256};
use duskevm_evm::RecoveredTx;

/// A transaction together with what admission and ordering need of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTx {
    tx: Arc<RecoveredTx>,
    hash: B256,
    tip: u128,
    fee_cap: u128,
    da_size: u64,
    /// None until they are recovered.
    authorities: Option<Box<[Address]>>,
}

impl PoolTx {
    /// Prepares a transaction in full: [`Self::outline`] and [`Self::recover`] in one.
    pub fn new(tx: Arc<RecoveredTx>) -> Self {
        let mut tx = Self::outline(tx);
        tx.recover();
        tx
    }

    /// Prepares a transaction without the costly part: for a type-4 transaction, [`Self::recover`] is left to be done. That is
    /// enough for [`Pool::check`](crate::Pool::check), so that nobody pays for the signatures of what is refused anyway.
    pub fn outline(tx: Arc<RecoveredTx>) -> Self {
        let envelope = tx.envelope();
        let fee_cap = envelope.max_fee_per_gas();
        // Types 0 and 1 have one price: all of it above the base fee is tip.
        let tip = envelope.max_priority_fee_per_gas().unwrap_or(fee_cap);
        let costly = envelope.authorization_list().is_some_and(|list| !list.is_empty());
        let authorities = (!costly).then(Box::default);
        let da_size = if tx.is_deposit() { 0 } else { tx.da_size_scaled() };
        Self { hash: tx.hash(), tip, fee_cap, da_size, authorities, tx }
    }

    /// Recovers the authorities, if that is not done yet. It costs one signature recovery per authorization, of which a
    /// transaction can carry more than a thousand: keep it off a thread that must not wait.
    pub fn recover(&mut self) {
        if self.authorities.is_some() {
            return;
        }
        let mut authorities: Vec<Address> = self
            .tx
            .envelope()
            .authorization_list()
            .unwrap_or_default()
            .iter()
            .filter_map(|authorization| authorization.recover_authority().ok())
            .collect();
        authorities.sort_unstable();
        authorities.dedup();
        self.authorities = Some(authorities.into());
    }

    /// Is nothing left for [`Self::recover`] to do?
    pub const fn is_recovered(&self) -> bool {
        self.authorities.is_some()
    }

    /// The transaction.
    pub const fn tx(&self) -> &Arc<RecoveredTx> {
        &self.tx
    }

    /// Its hash.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Its sender.
    pub fn sender(&self) -> Address {
        self.tx.sender()
    }

    /// Its nonce.
    pub fn nonce(&self) -> u64 {
        self.tx.nonce()
    }

    /// The most that it pays above the base fee, in wei per gas.
    pub const fn tip(&self) -> u128 {
        self.tip
    }

    /// The most that it pays with the base fee, in wei per gas.
    pub const fn fee_cap(&self) -> u128 {
        self.fee_cap
    }

    /// Its gas limit.
    pub fn gas_limit(&self) -> u64 {
        self.tx.envelope().gas_limit()
    }

    /// What it transfers, in wei.
    pub fn value(&self) -> U256 {
        self.tx.envelope().value()
    }

    /// Encoded bytes.
    pub fn size(&self) -> usize {
        self.tx.encoded().len()
    }

    /// Estimated size after compression, in 10⁻⁶ bytes.
    pub const fn da_size(&self) -> u64 {
        self.da_size
    }

    /// The accounts that its EIP-7702 authorizations delegate, sorted, each once; invalid signatures left out. None before
    /// [`Self::recover`].
    pub fn authorities(&self) -> &[Address] {
        self.authorities.as_deref().unwrap_or_default()
    }
}
