//! Blocks and forkchoice states: what is answered, and what the executor is asked.

use super::stand_in::{EngineNode, new_payload, state};
use alloy_primitives::{B256, U256};
use duskevm_engine_api::ExecutionPayload;
use duskevm_rpc::Limits;
use duskevm_supervision::{ActorState, Fault};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

fn v4(payload: &Value) -> Value {
    json!([payload, [], B256::ZERO, []])
}

#[tokio::test]
async fn a_block_is_offered_and_becomes_the_head() {
    let node = EngineNode::start().await;
    let genesis = node.executor.head();
    let block = node.block_on(&genesis, 1);
    let answer = node.call("engine_newPayloadV4", new_payload(&block)).await;
    assert_eq!(answer, json!({ "status": "VALID", "latestValidHash": block.hash(), "validationError": null }));
    assert_eq!(node.executor.labels().0, genesis.hash(), "an offer moves nothing");
    let answer = node.call("engine_forkchoiceUpdatedV3", json!([state(block.hash(), block.hash(), B256::ZERO)])).await;
    let valid = json!({ "status": "VALID", "latestValidHash": block.hash(), "validationError": null });
    assert_eq!(answer, json!({ "payloadStatus": valid, "payloadId": null }));
    let (head, safe, finalized) = node.executor.labels();
    assert_eq!((head, safe.unwrap().hash, finalized.unwrap().hash), (block.hash(), block.hash(), genesis.hash()));
    // Any version moves the head.
    for version in ["V1", "V2"] {
        let method = format!("engine_forkchoiceUpdated{version}");
        node.call(&method, json!([state(block.hash(), B256::ZERO, B256::ZERO), null])).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn a_wrong_hash_is_invalid_without_execution() {
    let node = EngineNode::start().await;
    let block = node.block_on(&node.executor.head(), 1);
    let mut payload = serde_json::to_value(ExecutionPayload::from_block(&block)).unwrap();
    payload["blockHash"] = json!(B256::repeat_byte(9));
    let answer = node.call("engine_newPayloadV4", v4(&payload)).await;
    assert_eq!((&answer["status"], &answer["latestValidHash"]), (&json!("INVALID"), &Value::Null), "{answer}");
    assert_eq!(node.executor.asked(), [""; 0]);
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_parent_and_an_unknown_head_are_syncing() {
    let node = EngineNode::start().await;
    let before = node.executor.labels();
    let parent = node.block_on(&node.executor.head(), 1);
    let child = node.block_on(&parent, 2);
    let answer = node.call("engine_newPayloadV4", new_payload(&child)).await;
    assert_eq!(answer, json!({ "status": "SYNCING", "latestValidHash": null, "validationError": null }));
    let params = json!([state(child.hash(), B256::ZERO, B256::ZERO)]);
    let answer = node.call("engine_forkchoiceUpdatedV3", params).await;
    assert_eq!((&answer["payloadStatus"]["status"], &answer["payloadId"]), (&json!("SYNCING"), &Value::Null));
    assert_eq!(node.executor.labels(), before);
    node.stop().await;
}

#[tokio::test]
async fn a_block_that_breaks_a_rule_is_invalid_with_its_parent_as_the_latest_valid_one() {
    let node = EngineNode::start().await;
    let genesis = node.executor.head();
    let mut payload = ExecutionPayload::from_block(&node.block_on(&genesis, 1));
    payload.block_number = 5;
    let mut header = node.block_on(&genesis, 1).header.inner().clone();
    header.number = 5;
    payload.block_hash = header.hash_slow();
    let answer = node.call("engine_newPayloadV4", v4(&serde_json::to_value(payload).unwrap())).await;
    assert_eq!((&answer["status"], &answer["latestValidHash"]), (&json!("INVALID"), &json!(genesis.hash())));
    node.stop().await;
}

#[tokio::test]
async fn a_branch_below_the_finalized_block_is_refused() {
    let node = EngineNode::start().await;
    let genesis = node.executor.head();
    let (first, other) = (node.block_on(&genesis, 1), node.block_on(&genesis, 2));
    node.import(&first).await;
    let finalize = json!([state(first.hash(), first.hash(), first.hash())]);
    node.call("engine_forkchoiceUpdatedV3", finalize).await;
    let before = node.executor.labels();
    assert_eq!(node.call("engine_newPayloadV4", new_payload(&other)).await["status"], "VALID");
    for bad in [
        state(other.hash(), B256::ZERO, B256::ZERO),
        state(B256::ZERO, B256::ZERO, B256::ZERO),
        state(first.hash(), first.hash(), genesis.hash()),
        state(first.hash(), other.hash(), B256::ZERO),
        state(first.hash(), B256::repeat_byte(5), B256::ZERO),
    ] {
        let answer = node.raw("engine_forkchoiceUpdatedV3", json!([bad])).await;
        assert_eq!(answer["error"]["code"], -38002, "{bad}: {answer}");
        assert_eq!(answer["error"]["message"], "Invalid forkchoice state");
        assert!(answer["error"]["data"]["err"].is_string(), "{answer}");
    }
    // A head below it is answered without a change.
    let answer = node.call("engine_forkchoiceUpdatedV3", json!([state(genesis.hash(), B256::ZERO, B256::ZERO)])).await;
    assert_eq!(answer["payloadStatus"]["status"], "VALID");
    assert_eq!(node.executor.labels(), before);
    node.stop().await;
}

#[tokio::test]
async fn another_version_than_the_forks_is_refused_before_anything_is_asked() {
    let node = EngineNode::start().await;
    let block = node.block_on(&node.executor.head(), 1);
    let mut payload = serde_json::to_value(ExecutionPayload::from_block(&block)).unwrap();
    assert_eq!(node.error("engine_newPayloadV1", json!([payload])).await, -32602);
    assert_eq!(node.error("engine_newPayloadV2", json!([payload])).await, -38005);
    assert_eq!(node.error("engine_newPayloadV4", json!([payload, [], B256::ZERO])).await, -32602);
    assert_eq!(node.error("engine_newPayloadV4", json!([payload, [], B256::ZERO, [], 1])).await, -32602);
    payload.as_object_mut().unwrap().remove("withdrawalsRoot");
    assert_eq!(node.error("engine_newPayloadV3", json!([payload, [], B256::ZERO])).await, -38005);
    for field in ["withdrawals", "blobGasUsed", "excessBlobGas"] {
        payload.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(node.error("engine_newPayloadV1", json!([payload])).await, -38005);
    for bad in [json!([]), json!([7]), json!([{}]), json!(["0x"]), json!({})] {
        assert_eq!(node.error("engine_newPayloadV4", bad).await, -32602);
    }
    for bad in [json!([]), json!([{}]), json!([state(B256::ZERO, B256::ZERO, B256::ZERO), null, 1])] {
        assert_eq!(node.error("engine_forkchoiceUpdatedV3", bad).await, -32602);
    }
    assert_eq!(node.executor.asked(), [""; 0]);
    node.stop().await;
}

#[tokio::test]
async fn bodies_are_bounded_in_number_and_in_bytes() {
    let node = EngineNode::with(Limits { max_response_bytes: 16 * 1024, ..Limits::default() }).await;
    let blocks: Vec<_> = (0..3).map(|_| node.chain.mine(vec![])).collect();
    let unknown = B256::repeat_byte(1);
    let found = node.call("engine_getPayloadBodiesByHashV1", json!([[blocks[1].hash(), unknown]])).await;
    assert_eq!(found[0]["transactions"][0], json!(blocks[1].transactions[0].encoded()));
    assert_eq!((&found[0]["withdrawals"], &found[1]), (&json!([]), &Value::Null));
    let range = |start: u64, count: u64| json!([U256::from(start), U256::from(count)]);
    let found = node.call("engine_getPayloadBodiesByRangeV1", range(2, 9)).await;
    assert_eq!(found.as_array().unwrap().len(), 2, "not beyond the head");
    assert_eq!(node.error("engine_getPayloadBodiesByRangeV1", range(1, 1025)).await, -38004);
    assert_eq!(node.error("engine_getPayloadBodiesByRangeV1", range(1, u64::MAX)).await, -38004);
    assert_eq!(node.error("engine_getPayloadBodiesByRangeV1", range(0, 1)).await, -32602);
    assert_eq!(node.error("engine_getPayloadBodiesByHashV1", json!([vec![unknown; 1025]])).await, -38004);
    let many = vec![blocks[1].hash(); 1024];
    assert_eq!(node.error("engine_getPayloadBodiesByHashV1", json!([many])).await, -32005);
    assert_eq!(node.executor.asked(), [""; 0]);
    node.stop().await;
}

#[tokio::test]
async fn an_executor_that_is_away_is_an_error_and_never_a_status() {
    let node = EngineNode::start().await;
    let block = node.block_on(&node.executor.head(), 1);
    *node.executor.dies.lock() = true;
    assert_eq!(node.error("engine_newPayloadV4", new_payload(&block)).await, -32000);
    *node.executor.dies.lock() = true;
    let params = json!([state(block.hash(), B256::ZERO, B256::ZERO)]);
    assert_eq!(node.error("engine_forkchoiceUpdatedV3", params).await, -32000);
    // It is back.
    node.import(&block).await;
    node.stop().await;
}

#[tokio::test]
async fn calls_that_change_something_run_one_after_the_other() {
    let node = EngineNode::start().await;
    let genesis = node.executor.head();
    let blocks: Vec<_> = (1..9).map(|salt| node.block_on(&genesis, salt)).collect();
    let calls = blocks.iter().map(|block| async {
        node.call("engine_newPayloadV4", new_payload(block)).await;
        node.call("engine_forkchoiceUpdatedV3", json!([state(block.hash(), B256::ZERO, B256::ZERO)])).await;
    });
    futures::future::join_all(calls).await;
    let asked = node.executor.asked();
    assert_eq!(asked.len(), 4 * blocks.len());
    for pair in asked.chunks(2) {
        assert_eq!(pair[1], format!("{} done", pair[0]), "{asked:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn an_instance_that_was_given_up_changes_nothing_any_more() {
    let node = EngineNode::watched(Duration::from_secs(1)).await;
    let block = node.block_on(&node.executor.head(), 1);
    let gate = Arc::new(Notify::new());
    *node.executor.gate.lock() = Some(gate.clone());
    let offer = node.raw("engine_newPayloadV4", new_payload(&block));
    // It waits for its turn while the first one is with the executor.
    let params = json!([state(block.hash(), B256::ZERO, B256::ZERO)]);
    let choice = async {
        while node.executor.gate.lock().is_some() {
            tokio::task::yield_now().await;
        }
        node.raw("engine_forkchoiceUpdatedV3", params).await
    };
    let replace = async {
        while node.heard.last().is_none_or(|last| last.method != "engine_forkchoiceUpdatedV3") {
            tokio::task::yield_now().await;
        }
        node.supervisor.inject("engine-api", Fault::Hang(Duration::from_secs(600))).unwrap();
        loop {
            let status = &node.supervisor.actors()[0];
            if status.restarts >= 1 && status.state == ActorState::Running {
                break;
            }
            tokio::task::yield_now().await;
        }
        gate.notify_one();
    };
    let (_, answer, ()) = futures::join!(offer, choice, replace);
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    assert_eq!(node.executor.asked().iter().filter(|what| *what == "forkchoice").count(), 0);
    // The new instance has the turn. The old one takes connections for a moment longer.
    for (method, params) in [
        ("engine_newPayloadV4", new_payload(&block)),
        ("engine_forkchoiceUpdatedV3", json!([state(block.hash(), B256::ZERO, B256::ZERO)])),
    ] {
        while node.raw(method, params.clone()).await["error"]["code"] == -32000 {}
    }
    assert_eq!(node.executor.head().hash(), block.hash());
    drop(node.supervisor.shutdown(Duration::from_secs(1)).await);
}
