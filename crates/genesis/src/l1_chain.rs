//! The chain configuration of the L1 view, as programs of the OP Stack want it for an L1 that they do not know by name
//! (op-node's `--rollup.l1-chain-config`).

use std::collections::BTreeMap;

use alloy_eips::eip7840::BlobParams;
use alloy_genesis::ChainConfig;
use alloy_primitives::U256;

use crate::{error::GenesisError, json::to_text};

/// Name of the file.
const L1_CHAIN_FILE: &str = "l1-chain-config.json";

/// The text of an l1-chain-config.json for an L1 view with this chain id.
///
/// The view's headers are those of Cancun from block 0 on and have nothing of a later fork (`crates/l1-view`), and so says the
/// configuration: no Prague. The blob base fee that L2 is told follows from the excess blob gas and the schedule (EIP-4844, EIP-7840).
///
/// # Errors
/// [`GenesisError::Json`] if it cannot be written.
pub fn l1_chain_config_json(chain_id: u64) -> Result<String, GenesisError> {
    let config = ChainConfig {
        chain_id,
        homestead_block: Some(0),
        eip150_block: Some(0),
        eip155_block: Some(0),
        eip158_block: Some(0),
        byzantium_block: Some(0),
        constantinople_block: Some(0),
        petersburg_block: Some(0),
        istanbul_block: Some(0),
        berlin_block: Some(0),
        london_block: Some(0),
        merge_netsplit_block: Some(0),
        shanghai_time: Some(0),
        cancun_time: Some(0),
        terminal_total_difficulty: Some(U256::ZERO),
        terminal_total_difficulty_passed: true,
        blob_schedule: BTreeMap::from([("cancun".to_owned(), BlobParams::cancun())]),
        ..ChainConfig::default()
    };
    to_text(L1_CHAIN_FILE, &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_l1_view_is_a_chain_of_cancun() {
        let text = l1_chain_config_json(3).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["chainId"], 3);
        assert_eq!((&config["shanghaiTime"], &config["cancunTime"]), (&0.into(), &0.into()));
        // A program that took the headers for later ones would look for a requests hash in them.
        assert!(config.get("pragueTime").is_none() && config.get("osakaTime").is_none());
        let schedule = serde_json::json!({ "cancun": { "target": 3, "max": 6, "baseFeeUpdateFraction": 3_338_477 } });
        assert_eq!(config["blobSchedule"], schedule);
        assert_eq!(config["terminalTotalDifficulty"], 0);
        let read: ChainConfig = serde_json::from_str(&text).unwrap();
        assert_eq!((read.chain_id, read.cancun_time, read.prague_time), (3, Some(0), None));
    }
}
