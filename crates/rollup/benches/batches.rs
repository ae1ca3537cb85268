//! Blocks into channels and back: megabytes of transactions per second, and bytes on L1 per transaction.
//!
//! `cargo bench -p duskevm-rollup --bench batches`. Before the measurements it prints what each kind of transaction comes to.
#![expect(missing_docs, reason = "the macros of the bench make undocumented functions")]

extern crate alloc;

use alloy_primitives::Address;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use duskevm_evm::{ForkTimes, RecoveredTx};
use duskevm_rollup::{
    BlockId, RollupConfig, RollupGenesis, SystemConfig,
    batch::{Batch, SingularBatch, SpanEncoder},
    blob,
    channel::FJORD_MAX_RLP_BYTES_PER_CHANNEL,
    channel_out::{ChannelOut, ChannelSettings, Compression, build_frames},
    channel_reader::{ChannelLimits, ChannelReader},
    frame::{ChannelId, Frame},
};
use samples::{CHAIN_ID, Kind, block};

#[path = "../src/testing/samples.rs"]
mod samples;

const KINDS: [Kind; 5] = [Kind::Transfer, Kind::Token, Kind::Random, Kind::Zeros, Kind::Mixed];
const COMPRESSIONS: [Compression; 4] =
    [Compression::Zlib, Compression::Brotli9, Compression::Brotli10, Compression::Brotli11];

fn config() -> RollupConfig {
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
        l2_chain_id: CHAIN_ID,
        forks: ForkTimes::isthmus_at_genesis(),
        delta_time: Some(0),
        batch_inbox_address: Default::default(),
        deposit_contract_address: Default::default(),
        l1_system_config_address: Default::default(),
        eip1559: (6, 50, 250),
    }
}

fn settings(compression: Compression) -> ChannelSettings {
    ChannelSettings {
        compression,
        target_bytes: 3 * blob::BLOB_MAX_FRAME_DATA,
        max_frame_data: blob::BLOB_MAX_FRAME_DATA,
        max_rlp_bytes: FJORD_MAX_RLP_BYTES_PER_CHANNEL,
    }
}

fn blocks(kind: Kind) -> Vec<SingularBatch> {
    (1..=40).map(|number| block(number, kind, 50)).collect()
}

fn plain_bytes(blocks: &[SingularBatch]) -> u64 {
    blocks.iter().flat_map(|block| &block.transactions).map(|tx| tx.len() as u64).sum()
}

fn frames(blocks: &[SingularBatch], compression: Compression) -> Vec<Frame> {
    let numbered = blocks.iter().map(|block| (block, 1));
    build_frames(&config(), settings(compression), ChannelId::ZERO, numbered).expect("the samples fit a channel")
}

fn data(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.data.to_vec()).collect()
}

fn read(data: alloy_primitives::Bytes, config: &RollupConfig) -> usize {
    let mut reader = ChannelReader::new(data, ChannelLimits::at(config, 0)).expect("the first byte is right");
    let mut transactions = 0;
    while let Some(Batch::Span(span)) = reader.next_batch() {
        transactions += span.blocks(config).map(|block| block.transactions.len()).sum::<usize>();
    }
    transactions
}

/// What the OP Stack charges for a transaction on average, in bytes: the regression of Fjord, made from the batches of OP Mainnet
/// (fjord/exec-engine.md, "L1-Cost fees").
fn estimated(blocks: &[SingularBatch]) -> f64 {
    let size = |tx: &alloy_primitives::Bytes| {
        let tx = RecoveredTx::decode_with_sender(tx, Address::ZERO).expect("the samples are well-formed");
        tx.da_size_scaled() as f64 / 1e6
    };
    blocks.iter().flat_map(|block| &block.transactions).map(size).sum()
}

