//! The L2 chain as the batcher reads it.

use crate::error::BatcherError;
use alloy_primitives::B256;
use duskevm_batcher_core::{L2Block, L2Chain};
use duskevm_evm::Block;
use duskevm_rollup::{
    RollupConfig,
    batch::{BlockBatchError, batch_of_block},
    origin_time_of,
};
use duskevm_store::l2::L2Reader;
use std::sync::Arc;

/// Reads blocks of the L2 chain.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) reader: L2Reader,
    pub(crate) rollup: Arc<RollupConfig>,
}

impl L2Chain for Chain {
    type Error = BatcherError;

    fn hash(&self, number: u64) -> Result<Option<B256>, BatcherError> {
        Ok(self.reader.canonical_hash(number)?)
    }

    /// `None` also if the block leaves the chain while it is read.
    fn block(&self, number: u64) -> Result<Option<L2Block>, BatcherError> {
        let Some(hash) = self.reader.canonical_hash(number)? else { return Ok(None) };
        let (Some(header), Some(body)) = (self.reader.header(&hash)?, self.reader.body(&hash)?) else {
            return Ok(None);
        };
        let block = Block::from_stored(header, hash, body.into_iter().map(|stored| (stored.raw, stored.sender)))
            .map_err(|error| BatcherError::Damaged { number, why: error.to_string() })?;
        let origin_time =
            origin_time_of(&self.rollup, &block).map_err(|source| BatcherError::Foreign { number, source })?;
        match batch_of_block(&self.rollup, &block) {
            Ok((batch, sequence_number)) => Ok(Some(L2Block { hash, batch, sequence_number, origin_time })),
            // Nobody asks for it: the chain is read from the block after the safe head.
            Err(BlockBatchError::Genesis) => Ok(None),
            Err(BlockBatchError::Block(source)) => Err(BatcherError::Foreign { number, source }),
        }
    }
}
