//! The backfill actor: what lies between the chain of this node and a head that its consensus client wants comes from another L2 node.
//!
//! It is an actor of its own and no part of `engine-api`: that one answers calls, and neither a source that is slow nor a failure here may
//! keep it from doing so. The executor's feed says which head is wanted (it is the executor that finds a head unknown), the rules are those
//! of `duskevm_engine_api::backfill`, and the blocks go back to the executor. What is left here is the HTTP client.
//!
//! Nothing is kept on disk. A start goes on with the head that is wanted now, from what the chain has.

mod actor;
mod client;
mod error;
mod ingress;
mod metrics;
mod state;

pub use actor::Backfiller;
pub use error::BackfillError;
pub use ingress::{DEADLINE, MAILBOX};
pub use state::{Ports, Settings};
