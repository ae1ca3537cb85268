//! The batcher actor: posts the L2 chain to L1.
//!
//! Every decision is made by [`duskevm_batcher_core::Batcher`]. The actor tells it what L1 and the L2 chain look like, writes its
//! journal, signs and submits. Compression, KZG commitments and signatures are made on a worker thread, one piece of work at a time, even
//! across instances.
//!
//! With the journal a restart goes on in the middle of a channel, and transactions that were signed before are signed again to the same
//! bytes. Without it everything is rebuilt from the safe head.

mod actor;
mod chain;
mod error;
mod ingress;
mod journal;
mod l1;
mod metrics;
mod sign;
mod state;
mod work;

pub use actor::BatcherActor;
pub use error::BatcherError;
pub use ingress::{DEADLINE, MAILBOX};
pub use metrics::describe;
pub use sign::{Keys, SignError};
pub use state::{Ports, Settings, workers};
