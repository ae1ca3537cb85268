//! Channels for L1: blocks in, frames out.
//!
//! # What it costs
//!
//! A span batch is laid out in columns, so that a block at its end changes it in many places: there is no compressing "the rest"
//! of it, only all of it again. Compressing after every block would take quadratic time. Instead:
//!
//! 1. A count of bytes, weighted by how they usually compress, estimates the size after each block (no compression).
//! 2. When the estimate reaches the target, all blocks are compressed quickly (the *shadow*) and the estimate is corrected by
//!    what came out. Its error falls each time, so that a channel takes about three shadows; one that overshoots is cut back by a few
//!    more.
//! 3. [`ChannelOut::close`] compresses as the settings say, normally once. How much better that was than the shadow is kept
//!    for the next channel, so that it is filled better.
//!
//! On one core, Brotli takes about 1 s per megabyte of batch at quality 10 or 11, 0.2 s at quality 9 and 0.01 s for a shadow.
//! Call it from a worker pool.
//!
//! # Building the same again
//!
//! Which blocks a channel ends with depends on its history; what it looks like does not: [`build_frames`] makes the same frames from
//! the same settings, channel id and blocks, byte for byte, as long as the compression library is of the same version.

use crate::{
    batch::{SingularBatch, SpanEncodeError, SpanEncoder},
    config::RollupConfig,
    decompress::BROTLI_VERSION,
    frame::{ChannelId, Frame, MAX_FRAME_DATA},
};
use alloc::{vec, vec::Vec};
use alloy_primitives::Bytes;
use alloy_rlp::Header;
use brotli::{CompressorWriter, enc::BrotliEncoderParams};
use core::{fmt, str::FromStr};
use std::io::Write as _;

/// How a channel is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib at its best level.
    Zlib,
    /// Brotli of quality 9.
    Brotli9,
    /// Brotli of quality 10.
    Brotli10,
    /// Brotli of quality 11.
    Brotli11,
}

/// A compression of another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression: use zlib, brotli-9, brotli-10 or brotli-11")]
pub struct UnknownCompression;

impl Compression {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Zlib, "zlib"),
        (Self::Brotli9, "brotli-9"),
        (Self::Brotli10, "brotli-10"),
        (Self::Brotli11, "brotli-11"),
    ];
}

impl Compression {
    /// What takes a fifth of the time for some percent more bytes; itself, if nothing does.
    pub const fn quicker(self) -> Self {
        match self {
            Self::Brotli10 | Self::Brotli11 => Self::Brotli9,
            Self::Zlib | Self::Brotli9 => self,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(compression, _)| compression == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(found, _)| *found).ok_or(UnknownCompression)
    }
}

/// Level of zlib.
const ZLIB_LEVEL: u8 = 9;
/// Level of zlib's shadow.
const ZLIB_SHADOW_LEVEL: u8 = 1;
/// Quality of Brotli's shadow.
const BROTLI_SHADOW_QUALITY: i32 = 5;
/// Log₂ of Brotli's window: 4 MiB, more than a channel of blobs has.
const BROTLI_WINDOW: i32 = 22;

impl Compression {
    /// Channel data of these bytes.
    fn compress(self, plain: &[u8]) -> Vec<u8> {
        match self {
            Self::Zlib => miniz_oxide::deflate::compress_to_vec_zlib(plain, ZLIB_LEVEL),
            Self::Brotli9 => compress_brotli(plain, 9),
            Self::Brotli10 => compress_brotli(plain, 10),
            Self::Brotli11 => compress_brotli(plain, 11),
        }
    }

    /// About how many bytes [`Self::compress`] would make.
    fn shadow(self, plain: &[u8]) -> usize {
        match self {
            Self::Zlib => miniz_oxide::deflate::compress_to_vec_zlib(plain, ZLIB_SHADOW_LEVEL).len(),
            Self::Brotli9 | Self::Brotli10 | Self::Brotli11 => compress_brotli(plain, BROTLI_SHADOW_QUALITY).len(),
        }
    }
}

