//! The transaction pool actor.
//!
//! It owns a [`duskevm_pool::Pool`], which decides everything about transactions, and a journal, which makes an accepted one
//! survive. The promise: a hash is answered only when the transaction is on disk, and the transaction stays there until it is in
//! a block that is itself durable, is replaced, is evicted, or expires.
//!
//! The way of a submission: admitted to the pool at once; written with all others that arrive while the disk is busy; answered
//! and announced when that one write is synced. The write happens on a thread of its own, so that the mailbox never waits for
//! the disk. If it fails the actor ends, because memory and disk differ; the next instance is what the disk says.
//!
//! After a restart the journal is replayed onto the head. What is used up there is kept until the head is durable, since a power
//! cut may take its blocks back. Nothing is included twice: the nonce forbids it.

mod actor;
mod content;
mod error;
mod file_log;
mod ingress;
mod log;
mod metrics;
mod records;
mod state;
mod writer;

pub use actor::{Settings, TxPool, Wiring, spec};
pub use error::TxPoolError;
pub use file_log::journal_in;
pub use log::{Log, LogError, OpenLog, OpenedLog};
