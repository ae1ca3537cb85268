//! What is written to the journal, so that a restart goes on where the batcher was.
//!
//! A record is a version byte and bincode. Checksums are the journal's business.

use crate::settings::Carrier;
use alloy_primitives::{B256, keccak256};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use duskevm_rollup::{
    BlockId,
    frame::{ChannelId, Frame},
};

/// Version of the records.
const VERSION: u8 = 2;

/// Longest record that is read.
const LIMIT: usize = 1 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<LIMIT>> = bincode::config::legacy().with_limit::<LIMIT>();

/// A transaction of a submission that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    /// Lux for each gas.
    pub gas_price: u64,
    /// Dusk id.
    pub id: B256,
}

/// What a Dusk transaction of a submission does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// It brings the blobs.
    Blobs,
    /// It brings the envelope to the batch inbox.
    Call,
}

/// A nonce of the batcher's Dusk account, and what was signed for it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignedSlot {
    /// What the transaction does.
    pub role: Role,
    /// Its nonce.
    pub nonce: u64,
    /// Its gas limit.
    pub gas_limit: u64,
    /// All that was signed, oldest first.
    pub attempts: Vec<Attempt>,
}

/// A submission as it stands after the newest signature.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Submitted {
    /// Its number; later records of the same number replace earlier ones.
    pub number: u64,
    /// Whose frames.
    pub channel: ChannelId,
    /// The first of its frames.
    pub first_frame: u16,
    /// How many.
    pub frame_count: u16,
    /// Ethereum nonce of the envelope.
    pub envelope_nonce: u64,
    /// Ethereum hash of the envelope.
    pub envelope_hash: B256,
    /// Its Dusk transactions in order.
    pub slots: Vec<SignedSlot>,
}

/// A channel that takes no further blocks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Closed {
    /// Its id.
    pub id: ChannelId,
    /// The block before its first one.
    #[serde(with = "block")]
    pub parent: BlockId,
    /// Its last block.
    #[serde(with = "block")]
    pub last: BlockId,
    /// L1 origin of its first block.
    pub first_epoch: u64,
    /// Where it travels.
    pub carrier: Carrier,
    /// Name of its compression.
    pub compression: String,
    /// Most bytes in one frame.
    pub max_frame_data: u64,
    /// How many frames it has.
    pub frame_count: u16,
    /// Bytes after compression.
    pub bytes: u64,
    /// [`digest`] of its frames.
    pub digest: B256,
}

impl Closed {
    /// Compressed bytes that an L2 block came to on average.
    pub(crate) fn bytes_per_block(&self) -> u64 {
        self.bytes / self.last.number.saturating_sub(self.parent.number).max(1)
    }
}

/// Something that must not be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Record {
    /// What was counted until now. The first record of a compacted journal.
    Counted {
        /// Number of the next submission.
        next_submission: u64,
        /// Last block of the channels that are settled.
        #[serde(with = "maybe_block")]
        settled: Option<BlockId>,
    },
    /// A channel was begun.
    Opened {
        /// Its id.
        id: ChannelId,
        /// The block before its first one.
        #[serde(with = "block")]
        parent: BlockId,
        /// L1 block at which it was begun.
        l1_block: u64,
    },
    /// The open channel was closed.
    Closed(Closed),
    /// Frames were signed. Written before they are submitted.
    Submitted(Submitted),
    /// The first channel is on L1 for good.
    Settled {
        /// Its id.
        id: ChannelId,
    },
    /// This channel and all after it are given up, the open one too.
    Abandoned {
        /// Its id.
        id: ChannelId,
    },
}

