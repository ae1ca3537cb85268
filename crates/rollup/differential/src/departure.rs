//! Where the published kona departs from the specification.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A place where kona 0.4.5 does otherwise than the specification says. Each has a repair in [`crate::kona`]: a thin stage around
/// kona's own, or data in a form that kona reads as the specification means them. What still differs with all repairs in place is
/// explained by none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Departure {
    /// A dropped span batch ends the L1 block: kona goes on to the next one as if all had been read. What the block still holds is
    /// judged as if it were included later, and once it is used up, the L1 block after it is passed over unread.
    DroppedSpanEndsL1Block,
    /// A frame of the open channel is taken out of order if it comes in another transaction than the one before it.
    FrameOrderAcrossTransactions,
    /// The last byte of a frame may be anything: all but 1 means that more frames follow.
    FrameLastByte,
    /// The parent hash of a singular batch is overwritten before it is checked.
    ParentHashOverwritten,
    /// Of a channel id that occurs twice in one transaction, the closed channel is pruned with the open one.
    ReusedChannelId,
    /// A blob of zeros stops derivation.
    ZeroBlob,
    /// The upper two bits of a blob's first byte are not looked at.
    BlobFirstByte,
    /// A zlib stream that is cut off, corrupt or longer than the limit loses all its batches, not just those from there on. A brotli
    /// stream that is cut off loses what is longer than the compressed bytes.
    ChannelNotClipped,
    /// Decoding a truncated span batch panics.
    SpanDecodePanics,
    /// A span batch that ends within its last bit list is padded.
    ShortBitList,
    /// The blocks of a span batch that the safe chain has already are not compared with those of the safe chain.
    OverlapUnchecked,
    /// A number that is not in its shortest form makes a span batch invalid.
    NonMinimalVarint,
    /// A malformed log of the system config contract stops derivation.
    MalformedConfigLog,
    /// Of offset and length of a deposit's data only the lowest 8 bytes are looked at.
    DepositHighBytes,
}

impl Departure {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::DroppedSpanEndsL1Block,
        Self::FrameOrderAcrossTransactions,
        Self::FrameLastByte,
        Self::ParentHashOverwritten,
        Self::ReusedChannelId,
        Self::ZeroBlob,
        Self::BlobFirstByte,
        Self::ChannelNotClipped,
        Self::SpanDecodePanics,
        Self::ShortBitList,
        Self::OverlapUnchecked,
        Self::NonMinimalVarint,
        Self::MalformedConfigLog,
        Self::DepositHighBytes,
    ];
}

/// The repairs: which of them changed something, and how often.
#[derive(Debug, Clone, Default)]
pub struct Repairs {
    counts: Arc<Mutex<BTreeMap<Departure, u64>>>,
    without: Option<Departure>,
}

impl Repairs {
    /// All repairs but one.
    pub fn without(departure: Departure) -> Self {
        Self { counts: Arc::default(), without: Some(departure) }
    }

    /// Is this departure, which shows just now, to be repaired? Counts it then.
    pub fn mends(&self, departure: Departure) -> bool {
        let mends = self.without != Some(departure);
        if mends {
            *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(departure).or_default() += 1;
        }
        mends
    }

    /// All counts.
    pub fn counts(&self) -> BTreeMap<Departure, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
