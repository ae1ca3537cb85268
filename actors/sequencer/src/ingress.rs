//! The mailbox of the sequencer: it takes few messages (its work is driven by its timer), so a full mailbox means that it hangs.

use std::time::Duration;

/// Messages that may wait.
pub const MAILBOX: usize = 16;

/// How long it may stay without progress. A block of the largest gas limit takes well below a second to build.
pub const DEADLINE: Duration = Duration::from_secs(10);
