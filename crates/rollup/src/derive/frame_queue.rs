//! Frame queue: the frames of one piece of batcher data, without those that Holocene's order forbids. Source: holocene/derivation.md,
//! "Frame queue".

use super::notice::{FrameFault, Notice, Notices};
use crate::frame::{Frame, parse_frames};
use alloc::{collections::VecDeque, vec::Vec};
use alloy_primitives::Bytes;

/// Frames that wait for the channel assembler. They are views of one piece of batcher data: it is filled only when it is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameQueue(VecDeque<Frame>);

impl FrameQueue {
    pub(super) fn pop(&mut self) -> Option<Frame> {
        self.0.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads batcher data. One malformed frame makes all of them void.
    pub(super) fn load(&mut self, data: &Bytes, notices: &mut Notices) {
        match parse_frames(data) {
            Ok(frames) => self.0.extend(prune(frames, notices)),
            Err(error) => notices.push(Notice::Frames(error)),
        }
    }
}

/// Looks at each frame next to the one before it that was kept:
/// - in the same channel it must have the next number, and the one before must not be the last;
/// - in another channel it must be the first; if the channel before was not closed, that one is given up.
fn prune(frames: Vec<Frame>, notices: &mut Notices) -> Vec<Frame> {
    let mut kept: Vec<Frame> = Vec::with_capacity(frames.len());
    let mut drop = |frame: &Frame| {
        let fault = FrameFault::Order;
        notices.push(Notice::Frame { channel_id: frame.channel_id, number: frame.number, fault });
    };
    'frames: for frame in frames {
        while let Some(before) = kept.last() {
            if before.channel_id == frame.channel_id {
                // Numbers wrap around, as in op-node; the assembler takes no second frame 0 into a channel anyway.
                if before.is_last || frame.number != before.number.wrapping_add(1) {
                    drop(&frame);
                    continue 'frames;
                }
                break;
            }
            if frame.number != 0 {
                drop(&frame);
                continue 'frames;
            }
            if before.is_last {
                break;
            }
            drop(before);
            kept.pop();
        }
        kept.push(frame);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChannelId, encode_frames};
    use proptest::prelude::*;

    /// A frame from its short form: channel letter, number, and `!` for the last one.
    fn frame(short: &str) -> Frame {
        let (body, is_last) = short.strip_suffix('!').map_or((short, false), |body| (body, true));
        Frame {
            channel_id: ChannelId::repeat_byte(body.as_bytes()[0]),
            number: body[1..].parse().unwrap(),
            data: Bytes::new(),
            is_last,
        }
    }

    fn pruned(shorts: &str) -> Vec<Frame> {
        prune(shorts.split(' ').map(frame).collect(), &mut Notices::default())
    }

    fn list(shorts: &str) -> Vec<Frame> {
        if shorts.is_empty() { Vec::new() } else { shorts.split(' ').map(frame).collect() }
    }

    #[test]
    fn frames_in_order_are_kept() {
        for good in ["a0 a1 a2!", "a0! b0 b1!", "a5 a6", "a0"] {
            assert_eq!(pruned(good), list(good), "{good}");
        }
    }

    #[test]
    fn a_frame_after_the_last_one_of_its_channel_is_dropped() {
        assert_eq!(pruned("a0! a1 b0"), list("a0! b0"));
    }

    #[test]
    fn a_frame_that_does_not_have_the_next_number_is_dropped() {
        assert_eq!(pruned("a0 a2 a1 a1 a2!"), list("a0 a1 a2!"));
        assert_eq!(pruned("a0 a0"), list("a0"));
    }

    #[test]
    fn a_frame_that_continues_another_channel_is_dropped() {
        assert_eq!(pruned("a0 b1 a1"), list("a0 a1"));
        assert_eq!(pruned("a0! b1 b0"), list("a0! b0"));
    }

    #[test]
    fn a_new_channel_drops_the_one_before_if_that_was_not_closed() {
        assert_eq!(pruned("a0 a1 b0 b1!"), list("b0 b1!"));
        assert_eq!(pruned("a0! b0 b1 c0"), list("a0! c0"));
    }

    #[test]
    fn a_closed_channel_of_a_reused_id_is_kept() {
        // kona drops from the first frame of that id on, op-node and the specification only the channel that is open.
        assert_eq!(pruned("a0! b0! a0 c0!"), list("a0! b0! c0!"));
    }

    #[test]
    fn numbers_wrap_around() {
        assert_eq!(pruned("a65535 a0"), list("a65535 a0"));
    }

    #[test]
    fn one_malformed_frame_makes_all_of_its_data_void() {
        let (mut queue, mut notices) = (FrameQueue::default(), Notices::default());
        let mut data = encode_frames(&list("a0!"));
        data.push(9);
        queue.load(&data.into(), &mut notices);
        assert!(queue.pop().is_none());
        assert!(matches!(notices.take().next(), Some(Notice::Frames(_))));
    }

    /// The rule in the words of the specification: adjacent pairs, tested again at the same place after each removal.
    fn by_pairs(mut frames: Vec<Frame>) -> Vec<Frame> {
        let mut at = 0;
        while at + 1 < frames.len() {
            let (a, b) = (&frames[at], &frames[at + 1]);
            let same = a.channel_id == b.channel_id;
            if (same && (a.is_last || b.number != a.number.wrapping_add(1))) || (!same && b.number != 0) {
                frames.remove(at + 1);
            } else if !same && !a.is_last {
                frames.remove(at);
                at = at.saturating_sub(1);
            } else {
                at += 1;
            }
        }
        frames
    }

    proptest! {
        #[test]
        fn the_one_pass_does_what_the_pairs_do(
            frames in proptest::collection::vec((0u8..3, 0u16..4, any::<bool>()), 0..24)
        ) {
            let frames: Vec<Frame> = frames.into_iter().map(|(id, number, is_last)| {
                Frame { channel_id: ChannelId::repeat_byte(id), number, data: Bytes::new(), is_last }
            }).collect();
            prop_assert_eq!(prune(frames.clone(), &mut Notices::default()), by_pairs(frames));
        }
    }
}
