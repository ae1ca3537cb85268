//! The batch inbox: takes signed Ethereum transactions and shows them in the L1 view.
//!
//! Only what an Ethereum chain with the view's chain id could have included gets in, so that whoever sends anything else pays for a
//! failed call and no reader of the view ever sees it. An envelope gets in once, and after its blobs. Everybody can bring an envelope:
//! who signed it decides what it is worth.
//!
//! Nonces are not checked, because nothing here depends on them: derivation ignores them, and the Moonlight nonces of whoever brings
//! envelopes put these in order. A server of the view that answers `eth_getTransactionCount` takes the highest nonce of the signer's
//! envelopes, plus one; a signer that counts its envelopes from zero gets what it would on Ethereum.

use alloc::vec::Vec;

use alloy_consensus::Transaction;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_primitives::{Address, B256};
use duskevm_l1_view::{ENVELOPE_TOPIC, ViewTxEnvelope, contract_address, decode_envelope};

use crate::args::SubmitEnvelope;
use crate::host::{Host, Storage};
use crate::refusal::{Error, Refusal};
use crate::settlement::{RECORD_GAS, Settlement};

/// Most bytes of an envelope. Ethereum's transaction pools take no longer ones either.
pub const MAX_ENVELOPE_BYTES: usize = 128 * 1024;

/// Gas for the signature of an envelope.
const SIGNATURE_GAS: u64 = 300_000;

/// Gas to look for one blob.
const BLOB_GAS: u64 = 5_000;

/// Most blobs of an envelope: as many as a Dusk transaction carries (EIP-4844 bounds them by the gas of a block instead).
const MAX_BLOBS: usize = 6;

/// First byte of a versioned blob hash (EIP-4844).
const BLOB_HASH_VERSION: u8 = 1;

pub(crate) fn submit_envelope<H: Host>(
    settlement: &Settlement,
    host: &mut H,
    args: SubmitEnvelope,
) -> Result<(), Error<H::Fault>> {
    let inbox = &settlement.contracts().batch_inbox;
    let attached = host.attached();
    if attached != 0 {
        return Err(Refusal::NotPayable("the batch inbox", attached).into());
    }
    let bytes = args.envelope;
    if bytes.len() > MAX_ENVELOPE_BYTES {
        return Err(Refusal::EnvelopeSize(bytes.len()).into());
    }
    host.charge(SIGNATURE_GAS)?;
    let envelope = decode_envelope(settlement.l1_chain_id(), &bytes).map_err(Refusal::from)?;
    check(&envelope, contract_address(inbox))?;

    let hash = *envelope.tx_hash();
    if seen(host, inbox, &hash)? {
        return Err(Refusal::EnvelopeSeen(hash).into());
    }
    for blob in envelope.blob_versioned_hashes().unwrap_or_default() {
        host.charge(BLOB_GAS)?;
        if !host.has_blob(blob)? {
            return Err(Refusal::BlobMissing(*blob).into());
        }
    }
    host.charge(RECORD_GAS)?;
    host.set(inbox, &key(&hash), Some([1].into()));
    host.emit(inbox, ENVELOPE_TOPIC, bytes.into());
    Ok(())
}

/// Whether this envelope is in the view.
pub(crate) fn seen<S: Storage>(storage: &S, inbox: &B256, hash: &B256) -> Result<bool, Error<S::Fault>> {
    Ok(storage.get(inbox, &key(hash))?.is_some())
}

fn key(hash: &B256) -> Vec<u8> {
    [b"envelope/".as_slice(), hash.as_slice()].concat()
}

/// What the view itself does not ask of an envelope.
fn check(envelope: &ViewTxEnvelope, inbox: Address) -> Result<(), Refusal> {
    if envelope.to() != Some(inbox) {
        return Err(Refusal::EnvelopeTarget { got: envelope.to(), inbox });
    }
    if !envelope.value().is_zero() {
        return Err(Refusal::EnvelopeValue(envelope.value()));
    }
    if envelope.max_priority_fee_per_gas().is_some_and(|tip| tip > envelope.max_fee_per_gas()) {
        return Err(Refusal::EnvelopeTip);
    }
    if let Some(blobs) = envelope.blob_versioned_hashes() {
        let good = blobs.iter().all(|hash| hash.first() == Some(&BLOB_HASH_VERSION));
        if !(1..=MAX_BLOBS).contains(&blobs.len()) || !good {
            return Err(Refusal::EnvelopeBlobs { count: blobs.len(), most: MAX_BLOBS });
        }
    }
    // Refuses the high form of a signature, too (EIP-2): it would be the same transaction under another hash.
    envelope.recover_signer().map(drop).map_err(|_| Refusal::EnvelopeSignature)
}

#[cfg(test)]
mod tests;
