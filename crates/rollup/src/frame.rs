//! Frames: the pieces in which channels travel to L1.
//!
//! Source: OP Stack specification, derivation.md, "Batcher transaction format" and "Frame format".

use alloc::vec::Vec;
use alloy_primitives::{B128, Bytes};

/// Name of a channel: 16 bytes that its batcher has drawn.
pub type ChannelId = B128;

/// First byte of batcher data that holds frames.
pub const DERIVATION_VERSION_0: u8 = 0;

/// Most bytes of channel data in one frame.
pub const MAX_FRAME_DATA: usize = 1_000_000;

/// Bytes of a frame besides its data: channel id (16), number (2), length (4), last (1).
pub const FRAME_OVERHEAD: usize = 16 + 2 + 4 + 1;

/// A piece of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The channel that it belongs to.
    pub channel_id: ChannelId,
    /// Its place in the channel, from 0.
    pub number: u16,
    /// The bytes of the channel. A view of the data that the frame was read from.
    pub data: Bytes,
    /// No frame of this channel comes after it.
    pub is_last: bool,
}

/// Batcher data that hold no frames. All data of the transaction (or blob) are then to be ignored, good frames among them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No bytes at all.
    #[error("the batcher data are empty")]
    Empty,
    /// Data of another kind than frames.
    #[error("batcher data of version {0} are not frames: only version 0 is read")]
    Version(u8),
    /// The version byte and nothing after it.
    #[error("the batcher data hold no frame")]
    NoFrame,
    /// The data end within a frame.
    #[error("the batcher data end within frame {index}: {needed} more bytes belong to it")]
    Truncated {
        /// Place of the frame in the data, from 0.
        index: usize,
        /// How many bytes are missing.
        needed: usize,
    },
    /// More data than a frame may have.
    #[error("frame {index} announces {length} bytes, at most {MAX_FRAME_DATA} are allowed")]
    TooLong {
        /// Place of the frame in the data, from 0.
        index: usize,
        /// The length that it announces.
        length: u32,
    },
    /// The last byte of a frame says neither yes nor no.
    #[error("frame {index} ends with {found:#04x}, which is neither 0 (more follow) nor 1 (last)")]
    IsLast {
        /// Place of the frame in the data, from 0.
        index: usize,
        /// The byte found.
        found: u8,
    },
}

impl Frame {
    /// Bytes of the frame when it is written.
    pub fn encoded_len(&self) -> usize {
        FRAME_OVERHEAD + self.data.len()
    }

    /// Appends the frame to `out`, without the version byte that goes before the first frame of a transaction.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        out.extend_from_slice(self.channel_id.as_slice());
        out.extend_from_slice(&self.number.to_be_bytes());
        // Who makes longer frames than u32 can say makes nothing that can be read; the splitter below the batcher never does.
        out.extend_from_slice(&u32::try_from(self.data.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&self.data);
        out.push(self.is_last.into());
    }
}

/// Batcher data with these frames: the version byte and the frames one after another.
pub fn encode_frames<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<u8> {
    let mut out = alloc::vec![DERIVATION_VERSION_0];
    for frame in frames {
        frame.encode_to(&mut out);
    }
    out
}

/// The frames of one piece of batcher data (call data of a transaction, or what a blob holds). Nothing is copied.
///
/// # Errors
/// See [`FrameError`]: one bad frame makes all of them bad.
pub fn parse_frames(data: &Bytes) -> Result<Vec<Frame>, FrameError> {
    let (&version, mut rest) = data.split_first().ok_or(FrameError::Empty)?;
    if version != DERIVATION_VERSION_0 {
        return Err(FrameError::Version(version));
    }
    let mut frames = Vec::new();
    while !rest.is_empty() {
        frames.push(parse_frame(data, &mut rest, frames.len())?);
    }
    if frames.is_empty() { Err(FrameError::NoFrame) } else { Ok(frames) }
}

fn take<'a>(rest: &mut &'a [u8], len: usize, index: usize) -> Result<&'a [u8], FrameError> {
    let (taken, after) =
        rest.split_at_checked(len).ok_or(FrameError::Truncated { index, needed: len.saturating_sub(rest.len()) })?;
    *rest = after;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8], index: usize) -> Result<[u8; N], FrameError> {
    let mut out = [0; N];
    out.copy_from_slice(take(rest, N, index)?);
    Ok(out)
}

