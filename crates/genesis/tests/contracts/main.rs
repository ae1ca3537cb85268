//! Runs the system contracts on op-revm, on the state that genesis gives them.

#![allow(clippy::unwrap_used)]

mod chain;
mod dusk_calls;
mod erc20;
mod erc721;
mod erc721_bridge;
mod fees;
mod l1;
mod l1_block;
mod messenger;
mod proxies;
mod relay;
mod standard_bridge;
mod system;
mod targets;
mod tools;
mod vaults;
mod withdrawals;
