//! Payloads that are built.

use super::stand_in::{EngineNode, attributes_json, state};
use crate::node::{transfer, user};
use alloy_primitives::{Address, B256, Bytes};
use duskevm_supervision::{ActorState, Fault};
use serde_json::{Value, json};
use std::time::Duration;

const TO: Address = Address::repeat_byte(0xde);

/// Asks for a block on the head with these attributes.
async fn begin(node: &EngineNode, attributes: &Value) -> Value {
    begin_by(node, "engine_forkchoiceUpdatedV3", attributes).await
}

async fn begin_by(node: &EngineNode, method: &str, attributes: &Value) -> Value {
    let head = node.executor.head().hash();
    node.raw(method, json!([state(head, B256::ZERO, B256::ZERO), attributes])).await
}

/// The id of a payload that is begun.
async fn id(node: &EngineNode, attributes: &Value) -> Value {
    let answer = begin(node, attributes).await;
    assert_eq!(answer["result"]["payloadStatus"]["status"], "VALID", "{answer}");
    let id = answer["result"]["payloadId"].clone();
    assert!(id.is_string(), "{answer}");
    id
}

fn plain(node: &EngineNode, no_tx_pool: bool) -> Value {
    attributes_json(&node.chain.attributes(&node.executor.head(), Vec::new(), 1), no_tx_pool)
}

#[tokio::test]
async fn a_payload_of_forced_transactions_is_built_once_and_imported() {
    let node = EngineNode::start().await;
    let forced = transfer(&user(0), 0, TO, 5);
    let attributes = attributes_json(&node.chain.attributes(&node.executor.head(), vec![forced.clone()], 1), true);
    node.executor.pool.lock().push(transfer(&user(1), 0, TO, 5));
    let first = id(&node, &attributes).await;
    assert_eq!(id(&node, &attributes).await, first, "the same attributes have the same id");
    let builds = node.executor.asked().iter().filter(|what| *what == "build").count();
    assert_eq!(builds, 1);
    let envelope = node.call("engine_getPayloadV4", json!([first])).await;
    let payload = &envelope["executionPayload"];
    assert_eq!(payload["transactions"].as_array().unwrap().len(), 2, "nothing from the pool");
    assert_eq!(payload["transactions"][1], json!(forced.encoded()));
    assert_eq!(envelope["executionRequests"], json!([]));
    assert_eq!(envelope["parentBeaconBlockRoot"], json!(B256::ZERO));
    let status = node.call("engine_newPayloadV4", json!([payload, [], B256::ZERO, []])).await;
    assert_eq!(status["status"], "VALID");
    let other = attributes_json(&node.chain.attributes(&node.executor.head(), Vec::new(), 2), true);
    assert_ne!(id(&node, &other).await, first);
    node.stop().await;
}

#[tokio::test]
async fn the_pools_transactions_are_taken_when_the_payload_is_asked_for() {
    let node = EngineNode::start().await;
    let (good, bad) = (transfer(&user(0), 0, TO, 5), transfer(&user(1), 100, TO, 5));
    let begun = id(&node, &plain(&node, false)).await;
    node.executor.until_asked("best", 1).await;
    // They came after the payload was begun.
    node.executor.pool.lock().extend([good.clone(), bad.clone()]);
    let envelope = node.call("engine_getPayloadV4", json!([begun])).await;
    let payload = &envelope["executionPayload"];
    assert_eq!(payload["transactions"][1], json!(good.encoded()));
    assert_ne!(envelope["blockValue"], "0x0");
    assert_eq!(*node.executor.invalid.lock(), [bad.hash()], "the pool is told");
    // What was answered once stays, also when more comes or the head moves.
    node.executor.pool.lock().push(transfer(&user(2), 0, TO, 5));
    assert_eq!(node.call("engine_getPayloadV4", json!([begun])).await, envelope);
    node.import(&node.block_on(&node.executor.head(), 7)).await;
    assert_eq!(node.call("engine_getPayloadV4", json!([begun])).await, envelope);
    node.stop().await;
}

