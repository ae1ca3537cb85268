//! The Ethereum transactions that name batches: what derivation, and every OP-Stack node, recognises the batcher by.
//!
//! Nobody executes them: they travel in calls to the batch inbox and are shown in the L1 view. Gas and fees are such that Ethereum could
//! have included them.

use alloy_consensus::{TxEip1559, TxEip4844};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};

/// Ethereum gas of a transaction without data.
const TRANSACTION_GAS: u64 = 21_000;

/// Most Ethereum gas for a byte of call data (EIP-7623).
const BYTE_GAS: u64 = 40;

/// What all envelopes of a batcher have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeRules {
    /// Chain id of the L1 view.
    pub chain_id: u64,
    /// The batch inbox.
    pub inbox: Address,
    /// Base fee of the L1 view in wei.
    pub base_fee: u128,
}

impl EnvelopeRules {
    /// The envelope that names these blobs (EIP-4844).
    pub fn with_blobs(&self, nonce: u64, blobs: Vec<B256>) -> TxEip4844 {
        TxEip4844 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: TRANSACTION_GAS,
            max_fee_per_gas: self.base_fee,
            max_priority_fee_per_gas: 0,
            to: self.inbox,
            value: U256::ZERO,
            access_list: Default::default(),
            blob_versioned_hashes: blobs,
            // The least that there is: the view shows no excess of blobs.
            max_fee_per_blob_gas: 1,
            input: Bytes::new(),
        }
    }

    /// The envelope with these batcher data (EIP-1559).
    pub fn with_calldata(&self, nonce: u64, data: Bytes) -> TxEip1559 {
        TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: TRANSACTION_GAS.saturating_add(BYTE_GAS.saturating_mul(data.len() as u64)),
            max_fee_per_gas: self.base_fee,
            max_priority_fee_per_gas: 0,
            to: TxKind::Call(self.inbox),
            value: U256::ZERO,
            access_list: Default::default(),
            input: data,
        }
    }
}
