//! The description of a Dusk network that this program can run, and its genesis block.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use dusk_core::stake::STAKE_CONTRACT;
use dusk_node_data::ledger::{Block, Header};
use serde::{Deserialize, Serialize};

use crate::keys::AccountId;
use crate::sa::rules::{Rules, StepTimes};
use crate::sha3::sha3_256;
use crate::stakes::{Slashing, Stake, StakeRules};
use crate::state::{Account, MemoryState, Overlay, StateDiff, StateKey, StateRoot};

/// Block gas limit of the published node's default configuration.
pub const DEFAULT_BLOCK_GAS_LIMIT: u64 = 3_000_000_000;

pub use crate::stakes::MINIMUM_STAKE;

/// The last second of the year 9999: what lies beyond is no time, and sums with it could overflow.
pub const MAX_TIMESTAMP: u64 = 253_402_300_799;

/// A genesis description that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// One account or stake is given twice.
    #[error("the L1 genesis lists the {what} of {account} twice: keep one entry")]
    Duplicate {
        /// `account` or `stake`.
        what: &'static str,
        /// Whose.
        account: AccountId,
    },
    /// One value is given twice, or none at all.
    #[error("the L1 genesis has an empty value, or two values, for the key {key} of contract {contract}: keep one")]
    Contract {
        /// The contract.
        contract: B256,
        /// The key.
        key: Bytes,
    },
    /// So many lux that sums of them could overflow.
    #[error("the L1 genesis hands out 2^63 lux or more: lower the balances")]
    SupplyOverflow,
    /// Nobody may produce blocks.
    #[error(
        "the L1 genesis needs a stake of at least {MINIMUM_STAKE} lux that counts from block 1, so that there is a provisioner"
    )]
    NoProvisioner,
    /// A consensus parameter that cannot work.
    #[error("the L1 genesis sets consensus.{name}, which {problem}")]
    Consensus {
        /// Name of the parameter.
        name: &'static str,
        /// What it must be.
        problem: &'static str,
    },
    /// Blocks need a distance in whole seconds.
    #[error("the L1 block time must be at least 1 second")]
    ZeroBlockTime,
    /// Times are added to it.
    #[error("the L1 genesis timestamp {0} is beyond the year 9999: give seconds since 1970")]
    Timestamp(u64),
    /// A block must be able to hold a transaction.
    #[error("the L1 block gas limit must be at least 1000000")]
    BlockGasLimit,
}

/// One funded Moonlight account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Who.
    pub key: AccountId,
    /// Balance in lux.
    pub balance: u64,
}

/// One stake that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisStake {
    /// The provisioner.
    pub key: AccountId,
    /// Staked amount in lux.
    pub amount: u64,
    /// Height from which it counts.
    #[serde(default)]
    pub eligibility: u64,
}

/// One value of a native contract's storage that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisRecord {
    /// Id of the contract.
    pub contract: B256,
    /// Its key.
    pub key: Bytes,
    /// The value, not empty. The contract knows what it means.
    pub value: Bytes,
}

/// How the provisioners of a network agree, and what misbehaviour costs. The defaults suit blocks of ten seconds, as Dusk's.
///
/// The times of the steps are no part of the network's identity: nodes whose values differ vote less well together, but about the
/// same blocks. All others are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusParams {
    /// How long a step lasts before any was measured, in milliseconds.
    pub step_initial_ms: u64,
    /// Shortest step, in milliseconds.
    pub step_min_ms: u64,
    /// Longest step, in milliseconds.
    pub step_max_ms: u64,
    /// By how much a step that timed out lasts longer in the next iteration, in milliseconds.
    pub step_increase_ms: u64,
    /// Blocks of an epoch: the unit of maturity and suspension of stakes.
    pub epoch: u64,
    /// Soft faults since the last reward that have no consequence.
    pub warnings: u8,
    /// Whether hard faults burn stake.
    pub slashing: Slashing,
    /// Least gas that a transaction spends for each of its blobs.
    pub gas_per_blob: u64,
}

