//! What a client sends to the batch inbox through `eth_sendRawTransaction` of the L1 endpoint, as an op-batcher does: it comes to L1, its
//! receipt follows, and derivation makes the L2 blocks of its batches safe. The node's own batcher is off.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip4844, TxEip4844WithSidecar, TxEnvelope};
use alloy_eips::{
    eip2718::Encodable2718 as _,
    eip4844::{Blob, BlobTransactionSidecar, Bytes48},
    eip7594::BlobTransactionSidecarVariant,
};
use alloy_primitives::{Address, B256, Bytes, TxKind, hex};
use alloy_rlp::Decodable as _;
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use duskevm::network::{Network, NetworkFiles};
use duskevm_blobs::{Sidecar, kzg};
use duskevm_evm::Block;
use duskevm_genesis::dev_accounts;
use duskevm_rollup::{
    batch::batch_of_block,
    blob,
    channel_out::{ChannelSettings, Compression, build_frames},
    frame::{ChannelId, encode_frames},
};
use jsonrpsee::{core::ClientError, http_client::HttpClient};
use op_alloy_consensus::OpTxEnvelope;
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use support::{Node, Ports, call, client, quantity, restarted, restarts, up};

const LONG: Duration = Duration::from_secs(120);
const GWEI: u128 = 1_000_000_000;
const NO_BATCHER: [(&str, &str); 1] = [("DUSKEVM_ACTORS__BATCHER", "false")];

/// A node without a batcher, and the client that posts in its place.
struct Bed {
    node: Node,
    network: Network,
    batcher: PrivateKeySigner,
}

/// Waits for the L1 endpoint, which is a server of its own.
fn serving(node: Node) -> Node {
    let begin = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", node.ports.l1)).is_err() {
        assert!(begin.elapsed() < LONG, "no L1 endpoint: {}", node.log_tail());
        std::thread::sleep(Duration::from_millis(20));
    }
    node
}

