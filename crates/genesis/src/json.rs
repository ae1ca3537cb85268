//! The two files that OP-Stack programs start from: genesis.json and rollup.json.

use std::collections::BTreeMap;

use alloy_genesis::{ChainConfig, Genesis};
use alloy_primitives::{Address, B64, B256, U256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    alloc::GenesisAccount,
    error::GenesisError,
    fork::{Fork, ForkTimes},
    genesis::{GenesisHeader, L2Genesis},
    spec::{Eip1559, L1Addresses, RollupParams, SystemConfig},
};

const GENESIS_FILE: &str = "genesis.json";
const ROLLUP_FILE: &str = "rollup.json";

/// A block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// Its hash.
    pub hash: B256,
    /// Its number.
    pub number: u64,
}

/// The pair of blocks that a rollup begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GenesisAnchor {
    /// The first L1 block that L2 knows of: the origin of L2 block 0.
    pub l1: BlockRef,
    /// L2 block 0.
    pub l2: BlockRef,
}

#[derive(Serialize, Deserialize)]
struct RollupFile {
    genesis: GenesisSection,
    block_time: u64,
    max_sequencer_drift: u64,
    seq_window_size: u64,
    channel_timeout: u64,
    l1_chain_id: u64,
    l2_chain_id: u64,
    batch_inbox_address: Address,
    deposit_contract_address: Address,
    l1_system_config_address: Address,
    #[serde(default)]
    protocol_versions_address: Address,
    #[serde(default)]
    chain_op_config: ChainOpConfig,
    /// Fork times, and whatever other programs write.
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct GenesisSection {
    l1: BlockRef,
    l2: BlockRef,
    l2_time: u64,
    system_config: SystemConfigSection,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SystemConfigSection {
    #[serde(rename = "batcherAddr")]
    batcher: Address,
    overhead: B256,
    scalar: B256,
    gas_limit: u64,
    #[serde(rename = "eip1559Params", default)]
    eip1559_params: B64,
    #[serde(default)]
    operator_fee_params: B256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_base_fee: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    da_footprint_gas_scalar: Option<u16>,
}

#[derive(Serialize, Deserialize)]
struct ChainOpConfig {
    #[serde(rename = "eip1559Elasticity")]
    elasticity: u32,
    #[serde(rename = "eip1559Denominator")]
    denominator: u32,
    #[serde(rename = "eip1559DenominatorCanyon")]
    denominator_canyon: u32,
}

impl From<Eip1559> for ChainOpConfig {
    fn from(Eip1559 { elasticity, denominator, denominator_canyon }: Eip1559) -> Self {
        Self { elasticity, denominator, denominator_canyon }
    }
}

impl From<ChainOpConfig> for Eip1559 {
    fn from(ChainOpConfig { elasticity, denominator, denominator_canyon }: ChainOpConfig) -> Self {
        Self { elasticity, denominator, denominator_canyon }
    }
}

impl Default for ChainOpConfig {
    fn default() -> Self {
        Eip1559::DEFAULT.into()
    }
}

fn bad(file: &'static str, field: impl Into<String>, problem: impl Into<String>) -> GenesisError {
    GenesisError::BadFile { file, field: field.into(), problem: problem.into() }
}

impl RollupParams {
    /// The text of a rollup.json, as op-node and kona read it.
    ///
    /// # Errors
    /// [`GenesisError::Json`] if a value cannot be written.
    pub fn to_rollup_json(&self, anchor: &GenesisAnchor) -> Result<String, GenesisError> {
        let config = &self.system_config;
        let mut operator_fee_params = B256::ZERO;
        operator_fee_params[20..24].copy_from_slice(&config.operator_fee_scalar.to_be_bytes());
        operator_fee_params[24..].copy_from_slice(&config.operator_fee_constant.to_be_bytes());
        // Programs from before Jovian do not know its two keys.
        let jovian = self.forks.time(Fork::Jovian).is_some();
        let file = RollupFile {
            genesis: GenesisSection {
                l1: anchor.l1,
                l2: anchor.l2,
                l2_time: self.l2_time,
                system_config: SystemConfigSection {
                    batcher: config.batcher,
                    overhead: config.overhead,
                    scalar: config.scalar,
                    gas_limit: config.gas_limit,
                    eip1559_params: config.eip1559_params,
                    operator_fee_params,
                    min_base_fee: jovian.then_some(config.min_base_fee),
                    da_footprint_gas_scalar: jovian.then_some(config.da_footprint_gas_scalar),
                },
            },
            block_time: self.block_time,
            max_sequencer_drift: self.max_sequencer_drift,
            seq_window_size: self.seq_window_size,
            channel_timeout: self.channel_timeout,
            l1_chain_id: self.l1_chain_id,
            l2_chain_id: self.l2_chain_id,
            batch_inbox_address: self.addresses.batch_inbox,
            deposit_contract_address: self.addresses.portal,
            l1_system_config_address: self.addresses.system_config,
            protocol_versions_address: self.addresses.protocol_versions,
            chain_op_config: self.eip1559.into(),
            other: self.forks.iter().map(|(fork, time)| (format!("{fork}_time"), time.into())).collect(),
        };
        to_text(ROLLUP_FILE, &file)
    }

    /// Reads a rollup.json.
    ///
    /// # Errors
    /// [`GenesisError::Json`] or [`GenesisError::BadFile`] if the file is damaged, [`GenesisError::UnsupportedFork`],
    /// [`GenesisError::UnknownFork`], [`GenesisError::ForkGap`] or [`GenesisError::ForkOrder`] if this program cannot
    /// follow its forks, and what [`RollupParams::validate`] finds.
    pub fn from_rollup_json(text: &str) -> Result<(Self, GenesisAnchor), GenesisError> {
        let file: RollupFile =
            serde_json::from_str(text).map_err(|source| GenesisError::Json { file: ROLLUP_FILE, source })?;
        let GenesisSection { l1, l2, l2_time, system_config: config } = file.genesis;
        let fee = config.operator_fee_params;
        if fee[..20].iter().any(|b| *b != 0) {
            return Err(bad(ROLLUP_FILE, "operatorFeeParams", "has more than a 4-byte scalar and an 8-byte constant"));
        }
        let params = Self {
            l2_chain_id: file.l2_chain_id,
            l1_chain_id: file.l1_chain_id,
            block_time: file.block_time,
            max_sequencer_drift: file.max_sequencer_drift,
            seq_window_size: file.seq_window_size,
            channel_timeout: file.channel_timeout,
            l2_time,
            forks: fork_times(&file.other)?,
            eip1559: file.chain_op_config.into(),
            system_config: SystemConfig {
                batcher: config.batcher,
                overhead: config.overhead,
                scalar: config.scalar,
                gas_limit: config.gas_limit,
                eip1559_params: config.eip1559_params,
                operator_fee_scalar: u32::from_be_bytes([fee[20], fee[21], fee[22], fee[23]]),
                operator_fee_constant: U256::from_be_slice(&fee[24..]).saturating_to(),
                min_base_fee: config.min_base_fee.unwrap_or_default(),
                da_footprint_gas_scalar: config.da_footprint_gas_scalar.unwrap_or_default(),
            },
            addresses: L1Addresses {
                batch_inbox: file.batch_inbox_address,
                portal: file.deposit_contract_address,
                system_config: file.l1_system_config_address,
                protocol_versions: file.protocol_versions_address,
            },
        };
        params.validate()?;
        Ok((params, GenesisAnchor { l1, l2 }))
    }
}

/// The fork times among the keys of a rollup.json. A key that names a fork must be understood: following a chain
/// without one of its forks means leaving it.
fn fork_times(keys: &BTreeMap<String, Value>) -> Result<ForkTimes, GenesisError> {
    let mut times = Vec::new();
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
        match key.as_str() {
            // Concerns Ethereum test networks as L1.
            "pectra_blob_schedule_time" => {}
            "alt_da" | "plasma_config" => {
                return Err(bad(ROLLUP_FILE, key, "asks for data outside L1, which this program does not read"));
            }
            key => {
                let Some(name) = key.strip_suffix("_time") else { continue };
                let time = value.as_u64().ok_or_else(|| bad(ROLLUP_FILE, key, "is not a time in seconds"))?;
                times.push((name.parse::<Fork>()?, time));
            }
        }
    }
    ForkTimes::new(times)
}

impl L2Genesis {
    /// The text of a genesis.json, as op-geth and op-reth read it.
    ///
    /// # Errors
    /// [`GenesisError::Json`] if a value cannot be written.
    pub fn to_geth_genesis_json(&self) -> Result<String, GenesisError> {
        let header = &self.header;
        let own = header.number == 0 && header.parent_hash.is_zero();
        let genesis = Genesis {
            config: chain_config(&self.rollup),
            nonce: u64::from_be_bytes(header.nonce.0),
            timestamp: header.timestamp,
            extra_data: header.extra_data.clone(),
            gas_limit: header.gas_limit,
            difficulty: header.difficulty,
            mix_hash: header.mix_hash,
            coinbase: header.beneficiary,
            alloc: self.alloc.iter().map(|(address, account)| (*address, account.to_geth())).collect(),
            base_fee_per_gas: Some(header.base_fee.into()),
            excess_blob_gas: header.excess_blob_gas,
            blob_gas_used: header.blob_gas_used,
            number: (!own).then_some(header.number),
            parent_hash: (!own).then_some(header.parent_hash),
            ..Genesis::default()
        };
        to_text(GENESIS_FILE, &genesis)
    }

