//! Order, room, and following the chain.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use alloy_primitives::U256;
use common::*;
use duskevm_pool::{BestLimits, HeadChange, Origin, PoolError, Standing, Touched};

fn touched(senders: &[u64]) -> Touched {
    Touched::Accounts(senders.iter().map(|n| address(*n)).collect())
}

#[test]
fn best_goes_by_effective_tip_then_arrival_and_keeps_nonces_in_order() {
    let mut bed = Bed::new();
    // Base fee 1 gwei: effective tips are 2, 5 (bound by the cap), 2.
    bed.add(tx(1, 0).fees(2 * GWEI, 100 * GWEI)).unwrap();
    bed.add(tx(2, 0).fees(50 * GWEI, 6 * GWEI * 10)).unwrap();
    bed.add(tx(3, 0).ty(0).fees(0, 3 * GWEI)).unwrap();
    // A follower pays more than its predecessor, but cannot come before it.
    bed.add(tx(1, 1).fees(90 * GWEI, 100 * GWEI)).unwrap();
    let order = bed.best();
    assert_eq!(order, [(address(2), 0), (address(1), 0), (address(1), 1), (address(3), 0)]);
    // At a base fee of 59 gwei, the tip of 2 is bound by its cap of 60: 1 gwei.
    let order = bed.best_at(59 * GWEI as u64, BestLimits { gas: 30_000_000, count: 10 });
    assert_eq!(order, [(address(1), 0), (address(1), 1), (address(2), 0)]);
    // Asking for another base fee leaves the pool's own alone.
    assert_eq!(bed.counts(), (4, 0));
    assert_eq!(bed.best().len(), 4);
}

#[test]
fn best_stops_at_what_cannot_fit() {
    let mut bed = Bed::new();
    for n in 0..10 {
        bed.add(tx(n, 0)).unwrap();
    }
    let limits = |gas, count| BestLimits { gas, count };
    let fee = GWEI as u64;
    assert_eq!(bed.best_at(fee, limits(21_000 * 4 + 20_999, 100)).len(), 4);
    assert_eq!(bed.best_at(fee, limits(30_000_000, 3)).len(), 3);
    assert_eq!(bed.best_at(fee, limits(20_999, 3)).len(), 0);
    // One that is too large for the block blocks its own sender only.
    bed.add(tx(20, 0).gas(1_000_000).fees(9 * GWEI, 10 * GWEI)).unwrap();
    bed.add(tx(20, 1).fees(9 * GWEI, 10 * GWEI)).unwrap();
    assert_eq!(bed.best_at(fee, limits(999_999, 100)).len(), 10);
}

#[test]
fn a_dear_one_that_does_not_fit_leaves_room_for_small_ones() {
    let mut bed = Bed::new();
    // Calldata alone costs these more than 60,000 gas.
    let large = |sender, nonce| tx(sender, nonce).input(vec![1; 4_000]).gas(300_000).fees(5 * GWEI, 10 * GWEI);
    bed.add(large(1, 0)).unwrap();
    bed.add(large(2, 0)).unwrap();
    bed.add(tx(2, 1).fees(5 * GWEI, 10 * GWEI)).unwrap();
    bed.add(tx(3, 0)).unwrap();
    bed.add(tx(4, 0)).unwrap();
    let best = bed.best_at(GWEI as u64, BestLimits { gas: 300_000, count: 100 });
    assert_eq!(best, [(address(1), 0), (address(3), 0), (address(4), 0)], "sender 2 waits for a block with room");
}

#[test]
fn a_low_cap_in_front_holds_back_those_behind() {
    let mut bed = Bed::new();
    bed.add(tx(1, 0).fees(1, GWEI - 1)).unwrap();
    bed.add(tx(1, 1)).unwrap();
    assert_eq!(bed.counts(), (0, 2));
    assert!(bed.best().is_empty());
    assert_eq!(bed.pool.content_from(&address(1)).queued.len(), 2);
    bed.next_head(touched(&[]), vec![], |head| head.base_fee -= 1);
    assert_eq!(bed.counts(), (2, 0));
    assert_eq!(bed.best().len(), 2);
    bed.next_head(touched(&[]), vec![], |head| head.base_fee = 11 * GWEI as u64);
    assert_eq!(bed.counts(), (0, 2));
}

