//! An envelope as clients send it, and what is asked of it before anybody looks at a nonce.
//!
//! Sources: EIP-2718, EIP-1559, EIP-4844 (transaction, network form and the rules of its pool), EIP-7594 (the form with proofs of cells),
//! EIP-2 (signatures), EIP-2028 and EIP-2930 (gas of call data and of access lists). What the batch inbox refuses is refused here, too.

use crate::{refusal::Refusal, settings::Rules};
use alloy_consensus::{
    EthereumTxEnvelope, Signed, Transaction as _, TxEip4844, TxEip4844WithSidecar, transaction::SignerRecoverable as _,
};
use alloy_eips::{
    eip2718::{Decodable2718 as _, Encodable2718 as _},
    eip7594::BlobTransactionSidecarVariant,
};
use alloy_primitives::{Address, B256, Bytes, TxKind};
use duskevm_blobs::{BYTES, Sidecar, Verified, kzg};
use duskevm_l1_view::ViewTxEnvelope;
use duskevm_settlement::MAX_ENVELOPE_BYTES;
use std::sync::Arc;

/// Most blobs of an envelope: as many as a Dusk transaction carries.
pub const MAX_BLOBS: usize = 6;

/// Most bytes of an envelope with its sidecar, in either form: blobs, commitments and proofs with what RLP adds.
pub const MAX_RAW_BYTES: usize = MAX_ENVELOPE_BYTES + MAX_BLOBS * (BYTES + 64 * (kzg::CELL_PROOFS + 2));

type Pooled = EthereumTxEnvelope<TxEip4844WithSidecar<BlobTransactionSidecarVariant>>;

/// A checked envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    tx: ViewTxEnvelope,
    sender: Address,
    blobs: Vec<Arc<Verified>>,
    raw: Bytes,
}

impl Envelope {
    /// Reads what a client sent and checks all of it: [`Candidate::read`] and [`Candidate::check_blobs`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(raw: &[u8], rules: &Rules) -> Result<Self, Refusal> {
        Candidate::read(raw, rules)?.check_blobs()
    }

    /// The hash of what a client sent, if it is such a transaction at all; nothing else is checked.
    pub fn hash_of(raw: &[u8]) -> Option<B256> {
        if raw.len() > MAX_RAW_BYTES {
            return None;
        }
        decode(raw).ok().map(|(tx, _)| *tx.tx_hash())
    }

    /// An envelope that was checked before it was written to this node's own disk. `None` if it cannot be read.
    pub(crate) fn restored(raw: &[u8], sidecars: &[Bytes]) -> Option<Self> {
        let tx = ViewTxEnvelope::decode_2718_exact(raw).ok()?;
        let sender = tx.recover_signer().ok()?;
        let blobs = sidecars.iter().map(|bytes| Some(Arc::new(Verified::restored(Sidecar::decode(bytes).ok()?))));
        let blobs = blobs.collect::<Option<Vec<_>>>()?;
        let named = tx.blob_versioned_hashes().unwrap_or_default();
        let fits = blobs.iter().map(|blob| B256::from(*blob.hash())).eq(named.iter().copied());
        fits.then(|| Self { raw: raw.to_vec().into(), tx, sender, blobs })
    }

    /// Its hash.
    pub fn hash(&self) -> B256 {
        *self.tx.tx_hash()
    }

    /// Who signed it.
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// Its nonce.
    pub fn nonce(&self) -> u64 {
        self.tx.nonce()
    }

    /// The transaction without sidecar.
    pub const fn tx(&self) -> &ViewTxEnvelope {
        &self.tx
    }

    /// EIP-2718 bytes without sidecar, as the batch inbox takes them.
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Its blobs.
    pub fn blobs(&self) -> &[Arc<Verified>] {
        &self.blobs
    }

    /// Versioned hashes of its blobs.
    pub fn blob_hashes(&self) -> &[B256] {
        self.tx.blob_versioned_hashes().unwrap_or_default()
    }

    /// Bytes that it takes, blobs included.
    pub fn size(&self) -> usize {
        self.offer().size()
    }

    pub(crate) fn offer(&self) -> Offer<'_> {
        Offer { tx: &self.tx, sender: self.sender, raw: &self.raw }
    }
}

/// An envelope that is in order but for its blobs, which were not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    tx: ViewTxEnvelope,
    sender: Address,
    sidecar: Option<BlobTransactionSidecarVariant>,
    raw: Bytes,
}

