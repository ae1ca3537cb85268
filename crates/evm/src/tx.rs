//! A transaction with everything that is computed once about it.

use alloy_consensus::{Transaction as _, transaction::SignerRecoverable};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes};
use op_alloy_consensus::{OpTxEnvelope, OpTxType, TxDeposit};

/// EIP-2718 type byte of blob transactions (EIP-4844), which an OP chain does not carry.
const BLOB_TX_TYPE: u8 = 3;

/// A transaction together with its sender, hash and EIP-2718 bytes.
///
/// Recovering a sender costs tens of microseconds and each of pool, builder, batcher and receipts needs it, so it is done
/// once where the transaction enters and then travels with it, usually as an [`Arc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredTx {
    envelope: OpTxEnvelope,
    sender: Address,
    encoded: Bytes,
}

/// Why bytes are not a transaction of this chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxDecodeError {
    /// The bytes are no EIP-2718 transaction.
    #[error("not an EIP-2718 transaction: {0}")]
    Malformed(alloc::string::String),
    /// Bytes follow after the end of the transaction.
    #[error("{0} bytes follow after the transaction")]
    TrailingBytes(usize),
    /// A type that this chain does not execute.
    #[error("transaction type {0} not supported: {1}")]
    Unsupported(u8, &'static str),
    /// The signature recovers to no key (or its `s` is in the upper half, EIP-2).
    #[error("invalid signature")]
    Signature,
}

impl RecoveredTx {
    /// Decodes a transaction of a block body, a batch or a user (EIP-2718 bytes) and recovers its sender. Deposits (0x7E) are
    /// allowed here: they have no signature and name their sender.
    ///
    /// # Errors
    /// See [`TxDecodeError`]. Blob transactions (EIP-4844) and the post-execution type 0x7D are refused: an OP chain of the
    /// forks supported here carries neither.
    pub fn decode(bytes: &Bytes) -> Result<Self, TxDecodeError> {
        match bytes.first() {
            Some(&BLOB_TX_TYPE) => {
                return Err(TxDecodeError::Unsupported(BLOB_TX_TYPE, "blob transactions are not part of an OP chain"));
            }
            Some(&ty) if ty == OpTxType::PostExec as u8 => {
                return Err(TxDecodeError::Unsupported(ty, "post-execution transactions are of a later fork"));
            }
            _ => {}
        }
        let mut rest = bytes.as_ref();
        let envelope = OpTxEnvelope::decode_2718(&mut rest)
            .map_err(|e| TxDecodeError::Malformed(alloc::string::ToString::to_string(&e)))?;
        if !rest.is_empty() {
            return Err(TxDecodeError::TrailingBytes(rest.len()));
        }
        let sender = match &envelope {
            OpTxEnvelope::Deposit(deposit) => deposit.from,
            signed => signed.recover_signer().map_err(|_| TxDecodeError::Signature)?,
        };
        Ok(Self { envelope, sender, encoded: bytes.clone() })
    }

    /// As [`Self::decode`], with a sender that was recovered and stored earlier by this program.
    ///
    /// # Errors
    /// As [`Self::decode`], but the signature is not looked at.
    pub fn decode_with_sender(bytes: &Bytes, sender: Address) -> Result<Self, TxDecodeError> {
        let mut rest = bytes.as_ref();
        let envelope = OpTxEnvelope::decode_2718(&mut rest)
            .map_err(|e| TxDecodeError::Malformed(alloc::string::ToString::to_string(&e)))?;
        if !rest.is_empty() {
            return Err(TxDecodeError::TrailingBytes(rest.len()));
        }
        Ok(Self { envelope, sender, encoded: bytes.clone() })
    }

    /// A deposit transaction (type 0x7E), made from L1 data.
    pub fn deposit(deposit: TxDeposit) -> Self {
        let sender = deposit.from;
        let envelope = OpTxEnvelope::from(deposit);
        let encoded = envelope.encoded_2718().into();
        Self { envelope, sender, encoded }
    }

    /// The transaction itself.
    pub const fn envelope(&self) -> &OpTxEnvelope {
        &self.envelope
    }

    /// The account that sent it: recovered from the signature, or `from` of a deposit.
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// The EIP-2718 bytes, as hashed and as posted to L1.
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Keccak-256 of the EIP-2718 bytes.
    pub fn hash(&self) -> B256 {
        *self.envelope.hash()
    }

    /// Is it a deposit (type 0x7E)?
    pub const fn is_deposit(&self) -> bool {
        self.envelope.is_deposit()
    }

    /// The nonce; 0 for deposits, which have none of their own.
    pub fn nonce(&self) -> u64 {
        self.envelope.nonce()
    }

    /// The price per gas that the sender pays above the base fee, in wei; `None` if the fee cap is below the base fee.
    pub fn effective_tip(&self, base_fee: u64) -> Option<u128> {
        self.envelope.effective_tip_per_gas(base_fee)
    }

    /// Estimated size after compression, in 10⁻⁶ bytes: what the L1 data fee (Fjord) and the DA footprint (Jovian) are
    /// charged for.
    pub fn da_size_scaled(&self) -> u64 {
        op_revm::estimate_tx_compressed_size(&self.encoded)
    }

    /// The same in whole bytes, rounded down, by which op-geth's miner counts: 0 for deposits, which no batch holds.
    pub fn da_size(&self) -> u64 {
        if self.is_deposit() { 0 } else { self.da_size_scaled() / 1_000_000 }
    }
}
