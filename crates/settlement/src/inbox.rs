//! The batch inbox: takes signed Ethereum transactions and shows them in the L1 view.
//!
//! Only what an Ethereum chain with the view's chain id could have included gets in, so that whoever sends anything else pays for a
//! failed call and no reader of the view ever sees it. An envelope gets in after its blobs. Everybody can bring an envelope: who signed
//! it decides what it is worth.
//!
//! The envelopes of a signer get in in the order of their nonces, from 0 on and without a gap, as on Ethereum (Yellow Paper, section 6.2;
//! EIP-2681): the inbox keeps the next one of each signer. So an envelope gets in once, and nobody who copies envelopes from a mempool can
//! bring them in another order than their signer meant, which would spoil a batcher's channels. The next nonce is what a server of the
//! view answers `eth_getTransactionCount` with.

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
    let signer = check(&envelope, contract_address(inbox))?;

    let (got, next) = (envelope.nonce(), next_nonce(host, inbox, &signer)?);
    // There is nothing after the highest number, so it is nobody's nonce (EIP-2681).
    let Some(after) = next.checked_add(1).filter(|_| got == next) else {
        return Err(Refusal::EnvelopeNonce { signer, got, next }.into());
    };
    for blob in envelope.blob_versioned_hashes().unwrap_or_default() {
        host.charge(BLOB_GAS)?;
        if !host.has_blob(blob)? {
            return Err(Refusal::BlobMissing(*blob).into());
        }
    }
    host.charge(RECORD_GAS)?;
    host.set(inbox, &key(&signer), Some(after.to_be_bytes().into()));
    host.emit(inbox, ENVELOPE_TOPIC, bytes.into());
    Ok(())
}

/// The nonce that the next envelope of this signer must have: as many of them are in the view.
pub(crate) fn next_nonce<S: Storage>(storage: &S, inbox: &B256, signer: &Address) -> Result<u64, Error<S::Fault>> {
    let Some(bytes) = storage.get(inbox, &key(signer))? else { return Ok(0) };
    let bytes = bytes.try_into().map_err(|_| Refusal::Damaged("the nonce of an envelope's signer"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// The arguments of the question [`NEXT_NONCE`](crate::NEXT_NONCE).
pub fn next_nonce_args(signer: &Address) -> Vec<u8> {
    alloy_rlp::encode(alloc::vec![*signer])
}

/// The answer to it; `None` if the bytes are none.
pub fn next_nonce_answer(answer: &[u8]) -> Option<u64> {
    alloy_rlp::decode_exact(answer).ok()
}

fn key(signer: &Address) -> Vec<u8> {
    [b"nonce/".as_slice(), signer.as_slice()].concat()
}

/// What the view itself does not ask of an envelope; returns who signed it.
fn check(envelope: &ViewTxEnvelope, inbox: Address) -> Result<Address, Refusal> {
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
    envelope.recover_signer().map_err(|_| Refusal::EnvelopeSignature)
}

#[cfg(test)]
mod tests;
