//! What is carried, as others see it.

use crate::envelope::Envelope;
use alloy_primitives::{Address, B256};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The envelopes of one moment, each until it is on L1 for good or was replaced.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    envelopes: HashMap<B256, Arc<Envelope>>,
    nonces: BTreeSet<(Address, u64)>,
}

impl Carried {
    /// The envelope with this hash.
    pub fn get(&self, hash: &B256) -> Option<&Arc<Envelope>> {
        self.envelopes.get(hash)
    }

    /// The nonce after those of a sender that are carried without a gap, from `next` on: the one that L1 takes next.
    pub fn next_nonce(&self, sender: &Address, next: u64) -> u64 {
        let carried = self.nonces.range((*sender, next)..=(*sender, u64::MAX));
        // The highest number is nobody's nonce (EIP-2681), so that this never overflows.
        carried.zip(next..).take_while(|((_, nonce), wanted)| nonce == wanted).fold(next, |next, _| next + 1)
    }
}

impl FromIterator<Arc<Envelope>> for Carried {
    fn from_iter<I: IntoIterator<Item = Arc<Envelope>>>(all: I) -> Self {
        let mut carried = Self::default();
        for envelope in all {
            carried.nonces.insert((envelope.sender(), envelope.nonce()));
            carried.envelopes.insert(envelope.hash(), envelope);
        }
        carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{calldata, read, sign, signer};

    #[test]
    fn nonces_count_up_to_the_first_gap() {
        let carried: Carried =
            [0, 1, 3].map(|nonce| Arc::new(read(&sign(calldata(nonce, b"x"), 1)))).into_iter().collect();
        let (sender, other) = (signer(1).address(), signer(2).address());
        // From what L1 shows, also if that is behind or ahead of what is here.
        for (next, counted) in [(0, 2), (1, 2), (2, 2), (3, 4), (4, 4), (9, 9), (u64::MAX, u64::MAX)] {
            assert_eq!(carried.next_nonce(&sender, next), counted, "from {next}");
            assert_eq!(carried.next_nonce(&other, next), next);
        }
    }
}
