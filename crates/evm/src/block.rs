//! Blocks: a sealed header and transactions whose senders are known.

use crate::tx::{RecoveredTx, TxDecodeError};
use alloc::{sync::Arc, vec::Vec};
use alloy_consensus::{Block as RlpBlock, EMPTY_OMMER_ROOT_HASH, Header, Sealable, Sealed};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::{Decodable, Encodable, Header as RlpHeader};
use op_alloy_consensus::OpTxEnvelope;

/// An L2 block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The header with its hash.
    pub header: Sealed<Header>,
    /// Transactions in order; the first one is the L1-attributes deposit.
    pub transactions: Vec<Arc<RecoveredTx>>,
}

/// Bytes that are not a block of this chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockDecodeError {
    /// Not the RLP of a block.
    #[error("not an RLP block: {0}")]
    Rlp(alloy_rlp::Error),
    /// Bytes follow after the block.
    #[error("{0} bytes follow after the block")]
    TrailingBytes(usize),
    /// The body has ommers or withdrawals, which no L2 block has.
    #[error("the block has {0}, which no L2 block has")]
    Foreign(&'static str),
    /// A transaction does not belong here.
    #[error("transaction {index}: {source}")]
    Transaction {
        /// Position in the block.
        index: usize,
        /// What is wrong.
        source: TxDecodeError,
    },
}

impl Block {
    /// A block as a database keeps it: `header` with its hash, and for each transaction its EIP-2718 bytes and the sender, both as
    /// they were when the block was executed.
    ///
    /// # Errors
    /// [`BlockDecodeError::Transaction`] if bytes are no transaction of this chain.
    pub fn from_stored(
        header: Header,
        hash: B256,
        transactions: impl IntoIterator<Item = (Bytes, Address)>,
    ) -> Result<Self, BlockDecodeError> {
        let transactions = transactions.into_iter().enumerate().map(|(index, (bytes, sender))| {
            RecoveredTx::decode_with_sender(&bytes, sender)
                .map(Arc::new)
                .map_err(|source| BlockDecodeError::Transaction { index, source })
        });
        Ok(Self { transactions: transactions.collect::<Result<_, _>>()?, header: header.seal_unchecked(hash) })
    }

    /// Hash of the header.
    pub fn hash(&self) -> B256 {
        self.header.hash()
    }

    /// Block number.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// The block as Ethereum's RLP has it: header, transactions, ommers, and withdrawals if the header names their root.
    pub fn to_rlp(&self) -> Vec<u8> {
        const EMPTY_LIST: u8 = 0xc0;
        // In a block a legacy transaction is the list that it is, a typed one a string with its EIP-2718 bytes.
        let length =
            |tx: &Arc<RecoveredTx>| if tx.envelope().is_legacy() { tx.encoded().len() } else { tx.encoded().length() };
        let transactions = RlpHeader { list: true, payload_length: self.transactions.iter().map(length).sum() };
        let empty_lists = if self.header.withdrawals_root.is_some() { 2 } else { 1 };
        let payload_length = self.header.inner().length() + transactions.length_with_payload() + empty_lists;
        let mut out = Vec::with_capacity(payload_length + 5);
        RlpHeader { list: true, payload_length }.encode(&mut out);
        self.header.inner().encode(&mut out);
        transactions.encode(&mut out);
        for tx in &self.transactions {
            if tx.envelope().is_legacy() {
                out.extend_from_slice(tx.encoded());
            } else {
                tx.encoded().encode(&mut out);
            }
        }
        out.extend(core::iter::repeat_n(EMPTY_LIST, empty_lists));
        out
    }

    /// Decodes a block and recovers all senders.
    ///
    /// # Errors
    /// See [`BlockDecodeError`]. The header's roots are not compared with the body: [`crate::execute_block`] does that.
    pub fn from_rlp(mut bytes: &[u8]) -> Result<Self, BlockDecodeError> {
        let block = RlpBlock::<OpTxEnvelope>::decode(&mut bytes).map_err(BlockDecodeError::Rlp)?;
        if !bytes.is_empty() {
            return Err(BlockDecodeError::TrailingBytes(bytes.len()));
        }
        if !block.body.ommers.is_empty() || block.header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
            return Err(BlockDecodeError::Foreign("ommers"));
        }
        if block.body.withdrawals.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(BlockDecodeError::Foreign("withdrawals"));
        }
        let encoded: Vec<Bytes> = block.body.transactions.iter().map(|tx| tx.encoded_2718().into()).collect();
        Ok(Self { header: block.header.seal_slow(), transactions: recover_all(&encoded)? })
    }
}

/// Decodes the transactions of a block and recovers their senders, on all cores where there are threads.
///
/// # Errors
/// [`BlockDecodeError::Transaction`] with the position of the first one that is refused.
pub fn recover_all(encoded: &[Bytes]) -> Result<Vec<Arc<RecoveredTx>>, BlockDecodeError> {
    let recover = |(index, bytes): (usize, &Bytes)| {
        RecoveredTx::decode(bytes).map(Arc::new).map_err(|source| BlockDecodeError::Transaction { index, source })
    };
    #[cfg(feature = "std")]
    {
        use rayon::prelude::*;
        encoded.par_iter().enumerate().with_min_len(8).map(recover).collect()
    }
    #[cfg(not(feature = "std"))]
    {
        encoded.iter().enumerate().map(recover).collect()
    }
}
