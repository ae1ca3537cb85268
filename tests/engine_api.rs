//! Two nodes in the role `execution`, each a process of its own, driven through the Engine API as an op-node or kona-node would: one builds
//! blocks, the other imports them; both have the same chain, whatever the driver wants and whatever happens to them. One client brings
//! whatever a node does not know, another one sends no block twice that was answered VALID, as op-node.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/engine.rs"]
mod engine;
mod support;

use alloy_primitives::{Address, B256, Bytes};
use alloy_rpc_types_engine::{ForkchoiceState, PayloadStatusEnum};
use engine::{Node, Pair, hash, head_at, transactions};
use jsonrpsee::core::ClientError;
use serde_json::{Value, json};
use support::{accounts, call, get, quantity, restarted, restarts, transfer, up};

/// Sends a transaction to the port of the Engine API.
async fn send(node: &Node, raw: &Bytes) {
    node.ask("eth_sendRawTransaction", vec![json!(raw)]).await.unwrap();
}

fn code<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> i32 {
    match outcome {
        Err(ClientError::Call(error)) => error.code(),
        other => panic!("no refusal: {other:?}"),
    }
}

async fn number(node: &Node, tag: &str) -> u64 {
    quantity(&node.block(tag).await["number"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_builds_and_the_other_imports_the_same_chain() {
    let mut pair = Pair::start().await;
    let ready = |node: &Node| get(node.ports.http, "/readyz").starts_with("HTTP/1.1 200");
    assert!(!ready(&pair.builder), "nobody has driven it yet");
    let users = accounts(2);
    let to = Address::repeat_byte(0x77);
    for nonce in 0..3 {
        let (sent, raw) = transfer(&users[0], nonce, to, 5);
        send(&pair.builder, &raw).await;
        pair.step(1).await;
        let block = pair.driver.chain.last().unwrap();
        assert_eq!(transactions(block).len(), 3, "L1 attributes, a deposit, a transfer");
        assert_eq!(transactions(block)[2], raw);
        let receipt = call(&pair.importer.rpc(), "eth_getTransactionReceipt", vec![json!(sent)]).await.unwrap();
        assert_eq!((&receipt["status"], &receipt["blockHash"]), (&json!("0x1"), &json!(hash(block))));
    }
    // Without the pool.
    let (_, raw) = transfer(&users[0], 3, to, 5);
    send(&pair.builder, &raw).await;
    pair.driver.build(&pair.builder, 1, true).await;
    assert_eq!(transactions(pair.driver.chain.last().unwrap()).len(), 2);
    pair.check().await;
    let balance = call(&pair.importer.rpc(), "eth_getBalance", vec![json!(to), json!("latest")]).await.unwrap();
    assert_eq!(balance, "0xf");
    let minted = vec![json!(Address::repeat_byte(0xcd)), json!("latest")];
    assert_eq!(quantity(&call(&pair.importer.rpc(), "eth_getBalance", minted).await.unwrap()), 4_000_000);
    assert!(ready(&pair.builder) && ready(&pair.importer));
    let status = call(&pair.builder.admin(), "admin_status", vec![]).await.unwrap();
    assert_eq!(status["consensusClient"]["lastCall"], "engine_forkchoiceUpdatedV3", "{status}");
    let metrics = support::metrics(pair.builder.ports);
    for series in [
        "duskevm_engine_statuses_total{method=\"engine_newPayloadV4\",status=\"VALID\"}",
        "duskevm_engine_payloads_built_total{with=\"pool\"}",
        "duskevm_rpc_requests_total{server=\"engine-api\",method=\"engine_getPayloadV4\",code=\"0\"}",
    ] {
        assert!(metrics.contains(series), "{series}");
    }
    pair.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_older_heads_and_side_branches() {
    let mut pair = Pair::start().await;
    let user = &accounts(1)[0];
    for nonce in 0..6 {
        send(&pair.builder, &transfer(user, nonce, Address::repeat_byte(0x77), 5).1).await;
        pair.step(1).await;
    }
    let at = |pair: &Pair, number: usize| hash(&pair.driver.chain[number - 1]);
    let labels = ForkchoiceState {
        head_block_hash: at(&pair, 6),
        safe_block_hash: at(&pair, 3),
        finalized_block_hash: at(&pair, 2),
    };
    for node in [&pair.builder, &pair.importer] {
        node.forkchoice(labels, None).await.unwrap();
        assert_eq!((number(node, "latest").await, number(node, "safe").await), (6, 3));
        assert_eq!(number(node, "finalized").await, 2);
    }
    // Back to an older head. What was in the blocks above is in the pool again.
    for node in [&pair.builder, &pair.importer] {
        node.forkchoice(head_at(at(&pair, 4)), None).await.unwrap();
        assert_eq!(number(node, "latest").await, 4);
        assert_eq!((number(node, "safe").await, number(node, "finalized").await), (3, 2));
    }
    let old = pair.driver.chain.split_off(4);
    pair.driver.build(&pair.builder, 2, false).await;
    let taken = transactions(pair.driver.chain.last().unwrap()).len();
    assert_eq!(taken, 4, "L1 attributes, a deposit and both transfers");
    pair.driver.build(&pair.builder, 2, false).await;
    pair.check().await;
    // The branch that was left: it can be taken again, and left again.
    let new = pair.driver.chain.split_off(4);
    pair.driver.chain.extend(old);
    pair.check().await;
    pair.driver.chain.truncate(4);
    pair.driver.chain.extend(new);
    pair.check().await;
    // What is final stays.
    for node in [&pair.builder, &pair.importer] {
        let below = node.forkchoice(head_at(at(&pair, 1)), None).await.unwrap();
        assert_eq!((below.payload_status.status, below.payload_id), (PayloadStatusEnum::Valid, None));
        assert_eq!(number(node, "latest").await, 6);
        let back = ForkchoiceState { finalized_block_hash: at(&pair, 1), ..labels };
        let back = ForkchoiceState { head_block_hash: pair.driver.head(), ..back };
        assert_eq!(code(node.forkchoice(back, None).await), -38002);
        let unknown = node.forkchoice(head_at(B256::repeat_byte(1)), None).await.unwrap();
        assert_eq!(unknown.payload_status.status, PayloadStatusEnum::Syncing);
    }
    pair.check().await;
    pair.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_breaks_a_rule_is_refused_by_both() {
    let mut pair = Pair::start().await;
    pair.step(1).await;
    pair.driver.build(&pair.builder, 1, true).await;
    let good = pair.driver.chain.last().unwrap();
    for node in [&pair.builder, &pair.importer] {
        let mut bad = good.clone();
        let v1 = &mut bad.execution_payload.payload_inner.payload_inner.payload_inner;
        v1.block_hash = B256::repeat_byte(3);
        let status = node.new_payload(&bad).await.unwrap();
        assert!(status.is_invalid() && status.latest_valid_hash.is_none(), "{status}");
        // Another state root, and the hash that goes with it.
        let mut block: Value = serde_json::to_value(engine::payload(good)).unwrap();
        block["stateRoot"] = json!(B256::repeat_byte(4));
        let refused =
            node.ask("engine_newPayloadV4", vec![block.clone(), json!([]), json!(B256::ZERO), json!([])]).await;
        let why = refused.unwrap()["validationError"].as_str().unwrap().to_owned();
        // The refusal names the hash that the fields have.
        let computed = why.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() == 66);
        let computed =
            computed.filter(|word| *word != hash(good).to_string()).last().unwrap_or_else(|| panic!("{why}"));
        block["blockHash"] = json!(computed);
        let answer =
            node.ask("engine_newPayloadV4", vec![block, json!([]), json!(B256::ZERO), json!([])]).await.unwrap();
        assert_eq!(answer["status"], "INVALID", "{answer}");
        assert_eq!(answer["latestValidHash"], json!(engine::parent(good)), "{answer}");
        let head: B256 = serde_json::from_value(json!(computed)).unwrap();
        let answer = node.forkchoice(head_at(head), None).await.unwrap();
        assert!(answer.is_invalid(), "{answer:?}");
    }
    // They go on with the good one.
    pair.check().await;
    pair.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_minus_nine_at_any_point_is_mended_by_sending_blocks_again() {
    let mut pair = Pair::start().await;
    let user = &accounts(1)[0];
    for round in 0..5u64 {
        for _ in 0..2 {
            pair.step(1).await;
        }
        send(&pair.builder, &transfer(user, round, Address::repeat_byte(0x77), 5).1).await;
        match round {
            // The importer has the block on the side, and not as its head.
            0 => {
                pair.driver.build(&pair.builder, 1, false).await;
                let newest = pair.driver.chain.last().unwrap();
                assert!(pair.importer.new_payload(newest).await.unwrap().is_valid());
                pair.importer.kill();
                pair.importer.start();
            }
            // The importer has just taken it.
            1 => {
                pair.step(1).await;
                pair.importer.kill();
                pair.importer.start();
            }
            // The builder has begun a payload, which is lost.
            2 => {
                let attributes = pair.driver.attributes(pair.driver.chain.len(), 1, false);
                let begun = pair.builder.forkchoice(head_at(pair.driver.head()), Some(&attributes)).await.unwrap();
                pair.builder.kill();
                pair.builder.start();
                pair.builder.up().await;
                assert_eq!(code(pair.builder.get_payload(begun.payload_id.unwrap()).await), -38001);
            }
            // The builder has answered with a block that nobody else has.
            3 => {
                pair.driver.build(&pair.builder, 1, false).await;
                pair.builder.kill();
                pair.builder.start();
            }
            // Both, after an older head was chosen.
            _ => {
                pair.driver.chain.truncate(pair.driver.chain.len() - 2);
                pair.driver.lead(&pair.builder).await;
                pair.driver.lead(&pair.importer).await;
                for node in [&mut pair.builder, &mut pair.importer] {
                    node.kill();
                    node.start();
                }
            }
        }
        pair.builder.up().await;
        pair.importer.up().await;
        pair.check().await;
    }
    pair.step(1).await;
    pair.check().await;
    pair.finish();
}

/// Kills, panics and hangs an actor of both nodes while they are driven.
async fn campaign(actor: &str) {
    let mut pair = Pair::start().await;
    let user = &accounts(1)[0];
    let to = Address::repeat_byte(0x77);
    pair.step(1).await;
    let mut nonce = 0;
    for (fault, cause) in [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")] {
        let mut before = Vec::new();
        for node in [&pair.builder, &pair.importer] {
            up(&node.admin(), actor).await;
            before.push((node.ports, restarts(node.ports, actor, cause)));
        }
        send(&pair.builder, &transfer(user, nonce, to, 5).1).await;
        nonce += 1;
        for node in [&pair.builder, &pair.importer] {
            let mut params = vec![json!(actor)];
            if fault == "admin_hang" {
                params.push(json!(3_600_000));
            }
            call(&node.admin(), fault, params).await.unwrap();
        }
        for _ in 0..3 {
            pair.step(nonce as u8).await;
        }
        for (ports, before) in before {
            restarted(ports, actor, cause, before).await;
        }
        pair.step(nonce as u8).await;
        pair.check().await;
    }
    let sent = pair.driver.chain.iter().map(|block| transactions(block).len() - 2).sum::<usize>();
    assert_eq!(sent as u64, nonce, "every transfer is in exactly one block");
    pair.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_executor_fails_in_every_way_while_it_is_driven() {
    campaign("executor").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_api_fails_in_every_way_while_it_drives() {
    campaign("engine-api").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_no_block_twice_goes_on_over_every_failure() {
    let mut pair = Pair::start().await;
    let user = &accounts(1)[0];
    let mut nonce = 0;
    for actor in ["executor", "engine-api"] {
        for (fault, cause) in [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")] {
            send(&pair.builder, &transfer(user, nonce, Address::repeat_byte(0x77), 5).1).await;
            nonce += 1;
            pair.driver.build_once(&pair.builder, 1, false).await;
            let mut before = Vec::new();
            // Between the answer to a block and the forkchoice state that adopts it.
            for node in [&pair.builder, &pair.importer] {
                pair.driver.give_once(node).await;
                up(&node.admin(), actor).await;
                before.push((node.ports, restarts(node.ports, actor, cause)));
                let mut params = vec![json!(actor)];
                if fault == "admin_hang" {
                    params.push(json!(3_600_000));
                }
                call(&node.admin(), fault, params).await.unwrap();
            }
            for node in [&pair.builder, &pair.importer] {
                pair.driver.choose_once(node, None).await;
            }
            for (ports, before) in before {
                restarted(ports, actor, cause, before).await;
            }
            for node in [&pair.builder, &pair.importer] {
                assert_eq!(node.block("latest").await["hash"], json!(pair.driver.head()), "{fault}");
            }
        }
    }
    pair.check().await;
    pair.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_was_answered_as_the_head_is_there_after_kill_minus_nine_whoever_made_it() {
    let mut pair = Pair::start().await;
    for round in 0..6 {
        // With and without the pool, as a sequencer and as derivation has it; and a block that another node has made.
        pair.driver.build_once(&pair.builder, round, round % 2 == 1).await;
        assert_eq!(transactions(pair.driver.chain.last().unwrap()).len(), 2, "L1 attributes and a deposit");
        for node in [&mut pair.builder, &mut pair.importer] {
            pair.driver.give_once(node).await;
            pair.driver.choose_once(node, None).await;
            node.kill();
            node.start();
            node.up().await;
            assert_eq!(node.block("latest").await["hash"], json!(pair.driver.head()), "round {round}");
        }
    }
    pair.check().await;
    pair.finish();
}
