//! Data from outside never cost more memory than they are worth, whatever they announce.
//!
//! Its own program, because it counts what is allocated.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use alloy_primitives::Bytes;
use duskevm_rollup::{
    batch::{Batch, MAX_SPAN_BATCH_ELEMENTS, SpanBatch},
    channel_reader::{ChannelEnd, ChannelLimits, ChannelReader},
    frame::parse_frames,
};
use miniz_oxide::deflate::compress_to_vec_zlib;

thread_local! {
    /// Bytes held now, and the most that were held since the last reset.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// Counts per thread, so that tests beside each other do not disturb.
struct Counting;

fn count(bytes: isize) {
    // While a thread ends there is nothing to count into.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `run` returns, and the most bytes that it held at once beyond what was held before.
fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let result = run();
    (result, usize::try_from(HELD.get().1 - before).expect("the peak is not below the start"))
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const LIMITS: ChannelLimits = ChannelLimits { max_rlp_bytes: 100_000_000, brotli: true, span_batches: true };

fn uvarint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Prefix of a span batch without its version, then its count of blocks.
fn span(blocks: u64) -> Vec<u8> {
    let mut out = vec![0; 42];
    out.extend(uvarint(blocks));
    out
}

#[test]
fn a_frame_that_announces_much_holds_nothing() {
    let mut data = vec![0; 1 + 18];
    data.extend_from_slice(&1_000_000u32.to_be_bytes());
    let data = Bytes::from(data);
    let (parsed, held) = peak(|| parse_frames(&data));
    assert!(parsed.is_err() && held < KIB, "{held} bytes");
}

#[test]
fn a_batch_that_announces_90_mb_gets_memory_only_for_the_bytes_that_come() {
    let plain = [&[0xbb, 0x05, 0x5d, 0x4a, 0x80, 0x00][..], &[7; 1000]].concat();
    let data = Bytes::from(compress_to_vec_zlib(&plain, 6));
    let (end, held) = peak(|| {
        let mut reader = ChannelReader::new(data, LIMITS).expect("it is zlib");
        assert_eq!(reader.next_batch(), None);
        reader.end()
    });
    assert_eq!(end, Some(ChannelEnd::Corrupt));
    assert!(held < 256 * KIB, "{held} bytes");
}

#[test]
fn a_bomb_of_an_unknown_version_is_not_decompressed() {
    let mut plain = vec![0xbb, 0x05, 0x5d, 0x4a, 0x80, 0x09];
    plain.resize(90_000_000 + 5, 0);
    let data = Bytes::from(compress_to_vec_zlib(&plain, 6));
    assert!(data.len() < 100_000);
    drop(plain);
    let (end, held) = peak(|| {
        let mut reader = ChannelReader::new(data, LIMITS).expect("it is zlib");
        assert_eq!(reader.next_batch(), None);
        reader.end()
    });
    assert!(matches!(end, Some(ChannelEnd::Batch(_))), "{end:?}");
    assert!(held < 256 * KIB, "{held} bytes");
}

#[test]
fn a_bomb_beyond_the_limit_is_not_decompressed() {
    let mut plain = vec![0xbb, 0x08, 0, 0, 0, 0x01];
    plain.resize(0x0800_0000 + 5, 0);
    let data = Bytes::from(compress_to_vec_zlib(&plain, 1));
    drop(plain);
    let (end, held) = peak(|| {
        let mut reader = ChannelReader::new(data, LIMITS).expect("it is zlib");
        assert_eq!(reader.next_batch(), None);
        reader.end()
    });
    assert_eq!(end, Some(ChannelEnd::Limit(LIMITS.max_rlp_bytes)));
    assert!(held < 256 * KIB, "{held} bytes");
}

#[test]
fn a_span_of_ten_million_empty_blocks_holds_nothing_but_its_bytes() {
    let mut body = span(MAX_SPAN_BATCH_ELEMENTS);
    body.resize(body.len() + (MAX_SPAN_BATCH_ELEMENTS + MAX_SPAN_BATCH_ELEMENTS / 8) as usize, 0);
    let body = Bytes::from(body);
    let (batch, held) = peak(|| SpanBatch::decode(body).expect("it is well-formed"));
    assert_eq!(batch.block_count(), MAX_SPAN_BATCH_ELEMENTS);
    assert!(held < KIB, "{held} bytes");
}

#[test]
fn columns_that_are_announced_and_do_not_come_hold_nothing() {
    for (blocks, rest) in [
        // Ten million blocks, ten million transactions, and their bits but no signatures.
        (MAX_SPAN_BATCH_ELEMENTS, vec![]),
        (1, [vec![0], uvarint(MAX_SPAN_BATCH_ELEMENTS)].concat()),
        (1, [vec![0], uvarint(MAX_SPAN_BATCH_ELEMENTS), vec![0; 2_500_000]].concat()),
    ] {
        let body = Bytes::from([span(blocks), rest].concat());
        let (decoded, held) = peak(|| SpanBatch::decode(body));
        assert!(decoded.is_err() && held < KIB, "{held} bytes");
    }
}

#[test]
fn a_singular_batch_of_empty_transactions_costs_its_handles() {
    // Every byte of it is a transaction; a handle of a transaction is 32 bytes.
    let count = MIB;
    let mut fields = vec![0xa0];
    fields.extend_from_slice(&[0; 32]);
    fields.extend_from_slice(&[1, 0xa0]);
    fields.extend_from_slice(&[0; 32]);
    fields.push(1);
    fields.push(0xfa);
    fields.extend_from_slice(&(count as u32).to_be_bytes()[1..]);
    fields.resize(fields.len() + count, 0x80);
    let mut body = vec![0, 0xfa];
    body.extend_from_slice(&(fields.len() as u32).to_be_bytes()[1..]);
    body.extend_from_slice(&fields);
    let bytes = Bytes::from(body);
    let (batch, held) = peak(|| Batch::decode(&bytes));
    let Ok(Batch::Singular(batch)) = batch else { panic!("{batch:?}") };
    assert_eq!(batch.transactions.len(), count);
    assert!(held <= 3 * 32 * count, "{held} bytes");
}
