//! How a DuskEVM network begins: the state and header of L2 block 0, the rollup configuration, and the networks that
//! are known by name.
//!
//! The way through this crate:
//!
//! 1. A [`NetworkSpec`] says what a network is: ids, fork times, fee parameters, L1 addresses, who is funded. It comes
//!    from [`NetworkSpec::local`], from a [`KnownNetwork`], or is written by hand.
//! 2. [`L2Genesis::build`] turns it into the accounts of block 0 (system contracts included) and the header fields that
//!    do not depend on the state.
//! 3. Whoever owns the state trie computes the roots from [`L2Genesis::alloc`] and seals the header; the hash, together
//!    with the L1 block that the chain starts from, is a [`GenesisAnchor`].
//! 4. [`L2Genesis::to_geth_genesis_json`] and [`RollupParams::to_rollup_json`] write the files that OP-Stack programs
//!    read, [`l1_chain_config_json`] what they need to know of the L1; [`L2Genesis::from_json`] reads such files, also those of
//!    networks that this program did not make.
//!
//! The system contracts come from `contracts/` as compiled artifacts; see [`artifacts`].

mod alloc;
pub mod artifacts;
mod dev;
mod error;
mod fork;
mod genesis;
mod json;
mod l1_chain;
mod networks;
pub mod predeploys;
mod spec;

pub use alloc::GenesisAccount;
pub use dev::{DEV_ACCOUNT_BALANCE, DEV_MNEMONIC, DevAccount, DevAccounts, dev_accounts};
pub use error::GenesisError;
pub use fork::{Fork, ForkTimes};
pub use genesis::{GenesisHeader, L2Genesis, WithdrawalsRoot};
pub use json::{BlockRef, GenesisAnchor};
pub use l1_chain::l1_chain_config_json;
pub use networks::{KnownNetwork, LOCAL_CONTRACTS, LocalContracts, evm_address};
pub use spec::{
    Eip1559, FeeVaults, L1Addresses, L1Bridges, NetworkSpec, RollupParams, SystemConfig, VaultConfig, WithdrawalNetwork,
};