fn print_sizes() {
    println!("bytes on L1 per transaction (and share of its own bytes), 2000 transactions in 40 blocks");
    println!("`estimate`: the OP Stack's own regression (Fjord); its batcher expects 60 % (--approx-compr-ratio)");
    for kind in KINDS {
        let blocks = blocks(kind);
        let (count, plain) = (2000.0, plain_bytes(&blocks) as f64);
        let estimate = estimated(&blocks);
        print!("{:<10} {:>6.1} plain", format!("{kind:?}"), plain / count);
        print!("  estimate {:>6.1} ({:>4.1} %)", estimate / count, 100.0 * estimate / plain);
        for compression in COMPRESSIONS {
            let bytes = data(&frames(&blocks, compression)).len() as f64;
            print!("  {compression} {:>6.1} ({:>4.1} %)", bytes / count, 100.0 * bytes / plain);
        }
        println!();
    }
}

fn encode(c: &mut Criterion) {
    print_sizes();
    let config = config();
    let mut group = c.benchmark_group("encode");
    group.sample_size(10);
    for kind in KINDS {
        let blocks = blocks(kind);
        group.throughput(Throughput::Bytes(plain_bytes(&blocks)));
        group.bench_function(BenchmarkId::new("columns", format!("{kind:?}")), |b| {
            b.iter(|| {
                let mut encoder = SpanEncoder::new(&config);
                for block in &blocks {
                    encoder.push(block, 1).expect("the samples are well-formed");
                }
                encoder.encode().len()
            });
        });
    }
    let blocks = blocks(Kind::Token);
    group.throughput(Throughput::Bytes(plain_bytes(&blocks)));
    for compression in COMPRESSIONS {
        group.bench_function(BenchmarkId::new("channel", compression), |b| {
            b.iter(|| {
                let mut channel = ChannelOut::new(&config, settings(compression), ChannelId::ZERO);
                for block in &blocks {
                    channel.push(block, 1).expect("the channel has room");
                }
                channel.close().expect("the channel has blocks").compressed_bytes
            });
        });
    }
    for kind in [Kind::Transfer, Kind::Random] {
        let blocks = self::blocks(kind);
        group.throughput(Throughput::Bytes(plain_bytes(&blocks)));
        group.bench_function(BenchmarkId::new("brotli-10", format!("{kind:?}")), |b| {
            b.iter(|| frames(&blocks, Compression::Brotli10).len());
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let config = config();
    let mut group = c.benchmark_group("decode");
    for kind in KINDS {
        let blocks = blocks(kind);
        group.throughput(Throughput::Bytes(plain_bytes(&blocks)));
        let mut encoder = SpanEncoder::new(&config);
        for block in &blocks {
            encoder.push(block, 1).expect("the samples are well-formed");
        }
        let batch = alloy_primitives::Bytes::from(encoder.encode());
        group.bench_function(BenchmarkId::new("columns", format!("{kind:?}")), |b| {
            b.iter(|| match Batch::decode(&batch) {
                Ok(Batch::Span(span)) => span.blocks(&config).map(|block| block.transactions.len()).sum::<usize>(),
                other => panic!("{other:?}"),
            });
        });
    }
    let blocks = blocks(Kind::Token);
    group.throughput(Throughput::Bytes(plain_bytes(&blocks)));
    for compression in [Compression::Zlib, Compression::Brotli10] {
        let data = alloy_primitives::Bytes::from(data(&frames(&blocks, compression)));
        group.bench_function(BenchmarkId::new("channel", compression), |b| {
            b.iter(|| assert_eq!(read(data.clone(), &config), 2000));
        });
    }
    group.finish();
}

fn blobs(c: &mut Criterion) {
    let data: Vec<u8> = (0..blob::BLOB_CAPACITY).map(|index| (index * 31 + 7) as u8).collect();
    let full = blob::encode(&data).expect("it fits");
    let mut group = c.benchmark_group("blob");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("encode", |b| b.iter(|| blob::encode(&data)));
    group.bench_function("decode", |b| b.iter(|| blob::decode(&full)));
    group.finish();
}

criterion_group!(benches, encode, decode, blobs);
criterion_main!(benches);
