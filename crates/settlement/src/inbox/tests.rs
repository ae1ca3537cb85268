use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, Signature, TxKind, U256, b256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_l1_view::{BASE_FEE, EnvelopeError};
use proptest::prelude::*;

use super::*;
use crate::settlement::Contract::BatchInbox;
use crate::testing::{ALICE, CHAIN_ID, Ledger, NONE, OWNER, contracts, genesis};

fn signer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")).unwrap()
}

fn inbox() -> Address {
    contract_address(&contracts().batch_inbox)
}

fn calldata() -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce: 0,
        gas_limit: 100_000,
        max_fee_per_gas: u128::from(BASE_FEE),
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(inbox()),
        value: U256::ZERO,
        access_list: Default::default(),
        input: vec![0, 1, 2, 3].into(),
    }
}

fn blob(seed: u8) -> B256 {
    let mut hash = B256::repeat_byte(seed);
    hash[0] = 1;
    hash
}

fn blobs(hashes: Vec<B256>) -> TxEip4844 {
    TxEip4844 {
        chain_id: CHAIN_ID,
        nonce: 0,
        gas_limit: 21_000,
        max_fee_per_gas: u128::from(BASE_FEE),
        max_priority_fee_per_gas: 1,
        to: inbox(),
        value: U256::ZERO,
        access_list: Default::default(),
        blob_versioned_hashes: hashes,
        max_fee_per_blob_gas: 1,
        input: Bytes::new(),
    }
}

fn signed<T: SignableTransaction<Signature>>(tx: T) -> SubmitEnvelope
where
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = signer().sign_hash_sync(&tx.signature_hash()).unwrap();
    let envelope = TxEnvelope::from(tx.into_signed(signature));
    SubmitEnvelope { envelope: envelope.encoded_2718().into() }
}

fn refused(args: &SubmitEnvelope) -> Refusal {
    Ledger::new().refusal(ALICE, 0, BatchInbox, args)
}

#[test]
fn calldata_envelopes_are_published_unchanged_whoever_brings_them() {
    let args = signed(calldata());
    for caller in [ALICE, OWNER] {
        let events = Ledger::new().send(caller, 0, BatchInbox, &args).unwrap();
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((event.contract, event.topic), (contracts().batch_inbox, ENVELOPE_TOPIC));
        assert_eq!(event.data, args.envelope);
    }
}

#[test]
fn an_envelope_lands_once() {
    let mut ledger = Ledger::new();
    let args = signed(calldata());
    ledger.send(ALICE, 0, BatchInbox, &args).unwrap();
    ledger.height += 1;
    let wrong = |got, next| Refusal::EnvelopeNonce { signer: signer().address(), got, next };
    assert_eq!(ledger.refusal(OWNER, 0, BatchInbox, &args), wrong(0, 1));
    // Nor does another one in its place.
    let other = signed(TxEip1559 { gas_limit: 100_001, ..calldata() });
    assert_eq!(ledger.refusal(ALICE, 0, BatchInbox, &other), wrong(0, 1));
}

#[test]
fn envelopes_of_a_signer_land_in_the_order_of_their_nonces_whoever_brings_them() {
    let mut ledger = Ledger::new();
    let me = signer().address();
    let next = |ledger: &Ledger, of: Address| ledger.read::<u64>(BatchInbox, "nextNonce", &vec![of]);
    let with_nonce = |nonce| signed(TxEip1559 { nonce, ..calldata() });
    for nonce in 0..3 {
        assert_eq!(next(&ledger, me), nonce);
        for early in [nonce + 1, nonce + 2, u64::MAX] {
            let refused = ledger.refusal(OWNER, 0, BatchInbox, &with_nonce(early));
            assert_eq!(refused, Refusal::EnvelopeNonce { signer: me, got: early, next: nonce });
            assert!(refused.to_string().contains(&format!("is {nonce}: sign it with that nonce")), "{refused}");
        }
        ledger.send(ALICE, 0, BatchInbox, &with_nonce(nonce)).unwrap();
    }
    assert_eq!((next(&ledger, me), next(&ledger, Address::repeat_byte(1))), (3, 0));
    let settlement = Settlement::new(&genesis());
    let answer = settlement.read(&ledger, BatchInbox, crate::NEXT_NONCE, &next_nonce_args(&me)).unwrap();
    assert_eq!((next_nonce_answer(&answer), next_nonce_answer(&[])), (Some(3), None));
}

