//! The batcher: blocks to batches, batches to channels, channels to frames, and what goes wrong with each.

use super::{Fault, Generator, Item};
use alloy_primitives::{B256, Bytes};
use duskevm_rollup::{
    batch::{Batch, SingularBatch, SpanEncoder, batch_of_block},
    frame::{ChannelId, Frame, encode_frames},
};

/// One batch to be, with the sequence number of each of its blocks.
type Blocks = Vec<(SingularBatch, u64)>;

impl Generator {
    /// Puts what is not posted yet into channels.
    pub(super) fn fill_channels(&mut self) {
        // At times a batcher waits until it has more.
        let most = *self.rng.pick(&[3, 8, 20, 60]);
        while self.chain.len() > self.posted && self.pending.len() < 8 {
            if self.rng.percent(25) {
                break;
            }
            let end = self.chain.len().min(self.posted + self.rng.between(1, most) as usize);
            self.channel(self.posted, end);
            self.posted = end;
        }
    }

    /// A channel with the blocks of this range, or nearly.
    fn channel(&mut self, start: usize, end: usize) {
        let mut from = start;
        if self.happens(Fault::FutureBatch) {
            from = (start + self.rng.between(1, 3) as usize).min(end - 1).max(start);
        }
        let overlapping = self.happens(Fault::SpanOverlapping);
        if overlapping || self.happens(Fault::PastBatch) {
            from = start.saturating_sub(self.rng.between(1, 8) as usize).max(1);
        }
        let mut blocks: Blocks =
            self.chain[from..end].iter().filter_map(|block| batch_of_block(&self.case.config, block).ok()).collect();
        if blocks.is_empty() {
            return;
        }
        if self.happens(Fault::SpanMisaligned) {
            let by = self.rng.between(1, 3);
            if self.rng.percent(50) {
                blocks.iter_mut().for_each(|(batch, _)| batch.timestamp += by);
            } else {
                // Into the past by whole blocks, at times to genesis and before it.
                let by = by * 4 * self.case.config.block_time;
                blocks.iter_mut().for_each(|(batch, _)| batch.timestamp -= by);
            }
        }
        self.spoil_blocks(&mut blocks);
        if overlapping && self.rng.percent(40) {
            stay_in_first_epoch(&mut blocks);
        }
        if overlapping && self.rng.percent(15) {
            // Most often one of the blocks that the safe chain has.
            let at = self.rng.below(blocks.len() as u64) as usize;
            let transactions = &mut blocks[at].0.transactions;
            match transactions.pop() {
                Some(only) if self.rng.percent(50) => transactions.extend([only.clone(), only]),
                _ => {}
            }
        }
        let mut batches = Vec::new();
        let mut rest = &blocks[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.rng.between(1, rest.len() as u64) as usize);
            let whole = overlapping || self.rng.percent(60);
            let (now, later) = if whole { (rest, &rest[rest.len()..]) } else { (now, later) };
            rest = later;
            if overlapping || self.rng.percent(55) {
                let mut encoder = SpanEncoder::new(&self.case.config);
                if now.iter().all(|(batch, sequence)| encoder.push(batch, *sequence).is_ok()) {
                    batches.push(encoder.encode());
                    continue;
                }
            }
            batches.extend(now.iter().map(|(batch, _)| Batch::Singular(batch.clone()).encode()));
        }
        self.spoil_batches(&mut batches);
        let data = self.compress(&batches);
        self.frames(&data);
    }

    fn spoil_blocks(&mut self, blocks: &mut Blocks) {
        let at = self.rng.below(blocks.len() as u64) as usize;
        let last = blocks.len() - 1;
        if self.happens(Fault::WrongParent) {
            let at = if self.rng.percent(50) { 0 } else { at };
            blocks[at].0.parent_hash = B256::repeat_byte(self.rng.next_u64() as u8 | 1);
        }
        if self.happens(Fault::WrongEpoch) {
            let at = if self.rng.percent(50) { last } else { at };
            match self.rng.below(4) {
                0 => blocks[at].0.epoch.hash = B256::repeat_byte(0xe0),
                1 => blocks[at].0.epoch.number += self.rng.between(1, 3),
                2 => blocks[at].0.epoch.number = blocks[at].0.epoch.number.saturating_sub(self.rng.between(1, 3)),
                _ => blocks[last].0.epoch.number += 1,
            }
        }
        if self.happens(Fault::InvalidTransaction) {
            let tx = self.bad_tx();
            blocks[at].0.transactions.push(tx);
        }
    }

    fn spoil_batches(&mut self, batches: &mut Vec<Vec<u8>>) {
        let at = self.rng.below(batches.len() as u64) as usize;
        if self.happens(Fault::BatchCorrupt) {
            let batch = &mut batches[at];
            match self.rng.below(5) {
                // Of most spans the last byte holds bits of legacy transactions.
                4 => drop(batch.pop()),
                0 => batch.truncate(self.rng.below(batch.len() as u64) as usize),
                1 => batch[0] = self.rng.below(4) as u8,
                2 => batch.clear(),
                _ => {
                    for _ in 0..self.rng.between(1, 3) {
                        let at = self.rng.below(batch.len() as u64) as usize;
                        batch[at] ^= 1 << self.rng.below(8);
                    }
                }
            }
        }
        if self.happens(Fault::BatchTrailingBytes) {
            let more = self.rng.between(1, 5) as usize;
            let more = self.rng.bytes(more);
            batches[at].extend(more);
        }
        if batches[at].first() == Some(&1) && self.happens(Fault::SpanVarintNotMinimal) {
            let end = batches[at].iter().skip(1).position(|byte| *byte < 0x80).map(|at| at + 1);
            if let Some(end) = end {
                batches[at][end] |= 0x80;
                batches[at].insert(end + 1, 0);
            }
        }
    }

    /// Channel data of these batches.
    fn compress(&mut self, batches: &[Vec<u8>]) -> Vec<u8> {
        let mut plain = Vec::new();
        for batch in batches {
            alloy_rlp::Encodable::encode(&batch[..], &mut plain);
        }
        let corrupt = self.happens(Fault::ChannelCorrupt);
        let how = self.rng.below(8);
        if corrupt && how == 0 {
            let len = self.rng.below(5) as usize;
            plain.extend(self.rng.bytes(len));
        }
        if !self.faults.contains_key(&Fault::ChannelTooLarge) && self.happens(Fault::ChannelTooLarge) {
            // A string that ends behind the limit.
            let bomb = vec![0u8; 100_000_001];
            alloy_rlp::Encodable::encode(&bomb[..], &mut plain);
        }
        let brotli = self.rng.percent(20) && plain.len() < 1_000_000;
        let mut data = Self::compress_plain(&plain, brotli);
        if corrupt {
            match how {
                1 => data.truncate(self.rng.below(data.len() as u64) as usize),
                2 => data[0] = self.rng.next_u64() as u8,
                3 => data.extend(self.rng.bytes(3)),
                4 => data.clear(),
                _ => {
                    let at = self.rng.below(data.len() as u64) as usize;
                    data[at] ^= 1 << self.rng.below(8);
                }
            }
        }
        data
    }

    /// Channel data of these batches, unspoilt.
    pub(super) fn compressed(batches: &[Vec<u8>], brotli: bool) -> Vec<u8> {
        let mut plain = Vec::new();
        for batch in batches {
            alloy_rlp::Encodable::encode(&batch[..], &mut plain);
        }
        Self::compress_plain(&plain, brotli)
    }

    fn compress_plain(plain: &[u8], brotli: bool) -> Vec<u8> {
        if !brotli {
            return miniz_oxide::deflate::compress_to_vec_zlib(plain, 6);
        }
        let mut data = vec![1];
        let params = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
        brotli::BrotliCompress(&mut &plain[..], &mut data, &params).expect("memory can be written");
        data
    }

    pub(super) fn channel_id(&mut self) -> ChannelId {
        self.channels += 1;
        ChannelId::left_padding_from(&self.channels.to_be_bytes())
    }

    fn split(&mut self, id: ChannelId, data: &[u8]) -> Vec<Frame> {
        let size = *self.rng.pick(&[40, 150, 600, 5_000, 120_000]);
        Self::split_at(id, data, size.max(data.len() / 40 + 1))
    }

    pub(super) fn split_at(id: ChannelId, data: &[u8], size: usize) -> Vec<Frame> {
        let chunks: Vec<&[u8]> = if data.is_empty() { vec![data] } else { data.chunks(size).collect() };
        let last = chunks.len() - 1;
        let frame = |(number, chunk): (usize, &&[u8])| Frame {
            channel_id: id,
            number: number as u16,
            data: Bytes::copy_from_slice(chunk),
            is_last: number == last,
        };
        chunks.iter().enumerate().map(frame).collect()
    }

    fn frames(&mut self, data: &[u8]) {
        let id = self.channel_id();
        let mut frames = self.split(id, data);
        let count = frames.len() as u64;
        if self.happens(Fault::FrameDuplicated) {
            let frame = frames[self.rng.below(count) as usize].clone();
            let to = self.rng.below(count + 1) as usize;
            frames.insert(to, frame);
        }
        if self.happens(Fault::FrameMissing) {
            frames.remove(self.rng.below(frames.len() as u64) as usize);
        }
        if frames.len() > 1 && self.happens(Fault::FramesOutOfOrder) {
            for _ in 0..self.rng.between(1, 3) {
                let (a, b) =
                    (self.rng.below(frames.len() as u64) as usize, self.rng.below(frames.len() as u64) as usize);
                frames.swap(a, b);
            }
        }
        if self.happens(Fault::ChannelsInterleaved) {
            let other = self.channel_id();
            let other = self.split(other, data);
            for frame in other {
                let to = self.rng.below(frames.len() as u64 + 1) as usize;
                frames.insert(to, frame);
            }
        }
        let mut together = *self.rng.pick(&[1, 1, 2, 4, 50]);
        if self.happens(Fault::ChannelIdReused) {
            // Another channel, the same id once more, left open, and a third channel, all in one transaction if they fit.
            together = 200;
            let other = self.channel_id();
            let more = self.split(other, data);
            frames.extend(more);
            frames.push(Frame { channel_id: id, number: 0, data: Bytes::from_static(b"open"), is_last: false });
            let other = self.channel_id();
            let more = self.split(other, data);
            frames.extend(more);
        }
        let number = self.case.l1().len() as u64;
        let late = frames.len() > 1 && together < 200 && self.happens(Fault::ChannelTimeout);
        let hold = if late { number + self.rng.between(47, 53) } else { 0 };
        for (at, group) in frames.chunks(together).enumerate() {
            let mut data = encode_frames(group);
            if self.happens(Fault::FrameLastByte) {
                let end = data.len() - 1;
                data[end] = self.rng.between(2, 255) as u8;
            }
            if self.happens(Fault::CorruptFrame) {
                self.spoil_frames(&mut data);
            }
            let not_before = if at == 0 { 0 } else { hold };
            self.pending.push_back(Item { data: data.into(), not_before });
        }
    }

    fn spoil_frames(&mut self, data: &mut Vec<u8>) {
        match self.rng.below(6) {
            0 => data.truncate(self.rng.below(data.len() as u64) as usize),
            1 => {
                let len = self.rng.between(1, 30) as usize;
                data.extend(self.rng.bytes(len));
            }
            2 => data[0] = self.rng.between(1, 3) as u8,
            3 => data[19] = 0xff,
            4 => {
                let len = data.len();
                *data = self.rng.bytes(len);
            }
            _ => {
                let at = self.rng.below(data.len() as u64) as usize;
                data[at] ^= 1 << self.rng.below(8);
            }
        }
    }
}

/// The blocks claim that the epoch of the first one goes on until the last one of them, which is in the next.
fn stay_in_first_epoch(blocks: &mut Blocks) {
    let first = blocks[0].0.epoch;
    let next = blocks.iter().map(|(batch, _)| batch.epoch).find(|epoch| epoch.number == first.number + 1);
    if let (Some(next), Some((last, before))) = (next, blocks.split_last_mut()) {
        before.iter_mut().for_each(|(batch, _)| batch.epoch = first);
        last.0.epoch = next;
    }
}
