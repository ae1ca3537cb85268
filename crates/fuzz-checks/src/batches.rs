//! What batchers post: blobs, frames, channels, batches; and the journal of our own.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use duskevm_batcher_core::{Batcher, Carrier, CarrierChoice, Gas, Record, Settings, Throttling};
use duskevm_evm::ForkTimes;
use duskevm_rollup::batch::{Batch, SingularBatch, SpanBatch, SpanEncoder};
use duskevm_rollup::channel::{Channel, FrameOrder};
use duskevm_rollup::channel_out::Compression;
use duskevm_rollup::channel_reader::{ChannelLimits, ChannelReader};
use duskevm_rollup::{BlockId, RollupConfig, RollupGenesis, SystemConfig, blob, frame};

/// Few enough that a bomb among the inputs is a matter of milliseconds.
const LIMITS: ChannelLimits = ChannelLimits { max_rlp_bytes: 4_000_000, brotli: true, span_batches: true };

pub(crate) fn config() -> RollupConfig {
    RollupConfig {
        genesis: RollupGenesis {
            l1: BlockId::default(),
            l2: BlockId::default(),
            l2_time: 0,
            system_config: SystemConfig::default(),
        },
        block_time: 2,
        max_sequencer_drift: 600,
        seq_window_size: 3600,
        l1_chain_id: 3,
        l2_chain_id: 31310,
        forks: ForkTimes::isthmus_at_genesis(),
        delta_time: Some(0),
        batch_inbox_address: Address::ZERO,
        deposit_contract_address: Address::ZERO,
        l1_system_config_address: Address::ZERO,
        eip1559: (6, 50, 250),
    }
}

/// Batcher data of a transaction or a blob: frames, which are then put together in both orders.
pub fn frames(data: &[u8]) {
    let Ok(frames) = frame::parse_frames(&Bytes::copy_from_slice(data)) else { return };
    assert_eq!(frame::encode_frames(&frames), data, "frames have one form");
    for order in [FrameOrder::Strict, FrameOrder::Any] {
        let Some(first) = frames.first() else { return };
        let mut channel = Channel::new(first.channel_id, 0, order);
        for frame in &frames {
            let before = channel.clone();
            match channel.add(frame.clone()) {
                Ok(()) => assert!(frame.channel_id == channel.id() && !before.is_complete()),
                Err(_) => assert_eq!(channel, before, "a refused frame changes nothing"),
            }
        }
        let (size, count) = (channel.size(), channel.frame_count() as u64);
        assert_eq!(channel.into_data().len() as u64 + 200 * count, size);
    }
}

/// The compressed bytes of a channel.
pub fn channel(data: &[u8]) {
    let Ok(mut reader) = ChannelReader::new(Bytes::copy_from_slice(data), LIMITS) else { return };
    let mut bytes = 0;
    while let Some(batch) = reader.next_batch() {
        bytes += match &batch {
            Batch::Span(span) => span.body().len(),
            Batch::Singular(batch) => batch.encoded_len(),
        };
        assert!(bytes as u64 <= LIMITS.max_rlp_bytes);
    }
    assert!(reader.end().is_some());
}

/// A batch as it lies in a decompressed channel: version byte and body.
pub fn batch(data: &[u8]) {
    let Ok(batch) = Batch::decode(&Bytes::copy_from_slice(data)) else { return };
    let written = batch.encode();
    assert!(data.starts_with(&written), "a batch is the front of its bytes");
    assert_eq!(Batch::decode(&written.into()).as_ref(), Ok(&batch));
    if let Batch::Span(span) = batch {
        blocks(&span);
    }
}

/// The blocks of a span can be built, and a span of them holds the same blocks.
fn blocks(span: &SpanBatch) {
    let config = config();
    let times = (span.first_timestamp(&config), span.last_timestamp(&config));
    let mut skipped = span.blocks(&config);
    let built: Vec<_> = span.blocks(&config).take(200).collect();
    assert_eq!(built.len() as u64, span.block_count().min(200));
    for block in &built {
        assert_eq!((skipped.next_timestamp(), skipped.next_epoch()), (Some(block.timestamp), Some(block.epoch_number)));
        skipped.skip_block();
    }
    // Times and epochs that wrap around can be read but not written.
    if span.block_count() > 200 || times.0 > times.1 || span.start_epoch() > span.last_epoch() {
        return;
    }
    assert_eq!(built.iter().map(|block| block.transactions.len() as u64).sum::<u64>(), span.tx_count());
    let mut encoder = SpanEncoder::new(&config);
    for block in &built {
        let hash = B256::left_padding_from(&block.epoch_number.to_be_bytes());
        let single = SingularBatch {
            parent_hash: B256::ZERO,
            epoch: BlockId { hash, number: block.epoch_number },
            timestamp: block.timestamp,
            transactions: block.transactions.clone(),
        };
        encoder.push(&single, u64::from(!span.begins_epoch())).expect("what was read can be written");
    }
    let again = SpanBatch::decode(Bytes::from(encoder.encode()).slice(1..)).expect("what is written can be read");
    assert!(again.blocks(&config).eq(built));
}

/// A blob, or what is to go into one.
pub fn blob(data: &[u8]) {
    match blob::decode(data) {
        Ok(content) => assert_eq!(blob::encode(&content).as_deref(), Ok(data), "a blob has one form"),
        Err(_) => {
            let encoded = blob::encode(data);
            assert_eq!(encoded.is_ok(), data.len() <= blob::BLOB_CAPACITY);
            if let Ok(encoded) = encoded {
                assert_eq!(blob::decode(&encoded).as_deref(), Ok(data));
            }
        }
    }
}

const SETTINGS: Settings = Settings {
    compression: Compression::Zlib,
    target_blobs: 6,
    carrier: CarrierChoice::Always(Carrier::Blobs),
    blobs_per_submission: 6,
    max_calldata: 100_000,
    max_channel_duration: 10,
    window_margin: 5,
    timeout_margin: 10,
    max_in_flight: 4,
    gas_price: 1,
    max_gas_price: 1000,
    fee_bump_percent: 10,
    bump_after: 3,
    throttling: Throttling { from_bytes: 1 << 20, full_bytes: 1 << 22 },
    gas: Gas { per_blob: 1_000_000, least: 75_000, call: 1_000_000, per_call_byte: 100 },
};

/// Records of the batcher's journal, in order.
pub fn records(data: &[u8]) {
    let rollup = Arc::new(config());
    let mut batcher = Batcher::new(rollup.clone(), SETTINGS);
    for piece in crate::stored::pieces(data).take(100) {
        let Ok(record) = Record::decode(piece) else { continue };
        assert_eq!(record.encode(), piece, "a record has one form");
        // A journal whose records do not go together is not read on.
        if batcher.replay(record).is_err() {
            return;
        }
    }
    let snapshot = batcher.snapshot();
    let mut again = Batcher::new(rollup, SETTINGS);
    for record in &snapshot {
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes).as_ref(), Ok(record), "what is written reads back");
        again.replay(record.clone()).expect("a journal that was rewritten can be read");
    }
    assert_eq!(again.snapshot(), snapshot, "what is rewritten is the same");
    assert_eq!((again.backlog(), again.watched()), (batcher.backlog(), batcher.watched()));
}
