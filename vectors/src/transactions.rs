//! Moonlight transactions with every kind of data, in both envelopes.

use dusk_core::abi::ContractId;
use dusk_core::transfer::data::{BlobData, ContractCall, TransactionData};
use dusk_core::transfer::moonlight::Transaction as Moonlight;
use dusk_core::transfer::{Transaction, TransactionFormat};
use dusk_node_data::ledger::LedgerTransaction;
use serde_json::{Value, json};

use crate::network::{public, secret};

const CHAIN: u8 = 250;

/// Bytes of a blob: small numbers, one in each field element.
fn blob(first: u32) -> BlobData {
    let mut data = vec![0; 4096 * 32];
    for (i, element) in data.chunks_exact_mut(32).enumerate() {
        element[28..].copy_from_slice(&(first + i as u32).to_be_bytes());
    }
    BlobData::from_datapart(&data, None).expect("a blob")
}

struct Spec {
    name: &'static str,
    receiver: Option<u64>,
    refund: Option<u64>,
    value: u64,
    deposit: u64,
    gas_limit: u64,
    gas_price: u64,
    nonce: u64,
    data: Option<TransactionData>,
}

fn specs() -> Vec<Spec> {
    let call = |name: &str, args: Vec<u8>| {
        TransactionData::Call(ContractCall::new(ContractId::from_bytes([0x0c; 32]), name).with_raw_args(args))
    };
    let base = |name| Spec {
        name,
        receiver: None,
        refund: None,
        value: 0,
        deposit: 0,
        gas_limit: 100_000,
        gas_price: 1,
        nonce: 1,
        data: None,
    };
    let stripped = |mut blob: BlobData| {
        let _ = blob.take_sidecar();
        blob
    };
    let hashes = [blob(1), blob(2)].map(|blob| blob.hash).concat();
    vec![
        Spec { receiver: Some(3), value: 5, ..base("transfer") },
        Spec { receiver: Some(3), value: u64::MAX, nonce: u64::MAX, gas_price: 7, ..base("largest numbers") },
        Spec { value: 9, ..base("to itself") },
        Spec { receiver: Some(3), refund: Some(4), value: 1, ..base("refund to another") },
        Spec { data: Some(TransactionData::Memo(b"memo".to_vec())), ..base("memo") },
        Spec { data: Some(TransactionData::Memo(vec![])), ..base("empty memo") },
        Spec { data: Some(TransactionData::Memo(vec![0xee; 512])), ..base("longest memo") },
        Spec { deposit: 77, data: Some(call("deposit", vec![1, 2, 3])), ..base("call with deposit") },
        Spec { data: Some(call("f", vec![])), ..base("call without arguments") },
        Spec {
            gas_limit: 2_000_000,
            data: Some(TransactionData::Blob(vec![stripped(blob(1)), stripped(blob(2))])),
            ..base("blobs")
        },
        Spec { gas_limit: 2_000_000, data: Some(TransactionData::Memo(hashes)), ..base("memo of the blobs' hashes") },
    ]
}

fn build(spec: &Spec) -> Transaction {
    let receiver = spec.receiver.map(|number| *public(number).inner());
    let refund = *public(spec.refund.unwrap_or(2)).inner();
    Moonlight::new_with_refund(
        &secret(2),
        &refund,
        receiver,
        spec.value,
        spec.deposit,
        spec.gas_limit,
        spec.gas_price,
        spec.nonce,
        CHAIN,
        spec.data.clone(),
    )
    .expect("a transaction")
    .into()
}

pub fn samples() -> Vec<(&'static str, LedgerTransaction)> {
    specs().iter().map(|spec| (spec.name, LedgerTransaction::from_protocol_for_ledger(build(spec), 1))).collect()
}

pub fn moonlight() -> Value {
    specs()
        .iter()
        .map(|spec| {
            let protocol = build(spec);
            let Transaction::Moonlight(inner) = &protocol else { panic!("not a Moonlight transaction") };
            let signed = hex::encode(inner.signature_message());
            let [aegis, boreas] = [TransactionFormat::Aegis, TransactionFormat::Boreas].map(|format| {
                let ledger = LedgerTransaction::from_protocol_with_format(protocol.clone(), format);
                json!({
                    "envelope": hex::encode(ledger.protocol_bytes()), "id": hex::encode(ledger.id()),
                    "digest": hex::encode(ledger.digest()),
                })
            });
            json!({
                "name": spec.name, "sender": 2, "receiver": spec.receiver, "refund": spec.refund,
                "value": spec.value, "deposit": spec.deposit, "gas_limit": spec.gas_limit,
                "gas_price": spec.gas_price, "nonce": spec.nonce, "chain": CHAIN,
                "signed": signed, "aegis": aegis, "boreas": boreas,
            })
        })
        .collect()
}
