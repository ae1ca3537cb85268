//! User deposits: logs of the deposit contract on L1 that become transactions on L2. Source: deposits.md.

use crate::source_hash::DepositSource;
use alloc::{sync::Arc, vec::Vec};
use alloy_consensus::ReceiptEnvelope;
use alloy_primitives::{Address, B256, Bytes, Log, TxKind, U256, b256};
use duskevm_evm::RecoveredTx;
use op_alloy_consensus::TxDeposit;

/// Topic 0 of `TransactionDeposited(address indexed from, address indexed to, uint256 indexed version, bytes opaqueData)`.
pub const TRANSACTION_DEPOSITED: B256 = b256!("b3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32");

/// mint u256 ‖ value u256 ‖ gas limit u64 ‖ is creation u8; the call data follow.
const FIXED_LEN: usize = 32 + 32 + 8 + 1;

/// A log of the deposit contract that is no deposit.
///
/// The contract is part of the protocol and emits none of these. If one appears all the same, no L2 block can begin the epoch of its
/// L1 block: to pass over it would fork off every node that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "log {log_index} of L1 block {l1_block_hash} is no valid deposit: {reason}; the deposit contract must be mended on L1"
)]
pub struct DepositError {
    /// The L1 block.
    pub l1_block_hash: B256,
    /// Index of the log in the block.
    pub log_index: u64,
    /// What is wrong with it.
    pub reason: DepositFault,
}

/// What is wrong with a deposit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DepositFault {
    /// Sender, recipient or version is missing, or there is more.
    #[error("{0} topics instead of 4")]
    Topics(usize),
    /// Only version 0 is defined.
    #[error("unknown version {0}")]
    Version(B256),
    /// The data are not the ABI encoding of one byte string with the least padding.
    #[error("the data are not ABI-encoded bytes with minimal padding")]
    Abi,
    /// The bytes are too short for the fixed fields.
    #[error("opaqueData has {0} bytes, at least 73 are needed")]
    Short(usize),
    /// An amount that no deposit transaction can hold.
    #[error("mint {0} does not fit 128 bits")]
    Mint(U256),
}

/// The deposit transactions of an L1 block, in the order of their logs.
///
/// Logs count from 0 over all receipts of the block, whoever emitted them; only logs of successful transactions are deposits.
///
/// # Errors
/// The first log of the contract with [`TRANSACTION_DEPOSITED`] that is malformed.
pub fn user_deposits(
    deposit_contract: Address,
    l1_block_hash: B256,
    receipts: &[ReceiptEnvelope],
) -> Result<Vec<Arc<RecoveredTx>>, DepositError> {
    let mut deposits = Vec::new();
    for (log_index, log, successful) in block_logs(receipts) {
        if !successful || log.address != deposit_contract || log.topics().first() != Some(&TRANSACTION_DEPOSITED) {
            continue;
        }
        deposits.push(Arc::new(RecoveredTx::deposit(user_deposit(l1_block_hash, log_index, log)?)));
    }
    Ok(deposits)
}

/// The deposit transaction of one log, which has this index in its L1 block.
///
/// # Errors
/// If the log is no valid deposit.
pub fn user_deposit(l1_block_hash: B256, log_index: u64, log: &Log) -> Result<TxDeposit, DepositError> {
    let mut deposit = decode_deposit(log).map_err(|reason| DepositError { l1_block_hash, log_index, reason })?;
    deposit.source_hash = DepositSource::User { l1_block_hash, log_index }.hash();
    Ok(deposit)
}

/// All logs of a block with their index in it, and whether their transaction succeeded.
pub(crate) fn block_logs(receipts: &[ReceiptEnvelope]) -> impl Iterator<Item = (u64, &Log, bool)> {
    let logs = receipts.iter().flat_map(|receipt| receipt.logs().iter().map(move |log| (log, receipt.status())));
    (0u64..).zip(logs).map(|(index, (log, successful))| (index, log, successful))
}

