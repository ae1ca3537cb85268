use super::*;
use crate::testing::{
    CHAIN, GWEI, INBOX, blob_bytes, calldata, network_form, settings, sidecars, sign, sign_blobs, signer, with_blobs,
};
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip2930, TxLegacy};
use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip4844::Bytes48,
    eip7594::BlobTransactionSidecarEip7594,
};
use alloy_primitives::{Signature, U256};
use alloy_signer::SignerSync as _;
use duskevm_blobs::BlobError;
use proptest::prelude::*;

fn refused(raw: &[u8]) -> Refusal {
    Envelope::read(raw, &settings().rules).unwrap_err()
}

fn read(raw: &[u8]) -> Envelope {
    Envelope::read(raw, &settings().rules).unwrap()
}

#[test]
fn an_envelope_with_call_data_is_read() {
    let raw = sign(calldata(7, b"frames"), 1);
    let envelope = read(&raw);
    assert_eq!((envelope.nonce(), envelope.sender()), (7, signer(1).address()));
    assert_eq!((&envelope.raw()[..], envelope.blobs()), (&raw[..], &[][..]));
    assert_eq!(envelope.hash(), alloy_primitives::keccak256(&raw));
    assert_eq!(Envelope::hash_of(&raw), Some(envelope.hash()));
}

#[test]
fn an_envelope_with_blobs_is_read_in_the_form_of_eip_4844() {
    let raw = blob_bytes(with_blobs(7, sidecars()), sidecars(), 1);
    let envelope = read(&raw);
    let found: Vec<_> = envelope.blobs().iter().map(|blob| blob.sidecar().clone()).collect();
    assert_eq!(found, sidecars());
    // The inbox takes it without its sidecar, and its hash is that of this form.
    assert!(envelope.raw().len() < 400);
    assert_eq!(envelope.hash(), alloy_primitives::keccak256(envelope.raw()));
    assert_eq!(Envelope::hash_of(&raw), Some(envelope.hash()));
}

#[test]
fn an_envelope_with_blobs_is_read_in_the_form_of_eip_7594() {
    let one = &sidecars()[..1];
    let proofs = kzg::prove_cells(&one[0].data[..]).unwrap();
    let form = |proofs: Vec<[u8; 48]>| {
        let old = network_form(one);
        let proofs = proofs.into_iter().map(Bytes48::from).collect();
        BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594::new(old.blobs, old.commitments, proofs))
    };
    let envelope = read(&sign_blobs(with_blobs(0, one), form(proofs.clone()), 1));
    // Dusk gets the proof of the blob.
    assert_eq!(envelope.blobs()[0].sidecar(), &one[0]);
    let mut swapped = proofs.clone();
    swapped.swap(0, 1);
    let error = refused(&sign_blobs(with_blobs(0, one), form(swapped), 1));
    assert_eq!(error, Refusal::Blob { index: 0, source: BlobError::Proof });
    let error = refused(&sign_blobs(with_blobs(0, one), form(proofs[1..].to_vec()), 1));
    assert_eq!(error.to_string(), "invalid number of cell proofs: have 127, want 128");
}

#[test]
fn bytes_that_are_no_transaction_are_refused() {
    assert!(refused(&[]).to_string().starts_with("rlp: "));
    assert!(refused(&[0x85, 1]).to_string().starts_with("rlp: "));
    let mut raw = sign(calldata(0, b"x"), 1);
    raw.push(0);
    assert!(refused(&raw).to_string().starts_with("rlp: "));
    raw.truncate(20);
    assert!(refused(&raw).to_string().starts_with("rlp: "));
    assert_eq!(Envelope::hash_of(&raw), None);
}

#[test]
fn other_types_are_refused() {
    let legacy = TxLegacy { chain_id: Some(CHAIN), to: TxKind::Call(INBOX), gas_limit: 21_000, ..Default::default() };
    let signature = signer(1).sign_hash_sync(&legacy.signature_hash()).unwrap();
    let raw = alloy_consensus::TxEnvelope::from(legacy.into_signed(signature)).encoded_2718();
    assert_eq!(refused(&raw), Refusal::Type(0));
    let listed = TxEip2930 { chain_id: CHAIN, to: TxKind::Call(INBOX), gas_limit: 21_000, ..Default::default() };
    let signature = signer(1).sign_hash_sync(&listed.signature_hash()).unwrap();
    let raw = alloy_consensus::TxEnvelope::from(listed.into_signed(signature)).encoded_2718();
    assert_eq!(refused(&raw), Refusal::Type(1));
    assert!(refused(&[4, 0xc0]).to_string().contains("transaction type not supported"));
}

