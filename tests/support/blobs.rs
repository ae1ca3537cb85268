//! Blobs for whole-node tests: transactions that carry them, and what the blob API gives back.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each test uses its part"
)]

use crate::support::{Node, call};
use alloy_primitives::{B256, hex};
use duskevm_blobs::{BYTES, Hash, Sidecar, kzg};
use duskevm_dusk_l1::{
    keys::{AccountId, Signer},
    transfer::{
        Transaction,
        data::{BlobData, TransactionData},
    },
};
use jsonrpsee::core::ClientError;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Dusk chain id of a local L1.
const L1_CHAIN_ID: u8 = 250;
/// Enough for six blobs at a million each, at one lux.
const GAS: u64 = 10_000_000;

/// A blob full of canonical field elements that no other number has.
pub fn blob(number: u64) -> Sidecar {
    let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut data = Vec::with_capacity(BYTES);
    while data.len() < BYTES {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        data.extend_from_slice(&word.to_le_bytes());
    }
    data.chunks_mut(32).for_each(|element| element[0] &= 0x3f);
    kzg::commit_and_prove(&data).unwrap().sidecar().clone()
}

/// The sidecars under their own versioned hashes.
pub fn named(sidecars: &[Sidecar]) -> Vec<BlobData> {
    sidecars.iter().map(|sidecar| BlobData { hash: sidecar.hash(), data: Some(sidecar.into()) }).collect()
}

/// A blob transaction as wallets submit it. Not judged by our own wallet: some of these are wrong on purpose.
pub fn sign(signer: &Signer, nonce: u64, blobs: Vec<BlobData>) -> Vec<u8> {
    let data = Some(TransactionData::Blob(blobs));
    let signed = Transaction::moonlight(signer.secret_key(), None, 0, 0, GAS, 1, nonce, L1_CHAIN_ID, data);
    signed.unwrap().to_network_bytes()
}

pub async fn submit(node: &Node, transaction: &[u8]) -> Result<B256, ClientError> {
    let answer = call(&node.admin(), "admin_submitDusk", vec![json!(hex::encode_prefixed(transaction))]).await?;
    Ok(serde_json::from_value(answer).unwrap())
}

/// Nonces of an account: of its last included transaction, and for its next one.
pub async fn nonces(node: &Node, account: &AccountId) -> (u64, u64) {
    let found = call(&node.admin(), "admin_duskAccount", vec![json!(account.to_string())]).await.unwrap();
    (found["nonce"].as_u64().unwrap(), found["nextNonce"].as_u64().unwrap())
}

/// Waits until a transaction is in a block that cannot be replaced.
pub async fn finally(node: &Node, id: B256, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let state = call(&node.admin(), "admin_duskTransaction", vec![json!(id)]).await.unwrap();
        if state["final"] == json!(true) {
            assert!(state["error"].is_null(), "{state}");
            return;
        }
        assert!(Instant::now() < deadline, "{id} is in no final block: {state}\n{}", node.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An answer of the blob API.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The answer, which must be what was asked for.
    pub fn good(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }
}

/// One request to the blob API, which may come up a moment after the RPC.
pub fn request(port: u16, method: &str, path: &str) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "no blob API: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/octet-stream\r\n");
    write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&bytes[9..12]).unwrap().parse().unwrap();
    Answer { status, body: bytes.split_off(end + 4) }
}

pub fn get(port: u16, path: &str) -> Answer {
    request(port, "GET", path)
}

/// A block as `headers` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub root: String,
    pub parent: String,
    pub slot: u64,
    pub is_final: bool,
}

/// The header of a block; `None` if there is none.
pub fn header(port: u16, id: &str) -> Option<Header> {
    let answer = get(port, &format!("/eth/v1/beacon/headers/{id}"));
    if answer.status == 404 {
        return None;
    }
    let json = answer.good().json();
    let (data, message) = (&json["data"], &json["data"]["header"]["message"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Some(Header {
        root: text(&data["root"]),
        parent: text(&message["parent_root"]),
        slot: text(&message["slot"]).parse().unwrap(),
        is_final: json["finalized"].as_bool().unwrap(),
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The blobs that `blob_sidecars` gives for a block, each in its place; or the answer that is none.
pub fn sidecars(port: u16, block: &str) -> Result<Vec<Sidecar>, Answer> {
    let answer = get(port, &format!("/eth/v1/beacon/blob_sidecars/{block}"));
    if answer.status != 200 {
        return Err(answer);
    }
    let json = answer.json();
    let list = json["data"].as_array().unwrap();
    let sidecar = |(place, entry): (usize, &Value)| {
        assert_eq!(entry["index"], json!(place.to_string()));
        let point = |name: &str| bytes(&entry[name]).try_into().unwrap();
        Sidecar::new(point("kzg_commitment"), point("kzg_proof"), &bytes(&entry["blob"])).unwrap()
    };
    Ok(list.iter().enumerate().map(sidecar).collect())
}

/// The data that `blobs` gives for a block.
pub fn blobs(port: u16, block_and_query: &str) -> Vec<Vec<u8>> {
    let json = get(port, &format!("/eth/v1/beacon/blobs/{block_and_query}")).good().json();
    json["data"].as_array().unwrap().iter().map(bytes).collect()
}

/// One blob as Dusk nodes give it, by its versioned hash or by its commitment.
pub fn dusk(port: u16, name: &[u8], kind: &str) -> Answer {
    request(port, "POST", &format!("/on/blobs:{}/{kind}", hex::encode(name)))
}

/// The newest block with these blobs, by following parents from the head.
pub fn block_with(port: u16, wanted: &[Hash]) -> Header {
    let mut at = header(port, "head").unwrap();
    loop {
        let found = sidecars(port, &at.root).unwrap_or_default();
        if !found.is_empty() && found.iter().map(Sidecar::hash).eq(wanted.iter().copied()) {
            return at;
        }
        at = header(port, &at.parent).expect("the blobs are in a block");
    }
}
