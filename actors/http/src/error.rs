//! What can go wrong with the HTTP server, and what follows from it.

use std::net::SocketAddr;

use duskevm_supervision::{ActorError, Reaction};

/// A failure of the HTTP server as a whole. Failures of single connections end only those.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address could not be bound.
    #[error(
        "cannot listen on {address} for metrics and health: {source}. Free the port, or set `http.host` and `http.port`"
    )]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Connections can no longer be accepted.
    #[error("accepting HTTP connections failed {attempts} times in a row, last with: {source}")]
    Accept {
        /// How often.
        attempts: u32,
        /// The last failure.
        source: std::io::Error,
    },
    /// Answering a request panicked.
    #[error("answering an HTTP request panicked: {0}")]
    Panicked(String),
}

impl ActorError for HttpError {
    fn reaction(&self) -> Reaction {
        match self {
            // Somebody else may hold the port for a moment; the back-off of the supervisor is the pause.
            Self::Bind { .. } => Reaction::RestartSelf,
            // The next instance binds the address anew.
            Self::Accept { .. } => Reaction::RestartSelf,
            Self::Panicked(_) => Reaction::RestartSelf,
        }
    }
}
