//! The transaction pool as a state machine: admission, replacement, ordering, eviction.
//!
//! [`Pool`] holds every transaction that was accepted and is not yet in a block. It performs no I/O and reads no clock: the
//! state of accounts comes through [`AccountReader`], the head of the chain as a [`Head`] value, the time as seconds. Each
//! operation says what it did (what it replaced, evicted, promoted), so that its caller can write a journal and announce.
//!
//! What is kept where:
//!
//! - per sender, a list by nonce. The transactions without a gap from the account's nonce on that the account can pay for are
//!   *ready*; the others are *waiting* (for an earlier nonce, for funds, for a higher block gas limit). A ready transaction is
//!   counted as *pending* while its fee cap, and those of the same sender before it, cover the next base fee; otherwise it
//!   counts as *queued*.
//! - the first ready transaction of each sender, ordered by what it pays ([`Pool::best`] merges them lazily, so a block costs
//!   what it takes from the pool, not what the pool holds);
//! - the last transaction of each sender, ordered by the cheapest one up to it: that is what eviction takes, because no other
//!   transaction depends on it.
//!
//! A transaction that was accepted is not dropped because its sender's balance fell meanwhile: it waits until it can be paid,
//! expires, is replaced, or is the cheapest when room is needed.

mod account;
mod admission;
mod best;
mod catalog;
mod config;
mod error;
mod evict;
mod head;
mod head_change;
mod index;
mod order;
mod pool;
mod query;
mod tx;

pub use best::BestLimits;
pub use config::PoolConfig;
pub use error::PoolError;
pub use head::{AccountReadError, AccountReader, AccountState, CodeKind, Head, code_kind};
pub use head_change::{HeadChange, HeadEffects, Reinjected, Touched};
pub use pool::{Added, Origin, Pool, Standing};
pub use query::{Content, Listing, PoolStatus, SenderContent};
pub use tx::PoolTx;
