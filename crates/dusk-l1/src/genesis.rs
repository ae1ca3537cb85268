//! The description of a Dusk network that this program can run, and its genesis block.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use dusk_node_data::ledger::{Block, Header};
use serde::{Deserialize, Serialize};

use crate::keys::AccountId;
use crate::sha3::sha3_256;
use crate::state::{Account, MemoryState, Overlay, Stake, StateDiff, StateRoot};

/// Block gas limit of the published node's default configuration.
pub const DEFAULT_BLOCK_GAS_LIMIT: u64 = 3_000_000_000;

/// Smallest stake that counts: 1000 DUSK in lux.
pub const MINIMUM_STAKE: u64 = dusk_core::stake::DEFAULT_MINIMUM_STAKE;

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
    /// More lux than a 64-bit integer counts.
    #[error("the L1 genesis hands out more than 2^64 lux: lower the balances")]
    SupplyOverflow,
    /// Nobody may produce blocks.
    #[error("the L1 genesis needs a stake of at least {MINIMUM_STAKE} lux, so that there is a block producer")]
    NoProvisioner,
    /// The single-producer chain serves exactly one.
    #[error("the embedded L1 runs with one block producer, but the genesis lists {0} stakes of sufficient size")]
    ManyProvisioners(usize),
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
    /// Stakes.
    #[serde(default)]
    pub stakes: Vec<GenesisStake>,
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
        self.producer().map(|_| ())
    }

    /// The one provisioner that produces every block.
    pub fn producer(&self) -> Result<AccountId, GenesisError> {
        let able: Vec<_> = self.stakes.iter().filter(|s| s.amount >= MINIMUM_STAKE && s.eligibility <= 1).collect();
        match able[..] {
            [only] => Ok(only.key),
            [] => Err(GenesisError::NoProvisioner),
            _ => Err(GenesisError::ManyProvisioners(able.len())),
        }
    }

    /// The records of the genesis state.
    pub fn state(&self) -> StateDiff {
        let empty = MemoryState::default();
        let mut overlay = Overlay::new(&empty);
        for account in &self.accounts {
            overlay.set_account(&account.key, Account { nonce: 0, balance: account.balance });
        }
        for stake in &self.stakes {
            let record = Stake { value: stake.amount, eligibility: stake.eligibility, ..Default::default() };
            overlay.set_stake(&stake.key, record);
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

    /// Identifies the network: binds what the genesis block does not (chain id, block time, gas limit, treasury).
    pub fn identity(&self) -> B256 {
        sha3_256(&[
            b"duskevm-l1/1",
            &[self.chain_id],
            &self.block_time.to_le_bytes(),
            &self.block_gas_limit.to_le_bytes(),
            self.treasury.as_bytes(),
            &self.block().header().hash,
        ])
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Signer;
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
        assert_eq!(
            change(|g| g.stakes.push(GenesisStake {
                key: Signer::from_seed(b"second").id(),
                amount: MINIMUM_STAKE,
                eligibility: 0
            })),
            GenesisError::ManyProvisioners(2)
        );
    }
}
