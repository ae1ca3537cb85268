//! Which signed Ethereum transactions the view shows.

use alloy_consensus::Transaction;
use alloy_eips::eip2718::Decodable2718;

use crate::block::ViewTxEnvelope;
use crate::project::{BASE_FEE, GAS_USED};

/// Why bytes of the batch inbox are not shown as a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not one EIP-2718 transaction, whole and exact.
    #[error("the envelope is no signed Ethereum transaction: send its EIP-2718 bytes, without a blob sidecar")]
    Malformed,
    /// Neither EIP-1559 nor EIP-4844.
    #[error("the envelope is a transaction of type {0}: only types 2 and 3 are shown")]
    Type(u8),
    /// For another chain.
    #[error("the envelope is for chain id {got:?}: the L1 view has {want}")]
    ChainId {
        /// As signed.
        got: Option<u64>,
        /// Of the view.
        want: u64,
    },
    /// Less gas than its receipt will report.
    #[error("the envelope has a gas limit of {0}: its receipt reports {GAS_USED}")]
    Gas(u64),
    /// Less than the base fee.
    #[error("the envelope pays at most {0} wei per gas: the L1 view's base fee is {BASE_FEE}")]
    Fee(u128),
}

/// Reads an envelope that Ethereum itself could have included: it decodes exactly, is of type 2 or 3 and for this chain, and
/// offers the base fee and the gas that its receipt will report.
///
/// # Errors
/// See [`EnvelopeError`]. Such an envelope is not shown.
pub fn decode_envelope(chain_id: u64, bytes: &[u8]) -> Result<ViewTxEnvelope, EnvelopeError> {
    let envelope = ViewTxEnvelope::decode_2718_exact(bytes).map_err(|_| EnvelopeError::Malformed)?;
    if !matches!(envelope, ViewTxEnvelope::Eip1559(_) | ViewTxEnvelope::Eip4844(_)) {
        return Err(EnvelopeError::Type(envelope.tx_type() as u8));
    }
    if envelope.chain_id() != Some(chain_id) {
        return Err(EnvelopeError::ChainId { got: envelope.chain_id(), want: chain_id });
    }
    if envelope.gas_limit() < GAS_USED {
        return Err(EnvelopeError::Gas(envelope.gas_limit()));
    }
    if envelope.max_fee_per_gas() < u128::from(BASE_FEE) {
        return Err(EnvelopeError::Fee(envelope.max_fee_per_gas()));
    }
    Ok(envelope)
}
