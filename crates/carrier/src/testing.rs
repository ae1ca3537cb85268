//! Envelopes and settings for tests.

use crate::{
    envelope::Envelope,
    settings::{Gas, Rules, Settings},
};
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip4844, TxEip4844WithSidecar};
use alloy_eips::{
    eip2718::Encodable2718 as _,
    eip4844::{Blob, BlobTransactionSidecar, Bytes48},
    eip7594::BlobTransactionSidecarVariant,
};
use alloy_primitives::{Address, B256, Bytes, TxKind};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use duskevm_blobs::{BYTES, Sidecar, kzg};
use std::sync::OnceLock;

pub(crate) const INBOX: Address = Address::repeat_byte(0x1b);
pub(crate) const CHAIN: u64 = 250;
pub(crate) const GWEI: u128 = 1_000_000_000;

pub(crate) fn signer(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

pub(crate) fn settings() -> Settings {
    Settings {
        rules: Rules {
            chain_id: CHAIN,
            inbox: INBOX,
            base_fee: GWEI,
            blob_base_fee: 1,
            gas_limit: 60_000_000,
            senders: vec![signer(1).address(), signer(2).address()],
        },
        gas: Gas { per_blob: 1_000_000, least: 75_000, call: 1_000_000, per_call_byte: 100 },
        gas_price: 1,
        max_gas_price: 1_000,
        fee_bump_percent: 20,
        bump_after: 3,
        max_in_flight: 3,
        max_ahead: 8,
        max_bytes: 16 << 20,
        blob_life: 1_890,
    }
}

pub(crate) fn calldata(nonce: u64, data: &[u8]) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 21_000 + 40 * data.len() as u64,
        max_fee_per_gas: 2 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: TxKind::Call(INBOX),
        input: Bytes::copy_from_slice(data),
        ..Default::default()
    }
}

/// The bytes that a client sends.
pub(crate) fn sign(tx: TxEip1559, by: u8) -> Vec<u8> {
    let signature = signer(by).sign_hash_sync(&tx.signature_hash()).unwrap();
    alloy_consensus::TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

/// Three blobs with commitments and proofs, made once.
pub(crate) fn sidecars() -> &'static [Sidecar; 3] {
    static MADE: OnceLock<[Sidecar; 3]> = OnceLock::new();
    MADE.get_or_init(|| {
        [3u8, 5, 7].map(|seed| {
            let mut data: Vec<u8> = (0..BYTES).map(|at| (at as u8).wrapping_mul(seed)).collect();
            data.chunks_mut(32).for_each(|element| element[0] = 0);
            kzg::commit_and_prove(&data).unwrap().sidecar().clone()
        })
    })
}

pub(crate) fn with_blobs(nonce: u64, sidecars: &[Sidecar]) -> TxEip4844 {
    TxEip4844 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 2 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: INBOX,
        blob_versioned_hashes: sidecars.iter().map(|sidecar| sidecar.hash().into()).collect(),
        max_fee_per_blob_gas: 1,
        ..Default::default()
    }
}

/// The form of EIP-4844.
pub(crate) fn network_form(sidecars: &[Sidecar]) -> BlobTransactionSidecar {
    BlobTransactionSidecar {
        blobs: sidecars.iter().map(|sidecar| Blob::from_slice(&sidecar.data[..])).collect(),
        commitments: sidecars.iter().map(|sidecar| Bytes48::from(sidecar.commitment)).collect(),
        proofs: sidecars.iter().map(|sidecar| Bytes48::from(sidecar.proof)).collect(),
    }
}

pub(crate) fn sign_blobs(tx: TxEip4844, sidecar: BlobTransactionSidecarVariant, by: u8) -> Vec<u8> {
    let signature = signer(by).sign_hash_sync(&tx.signature_hash()).unwrap();
    let tx = TxEip4844WithSidecar::from_tx_and_sidecar(tx, sidecar).into_signed(signature);
    let mut bytes = Vec::new();
    tx.eip2718_encode(&mut bytes);
    bytes
}

/// A blob transaction as clients send it.
pub(crate) fn blob_bytes(tx: TxEip4844, sidecars: &[Sidecar], by: u8) -> Vec<u8> {
    sign_blobs(tx, network_form(sidecars).into(), by)
}

pub(crate) fn read(bytes: &[u8]) -> Envelope {
    Envelope::read(bytes, &settings().rules).unwrap()
}
