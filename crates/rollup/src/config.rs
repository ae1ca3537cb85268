//! The parameters of a rollup.

use alloy_eips::eip1559::BaseFeeParams;
use alloy_primitives::{Address, B64, B256};
use duskevm_evm::{ForkTimes, ForkTimesError};

/// Maximum sequencer drift in seconds from Fjord on: a constant, whatever the configuration says (rollup spec, Fjord).
pub const FJORD_MAX_SEQUENCER_DRIFT: u64 = 1800;

/// A block named by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct BlockId {
    /// Its hash.
    pub hash: B256,
    /// Its number.
    pub number: u64,
}

/// Where the rollup begins on both layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupGenesis {
    /// The L1 block that the L2 genesis refers to.
    pub l1: BlockId,
    /// The L2 genesis block.
    pub l2: BlockId,
    /// Its timestamp in seconds.
    pub l2_time: u64,
    /// System config in force at genesis.
    pub system_config: SystemConfig,
}

/// Parameters that the owner of the rollup can change on L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SystemConfig {
    /// Whose transactions to the batch inbox count.
    pub batcher_address: Address,
    /// L1 fee overhead; zero from Ecotone on.
    pub overhead: B256,
    /// L1 fee scalars; the first byte is their version: 0 has one scalar, 1 has base-fee and blob-base-fee scalars.
    pub scalar: B256,
    /// L2 block gas limit.
    pub gas_limit: u64,
    /// EIP-1559 denominator and elasticity (u32 each); zero stands for the chain's constants. From Holocene on.
    pub eip1559_params: B64,
    /// Operator fee scalar. From Isthmus on.
    pub operator_fee_scalar: u32,
    /// Operator fee constant in wei. From Isthmus on.
    pub operator_fee_constant: u64,
    /// Lowest base fee in wei. From Jovian on.
    pub min_base_fee: u64,
    /// Gas per byte of DA footprint; 0 stands for 400. From Jovian on.
    pub da_footprint_gas_scalar: u16,
}

impl SystemConfig {
    /// Base-fee scalar and blob-base-fee scalar as Ecotone packs them into [`Self::scalar`]: version 0 has no blob scalar.
    pub fn fee_scalars(&self) -> (u32, u32) {
        let word = self.scalar.as_slice();
        let at = |range: core::ops::Range<usize>| {
            let mut bytes = [0u8; 4];
            bytes.copy_from_slice(&word[range]);
            u32::from_be_bytes(bytes)
        };
        if word[0] == 1 { (at(28..32), at(24..28)) } else { (at(28..32), 0) }
    }

    /// [`Self::scalar`] of version 1 with these two.
    pub fn scalar_v1(base_fee_scalar: u32, blob_base_fee_scalar: u32) -> B256 {
        let mut word = [0u8; 32];
        word[0] = 1;
        word[24..28].copy_from_slice(&blob_base_fee_scalar.to_be_bytes());
        word[28..].copy_from_slice(&base_fee_scalar.to_be_bytes());
        B256::from(word)
    }
}

/// A configuration whose chain these rules cannot make or derive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollupConfigError {
    /// A number that must not be zero.
    #[error("{0} must not be 0")]
    Zero(&'static str),
    /// The fork schedule is out of order.
    #[error(transparent)]
    Forks(#[from] ForkTimesError),
    /// The rules for channels and batches before Holocene are not implemented.
    #[error(
        "{fork} must be active at genesis (time {genesis} or before), not {scheduled}: the derivation rules from before Holocene are not implemented"
    )]
    BeforeHolocene {
        /// Delta or Holocene.
        fork: &'static str,
        /// When L2 begins, seconds.
        genesis: u64,
        /// When the fork is scheduled.
        scheduled: Schedule,
    },
    /// The fork upgrades system contracts by transactions in its first block.
    #[error(
        "{fork} is scheduled at {time}, after genesis ({genesis}): its network-upgrade transactions carry contract bytecode that this node does not have; schedule it at genesis or never"
    )]
    Upgrade {
        /// The fork.
        fork: &'static str,
        /// Its time, seconds.
        time: u64,
        /// When L2 begins, seconds.
        genesis: u64,
    },
    /// An EIP-1559 constant that headers cannot hold.
    #[error("EIP-1559 {0} must be between 1 and 2^32 - 1")]
    Eip1559(&'static str),
}

/// When a fork activates, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule(pub Option<u64>);

impl core::fmt::Display for Schedule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(time) => write!(f, "{time}"),
            None => f.write_str("never"),
        }
    }
}

/// The parameters of a rollup that never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupConfig {
    /// Where it begins.
    pub genesis: RollupGenesis,
    /// Seconds between L2 blocks.
    pub block_time: u64,
    /// Seconds by which L2 time may run ahead of its L1 origin before Fjord.
    pub max_sequencer_drift: u64,
    /// L1 blocks within which a batch must be included.
    pub seq_window_size: u64,
    /// L1 chain id.
    pub l1_chain_id: u64,
    /// L2 chain id.
    pub l2_chain_id: u64,
    /// When the forks of execution activate.
    pub forks: ForkTimes,
    /// When span batches activate.
    pub delta_time: Option<u64>,
    /// Where batches are sent.
    pub batch_inbox_address: Address,
    /// Whose logs are deposits.
    pub deposit_contract_address: Address,
    /// Whose logs change the system config.
    pub l1_system_config_address: Address,
    /// EIP-1559 constants: (elasticity, denominator, denominator from Canyon on).
    pub eip1559: (u64, u64, u64),
}

