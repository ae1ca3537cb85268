//! Blocks with transactions as they are sent, for tests and benches.
//!
//! Accounts, nonces and amounts are drawn anew for every transaction, so that they compress no better than those of a real chain.
//! Signatures are random numbers: batches do not look at them.

use super::{BlockId, SingularBatch};
use alloc::{vec, vec::Vec};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718,
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use op_alloy_consensus::OpTxEnvelope;

/// Chain id of the samples, as in the tests' configuration.
pub(crate) const CHAIN_ID: u64 = 31310;

/// What the transactions of a block do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Send ether.
    Transfer,
    /// Call `transfer` of one of four tokens.
    Token,
    /// Call a contract with random data.
    Random,
    /// Call a contract with zeros.
    Zeros,
    /// One of every type and form after the other.
    Mixed,
}

fn random(seed: u64, what: u64) -> B256 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..].copy_from_slice(&what.to_be_bytes());
    keccak256(bytes)
}

fn signed<T>(tx: T, seed: u64) -> Bytes
where
    T: SignableTransaction<Signature>,
    OpTxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let number = |what| U256::from_be_bytes(random(seed, what).0);
    // Some of them with leading zeros.
    let r = number(1) >> (if seed % 16 == 3 { 8 } else { 0 });
    let signature = Signature::new(r, number(2), seed % 2 == 1);
    OpTxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

/// A number below `most` that nothing lets one guess from those of other seeds.
fn draw(seed: u64, what: u64, most: u64) -> u64 {
    let bytes = random(seed, 200 + what);
    bytes.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte)) % most
}

/// One of 5000 accounts.
fn account(seed: u64) -> Address {
    Address::from_word(random(draw(seed, 0, 5000), 3))
}

fn fees(seed: u64) -> (u128, u128) {
    (1_000_000 * u128::from(draw(seed, 1, 3)), 1_000_000_000 + u128::from(draw(seed, 2, 100)) * 1000)
}

fn call(seed: u64, to: TxKind, value: U256, gas_limit: u64, input: Bytes) -> Bytes {
    let (max_priority_fee_per_gas, max_fee_per_gas) = fees(seed);
    let tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce: draw(seed, 3, 1000),
        gas_limit,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to,
        value,
        access_list: AccessList::default(),
        input,
    };
    signed(tx, seed)
}

fn amount(seed: u64) -> U256 {
    U256::from(1 + draw(seed, 4, 100_000)) * U256::from(100_000_000_000_000u64)
}

fn legacy(seed: u64, chain_id: Option<u64>, to: TxKind) -> Bytes {
    let tx = TxLegacy {
        chain_id,
        nonce: seed,
        gas_price: 1_000_000_000,
        gas_limit: 90_000,
        to,
        value: U256::from(seed),
        input: Bytes::from(vec![0x60; (seed % 90) as usize]),
    };
    signed(tx, seed)
}

fn access_list(seed: u64) -> AccessList {
    let item = |what| AccessListItem {
        address: account(seed + what),
        storage_keys: (0..what).map(|slot| random(seed, slot)).collect(),
    };
    AccessList((0..seed % 3).map(item).collect())
}

fn mixed(seed: u64) -> Bytes {
    let (tip, cap) = fees(seed);
    let to = TxKind::Call(account(seed));
    match seed % 6 {
        0 => legacy(seed, Some(CHAIN_ID), to),
        1 => legacy(seed, None, to),
        2 => legacy(seed, Some(CHAIN_ID), TxKind::Create),
        3 => signed(
            TxEip2930 {
                chain_id: CHAIN_ID,
                nonce: seed,
                gas_price: cap,
                gas_limit: 100_000,
                to,
                value: U256::ZERO,
                access_list: access_list(seed),
                input: Bytes::from(random(seed, 9).to_vec()),
            },
            seed,
        ),
        4 => {
            let authorization = |what| {
                let inner = Authorization { chain_id: U256::from(CHAIN_ID), address: account(what), nonce: what };
                inner.into_signed(Signature::new(U256::from(seed + 1), U256::from(what + 1), what % 2 == 1))
            };
            let tx = TxEip7702 {
                chain_id: CHAIN_ID,
                nonce: seed,
                gas_limit: 200_000,
                max_fee_per_gas: cap,
                max_priority_fee_per_gas: tip,
                to: account(seed),
                value: U256::ZERO,
                access_list: access_list(seed),
                authorization_list: (0..seed % 3).map(authorization).collect(),
                input: Bytes::new(),
            };
            signed(tx, seed)
        }
        _ => call(seed, TxKind::Create, U256::ZERO, 3_000_000, Bytes::from(vec![0x5b; 200])),
    }
}

fn transaction(kind: Kind, seed: u64) -> Bytes {
    let to = TxKind::Call(account(seed));
    match kind {
        Kind::Transfer => call(seed, to, amount(seed), 21_000, Bytes::new()),
        Kind::Token => {
            // transfer(address,uint256)
            let mut input = vec![0xa9, 0x05, 0x9c, 0xbb];
            input.extend_from_slice(account(seed ^ 1 << 40).into_word().as_slice());
            input.extend_from_slice(&amount(seed).to_be_bytes::<32>());
            call(
                seed,
                TxKind::Call(account(draw(seed, 5, 4))),
                U256::ZERO,
                52_000 + draw(seed, 6, 7) * 100,
                input.into(),
            )
        }
        Kind::Random => {
            let words = (0..10).flat_map(|word| random(seed, 100 + word).0);
            call(seed, to, U256::ZERO, 100_000, words.collect::<Vec<u8>>().into())
        }
        Kind::Zeros => call(seed, to, U256::ZERO, 100_000, vec![0; 1000].into()),
        Kind::Mixed => mixed(seed),
    }
}

/// L2 block `number` at 2 s each, five to an epoch, with so many transactions.
pub(crate) fn block(number: u64, kind: Kind, transactions: u64) -> SingularBatch {
    let epoch = 1 + number / 5;
    SingularBatch {
        parent_hash: random(number - 1, 50),
        epoch: BlockId { hash: random(epoch, 51), number: epoch },
        timestamp: 2 * number,
        transactions: (0..transactions).map(|index| transaction(kind, number * 1000 + index)).collect(),
    }
}
