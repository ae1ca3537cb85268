//! Payload attributes of the next L2 block, without the user transactions.

use crate::{
    config::{RollupConfig, SystemConfig},
    config_update::ConfigUpdates,
    deposit::{DepositError, user_deposits},
    l1_info::{L1Info, L1InfoFork},
    origin::{L1BlockRef, OriginChoice},
};
use alloc::{sync::Arc, vec, vec::Vec};
use alloy_consensus::{Header, ReceiptEnvelope, Sealed};
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
    /// The user deposits in it, in order of their logs; or why no L2 block can begin its epoch.
    pub deposits: Result<Vec<Arc<RecoveredTx>>, DepositError>,
    /// What it changes in the system config.
    pub updates: ConfigUpdates,
}

impl OriginBlock {
    /// Reads an L1 block with its receipts.
    pub fn read(config: &RollupConfig, header: &Sealed<Header>, receipts: &[ReceiptEnvelope]) -> Self {
        let hash = header.hash();
        Self {
            header: header.inner().clone(),
            hash,
            deposits: user_deposits(config.deposit_contract_address, hash, receipts),
            updates: ConfigUpdates::of_receipts(config.l1_system_config_address, receipts),
        }
    }

    /// The block as the rollup refers to it.
    pub fn block_ref(&self) -> L1BlockRef {
        L1BlockRef {
            hash: self.hash,
            number: self.header.number,
            parent_hash: self.header.parent_hash,
            timestamp: self.header.timestamp,
        }
    }

