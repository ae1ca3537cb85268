//! Calls, estimates and access lists.

use crate::{
    chain::MemoryChain,
    client::number,
    node::{LOOP, Node, REVERT, STORE_AND_LOG, deploy, dynamic, user, word},
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use alloy_sol_types::{Revert, SolError};
use duskevm_rpc::Limits;
use serde_json::json;

#[tokio::test]
async fn a_call_returns_what_the_contract_returns() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let client = node.client();
    let request = json!({ "to": contract, "data": word(9) });
    assert_eq!(client.call("eth_call", json!([request])).await, json!(word(9)));
    assert_eq!(client.call("eth_call", json!([request, "latest"])).await, json!(word(9)));
    let by_input = json!({ "to": contract, "input": word(9), "data": word(9) });
    assert_eq!(client.call("eth_call", json!([by_input, "latest"])).await, json!(word(9)));
    // Before it was deployed there is nothing to call.
    assert_eq!(client.call("eth_call", json!([request, "0x0"])).await, "0x");
    assert_eq!(
        client.call("eth_getStorageAt", json!([contract, "0x0", "latest"])).await,
        json!(B256::ZERO),
        "calls change nothing"
    );
    let both = json!({ "to": contract, "input": word(9), "data": word(8) });
    let (code, message) = client.error("eth_call", json!([both])).await;
    assert_eq!((code, message.starts_with("both \"data\" and \"input\" are set")), (-32000, true));
    node.stop().await;
}

#[tokio::test]
async fn a_revert_returns_its_data() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let contract = deploy(&node.chain, 0, REVERT);
    let client = node.client();
    let data = Bytes::from(Revert::from("not today").abi_encode());
    for method in ["eth_call", "eth_estimateGas"] {
        let answer = client.raw(method, json!([{ "to": contract, "data": data }])).await;
        assert_eq!(
            answer["error"],
            json!({ "code": 3, "message": "execution reverted: not today", "data": data }),
            "{method}"
        );
        let answer = client.raw(method, json!([{ "to": contract, "data": "0x" }])).await;
        assert_eq!(answer["error"], json!({ "code": 3, "message": "execution reverted", "data": "0x" }), "{method}");
    }
    node.stop().await;
}

#[tokio::test]
async fn checks_are_those_of_geth() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let poor = Address::repeat_byte(0x99);
    let to = Address::repeat_byte(0xaa);
    // No gas price: no balance is needed for gas, and none for L1 or operator fees.
    assert_eq!(client.call("eth_call", json!([{ "from": poor, "to": to }])).await, "0x");
    let (code, message) = client.error("eth_call", json!([{ "from": poor, "to": to, "value": "0x1" }])).await;
    assert_eq!(code, -32000);
    assert!(message.starts_with("err: insufficient funds for gas * price + value"), "{message}");
    let (_, message) = client.error("eth_call", json!([{ "from": poor, "to": to, "gasPrice": "0x1" }])).await;
    assert!(message.contains("max fee per gas less than block base fee"), "{message}");
    let (_, message) = client.error("eth_call", json!([{ "from": poor, "to": to, "gas": "0x1" }])).await;
    assert!(message.contains("intrinsic gas too low: have 1, want 21000"), "{message}");
    let (_, message) = client.error("eth_call", json!([{ "to": to, "gasPrice": "0x1", "maxFeePerGas": "0x1" }])).await;
    assert_eq!(message, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified");
    let (_, message) = client.error("eth_call", json!([{ "to": to, "chainId": "0x1" }])).await;
    assert_eq!(message, "chainId does not match node's (have=1, want=31310)");
    // The nonce does not matter, and a contract may be the sender.
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    assert_eq!(client.call("eth_call", json!([{ "from": contract, "to": to, "nonce": "0x99" }])).await, "0x");
    // Invalid code is an error with a name.
    let (code, message) = client.error("eth_call", json!([{ "data": "0xfe" }])).await;
    assert_eq!((code, message.as_str()), (-32000, "invalid opcode: INVALID"));
    node.stop().await;
}

