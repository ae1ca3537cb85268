//! Which version of a method fits which fork (execution APIs, shanghai.md, cancun.md, prague.md; OP Stack, exec-engine.md).
//!
//! Canyon is Shanghai here, Ecotone is Cancun, Isthmus is Prague; Jovian changes no method.

use crate::error::EngineError;
use alloy_op_hardforks::OpHardforks as _;
use duskevm_evm::ChainSpec;
use duskevm_unsafe_gossip::PayloadVersion;

/// A version of `engine_newPayload` or `engine_getPayload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PayloadMethod {
    /// Until Ecotone.
    V2,
    /// From Ecotone until Isthmus.
    V3,
    /// From Isthmus on.
    V4,
}

impl PayloadMethod {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V2, Self::V3, Self::V4];

    /// The version for a block with this timestamp (seconds).
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
            Self::V2 => "engine_newPayloadV2",
            Self::V3 => "engine_newPayloadV3",
            Self::V4 => "engine_newPayloadV4",
        }
    }

    /// `engine_getPayload` of this version.
    pub const fn get_payload(self) -> &'static str {
        match self {
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
        let fits = Self::at(spec, timestamp);
        if fits == self {
            return Ok(());
        }
        Err(EngineError::UnsupportedFork { method: name(self), timestamp, instead: name(fits) })
    }
}

/// A version of `engine_forkchoiceUpdated`. Without attributes either may be called at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForkchoiceMethod {
    /// Attributes of blocks before Ecotone.
    V2,
    /// Attributes of blocks from Ecotone on.
    V3,
}

impl ForkchoiceMethod {
    /// Both, older first.
    pub const ALL: [Self; 2] = [Self::V2, Self::V3];

    /// The version for attributes with this timestamp (seconds).
    pub fn at(spec: &ChainSpec, timestamp: u64) -> Self {
        if spec.hardforks().is_ecotone_active_at_timestamp(timestamp) { Self::V3 } else { Self::V2 }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "engine_forkchoiceUpdatedV2",
            Self::V3 => "engine_forkchoiceUpdatedV3",
        }
    }

    /// Its number, which is the first byte of the payload ids that it gives, as in op-geth.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// May attributes with this timestamp be given to this version?
    ///
    /// # Errors
    /// [`EngineError::UnsupportedFork`].
    pub fn check(self, spec: &ChainSpec, timestamp: u64) -> Result<(), EngineError> {
        let fits = Self::at(spec, timestamp);
        if fits == self {
            return Ok(());
        }
        Err(EngineError::UnsupportedFork { method: self.name(), timestamp, instead: fits.name() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEDROCK, CANYON, ECOTONE, HOLOCENE, ISTHMUS, JOVIAN, spec};

    #[test]
    fn each_fork_has_one_version_of_new_and_get_payload() {
        let table = [
            (BEDROCK, PayloadMethod::V2),
            (CANYON, PayloadMethod::V2),
            (ECOTONE - 1, PayloadMethod::V2),
            (ECOTONE, PayloadMethod::V3),
            (HOLOCENE, PayloadMethod::V3),
            (ISTHMUS - 1, PayloadMethod::V3),
            (ISTHMUS, PayloadMethod::V4),
            (JOVIAN, PayloadMethod::V4),
        ];
        for (timestamp, fits) in table {
            for method in PayloadMethod::ALL {
                for checked in [method.check_new(&spec(), timestamp), method.check_get(&spec(), timestamp)] {
                    assert_eq!(checked.is_ok(), method == fits, "{method:?} at {timestamp}");
                    assert!(checked.err().is_none_or(|error| error.code() == -38005));
                }
            }
        }
    }

    #[test]
    fn attributes_go_to_v2_until_ecotone_and_to_v3_from_then_on() {
        for (timestamp, fits) in [
            (CANYON, ForkchoiceMethod::V2),
            (ECOTONE - 1, ForkchoiceMethod::V2),
            (ECOTONE, ForkchoiceMethod::V3),
            (JOVIAN, ForkchoiceMethod::V3),
        ] {
            for method in ForkchoiceMethod::ALL {
                assert_eq!(method.check(&spec(), timestamp).is_ok(), method == fits);
            }
        }
    }

    #[test]
    fn the_refusal_names_the_method_to_call() {
        let error = PayloadMethod::V3.check_new(&spec(), ISTHMUS).unwrap_err();
        assert!(error.to_string().ends_with("call engine_newPayloadV4"), "{error}");
        let error = ForkchoiceMethod::V2.check(&spec(), ECOTONE).unwrap_err();
        assert!(error.to_string().ends_with("call engine_forkchoiceUpdatedV3"), "{error}");
    }
}
