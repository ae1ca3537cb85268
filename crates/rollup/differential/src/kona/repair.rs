//! Thin stages between kona's own. Each does what the specification says where the stage around it does otherwise, notes that it did,
//! and hands everything else through unchanged.

use super::{
    provider::Provider,
    varint::{lacks_bits, minimal},
};
use crate::departure::{Departure, Repairs};
use alloy_primitives::Bytes;
use async_trait::async_trait;
use kona_alloy_eips::eip2718::Encodable2718;
use kona_derive::{
    BatchStreamProvider, ChannelReaderProvider, FrameQueueProvider, NextBatchProvider, NextFrameProvider,
    OriginAdvancer, OriginProvider, PipelineError, PipelineErrorKind, PipelineResult, Signal, SignalReceiver,
};
use kona_genesis::{MAX_RLP_BYTES_PER_CHANNEL_FJORD, RollupConfig};
use kona_protocol::{Batch, BatchValidity, BlockInfo, ChannelId, Frame, L2BlockInfo, SpanBatch};
use miniz_oxide::{
    deflate::compress_to_vec_zlib,
    inflate::{
        TINFLStatus,
        core::{
            DecompressorOxide, decompress,
            inflate_flags::{TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
        },
    },
};
use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Was the end of an L1 block's data seen since this was last asked?
#[derive(Debug, Clone, Default)]
pub(super) struct Exhausted(Arc<AtomicBool>);

impl Exhausted {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

macro_rules! hands_through {
    ($stage:ident) => {
        #[async_trait]
        impl<P: OriginAdvancer + Send> OriginAdvancer for $stage<P> {
            async fn advance_origin(&mut self) -> PipelineResult<()> {
                self.prev.advance_origin().await
            }
        }

        impl<P: OriginProvider> OriginProvider for $stage<P> {
            fn origin(&self) -> Option<BlockInfo> {
                self.prev.origin()
            }
        }

        #[async_trait]
        impl<P: SignalReceiver + Send> SignalReceiver for $stage<P> {
            async fn signal(&mut self, signal: Signal) -> PipelineResult<()> {
                self.prev.signal(signal).await
            }
        }
    };
}

/// Behind the retrieval of batcher data.
#[derive(Debug)]
pub(super) struct Data<P> {
    prev: P,
    exhausted: Exhausted,
    fired: Repairs,
}

hands_through!(Data);

impl<P> Data<P> {
    pub(super) const fn new(prev: P, exhausted: Exhausted, fired: Repairs) -> Self {
        Self { prev, exhausted, fired }
    }
}

#[async_trait]
impl<P: FrameQueueProvider + Send> FrameQueueProvider for Data<P> {
    type Item = Bytes;

    async fn next_data(&mut self) -> PipelineResult<Bytes> {
        match self.prev.next_data().await {
            Ok(data) => Ok(self.mend(data.into())),
            Err(error) => {
                if error == PipelineError::Eof.temp() {
                    self.exhausted.set();
                }
                Err(error)
            }
        }
    }
}

impl<P> Data<P> {
    fn mend(&self, data: Bytes) -> Bytes {
        if has_other_last_byte(&data) && self.fired.mends(Departure::FrameLastByte) {
            return Bytes::new();
        }
        let Ok(frames) = Frame::parse_frames(&data) else { return data };
        let pruned = prune(frames.clone(), false);
        if pruned == prune(frames, true) || !self.fired.mends(Departure::ReusedChannelId) {
            return data;
        }
        let mut mended = vec![0];
        pruned.iter().for_each(|frame| mended.extend(frame.encode()));
        mended.into()
    }
}

/// Do the data consist of whole frames, one of which ends with neither 0 nor 1?
fn has_other_last_byte(data: &[u8]) -> bool {
    let Some((0, mut rest)) = data.split_first().map(|(version, rest)| (*version, rest)) else { return false };
    let mut other = false;
    while let Some((head, tail)) = rest.split_at_checked(22) {
        let length = u32::from_be_bytes([head[18], head[19], head[20], head[21]]) as usize;
        let Some((_, [last, after @ ..])) = tail.split_at_checked(length) else { return false };
        other |= *last > 1;
        rest = after;
    }
    other && rest.is_empty()
}

/// Holocene's order among the frames of one transaction, pair by pair. `by_id`: an open channel that is given up takes everything
/// with it from the first frame of its id on, as kona has it; by the specification it goes back to its own first frame.
fn prune(mut frames: Vec<Frame>, by_id: bool) -> Vec<Frame> {
    let mut at = 0;
    while at + 1 < frames.len() {
        let (a, b) = (&frames[at], &frames[at + 1]);
        if a.id == b.id {
            if a.is_last || b.number != a.number.wrapping_add(1) {
                frames.remove(at + 1);
            } else {
                at += 1;
            }
        } else if b.number != 0 {
            frames.remove(at + 1);
        } else if a.is_last {
            at += 1;
        } else {
            let id = a.id;
            let first = if by_id {
                frames.iter().position(|frame| frame.id == id).unwrap_or(at)
            } else {
                let before = frames[..at].iter().rposition(|frame| frame.id != id || frame.is_last);
                before.map_or(0, |before| before + 1)
            };
            frames.drain(first..=at);
            at = first.saturating_sub(1);
        }
    }
    frames
}

/// Behind the frame queue.
#[derive(Debug)]
pub(super) struct Frames<P> {
    prev: P,
    /// The channel that was begun last, and the number that its next frame must have.
    open: Option<(ChannelId, u16)>,
    fired: Repairs,
}

hands_through!(Frames);

impl<P> Frames<P> {
    pub(super) const fn new(prev: P, fired: Repairs) -> Self {
        Self { prev, open: None, fired }
    }
}

#[async_trait]
impl<P: NextFrameProvider + Send> NextFrameProvider for Frames<P> {
    async fn next_frame(&mut self) -> PipelineResult<Frame> {
        let frame = self.prev.next_frame().await?;
        if frame.number == 0 {
            self.open = Some((frame.id, 1));
        } else if let Some((id, next)) = &mut self.open
            && *id == frame.id
        {
            if *next != frame.number && self.fired.mends(Departure::FrameOrderAcrossTransactions) {
                return Err(PipelineError::NotEnoughData.temp());
            }
            *next = next.wrapping_add(1);
        }
        Ok(frame)
    }
}

/// Behind the channel assembler.
#[derive(Debug)]
pub(super) struct Channels<P> {
    prev: P,
    config: Arc<RollupConfig>,
    fired: Repairs,
}

hands_through!(Channels);

impl<P> Channels<P> {
    pub(super) const fn new(prev: P, config: Arc<RollupConfig>, fired: Repairs) -> Self {
        Self { prev, config, fired }
    }
}

#[async_trait]
impl<P: ChannelReaderProvider + Send> ChannelReaderProvider for Channels<P> {
    async fn next_data(&mut self) -> PipelineResult<Option<Bytes>> {
        Ok(self.prev.next_data().await?.map(|channel| self.mend(channel)))
    }
}

impl<P> Channels<P> {
    fn mend(&self, channel: Bytes) -> Bytes {
        let limit = MAX_RLP_BYTES_PER_CHANNEL_FJORD as usize;
        let (plain, clipped) = match channel.first() {
            Some(first) if matches!(first & 0x0f, 8 | 15) => read_zlib(&channel, limit),
            Some(1) => {
                let plain = read_brotli(&channel[1..], limit);
                let same = kona_protocol::decompress_brotli(&channel[1..], limit).is_ok_and(|theirs| theirs == plain);
                (plain, !same)
            }
            _ => return channel,
        };
        let (batches, changed) = self.batches(&plain);
        // Where nothing is lost with the rest, there is nothing to mend.
        let clipped = clipped && !batches.is_empty();
        if !changed && !clipped || clipped && !self.fired.mends(Departure::ChannelNotClipped) {
            return channel;
        }
        let mut mended = Vec::new();
        batches.iter().for_each(|batch| alloy_rlp::Encodable::encode(&batch[..], &mut mended));
        compress_to_vec_zlib(&mended, 1).into()
    }

    /// The batches up to the first one that is none, and whether they are others than kona would read.
    fn batches(&self, mut plain: &[u8]) -> (Vec<Bytes>, bool) {
        let (mut batches, mut changed) = (Vec::new(), false);
        while let Ok(mut batch) = <Bytes as alloy_rlp::Decodable>::decode(&mut plain) {
            if let Some(shorter) = minimal(&batch)
                && self.fired.mends(Departure::NonMinimalVarint)
            {
                changed = true;
                batch = shorter;
            }
            let mut rest = &batch[..];
            let decoded = catch_unwind(AssertUnwindSafe(|| Batch::decode(&mut rest, &self.config)));
            match decoded {
                Err(_) => {
                    let mends = self.fired.mends(Departure::SpanDecodePanics);
                    return (batches, mends || changed);
                }
                Ok(Ok(_)) if lacks_bits(&batch) && self.fired.mends(Departure::ShortBitList) => return (batches, true),
                Ok(Ok(_)) => batches.push(batch),
                Ok(Err(_)) => {
                    return (batches, changed);
                }
            }
        }
        (batches, changed)
    }
}

/// What a zlib stream holds up to its end, its first fault or the limit, and whether that is not its end.
fn read_zlib(data: &[u8], limit: usize) -> (Vec<u8>, bool) {
    let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (mut state, mut plain) = (DecompressorOxide::new(), vec![0; 65_536]);
    let (mut read, mut written) = (0, 0);
    loop {
        let (status, used, made) = decompress(&mut state, &data[read..], &mut plain, written, flags);
        read += used;
        written += made;
        if status == TINFLStatus::HasMoreOutput && plain.len() < limit {
            plain.resize(limit.min(plain.len() * 2), 0);
            continue;
        }
        plain.truncate(written);
        return (plain, status != TINFLStatus::Done);
    }
}

/// What a brotli stream holds up to its end, its first fault or the limit.
fn read_brotli(data: &[u8], limit: usize) -> Vec<u8> {
    let (mut plain, mut chunk) = (Vec::new(), [0; 4096]);
    // All input at once: how far a faulty stream can be read depends on it.
    let mut reader = brotli::Decompressor::new(data, data.len().max(1));
    while let Ok(count @ 1..) = reader.read(&mut chunk) {
        plain.extend_from_slice(&chunk[..count]);
        if plain.len() >= limit {
            plain.truncate(limit);
            break;
        }
    }
    plain
}

/// The safe head and the L1 blocks with which a batch was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<Mutex<(L2BlockInfo, Vec<BlockInfo>)>>);

impl Asked {
    fn note(&self, safe: L2BlockInfo, origins: &[BlockInfo]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (safe, origins.to_vec());
    }

    fn get(&self) -> (L2BlockInfo, Vec<BlockInfo>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Before the span-batch stage.
#[derive(Debug)]
pub(super) struct Spans<P> {
    prev: P,
    config: Arc<RollupConfig>,
    chain: Provider,
    asked: Asked,
    fired: Repairs,
}

hands_through!(Spans);

impl<P> Spans<P> {
    pub(super) const fn new(prev: P, config: Arc<RollupConfig>, chain: Provider, asked: Asked, fired: Repairs) -> Self {
        Self { prev, config, chain, asked, fired }
    }

    /// Does the span, whose prefix is accepted, repeat a block of the safe chain as another one?
    async fn contradicts(&mut self, span: &SpanBatch, inclusion: BlockInfo) -> bool {
        let (safe, origins) = self.asked.get();
        let judged = span.check_batch_prefix(&self.config, &origins, safe, &inclusion, &mut self.chain).await;
        let (BatchValidity::Accept, Some(parent)) = judged else { return false };
        let repeated = parent.block_info.number + 1..=safe.block_info.number;
        repeated.zip(&span.batches).any(|(number, element)| {
            let Ok((info, block)) = self.chain.l2(number) else { return false };
            let user = block.body.transactions.iter().filter(|tx| !tx.is_deposit()).map(|tx| tx.encoded_2718());
            info.l1_origin.number != element.epoch_num || !user.eq(element.transactions.iter().map(|tx| tx.to_vec()))
        })
    }
}

#[async_trait]
impl<P: BatchStreamProvider + OriginProvider + Send> BatchStreamProvider for Spans<P> {
    async fn next_batch(&mut self) -> PipelineResult<Batch> {
        let batch = self.prev.next_batch().await?;
        if let (Batch::Span(span), Some(inclusion)) = (&batch, self.prev.origin())
            && self.contradicts(span, inclusion).await
            && self.fired.mends(Departure::OverlapUnchecked)
        {
            self.prev.flush();
            return Err(PipelineError::NotEnoughData.temp());
        }
        Ok(batch)
    }

    fn flush(&mut self) {
        self.prev.flush();
    }
}

/// Behind the span-batch stage.
#[derive(Debug)]
pub(super) struct Batches<P> {
    prev: P,
    config: Arc<RollupConfig>,
    exhausted: Exhausted,
    asked: Asked,
    fired: Repairs,
}

hands_through!(Batches);

impl<P> Batches<P> {
    pub(super) const fn new(
        prev: P,
        config: Arc<RollupConfig>,
        exhausted: Exhausted,
        asked: Asked,
        fired: Repairs,
    ) -> Self {
        Self { prev, config, exhausted, asked, fired }
    }
}

#[async_trait]
impl<P: NextBatchProvider + OriginProvider + Send> NextBatchProvider for Batches<P> {
    fn flush(&mut self) {
        self.prev.flush();
    }

    fn span_buffer_size(&self) -> usize {
        self.prev.span_buffer_size()
    }

    async fn next_batch(&mut self, parent: L2BlockInfo, l1_origins: &[BlockInfo]) -> PipelineResult<Batch> {
        self.exhausted.take();
        self.asked.note(parent, l1_origins);
        let of_span = self.prev.span_buffer_size() > 0;
        let again = PipelineError::NotEnoughData.temp();
        match self.prev.next_batch(parent, l1_origins).await {
            Err(PipelineErrorKind::Temporary(PipelineError::Eof))
                if !self.exhausted.take() && self.fired.mends(Departure::DroppedSpanEndsL1Block) =>
            {
                Err(again)
            }
            Ok(Batch::Single(batch)) => {
                // Those of a span come without a parent. Before the safe head's origin is reached, all are passed over anyway.
                let due = parent.block_info.timestamp + self.config.block_time;
                let reached = self.prev.origin().is_some_and(|origin| origin.number > parent.l1_origin.number);
                let own = !of_span && !batch.parent_hash.is_zero();
                let wrong = batch.timestamp == due && batch.parent_hash != parent.block_info.hash;
                if own && reached && wrong && self.fired.mends(Departure::ParentHashOverwritten) {
                    self.prev.flush();
                    return Err(again);
                }
                Ok(Batch::Single(batch))
            }
            other => other,
        }
    }
}
