//! Tests of the mempool, by example and at random.

use proptest::prelude::*;

use dusk_core::transfer::data::TransactionData;

use super::*;
use crate::contracts::NoContracts;
use crate::testing::{self, DUSK, Spend, spend};

const RICH: Account = Account { nonce: 0, balance: 1_000_000 * DUSK };

fn pool(limits: Limits) -> Mempool {
    Mempool::new(limits, LedgerParams::new(&testing::genesis()).unwrap(), Arc::new(NoContracts))
}

fn tx(seed: &'static [u8], nonce: u64, gas_price: u64) -> VerifiedTx {
    spend(Spend { seed, nonce, gas_price, value: 1, ..Spend::default() })
}

fn ready(pool: &Mempool) -> Vec<(u64, u64)> {
    pool.ready(|_| 0).iter().map(|tx| (tx.nonce(), tx.gas_price())).collect()
}

#[test]
fn best_price_first_but_nonces_in_order() {
    let mut pool = pool(Limits::default());
    for (seed, nonce, price) in [(b"a".as_slice(), 1, 2), (b"a", 2, 9), (b"b", 1, 5), (b"b", 2, 1), (b"c", 2, 100)] {
        pool.insert(tx(seed, nonce, price), RICH, 0).unwrap();
    }
    // c's second cannot run without its first; a's second pays best but waits for a's first.
    assert_eq!(ready(&pool), [(1, 5), (1, 2), (2, 9), (2, 1)]);
    assert_eq!(pool.next_nonce(tx(b"a", 1, 1).sender(), RICH), 3);
    assert_eq!(pool.next_nonce(tx(b"c", 1, 1).sender(), RICH), 1);
}

#[test]
fn replacement_needs_a_higher_price() {
    let mut pool = pool(Limits::default());
    let first = tx(b"a", 1, 5);
    pool.insert(first.clone(), RICH, 0).unwrap();
    assert_eq!(pool.insert(first.clone(), RICH, 0), Err(MempoolError::Known));
    let equal = spend(Spend { seed: b"a", gas_price: 5, value: 2, ..Spend::default() });
    assert_eq!(pool.insert(equal, RICH, 0), Err(MempoolError::Underpriced { nonce: 1, price: 5 }));
    let better = tx(b"a", 1, 6);
    let outcome = pool.insert(better.clone(), RICH, 0).unwrap();
    assert_eq!(outcome, Inserted { replaced: Some(*first.id()), evicted: vec![] });
    assert!(pool.contains(better.id()) && !pool.contains(first.id()));
    assert_eq!((pool.len(), pool.bytes()), (1, better.size()));
}

#[test]
fn admission_rules() {
    let mut pool = pool(Limits::default());
    let poor = Account { nonce: 0, balance: 100 };
    assert!(matches!(
        pool.insert(tx(b"a", 1, 1), poor, 0),
        Err(MempoolError::Rejected(Rejection::InsufficientBalance { have: 100, need: 100_001 }))
    ));
    let used = Account { nonce: 4, ..RICH };
    assert!(matches!(
        pool.insert(tx(b"a", 4, 1), used, 0),
        Err(MempoolError::Rejected(Rejection::NonceUsed { got: 4, next: 5 }))
    ));
    assert!(pool.insert(tx(b"a", 68, 1), used, 0).is_ok());
    assert_eq!(pool.insert(tx(b"a", 69, 1), used, 0), Err(MempoolError::NonceGap { nonce: 69, account: 4, limit: 64 }));
    let small = spend(Spend { gas_limit: 74_999, ..Spend::default() });
    assert!(matches!(
        pool.insert(small, RICH, 0),
        Err(MempoolError::Rejected(Rejection::GasLimitTooLow { got: 74_999, need: 75_000 }))
    ));
    let foreign = spend(Spend { chain_id: 1, ..Spend::default() });
    assert!(matches!(pool.insert(foreign, RICH, 0), Err(MempoolError::Rejected(Rejection::ChainId { .. }))));
}

