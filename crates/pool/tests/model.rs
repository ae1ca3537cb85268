//! The pool against a model that is a plain list and computes everything anew each time.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use alloy_primitives::{Address, B256, U256};
use common::*;
use duskevm_pool::{AccountState, BestLimits, HeadChange, Origin, PoolError, PoolTx, Touched};
use proptest::prelude::*;

const SENDERS: u64 = 5;
const SLOTS: usize = 12;
const LIFETIME: u64 = 50;

#[derive(Debug, Clone)]
enum Op {
    Add { sender: u64, nonce: u64, tip: u128, over: u128, value: u64, restored: bool },
    Head { base_fee: u64, accounts: Vec<(u64, u64, u64)>, mine: usize, gas_limit: bool },
    Refuse(usize),
    Remove(usize),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let add = (0..SENDERS, 0u64..8, 0u128..30, 0u128..40, 0u64..4, prop::bool::weighted(0.2));
    let head =
        (0u64..50, prop::collection::vec((0..SENDERS, 0u64..3, 0u64..6), 0..3), 0usize..4, prop::bool::weighted(0.8));
    prop_oneof![
        12 => add.prop_map(|(sender, nonce, tip, over, value, restored)| Op::Add { sender, nonce, tip, over, value, restored }),
        3 => head.prop_map(|(base_fee, accounts, mine, gas_limit)| Op::Head { base_fee, accounts, mine, gas_limit }),
        1 => any::<usize>().prop_map(Op::Refuse),
        1 => any::<usize>().prop_map(Op::Remove),
        1 => (0u64..40).prop_map(Op::Pass),
    ]
}

type Worth = (bool, u128, Reverse<u64>);

/// One transaction of the model.
#[derive(Debug, Clone)]
struct Held {
    tx: PoolTx,
    seq: u64,
    refused: bool,
    ready: bool,
    since: u64,
}

/// Everything in a list; nothing is remembered that can be computed.
struct Model {
    held: Vec<Held>,
    seq: u64,
}

impl Model {
    fn chain(&self, held: &Held) -> Vec<&Held> {
        let mut chain: Vec<_> =
            self.held.iter().filter(|h| h.tx.sender() == held.tx.sender() && h.tx.nonce() <= held.tx.nonce()).collect();
        chain.sort_by_key(|h| h.tx.nonce());
        chain
    }

    fn is_ready(&self, held: &Held, bed: &Bed) -> bool {
        let state = account(bed, held.tx.sender());
        self.chain(held).iter().enumerate().all(|(i, h)| {
            h.tx.nonce() == state.nonce + i as u64
                && !h.refused
                && bed.pool.head().cost(&h.tx).is_some_and(|cost| cost <= state.balance)
                && h.tx.gas_limit() <= bed.pool.head().gas_limit
        })
    }

    fn cap_to(&self, held: &Held) -> u128 {
        self.chain(held).iter().map(|h| h.tx.fee_cap()).min().unwrap_or(u128::MAX)
    }

    fn worth(&self, held: &Held, bed: &Bed) -> Worth {
        let base_fee = u128::from(bed.pool.head().base_fee);
        let price = self.chain(held).iter().map(|h| (h.tx.tip() + base_fee).min(h.tx.fee_cap())).min().unwrap_or(0);
        (self.is_ready(held, bed), price, Reverse(held.seq))
    }

    fn settle(&mut self, bed: &Bed) {
        for i in 0..self.held.len() {
            let ready = self.is_ready(&self.held[i], bed);
            if self.held[i].ready && !ready {
                self.held[i].since = bed.now;
            }
            self.held[i].ready = ready;
        }
    }

    fn worths(&self, bed: &Bed) -> HashMap<B256, Worth> {
        self.held.iter().map(|h| (h.tx.hash(), self.worth(h, bed))).collect()
    }

    /// What must leave for the newest, which is in the list already; `None` if it may not come in. `worths` are those of the
    /// others before it came.
    fn evict(&mut self, worths: &HashMap<B256, Worth>, bed: &Bed) -> Option<Vec<B256>> {
        let newest = self.held.last()?.clone();
        let offer = self.worth(&newest, bed);
        let mut gone = Vec::new();
        while self.held.len() > SLOTS {
            let is_last =
                |h: &Held| !self.held.iter().any(|o| o.tx.sender() == h.tx.sender() && o.tx.nonce() > h.tx.nonce());
            let candidates =
                self.held.iter().map(|h| (h, h.tx.hash())).filter(|(h, _)| h.seq != newest.seq && is_last(h));
            let (_, worst) = candidates.min_by_key(|(_, hash)| worths[hash])?;
            if worths[&worst] >= offer {
                return None;
            }
            gone.push(worst);
            self.held.retain(|h| h.tx.hash() != worst);
        }
        Some(gone)
    }

