use super::*;
use crate::{
    batch::{Batch, SpanBatch},
    blob::BLOB_MAX_FRAME_DATA,
    channel::{Channel, FJORD_MAX_RLP_BYTES_PER_CHANNEL, FrameOrder},
    channel_reader::{ChannelEnd, ChannelLimits, ChannelReader},
    config::BlockId,
    testing,
    testing::samples::{Kind, block},
};
use alloy_primitives::{B256, b256};

const ID: ChannelId = ChannelId::repeat_byte(7);

fn settings(compression: Compression, target_bytes: usize) -> ChannelSettings {
    ChannelSettings { compression, target_bytes, max_frame_data: 2_000, max_rlp_bytes: FJORD_MAX_RLP_BYTES_PER_CHANNEL }
}

/// What derivation makes of the frames: the blocks' times and transactions.
fn read(frames: &[Frame]) -> Vec<(u64, Vec<Bytes>)> {
    let config = testing::config();
    let mut channel = Channel::new(ID, 1, FrameOrder::Strict);
    for frame in frames {
        channel.add(frame.clone()).unwrap();
    }
    assert!(channel.is_complete());
    let mut reader = ChannelReader::new(channel.into_data(), ChannelLimits::at(&config, 0)).unwrap();
    let Some(Batch::Span(span)) = reader.next_batch() else { panic!("{:?}", reader.end()) };
    assert_eq!((reader.next_batch(), reader.end()), (None, Some(ChannelEnd::Complete)));
    blocks_of(&span)
}

fn blocks_of(span: &SpanBatch) -> Vec<(u64, Vec<Bytes>)> {
    span.blocks(&testing::config()).map(|block| (block.timestamp, block.transactions)).collect()
}

fn said(blocks: &[SingularBatch]) -> Vec<(u64, Vec<Bytes>)> {
    blocks.iter().map(|block| (block.timestamp, block.transactions.clone())).collect()
}

/// Pushes blocks until the channel is full; says how many were pushed.
fn fill(channel: &mut ChannelOut, kind: Kind, from: u64) -> Vec<SingularBatch> {
    let mut pushed = Vec::new();
    loop {
        let next = block(from + pushed.len() as u64, kind, 20);
        let fill = channel.push(&next, 1).unwrap();
        pushed.push(next);
        if fill == Fill::Full {
            return pushed;
        }
    }
}

#[test]
fn what_is_written_is_read_again_with_every_compression() {
    for compression in [Compression::Zlib, Compression::Brotli9, Compression::Brotli10, Compression::Brotli11] {
        let mut channel = ChannelOut::new(&testing::config(), settings(compression, 40_000), ID);
        let blocks: Vec<_> = (1..9).map(|number| block(number, Kind::Mixed, 10)).collect();
        for block in &blocks {
            assert_eq!(channel.push(block, 1), Ok(Fill::Open), "{compression}");
        }
        let closed = channel.close().unwrap();
        assert_eq!(closed.block_count, 8);
        assert!(closed.frames.len() > 1 && closed.compressed_bytes < closed.rlp_bytes);
        assert_eq!(closed.frames.iter().map(|frame| frame.data.len()).sum::<usize>(), closed.compressed_bytes);
        assert_eq!(read(&closed.frames), said(&blocks));
        assert_eq!(channel.block_count(), 0);
    }
}

#[test]
fn a_channel_is_filled_to_its_target_and_never_beyond() {
    for kind in [Kind::Transfer, Kind::Token, Kind::Random, Kind::Zeros] {
        for compression in [Compression::Zlib, Compression::Brotli9] {
            let target = 60_000;
            let mut channel = ChannelOut::new(&testing::config(), settings(compression, target), ID);
            let mut number = 1;
            for round in 0..3 {
                let pushed = fill(&mut channel, kind, number);
                assert_eq!(channel.push(&block(number, kind, 1), 1), Err(ChannelOutError::Full));
                let closed = channel.close().unwrap();
                assert!(closed.compressed_bytes <= target, "{kind:?} {compression}: {}", closed.compressed_bytes);
                let missing = target - closed.compressed_bytes;
                // The first channel does not know yet what the compression gains over its shadow.
                let allowed = if round == 0 { target / 6 } else { target / 20 };
                let one = target / pushed.len();
                assert!(
                    missing <= allowed + one,
                    "{kind:?} {compression}: {missing} bytes are missing in round {round}"
                );
                assert_eq!(read(&closed.frames), said(&pushed[..closed.block_count]));
                number += closed.block_count as u64;
                channel.reset(ID);
            }
        }
    }
}