#[tokio::test]
async fn state_and_block_can_be_overridden() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    node.chain.mine(vec![dynamic(&user(0), 0, TxKind::Call(contract), 0, word(5))]);
    // Returns slot 0.
    let read = "0x5f545f5260205ff3";
    let call = json!({ "to": contract });
    let with = |o: serde_json::Value| json!([call, "latest", { (contract.to_string()): o }]);
    assert_eq!(client.call("eth_call", with(json!({ "code": read }))).await, json!(word(5)));
    let slot = B256::ZERO;
    let diff = json!({ "code": read, "stateDiff": { (slot.to_string()): B256::with_last_byte(6) } });
    assert_eq!(client.call("eth_call", with(diff)).await, json!(word(6)));
    let cleared = json!({ "code": read, "state": {} });
    assert_eq!(client.call("eth_call", with(cleared)).await, json!(word(0)));
    let both = json!({ "state": {}, "stateDiff": {} });
    let (code, message) = client.error("eth_call", with(both)).await;
    assert_eq!((code, message.contains("has both 'state' and 'stateDiff'")), (-32000, true));

    // Balance and nonce of the sender: SELFBALANCE of the callee after a transfer.
    let poor = Address::repeat_byte(0x99);
    let rich = json!([
        { "from": poor, "to": contract, "value": "0x10" }, "latest",
        { (poor.to_string()): { "balance": "0x10" }, (contract.to_string()): { "code": "0x475f5260205ff3" } }
    ]);
    assert_eq!(client.call("eth_call", rich).await, json!(word(0x10)));

    // NUMBER, TIMESTAMP, BASEFEE, COINBASE and a block hash.
    for (code, overrides, expected) in [
        ("0x435f5260205ff3", json!({ "number": "0x1234" }), U256::from(0x1234)),
        ("0x425f5260205ff3", json!({ "time": "0x55" }), U256::from(0x55)),
        ("0x415f5260205ff3", json!({ "coinbase": Address::with_last_byte(7) }), U256::from(7)),
        ("0x445f5260205ff3", json!({ "random": B256::with_last_byte(8) }), U256::from(8)),
        (
            "0x6001405f5260205ff3",
            json!({ "number": "0x2", "blockHash": { "1": B256::with_last_byte(3) } }),
            U256::from(3),
        ),
    ] {
        let params = json!([call, "latest", { (contract.to_string()): { "code": code } }, overrides]);
        assert_eq!(client.call("eth_call", params).await, json!(B256::from(expected)), "{code}");
    }
    // The identity precompile at another address.
    let moved = Address::repeat_byte(0x0a);
    let identity = Address::with_last_byte(4);
    let params = json!([
        { "to": moved, "data": "0x0102" }, "latest",
        { (identity.to_string()): { "movePrecompileToAddress": moved } }
    ]);
    assert_eq!(client.call("eth_call", params).await, "0x0102");
    node.stop().await;
}

#[tokio::test]
async fn an_estimate_is_enough_and_not_much_more() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let user = user(0);
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let plain = json!([{ "from": user.address(), "to": Address::repeat_byte(1), "value": "0x1" }]);
    assert_eq!(client.call("eth_estimateGas", plain).await, "0x5208");

    let request = json!({ "from": user.address(), "to": contract, "data": word(5) });
    let estimate = number(&client.call("eth_estimateGas", json!([request])).await) as u64;
    let block = node.chain.mine(vec![dynamic(&user, 0, TxKind::Call(contract), 0, word(5))]);
    let used = client.call("eth_getTransactionReceipt", json!([block.transactions[1].hash()])).await;
    let used = number(&used["gasUsed"]) as u64;
    assert!(estimate >= used && estimate < used * 103 / 100, "estimated {estimate}, used {used}");
    // With that limit a call of the same kind succeeds.
    let capped = json!([{ "from": user.address(), "to": contract, "data": word(6), "gas": format!("{estimate:#x}") }]);
    assert_eq!(client.call("eth_call", capped).await, json!(word(6)));

    // A sender who can pay for some gas only.
    let poor = Address::repeat_byte(0x99);
    let price = node.chain.head().header.base_fee_per_gas.unwrap() * 2;
    let params = json!([
        { "from": poor, "to": contract, "data": word(5), "gasPrice": format!("{price:#x}") }, "latest",
        { (poor.to_string()): { "balance": format!("{:#x}", u128::from(price) * 22_000) } }
    ]);
    let (code, message) = client.error("eth_estimateGas", params).await;
    assert_eq!((code, message.as_str()), (-32000, "gas required exceeds allowance (22000)"));
    let (_, message) = client
        .error(
            "eth_estimateGas",
            json!([{ "from": poor, "to": contract, "value": "0x1", "gasPrice": format!("{price:#x}") }]),
        )
        .await;
    assert_eq!(message, "insufficient funds for transfer");
    node.stop().await;
}

#[tokio::test]
async fn an_access_list_names_what_is_touched() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let list = client.call("eth_createAccessList", json!([{ "to": contract, "data": word(5) }])).await;
    assert_eq!(list["accessList"], json!([{ "address": contract, "storageKeys": [B256::ZERO] }]));
    assert!(list.get("error").is_none());
    let used = number(&list["gasUsed"]);
    assert!(used > 40_000, "{list}");
    let reverting = deploy(&node.chain, 1, REVERT);
    let list = client.call("eth_createAccessList", json!([{ "to": reverting }])).await;
    assert_eq!((&list["error"], &list["accessList"]), (&json!("execution reverted"), &json!([])));
    node.stop().await;
}

