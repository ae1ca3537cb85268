//! From view blocks to what JSON-RPC shows, in the shapes of geth.

use super::block::L1Block;
use crate::types::{self, LogPosition};
use alloy_consensus::{ReceiptEnvelope, Transaction as _, transaction::Recovered};
use alloy_eips::{eip4844::DATA_GAS_PER_BLOB, eip4895::Withdrawals};
use alloy_primitives::{TxKind, U256};
use alloy_rlp::{Encodable as _, Header as RlpHeader};
use alloy_rpc_types_eth::{BlockTransactions, Log, TransactionInfo};
use duskevm_l1_view::ViewTxEnvelope;

/// Price of blob gas in wei: that of a header without excess blob gas.
pub(crate) const BLOB_BASE_FEE: u128 = 1;

pub(crate) type L1Transaction = alloy_rpc_types_eth::Transaction<ViewTxEnvelope>;
pub(crate) type L1RpcBlock = alloy_rpc_types_eth::Block<L1Transaction, types::RpcHeader>;
pub(crate) type L1Receipt = alloy_rpc_types_eth::TransactionReceipt<ReceiptEnvelope<Log>>;

/// A block with transactions or their hashes.
pub(crate) fn block(block: &L1Block, full: bool) -> L1RpcBlock {
    let view = &block.view;
    let transactions = if full {
        BlockTransactions::Full((0..view.transactions.len()).filter_map(|index| transaction(block, index)).collect())
    } else {
        BlockTransactions::Hashes(view.transactions.iter().map(|tx| tx.hash()).collect())
    };
    let size = Some(U256::from(raw_block(block).len()));
    let header = types::RpcHeader { size, ..types::header(&view.header) };
    L1RpcBlock { header, uncles: Vec::new(), transactions, withdrawals: Some(Withdrawals::default()) }
}

/// A block in RLP: header, transactions, no uncles, no withdrawals.
pub(crate) fn raw_block(block: &L1Block) -> Vec<u8> {
    let view = &block.view;
    let transactions: Vec<&ViewTxEnvelope> = view.transactions.iter().map(|tx| &tx.envelope).collect();
    let mut payload = Vec::new();
    view.header.inner().encode(&mut payload);
    alloy_rlp::encode_list::<_, ViewTxEnvelope>(&transactions, &mut payload);
    payload.extend_from_slice(&[alloy_rlp::EMPTY_LIST_CODE, alloy_rlp::EMPTY_LIST_CODE]);
    let mut out = Vec::with_capacity(payload.len() + 9);
    RlpHeader { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(&payload);
    out
}

/// A transaction of a block.
pub(crate) fn transaction(block: &L1Block, index: usize) -> Option<L1Transaction> {
    let header = &block.view.header;
    let tx = block.view.transactions.get(index)?;
    let info = TransactionInfo {
        hash: Some(tx.hash()),
        index: Some(index as u64),
        block_hash: Some(header.hash()),
        block_number: Some(header.number),
        base_fee: header.base_fee_per_gas,
        block_timestamp: None,
    };
    Some(L1Transaction::from_transaction(Recovered::new_unchecked(tx.envelope.clone(), block.sender(index)), info))
}

/// The receipt of one transaction of a block.
pub(crate) fn receipt(block: &L1Block, index: usize) -> Option<L1Receipt> {
    let first_log = block.view.receipts.iter().take(index).map(|receipt| receipt.logs().len() as u64).sum();
    convert(block, index, first_log)
}

/// The receipts of all transactions of a block.
pub(crate) fn receipts(block: &L1Block) -> Vec<L1Receipt> {
    let mut first_log = 0;
    let all = block.view.receipts.iter().enumerate().filter_map(|(index, receipt)| {
        let converted = convert(block, index, first_log);
        first_log += receipt.logs().len() as u64;
        converted
    });
    all.collect()
}

fn convert(block: &L1Block, index: usize, first_log: u64) -> Option<L1Receipt> {
    let header = &block.view.header;
    let tx = &block.view.transactions.get(index)?;
    let receipt = block.view.receipts.get(index)?;
    let before = match index.checked_sub(1) {
        Some(previous) => block.view.receipts.get(previous)?.cumulative_gas_used(),
        None => 0,
    };
    let position = LogPosition::of(header, tx.hash(), index, first_log);
    let mut place = 0;
    let inner = receipt.clone().map_logs(|log| {
        let placed = position.place(place, log);
        place += 1;
        placed
    });
    let (to, contract_address) = match tx.envelope.kind() {
        TxKind::Call(to) => (Some(to), None),
        TxKind::Create => (None, Some(block.sender(index).create(tx.envelope.nonce()))),
    };
    let blobs = tx.envelope.blob_versioned_hashes().map(|hashes| hashes.len() as u64);
    Some(L1Receipt {
        inner,
        transaction_hash: tx.hash(),
        transaction_index: Some(index as u64),
        block_hash: Some(header.hash()),
        block_number: Some(header.number),
        gas_used: receipt.cumulative_gas_used().saturating_sub(before),
        effective_gas_price: tx.envelope.effective_gas_price(header.base_fee_per_gas),
        blob_gas_used: blobs.map(|blobs| blobs * DATA_GAS_PER_BLOB),
        blob_gas_price: blobs.map(|_| BLOB_BASE_FEE),
        from: block.sender(index),
        to,
        contract_address,
    })
}
