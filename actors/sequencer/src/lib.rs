//! The sequencer actor: block timer, L1 origin, the journal against signing twice.
//!
//! One block at a time: choose the L1 origin, let the executor build, write the sealed block to the journal and sync it, and only
//! then let the executor insert (and so announce) it. Whatever dies in between, the same bytes are used again: a block in the
//! journal is imported before anything new is built. Only [`ResetTo`](duskevm_messages::sequencer::ResetTo) takes blocks back.
//! An operator may stop and start it, as op-node's.

mod actor;
mod control;
mod error;
mod guard;
mod ingress;
mod journal;
mod metrics;
mod state;
mod throttle;

pub use actor::Sequencer;
pub use error::SequencerError;
pub use guard::{SealConflict, SealGuard};
pub use ingress::{DEADLINE, MAILBOX};
pub use journal::SealJournal;
pub use metrics::describe;
pub use state::{Clock, Ports, Settings};
pub use throttle::DaThrottle;
