//! What clients send to the batch inbox over Ethereum's JSON-RPC, carried to Dusk: as a state machine without clock, socket or keys.
//!
//! ```text
//! eth_sendRawTransaction ─ envelope ─ pool ─ turn ─ Dusk transactions ─ batch inbox ─ L1 view ─ receipt
//! ```
//! - An *envelope* is a signed Ethereum transaction to the batch inbox, with blobs or without. [`Envelope::read`] checks it as Ethereum
//!   would, and as the inbox will. As blobs take long to check, a [`Candidate`] is an envelope whose blobs nobody has looked at.
//! - The *pool* has one envelope for each nonce of a sender; a better-paying one replaces it. It keeps an envelope until its nonce is used in
//!   a final block.
//! - On Dusk an envelope is a blob transaction, if it has blobs, and a call of the batch inbox, with consecutive nonces of the
//!   carrier's Dusk account. All that was ever signed for one of these nonces excludes each other.
//!
//! No envelope lands twice, because the inbox takes each nonce of a sender once. None is lost: what is taken is in the journal, and every
//! look at L1 makes the plan anew from what is there, so that what was lost, has failed or was taken back is done again.
//!
//! # Driving it
//!
//! Give it what clients send with [`Carrier::take`], after [`Carrier::check`] where there are blobs to be checked, tell [`Carrier::observe`] once for each L1 block, and do what [`Carrier::advance`]
//! says until it says [`Action::Wait`]. Records must be on disk before the next call.

mod action;
mod carried;
mod carrier;
mod envelope;
mod plan;
mod pool;
mod record;
mod refusal;
mod settings;
#[cfg(test)]
mod sim;
mod step;
#[cfg(test)]
mod testing;

pub use action::{Action, DuskRefusal, Notice, Observation, Order, TxStatus, Wait};
pub use carried::Carried;
pub use carrier::{Carrier, ReplayError};
pub use envelope::{Candidate, Envelope, MAX_BLOBS, MAX_RAW_BYTES, enough_gas};
pub use record::{Attempt, MAX_RECORD_BYTES, Record, RecordError, Role};
pub use refusal::Refusal;
pub use settings::{Gas, MAX_SENDERS, Rules, Settings, SettingsError};
