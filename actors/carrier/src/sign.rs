//! Signing: from what the carrier wants to bring to the bytes of Dusk transactions.
//!
//! The signature is deterministic, so that the same order always gives the same transaction.

use alloy_primitives::{B256, Bytes};
use duskevm_carrier_core::{Order, Role};
use duskevm_dusk_l1::{
    keys::{AccountId, Signer},
    wallet::{self, Terms, WalletError},
};
use duskevm_settlement::args::{Arguments as _, SubmitEnvelope};

/// Why an order cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The Dusk transaction.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

/// The carrier's key, and what is signed with it.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs Dusk transactions and pays for them.
    pub dusk: Signer,
    /// Dusk chain id.
    pub dusk_chain_id: u8,
    /// Dusk id of the batch inbox.
    pub inbox: B256,
}

impl Keys {
    /// Who pays.
    pub fn account(&self) -> AccountId {
        self.dusk.id()
    }

    /// Signs an order: Dusk id and bytes.
    pub(crate) fn sign(&self, order: &Order) -> Result<(B256, Bytes), SignError> {
        let Order { nonce, gas_limit, gas_price, .. } = *order;
        let terms = Terms { chain_id: self.dusk_chain_id, nonce, gas_limit, gas_price };
        let tx = match order.role {
            Role::Blobs(_) => {
                let blobs = order.envelope.blobs().iter().map(|blob| (*blob.hash(), blob.sidecar().into()));
                wallet::blobs(&self.dusk, blobs.collect(), &terms)?
            }
            Role::Call(_) => {
                let args = SubmitEnvelope { envelope: order.envelope.raw().clone() }.encode_args();
                wallet::call(&self.dusk, self.inbox.0, SubmitEnvelope::FUNCTION, args, 0, &terms)?
            }
        };
        Ok((B256::from(*tx.id()), tx.ledger().protocol_bytes().into()))
    }
}