/// A block as number and hash.
mod block {
    use super::{B256, BlockId};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(block: &BlockId, serializer: S) -> Result<S::Ok, S::Error> {
        (block.number, block.hash).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlockId, D::Error> {
        let (number, hash) = <(u64, B256)>::deserialize(deserializer)?;
        Ok(BlockId { number, hash })
    }
}

/// The same, or nothing.
mod maybe_block {
    use super::{B256, BlockId};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(block: &Option<BlockId>, serializer: S) -> Result<S::Ok, S::Error> {
        block.map(|block| (block.number, block.hash)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BlockId>, D::Error> {
        let found = <Option<(u64, B256)>>::deserialize(deserializer)?;
        Ok(found.map(|(number, hash)| BlockId { number, hash }))
    }
}

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error(
        "the batcher's journal has a record of version {0}, this program reads version {VERSION}: move the journal away to rebuild it from the safe head"
    )]
    Version(u8),
    /// Cannot be decoded.
    #[error(
        "the batcher's journal has a record that cannot be read ({0}): move the journal away to rebuild it from the safe head"
    )]
    Malformed(String),
}

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        // Plain data in memory: nothing of this can fail.
        let body = bincode::serde::encode_to_vec(self, CONFIG);
        debug_assert!(body.is_ok());
        bytes.extend(body.unwrap_or_default());
        bytes
    }

    /// Reads it.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let malformed = |why: &dyn std::fmt::Display| RecordError::Malformed(why.to_string());
        let (&version, body) = bytes.split_first().ok_or_else(|| malformed(&"it is empty"))?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let (record, read) = bincode::serde::decode_from_slice(body, CONFIG).map_err(|error| malformed(&error))?;
        if read == body.len() { Ok(record) } else { Err(malformed(&"bytes follow behind it")) }
    }
}

/// Hash of the frames of a channel: what is rebuilt later must be the same.
pub fn digest(frames: &[Frame]) -> B256 {
    let mut bytes = Vec::new();
    for frame in frames {
        frame.encode_to(&mut bytes);
    }
    keccak256(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(number: u64) -> BlockId {
        BlockId { number, hash: B256::with_last_byte(number as u8) }
    }

    fn records(number: u64, attempts: usize, calldata: bool) -> Vec<Record> {
        let id = ChannelId::repeat_byte(number as u8);
        let attempts = (0..attempts as u64).map(|price| Attempt { gas_price: price, id: B256::repeat_byte(3) });
        let slot = SignedSlot { role: Role::Call, nonce: number, gas_limit: 9, attempts: attempts.collect() };
        vec![
            Record::Counted { next_submission: number, settled: calldata.then(|| block(4)) },
            Record::Opened { id, parent: block(number), l1_block: 5 },
            Record::Closed(Closed {
                id,
                parent: block(1),
                last: block(number),
                first_epoch: 3,
                carrier: if calldata { Carrier::Calldata } else { Carrier::Blobs },
                compression: "brotli-10".into(),
                max_frame_data: 1000,
                frame_count: 2,
                bytes: number,
                digest: B256::repeat_byte(1),
            }),
            Record::Submitted(Submitted {
                number,
                channel: id,
                first_frame: 1,
                frame_count: 6,
                envelope_nonce: 5,
                envelope_hash: B256::repeat_byte(8),
                slots: vec![slot.clone(), slot],
            }),
            Record::Settled { id },
            Record::Abandoned { id },
        ]
    }

    proptest! {
        #[test]
        fn records_survive_and_none_is_read_from_a_part(number: u64, attempts in 0..17usize, calldata: bool) {
            for record in records(number, attempts, calldata) {
                let bytes = record.encode();
                prop_assert_eq!(Record::decode(&bytes), Ok(record));
                for end in 0..bytes.len() {
                    prop_assert!(Record::decode(&bytes[..end]).is_err());
                }
                let longer = [&bytes[..], &[0]].concat();
                prop_assert!(Record::decode(&longer).is_err());
            }
        }

        #[test]
        fn other_bytes_do_no_harm(bytes: Vec<u8>) {
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }

    #[test]
    fn records_of_other_versions_are_refused_by_name() {
        let mut bytes = Record::Settled { id: ChannelId::ZERO }.encode();
        bytes[0] = 1;
        assert_eq!(Record::decode(&bytes), Err(RecordError::Version(1)));
    }
}
