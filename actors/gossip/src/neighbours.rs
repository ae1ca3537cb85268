//! Whom to be connected to, and what is known of them: decisions without I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use duskevm_messages::gossip::{AskFailure, PeerChoice, PeerInfo};
use duskevm_p2p::{Answer, Book, Endpoint, PeerAddress, PeerId, PeerStatus};

use crate::desk::ASKING_ONE;
use crate::host::Link;

/// Longest pause between two dials of a boot node.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Dials at the same time.
const DIALS: usize = 8;
/// A request for the status or for peers waits so long.
pub(crate) const SMALL_TALK: Duration = Duration::from_secs(5);
/// Of the peers that are enough, one in so many is of this node's own choice: it dialled them, or they are configured. Who
/// comes by itself may be anybody, and may be many.
const CHOSEN: usize = 3;
/// A connection that lasted for so long was no mistake.
const STAYED: Duration = Duration::from_secs(10);
/// How long a peer that gave no answer is asked only if nobody else can be; twice as long each time.
const ASIDE: Duration = Duration::from_secs(10);
const MOST_ASIDE: u32 = 5;

/// A connected peer.
#[derive(Debug)]
struct Neighbour {
    link: Link,
    status: Option<PeerStatus>,
    status_due: Instant,
    exchange_due: Instant,
    since: Instant,
    /// Questions that it has not answered yet.
    asked: usize,
    /// Questions that it gave no answer to, since its last one, and until when others are asked first.
    silences: u32,
    aside: Option<Instant>,
}

