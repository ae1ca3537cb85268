//! Who may vote: stakes at a round.
//!
//! Source: `user::provisioners` and `user::stake` of the published consensus crate. The set is that of the state after
//! the tip; which of it is eligible depends on the round.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use alloy_primitives::B256;

use crate::keys::AccountId;
use crate::sa::committee::Committees;
use crate::sa::rules::MINIMUM_STAKE;
use crate::sha3::sha3_256;
use crate::state::Stake;

/// A stake as sortition sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisioner {
    /// Key of the provisioner.
    pub id: AccountId,
    /// Stake in lux, without the locked part.
    pub value: u64,
    /// First round in which it counts.
    pub eligibility: u64,
}

impl Provisioner {
    /// Whether the stake counts in `round`. Source: `Provisioners::eligibles`.
    pub fn is_eligible(&self, round: u64) -> bool {
        self.eligibility <= round && self.value >= MINIMUM_STAKE
    }
}

/// All stakes, ascending by key: the order in which sortition walks them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Provisioners {
    sorted: Arc<[Provisioner]>,
    /// The first bytes of each key, as a number: a key is found by comparing numbers.
    prefixes: Arc<[u64]>,
    /// Committees of the set that somebody holds, so that a round's are drawn once.
    drawn: Arc<Mutex<Vec<Weak<Committees>>>>,
}

impl PartialEq for Provisioners {
    fn eq(&self, other: &Self) -> bool {
        self.sorted == other.sorted
    }
}

impl Eq for Provisioners {}

impl Provisioners {
    /// The set of `stakes`; of two stakes of one key the later counts. Empty stakes (only a reward, or only a locked
    /// part, is left of them) are nobody's.
    pub fn from_stakes(stakes: impl IntoIterator<Item = (AccountId, Stake)>) -> Self {
        Self::from_entries(stakes.into_iter().map(|(id, stake)| (id, stake.value, stake.eligibility)))
    }

    /// The same of (key, value in lux, first round).
    pub fn from_entries(entries: impl IntoIterator<Item = (AccountId, u64, u64)>) -> Self {
        let mut sorted = BTreeMap::new();
        for (id, value, eligibility) in entries {
            if value > 0 {
                sorted.insert(id, Provisioner { id, value, eligibility });
            } else {
                sorted.remove(&id);
            }
        }
        let prefixes = sorted.keys().map(|id| prefix(id.as_bytes())).collect();
        Self { sorted: sorted.into_values().collect(), prefixes, drawn: Arc::default() }
    }

    /// The set after `changes`: new stakes, changed ones, and removed ones (`None`).
    pub fn apply(&self, changes: &[(AccountId, Option<Stake>)]) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        let before = self.sorted.iter().map(|p| (p.id, p.value, p.eligibility));
        let after = changes.iter().map(|(id, stake)| match stake {
            Some(stake) => (*id, stake.value, stake.eligibility),
            None => (*id, 0, 0),
        });
        Self::from_entries(before.chain(after))
    }

    /// The committees that `fit`, if somebody holds them, else what `draw` makes.
    pub(super) fn committees(
        &self,
        fit: impl Fn(&Committees) -> bool,
        draw: impl FnOnce() -> Committees,
    ) -> Arc<Committees> {
        // Nothing that runs under the lock can panic half-way through a change.
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = drawn.iter().filter_map(Weak::upgrade).find(|held| fit(held)) {
            return held;
        }
        drawn.retain(|held| held.strong_count() > 0);
        let new = Arc::new(draw());
        drawn.push(Arc::downgrade(&new));
        new
    }

    /// Number of stakes.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether nobody has a stake.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// All stakes, ascending by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Provisioner> {
        self.sorted.iter()
    }

    /// The stake at a place of the order.
    pub fn get(&self, index: usize) -> Option<&Provisioner> {
        self.sorted.get(index)
    }

    /// The place of a key in the order.
    pub fn position(&self, id: &[u8; 96]) -> Option<usize> {
        let prefix = prefix(id);
        let from = self.prefixes.partition_point(|p| *p < prefix);
        let same = self.prefixes.get(from..)?.iter().take_while(|p| **p == prefix).count();
        let sorted = self.sorted.get(from..from + same)?;
        Some(from + sorted.binary_search_by(|p| p.id.as_bytes().cmp(id)).ok()?)
    }

    /// Whether `id` may be drawn in `round`. What can be said of a signer of a future round.
    pub fn is_eligible(&self, id: &[u8; 96], round: u64) -> bool {
        self.position(id).and_then(|index| self.get(index)).is_some_and(|p| p.is_eligible(round))
    }

    /// Those that may be drawn in `round`.
    pub fn eligible(&self, round: u64) -> Eligible<'_> {
        Eligible { set: self, round }
    }

    /// One hash of the whole set, to tell whether two sets are equal.
    pub fn digest(&self) -> B256 {
        let mut bytes = Vec::with_capacity(self.len() * (96 + 16));
        for provisioner in self.iter() {
            bytes.extend_from_slice(provisioner.id.as_bytes());
            bytes.extend_from_slice(&provisioner.value.to_le_bytes());
            bytes.extend_from_slice(&provisioner.eligibility.to_le_bytes());
        }
        sha3_256(&[&bytes]).into()
    }
}

