//! The mailbox: its bound, and what happens beyond it.
//!
//! Messages come from the RPC and the command line (transactions and questions) and from the `l1` actor (blocks). A full mailbox
//! refuses; block production does not pass through it, so that a flood of requests delays no block.

use std::time::Duration;

/// Messages that wait at most.
pub(crate) const MAILBOX: usize = 1024;

/// Time without a sign of life after which the actor is hung. A block with 1000 transactions takes well below a second.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Submissions that wait for their signature check at most; beyond, they are refused as busy. One check takes a few
/// milliseconds of one core.
pub(crate) const CHECKING: usize = 512;
