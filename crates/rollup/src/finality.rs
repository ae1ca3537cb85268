//! Finality: an L2 block is final when the L1 block that it was derived from is. Source: derivation.md, "Finalization guarantees".

use crate::{
    config::BlockId,
    origin::{L1BlockRef, L2BlockRef},
};
use alloc::collections::VecDeque;

/// The newest L2 block that was derived when an L1 block was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    /// The L1 block that the pipeline read then, which is not the block's origin.
    pub l1: BlockId,
    /// The L2 block.
    pub l2: BlockId,
}

/// Remembers what was derived from where until L1 is final.
///
/// Bounded: when it is full, every second entry makes room, so that finality comes in longer strides when L1 is long without it, but
/// is never missed.
#[derive(Debug, Clone, Default)]
pub struct Finalizer {
    /// In ascending order on both layers.
    derived: VecDeque<Derived>,
}

impl Finalizer {
    /// Entries that are kept at most.
    pub const MOST: usize = 512;

    /// A block became safe while the pipeline read this L1 block.
    pub fn derived(&mut self, l1: &L1BlockRef, l2: &L2BlockRef) {
        let entry = Derived {
            l1: BlockId { hash: l1.hash, number: l1.number },
            l2: BlockId { hash: l2.hash, number: l2.number },
        };
        // What comes again after a reset takes the place of what was derived before.
        self.derived.retain(|old| old.l1.number < entry.l1.number && old.l2.number < entry.l2.number);
        if self.derived.len() == Self::MOST {
            let mut keep = false;
            self.derived.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.derived.push_back(entry);
    }

    /// The safe head went back: what was derived above it no longer counts.
    pub fn reset(&mut self, safe: &L2BlockRef) {
        self.derived.retain(|entry| entry.l2.number <= safe.number);
    }

    /// The newest L2 block that is final if this L1 block is. If `finalized` is of a higher number than [`Derived::l1`], the caller
    /// makes sure that L1 still has that block, and then calls [`Self::finalized`]; if it does not have it, [`Self::orphaned`].
    pub fn candidate(&self, finalized: &L1BlockRef) -> Option<Derived> {
        let fits = |entry: &&Derived| {
            entry.l1.number < finalized.number
                || (entry.l1.number == finalized.number && entry.l1.hash == finalized.hash)
        };
        self.derived.iter().rev().find(fits).copied()
    }

    /// The candidate is final: it and all that came before it are settled.
    pub fn finalized(&mut self, candidate: &Derived) {
        self.derived.retain(|entry| entry.l1.number > candidate.l1.number);
    }

    /// L1 does not have the candidate's block any more: neither it nor what was derived later counts.
    pub fn orphaned(&mut self, candidate: &Derived) {
        self.derived.retain(|entry| entry.l1.number < candidate.l1.number);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.derived.len()
    }

    /// Is nothing waiting for finality?
    pub fn is_empty(&self) -> bool {
        self.derived.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use proptest::prelude::*;

    fn l1(number: u64) -> L1BlockRef {
        L1BlockRef { number, hash: B256::left_padding_from(&number.to_be_bytes()), ..Default::default() }
    }

    fn l2(number: u64) -> L2BlockRef {
        L2BlockRef { number, hash: B256::left_padding_from(&number.to_be_bytes()), ..Default::default() }
    }

    fn number(candidate: Option<Derived>) -> Option<u64> {
        candidate.map(|derived| derived.l2.number)
    }

    #[test]
    fn the_newest_block_derived_from_final_l1_blocks_is_final() {
        let mut finalizer = Finalizer::default();
        for (a, b) in [(10, 1), (10, 2), (12, 3), (15, 4)] {
            finalizer.derived(&l1(a), &l2(b));
        }
        assert_eq!(number(finalizer.candidate(&l1(9))), None);
        assert_eq!(number(finalizer.candidate(&l1(11))), Some(2));
        assert_eq!(number(finalizer.candidate(&l1(12))), Some(3));
        finalizer.finalized(&finalizer.candidate(&l1(12)).unwrap());
        assert_eq!(finalizer.len(), 1);
        assert_eq!(number(finalizer.candidate(&l1(14))), None);
    }

    #[test]
    fn another_final_block_at_the_same_number_finalizes_nothing() {
        let mut finalizer = Finalizer::default();
        finalizer.derived(&l1(10), &l2(1));
        assert_eq!(finalizer.candidate(&L1BlockRef { hash: B256::ZERO, ..l1(10) }), None);
        finalizer.orphaned(&Derived { l1: BlockId { number: 10, hash: l1(10).hash }, l2: BlockId::default() });
        assert!(finalizer.is_empty());
    }

    #[test]
    fn a_reset_forgets_what_lies_above() {
        let mut finalizer = Finalizer::default();
        for n in 1..=5 {
            finalizer.derived(&l1(10 + n), &l2(n));
        }
        finalizer.reset(&l2(3));
        assert_eq!(number(finalizer.candidate(&l1(100))), Some(3));
        // Derived again, from earlier data.
        finalizer.derived(&l1(12), &l2(3));
        assert_eq!((finalizer.len(), number(finalizer.candidate(&l1(12)))), (2, Some(3)));
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_never_misses_what_is_final(count in 1u64..3_000, final_at in 0u64..3_000) {
            let mut finalizer = Finalizer::default();
            for n in 0..count {
                finalizer.derived(&l1(n), &l2(n));
                prop_assert!(finalizer.len() <= Finalizer::MOST);
            }
            // The first entry is always kept, so something is final as soon as anything can be.
            prop_assert!(finalizer.candidate(&l1(final_at)).is_some_and(|derived| derived.l1.number <= final_at));
            prop_assert_eq!(number(finalizer.candidate(&l1(count))), Some(count - 1));
        }
    }
}
