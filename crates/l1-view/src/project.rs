//! The mapping itself.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Signed,
    TxEip1559,
};
use alloy_primitives::{
    Address, B64, B256, Bloom, Bytes, Log, Sealable, Sealed, Signature, TxKind, U256, b256, keccak256,
};

use crate::VERSION;
use crate::block::{ViewBlock, ViewTransaction, ViewTxEnvelope};
use crate::envelope::decode_envelope;
use crate::input::{DuskBlock, DuskTx, ENVELOPE_TOPIC, LOG_TOPIC, decode_log};

/// Base fee of every view block in wei. Dusk gas has no base fee; Ethereum clients expect one of at least 1.
pub const BASE_FEE: u64 = 1_000_000_000;

/// Gas limit of every view block.
pub const GAS_LIMIT: u64 = 60_000_000;

/// Gas that every projected transaction reports. At most 1000 Dusk transactions fit a block.
pub(crate) const GAS_USED: u64 = 21_000;

/// What one network's view depends on, besides the blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewConfig {
    /// Chain id of the L1 as Ethereum clients see it.
    pub chain_id: u64,
    /// Ids of the Dusk contracts whose [`LOG_TOPIC`] events are shown: the settlement contracts.
    pub emitters: BTreeSet<B256>,
    /// Id of the Dusk contract whose [`ENVELOPE_TOPIC`] events are shown: the batch inbox.
    pub inbox: Option<B256>,
}

/// Why a Dusk block has no view. None of these can happen on a valid chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The parent's view is missing, or one was given for the genesis block.
    #[error("Dusk block {height} needs {} parent view", if *.height == 0 { "no" } else { "a" })]
    Parent {
        /// Height of the block.
        height: u64,
    },
    /// The block does not follow its parent.
    #[error("Dusk block {height} does not follow view block {parent}")]
    Height {
        /// Height of the block.
        height: u64,
        /// Number of the parent's view.
        parent: u64,
    },
    /// The block belongs to another chain than the parent's view.
    #[error("Dusk block {height} names the parent {names}, but the parent's view is of Dusk block {view}")]
    Fork {
        /// Height of the block.
        height: u64,
        /// Parent hash in the block.
        names: B256,
        /// Dusk hash in the parent's view.
        view: B256,
    },
    /// Ethereum timestamps rise strictly.
    #[error("Dusk block {height} has timestamp {timestamp}, not after its parent's {parent}: block time 0 has no view")]
    Timestamp {
        /// Height of the block.
        height: u64,
        /// Timestamp of the block.
        timestamp: u64,
        /// Timestamp of the parent.
        parent: u64,
    },
    /// A settlement contract emitted what is no log.
    #[error("event {event} of Dusk transaction {tx} is not an encoded log, though its contract emits nothing else")]
    Event {
        /// Dusk transaction.
        tx: B256,
        /// Index among the transaction's events.
        event: usize,
    },
}

/// The view of `block`. `parent` is the view of the block before it, `None` for the genesis block (height 0).
pub fn project(
    config: &ViewConfig,
    parent: Option<&Sealed<Header>>,
    block: &DuskBlock,
) -> Result<ViewBlock, ViewError> {
    let parent_hash = check_parent(parent, block)?;

    let (mut transactions, mut receipts) = (Vec::new(), Vec::new());
    let mut hashes = BTreeSet::new();
    let (mut gas_used, mut bloom) = (0, Bloom::ZERO);
    for tx in &block.txs {
        for (envelope, logs) in projected(config, tx)? {
            // A second copy of a published envelope would be a second transaction with the same hash.
            if !hashes.insert(*envelope.tx_hash()) {
                continue;
            }
            gas_used += GAS_USED;
            let receipt = Receipt { status: Eip658Value::Eip658(true), cumulative_gas_used: gas_used, logs };
            let receipt = ReceiptWithBloom::from(receipt);
            bloom |= receipt.logs_bloom;
            receipts.push(ReceiptEnvelope::from_typed(envelope.tx_type(), receipt));
            transactions.push(ViewTransaction { dusk_id: tx.id, envelope });
        }
    }

    let header = Header {
        parent_hash,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: Address::ZERO,
        state_root: EMPTY_ROOT_HASH,
        transactions_root: calculate_transaction_root(
            &transactions.iter().map(|tx| &tx.envelope).cloned().collect::<Vec<_>>(),
        ),
        receipts_root: calculate_receipt_root(&receipts),
        logs_bloom: bloom,
        difficulty: U256::ZERO,
        number: block.height,
        gas_limit: GAS_LIMIT,
        gas_used,
        timestamp: block.timestamp,
        extra_data: Bytes::copy_from_slice(block.hash.as_slice()),
        mix_hash: randomness(config, &block.seed),
        nonce: B64::ZERO,
        base_fee_per_gas: Some(BASE_FEE),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        // Clients of before Prague cannot hash a header with a requests hash; everyone can hash one without.
        ..Default::default()
    };
    Ok(ViewBlock { header: header.seal_slow(), transactions, receipts })
}

