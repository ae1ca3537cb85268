//! Requests for the payload of a number: how a node closes gaps in what it heard (rollup-node-p2p.md, "payload_by_number").
//!
//! A request is the number (u64, little endian). An answer is a result byte; after 0 a version (u32, little endian) and the payload
//! in snappy's framed format.

use crate::{
    message::MAX_MESSAGE,
    payload::{Payload, PayloadError},
    ssz,
    topics::PayloadVersion,
};
use alloy_primitives::Bytes;
use std::io::{Read as _, Write as _};

/// Bytes of a request.
pub const REQUEST: usize = 8;
/// Longest payload in an answer: 10 MiB.
pub const MAX_PAYLOAD: usize = MAX_MESSAGE;
/// Bytes before the payload.
const HEAD: usize = 5;
/// Longest answer. Framed snappy adds 8 bytes to each piece of 64 KiB that does not shrink, and 10 at the beginning.
pub const MAX_ANSWER: usize = HEAD + MAX_PAYLOAD + (MAX_PAYLOAD >> 16) * 8 + 64;

/// Name of the protocol.
pub fn protocol(chain_id: u64) -> String {
    format!("/opstack/req/payload_by_number/{chain_id}/0/")
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The block.
    Payload(Box<Payload>),
    /// The peer does not have it.
    Unavailable,
    /// The peer does not understand the request.
    Invalid,
    /// The peer cannot answer at the moment.
    Failed(u8),
}

/// Bytes that are no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The end comes too soon.
    #[error("the answer ends after {0} bytes")]
    Short(usize),
    /// A version that does not exist.
    #[error("there is no payload version {0}")]
    Version(u32),
    /// Not framed snappy, or more than a payload has.
    #[error("the payload is not in snappy's framed format, or is longer than {MAX_PAYLOAD} bytes")]
    Compression,
    /// Not a payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// The version number of an answer with a payload of this form.
const fn wire_version(version: PayloadVersion) -> u32 {
    match version {
        PayloadVersion::V1 | PayloadVersion::V2 => 0,
        PayloadVersion::V3 => 1,
        PayloadVersion::V4 => 2,
    }
}

/// Writes a request.
pub const fn request(number: u64) -> [u8; REQUEST] {
    number.to_le_bytes()
}

/// Reads a request; `None` if it has another length.
pub fn read_request(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

impl Answer {
    /// Writes the answer.
    pub fn encode(&self) -> Vec<u8> {
        let payload = match self {
            Self::Payload(payload) => payload,
            Self::Unavailable => return vec![1],
            Self::Invalid => return vec![2],
            Self::Failed(code) => return vec![(*code).max(3)],
        };
        let body = payload.body();
        if body.len() > MAX_PAYLOAD {
            return vec![3];
        }
        let mut out = vec![0];
        out.extend_from_slice(&wire_version(payload.version).to_le_bytes());
        let mut frames = snap::write::FrameEncoder::new(out);
        // A vector takes everything; should it not, the answer is that there is none.
        match frames.write_all(&body).and_then(|()| frames.into_inner().map_err(|error| error.into_error())) {
            Ok(out) => out,
            Err(_) => vec![3],
        }
    }

    /// Reads an answer. Memory grows with what was decompressed, up to [`MAX_PAYLOAD`].
    ///
    /// # Errors
    /// See [`AnswerError`]. Nothing but the form is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, AnswerError> {
        let short = || AnswerError::Short(bytes.len());
        let (result, rest) = bytes.split_first().ok_or_else(short)?;
        match result {
            0 => {}
            1 => return Ok(Self::Unavailable),
            2 => return Ok(Self::Invalid),
            other => return Ok(Self::Failed(*other)),
        }
        let (version, frames) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let version = u32::from_le_bytes(*version);
        let mut body = Vec::new();
        let mut limited = snap::read::FrameDecoder::new(frames).take(MAX_PAYLOAD as u64 + 1);
        limited.read_to_end(&mut body).map_err(|_| AnswerError::Compression)?;
        if body.len() > MAX_PAYLOAD {
            return Err(AnswerError::Compression);
        }
        let form = match version {
            0 => ssz::early_version(&body).map_err(PayloadError::from)?,
            1 => PayloadVersion::V3,
            2 => PayloadVersion::V4,
            other => return Err(AnswerError::Version(other)),
        };
        Ok(Self::Payload(Box::new(Payload::from_body(form, &Bytes::from(body))?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::testing::payload;
    use proptest::prelude::*;

    #[test]
    fn the_protocol_names_the_chain() {
        assert_eq!(protocol(745), "/opstack/req/payload_by_number/745/0/");
    }

    #[test]
    fn a_request_is_the_number() {
        assert_eq!(request(0x0102), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read_request(&request(u64::MAX)), Some(u64::MAX));
        for wrong in [&[][..], &[0; 7], &[0; 9]] {
            assert_eq!(read_request(wrong), None);
        }
    }

    #[test]
    fn refusals_are_one_byte() {
        for (answer, byte) in
            [(Answer::Unavailable, 1), (Answer::Invalid, 2), (Answer::Failed(3), 3), (Answer::Failed(200), 200)]
        {
            assert_eq!(answer.encode(), [byte]);
            assert_eq!(Answer::decode(&[byte]), Ok(answer));
        }
    }

    #[test]
    fn a_payload_longer_than_allowed_is_not_kept() {
        let mut frames = snap::write::FrameEncoder::new(vec![0, 2, 0, 0, 0]);
        frames.write_all(&vec![0; MAX_PAYLOAD + 1]).unwrap();
        assert_eq!(Answer::decode(&frames.into_inner().unwrap()), Err(AnswerError::Compression));
    }

    #[test]
    fn unknown_versions_and_cut_answers_are_refused() {
        let empty = snap::write::FrameEncoder::new(vec![0, 9, 0, 0, 0]).into_inner().unwrap();
        assert_eq!(Answer::decode(&empty), Err(AnswerError::Version(9)));
        assert_eq!(Answer::decode(&[]), Err(AnswerError::Short(0)));
        assert_eq!(Answer::decode(&[0, 1]), Err(AnswerError::Short(2)));
        assert!(matches!(Answer::decode(&[0, 1, 0, 0, 0, 1, 2, 3]), Err(AnswerError::Compression)));
    }

    proptest! {
        #[test]
        fn answers_are_read_as_they_were_written(payload in payload()) {
            let answer = Answer::Payload(Box::new(payload));
            let bytes = answer.encode();
            prop_assert!(bytes.len() <= MAX_ANSWER);
            prop_assert_eq!(Answer::decode(&bytes), Ok(answer));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Answer::decode(&bytes);
        }
    }
}