#[test]
fn full_pool_evicts_the_cheapest_tail() {
    let mut pool = pool(Limits { transactions: 3, ..Limits::default() });
    let (cheap_head, dear_tail) = (tx(b"a", 1, 1), tx(b"a", 2, 9));
    pool.insert(cheap_head.clone(), RICH, 0).unwrap();
    pool.insert(dear_tail.clone(), RICH, 0).unwrap();
    let middle = tx(b"b", 1, 4);
    pool.insert(middle.clone(), RICH, 0).unwrap();
    assert_eq!(pool.insert(tx(b"c", 1, 4), RICH, 0), Err(MempoolError::Full { price: 4 }));
    // a's first is cheaper, but taking it would strand a's second.
    let outcome = pool.insert(tx(b"c", 1, 5), RICH, 0).unwrap();
    assert_eq!(outcome.evicted, [*middle.id()]);
    let outcome = pool.insert(tx(b"d", 1, 10), RICH, 0).unwrap();
    assert_eq!(outcome.evicted, [*tx(b"c", 1, 5).id()]);
    let outcome = pool.insert(tx(b"e", 1, 11), RICH, 0).unwrap();
    assert_eq!(outcome.evicted, [*dear_tail.id()]);
    assert!(pool.contains(cheap_head.id()));
    assert_eq!(pool.len(), 3);
}

#[test]
fn byte_limit_counts() {
    let size = tx(b"a", 1, 1).size();
    let mut pool = pool(Limits { bytes: 2 * size, ..Limits::default() });
    pool.insert(tx(b"a", 1, 1), RICH, 0).unwrap();
    pool.insert(tx(b"b", 1, 1), RICH, 0).unwrap();
    assert_eq!(pool.insert(tx(b"c", 1, 1), RICH, 0), Err(MempoolError::Full { price: 1 }));
    // Replacing frees what the replaced one took.
    assert!(pool.insert(tx(b"a", 1, 2), RICH, 0).is_ok());
    assert_eq!(pool.bytes(), 2 * size);
}

#[test]
fn blocks_and_time_drop() {
    let mut pool = pool(Limits { expiry: 10, ..Limits::default() });
    let a = [1, 2, 3].map(|nonce| tx(b"a", nonce, 1));
    for (i, tx) in a.iter().enumerate() {
        pool.insert(tx.clone(), RICH, i as u64).unwrap();
    }
    assert_eq!(pool.on_block([(*a[0].sender(), Account { nonce: 2, ..RICH })]), [*a[0].id(), *a[1].id()]);
    assert_eq!(pool.len(), 1);
    assert!(pool.expire(12).is_empty());
    assert_eq!(pool.expire(13), [*a[2].id()]);
    assert!(pool.is_empty() && pool.bytes() == 0);
}

#[test]
fn blobs_wait_with_their_transaction_once_they_are_checked() {
    let mut pool = pool(Limits::default());
    let blob = testing::blob_spend(b"a", 1, 1);
    let size = blob.size();
    assert!(size > 131_168);
    assert_eq!(pool.insert(blob.clone(), RICH, 0), Err(MempoolError::UncheckedBlobs));
    let checked = blob.with_checked_blobs(|_, _| Ok::<(), ()>(())).unwrap();
    let stripped = checked.clone().strip();
    pool.insert(checked, RICH, 0).unwrap();
    assert_eq!(pool.bytes(), size);
    assert_eq!(pool.insert(stripped, RICH, 0), Err(MempoolError::Known));
    assert!(pool.ready(|_| 0)[0].blobs().unwrap()[0].data.is_some());
}

#[test]
fn ambiguous_transactions_are_refused() {
    let mut pool = pool(Limits::default());
    let memo = TransactionData::Memo(vec![1; 32]);
    let tx = spend(Spend { seed: b"a", data: Some(memo), ..Spend::default() });
    assert!(matches!(pool.insert(tx, RICH, 0), Err(MempoolError::Rejected(Rejection::Ambiguous(_)))));
}

#[test]
fn transactions_of_a_block_that_was_taken_back_wait_again() {
    let mut pool = pool(Limits::default());
    let [a1, a2, b1] = [tx(b"a", 1, 1), tx(b"a", 2, 1), tx(b"b", 1, 1)];
    let better = tx(b"b", 1, 2);
    pool.insert(better.clone(), RICH, 0).unwrap();
    let poor = tx(b"c", 1, 1);
    let account_of = |id: &AccountId| if id == poor.sender() { Account::default() } else { RICH };
    let refused = pool.revive([a1.clone(), b1.clone(), a2.clone(), poor.clone()], account_of, 0);
    let need = 100_001;
    assert_eq!(
        refused,
        [
            (*b1.id(), MempoolError::Underpriced { nonce: 1, price: 2 }),
            (*poor.id(), Rejection::InsufficientBalance { have: 0, need }.into()),
        ]
    );
    assert!([&a1, &a2, &better].into_iter().all(|tx| pool.contains(tx.id())));
    assert_eq!(pool.len(), 3);
}