impl Default for ConsensusParams {
    /// The published node's values (`dusk-consensus` `config`, `dusk-core` `stake`, the VM configuration of `rusk`), with full
    /// slashing.
    fn default() -> Self {
        let stakes = StakeRules::default();
        Self {
            step_initial_ms: 40_000,
            step_min_ms: 7_000,
            step_max_ms: 40_000,
            step_increase_ms: 2_000,
            epoch: stakes.epoch,
            warnings: stakes.warnings,
            slashing: stakes.slashing,
            gas_per_blob: 1_000_000,
        }
    }
}

impl ConsensusParams {
    /// What the rules on stakes depend on.
    pub fn stake_rules(&self) -> StakeRules {
        StakeRules { epoch: self.epoch, warnings: self.warnings, slashing: self.slashing }
    }

    /// How long the steps of an iteration wait.
    pub fn step_times(&self) -> StepTimes {
        StepTimes {
            initial: Duration::from_millis(self.step_initial_ms),
            min: Duration::from_millis(self.step_min_ms),
            max: Duration::from_millis(self.step_max_ms),
            increase: Duration::from_millis(self.step_increase_ms),
        }
    }

    fn validate(&self) -> Result<(), GenesisError> {
        let wrong = |name, problem| Err(GenesisError::Consensus { name, problem });
        if self.step_min_ms == 0 {
            return wrong("step_min_ms", "must be at least 1");
        }
        if self.step_max_ms < self.step_min_ms || self.step_max_ms > MAX_STEP_MS {
            return wrong("step_max_ms", "must be at least step_min_ms and at most 3600000");
        }
        if !(self.step_min_ms..=self.step_max_ms).contains(&self.step_initial_ms) {
            return wrong("step_initial_ms", "must be between step_min_ms and step_max_ms");
        }
        if self.step_increase_ms > self.step_max_ms {
            return wrong("step_increase_ms", "must be at most step_max_ms");
        }
        if self.epoch == 0 || self.epoch > MAX_EPOCH {
            return wrong("epoch", "must be between 1 and 1000000000 blocks");
        }
        if self.gas_per_blob > MAX_GAS_PER_BLOB {
            return wrong("gas_per_blob", "must be at most 1000000000");
        }
        Ok(())
    }
}

/// An hour: a step that lasts longer is none.
const MAX_STEP_MS: u64 = 3_600_000;

/// Bounds beyond which sums could overflow or nothing would ever happen.
const MAX_EPOCH: u64 = 1_000_000_000;
const MAX_GAS_PER_BLOB: u64 = 1_000_000_000;

/// Everything that defines an embedded Dusk network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Dusk chain id, carried by every transaction.
    pub chain_id: u8,
    /// Timestamp of block 0 in Unix seconds. Block 1 is due one block time later.
    pub timestamp: u64,
    /// Least distance between two blocks in seconds.
    pub block_time: u64,
    /// Gas that one block may spend.
    #[serde(default = "default_gas_limit")]
    pub block_gas_limit: u64,
    /// Receives the Dusk share (one tenth) of every block reward.
    pub treasury: AccountId,
    /// Funded accounts.
    #[serde(default)]
    pub accounts: Vec<GenesisAccount>,
    /// Stakes: every key here can be a provisioner.
    #[serde(default)]
    pub stakes: Vec<GenesisStake>,
    /// What the native contracts begin with. A network without it has none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contracts: Vec<GenesisRecord>,
    /// How the provisioners agree.
    #[serde(default)]
    pub consensus: ConsensusParams,
}

fn default_gas_limit() -> u64 {
    DEFAULT_BLOCK_GAS_LIMIT
}

