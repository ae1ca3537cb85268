//! What the settlement contracts hold.

use super::bed::{Bed, CONFIG, PORTAL, batcher, system_config, word};
use alloy_primitives::{Address, B256, U256, hex, keccak256};
use duskevm_genesis::{LOCAL_CONTRACTS, evm_address};
use duskevm_settlement::{SystemConfig, UNSAFE_BLOCK_SIGNER_SLOT};
use serde_json::{Value, json};

fn call(to: B256, signature: &str) -> Value {
    json!({ "to": evm_address(to), "data": hex::encode_prefixed(&keccak256(signature)[..4]) })
}

/// Blocks 6 and 7 are not final, and each changed the signer: to 6 and to 7.
async fn bed() -> Bed {
    let mut bed = Bed::start(5, 5).await;
    for height in 6..=7u8 {
        let config = SystemConfig { unsafe_block_signer: Address::with_last_byte(height), ..system_config() };
        bed.chain.add(1, config, 5);
    }
    bed.chain.publish(5);
    bed
}

#[tokio::test]
async fn calls_and_slots_are_answered_at_the_block_that_is_named() {
    let bed = bed().await;
    let before = system_config().unsafe_block_signer;
    let hash = |number: usize| bed.chain.blocks[number].hash();
    for (block, signer) in [
        (json!("latest"), Address::with_last_byte(7)),
        (json!("0x7"), Address::with_last_byte(7)),
        (json!("0x6"), Address::with_last_byte(6)),
        (json!(hash(6)), Address::with_last_byte(6)),
        (json!({ "blockHash": hash(6) }), Address::with_last_byte(6)),
        (json!("finalized"), before),
        (json!("0x4"), before),
    ] {
        let slot = bed.ask("eth_getStorageAt", json!([evm_address(CONFIG), UNSAFE_BLOCK_SIGNER_SLOT, block])).await;
        assert_eq!(slot, json!(signer.into_word()), "{block}");
        let answer = bed.ask("eth_call", json!([call(CONFIG, "unsafeBlockSigner()"), block])).await;
        assert_eq!(answer, json!(signer.into_word()), "{block}");
    }
    // The portal of block n holds n lux.
    for (block, lux) in [("latest", 7u64), ("0x6", 6), ("safe", 5)] {
        let held = bed.ask("eth_getBalance", json!([evm_address(PORTAL), block])).await;
        assert_eq!(held, json!(U256::from(lux * 1_000_000_000)), "{block}");
    }
    for (method, params) in [
        ("eth_call", json!([call(CONFIG, "owner()"), "0x2"])),
        ("eth_getBalance", json!([evm_address(PORTAL), "0x2"])),
        ("eth_getStorageAt", json!([evm_address(CONFIG), "0x0", "0x2"])),
    ] {
        let (code, message) = bed.client().error(method, params).await;
        assert_eq!((code, message.contains("is not kept")), (-32000, true), "{method}: {message}");
    }
    let (_, message) = bed.client().error("eth_call", json!([call(CONFIG, "owner()"), "0x8"])).await;
    assert_eq!(message, "header not found");
    bed.stop().await;
}

#[tokio::test]
async fn what_is_no_contract_holds_nothing() {
    let bed = bed().await;
    let nobody = Address::repeat_byte(0x55);
    assert_eq!(bed.ask("eth_call", json!([{ "to": nobody, "data": "0x12345678" }, "latest"])).await, "0x");
    assert_eq!(bed.ask("eth_getBalance", json!([nobody, "latest"])).await, "0x0");
    assert_eq!(bed.ask("eth_getCode", json!([nobody, "latest"])).await, "0x");
    assert_eq!(bed.ask("eth_getCode", json!([evm_address(PORTAL), "latest"])).await, "0xfe");
    // The slots of ProtocolVersions, which is not there.
    let versions = evm_address(LOCAL_CONTRACTS.protocol_versions);
    assert_eq!(bed.ask("eth_getStorageAt", json!([versions, B256::repeat_byte(1), "latest"])).await, json!(word(0)));
    bed.stop().await;
}

#[tokio::test]
async fn calls_that_fail_say_why() {
    let bed = bed().await;
    let config = evm_address(CONFIG);
    for (params, code, why) in [
        (json!([{ "to": config, "data": "0x12345678" }]), 3, "execution reverted"),
        (json!([{ "to": config }]), 3, "execution reverted"),
        (json!([call(CONFIG, "setGasLimit(uint64)")]), 3, "Dusk transaction"),
        (
            json!([{ "to": config, "value": "0x1", "data": hex::encode_prefixed(&keccak256("owner()")[..4]) }]),
            3,
            "reverted",
        ),
        (json!([{ "data": "0x" }]), -32000, "cannot be created"),
        (json!([call(CONFIG, "owner()"), "latest", { (nobody()): { "balance": "0x1" } }]), -32602, "override"),
    ] {
        for method in ["eth_call", "eth_estimateGas"] {
            if method == "eth_estimateGas" && why == "override" {
                continue;
            }
            let (got, message) = bed.client().error(method, params.clone()).await;
            assert_eq!((got, message.contains(why)), (code, true), "{method} {params}: {message}");
        }
    }
    assert_eq!(bed.ask("eth_estimateGas", json!([call(CONFIG, "owner()")])).await, "0x5208");
    let inbox = evm_address(LOCAL_CONTRACTS.batch_inbox);
    assert_eq!(bed.ask("eth_estimateGas", json!([{ "to": inbox, "data": "0x00" }])).await, "0x5212");
    bed.stop().await;
}

fn nobody() -> String {
    Address::ZERO.to_string()
}

#[tokio::test]
async fn only_absence_can_be_proved() {
    let bed = bed().await;
    let proof = bed.ask("eth_getProof", json!([Address::ZERO, ["0x1"], "latest"])).await;
    assert_eq!((&proof["accountProof"], &proof["balance"]), (&json!([]), &json!("0x0")));
    let root = bed.ask("eth_getBlockByNumber", json!(["latest", false])).await["stateRoot"].clone();
    assert_eq!(proof["storageHash"], root, "the root of an empty trie");
    assert_eq!(proof["storageProof"], json!([{ "key": "0x1", "value": "0x0", "proof": [] }]));
    let (code, message) =
        bed.client().error("eth_getProof", json!([evm_address(CONFIG), [UNSAFE_BLOCK_SIGNER_SLOT], "latest"])).await;
    assert_eq!((code, message.contains("no state trie")), (-32000, true), "{message}");
    bed.stop().await;
}

#[tokio::test]
async fn envelopes_count_as_transactions_of_their_signer() {
    let mut bed = bed().await;
    let count =
        async |bed: &Bed, block: &str| bed.ask("eth_getTransactionCount", json!([batcher().address(), block])).await;
    // Each block above the first has one envelope; there are eight blocks.
    assert_eq!(count(&bed, "latest").await, json!("0x7"));
    assert_eq!(
        count(&bed, "finalized").await,
        bed.ask("eth_getBlockByNumber", json!(["finalized", false])).await["number"]
    );
    assert_eq!(count(&bed, "pending").await, json!("0x7"));
    bed.chain.take_back(6);
    bed.chain.publish(5);
    assert_eq!(count(&bed, "latest").await, json!("0x6"), "what was replaced does not count");
    let nobody = bed.ask("eth_getTransactionCount", json!([Address::ZERO, "latest"])).await;
    assert_eq!(nobody, json!("0x0"));
    bed.stop().await;
}
