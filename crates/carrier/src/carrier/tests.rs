//! Single rules, each against a few looks at L1 that are written by hand. What holds in all weathers is in [`sim`](crate::sim).

use super::*;
use crate::{
    Order, TxStatus,
    testing::{GWEI, blob_bytes, calldata, read, settings, sidecars, sign, signer, with_blobs},
};
use alloy_consensus::{TxEip1559, TxEip4844};

/// A carrier that has looked at block 1 of an L1 where nothing has happened.
fn carrier() -> Carrier {
    let mut carrier = Carrier::new(settings());
    look(&mut carrier, 1, 0, 0, &[]);
    carrier
}

/// The first sender's envelopes are call data.
fn plain(nonce: u64, fee: u128) -> Envelope {
    let (max_fee_per_gas, max_priority_fee_per_gas) = (fee * GWEI, fee * GWEI);
    read(&sign(TxEip1559 { max_fee_per_gas, max_priority_fee_per_gas, ..calldata(nonce, b"x") }, 1))
}

/// Those of the second have a blob.
fn with_blob(nonce: u64, fee: u128, which: usize) -> Envelope {
    let blobs = &sidecars()[which..=which];
    let (max_fee_per_gas, max_priority_fee_per_gas) = (fee * GWEI, fee * GWEI);
    let max_fee_per_blob_gas = fee;
    let tx = TxEip4844 { max_fee_per_gas, max_priority_fee_per_gas, max_fee_per_blob_gas, ..with_blobs(nonce, blobs) };
    read(&blob_bytes(tx, blobs, 2))
}

/// A look at L1: its height, the nonce of the Dusk account, the nonce that the inbox takes next from both senders, and Dusk
/// transactions that it knows.
fn look(carrier: &mut Carrier, height: u64, nonce: u64, next: u64, known: &[(B256, TxStatus)]) {
    let observation = observation(carrier, height, nonce, next, known);
    carrier.observe(&observation);
}

fn observation(carrier: &Carrier, height: u64, nonce: u64, next: u64, known: &[(B256, TxStatus)]) -> Observation {
    let next = [1, 2].map(|by| (signer(by).address(), next)).into();
    let mut transactions: std::collections::HashMap<_, _> =
        carrier.watched().into_iter().map(|id| (id, TxStatus::Unknown)).collect();
    transactions.extend(known.iter().cloned());
    let (hash, finalized_hash) = (Some(block(height)), block(0));
    Observation { height, hash, finalized: 0, finalized_hash, nonce, balance: u64::MAX, next, transactions }
}

/// Signs what is to be signed, each under an id of its own, and returns what is submitted then.
fn submitted(carrier: &mut Carrier) -> Vec<Order> {
    for _ in 0..50 {
        match carrier.advance() {
            Action::Journal(_) => {}
            Action::Sign(order) => carrier.signed(&order, id_of(&order)),
            Action::Submit(orders) => return orders,
            Action::Wait(_) => return Vec::new(),
        }
    }
    panic!("the carrier does not come to rest");
}

/// The hash of a block.
fn block(height: u64) -> B256 {
    B256::left_padding_from(&height.to_be_bytes())
}

fn included(order: &Order, height: u64, is_final: bool) -> (B256, TxStatus) {
    (order.id.unwrap(), TxStatus::Included { height, is_final, error: None })
}

fn id_of(order: &Order) -> B256 {
    alloy_primitives::keccak256(format!("{} {} {:?}", order.nonce, order.gas_price, order.role))
}

fn restarted(carrier: &Carrier) -> Carrier {
    let mut again = Carrier::new(carrier.settings.clone());
    carrier.snapshot().into_iter().for_each(|record| again.replay(record).unwrap());
    again
}

#[test]
fn what_was_replaced_while_it_was_signed_is_not_signed() {
    let mut carrier = carrier();
    carrier.take(plain(0, 2), 0).unwrap();
    let Action::Sign(order) = carrier.advance() else { panic!("nothing to sign") };
    let new = plain(0, 4);
    let hash = new.hash();
    carrier.take(new, 0).unwrap();
    carrier.signed(&order, id_of(&order));
    let submitted = submitted(&mut carrier);
    assert_eq!(submitted.iter().map(|order| &order.role).collect::<Vec<_>>(), [&Role::Call(hash)]);
    assert_eq!(carrier.watched().len(), 1);
}

