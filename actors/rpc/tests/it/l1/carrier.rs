//! What clients see of the carrier: what it carries, from its feed, and its answers.

use super::bed::{Bed, CHAIN_ID, batcher};
use alloy_consensus::{SignableTransaction as _, Transaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, TxKind, hex};
use alloy_signer::SignerSync as _;
use duskevm_carrier_core::{Carried, Envelope, Refusal, Rules};
use duskevm_genesis::{LOCAL_CONTRACTS, evm_address};
use duskevm_messages::carrier::{Carry, CarryRefusal};
use duskevm_rpc::CarrierPorts;
use duskevm_supervision::{AskError, DeathCause, Port};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::watch;

const INBOX: Address = Address::repeat_byte(0x1b);

fn envelope(nonce: u64) -> Envelope {
    let tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 30_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(INBOX),
        ..Default::default()
    };
    let signature = batcher().sign_hash_sync(&tx.signature_hash()).unwrap();
    let raw = TxEnvelope::from(tx.into_signed(signature)).encoded_2718();
    let senders = vec![batcher().address()];
    let rules = Rules { chain_id: CHAIN_ID, inbox: INBOX, gas_limit: 60_000_000, senders, ..Rules::default() };
    Envelope::read(&raw, &rules).unwrap()
}

/// A carrier that dies of the first transaction, answers this to the next one, and carries these.
fn dies_once(carried: &[Envelope], refusal: Refusal) -> CarrierPorts {
    let calls = Arc::new(AtomicUsize::new(0));
    let carry: Port<Carry> = Port::try_from_fn(move |_| {
        let (call, refusal) = (calls.fetch_add(1, Ordering::Relaxed), refusal.clone());
        async move {
            match call {
                0 => Err(AskError::Died { actor: "carrier".into(), cause: DeathCause::Stop }),
                _ => Ok(Err(CarryRefusal::Refused(refusal))),
            }
        }
    });
    let carried: Carried = carried.iter().cloned().map(Arc::new).collect();
    CarrierPorts { carry, carried: watch::channel(Arc::new(carried)).1 }
}

#[tokio::test]
async fn what_is_carried_is_shown_though_the_carrier_does_not_answer() {
    // Nonce 0 is in block 1.
    let all = [envelope(1), envelope(2)];
    let carried: Carried = all.iter().cloned().map(Arc::new).collect();
    let carrier = CarrierPorts { carry: Port::unwired("carrier"), carried: watch::channel(Arc::new(carried)).1 };
    let bed = Bed::carrying(1, 1, carrier).await;
    let hash = all[1].hash();
    let shown = bed.ask("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!((&shown["hash"], &shown["blockHash"]), (&json!(hash), &Value::Null));
    let raw = bed.ask("eth_getRawTransactionByHash", json!([hash])).await;
    assert_eq!(raw, json!(hex::encode_prefixed(all[1].raw())));
    let sender = batcher().address();
    assert_eq!(bed.ask("eth_getTransactionCount", json!([sender, "pending"])).await, "0x3");
    assert_eq!(bed.ask("eth_getTransactionCount", json!([sender, "latest"])).await, "0x1");
    // What nobody knows is no error.
    assert_eq!(bed.ask("eth_getTransactionByHash", json!([B256::ZERO])).await, Value::Null);
    assert_eq!(bed.ask("eth_getRawTransactionByHash", json!([B256::ZERO])).await, "0x");
    bed.stop().await;
}

#[tokio::test]
async fn what_was_taken_by_a_carrier_that_died_is_accepted() {
    let envelope = envelope(0);
    let params = json!([hex::encode_prefixed(envelope.raw())]);
    let low = Refusal::NonceTooLow { next: 1, nonce: 0 };
    for refusal in [Refusal::Known, low.clone()] {
        let bed = Bed::carrying(1, 1, dies_once(std::slice::from_ref(&envelope), refusal)).await;
        assert_eq!(bed.ask("eth_sendRawTransaction", params.clone()).await, json!(envelope.hash()));
        bed.stop().await;
    }
    // The same if only the view still has it.
    let bed = Bed::carrying(1, 1, dies_once(&[], low.clone())).await;
    let shown = bed.chain.blocks[1]
        .transactions
        .iter()
        .find(|tx| tx.envelope.to() == Some(evm_address(LOCAL_CONTRACTS.batch_inbox)));
    let shown = &shown.unwrap().envelope;
    let raw = json!([hex::encode_prefixed(shown.encoded_2718())]);
    assert_eq!(bed.ask("eth_sendRawTransaction", raw).await, json!(shown.tx_hash()));
    bed.stop().await;
    // But not if another one has its nonce.
    let bed = Bed::carrying(1, 1, dies_once(&[], low)).await;
    let (_, message) = bed.client().error("eth_sendRawTransaction", params).await;
    assert_eq!(message, "nonce too low: next nonce 1, tx nonce 0");
    bed.stop().await;
}
