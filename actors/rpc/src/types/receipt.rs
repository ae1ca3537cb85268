//! Receipts.

use super::fees::BlockFees;
use crate::{chain::BlockAndReceipts, types::log::LogPosition};
use alloy_consensus::{Receipt, ReceiptWithBloom, Transaction as _, TxReceipt as _};
use alloy_primitives::TxKind;
use alloy_rpc_types_eth::{Log, TransactionReceipt};
use duskevm_evm::ChainSpec;
use op_alloy_consensus::{OpDepositReceipt, OpReceipt, OpReceiptEnvelope};
use op_alloy_rpc_types::OpTransactionReceipt;

/// The receipt of one transaction of a block.
pub(crate) fn receipt(block: &BlockAndReceipts, index: usize, spec: &ChainSpec) -> Option<OpTransactionReceipt> {
    let first_log = block.receipts.iter().take(index).map(|receipt| receipt.logs().len() as u64).sum();
    let fees = BlockFees::of(&block.block, spec);
    convert(block, index, first_log, fees.as_ref())
}

/// The receipts of all transactions of a block.
pub(crate) fn receipts(block: &BlockAndReceipts, spec: &ChainSpec) -> Vec<OpTransactionReceipt> {
    let fees = BlockFees::of(&block.block, spec);
    let mut first_log = 0;
    block
        .receipts
        .iter()
        .enumerate()
        .filter_map(|(index, receipt)| {
            let converted = convert(block, index, first_log, fees.as_ref());
            first_log += receipt.logs().len() as u64;
            converted
        })
        .collect()
}

fn convert(
    block: &BlockAndReceipts,
    index: usize,
    first_log: u64,
    fees: Option<&BlockFees>,
) -> Option<OpTransactionReceipt> {
    let header = &block.block.header;
    let tx = block.block.transactions.get(index)?;
    let receipt = block.receipts.get(index)?;
    let before = match index.checked_sub(1) {
        Some(previous) => block.receipts.get(previous)?.cumulative_gas_used(),
        None => 0,
    };
    let nonce = match receipt {
        OpReceiptEnvelope::Deposit(deposit) => deposit.receipt.deposit_nonce.unwrap_or_default(),
        _ => tx.nonce(),
    };
    let position = LogPosition::of(header, tx.hash(), index, first_log);
    let logs = receipt.logs().iter().enumerate().map(|(index, log)| position.place(index, log.clone())).collect();
    let (to, contract_address) = match tx.envelope().kind() {
        TxKind::Call(to) => (Some(to), None),
        TxKind::Create => (None, Some(tx.sender().create(nonce))),
    };
    let effective_gas_price =
        if tx.is_deposit() { 0 } else { tx.envelope().effective_gas_price(header.base_fee_per_gas) };
    Some(OpTransactionReceipt {
        inner: TransactionReceipt {
            inner: ReceiptWithBloom { receipt: placed(receipt, logs), logs_bloom: receipt.bloom() },
            transaction_hash: tx.hash(),
            transaction_index: Some(index as u64),
            block_hash: Some(header.hash()),
            block_number: Some(header.number),
            gas_used: receipt.cumulative_gas_used().saturating_sub(before),
            effective_gas_price,
            blob_gas_used: fees.and_then(|fees| fees.da_footprint(tx)),
            blob_gas_price: None,
            from: tx.sender(),
            to,
            contract_address,
        },
        l1_block_info: fees.map(|fees| fees.receipt_fields(tx)).unwrap_or_default(),
        op_gas_refund: None,
    })
}

/// The same receipt with logs that know their place.
fn placed(receipt: &OpReceiptEnvelope, logs: Vec<Log>) -> OpReceipt<Log> {
    let inner =
        Receipt { status: receipt.status_or_post_state(), cumulative_gas_used: receipt.cumulative_gas_used(), logs };
    match receipt {
        OpReceiptEnvelope::Legacy(_) => OpReceipt::Legacy(inner),
        OpReceiptEnvelope::Eip2930(_) => OpReceipt::Eip2930(inner),
        OpReceiptEnvelope::Eip1559(_) => OpReceipt::Eip1559(inner),
        OpReceiptEnvelope::Eip7702(_) => OpReceipt::Eip7702(inner),
        OpReceiptEnvelope::PostExec(_) => OpReceipt::PostExec(inner),
        OpReceiptEnvelope::Deposit(deposit) => OpReceipt::Deposit(OpDepositReceipt {
            inner,
            deposit_nonce: deposit.receipt.deposit_nonce,
            deposit_receipt_version: deposit.receipt.deposit_receipt_version,
        }),
    }
}
