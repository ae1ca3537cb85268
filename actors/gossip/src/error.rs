//! What can go wrong in the actor, and what it means.

use std::io;
use std::path::PathBuf;

use duskevm_supervision::{ActorError, FenceError, Reaction};

use crate::host::HostError;

/// A failure of the gossip actor. What peers do wrong is none.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The host cannot be attached to.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The host died, or a newer instance has attached to it.
    #[error("the network host has ended")]
    HostGone,
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// The address book cannot be kept. The network works without it.
    #[error("the known peers cannot be kept in {path}: {source}")]
    Book {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ActorError for GossipError {
    fn reaction(&self) -> Reaction {
        match self {
            // Another try would meet the same settings.
            Self::Host(HostError::Setup(_)) => Reaction::Abort,
            Self::Host(HostError::Listen { .. } | HostError::Fenced(_) | HostError::Replaced { .. }) => {
                Reaction::RestartSelf
            }
            // The next instance starts the host again.
            Self::HostGone | Self::Fenced(_) => Reaction::RestartSelf,
            Self::Book { .. } => Reaction::Degrade,
        }
    }
}
