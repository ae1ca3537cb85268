//! Channels: batches that were compressed together, put together again from their frames.
//!
//! Source: OP Stack specification, derivation.md, "Channel format" and "Channel bank"; holocene/derivation.md, "Frame queue" and
//! "Channel bank" (which became the channel assembler).

use crate::{
    config::RollupConfig,
    frame::{ChannelId, Frame},
};
use alloc::{collections::BTreeMap, vec::Vec};
use alloy_primitives::Bytes;

/// L1 blocks after the one with its first frame in which a channel must be complete, from Granite on.
pub const GRANITE_CHANNEL_TIMEOUT: u64 = 50;
/// The same before Granite.
pub const BEDROCK_CHANNEL_TIMEOUT: u64 = 300;

/// What a frame counts for in the size of a channel besides its data, so that empty frames are not free.
pub const FRAME_SIZE_ALLOWANCE: u64 = 200;

/// Bytes that one channel may come to when it is decompressed, and of its frames together, from Fjord on.
pub const FJORD_MAX_RLP_BYTES_PER_CHANNEL: u64 = 100_000_000;
/// The same before Fjord.
pub const BEDROCK_MAX_RLP_BYTES_PER_CHANNEL: u64 = 10_000_000;

/// L1 blocks within which a channel must be complete; `timestamp` is that of the L1 block that the pipeline reads.
pub fn channel_timeout(config: &RollupConfig, timestamp: u64) -> u64 {
    if RollupConfig::active(config.forks.granite, timestamp) {
        GRANITE_CHANNEL_TIMEOUT
    } else {
        BEDROCK_CHANNEL_TIMEOUT
    }
}

/// Limit of a channel in bytes; `timestamp` is that of the L1 block that the pipeline reads.
pub fn max_rlp_bytes_per_channel(config: &RollupConfig, timestamp: u64) -> u64 {
    if RollupConfig::active(config.forks.fjord, timestamp) {
        FJORD_MAX_RLP_BYTES_PER_CHANNEL
    } else {
        BEDROCK_MAX_RLP_BYTES_PER_CHANNEL
    }
}

/// May frames come in any order?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameOrder {
    /// Each frame must have the number after the one before it (Holocene).
    Strict,
    /// Before Holocene.
    Any,
}

/// A frame that a channel does not take. The frame is dropped, the channel stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// It belongs to another channel.
    #[error("frame of channel {found} was offered to channel {expected}")]
    OtherChannel {
        /// Id of this channel.
        expected: ChannelId,
        /// Id in the frame.
        found: ChannelId,
    },
    /// It is not the next one (Holocene only).
    #[error("frame {found} came, frame {expected} is next")]
    OutOfOrder {
        /// The number that is next.
        expected: u32,
        /// The number of the frame.
        found: u16,
    },
    /// The frame with this number is here already.
    #[error("frame {0} came twice")]
    Duplicate(u16),
    /// A second frame says that it is the last one.
    #[error("frame {0} says that it is the last one, but another one said so before")]
    SecondEnd(u16),
    /// It lies behind the last frame.
    #[error("frame {found} came, but frame {last} is the last one")]
    BehindEnd {
        /// Number of the last frame.
        last: u16,
        /// Number of the frame.
        found: u16,
    },
}

/// A channel that is being put together.
///
/// Its memory is bounded only if the caller drops it when [`Self::size`] exceeds [`max_rlp_bytes_per_channel`], as the rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    id: ChannelId,
    open_block: u64,
    order: FrameOrder,
    frames: BTreeMap<u16, Bytes>,
    end: Option<u16>,
    size: u64,
}

impl Channel {
    /// A channel without frames. `open_block` is the number of the L1 block with the first frame that was seen of it.
    pub const fn new(id: ChannelId, open_block: u64, order: FrameOrder) -> Self {
        Self { id, open_block, order, frames: BTreeMap::new(), end: None, size: 0 }
    }

    /// Its id.
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// Number of the L1 block in which it was opened.
    pub const fn open_block(&self) -> u64 {
        self.open_block
    }

    /// What counts against the limit: the data of all frames and 200 bytes for each.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many frames are here.
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Is it too late for another frame? `l1_block` is the number of the L1 block that the pipeline reads. A channel whose last
    /// frame comes in block `open_block + timeout` is still in time.
    pub const fn timed_out(&self, l1_block: u64, timeout: u64) -> bool {
        self.open_block.saturating_add(timeout) < l1_block
    }

