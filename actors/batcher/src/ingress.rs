//! The mailbox of the batcher: its work is driven by both chains, so it takes few messages.

use std::time::Duration;

/// Messages that may wait.
pub const MAILBOX: usize = 16;

/// How long it may stay without progress. The longest single piece is the compression of one channel.
pub const DEADLINE: Duration = Duration::from_secs(30);
