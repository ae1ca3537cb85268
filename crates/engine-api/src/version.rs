//! Which version of a method fits which fork (execution APIs, paris.md, shanghai.md, cancun.md, prague.md; OP Stack, exec-engine.md).
//!
//! Canyon is Shanghai here, Ecotone is Cancun, Isthmus is Prague; Jovian changes no method. Before Canyon two versions fit, V1 and V2
//! with the fields of V1: op-node calls `engine_forkchoiceUpdatedV1` with attributes there and `engine_newPayloadV2`, kona-node
//! `engine_forkchoiceUpdatedV2` and `engine_newPayloadV1`.

use crate::error::EngineError;
use alloy_op_hardforks::OpHardforks as _;
use duskevm_evm::ChainSpec;
use duskevm_unsafe_gossip::PayloadVersion;

/// A version of `engine_newPayload` or `engine_getPayload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PayloadMethod {
    /// Until Canyon.
    V1,
    /// Until Ecotone, also before Canyon.
    V2,
    /// From Ecotone until Isthmus.
    V3,
    /// From Isthmus on.
    V4,
}

impl PayloadMethod {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V1, Self::V2, Self::V3, Self::V4];

    /// The newest version that fits a block with this timestamp (seconds).
    pub fn at(spec: &ChainSpec, timestamp: u64) -> Self {
        match PayloadVersion::at(spec, timestamp) {
            PayloadVersion::V1 | PayloadVersion::V2 => Self::V2,
            PayloadVersion::V3 => Self::V3,
            PayloadVersion::V4 => Self::V4,
        }
    }

    /// `engine_newPayload` of this version.
    pub const fn new_payload(self) -> &'static str {
        match self {
            Self::V1 => "engine_newPayloadV1",
            Self::V2 => "engine_newPayloadV2",
            Self::V3 => "engine_newPayloadV3",
            Self::V4 => "engine_newPayloadV4",
        }
    }

    /// `engine_getPayload` of this version.
    pub const fn get_payload(self) -> &'static str {
        match self {
            Self::V1 => "engine_getPayloadV1",
            Self::V2 => "engine_getPayloadV2",
            Self::V3 => "engine_getPayloadV3",
            Self::V4 => "engine_getPayloadV4",
        }
    }

    /// May `engine_newPayload` of this version be given a block with this timestamp?
    ///
    /// # Errors
    /// [`EngineError::UnsupportedFork`].
    pub fn check_new(self, spec: &ChainSpec, timestamp: u64) -> Result<(), EngineError> {
        self.check(spec, timestamp, Self::new_payload)
    }

    /// May `engine_getPayload` of this version answer with a block with this timestamp?
    ///
    /// # Errors
    /// [`EngineError::UnsupportedFork`].
    pub fn check_get(self, spec: &ChainSpec, timestamp: u64) -> Result<(), EngineError> {
        self.check(spec, timestamp, Self::get_payload)
    }

    fn check(self, spec: &ChainSpec, timestamp: u64, name: fn(Self) -> &'static str) -> Result<(), EngineError> {
        let newest = Self::at(spec, timestamp);
        let is_before_canyon = PayloadVersion::at(spec, timestamp) == PayloadVersion::V1;
        if newest == self || (self == Self::V1 && is_before_canyon) {
            return Ok(());
        }
        Err(EngineError::UnsupportedFork { method: name(self), timestamp, instead: name(newest) })
    }
}

/// A version of `engine_forkchoiceUpdated`. Without attributes any may be called at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForkchoiceMethod {
    /// Attributes of blocks before Canyon.
    V1,
    /// Attributes of blocks before Ecotone, also before Canyon.
    V2,
    /// Attributes of blocks from Ecotone on.
    V3,
}

