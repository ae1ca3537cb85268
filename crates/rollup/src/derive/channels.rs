//! Channel assembler and batch reader: from frames to batches. Source: holocene/derivation.md, "Channel bank" (one staging channel
//! instead of a bank); derivation.md, "Channel reader".

use super::{
    Input, Stall,
    frame_queue::FrameQueue,
    notice::{FrameFault, Notice, Notices},
    retrieval::Retrieval,
};
use crate::{
    batch::Batch,
    channel::{Channel, FrameOrder, channel_timeout, max_rlp_bytes_per_channel},
    channel_reader::{ChannelEnd, ChannelLimits, ChannelReader},
    config::RollupConfig,
    frame::Frame,
    origin::L1BlockRef,
};
use alloy_primitives::Bytes;

/// At most one channel is open at any time; its first frame replaces any other.
#[derive(Debug, Clone, Default)]
pub(super) struct ChannelAssembler(Option<Channel>);

impl ChannelAssembler {
    /// Takes a frame that was read at the L1 block `origin`. Gives the bytes of the channel that it completes.
    pub(super) fn add(
        &mut self,
        config: &RollupConfig,
        origin: &L1BlockRef,
        frame: Frame,
        notices: &mut Notices,
    ) -> Option<Bytes> {
        let timeout = channel_timeout(config, origin.timestamp);
        if let Some(late) = self.0.take_if(|channel| channel.timed_out(origin.number, timeout)) {
            notices.push(Notice::ChannelTimedOut(late.id()));
        }
        let (channel_id, number) = (frame.channel_id, frame.number);
        if number == 0 {
            let new = Channel::new(channel_id, origin.number, FrameOrder::Strict);
            if let Some(old) = self.0.replace(new) {
                notices.push(Notice::ChannelReplaced(old.id()));
            }
        }
        let Some(channel) = &mut self.0 else {
            notices.push(Notice::Frame { channel_id, number, fault: FrameFault::NoChannel });
            return None;
        };
        if let Err(error) = channel.add(frame) {
            notices.push(Notice::Frame { channel_id, number, fault: error.into() });
            return None;
        }
        if channel.size() > max_rlp_bytes_per_channel(config, origin.timestamp) {
            notices.push(Notice::ChannelTooLarge(channel.id()));
            self.0 = None;
            return None;
        }
        self.0.take_if(|channel| channel.is_complete()).map(Channel::into_data)
    }

    pub(super) const fn staged(&self) -> Option<&Channel> {
        self.0.as_ref()
    }
}

/// Everything from an L1 block to batches.
#[derive(Debug)]
pub(super) struct BatchSource {
    retrieval: Retrieval,
    frames: FrameQueue,
    assembler: ChannelAssembler,
    reader: Option<ChannelReader>,
    /// Bytes that all channels so far came to.
    decompressed: u64,
}

impl BatchSource {
    pub(super) fn new(retrieval: Retrieval) -> Self {
        Self {
            retrieval,
            frames: FrameQueue::default(),
            assembler: ChannelAssembler::default(),
            reader: None,
            decompressed: 0,
        }
    }

    /// Bytes that were decompressed so far: what a step costs.
    pub(super) const fn decompressed(&self) -> u64 {
        self.decompressed
    }

    /// Goes on with another L1 block.
    pub(super) fn open(&mut self, retrieval: Retrieval) {
        self.retrieval = retrieval;
    }

    /// Gives up what is left of the channel that is being read. Frames that wait and a channel that is open stay.
    pub(super) fn flush_channel(&mut self) {
        self.reader = None;
    }

    /// The next batch. Each call moves one piece of data one stage further.
    pub(super) fn next_batch(
        &mut self,
        config: &RollupConfig,
        origin: &L1BlockRef,
        answer: &mut Option<Input>,
        notices: &mut Notices,
    ) -> Result<Batch, Stall> {
        if let Some(reader) = &mut self.reader {
            let before = reader.decompressed();
            let batch = reader.next_batch();
            self.decompressed = self.decompressed.saturating_add(reader.decompressed() - before);
            if let Some(batch) = batch {
                return Ok(batch);
            }
            if let Some(end) = reader.end().filter(|end| *end != ChannelEnd::Complete) {
                notices.push(Notice::ChannelEnded(end));
            }
            self.reader = None;
            return Err(Stall::Again);
        }
        if let Some(frame) = self.frames.pop() {
            if let Some(data) = self.assembler.add(config, origin, frame, notices) {
                match ChannelReader::new(data, ChannelLimits::at(config, origin.timestamp)) {
                    Ok(reader) => self.reader = Some(reader),
                    Err(error) => notices.push(Notice::Compression(error)),
                }
            }
            return Err(Stall::Again);
        }
        let data = self.retrieval.next(answer, notices)?;
        self.frames.load(&data, notices);
        Err(Stall::Again)
    }