#[tokio::test]
async fn what_takes_long_is_built_ahead_and_answered_at_once() {
    let node = EngineNode::start().await;
    let early = transfer(&user(0), 0, TO, 5);
    node.executor.pool.lock().push(early.clone());
    *node.executor.building.lock() = Duration::from_millis(200);
    let begun = id(&node, &plain(&node, false)).await;
    // Of the forced transactions, and with the pool; nobody has asked for it.
    node.executor.until_asked("build done", 2).await;
    node.executor.pool.lock().push(transfer(&user(1), 0, TO, 5));
    let envelope = node.call("engine_getPayloadV4", json!([begun])).await;
    let transactions = &envelope["executionPayload"]["transactions"];
    assert_eq!((transactions.as_array().unwrap().len(), &transactions[1]), (2, &json!(early.encoded())));
    assert_eq!(node.executor.asked(), [""; 0], "it is not built while the client waits");
    node.stop().await;
}

#[tokio::test]
async fn a_payload_that_is_asked_for_while_it_is_built_waits_for_that_and_no_longer() {
    let node = EngineNode::start().await;
    node.executor.pool.lock().push(transfer(&user(0), 0, TO, 5));
    *node.executor.building.lock() = Duration::from_millis(200);
    let begun = id(&node, &plain(&node, false)).await;
    let envelope = node.call("engine_getPayloadV4", json!([begun])).await;
    assert_eq!(envelope["executionPayload"]["transactions"].as_array().unwrap().len(), 2);
    let builds = node.executor.asked().iter().filter(|what| *what == "build").count();
    assert_eq!(builds, 2, "of the forced transactions, and with the pool");
    node.stop().await;
}

