//! An Ethereum client that trusts nobody: whatever the L1 endpoint says of a block is computed again from the rest of what it says.

use alloy_consensus::{
    Block, TxEnvelope,
    proofs::{calculate_receipt_root, calculate_transaction_root},
    transaction::SignerRecoverable as _,
};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{B256, Bloom, Bytes, U64, keccak256, logs_bloom};
use alloy_rpc_types_eth::{Block as RpcBlock, Log, TransactionReceipt};
use serde_json::{Value, json};

/// A block that was found right.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) hash: B256,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) transactions: Vec<TxEnvelope>,
    pub(crate) logs: Vec<Log>,
}

/// Checks a block by its number against everything that can be asked about it, and against the block below it.
pub(crate) async fn check_block(
    ask: &impl AsyncFn(&str, Value) -> Value,
    number: u64,
    below: Option<&Checked>,
) -> Checked {
    let tag = format!("{number:#x}");
    let shown = ask("eth_getBlockByNumber", json!([tag, true])).await;
    assert!(!shown.is_null(), "block {number}");
    let block: RpcBlock = serde_json::from_value(shown.clone()).unwrap();
    let (header, hash) = (&block.header.inner, block.header.hash);

    // The header is that of Cancun, and hashes to what it is said to.
    assert_eq!(header.hash_slow(), hash, "block {number}");
    assert_eq!(shown.get("requestsHash"), None);
    assert_eq!(header.number, number);
    if let Some(below) = below {
        assert_eq!((header.parent_hash, below.number + 1), (below.hash, number));
        assert!(header.timestamp > below.timestamp);
    }
    let raw: Bytes = serde_json::from_value(ask("debug_getRawHeader", json!([tag])).await).unwrap();
    assert_eq!(keccak256(&raw), hash);

    // It is the same by hash, with hashes only, and by its parts.
    assert_eq!(ask("eth_getBlockByHash", json!([hash, true])).await, shown);
    let short = ask("eth_getBlockByHash", json!([hash, false])).await;
    let mut expected = shown.clone();
    let full = shown["transactions"].as_array().unwrap();
    expected["transactions"] = full.iter().map(|tx| tx["hash"].clone()).collect();
    assert_eq!(short, expected);
    assert_eq!(ask("eth_getBlockByNumber", json!([tag, false])).await, short);
    for (method, id) in
        [("eth_getBlockTransactionCountByNumber", json!(tag)), ("eth_getBlockTransactionCountByHash", json!(hash))]
    {
        assert_eq!(ask(method, json!([id])).await, json!(U64::from(full.len())));
    }

    // Transactions: their root, their bytes, their senders.
    let mut transactions = Vec::new();
    for (index, tx) in block.transactions.into_transactions().enumerate() {
        assert_eq!((tx.block_hash, tx.block_number), (Some(hash), Some(number)));
        assert_eq!(tx.transaction_index, Some(index as u64));
        let (envelope, from) = tx.inner.into_parts();
        assert_eq!(envelope.recover_signer().unwrap(), from);
        let bytes = envelope.encoded_2718();
        assert_eq!(keccak256(&bytes), *envelope.tx_hash());
        assert_eq!(TxEnvelope::decode_2718_exact(&bytes).unwrap(), envelope);
        for method in ["debug_getRawTransaction", "eth_getRawTransactionByHash"] {
            assert_eq!(ask(method, json!([envelope.tx_hash()])).await, json!(Bytes::from(bytes.clone())));
        }
        let position = json!(U64::from(index));
        for (method, params) in [
            ("eth_getTransactionByHash", json!([envelope.tx_hash()])),
            ("eth_getTransactionByBlockHashAndIndex", json!([hash, position])),
            ("eth_getTransactionByBlockNumberAndIndex", json!([tag, position])),
        ] {
            assert_eq!(ask(method, params).await, full[index], "{method}");
        }
        transactions.push(envelope);
    }
    assert_eq!(calculate_transaction_root(&transactions), header.transactions_root);
    let raw: Bytes = serde_json::from_value(ask("debug_getRawBlock", json!([hash])).await).unwrap();
    let decoded: Block<TxEnvelope> = alloy_rlp::decode_exact(&raw).unwrap();
    assert_eq!((&decoded.header, &decoded.body.transactions), (header, &transactions));
    assert_eq!(Bytes::from(alloy_rlp::encode(&decoded)), raw);
    assert_eq!(shown["size"], json!(U64::from(raw.len())));

    // Receipts: their root, and all that is not in it.
    let answer = ask("eth_getBlockReceipts", json!([hash])).await;
    for id in [json!(tag), json!({ "blockHash": hash })] {
        assert_eq!(ask("eth_getBlockReceipts", json!([id])).await, answer);
    }
    let receipts: Vec<TransactionReceipt> = serde_json::from_value(answer.clone()).unwrap();
    assert_eq!(receipts.len(), transactions.len());
    let (mut gas, mut bloom, mut logs, mut encoded) = (0, Bloom::ZERO, Vec::new(), Vec::new());
    for (index, (receipt, tx)) in receipts.iter().zip(&transactions).enumerate() {
        assert_eq!((receipt.transaction_hash, receipt.transaction_index), (*tx.tx_hash(), Some(index as u64)));
        assert_eq!((receipt.block_hash, receipt.block_number), (Some(hash), Some(number)));
        assert_eq!(receipt.from, tx.recover_signer().unwrap());
        assert_eq!(receipt.inner.tx_type(), tx.tx_type());
        assert!(receipt.inner.status());
        gas += receipt.gas_used;
        assert_eq!(receipt.inner.cumulative_gas_used(), gas);
        for log in receipt.inner.logs() {
            assert_eq!(log.log_index, Some(logs.len() as u64), "log indices run through the block");
            assert_eq!((log.block_hash, log.transaction_hash), (Some(hash), Some(*tx.tx_hash())));
            assert_eq!((log.block_number, log.transaction_index), (Some(number), Some(index as u64)));
            assert!(!log.removed);
            logs.push(log.clone());
        }
        let plain = receipt.inner.clone().into_primitives_receipt();
        assert_eq!(*plain.logs_bloom(), logs_bloom(plain.logs()));
        bloom |= *plain.logs_bloom();
        let alone = ask("eth_getTransactionReceipt", json!([tx.tx_hash()])).await;
        assert_eq!(alone, answer[index]);
        encoded.push(plain);
    }
    assert_eq!((header.gas_used, header.logs_bloom), (gas, bloom));
    assert_eq!(calculate_receipt_root(&encoded), header.receipts_root);
    let raw: Vec<Bytes> = serde_json::from_value(ask("debug_getRawReceipts", json!([tag])).await).unwrap();
    assert_eq!(raw, encoded.iter().map(|receipt| Bytes::from(receipt.encoded_2718())).collect::<Vec<_>>());

    // Logs by block are those of the receipts.
    let found: Vec<Log> = serde_json::from_value(ask("eth_getLogs", json!([{ "blockHash": hash }])).await).unwrap();
    assert_eq!(found, logs);
    Checked { hash, number, timestamp: header.timestamp, transactions, logs }
}
