//! Which rules hold when: chain id, fork schedule and EIP-1559 constants.

use alloc::{vec, vec::Vec};
use alloy_eips::eip1559::BaseFeeParams;
use alloy_op_evm::spec_by_timestamp_after_bedrock;
use alloy_op_hardforks::{ForkCondition, OpChainHardforks, OpHardfork, OpHardforks};
use op_revm::OpSpecId;

/// Activation times of the OP Stack forks in seconds of L2 block time; `None` is never. Bedrock is always active at block 0.
///
/// Delta is not here: it changes batches, not execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(missing_docs, reason = "the names are those of the forks")]
pub struct ForkTimes {
    pub regolith: Option<u64>,
    pub canyon: Option<u64>,
    pub ecotone: Option<u64>,
    pub fjord: Option<u64>,
    pub granite: Option<u64>,
    pub holocene: Option<u64>,
    pub isthmus: Option<u64>,
    pub jovian: Option<u64>,
}

/// A fork schedule that the rules cannot be told from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkTimesError {
    /// A later fork is scheduled, an earlier one is not, or only after it.
    #[error(
        "fork {later} is scheduled at {later_time}, but {earlier} before it is not active by then: forks follow one another"
    )]
    OutOfOrder {
        /// The later fork.
        later: &'static str,
        /// Its time.
        later_time: u64,
        /// The fork that should have come before.
        earlier: &'static str,
    },
}

impl ForkTimes {
    /// All forks up to Isthmus active at genesis, as on the real DuskEVM networks.
    pub const fn isthmus_at_genesis() -> Self {
        Self {
            regolith: Some(0),
            canyon: Some(0),
            ecotone: Some(0),
            fjord: Some(0),
            granite: Some(0),
            holocene: Some(0),
            isthmus: Some(0),
            jovian: None,
        }
    }

    /// All forks up to Jovian active at genesis.
    pub const fn jovian_at_genesis() -> Self {
        Self { jovian: Some(0), ..Self::isthmus_at_genesis() }
    }

    fn in_order(&self) -> [(OpHardfork, &'static str, Option<u64>); 8] {
        [
            (OpHardfork::Regolith, "regolith", self.regolith),
            (OpHardfork::Canyon, "canyon", self.canyon),
            (OpHardfork::Ecotone, "ecotone", self.ecotone),
            (OpHardfork::Fjord, "fjord", self.fjord),
            (OpHardfork::Granite, "granite", self.granite),
            (OpHardfork::Holocene, "holocene", self.holocene),
            (OpHardfork::Isthmus, "isthmus", self.isthmus),
            (OpHardfork::Jovian, "jovian", self.jovian),
        ]
    }

    /// Checks that forks activate in their order, without gaps.
    ///
    /// # Errors
    /// [`ForkTimesError::OutOfOrder`] names the first pair that does not fit.
    pub fn check(&self) -> Result<(), ForkTimesError> {
        let forks = self.in_order();
        for pair in forks.windows(2) {
            let ((_, earlier, before), (_, later, after)) = (pair[0], pair[1]);
            if let Some(later_time) = after
                && before.is_none_or(|time| time > later_time)
            {
                return Err(ForkTimesError::OutOfOrder { later, later_time, earlier });
            }
        }
        Ok(())
    }

    /// The schedule in the form that the EVM crates take. The list is dense from Bedrock upward: a gap would shift every fork
    /// after it.
    fn to_hardforks(self) -> OpChainHardforks {
        let mut list: Vec<(OpHardfork, ForkCondition)> = vec![(OpHardfork::Bedrock, ForkCondition::Block(0))];
        for (fork, _, time) in self.in_order() {
            list.push((fork, time.map_or(ForkCondition::Never, ForkCondition::Timestamp)));
        }
        OpChainHardforks::new(list)
    }
}

/// EIP-1559 constants of a chain that hold where the block headers do not carry their own (before Holocene).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Eip1559Constants {
    /// Gas target = gas limit / elasticity.
    pub elasticity: u64,
    /// Base-fee change denominator before Canyon.
    pub denominator: u64,
    /// Base-fee change denominator from Canyon on.
    pub canyon_denominator: u64,
}

impl Default for Eip1559Constants {
    /// The published values of DuskEVM: 6, 50, 250.
    fn default() -> Self {
        Self { elasticity: 6, denominator: 50, canyon_denominator: 250 }
    }
}

/// Everything about a chain that execution depends on and that does not change from block to block.
#[derive(Debug, Clone)]
pub struct ChainSpec {
    /// L2 chain id (EIP-155).
    pub chain_id: u64,
    forks: OpChainHardforks,
    times: ForkTimes,
    eip1559: Eip1559Constants,
}

impl ChainSpec {
    /// A chain with this id, schedule and constants.
    ///
    /// # Errors
    /// [`ForkTimesError`] if the schedule is out of order.
    pub fn new(chain_id: u64, times: ForkTimes, eip1559: Eip1559Constants) -> Result<Self, ForkTimesError> {
        times.check()?;
        Ok(Self { chain_id, forks: times.to_hardforks(), times, eip1559 })
    }

    /// The schedule as the EVM crates take it.
    pub const fn hardforks(&self) -> &OpChainHardforks {
        &self.forks
    }

    /// The schedule as it was given.
    pub const fn fork_times(&self) -> &ForkTimes {
        &self.times
    }

    /// The rules that op-revm runs at this L2 time (seconds).
    pub fn spec_id(&self, timestamp: u64) -> OpSpecId {
        spec_by_timestamp_after_bedrock(&self.forks, timestamp)
    }

    /// EIP-1559 parameters of a block at `timestamp` whose parent header carries none.
    pub fn default_base_fee_params(&self, timestamp: u64) -> BaseFeeParams {
        let denominator = if self.forks.is_canyon_active_at_timestamp(timestamp) {
            self.eip1559.canyon_denominator
        } else {
            self.eip1559.denominator
        };
        BaseFeeParams::new(denominator.into(), self.eip1559.elasticity.into())
    }

    /// The parameters that a Holocene header gets when the attributes say zero: always those of Canyon (rollup spec, Holocene).
    pub fn canyon_base_fee_params(&self) -> BaseFeeParams {
        BaseFeeParams::new(self.eip1559.canyon_denominator.into(), self.eip1559.elasticity.into())
    }
}
