//! What a network is, before it has a first block.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B64, B256, U256};
use serde::{Deserialize, Serialize};

use crate::{
    dev::{DEV_ACCOUNT_BALANCE, dev_accounts},
    error::GenesisError,
    fork::{Fork, ForkTimes},
    networks::{self, KnownNetwork},
};

/// Gas that a block must be able to hold: what the portal lets deposits of one L1 block use, and the L1-attributes
/// transaction.
const MIN_GAS_LIMIT: u64 = 20_000_000 + 1_000_000;

/// Parameters of the base fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eip1559 {
    /// Gas limit divided by gas target.
    pub elasticity: u32,
    /// How slowly the base fee moves, before Canyon.
    pub denominator: u32,
    /// How slowly the base fee moves, since Canyon.
    pub denominator_canyon: u32,
}

impl Eip1559 {
    /// The values of all DuskEVM networks, which are those of most OP chains.
    pub const DEFAULT: Self = Self { elasticity: 6, denominator: 50, denominator_canyon: 250 };
}

/// The part of the configuration that L1 may change while the chain runs, as it is at genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemConfig {
    /// Whose data transactions count.
    pub batcher: Address,
    /// L1 fee overhead of Bedrock; unused since Ecotone.
    pub overhead: B256,
    /// L1 fee scalars in the encoding of the L1 contract; see [`SystemConfig::encode_scalar`].
    pub scalar: B256,
    /// Gas limit of L2 blocks.
    pub gas_limit: u64,
    /// EIP-1559 denominator and elasticity, big-endian u32 each; zero means [`RollupParams::eip1559`].
    pub eip1559_params: B64,
    /// Scalar of the operator fee.
    pub operator_fee_scalar: u32,
    /// Constant part of the operator fee, in wei.
    pub operator_fee_constant: u64,
    /// Least base fee of a block, in wei. Since Jovian.
    pub min_base_fee: u64,
    /// Gas per byte of data-availability footprint; zero means the protocol's default. Since Jovian.
    pub da_footprint_gas_scalar: u16,
}

impl SystemConfig {
    /// The scalar word, version 1: version, zeros, blob base fee scalar, base fee scalar.
    pub fn encode_scalar(base_fee_scalar: u32, blob_base_fee_scalar: u32) -> B256 {
        let mut word = B256::ZERO;
        word[0] = 1;
        word[24..28].copy_from_slice(&blob_base_fee_scalar.to_be_bytes());
        word[28..].copy_from_slice(&base_fee_scalar.to_be_bytes());
        word
    }
}

/// Where the L1 side of the rollup stands, as Ethereum addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1Addresses {
    /// Receiver of batch transactions.
    pub batch_inbox: Address,
    /// The portal, whose logs are deposits.
    pub portal: Address,
    /// The contract whose logs change the system configuration.
    pub system_config: Address,
    /// The contract that announces protocol versions.
    pub protocol_versions: Address,
}

/// Where the other ends of the L2 messenger and bridges stand on L1, as Ethereum addresses.
///
/// Only the first state of L2 holds them: its contracts trust these senders and nobody else. Files like rollup.json do
/// not name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1Bridges {
    /// The L1CrossDomainMessenger. Its deposits come from the alias of this address.
    pub messenger: Address,
    /// The L1StandardBridge.
    pub standard_bridge: Address,
    /// The L1ERC721Bridge.
    pub erc721_bridge: Address,
}

/// Everything about a rollup that does not depend on the hashes of its first blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupParams {
    /// Chain id of L2.
    pub l2_chain_id: u64,
    /// Chain id of L1, as its Ethereum-shaped view shows it.
    pub l1_chain_id: u64,
    /// Seconds between L2 blocks.
    pub block_time: u64,
    /// How far L2 time may run ahead of its L1 origin, in seconds. Dead since Fjord, which fixes 1800.
    pub max_sequencer_drift: u64,
    /// Within how many L1 blocks a batch must appear.
    pub seq_window_size: u64,
    /// For how many L1 blocks a channel stays open. Dead since Granite, which fixes 50.
    pub channel_timeout: u64,
    /// Time of L2 block 0, in seconds since 1970.
    pub l2_time: u64,
    /// When the forks activate.
    pub forks: ForkTimes,
    /// Base fee parameters where the system configuration gives none.
    pub eip1559: Eip1559,
    /// The system configuration at genesis.
    pub system_config: SystemConfig,
    /// The L1 side.
    pub addresses: L1Addresses,
}