#[test]
fn another_chain_id_is_refused() {
    let error = refused(&sign(TxEip1559 { chain_id: 1, ..calldata(0, b"x") }, 1));
    assert_eq!(error.to_string(), "invalid chain id for signer: have 1, want 250");
}

#[test]
fn only_the_batch_inbox_is_a_recipient() {
    let other = Address::repeat_byte(9);
    let error = refused(&sign(TxEip1559 { to: TxKind::Call(other), ..calldata(0, b"x") }, 1));
    assert_eq!(error, Refusal::Target { to: Some(other), inbox: INBOX });
    let error = refused(&sign(TxEip1559 { to: TxKind::Create, gas_limit: 100_000, ..calldata(0, b"x") }, 1));
    assert_eq!(error, Refusal::Target { to: None, inbox: INBOX });
}

#[test]
fn value_is_refused_as_nobody_has_any() {
    let error = refused(&sign(TxEip1559 { value: U256::from(1), ..calldata(0, b"x") }, 1));
    assert!(error.to_string().starts_with("insufficient funds for gas * price + value"), "{error}");
}

#[test]
fn only_named_senders_are_paid_for() {
    assert_eq!(refused(&sign(calldata(0, b"x"), 3)), Refusal::Sender(signer(3).address()));
}

#[test]
fn a_signature_with_a_high_s_is_refused() {
    let tx = calldata(0, b"x");
    let good = signer(1).sign_hash_sync(&tx.signature_hash()).unwrap();
    let order =
        U256::from_be_bytes(alloy_primitives::hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"));
    let high = Signature::new(good.r(), order - good.s(), !good.v());
    let raw = alloy_consensus::TxEnvelope::from(tx.clone().into_signed(high)).encoded_2718();
    assert_eq!(refused(&raw), Refusal::Signature);
    let none = Signature::new(U256::ZERO, U256::ZERO, false);
    let raw = alloy_consensus::TxEnvelope::from(tx.into_signed(none)).encoded_2718();
    assert_eq!(refused(&raw), Refusal::Signature);
}

#[test]
fn a_tip_above_the_cap_is_refused() {
    let error = refused(&sign(TxEip1559 { max_priority_fee_per_gas: 3 * GWEI, ..calldata(0, b"x") }, 1));
    assert!(error.to_string().starts_with("max priority fee per gas higher than max fee per gas"), "{error}");
}

#[test]
fn less_than_the_base_fees_is_underpriced() {
    let tx = TxEip1559 { max_fee_per_gas: GWEI - 1, max_priority_fee_per_gas: 0, ..calldata(0, b"x") };
    let error = refused(&sign(tx.clone(), 1)).to_string();
    assert!(error.starts_with("transaction underpriced: max fee per gas less than block base fee"), "{error}");
    read(&sign(TxEip1559 { max_fee_per_gas: GWEI, ..tx }, 1));
    let one = &sidecars()[..1];
    let tx = alloy_consensus::TxEip4844 { max_fee_per_blob_gas: 0, ..with_blobs(0, one) };
    let error = refused(&blob_bytes(tx, one, 1)).to_string();
    assert!(error.contains("max fee per blob gas less than block blob gas fee"), "{error}");
}

#[test]
fn gas_below_the_intrinsic_gas_or_above_a_block_is_refused() {
    let with_gas = |gas_limit| sign(TxEip1559 { gas_limit, ..calldata(0, &[0, 0, 1]) }, 1);
    let need = 21_000 + 2 * 4 + 16;
    assert_eq!(refused(&with_gas(need - 1)), Refusal::IntrinsicGas { gas: need - 1, need });
    read(&with_gas(need));
    read(&with_gas(60_000_000));
    assert!(refused(&with_gas(60_000_001)).to_string().starts_with("exceeds block gas limit"));
    let item = AccessListItem { address: INBOX, storage_keys: vec![B256::ZERO; 2] };
    let listed =
        |gas_limit| sign(TxEip1559 { gas_limit, access_list: AccessList(vec![item.clone()]), ..calldata(0, &[]) }, 1);
    let need = 21_000 + 2_400 + 2 * 1_900;
    assert_eq!(refused(&listed(need - 1)), Refusal::IntrinsicGas { gas: need - 1, need });
    read(&listed(need));
}

#[test]
fn the_gas_that_is_suggested_is_enough() {
    for data in [&b""[..], &[0; 100], &[1; 1000]] {
        let gas_limit = enough_gas(data);
        read(&sign(TxEip1559 { gas_limit, ..calldata(0, data) }, 1));
        let floor = 21_000 + data.iter().map(|byte| if *byte == 0 { 10 } else { 40 }).sum::<u64>();
        assert!(gas_limit >= floor, "{gas_limit} {floor}");
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let error = refused(&sign(calldata(0, &vec![1; MAX_ENVELOPE_BYTES]), 1)).to_string();
    assert!(error.starts_with("oversized data: transaction size"), "{error}");
    assert_eq!(
        refused(&vec![2; MAX_RAW_BYTES + 1]),
        Refusal::Oversized { size: MAX_RAW_BYTES + 1, limit: MAX_RAW_BYTES }
    );
}

#[test]
fn a_blob_transaction_has_one_to_six_blobs() {
    let none = with_blobs(0, &[]);
    assert_eq!(refused(&blob_bytes(none, &[], 1)), Refusal::NoBlobs);
    let tx = alloy_consensus::TxEip4844 { blob_versioned_hashes: vec![B256::repeat_byte(1); 7], ..with_blobs(0, &[]) };
    assert_eq!(refused(&blob_bytes(tx, &[], 1)), Refusal::TooManyBlobs { have: 7, most: 6 });
}

#[test]
fn the_largest_sidecar_fits() {
    let one = &sidecars()[0];
    let six: Vec<Sidecar> = std::iter::repeat_n(one.clone(), 6).collect();
    let raw = blob_bytes(with_blobs(0, &six), &six, 1);
    assert_eq!(read(&raw).blobs().len(), 6);
}

#[test]
fn a_blob_transaction_comes_with_its_sidecar() {
    let raw = read(&blob_bytes(with_blobs(0, &sidecars()[..1]), &sidecars()[..1], 1)).raw().clone();
    let error = refused(&raw);
    assert_eq!(error, Refusal::NoSidecar);
    assert!(error.to_string().starts_with("missing sidecar in blob transaction"));
}

#[test]
fn each_list_of_the_sidecar_has_an_entry_for_each_hash() {
    let tx = with_blobs(0, &sidecars()[..2]);
    for (what, change) in [
        ("blobs", (|form| form.blobs.truncate(1)) as fn(&mut alloy_eips::eip4844::BlobTransactionSidecar)),
        ("commitments", |form| form.commitments.truncate(1)),
        ("blob proofs", |form| form.proofs.truncate(1)),
    ] {
        let mut form = network_form(&sidecars()[..2]);
        change(&mut form);
        let error = refused(&sign_blobs(tx.clone(), form.into(), 1));
        assert_eq!(error, Refusal::SidecarCount { what, have: 1, want: 2 });
    }
}

#[test]
fn hashes_are_those_of_the_commitments() {
    let [first, second, _] = sidecars();
    let raw = blob_bytes(with_blobs(0, &[first.clone(), first.clone()]), &[first.clone(), second.clone()], 1);
    let (computed, named) = (second.hash().into(), first.hash().into());
    assert_eq!(refused(&raw), Refusal::BlobHash { index: 1, computed, named });
}

#[test]
fn blobs_fit_their_commitments_and_proofs() {
    let [first, second, _] = sidecars();
    let other_data = Sidecar { data: second.data.clone(), ..first.clone() };
    let other_proof = Sidecar { proof: second.proof, ..first.clone() };
    for bad in [other_data, other_proof] {
        let list = [second.clone(), bad];
        let error = refused(&blob_bytes(with_blobs(0, &list), &list, 1));
        assert_eq!(error, Refusal::Blob { index: 1, source: BlobError::Proof });
    }
}

#[test]
fn field_elements_are_canonical() {
    let mut data = sidecars()[0].data.to_vec();
    data[5 * 32..6 * 32].fill(0xff);
    let bad = Sidecar::new(sidecars()[0].commitment, sidecars()[0].proof, &data).unwrap();
    let list = [bad];
    let error = refused(&blob_bytes(with_blobs(0, &list), &list, 1));
    assert_eq!(error, Refusal::Blob { index: 0, source: BlobError::Field(5) });
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(mut bytes: Vec<u8>, kind in 0..5u8) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        prop_assert!(Envelope::read(&bytes, &settings().rules).is_err());
    }

    #[test]
    fn a_changed_bit_makes_another_transaction_or_none(bit in 0..1600usize) {
        let raw = sign(calldata(7, b"frames"), 1);
        let mut changed = raw.clone();
        let at = bit % (8 * raw.len());
        changed[at / 8] ^= 1 << (at % 8);
        if let Ok(envelope) = Envelope::read(&changed, &settings().rules) {
            prop_assert_ne!(envelope.hash(), read(&raw).hash());
        }
    }
}
