//! Errors as clients see them: codes and messages are those of geth.

use crate::chain::ReadError;
use alloy_primitives::Bytes;
use alloy_sol_types::{Panic, Revert, SolError};
use duskevm_engine_api::EngineError;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::value::RawValue;

/// A request that fails, with its JSON-RPC code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// Parameters that are missing, too many or of the wrong type.
    #[error("{0}")]
    InvalidParams(String),
    /// The default of geth: the message says everything.
    #[error("{0}")]
    Server(String),
    /// A call that reverted; the data is what it returned.
    #[error("{message}")]
    Reverted {
        /// `execution reverted`, and the reason if the data holds one.
        message: String,
        /// What the call returned.
        data: Bytes,
    },
    /// More was asked for than the limits of this node allow.
    #[error("{0}")]
    LimitExceeded(String),
    /// Too much work is waiting already.
    #[error("server is busy: too many {0} are waiting, try again later")]
    Busy(&'static str),
    /// The receipt of a submitted transaction did not come in time (EIP-7966).
    #[error("{message}")]
    ReceiptTimeout {
        /// What happened.
        message: String,
        /// Hash of the transaction, which is in the pool.
        hash: alloy_primitives::B256,
    },
    /// A failure of `eth_simulateV1`, with a code of its specification.
    #[error("{message}")]
    Simulation {
        /// The code.
        code: i32,
        /// What happened.
        message: String,
    },
    /// Subscriptions need a WebSocket connection.
    #[error("notifications not supported")]
    NoNotifications,
    /// A subscription that does not exist.
    #[error("no {0:?} subscription in eth namespace")]
    NoSuchSubscription(String),
    /// The sequencer's refusal of a transaction that was forwarded to it, word for word.
    #[error("{message}")]
    Foreign {
        /// Its code.
        code: i32,
        /// Its message.
        message: String,
        /// Its data, as JSON.
        data: Option<String>,
    },
    /// A refusal of the Engine API.
    #[error("{says}: {0}", says = .0.message())]
    Engine(#[from] EngineError),
    /// A fault of this node.
    #[error("internal error: {0}")]
    Internal(String),
}

impl RpcError {
    /// The JSON-RPC error code.
    pub const fn code(&self) -> i32 {
        match self {
            Self::InvalidParams(_) => -32602,
            Self::Server(_) => -32000,
            Self::Reverted { .. } => 3,
            Self::LimitExceeded(_) | Self::Busy(_) => -32005,
            Self::ReceiptTimeout { .. } => 4,
            Self::NoNotifications => -32001,
            Self::Simulation { code, .. } | Self::Foreign { code, .. } => *code,
            Self::Engine(error) => error.code(),
            Self::NoSuchSubscription(_) => -32601,
            Self::Internal(_) => -32603,
        }
    }

    /// [`Self::Server`] from anything that prints.
    pub fn server(message: impl ToString) -> Self {
        Self::Server(message.to_string())
    }

    /// [`Self::Internal`] from anything that prints.
    pub fn internal(message: impl ToString) -> Self {
        Self::Internal(message.to_string())
    }

    /// [`Self::InvalidParams`] from anything that prints.
    pub fn params(message: impl ToString) -> Self {
        Self::InvalidParams(message.to_string())
    }

    /// A call that reverted with `data`: the message holds the reason if the data is Solidity's `Error(string)` or `Panic(uint256)`.
    pub fn reverted(data: Bytes) -> Self {
        Self::Reverted { message: revert_message(&data), data }
    }
}

/// `execution reverted`, followed by the reason where the data holds one.
pub fn revert_message(data: &[u8]) -> String {
    const PLAIN: &str = "execution reverted";
    if let Ok(revert) = Revert::abi_decode(data) {
        return format!("{PLAIN}: {}", revert.reason());
    }
    Panic::abi_decode(data).map_or_else(|_| PLAIN.to_owned(), |panic| format!("{PLAIN}: {}", panic.as_geth_str()))
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let code = error.code();
        match error {
            RpcError::Reverted { message, data } => Self::owned(code, message, Some(data)),
            RpcError::ReceiptTimeout { message, hash } => Self::owned(code, message, Some(hash)),
            RpcError::Foreign { message, data, .. } => {
                Self::owned(code, message, data.and_then(|data| RawValue::from_string(data).ok()))
            }
            // The words of the specification, and in the data what is wrong, as op-geth has it.
            RpcError::Engine(error) => {
                Self::owned(code, error.message(), Some(serde_json::json!({ "err": error.to_string() })))
            }
            RpcError::Internal(ref message) => {
                tracing::error!(%message, "a JSON-RPC request met an internal error");
                Self::owned(code, error.to_string(), None::<()>)
            }
            other => Self::owned(code, other.to_string(), None::<()>),
        }
    }
}

impl From<ReadError> for RpcError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Pruned(_) | ReadError::NotKept(_) | ReadError::Reorged(_) | ReadError::NotReady => {
                Self::Server(error.to_string())
            }
            ReadError::Backend(_) => Self::Internal(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;

    #[test]
    fn a_revert_names_its_reason() {
        let data = Revert::from("too low").abi_encode();
        assert_eq!(revert_message(&data), "execution reverted: too low");
        let panic = Panic { code: U256::from(0x11) }.abi_encode();
        assert_eq!(revert_message(&panic), "execution reverted: arithmetic underflow or overflow");
        assert_eq!(revert_message(&[]), "execution reverted");
        assert_eq!(revert_message(&[1, 2, 3, 4, 5]), "execution reverted");
    }

    #[test]
    fn a_revert_carries_its_data_under_code_3() {
        let object = ErrorObjectOwned::from(RpcError::reverted(Bytes::from_static(&[0xab, 0xcd])));
        assert_eq!(object.code(), 3);
        assert_eq!(object.message(), "execution reverted");
        assert_eq!(object.data().map(|data| data.get()), Some("\"0xabcd\""));
    }

    #[test]
    fn an_ordinary_error_has_no_data() {
        let object = ErrorObjectOwned::from(RpcError::server("header not found"));
        assert_eq!((object.code(), object.message(), object.data().is_none()), (-32000, "header not found", true));
    }
}