/// The deposit that a log stands for, still without its source hash.
fn decode_deposit(log: &Log) -> Result<TxDeposit, DepositFault> {
    let &[_, from, to, version] = log.topics() else { return Err(DepositFault::Topics(log.topics().len())) };
    if !version.is_zero() {
        return Err(DepositFault::Version(version));
    }
    let opaque = abi_bytes(&log.data.data).ok_or(DepositFault::Abi)?;
    let (fixed, input) = opaque.split_at_checked(FIXED_LEN).ok_or(DepositFault::Short(opaque.len()))?;
    let (mint, rest) = fixed.split_at(32);
    let (value, rest) = rest.split_at(32);
    let mint = U256::from_be_slice(mint);
    let mut gas_limit = [0u8; 8];
    gas_limit.copy_from_slice(&rest[..8]);
    Ok(TxDeposit {
        source_hash: B256::ZERO,
        from: Address::from_word(from),
        to: if rest[8] == 0 { TxKind::Call(Address::from_word(to)) } else { TxKind::Create },
        mint: u128::try_from(mint).map_err(|_| DepositFault::Mint(mint))?,
        value: U256::from_be_slice(value),
        gas_limit: u64::from_be_bytes(gas_limit),
        is_system_transaction: false,
        input: Bytes::copy_from_slice(input),
    })
}

/// The content of ABI-encoded `(bytes)`: the offset is 32, the padding less than a word.
fn abi_bytes(data: &[u8]) -> Option<&[u8]> {
    let (head, body) = data.split_at_checked(64)?;
    if !body.len().is_multiple_of(32) || U256::from_be_slice(&head[..32]) != U256::from(32) {
        return None;
    }
    let length = usize::try_from(U256::from_be_slice(&head[32..])).ok()?;
    let padding = body.len().checked_sub(length)?;
    if padding >= 32 { None } else { body.get(..length) }
}

