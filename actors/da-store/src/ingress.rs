//! The mailbox: its bound, and what happens beyond it.
//!
//! Messages come from `consensus` (a few for each block), from peers by way of `gossip`, and from the blob API, which bounds
//! its own clients. A full mailbox refuses; `consensus` asks again.

use std::time::Duration;

/// Messages that wait at most.
pub(crate) const MAILBOX: usize = 256;

/// Time without a sign of life after which the actor is hung. A write with its fsync takes some ten milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Changes on disk in one turn of pruning.
pub(crate) const PRUNE: usize = 64;

/// How often missing blobs are looked for at peers that did not have them.
pub(crate) const LOOK: Duration = Duration::from_secs(10);

/// The same when something is missing for the first time, or when the look before found something.
pub(crate) const LOOK_SOON: Duration = Duration::from_millis(100);

/// How long one such look may take.
pub(crate) const LOOK_WITHIN: Duration = Duration::from_secs(20);

/// After how long a write that found the disk full is tried again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(5);
