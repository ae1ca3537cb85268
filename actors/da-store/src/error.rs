//! What can go wrong, and what it means.

use std::net::SocketAddr;

use duskevm_blobs::retention::RestoreError;
use duskevm_store::blobs::BlobStoreError;
use duskevm_store::db::DbError;
use duskevm_supervision::{ActorError, FenceError, Reaction};

/// A failure of the blob keeper. A blob that is not there, or is damaged on disk, is none.
#[derive(Debug, thiserror::Error)]
pub enum DaStoreError {
    /// The database failed.
    #[error("the blob database failed: {0}")]
    Store(BlobStoreError),
    /// Nothing more can be written; what is there can be read.
    #[error("no blob can be kept or dropped: {0}")]
    Full(DbError),
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(FenceError),
    /// What is stored contradicts itself.
    #[error(
        "the blob database is damaged ({0}): restore it from a copy, or move its folder away; blobs are then fetched from peers again"
    )]
    Claims(#[from] RestoreError),
    /// A worker that reads died.
    #[error("a worker thread of the blob keeper died: {0}")]
    Worker(String),
}

impl From<BlobStoreError> for DaStoreError {
    fn from(error: BlobStoreError) -> Self {
        match error {
            BlobStoreError::Db(full @ DbError::DiskFull { .. }) => Self::Full(full),
            BlobStoreError::Fence(error) => Self::Fenced(error),
            error => Self::Store(error),
        }
    }
}

impl ActorError for DaStoreError {
    fn reaction(&self) -> Reaction {
        match self {
            // Another start would read the same.
            Self::Store(BlobStoreError::Db(error)) if error.is_damage() => Reaction::Abort,
            // Memory and disk may differ now: begin again from the disk.
            Self::Store(_) | Self::Fenced(_) => Reaction::RestartSelf,
            Self::Full(_) => Reaction::Degrade,
            // Another start would read the same.
            Self::Claims(_) => Reaction::Abort,
            // One request fails.
            Self::Worker(_) => Reaction::Retry,
        }
    }
}

/// A failure of the blob API's server as a whole. Failures of single connections end only those.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address could not be bound.
    #[error(
        "cannot listen on {address} for the blob API: {source}. Free the port, or set `blobs.host` and `blobs.port`"
    )]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Connections can no longer be accepted.
    #[error("accepting connections to the blob API failed {attempts} times in a row, last with: {source}")]
    Accept {
        /// How often.
        attempts: u32,
        /// The last failure.
        source: std::io::Error,
    },
    /// Answering a request panicked.
    #[error("answering a request to the blob API panicked: {0}")]
    Panicked(String),
}

impl ActorError for ApiError {
    fn reaction(&self) -> Reaction {
        match self {
            // The back-off of the supervisor is the pause; the next instance binds the address anew.
            Self::Bind { .. } | Self::Accept { .. } | Self::Panicked(_) => Reaction::RestartSelf,
        }
    }
}
