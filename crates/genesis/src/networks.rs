//! The DuskEVM networks that have a name.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B64, B256, address, b256, keccak256};

use crate::{
    error::GenesisError,
    fork::{Fork, ForkTimes},
    json::{BlockRef, GenesisAnchor},
    spec::{Eip1559, L1Addresses, L1Bridges, NetworkSpec, RollupParams, SystemConfig},
};

/// A DuskEVM network with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KnownNetwork {
    /// The main network, chain id 744.
    Mainnet,
    /// The public test network, chain id 745.
    Testnet,
    /// The network of the DuskEVM developers, chain id 310.
    Devnet,
    /// The network of a local development node, chain id 31310.
    Local,
}

impl KnownNetwork {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Testnet, Self::Devnet, Self::Local];

    /// Name, as in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Devnet => "devnet",
            Self::Local => "local",
        }
    }

    /// Chain id of its L2.
    pub const fn chain_id(self) -> u64 {
        match self {
            Self::Mainnet => 744,
            Self::Testnet => 745,
            Self::Devnet => 310,
            Self::Local => NetworkSpec::LOCAL_CHAIN_ID,
        }
    }

    /// The network with this L2 chain id.
    pub fn from_chain_id(chain_id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|n| n.chain_id() == chain_id)
    }

    /// The rollup configuration of this network and the blocks that it started from, as published.
    ///
    /// # Errors
    /// [`GenesisError::NoBuiltInGenesis`] for networks without final values: load their files instead.
    /// [`GenesisError::MadeAnew`] for the local network; see [`NetworkSpec::local`].
    pub fn rollup(self) -> Result<(RollupParams, GenesisAnchor), GenesisError> {
        match self {
            Self::Devnet => Ok(devnet()),
            Self::Local => Err(GenesisError::MadeAnew(self.name())),
            Self::Mainnet | Self::Testnet => {
                Err(GenesisError::NoBuiltInGenesis { network: self.name(), chain_id: self.chain_id() })
            }
        }
    }

    /// Whether the first state of this network is made by this program, not read from a published file.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Local)
    }
}

impl fmt::Display for KnownNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KnownNetwork {
    type Err = GenesisError;

    /// Reads a network's name or chain id.
    ///
    /// # Errors
    /// [`GenesisError::UnknownNetwork`].
    fn from_str(text: &str) -> Result<Self, GenesisError> {
        Self::ALL
            .into_iter()
            .find(|n| n.name() == text || n.chain_id().to_string() == text)
            .ok_or_else(|| GenesisError::UnknownNetwork(text.to_owned()))
    }
}

/// The Ethereum address of a Dusk contract: the last 20 bytes of the keccak256 of its id.
pub fn evm_address(contract_id: B256) -> Address {
    Address::from_word(keccak256(contract_id))
}

/// Ids of the Dusk contracts under the local network. They are text, so that they can be told apart in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalContracts {
    /// Takes the envelopes of batch transactions.
    pub batch_inbox: B256,
    /// Takes deposits and pays withdrawals.
    pub portal: B256,
    /// Holds the system configuration.
    pub system_config: B256,
    /// Announces protocol versions.
    pub protocol_versions: B256,
    /// Sends messages to L2 and relays those from there (L1CrossDomainMessenger).
    pub messenger: B256,
    /// Holds the DUSK and the fungible tokens that are on L2 (L1StandardBridge).
    pub standard_bridge: B256,
    /// Holds the other tokens that are on L2 (L1ERC721Bridge).
    pub erc721_bridge: B256,
}

/// The contracts under the local network.
pub const LOCAL_CONTRACTS: LocalContracts = LocalContracts {
    batch_inbox: contract_id("DuskEVM local: batch inbox"),
    portal: contract_id("DuskEVM local: portal"),
    system_config: contract_id("DuskEVM local: system config"),
    protocol_versions: contract_id("DuskEVM local: protocols"),
    messenger: contract_id("DuskEVM local: messenger"),
    standard_bridge: contract_id("DuskEVM local: standard bridge"),
    erc721_bridge: contract_id("DuskEVM local: ERC-721 bridge"),
};

/// The text, padded with zeros.
const fn contract_id(name: &str) -> B256 {
    let name = name.as_bytes();
    let mut id = [0; 32];
    let mut i = 0;
    while i < name.len() {
        id[i] = name[i];
        i += 1;
    }
    B256::new(id)
}

pub(crate) fn local_l1_addresses() -> L1Addresses {
    L1Addresses {
        batch_inbox: evm_address(LOCAL_CONTRACTS.batch_inbox),
        portal: evm_address(LOCAL_CONTRACTS.portal),
        system_config: evm_address(LOCAL_CONTRACTS.system_config),
        protocol_versions: evm_address(LOCAL_CONTRACTS.protocol_versions),
    }
}

pub(crate) fn local_l1_bridges() -> L1Bridges {
    L1Bridges {
        messenger: evm_address(LOCAL_CONTRACTS.messenger),
        standard_bridge: evm_address(LOCAL_CONTRACTS.standard_bridge),
        erc721_bridge: evm_address(LOCAL_CONTRACTS.erc721_bridge),
    }
}

/// The system configuration of the published devnet, with another batcher.
pub(crate) fn published_system_config(batcher: Address) -> SystemConfig {
    SystemConfig {
        batcher,
        overhead: B256::ZERO,
        scalar: SystemConfig::encode_scalar(1368, 810_949),
        gas_limit: 60_000_000,
        eip1559_params: B64::ZERO,
        operator_fee_scalar: 0,
        operator_fee_constant: 0,
        min_base_fee: 0,
        da_footprint_gas_scalar: 0,
    }
}

/// As in the devnet's published rollup.json.
fn devnet() -> (RollupParams, GenesisAnchor) {
    let params = RollupParams {
        l2_chain_id: KnownNetwork::Devnet.chain_id(),
        l1_chain_id: 3,
        block_time: 2,
        max_sequencer_drift: 600,
        seq_window_size: 3600,
        channel_timeout: 300,
        l2_time: 1_762_949_437,
        forks: ForkTimes::at_genesis(Fork::Isthmus),
        eip1559: Eip1559::DEFAULT,
        system_config: published_system_config(address!("e72444b0e9d159ebf6c351674b98c34bc290481d")),
        addresses: L1Addresses {
            batch_inbox: address!("0039da2db355130acf428d669fbf1c14faa9d513"),
            portal: address!("99C9fc46f92E8a1c0deC1b1747d010903E884bE1"),
            system_config: address!("bfc22ca35ca13e693ab099a325f286b221cbbfc3"),
            protocol_versions: address!("e525ee7e1432d1e3acb0fe601322f1dbad56365a"),
        },
    };
    let anchor = GenesisAnchor {
        l1: BlockRef { number: 17250, hash: b256!("72ae2354ea7e215791740e12eb0a17b7609d7cb213abeeb202098563341ed351") },
        l2: BlockRef { number: 0, hash: b256!("e9243be35a0c54e20a3940d3a38817a41c758d0506b917d4591cbbec7703e149") },
    };
    (params, anchor)
}
