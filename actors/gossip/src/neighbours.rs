//! Whom to be connected to, and what is known of them: decisions without I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use duskevm_messages::gossip::{PeerChoice, PeerInfo};
use duskevm_p2p::{Book, Endpoint, PeerAddress, PeerId, PeerStatus};

use crate::host::Link;

/// Longest pause between two dials of a boot node.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Dials at the same time.
const DIALS: usize = 8;
/// A request for the status or for peers waits so long.
pub(crate) const SMALL_TALK: Duration = Duration::from_secs(5);

/// A connected peer.
#[derive(Debug)]
struct Neighbour {
    link: Link,
    status: Option<PeerStatus>,
    status_due: Instant,
    exchange_due: Instant,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tries {
    failures: u32,
    not_before: Option<Instant>,
}

/// The connected peers and those to be connected to.
#[derive(Debug)]
pub(crate) struct Neighbours {
    me: PeerId,
    enough: usize,
    allow_private: bool,
    boot: Vec<PeerAddress>,
    tries: HashMap<PeerId, Tries>,
    dialling: HashSet<PeerId>,
    linked: BTreeMap<PeerId, Neighbour>,
    pub(crate) book: Book,
    /// Whether the book changed since it was kept.
    pub(crate) changed: bool,
}

impl Neighbours {
    pub(crate) fn new(me: PeerId, boot: Vec<PeerAddress>, enough: usize, allow_private: bool, book: Book) -> Self {
        let boot = boot.into_iter().filter(|address| address.peer != me).collect();
        Self {
            me,
            enough,
            allow_private,
            boot,
            tries: HashMap::new(),
            dialling: HashSet::new(),
            linked: BTreeMap::new(),
            book,
            changed: false,
        }
    }

    /// Whether an address may be learnt and told.
    pub(crate) fn may_share(&self, endpoint: &Endpoint) -> bool {
        endpoint.is_dialable() && (self.allow_private || endpoint.is_public())
    }

    /// The host says who is connected.
    pub(crate) fn links(&mut self, links: &[Link], now: Instant, unix: u64) {
        let mut before = std::mem::take(&mut self.linked);
        for link in links {
            let known = before.remove(&link.peer).filter(|known| known.link.number == link.number);
            self.learn(link, unix);
            let neighbour = match known {
                Some(known) => Neighbour { link: link.clone(), ..known },
                None => Neighbour { link: link.clone(), status: None, status_due: now, exchange_due: now },
            };
            self.linked.insert(link.peer, neighbour);
        }
    }

    /// A peer is met at the address that was dialled, and at those that it names itself on the host it connects from.
    fn learn(&mut self, link: &Link, unix: u64) {
        let dialled = link.remote.filter(|_| !link.inbound);
        let same_host = |endpoint: &&Endpoint| match (link.remote, **endpoint) {
            (Some(Endpoint::Ip4(a, _)), Endpoint::Ip4(b, _)) => a == b,
            (Some(Endpoint::Ip6(a, _)), Endpoint::Ip6(b, _)) => a == b,
            // Within a process any name will do.
            (Some(Endpoint::Memory(_)), Endpoint::Memory(_)) => true,
            _ => false,
        };
        let named = link.listens.iter().filter(same_host).copied();
        for endpoint in named.chain(dialled) {
            if self.may_share(&endpoint) {
                self.book.met(unix, &PeerAddress { peer: link.peer, endpoint });
                self.changed = true;
            }
        }
    }

    pub(crate) fn is_linked(&self, peer: &PeerId) -> bool {
        self.linked.contains_key(peer)
    }

    /// Whom to dial now; each must be [`dialled`](Self::dialled) when it is over.
    pub(crate) fn whom_to_dial(&mut self, now: Instant, unix: u64) -> Vec<PeerAddress> {
        let wanted = self.enough.saturating_sub(self.linked.len() + self.dialling.len());
        let wanted = wanted.min(DIALS.saturating_sub(self.dialling.len()));
        let busy = |peer: &PeerId| *peer == self.me || self.is_linked(peer) || self.dialling.contains(peer);
        let due = |address: &&PeerAddress| {
            !busy(&address.peer)
                && self.tries.get(&address.peer).and_then(|tries| tries.not_before).is_none_or(|at| at <= now)
        };
        let mut chosen: Vec<PeerAddress> = self.boot.iter().filter(due).take(wanted).copied().collect();
        let is_boot = |peer: &PeerId| self.boot.iter().any(|address| address.peer == *peer);
        let others = self.book.best(unix, wanted - chosen.len(), |peer| busy(peer) || is_boot(peer));
        chosen.extend(others);
        self.dialling.extend(chosen.iter().map(|address| address.peer));
        chosen
    }

