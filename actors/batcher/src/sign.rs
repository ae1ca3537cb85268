//! Signing: from what the batcher wants to say to the bytes of Dusk transactions.
//!
//! Both signatures are deterministic, so that the same order always gives the same transactions.

use alloy_consensus::SignableTransaction;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_batcher_core::{EnvelopeRules, Order, Payload, Role, Signed, TxOrder};
use duskevm_blobs::{BlobError, Verified, kzg};
use duskevm_dusk_l1::{
    keys::{AccountId, Signer},
    tx::Tx,
    wallet::{self, Terms, WalletError},
};
use duskevm_l1_view::ViewTxEnvelope;
use duskevm_rollup::blob::{self, BlobTooSmall};
use duskevm_settlement::args::{Arguments as _, SubmitEnvelope};

/// Why an order cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Data that do not fit a blob.
    #[error(transparent)]
    Blob(#[from] BlobTooSmall),
    /// No commitment can be made.
    #[error(transparent)]
    Kzg(#[from] BlobError),
    /// The envelope's signature.
    #[error("the envelope cannot be signed: {0}")]
    Envelope(#[from] alloy_signer::Error),
    /// The Dusk transaction.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

/// The batcher's two keys, and what is signed with them.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs envelopes: derivation knows the batcher by its address.
    pub ethereum: PrivateKeySigner,
    /// Signs Dusk transactions and pays for them.
    pub dusk: Signer,
    /// What envelopes have in common.
    pub envelopes: EnvelopeRules,
    /// Dusk chain id.
    pub dusk_chain_id: u8,
    /// Dusk id of the batch inbox.
    pub inbox: B256,
}

impl Keys {
    /// By whom envelopes are signed.
    pub fn batcher(&self) -> Address {
        self.ethereum.address()
    }

    /// Who pays.
    pub fn account(&self) -> AccountId {
        self.dusk.id()
    }

    /// Signs an order. The bytes are in the order of its transactions.
    pub(crate) fn sign(&self, order: &Order) -> Result<(Signed, Vec<Bytes>), SignError> {
        let blobs = match &order.payload {
            Payload::Blobs(data) => data.iter().map(make_blob).collect::<Result<Vec<_>, _>>()?,
            Payload::Calldata(_) => Vec::new(),
        };
        let envelope = self.envelope(order, &blobs)?;
        let (mut transactions, mut bytes) = (Vec::new(), Vec::new());
        for tx in &order.transactions {
            let made = self.transaction(tx, &blobs, &envelope)?;
            transactions.push(TxOrder { id: Some(B256::from(*made.id())), ..*tx });
            bytes.push(made.ledger().protocol_bytes().into());
        }
        let signed = Signed { submission: order.submission, envelope_hash: *envelope.tx_hash(), transactions };
        Ok((signed, bytes))
    }

    fn envelope(&self, order: &Order, blobs: &[Verified]) -> Result<ViewTxEnvelope, SignError> {
        Ok(match &order.payload {
            Payload::Blobs(_) => {
                let hashes = blobs.iter().map(|blob| B256::from(*blob.hash())).collect();
                let tx = self.envelopes.with_blobs(order.envelope_nonce, hashes);
                let signature = self.ethereum.sign_hash_sync(&tx.signature_hash())?;
                ViewTxEnvelope::Eip4844(tx.into_signed(signature))
            }
            Payload::Calldata(data) => {
                let tx = self.envelopes.with_calldata(order.envelope_nonce, data.clone());
                let signature = self.ethereum.sign_hash_sync(&tx.signature_hash())?;
                ViewTxEnvelope::Eip1559(tx.into_signed(signature))
            }
        })
    }

    fn transaction(&self, tx: &TxOrder, blobs: &[Verified], envelope: &ViewTxEnvelope) -> Result<Tx, SignError> {
        let TxOrder { role, nonce, gas_limit, gas_price, .. } = *tx;
        let terms = Terms { chain_id: self.dusk_chain_id, nonce, gas_limit, gas_price };
        Ok(match role {
            Role::Blobs => {
                let sidecars = blobs.iter().map(|blob| (*blob.hash(), blob.sidecar().into())).collect();
                wallet::blobs(&self.dusk, sidecars, &terms)?
            }
            Role::Call => {
                let args = SubmitEnvelope { envelope: envelope.encoded_2718().into() }.encode_args();
                wallet::call(&self.dusk, self.inbox.0, SubmitEnvelope::FUNCTION, args, 0, &terms)?
            }
        })
    }
}

fn make_blob(data: &Bytes) -> Result<Verified, SignError> {
    Ok(kzg::commit_and_prove(&blob::encode(data)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{keys, rollup};
    use alloy_consensus::Transaction;
    use duskevm_dusk_l1::transfer::data::TransactionData;
    use duskevm_l1_view::decode_envelope;
    use duskevm_rollup::{
        derive::{InboxData, L1Block},
        frame::ChannelId,
    };

    fn order(payload: Payload, roles: &[Role]) -> Order {
        let tx =
            |(nonce, role): (u64, &Role)| TxOrder { role: *role, nonce, gas_limit: 9_000_000, gas_price: 3, id: None };
        Order {
            submission: 4,
            channel: ChannelId::ZERO,
            envelope_nonce: 7,
            payload,
            transactions: (5..).zip(roles).map(tx).collect(),
        }
    }

    /// The envelope in a call of the inbox.
    fn carried(bytes: &Bytes) -> ViewTxEnvelope {
        let tx = Tx::decode(bytes, 1).unwrap().verify().unwrap();
        let Some(TransactionData::Call(call)) = tx.data() else { panic!("no call") };
        assert_eq!(call.contract.to_bytes(), keys().inbox.0);
        let args = SubmitEnvelope::decode_args(&call.fn_args).unwrap();
        decode_envelope(rollup().l1_chain_id, &args.envelope).unwrap()
    }

    #[test]
    fn blobs_and_their_envelope_come_in_two_transactions() {
        let data = [Bytes::from_static(b"\0one"), Bytes::from_static(b"\0two")];
        let order = order(Payload::Blobs(data.to_vec()), &[Role::Blobs, Role::Call]);
        let (signed, bytes) = keys().sign(&order).unwrap();
        let tx = Tx::decode(&bytes[0], 1).unwrap().verify().unwrap();
        assert_eq!((tx.nonce(), tx.gas_price(), *tx.sender()), (5, 3, keys().account()));
        let blobs = tx.blobs().unwrap();
        for (blob, data) in blobs.iter().zip(&data) {
            let sidecar = blob.data.as_ref().unwrap();
            assert_eq!(blob::decode(&sidecar.data[..]).unwrap(), data[..]);
        }
        let envelope = carried(&bytes[1]);
        assert_eq!(*envelope.tx_hash(), signed.envelope_hash);
        let hashes: Vec<B256> = blobs.iter().map(|blob| blob.hash.into()).collect();
        assert_eq!(envelope.blob_versioned_hashes().unwrap(), hashes);
        assert!(signed.transactions.iter().all(|tx| tx.id.is_some()));
    }

    #[test]
    fn derivation_knows_the_batcher_by_the_envelope() {
        let data = Bytes::from_static(b"\0frames");
        let (_, bytes) = keys().sign(&order(Payload::Calldata(data.clone()), &[Role::Call])).unwrap();
        let envelope = carried(&bytes[0]);
        let header = alloy_consensus::Sealed::new(alloy_consensus::Header::default());
        let block = L1Block::read(&rollup(), &header, [&envelope], &[]);
        let found = block.inbox.first().unwrap();
        assert_eq!((found.sender, &found.data), (keys().batcher(), &InboxData::Calldata(data)));
    }

    #[test]
    fn the_same_order_gives_the_same_bytes() {
        let order = order(Payload::Calldata(Bytes::from_static(b"\0frames")), &[Role::Call]);
        assert_eq!(keys().sign(&order).unwrap(), keys().sign(&order).unwrap());
    }
}