impl ForkchoiceMethod {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// The newest version that fits attributes with this timestamp (seconds).
    pub fn at(spec: &ChainSpec, timestamp: u64) -> Self {
        if spec.hardforks().is_ecotone_active_at_timestamp(timestamp) { Self::V3 } else { Self::V2 }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "engine_forkchoiceUpdatedV1",
            Self::V2 => "engine_forkchoiceUpdatedV2",
            Self::V3 => "engine_forkchoiceUpdatedV3",
        }
    }

    /// Its number, which is the first byte of the payload ids that it gives, as in op-geth.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// May attributes with this timestamp be given to this version?
    ///
    /// # Errors
    /// [`EngineError::UnsupportedFork`].
    pub fn check(self, spec: &ChainSpec, timestamp: u64) -> Result<(), EngineError> {
        let newest = Self::at(spec, timestamp);
        let is_before_canyon = !spec.hardforks().is_canyon_active_at_timestamp(timestamp);
        if newest == self || (self == Self::V1 && is_before_canyon) {
            return Ok(());
        }
        Err(EngineError::UnsupportedFork { method: self.name(), timestamp, instead: newest.name() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEDROCK, CANYON, ECOTONE, HOLOCENE, ISTHMUS, JOVIAN, spec};
    use duskevm_evm::{Eip1559Constants, ForkTimes};

    #[test]
    fn each_fork_from_canyon_on_has_one_version_of_new_and_get_payload_and_those_before_have_two() {
        use PayloadMethod::{V1, V2, V3, V4};
        let table: [(u64, &[PayloadMethod]); 9] = [
            (BEDROCK, &[V1, V2]),
            (CANYON - 1, &[V1, V2]),
            (CANYON, &[V2]),
            (ECOTONE - 1, &[V2]),
            (ECOTONE, &[V3]),
            (HOLOCENE, &[V3]),
            (ISTHMUS - 1, &[V3]),
            (ISTHMUS, &[V4]),
            (JOVIAN, &[V4]),
        ];
        for (timestamp, fit) in table {
            assert_eq!(fit.last(), Some(&PayloadMethod::at(&spec(), timestamp)));
            for method in PayloadMethod::ALL {
                for checked in [method.check_new(&spec(), timestamp), method.check_get(&spec(), timestamp)] {
                    assert_eq!(checked.is_ok(), fit.contains(&method), "{method:?} at {timestamp}");
                    assert!(checked.err().is_none_or(|error| error.code() == -38005));
                }
            }
        }
    }

    #[test]
    fn attributes_go_to_v1_until_canyon_to_v2_until_ecotone_and_to_v3_from_then_on() {
        use ForkchoiceMethod::{V1, V2, V3};
        let table: [(u64, &[ForkchoiceMethod]); 6] = [
            (BEDROCK, &[V1, V2]),
            (CANYON - 1, &[V1, V2]),
            (CANYON, &[V2]),
            (ECOTONE - 1, &[V2]),
            (ECOTONE, &[V3]),
            (JOVIAN, &[V3]),
        ];
        for (timestamp, fit) in table {
            assert_eq!(fit.last(), Some(&ForkchoiceMethod::at(&spec(), timestamp)));
            for method in ForkchoiceMethod::ALL {
                let checked = method.check(&spec(), timestamp);
                assert_eq!(checked.is_ok(), fit.contains(&method), "{method:?} at {timestamp}");
                assert!(checked.err().is_none_or(|error| error.code() == -38005));
            }
        }
    }

    #[test]
    fn on_a_chain_without_canyon_the_oldest_versions_fit_for_ever() {
        let times = ForkTimes { regolith: Some(0), ..ForkTimes::default() };
        let spec = ChainSpec::new(745, times, Eip1559Constants::default()).unwrap();
        for timestamp in [0, JOVIAN, u64::MAX] {
            assert_eq!(PayloadMethod::V1.check_new(&spec, timestamp), Ok(()));
            assert_eq!(PayloadMethod::V1.check_get(&spec, timestamp), Ok(()));
            assert_eq!(ForkchoiceMethod::V1.check(&spec, timestamp), Ok(()));
        }
    }

    #[test]
    fn the_refusal_names_the_method_to_call() {
        let error = PayloadMethod::V3.check_new(&spec(), ISTHMUS).unwrap_err();
        assert!(error.to_string().ends_with("call engine_newPayloadV4"), "{error}");
        let error = PayloadMethod::V1.check_get(&spec(), CANYON).unwrap_err();
        assert!(error.to_string().ends_with("call engine_getPayloadV2"), "{error}");
        let error = ForkchoiceMethod::V2.check(&spec(), ECOTONE).unwrap_err();
        assert!(error.to_string().ends_with("call engine_forkchoiceUpdatedV3"), "{error}");
        let error = ForkchoiceMethod::V1.check(&spec(), CANYON).unwrap_err();
        assert!(error.to_string().ends_with("call engine_forkchoiceUpdatedV2"), "{error}");
    }
}
