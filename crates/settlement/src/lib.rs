//! The contracts of a rollup on Dusk L1, under the names that they have on Ethereum: batch inbox, OptimismPortal,
//! L1CrossDomainMessenger, L1StandardBridge, L1ERC721Bridge and SystemConfig.
//!
//! They are pure transitions: everything that a call reads, writes, pays or emits goes through a [`Host`]. Nothing here knows the
//! ledger, so that the same code can run inside another virtual machine. With the feature `ledger` they are native contracts of
//! this program's own L1; with `json`, calls and answers can be written as JSON. The README has all entry points, the byte form of
//! arguments, and every rule.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod abi;
pub mod args;
mod bridge;
mod estimate;
mod genesis;
mod host;
mod identity;
mod inbox;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "ledger")]
mod ledger;
mod messenger;
mod methods;
mod portal;
mod refusal;
mod settlement;
mod solidity;
mod system_config;

pub use bridge::{L2_STANDARD_BRIDGE, NO_TOKENS};
pub use estimate::{GasError, enough_gas, gas_limit};
pub use genesis::{Genesis, Record};
pub use host::{Caller, Host, Storage};
pub use identity::{apply_alias, undo_alias, wallet_address};
pub use inbox::{MAX_ENVELOPE_BYTES, next_nonce_answer, next_nonce_args};
#[cfg(feature = "json")]
pub use json::{JsonError, decode_value, encode_args};
pub use messenger::{L2_CROSS_DOMAIN_MESSENGER, base_gas};
pub use methods::{Kind, Method, NEXT_NONCE, Type};
pub use portal::{MAX_BLOCK_DEPOSIT_GAS, MAX_DEPOSIT_DATA, SYSTEM_TX_GAS, WEI_PER_LUX, lux_to_wei, minimum_gas_limit};
pub use refusal::{Error, Refusal};
pub use settlement::{Contract, Contracts, Settlement};
pub use solidity::{UNSAFE_BLOCK_SIGNER_SLOT, ViewCallError};
pub use system_config::{MAX_ELASTICITY, MAX_GAS_LIMIT, MAX_MIN_BASE_FEE, MIN_GAS_LIMIT, SystemConfig};

#[cfg(test)]
mod testing;