impl Candidate {
    /// Reads what a client sent and checks what needs no blob. The signature takes longest: some 100 µs.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(raw: &[u8], rules: &Rules) -> Result<Self, Refusal> {
        if raw.len() > MAX_RAW_BYTES {
            return Err(Refusal::Oversized { size: raw.len(), limit: MAX_RAW_BYTES });
        }
        let (tx, sidecar) = decode(raw)?;
        let sender = check(&tx, rules)?;
        Ok(Self { raw: tx.encoded_2718().into(), tx, sender, sidecar })
    }

    /// Checks the blobs, if there are any. It takes milliseconds for each, with proofs of cells a hundred.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_blobs(self) -> Result<Envelope, Refusal> {
        let Self { tx, sender, sidecar, raw } = self;
        let blobs = match sidecar {
            Some(sidecar) => check_sidecar(tx.blob_versioned_hashes().unwrap_or_default(), sidecar)?,
            None => Vec::new(),
        };
        Ok(Envelope { tx, sender, blobs, raw })
    }

    /// Who signed it.
    pub const fn sender(&self) -> Address {
        self.sender
    }

    pub(crate) fn offer(&self) -> Offer<'_> {
        Offer { tx: &self.tx, sender: self.sender, raw: &self.raw }
    }
}

/// What the rules of the pool are about: the transaction without its blobs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) tx: &'a ViewTxEnvelope,
    pub(crate) sender: Address,
    /// EIP-2718 bytes without sidecar.
    pub(crate) raw: &'a Bytes,
}

impl Offer<'_> {
    pub(crate) fn blob_hashes(&self) -> &[B256] {
        self.tx.blob_versioned_hashes().unwrap_or_default()
    }

    /// Bytes that it takes, blobs included.
    pub(crate) fn size(&self) -> usize {
        self.raw.len() + self.blob_hashes().len() * BYTES
    }
}

fn decode(raw: &[u8]) -> Result<(ViewTxEnvelope, Option<BlobTransactionSidecarVariant>), Refusal> {
    match raw.first() {
        None => return Err(Refusal::Malformed("no bytes".into())),
        Some(2 | 3) => {}
        Some(kind @ (1 | 4..=0x7f)) => return Err(Refusal::Type(*kind)),
        Some(0xc0..=0xff) => return Err(Refusal::Type(0)),
        Some(_) => return Err(Refusal::Malformed("neither a transaction type nor a list".into())),
    }
    let pooled = match Pooled::decode_2718_exact(raw) {
        Ok(pooled) => pooled,
        // As it stands in a block.
        Err(_) if raw.first() == Some(&3) && ViewTxEnvelope::decode_2718_exact(raw).is_ok() => {
            return Err(Refusal::NoSidecar);
        }
        Err(error) => return Err(Refusal::Malformed(error.to_string())),
    };
    match pooled {
        Pooled::Eip1559(tx) => Ok((ViewTxEnvelope::Eip1559(tx), None)),
        Pooled::Eip4844(signed) => {
            let (tx, signature, _) = signed.into_parts();
            let (tx, sidecar) = tx.into_parts();
            let signed: Signed<TxEip4844> = Signed::new_unhashed(tx, signature);
            Ok((ViewTxEnvelope::Eip4844(signed), Some(sidecar)))
        }
        other => Err(Refusal::Type(other.tx_type() as u8)),
    }
}

/// What needs no blob; returns the sender.
fn check(tx: &ViewTxEnvelope, rules: &Rules) -> Result<Address, Refusal> {
    let size = tx.encode_2718_len();
    if size > MAX_ENVELOPE_BYTES {
        return Err(Refusal::Oversized { size, limit: MAX_ENVELOPE_BYTES });
    }
    let have = tx.chain_id().unwrap_or_default();
    if have != rules.chain_id {
        return Err(Refusal::ChainId { have, want: rules.chain_id });
    }
    let (cap, tip) = (tx.max_fee_per_gas(), tx.max_priority_fee_per_gas().unwrap_or_default());
    if tip > cap {
        return Err(Refusal::TipAboveCap { tip, cap });
    }
    if let TxKind::Call(to) = tx.kind()
        && to == rules.inbox
    {
    } else {
        return Err(Refusal::Target { to: tx.to(), inbox: rules.inbox });
    }
    if !tx.value().is_zero() {
        return Err(Refusal::Value);
    }
    let (gas, need) = (tx.gas_limit(), intrinsic_gas(tx));
    if gas > rules.gas_limit {
        return Err(Refusal::GasLimit { gas, limit: rules.gas_limit });
    }
    if gas < need {
        return Err(Refusal::IntrinsicGas { gas, need });
    }
    if let Some(hashes) = tx.blob_versioned_hashes() {
        if hashes.is_empty() {
            return Err(Refusal::NoBlobs);
        }
        if hashes.len() > MAX_BLOBS {
            return Err(Refusal::TooManyBlobs { have: hashes.len(), most: MAX_BLOBS });
        }
    }
    if cap < rules.base_fee {
        return Err(Refusal::FeeCap { cap, base_fee: rules.base_fee });
    }
    if let Some(cap) = tx.max_fee_per_blob_gas()
        && cap < rules.blob_base_fee
    {
        return Err(Refusal::BlobFeeCap { cap, base_fee: rules.blob_base_fee });
    }
    let sender = tx.recover_signer().map_err(|_| Refusal::Signature)?;
    if rules.senders.contains(&sender) { Ok(sender) } else { Err(Refusal::Sender(sender)) }
}

