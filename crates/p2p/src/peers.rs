//! The addresses a node remembers, best first, and bounded however many it hears of.
//!
//! Who was *met* (this node dialled it and the connection succeeded) is worth more than who *named* itself over a connection
//! that it made itself, and that more than who was only *heard* of from other peers. The lesser never displaces the better:
//! inventing addresses costs nothing and connecting little, so neither may empty the book or come before what this node found
//! out for itself. Of peers that were never met, one address holds few places and one peer's tales too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Endpoint, PeerAddress, PeerId};

/// Most peers in the book.
pub const MAX_BOOK: usize = 1_024;
/// Most addresses of one peer.
const MAX_ENDPOINTS: usize = 4;
/// First and longest pause between two tries of a peer, in seconds.
const FIRST_PAUSE: u64 = 2;
const LONGEST_PAUSE: u64 = 3_600;
/// A peer that was never met and failed so often is forgotten.
const PATIENCE: u32 = 5;
/// Most peers behind one address that were never met.
const MAX_UNMET: usize = 8;
/// Most peers that one peer told of and that did nothing themselves yet.
const MAX_TOLD: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Newest first.
    endpoints: Vec<Endpoint>,
    /// Unix seconds of the last connection that this node made.
    met: Option<u64>,
    /// Unix seconds when it last named its address itself.
    named: Option<u64>,
    /// Who told of it.
    told_by: Option<PeerId>,
    /// Failures since it last stayed.
    failures: u32,
    /// Not tried before, Unix seconds.
    not_before: u64,
}

impl Entry {
    const fn new(met: Option<u64>, named: Option<u64>, told_by: Option<PeerId>) -> Self {
        Self { endpoints: Vec::new(), met, named, told_by, failures: 0, not_before: 0 }
    }

    /// Nobody but others ever spoke of it.
    const fn is_hearsay(&self) -> bool {
        self.met.is_none() && self.named.is_none()
    }

    fn put_first(&mut self, endpoint: Endpoint) {
        self.endpoints.retain(|known| *known != endpoint);
        self.endpoints.insert(0, endpoint);
        self.endpoints.truncate(MAX_ENDPOINTS);
    }
}

/// Known addresses. Times are Unix seconds, because the book outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    entries: BTreeMap<PeerId, Entry>,
}

/// The book as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredBook {
    /// One line per address, best peers first.
    pub peers: Vec<StoredPeer>,
}

/// One address of the stored book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPeer {
    /// Who and where.
    pub address: PeerAddress,
    /// Unix seconds of the last connection that this node made, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<u64>,
    /// Unix seconds when the peer last named its address itself, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<u64>,
}

impl Book {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many peers it knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows nobody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `by` told this address of another. Returns whether the book changed.
    pub fn told(&mut self, by: &PeerId, address: &PeerAddress) -> bool {
        if !self.entries.contains_key(&address.peer) {
            let told = self.entries.values().filter(|entry| entry.is_hearsay() && entry.told_by == Some(*by)).count();
            if told >= MAX_TOLD || self.is_crowded(&address.endpoint) {
                return false;
            }
        }
        self.hear(address, Some(*by))
    }

    /// This address is known from nobody in particular. Returns whether the book changed.
    pub fn heard(&mut self, address: &PeerAddress) -> bool {
        self.hear(address, None)
    }

    fn hear(&mut self, address: &PeerAddress, told_by: Option<PeerId>) -> bool {
        if !address.endpoint.is_dialable() {
            return false;
        }
        if let Some(entry) = self.entries.get_mut(&address.peer) {
            // Hearsay adds an address, behind the known ones, and displaces none.
            if entry.endpoints.contains(&address.endpoint) || entry.endpoints.len() >= MAX_ENDPOINTS {
                return false;
            }
            entry.endpoints.push(address.endpoint);
            return true;
        }
        if self.entries.len() >= MAX_BOOK && !self.displace(|entry| entry.is_hearsay() && entry.failures > 0) {
            return false;
        }
        let mut entry = Entry::new(None, None, told_by);
        entry.endpoints.push(address.endpoint);
        self.entries.insert(address.peer, entry);
        true
    }