impl Genesis {
    /// Checks the description as a whole.
    pub fn validate(&self) -> Result<(), GenesisError> {
        if self.block_time == 0 {
            return Err(GenesisError::ZeroBlockTime);
        }
        if self.timestamp > MAX_TIMESTAMP {
            return Err(GenesisError::Timestamp(self.timestamp));
        }
        if self.block_gas_limit < 1_000_000 {
            return Err(GenesisError::BlockGasLimit);
        }
        let mut supply = 0u64;
        let mut seen = BTreeSet::new();
        for account in &self.accounts {
            if !seen.insert(account.key) {
                return Err(GenesisError::Duplicate { what: "account", account: account.key });
            }
            supply = supply.checked_add(account.balance).ok_or(GenesisError::SupplyOverflow)?;
        }
        seen.clear();
        for stake in &self.stakes {
            if !seen.insert(stake.key) {
                return Err(GenesisError::Duplicate { what: "stake", account: stake.key });
            }
            supply = supply.checked_add(stake.amount).ok_or(GenesisError::SupplyOverflow)?;
        }
        if supply >= 1 << 63 {
            return Err(GenesisError::SupplyOverflow);
        }
        let mut keys = BTreeSet::new();
        for GenesisRecord { contract, key, value } in &self.contracts {
            if value.is_empty() || !keys.insert((contract, key)) {
                return Err(GenesisError::Contract { contract: *contract, key: key.clone() });
            }
        }
        self.consensus.validate()?;
        match self.provisioners().next() {
            Some(_) => Ok(()),
            None => Err(GenesisError::NoProvisioner),
        }
    }

    /// Who can make and vote for block 1.
    pub fn provisioners(&self) -> impl Iterator<Item = AccountId> {
        self.stakes.iter().filter(|s| s.amount >= MINIMUM_STAKE && s.eligibility <= 1).map(|s| s.key)
    }

    /// What the consensus of this network goes by.
    pub fn rules(&self) -> Rules {
        Rules::new(self.block_time, self.block_gas_limit).with_times(self.consensus.step_times())
    }

    /// The records of the genesis state.
    pub fn state(&self) -> StateDiff {
        let empty = MemoryState::default();
        let mut overlay = Overlay::new(&empty);
        for account in &self.accounts {
            overlay.set_account(&account.key, Account { nonce: 0, balance: account.balance });
        }
        let mut staked = 0u64;
        for stake in &self.stakes {
            let record = Stake { value: stake.amount, eligibility: stake.eligibility, ..Default::default() };
            overlay.set_stake(&stake.key, record);
            staked = staked.saturating_add(stake.amount);
        }
        // Whoever unstakes is paid by the contract.
        overlay.set_contract_balance(&STAKE_CONTRACT.to_bytes(), staked);
        for GenesisRecord { contract, key, value } in &self.contracts {
            overlay.write(StateKey::ContractStorage(contract.0, key.to_vec()), Some(value.to_vec()));
        }
        overlay.into_diff()
    }

    /// Block 0: version 0, no signature, zero seed, timestamp and state hash of this description.
    pub fn block(&self) -> Block {
        let root = match MemoryState::default().root_with(&self.state()) {
            Ok(root) => root,
            // A state in memory has no way to fail.
            Err(error) => unreachable!("{error}"),
        };
        let header = Header { timestamp: self.timestamp, state_hash: root.0, ..Default::default() };
        match Block::new(header, Vec::new(), Vec::new()) {
            Ok(block) => block,
            // The only failure is that of the writer, and hashing does not fail.
            Err(error) => unreachable!("{error}"),
        }
    }

