//! Channel data decompressed piece by piece, never more than is asked for.
//!
//! Source: OP Stack specification, derivation.md, "Channel format"; fjord/derivation.md, "Brotli channel compression".

use alloc::{boxed::Box, vec, vec::Vec};
use alloy_primitives::Bytes;
use brotli_decompressor::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, SliceWrapper, SliceWrapperMut,
};
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};

/// Low nibbles of a first byte that say zlib: the compression methods 8 and 15 of RFC 1950.
const ZLIB_METHODS: [u8; 2] = [8, 15];
/// A first byte that says brotli.
pub(crate) const BROTLI_VERSION: u8 = 1;

/// How far back a match of zlib can reach (RFC 1951, section 2).
const ZLIB_WINDOW: usize = 1 << 15;
/// Memory for zlib's output: the window, and room behind it for what is decompressed at a time.
const ZLIB_BUFFER: usize = ZLIB_WINDOW + (1 << 17);
/// The buffer does not wrap around: the codec then refuses a match that reaches beyond the beginning of the stream, as RFC 1951 has it
/// and Go's decoder does. In a buffer that wraps around it would read what was never written.
const ZLIB_FLAGS: u32 = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;

/// Channel data of no known compression. The channel is then to be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// No bytes at all.
    #[error("the channel is empty")]
    Empty,
    /// A first byte that neither zlib nor brotli has.
    #[error("a channel that begins with {0:#04x} is neither zlib nor brotli")]
    Unknown(u8),
    /// Brotli before Fjord.
    #[error("brotli channels are read from Fjord on")]
    BrotliBeforeFjord,
}

/// A compressed stream with what has been read of it.
pub(crate) struct Decompressor {
    input: Bytes,
    /// First byte of the input that was not used yet.
    at: usize,
    /// Nothing more comes: the stream ended, or it is corrupt here.
    ended: bool,
    /// It ended otherwise than the codec says that a stream ends.
    corrupt: bool,
    codec: Codec,
}

enum Codec {
    Zlib(Box<Zlib>),
    Brotli(Box<BrotliState<Heap, Heap, Heap>>),
}

struct Zlib {
    state: DecompressorOxide,
    /// Decompressed bytes up to the end of `pending`: all of them, or at least a window of the last ones.
    buffer: Box<[u8]>,
    /// Those that were not read yet.
    pending: core::ops::Range<usize>,
}

impl core::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let codec = match self.codec {
            Codec::Zlib(_) => "zlib",
            Codec::Brotli(_) => "brotli",
        };
        let read = format_args!("{} of {}", self.at, self.input.len());
        f.debug_struct("Decompressor").field("codec", &codec).field("read", &read).field("ended", &self.ended).finish()
    }
}

impl Decompressor {
    pub(crate) fn new(input: Bytes, brotli: bool) -> Result<Self, CompressionError> {
        let first = *input.first().ok_or(CompressionError::Empty)?;
        let (codec, at) = if ZLIB_METHODS.contains(&(first & 0x0f)) {
            let buffer = vec![0; ZLIB_BUFFER].into_boxed_slice();
            (Codec::Zlib(Box::new(Zlib { state: DecompressorOxide::new(), buffer, pending: 0..0 })), 0)
        } else if first == BROTLI_VERSION {
            if !brotli {
                return Err(CompressionError::BrotliBeforeFjord);
            }
            // Strict: only windows of RFC 7932, which are at most 16 MiB.
            (Codec::Brotli(Box::new(BrotliState::new_strict(Heap, Heap, Heap))), 1)
        } else {
            return Err(CompressionError::Unknown(first));
        };
        Ok(Self { input, at, ended: false, corrupt: false, codec })
    }

    /// Fills `out` from the front and says with how many bytes: fewer only if the stream ends there, or is corrupt. Bytes before a
    /// corruption are delivered as far as the codec had completed them.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> usize {
        match &mut self.codec {
            Codec::Zlib(zlib) => zlib.read(&self.input, &mut self.at, &mut self.ended, &mut self.corrupt, out),
            Codec::Brotli(state) => {
                read_brotli(state, &self.input, &mut self.at, &mut self.ended, &mut self.corrupt, out)
            }
        }
    }

    /// Did the stream end within, or by a fault? Known when [`Self::read`] gave less than was asked for.
    pub(crate) const fn is_corrupt(&self) -> bool {
        self.corrupt
    }
}

impl Zlib {
    fn read(&mut self, input: &[u8], at: &mut usize, ended: &mut bool, corrupt: &mut bool, out: &mut [u8]) -> usize {
        let mut filled = 0;
        loop {
            let free = out.len() - filled;
            let ready = self.buffer.get(self.pending.clone()).unwrap_or_default();
            let count = free.min(ready.len());
            if let (Some(to), Some(from)) = (out.get_mut(filled..filled + count), ready.get(..count)) {
                to.copy_from_slice(from);
            }
            self.pending.start += count;
            filled += count;
            if filled == out.len() || (*ended && self.pending.is_empty()) {
                return filled;
            }
            let rest = input.get(*at..).unwrap_or_default();
            let mut next = self.pending.end;
            if next == ZLIB_BUFFER {
                self.buffer.copy_within(ZLIB_BUFFER - ZLIB_WINDOW.., 0);
                next = ZLIB_WINDOW;
            }
            let (status, read, written) = decompress(&mut self.state, rest, &mut self.buffer, next, ZLIB_FLAGS);
            *at += read;
            self.pending = next..next + written;
            *ended = status != TINFLStatus::HasMoreOutput;
            *corrupt = *ended && status != TINFLStatus::Done;
        }
    }
}

fn read_brotli(
    state: &mut BrotliState<Heap, Heap, Heap>,
    input: &[u8],
    at: &mut usize,
    ended: &mut bool,
    corrupt: &mut bool,
    out: &mut [u8],
) -> usize {
    let (mut filled, mut left) = (0, out.len());
    while left > 0 && !*ended {
        let (mut available, mut total) = (input.len() - *at, 0);
        let result = BrotliDecompressStream(&mut available, at, input, &mut left, &mut filled, out, &mut total, state);
        *ended = match result {
            BrotliResult::NeedsMoreOutput => false,
            // All input is here. If there was room left, all that could be decompressed is out.
            BrotliResult::NeedsMoreInput => left > 0,
            BrotliResult::ResultSuccess | BrotliResult::ResultFailure => true,
        };
        *corrupt = *ended && !matches!(result, BrotliResult::ResultSuccess);
    }
    filled
}

/// Memory for brotli's tables and its window.
#[derive(Debug, Clone, Copy, Default)]
struct Heap;

#[derive(Debug, Default)]
struct HeapSlice<T>(Vec<T>);

impl<T> SliceWrapper<T> for HeapSlice<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for HeapSlice<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

macro_rules! allocates {
    ($($ty:ty),*) => {$(
        impl Allocator<$ty> for Heap {
            type AllocatedMemory = HeapSlice<$ty>;

            fn alloc_cell(&mut self, len: usize) -> Self::AllocatedMemory {
                HeapSlice(vec![<$ty>::default(); len])
            }

            fn free_cell(&mut self, _: Self::AllocatedMemory) {}
        }
    )*};
}

allocates!(u8, u32, HuffmanCode);

#[cfg(test)]
mod tests;
