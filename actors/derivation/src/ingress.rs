//! The mailbox of derivation: its work is driven by L1, so it takes few messages.

use std::time::Duration;

/// Messages that may wait.
pub const MAILBOX: usize = 64;

/// How long it may stay without progress. The longest single piece is the execution of one block by the executor, whose own
/// deadline is 20 s.
pub const DEADLINE: Duration = Duration::from_secs(30);
