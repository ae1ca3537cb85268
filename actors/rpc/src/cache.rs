//! A cache of recently read things, bounded by their weight in bytes.

use alloy_primitives::map::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;
use std::{collections::BTreeMap, hash::Hash, sync::Arc};

/// Least recently used goes first once the weight is above the bound.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    inner: Mutex<Inner<K, V>>,
    capacity: usize,
}

#[derive(Debug)]
struct Inner<K, V> {
    entries: HashMap<K, Entry<V>, DefaultHashBuilder>,
    /// From oldest use to newest. Uses are numbered, so that the order needs no list of pointers.
    by_use: BTreeMap<u64, K>,
    uses: u64,
    weight: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    weight: usize,
    used: u64,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    /// A cache that holds at most `capacity` bytes, by the weights given at insertion.
    pub(crate) fn new(capacity: usize) -> Self {
        let inner = Inner { entries: HashMap::default(), by_use: BTreeMap::new(), uses: 0, weight: 0 };
        Self { inner: Mutex::new(inner), capacity }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let entry = inner.entries.get_mut(key)?;
        inner.uses += 1;
        if let Some(key) = inner.by_use.remove(&entry.used) {
            inner.by_use.insert(inner.uses, key);
        }
        entry.used = inner.uses;
        Some(entry.value.clone())
    }

    /// What weighs more than the whole cache is not kept.
    pub(crate) fn insert(&self, key: K, value: Arc<V>, weight: usize) {
        if weight > self.capacity {
            return;
        }
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.uses += 1;
        let used = inner.uses;
        if let Some(old) = inner.entries.insert(key.clone(), Entry { value, weight, used }) {
            inner.weight -= old.weight;
            inner.by_use.remove(&old.used);
        }
        inner.by_use.insert(used, key);
        inner.weight += weight;
        while inner.weight > self.capacity {
            let Some((_, oldest)) = inner.by_use.pop_first() else { break };
            if let Some(entry) = inner.entries.remove(&oldest) {
                inner.weight -= entry.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(30);
        for key in 0..3 {
            cache.insert(key, Arc::new(key), 10);
        }
        assert!(cache.get(&0).is_some());
        cache.insert(3, Arc::new(3), 10);
        assert!(cache.get(&1).is_none(), "1 was used longest ago");
        assert_eq!([0, 2, 3].map(|key| cache.get(&key).map(|v| *v)), [Some(0), Some(2), Some(3)]);
    }

    #[test]
    fn weight_is_bounded_and_replacing_does_not_count_twice() {
        let cache = Cache::new(30);
        for _ in 0..100 {
            cache.insert(1, Arc::new(1), 20);
        }
        cache.insert(2, Arc::new(2), 10);
        assert!(cache.get(&1).is_some() && cache.get(&2).is_some());
        cache.insert(3, Arc::new(3), 31);
        assert!(cache.get(&3).is_none() && cache.get(&1).is_some(), "too heavy, and nothing was evicted for it");
    }
}
