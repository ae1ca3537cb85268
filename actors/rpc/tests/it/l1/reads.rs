//! Blocks, transactions, receipts, logs and fees.

use super::{
    bed::{Bed, CHAIN_ID, PORTAL, TOPIC, batcher, word},
    checks::{Checked, check_block},
};
use alloy_primitives::{Address, B256, hex};
use duskevm_genesis::evm_address;
use duskevm_rpc::Limits;
use serde_json::{Value, json};

#[tokio::test]
async fn every_block_can_be_computed_again() {
    let bed = Bed::start(12, 5).await;
    let ask = async |method: &str, params: Value| bed.ask(method, params).await;
    let mut below: Option<Checked> = None;
    for number in 0..=12 {
        let block = check_block(&ask, number, below.as_ref()).await;
        assert_eq!(block.hash, bed.chain.blocks[number as usize].hash());
        assert_eq!((block.transactions.len(), block.logs.len()), (if number == 0 { 1 } else { 2 }, 1));
        below = Some(block);
    }
    bed.stop().await;
}

#[tokio::test]
async fn tags_name_the_heads() {
    let bed = Bed::start(9, 4).await;
    for (tag, number) in [("latest", 9), ("pending", 9), ("safe", 4), ("finalized", 4), ("earliest", 0)] {
        let block = bed.ask("eth_getBlockByNumber", json!([tag, false])).await;
        assert_eq!(block["hash"], json!(bed.chain.blocks[number].hash()), "{tag}");
    }
    assert_eq!(bed.ask("eth_blockNumber", json!([])).await, "0x9");
    assert_eq!(bed.ask("eth_chainId", json!([])).await, json!(format!("{CHAIN_ID:#x}")));
    assert_eq!(bed.ask("eth_syncing", json!([])).await, json!(false));
    assert_eq!(bed.ask("net_version", json!([])).await, json!(CHAIN_ID.to_string()));
    bed.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_null() {
    let bed = Bed::start(3, 3).await;
    let (nothing, tip) = (B256::repeat_byte(9), bed.chain.blocks[3].hash());
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["0x4", false])),
        ("eth_getBlockByHash", json!([nothing, true])),
        ("eth_getHeaderByHash", json!([nothing])),
        ("eth_getBlockReceipts", json!(["0x4"])),
        ("eth_getBlockReceipts", json!([nothing])),
        ("eth_getBlockReceipts", json!([{ "blockHash": nothing }])),
        ("eth_getBlockTransactionCountByNumber", json!(["0x4"])),
        ("eth_getBlockTransactionCountByHash", json!([nothing])),
        ("eth_getTransactionByHash", json!([nothing])),
        ("eth_getTransactionReceipt", json!([nothing])),
        ("eth_getTransactionByBlockHashAndIndex", json!([tip, "0x2"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x4", "0x0"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["latest", "0xffffffffffffffff"])),
        ("eth_getUncleByBlockNumberAndIndex", json!(["latest", "0x0"])),
    ] {
        assert_eq!(bed.ask(method, params.clone()).await, Value::Null, "{method} {params}");
    }
    assert_eq!(bed.ask("eth_getRawTransactionByHash", json!([nothing])).await, "0x");
    for method in ["debug_getRawHeader", "debug_getRawBlock", "debug_getRawReceipts"] {
        let (code, message) = bed.client().error(method, json!(["0x4"])).await;
        assert_eq!((code, message.contains("not found")), (-32000, true), "{method}: {message}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_dusk_transaction_is_found_by_its_own_id() {
    let bed = Bed::start(3, 3).await;
    let block = &bed.chain.blocks[2];
    let [logs, envelope] = block.transactions.as_slice() else { panic!() };
    assert_eq!(logs.dusk_id, envelope.dusk_id, "one Dusk transaction made both");
    let receipt = bed.ask("eth_getTransactionReceipt", json!([logs.dusk_id])).await;
    assert_eq!(receipt["transactionHash"], json!(logs.hash()), "the one with the logs");
    assert_eq!(receipt["logs"].as_array().unwrap().len(), 1);
    assert_eq!(receipt, bed.ask("eth_getTransactionReceipt", json!([logs.hash()])).await);
    assert_eq!(bed.ask("eth_getTransactionByHash", json!([logs.dusk_id])).await["hash"], json!(logs.hash()));
    let signed = bed.ask("eth_getTransactionByHash", json!([envelope.hash()])).await;
    assert_eq!(signed["from"], json!(batcher().address()));
    bed.stop().await;
}

#[tokio::test]
async fn logs_are_found_by_range_address_and_topics() {
    let bed = Bed::start(9, 9).await;
    let portal = evm_address(PORTAL);
    for (filter, wanted) in [
        (json!({}), 1),
        (json!({ "fromBlock": "earliest" }), 10),
        (json!({ "fromBlock": "0x3", "toBlock": "0x5" }), 3),
        (json!({ "fromBlock": "0x3", "toBlock": "0xffff" }), 7),
        (json!({ "fromBlock": "0xa", "toBlock": "0xb" }), 0),
        (json!({ "fromBlock": "0x0", "address": portal }), 10),
        (json!({ "fromBlock": "0x0", "address": [Address::ZERO, portal] }), 10),
        (json!({ "fromBlock": "0x0", "address": Address::ZERO }), 0),
        (json!({ "fromBlock": "0x0", "topics": [TOPIC] }), 10),
        (json!({ "fromBlock": "0x0", "topics": [[B256::ZERO, TOPIC], null] }), 10),
        (json!({ "fromBlock": "0x0", "topics": [null, [B256::with_last_byte(1), B256::ZERO]] }), 10),
        (json!({ "fromBlock": "0x0", "topics": [TOPIC, B256::with_last_byte(2)] }), 0),
        (json!({ "blockHash": bed.chain.blocks[4].hash(), "address": portal }), 1),
    ] {
        let found = bed.ask("eth_getLogs", json!([filter])).await;
        assert_eq!(found.as_array().unwrap().len(), wanted, "{filter}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn log_queries_are_bounded() {
    let limits = Limits { max_log_blocks: 6, max_log_results: 4, ..Limits::default() };
    let bed = Bed::with(9, 9, limits, |spec| spec).await;
    let unknown = B256::repeat_byte(9);
    let many: Vec<B256> = (0..1001).map(word).collect();
    let addresses: Vec<Address> = many.iter().map(|word| Address::from_word(*word)).collect();
    for (filter, code, why) in [
        (json!({ "fromBlock": "0x0", "toBlock": "0x6" }), -32602, "exceed maximum block range: 6"),
        (json!({ "fromBlock": "0x0", "toBlock": "0x5" }), -32005, "more than 4 results"),
        (json!({ "fromBlock": "0x5", "toBlock": "0x4" }), -32602, "invalid block range"),
        (json!({ "fromBlock": "0x0", "toBlock": "pending" }), -32602, "pending"),
        (json!({ "blockHash": unknown }), -32000, "unknown block"),
        (json!({ "address": addresses }), -32602, "max addresses"),
        (json!({ "topics": [many] }), -32602, "max topics"),
        (json!({ "topics": [1] }), -32602, "invalid argument 0"),
    ] {
        let (got, message) = bed.client().error("eth_getLogs", json!([filter])).await;
        assert_eq!((got, message.contains(why)), (code, true), "{filter}: {message}");
    }
    let found = bed.ask("eth_getLogs", json!([{ "fromBlock": "0x2", "toBlock": "0x5" }])).await;
    assert_eq!(found.as_array().unwrap().len(), 4);
    bed.stop().await;
}

#[tokio::test]
async fn fees_are_those_of_the_view() {
    let bed = Bed::start(5, 5).await;
    assert_eq!(bed.ask("eth_gasPrice", json!([])).await, "0x77359400");
    assert_eq!(bed.ask("eth_maxPriorityFeePerGas", json!([])).await, "0x3b9aca00");
    assert_eq!(bed.ask("eth_blobBaseFee", json!([])).await, "0x1");
    let history = bed.ask("eth_feeHistory", json!(["0x3", "latest", [0, 100]])).await;
    assert_eq!((&history["oldestBlock"], &history["baseFeePerGas"]), (&json!("0x3"), &json!(vec!["0x3b9aca00"; 4])));
    assert_eq!(history["gasUsedRatio"], json!(vec![0.0007; 3]), "two transactions of 21,000 gas in 60,000,000");
    assert_eq!(history["reward"], json!([["0x0", "0x3"], ["0x0", "0x4"], ["0x0", "0x5"]]));
    let more = bed.ask("eth_feeHistory", json!(["0xff", "0x1", []])).await;
    assert_eq!((&more["oldestBlock"], more["gasUsedRatio"].as_array().unwrap().len()), (&json!("0x0"), 2));
    let (_, message) = bed.client().error("eth_feeHistory", json!(["0x1", "0x6", []])).await;
    assert!(message.contains("beyond head"), "{message}");
    bed.stop().await;
}

#[tokio::test]
async fn transactions_are_refused_with_the_way_that_there_is() {
    let bed = Bed::start(1, 1).await;
    let raw = hex::encode_prefixed([2; 100]);
    let (code, message) = bed.client().error("eth_sendRawTransaction", json!([raw])).await;
    assert_eq!((code, message.contains("actors.carrier = true")), (-32000, true), "{message}");
    let (code, _) = bed.client().error("eth_sendRawTransaction", json!(["0xzz"])).await;
    assert_eq!(code, -32602);
    let (code, _) = bed.client().error("eth_newFilter", json!([{}])).await;
    assert_eq!(code, -32601, "filters are not served");
    bed.stop().await;
}
