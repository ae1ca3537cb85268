//! Errors of the Engine API with their codes (execution APIs, common.md, "Errors").
//!
//! An error says that the call was wrong. That a block is invalid, or that its parent is unknown, is no error but a
//! [status](crate::status).

use crate::{attributes::AttributesFault, forkchoice::ForkchoiceFault};
use alloy_rpc_types_engine::PayloadId;

/// Why a call is refused.
///
/// [`code`](Self::code) and [`message`](Self::message) are those of the specification; the `Display` text says what is wrong in
/// particular, and belongs into `data.err` of the JSON-RPC error, where op-geth has it too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Parameters are missing, too many, or of another version.
    #[error("{0}")]
    InvalidParams(String),
    /// No payload is being built under this id, or it was dropped for newer ones.
    #[error("no payload {0} is being built: it was never begun, or newer ones took its place")]
    UnknownPayload(PayloadId),
    /// The forkchoice state contradicts itself or what is final.
    #[error(transparent)]
    InvalidForkchoiceState(#[from] ForkchoiceFault),
    /// Nothing can be built from these attributes.
    #[error(transparent)]
    InvalidPayloadAttributes(#[from] AttributesFault),
    /// More was asked for than one answer may hold.
    #[error("{asked} payload bodies are too many for one request: ask for at most {limit}")]
    TooLargeRequest {
        /// How many were asked for.
        asked: u64,
        /// How many may be.
        limit: u64,
    },
    /// The timestamp is of a fork for which another version of the method is to be called.
    #[error("{method} is not for a block with timestamp {timestamp}: call {instead}")]
    UnsupportedFork {
        /// The method that was called.
        method: &'static str,
        /// Of the block, in seconds.
        timestamp: u64,
        /// The method that fits.
        instead: &'static str,
    },
}

impl EngineError {
    /// The JSON-RPC error code.
    pub const fn code(&self) -> i32 {
        match self {
            Self::InvalidParams(_) => -32602,
            Self::UnknownPayload(_) => -38001,
            Self::InvalidForkchoiceState(_) => -38002,
            Self::InvalidPayloadAttributes(_) => -38003,
            Self::TooLargeRequest { .. } => -38004,
            Self::UnsupportedFork { .. } => -38005,
        }
    }

    /// The message that the specification has for the code.
    pub const fn message(&self) -> &'static str {
        match self {
            Self::InvalidParams(_) => "Invalid params",
            Self::UnknownPayload(_) => "Unknown payload",
            Self::InvalidForkchoiceState(_) => "Invalid forkchoice state",
            Self::InvalidPayloadAttributes(_) => "Invalid payload attributes",
            Self::TooLargeRequest { .. } => "Too large request",
            Self::UnsupportedFork { .. } => "Unsupported fork",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_code_and_message_of_the_specification() {
        let unsupported = EngineError::UnsupportedFork { method: "a", timestamp: 1, instead: "b" };
        let table = [
            (EngineError::InvalidParams("x".into()), -32602, "Invalid params"),
            (EngineError::UnknownPayload(PayloadId::default()), -38001, "Unknown payload"),
            (ForkchoiceFault::ZeroHead.into(), -38002, "Invalid forkchoice state"),
            (AttributesFault::NoGasLimit.into(), -38003, "Invalid payload attributes"),
            (EngineError::TooLargeRequest { asked: 2, limit: 1 }, -38004, "Too large request"),
            (unsupported, -38005, "Unsupported fork"),
        ];
        for (error, code, message) in table {
            assert_eq!((error.code(), error.message()), (code, message));
        }
    }
}
