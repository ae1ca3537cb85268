//! Bounded maps in memory that many threads read.

use alloy_primitives::map::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;
use std::hash::{BuildHasher, Hash};

const SHARDS: usize = 32;

/// A bounded map. It keeps two generations: new entries go into the young one; when that is full it becomes the old one,
/// and the old one is forgotten. What is found in the old one is young again, so what is in use stays.
pub(crate) struct Cache<K, V> {
    hasher: DefaultHashBuilder,
    shards: Vec<Mutex<Shard<K, V>>>,
    /// Of one generation of one shard.
    capacity: usize,
}

#[derive(Debug)]
struct Shard<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> std::fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Copy, V: Clone> Cache<K, V> {
    /// A map of at most about `entries` entries.
    pub(crate) fn new(entries: usize) -> Self {
        let shard = || Mutex::new(Shard { young: HashMap::default(), old: HashMap::default() });
        Self {
            hasher: DefaultHashBuilder::default(),
            shards: (0..SHARDS).map(|_| shard()).collect(),
            capacity: entries.div_ceil(SHARDS * 2),
        }
    }

    fn shard(&self, key: &K) -> &Mutex<Shard<K, V>> {
        // The upper bits: the maps inside use the lower ones.
        &self.shards[(self.hasher.hash_one(key) >> 59) as usize % SHARDS]
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut shard = self.shard(key).lock();
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let value = shard.old.remove(key)?;
        shard.insert(*key, value.clone(), self.capacity);
        Some(value)
    }

    /// Inserts unless `still` says, with the entry's place locked, that the value is outdated.
    pub(crate) fn insert_if(&self, key: K, value: V, still: impl FnOnce() -> bool) {
        let mut shard = self.shard(&key).lock();
        if still() {
            shard.old.remove(&key);
            shard.insert(key, value, self.capacity);
        }
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        self.insert_if(key, value, || true);
    }

    /// Forgets every entry for which `keep` is false.
    pub(crate) fn retain(&self, keep: impl Fn(&K) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.young.retain(|key, _| keep(key));
            shard.old.retain(|key, _| keep(key));
        }
    }

    pub(crate) fn clear(&self) {
        self.retain(|_| false);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock()).map(|shard| shard.young.len() + shard.old.len()).sum()
    }
}

impl<K: Eq + Hash, V> Shard<K, V> {
    fn insert(&mut self, key: K, value: V, capacity: usize) {
        if self.young.len() >= capacity {
            self.old = std::mem::take(&mut self.young);
        }
        if capacity > 0 {
            self.young.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_and_the_size_is_bounded() {
        let cache = Cache::new(6400);
        for round in 0..20_000u64 {
            cache.insert(round, round);
            for hot in 0..10 {
                assert_eq!(cache.get(&hot).is_some(), hot <= round, "{hot} in round {round}");
            }
        }
        assert!(cache.len() <= 6400 + SHARDS * 2);
        assert_eq!(cache.get(&11), None);
        cache.insert_if(3, 4, || false);
        assert_eq!(cache.get(&3), Some(3));
        cache.insert(3, 4);
        assert_eq!(cache.get(&3), Some(4));
        cache.retain(|key| *key != 3);
        assert_eq!((cache.get(&3), cache.get(&4)), (None, Some(4)));
        cache.clear();
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_cache_of_nothing_holds_nothing() {
        let cache = Cache::new(0);
        cache.insert(1, 1);
        assert_eq!(cache.get(&1), None);
    }
}