impl RollupConfig {
    /// Can the chain of this configuration be made and derived by the rules here?
    ///
    /// # Errors
    /// See [`RollupConfigError`]; the message says what to change.
    pub fn validate(&self) -> Result<(), RollupConfigError> {
        for (name, value) in [("block_time", self.block_time), ("seq_window_size", self.seq_window_size)] {
            if value == 0 {
                return Err(RollupConfigError::Zero(name));
            }
        }
        self.forks.check()?;
        let genesis = self.genesis.l2_time;
        for (fork, time) in [("delta", self.delta_time), ("holocene", self.forks.holocene)] {
            if !Self::active(time, genesis) {
                return Err(RollupConfigError::BeforeHolocene { fork, genesis, scheduled: Schedule(time) });
            }
        }
        // Ecotone and Fjord, which also upgrade contracts, are before Holocene and so at genesis.
        for (fork, time) in [("isthmus", self.forks.isthmus), ("jovian", self.forks.jovian)] {
            if let Some(time) = time.filter(|time| *time > genesis) {
                return Err(RollupConfigError::Upgrade { fork, time, genesis });
            }
        }
        let (elasticity, denominator, canyon_denominator) = self.eip1559;
        for (name, value) in [
            ("elasticity", elasticity),
            ("denominator", denominator),
            ("denominator from Canyon on", canyon_denominator),
        ] {
            if u32::try_from(value).map_or(true, |value| value == 0) {
                return Err(RollupConfigError::Eip1559(name));
            }
        }
        Ok(())
    }

    /// Is a fork with this activation time active at `timestamp`?
    pub(crate) fn active(time: Option<u64>, timestamp: u64) -> bool {
        time.is_some_and(|time| timestamp >= time)
    }

    /// Seconds by which L2 may run ahead of an L1 origin with this timestamp.
    pub fn max_sequencer_drift_at(&self, origin_timestamp: u64) -> u64 {
        if Self::active(self.forks.fjord, origin_timestamp) {
            FJORD_MAX_SEQUENCER_DRIFT
        } else {
            self.max_sequencer_drift
        }
    }

    /// Constants for headers that carry none.
    pub fn canyon_base_fee_params(&self) -> BaseFeeParams {
        BaseFeeParams::new(self.eip1559.2.into(), self.eip1559.0.into())
    }

    /// Does the block at `timestamp` activate a fork in which no user transactions may be (Ecotone, Fjord, Isthmus, Jovian)?
    pub fn is_activation_block(&self, timestamp: u64) -> bool {
        [self.forks.ecotone, self.forks.fjord, self.forks.isthmus, self.forks.jovian].into_iter().any(|time| {
            Self::active(time, timestamp)
                && timestamp.checked_sub(self.block_time).is_none_or(|before| !Self::active(time, before))
                && timestamp > self.genesis.l2_time
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn refused(change: impl FnOnce(&mut RollupConfig)) -> RollupConfigError {
        let mut config = testing::config();
        config.genesis.l2_time = 100;
        change(&mut config);
        config.validate().unwrap_err()
    }

    #[test]
    fn forks_at_genesis_or_never_are_fine() {
        let mut config = testing::config();
        assert_eq!(config.validate(), Ok(()));
        config.forks = ForkTimes::jovian_at_genesis();
        assert_eq!(config.validate(), Ok(()));
        (config.forks.jovian, config.forks.isthmus) = (None, None);
        assert_eq!(config.validate(), Ok(()));
        config.genesis.l2_time = 100;
        config.forks.isthmus = Some(100);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn an_upgrade_after_genesis_is_refused_not_left_out() {
        let error = refused(|config| config.forks.jovian = Some(101));
        assert_eq!(error, RollupConfigError::Upgrade { fork: "jovian", time: 101, genesis: 100 });
        let error = refused(|config| config.forks.isthmus = Some(101));
        assert_eq!(error, RollupConfigError::Upgrade { fork: "isthmus", time: 101, genesis: 100 });
    }

    #[test]
    fn a_chain_from_before_holocene_is_refused() {
        let error = refused(|config| (config.forks.holocene, config.forks.isthmus) = (Some(200), None));
        assert!(matches!(error, RollupConfigError::BeforeHolocene { fork: "holocene", .. }), "{error}");
        let error = refused(|config| config.delta_time = None);
        assert!(matches!(error, RollupConfigError::BeforeHolocene { fork: "delta", .. }), "{error}");
        assert!(alloc::string::ToString::to_string(&error).contains("not never"));
    }

    #[test]
    fn numbers_that_nothing_can_be_computed_with_are_refused() {
        assert_eq!(refused(|config| config.block_time = 0), RollupConfigError::Zero("block_time"));
        assert_eq!(refused(|config| config.seq_window_size = 0), RollupConfigError::Zero("seq_window_size"));
        assert_eq!(refused(|config| config.eip1559.0 = 0), RollupConfigError::Eip1559("elasticity"));
        assert_eq!(refused(|config| config.eip1559.1 = 1 << 32), RollupConfigError::Eip1559("denominator"));
        assert!(matches!(refused(|config| config.forks.canyon = None), RollupConfigError::Forks(_)));
    }
}