#[test]
fn all_that_is_kept_of_a_signer_is_one_number() {
    let mut ledger = Ledger::new();
    let before = ledger.storage.len();
    for nonce in 0..5 {
        ledger.send(ALICE, 0, BatchInbox, &signed(TxEip1559 { nonce, ..calldata() })).unwrap();
    }
    assert_eq!(ledger.storage.len(), before + 1);
}

#[test]
fn a_refused_envelope_uses_no_nonce() {
    let mut ledger = Ledger::new();
    let args = signed(blobs(vec![blob(1)]));
    assert_eq!(ledger.refusal(ALICE, 0, BatchInbox, &args), Refusal::BlobMissing(blob(1)));
    ledger.send(ALICE, 0, BatchInbox, &signed(calldata())).unwrap();
}

#[test]
fn blobs_come_before_their_envelope() {
    let mut ledger = Ledger::new();
    let args = signed(blobs(vec![blob(1), blob(2)]));
    assert_eq!(ledger.refusal(ALICE, 0, BatchInbox, &args), Refusal::BlobMissing(blob(1)));
    ledger.blobs.insert(blob(1));
    assert_eq!(ledger.refusal(ALICE, 0, BatchInbox, &args), Refusal::BlobMissing(blob(2)));
    ledger.blobs.insert(blob(2));
    assert_eq!(ledger.send(ALICE, 0, BatchInbox, &args).unwrap().len(), 1);
}

#[test]
fn one_to_six_blobs_with_versioned_hashes() {
    let refused = |hashes: Vec<B256>| refused(&signed(blobs(hashes)));
    assert_eq!(refused(vec![]), Refusal::EnvelopeBlobs { count: 0, most: 6 });
    assert_eq!(refused((1..=7).map(blob).collect()), Refusal::EnvelopeBlobs { count: 7, most: 6 });
    assert_eq!(refused(vec![blob(1), B256::repeat_byte(2)]), Refusal::EnvelopeBlobs { count: 2, most: 6 });
    let mut ledger = Ledger::new();
    ledger.blobs.extend((1..=6).map(blob));
    ledger.send(ALICE, 0, BatchInbox, &signed(blobs((1..=6).map(blob).collect()))).unwrap();
}

#[test]
fn only_what_goes_to_the_inbox() {
    let other = Address::repeat_byte(9);
    let tx = TxEip1559 { to: TxKind::Call(other), ..calldata() };
    assert_eq!(refused(&signed(tx)), Refusal::EnvelopeTarget { got: Some(other), inbox: inbox() });
    let tx = TxEip1559 { to: TxKind::Create, ..calldata() };
    assert_eq!(refused(&signed(tx)), Refusal::EnvelopeTarget { got: None, inbox: inbox() });
    assert!(matches!(
        refused(&signed(TxEip4844 { to: other, ..blobs(vec![blob(1)]) })),
        Refusal::EnvelopeTarget { .. }
    ));
}

