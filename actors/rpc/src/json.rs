//! Answers that are written to JSON where they are made, on a worker thread and within a bound.

use crate::error::RpcError;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io;

/// JSON that is ready to be sent.
pub(crate) type Json = Box<RawValue>;

/// Writes a value to JSON of at most `max` bytes.
///
/// # Errors
/// If it is longer.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T, max: usize) -> Result<Json, RpcError> {
    let mut writer = Bounded { bytes: Vec::with_capacity(256), max, full: false };
    match serde_json::to_writer(&mut writer, value) {
        Ok(()) => {}
        Err(_) if writer.full => {
            return Err(RpcError::LimitExceeded(format!(
                "response too large: more than {max} bytes; ask for less at once"
            )));
        }
        Err(error) => return Err(RpcError::internal(error)),
    }
    let text = String::from_utf8(writer.bytes).map_err(RpcError::internal)?;
    RawValue::from_string(text).map_err(RpcError::internal)
}

struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.max {
            self.full = true;
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "response too large"));
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
        assert_eq!(to_json(&[1, 2, 3], 7).unwrap().get(), "[1,2,3]");
        let RpcError::LimitExceeded(message) = to_json(&[1, 2, 3], 6).unwrap_err() else { panic!() };
        assert!(message.starts_with("response too large"), "{message}");
    }
}