/// Gas that a call uses before anything is executed: EIP-2028 for its data, EIP-2930 for its access list.
fn intrinsic_gas(tx: &ViewTxEnvelope) -> u64 {
    let list = tx.access_list().map_or(0, |list| {
        let keys: u64 = list.0.iter().map(|item| item.storage_keys.len() as u64).sum();
        (list.0.len() as u64).saturating_mul(2_400).saturating_add(keys.saturating_mul(1_900))
    });
    call_gas(tx.input()).saturating_add(list)
}

/// Gas that a call with these data uses before anything is executed.
fn call_gas(data: &[u8]) -> u64 {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let others = data.len() as u64 - zeros;
    21_000u64.saturating_add(zeros.saturating_mul(4)).saturating_add(others.saturating_mul(16))
}

/// A gas limit with which a call of the inbox with these data is taken here, and by Ethereum under the floor of EIP-7623, too.
pub fn enough_gas(data: &[u8]) -> u64 {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let tokens = zeros.saturating_add((data.len() as u64 - zeros).saturating_mul(4));
    call_gas(data).max(21_000u64.saturating_add(tokens.saturating_mul(10)))
}

fn check_sidecar(hashes: &[B256], sidecar: BlobTransactionSidecarVariant) -> Result<Vec<Arc<Verified>>, Refusal> {
    let want = hashes.len();
    let count = |what, have: usize, want: usize| {
        if have == want { Ok(()) } else { Err(Refusal::SidecarCount { what, have, want }) }
    };
    count("blobs", sidecar.blobs().len(), want)?;
    count("commitments", sidecar.commitments().len(), want)?;
    match &sidecar {
        BlobTransactionSidecarVariant::Eip4844(sidecar) => count("blob proofs", sidecar.proofs.len(), want)?,
        BlobTransactionSidecarVariant::Eip7594(sidecar) => {
            count("cell proofs", sidecar.cell_proofs.len(), want * kzg::CELL_PROOFS)?;
        }
    }
    for (index, (named, commitment)) in hashes.iter().zip(sidecar.commitments()).enumerate() {
        let computed = B256::from(duskevm_blobs::versioned_hash(&commitment.0));
        if computed != *named {
            return Err(Refusal::BlobHash { index, computed, named: *named });
        }
    }
    let checked = match sidecar {
        BlobTransactionSidecarVariant::Eip4844(sidecar) => {
            let parts = sidecar.blobs.iter().zip(&sidecar.commitments).zip(&sidecar.proofs);
            let items = parts.zip(hashes).enumerate().map(|(index, (((blob, commitment), proof), hash))| {
                let sidecar = Sidecar::new(commitment.0, proof.0, blob.as_slice());
                Ok((hash.0, sidecar.map_err(|source| Refusal::Blob { index, source })?))
            });
            kzg::verify_batch(items.collect::<Result<_, Refusal>>()?)
        }
        BlobTransactionSidecarVariant::Eip7594(sidecar) => {
            let proofs: Vec<[u8; 48]> = sidecar.cell_proofs.iter().map(|proof| proof.0).collect();
            let parts = sidecar.blobs.iter().zip(&sidecar.commitments).zip(proofs.chunks(kzg::CELL_PROOFS));
            let checked = parts.zip(hashes).map(|(((blob, commitment), proofs), hash)| {
                kzg::verify_cells(&hash.0, commitment.0, blob.as_slice(), proofs)
            });
            checked.collect()
        }
    };
    let checked = checked.into_iter().enumerate();
    checked.map(|(index, blob)| blob.map(Arc::new).map_err(|source| Refusal::Blob { index, source })).collect()
}

#[cfg(test)]
mod tests;
