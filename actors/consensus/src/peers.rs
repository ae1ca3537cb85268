//! Peers by number: the consensus names them so.

use std::collections::HashMap;

use duskevm_dusk_l1::sa::machine::PeerId as Number;
use duskevm_p2p::PeerId;

/// Peers that are remembered; far more than are connected. Beyond it all are forgotten, which makes an answer or a hint of the
/// consensus go to nobody in particular.
const MOST: usize = 4096;

/// Numbers of peers. A number is never given twice.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    numbers: HashMap<PeerId, Number>,
    peers: HashMap<Number, PeerId>,
    next: u64,
}

impl Numbers {
    /// The number of a peer.
    pub(crate) fn of(&mut self, peer: PeerId) -> Number {
        if let Some(number) = self.numbers.get(&peer) {
            return *number;
        }
        if self.numbers.len() >= MOST {
            self.numbers.clear();
            self.peers.clear();
        }
        let number = Number(self.next);
        self.next += 1;
        self.numbers.insert(peer, number);
        self.peers.insert(number, peer);
        number
    }

    /// The peer with a number.
    pub(crate) fn peer(&self, number: Number) -> Option<PeerId> {
        self.peers.get(&number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_bounded_and_never_reused() {
        let peer = |n: u32| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_le_bytes());
            PeerId(key)
        };
        let mut numbers = Numbers::default();
        let first = numbers.of(peer(0));
        assert_eq!((numbers.of(peer(0)), numbers.peer(first)), (first, Some(peer(0))));
        for n in 0..2 * MOST as u32 {
            numbers.of(peer(n));
        }
        assert!(numbers.numbers.len() <= MOST && numbers.peers.len() <= MOST);
        assert_eq!(numbers.peer(first), None);
        assert_ne!(numbers.of(peer(0)), first);
    }
}
