//! Singular batches: one L2 block each.

use crate::{
    block_ref::{BlockRefError, l2_block_ref},
    config::{BlockId, RollupConfig},
};
use alloc::vec::Vec;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable, Encodable, Header};
use duskevm_evm::Block;

/// The batch of one L2 block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SingularBatch {
    /// Hash of the L2 block before it.
    pub parent_hash: B256,
    /// The L1 origin that it names.
    pub epoch: BlockId,
    /// Its time in seconds.
    pub timestamp: u64,
    /// Its transactions without the deposits, each as opaque EIP-2718 bytes.
    pub transactions: Vec<Bytes>,
}

/// An L2 block that no batch can say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockBatchError {
    /// The genesis block is part of the configuration.
    #[error("the genesis block goes into no batch: begin with the block after it")]
    Genesis,
    /// It does not say what its L1 origin is.
    #[error(transparent)]
    Block(#[from] BlockRefError),
}

/// The batch of an L2 block, and its sequence number within its epoch. The deposits stay away: derivation has them from L1.
///
/// # Errors
/// See [`BlockBatchError`].
pub fn batch_of_block(config: &RollupConfig, block: &Block) -> Result<(SingularBatch, u64), BlockBatchError> {
    let reference = l2_block_ref(config, block)?;
    if reference.number == config.genesis.l2.number {
        return Err(BlockBatchError::Genesis);
    }
    let user = block.transactions.iter().filter(|tx| !tx.is_deposit());
    let batch = SingularBatch {
        parent_hash: reference.parent_hash,
        epoch: reference.l1_origin,
        timestamp: reference.timestamp,
        transactions: user.map(|tx| tx.encoded().clone()).collect(),
    };
    Ok((batch, reference.sequence_number))
}

/// Bytes that are no singular batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SingularBatchError {
    /// Not the RLP that a batch has.
    #[error("not the RLP of [parent hash, epoch number, epoch hash, timestamp, [transactions]]: {0}")]
    Rlp(alloy_rlp::Error),
    /// The list has more members than a batch has.
    #[error("{0} bytes follow after the transactions, within the list")]
    Longer(usize),
}

impl From<alloy_rlp::Error> for SingularBatchError {
    fn from(error: alloy_rlp::Error) -> Self {
        Self::Rlp(error)
    }
}

fn list<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], SingularBatchError> {
    Ok(Header::decode_bytes(rest, true)?)
}

impl SingularBatch {
    /// Reads the body of a batch, without its version byte. The transactions are views of `body`; bytes behind the list are ignored.
    ///
    /// # Errors
    /// See [`SingularBatchError`].
    pub fn decode(body: &Bytes) -> Result<Self, SingularBatchError> {
        let mut fields = list(&mut body.as_ref())?;
        let parent_hash = B256::decode(&mut fields)?;
        let number = u64::decode(&mut fields)?;
        let hash = B256::decode(&mut fields)?;
        let timestamp = u64::decode(&mut fields)?;
        let mut items = list(&mut fields)?;
        if !fields.is_empty() {
            return Err(SingularBatchError::Longer(fields.len()));
        }
        let mut transactions = Vec::new();
        while !items.is_empty() {
            transactions.push(body.slice_ref(Header::decode_bytes(&mut items, false)?));
        }
        Ok(Self { parent_hash, epoch: BlockId { hash, number }, timestamp, transactions })
    }

    fn headers(&self) -> (Header, Header) {
        let inner = Header { list: true, payload_length: self.transactions.iter().map(|tx| tx.length()).sum() };
        let fixed = 2 * self.parent_hash.length() + self.epoch.number.length() + self.timestamp.length();
        (Header { list: true, payload_length: fixed + inner.length_with_payload() }, inner)
    }

    /// Bytes of the body.
    pub fn encoded_len(&self) -> usize {
        self.headers().0.length_with_payload()
    }

    /// Appends the body, without its version byte.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        let (outer, inner) = self.headers();
        out.reserve(outer.length_with_payload());
        outer.encode(out);
        self.parent_hash.encode(out);
        self.epoch.number.encode(out);
        self.epoch.hash.encode(out);
        self.timestamp.encode(out);
        inner.encode(out);
        for tx in &self.transactions {
            tx.encode(out);
        }
    }
}