#[test]
fn filling_a_gap_promotes_what_waited() {
    let mut bed = Bed::new();
    for nonce in [2, 1] {
        assert!(bed.add(tx(1, nonce)).unwrap().promoted.is_empty());
    }
    assert_eq!(bed.pool.next_nonce(&address(1)), Some(0));
    let promoted = bed.add(tx(1, 0)).unwrap().promoted;
    assert_eq!(promoted.iter().map(|tx| tx.nonce()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(bed.pool.next_nonce(&address(1)), Some(3));
    assert_eq!(bed.pool.next_nonce(&address(2)), None);
}

#[test]
fn account_limits() {
    let mut bed = Bed::with(|config, _| (config.account_ready, config.account_waiting) = (2, 1));
    bed.add(tx(1, 0)).unwrap();
    bed.add(tx(1, 1)).unwrap();
    assert!(bed.refusal(tx(1, 2)).starts_with("account limit exceeded"));
    bed.add(tx(1, 3)).unwrap();
    assert!(bed.refusal(tx(1, 4)).starts_with("account limit exceeded"));
    bed.add(tx(1, 1).fees(2 * GWEI, 20 * GWEI)).unwrap();
    bed.add(tx(2, 0)).unwrap();
}

#[test]
fn a_full_pool_evicts_the_cheapest() {
    let mut bed = Bed::with(|config, _| config.max_slots = 3);
    for (n, tip) in [(1, 5), (2, 3), (3, 4)] {
        bed.add(tx(n, 0).fees(tip * GWEI, 100 * GWEI)).unwrap();
    }
    let error = bed.refusal(tx(4, 0).fees(3 * GWEI, 200 * GWEI));
    assert!(error.starts_with("transaction underpriced: the pool is full"), "{error}");
    let added = bed.add(tx(4, 0).fees(4 * GWEI, 100 * GWEI)).unwrap();
    assert_eq!(added.evicted.iter().map(|tx| tx.sender()).collect::<Vec<_>>(), [address(2)]);
    // Of two that pay the same the later goes.
    let added = bed.add(tx(5, 0).fees(6 * GWEI, 100 * GWEI)).unwrap();
    assert_eq!(added.evicted[0].sender(), address(4));
    assert_eq!(bed.pool.len(), 3);
}

#[test]
fn eviction_takes_the_last_of_a_sender_and_judges_it_by_the_cheapest_before_it() {
    let mut bed = Bed::with(|config, _| config.max_slots = 3);
    bed.add(tx(1, 0).fees(GWEI, 100 * GWEI)).unwrap();
    bed.add(tx(1, 1).fees(9 * GWEI, 100 * GWEI)).unwrap();
    bed.add(tx(2, 0).fees(3 * GWEI, 100 * GWEI)).unwrap();
    let added = bed.add(tx(3, 0).fees(2 * GWEI, 100 * GWEI)).unwrap();
    assert_eq!(added.evicted.iter().map(|tx| (tx.sender(), tx.nonce())).collect::<Vec<_>>(), [(address(1), 1)]);
    // The cheap sender cannot push others out with a dear follower of its cheap transaction.
    let error = bed.refusal(tx(1, 1).fees(50 * GWEI, 100 * GWEI));
    assert!(error.starts_with("transaction underpriced"), "{error}");
}

#[test]
fn waiting_ones_go_first_and_push_out_no_ready_ones() {
    let mut bed = Bed::with(|config, _| config.max_slots = 2);
    bed.add(tx(1, 5).fees(90 * GWEI, 100 * GWEI)).unwrap();
    bed.add(tx(2, 0).fees(2 * GWEI, 100 * GWEI)).unwrap();
    let added = bed.add(tx(3, 0).fees(GWEI, 100 * GWEI)).unwrap();
    assert_eq!(added.evicted[0].sender(), address(1));
    assert!(bed.refusal(tx(4, 1).fees(90 * GWEI, 100 * GWEI)).starts_with("transaction underpriced"));
}

#[test]
fn a_large_one_makes_room_for_all_its_slots_or_none() {
    let mut bed = Bed::with(|config, _| config.max_slots = 4);
    for n in 1..=3 {
        bed.add(tx(n, 0).fees(GWEI, 100 * GWEI)).unwrap();
    }
    bed.add(tx(4, 0).fees(9 * GWEI, 100 * GWEI)).unwrap();
    let large = |tip| tx(9, 0).fees(tip * GWEI, 100 * GWEI).input(vec![0; 100_000]).gas(5_000_000);
    // Four slots: it would have to push out the dear one too.
    bed.refusal(large(9));
    assert_eq!(bed.pool.len(), 4);
    assert_eq!(bed.add(large(10)).unwrap().evicted.len(), 4);
    let mut tiny = Bed::with(|config, _| config.max_slots = 3);
    assert!(matches!(tiny.add(large(10)), Err(PoolError::Full)));
}

#[test]
fn bytes_are_limited_too() {
    let mut bed = Bed::with(|config, _| config.max_bytes = 300);
    while bed.pool.status().bytes < 180 {
        let n = bed.pool.len() as u64;
        bed.add(tx(n, 0)).unwrap();
    }
    let dear = tx(90, 0).fees(5 * GWEI, 100 * GWEI).input(vec![1; 120]).gas(100_000);
    assert!(!bed.add(dear).unwrap().evicted.is_empty());
    assert!(bed.pool.status().bytes <= 300);
}

#[test]
fn a_block_takes_out_what_it_holds_and_promotes() {
    let mut bed = Bed::new();
    let first = bed.add(tx(1, 0)).unwrap().hash;
    bed.add(tx(1, 1)).unwrap();
    bed.add(tx(2, 0)).unwrap();
    bed.add(tx(2, 2)).unwrap();
    // Sender 1's first is in the block; sender 2 used nonces 0 and 1 elsewhere.
    bed.accounts.entry(1).nonce = 1;
    bed.accounts.entry(2).nonce = 2;
    let effects = bed.next_head(touched(&[1, 2, 50]), vec![first], |_| {});
    assert_eq!(effects.included.iter().map(|tx| tx.hash()).collect::<Vec<_>>(), [first]);
    assert_eq!(effects.superseded.len(), 1);
    assert_eq!(effects.promoted.iter().map(|tx| tx.nonce()).collect::<Vec<_>>(), [2]);
    assert_eq!(bed.counts(), (2, 0));
    assert_eq!(bed.best(), [(address(1), 1), (address(2), 2)]);
}

#[test]
fn what_cannot_be_paid_waits_and_comes_back() {
    let mut bed = Bed::new();
    bed.add(tx(1, 0).value(DUSK)).unwrap();
    bed.add(tx(1, 1)).unwrap();
    bed.accounts.entry(1).balance = U256::from(DUSK);
    let effects = bed.next_head(touched(&[1]), vec![], |_| {});
    assert!(effects.included.is_empty() && effects.superseded.is_empty());
    assert_eq!(bed.counts(), (0, 2));
    let hash = bed.pool.content_from(&address(1)).queued[&0].hash();
    assert_eq!(bed.pool.standing(&hash), Some(Standing::Unfunded));
    bed.accounts.entry(1).balance = U256::from(2 * DUSK);
    let effects = bed.next_head(touched(&[1]), vec![], |_| {});
    assert!(effects.promoted.is_empty(), "announced before");
    assert_eq!(bed.counts(), (2, 0));
}

#[test]
fn higher_l1_fees_and_a_lower_gas_limit_hold_back() {
    let mut bed = Bed::new();
    bed.accounts.entry(1).balance = U256::from(21_000 * 10 * GWEI);
    bed.add(tx(1, 0)).unwrap();
    bed.add(tx(2, 0).gas(29_000_000)).unwrap();
    bed.next_head(touched(&[1]), vec![], |head| {
        head.l1.l1_base_fee = U256::from(GWEI);
        head.l1.l1_base_fee_scalar = U256::from(1_000_000);
        head.gas_limit = 20_000_000;
    });
    assert_eq!(bed.counts(), (0, 2));
    bed.next_head(touched(&[]), vec![], |head| head.gas_limit = 30_000_000);
    assert_eq!(bed.best(), [(address(2), 0)]);
}

#[test]
fn l1_fees_that_fall_again_bring_back_what_they_held_back() {
    let mut bed = Bed::new();
    bed.accounts.entry(1).balance = U256::from(21_000 * 10 * GWEI);
    let (poor, refused) = (bed.add(tx(1, 0)).unwrap().hash, bed.add(tx(2, 0)).unwrap().hash);
    bed.add(tx(2, 1)).unwrap();
    bed.next_head(touched(&[]), vec![], |head| {
        head.l1.l1_base_fee = U256::from(GWEI);
        head.l1.l1_base_fee_scalar = U256::from(1_000_000);
    });
    // Execution finds out first: the pool does not look at all its senders whenever L1 has a new base fee.
    bed.pool.refuse(&poor, &bed.accounts, 0).unwrap();
    bed.pool.refuse(&refused, &bed.accounts, 0).unwrap();
    assert_eq!(bed.pool.standing(&poor), Some(Standing::Unfunded));
    assert_eq!(bed.pool.standing(&refused), Some(Standing::Refused));
    bed.next_head(touched(&[]), vec![], |_| {});
    assert!(bed.best().is_empty(), "the fees are the same");
    bed.next_head(touched(&[]), vec![], |head| head.l1.l1_base_fee = U256::ZERO);
    assert_eq!(bed.best(), [(address(1), 0), (address(2), 0), (address(2), 1)]);
}

#[test]
fn a_refused_one_is_not_tried_again_until_its_sender_changes() {
    let mut bed = Bed::new();
    let hash = bed.add(tx(1, 0)).unwrap().hash;
    bed.add(tx(1, 1)).unwrap();
    bed.pool.refuse(&hash, &bed.accounts, 0).unwrap();
    assert_eq!(bed.pool.standing(&hash), Some(Standing::Refused));
    assert!(bed.best().is_empty());
    bed.next_head(touched(&[2]), vec![], |_| {});
    assert!(bed.best().is_empty());
    bed.next_head(touched(&[1]), vec![], |_| {});
    assert_eq!(bed.best().len(), 2);
    // With a reason in the state it waits for that reason.
    let mut poor = bed.accounts.clone();
    poor.entry(1).balance = U256::ZERO;
    bed.pool.refuse(&hash, &poor, 0).unwrap();
    assert_eq!(bed.pool.standing(&hash), Some(Standing::Unfunded));
}

#[test]
fn reorged_out_transactions_come_back() {
    let mut bed = Bed::new();
    let offered = tx(1, 0);
    let hash = bed.add(offered.clone()).unwrap().hash;
    bed.add(tx(1, 1)).unwrap();
    bed.accounts.entry(1).nonce = 1;
    bed.next_head(touched(&[1]), vec![hash], |_| {});
    bed.accounts.entry(1).nonce = 0;
    bed.accounts.entry(2).nonce = 1;
    let mut head = bed.pool.head().clone();
    head.hash = alloy_primitives::B256::repeat_byte(9);
    let change = HeadChange {
        head,
        touched: touched(&[1]),
        mined: vec![],
        reorged_out: vec![offered.pooled(), tx(2, 0).pooled()],
    };
    let effects = bed.pool.on_head(change, &bed.accounts, 0).unwrap();
    assert_eq!(effects.reinjected.len(), 2);
    assert_eq!(effects.reinjected[0].result.as_ref().unwrap().hash, hash);
    assert!(matches!(effects.reinjected[1].result, Err(PoolError::NonceTooLow { .. })));
    assert_eq!(bed.best(), [(address(1), 0), (address(1), 1)]);
}

#[test]
fn waiting_ones_expire_and_ready_ones_do_not() {
    let mut bed = Bed::with(|config, _| config.waiting_lifetime = 60);
    bed.add(tx(1, 0)).unwrap();
    bed.add(tx(2, 1)).unwrap();
    bed.now += 30;
    bed.add(tx(3, 1)).unwrap();
    assert!(bed.pool.expire(1059).is_empty());
    assert_eq!(bed.pool.expire(1060).iter().map(|tx| tx.sender()).collect::<Vec<_>>(), [address(2)]);
    assert_eq!(bed.pool.expire(5000).len(), 1);
    assert_eq!(bed.counts(), (1, 0));
    // The time counts from when it stopped being ready.
    bed.accounts.entry(1).balance = U256::ZERO;
    bed.now = 6000;
    bed.next_head(touched(&[1]), vec![], |_| {});
    assert!(bed.pool.expire(6059).is_empty());
    assert_eq!(bed.pool.expire(6060).len(), 1);
}

#[test]
fn a_failing_reader_leaves_the_pool_at_its_head() {
    let mut bed = Bed::new();
    bed.add(tx(1, 0)).unwrap();
    bed.accounts.broken = true;
    let mut head = bed.pool.head().clone();
    head.number = 77;
    let change = HeadChange { head, touched: Touched::All, mined: vec![], reorged_out: vec![] };
    bed.pool.on_head(change, &bed.accounts, 0).unwrap_err();
    assert_eq!(bed.pool.head().number, 1);
    assert_eq!(bed.counts(), (1, 0));
}

#[test]
fn all_is_in_order_of_arrival() {
    let mut bed = Bed::new();
    let hashes: Vec<_> = [(3, 0), (1, 1), (2, 0), (1, 0)].map(|(n, nonce)| bed.add(tx(n, nonce)).unwrap().hash).into();
    assert_eq!(bed.pool.all().iter().map(|tx| tx.hash()).collect::<Vec<_>>(), hashes);
    assert_eq!(bed.pool.content().len(), 3);
    assert_eq!(bed.pool.get(&hashes[0]).unwrap().sender(), address(3));
    let restored = bed.pool.add(tx(1, 0).pooled(), Origin::Restored, &bed.accounts, 0);
    assert!(matches!(restored, Err(PoolError::AlreadyKnown(_))));
}
