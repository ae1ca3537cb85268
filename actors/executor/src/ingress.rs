//! The mailbox of the executor. Its senders (sequencer, derivation, gossip) each wait for an answer before they send again, so a few
//! places suffice; a full mailbox is an error at the sender, who tries again.

use std::time::Duration;

/// Messages that may wait.
pub const MAILBOX: usize = 64;

/// How long it may stay without progress: the largest block takes well below a second to execute, a long import is many messages.
pub const DEADLINE: Duration = Duration::from_secs(20);
