//! What can go wrong between actors, and what to do about it.

use std::{fmt, sync::Arc, time::Duration};

use crate::{ActorError, DeathCause, Reaction, cause::error_text};

/// Why a request got no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The actor was not up within the bound. The request was not delivered: sending it again is safe.
    #[error("{actor} is starting or restarting and was not up in time: try again later")]
    Restarting {
        /// The actor asked.
        actor: Arc<str>,
    },
    /// The actor died with the request in its hands or in its mailbox. It may or may not have taken effect.
    #[error(
        "{actor} died before it answered ({cause}): find out whether the request took effect before sending it again"
    )]
    Died {
        /// The actor that died: the one asked, or, for a replaced instance that still sends, the sender itself.
        actor: Arc<str>,
        /// What it died of.
        cause: DeathCause,
    },
    /// The mailbox is full. The request was not delivered: send less, or again after a pause.
    #[error("the mailbox of {actor} is full with {depth} messages: send less, or try again after a pause")]
    Full {
        /// The actor asked.
        actor: Arc<str>,
        /// Messages waiting.
        depth: usize,
    },
    /// No reply in time. The actor may still be working on it.
    #[error("{actor} did not answer within {after:?}: it may still be at work on the request")]
    Timeout {
        /// The actor asked.
        actor: Arc<str>,
        /// How long the caller waited.
        after: Duration,
    },
    /// The actor has ended for good, or its tree has. Never retry.
    #[error("{actor} has ended for good and answers no more: do not try again")]
    Gone {
        /// The actor asked.
        actor: Arc<str>,
    },
    /// The handler failed and the actor goes on.
    #[error("{actor} could not do it: {error}")]
    Failed {
        /// The actor asked.
        actor: Arc<str>,
        /// What it said.
        error: Failure,
    },
    /// The whole tree is being shut down.
    #[error("the node is shutting down and takes no new requests")]
    Stopping,
}

impl AskError {
    /// Whether sending the same message again, after a pause, may succeed. For a message that is not idempotent,
    /// `Died` and `Timeout` leave open whether it took effect.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Restarting { .. } | Self::Died { .. } | Self::Full { .. } | Self::Timeout { .. } => true,
            Self::Failed { error, .. } => error.retryable,
            Self::Gone { .. } | Self::Stopping => false,
        }
    }
}

/// What a handler said when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error with its sources.
    pub message: Arc<str>,
    /// Whether trying again, after a pause, may succeed ([`Reaction::Retry`]).
    pub retryable: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.retryable {
            f.write_str(" (try again after a pause)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Why a message without a reply was not put into the mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// The actor is down and a `tell` does not wait.
    #[error("{actor} is starting or restarting: try again later, or ask instead of tell to wait for it")]
    Restarting {
        /// The actor told.
        actor: Arc<str>,
    },
    /// The mailbox is full.
    #[error("the mailbox of {actor} is full with {depth} messages: send less, or try again after a pause")]
    Full {
        /// The actor told.
        actor: Arc<str>,
        /// Messages waiting.
        depth: usize,
    },
    /// The actor has ended for good, or its tree has.
    #[error("{actor} has ended for good: do not try again")]
    Gone {
        /// The actor told.
        actor: Arc<str>,
    },
    /// The whole tree is being shut down.
    #[error("the node is shutting down and takes no new messages")]
    Stopping,
    /// The sender is an instance that was declared dead and replaced.
    #[error("this instance of {actor} was replaced ({cause}): it must stop and send nothing")]
    Fenced {
        /// The sender.
        actor: Arc<str>,
        /// Why it was replaced.
        cause: DeathCause,
    },
}

/// Why a factory could not make its actor. Any [`ActorError`] converts into it.
#[derive(Debug, Clone)]
pub struct StartError {
    pub(crate) message: Arc<str>,
    pub(crate) reaction: Reaction,
}

impl StartError {
    /// A failure after which the supervisor tries again with growing pauses, within the restart intensity.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string().into(), reaction: Reaction::RestartSelf }
    }

    /// The same from an error, with its sources.
    pub fn because(error: impl std::error::Error) -> Self {
        Self { message: error_text(&error).into(), reaction: Reaction::RestartSelf }
    }

    /// A failure that no restart can repair (a damaged database, a wrong configuration): ends the tree.
    pub fn abort(message: impl fmt::Display) -> Self {
        Self { message: message.to_string().into(), reaction: Reaction::Abort }
    }

    /// The same failure with another reaction.
    #[must_use]
    pub const fn with_reaction(mut self, reaction: Reaction) -> Self {
        self.reaction = reaction;
        self
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl<E: ActorError> From<E> for StartError {
    fn from(error: E) -> Self {
        Self { message: error_text(&error).into(), reaction: error.reaction() }
    }
}

/// Why a fault was not injected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The tree was built without [`Tree::allow_faults`](crate::Tree::allow_faults).
    #[error("faults are not allowed on this node: set faults.allow = true in its configuration and start it again")]
    Refused,
    /// No actor has this name.
    #[error("no actor is named {name:?}; there are {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<Arc<str>>,
    },
    /// The actor is starting or restarting, so that nothing can be done to it at this moment.
    #[error("{actor} is starting or restarting: try again when it is up")]
    Restarting {
        /// The actor named.
        actor: Arc<str>,
    },
    /// The actor has ended for good, or is about to, so that nothing can be done to it any more.
    #[error("{actor} has ended for good: nothing can be done to it")]
    Down {
        /// The actor named.
        actor: Arc<str>,
    },
    /// A share outside 0..=1.
    #[error("the share of messages must lie between 0 and 1, not {share}")]
    Share {
        /// What was given.
        share: String,
    },
}