fn compress_brotli(plain: &[u8], quality: i32) -> Vec<u8> {
    let params = BrotliEncoderParams { quality, lgwin: BROTLI_WINDOW, size_hint: plain.len(), ..Default::default() };
    let mut writer = CompressorWriter::with_params(vec![BROTLI_VERSION], 1 << 16, &params);
    // Writing to memory does not fail.
    let written = writer.write_all(plain);
    debug_assert!(written.is_ok());
    writer.into_inner()
}

/// What a channel is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelSettings {
    /// How it is compressed.
    pub compression: Compression,
    /// Compressed bytes at which it is full: frames per channel × [`Self::max_frame_data`]. Only a channel of one block can be larger.
    pub target_bytes: usize,
    /// Most bytes of the channel in one frame; [`MAX_FRAME_DATA`] at most.
    pub max_frame_data: usize,
    /// Most bytes before compression ([`crate::channel::max_rlp_bytes_per_channel`]).
    pub max_rlp_bytes: u64,
}

/// Why a channel does not take a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelOutError {
    /// The block cannot be said by a span batch after those before it.
    #[error(transparent)]
    Block(#[from] SpanEncodeError),
    /// The channel has what it can hold.
    #[error("the channel is full: close it and begin another one with this block")]
    Full,
    /// One block alone is more than a channel may hold.
    #[error("one block is {bytes} bytes before compression, a channel may have {limit}: no channel can carry it")]
    BlockTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: u64,
    },
    /// Nothing to close.
    #[error("the channel has no blocks: add one before closing it")]
    Empty,
    /// A channel of more frames than can be numbered.
    #[error("{bytes} compressed bytes do not fit 65,536 frames of {max_frame_data}: allow larger frames")]
    TooManyFrames {
        /// Compressed size.
        bytes: usize,
        /// As set.
        max_frame_data: usize,
    },
}

/// Is there room for another block?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Yes, as far as the estimate tells.
    Open,
    /// No: close it.
    Full,
}

/// A finished channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedChannel {
    /// Its frames in order.
    pub frames: Vec<Frame>,
    /// How many blocks it holds: the first ones of those that were pushed. Those after them belong into the next channel.
    pub block_count: usize,
    /// Bytes before compression.
    pub rlp_bytes: usize,
    /// Bytes after it.
    pub compressed_bytes: usize,
}

/// Two sizes of the same blocks: as estimated by weights, and as compressed.
#[derive(Debug, Clone, Copy)]
struct Measure {
    estimate: u64,
    compressed: u64,
}

/// Permille by which a full compression is smaller than its shadow is within these bounds believed for the next channel.
const GAIN_BOUNDS: (u64, u64) = (800, 1000);
/// A channel with less than 1/64 of its target left is full: what is missing is not worth another compression.
const ROOM: usize = 64;
/// Shadows by which an overfull channel is cut back.
const CUTS: usize = 6;

/// A channel that is being filled.
#[derive(Debug, Clone)]
pub struct ChannelOut {
    id: ChannelId,
    settings: ChannelSettings,
    encoder: SpanEncoder,
    /// Estimates after each block, by weights.
    estimates: Vec<u64>,
    /// What the last shadow corrected the estimate to.
    measure: Option<Measure>,
    /// How many blocks fit, once that is known.
    fits: Option<usize>,
    /// Permille of its shadow that a channel comes to.
    gain: u64,
}

impl ChannelOut {
    /// A channel without blocks. `id` must never have been used before: channels of the same id are mixed up by derivation.
    pub fn new(config: &RollupConfig, settings: ChannelSettings, id: ChannelId) -> Self {
        Self {
            id,
            settings,
            encoder: SpanEncoder::new(config),
            estimates: Vec::new(),
            measure: None,
            fits: None,
            gain: GAIN_BOUNDS.1,
        }
    }

    /// Forgets all blocks and goes on as another channel.
    pub fn reset(&mut self, id: ChannelId) {
        self.id = id;
        self.encoder.truncate(0);
        self.estimates.clear();
        self.measure = None;
        self.fits = None;
    }

    /// How [`Self::close`] compresses from now on.
    pub const fn set_compression(&mut self, compression: Compression) {
        self.settings.compression = compression;
    }

