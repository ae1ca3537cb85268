//! The consensus actor: the embedded Dusk L1.
//!
//! It produces the blocks of a single-provisioner Dusk network, one every block time: takes transactions from its mempool,
//! executes them, signs the block, stores it, and only when it is on disk announces it. What was announced never changes: the
//! store refuses a second block of a height, and a restart goes on at the stored tip.
//!
//! After a pause of any length (the process was down, the machine slept) it produces one block with the current time, not one
//! for each that was missed. Blocks are final, so it does not believe a wall clock that jumps: while it runs it compares it with the
//! uptime of the machine, and at start with the newest block.
//!
//! The mempool is in memory only. A transaction that was accepted but not included is lost with the instance, as it is on a Dusk
//! node; whoever submitted it asks for its status and submits it again.

mod actor;
mod clock;
mod error;
mod ingress;
mod metrics;
mod state;

pub use actor::{Consensus, Wiring, spec};
pub use clock::{Clock, system_clock, system_uptime};
pub use error::ConsensusError;
pub use ingress::DEADLINE;
pub use state::{Chain, Settings};