impl Bed {
    fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let settings = [&NO_BATCHER, settings].concat();
        let node = serving(Node::start_as(data, Ports::free(), &[], &settings));
        let network = NetworkFiles::read(&data.join("network")).unwrap().load().unwrap();
        let batcher = PrivateKeySigner::from_bytes(&dev_accounts().unwrap().batcher.private_key).unwrap();
        Self { node, network, batcher }
    }

    fn l1(&self) -> HttpClient {
        client(self.node.ports.l1)
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let Value::Array(params) = params else { panic!("{params}") };
        call(&self.l1(), method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn send(&self, raw: &[u8]) -> Result<B256, ClientError> {
        let answer = call(&self.l1(), "eth_sendRawTransaction", vec![json!(hex::encode_prefixed(raw))]).await?;
        Ok(serde_json::from_value(answer).unwrap())
    }

    /// What the transaction is refused with.
    async fn refused(&self, raw: &[u8]) -> (i32, String) {
        match self.send(raw).await {
            Err(ClientError::Call(error)) => (error.code(), error.message().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the receipt.
    async fn receipt(&self, hash: B256) -> Value {
        let begin = Instant::now();
        loop {
            let receipt = call(&self.l1(), "eth_getTransactionReceipt", vec![json!(hash)]).await;
            if let Ok(receipt) = &receipt
                && !receipt.is_null()
            {
                return receipt.clone();
            }
            assert!(begin.elapsed() < LONG, "no receipt of {hash}: {receipt:?}\n{}", self.node.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The batches of the L2 blocks after `from`, as one channel's frames.
    async fn batches(&self, from: u64, count: u64, channel: u8) -> Vec<u8> {
        let rpc = self.node.rpc();
        support::grow(&self.node, count, LONG).await;
        let mut blocks = Vec::new();
        for number in from + 1..=from + count {
            let begin = Instant::now();
            let raw = loop {
                let answer = call(&rpc, "debug_getRawBlock", vec![json!(format!("{number:#x}"))]).await;
                if let Ok(Value::String(raw)) = &answer {
                    break hex::decode(raw).unwrap();
                }
                assert!(begin.elapsed() < LONG, "no L2 block {number}: {answer:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            let block = alloy_consensus::Block::<OpTxEnvelope>::decode(&mut raw.as_slice()).unwrap();
            let hash = block.header.hash_slow();
            let transactions = block.body.transactions.iter().map(|tx| {
                let raw: Bytes = tx.encoded_2718().into();
                let sender = match tx {
                    OpTxEnvelope::Deposit(deposit) => deposit.from,
                    other => alloy_consensus::transaction::SignerRecoverable::recover_signer(other).unwrap(),
                };
                (raw, sender)
            });
            let block = Block::from_stored(block.header, hash, transactions).unwrap();
            blocks.push(batch_of_block(&self.network.rollup, &block).unwrap());
        }
        let settings = ChannelSettings {
            compression: Compression::Zlib,
            target_bytes: 100_000,
            max_frame_data: 100_000,
            max_rlp_bytes: 10_000_000,
        };
        let blocks = blocks.iter().map(|(batch, sequence)| (batch, *sequence));
        let frames = build_frames(&self.network.rollup, settings, ChannelId::repeat_byte(channel), blocks).unwrap();
        encode_frames(&frames)
    }

    /// Waits until this L2 block is safe.
    async fn safe(&self, number: u64) {
        let (rpc, begin) = (self.node.rpc(), Instant::now());
        loop {
            let block = call(&rpc, "eth_getBlockByNumber", vec![json!("safe"), json!(false)]).await;
            if let Ok(block) = &block
                && quantity(&block["number"]) >= number
            {
                return;
            }
            assert!(begin.elapsed() < LONG, "L2 block {number} is not safe: {block:?}\n{}", self.node.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn calldata(&self, nonce: u64, data: &[u8]) -> TxEip1559 {
        TxEip1559 {
            chain_id: self.network.rollup.l1_chain_id,
            nonce,
            gas_limit: 21_000 + 40 * data.len() as u64,
            max_fee_per_gas: 3 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: TxKind::Call(self.network.rollup.batch_inbox_address),
            input: Bytes::copy_from_slice(data),
            ..Default::default()
        }
    }

    fn sign(&self, tx: TxEip1559) -> Vec<u8> {
        let signature = self.batcher.sign_hash_sync(&tx.signature_hash()).unwrap();
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
    }

    fn with_blobs(&self, nonce: u64, sidecars: &[Sidecar]) -> TxEip4844 {
        TxEip4844 {
            chain_id: self.network.rollup.l1_chain_id,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: 3 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: self.network.rollup.batch_inbox_address,
            blob_versioned_hashes: sidecars.iter().map(|sidecar| sidecar.hash().into()).collect(),
            max_fee_per_blob_gas: 10,
            ..Default::default()
        }
    }

    fn sign_blobs(&self, tx: TxEip4844, sidecars: &[Sidecar]) -> Vec<u8> {
        let sidecar = BlobTransactionSidecarVariant::Eip4844(BlobTransactionSidecar {
            blobs: sidecars.iter().map(|sidecar| Blob::from_slice(&sidecar.data[..])).collect(),
            commitments: sidecars.iter().map(|sidecar| Bytes48::from(sidecar.commitment)).collect(),
            proofs: sidecars.iter().map(|sidecar| Bytes48::from(sidecar.proof)).collect(),
        });
        let signature = self.batcher.sign_hash_sync(&tx.signature_hash()).unwrap();
        let mut raw = Vec::new();
        TxEip4844WithSidecar::from_tx_and_sidecar(tx, sidecar).into_signed(signature).eip2718_encode(&mut raw);
        raw
    }

    async fn count(&self, at: &str) -> u64 {
        quantity(&self.ask("eth_getTransactionCount", json!([self.batcher.address(), at])).await)
    }

    /// How often a transaction is on L1, and how often a nonce of the batcher.
    async fn landings(&self) -> Vec<(B256, u64)> {
        let tip = support::head(&self.l1()).await;
        let mut found = Vec::new();
        for number in 0..=tip {
            let block = self.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), true])).await;
            for tx in block["transactions"].as_array().unwrap() {
                if tx["from"] == json!(self.batcher.address()) {
                    found.push((serde_json::from_value(tx["hash"].clone()).unwrap(), quantity(&tx["nonce"])));
                }
            }
        }
        found
    }
}

fn blob_of(data: &[u8]) -> Sidecar {
    kzg::commit_and_prove(&blob::encode(data).unwrap()).unwrap().sidecar().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_a_client_sends_make_l2_blocks_safe() {
    let folder = tempfile::tempdir().unwrap();
    let bed = Bed::start(&folder.path().join("data"), &[]);

    // With blobs.
    let data = bed.batches(0, 3, 1).await;
    let sidecars = [blob_of(&data)];
    let raw = bed.sign_blobs(bed.with_blobs(0, &sidecars), &sidecars);
    let hash = bed.send(&raw).await.unwrap();
    let pending = bed.ask("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!((&pending["hash"], &pending["from"]), (&json!(hash), &json!(bed.batcher.address())));
    assert!(bed.count("pending").await == 1);
    let receipt = bed.receipt(hash).await;
    assert_eq!((&receipt["status"], &receipt["type"]), (&json!("0x1"), &json!("0x3")));
    let shown = bed.ask("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(shown["blockHash"], receipt["blockHash"]);
    bed.safe(3).await;

    // In call data, with the fees and the gas that the node suggests.
    let data = bed.batches(3, 3, 2).await;
    let mut tx = bed.calldata(1, &data);
    let request = json!({ "to": bed.network.rollup.batch_inbox_address, "data": hex::encode_prefixed(&data) });
    tx.gas_limit = quantity(&bed.ask("eth_estimateGas", json!([request])).await);
    let tip = quantity(&bed.ask("eth_maxPriorityFeePerGas", json!([])).await);
    let head = bed.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    tx.max_priority_fee_per_gas = tip.into();
    tx.max_fee_per_gas = (tip + quantity(&head["baseFeePerGas"])).into();
    let hash = bed.send(&bed.sign(tx)).await.unwrap();
    assert_eq!(bed.receipt(hash).await["type"], json!("0x2"));
    bed.safe(6).await;
    assert_eq!(bed.count("latest").await, 2);
    assert!(bed.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_rule_is_refused_in_words_that_clients_know_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bed = Bed::start(&folder.path().join("data"), &[]);
    let good = [blob_of(b"\0one")];
    let other = blob_of(b"\0two");
    let inbox = bed.network.rollup.batch_inbox_address;

    let wrong_commitment = [Sidecar { commitment: other.commitment, ..good[0].clone() }];
    let mut large = good[0].data.to_vec();
    large[..32].fill(0xff);
    let large = [Sidecar::new(good[0].commitment, good[0].proof, &large).unwrap()];
    let without_sidecar = {
        let tx = bed.with_blobs(0, &good);
        let signature = bed.batcher.sign_hash_sync(&tx.signature_hash()).unwrap();
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
    };
    let stranger = {
        let (tx, key) = (bed.calldata(0, b"\0x"), PrivateKeySigner::random());
        let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
    };
    let cases = [
        // The hash is that of the wrong commitment, or of the right one.
        (
            bed.sign_blobs(bed.with_blobs(0, &wrong_commitment), &wrong_commitment),
            "invalid blob 0: the proof does not fit",
        ),
        (bed.sign_blobs(bed.with_blobs(0, &good), &wrong_commitment), "blob 0: computed hash"),
        (
            bed.sign_blobs(bed.with_blobs(0, &large), &large),
            "invalid blob 0: field element 0 of the blob is not canonical",
        ),
        (without_sidecar, "missing sidecar in blob transaction"),
        (bed.sign(bed.calldata(16, b"\0x")), "nonce too high: tx nonce 16, next nonce 0"),
        (
            bed.sign(TxEip1559 { chain_id: 1, ..bed.calldata(0, b"\0x") }),
            "invalid chain id for signer: have 1, want 250",
        ),
        (
            bed.sign(TxEip1559 { to: TxKind::Call(Address::repeat_byte(9)), ..bed.calldata(0, b"\0x") }),
            &format!("only transactions to the batch inbox {inbox}"),
        ),
        (bed.sign(TxEip1559 { gas_limit: 21_000, ..bed.calldata(0, b"\0x") }), "intrinsic gas too low"),
        (
            bed.sign(TxEip1559 { max_fee_per_gas: 1, max_priority_fee_per_gas: 1, ..bed.calldata(0, b"\0x") }),
            "transaction underpriced",
        ),
        (stranger, "is not carried by this node"),
        (vec![2, 0xc0], "rlp: "),
    ];
    for (raw, why) in cases {
        let (code, message) = bed.refused(&raw).await;
        assert!(code == -32000 && message.contains(why), "{why}: {code} {message}");
    }
    assert_eq!((bed.count("pending").await, bed.count("latest").await), (0, 0));
    let status = call(&bed.node.admin(), "admin_status", vec![]).await.unwrap();
    let carrier = status["actors"].as_array().unwrap().iter().find(|actor| actor["name"] == "carrier").unwrap();
    assert_eq!(carrier["waiting"], "transactions to the batch inbox", "{carrier}");
    assert!(bed.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_lands_in_the_place_of_what_it_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let bed = Bed::start(&folder.path().join("data"), &[]);
    // It waits for the nonce before it.
    let first = bed.sign(bed.calldata(1, b"\0first"));
    let old = bed.send(&first).await.unwrap();
    assert_eq!(bed.count("pending").await, 0);
    assert_eq!(bed.refused(&first).await, (-32000, "already known".into()));
    let fee = |gwei: u128, tip: u128, data: &[u8]| {
        let tx =
            TxEip1559 { max_fee_per_gas: gwei * GWEI, max_priority_fee_per_gas: tip * GWEI, ..bed.calldata(1, data) };
        bed.sign(tx)
    };
    let (code, message) = bed.refused(&fee(3, 2, b"\0second")).await;
    assert!(code == -32000 && message.starts_with("replacement transaction underpriced"), "{message}");
    let blob = [blob_of(b"\0x")];
    let (_, message) = bed.refused(&bed.sign_blobs(bed.with_blobs(0, &blob), &blob)).await;
    assert!(message.starts_with("address already reserved"), "{message}");
    let new = bed.send(&fee(6, 2, b"\0second")).await.unwrap();
    assert_eq!(bed.ask("eth_getTransactionByHash", json!([old])).await, Value::Null);
    assert_eq!(bed.ask("eth_getTransactionByHash", json!([new])).await["blockHash"], Value::Null);
    assert_eq!(bed.ask("eth_getTransactionReceipt", json!([new])).await, Value::Null);
    let before = bed.send(&bed.sign(bed.calldata(0, b"\0before"))).await.unwrap();
    assert_eq!(bed.count("pending").await, 2);
    bed.receipt(new).await;
    let (code, message) = bed.refused(&fee(12, 4, b"\0third")).await;
    assert!(code == -32000 && message.starts_with("nonce too low: next nonce 2, tx nonce 1"), "{message}");
    assert_eq!(bed.landings().await, [(before, 0), (new, 1)]);
    assert!(bed.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_refused_without_a_look_at_their_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let bed = Bed::start(&folder.path().join("data"), &[]);
    let blob = [blob_of(b"\0one")];
    let wrong = [Sidecar { proof: blob_of(b"\0two").proof, ..blob[0].clone() }];
    // It waits for the nonce before it.
    bed.send(&bed.sign_blobs(bed.with_blobs(1, &blob), &blob)).await.unwrap();
    let copy = bed.sign_blobs(bed.with_blobs(1, &blob), &wrong);
    assert_eq!(bed.refused(&copy).await, (-32000, "already known".into()));
    let cheap = TxEip4844 { gas_limit: 22_000, ..bed.with_blobs(1, &blob) };
    let (_, message) = bed.refused(&bed.sign_blobs(cheap, &wrong)).await;
    assert!(message.starts_with("replacement transaction underpriced"), "{message}");
    // Only what would be taken is looked at.
    let first = bed.with_blobs(0, &blob);
    let (_, message) = bed.refused(&bed.sign_blobs(first.clone(), &wrong)).await;
    assert!(message.starts_with("invalid blob 0"), "{message}");
    let hash = bed.send(&bed.sign_blobs(first, &blob)).await.unwrap();
    bed.receipt(hash).await;
    let (_, message) = bed.refused(&bed.sign_blobs(bed.with_blobs(0, &blob), &wrong)).await;
    assert!(message.starts_with("nonce too low"), "{message}");
    assert!(bed.node.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_survives_every_fault_and_lands_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let bed = Bed::start(&data, &[]);
    let admin = bed.node.admin();
    let mut sent = Vec::new();
    for (nonce, (fault, cause)) in
        [("admin_kill", "stop"), ("admin_panic", "panic"), ("admin_hang", "hang")].into_iter().enumerate()
    {
        up(&admin, "carrier").await;
        let before = restarts(bed.node.ports, "carrier", cause);
        let blob = [blob_of(format!("\0{fault}").as_bytes())];
        let raw = bed.sign_blobs(bed.with_blobs(nonce as u64, &blob), &blob);
        sent.push((bed.send(&raw).await.unwrap(), nonce as u64));
        let mut params = vec![json!("carrier")];
        if fault == "admin_hang" {
            params.push(json!(3_600_000));
        }
        call(&admin, fault, params).await.unwrap();
        restarted(bed.node.ports, "carrier", cause, before).await;
    }
    for (hash, _) in &sent {
        bed.receipt(*hash).await;
    }
    // And the whole process, between acceptance and landing.
    let blob = [blob_of(b"\0process")];
    let raw = bed.sign_blobs(bed.with_blobs(3, &blob), &blob);
    sent.push((bed.send(&raw).await.unwrap(), 3));
    let ports = bed.node.ports;
    let Bed { node, network, batcher } = bed;
    node.kill();
    let node = serving(Node::start_as(&data, ports, &[], &NO_BATCHER));
    let bed = Bed { node, network, batcher };
    // What has landed and what is in the journal.
    assert_eq!(bed.count("pending").await, 4);
    for (hash, _) in &sent {
        bed.receipt(*hash).await;
    }
    assert_eq!(bed.landings().await, sent);
    assert_eq!((bed.count("pending").await, bed.count("latest").await), (4, 4));
    assert!(bed.node.stop().success());
    support::check(&data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_carrier_says_how_to_have_one() {
    let folder = tempfile::tempdir().unwrap();
    let bed = Bed::start(&folder.path().join("data"), &[("DUSKEVM_ACTORS__CARRIER", "false")]);
    let (code, message) = bed.refused(&bed.sign(bed.calldata(0, b"\0x"))).await;
    assert!(code == -32000 && message.contains("actors.carrier = true"), "{message}");
    assert!(bed.node.stop().success());
}
