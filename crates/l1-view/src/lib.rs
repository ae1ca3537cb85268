//! The Ethereum-shaped projection of Dusk L1.
//!
//! [`project`] turns one Dusk block into one Ethereum block, given the parent's view. It is a pure function and consensus
//! critical for L2: the README documents every field, and [`VERSION`] names the mapping.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod block;
mod codec;
mod envelope;
mod input;
mod project;

pub use block::{ViewBlock, ViewTransaction, ViewTxEnvelope};
pub use codec::DecodeError;
pub use envelope::{EnvelopeError, decode_envelope};
pub use input::{DuskBlock, DuskEvent, DuskTx, ENVELOPE_TOPIC, LOG_TOPIC, contract_address, encode_log};
pub use project::{BASE_FEE, GAS_LIMIT, ViewConfig, ViewError, project};

/// Version of the mapping. Every view hash depends on it, so a change makes another L1 chain for the L2.
pub const VERSION: u32 = 1;

#[cfg(test)]
mod tests;
