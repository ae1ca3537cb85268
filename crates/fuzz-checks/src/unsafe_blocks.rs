//! What peers of L2 send: gossiped blocks and answers to requests by number.

use alloy_primitives::{Address, B256, Bloom, U256};
use duskevm_evm::RecoveredTx;
use duskevm_rollup::{L1Info, L1InfoFork, SystemConfig};
use duskevm_unsafe_gossip::{
    MAX_MESSAGE, Payload, PayloadVersion, UnsafeSigner,
    by_number::{Answer, MAX_ANSWER, MAX_PAYLOAD},
    message::{decompress, open, recover, work},
    message_id, topic,
};

const CHAIN_ID: u64 = 745;

/// A gossiped message: the first byte chooses the topic.
pub fn message(data: &[u8]) {
    let Some((version, message)) = data.split_first() else { return };
    let version = PayloadVersion::ALL[usize::from(*version) % PayloadVersion::ALL.len()];
    let name = topic(CHAIN_ID, version);
    assert_eq!(message_id(&name, message), message_id(&name, message), "a message has one id");
    assert!(work(message) <= message.len().max(MAX_MESSAGE), "the work that a message makes is bounded");
    if let Ok(raw) = decompress(message) {
        assert!(raw.len() <= work(message), "the work is known beforehand");
    }
    let Ok((signature, body)) = open(message) else { return };
    let _ = recover(CHAIN_ID, &signature, &body);
    if let Ok(payload) = Payload::from_body(version, &body) {
        assert_eq!(payload.body(), body, "a payload has one form");
        whole(&payload);
    }
}

/// An answer with the payload of a number.
pub fn answer(data: &[u8]) {
    let Ok(answer) = Answer::decode(data) else { return };
    let encoded = answer.encode();
    assert!(encoded.len() <= MAX_ANSWER);
    assert_eq!(Answer::decode(&encoded).as_ref(), Ok(&answer), "what is read can be written");
    if let Answer::Payload(payload) = &answer {
        assert!(payload.body().len() <= MAX_PAYLOAD);
        whole(payload);
    }
}

/// A payload whose hash is that of its content becomes the block that it was made of, or none.
fn whole(payload: &Payload) {
    if payload.check_hash().is_err() {
        return;
    }
    let Ok(block) = payload.to_block() else { return };
    assert_eq!(block.hash(), payload.hash);
    let again = Payload::from_block(&block);
    assert_eq!((again.hash, &again.transactions), (payload.hash, &payload.transactions));
}

/// A payload of each form, with L1 attributes and the hash that it has.
fn payloads() -> Vec<Payload> {
    let (fork, system) = (L1InfoFork::Isthmus, SystemConfig::default());
    let info = L1Info::new(fork, &system, 6, 1_699_999_999, U256::ONE, U256::ONE, B256::repeat_byte(12), 0);
    let attributes = RecoveredTx::deposit(info.deposit(true)).encoded().clone();
    let made = PayloadVersion::ALL.map(|version| Payload {
        version,
        parent_hash: B256::repeat_byte(1),
        fee_recipient: Address::repeat_byte(2),
        state_root: B256::repeat_byte(3),
        receipts_root: B256::repeat_byte(4),
        logs_bloom: Bloom::repeat_byte(5),
        prev_randao: B256::repeat_byte(6),
        number: 7,
        gas_limit: 30_000_000,
        gas_used: 8,
        timestamp: 1_700_000_000,
        extra_data: vec![9; 9].into(),
        base_fee_per_gas: U256::from(10),
        hash: B256::ZERO,
        transactions: vec![attributes.clone()],
        withdrawals: Vec::new(),
        blob_gas_used: 0,
        excess_blob_gas: 0,
        withdrawals_root: if version == PayloadVersion::V4 { B256::repeat_byte(11) } else { B256::ZERO },
        parent_beacon_block_root: B256::ZERO,
    });
    let hashed = made.into_iter().filter_map(|payload| {
        let hash = payload.header().ok()?.hash_slow();
        Some(Payload { hash, ..payload })
    });
    hashed.collect()
}

/// Good messages.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let Some(signer) = UnsafeSigner::new(&B256::repeat_byte(7)) else { return Vec::new() };
    let of = |(at, payload): (usize, Payload)| {
        let message = signer.message(CHAIN_ID, &payload).ok()?;
        Some([&[at as u8][..], &message].concat())
    };
    payloads().into_iter().enumerate().filter_map(of).collect()
}

/// Good answers.
pub(crate) fn answers() -> Vec<Vec<u8>> {
    let payloads = payloads().into_iter().map(|payload| Answer::Payload(Box::new(payload)));
    payloads.chain([Answer::Unavailable, Answer::Invalid, Answer::Failed(3)]).map(|answer| answer.encode()).collect()
}
