//! Topics: one for each form that payloads have had (rollup-node-p2p.md, "Gossip Topics").

use alloy_op_hardforks::OpHardforks;
use duskevm_evm::ChainSpec;

/// The form of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PayloadVersion {
    /// Bedrock: no withdrawals.
    V1,
    /// Canyon: a list of withdrawals, which is empty.
    V2,
    /// Ecotone: blob gas, and the parent beacon block root before the payload.
    V3,
    /// Isthmus and later: the withdrawals root.
    V4,
}

impl PayloadVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V1, Self::V2, Self::V3, Self::V4];

    /// The form of a block with this timestamp (seconds).
    pub fn at(spec: &ChainSpec, timestamp: u64) -> Self {
        let forks = spec.hardforks();
        if forks.is_isthmus_active_at_timestamp(timestamp) {
            Self::V4
        } else if forks.is_ecotone_active_at_timestamp(timestamp) {
            Self::V3
        } else if forks.is_canyon_active_at_timestamp(timestamp) {
            Self::V2
        } else {
            Self::V1
        }
    }

    /// The number in the topic's name.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 0,
            Self::V2 => 1,
            Self::V3 => 2,
            Self::V4 => 3,
        }
    }
}

/// Name of the topic on which a chain's blocks of this form are gossiped.
pub fn topic(chain_id: u64, version: PayloadVersion) -> String {
    format!("/optimism/{chain_id}/{}/blocks", version.number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use duskevm_evm::ForkTimes;

    #[test]
    fn a_topic_names_the_chain_and_the_form() {
        let names = PayloadVersion::ALL.map(|version| topic(745, version));
        assert_eq!(
            names,
            ["/optimism/745/0/blocks", "/optimism/745/1/blocks", "/optimism/745/2/blocks", "/optimism/745/3/blocks"]
        );
    }

    #[test]
    fn the_fork_decides_the_form() {
        let spec = crate::payload::testing::spec(ForkTimes {
            regolith: Some(0),
            canyon: Some(10),
            ecotone: Some(20),
            fjord: Some(25),
            granite: Some(26),
            holocene: Some(27),
            isthmus: Some(30),
            jovian: Some(40),
        });
        let at = |timestamp| PayloadVersion::at(&spec, timestamp);
        assert_eq!(
            [at(9), at(10), at(19), at(20), at(29), at(30), at(40)],
            [
                PayloadVersion::V1,
                PayloadVersion::V2,
                PayloadVersion::V2,
                PayloadVersion::V3,
                PayloadVersion::V3,
                PayloadVersion::V4,
                PayloadVersion::V4
            ]
        );
    }
}
