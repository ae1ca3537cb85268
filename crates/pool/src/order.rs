//! An order by effective gas price that follows the base fee without being sorted again.

use std::{cmp::Reverse, collections::BTreeMap};

use alloy_primitives::Address;

/// What places a transaction (or a run of them) in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeeKey {
    /// Wei per gas.
    pub tip: u128,
    /// Wei per gas; at least `tip`.
    pub cap: u128,
    /// Order of arrival; unique. Of two that pay the same, the earlier is the better.
    pub seq: u64,
}

impl FeeKey {
    /// The price per gas that is paid at a base fee: min(tip + base fee, cap). Ordering by it is ordering by effective tip,
    /// also among those whose cap is below the base fee.
    pub(crate) fn price(&self, base_fee: u64) -> u128 {
        self.tip.saturating_add(u128::from(base_fee)).min(self.cap)
    }

    /// The base fee up to which the whole tip is paid.
    const fn threshold(&self) -> u128 {
        self.cap.saturating_sub(self.tip)
    }
}

/// Price and arrival; ascending from the worst to the best.
pub(crate) type Rank = (u128, Reverse<u64>);

/// Keys ordered by effective price at a base fee.
///
/// At a base fee `b` a key pays its tip in full if `cap − tip ≥ b`, otherwise it is bound by its cap. Within each of the two
/// sets the order does not depend on `b`; when `b` moves, only the keys whose threshold lies between the old and the new
/// value change sets.
#[derive(Debug, Default)]
pub(crate) struct FeeOrder {
    base_fee: u64,
    /// By tip.
    tip_bound: BTreeMap<Rank, (FeeKey, Address)>,
    /// By cap.
    cap_bound: BTreeMap<Rank, (FeeKey, Address)>,
    by_threshold: BTreeMap<(u128, u64), (FeeKey, Address)>,
}

impl FeeOrder {
    pub(crate) fn set_base_fee(&mut self, base_fee: u64) {
        let (old, new) = (u128::from(self.base_fee), u128::from(base_fee));
        // tip-bound: threshold ≥ base fee. Those with old ≤ threshold < new become cap-bound, and the other way round.
        for (_, &(key, sender)) in self.by_threshold.range((old.min(new), 0)..(old.max(new), 0)) {
            if new > old {
                self.tip_bound.remove(&(key.tip, Reverse(key.seq)));
                self.cap_bound.insert((key.cap, Reverse(key.seq)), (key, sender));
            } else {
                self.cap_bound.remove(&(key.cap, Reverse(key.seq)));
                self.tip_bound.insert((key.tip, Reverse(key.seq)), (key, sender));
            }
        }
        self.base_fee = base_fee;
    }

    fn is_tip_bound(&self, key: &FeeKey) -> bool {
        key.threshold() >= u128::from(self.base_fee)
    }

    pub(crate) fn insert(&mut self, key: FeeKey, sender: Address) {
        self.by_threshold.insert((key.threshold(), key.seq), (key, sender));
        if self.is_tip_bound(&key) {
            self.tip_bound.insert((key.tip, Reverse(key.seq)), (key, sender));
        } else {
            self.cap_bound.insert((key.cap, Reverse(key.seq)), (key, sender));
        }
    }

    pub(crate) fn remove(&mut self, key: &FeeKey) {
        self.by_threshold.remove(&(key.threshold(), key.seq));
        if self.is_tip_bound(key) {
            self.tip_bound.remove(&(key.tip, Reverse(key.seq)));
        } else {
            self.cap_bound.remove(&(key.cap, Reverse(key.seq)));
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_threshold.len()
    }

    /// From the best to the worst.
    pub(crate) fn best(&self) -> impl Iterator<Item = (FeeKey, Address)> + '_ {
        self.merge(self.tip_bound.values().rev(), self.cap_bound.values().rev(), true)
    }

    /// From the worst to the best.
    pub(crate) fn worst(&self) -> impl Iterator<Item = (FeeKey, Address)> + '_ {
        self.merge(self.tip_bound.values(), self.cap_bound.values(), false)
    }

    fn merge<'a>(
        &self,
        left: impl Iterator<Item = &'a (FeeKey, Address)>,
        right: impl Iterator<Item = &'a (FeeKey, Address)>,
        descending: bool,
    ) -> impl Iterator<Item = (FeeKey, Address)> {
        let (mut left, mut right) = (left.peekable(), right.peekable());
        let base_fee = self.base_fee;
        let rank = move |key: &FeeKey| (key.price(base_fee), Reverse(key.seq));
        std::iter::from_fn(move || {
            let take_left = match (left.peek(), right.peek()) {
                (Some((l, _)), Some((r, _))) => (rank(l) > rank(r)) == descending,
                (Some(_), None) => true,
                _ => false,
            };
            if take_left { left.next().copied() } else { right.next().copied() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert { tip: u128, over: u128 },
        Remove(usize),
        BaseFee(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (0u128..20, 0u128..30).prop_map(|(tip, over)| Op::Insert { tip, over }),
            1 => any::<usize>().prop_map(Op::Remove),
            2 => (0u64..40).prop_map(Op::BaseFee),
        ]
    }

    proptest! {
        /// After any changes the order is that of sorting everything by price and arrival.
        #[test]
        fn equals_sorting(ops in prop::collection::vec(op(), 0..80)) {
            let mut order = FeeOrder::default();
            let mut model: Vec<FeeKey> = Vec::new();
            let mut base_fee = 0;
            for (seq, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert { tip, over } => {
                        let key = FeeKey { tip, cap: tip + over, seq: seq as u64 };
                        order.insert(key, Address::ZERO);
                        model.push(key);
                    }
                    Op::Remove(at) if !model.is_empty() => {
                        let key = model.swap_remove(at % model.len());
                        order.remove(&key);
                    }
                    Op::Remove(_) => {}
                    Op::BaseFee(fee) => {
                        base_fee = fee;
                        order.set_base_fee(fee);
                    }
                }
                model.sort_by_key(|key| (key.price(base_fee), Reverse(key.seq)));
                let worst: Vec<_> = order.worst().map(|(key, _)| key).collect();
                prop_assert_eq!(&worst, &model);
                let mut best: Vec<_> = order.best().map(|(key, _)| key).collect();
                best.reverse();
                prop_assert_eq!(&best, &model);
                prop_assert_eq!(order.len(), model.len());
            }
        }
    }

    #[test]
    fn prices_at_the_edge_of_the_number_range() {
        let key = FeeKey { tip: u128::MAX, cap: u128::MAX, seq: 1 };
        assert_eq!(key.price(u64::MAX), u128::MAX);
        let mut order = FeeOrder::default();
        order.insert(key, Address::ZERO);
        order.set_base_fee(u64::MAX);
        assert_eq!(order.best().count(), 1);
        order.remove(&key);
        assert_eq!(order.len(), 0);
    }
}