    /// A dial is over.
    pub(crate) fn dialled(&mut self, address: &PeerAddress, connected: bool, now: Instant, unix: u64) {
        self.dialling.remove(&address.peer);
        let is_boot = self.boot.iter().any(|boot| boot.peer == address.peer);
        if connected {
            self.tries.remove(&address.peer);
        } else if is_boot {
            let tries = self.tries.entry(address.peer).or_default();
            tries.failures = tries.failures.saturating_add(1);
            let pause = Duration::from_millis(500).saturating_mul(1u32.checked_shl(tries.failures).unwrap_or(u32::MAX));
            tries.not_before = Some(now + pause.min(LONGEST_PAUSE));
        } else {
            self.book.worse(unix, &address.peer);
            self.changed = true;
        }
    }

    /// Peers whose status should be asked for now.
    pub(crate) fn status_due(&mut self, now: Instant, every: Duration) -> Vec<PeerId> {
        self.due(now, every, |neighbour| &mut neighbour.status_due)
    }

    /// Peers that should be asked for other peers now: none while there are enough.
    pub(crate) fn exchange_due(&mut self, now: Instant, every: Duration) -> Vec<PeerId> {
        if self.linked.len() >= self.enough {
            return Vec::new();
        }
        self.due(now, every, |neighbour| &mut neighbour.exchange_due)
    }

    fn due(&mut self, now: Instant, every: Duration, at: impl Fn(&mut Neighbour) -> &mut Instant) -> Vec<PeerId> {
        let mut due = Vec::new();
        for (peer, neighbour) in &mut self.linked {
            let at = at(neighbour);
            if *at <= now {
                *at = now + every.max(Duration::from_millis(100));
                due.push(*peer);
            }
        }
        due
    }

    /// A peer said where it stands. Returns whether that is news.
    pub(crate) fn status(&mut self, peer: &PeerId, status: PeerStatus) -> bool {
        let Some(neighbour) = self.linked.get_mut(peer) else { return false };
        neighbour.status.replace(status) != Some(status)
    }

    /// A peer told of others.
    pub(crate) fn heard(&mut self, addresses: &[PeerAddress]) {
        for address in addresses {
            if address.peer != self.me && self.may_share(&address.endpoint) {
                self.changed |= self.book.heard(address);
            }
        }
    }

    /// A peer of another network.
    pub(crate) fn stranger(&mut self, peer: &PeerId) {
        self.book.forget(peer);
        self.changed = true;
    }

    /// What to tell a peer that asks for others.
    pub(crate) fn tell(&self, to: &PeerId, count: usize) -> Vec<PeerAddress> {
        self.book.tell(to, count, |endpoint| self.may_share(endpoint))
    }

    /// The peer to ask: of those that fit, `dice` chooses.
    pub(crate) fn choose(&self, choice: &PeerChoice, dice: usize) -> Option<PeerId> {
        let fits: Vec<PeerId> = match choice {
            PeerChoice::Peer(peer) => return self.is_linked(peer).then_some(*peer),
            PeerChoice::AtHeight { height, not } => self
                .linked
                .iter()
                .filter(|(peer, neighbour)| {
                    let stands = neighbour.status.map_or(0, |status| status.tip.0);
                    stands >= *height && !not.contains(peer)
                })
                .map(|(peer, _)| *peer)
                .collect(),
            PeerChoice::WithBlobs { height, not } => self
                .linked
                .iter()
                .filter(|(peer, neighbour)| {
                    let has = |status: PeerStatus| status.oldest_blob <= *height && status.tip.0 >= *height;
                    neighbour.status.is_some_and(has) && !not.contains(peer)
                })
                .map(|(peer, _)| *peer)
                .collect(),
        };
        if fits.is_empty() { None } else { Some(fits[dice % fits.len()]) }
    }

