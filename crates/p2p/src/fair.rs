//! A bounded queue that peers share, in which each has a line of its own.
//!
//! The lines take turns, so that nobody waits behind another's flood; when the queue is full the longest line gives up its
//! newest entry. So a peer that fills it takes room from itself, and with n peers each finds room for an n-th of it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

/// The queue. `K` names a peer.
#[derive(Debug)]
pub struct Fair<K, T> {
    lines: BTreeMap<K, VecDeque<T>>,
    /// Whose turn was the last.
    last: Option<K>,
    len: usize,
    most: usize,
}

impl<K: Ord + Copy, T> Fair<K, T> {
    /// An empty queue with room for `most` entries.
    pub const fn new(most: usize) -> Self {
        Self { lines: BTreeMap::new(), last: None, len: 0, most }
    }

    /// How many entries wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an entry at the end of the peer's line. Returns the entry that found no room: this one if no line is longer than
    /// the peer's own, else the newest of the longest line.
    pub fn put(&mut self, peer: K, entry: T) -> Option<T> {
        let mut dropped = None;
        if self.len >= self.most {
            let own = self.lines.get(&peer).map_or(0, VecDeque::len);
            // The scan is over peers, and only when there is too much anyway.
            let longest = self.lines.iter().max_by_key(|(_, line)| line.len()).map(|(peer, line)| (*peer, line.len()));
            let Some((longest, _)) = longest.filter(|(_, length)| *length > own) else { return Some(entry) };
            dropped = self.lines.get_mut(&longest).and_then(VecDeque::pop_back);
            self.len -= 1;
            self.tidy(&longest);
        }
        self.lines.entry(peer).or_default().push_back(entry);
        self.len += 1;
        dropped
    }

    /// Takes the oldest entry of the peer whose turn it is.
    pub fn take(&mut self) -> Option<T> {
        let after = self.last.and_then(|last| self.lines.range((Excluded(last), Unbounded)).next());
        let peer = *after.or_else(|| self.lines.iter().next())?.0;
        let entry = self.lines.get_mut(&peer)?.pop_front()?;
        self.len -= 1;
        self.last = Some(peer);
        self.tidy(&peer);
        Some(entry)
    }

    /// A peer whose line is empty is forgotten.
    fn tidy(&mut self, peer: &K) {
        if self.lines.get(peer).is_some_and(VecDeque::is_empty) {
            self.lines.remove(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flood_takes_room_from_itself_alone() {
        let mut queue = Fair::new(100);
        for n in 0..1_000 {
            queue.put("flood", n);
        }
        assert_eq!(queue.len(), 100);
        assert_eq!(queue.put("flood", 7), Some(7), "the own line is the longest");
        assert_eq!(queue.put("honest", -1), Some(99), "the flood gives up its newest");
        assert_eq!(queue.put("honest", -2), Some(98));
        assert_eq!(queue.len(), 100);
        // And it keeps nobody waiting.
        let taken: Vec<i32> = (0..4).filter_map(|_| queue.take()).collect();
        assert_eq!(taken.iter().filter(|n| **n < 0).count(), 2, "{taken:?}");
    }

    #[test]
    fn lines_keep_their_order_and_take_turns() {
        let mut queue = Fair::new(9);
        for (peer, entry) in [(1, "a"), (1, "b"), (2, "c"), (3, "d"), (2, "e")] {
            assert_eq!(queue.put(peer, entry), None);
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(taken, ["a", "c", "d", "b", "e"]);
        assert!(queue.is_empty() && queue.lines.is_empty());
    }

    proptest! {
        #[test]
        fn each_of_few_peers_finds_its_share(
            most in 1usize..40, steps in prop::collection::vec((0u8..5, 0u8..4), 0..300),
        ) {
            let mut queue = Fair::new(most);
            let (mut put, mut dropped, mut taken) = (0, 0, 0);
            for (peer, what) in steps {
                if what == 0 {
                    taken += usize::from(queue.take().is_some());
                } else {
                    put += 1;
                    let own = queue.lines.get(&peer).map_or(0, VecDeque::len);
                    match queue.put(peer, (peer, put)) {
                        None => {}
                        Some(gone) => {
                            dropped += 1;
                            // Who holds less than an even share is never refused.
                            prop_assert!(gone != (peer, put) || own >= most / 5);
                        }
                    }
                }
                prop_assert!(queue.len() <= most);
                prop_assert_eq!(queue.len(), put - dropped - taken);
                prop_assert_eq!(queue.lines.values().map(VecDeque::len).sum::<usize>(), queue.len());
            }
        }
    }
}
