//! The carrier actor: brings what clients send to the batch inbox over JSON-RPC to Dusk, and pays for it.
//!
//! Every decision is made by [`duskevm_carrier_core::Carrier`]. The actor asks L1, writes the journal, signs and submits. Blobs are checked
//! and Dusk transactions signed on worker threads, one piece of either at a time, even across instances. Nobody asks it what it carries:
//! that is in a feed.
//!
//! A client is answered when its transaction is in the journal. With the journal a restart goes on where it was: signatures are
//! deterministic, so that Dusk transactions that were signed before are signed again to the same bytes.

mod actor;
mod admission;
mod error;
mod ingress;
mod journal;
mod l1;
mod metrics;
mod sign;
mod state;

pub use actor::CarrierActor;
pub use error::CarrierError;
pub use ingress::{CHECKING, DEADLINE, MAILBOX, READING};
pub use metrics::describe;
pub use sign::{Keys, SignError};
pub use state::{Ports, Settings, Workers};
