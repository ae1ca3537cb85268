//! `debug_trace…`.

use crate::{
    chain::MemoryChain,
    client::number,
    node::{LOOP, Node, REVERT, STORE_AND_LOG, deploy, dynamic, transfer, user, word},
};
use alloy_consensus::Sealed;
use alloy_primitives::{Address, B256, TxKind};
use duskevm_rpc::Limits;
use serde_json::json;

#[tokio::test]
async fn a_mined_transaction_is_traced_as_it_ran() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let (alice, bob) = (user(0), user(1));
    // The second call sees what the first one stored in the same block.
    let block = node.chain.mine(vec![
        dynamic(&alice, 0, TxKind::Call(contract), 0, word(5)),
        dynamic(&bob, 0, TxKind::Call(contract), 0, word(6)),
    ]);
    let hash = block.transactions[2].hash();
    let receipt = client.call("eth_getTransactionReceipt", json!([hash])).await;

    let steps = client.call("debug_traceTransaction", json!([hash])).await;
    assert_eq!(steps["failed"], false);
    assert_eq!(u128::from(steps["gas"].as_u64().unwrap()), number(&receipt["gasUsed"]));
    let logs = steps["structLogs"].as_array().unwrap();
    assert_eq!(logs.len(), STORE_AND_LOG.len() - 3, "one step for each instruction: three have an operand");
    assert_eq!((&logs[0]["op"], &logs[0]["pc"], &logs[0]["depth"]), (&json!("PUSH0"), &json!(0), &json!(1)));
    assert!(logs[1]["stack"].is_array());

    let call = client
        .call("debug_traceTransaction", json!([hash, { "tracer": "callTracer", "tracerConfig": { "withLog": true } }]))
        .await;
    assert_eq!(call["type"], "CALL");
    assert_eq!((&call["from"], &call["to"]), (&json!(bob.address()), &json!(contract)));
    assert_eq!((&call["input"], &call["output"]), (&json!(word(6)), &json!(word(6))));
    assert_eq!(call["gasUsed"], receipt["gasUsed"]);
    assert_eq!(call["logs"].as_array().unwrap().len(), 1);

    let before = client.call("debug_traceTransaction", json!([hash, { "tracer": "prestateTracer" }])).await;
    let key = contract.to_string().to_lowercase();
    assert_eq!(before[&key]["storage"][B256::ZERO.to_string()], json!(word(5)), "{before}");
    let diff = json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } });
    let diff = client.call("debug_traceTransaction", json!([hash, diff])).await;
    assert_eq!(diff["post"][&key]["storage"][B256::ZERO.to_string()], json!(word(6)), "{diff}");
    for (tracer, config) in [
        ("noopTracer", json!({})),
        ("4byteTracer", json!({})),
        ("muxTracer", json!({ "callTracer": {}, "prestateTracer": {} })),
    ] {
        let options = json!({ "tracer": tracer, "tracerConfig": config });
        let answer = client.raw("debug_traceTransaction", json!([hash, options])).await;
        assert!(answer["result"].is_object(), "{tracer}: {answer}");
    }

    // A deposit is traced like any other.
    let deposit =
        client.call("debug_traceTransaction", json!([block.transactions[0].hash(), { "tracer": "callTracer" }])).await;
    assert_eq!(deposit["to"], "0x4200000000000000000000000000000000000015");
    assert!(deposit.get("error").is_none(), "{deposit}");

    let whole = client.call("debug_traceBlockByNumber", json!(["latest", { "tracer": "callTracer" }])).await;
    let whole = whole.as_array().unwrap();
    assert_eq!(whole.len(), 3);
    for (trace, tx) in whole.iter().zip(&block.transactions) {
        assert_eq!(trace["txHash"], json!(tx.hash()));
        let receipt = client.call("eth_getTransactionReceipt", json!([tx.hash()])).await;
        assert_eq!(trace["result"]["gasUsed"], receipt["gasUsed"]);
    }
    assert_eq!(whole[2]["result"]["output"], json!(word(6)));
    let by_hash = client.call("debug_traceBlockByHash", json!([block.hash(), { "tracer": "callTracer" }])).await;
    assert_eq!(by_hash, json!(whole));
    let rlp = alloy_primitives::Bytes::from(block.to_rlp());
    let by_rlp = client.call("debug_traceBlock", json!([rlp, { "tracer": "callTracer" }])).await;
    assert_eq!(by_rlp, json!(whole));

    assert_eq!(
        client.error("debug_traceTransaction", json!([B256::ZERO])).await,
        (-32000, "transaction not found".into())
    );
    assert_eq!(
        client.error("debug_traceBlockByNumber", json!(["0x0"])).await,
        (-32000, "genesis is not traceable".into())
    );
    let (code, message) = client.error("debug_traceTransaction", json!([hash, { "tracer": "function() {}" }])).await;
    assert_eq!((code, message.contains("no JavaScript")), (-32000, true), "{message}");
    let (code, _) = client.error("debug_traceTransaction", json!([hash, { "timeout": "soon" }])).await;
    assert_eq!(code, -32602);
    node.stop().await;
}

