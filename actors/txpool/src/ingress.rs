//! The mailbox: its bound, and what happens beyond it.
//!
//! Messages come from the RPC (submissions and questions), the sequencer (the best transactions, invalid ones) and the executor
//! (new heads). A full mailbox refuses: the RPC passes the refusal on to its client, the sequencer builds a block without pool
//! transactions, and a head that was refused is taken from the feed within a second.

use std::time::Duration;

/// Messages that wait at most.
pub(crate) const MAILBOX: usize = 8192;

/// Time without a sign of life after which the actor is hung. The same bound
/// holds for one write to the journal.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