    /// Bytes of the channel that is open, and frames that wait.
    pub(super) fn buffered(&self) -> (u64, usize) {
        (self.assembler.staged().map_or(0, Channel::size), self.frames.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::GRANITE_CHANNEL_TIMEOUT, frame::ChannelId, testing};
    use alloc::vec;

    struct Bed {
        assembler: ChannelAssembler,
        notices: Notices,
        config: RollupConfig,
    }

    impl Bed {
        fn new() -> Self {
            Self { assembler: ChannelAssembler::default(), notices: Notices::default(), config: testing::config() }
        }

        /// A frame from channel id, number and whether it is the last, read at an L1 block. Its data are its number.
        fn add(&mut self, l1: u64, id: u8, number: u16, is_last: bool) -> Option<Bytes> {
            let data = Bytes::from(vec![number as u8]);
            let frame = Frame { channel_id: ChannelId::repeat_byte(id), number, data, is_last };
            let origin = L1BlockRef { number: l1, ..Default::default() };
            self.assembler.add(&self.config, &origin, frame, &mut self.notices)
        }

        fn notices(&mut self) -> alloc::vec::Vec<Notice> {
            self.notices.take().collect()
        }
    }

    const A: ChannelId = ChannelId::repeat_byte(1);

    #[test]
    fn a_channel_comes_out_with_its_last_frame() {
        let mut bed = Bed::new();
        assert_eq!(bed.add(1, 1, 0, false), None);
        assert_eq!(bed.add(1, 1, 1, false), None);
        assert_eq!(bed.add(2, 1, 2, true), Some(Bytes::from_static(&[0, 1, 2])));
        assert!(bed.assembler.staged().is_none() && bed.notices().is_empty());
    }

    #[test]
    fn a_first_frame_replaces_the_open_channel() {
        let mut bed = Bed::new();
        bed.add(1, 1, 0, false);
        bed.add(1, 2, 0, false);
        assert_eq!(bed.notices(), [Notice::ChannelReplaced(A)]);
        assert_eq!(bed.add(1, 1, 1, true), None);
        assert!(matches!(bed.notices()[..], [Notice::Frame { fault: FrameFault::Refused(_), .. }]));
        assert!(bed.add(1, 2, 1, true).is_some(), "the new one stays open");
    }

    #[test]
    fn a_frame_without_a_channel_is_dropped() {
        let mut bed = Bed::new();
        assert_eq!(bed.add(1, 1, 1, true), None);
        assert!(matches!(bed.notices()[..], [Notice::Frame { fault: FrameFault::NoChannel, .. }]));
    }

    #[test]
    fn a_frame_out_of_order_is_dropped_and_the_channel_kept() {
        let mut bed = Bed::new();
        bed.add(1, 1, 0, false);
        assert_eq!(bed.add(1, 1, 2, true), None);
        assert!(bed.add(1, 1, 1, true).is_some());
    }

    #[test]
    fn a_channel_is_in_time_up_to_its_timeout() {
        let mut bed = Bed::new();
        bed.add(10, 1, 0, false);
        assert!(bed.add(10 + GRANITE_CHANNEL_TIMEOUT, 1, 1, true).is_some());
        bed.add(10, 1, 0, false);
        assert_eq!(bed.add(11 + GRANITE_CHANNEL_TIMEOUT, 1, 1, true), None);
        assert_eq!(bed.notices()[0], Notice::ChannelTimedOut(A));
    }

    #[test]
    fn a_channel_that_is_too_large_is_dropped() {
        let mut bed = Bed::new();
        bed.config.forks.fjord = None;
        let origin = L1BlockRef::default();
        let mut dropped_at = None;
        for number in 0..11 {
            let data = Bytes::from(vec![0; 1_000_000]);
            let frame = Frame { channel_id: A, number, data, is_last: false };
            bed.assembler.add(&bed.config, &origin, frame, &mut bed.notices);
            if bed.assembler.staged().is_none() {
                dropped_at = Some(number);
                break;
            }
        }
        // Ten frames of a million bytes and 200 each are more than ten million.
        assert_eq!(dropped_at, Some(9));
        assert_eq!(bed.notices(), [Notice::ChannelTooLarge(A)]);
    }
}