    /// Identifies the network: binds what the genesis block does not (chain id, block time, gas limit, treasury, and those
    /// consensus parameters that decide which blocks are valid).
    pub fn identity(&self) -> B256 {
        let slashing = match self.consensus.slashing {
            Slashing::Full => 0,
            Slashing::Relaxed => 1,
        };
        sha3_256(&[
            b"duskevm-l1/3",
            &[self.chain_id],
            &self.block_time.to_le_bytes(),
            &self.block_gas_limit.to_le_bytes(),
            self.treasury.as_bytes(),
            &self.consensus.epoch.to_le_bytes(),
            &[self.consensus.warnings, slashing],
            &self.consensus.gas_per_blob.to_le_bytes(),
            &self.block().header().hash,
        ])
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Signer;
    use crate::state::contract_balance;
    use crate::testing;

    #[test]
    fn text_forms_round_trip() {
        let genesis = testing::genesis();
        let json = serde_json::to_string(&genesis).unwrap();
        assert_eq!(serde_json::from_str::<Genesis>(&json).unwrap(), genesis);
        let text = toml::to_string(&genesis).unwrap();
        assert_eq!(toml::from_str::<Genesis>(&text).unwrap(), genesis);
        assert!(toml::from_str::<Genesis>(&format!("colour = 1\n{text}")).is_err());
    }

    #[test]
    fn block_zero() {
        let genesis = testing::genesis();
        let block = genesis.block();
        assert_eq!((block.header().height, block.header().version), (0, 0));
        assert_eq!(block.header().timestamp, genesis.timestamp);
        assert_ne!(block.header().hash, [0; 32]);
        let mut other = genesis.clone();
        other.accounts[0].balance += 1;
        assert_ne!(other.block().header().hash, block.header().hash, "the state is bound by the hash");
        let mut other = genesis.clone();
        other.chain_id += 1;
        assert_eq!(other.block().header().hash, block.header().hash);
        assert_ne!(other.identity(), genesis.identity(), "the chain id is bound by the identity");
    }

    #[test]
    fn contracts_begin_with_their_records() {
        let record = |key: &'static [u8], value: &'static [u8]| GenesisRecord {
            contract: B256::repeat_byte(9),
            key: key.into(),
            value: value.into(),
        };
        let mut genesis = testing::genesis();
        let plain = genesis.block().header().hash;
        genesis.contracts = vec![record(b"a", b"1"), record(b"b", b"2")];
        assert_eq!(genesis.validate(), Ok(()));
        assert_ne!(genesis.block().header().hash, plain, "the genesis block binds them");
        let json = serde_json::to_string(&genesis).unwrap();
        assert_eq!(serde_json::from_str::<Genesis>(&json).unwrap(), genesis);
        let text = toml::to_string(&genesis).unwrap();
        assert_eq!(toml::from_str::<Genesis>(&text).unwrap(), genesis);
        let key = StateKey::ContractStorage([9; 32], b"b".to_vec());
        assert_eq!(genesis.state().get(&key), Some(&Some(b"2".to_vec())));
        for bad in [record(b"a", b"3"), record(b"c", b"")] {
            let mut genesis = genesis.clone();
            genesis.contracts.push(bad);
            assert!(matches!(genesis.validate(), Err(GenesisError::Contract { .. })));
        }
    }

    #[test]
    fn bad_descriptions_are_refused() {
        let good = testing::genesis();
        assert_eq!(good.validate(), Ok(()));
        let change = |f: fn(&mut Genesis)| {
            let mut genesis = good.clone();
            f(&mut genesis);
            genesis.validate().unwrap_err()
        };
        assert_eq!(change(|g| g.block_time = 0), GenesisError::ZeroBlockTime);
        assert_eq!(change(|g| g.timestamp = u64::MAX), GenesisError::Timestamp(u64::MAX));
        assert_eq!(change(|g| g.block_gas_limit = 1), GenesisError::BlockGasLimit);
        assert_eq!(change(|g| g.stakes.clear()), GenesisError::NoProvisioner);
        assert_eq!(change(|g| g.stakes[0].amount = MINIMUM_STAKE - 1), GenesisError::NoProvisioner);
        assert_eq!(change(|g| g.accounts[0].balance = u64::MAX), GenesisError::SupplyOverflow);
        assert!(matches!(
            change(|g| g.accounts.push(g.accounts[0].clone())),
            GenesisError::Duplicate { what: "account", .. }
        ));
        assert_eq!(change(|g| g.accounts[0].balance = 1 << 63), GenesisError::SupplyOverflow);
        let parameter = |f: fn(&mut Genesis)| match change(f) {
            GenesisError::Consensus { name, .. } => name,
            other => panic!("{other}"),
        };
        assert_eq!(parameter(|g| g.consensus.step_min_ms = 0), "step_min_ms");
        assert_eq!(parameter(|g| g.consensus.step_max_ms = 6_999), "step_max_ms");
        assert_eq!(parameter(|g| g.consensus.step_max_ms = 3_600_001), "step_max_ms");
        assert_eq!(parameter(|g| g.consensus.step_initial_ms = 6_999), "step_initial_ms");
        assert_eq!(parameter(|g| g.consensus.step_increase_ms = 40_001), "step_increase_ms");
        assert_eq!(parameter(|g| g.consensus.epoch = 0), "epoch");
        assert_eq!(parameter(|g| g.consensus.gas_per_blob = u64::MAX), "gas_per_blob");
    }

    #[test]
    fn provisioners_are_those_with_stake_enough_and_in_time() {
        let mut genesis = testing::genesis();
        let second = Signer::from_seed(b"second").id();
        genesis.stakes.push(GenesisStake { key: second, amount: MINIMUM_STAKE, eligibility: 0 });
        // Too little, and too late.
        let key = |seed: &[u8]| Signer::from_seed(seed).id();
        genesis.stakes.push(GenesisStake { key: key(b"small"), amount: MINIMUM_STAKE - 1, eligibility: 0 });
        genesis.stakes.push(GenesisStake { key: key(b"late"), amount: MINIMUM_STAKE, eligibility: 2 });
        assert_eq!(genesis.validate(), Ok(()));
        assert_eq!(genesis.provisioners().collect::<Vec<_>>(), [key(b"producer"), second]);
        let mut state = MemoryState::default();
        state.apply(&genesis.state()).unwrap();
        assert_eq!(state.stakes().count(), 4);
        let staked: u64 = genesis.stakes.iter().map(|stake| stake.amount).sum();
        assert_eq!(contract_balance(&state, &STAKE_CONTRACT.to_bytes()).unwrap(), staked);
    }

    #[test]
    fn consensus_parameters_default_and_bind() {
        let genesis = testing::genesis();
        // A description without them, as earlier versions wrote it, reads as the defaults.
        let mut json: serde_json::Value = serde_json::to_value(&genesis).unwrap();
        json.as_object_mut().unwrap().remove("consensus").unwrap();
        assert_eq!(serde_json::from_value::<Genesis>(json.clone()).unwrap(), genesis);
        json["consensus"] = serde_json::json!({ "slashing": "relaxed", "epoch": 10 });
        let other: Genesis = serde_json::from_value(json.clone()).unwrap();
        let expected = ConsensusParams { slashing: Slashing::Relaxed, epoch: 10, ..ConsensusParams::default() };
        assert_eq!(other.consensus, expected);
        json["consensus"] = serde_json::json!({ "colour": 1 });
        assert!(serde_json::from_value::<Genesis>(json).is_err());

        let with = |f: fn(&mut ConsensusParams)| {
            let mut other = genesis.clone();
            f(&mut other.consensus);
            other.identity()
        };
        let rules: [fn(&mut ConsensusParams); 4] =
            [|c| c.epoch = 10, |c| c.warnings = 2, |c| c.slashing = Slashing::Relaxed, |c| c.gas_per_blob = 5];
        for change in rules {
            assert_ne!(with(change), genesis.identity());
        }
        assert_eq!(with(|c| c.step_min_ms = 500), genesis.identity(), "times cost votes, not agreement");
        assert_eq!(genesis.rules(), Rules::new(genesis.block_time, genesis.block_gas_limit), "published by default");
        let mut fast = genesis.clone();
        fast.consensus.step_min_ms = 500;
        assert_eq!(fast.rules().times, StepTimes { min: Duration::from_millis(500), ..StepTimes::published() });
    }
}
