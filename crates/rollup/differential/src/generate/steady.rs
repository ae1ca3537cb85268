//! A long chain without faults, for the bench.

use super::{Fault, Generated, Generator, Item};
use crate::world::Shape;
use duskevm_rollup::{
    batch::{Batch, SpanEncoder, batch_of_block},
    frame::encode_frames,
};

/// How blocks are posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posting {
    /// One span batch in each channel, compressed by brotli.
    SpanBrotli,
    /// One span batch in each channel, compressed by zlib.
    SpanZlib,
    /// Singular batches, compressed by zlib.
    SingularZlib,
}

/// L2 blocks in one channel.
const BLOCKS_PER_CHANNEL: usize = 120;

/// A chain of so many L2 blocks with so many transactions in each, all of them good, and the bytes of channel data in it.
pub fn steady(blocks: usize, transactions: u64, posting: Posting) -> (Generated, usize) {
    let mut generator = Generator::new(1, Fault::None, Shape { block_time: 2, seq_window_size: 3600 });
    (generator.calm, generator.transactions) = (true, Some(transactions));
    let mut bytes = 0;
    while generator.posted <= blocks {
        generator.sequence();
        if generator.chain.len() - generator.posted >= BLOCKS_PER_CHANNEL {
            bytes += generator.steady_channel(posting);
        }
        generator.mine(true);
    }
    while !generator.pending.is_empty() {
        generator.mine(true);
    }
    generator.mine(true);
    generator.publish();
    (generator.finish(), bytes)
}

impl Generator {
    fn steady_channel(&mut self, posting: Posting) -> usize {
        let end = self.chain.len();
        let blocks = self.chain[self.posted..end].iter();
        let blocks: Vec<_> =
            blocks.map(|block| batch_of_block(&self.case.config, block).expect("a good block")).collect();
        self.posted = end;
        let batches = if posting == Posting::SingularZlib {
            blocks.into_iter().map(|(batch, _)| Batch::Singular(batch).encode()).collect()
        } else {
            let mut encoder = SpanEncoder::new(&self.case.config);
            for (batch, sequence) in &blocks {
                encoder.push(batch, *sequence).expect("a good block");
            }
            vec![encoder.encode()]
        };
        let data = Self::compressed(&batches, posting == Posting::SpanBrotli);
        let id = self.channel_id();
        for frame in Self::split_at(id, &data, 100_000) {
            self.pending.push_back(Item { data: encode_frames([&frame]).into(), not_before: 0 });
        }
        data.len()
    }
}