#[test]
fn a_channel_takes_few_compressions() {
    // Blocks of very different kinds mislead the estimate, which must not lead to a compression for every block.
    let mut channel = ChannelOut::new(&testing::config(), settings(Compression::Zlib, 200_000), ID);
    let (mut shadows, mut number) = (0, 1);
    loop {
        let kind = if number % 40 < 20 { Kind::Zeros } else { Kind::Random };
        let before = channel.measure.map(|measure| measure.estimate);
        let fill = channel.push(&block(number, kind, 5), 1).unwrap();
        shadows += usize::from(channel.measure.map(|measure| measure.estimate) != before);
        if fill == Fill::Full {
            break;
        }
        number += 1;
    }
    assert!(number > 100, "{number} blocks");
    assert!(shadows <= 8, "{shadows} shadows for {number} blocks");
}

#[test]
fn the_same_blocks_make_the_same_frames_byte_for_byte() {
    let config = testing::config();
    for compression in [Compression::Zlib, Compression::Brotli10] {
        let settings = settings(compression, 30_000);
        let mut channel = ChannelOut::new(&config, settings, ID);
        fill(&mut channel, Kind::Token, 1);
        channel.close().unwrap();
        let pushed = fill(&mut channel, Kind::Mixed, 1000);
        let closed = channel.close().unwrap();
        let taken = pushed.iter().take(closed.block_count).map(|block| (block, 1));
        assert_eq!(build_frames(&config, settings, ID, taken), Ok(closed.frames));
    }
}

#[test]
fn one_block_larger_than_the_target_makes_a_channel_of_its_own() {
    let mut channel = ChannelOut::new(&testing::config(), settings(Compression::Brotli9, 5_000), ID);
    let large = block(1, Kind::Random, 100);
    assert_eq!(channel.push(&large, 0), Ok(Fill::Full));
    let closed = channel.close().unwrap();
    assert_eq!(closed.block_count, 1);
    assert!(closed.compressed_bytes > 5_000);
    assert_eq!(read(&closed.frames), said(&[large]));
}

#[test]
fn the_limit_before_compression_closes_a_channel_too() {
    let limit = 50_000;
    let small = ChannelSettings { max_rlp_bytes: limit, ..settings(Compression::Brotli9, 1_000_000) };
    let mut channel = ChannelOut::new(&testing::config(), small, ID);
    let mut pushed = 0;
    while channel.push(&block(pushed + 1, Kind::Zeros, 2), 1).is_ok() {
        pushed += 1;
    }
    assert_eq!(channel.push(&block(pushed + 1, Kind::Zeros, 2), 1), Err(ChannelOutError::Full));
    let closed = channel.close().unwrap();
    assert_eq!(closed.block_count as u64, pushed);
    assert!(closed.rlp_bytes as u64 <= limit && closed.rlp_bytes as u64 > limit * 9 / 10);
    channel.reset(ID);
    assert!(matches!(channel.push(&block(1, Kind::Zeros, 500), 1), Err(ChannelOutError::BlockTooLarge { .. })));
    assert_eq!(channel.block_count(), 0);
}