    /// Whether enough peers behind this address are known that were never met: the owner of one address can have any number of
    /// keys.
    fn is_crowded(&self, endpoint: &Endpoint) -> bool {
        let Some(prefix) = endpoint.prefix() else { return false };
        let behind = |entry: &&Entry| {
            entry.met.is_none() && entry.endpoints.iter().any(|endpoint| endpoint.prefix() == Some(prefix))
        };
        self.entries.values().filter(behind).count() >= MAX_UNMET
    }

    /// This node dialled the address and the connection succeeded. Failures count on until the peer has
    /// [`stayed`](Self::stayed): who hangs up at once is not tried again at once.
    pub fn met(&mut self, now: u64, address: &PeerAddress) {
        if !address.endpoint.is_dialable() {
            return;
        }
        if !self.entries.contains_key(&address.peer) && self.entries.len() >= MAX_BOOK {
            // First hearsay, then who only named itself, else the acquaintance that was away for longest.
            let _ = self.displace(Entry::is_hearsay)
                || self.displace(|entry| entry.met.is_none())
                || self.displace(|_| true);
        }
        let entry = self.entries.entry(address.peer).or_insert_with(|| Entry::new(None, None, None));
        entry.put_first(address.endpoint);
        entry.met = Some(entry.met.map_or(now, |met| met.max(now)));
    }

    /// A peer that connected to this node named this address as its own. Returns whether the book knows it now.
    pub fn named(&mut self, now: u64, address: &PeerAddress) -> bool {
        if !address.endpoint.is_dialable() {
            return false;
        }
        if !self.entries.contains_key(&address.peer) {
            if self.is_crowded(&address.endpoint) {
                return false;
            }
            let full = self.entries.len() >= MAX_BOOK;
            if full && !self.displace(Entry::is_hearsay) && !self.displace(|entry| entry.met.is_none()) {
                return false;
            }
        }
        let entry = self.entries.entry(address.peer).or_insert_with(|| Entry::new(None, None, None));
        entry.put_first(address.endpoint);
        entry.named = Some(entry.named.map_or(now, |named| named.max(now)));
        true
    }