    /// Its id.
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// How many blocks were pushed.
    pub const fn block_count(&self) -> usize {
        self.encoder.block_count()
    }

    /// Bytes before compression, about.
    pub fn rlp_bytes(&self) -> usize {
        self.encoder.size_bound()
    }

    /// Bytes after compression, as estimated.
    pub fn estimated_bytes(&self) -> u64 {
        let weighted = self.estimates.last().copied().unwrap_or_default();
        let estimate = match self.measure {
            Some(Measure { estimate, compressed }) => {
                compressed + weighted.saturating_sub(estimate) * compressed / estimate.max(1)
            }
            None => weighted,
        };
        estimate * self.gain / 1000
    }

    /// Takes the block after the last one; `sequence_number` is its place in its epoch.
    ///
    /// # Errors
    /// See [`ChannelOutError`]; the channel is then as it was.
    pub fn push(&mut self, block: &SingularBatch, sequence_number: u64) -> Result<Fill, ChannelOutError> {
        if self.fits.is_some() {
            return Err(ChannelOutError::Full);
        }
        self.encoder.push(block, sequence_number)?;
        let (blocks, bytes) = (self.block_count(), self.encoder.size_bound() + RLP_HEADER);
        if bytes as u64 > self.settings.max_rlp_bytes {
            self.encoder.truncate(blocks - 1);
            if blocks == 1 {
                return Err(ChannelOutError::BlockTooLarge { bytes, limit: self.settings.max_rlp_bytes });
            }
            self.fits = Some(blocks - 1);
            return Err(ChannelOutError::Full);
        }
        let before = self.estimates.last().copied().unwrap_or_default();
        self.estimates.push(before + weight(block));
        let target = self.settings.target_bytes;
        if self.estimated_bytes() >= target as u64 {
            let size = self.shadow(blocks);
            if size > target {
                self.fits = Some(self.cut(size));
            } else if target - size < target / ROOM {
                self.fits = Some(blocks);
            }
        }
        Ok(if self.fits.is_some() { Fill::Full } else { Fill::Open })
    }

    /// The plain bytes of the first `blocks` blocks.
    fn plain(&self, blocks: usize) -> Vec<u8> {
        let mut batch = Vec::new();
        self.encoder.encode_prefix(blocks, &mut batch);
        let mut plain = Vec::with_capacity(batch.len() + RLP_HEADER);
        Header { list: false, payload_length: batch.len() }.encode(&mut plain);
        plain.extend_from_slice(&batch);
        plain
    }

    /// Size of the first `blocks` blocks by a quick compression, which also corrects the estimate.
    fn shadow(&mut self, blocks: usize) -> usize {
        let compressed = self.settings.compression.shadow(&self.plain(blocks)) as u64;
        let estimate = blocks.checked_sub(1).and_then(|last| self.estimates.get(last)).copied().unwrap_or_default();
        self.measure = Some(Measure { estimate, compressed });
        usize::try_from(compressed * self.gain / 1000).unwrap_or(usize::MAX)
    }

    /// How many blocks fit the target, if all of them come to `size`, which is more.
    fn cut(&mut self, size: usize) -> usize {
        let target = self.settings.target_bytes;
        // The most blocks known to fit (one always goes), and the fewest known not to.
        let (mut fits, mut over, mut over_size) = (1, self.block_count(), size);
        for _ in 0..CUTS {
            if over - fits <= 1 {
                break;
            }
            let all = self.estimates.get(over - 1).copied().unwrap_or_default();
            let wanted = all as u128 * target as u128 / over_size.max(1) as u128;
            let guess = self.estimates.partition_point(|estimate| u128::from(*estimate) <= wanted);
            let guess = guess.clamp(fits + 1, over - 1);
            let size = self.shadow(guess);
            if size > target {
                (over, over_size) = (guess, size);
            } else {
                fits = guess;
                if target - size < target / ROOM {
                    break;
                }
            }
        }
        fits
    }

