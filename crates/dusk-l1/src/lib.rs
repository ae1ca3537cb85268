//! Dusk ledger types and rules: genesis, Moonlight state transition, block making and checking.
//!
//! Pure functions and state machines: no clock, disk or network. Formats are those of `dusk-core` and `dusk-node-data`
//! 1.7; see the crate's README for what of Dusk L1 is here and what is not.

pub mod blobs;
pub mod block;
pub mod bloom;
pub mod body;
pub mod contracts;
pub mod execute;
pub mod finality;
pub mod forks;
pub mod genesis;
pub mod header;
pub mod keyfile;
pub mod keys;
pub mod kind;
pub mod mempool;
pub mod merkle;
pub mod record;
pub mod rewards;
pub mod sa;
pub mod sha3;
pub mod stakes;
pub mod state;
pub mod tx;
pub mod wallet;

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod sole;
#[cfg(test)]
mod testing;

/// Transactions and their parts, as wallets build them.
pub use dusk_core::abi::Event;
pub use dusk_core::transfer;
/// Ledger types of the published node.
pub use dusk_node_data::Serializable;
pub use dusk_node_data::bls::PublicKeyBytes;
pub use dusk_node_data::ledger::{
    Attestation, Block, Fault, Header, IterationInfo, IterationsInfo, LedgerTransaction, Signature, StepVotes,
};
pub use dusk_node_data::message::BLOCK_HEADER_VERSION;
pub use dusk_node_data::message::payload::Vote;