#[test]
fn what_cannot_be_outbid_is_submitted_after_a_restart_too() {
    let mut settings = settings();
    settings.max_gas_price = settings.gas_price;
    let mut carrier = Carrier::new(settings);
    look(&mut carrier, 1, 0, 0, &[]);
    carrier.take(with_blob(0, 2, 0), 0).unwrap();
    let first = submitted(&mut carrier);
    carrier.take(with_blob(0, 4, 1), 0).unwrap();
    let mut carrier = restarted(&carrier);
    look(&mut carrier, 2, 0, 0, &[]);
    let again = submitted(&mut carrier);
    // The blobs and the call of the old one keep their nonces, to the same ids; the blobs of the new one come behind them.
    assert_eq!(again.iter().map(|order| order.nonce).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(again[..2], first);
    assert_eq!(again[2].role, Role::Blobs(vec![sidecars()[1].hash().into()]));
}

#[test]
fn a_replaced_envelope_takes_room_as_long_as_it_may_be_submitted() {
    let mut carrier = carrier();
    let (old, new) = (with_blob(0, 2, 0), with_blob(0, 4, 1));
    let (old_size, new_size) = (old.size(), new.size());
    carrier.take(old, 0).unwrap();
    assert_eq!(submitted(&mut carrier).len(), 2);
    carrier.take(new, 0).unwrap();
    assert_eq!(carrier.load().1, old_size + new_size);
    // The nonces of both are outbid.
    assert_eq!(submitted(&mut carrier).len(), 2);
    assert_eq!(carrier.load().1, new_size);
}

#[test]
fn a_shorter_journal_knows_what_was_replaced() {
    let mut settings = settings();
    settings.max_gas_price = settings.gas_price;
    let mut carrier = Carrier::new(settings);
    look(&mut carrier, 1, 0, 0, &[]);
    carrier.take(plain(0, 2), 0).unwrap();
    let first = submitted(&mut carrier);
    carrier.take(plain(0, 4), 0).unwrap();
    let mut carrier = restarted(&carrier);
    look(&mut carrier, 2, 0, 0, &[]);
    // The old one stands for the new one: either uses the nonce of the inbox, so that the other could only fail.
    assert_eq!(submitted(&mut carrier), first);
    look(&mut carrier, 3, 1, 0, &[(first[0].id.unwrap(), TxStatus::Waiting)]);
    assert_eq!(submitted(&mut carrier), []);
}

#[test]
fn blobs_are_not_paid_for_again_when_the_call_behind_them_is_taken_back() {
    let mut carrier = carrier();
    carrier.take(with_blob(0, 2, 0), 0).unwrap();
    let orders = submitted(&mut carrier);
    let [blobs, call] = orders.as_slice() else { panic!("{orders:?}") };
    look(&mut carrier, 3, 2, 1, &[included(blobs, 2, true), included(call, 3, false)]);
    assert_eq!(submitted(&mut carrier), []);
    look(&mut carrier, 3, 1, 0, &[included(blobs, 2, true)]);
    assert_eq!(submitted(&mut carrier), std::slice::from_ref(call));
}

#[test]
fn what_comes_again_further_up_between_two_looks_is_not_settled_early() {
    let mut carrier = carrier();
    let envelope = plain(0, 2);
    let hash = envelope.hash();
    carrier.take(envelope, 0).unwrap();
    // Somebody else brings it, in block 2; then block 2 is another one, and it is in block 3.
    look(&mut carrier, 2, 0, 1, &[]);
    let replaced =
        Observation { finalized: 2, finalized_hash: B256::repeat_byte(2), ..observation(&carrier, 3, 0, 1, &[]) };
    carrier.observe(&replaced);
    assert!(carrier.carried().get(&hash).is_some(), "block 3 is not final");
    look(&mut carrier, 3, 0, 0, &[]);
    assert_eq!(submitted(&mut carrier).len(), 1);
}

#[test]
fn what_a_final_block_has_is_settled() {
    // By a look at that block, whoever brought it.
    let mut first = carrier();
    first.take(plain(0, 2), 0).unwrap();
    look(&mut first, 2, 0, 1, &[]);
    let is_final = Observation { finalized: 2, finalized_hash: block(2), ..observation(&first, 3, 0, 1, &[]) };
    first.observe(&is_final);
    assert_eq!(first.load(), (0, 0));
    // By the carrier's own call, at whichever blocks it looked.
    let mut second = carrier();
    second.take(plain(0, 2), 0).unwrap();
    let [call] = submitted(&mut second).try_into().unwrap();
    look(&mut second, 5, 1, 1, &[included(&call, 3, true)]);
    assert_eq!(second.load(), (0, 0));
    assert_eq!(second.snapshot(), []);
}

#[test]
fn what_waits_for_a_gap_takes_no_place_from_other_senders() {
    let mut carrier = carrier();
    // Somebody else has brought nonce 0 of the first sender. As many as may be under way are, then nonce 0 is taken back.
    look(&mut carrier, 2, 0, 1, &[]);
    for nonce in 1..=3 {
        carrier.take(plain(nonce, 2), 1).unwrap();
    }
    assert_eq!(submitted(&mut carrier).len(), 3);
    look(&mut carrier, 2, 0, 0, &[]);
    assert_eq!(submitted(&mut carrier), []);
    carrier.take(with_blob(0, 2, 0), 0).unwrap();
    assert_eq!(submitted(&mut carrier).len(), 2);
}

#[test]
fn what_is_refused_without_its_blobs_is_refused_before_they_are_checked() {
    let rules = settings().rules;
    // Its proof is that of another blob.
    let wrong = |nonce, fee: u128| {
        let [first, second, _] = sidecars();
        let bad = [duskevm_blobs::Sidecar { proof: second.proof, ..first.clone() }];
        let mut tx = with_blobs(nonce, &bad);
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (fee * GWEI, fee * GWEI);
        tx.max_fee_per_blob_gas = fee;
        Candidate::read(&blob_bytes(tx, &bad, 2), &rules).unwrap()
    };
    let mut carrier = carrier();
    carrier.take(with_blob(0, 2, 0), 0).unwrap();
    assert_eq!(carrier.check(&wrong(0, 2), 0), Err(Refusal::Known));
    assert_eq!(carrier.check(&wrong(0, 2), 1), Err(Refusal::NonceTooLow { next: 1, nonce: 0 }));
    assert!(matches!(carrier.check(&wrong(0, 3), 0), Err(Refusal::ReplacementUnderpriced { .. })));
    assert!(matches!(carrier.check(&wrong(9, 2), 0), Err(Refusal::NonceTooHigh { .. })));
    // Only what would be taken is worth it.
    assert_eq!(carrier.check(&wrong(1, 2), 0), Ok(()));
    assert!(matches!(wrong(1, 2).check_blobs(), Err(Refusal::Blob { index: 0, .. })));
}

#[test]
fn nonces_count_from_the_journal_before_the_first_look_at_l1() {
    let mut first = carrier();
    first.take(plain(4, 2), 4).unwrap();
    first.take(plain(5, 2), 4).unwrap();
    let again = restarted(&first);
    assert_eq!(again.carried().next_nonce(&signer(1).address(), 4), 6);
}

#[test]
fn blobs_that_l1_may_have_forgotten_are_brought_again() {
    let mut carrier = carrier();
    carrier.take(with_blob(0, 2, 0), 0).unwrap();
    let orders = submitted(&mut carrier);
    let [blobs, call] = &orders[..] else { panic!("{orders:?}") };
    let failed = TxStatus::Included { height: 3, is_final: true, error: Some("out of gas".into()) };
    look(&mut carrier, 3, 2, 0, &[included(blobs, 2, true), (call.id.unwrap(), failed)]);
    // Soon after, the call alone is tried again.
    let mut young = restarted(&carrier);
    look(&mut young, 10, 2, 0, &[included(blobs, 2, true)]);
    assert_eq!(submitted(&mut young).iter().map(|order| &order.role).collect::<Vec<_>>(), [&call.role]);
    // Long after, the blobs come first, and what is known of the old ones is forgotten.
    let late = 2 + carrier.settings.blob_life;
    look(&mut carrier, late, 2, 0, &[included(blobs, 2, true)]);
    let again = submitted(&mut carrier);
    assert_eq!(
        again.iter().map(|order| (order.nonce, &order.role)).collect::<Vec<_>>(),
        [(3, &blobs.role), (4, &call.role)]
    );
    assert!(!carrier.watched().contains(&blobs.id.unwrap()));
}

#[test]
fn blobs_wait_until_their_call_can_be_paid_for_too() {
    let mut carrier = carrier();
    let envelope = with_blob(0, 2, 0);
    let (blobs, call) = (carrier.blob_gas(1), carrier.call_gas(envelope.raw().len()));
    let price = carrier.settings.gas_price;
    carrier.take(envelope, 0).unwrap();
    let mut poor = observation(&carrier, 2, 0, 0, &[]);
    poor.balance = (blobs + call) * price - 1;
    carrier.observe(&poor);
    assert_eq!(submitted(&mut carrier), []);
    poor.balance += 1;
    carrier.observe(&poor);
    let Action::Sign(order) = carrier.advance() else { panic!("nothing to sign") };
    assert!(matches!(order.role, Role::Blobs(_)));
}

#[test]
fn another_account_begins_with_its_own_nonces() {
    let mut carrier = carrier();
    look(&mut carrier, 2, 500, 0, &[]);
    carrier.take(with_blob(0, 2, 0), 0).unwrap();
    let blobs = submitted(&mut carrier).swap_remove(0);
    assert_eq!(blobs.nonce, 501);
    look(&mut carrier, 3, 501, 0, &[included(&blobs, 3, true)]);
    // The blobs are there, whoever paid for them. The account that is configured now has never done anything.
    let mut carrier = restarted(&carrier);
    look(&mut carrier, 4, 0, 0, &[included(&blobs, 3, true)]);
    let orders = submitted(&mut carrier);
    assert!(matches!(orders[..], [Order { nonce: 1, role: Role::Call(_), .. }]), "{orders:?}");
}
