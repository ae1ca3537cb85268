//! Consolidation: is an unsafe block the one that L1 has? Source: derivation.md, "Engine queue: L1-consolidation".

use crate::derive::DerivedAttributes;
use alloc::sync::Arc;
use alloy_consensus::constants::EMPTY_WITHDRAWALS;
use alloy_op_hardforks::OpHardforks;
use alloy_primitives::{Address, B256, Bytes};
use duskevm_evm::{
    Block, ChainSpec, RecoveredTx,
    header::{HeaderError, extra_data},
};

/// The first thing in which a block differs from the derived attributes. The block is then to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It follows on another block.
    #[error("parent is {found}, derived {derived}")]
    Parent {
        /// Of the attributes.
        derived: B256,
        /// Of the block.
        found: B256,
    },
    /// It has another time.
    #[error("timestamp is {found}, derived {derived}")]
    Timestamp {
        /// Of the attributes, seconds.
        derived: u64,
        /// Of the block.
        found: u64,
    },
    /// It has other randomness.
    #[error("mixHash is {found}, derived {derived}")]
    PrevRandao {
        /// Of the attributes.
        derived: B256,
        /// Of the block.
        found: B256,
    },
    /// Another account gets the fees.
    #[error("beneficiary is {found}, derived {derived}")]
    FeeRecipient {
        /// Of the attributes.
        derived: Address,
        /// Of the block.
        found: Address,
    },
    /// It has another gas limit.
    #[error("gas limit is {found}, derived {derived}")]
    GasLimit {
        /// Of the attributes.
        derived: u64,
        /// Of the block.
        found: u64,
    },
    /// It has another parent beacon block root.
    #[error("parentBeaconBlockRoot is {found:?}, derived {derived:?}")]
    ParentBeaconBlockRoot {
        /// Of the attributes.
        derived: Option<B256>,
        /// Of the block.
        found: Option<B256>,
    },
    /// It has more or fewer transactions.
    #[error("{found} transactions, derived {derived}")]
    TransactionCount {
        /// Of the attributes.
        derived: usize,
        /// Of the block.
        found: usize,
    },
    /// One of its transactions is another one.
    #[error("transaction {0} differs")]
    Transaction(
        /// Its position in the block.
        usize,
    ),
    /// It carries other EIP-1559 parameters or another minimum base fee.
    #[error("extraData is {found}, derived {derived}")]
    ExtraData {
        /// Of the attributes: zero parameters stand for the chain's constants, which are written out here.
        derived: Bytes,
        /// Of the block.
        found: Bytes,
    },
    /// The attributes hold EIP-1559 parameters that no block can have.
    #[error("no block can be built from the derived attributes: {0}")]
    Attributes(#[from] HeaderError),
    /// Its withdrawals root is not one that its fork has: none before Canyon, the root of no withdrawals until Holocene, the storage
    /// root of the message passer from Isthmus on.
    #[error("withdrawalsRoot is {0:?}, which the fork does not have")]
    WithdrawalsRoot(Option<B256>),
}

/// Is `block` what the attributes lead to, as far as attributes say? Whether it was executed rightly is not looked at: who holds the
/// block has executed it.
///
/// # Errors
/// The first difference.
pub fn matches(spec: &ChainSpec, attributes: &DerivedAttributes, block: &Block) -> Result<(), Mismatch> {
    let (derived, head) = (&attributes.deposits, block.header.inner());
    let (parent, found) = (attributes.parent.hash, head.parent_hash);
    if parent != found {
        return Err(Mismatch::Parent { derived: parent, found });
    }
    if derived.timestamp != head.timestamp {
        return Err(Mismatch::Timestamp { derived: derived.timestamp, found: head.timestamp });
    }
    if derived.prev_randao != head.mix_hash {
        return Err(Mismatch::PrevRandao { derived: derived.prev_randao, found: head.mix_hash });
    }
    if derived.fee_recipient != head.beneficiary {
        return Err(Mismatch::FeeRecipient { derived: derived.fee_recipient, found: head.beneficiary });
    }
    if derived.gas_limit != head.gas_limit {
        return Err(Mismatch::GasLimit { derived: derived.gas_limit, found: head.gas_limit });
    }
    let (root, found) = (derived.parent_beacon_block_root, head.parent_beacon_block_root);
    if root != found {
        return Err(Mismatch::ParentBeaconBlockRoot { derived: root, found });
    }
    same_transactions(attributes, &block.transactions)?;
    let extra = extra_data(spec, derived.timestamp, derived.eip1559_params, derived.min_base_fee)?;
    if extra != head.extra_data {
        return Err(Mismatch::ExtraData { derived: extra, found: head.extra_data.clone() });
    }
    let (forks, root) = (spec.hardforks(), head.withdrawals_root);
    let fits = if forks.is_isthmus_active_at_timestamp(head.timestamp) {
        root.is_some()
    } else if forks.is_canyon_active_at_timestamp(head.timestamp) {
        root == Some(EMPTY_WITHDRAWALS)
    } else {
        root.is_none()
    };
    if fits { Ok(()) } else { Err(Mismatch::WithdrawalsRoot(root)) }
}