fn prefix(id: &[u8; 96]) -> u64 {
    id.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The provisioners that may be drawn in a round.
#[derive(Debug, Clone, Copy)]
pub struct Eligible<'a> {
    set: &'a Provisioners,
    round: u64,
}

impl<'a> Eligible<'a> {
    /// Place in the set and stake of each, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &'a Provisioner)> + use<'a> {
        let round = self.round;
        self.set.sorted.iter().enumerate().filter(move |(_, p)| p.is_eligible(round))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Their stakes together, in lux.
    pub fn weight(&self) -> u128 {
        self.iter().map(|(_, p)| u128::from(p.value)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sa::bls::StandIn;

    #[test]
    fn order_is_that_of_the_keys_and_limits_are_inclusive() {
        let id = |n| StandIn::id(n);
        let set = Provisioners::from_entries([
            (id(1), MINIMUM_STAKE, 10),
            (id(2), MINIMUM_STAKE - 1, 0),
            (id(3), MINIMUM_STAKE + 1, 11),
            (id(4), 0, 0),
        ]);
        assert_eq!(set.len(), 3);
        let keys: Vec<_> = set.iter().map(|p| *p.id.as_bytes()).collect();
        assert!(keys.is_sorted());
        let at = |round| set.eligible(round).iter().map(|(_, p)| p.id).collect::<Vec<_>>();
        assert_eq!(at(9), []);
        assert_eq!(at(10), [id(1)]);
        assert_eq!(set.eligible(11).count(), 2);
        assert_eq!(set.eligible(11).weight(), 2 * u128::from(MINIMUM_STAKE) + 1);
        assert!(set.is_eligible(id(1).as_bytes(), 10));
        assert!(!set.is_eligible(id(2).as_bytes(), 10));
        assert!(!set.is_eligible(id(9).as_bytes(), 10));
    }

    #[test]
    fn keys_are_found_even_when_they_begin_alike() {
        let id = |first: u8, last: u8| {
            let mut bytes = [first; 96];
            bytes[95] = last;
            AccountId::from_trusted(bytes)
        };
        let ids: Vec<_> = [(1, 0), (2, 3), (2, 5), (2, 7), (9, 1)].map(|(first, last)| id(first, last)).into();
        let set = Provisioners::from_entries(ids.iter().rev().map(|id| (*id, MINIMUM_STAKE, 0)));
        for (place, id) in ids.iter().enumerate() {
            assert_eq!(set.position(id.as_bytes()), Some(place));
        }
        for absent in [id(0, 0), id(1, 1), id(2, 0), id(2, 4), id(2, 8), id(3, 0), id(10, 0)] {
            assert_eq!(set.position(absent.as_bytes()), None);
        }
        assert_eq!(Provisioners::default().position(&[0; 96]), None);
    }

    #[test]
    fn changes_give_the_same_set_as_starting_with_them() {
        let id = |n| StandIn::id(n);
        let stake = |value| Stake { value, ..Default::default() };
        let set = Provisioners::from_entries([(id(1), 5, 0), (id(2), 6, 0)]);
        assert_eq!(set.apply(&[]), set);
        let changed = set.apply(&[(id(1), None), (id(2), Some(stake(9))), (id(3), Some(stake(7)))]);
        assert_eq!(changed, Provisioners::from_entries([(id(3), 7, 0), (id(2), 9, 0)]));
        assert_eq!(changed.digest(), Provisioners::from_entries([(id(2), 9, 0), (id(3), 7, 0)]).digest());
        assert_ne!(changed.digest(), set.digest());
        assert_eq!(changed.apply(&[(id(2), None), (id(3), None)]), Provisioners::default());
    }
}
