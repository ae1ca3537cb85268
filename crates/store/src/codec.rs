//! The one place that calls bincode: records that only this program reads.
//!
//! What others read (headers, transactions, receipts) is stored in its own encoding and never comes here.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::{Serialize, de::DeserializeOwned};

/// Largest record that is decoded: a length field that was damaged must not make a huge allocation.
const LIMIT: usize = 1 << 30;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<LIMIT>> = bincode::config::legacy().with_limit::<LIMIT>();

/// Why bytes of ours could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("{0}")]
    Decode(#[from] bincode::error::DecodeError),
    #[error("{0}")]
    Encode(#[from] bincode::error::EncodeError),
    #[error("{0} bytes after the record")]
    Trailing(usize),
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(bincode::serde::encode_to_vec(value, CONFIG)?)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, CONFIG)?;
    if read == bytes.len() { Ok(value) } else { Err(CodecError::Trailing(bytes.len() - read)) }
}
