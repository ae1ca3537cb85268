//! Blocks and headers.

use super::transaction::{RpcTransaction, mined};
use crate::chain::{Chain, ReadError};
use alloy_consensus::{Header, Sealed};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::U256;
use alloy_rlp::{Encodable, Header as RlpHeader};
use alloy_rpc_types_eth::BlockTransactions;
use duskevm_evm::{Block, RecoveredTx};
use op_alloy_consensus::OpTxEnvelope;

/// A header with its hash.
pub(crate) type RpcHeader = alloy_rpc_types_eth::Header<Header>;

/// A block with transactions or their hashes.
pub(crate) type RpcBlock = alloy_rpc_types_eth::Block<RpcTransaction, RpcHeader>;

/// A header alone, as in subscriptions and `eth_getHeaderBy…`.
pub(crate) fn header(sealed: &Sealed<Header>) -> RpcHeader {
    RpcHeader { hash: sealed.hash(), inner: sealed.inner().clone(), total_difficulty: None, size: None }
}

/// A block. Receipts are only read where full transactions are wanted, for the nonces of its deposits.
///
/// # Errors
/// If they cannot be read.
pub(crate) fn block(chain: &Chain, block: &Block, full: bool) -> Result<RpcBlock, ReadError> {
    let transactions = if full {
        let receipts = chain.receipts(block.hash())?;
        let receipt = |index| receipts.as_ref().and_then(|receipts| receipts.get(index));
        BlockTransactions::Full(
            (0..block.transactions.len()).filter_map(|index| mined(block, index, receipt(index))).collect(),
        )
    } else {
        BlockTransactions::Hashes(block.transactions.iter().map(|tx| tx.hash()).collect())
    };
    let header = RpcHeader { size: Some(U256::from(block_size(block))), ..header(&block.header) };
    let withdrawals = block.header.withdrawals_root.map(|_| Withdrawals::default());
    Ok(RpcBlock { header, uncles: Vec::new(), transactions, withdrawals })
}

/// Bytes of a block in RLP, without encoding it.
pub(crate) fn block_size(block: &Block) -> usize {
    let list = |payload: usize| RlpHeader { list: true, payload_length: payload }.length() + payload;
    let transactions = block.transactions.iter().map(|tx| transaction_size(tx)).sum();
    let empty = list(0);
    let withdrawals = if block.header.withdrawals_root.is_some() { empty } else { 0 };
    list(block.header.inner().length() + list(transactions) + empty + withdrawals)
}

/// Bytes of a transaction in a block body: a legacy one is a list, the others are strings.
fn transaction_size(tx: &RecoveredTx) -> usize {
    let encoded = tx.encoded().len();
    match tx.envelope() {
        OpTxEnvelope::Legacy(_) => encoded,
        _ => RlpHeader { list: false, payload_length: encoded }.length() + encoded,
    }
}
