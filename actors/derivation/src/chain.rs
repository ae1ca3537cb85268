//! The L2 chain and the L1 view as derivation reads them.

use crate::error::DerivationError;
use alloy_primitives::B256;
use duskevm_evm::{Block, ChainSpec};
use duskevm_l1_view::ViewBlock;
use duskevm_rollup::{
    L1BlockRef, L2BlockRef, RollupConfig,
    batch::{BlockBatchError, SingularBatch, batch_of_block},
    derive::{L1Block, L2Head},
    l2_block_ref,
};
use duskevm_store::l2::L2Reader;
use std::sync::Arc;

/// Reads blocks of the L2 chain.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) reader: L2Reader,
    pub(crate) rollup: Arc<RollupConfig>,
    pub(crate) spec: Arc<ChainSpec>,
}

impl Chain {
    /// The canonical block of a number.
    pub(crate) fn block_at(&self, number: u64) -> Result<Option<Block>, DerivationError> {
        match self.reader.canonical_hash(number)? {
            Some(hash) => self.block(hash),
            None => Ok(None),
        }
    }

    /// A canonical block; `None` also if it leaves the chain while it is read.
    pub(crate) fn block(&self, hash: B256) -> Result<Option<Block>, DerivationError> {
        let (Some(header), Some(body)) = (self.reader.header(&hash)?, self.reader.body(&hash)?) else {
            return Ok(None);
        };
        let number = header.number;
        Block::from_stored(header, hash, body.into_iter().map(|stored| (stored.raw, stored.sender)))
            .map(Some)
            .map_err(|error| DerivationError::Damaged { number, why: error.to_string() })
    }

    pub(crate) fn head(&self, block: &Block) -> Result<L2Head, DerivationError> {
        L2Head::of_block(&self.rollup, &self.spec, block)
            .map_err(|source| DerivationError::Foreign { number: block.number(), source })
    }

    /// What a batch of the block holds.
    pub(crate) fn batch(&self, block: &Block) -> Result<SingularBatch, DerivationError> {
        match batch_of_block(&self.rollup, block) {
            Ok((batch, _)) => Ok(batch),
            Err(BlockBatchError::Block(source)) => Err(DerivationError::Foreign { number: block.number(), source }),
            // It is never asked for: a span that begins with it is not judged.
            Err(error @ BlockBatchError::Genesis) => {
                Err(DerivationError::Damaged { number: block.number(), why: error.to_string() })
            }
        }
    }

    /// A canonical block as the rollup refers to it.
    pub(crate) fn reference(&self, hash: B256) -> Result<Option<L2BlockRef>, DerivationError> {
        let Some(block) = self.block(hash)? else { return Ok(None) };
        l2_block_ref(&self.rollup, &block)
            .map(Some)
            .map_err(|source| DerivationError::Foreign { number: block.number(), source })
    }
}

pub(crate) fn l1_block(rollup: &RollupConfig, block: &ViewBlock) -> L1Block {
    let transactions = block.transactions.iter().map(|tx| &tx.envelope);
    L1Block::read(rollup, &block.header, transactions, &block.receipts)
}

pub(crate) fn l1_ref(block: &ViewBlock) -> L1BlockRef {
    L1BlockRef {
        hash: block.hash(),
        number: block.number(),
        parent_hash: block.parent_hash(),
        timestamp: block.timestamp(),
    }
}
