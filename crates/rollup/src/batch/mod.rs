//! Batches: what the batcher says about L2 blocks, in two forms.
//!
//! - [`SingularBatch`]: one block.
//! - [`SpanBatch`]: consecutive blocks, with the parts of their transactions sorted into columns so that they compress well. It
//!   is kept in the bytes that it came in; blocks are rebuilt one at a time while they are asked for.
//! - [`SpanEncoder`]: makes span batches.
//! - [`check`]: which batches may follow on a safe head.
//!
//! Source: OP Stack specification, derivation.md, "Batch format", and delta/span-batches.md.

mod bits;
pub mod check;
mod reader;
mod singular;
mod span;
mod span_encode;
#[cfg(test)]
mod tests;
mod tx_data;

pub use singular::{BlockBatchError, SingularBatch, SingularBatchError, batch_of_block};
pub use span::{MAX_SPAN_BATCH_ELEMENTS, SpanBatch, SpanBatchError, SpanBlock, SpanBlocks};
pub use span_encode::{SpanEncodeError, SpanEncoder};
pub use tx_data::{MAX_TX_DATA, TxDataError};

use alloc::{boxed::Box, vec::Vec};
use alloy_primitives::Bytes;

/// Version byte of a singular batch.
pub const SINGULAR_BATCH_VERSION: u8 = 0;
/// Version byte of a span batch.
pub const SPAN_BATCH_VERSION: u8 = 1;

/// A batch of either form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// One block.
    Singular(SingularBatch),
    /// Consecutive blocks.
    Span(Box<SpanBatch>),
}

/// Bytes that are no batch. The rest of their channel is then to be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No bytes at all.
    #[error("the batch is empty")]
    Empty,
    /// An unknown version byte.
    #[error("batch version {0} is unknown: singular batches have 0, span batches 1")]
    Version(u8),
    /// A singular batch that cannot be read.
    #[error("singular batch: {0}")]
    Singular(#[from] SingularBatchError),
    /// A span batch that cannot be read.
    #[error("span batch: {0}")]
    Span(#[from] SpanBatchError),
}

impl Batch {
    /// Reads a batch: version byte and body. Nothing is copied: transactions of singular batches and the columns of span batches
    /// are views of `bytes`.
    ///
    /// Bytes behind a complete body are ignored, as op-node does.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, BatchError> {
        match bytes.first() {
            None => Err(BatchError::Empty),
            Some(&SINGULAR_BATCH_VERSION) => Ok(Self::Singular(SingularBatch::decode(&bytes.slice(1..))?)),
            Some(&SPAN_BATCH_VERSION) => Ok(Self::Span(Box::new(SpanBatch::decode(bytes.slice(1..))?))),
            Some(&other) => Err(BatchError::Version(other)),
        }
    }

    /// Version byte and body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Singular(batch) => {
                out.push(SINGULAR_BATCH_VERSION);
                batch.encode_to(&mut out);
            }
            Self::Span(batch) => {
                out.push(SPAN_BATCH_VERSION);
                out.extend_from_slice(batch.body());
            }
        }
        out
    }
}