impl RollupParams {
    /// Whether a fork is active in block 0.
    pub fn active_at_genesis(&self, fork: Fork) -> bool {
        self.forks.is_active(fork, self.l2_time)
    }

    /// Denominator and elasticity of the first blocks.
    pub(crate) fn initial_eip1559(&self) -> (u32, u32) {
        let params = u64::from_be_bytes(self.system_config.eip1559_params.0);
        if params == 0 {
            (self.eip1559.denominator_canyon, self.eip1559.elasticity)
        } else {
            ((params >> 32) as u32, params as u32)
        }
    }

    /// Checks that a chain can run with these values.
    ///
    /// # Errors
    /// [`GenesisError::InvalidSpec`] names the first value that makes no sense.
    pub fn validate(&self) -> Result<(), GenesisError> {
        let invalid = |field, problem: &str| Err(GenesisError::invalid(field, problem));
        if self.l2_chain_id == 0 {
            return invalid("l2_chain_id", "must not be zero");
        }
        if self.l1_chain_id == 0 || self.l1_chain_id == self.l2_chain_id {
            return invalid("l1_chain_id", "must not be zero and must differ from l2_chain_id");
        }
        if self.block_time == 0 {
            return invalid("block_time", "must be at least one second");
        }
        if self.seq_window_size < 2 {
            return invalid("seq_window_size", "must be at least 2 L1 blocks");
        }
        if self.channel_timeout == 0 {
            return invalid("channel_timeout", "must be at least one L1 block");
        }
        if self.eip1559.elasticity == 0 || self.eip1559.denominator == 0 || self.eip1559.denominator_canyon == 0 {
            return invalid("eip1559", "must not hold zeros");
        }
        let config = &self.system_config;
        if config.gas_limit < MIN_GAS_LIMIT {
            return Err(GenesisError::invalid(
                "system_config.gas_limit",
                format!("is {}, but deposits alone may need {MIN_GAS_LIMIT}", config.gas_limit),
            ));
        }
        if config.batcher.is_zero() {
            return invalid("system_config.batcher", "must not be the zero address");
        }
        let (denominator, elasticity) = self.initial_eip1559();
        if denominator == 0 || elasticity == 0 {
            return invalid("system_config.eip1559_params", "must have both values zero or none");
        }
        if config.scalar[0] > 1 {
            return invalid("system_config.scalar", "has an unknown version; its first byte must be 0 or 1");
        }
        Ok(())
    }
}

/// Where a fee vault pays out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithdrawalNetwork {
    /// To L1, by way of the message passer.
    L1,
    /// On L2.
    L2,
}

/// How a fee vault pays out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// Who receives the fees.
    pub recipient: Address,
    /// The smallest balance that can be withdrawn, in wei.
    pub min_withdrawal_amount: U256,
    /// On which layer.
    pub network: WithdrawalNetwork,
}

/// The four fee vaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeVaults {
    /// Priority fees.
    pub sequencer: VaultConfig,
    /// Base fees.
    pub base: VaultConfig,
    /// L1 data fees.
    pub l1: VaultConfig,
    /// Operator fees.
    pub operator: VaultConfig,
}

impl FeeVaults {
    /// All four with the same configuration.
    pub const fn all(config: VaultConfig) -> Self {
        Self { sequencer: config, base: config, l1: config, operator: config }
    }
}

/// A network, before it has a first block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Name, for people.
    pub name: String,
    /// The rollup configuration.
    pub rollup: RollupParams,
    /// Base fee of block 0, in wei.
    pub base_fee: u64,
    /// Who may upgrade the predeploys.
    pub proxy_admin_owner: Address,
    /// The fee vaults.
    pub vaults: FeeVaults,
    /// The other ends of the messenger and the bridges.
    pub bridges: L1Bridges,
    /// Balances at genesis, in wei.
    pub funded: BTreeMap<Address, U256>,
}

impl NetworkSpec {
    /// Chain id of the local network.
    pub const LOCAL_CHAIN_ID: u64 = 31310;

    /// Chain id of the L1 under the local network. It fits the one byte that Dusk has for chain ids, and no public
    /// Dusk network has it.
    pub const LOCAL_L1_CHAIN_ID: u64 = 250;