    fn best(&self, bed: &Bed) -> Vec<B256> {
        let base_fee = u128::from(bed.pool.head().base_fee);
        let mut nonces: BTreeMap<Address, u64> = BTreeMap::new();
        let mut order = Vec::new();
        loop {
            let next = self
                .held
                .iter()
                .filter(|h| {
                    let sender = h.tx.sender();
                    h.tx.nonce() == nonces.get(&sender).copied().unwrap_or(account(bed, sender).nonce)
                        && self.is_ready(h, bed)
                        && h.tx.fee_cap() >= base_fee
                })
                .max_by_key(|h| ((h.tx.tip() + base_fee).min(h.tx.fee_cap()), Reverse(h.seq)));
            let Some(next) = next else { return order };
            nonces.insert(next.tx.sender(), next.tx.nonce() + 1);
            order.push(next.tx.hash());
        }
    }
}

fn account(bed: &Bed, sender: Address) -> AccountState {
    bed.accounts.known.get(&sender).copied().unwrap_or(RICH)
}

fn at(bed: &Bed, n: usize) -> Option<B256> {
    let all = bed.pool.all();
    (!all.is_empty()).then(|| all[n % all.len()].hash())
}

fn compare(bed: &mut Bed, model: &Model) {
    let mut expected: Vec<_> = model.held.iter().map(|h| (h.seq, h.tx.hash())).collect();
    expected.sort();
    let have: Vec<_> = bed.pool.all().iter().map(|tx| tx.hash()).collect();
    assert_eq!(have, expected.into_iter().map(|(_, hash)| hash).collect::<Vec<_>>(), "content");

    let base_fee = u128::from(bed.pool.head().base_fee);
    let pending: Vec<_> =
        model.held.iter().filter(|h| h.ready && model.cap_to(h) >= base_fee).map(|h| h.tx.hash()).collect();
    assert_eq!(bed.pool.status().pending, pending.len(), "pending");
    let content = bed.pool.content();
    let listed: usize = content.values().map(|c| c.pending.len()).sum();
    assert_eq!(listed, pending.len());
    for hash in &pending {
        assert!(content.values().any(|c| c.pending.values().any(|tx| tx.hash() == *hash)));
    }
    assert_eq!(bed.pool.status().bytes, model.held.iter().map(|h| h.tx.size()).sum::<usize>());

    let limits = BestLimits { gas: u64::MAX, count: usize::MAX };
    let fee = bed.pool.head().base_fee;
    let best: Vec<_> = bed.pool.best(fee, limits).iter().map(|tx| tx.hash()).collect();
    // A transaction above the gas limit is not ready, so the limit of `best` plays no part.
    assert_eq!(best, model.best(bed), "best");
    for n in 0..SENDERS {
        let sender = address(n);
        let ready = model.held.iter().filter(|h| h.tx.sender() == sender && h.ready).count() as u64;
        if let Some(next) = bed.pool.next_nonce(&sender) {
            assert_eq!(next, account(bed, sender).nonce + ready);
        }
    }
}