    /// A connection to the peer has lasted: what failed before is forgotten.
    pub fn stayed(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures = 0;
            entry.not_before = 0;
        }
    }

    /// A try failed: the peer is tried later, twice as long each time. One that was never met is forgotten after a few.
    pub fn worse(&mut self, now: u64, peer: &PeerId) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures = entry.failures.saturating_add(1);
        if entry.met.is_none() && entry.failures >= PATIENCE {
            self.entries.remove(peer);
            return;
        }
        let pause = FIRST_PAUSE.checked_shl(entry.failures - 1).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        entry.not_before = now.saturating_add(pause);
        // The next try is of another address, if there is one.
        entry.endpoints.rotate_left(1);
    }

    /// Forgets a peer.
    pub fn forget(&mut self, peer: &PeerId) {
        self.entries.remove(peer);
    }

    fn displace(&mut self, may_go: impl Fn(&Entry) -> bool) -> bool {
        let worst = self
            .entries
            .iter()
            .filter(|(_, entry)| may_go(entry))
            .max_by_key(|(_, entry)| (entry.failures, std::cmp::Reverse((entry.met, entry.named))))
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    fn ranked(&self) -> Vec<(&PeerId, &Entry)> {
        let mut ranked: Vec<_> = self.entries.iter().collect();
        ranked.sort_by_key(|(_, entry)| {
            let newest = std::cmp::Reverse((entry.met, entry.named));
            (entry.met.is_none(), entry.named.is_none() && entry.met.is_none(), entry.failures, newest)
        });
        ranked
    }

    /// Up to `count` addresses worth a try now, best first, one per peer, without the peers to skip.
    pub fn best(&self, now: u64, count: usize, skip: impl Fn(&PeerId) -> bool) -> Vec<PeerAddress> {
        self.ranked()
            .into_iter()
            .filter(|(peer, entry)| entry.not_before <= now && !skip(peer))
            .filter_map(|(peer, entry)| Some(PeerAddress { peer: *peer, endpoint: *entry.endpoints.first()? }))
            .take(count)
            .collect()
    }

    /// Up to `count` addresses to tell another peer: no hearsay, never its own, best first.
    pub fn tell(&self, to: &PeerId, count: usize, may_tell: impl Fn(&Endpoint) -> bool) -> Vec<PeerAddress> {
        self.ranked()
            .into_iter()
            .filter(|(peer, entry)| !entry.is_hearsay() && *peer != to)
            .filter_map(|(peer, entry)| {
                let endpoint = *entry.endpoints.iter().find(|endpoint| may_tell(endpoint))?;
                Some(PeerAddress { peer: *peer, endpoint })
            })
            .take(count)
            .collect()
    }

    /// For storing.
    pub fn stored(&self) -> StoredBook {
        // Failures are not stored, so they do not decide the order either.
        let mut ranked: Vec<_> = self.entries.iter().collect();
        ranked.sort_by_key(|(_, entry)| (entry.met.is_none(), std::cmp::Reverse((entry.met, entry.named))));
        let peers = ranked.into_iter().flat_map(|(peer, entry)| {
            entry.endpoints.iter().map(|endpoint| StoredPeer {
                address: PeerAddress { peer: *peer, endpoint: *endpoint },
                met: entry.met,
                named: entry.named,
            })
        });
        StoredBook { peers: peers.collect() }
    }

    /// From storage: whatever the file says, the book keeps its bounds. Failures are forgotten: the network may have
    /// changed while the node was away.
    pub fn restore(stored: &StoredBook) -> Self {
        let mut book = Self::new();
        for line in &stored.peers {
            let known = book.entries.contains_key(&line.address.peer);
            if known || book.len() < MAX_BOOK {
                book.heard(&line.address);
                if let Some(entry) = book.entries.get_mut(&line.address.peer) {
                    entry.met = entry.met.max(line.met);
                    entry.named = entry.named.max(line.named);
                }
            }
        }
        book
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::tests::any_address;
    use proptest::prelude::*;

    fn address(peer: u16, port: u16) -> PeerAddress {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&peer.to_be_bytes());
        PeerAddress { peer: PeerId(key), endpoint: Endpoint::Ip4([8, 8, 8, 8], port) }
    }

    #[test]
    fn the_best_are_those_met_last() {
        let mut book = Book::new();
        book.heard(&address(1, 1));
        book.met(10, &address(2, 1));
        book.met(20, &address(3, 1));
        assert_eq!(book.best(20, 9, |_| false), [address(3, 1), address(2, 1), address(1, 1)]);
        assert_eq!(book.best(20, 1, |peer| *peer == address(3, 1).peer), [address(2, 1)]);
        assert_eq!(book.tell(&address(3, 1).peer, 9, |_| true), [address(2, 1)], "no hearsay, and not itself");
        assert!(book.tell(&address(1, 1).peer, 9, |_| false).is_empty());
    }

    #[test]
    fn failures_wait_longer_each_time() {
        let mut book = Book::new();
        book.met(0, &address(1, 1));
        let mut now = 100;
        for pause in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600] {
            book.worse(now, &address(1, 1).peer);
            assert!(book.best(now + pause - 1, 9, |_| false).is_empty(), "{pause}");
            assert_eq!(book.best(now + pause, 9, |_| false).len(), 1, "{pause}");
            now += pause;
        }
        book.worse(now, &address(1, 1).peer);
        book.met(now, &address(1, 1));
        assert!(book.best(now, 9, |_| false).is_empty(), "who hangs up at once is not tried again at once");
        book.stayed(&address(1, 1).peer);
        assert_eq!(book.best(now, 9, |_| false).len(), 1);
    }

    #[test]
    fn a_rumour_that_never_answers_is_forgotten() {
        let mut book = Book::new();
        book.heard(&address(1, 1));
        for _ in 0..5 {
            book.worse(0, &address(1, 1).peer);
        }
        assert!(book.is_empty());
    }

    #[test]
    fn hearsay_does_not_displace_acquaintances() {
        let mut book = Book::new();
        for peer in 0..1_000 {
            book.met(u64::from(peer), &address(peer, 1));
        }
        for peer in 1_000..60_000 {
            book.heard(&address(peer, 1));
        }
        assert_eq!(book.len(), MAX_BOOK);
        let best = book.best(0, 1_000, |_| false);
        assert_eq!(best[0], address(999, 1));
        assert_eq!(best[999], address(0, 1));
        // A new acquaintance finds its place.
        book.met(7, &address(61_000, 1));
        assert_eq!(book.len(), MAX_BOOK);
        assert!(book.best(0, MAX_BOOK, |_| false).contains(&address(61_000, 1)));
        // What a peer says of another's address does not replace the one that worked.
        for port in 2..9 {
            book.heard(&address(999, port));
        }
        assert_eq!(book.best(0, 1, |_| false), [address(999, 1)]);
    }

    #[test]
    fn who_only_names_itself_comes_after_who_was_met_and_displaces_nobody() {
        let mut book = Book::new();
        book.met(10, &address(1, 1));
        // Many keys, each with an address of its own: more than there are places.
        let far = |peer: u16| PeerAddress {
            endpoint: Endpoint::Ip4([9, 9, (peer >> 8) as u8, peer as u8], 1),
            ..address(peer, 1)
        };
        for peer in 2..3_000 {
            assert!(book.named(1_000_000, &far(peer)));
        }
        assert_eq!(book.len(), MAX_BOOK);
        assert_eq!(book.best(2_000_000, 1, |_| false), [address(1, 1)]);
        assert_eq!(book.tell(&far(2).peer, 1, |_| true), [address(1, 1)]);
        for peer in 3_000..5_000 {
            book.told(&far(2).peer, &far(peer));
        }
        assert!(book.entries.values().all(|entry| !entry.is_hearsay()), "hearsay displaces neither");
    }

    #[test]
    fn one_address_holds_few_places_and_one_peers_tales_too() {
        let mut book = Book::new();
        let named = (0..100).filter(|peer| book.named(5, &address(*peer, 1))).count();
        assert_eq!(named, MAX_UNMET);
        // A connection that this node made itself says more.
        book.met(5, &address(500, 1));
        assert_eq!(book.len(), MAX_UNMET + 1);
        let far = |peer: u16| PeerAddress {
            endpoint: Endpoint::Ip4([9, 9, (peer >> 8) as u8, peer as u8], 1),
            ..address(peer, 1)
        };
        let (liar, other) = (address(1, 1).peer, address(2, 1).peer);
        assert_eq!((1_000..2_000).filter(|peer| book.told(&liar, &far(*peer))).count(), MAX_TOLD);
        assert!(book.told(&other, &far(3_000)));
    }

    #[test]
    fn another_address_is_tried_next() {
        let mut book = Book::new();
        book.met(0, &address(1, 1));
        book.heard(&address(1, 2));
        book.worse(0, &address(1, 1).peer);
        assert_eq!(book.best(100, 1, |_| false), [address(1, 2)]);
    }

    proptest! {
        #[test]
        fn bounded_and_read_back(steps in prop::collection::vec((0u8..6, any_address(), 0u64..1_000), 0..300)) {
            let mut book = Book::new();
            for (what, address, now) in &steps {
                match what {
                    0 => { book.heard(address); }
                    1 => book.met(*now, address),
                    2 => book.worse(*now, &address.peer),
                    3 => { book.named(*now, address); }
                    4 => { book.told(&PeerId([7; 32]), address); }
                    _ => book.forget(&address.peer),
                }
            }
            prop_assert!(book.len() <= MAX_BOOK);
            let stored = book.stored();
            let back = Book::restore(&stored);
            prop_assert_eq!(back.stored(), stored.clone());
            prop_assert_eq!(back.len(), book.len());
            for address in back.best(0, MAX_BOOK, |_| false) {
                prop_assert!(address.endpoint.is_dialable());
            }
        }
    }
}
