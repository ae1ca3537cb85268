//! Everything that touches the disk: parity-db blocks and state, journals, schema version, checks.
//!
//! - [`db`]: parity-db with known durability. A commit is visible at once and gets a number; a thread of the database
//!   writes and fsyncs it and says up to which number everything is on disk. After a crash the newest commits may be
//!   missing, never torn, so whatever another party was told belongs in a [`journal`] first.
//! - [`journal`]: an append-only file of checked records that are on disk when the call returns.
//! - [`l2`]: blocks, state and tries of the L2 chain, and snapshots of any state that is kept.
//! - [`l1`]: Dusk blocks and the Ethereum-shaped view of them.
//! - [`blobs`]: blobs by versioned hash, and which blocks claim them.
//!
//! Writes pass a fence (`duskevm-fence`), so that an abandoned instance of an actor cannot write any more.

pub mod blobs;
mod codec;
pub mod db;
pub mod journal;
pub mod l1;
pub mod l2;

pub use db::{Identity, OpenError};