#[test]
fn only_what_the_view_shows() {
    let envelope = |args: &SubmitEnvelope| match refused(args) {
        Refusal::Envelope(error) => error,
        other => panic!("{other}"),
    };
    let tx = TxEip1559 { chain_id: 1, ..calldata() };
    assert_eq!(envelope(&signed(tx)), EnvelopeError::ChainId { got: Some(1), want: CHAIN_ID });
    assert_eq!(envelope(&signed(TxEip1559 { gas_limit: 20_999, ..calldata() })), EnvelopeError::Gas(20_999));
    let fee = u128::from(BASE_FEE) - 1;
    assert_eq!(envelope(&signed(TxEip1559 { max_fee_per_gas: fee, ..calldata() })), EnvelopeError::Fee(fee));
    let legacy = TxLegacy { chain_id: Some(CHAIN_ID), gas_limit: 21_000, gas_price: 1 << 60, ..Default::default() };
    assert_eq!(envelope(&signed(legacy)), EnvelopeError::Type(0));
    let access = TxEip2930 { chain_id: CHAIN_ID, gas_limit: 21_000, gas_price: 1 << 60, ..Default::default() };
    assert_eq!(envelope(&signed(access)), EnvelopeError::Type(1));
    let whole = signed(calldata()).envelope;
    for bytes in [Bytes::new(), whole.slice(..whole.len() - 1), [whole.as_ref(), &[0]].concat().into()] {
        assert_eq!(envelope(&SubmitEnvelope { envelope: bytes }), EnvelopeError::Malformed);
    }
}

#[test]
fn no_value_and_no_tip_above_the_fee() {
    let tx = TxEip1559 { value: U256::from(1), ..calldata() };
    assert_eq!(refused(&signed(tx)), Refusal::EnvelopeValue(U256::from(1)));
    let tx = TxEip1559 { max_priority_fee_per_gas: u128::from(BASE_FEE) + 1, ..calldata() };
    assert_eq!(refused(&signed(tx)), Refusal::EnvelopeTip);
}

#[test]
fn the_signature_must_be_somebodys_and_low() {
    let tx = calldata();
    let good = signer().sign_hash_sync(&tx.signature_hash()).unwrap();
    let order = U256::from_be_bytes(b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").0);
    // The same signature in its high form recovers to the same key.
    let high = Signature::new(good.r(), order - good.s(), !good.v());
    for bad in [high, Signature::new(U256::ZERO, U256::from(1), false), Signature::new(order, good.s(), false)] {
        let envelope = TxEnvelope::from(tx.clone().into_signed(bad)).encoded_2718();
        assert_eq!(refused(&SubmitEnvelope { envelope: envelope.into() }), Refusal::EnvelopeSignature);
    }
}

#[test]
fn length_is_bounded() {
    let tx = |bytes: usize| signed(TxEip1559 { input: vec![7; bytes].into(), ..calldata() });
    let over = tx(0).envelope.len() + 8;
    let (fits, too_long) = (tx(MAX_ENVELOPE_BYTES - over), tx(MAX_ENVELOPE_BYTES));
    Ledger::new().send(ALICE, 0, BatchInbox, &fits).unwrap();
    assert_eq!(refused(&too_long), Refusal::EnvelopeSize(too_long.envelope.len()));
}

#[test]
fn the_inbox_takes_no_lux() {
    let refused = Ledger::new().refusal(ALICE, 5, BatchInbox, &signed(calldata()));
    assert_eq!(refused, Refusal::NotPayable("the batch inbox", 5));
}

#[test]
fn unknown_functions_are_refused() {
    for function in ["", "submit", "isSubmitted", "depositTransaction"] {
        let refused = Ledger::new().run(ALICE, 0, BatchInbox, function, &alloy_rlp::encode(NONE));
        assert_eq!(refused, Err(Error::Refused(Refusal::UnknownFunction(function.into()))));
    }
}

proptest! {
    /// Whatever is published is what the view shows, and nothing else changes the state.
    #[test]
    fn damaged_envelopes_are_refused_or_shown(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = signed(calldata()).envelope.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let args = SubmitEnvelope { envelope: bytes.clone().into() };
        let mut ledger = Ledger::new();
        let before = ledger.storage.clone();
        match ledger.send(ALICE, 0, BatchInbox, &args) {
            Ok(_) => prop_assert!(decode_envelope(CHAIN_ID, &bytes).unwrap().recover_signer().is_ok()),
            Err(_) => prop_assert_eq!(ledger.storage, before),
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..5) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let _ = Ledger::new().send(ALICE, 0, BatchInbox, &SubmitEnvelope { envelope: bytes.clone().into() });
        let _ = Ledger::new().run(ALICE, 0, BatchInbox, "submitEnvelope", &bytes);
    }
}
