//! What a batcher has posted, read back from the blob API: every frame and every L2 block once.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "a test")]

use super::blobs;
use duskevm_rollup::{
    RollupConfig,
    batch::Batch,
    blob,
    channel::{Channel, FrameOrder},
    channel_reader::{ChannelLimits, ChannelReader},
    frame::{ChannelId, parse_frames},
};
use std::collections::BTreeMap;

/// The batches on L1.
#[derive(Debug, Default)]
pub struct Posted {
    /// How often each frame, by channel and number, was posted.
    pub frames: BTreeMap<(ChannelId, u16), usize>,
    /// How often each L2 block, by its time, was posted.
    pub blocks: BTreeMap<u64, usize>,
    /// Channels that are not complete.
    pub incomplete: usize,
}

impl Posted {
    /// What was posted more than once.
    pub fn doubles(&self) -> String {
        let frames: Vec<_> = self.frames.iter().filter(|(_, count)| **count > 1).collect();
        let blocks: Vec<_> = self.blocks.iter().filter(|(_, count)| **count > 1).collect();
        if frames.is_empty() && blocks.is_empty() {
            return String::new();
        }
        format!("frames {frames:?}, blocks {blocks:?}")
    }
}

/// Reads every blob of L1 up to its head.
pub fn posted(port: u16, rollup: &RollupConfig) -> Posted {
    let mut posted = Posted::default();
    let mut channels: BTreeMap<ChannelId, Channel> = BTreeMap::new();
    // Slots are seconds: the blocks are found by their parents.
    let mut blocks = Vec::new();
    let mut at = blobs::header(port, "head");
    while let Some(header) = at {
        at = blobs::header(port, &header.parent);
        blocks.push(header);
    }
    for (height, block) in (0..).zip(blocks.iter().rev()) {
        for bytes in blobs::blobs(port, &block.root) {
            let data = blob::decode(&bytes).unwrap();
            for frame in parse_frames(&data.into()).unwrap() {
                *posted.frames.entry((frame.channel_id, frame.number)).or_default() += 1;
                let channel = channels
                    .entry(frame.channel_id)
                    .or_insert_with(|| Channel::new(frame.channel_id, height, FrameOrder::Any));
                // One that is there already does not count.
                let _ = channel.add(frame);
            }
        }
    }
    for channel in channels.into_values() {
        if !channel.is_complete() {
            posted.incomplete += 1;
            continue;
        }
        let limits = ChannelLimits { max_rlp_bytes: 100_000_000, brotli: true, span_batches: true };
        let mut reader = ChannelReader::new(channel.into_data(), limits).unwrap();
        while let Some(batch) = reader.next_batch() {
            match batch {
                Batch::Singular(batch) => *posted.blocks.entry(batch.timestamp).or_default() += 1,
                Batch::Span(batch) => {
                    for block in batch.blocks(rollup) {
                        *posted.blocks.entry(block.timestamp).or_default() += 1;
                    }
                }
            }
        }
    }
    posted
}
