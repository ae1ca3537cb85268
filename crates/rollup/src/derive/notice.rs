//! What a pipeline has left out, for whoever operates the rollup.

use crate::{
    batch::check::{DropReason, Missing, SpanExpandError},
    blob::BlobError,
    channel::ChannelError,
    channel_reader::ChannelEnd,
    config_update::SkippedUpdate,
    decompress::CompressionError,
    frame::{ChannelId, FrameError},
};
use alloc::collections::VecDeque;
use alloy_primitives::B256;

/// Something that L1 holds and that no block comes of, or lacks. None of these is a fault of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A log of the system config contract was passed over.
    ConfigUpdate(SkippedUpdate),
    /// A blob that holds no batcher data in the form of version 0.
    Blob {
        /// Its versioned hash.
        versioned_hash: B256,
        /// Why.
        error: BlobError,
    },
    /// Batcher data that hold no frames.
    Frames(FrameError),
    /// A frame that fits nowhere.
    Frame {
        /// Its channel.
        channel_id: ChannelId,
        /// Its number.
        number: u16,
        /// Why.
        fault: FrameFault,
    },
    /// A channel was not complete in time.
    ChannelTimedOut(ChannelId),
    /// A channel was given up for the first frame of another one.
    ChannelReplaced(ChannelId),
    /// A channel is larger than any may be.
    ChannelTooLarge(ChannelId),
    /// A channel of no known compression.
    Compression(CompressionError),
    /// The rest of a channel cannot be read.
    ChannelEnded(ChannelEnd),
    /// A batch has nothing new.
    BatchPast,
    /// A batch was invalid, and the rest of its channel went with it.
    BatchDropped(DropReason),
    /// A span batch could not be judged and never will be.
    BatchUndecided(Missing),
    /// The blocks of a span batch could not be made; the rest of its channel went with it.
    SpanDropped(SpanExpandError),
    /// The sequencing window of an epoch was over without a batch for the next block: it holds deposits only.
    EmptyBatch {
        /// Number of the L1 block.
        epoch: u64,
    },
}

/// Why a frame is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// It does not follow on the frame before it in the same batcher data, or a new channel began before its own was closed.
    #[error("the frame is out of order within its batcher data")]
    Order,
    /// No channel is open and it does not begin one.
    #[error("no channel is open")]
    NoChannel,
    /// The open channel does not take it.
    #[error(transparent)]
    Refused(#[from] ChannelError),
}

/// The newest notices. Old ones make room: they are for eyes, nothing depends on them.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices(VecDeque<Notice>);

impl Notices {
    const MOST: usize = 64;

    pub(super) fn push(&mut self, notice: Notice) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(notice);
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Notice> + use<> {
        core::mem::take(&mut self.0).into_iter()
    }
}