    /// Compresses the blocks and makes the frames. If all blocks together are more than the target, it takes as many of the first ones
    /// as fit; [`ClosedChannel::block_count`] says how many. The channel is then empty: [`Self::reset`] gives it a new id.
    ///
    /// # Errors
    /// If there is no block, or the frames are too small for the channel.
    pub fn close(&mut self) -> Result<ClosedChannel, ChannelOutError> {
        let target = self.settings.target_bytes;
        let mut blocks = self.fits.unwrap_or(self.block_count());
        if blocks == 0 {
            return Err(ChannelOutError::Empty);
        }
        let shadow = self.shadow(blocks);
        if self.fits.is_none() && shadow > target {
            blocks = self.cut(shadow);
        }
        let (mut plain, mut compressed);
        loop {
            plain = self.plain(blocks);
            compressed = self.settings.compression.compress(&plain);
            if compressed.len() <= target || blocks == 1 {
                break;
            }
            // The shadow promised too much. Each round takes at least one block away.
            let all = self.estimates.get(blocks - 1).copied().unwrap_or_default();
            let wanted = all as u128 * target as u128 / compressed.len() as u128;
            let guess = self.estimates.partition_point(|estimate| u128::from(*estimate) <= wanted);
            blocks = guess.clamp(1, blocks - 1);
        }
        if let Some(Measure { estimate, compressed: shadow }) = self.measure
            && self.estimates.get(blocks - 1) == Some(&estimate)
        {
            self.gain = (compressed.len() as u64 * 1000 / shadow.max(1)).clamp(GAIN_BOUNDS.0, GAIN_BOUNDS.1);
        }
        let (rlp_bytes, compressed_bytes) = (plain.len(), compressed.len());
        let frames = split_frames(self.id, compressed, self.settings.max_frame_data)?;
        self.reset(self.id);
        Ok(ClosedChannel { frames, block_count: blocks, rlp_bytes, compressed_bytes })
    }
}

/// Most bytes of an RLP string's header.
const RLP_HEADER: usize = 9;

/// About what a block's part of the batch comes to when it is compressed.
///
/// Signatures, hashes and amounts hardly compress; zeros vanish; of the rest about a tenth is saved. This is rather too much, so that
/// the first shadow comes early.
fn weight(block: &SingularBatch) -> u64 {
    let bytes = |tx: &Bytes| {
        let zeros = tx.iter().filter(|byte| **byte == 0).count() as u64;
        (tx.len() as u64 - zeros) * 9 / 10 + zeros / 16
    };
    // Its count of transactions and its origin bit.
    1 + block.transactions.iter().map(bytes).sum::<u64>()
}

fn split_frames(id: ChannelId, compressed: Vec<u8>, max_frame_data: usize) -> Result<Vec<Frame>, ChannelOutError> {
    let size = max_frame_data.clamp(1, MAX_FRAME_DATA);
    let data = Bytes::from(compressed);
    let count = data.len().div_ceil(size);
    let too_many = ChannelOutError::TooManyFrames { bytes: data.len(), max_frame_data };
    let mut frames = Vec::new();
    for (index, start) in (0..data.len()).step_by(size).enumerate() {
        frames.push(Frame {
            channel_id: id,
            number: u16::try_from(index).map_err(|_| too_many)?,
            data: data.slice(start..data.len().min(start + size)),
            is_last: index + 1 == count,
        });
    }
    Ok(frames)
}

/// The frames of a channel of exactly these blocks, each with its sequence number. What [`ChannelOut::close`] made before, this
/// makes again from the blocks that it took.
///
/// # Errors
/// See [`ChannelOutError`]. The target is not looked at.
pub fn build_frames<'a>(
    config: &RollupConfig,
    settings: ChannelSettings,
    id: ChannelId,
    blocks: impl IntoIterator<Item = (&'a SingularBatch, u64)>,
) -> Result<Vec<Frame>, ChannelOutError> {
    let mut channel = ChannelOut::new(config, settings, id);
    for (block, sequence_number) in blocks {
        channel.encoder.push(block, sequence_number)?;
    }
    if channel.block_count() == 0 {
        return Err(ChannelOutError::Empty);
    }
    let compressed = settings.compression.compress(&channel.plain(channel.block_count()));
    split_frames(id, compressed, settings.max_frame_data)
}

#[cfg(test)]
mod tests;