#[tokio::test]
async fn a_call_is_traced_on_any_state() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, REVERT);
    let request = json!({ "to": contract, "data": "0x01020304" });
    let trace = client.call("debug_traceCall", json!([request, "latest", { "tracer": "callTracer" }])).await;
    assert_eq!((&trace["error"], &trace["output"]), (&json!("execution reverted"), &json!("0x01020304")));
    let overridden = json!({
        "tracer": "callTracer",
        "stateOverrides": { (contract.to_string()): { "code": "0x435f5260205ff3" } },
        "blockOverrides": { "number": "0x99" }
    });
    let trace = client.call("debug_traceCall", json!([request, "latest", overridden])).await;
    assert_eq!(trace["output"], json!(word(0x99)));

    // After the first transaction of the block, before the second.
    let (alice, to) = (user(0), Address::repeat_byte(0x33));
    node.chain.mine(vec![transfer(&alice, 0, to, 3), transfer(&alice, 1, to, 4)]);
    // Returns the balance of the called account.
    let balance = |index: u64| {
        json!([{ "to": to }, "latest", {
            "tracer": "callTracer", "txIndex": format!("{index:#x}"),
            "stateOverrides": { (to.to_string()): { "code": "0x475f5260205ff3" } }
        }])
    };
    assert_eq!(client.call("debug_traceCall", balance(1)).await["output"], json!(word(0)));
    assert_eq!(client.call("debug_traceCall", balance(2)).await["output"], json!(word(3)));
    let (code, _) = client.error("debug_traceCall", balance(3)).await;
    assert_eq!(code, -32000);
    node.stop().await;
}

#[tokio::test]
async fn a_trace_is_bounded_in_memory_and_time() {
    let limits = Limits { max_trace_bytes: 1024 * 1024, ..Limits::default() };
    let node = Node::with(MemoryChain::isthmus(), limits).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, LOOP);
    let (code, message) = client.error("debug_traceCall", json!([{ "to": contract }, "latest"])).await;
    assert_eq!((code, message.starts_with("trace too large")), (-32000, true), "{message}");
    // The call tracer records one frame only and runs until the gas is out.
    let options = json!({ "tracer": "callTracer" });
    let trace = client.call("debug_traceCall", json!([{ "to": contract, "gas": "0x100000" }, "latest", options])).await;
    assert_eq!(trace["error"], "out of gas");
    let options = json!({ "tracer": "callTracer", "timeout": "1ms" });
    let (code, message) = client.error("debug_traceCall", json!([{ "to": contract }, "latest", options])).await;
    assert_eq!((code, message.starts_with("execution aborted (timeout")), (-32000, true), "{message}");
    node.stop().await;
}

#[tokio::test]
async fn a_block_from_outside_is_bounded_in_gas() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, LOOP);
    // The first uses up its half a million.
    let looping = dynamic(&user(0), 0, TxKind::Call(contract), 0, word(0));
    let block = node.chain.mine(vec![looping, transfer(&user(1), 0, Address::ZERO, 1)]);
    let with_limit = |gas_limit| {
        let header = alloy_consensus::Header { gas_limit, ..block.header.inner().clone() };
        let block = duskevm_evm::Block { header: Sealed::new(header), transactions: block.transactions.clone() };
        json!([alloy_primitives::Bytes::from(block.to_rlp()), { "tracer": "callTracer" }])
    };
    let traces = client.call("debug_traceBlock", with_limit(block.header.gas_limit)).await;
    assert_eq!(traces.as_array().unwrap().len(), 3);
    let (code, message) = client.error("debug_traceBlock", with_limit(u64::MAX)).await;
    assert_eq!((code, message.contains("gas limit")), (-32000, true), "{message}");
    // The deposit has a limit of a million and uses a part of it; the others have limits of half a million.
    let (code, message) = client.error("debug_traceBlock", with_limit(1_010_000)).await;
    assert_eq!(code, -32000, "{message}");
    assert_eq!(message, format!("block gas limit reached before transaction {}", block.transactions[2].hash()));
    node.stop().await;
}

#[tokio::test]
async fn storage_that_each_step_repeats_is_bounded() {
    // Reads the slots 0, 1, 2, … until the gas is out: each read is recorded with all slots before it.
    const READS: &[u8] = &[0x5f, 0x5b, 0x80, 0x54, 0x50, 0x60, 0x01, 0x01, 0x60, 0x01, 0x56];
    let limits = Limits { max_trace_bytes: 16 * 1024 * 1024, ..Limits::default() };
    let node = Node::with(MemoryChain::isthmus(), limits).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, READS);
    // Some 1,400 reads: a tenth of the budget without the storage, six times the budget with it.
    let call = json!({ "to": contract, "gas": "0x300000" });
    let plain = client.call("debug_traceCall", json!([call, "latest", { "disableStorage": true }])).await;
    let reads = plain["structLogs"].as_array().unwrap().iter().filter(|log| log["op"] == "SLOAD").count();
    assert!(reads > 1000, "{reads}");
    let (code, message) = client.error("debug_traceCall", json!([call, "latest"])).await;
    assert_eq!((code, message.starts_with("trace too large")), (-32000, true), "{message}");
    // A few slots are no matter.
    let few = json!({ "to": contract, "gas": "0x20000" });
    let few = client.call("debug_traceCall", json!([few, "latest"])).await;
    let logs = few["structLogs"].as_array().unwrap();
    let last = logs.iter().rfind(|log| log["op"] == "SLOAD").unwrap();
    assert!(last["storage"].as_object().unwrap().len() > 10, "{last}");
    node.stop().await;
}
