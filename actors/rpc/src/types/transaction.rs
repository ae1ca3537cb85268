//! Transactions.

use alloy_consensus::transaction::Recovered;
use alloy_rpc_types_eth::TransactionInfo;
use duskevm_evm::{Block, RecoveredTx};
use op_alloy_consensus::{
    OpReceiptEnvelope,
    transaction::{OpDepositInfo, OpTransactionInfo},
};

/// A transaction with its place in the chain.
pub(crate) type RpcTransaction = op_alloy_rpc_types::Transaction;

/// A transaction of a block. The receipt is only looked at for a deposit, whose nonce is nowhere else.
pub(crate) fn mined(block: &Block, index: usize, receipt: Option<&OpReceiptEnvelope>) -> Option<RpcTransaction> {
    let tx = block.transactions.get(index)?;
    let inner = TransactionInfo {
        hash: Some(tx.hash()),
        index: Some(index as u64),
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        base_fee: block.header.base_fee_per_gas,
        block_timestamp: None,
    };
    let deposit_meta = match receipt {
        Some(OpReceiptEnvelope::Deposit(deposit)) if tx.is_deposit() => OpDepositInfo {
            // Before Regolith receipts have no nonce, and op-geth shows zero.
            deposit_nonce: deposit.receipt.deposit_nonce.or(Some(0)),
            deposit_receipt_version: deposit.receipt.deposit_receipt_version,
        },
        _ => OpDepositInfo::default(),
    };
    Some(convert(tx, OpTransactionInfo { inner, deposit_meta }))
}

/// A transaction of the pool.
pub(crate) fn pending(tx: &RecoveredTx) -> RpcTransaction {
    convert(tx, OpTransactionInfo::default())
}

fn convert(tx: &RecoveredTx, info: OpTransactionInfo) -> RpcTransaction {
    RpcTransaction::from_transaction(Recovered::new_unchecked(tx.envelope().clone(), tx.sender()), info)
}
