use super::*;
use crate::{
    batch::{SingularBatch, SingularBatchError, SpanEncoder},
    testing::{
        self,
        samples::{Kind, block},
    },
};
use alloy_rlp::Encodable;
use brotli::{CompressorWriter, enc::BrotliEncoderParams};
use miniz_oxide::deflate::compress_to_vec_zlib;
use proptest::prelude::*;
use std::io::Write as _;

const LIMITS: ChannelLimits = ChannelLimits { max_rlp_bytes: 1_000_000, brotli: true, span_batches: true };

#[derive(Debug, Clone, Copy)]
enum Codec {
    Zlib,
    Brotli,
}

fn compress(codec: Codec, plain: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Zlib => compress_to_vec_zlib(plain, 6),
        Codec::Brotli => {
            let params = BrotliEncoderParams { quality: 5, lgwin: 22, ..Default::default() };
            let mut writer = CompressorWriter::with_params(alloc::vec![1], 4096, &params);
            writer.write_all(plain).unwrap();
            writer.into_inner()
        }
    }
}

fn plain(batches: &[Batch]) -> Vec<u8> {
    let mut out = Vec::new();
    for batch in batches {
        batch.encode().as_slice().encode(&mut out);
    }
    out
}

fn singular(number: u64) -> Batch {
    Batch::Singular(block(number, Kind::Transfer, 3))
}

fn span(first: u64) -> Batch {
    let mut encoder = SpanEncoder::new(&testing::config());
    for number in first..first + 4 {
        encoder.push(&block(number, Kind::Mixed, 5), 1).unwrap();
    }
    Batch::decode(&encoder.encode().into()).unwrap()
}

/// All batches of a channel, and why it ended.
fn read(data: Vec<u8>, limits: ChannelLimits) -> (Vec<Batch>, ChannelEnd) {
    let mut reader = ChannelReader::new(data.into(), limits).unwrap();
    let batches: Vec<_> = reader.by_ref().collect();
    assert_eq!(reader.next_batch(), None);
    (batches, reader.end().unwrap())
}

fn read_plain(plain: &[u8]) -> (Vec<Batch>, ChannelEnd) {
    let zlib = read(compress(Codec::Zlib, plain), LIMITS);
    assert_eq!(read(compress(Codec::Brotli, plain), LIMITS), zlib);
    zlib
}

#[test]
fn batches_of_both_forms_come_one_after_another() {
    let batches = [singular(1), span(2), singular(6), span(7)];
    assert_eq!(read_plain(&plain(&batches)), (batches.to_vec(), ChannelEnd::Complete));
    assert_eq!(read_plain(&[]), (vec![], ChannelEnd::Complete));
}

#[test]
fn the_first_byte_names_the_compression() {
    let refused = |data: &'static [u8]| ChannelReader::new(Bytes::from_static(data), LIMITS).unwrap_err();
    assert_eq!(refused(&[]), CompressionError::Empty);
    for first in [0x00, 0x02, 0x70, 0x79] {
        let error = ChannelReader::new(Bytes::copy_from_slice(&[first, 0]), LIMITS).unwrap_err();
        assert_eq!(error, CompressionError::Unknown(first));
    }
    let old = ChannelLimits { brotli: false, ..LIMITS };
    let error = ChannelReader::new(compress(Codec::Brotli, &[]).into(), old).unwrap_err();
    assert_eq!(error, CompressionError::BrotliBeforeFjord);
    // Nibble 15 is reserved for zlib too, but no zlib stream begins so.
    assert_eq!(read(vec![0x0f, 1, 2, 3], LIMITS), (vec![], ChannelEnd::Corrupt));
}

#[test]
fn limits_change_with_the_forks() {
    let mut config = testing::config();
    assert_eq!(ChannelLimits::at(&config, 0).max_rlp_bytes, 100_000_000);
    (config.forks.fjord, config.delta_time) = (Some(10), Some(5));
    let at = |time| {
        let limits = ChannelLimits::at(&config, time);
        (limits.max_rlp_bytes, limits.brotli, limits.span_batches)
    };
    assert_eq!(at(4), (10_000_000, false, false));
    assert_eq!(at(9), (10_000_000, false, true));
    assert_eq!(at(10), (100_000_000, true, true));
}

#[test]
fn what_decodes_before_the_limit_counts_and_nothing_behind_it() {
    let batches = [singular(1), span(2), singular(6)];
    let two = plain(&batches[..2]).len() as u64;
    let data = compress(Codec::Brotli, &plain(&batches));
    let limited = |max_rlp_bytes| read(data.clone(), ChannelLimits { max_rlp_bytes, ..LIMITS });
    assert_eq!(limited(two), (batches[..2].to_vec(), ChannelEnd::Limit(two)));
    assert_eq!(limited(two - 1), (batches[..1].to_vec(), ChannelEnd::Limit(two - 1)));
    let all = plain(&batches).len() as u64;
    assert_eq!(limited(all - 1).0.len(), 2);
    assert_eq!(limited(all).0.len(), 3);
}

