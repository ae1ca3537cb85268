//! Values of `rollup.json` that no hash covers.

use super::NetworkError;
use duskevm_dusk_l1::genesis::{Genesis as L1Genesis, MAX_TIMESTAMP};
use duskevm_genesis::{LOCAL_CONTRACTS, evm_address};
use duskevm_rollup::RollupConfig;

/// Longest block time of either layer, in seconds.
const MAX_BLOCK_TIME: u64 = 3_600;

/// What no hash covers: bounds without which time overflows.
pub(super) fn rollup(rollup: &RollupConfig) -> Result<(), NetworkError> {
    same("genesis.l2.number in rollup.json", rollup.genesis.l2.number.to_string(), "0".into())?;
    within("block_time in rollup.json", rollup.block_time, 1, MAX_BLOCK_TIME)?;
    rollup.validate()?;
    within("genesis.l2_time in rollup.json", rollup.genesis.l2_time, 0, MAX_TIMESTAMP)
}

/// What no hash covers: values of `rollup.json` that the files of L1 or this program know too.
pub(super) fn against_l1(rollup: &RollupConfig, l1: &L1Genesis) -> Result<(), NetworkError> {
    same("genesis.l1.number in rollup.json", rollup.genesis.l1.number.to_string(), "0".into())?;
    same("l1_chain_id in rollup.json", rollup.l1_chain_id.to_string(), l1.chain_id.to_string())?;
    for (what, found, contract) in [
        ("deposit_contract_address in rollup.json", rollup.deposit_contract_address, LOCAL_CONTRACTS.portal),
        ("l1_system_config_address in rollup.json", rollup.l1_system_config_address, LOCAL_CONTRACTS.system_config),
        ("batch_inbox_address in rollup.json", rollup.batch_inbox_address, LOCAL_CONTRACTS.batch_inbox),
    ] {
        same(what, found.to_string(), evm_address(contract).to_string())?;
    }
    within("block_time in l1-genesis.json", l1.block_time, 1, MAX_BLOCK_TIME)?;
    within("genesis.l2_time in rollup.json", rollup.genesis.l2_time, l1.timestamp, MAX_TIMESTAMP)
}

fn same(what: &'static str, found: String, expected: String) -> Result<(), NetworkError> {
    if found == expected { Ok(()) } else { Err(NetworkError::Disagree { what, found, expected }) }
}

fn within(what: &'static str, found: u64, least: u64, most: u64) -> Result<(), NetworkError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let expected = format!("between {least} and {most}");
    Err(NetworkError::Disagree { what, found: found.to_string(), expected })
}
