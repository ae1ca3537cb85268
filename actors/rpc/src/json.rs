//! Answers that are written to JSON where they are made, on a worker thread and within a bound.

use crate::{
    error::RpcError,
    unsent::{Share, Unsent},
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::{io, sync::Arc};

/// Bytes that are counted at once while an answer is written.
const STRIDE: usize = 64 * 1024;

/// JSON that is ready to be sent; counted among the unsent answers as long as it lives.
#[derive(Debug, Clone)]
pub(crate) struct Json(Arc<(Box<RawValue>, Share)>);

impl Json {
    /// The text.
    pub(crate) fn get(&self) -> &str {
        self.0.0.get()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.0.serialize(serializer)
    }
}

/// Writes a value to JSON of at most `max` bytes.
///
/// # Errors
/// If it is longer, or if too much waits to be sent already.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T, max: usize, unsent: &Unsent) -> Result<Json, RpcError> {
    let mut writer = Bounded { bytes: Vec::with_capacity(256), max, share: unsent.share(), refused: None };
    if let Err(error) = serde_json::to_writer(&mut writer, value) {
        return Err(writer.refused.unwrap_or_else(|| RpcError::internal(error)));
    }
    let Bounded { bytes, mut share, .. } = writer;
    share.fit(bytes.len())?;
    let text = String::from_utf8(bytes).map_err(RpcError::internal)?;
    let raw = RawValue::from_string(text).map_err(RpcError::internal)?;
    Ok(Json(Arc::new((raw, share))))
}

/// An answer that would be longer than `max` bytes.
pub(crate) fn response_too_large(max: usize) -> RpcError {
    RpcError::LimitExceeded(format!("response too large: more than {max} bytes; ask for less at once"))
}

struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    share: Share,
    refused: Option<RpcError>,
}

impl Bounded {
    fn admit(&mut self, length: usize) -> Result<(), RpcError> {
        if length > self.max {
            return Err(response_too_large(self.max));
        }
        if length > self.share.bytes() {
            // Short answers are counted as they are, long ones in strides.
            self.share.fit(if length < STRIDE { length } else { length.next_multiple_of(STRIDE) })?;
        }
        Ok(())
    }
}

impl io::Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.admit(self.bytes.len() + data.len()) {
            self.refused = Some(error);
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "the answer is not admitted"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_up_to_the_bound() {
        let unsent = Unsent::new(1000);
        let json = to_json(&[1, 2, 3], 7, &unsent).unwrap();
        assert_eq!((json.get(), unsent.bytes()), ("[1,2,3]", 7));
        let RpcError::LimitExceeded(message) = to_json(&[1, 2, 3], 6, &unsent).unwrap_err() else { panic!() };
        assert!(message.starts_with("response too large"), "{message}");
        drop(json);
        assert_eq!(unsent.bytes(), 0);
    }

    #[test]
    fn does_not_write_what_cannot_be_sent() {
        let unsent = Unsent::new(1_000_000);
        let first = to_json(&"x".repeat(600_000), 1_000_000, &unsent).unwrap();
        assert_eq!(unsent.bytes(), 600_002);
        let second = vec![0; 300_000];
        assert!(matches!(to_json(&second, 1_000_000, &unsent), Err(RpcError::Busy(_))));
        assert_eq!(unsent.bytes(), 600_002);
        drop(first);
        to_json(&second, 1_000_000, &unsent).unwrap();
    }
}