#[test]
fn batches_before_a_corrupt_tail_count() {
    let mut batches: Vec<_> = (1..40).map(singular).collect();
    batches.push(span(40));
    for codec in [Codec::Zlib, Codec::Brotli] {
        let whole = compress(codec, &plain(&batches));
        let (some, end) = read(whole[..whole.len() * 3 / 4].to_vec(), LIMITS);
        assert_eq!(end, ChannelEnd::Corrupt, "{codec:?}");
        assert!(some.len() > 10 && some.len() < batches.len(), "{codec:?}: {}", some.len());
        assert_eq!(some, batches[..some.len()]);
    }
    // The checksum of zlib comes last and spoils nothing before it.
    let mut wrong = compress(Codec::Zlib, &plain(&batches));
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(read(wrong, LIMITS), (batches, ChannelEnd::Corrupt));
}

#[test]
fn bytes_behind_the_compressed_stream_do_not_matter() {
    for codec in [Codec::Zlib, Codec::Brotli] {
        let mut data = compress(codec, &plain(&[singular(1)]));
        data.extend_from_slice(b"more");
        assert_eq!(read(data, LIMITS), (vec![singular(1)], ChannelEnd::Complete));
    }
}

#[test]
fn the_first_bad_batch_ends_the_channel() {
    let good = plain(&[singular(1)]);
    let with = |bad: &[u8]| {
        let (batches, end) = read_plain(&[&good, bad, &good].concat());
        assert_eq!(batches, [singular(1)]);
        end
    };
    // A list, a length with a leading zero, one that should be short, an unknown version, the empty string, a single byte.
    assert_eq!(with(&[0xc1, 0]), ChannelEnd::NotRlp);
    assert_eq!(with(&[0xb9, 0, 60]), ChannelEnd::NotRlp);
    assert_eq!(with(&[0xb8, 55]), ChannelEnd::NotRlp);
    assert_eq!(with(&[0x82, 2, 0]), ChannelEnd::Batch(BatchError::Version(2)));
    assert_eq!(with(&[0x80]), ChannelEnd::Batch(BatchError::Empty));
    assert!(matches!(with(&[0]), ChannelEnd::Batch(BatchError::Singular(SingularBatchError::Rlp(_)))));
    assert!(matches!(with(&[0x82, 1, 1]), ChannelEnd::Batch(BatchError::Span(_))));
    assert_eq!(with(&[0xbf, 0xff, 0, 0, 0, 0, 0, 0, 0]), ChannelEnd::Limit(LIMITS.max_rlp_bytes));
}

#[test]
fn a_span_batch_before_delta_ends_the_channel() {
    let old = ChannelLimits { span_batches: false, ..LIMITS };
    let data = compress(Codec::Zlib, &plain(&[singular(1), span(2), singular(6)]));
    assert_eq!(read(data, old), (vec![singular(1)], ChannelEnd::SpanBeforeDelta));
}

#[test]
fn brotli_windows_of_more_than_16_mib_are_not_read() {
    let params = BrotliEncoderParams { quality: 5, lgwin: 26, large_window: true, ..Default::default() };
    let mut writer = CompressorWriter::with_params(alloc::vec![1], 4096, &params);
    writer.write_all(&plain(&[singular(1)])).unwrap();
    assert_eq!(read(writer.into_inner(), LIMITS), (vec![], ChannelEnd::Corrupt));
}

#[test]
fn a_transaction_of_the_largest_kind_survives() {
    // 600 kB in one string: several steps of reading, and more than one window.
    let transactions = (0..100u8).map(|n| Bytes::from(vec![n; 6000])).collect();
    let large = Batch::Singular(SingularBatch { transactions, ..Default::default() });
    assert_eq!(read_plain(&plain(&[large.clone(), singular(2)])), (vec![large, singular(2)], ChannelEnd::Complete));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn corrupt_channels_give_a_prefix_of_their_batches_or_stop(
        zlib in any::<bool>(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let batches = [singular(1), span(2), singular(6)];
        let codec = if zlib { Codec::Zlib } else { Codec::Brotli };
        let whole = compress(codec, &plain(&batches));
        let cut = cut.index(whole.len()).max(1);
        let (some, _) = read(whole[..cut].to_vec(), LIMITS);
        prop_assert_eq!(&some[..], &batches[..some.len()]);
        let mut bent = whole;
        let at = 1 + at.index(bent.len() - 1);
        bent[at] = to;
        // Nothing is known of what comes out but that it ends.
        let _ = read(bent, LIMITS);
    }

    #[test]
    fn garbage_ends(first in prop_oneof![Just(0x78u8), Just(1u8), any::<u8>()], rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let data: Vec<u8> = core::iter::once(first).chain(rest).collect();
        if let Ok(reader) = ChannelReader::new(data.into(), LIMITS) {
            prop_assert!(reader.count() < 300);
        }
    }

    #[test]
    fn any_plain_bytes_read_the_same_through_both_codecs(plain in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_plain(&plain);
    }
}
