//! How the contracts begin.

use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::B256;

use crate::settlement::Contracts;
use crate::system_config::SystemConfig;

/// Everything that the contracts of a network begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Chain id of the L1 as its Ethereum-shaped view shows it.
    pub l1_chain_id: u64,
    /// Where the contracts stand.
    pub contracts: Contracts,
    /// Owner and first values of the system configuration.
    pub system_config: SystemConfig,
}

/// A value of a contract's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The contract.
    pub contract: B256,
    /// Its key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl Genesis {
    /// What the storage of the contracts holds before the first call.
    pub fn records(&self) -> Vec<Record> {
        let (key, value) = self.system_config.record();
        vec![Record { contract: self.contracts.system_config, key, value }]
    }
}
