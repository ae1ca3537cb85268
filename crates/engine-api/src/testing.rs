//! Blocks and chains for the tests of this crate.

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, Sealable as _};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B256, Bloom, Bytes, TxKind, U256};
use duskevm_evm::{Block, ChainSpec, Eip1559Constants, ForkTimes, RecoveredTx};
use duskevm_unsafe_gossip::{Payload, PayloadVersion};
use op_alloy_consensus::TxDeposit;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

pub(crate) const BEDROCK: u64 = 10;
pub(crate) const CANYON: u64 = 100;
pub(crate) const ECOTONE: u64 = 200;
pub(crate) const HOLOCENE: u64 = 300;
pub(crate) const ISTHMUS: u64 = 400;
pub(crate) const JOVIAN: u64 = 500;

/// A chain that goes through all forks.
pub(crate) fn spec() -> ChainSpec {
    let times = ForkTimes {
        regolith: Some(0),
        canyon: Some(CANYON),
        ecotone: Some(ECOTONE),
        fjord: Some(ECOTONE),
        granite: Some(ECOTONE),
        holocene: Some(HOLOCENE),
        isthmus: Some(ISTHMUS),
        jovian: Some(JOVIAN),
    };
    ChainSpec::new(745, times, Eip1559Constants::default()).unwrap()
}

/// A deposit that carries some bytes.
pub(crate) fn deposit(input: &[u8]) -> Arc<RecoveredTx> {
    let input = input.to_vec().into();
    Arc::new(RecoveredTx::deposit(TxDeposit { to: TxKind::Call(Address::ZERO), input, ..Default::default() }))
}

/// A signed transaction (EIP-1559, from the EIP-2718 encoding).
pub(crate) fn signed() -> Bytes {
    use alloy_consensus::{SignableTransaction as _, TxEip1559};
    use alloy_eips::eip2718::Encodable2718 as _;
    let tx = TxEip1559 {
        chain_id: 745,
        gas_limit: 21_000,
        max_fee_per_gas: 10,
        max_priority_fee_per_gas: 2,
        ..Default::default()
    };
    // Any r and s of a curve point give some sender.
    let signature = alloy_primitives::Signature::new(U256::from(1), U256::from(1), false);
    let envelope: op_alloy_consensus::OpTxEnvelope = tx.into_signed(signature).into();
    envelope.encoded_2718().into()
}

/// A block of the fork at `timestamp` with this number and parent, whose deposit carries some bytes.
pub(crate) fn block(timestamp: u64, number: u64, parent: B256, input: &[u8]) -> Block {
    let version = PayloadVersion::at(&spec(), timestamp);
    let since = |from| version >= from;
    let tx = deposit(input);
    let payload = Payload {
        version,
        parent_hash: parent,
        fee_recipient: Address::repeat_byte(0x42),
        state_root: B256::repeat_byte(1),
        receipts_root: B256::repeat_byte(2),
        logs_bloom: Bloom::repeat_byte(3),
        prev_randao: B256::repeat_byte(4),
        number,
        gas_limit: 60_000_000,
        gas_used: 21_000,
        timestamp,
        extra_data: Bytes::from_static(&[0, 0, 0, 0, 250, 0, 0, 0, 6]),
        base_fee_per_gas: U256::from(7),
        hash: B256::ZERO,
        transactions: vec![tx.encoded().clone()],
        withdrawals: Vec::new(),
        blob_gas_used: 0,
        excess_blob_gas: 0,
        withdrawals_root: if since(PayloadVersion::V4) { B256::repeat_byte(5) } else { B256::ZERO },
        parent_beacon_block_root: if since(PayloadVersion::V3) { B256::repeat_byte(6) } else { B256::ZERO },
    };
    let header: Header = payload.header().unwrap();
    assert_eq!(header.ommers_hash, EMPTY_OMMER_ROOT_HASH);
    assert_eq!(header.requests_hash, since(PayloadVersion::V4).then_some(EMPTY_REQUESTS_HASH));
    Block { header: header.seal_slow(), transactions: vec![tx] }
}

/// Some block of the fork at `timestamp`.
pub(crate) fn block_at(timestamp: u64) -> Block {
    block(timestamp, 7, B256::repeat_byte(8), b"input")
}

pub(crate) fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}