    /// Changes `system` as the logs of this block say.
    pub fn update_system_config(&self, config: &RollupConfig, system: &mut SystemConfig) {
        self.updates.apply_to(system, RollupConfig::active(config.forks.ecotone, self.header.timestamp));
    }
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
    /// The origin has a deposit that is none.
    #[error(transparent)]
    Deposit(#[from] DepositError),
}

/// The attributes of the L2 block at `timestamp` with this origin: the L1-attributes deposit, then the user deposits if the block is
/// the first of its origin. Source: derivation.md, "Building individual payload attributes".
///
/// `parent` is the system config that the parent block was built under. The first block of an origin is built under the one that the
/// logs of the origin make of it. No network upgrade has transactions here: [`RollupConfig::validate`] refuses to schedule one.
///
/// # Errors
/// If `origin` is not the block that was chosen, or if the block is the first of an origin with a malformed deposit.
pub fn epoch_attributes(
    config: &RollupConfig,
    parent: &SystemConfig,
    timestamp: u64,
    choice: &OriginChoice,
    origin: &OriginBlock,
) -> Result<BlockAttributes, AttributesError> {
    if origin.hash != choice.origin.hash {
        return Err(AttributesError::WrongOrigin { expected: choice.origin.hash, found: origin.hash });
    }
    let active = |time| RollupConfig::active(time, timestamp);
    let forks = &config.forks;
    let mut system = *parent;
    let first = choice.sequence_number == 0;
    if first {
        origin.update_system_config(config, &mut system);
    }
    let info = L1Info::new(
        L1InfoFork::at(config, timestamp),
        &system,
        origin.header.number,
        origin.header.timestamp,
        U256::from(origin.header.base_fee_per_gas.unwrap_or_default()),
        blob_base_fee(&origin.header),
        origin.hash,
        choice.sequence_number,
    );
    let mut transactions = vec![Arc::new(RecoveredTx::deposit(info.deposit(active(forks.regolith))))];
    if first {
        transactions.extend_from_slice(origin.deposits.as_deref().map_err(|error| *error)?);
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

/// Blob base fee of the L1 origin in wei; 1 if its header knows no blobs. The view of Dusk has Cancun's headers, and no excess.
fn blob_base_fee(header: &Header) -> U256 {
    U256::from(header.blob_fee(BlobParams::cancun()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config_update::ConfigUpdate,
        deposit::{DepositFault, TRANSACTION_DEPOSITED, encode_deposit_log},
        testing,
    };
    use alloy_consensus::{Receipt, ReceiptWithBloom, Sealable};
    use alloy_primitives::{Address, Bytes, Log};
    use duskevm_evm::ForkTimes;
    use op_alloy_consensus::TxDeposit;

    const PORTAL: Address = Address::repeat_byte(0x70);
    const SYSTEM: Address = Address::repeat_byte(0x73);

    fn config(forks: ForkTimes) -> RollupConfig {
        let mut config = testing::config();
        config.genesis.l2_time = 10;
        config.forks = forks;
        config.deposit_contract_address = PORTAL;
        config.l1_system_config_address = SYSTEM;
        config
    }

    fn origin_with(config: &RollupConfig, logs: Vec<Log>) -> (OriginChoice, OriginBlock) {
        let header = Header {
            number: 3,
            timestamp: 9,
            base_fee_per_gas: Some(7),
            mix_hash: B256::repeat_byte(5),
            ..Default::default()
        };
        let receipt = Receipt { status: true.into(), cumulative_gas_used: 0, logs };
        let receipt = ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(receipt));
        let block = OriginBlock::read(config, &header.seal_slow(), &[receipt]);
        (OriginChoice { origin: block.block_ref(), sequence_number: 0, no_user_transactions: false }, block)
    }

    fn origin() -> (OriginChoice, OriginBlock) {
        origin_with(&config(ForkTimes::default()), Vec::new())
    }

    fn info(attributes: &BlockAttributes) -> L1Info {
        L1Info::decode(&attributes.transactions[0].envelope().as_deposit().unwrap().input).unwrap()
    }

    #[test]
    fn fields_come_with_their_forks() {
        let (choice, block) = origin();
        let system = SystemConfig { gas_limit: 60_000_000, ..Default::default() };
        let isthmus = epoch_attributes(&config(ForkTimes::isthmus_at_genesis()), &system, 12, &choice, &block).unwrap();
        assert_eq!((isthmus.eip1559_params, isthmus.min_base_fee), (Some(B64::ZERO), None));
        assert_eq!(isthmus.parent_beacon_block_root, Some(B256::ZERO));
        assert_eq!((isthmus.prev_randao, isthmus.gas_limit), (B256::repeat_byte(5), 60_000_000));
        assert_eq!((info(&isthmus).fork, info(&isthmus).blob_base_fee), (L1InfoFork::Isthmus, U256::from(1)));

        let jovian = epoch_attributes(&config(ForkTimes::jovian_at_genesis()), &system, 12, &choice, &block).unwrap();
        assert_eq!((jovian.min_base_fee, info(&jovian).fork), (Some(0), L1InfoFork::Jovian));

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
            (info(&made).fork, made.eip1559_params)
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

    #[test]
    fn deposits_and_config_updates_come_with_the_first_block_of_their_origin_only() {
        let config = config(ForkTimes::isthmus_at_genesis());
        let deposit = TxDeposit { from: Address::repeat_byte(1), gas_limit: 21_000, ..Default::default() };
        let logs = alloc::vec![
            encode_deposit_log(PORTAL, &deposit),
            ConfigUpdate::GasLimit(20_000_000).encode(SYSTEM),
            ConfigUpdate::Batcher(Address::repeat_byte(9)).encode(SYSTEM),
        ];
        let (mut choice, block) = origin_with(&config, logs);
        let parent = SystemConfig { gas_limit: 30_000_000, ..Default::default() };
        let first = epoch_attributes(&config, &parent, 12, &choice, &block).unwrap();
        assert_eq!((first.transactions.len(), first.gas_limit), (2, 20_000_000));
        assert_eq!(first.transactions[1].sender(), deposit.from);
        assert_eq!(info(&first).batcher, Address::repeat_byte(9));
        choice.sequence_number = 1;
        let second = epoch_attributes(&config, &parent, 14, &choice, &block).unwrap();
        assert_eq!((second.transactions.len(), second.gas_limit), (1, 30_000_000));
    }

    #[test]
    fn a_malformed_deposit_stops_the_first_block_of_its_origin() {
        let config = config(ForkTimes::isthmus_at_genesis());
        let broken = Log::new_unchecked(PORTAL, alloc::vec![TRANSACTION_DEPOSITED], Bytes::new());
        let (mut choice, block) = origin_with(&config, alloc::vec![broken]);
        let error = epoch_attributes(&config, &SystemConfig::default(), 12, &choice, &block).unwrap_err();
        assert!(matches!(error, AttributesError::Deposit(DepositError { reason: DepositFault::Topics(1), .. })));
        choice.sequence_number = 1;
        assert!(epoch_attributes(&config, &SystemConfig::default(), 14, &choice, &block).is_ok());
    }
}