    /// The network of a development node: Isthmus at genesis, ten funded accounts, fees payable on L2.
    ///
    /// `l2_time` is the time of block 0 in seconds since 1970.
    ///
    /// # Errors
    /// [`GenesisError::DevAccounts`] if the accounts cannot be derived.
    pub fn local(l2_time: u64) -> Result<Self, GenesisError> {
        let accounts = dev_accounts()?;
        let owner = accounts.owner.address;
        Ok(Self {
            name: "DuskEVM Local".to_owned(),
            rollup: RollupParams {
                l2_chain_id: Self::LOCAL_CHAIN_ID,
                l1_chain_id: Self::LOCAL_L1_CHAIN_ID,
                block_time: 2,
                max_sequencer_drift: 600,
                seq_window_size: 3600,
                channel_timeout: 300,
                l2_time,
                forks: ForkTimes::at_genesis(Fork::Isthmus),
                eip1559: Eip1559::DEFAULT,
                system_config: networks::published_system_config(accounts.batcher.address),
                addresses: networks::local_l1_addresses(),
            },
            base_fee: 1_000_000_000,
            proxy_admin_owner: owner,
            vaults: FeeVaults::all(VaultConfig {
                recipient: owner,
                min_withdrawal_amount: U256::ZERO,
                network: WithdrawalNetwork::L2,
            }),
            bridges: networks::local_l1_bridges(),
            funded: accounts.users.iter().map(|a| (a.address, DEV_ACCOUNT_BALANCE)).collect(),
        })
    }

    /// The network with this name, if this program makes its first block.
    ///
    /// # Errors
    /// [`GenesisError::PublicNetwork`] for networks whose first block is published: read it with
    /// [`L2Genesis::from_json`](crate::L2Genesis::from_json). Otherwise as for [`NetworkSpec::local`].
    pub fn known(network: KnownNetwork, l2_time: u64) -> Result<Self, GenesisError> {
        if network.is_local() {
            Self::local(l2_time)
        } else {
            Err(GenesisError::PublicNetwork { network: network.name(), chain_id: network.chain_id() })
        }
    }

    /// Checks that a chain can start from these values.
    ///
    /// # Errors
    /// [`GenesisError::InvalidSpec`] names the first value that makes no sense; [`GenesisError::PublicNetwork`] if the
    /// chain id belongs to a public network, where a first block of our own could only cause confusion.
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.rollup.validate()?;
        if let Some(known) = KnownNetwork::from_chain_id(self.rollup.l2_chain_id).filter(|n| !n.is_local()) {
            return Err(GenesisError::PublicNetwork { network: known.name(), chain_id: known.chain_id() });
        }
        let invalid = |field, problem: &str| Err(GenesisError::invalid(field, problem));
        if self.base_fee == 0 {
            return invalid("base_fee", "must not be zero: it would stay zero for ever");
        }
        if self.rollup.active_at_genesis(Fork::Jovian) && self.base_fee < self.rollup.system_config.min_base_fee {
            return invalid("base_fee", "must not be below system_config.min_base_fee");
        }
        if self.proxy_admin_owner.is_zero() {
            return invalid("proxy_admin_owner", "must not be the zero address");
        }
        let FeeVaults { sequencer, base, l1, operator } = &self.vaults;
        for (field, vault) in [
            ("vaults.sequencer.recipient", sequencer),
            ("vaults.base.recipient", base),
            ("vaults.l1.recipient", l1),
            ("vaults.operator.recipient", operator),
        ] {
            if vault.recipient.is_zero() {
                return invalid(field, "must not be the zero address");
            }
        }
        let L1Bridges { messenger, standard_bridge, erc721_bridge } = self.bridges;
        for (field, address) in [
            ("bridges.messenger", messenger),
            ("bridges.standard_bridge", standard_bridge),
            ("bridges.erc721_bridge", erc721_bridge),
        ] {
            if address.is_zero() {
                return invalid(field, "must not be the zero address: nobody could bring anything to L2");
            }
        }
        if messenger == standard_bridge || messenger == erc721_bridge || standard_bridge == erc721_bridge {
            return invalid("bridges", "must be three contracts: L2 tells them apart by address");
        }
        Ok(())
    }
}
