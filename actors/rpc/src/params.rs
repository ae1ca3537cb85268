//! Positional parameters, read one by one with geth's error messages.

use crate::error::RpcError;
use jsonrpsee::types::Params;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The parameters of one call. `null` and a missing trailing parameter are the same, as in geth.
#[derive(Debug)]
pub(crate) struct Args {
    raw: Vec<Box<RawValue>>,
    next: usize,
}

impl Args {
    /// # Errors
    /// If the parameters are not an array.
    pub(crate) fn new(params: &Params<'_>) -> Result<Self, RpcError> {
        let raw = match params.as_str() {
            None => Vec::new(),
            Some(text) => {
                let text = text.trim();
                if text.is_empty() || text == "null" {
                    Vec::new()
                } else if text.starts_with('[') {
                    serde_json::from_str(text).map_err(|e| RpcError::params(format!("invalid parameters: {e}")))?
                } else {
                    return Err(RpcError::params("non-array args"));
                }
            }
        };
        Ok(Self { raw, next: 0 })
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// If it is missing, `null` or of another type.
    pub(crate) fn required<T: DeserializeOwned>(&mut self) -> Result<T, RpcError> {
        let index = self.next;
        self.optional()?.ok_or_else(|| RpcError::params(format!("missing value for required argument {index}")))
    }

    /// A parameter that may be missing or `null`.
    ///
    /// # Errors
    /// If it is there and of another type.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RpcError> {
        let index = self.next;
        self.next += 1;
        let Some(raw) = self.raw.get(index).map(|raw| raw.get()).filter(|text| *text != "null") else {
            return Ok(None);
        };
        serde_json::from_str(raw).map(Some).map_err(|e| RpcError::params(format!("invalid argument {index}: {e}")))
    }

    /// Says that no more parameters are expected.
    ///
    /// # Errors
    /// If there are more.
    pub(crate) fn end(self) -> Result<(), RpcError> {
        if self.raw.len() > self.next {
            return Err(RpcError::params(format!("too many arguments, want at most {}", self.next)));
        }
        Ok(())
    }
}

/// The deepest nesting of arrays and objects in a JSON text, without parsing it.
pub(crate) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, U64};

    fn args(text: &str) -> Result<Args, RpcError> {
        Args::new(&Params::new(Some(text)))
    }

    #[test]
    fn reads_by_position() {
        let mut args = args(r#"["0x0000000000000000000000000000000000000001", null]"#).unwrap();
        let address: Address = args.required().unwrap();
        assert_eq!(address, Address::with_last_byte(1));
        assert_eq!(args.optional::<U64>().unwrap(), None);
        args.end().unwrap();
    }

    #[test]
    fn speaks_like_geth() {
        let mut none = args("[]").unwrap();
        assert_eq!(none.required::<Address>().unwrap_err(), RpcError::params("missing value for required argument 0"));
        assert_eq!(args("{}").unwrap_err(), RpcError::params("non-array args"));
        let mut many = args("[1, 2]").unwrap();
        many.required::<u64>().unwrap();
        assert_eq!(many.end().unwrap_err(), RpcError::params("too many arguments, want at most 1"));
        let mut wrong = args(r#"["0xzz"]"#).unwrap();
        let RpcError::InvalidParams(message) = wrong.required::<Address>().unwrap_err() else { panic!() };
        assert!(message.starts_with("invalid argument 0: "), "{message}");
    }

    #[test]
    fn measures_depth_outside_of_strings() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth(r#"["[[[[", {"a": [1]}]"#), 3);
        assert_eq!(depth(r#"["\"[["]"#), 1);
        assert_eq!(depth(&"[".repeat(5000)), 5000);
    }
}