/// The log of a deposit as the contract emits it: for tests and for programs that play the contract.
pub fn encode_deposit_log(deposit_contract: Address, deposit: &TxDeposit) -> Log {
    let (to, creation) = match deposit.to {
        TxKind::Call(to) => (to, 0),
        TxKind::Create => (Address::ZERO, 1),
    };
    let mut opaque = Vec::with_capacity(FIXED_LEN + deposit.input.len());
    opaque.extend_from_slice(&U256::from(deposit.mint).to_be_bytes::<32>());
    opaque.extend_from_slice(&deposit.value.to_be_bytes::<32>());
    opaque.extend_from_slice(&deposit.gas_limit.to_be_bytes());
    opaque.push(creation);
    opaque.extend_from_slice(&deposit.input);
    let mut data = Vec::with_capacity(96 + opaque.len());
    data.extend_from_slice(&U256::from(32).to_be_bytes::<32>());
    data.extend_from_slice(&U256::from(opaque.len()).to_be_bytes::<32>());
    data.extend_from_slice(&opaque);
    data.resize(64 + opaque.len().next_multiple_of(32), 0);
    let topics = [TRANSACTION_DEPOSITED, deposit.from.into_word(), to.into_word(), B256::ZERO];
    Log::new_unchecked(deposit_contract, topics.to_vec(), data.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloy_consensus::{Receipt, ReceiptWithBloom};
    use alloy_primitives::{address, keccak256};
    use proptest::prelude::*;

    const PORTAL: Address = address!("99C9fc46f92E8a1c0deC1b1747d010903E884bE1");
    const L1: B256 = B256::repeat_byte(0x11);

    fn receipt(success: bool, logs: Vec<Log>) -> ReceiptEnvelope {
        ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(Receipt {
            status: success.into(),
            cumulative_gas_used: 0,
            logs,
        }))
    }

    fn sample() -> TxDeposit {
        TxDeposit {
            source_hash: B256::ZERO,
            from: Address::repeat_byte(1),
            to: TxKind::Call(Address::repeat_byte(2)),
            mint: 7,
            value: U256::from(8),
            gas_limit: 100_000,
            is_system_transaction: false,
            input: vec![9; 40].into(),
        }
    }

    fn fault(log: Log) -> DepositFault {
        user_deposits(PORTAL, L1, &[receipt(true, vec![log])]).unwrap_err().reason
    }

    fn with_data(change: impl FnOnce(&mut Vec<u8>)) -> Log {
        let log = encode_deposit_log(PORTAL, &sample());
        let mut data = log.data.data.to_vec();
        change(&mut data);
        Log::new_unchecked(PORTAL, log.topics().to_vec(), data.into())
    }

    #[test]
    fn the_topic_is_the_hash_of_the_signature() {
        assert_eq!(keccak256("TransactionDeposited(address,address,uint256,bytes)"), TRANSACTION_DEPOSITED);
    }

    #[test]
    fn logs_count_over_the_whole_block() {
        let foreign = Log::new_unchecked(Address::ZERO, vec![TRANSACTION_DEPOSITED], Bytes::new());
        let other_event = Log::new_unchecked(PORTAL, vec![B256::ZERO], Bytes::new());
        let deposit = encode_deposit_log(PORTAL, &sample());
        let receipts =
            [receipt(true, vec![foreign.clone(), other_event]), receipt(true, vec![foreign, deposit.clone(), deposit])];
        let found = user_deposits(PORTAL, L1, &receipts).unwrap();
        let hashes: Vec<_> = found.iter().map(|tx| tx.envelope().as_deposit().unwrap().source_hash).collect();
        let expected: Vec<_> =
            [3, 4].map(|log_index| DepositSource::User { l1_block_hash: L1, log_index }.hash()).into();
        assert_eq!(hashes, expected);
    }

    #[test]
    fn a_failed_transaction_deposits_nothing_however_its_logs_look() {
        let broken = Log::new_unchecked(PORTAL, vec![TRANSACTION_DEPOSITED], Bytes::new());
        let receipts = [receipt(false, vec![encode_deposit_log(PORTAL, &sample()), broken])];
        assert_eq!(user_deposits(PORTAL, L1, &receipts), Ok(vec![]));
    }

    #[test]
    fn creation_flag_decides_over_the_recipient() {
        let log = with_data(|data| data[64 + 72] = 9);
        let found = user_deposits(PORTAL, L1, &[receipt(true, vec![log])]).unwrap();
        assert_eq!(found[0].envelope().as_deposit().unwrap().to, TxKind::Create);
    }

    #[test]
    fn four_topics_are_needed() {
        let log = encode_deposit_log(PORTAL, &sample());
        let mut topics = log.topics().to_vec();
        topics.pop();
        assert_eq!(fault(Log::new_unchecked(PORTAL, topics, log.data.data)), DepositFault::Topics(3));
    }

    #[test]
    fn another_version_is_refused() {
        let log = encode_deposit_log(PORTAL, &sample());
        let mut topics = log.topics().to_vec();
        topics[3] = B256::with_last_byte(1);
        assert_eq!(
            fault(Log::new_unchecked(PORTAL, topics, log.data.data)),
            DepositFault::Version(B256::with_last_byte(1))
        );
    }

    #[test]
    fn the_abi_encoding_is_exact() {
        // Another offset, no whole words, a word of padding too many, a length beyond the end, a huge length.
        assert_eq!(fault(with_data(|data| data[31] = 64)), DepositFault::Abi);
        assert_eq!(fault(with_data(|data| data.push(0))), DepositFault::Abi);
        assert_eq!(fault(with_data(|data| data.extend([0; 32]))), DepositFault::Abi);
        assert_eq!(fault(with_data(|data| data[63] = 200)), DepositFault::Abi);
        assert_eq!(fault(with_data(|data| data[32] = 0xff)), DepositFault::Abi);
        assert_eq!(fault(with_data(|data| data.truncate(63))), DepositFault::Abi);
    }

    #[test]
    fn fixed_fields_are_needed_whole() {
        let short = with_data(|data| {
            data.truncate(64 + 96);
            data[63] = 72;
        });
        assert_eq!(fault(short), DepositFault::Short(72));
    }

    #[test]
    fn a_mint_beyond_128_bits_is_refused_not_cut() {
        assert!(matches!(fault(with_data(|data| data[64 + 15] = 1)), DepositFault::Mint(_)));
    }

    proptest! {
        #[test]
        fn deposits_survive(mint: u128, value: [u64; 4], gas_limit: u64, input in proptest::collection::vec(any::<u8>(), 0..200), create: bool) {
            let deposit = TxDeposit {
                to: if create { TxKind::Create } else { sample().to },
                mint,
                value: U256::from_limbs(value),
                gas_limit,
                input: input.into(),
                ..sample()
            };
            let log = encode_deposit_log(PORTAL, &deposit);
            let found = user_deposits(PORTAL, L1, &[receipt(true, vec![log])]).unwrap();
            let source_hash = DepositSource::User { l1_block_hash: L1, log_index: 0 }.hash();
            prop_assert_eq!(found[0].envelope().as_deposit().unwrap().inner(), &TxDeposit { source_hash, ..deposit });
        }

        #[test]
        fn no_log_makes_the_decoder_panic(topics in 1usize..5, data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let topics = core::iter::once(TRANSACTION_DEPOSITED).chain(core::iter::repeat_n(B256::ZERO, topics - 1)).collect();
            let _ = user_deposits(PORTAL, L1, &[receipt(true, vec![Log::new_unchecked(PORTAL, topics, data.into())])]);
        }
    }
}
