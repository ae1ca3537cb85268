//! The batches of a complete channel, read one at a time.
//!
//! Source: OP Stack specification, derivation.md, "Channel format"; fjord/derivation.md.

use crate::{
    batch::{Batch, BatchError, SINGULAR_BATCH_VERSION, SPAN_BATCH_VERSION},
    channel::max_rlp_bytes_per_channel,
    config::RollupConfig,
    decompress::{CompressionError, Decompressor},
};
use alloc::vec::Vec;
use alloy_primitives::Bytes;

/// How much memory a batch gets before any of its bytes were seen.
const FIRST_STEP: usize = 64 * 1024;

/// What a channel may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Decompressed bytes; what lies behind them does not count.
    pub max_rlp_bytes: u64,
    /// Is brotli allowed (Fjord)?
    pub brotli: bool,
    /// Are span batches allowed (Delta)?
    pub span_batches: bool,
}

impl ChannelLimits {
    /// The limits for the L1 block at `timestamp`, the one that the pipeline reads.
    pub fn at(config: &RollupConfig, timestamp: u64) -> Self {
        Self {
            max_rlp_bytes: max_rlp_bytes_per_channel(config, timestamp),
            brotli: RollupConfig::active(config.forks.fjord, timestamp),
            span_batches: RollupConfig::active(config.delta_time, timestamp),
        }
    }
}

/// Why a channel has no further batch. Nothing of this is an error of derivation: the channel ends there for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelEnd {
    /// It was read to its end.
    #[error("the channel was read to its end")]
    Complete,
    /// The compressed data are corrupt or end within a batch.
    #[error("the compressed data are corrupt or end within a batch")]
    Corrupt,
    /// A batch is not an RLP string.
    #[error("the decompressed data are not RLP strings")]
    NotRlp,
    /// A batch goes beyond the limit.
    #[error("a batch goes beyond the channel's limit of {0} decompressed bytes")]
    Limit(u64),
    /// A span batch before Delta.
    #[error("span batches are read from Delta on")]
    SpanBeforeDelta,
    /// A batch that cannot be read.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// Reads the batches of a channel. Only as much is decompressed as the next batch needs, at most the limit altogether.
#[derive(Debug)]
pub struct ChannelReader {
    stream: Decompressor,
    limits: ChannelLimits,
    left: u64,
    end: Option<ChannelEnd>,
}

impl ChannelReader {
    /// Reads a channel from its beginning. `data` are the data of all its frames.
    ///
    /// # Errors
    /// If the first byte names no known compression, or one that is not allowed yet.
    pub fn new(data: Bytes, limits: ChannelLimits) -> Result<Self, CompressionError> {
        let stream = Decompressor::new(data, limits.brotli)?;
        Ok(Self { stream, limits, left: limits.max_rlp_bytes, end: None })
    }

    /// The next batch; `None` when there is no further one, and [`Self::end`] then says why.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.end.is_some() {
            return None;
        }
        let read = self.read_string().and_then(|bytes| Batch::decode(&bytes).map_err(ChannelEnd::Batch));
        read.map_err(|end| self.end = Some(end)).ok()
    }

    /// Bytes of the channel that were read so far, or were to be read before it ended.
    pub const fn decompressed(&self) -> u64 {
        self.limits.max_rlp_bytes.saturating_sub(self.left)
    }

    /// Why there is no further batch; `None` while there may be one.
    pub const fn end(&self) -> Option<ChannelEnd> {
        self.end
    }

    /// Reads exactly `N` bytes; `empty` is what it means if there are none at all.
    fn array<const N: usize>(&mut self, empty: ChannelEnd) -> Result<[u8; N], ChannelEnd> {
        let mut out = [0; N];
        self.left = self.left.checked_sub(N as u64).ok_or(ChannelEnd::Limit(self.limits.max_rlp_bytes))?;
        match self.stream.read(&mut out) {
            read if read == N => Ok(out),
            0 if !self.stream.is_corrupt() => Err(empty),
            _ => Err(ChannelEnd::Corrupt),
        }
    }

    /// The content of the next RLP string.
    fn read_string(&mut self) -> Result<Bytes, ChannelEnd> {
        let [first] = self.array(ChannelEnd::Complete)?;
        let length = match first {
            // A batch of one byte, which is no batch.
            0..0x80 => return Ok(Bytes::copy_from_slice(&[first])),
            0x80..=0xb7 => u64::from(first - 0x80),
            0xb8..=0xbf => {
                let mut bytes = [0; 8];
                let digits = usize::from(first - 0xb7);
                for (index, byte) in bytes.iter_mut().rev().take(digits).rev().enumerate() {
                    [*byte] = self.array(ChannelEnd::Corrupt)?;
                    if index == 0 && *byte == 0 {
                        return Err(ChannelEnd::NotRlp);
                    }
                }
                let length = u64::from_be_bytes(bytes);
                if length < 56 {
                    return Err(ChannelEnd::NotRlp);
                }
                length
            }
            0xc0.. => return Err(ChannelEnd::NotRlp),
        };
        self.left = self.left.checked_sub(length).ok_or(ChannelEnd::Limit(self.limits.max_rlp_bytes))?;
        let length = usize::try_from(length).map_err(|_| ChannelEnd::Limit(self.limits.max_rlp_bytes))?;
        self.read_content(length)
    }

    fn read_content(&mut self, length: usize) -> Result<Bytes, ChannelEnd> {
        let mut content = Vec::new();
        while content.len() < length {
            // The announced length is believed only as far as bytes come.
            let start = content.len();
            let step = (length - start).min(start.max(FIRST_STEP));
            content.reserve_exact(step);
            content.resize(start + step, 0);
            let read = self.stream.read(content.get_mut(start..).unwrap_or_default());
            if start == 0 {
                self.check_version(content.first().copied())?;
            }
            if read < step {
                return Err(ChannelEnd::Corrupt);
            }
        }
        Ok(content.into())
    }

    /// What is no batch anyway need not be decompressed to its end.
    fn check_version(&self, version: Option<u8>) -> Result<(), ChannelEnd> {
        match version {
            Some(SPAN_BATCH_VERSION) if !self.limits.span_batches => Err(ChannelEnd::SpanBeforeDelta),
            Some(SINGULAR_BATCH_VERSION | SPAN_BATCH_VERSION) | None => Ok(()),
            Some(other) => Err(ChannelEnd::Batch(BatchError::Version(other))),
        }
    }
}

impl Iterator for ChannelReader {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.next_batch()
    }
}

#[cfg(test)]
#[cfg(feature = "std")]
mod tests;
