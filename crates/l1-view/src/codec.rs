//! Storage form of a view block: RLP `[version, header, [[dusk id, transaction, receipt], …]]`.

use alloc::vec::Vec;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{Header, ReceiptEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{B256, Bytes, Sealable, Sealed};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

use crate::VERSION;
use crate::block::{ViewBlock, ViewTransaction, ViewTxEnvelope};

/// Why stored bytes are not a view block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the encoding.
    #[error("the stored view block does not decode: {0}")]
    Malformed(&'static str),
    /// Made by another version of the mapping.
    #[error("the stored view block has mapping version {0}, this program makes version {VERSION}")]
    Version(u32),
}

#[derive(RlpEncodable, RlpDecodable)]
struct Stored {
    version: u32,
    header: Header,
    txs: Vec<StoredTx>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredTx {
    dusk_id: B256,
    transaction: Bytes,
    receipt: Bytes,
}

impl ViewBlock {
    /// The storage form.
    pub fn encode(&self) -> Vec<u8> {
        let txs = self.transactions.iter().zip(&self.receipts).map(|(tx, receipt)| StoredTx {
            dusk_id: tx.dusk_id,
            transaction: tx.envelope.encoded_2718().into(),
            receipt: receipt.encoded_2718().into(),
        });
        let stored = Stored { version: VERSION, header: self.header.inner().clone(), txs: txs.collect() };
        let mut out = Vec::with_capacity(stored.length());
        Encodable::encode(&stored, &mut out);
        out
    }

    /// Reads only the header of the storage form, without a look at the lists behind it.
    ///
    /// # Errors
    /// As [`Self::decode`], as far as the header is concerned.
    pub fn decode_header(bytes: &[u8]) -> Result<Sealed<Header>, DecodeError> {
        let mut rest = bytes;
        let mut payload =
            alloy_rlp::Header::decode_bytes(&mut rest, true).map_err(|_| DecodeError::Malformed("list"))?;
        let version = u32::decode(&mut payload).map_err(|_| DecodeError::Malformed("version"))?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let header = <Header as Decodable>::decode(&mut payload).map_err(|_| DecodeError::Malformed("header"))?;
        Ok(header.seal_slow())
    }

    /// Reads the storage form and checks it as a whole: the roots in the header are recomputed from the lists.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        let stored = <Stored as Decodable>::decode(&mut rest).map_err(|_| DecodeError::Malformed("list"))?;
        if !rest.is_empty() {
            return Err(DecodeError::Malformed("trailing bytes"));
        }
        if stored.version != VERSION {
            return Err(DecodeError::Version(stored.version));
        }
        let (mut transactions, mut envelopes, mut receipts) = (Vec::new(), Vec::new(), Vec::new());
        for tx in stored.txs {
            let envelope = ViewTxEnvelope::decode_2718_exact(&tx.transaction)
                .map_err(|_| DecodeError::Malformed("transaction"))?;
            let receipt =
                ReceiptEnvelope::decode_2718_exact(&tx.receipt).map_err(|_| DecodeError::Malformed("receipt"))?;
            envelopes.push(envelope.clone());
            transactions.push(ViewTransaction { dusk_id: tx.dusk_id, envelope });
            receipts.push(receipt);
        }
        let header = stored.header;
        if header.transactions_root != calculate_transaction_root(&envelopes)
            || header.receipts_root != calculate_receipt_root(&receipts)
        {
            return Err(DecodeError::Malformed("the roots do not match the lists"));
        }
        Ok(Self { header: header.seal_slow(), transactions, receipts })
    }
}
