//! What the tests of this crate share.

pub(crate) mod samples;

use crate::{
    batch::SingularBatch,
    config::{BlockId, RollupConfig, RollupGenesis, SystemConfig},
};
use alloy_consensus::{SignableTransaction, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, Signature, U256};
use duskevm_evm::ForkTimes;

/// A rollup that begins at 0 with everything up to Isthmus.
pub(crate) fn config() -> RollupConfig {
    RollupConfig {
        genesis: RollupGenesis {
            l1: BlockId::default(),
            l2: BlockId::default(),
            l2_time: 0,
            system_config: SystemConfig::default(),
        },
        block_time: 2,
        max_sequencer_drift: 600,
        seq_window_size: 3600,
        l1_chain_id: 3,
        l2_chain_id: 31310,
        forks: ForkTimes::isthmus_at_genesis(),
        delta_time: Some(0),
        batch_inbox_address: Address::ZERO,
        deposit_contract_address: Address::ZERO,
        l1_system_config_address: Address::ZERO,
        eip1559: (6, 50, 250),
    }
}

/// A transaction on another chain.
pub(crate) fn foreign_transaction() -> Bytes {
    let tx = TxLegacy { chain_id: Some(config().l2_chain_id + 1), gas_limit: 21_000, ..Default::default() };
    tx.into_signed(Signature::new(U256::from(1), U256::from(1), false)).encoded_2718().into()
}
