//! The derivation actor: the safe and finalized L2 chain from L1 data alone.
//!
//! It drives [`Pipeline`](duskevm_rollup::derive::Pipeline), which asks for L1 blocks, blobs and L2 blocks and gives the attributes of
//! the next block. If the chain has that block already it becomes safe as it is; otherwise the executor builds it, in the place of what
//! the chain has there.
//!
//! Nothing is kept on disk by this actor. A start (and every reset, when L1 was reorganized or the executor lost blocks) looks for the
//! heads that L1 still supports, and reads L1 again from there:
//!
//! - The executor notes which block was safe at each L1 block. The newest note whose L1 block is still a part of L1 names a safe head
//!   that holds, because derivation is a function of L1.
//! - Without one, the specification's search goes a sequencing window back.

mod actor;
mod chain;
mod error;
mod ingress;
mod metrics;
mod seek;
mod state;

pub use actor::Derivation;
pub use error::DerivationError;
pub use ingress::{DEADLINE, MAILBOX};
pub use metrics::describe;
pub use state::{Ports, Settings};