    /// Reads a genesis.json and the rollup.json that belongs to it.
    ///
    /// The caller computes the hash of block 0 and compares it with the anchor: only then are the files proven to
    /// belong together.
    ///
    /// # Errors
    /// [`GenesisError::Json`] or [`GenesisError::BadFile`] if one is damaged or the two contradict each other, and as
    /// for [`RollupParams::from_rollup_json`].
    pub fn from_json(genesis_json: &str, rollup_json: &str) -> Result<(Self, GenesisAnchor), GenesisError> {
        let (rollup, anchor) = RollupParams::from_rollup_json(rollup_json)?;
        let file: Genesis =
            serde_json::from_str(genesis_json).map_err(|source| GenesisError::Json { file: GENESIS_FILE, source })?;
        check_agreement(&file, &rollup)?;

        let header = GenesisHeader {
            parent_hash: file.parent_hash.unwrap_or_default(),
            number: file.number.unwrap_or_default(),
            timestamp: file.timestamp,
            gas_limit: file.gas_limit,
            // Where the file gives none, Ethereum clients take one gwei.
            base_fee: file
                .base_fee_per_gas
                .unwrap_or(1_000_000_000)
                .try_into()
                .map_err(|_| bad(GENESIS_FILE, "baseFeePerGas", "does not fit 64 bits"))?,
            extra_data: file.extra_data,
            difficulty: file.difficulty,
            nonce: B64::from(file.nonce),
            mix_hash: file.mix_hash,
            beneficiary: file.coinbase,
            ..GenesisHeader::fork_fields(&rollup)
        };
        let alloc = file.alloc.into_iter().map(|(address, account)| (address, GenesisAccount::from_geth(account)));
        Ok((Self { alloc: alloc.collect(), header, rollup }, anchor))
    }
}

/// The two files repeat some values; where they differ, one belongs to another chain.
fn check_agreement(file: &Genesis, rollup: &RollupParams) -> Result<(), GenesisError> {
    let differs = |field: &str, here: String, there: String| {
        Err(bad(
            GENESIS_FILE,
            field,
            format!("is {here}, but {ROLLUP_FILE} says {there}; use files of the same network"),
        ))
    };
    if file.config.chain_id != rollup.l2_chain_id {
        return differs("config.chainId", file.config.chain_id.to_string(), rollup.l2_chain_id.to_string());
    }
    if file.timestamp != rollup.l2_time {
        return differs("timestamp", file.timestamp.to_string(), rollup.l2_time.to_string());
    }
    // Delta changes nothing for an execution client, so genesis files do not have it.
    for fork in Fork::ALL.into_iter().filter(|f| *f != Fork::Delta) {
        let key = format!("{fork}Time");
        let here = file.config.extra_fields.get(&key).filter(|v| !v.is_null());
        let there = rollup.forks.time(fork);
        if here.map(Value::as_u64) != there.map(Some) {
            let show = |v: Option<String>| v.unwrap_or_else(|| "nothing".to_owned());
            return differs(&key, show(here.map(Value::to_string)), show(there.map(|t| t.to_string())));
        }
    }
    Ok(())
}

/// The `config` section: everything of Ethereum up to the merge at once, later forks with their OP names.
fn chain_config(rollup: &RollupParams) -> ChainConfig {
    let mut config = ChainConfig {
        chain_id: rollup.l2_chain_id,
        homestead_block: Some(0),
        eip150_block: Some(0),
        eip155_block: Some(0),
        eip158_block: Some(0),
        byzantium_block: Some(0),
        constantinople_block: Some(0),
        petersburg_block: Some(0),
        istanbul_block: Some(0),
        muir_glacier_block: Some(0),
        berlin_block: Some(0),
        london_block: Some(0),
        arrow_glacier_block: Some(0),
        gray_glacier_block: Some(0),
        merge_netsplit_block: Some(0),
        shanghai_time: rollup.forks.time(Fork::Canyon),
        cancun_time: rollup.forks.time(Fork::Ecotone),
        prague_time: rollup.forks.time(Fork::Isthmus),
        terminal_total_difficulty: Some(U256::ZERO),
        terminal_total_difficulty_passed: true,
        ..ChainConfig::default()
    };
    config.extra_fields.insert("bedrockBlock".to_owned(), 0.into());
    for (fork, time) in rollup.forks.iter().filter(|(fork, _)| *fork != Fork::Delta) {
        config.extra_fields.insert(format!("{fork}Time"), time.into());
    }
    let Eip1559 { elasticity, denominator, denominator_canyon } = rollup.eip1559;
    config.extra_fields.insert(
        "optimism".to_owned(),
        serde_json::json!({
            "eip1559Elasticity": elasticity,
            "eip1559Denominator": denominator,
            "eip1559DenominatorCanyon": denominator_canyon,
        }),
    );
    config
}

impl GenesisAccount {
    fn to_geth(&self) -> alloy_genesis::GenesisAccount {
        alloy_genesis::GenesisAccount {
            nonce: (self.nonce != 0).then_some(self.nonce),
            balance: self.balance,
            code: self.code.clone(),
            storage: (!self.storage.is_empty()).then(|| self.storage.clone()),
            private_key: None,
        }
    }

    fn from_geth(account: alloy_genesis::GenesisAccount) -> Self {
        let mut storage = account.storage.unwrap_or_default();
        storage.retain(|_, value| !value.is_zero());
        Self {
            nonce: account.nonce.unwrap_or_default(),
            balance: account.balance,
            code: account.code.filter(|code| !code.is_empty()),
            storage,
        }
    }
}

pub(crate) fn to_text(file: &'static str, value: &impl Serialize) -> Result<String, GenesisError> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|source| GenesisError::Json { file, source })
}