#[derive(Debug, Clone)]
enum Step {
    Insert { account: usize, nonce: u64, price: u64 },
    Block { account: usize, nonce: u64 },
    Remove { account: usize, nonce: u64, price: u64 },
    Expire { now: u64 },
}

const SEEDS: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];

fn step() -> impl Strategy<Value = Step> {
    let (account, nonce, price) = (0usize..4, 1u64..7, 1u64..6);
    prop_oneof![
        6 => (account.clone(), nonce.clone(), price.clone())
            .prop_map(|(account, nonce, price)| Step::Insert { account, nonce, price }),
        1 => (account.clone(), nonce.clone()).prop_map(|(account, nonce)| Step::Block { account, nonce }),
        1 => (account, nonce, price).prop_map(|(account, nonce, price)| Step::Remove { account, nonce, price }),
        1 => (0u64..60).prop_map(|now| Step::Expire { now }),
    ]
}

/// Signing is slow: every transaction of the small space is made once.
fn cached(account: usize, nonce: u64, price: u64) -> VerifiedTx {
    use std::cell::RefCell;
    thread_local!(static MADE: RefCell<HashMap<(usize, u64, u64), VerifiedTx>> = RefCell::default());
    MADE.with_borrow_mut(|made| {
        made.entry((account, nonce, price)).or_insert_with(|| tx(SEEDS[account], nonce, price)).clone()
    })
}

proptest! {
    /// Whatever happens: the bounds hold, the indices agree, prices only rise in place, and what is ready is a
    /// gap-free run of nonces for each account.
    #[test]
    fn invariants(steps in prop::collection::vec(step(), 1..80)) {
        let limits = Limits { transactions: 9, bytes: 9 * 306, per_account: 5, expiry: 30, ..Limits::default() };
        let mut pool = pool(limits);
        let mut nonces = [0u64; 4];
        for (now, step) in steps.into_iter().enumerate() {
            let before = pool.clone();
            match step {
                Step::Insert { account, nonce, price } => {
                    let tx = cached(account, nonce, price);
                    let state = Account { nonce: nonces[account], ..RICH };
                    match pool.insert(tx.clone(), state, now as u64) {
                        Ok(outcome) => {
                            prop_assert!(pool.contains(tx.id()));
                            prop_assert!(nonce > nonces[account] && nonce - nonces[account] <= 5);
                            for gone in outcome.evicted.iter().chain(&outcome.replaced) {
                                prop_assert!(!pool.contains(gone));
                                let (id, nonce) = before.ids[gone];
                                prop_assert!(before.queues[&id][&nonce].tx.gas_price() < price);
                            }
                            let gone = outcome.evicted.len() + usize::from(outcome.replaced.is_some());
                            prop_assert_eq!(pool.len() + gone, before.len() + 1);
                        }
                        Err(_) => prop_assert_eq!(&pool.ids, &before.ids),
                    }
                }
                Step::Block { account, nonce } => {
                    nonces[account] = nonces[account].max(nonce);
                    let id = *cached(account, 1, 1).sender();
                    pool.on_block([(id, Account { nonce: nonces[account], ..RICH })]);
                    let above = pool.queues.get(&id).is_none_or(|q| q.keys().all(|n| *n > nonces[account]));
                    prop_assert!(above);
                }
                Step::Remove { account, nonce, price } => {
                    let id = *cached(account, nonce, price).id();
                    prop_assert_eq!(pool.remove(&id), before.contains(&id));
                }
                Step::Expire { now } => {
                    pool.expire(now);
                }
            }
            prop_assert!(pool.len() <= 9 && pool.bytes() <= 9 * 306);
            let total: usize = pool.queues.values().map(BTreeMap::len).sum();
            prop_assert_eq!(total, pool.len());
            let bytes: usize = pool.queues.values().flat_map(|q| q.values()).map(|w| w.tx.size()).sum();
            prop_assert_eq!(bytes, pool.bytes());
            prop_assert!(pool.queues.values().all(|q| !q.is_empty()));
            let by_account: HashMap<AccountId, u64> =
                (0..4).map(|i| (*cached(i, 1, 1).sender(), nonces[i])).collect();
            let mut next = by_account.clone();
            for tx in pool.ready(|id| by_account[id]) {
                let expected = next[tx.sender()] + 1;
                prop_assert_eq!(tx.nonce(), expected);
                next.insert(*tx.sender(), expected);
            }
        }
    }
}
