//! Payload attributes of the next L2 block, without the user transactions.

use crate::{
    config::{RollupConfig, SystemConfig},
    l1_info::{L1Info, L1InfoFork},
    origin::OriginChoice,
};
use alloc::{sync::Arc, vec, vec::Vec};
use alloy_consensus::Header;
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::{B64, B256, U256};
use duskevm_evm::{BlockAttributes, RecoveredTx, header::SEQUENCER_FEE_VAULT};

/// What the attributes take from the L1 origin.
#[derive(Debug, Clone)]
pub struct OriginBlock {
    /// Its header in the L1 view.
    pub header: Header,
    /// Its hash.
    pub hash: B256,
    /// The user deposits in it, in order of their logs.
    pub deposits: Vec<Arc<RecoveredTx>>,
}

/// Why no attributes can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// The header given is not that of the chosen origin.
    #[error("the header of L1 block {found} was given for origin {expected}")]
    WrongOrigin {
        /// The chosen origin.
        expected: B256,
        /// The block given.
        found: B256,
    },
}

/// The attributes of the L2 block at `timestamp` with this origin: the L1-attributes deposit, then the user deposits if the block is
/// the first of its origin. Source: derivation.md, "Building individual payload attributes".
///
/// # Errors
/// If `origin` is not the block that was chosen.
pub fn epoch_attributes(
    config: &RollupConfig,
    system: &SystemConfig,
    timestamp: u64,
    choice: &OriginChoice,
    origin: &OriginBlock,
) -> Result<BlockAttributes, AttributesError> {
    if origin.hash != choice.origin.hash {
        return Err(AttributesError::WrongOrigin { expected: choice.origin.hash, found: origin.hash });
    }
    let active = |time| RollupConfig::active(time, timestamp);
    let forks = &config.forks;
    let info = L1Info::new(
        L1InfoFork::at(config, timestamp),
        system,
        origin.header.number,
        origin.header.timestamp,
        U256::from(origin.header.base_fee_per_gas.unwrap_or_default()),
        blob_base_fee(&origin.header),
        origin.hash,
        choice.sequence_number,
    );
    let mut transactions = vec![Arc::new(RecoveredTx::deposit(info.deposit(active(forks.regolith))))];
    if choice.sequence_number == 0 {
        transactions.extend(origin.deposits.iter().cloned());
    }
    Ok(BlockAttributes {
        timestamp,
        prev_randao: origin.header.mix_hash,
        fee_recipient: SEQUENCER_FEE_VAULT,
        parent_beacon_block_root: active(forks.ecotone)
            .then(|| origin.header.parent_beacon_block_root.unwrap_or(B256::ZERO)),
        gas_limit: system.gas_limit,
        eip1559_params: active(forks.holocene).then_some(if activates(config, forks.holocene, timestamp) {
            B64::ZERO
        } else {
            system.eip1559_params
        }),
        min_base_fee: active(forks.jovian).then_some(system.min_base_fee),
        transactions,
    })
}

/// Is the block at `timestamp` the first one of a fork that was not active at genesis?
fn activates(config: &RollupConfig, time: Option<u64>, timestamp: u64) -> bool {
    RollupConfig::active(time, timestamp)
        && timestamp > config.genesis.l2_time
        && timestamp.checked_sub(config.block_time).is_some_and(|before| !RollupConfig::active(time, before))
}

/// Blob base fee of the L1 origin in wei; 1 if its header knows no blobs.
fn blob_base_fee(header: &Header) -> U256 {
    U256::from(header.blob_fee(BlobParams::cancun()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        L1BlockRef,
        config::{BlockId, RollupGenesis},
    };
    use alloy_primitives::Address;
    use duskevm_evm::ForkTimes;

    fn config(forks: ForkTimes) -> RollupConfig {
        RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId::default(),
                l2: BlockId::default(),
                l2_time: 10,
                system_config: SystemConfig::default(),
            },
            block_time: 2,
            max_sequencer_drift: 600,
            seq_window_size: 3600,
            l1_chain_id: 3,
            l2_chain_id: 31310,
            forks,
            delta_time: Some(0),
            batch_inbox_address: Address::ZERO,
            deposit_contract_address: Address::ZERO,
            l1_system_config_address: Address::ZERO,
            eip1559: (6, 50, 250),
        }
    }

    fn origin() -> (OriginChoice, OriginBlock) {
        let header = Header {
            number: 3,
            timestamp: 9,
            base_fee_per_gas: Some(7),
            mix_hash: B256::repeat_byte(5),
            ..Default::default()
        };
        let hash = header.hash_slow();
        let reference = L1BlockRef { hash, number: 3, parent_hash: B256::ZERO, timestamp: 9 };
        (
            OriginChoice { origin: reference, sequence_number: 0, no_user_transactions: false },
            OriginBlock { header, hash, deposits: Vec::new() },
        )
    }

    #[test]
    fn fields_come_with_their_forks() {
        let (choice, block) = origin();
        let system = SystemConfig { gas_limit: 60_000_000, ..Default::default() };
        let isthmus = epoch_attributes(&config(ForkTimes::isthmus_at_genesis()), &system, 12, &choice, &block).unwrap();
        assert_eq!((isthmus.eip1559_params, isthmus.min_base_fee), (Some(B64::ZERO), None));
        assert_eq!(isthmus.parent_beacon_block_root, Some(B256::ZERO));
        assert_eq!((isthmus.prev_randao, isthmus.gas_limit), (B256::repeat_byte(5), 60_000_000));
        let first = isthmus.transactions[0].envelope();
        let info = L1Info::decode(&first.as_deposit().unwrap().input).unwrap();
        assert_eq!((info.fork, info.blob_base_fee), (L1InfoFork::Isthmus, U256::from(1)));

        let bedrock = epoch_attributes(&config(ForkTimes::default()), &system, 12, &choice, &block).unwrap();
        assert_eq!((bedrock.eip1559_params, bedrock.parent_beacon_block_root), (None, None));
        assert!(bedrock.transactions[0].envelope().is_system_transaction());
    }

    #[test]
    fn the_block_that_activates_a_fork_speaks_the_encoding_before() {
        let (choice, block) = origin();
        let system = SystemConfig { eip1559_params: B64::repeat_byte(1), ..Default::default() };
        let forks = ForkTimes { holocene: Some(14), isthmus: Some(14), ..ForkTimes::isthmus_at_genesis() };
        let at = |time| {
            let made = epoch_attributes(&config(forks), &system, time, &choice, &block).unwrap();
            let input = made.transactions[0].envelope().as_deposit().unwrap().input.clone();
            (L1Info::decode(&input).unwrap().fork, made.eip1559_params)
        };
        assert_eq!(at(12), (L1InfoFork::Ecotone, None));
        assert_eq!(at(14), (L1InfoFork::Ecotone, Some(B64::ZERO)));
        assert_eq!(at(16), (L1InfoFork::Isthmus, Some(B64::repeat_byte(1))));
    }

    #[test]
    fn another_blocks_header_is_refused() {
        let (choice, mut block) = origin();
        block.hash = B256::ZERO;
        let made = epoch_attributes(&config(ForkTimes::default()), &SystemConfig::default(), 12, &choice, &block);
        assert!(matches!(made, Err(AttributesError::WrongOrigin { .. })));
    }
}