fn parse_frame(data: &Bytes, rest: &mut &[u8], index: usize) -> Result<Frame, FrameError> {
    let channel_id = ChannelId::from(take_array(rest, index)?);
    let number = u16::from_be_bytes(take_array(rest, index)?);
    let length = u32::from_be_bytes(take_array(rest, index)?);
    if length as usize > MAX_FRAME_DATA {
        return Err(FrameError::TooLong { index, length });
    }
    let content = data.slice_ref(take(rest, length as usize, index)?);
    let [last] = take_array(rest, index)?;
    let is_last = match last {
        0 => false,
        1 => true,
        found => return Err(FrameError::IsLast { index, found }),
    };
    Ok(Frame { channel_id, number, data: content, is_last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(number: u16, data: &[u8], is_last: bool) -> Frame {
        Frame { channel_id: ChannelId::repeat_byte(7), number, data: Bytes::copy_from_slice(data), is_last }
    }

    fn bytes(frames: &[Frame]) -> Bytes {
        encode_frames(frames).into()
    }

    #[test]
    fn a_frame_costs_23_bytes_and_its_data() {
        assert_eq!(FRAME_OVERHEAD, 23);
        assert_eq!(bytes(&[frame(0, b"abc", true)]).len(), 1 + 23 + 3);
        let raw = bytes(&[frame(0x0102, b"abc", true)]);
        assert_eq!(raw[17..23], [1, 2, 0, 0, 0, 3]);
        assert_eq!(raw[26], 1);
    }

    #[test]
    fn data_without_frames_or_of_another_version_are_refused() {
        assert_eq!(parse_frames(&Bytes::new()), Err(FrameError::Empty));
        assert_eq!(parse_frames(&Bytes::from_static(&[0])), Err(FrameError::NoFrame));
        assert_eq!(parse_frames(&Bytes::from_static(&[1, 0, 0])), Err(FrameError::Version(1)));
    }

    #[test]
    fn one_bad_frame_makes_all_of_them_bad() {
        let mut raw = encode_frames(&[frame(0, b"good", false), frame(1, b"bad", true)]);
        *raw.last_mut().unwrap() = 2;
        assert_eq!(parse_frames(&raw.into()), Err(FrameError::IsLast { index: 1, found: 2 }));
        let mut raw = encode_frames(&[frame(0, b"good", false)]);
        raw.push(0);
        assert!(matches!(parse_frames(&raw.into()), Err(FrameError::Truncated { index: 1, .. })));
    }

    #[test]
    fn a_frame_has_at_most_a_million_bytes() {
        let longest = bytes(&[frame(0, &alloc::vec![1; MAX_FRAME_DATA], true)]);
        assert!(parse_frames(&longest).is_ok());
        let longer = bytes(&[frame(0, &alloc::vec![1; MAX_FRAME_DATA + 1], true)]);
        assert_eq!(parse_frames(&longer), Err(FrameError::TooLong { index: 0, length: 1_000_001 }));
    }

    #[test]
    fn frames_are_views_of_the_data() {
        let raw = bytes(&[frame(0, &[9; 100], true)]);
        let parsed = parse_frames(&raw).unwrap();
        assert!(raw.as_ptr_range().contains(&parsed[0].data.as_ptr()));
    }

    proptest! {
        #[test]
        fn frames_survive_the_journey(
            frames in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..8)
        ) {
            let frames: Vec<Frame> = frames.iter().map(|(number, data, last)| frame(*number, data, *last)).collect();
            let raw = bytes(&frames);
            prop_assert_eq!(parse_frames(&raw), Ok(frames));
            // Every truncation that does not end between two frames is refused, and none is read as something else.
            for end in 0..raw.len() {
                if let Ok(parsed) = parse_frames(&raw.slice(..end)) {
                    prop_assert_eq!(&bytes(&parsed)[..], &raw[..end]);
                }
            }
        }

        #[test]
        fn what_parses_is_written_the_same(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let raw = Bytes::from(raw);
            if let Ok(frames) = parse_frames(&raw) {
                prop_assert_eq!(&bytes(&frames), &raw);
            }
        }
    }
}
