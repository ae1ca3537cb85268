//! Supervision for actix actors: trees, restarts, stable references, leases, faults.
//!
//! See `README.md` for the promises. In short: an [`Actor`] handles [`Message`]s on a thread of its own; a [`Tree`]
//! starts actors, notices when one stops, fails, panics or hangs, and replaces it; a [`Ref`] or [`Port`] keeps working
//! across replacements and answers every request with a reply or a typed error within a bound.

mod actor;
mod ask;
mod brain;
mod cause;
mod cell;
mod context;
mod error;
mod fault;
mod instance;
mod lease;
mod message;
mod meters;
mod order;
mod patience;
mod port;
mod reference;
mod reply;
mod slot;
mod spec;
mod status;
mod supervisor;
mod tree;
mod watchdog;

/// The example in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use duskevm_fence::{Fence, FenceBusy, FenceError, Gate, Generation};

pub use crate::{
    actor::{Actor, ActorError, Handle, Reaction},
    ask::DEFAULT_ASK,
    cause::{DeathCause, ExitReason},
    context::{Context, Timer},
    error::{AskError, Failure, InjectError, StartError, TellError},
    fault::Fault,
    lease::{Lease, LeaseStatus},
    message::Message,
    order::{Backoff, Intensity, RestartKind, Strategy},
    port::Port,
    reference::Ref,
    reply::{Reply, Responder},
    spec::{ChildSpec, StartContext},
    status::{ActorState, ActorStatus, Cause, CauseKind},
    supervisor::Supervisor,
    tree::Tree,
};