fn same_transactions(attributes: &DerivedAttributes, found: &[Arc<RecoveredTx>]) -> Result<(), Mismatch> {
    let deposits = attributes.deposits.transactions.iter().map(|tx| tx.encoded());
    let derived = attributes.deposits.transactions.len() + attributes.batch_transactions.len();
    if derived != found.len() {
        return Err(Mismatch::TransactionCount { derived, found: found.len() });
    }
    let mut pairs = deposits.chain(&attributes.batch_transactions).zip(found);
    match pairs.position(|(derived, found)| derived != found.encoded()) {
        Some(index) => Err(Mismatch::Transaction(index)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OriginBlock, OriginChoice, SystemConfig, epoch_attributes, testing};
    use alloc::{vec, vec::Vec};
    use alloy_consensus::{Header, Sealable, TxLegacy};
    use alloy_primitives::{B64, Signature, TxKind, U256};
    use duskevm_evm::{Eip1559Constants, ForkTimes};
    use op_alloy_consensus::OpTxEnvelope;

    fn legacy(nonce: u64) -> Bytes {
        use alloy_consensus::SignableTransaction;
        use alloy_eips::eip2718::Encodable2718;
        let tx = TxLegacy { nonce, gas_limit: 21_000, to: TxKind::Call(Address::ZERO), ..Default::default() };
        // The signature of an L1 view: x of the generator, s = 1. A sender can be recovered from it.
        let x = U256::from_be_slice(&alloy_primitives::hex!(
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        ));
        OpTxEnvelope::Legacy(tx.into_signed(Signature::new(x, U256::from(1), false))).encoded_2718().into()
    }

    fn spec() -> ChainSpec {
        ChainSpec::new(31310, ForkTimes::isthmus_at_genesis(), Eip1559Constants::default()).unwrap()
    }

    fn sample() -> (DerivedAttributes, Block) {
        let config = testing::config();
        let header = Header { number: 3, timestamp: 9, mix_hash: B256::repeat_byte(5), ..Default::default() };
        let origin = OriginBlock::read(&config, &header.seal_slow(), &[]);
        let choice = OriginChoice { origin: origin.block_ref(), sequence_number: 0, no_user_transactions: true };
        let system = SystemConfig { gas_limit: 30_000_000, ..Default::default() };
        let attributes = DerivedAttributes {
            parent: crate::L2BlockRef { hash: B256::repeat_byte(1), timestamp: 10, ..Default::default() },
            origin: origin.block_ref(),
            sequence_number: 0,
            deposits: epoch_attributes(&config, &system, 12, &choice, &origin).unwrap(),
            batch_transactions: vec![legacy(0), legacy(1)],
            derived_from: origin.block_ref(),
            last_in_span: true,
        };
        let made = attributes.block_attributes().unwrap();
        let header = Header {
            parent_hash: attributes.parent.hash,
            timestamp: 12,
            mix_hash: made.prev_randao,
            beneficiary: made.fee_recipient,
            gas_limit: made.gas_limit,
            parent_beacon_block_root: made.parent_beacon_block_root,
            // Zero parameters written out.
            extra_data: vec![0, 0, 0, 0, 250, 0, 0, 0, 6].into(),
            withdrawals_root: Some(B256::repeat_byte(7)),
            ..Default::default()
        };
        (attributes, Block { header: header.seal_slow(), transactions: made.transactions })
    }

    fn mismatch(change: impl FnOnce(&mut Header, &mut Vec<Arc<RecoveredTx>>)) -> Mismatch {
        let (attributes, block) = sample();
        let Block { header, mut transactions } = block;
        let mut header = header.into_inner();
        change(&mut header, &mut transactions);
        matches(&spec(), &attributes, &Block { header: header.seal_slow(), transactions }).unwrap_err()
    }

    #[test]
    fn a_block_of_the_same_attributes_matches() {
        let (attributes, block) = sample();
        assert_eq!(matches(&spec(), &attributes, &block), Ok(()));
    }

    #[test]
    fn each_field_has_its_mismatch() {
        assert!(matches!(mismatch(|header, _| header.parent_hash = B256::ZERO), Mismatch::Parent { .. }));
        assert!(matches!(mismatch(|header, _| header.timestamp = 13), Mismatch::Timestamp { found: 13, .. }));
        assert!(matches!(mismatch(|header, _| header.mix_hash = B256::ZERO), Mismatch::PrevRandao { .. }));
        assert!(matches!(mismatch(|header, _| header.beneficiary = Address::ZERO), Mismatch::FeeRecipient { .. }));
        assert!(matches!(mismatch(|header, _| header.gas_limit += 1), Mismatch::GasLimit { .. }));
        let root = mismatch(|header, _| header.parent_beacon_block_root = None);
        assert!(matches!(root, Mismatch::ParentBeaconBlockRoot { .. }));
        let version = mismatch(|header, _| header.extra_data = vec![0, 0, 0, 0, 50, 0, 0, 0, 6].into());
        assert!(matches!(version, Mismatch::ExtraData { .. }));
        assert_eq!(mismatch(|header, _| header.withdrawals_root = None), Mismatch::WithdrawalsRoot(None));
    }

    #[test]
    fn transactions_are_compared_byte_by_byte_and_in_order() {
        let fewer = mismatch(|_, transactions| drop(transactions.pop()));
        assert_eq!(fewer, Mismatch::TransactionCount { derived: 3, found: 2 });
        assert_eq!(mismatch(|_, transactions| transactions.swap(1, 2)), Mismatch::Transaction(1));
    }

    #[test]
    fn what_no_block_can_have_is_named() {
        let (mut attributes, block) = sample();
        attributes.deposits.eip1559_params = Some(B64::from([0, 0, 0, 1, 0, 0, 0, 0]));
        assert!(matches!(matches(&spec(), &attributes, &block), Err(Mismatch::Attributes(_))));
    }

    #[test]
    fn a_batch_with_a_transaction_that_is_none_leaves_the_deposits() {
        let (mut attributes, _) = sample();
        attributes.batch_transactions.push(Bytes::from_static(&[0x7d, 1, 2]));
        assert!(attributes.block_attributes().is_err());
        assert_eq!(attributes.deposits_only().transactions.len(), 1);
        assert!(!attributes.is_deposits_only());
    }
}