impl Neighbour {
    /// It gave no answer.
    fn silent(&mut self, now: Instant) {
        self.aside = Some(now + ASIDE * (1 << self.silences.min(MOST_ASIDE)));
        self.silences = self.silences.saturating_add(1);
    }
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
            self.learn(link, unix);
            let neighbour = match before.remove(&link.peer) {
                Some(known) if known.link.number == link.number => Neighbour { link: link.clone(), ..known },
                earlier => {
                    if let Some(earlier) = earlier {
                        self.left(&link.peer, &earlier, now, unix);
                    }
                    Neighbour {
                        link: link.clone(),
                        status: None,
                        status_due: now,
                        exchange_due: now,
                        since: now,
                        asked: 0,
                        silences: 0,
                        aside: None,
                    }
                }
            };
            self.linked.insert(link.peer, neighbour);
        }
        for (peer, left) in before {
            self.left(&peer, &left, now, unix);
        }
    }

    /// A connection is over. One that this node made and that did not last is not made again at once.
    fn left(&mut self, peer: &PeerId, neighbour: &Neighbour, now: Instant, unix: u64) {
        let stayed = now.saturating_duration_since(neighbour.since) >= STAYED;
        if stayed {
            self.tries.remove(peer);
            self.book.stayed(peer);
        } else if !neighbour.link.inbound {
            self.failed(peer, now, unix);
        }
    }

    /// A peer was dialled in vain.
    fn failed(&mut self, peer: &PeerId, now: Instant, unix: u64) {
        if self.is_boot(peer) {
            let tries = self.tries.entry(*peer).or_default();
            tries.failures = tries.failures.saturating_add(1);
            let pause = Duration::from_millis(500).saturating_mul(1u32.checked_shl(tries.failures).unwrap_or(u32::MAX));
            tries.not_before = Some(now + pause.min(LONGEST_PAUSE));
        } else {
            self.book.worse(unix, peer);
            self.changed = true;
        }
    }

    fn is_boot(&self, peer: &PeerId) -> bool {
        self.boot.iter().any(|boot| boot.peer == *peer)
    }

    /// Connections of this node's own choice.
    fn chosen(&self) -> usize {
        self.linked.iter().filter(|(peer, neighbour)| !neighbour.link.inbound || self.is_boot(peer)).count()
    }

    /// How many peers there are too few, in all or of this node's own choice, if `coming` more will be there soon.
    fn missing(&self, coming: usize) -> usize {
        let peers = self.enough.saturating_sub(self.linked.len() + coming);
        let chosen = self.enough.div_ceil(CHOSEN).saturating_sub(self.chosen() + coming);
        peers.max(chosen)
    }

    /// A peer is met at the address that was dialled. Those that it names itself are believed on the host that it is connected
    /// from, and count as met only if this node dialled it.
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
                let address = PeerAddress { peer: link.peer, endpoint };
                if link.inbound {
                    self.book.named(unix, &address);
                } else {
                    self.book.met(unix, &address);
                }
                self.changed = true;
            }
        }
    }

    pub(crate) fn is_linked(&self, peer: &PeerId) -> bool {
        self.linked.contains_key(peer)
    }

    /// Whom to dial now; each must be [`dialled`](Self::dialled) when it is over.
    pub(crate) fn whom_to_dial(&mut self, now: Instant, unix: u64) -> Vec<PeerAddress> {
        let wanted = self.missing(self.dialling.len()).min(DIALS.saturating_sub(self.dialling.len()));
        let busy = |peer: &PeerId| *peer == self.me || self.is_linked(peer) || self.dialling.contains(peer);
        let due = |address: &&PeerAddress| {
            !busy(&address.peer)
                && self.tries.get(&address.peer).and_then(|tries| tries.not_before).is_none_or(|at| at <= now)
        };
        let mut chosen: Vec<PeerAddress> = self.boot.iter().filter(due).take(wanted).copied().collect();
        let others = self.book.best(unix, wanted - chosen.len(), |peer| busy(peer) || self.is_boot(peer));
        chosen.extend(others);
        self.dialling.extend(chosen.iter().map(|address| address.peer));
        chosen
    }

    /// A dial is over. What failed before is forgotten when the connection has lasted.
    pub(crate) fn dialled(&mut self, address: &PeerAddress, connected: bool, now: Instant, unix: u64) {
        self.dialling.remove(&address.peer);
        if !connected {
            self.failed(&address.peer, now, unix);
        }
    }

    /// Peers whose status should be asked for now.
    pub(crate) fn status_due(&mut self, now: Instant, every: Duration) -> Vec<PeerId> {
        self.due(now, every, |neighbour| &mut neighbour.status_due)
    }

    /// Peers that should be asked for other peers now: none while there are enough.
    pub(crate) fn exchange_due(&mut self, now: Instant, every: Duration) -> Vec<PeerId> {
        if self.missing(0) == 0 {
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
    pub(crate) fn told(&mut self, by: &PeerId, addresses: &[PeerAddress]) {
        for address in addresses {
            if address.peer != self.me && self.may_share(&address.endpoint) {
                self.changed |= self.book.told(by, address);
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

    /// The peer to ask: of those that fit and are not busy with questions already, `dice` chooses; those that gave no answer
    /// lately come last. One that is chosen must be [`answered`](Self::answered) later.
    ///
    /// # Errors
    /// [`AskFailure::NoPeer`] if nobody fits, [`AskFailure::Busy`] if all that fit are busy.
    pub(crate) fn choose(&mut self, choice: &PeerChoice, now: Instant, dice: usize) -> Result<PeerId, AskFailure> {
        let fits = |peer: &PeerId, status: Option<PeerStatus>| match choice {
            PeerChoice::Peer(only) => peer == only,
            PeerChoice::AtHeight { height, not } => {
                status.map_or(0, |status| status.tip.0) >= *height && !not.contains(peer)
            }
            PeerChoice::WithBlobs { height, not } => {
                let has = |status: PeerStatus| status.oldest_blob <= *height && status.tip.0 >= *height;
                status.is_some_and(has) && !not.contains(peer)
            }
        };
        let fitting: Vec<(&PeerId, &Neighbour)> =
            self.linked.iter().filter(|(peer, neighbour)| fits(peer, neighbour.status)).collect();
        if fitting.is_empty() {
            return Err(AskFailure::NoPeer);
        }
        let free = fitting.into_iter().filter(|(_, neighbour)| neighbour.asked < ASKING_ONE);
        let (first, last): (Vec<_>, Vec<_>) =
            free.partition(|(_, neighbour)| neighbour.aside.is_none_or(|until| until <= now));
        let candidates = if first.is_empty() { last } else { first };
        let chosen = candidates.get(dice.checked_rem(candidates.len()).unwrap_or(0)).map(|(peer, _)| **peer);
        let neighbour = chosen.and_then(|peer| self.linked.get_mut(&peer));
        if let Some(neighbour) = neighbour {
            neighbour.asked += 1;
        }
        chosen.ok_or(AskFailure::Busy)
    }

    /// What came of a question to a peer that was [chosen](Self::choose).
    pub(crate) fn answered(&mut self, peer: &PeerId, outcome: &Result<Answer, AskFailure>, now: Instant) {
        let Some(neighbour) = self.linked.get_mut(peer) else { return };
        neighbour.asked = neighbour.asked.saturating_sub(1);
        match outcome {
            Ok(Answer::Refused(_)) | Err(AskFailure::Timeout(_) | AskFailure::Lost(_) | AskFailure::Nonsense(_)) => {
                neighbour.silent(now);
            }
            Ok(_) => (neighbour.silences, neighbour.aside) = (0, None),
            // Nobody was asked.
            Err(AskFailure::NoPeer | AskFailure::Busy | AskFailure::TooLong | AskFailure::Down) => {}
        }
    }

    /// What came of small talk: who gives no answer to that will give none to other questions. That it gave one says nothing.
    pub(crate) fn talked(&mut self, peer: &PeerId, outcome: &Result<Answer, AskFailure>, now: Instant) {
        if let Err(AskFailure::Timeout(_) | AskFailure::Nonsense(_)) = outcome
            && let Some(neighbour) = self.linked.get_mut(peer)
        {
            neighbour.silent(now);
        }
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
        us.told(&id(2), &[at(4, "/ip4/127.0.0.1/tcp/1"), at(1, "/ip4/8.8.4.4/tcp/1"), at(5, "/ip4/8.8.4.4/tcp/1")]);
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
        us.links(&[link(2, 2, true, "/memory/6", &[]), link(3, 3, false, "/memory/7", &[])], now, 9);
        assert!(us.exchange_due(now, every).is_empty(), "there are enough");
    }

    #[test]
    fn who_comes_by_itself_is_not_enough() {
        let now = Instant::now();
        let boot = vec![at(2, "/ip4/9.9.9.9/tcp/1"), at(3, "/ip4/9.9.9.9/tcp/2")];
        let mut book = Book::new();
        book.met(1, &at(4, "/ip4/8.8.8.8/tcp/1"));
        let mut us = Neighbours::new(id(1), boot, 6, false, book);
        let strangers = |count: u8| -> Vec<Link> {
            let named = |n: u8| format!("/ip4/7.7.7.{n}/tcp/1");
            (0..count).map(|n| link(100 + n, n.into(), true, &named(n), &[&named(n)])).collect()
        };
        us.links(&strangers(40), now, 9);
        let chosen = [at(2, "/ip4/9.9.9.9/tcp/1"), at(3, "/ip4/9.9.9.9/tcp/2")];
        assert_eq!(us.whom_to_dial(now, 9), chosen, "a third of what is enough is this node's own choice");
        us.dialled(&chosen[0], false, now, 9);
        // Of the others the one that it has met comes before all that only came.
        assert_eq!(us.whom_to_dial(now, 9), [at(4, "/ip4/8.8.8.8/tcp/1")]);
        us.dialled(&chosen[1], true, now, 9);
        us.dialled(&at(4, "/ip4/8.8.8.8/tcp/1"), true, now, 9);
        let mut links = strangers(40);
        links.push(link(4, 50, false, "/ip4/8.8.8.8/tcp/1", &[]));
        // A configured peer is one of choice whoever dialled.
        links.push(link(3, 51, true, "/ip4/9.9.9.9/tcp/2", &[]));
        us.links(&links, now, 9);
        assert!(us.whom_to_dial(now + LONGEST_PAUSE, 9).is_empty());
    }

    #[test]
    fn who_hangs_up_at_once_is_not_dialled_at_once() {
        let begin = Instant::now();
        let address = at(2, "/ip4/8.8.8.8/tcp/1");
        for boot in [true, false] {
            let mut book = Book::new();
            book.met(1, &address);
            let configured = if boot { vec![address] } else { Vec::new() };
            let mut us = Neighbours::new(id(1), configured, 1, false, book);
            let mut dials = 0;
            for second in 0..60 {
                let now = begin + Duration::from_secs(second);
                for address in us.whom_to_dial(now, 100 + second) {
                    dials += 1;
                    us.dialled(&address, true, now, 100 + second);
                    us.links(&[link(2, second, false, "/ip4/8.8.8.8/tcp/1", &[])], now, 100 + second);
                    us.links(&[], now, 100 + second);
                }
            }
            assert!((3..=8).contains(&dials), "{dials} dials in a minute");
            // Once it has stayed, it is dialled at once.
            let now = begin + Duration::from_secs(3_600);
            us.links(&[link(2, 99, false, "/ip4/8.8.8.8/tcp/1", &[])], now, 5_000);
            us.links(&[], now + STAYED, 5_010);
            assert_eq!(us.whom_to_dial(now + STAYED, 5_010), [address]);
        }
    }

    #[test]
    fn who_says_nothing_is_asked_last() {
        let now = Instant::now();
        let mut us = Neighbours::new(id(1), vec![], 2, true, Book::new());
        let peers: Vec<Link> = (2..=5).map(|n| link(n, n.into(), true, "/memory/5", &[])).collect();
        us.links(&peers, now, 9);
        let any = PeerChoice::AtHeight { height: 0, not: vec![] };
        // Three of four are silent, and one always refuses when it is asked.
        for n in 2..=4 {
            us.choose(&PeerChoice::Peer(id(n)), now, 0).unwrap();
            let silence =
                if n == 2 { Ok(Answer::Refused(duskevm_p2p::Refusal::Busy)) } else { Err(AskFailure::Timeout(id(n))) };
            us.answered(&id(n), &silence, now);
        }
        for dice in 0..20 {
            assert_eq!(us.choose(&any, now, dice), Ok(id(5)));
            us.answered(&id(5), &Ok(Answer::Peers(vec![])), now);
        }
        // When it has enough to do, or is no more, the others are asked all the same.
        assert_eq!((us.choose(&any, now, 0), us.choose(&any, now, 0)), (Ok(id(5)), Ok(id(5))));
        assert_ne!(us.choose(&any, now, 0), Ok(id(5)));
        // And after a while they get another chance.
        us.answered(&id(5), &Ok(Answer::Peers(vec![])), now);
        let chosen: HashSet<_> = (0..4).filter_map(|dice| us.choose(&any, now + ASIDE, dice).ok()).collect();
        assert!(chosen.len() > 1);
    }

    #[test]
    fn who_does_not_even_say_where_it_stands_is_asked_last() {
        let now = Instant::now();
        let mut us = Neighbours::new(id(1), vec![], 2, true, Book::new());
        us.links(&[link(2, 1, true, "/memory/5", &[]), link(3, 2, true, "/memory/6", &[])], now, 9);
        us.talked(&id(2), &Err(AskFailure::Timeout(id(2))), now);
        us.talked(&id(2), &Ok(Answer::Peers(vec![])), now);
        let any = PeerChoice::AtHeight { height: 0, not: vec![] };
        assert_eq!((us.choose(&any, now, 0), us.choose(&any, now, 1)), (Ok(id(3)), Ok(id(3))));
    }

    #[test]
    fn a_peer_holds_up_few_questions() {
        let now = Instant::now();
        let mut us = Neighbours::new(id(1), vec![], 2, true, Book::new());
        us.links(&[link(2, 1, true, "/memory/5", &[]), link(3, 2, true, "/memory/6", &[])], now, 9);
        let any = PeerChoice::AtHeight { height: 0, not: vec![] };
        let asked: Vec<_> = (0..6).map(|dice| us.choose(&any, now, dice)).collect();
        assert_eq!(asked.iter().filter(|peer| **peer == Ok(id(2))).count(), ASKING_ONE);
        assert_eq!(asked.iter().filter(|peer| **peer == Ok(id(3))).count(), ASKING_ONE);
        assert_eq!(asked.last(), Some(&Err(AskFailure::Busy)));
        us.answered(&id(3), &Err(AskFailure::Timeout(id(3))), now);
        assert_eq!(us.choose(&any, now, 0), Ok(id(3)));
    }

    #[test]
    fn the_peer_to_ask_fits_the_choice() {
        let now = Instant::now();
        let mut us = Neighbours::new(id(1), vec![], 2, true, Book::new());
        let links = [link(2, 1, true, "/memory/5", &[]), link(3, 2, true, "/memory/6", &[])];
        us.links(&links, now, 9);
        us.status(&id(2), status(100, 50));
        let mut ask = |choice: PeerChoice| {
            let chosen = us.choose(&choice, now, 7);
            if let Ok(peer) = chosen {
                us.answered(&peer, &Ok(Answer::Peers(vec![])), now);
            }
            chosen
        };
        let at_height = |height, not| PeerChoice::AtHeight { height, not };
        assert_eq!(ask(at_height(100, vec![])), Ok(id(2)));
        assert_eq!(ask(at_height(101, vec![])), Err(AskFailure::NoPeer));
        assert_eq!(ask(at_height(0, vec![id(2)])), Ok(id(3)));
        assert_eq!(ask(PeerChoice::Peer(id(9))), Err(AskFailure::NoPeer));
        let blobs = |height| PeerChoice::WithBlobs { height, not: vec![] };
        let none = Err(AskFailure::NoPeer);
        assert_eq!([ask(blobs(49)), ask(blobs(50)), ask(blobs(101))], [none, Ok(id(2)), none]);
    }
}
