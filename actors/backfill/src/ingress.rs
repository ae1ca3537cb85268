//! The mailbox of backfill: it is driven by a feed, so that nobody sends it anything.

use std::time::Duration;

/// Messages that may wait.
pub const MAILBOX: usize = 16;

/// How long it may stay without a sign of life. Whatever takes long runs elsewhere.
pub const DEADLINE: Duration = Duration::from_secs(10);
