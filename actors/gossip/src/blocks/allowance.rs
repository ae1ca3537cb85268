//! How much peers may send and ask for.

use std::collections::HashMap;
use std::time::Duration;

use duskevm_p2p::{Bucket, Deed, Rate};
use duskevm_unsafe_gossip::message::work;
use libp2p::PeerId;

/// RPCs of gossipsub from one peer: a block each second or two, its announcements, and control. Each message in one counts, and so does
/// each further [piece of work](WORK) that it takes to name a message: gossipsub names every copy, on the host's only task.
pub(super) const RPCS: Rate = Rate::new(1_200, 300);
/// Messages in one RPC. An honest peer sends one, or what was asked for of the blocks of some seconds.
pub(super) const MOST_MESSAGES: usize = 16;
/// Bytes to decompress and hash that count as one RPC.
const WORK: usize = 64 << 10;
/// Messages from one peer, and their bytes.
const MESSAGES: Rate = Rate::new(64, 16);
const BYTES: Rate = Rate::new(64 << 20, 16 << 20);
/// Requests of one peer, and of all: each is a block that is read and compressed. op-node answers fewer.
const REQUESTS: Rate = Rate::new(64, 16);
const ALL_REQUESTS: Rate = Rate::new(256, 20);
/// Who asks more than this does not wait for answers.
const MOST_REQUESTS: Rate = Rate::new(128, 32);

/// How many RPCs an RPC with these messages counts as.
pub(super) fn cost<'a>(messages: impl Iterator<Item = &'a [u8]>) -> u64 {
    messages.map(|data| 1 + (work(data) / WORK) as u64).sum::<u64>().max(1)
}

/// What one peer may still do.
#[derive(Debug)]
struct Allowance {
    messages: Bucket,
    bytes: Bucket,
    requests: Bucket,
    patience: Bucket,
}

impl Allowance {
    const fn new(now: Duration) -> Self {
        Self {
            messages: Bucket::full(MESSAGES, now),
            bytes: Bucket::full(BYTES, now),
            requests: Bucket::full(REQUESTS, now),
            patience: Bucket::full(MOST_REQUESTS, now),
        }
    }
}

/// What all peers may still do. Times are since the start of the host.
#[derive(Debug)]
pub(super) struct Allowances {
    peers: HashMap<PeerId, Allowance>,
    requests: Bucket,
}

impl Allowances {
    pub(super) fn new() -> Self {
        Self { peers: HashMap::new(), requests: Bucket::full(ALL_REQUESTS, Duration::ZERO) }
    }

    fn of(&mut self, peer: &PeerId, now: Duration) -> &mut Allowance {
        self.peers.entry(*peer).or_insert_with(|| Allowance::new(now))
    }

    /// Whether the peer may send a message of so many bytes.
    pub(super) fn may_send(&mut self, peer: &PeerId, now: Duration, bytes: usize) -> bool {
        let own = self.of(peer, now);
        own.messages.take(MESSAGES, now, 1) && own.bytes.take(BYTES, now, bytes as u64)
    }

    /// Whether the peer may ask once more; if not, what is held against it. What strangers ask for together is bounded as well;
    /// `is_chosen` says that the operator named this peer.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn may_ask(&mut self, peer: &PeerId, now: Duration, is_chosen: bool) -> Result<(), Option<Deed>> {
        let own = self.of(peer, now);
        let is_patient = own.patience.take(MOST_REQUESTS, now, 1);
        // Its own first: who asks too much takes nothing from the others.
        let may = own.requests.take(REQUESTS, now, 1) && (is_chosen || self.requests.take(ALL_REQUESTS, now, 1));
        if may { Ok(()) } else { Err((!is_patient).then_some(Deed::Flood)) }
    }

    /// Forgets the gone of whom a new allowance would know as much.
    pub(super) fn sweep(&mut self, now: Duration, is_here: impl Fn(&PeerId) -> bool) {
        self.peers.retain(|peer, own| {
            is_here(peer)
                || !(own.messages.is_full(MESSAGES, now)
                    && own.bytes.is_full(BYTES, now)
                    && own.requests.is_full(REQUESTS, now)
                    && own.patience.is_full(MOST_REQUESTS, now))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    #[test]
    fn an_rpc_costs_what_it_takes_to_name_its_messages() {
        let empty: [&[u8]; 0] = [];
        assert_eq!(cost(empty.into_iter()), 1);
        let (small, large) = ([0xff; 9], vec![0xff; 10 * WORK]);
        assert_eq!(cost([&small[..], &small, &large].into_iter()), 1 + 1 + 11);
        // A bomb counts as what it becomes, a promise that it cannot keep as nothing.
        let bomb = duskevm_unsafe_gossip::message::compress(&vec![0; 100 * WORK]).unwrap();
        assert!(bomb.len() < 6 * WORK);
        assert_eq!(cost([&bomb[..], &[0x80, 0x80, 0x80, 0x05, 0]].into_iter()), 101 + 1);
    }

    #[test]
    fn who_asks_too_much_is_refused_and_then_blamed() {
        let (mut all, peer) = (Allowances::new(), PeerId::random());
        let answers: Vec<_> = (0..130).map(|_| all.may_ask(&peer, NOW, false)).collect();
        assert!(answers[..64].iter().all(Result::is_ok));
        assert!(answers[64..128].iter().all(|answer| *answer == Err(None)));
        assert!(answers[128..].iter().all(|answer| *answer == Err(Some(Deed::Flood))));
    }

    #[test]
    fn strangers_together_ask_no_more_than_one_bound() {
        let mut all = Allowances::new();
        let ask = |all: &mut Allowances, chosen, now| {
            let peer = PeerId::random();
            (0..40).filter(|_| all.may_ask(&peer, now, chosen).is_ok()).count()
        };
        let answered: usize = (0..32).map(|_| ask(&mut all, false, NOW)).sum();
        assert_eq!(answered, 256);
        assert_eq!(ask(&mut all, false, NOW + Duration::from_secs(1)), 20);
        assert_eq!(ask(&mut all, true, NOW), 40, "a peer that the operator named");
    }

    #[test]
    fn what_is_kept_of_peers_is_forgotten() {
        let (mut all, peer) = (Allowances::new(), PeerId::random());
        assert!(all.may_send(&peer, NOW, 1_000));
        all.sweep(NOW, |_| false);
        assert_eq!(all.peers.len(), 1, "it would come back with a full allowance");
        all.sweep(NOW + Duration::from_secs(60), |_| true);
        assert_eq!(all.peers.len(), 1);
        all.sweep(NOW + Duration::from_secs(60), |_| false);
        assert!(all.peers.is_empty());
    }
}