#[tokio::test]
async fn endless_code_ends() {
    let limits = Limits { call_gas_cap: u64::MAX, call_timeout_ms: 200, ..Limits::default() };
    let node = Node::with(MemoryChain::isthmus(), limits).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, LOOP);
    let (code, message) = client.error("eth_call", json!([{ "to": contract }])).await;
    assert_eq!((code, message.as_str()), (-32000, "execution aborted (timeout = 200ms)"));
    // And with a cap on gas it runs out of that.
    node.stop().await;
    let node = Node::with(MemoryChain::isthmus(), Limits { call_gas_cap: 1_000_000, ..Limits::default() }).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, LOOP);
    let request = json!({ "to": contract, "gas": "0xffffffffff" });
    assert_eq!(client.error("eth_call", json!([request])).await, (-32000, "out of gas".into()));
    let (_, message) = client.error("eth_estimateGas", json!([request])).await;
    assert_eq!(message, "gas required exceeds allowance (1000000)");
    // GAS shows what the cap leaves.
    let gas = client
        .call("eth_call", json!([{ "data": hex::encode_prefixed([0x5a, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]) }]))
        .await;
    assert!(number(&json!(format!("0x{}", gas.as_str().unwrap()[2..].trim_start_matches('0')))) < 1_000_000);
    node.stop().await;
}

#[tokio::test]
async fn blocks_of_calls_follow_one_another() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let (rich, to) = (Address::repeat_byte(0x99), Address::repeat_byte(0x55));
    let payload = json!({
        "traceTransfers": true,
        "blockStateCalls": [
            {
                "stateOverrides": { (rich.to_string()): { "balance": "0x64" } },
                "calls": [
                    { "from": rich, "to": to, "value": "0x3c" },
                    { "from": rich, "to": contract, "data": word(5) }
                ]
            },
            {
                "blockOverrides": { "number": "0x4", "time": "0x75000000" },
                // What the first block did is there: 40 wei are left, and 60 are too much.
                "calls": [
                    { "from": rich, "to": to, "value": "0x28" },
                    { "from": rich, "to": deploy_target(), "data": "0xfe" }
                ],
                "stateOverrides": { (deploy_target().to_string()): { "code": "0x5f5ffd" } }
            }
        ]
    });
    let blocks = client.call("eth_simulateV1", json!([payload, "latest"])).await;
    let blocks = blocks.as_array().unwrap();
    assert_eq!(blocks.len(), 3, "block 3 lies between 2 and 4");
    assert_eq!([0, 1, 2].map(|i| blocks[i]["number"].clone()), ["0x2", "0x3", "0x4"].map(|n| json!(n)));
    assert_eq!(blocks[1]["parentHash"], blocks[0]["hash"]);
    assert_eq!(blocks[2]["timestamp"], "0x75000000");
    let first = &blocks[0]["calls"];
    assert_eq!((&first[0]["status"], &first[0]["gasUsed"]), (&json!("0x1"), &json!("0x5208")));
    let transfer = &first[0]["logs"][0];
    assert_eq!(transfer["address"], "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
    assert_eq!(transfer["data"], json!(word(60)));
    assert_eq!(first[1]["returnData"], json!(word(5)));
    let log = &first[1]["logs"][0];
    assert_eq!(
        (&log["address"], &log["logIndex"], &log["blockHash"]),
        (&json!(contract), &json!("0x1"), &blocks[0]["hash"])
    );
    assert_eq!(blocks[0]["transactions"].as_array().unwrap().len(), 2);
    let second = &blocks[2]["calls"];
    assert_eq!(second[0]["status"], "0x1");
    assert_eq!((&second[1]["status"], &second[1]["error"]["code"]), (&json!("0x0"), &json!(3)));
    assert_eq!(second[1]["error"]["message"], "execution reverted");

    let spend = |value: &str| json!({ "blockStateCalls": [{ "calls": [{ "from": rich, "to": to, "value": value }] }] });
    let (code, message) = client.error("eth_simulateV1", json!([spend("0x1")])).await;
    assert_eq!((code, message.contains("insufficient funds")), (-38014, true), "{message}");
    for (payload, code) in [
        (json!({ "blockStateCalls": [] }), -32602),
        (json!({ "blockStateCalls": [{ "blockOverrides": { "number": "0x1" } }] }), -38020),
        (json!({ "blockStateCalls": [{ "blockOverrides": { "number": "0x1000" } }] }), -38026),
        (json!({ "blockStateCalls": [{ "blockOverrides": { "time": "0x1" } }] }), -38021),
        (json!({ "blockStateCalls": [{ "calls": [{ "gas": "0xffffffffff" }] }] }), -38015),
        (json!({ "validation": true, "blockStateCalls": [{ "calls": [{ "nonce": "0x5" }] }] }), -38011),
    ] {
        assert_eq!(client.error("eth_simulateV1", json!([payload])).await.0, code, "{payload}");
    }
    node.stop().await;
}

fn deploy_target() -> Address {
    Address::repeat_byte(0x66)
}