/// Applies one operation to both.
fn step(bed: &mut Bed, model: &mut Model, op: Op) {
    match op {
        Op::Add { sender, nonce, tip, over, value, restored } => {
            let offered = tx(sender, nonce).fees(tip, tip + over).value(value).gas(21_000 + tip as u64 % 3).pooled();
            let origin = if restored { Origin::Restored } else { Origin::Submitted };
            let result = bed.pool.add(offered.clone(), origin, &bed.accounts, bed.now);
            let old = model.held.iter().find(|h| h.tx.sender() == offered.sender() && h.tx.nonce() == nonce).cloned();
            if let Some(old) = &old {
                let enough = |new: u128, old: u128| new > old && new >= old * 110 / 100;
                let enough = enough(offered.tip(), old.tx.tip()) && enough(offered.fee_cap(), old.tx.fee_cap());
                assert!(enough || result.is_err(), "replaced too cheaply");
            }
            let state = account(bed, offered.sender());
            let payable = bed.pool.head().cost(&offered).is_some_and(|cost| cost <= state.balance);
            if nonce < state.nonce || (!restored && !payable) {
                assert!(result.is_err());
            }
            let no_room = matches!(result, Err(PoolError::Underpriced { .. } | PoolError::Full));
            if result.is_err() && !no_room {
                return;
            }
            let before = (model.held.clone(), model.seq);
            let worths = model.worths(bed);
            model.held.retain(|h| old.as_ref().is_none_or(|old| old.tx.hash() != h.tx.hash()));
            model.seq += 1;
            model.held.push(Held { tx: offered, seq: model.seq, refused: false, ready: false, since: bed.now });
            let gone = model.evict(&worths, bed);
            let Ok(added) = result else {
                assert_eq!(gone, None, "the model would have let it in");
                (model.held, model.seq) = before;
                return;
            };
            let gone = gone.expect("the model would not have let it in");
            assert_eq!(added.replaced.as_ref().map(|tx| tx.hash()), old.as_ref().map(|h| h.tx.hash()));
            assert_eq!(added.evicted.iter().map(|tx| tx.hash()).collect::<Vec<_>>(), gone, "evicted");
            model.settle(bed);
        }
        Op::Head { base_fee, accounts, mine, gas_limit } => {
            let mut changed = Vec::new();
            for (n, nonces, units) in accounts {
                let state = bed.accounts.entry(n);
                state.nonce += nonces;
                state.balance = U256::from(units * 21_000 * 12);
                changed.push(address(n));
            }
            let mut head = bed.pool.head().clone();
            (head.number, head.base_fee) = (head.number + 1, base_fee);
            head.gas_limit = if gas_limit { 30_000_000 } else { 21_001 };
            let limits = BestLimits { gas: head.gas_limit, count: mine };
            let mined: Vec<_> =
                bed.pool.best(base_fee, limits).iter().map(|tx| (tx.hash(), tx.sender(), tx.nonce())).collect();
            for &(_, sender, nonce) in &mined {
                let state = bed.accounts.known.entry(sender).or_insert(RICH);
                state.nonce = state.nonce.max(nonce + 1);
                changed.push(sender);
            }
            let hashes: Vec<_> = mined.iter().map(|(hash, ..)| *hash).collect();
            let change = HeadChange {
                head,
                touched: Touched::Accounts(changed.clone()),
                mined: hashes.clone(),
                reorged_out: vec![],
            };
            let effects = bed.pool.on_head(change, &bed.accounts, bed.now).unwrap();
            assert!(effects.included.iter().all(|tx| hashes.contains(&tx.hash())));
            assert_eq!(effects.included.len(), hashes.len());
            for held in &mut model.held {
                held.refused &= !changed.contains(&held.tx.sender());
            }
            model.held.retain(|h| h.tx.nonce() >= account(bed, h.tx.sender()).nonce);
            model.settle(bed);
        }
        Op::Refuse(n) => {
            let Some(hash) = at(bed, n) else { return };
            bed.pool.refuse(&hash, &bed.accounts, bed.now).unwrap();
            for held in model.held.iter_mut().filter(|h| h.tx.hash() == hash && h.ready) {
                held.refused = true;
            }
            model.settle(bed);
        }
        Op::Remove(n) => {
            let Some(hash) = at(bed, n) else { return };
            bed.pool.remove(&hash, bed.now).unwrap();
            model.held.retain(|h| h.tx.hash() != hash);
            model.settle(bed);
        }
        Op::Pass(seconds) => {
            bed.now += seconds;
            for tx in bed.pool.expire(bed.now) {
                let held = model.held.iter().find(|h| h.tx.hash() == tx.hash()).unwrap();
                assert!(!held.ready && bed.now - held.since >= LIFETIME);
                model.held.retain(|h| h.tx.hash() != tx.hash());
            }
            assert!(model.held.iter().all(|h| h.ready || bed.now - h.since < LIFETIME), "not expired");
            model.settle(bed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_model(ops in prop::collection::vec(op(), 1..120)) {
        let mut bed = Bed::with(|config, head| {
            config.max_slots = SLOTS;
            config.waiting_lifetime = LIFETIME;
            head.base_fee = 10;
        });
        let mut model = Model { held: Vec::new(), seq: 0 };
        for op in ops {
            step(&mut bed, &mut model, op);
            compare(&mut bed, &model);
        }
    }
}

/// A hundred thousand transactions: a block takes what it takes without looking at the rest.
#[test]
fn a_large_pool_hands_out_a_block() {
    let mut bed = Bed::with(|config, _| {
        config.max_slots = 200_000;
        config.max_bytes = usize::MAX;
    });
    for n in 0..20_000u64 {
        for nonce in 0..5 {
            bed.add(tx(n, nonce).fees(u128::from((n * 7919 + nonce * 31) % 10_007) + 1, 100 * GWEI)).unwrap();
        }
    }
    assert_eq!(bed.counts(), (100_000, 0));
    let limits = BestLimits { gas: 30_000_000, count: usize::MAX };
    let best = bed.pool.best(GWEI as u64, limits);
    assert_eq!(best.len(), 30_000_000 / 21_000);
    let lowest = best.iter().map(|tx| tx.effective_tip(GWEI as u64).unwrap()).min().unwrap();
    assert!(lowest > 8_000, "the best ones: {lowest}");
}