#[test]
fn a_refused_block_leaves_the_channel_as_it_was() {
    let mut channel = ChannelOut::new(&testing::config(), settings(Compression::Brotli9, 100_000), ID);
    assert_eq!(channel.close(), Err(ChannelOutError::Empty));
    channel.push(&block(1, Kind::Transfer, 3), 1).unwrap();
    let gap = channel.push(&block(3, Kind::Transfer, 3), 1);
    assert!(matches!(gap, Err(ChannelOutError::Block(SpanEncodeError::Timestamp { .. }))), "{gap:?}");
    let mut foreign = block(2, Kind::Transfer, 3);
    foreign.transactions.push(testing::foreign_transaction());
    let refused = channel.push(&foreign, 1);
    assert!(
        matches!(refused, Err(ChannelOutError::Block(SpanEncodeError::ForeignChain { index: 3, .. }))),
        "{refused:?}"
    );
    let second = block(2, Kind::Token, 3);
    channel.push(&second, 1).unwrap();
    assert_eq!(read(&channel.close().unwrap().frames), said(&[block(1, Kind::Transfer, 3), second]));
}

#[test]
fn more_frames_than_can_be_numbered_are_refused() {
    let tiny = ChannelSettings { max_frame_data: 1, ..settings(Compression::Brotli9, 200_000) };
    let mut channel = ChannelOut::new(&testing::config(), tiny, ID);
    channel.push(&block(1, Kind::Random, 300), 1).unwrap();
    assert!(matches!(channel.close(), Err(ChannelOutError::TooManyFrames { max_frame_data: 1, .. })));
}

#[test]
fn a_frame_of_a_blob_fills_the_blob() {
    let frame = Frame { channel_id: ID, number: 0, data: vec![1; BLOB_MAX_FRAME_DATA].into(), is_last: true };
    let data = crate::frame::encode_frames([&frame]);
    assert_eq!(data.len(), crate::blob::BLOB_CAPACITY);
    assert_eq!(crate::blob::decode(&crate::blob::encode(&data).unwrap()), Ok(data));
}

#[test]
fn compressions_have_the_names_that_settings_use() {
    for (compression, name) in Compression::ALL {
        assert_eq!((compression.to_string().as_str(), name.parse()), (name, Ok(compression)));
    }
    assert_eq!("brotli".parse::<Compression>(), Err(UnknownCompression));
}

/// If this fails, the compression library makes other bytes than before: a journal of an open channel that an older program wrote
/// would be built into other frames. Release notes must say so; then set the new hashes.
#[test]
fn the_bytes_of_a_channel_do_not_change_between_versions() {
    let blocks: Vec<_> = (1..6).map(|number| block(number, Kind::Token, 8)).collect();
    let hash = |compression| {
        let frames =
            build_frames(&testing::config(), settings(compression, 0), ID, blocks.iter().map(|block| (block, 1)));
        alloy_primitives::keccak256(crate::frame::encode_frames(&frames.unwrap()))
    };
    let found = [Compression::Zlib, Compression::Brotli9, Compression::Brotli10, Compression::Brotli11].map(hash);
    assert_eq!(found, KNOWN);
}

const KNOWN: [B256; 4] = [
    b256!("17a9cec2e5e643430785e26a11579a3cc813271ce01742bc812f8cda9566fb5b"),
    b256!("f523bc4ddeaa93384b34dce3dbf4551194a8595430d188c238d4c27e6179f038"),
    b256!("27bef055f43aa87c6c6d134ee4985d44edd39ae62bef26d8bd8df9c97c09f86a"),
    b256!("6f034c36ee6880bd7b4ec07c5b4da61f0d950ea66f91984ffd2134fd365c6239"),
];

#[test]
fn an_epoch_that_is_skipped_is_refused() {
    let mut channel = ChannelOut::new(&testing::config(), settings(Compression::Brotli9, 100_000), ID);
    channel.push(&block(1, Kind::Transfer, 1), 1).unwrap();
    let mut skipping = block(2, Kind::Transfer, 1);
    skipping.epoch = BlockId { hash: B256::repeat_byte(9), number: skipping.epoch.number + 2 };
    let refused = channel.push(&skipping, 0);
    assert!(matches!(refused, Err(ChannelOutError::Block(SpanEncodeError::Epoch { .. }))), "{refused:?}");
}
