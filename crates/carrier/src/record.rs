//! What is written to the journal, so that a restart goes on where the carrier was.
//!
//! A record is a version byte and bincode. Checksums are the journal's business.

use crate::envelope::{Envelope, MAX_RAW_BYTES};
use alloy_primitives::{Address, B256, Bytes};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};

/// Version of the records.
const VERSION: u8 = 1;

/// Longest record.
pub const MAX_RECORD_BYTES: usize = MAX_RAW_BYTES + 4096;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_RECORD_BYTES>> =
    bincode::config::legacy().with_limit::<MAX_RECORD_BYTES>();

/// What a Dusk transaction does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// It brings blobs with these versioned hashes.
    Blobs(Vec<B256>),
    /// It brings the envelope with this hash to the batch inbox.
    Call(B256),
}

impl Role {
    /// Is this what brings the envelope, or its blobs?
    pub(crate) fn brings(&self, envelope: &Envelope) -> bool {
        match self {
            Self::Blobs(hashes) => envelope.blob_hashes() == hashes,
            Self::Call(hash) => envelope.hash() == *hash,
        }
    }
}

/// A Dusk transaction that was signed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    /// What it does.
    pub role: Role,
    /// Its gas limit.
    pub gas_limit: u64,
    /// Lux for each gas.
    pub gas_price: u64,
    /// Dusk id.
    pub id: B256,
}

/// Something that must not be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Record {
    /// An envelope was taken. It replaces the one of the same sender and nonce.
    Taken {
        /// EIP-2718 bytes without sidecar.
        envelope: Bytes,
        /// Its blobs with commitments and proofs.
        sidecars: Vec<Bytes>,
    },
    /// A Dusk transaction was signed. Written before it is submitted.
    Signed {
        /// Nonce of the Dusk account.
        nonce: u64,
        /// The transaction.
        attempt: Attempt,
    },
    /// The nonce of a sender is used for good.
    Settled {
        /// Whose.
        sender: Address,
        /// Which.
        nonce: u64,
    },
    /// A nonce of the Dusk account is used for good, or nothing is wanted of it any more.
    Closed {
        /// Which.
        nonce: u64,
    },
    /// Envelopes were replaced, whose records are not in the journal any more.
    Former {
        /// Whose.
        sender: Address,
        /// Their nonce. The envelope that replaced them is in an earlier record.
        nonce: u64,
        /// Their hashes, oldest first.
        hashes: Vec<B256>,
    },
    /// An envelope that was replaced or is on L1 for good, which a signed Dusk transaction of an earlier record brings.
    Kept {
        /// EIP-2718 bytes without sidecar.
        envelope: Bytes,
        /// Its blobs with commitments and proofs.
        sidecars: Vec<Bytes>,
    },
}

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error(
        "the carrier's journal has a record of version {0}, this program reads version {VERSION}: move the folder away, and whoever sent transactions sends them again"
    )]
    Version(u8),
    /// Cannot be decoded.
    #[error(
        "the carrier's journal has a record that cannot be read ({0}): move the folder away, and whoever sent transactions sends them again"
    )]
    Malformed(String),
}

impl Record {
    pub(crate) fn taken(envelope: &Envelope) -> Self {
        Self::Taken { envelope: envelope.raw().clone(), sidecars: sidecars(envelope) }
    }

    pub(crate) fn kept(envelope: &Envelope) -> Self {
        Self::Kept { envelope: envelope.raw().clone(), sidecars: sidecars(envelope) }
    }

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

fn sidecars(envelope: &Envelope) -> Vec<Bytes> {
    envelope.blobs().iter().map(|blob| blob.sidecar().encode().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_survive_and_none_is_read_from_a_part(nonce: u64, raw: Vec<u8>, hash: [u8; 32], blobs in 0..7usize) {
            let hash = B256::from(hash);
            let attempt = |role| Attempt { role, gas_limit: nonce, gas_price: 3, id: hash };
            let records = [
                Record::Taken { envelope: raw.clone().into(), sidecars: vec![raw.clone().into(); blobs] },
                Record::Kept { envelope: raw.clone().into(), sidecars: vec![raw.into(); blobs] },
                Record::Former { sender: Address::repeat_byte(3), nonce, hashes: vec![hash; blobs] },
                Record::Signed { nonce, attempt: attempt(Role::Blobs(vec![hash; blobs])) },
                Record::Signed { nonce, attempt: attempt(Role::Call(hash)) },
                Record::Settled { sender: Address::repeat_byte(3), nonce },
                Record::Closed { nonce },
            ];
            for record in records {
                let bytes = record.encode();
                prop_assert_eq!(Record::decode(&bytes), Ok(record));
                for end in 0..bytes.len() {
                    prop_assert!(Record::decode(&bytes[..end]).is_err());
                }
                prop_assert!(Record::decode(&[&bytes[..], &[0]].concat()).is_err());
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
        let mut bytes = Record::Closed { nonce: 1 }.encode();
        bytes[0] = 9;
        assert_eq!(Record::decode(&bytes), Err(RecordError::Version(9)));
    }
}