#[tokio::test]
async fn after_the_head_has_moved_the_block_without_the_pool_is_answered() {
    let node = EngineNode::start().await;
    let begun = id(&node, &plain(&node, false)).await;
    node.executor.until_asked("best", 1).await;
    node.executor.pool.lock().push(transfer(&user(0), 0, TO, 5));
    node.import(&node.block_on(&node.executor.head(), 7)).await;
    let envelope = node.call("engine_getPayloadV4", json!([begun])).await;
    assert_eq!(envelope["executionPayload"]["transactions"].as_array().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_executor_that_dies_over_a_payload_is_an_error_and_the_payload_stays() {
    let node = EngineNode::start().await;
    let attributes = plain(&node, false);
    let begun = id(&node, &attributes).await;
    node.executor.until_asked("best", 1).await;
    node.executor.pool.lock().push(transfer(&user(0), 0, TO, 5));
    *node.executor.dies.lock() = true;
    assert_eq!(node.error("engine_getPayloadV4", json!([begun])).await, -32000);
    let envelope = node.call("engine_getPayloadV4", json!([begun])).await;
    assert_eq!(envelope["executionPayload"]["transactions"].as_array().unwrap().len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn what_could_not_be_built_ahead_is_built_when_the_payload_is_asked_for() {
    let node = EngineNode::start().await;
    let transaction = transfer(&user(0), 0, TO, 5);
    node.executor.pool.lock().push(transaction.clone());
    // It dies after more than a building may take that is repeated.
    *node.executor.building.lock() = Duration::from_millis(200);
    *node.executor.dies_building.lock() = true;
    let begun = id(&node, &plain(&node, false)).await;
    while *node.executor.dies_building.lock() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // It is back long before the block is due.
    *node.executor.building.lock() = Duration::ZERO;
    let envelope = node.call("engine_getPayloadV4", json!([begun])).await;
    let transactions = &envelope["executionPayload"]["transactions"];
    assert_eq!((transactions.as_array().unwrap().len(), &transactions[1]), (2, &json!(transaction.encoded())));
    node.stop().await;
}

#[tokio::test]
async fn what_was_built_ahead_is_answered_if_the_executor_dies_over_the_repetition() {
    let node = EngineNode::start().await;
    let early = transfer(&user(0), 0, TO, 5);
    node.executor.pool.lock().push(early.clone());
    let begun = id(&node, &plain(&node, false)).await;
    node.executor.until_asked("build done", 2).await;
    node.executor.pool.lock().push(transfer(&user(1), 0, TO, 5));
    *node.executor.dies.lock() = true;
    let envelope = node.call("engine_getPayloadV4", json!([begun])).await;
    let transactions = &envelope["executionPayload"]["transactions"];
    assert_eq!((transactions.as_array().unwrap().len(), &transactions[1]), (2, &json!(early.encoded())));
    *node.executor.dies.lock() = false;
    assert_eq!(node.call("engine_getPayloadV4", json!([begun])).await, envelope, "it stays the answer");
    node.stop().await;
}

/// Attributes as a consensus client sends them for a block before Canyon.
fn of_bedrock(node: &EngineNode) -> Value {
    let mut attributes = plain(node, true);
    for field in ["withdrawals", "parentBeaconBlockRoot", "eip1559Params"] {
        attributes.as_object_mut().unwrap().remove(field);
    }
    attributes
}

#[tokio::test]
async fn before_canyon_the_first_version_of_each_method_drives_the_chain() {
    // The first block is before Canyon, the second one is not.
    let node = EngineNode::canyon_after(4).await;
    let genesis = node.executor.head();
    let (v1, v2) = ("engine_forkchoiceUpdatedV1", "engine_forkchoiceUpdatedV2");
    let attributes = of_bedrock(&node);
    let begun = begin_by(&node, v1, &attributes).await;
    assert_eq!(begun["result"]["payloadStatus"]["status"], "VALID", "{begun}");
    let id = begun["result"]["payloadId"].clone();
    assert!(id.as_str().unwrap().starts_with("0x01"), "{begun}");
    let payload = node.call("engine_getPayloadV1", json!([id])).await;
    assert_eq!((&payload["parentHash"], &payload["withdrawals"]), (&json!(genesis.hash()), &Value::Null));
    assert_eq!(payload["transactions"], attributes["transactions"]);
    // op-node asks with V2, and offers with it.
    let envelope = node.call("engine_getPayloadV2", json!([id])).await;
    assert_eq!(envelope["executionPayload"], payload);
    assert_eq!(node.error("engine_getPayloadV3", json!([id])).await, -38005);
    for version in ["V1", "V2"] {
        let status = node.call(&format!("engine_newPayload{version}"), json!([payload])).await;
        assert_eq!((&status["status"], &status["latestValidHash"]), (&json!("VALID"), &payload["blockHash"]));
    }
    assert_eq!(node.error("engine_newPayloadV1", json!([payload, []])).await, -32602);
    let mut wrong = payload.clone();
    wrong["gasUsed"] = json!("0x1");
    assert_eq!(node.call("engine_newPayloadV1", json!([wrong])).await["status"], "INVALID");

    let mut with_withdrawals = attributes.clone();
    with_withdrawals["withdrawals"] = json!([]);
    assert_eq!(begin_by(&node, v1, &with_withdrawals).await["error"]["code"], -32602);
    assert_eq!(begin_by(&node, v2, &with_withdrawals).await["error"]["code"], -38003);
    let other = begin_by(&node, v2, &attributes).await;
    assert!(other["result"]["payloadId"].as_str().unwrap().starts_with("0x02"), "{other}");

    let hash: B256 = serde_json::from_value(payload["blockHash"].clone()).unwrap();
    node.call(v1, json!([state(hash, B256::ZERO, B256::ZERO)])).await;
    assert_eq!(node.executor.head().hash(), hash);
    let late = begin_by(&node, v1, &of_bedrock(&node)).await;
    assert_eq!(late["error"]["code"], -38005, "it would be a block of Canyon: {late}");
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_payload_and_a_wrong_version_are_named() {
    let node = EngineNode::start().await;
    let unknown = json!(["0x0300000000000000"]);
    for version in ["V1", "V2", "V3", "V4"] {
        assert_eq!(node.error(&format!("engine_getPayload{version}"), unknown.clone()).await, -38001);
    }
    for bad in [json!([]), json!(["0x"]), json!([7]), json!(["0x0300000000000000", 1])] {
        assert_eq!(node.error("engine_getPayloadV4", bad).await, -32602);
    }
    assert_eq!(node.executor.asked(), [""; 0]);
    let begun = id(&node, &plain(&node, true)).await;
    for version in ["V1", "V2", "V3"] {
        assert_eq!(node.error(&format!("engine_getPayload{version}"), json!([begun])).await, -38005);
    }
    node.stop().await;
}

#[tokio::test]
async fn attributes_are_judged_after_the_head_was_taken() {
    let node = EngineNode::start().await;
    let genesis = node.executor.head();
    let block = node.block_on(&genesis, 1);
    node.import(&block).await;
    let good = attributes_json(&node.chain.attributes(&block, Vec::new(), 1), true);
    let mut bad: Vec<(Value, i64)> = Vec::new();
    let mut change = |field: &str, value: Value, code: i64| {
        let mut attributes = good.clone();
        attributes[field] = value;
        bad.push((attributes, code));
    };
    change("transactions", json!([Bytes::from_static(&[0x7e, 0xc0])]), -38003);
    change("transactions", json!([transfer(&user(0), 0, TO, 5).encoded()]), -38003);
    change("timestamp", json!("0x1"), -38003);
    change("gasLimit", Value::Null, -38003);
    change("eip1559Params", json!("0x0000000000000001"), -38003);
    change("parentBeaconBlockRoot", Value::Null, -38003);
    change("timestamp", json!("soon"), -38003);
    // A nonce that no account has: only whoever executes it finds out.
    let late = node.chain.attributes(&block, vec![transfer(&user(0), 50, TO, 5)], 1);
    change("transactions", attributes_json(&late, true)["transactions"].clone(), -38003);
    for (attributes, code) in bad {
        node.call("engine_forkchoiceUpdatedV3", json!([state(genesis.hash(), B256::ZERO, B256::ZERO)])).await;
        let params = json!([state(block.hash(), B256::ZERO, B256::ZERO), attributes]);
        let answer = node.raw("engine_forkchoiceUpdatedV3", params).await;
        assert_eq!(answer["error"]["code"], code, "{attributes}: {answer}");
        assert_eq!(node.executor.head().hash(), block.hash(), "the head is taken nevertheless");
    }
    let of_another_version = json!([state(block.hash(), B256::ZERO, B256::ZERO), good]);
    assert_eq!(node.error("engine_forkchoiceUpdatedV2", of_another_version.clone()).await, -38003);
    assert_eq!(node.error("engine_forkchoiceUpdatedV1", of_another_version).await, -32602);
    let of_another_fork = json!([state(block.hash(), B256::ZERO, B256::ZERO), of_bedrock(&node)]);
    assert_eq!(node.error("engine_forkchoiceUpdatedV1", of_another_fork).await, -38005);
    // An unknown head is not built on.
    let params = json!([state(B256::repeat_byte(1), B256::ZERO, B256::ZERO), good]);
    let answer = node.call("engine_forkchoiceUpdatedV3", params).await;
    assert_eq!((&answer["payloadStatus"]["status"], &answer["payloadId"]), (&json!("SYNCING"), &Value::Null));
    id(&node, &good).await;
    node.stop().await;
}

#[tokio::test]
async fn attributes_of_which_no_block_can_be_made_are_tried_once() {
    let node = EngineNode::start().await;
    let head = node.executor.head();
    let late = |nonce| {
        let made = node.chain.attributes(&head, vec![transfer(&user(0), nonce, TO, 5)], 1);
        attributes_json(&made, true)
    };
    let builds = || node.executor.asked().iter().filter(|what| *what == "build").count();
    let first = begin(&node, &late(50)).await;
    assert_eq!((&first["error"]["code"], builds()), (&json!(-38003), 1), "{first}");
    for _ in 0..3 {
        assert_eq!(begin(&node, &late(50)).await["error"], first["error"]);
    }
    assert_eq!(builds(), 0);
    // Others are others.
    assert_eq!(begin(&node, &late(51)).await["error"]["code"], -38003);
    assert_eq!(builds(), 1);
    id(&node, &late(0)).await;
    node.stop().await;
}

#[tokio::test]
async fn the_newest_sixteen_payloads_are_kept() {
    let node = EngineNode::start().await;
    let head = node.executor.head();
    let mut begun = Vec::new();
    for salt in 1..18 {
        begun.push(id(&node, &attributes_json(&node.chain.attributes(&head, Vec::new(), salt), true)).await);
    }
    assert_eq!(node.error("engine_getPayloadV4", json!([begun[0]])).await, -38001);
    for kept in &begun[1..] {
        node.call("engine_getPayloadV4", json!([kept])).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn payloads_are_lost_with_the_instance_and_can_be_begun_again() {
    let node = EngineNode::start().await;
    let attributes = plain(&node, true);
    let begun = id(&node, &attributes).await;
    node.supervisor.inject("engine-api", Fault::Panic).unwrap();
    loop {
        let status = &node.supervisor.actors()[0];
        if status.restarts >= 1 && status.state == ActorState::Running {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(node.error("engine_getPayloadV4", json!([begun])).await, -38001);
    assert_eq!(id(&node, &attributes).await, begun);
    node.call("engine_getPayloadV4", json!([begun])).await;
    node.stop().await;
}