    /// Takes a frame in.
    ///
    /// # Errors
    /// See [`ChannelError`]; the channel is then unchanged.
    pub fn add(&mut self, frame: Frame) -> Result<(), ChannelError> {
        let number = frame.number;
        if frame.channel_id != self.id {
            return Err(ChannelError::OtherChannel { expected: self.id, found: frame.channel_id });
        }
        if let (true, Some(last)) = (frame.is_last, self.end) {
            return Err(if last == number { ChannelError::Duplicate(number) } else { ChannelError::SecondEnd(number) });
        }
        if self.frames.contains_key(&number) {
            return Err(ChannelError::Duplicate(number));
        }
        if let Some(last) = self.end.filter(|last| number >= *last) {
            return Err(ChannelError::BehindEnd { last, found: number });
        }
        let expected = self.frames.last_key_value().map_or(0, |(last, _)| u32::from(*last) + 1);
        if self.order == FrameOrder::Strict && u32::from(number) != expected {
            return Err(ChannelError::OutOfOrder { expected, found: number });
        }
        if frame.is_last {
            self.end = Some(number);
            // Frames behind the end came before it: they are no part of the channel.
            for (_, data) in self.frames.split_off(&number) {
                self.size -= FRAME_SIZE_ALLOWANCE + data.len() as u64;
            }
        }
        self.size += FRAME_SIZE_ALLOWANCE + frame.data.len() as u64;
        self.frames.insert(number, frame.data);
        Ok(())
    }

    /// Are all frames up to the last one here?
    pub fn is_complete(&self) -> bool {
        self.end.is_some_and(|last| self.frames.len() == usize::from(last) + 1)
    }

    /// The bytes of all frames in order. A channel of one frame is not copied.
    pub fn into_data(self) -> Bytes {
        if self.frames.len() == 1
            && let Some((_, only)) = self.frames.first_key_value()
        {
            return only.clone();
        }
        let mut out = Vec::with_capacity(self.frames.values().map(|data| data.len()).sum());
        for data in self.frames.into_values() {
            out.extend_from_slice(&data);
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameOrder::{Any, Strict};

    const ID: ChannelId = ChannelId::repeat_byte(1);

    fn frame(number: u16, data: &'static [u8], is_last: bool) -> Frame {
        Frame { channel_id: ID, number, data: Bytes::from_static(data), is_last }
    }

    fn channel(order: FrameOrder, frames: &[Frame]) -> Channel {
        let mut channel = Channel::new(ID, 10, order);
        for frame in frames {
            channel.add(frame.clone()).unwrap();
        }
        channel
    }

    #[test]
    fn a_channel_is_complete_with_its_last_frame_and_holds_the_data_in_order() {
        let mut open = channel(Strict, &[frame(0, b"ab", false), frame(1, b"", false)]);
        assert!(!open.is_complete());
        open.add(frame(2, b"c", true)).unwrap();
        assert!(open.is_complete());
        assert_eq!(open.into_data(), Bytes::from_static(b"abc"));
    }

    #[test]
    fn every_frame_counts_200_bytes_more_than_its_data() {
        assert_eq!(channel(Strict, &[frame(0, b"abc", false), frame(1, b"", true)]).size(), 403);
    }

    #[test]
    fn holocene_takes_frames_only_in_order() {
        let mut open = channel(Strict, &[frame(0, b"a", false)]);
        let before = open.clone();
        assert_eq!(open.add(frame(2, b"c", false)), Err(ChannelError::OutOfOrder { expected: 1, found: 2 }));
        assert_eq!(open.add(frame(0, b"a", false)), Err(ChannelError::Duplicate(0)));
        assert_eq!(open, before);
        let mut empty = channel(Strict, &[]);
        assert_eq!(empty.add(frame(1, b"b", false)), Err(ChannelError::OutOfOrder { expected: 0, found: 1 }));
    }

    #[test]
    fn before_holocene_frames_come_in_any_order() {
        let mut open = channel(Any, &[frame(2, b"c", true), frame(0, b"a", false)]);
        assert!(!open.is_complete());
        assert_eq!(open.add(frame(3, b"d", false)), Err(ChannelError::BehindEnd { last: 2, found: 3 }));
        assert_eq!(open.add(frame(1, b"d", true)), Err(ChannelError::SecondEnd(1)));
        open.add(frame(1, b"b", false)).unwrap();
        assert!(open.is_complete());
        assert_eq!(open.into_data(), Bytes::from_static(b"abc"));
    }

    #[test]
    fn frames_behind_a_late_end_are_forgotten_with_their_size() {
        let open = channel(Any, &[frame(5, b"ffff", false), frame(0, b"a", false), frame(1, b"b", true)]);
        assert_eq!((open.size(), open.frame_count()), (402, 2));
        assert!(open.is_complete());
    }

    #[test]
    fn frames_of_other_channels_are_refused() {
        let other = Frame { channel_id: ChannelId::ZERO, ..frame(0, b"", true) };
        let refused = channel(Strict, &[]).add(other);
        assert_eq!(refused, Err(ChannelError::OtherChannel { expected: ID, found: ChannelId::ZERO }));
    }

    #[test]
    fn a_channel_is_in_time_up_to_its_timeout() {
        let open = channel(Strict, &[]);
        assert!(!open.timed_out(60, GRANITE_CHANNEL_TIMEOUT));
        assert!(open.timed_out(61, GRANITE_CHANNEL_TIMEOUT));
    }

    #[test]
    fn a_channel_of_one_frame_is_not_copied() {
        let data = Bytes::from_static(b"one");
        let only = Frame { channel_id: ID, number: 0, data: data.clone(), is_last: true };
        assert_eq!(channel(Strict, &[only]).into_data().as_ptr(), data.as_ptr());
    }
}
