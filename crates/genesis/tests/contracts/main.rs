//! Runs the system contracts on op-revm, on the state that genesis gives them.

#![allow(clippy::unwrap_used)]

mod chain;
mod fees;
mod l1_block;
mod proxies;
mod system;
mod tools;
mod vaults;
mod withdrawals;
