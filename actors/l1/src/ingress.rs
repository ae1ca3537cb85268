//! The mailbox: its bound, and what happens beyond it.
//!
//! Messages are questions from the sequencer, derivation and the RPC. A full mailbox refuses them; following the backend does not
//! pass through it.

use std::time::Duration;

/// Messages that wait at most.
pub(crate) const MAILBOX: usize = 4096;

/// Time without a sign of life after which the actor is hung.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Blocks fetched, projected and stored in one step of catching up.
pub(crate) const STEP: u64 = 64;

/// How long one block is waited for before the backend counts as gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Pauses between two tries of a backend that does not answer.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest of them.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);