fn check_parent(parent: Option<&Sealed<Header>>, block: &DuskBlock) -> Result<B256, ViewError> {
    let height = block.height;
    let parent = match (parent, height) {
        (None, 0) => return Ok(B256::ZERO),
        (Some(parent), 1..) => parent,
        _ => return Err(ViewError::Parent { height }),
    };
    if parent.number.checked_add(1) != Some(height) {
        return Err(ViewError::Height { height, parent: parent.number });
    }
    let view = B256::try_from(parent.extra_data.as_ref()).unwrap_or_default();
    if view != block.prev_hash {
        return Err(ViewError::Fork { height, names: block.prev_hash, view });
    }
    if block.timestamp <= parent.timestamp {
        let timestamp = block.timestamp;
        return Err(ViewError::Timestamp { height, timestamp, parent: parent.timestamp });
    }
    Ok(parent.seal())
}

/// Randomness of a block. It also binds mapping version and chain id, so that no two networks share a view hash.
fn randomness(config: &ViewConfig, seed: &[u8; 48]) -> B256 {
    let mut input = Vec::with_capacity(75);
    input.extend_from_slice(b"duskevm-l1-view");
    input.extend_from_slice(&VERSION.to_be_bytes());
    input.extend_from_slice(&config.chain_id.to_be_bytes());
    input.extend_from_slice(seed);
    keccak256(input)
}

/// The Ethereum transactions that stand for one Dusk transaction: one with all its logs, then the envelopes it carries.
fn projected(config: &ViewConfig, tx: &DuskTx) -> Result<Vec<(ViewTxEnvelope, Vec<Log>)>, ViewError> {
    let mut logs = Vec::new();
    let mut envelopes = Vec::new();
    for (index, event) in tx.events.iter().enumerate() {
        if event.topic == LOG_TOPIC && config.emitters.contains(&event.contract) {
            logs.push(decode_log(event).ok_or(ViewError::Event { tx: tx.id, event: index })?);
        } else if event.topic == ENVELOPE_TOPIC && config.inbox == Some(event.contract) {
            // Whoever published anything else paid for nothing.
            envelopes.extend(decode_envelope(config.chain_id, &event.data).ok());
        }
    }
    let mut out = Vec::new();
    if let Some(first) = logs.first() {
        out.push((carrier(config, tx, first.address), logs));
    }
    out.extend(envelopes.into_iter().map(|envelope| (envelope, Vec::new())));
    Ok(out)
}

/// The x coordinate of secp256k1's generator.
const GENERATOR_X: B256 = b256!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");

/// The transaction that carries a Dusk transaction's logs.
///
/// Nobody signed it on secp256k1. Its signature has r = x of the generator and s = 1: well formed, and a sender can be
/// recovered (a meaningless address that nobody has a key for). The Dusk transaction id in the input makes it unique.
fn carrier(config: &ViewConfig, tx: &DuskTx, to: Address) -> ViewTxEnvelope {
    let inner = TxEip1559 {
        chain_id: config.chain_id,
        nonce: u64::from(tx.index),
        gas_limit: GAS_USED,
        max_fee_per_gas: u128::from(BASE_FEE),
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(to),
        value: U256::ZERO,
        access_list: Default::default(),
        input: Bytes::copy_from_slice(tx.id.as_slice()),
    };
    let signature = Signature::new(U256::from_be_bytes(GENERATOR_X.0), U256::from(1), false);
    ViewTxEnvelope::Eip1559(Signed::new_unhashed(inner, signature))
}
