//! The mailbox of the carrier.

use std::time::Duration;

/// Messages that may wait.
pub const MAILBOX: usize = 64;

/// Transactions that may be read at one time, each up to a megabyte: a millisecond of work for each, and a question to L1 if they are of
/// a sender who is paid for. Whoever sends more is told to come again.
pub const READING: usize = 32;

/// Transactions whose blobs may wait to be checked, each up to a megabyte: only such as would be taken.
pub const CHECKING: usize = 8;

/// How long it may stay without progress. The longest single piece is a check of six blobs with proofs of cells.
pub const DEADLINE: Duration = Duration::from_secs(30);
