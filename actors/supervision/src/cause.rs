//! Why an actor died, and why a tree ended.

use std::{any::Any, fmt, sync::Arc, time::Duration};

/// Why an instance of an actor came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeathCause {
    /// It stopped itself, or was told to stop as an injected fault.
    Stop,
    /// It failed with an error whose reaction is a restart, or could not start. The text is the error with its sources.
    Error(Arc<str>),
    /// It panicked. The text is the panic message.
    Panic(Arc<str>),
    /// It missed its deadline; its thread was abandoned. The text says what was overdue.
    Hang(Arc<str>),
    /// It was sound and was replaced because the named actor failed.
    Sibling(Arc<str>),
    /// It was sound and was replaced on request.
    Requested,
    /// The tree was shut down.
    Shutdown,
}

impl DeathCause {
    /// All values of the `cause` label of `duskevm_actor_restarts_total`.
    pub const LABELS: [&'static str; 6] = ["stop", "error", "panic", "hang", "sibling", "injected"];

    /// The value of the `cause` label in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Stop | Self::Shutdown => "stop",
            Self::Error(_) => "error",
            Self::Panic(_) => "panic",
            Self::Hang(_) => "hang",
            Self::Sibling(_) => "sibling",
            Self::Requested => "injected",
        }
    }
}

impl fmt::Display for DeathCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("it stopped"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::Panic(text) => write!(f, "panic: {text}"),
            Self::Hang(text) => write!(f, "hang: {text}"),
            Self::Sibling(actor) => write!(f, "replaced together with {actor}"),
            Self::Requested => f.write_str("restart on request"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

/// The message of a panic, for logs and causes.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

/// An error with its chain of sources, in one line.
pub(crate) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Many errors already print their source.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Why a tree ended. Its [`Display`](fmt::Display) is the one line to print before the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// It was told to.
    Shutdown {
        /// Actors that did not stop within the bound and were left behind.
        abandoned: Vec<Arc<str>>,
    },
    /// An actor failed too often and no supervisor above it could help.
    Escalated {
        /// The actor that failed last.
        actor: Arc<str>,
        /// The subtrees that gave up, innermost first; the last is the root.
        through: Vec<Arc<str>>,
        /// How often the root restarted within the window.
        restarts: u32,
        /// The root's window.
        within: Duration,
        /// Failures of this actor since the tree started.
        failures: u64,
        /// What ended the actor the last time.
        cause: DeathCause,
    },
    /// Instances of an actor hung again and again, and too many of their threads still run.
    Overrun {
        /// The actor.
        actor: Arc<str>,
        /// The subtrees that gave up, innermost first; the last is the root.
        through: Vec<Arc<str>>,
        /// Abandoned threads of the actor that have not ended.
        abandoned: u32,
        /// Failures of this actor since the tree started.
        failures: u64,
        /// What ended the actor the last time.
        cause: DeathCause,
    },
    /// An actor met an error whose reaction is [`Reaction::Abort`](crate::Reaction::Abort).
    Aborted {
        /// The actor that gave up.
        actor: Arc<str>,
        /// Its error.
        error: Arc<str>,
    },
    /// The supervisor itself could not run.
    Broken {
        /// What happened.
        error: Arc<str>,
    },
}

impl ExitReason {
    /// The exit code of the process: 0 only after a clean shutdown. One that left an actor behind is none, because what that
    /// actor had to flush may not be on disk.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Shutdown { abandoned } if abandoned.is_empty() => 0,
            Self::Shutdown { .. } => 73,
            Self::Escalated { .. } | Self::Overrun { .. } => 70,
            Self::Aborted { .. } => 71,
            Self::Broken { .. } => 72,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown { abandoned } if abandoned.is_empty() => f.write_str("shut down in order"),
            Self::Shutdown { abandoned } => {
                write!(f, "shut down; left behind because they did not stop in time: {}", abandoned.join(", "))
            }
            Self::Escalated { actor, through, restarts, within, failures, cause } => write!(
                f,
                "giving up: {actor} failed {failures} times, the last time by {cause}; {} already restarted {restarts} times within {within:?}",
                through.join(" and ")
            ),
            Self::Overrun { actor, through, abandoned, failures, cause } => write!(
                f,
                "giving up: {actor} failed {failures} times, the last time by {cause}; {abandoned} of its hung instances still run, and restarts by {} have not helped",
                through.join(" and ")
            ),
            Self::Aborted { actor, error } => write!(f, "giving up: {actor} cannot go on: {error}"),
            Self::Broken { error } => write!(f, "giving up: the supervisor could not run: {error}"),
        }
    }
}