    /// For the feed.
    pub(crate) fn infos(&self) -> Vec<PeerInfo> {
        let info = |(peer, neighbour): (&PeerId, &Neighbour)| {
            let link = &neighbour.link;
            let endpoint = if link.inbound { link.listens.first().copied() } else { link.remote };
            PeerInfo {
                id: *peer,
                address: endpoint.map(|endpoint| PeerAddress { peer: *peer, endpoint }),
                inbound: link.inbound,
                status: neighbour.status,
            }
        };
        self.linked.iter().map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn at(n: u8, text: &str) -> PeerAddress {
        PeerAddress { peer: id(n), endpoint: text.parse().unwrap() }
    }

    fn link(n: u8, number: u64, inbound: bool, remote: &str, listens: &[&str]) -> Link {
        let listens = listens.iter().map(|text| text.parse().unwrap()).collect();
        Link { peer: id(n), inbound, remote: Some(remote.parse().unwrap()), listens, number }
    }

    fn status(tip: u64, oldest_blob: u64) -> PeerStatus {
        PeerStatus { identity: [0; 32], tip: (tip, [0; 32]), finalized: (0, [0; 32]), oldest_blob }
    }

    #[test]
    fn boot_nodes_first_then_the_book_until_there_are_enough() {
        let now = Instant::now();
        let mut book = Book::new();
        book.met(1, &at(5, "/ip4/8.8.8.8/tcp/1"));
        book.met(2, &at(6, "/ip4/8.8.8.8/tcp/2"));
        let boot = vec![at(1, "/ip4/9.9.9.9/tcp/1"), at(2, "/ip4/9.9.9.9/tcp/2")];
        let mut us = Neighbours::new(id(1), boot, 2, false, book);
        assert_eq!(us.whom_to_dial(now, 9), [at(2, "/ip4/9.9.9.9/tcp/2"), at(6, "/ip4/8.8.8.8/tcp/2")], "not oneself");
        assert!(us.whom_to_dial(now, 9).is_empty(), "both are on their way");
        us.dialled(&at(2, "/ip4/9.9.9.9/tcp/2"), false, now, 9);
        assert_eq!(us.whom_to_dial(now, 9), [at(5, "/ip4/8.8.8.8/tcp/1")], "the boot node has a pause");
        us.dialled(&at(5, "/ip4/8.8.8.8/tcp/1"), false, now, 9);
        us.links(&[link(6, 1, false, "/ip4/8.8.8.8/tcp/2", &[])], now, 9);
        us.dialled(&at(6, "/ip4/8.8.8.8/tcp/2"), true, now, 9);
        assert!(us.whom_to_dial(now, 9).is_empty());
        assert_eq!(us.whom_to_dial(now + Duration::from_secs(1), 9), [at(2, "/ip4/9.9.9.9/tcp/2")]);
    }

    #[test]
    fn a_peer_is_believed_about_its_own_host_only() {
        let mut us = Neighbours::new(id(1), vec![], 2, false, Book::new());
        let told = ["/ip4/8.8.8.8/tcp/9", "/ip4/7.7.7.7/tcp/9", "/ip4/10.0.0.1/tcp/9"];
        us.links(&[link(2, 1, true, "/ip4/8.8.8.8/tcp/50000", &told)], Instant::now(), 9);
        assert_eq!(us.tell(&id(3), 9), [at(2, "/ip4/8.8.8.8/tcp/9")]);
        us.heard(&[at(4, "/ip4/127.0.0.1/tcp/1"), at(1, "/ip4/8.8.4.4/tcp/1"), at(5, "/ip4/8.8.4.4/tcp/1")]);
        assert_eq!(us.book.len(), 2, "neither this machine nor oneself");
    }

    #[test]
    fn who_comes_back_is_asked_again() {
        let now = Instant::now();
        let every = Duration::from_secs(4);
        let mut us = Neighbours::new(id(1), vec![], 2, true, Book::new());
        let first = [link(2, 1, true, "/memory/5", &[])];
        us.links(&first, now, 9);
        assert_eq!(us.status_due(now, every), [id(2)]);
        assert!(us.status(&id(2), status(5, 0)) && !us.status(&id(2), status(5, 0)));
        us.links(&first, now, 9);
        assert!(us.status_due(now, every).is_empty());
        assert_eq!(us.infos()[0].status, Some(status(5, 0)));
        us.links(&[link(2, 2, true, "/memory/6", &[])], now, 9);
        assert_eq!(us.status_due(now, every), [id(2)]);
        assert_eq!(us.infos()[0].status, None);
        assert_eq!(us.exchange_due(now, every), [id(2)]);
        us.links(&[link(2, 2, true, "/memory/6", &[]), link(3, 3, true, "/memory/7", &[])], now, 9);
        assert!(us.exchange_due(now, every).is_empty(), "there are enough");
    }

    #[test]
    fn the_peer_to_ask_fits_the_choice() {
        let mut us = Neighbours::new(id(1), vec![], 2, true, Book::new());
        let links = [link(2, 1, true, "/memory/5", &[]), link(3, 2, true, "/memory/6", &[])];
        us.links(&links, Instant::now(), 9);
        us.status(&id(2), status(100, 50));
        let at_height = |height, not| PeerChoice::AtHeight { height, not };
        assert_eq!(us.choose(&at_height(100, vec![]), 7), Some(id(2)));
        assert_eq!(us.choose(&at_height(101, vec![]), 7), None);
        assert_eq!(us.choose(&at_height(0, vec![id(2)]), 7), Some(id(3)));
        assert_eq!(us.choose(&PeerChoice::Peer(id(9)), 7), None);
        let blobs = |height| PeerChoice::WithBlobs { height, not: vec![] };
        assert_eq!(
            [us.choose(&blobs(49), 0), us.choose(&blobs(50), 0), us.choose(&blobs(101), 0)],
            [None, Some(id(2)), None]
        );
    }
}
