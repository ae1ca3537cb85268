//! Where to begin after a start or a reorganization of L1: the heads of the L2 chain that L1 still supports. Source: derivation.md,
//! "Finding the sync starting point".

use crate::{
    config::{BlockId, RollupConfig},
    origin::{L1BlockRef, L2BlockRef, LinkError},
};
use alloc::sync::Arc;
use alloy_primitives::B256;

/// The L1 reorganizations that are followed go at most this many sequencing windows back.
pub const MAX_REORG_WINDOWS: u64 = 5;

/// Heads of the L2 chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L2Heads {
    /// The newest block whose L1 origin L1 has, or does not contradict.
    pub unsafe_head: L2BlockRef,
    /// The block from which on everything is to be derived again.
    pub safe: L2BlockRef,
    /// Never changes.
    pub finalized: L2BlockRef,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "the large one comes once")]
pub enum SyncStep {
    /// Answer with [`SyncStart::provide_l1`]: the block of this number, or that L1 is not so far.
    NeedL1(u64),
    /// Answer with [`SyncStart::provide_l2`].
    NeedL2 {
        /// Number of the block.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// Done. Take the chain to these heads, then reset the pipeline to the safe one.
    Found(L2Heads),
}

/// Why there is nowhere to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// L1 was reorganized during the walk.
    #[error("L1 changed at block {0} during the search: begin it again")]
    L1Moved(u64),
    /// L1 does not support the finalized block.
    #[error(
        "L1 does not have the origin of the finalized L2 block {0}: this node follows another L1 than the data folder was made with"
    )]
    Finalized(u64),
    /// The heads do not belong to this rollup.
    #[error(
        "L2 block {number} is {found}, the rollup configuration says {expected}: the data belong to another network"
    )]
    WrongGenesis {
        /// Number of the genesis block.
        number: u64,
        /// As configured.
        expected: B256,
        /// As found.
        found: B256,
    },
    /// Too many blocks would be lost.
    #[error(
        "L1 was reorganized below block {reached}, more than {MAX_REORG_WINDOWS} sequencing windows before {from}: check the L1 node, or delete the L2 data to sync anew"
    )]
    TooDeep {
        /// The L2 block at which the search ended.
        number: u64,
        /// L1 origin that was reached.
        reached: u64,
        /// L1 origin of the unsafe head before.
        from: u64,
    },
    /// The L2 chain contradicts itself.
    #[error(
        "L2 block {number} does not follow from its parent: {what}; if it counts as safe the data folder is damaged: delete the L2 data to sync anew"
    )]
    Chain {
        /// Number of the block.
        number: u64,
        /// Where they differ.
        what: LinkError,
    },
}

impl SyncError {
    /// The L2 block that is to blame, where it is a single one: if it is unsafe the chain can go on without it and all above it.
    pub const fn block(&self) -> Option<u64> {
        match self {
            Self::TooDeep { number, .. } | Self::Chain { number, .. } => Some(*number),
            Self::L1Moved(_) | Self::Finalized(_) | Self::WrongGenesis { .. } => None,
        }
    }
}

/// The walk from the unsafe head down, one block at a time.
///
/// - The unsafe head becomes the newest block below which all L1 origins are canonical. An origin that L1 has not reached yet does
///   not count against its block.
/// - The safe head becomes the newest block that is not above the old one, and after which a whole sequencing window of canonical L1
///   origins follows: all batches for what comes after it are found again. It is never below the finalized block.
#[derive(Debug, Clone)]
pub struct SyncStart {
    config: Arc<RollupConfig>,
    finalized: L2BlockRef,
    old_safe: u64,
    old_unsafe_origin: u64,
    /// The block that is looked at.
    current: L2BlockRef,
    /// What L1 has at a number: the last answer.
    l1: Option<(u64, Option<L1BlockRef>)>,
    unsafe_head: Option<L2BlockRef>,
    /// L1 origin of the highest block with a canonical one.
    highest_origin: Option<u64>,
    /// `current` was looked at; its parent is wanted.
    looked_at: bool,
    /// The parent of the block that was looked at last is the safe head.
    ready: bool,
}

impl SyncStart {
    /// Begins at the labels of the L2 chain: the genesis block is finalized when nothing else is, the finalized block is safe.
    pub const fn new(config: Arc<RollupConfig>, labels: L2Heads) -> Self {
        Self {
            config,
            finalized: labels.finalized,
            old_safe: labels.safe.number,
            old_unsafe_origin: labels.unsafe_head.l1_origin.number,
            current: labels.unsafe_head,
            l1: None,
            unsafe_head: None,
            highest_origin: None,
            looked_at: false,
            ready: false,
        }
    }

    /// The L1 block of the number that was asked for; `None` if L1 is not so far. A block of another number is not looked at.
    ///
    /// # Errors
    /// If it is not the parent of the L1 block above it.
    pub fn provide_l1(&mut self, block: Option<L1BlockRef>) -> Result<(), SyncError> {
        let number = self.current.l1_origin.number;
        if block.is_some_and(|block| block.number != number) {
            return Ok(());
        }
        if let Some((_, Some(above))) = &self.l1
            && above.number.checked_sub(1) == Some(number)
            && block.is_none_or(|block| block.hash != above.parent_hash)
        {
            return Err(SyncError::L1Moved(number));
        }
        self.l1 = Some((number, block));
        Ok(())
    }

    /// The L2 block that was asked for.
    ///
    /// # Errors
    /// If it cannot be the parent of its child.
    pub fn provide_l2(&mut self, parent: L2BlockRef) -> Result<(), SyncError> {
        let child = &self.current;
        let wrong = |what| SyncError::Chain { number: child.number, what };
        child.links(&parent).map_err(wrong)?;
        if parent.l1_origin != child.l1_origin
            && let Some((_, Some(l1))) = &self.l1
            && l1.hash == child.l1_origin.hash
            && l1.parent_hash != parent.l1_origin.hash
        {
            return Err(wrong(LinkError::Origins));
        }
        self.current = parent;
        self.looked_at = false;
        Ok(())
    }

    /// Goes on as far as possible without another answer.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub fn step(&mut self) -> Result<SyncStep, SyncError> {
        if !self.looked_at {
            if self.ready {
                return Ok(SyncStep::Found(self.heads(self.current)));
            }
            let number = self.current.l1_origin.number;
            match self.l1 {
                Some((of, block)) if of == number => self.look(block)?,
                _ => return Ok(SyncStep::NeedL1(number)),
            }
            self.looked_at = true;
        }
        if self.current.number <= self.finalized.number {
            return if self.unsafe_head.is_some() && self.current.hash == self.finalized.hash {
                Ok(SyncStep::Found(self.heads(self.finalized)))
            } else {
                Err(SyncError::Finalized(self.finalized.number))
            };
        }
        // Above the finalized block, so there is a parent.
        Ok(SyncStep::NeedL2 { number: self.current.number.saturating_sub(1), hash: self.current.parent_hash })
    }

    fn heads(&self, safe: L2BlockRef) -> L2Heads {
        L2Heads { unsafe_head: self.unsafe_head.unwrap_or(safe), safe, finalized: self.finalized }
    }

    /// Looks at the current block, next to the L1 block of its origin's number.
    fn look(&mut self, l1: Option<L1BlockRef>) -> Result<(), SyncError> {
        let (block, config) = (self.current, &self.config);
        let BlockId { hash: expected, number } = config.genesis.l2;
        if block.number == number && block.hash != expected {
            return Err(SyncError::WrongGenesis { number, expected, found: block.hash });
        }
        let origin = block.l1_origin;
        if self.unsafe_head.is_none() {
            let deepest = origin.number.saturating_add(config.seq_window_size.saturating_mul(MAX_REORG_WINDOWS));
            if deepest < self.old_unsafe_origin {
                let (number, reached, from) = (block.number, origin.number, self.old_unsafe_origin);
                return Err(SyncError::TooDeep { number, reached, from });
            }
            self.unsafe_head = Some(block);
        }
        match l1 {
            None => {}
            Some(l1) if l1.hash == origin.hash => {
                self.highest_origin.get_or_insert(origin.number);
            }
            // Another block: neither this one nor any above it can stay.
            Some(_) => (self.unsafe_head, self.highest_origin) = (None, None),
        }
        self.ready = block.number <= self.old_safe
            && block.sequence_number == 0
            && self
                .highest_origin
                .is_some_and(|highest| origin.number.saturating_add(config.seq_window_size) < highest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use alloc::{vec, vec::Vec};
    use proptest::prelude::*;

    const PER_ORIGIN: u64 = 3;

    fn hash(chain: u8, number: u64) -> B256 {
        let mut hash = B256::left_padding_from(&number.to_be_bytes());
        hash[0] = chain;
        hash
    }

    /// L1 blocks 0 to `len` - 1. From `fork` on they are those of another chain.
    fn l1(len: u64, fork: u64, chain: u8) -> Vec<L1BlockRef> {
        let hash = |number| hash(if number >= fork { chain } else { 0 }, number);
        (0..len)
            .map(|number| L1BlockRef {
                hash: hash(number),
                number,
                parent_hash: number.checked_sub(1).map_or(B256::ZERO, hash),
                timestamp: number,
            })
            .collect()
    }

    /// Three L2 blocks for each L1 block, the genesis block among them.
    fn l2(l1: &[L1BlockRef]) -> Vec<L2BlockRef> {
        let mut chain: Vec<L2BlockRef> = Vec::new();
        for origin in l1 {
            for sequence_number in 0..PER_ORIGIN {
                let number = chain.len() as u64;
                chain.push(L2BlockRef {
                    hash: hash(9, number),
                    number,
                    parent_hash: chain.last().map_or(B256::ZERO, |parent| parent.hash),
                    timestamp: number,
                    l1_origin: BlockId { hash: origin.hash, number: origin.number },
                    sequence_number,
                });
            }
        }
        chain
    }

    fn config(window: u64) -> Arc<RollupConfig> {
        let mut config = testing::config();
        config.seq_window_size = window;
        config.genesis.l2.hash = hash(9, 0);
        Arc::new(config)
    }

    /// Runs a search with labels unsafe, safe and finalized by number.
    fn find(window: u64, l2: &[L2BlockRef], labels: [u64; 3], l1: &[L1BlockRef]) -> Result<[u64; 3], SyncError> {
        let [unsafe_head, safe, finalized] = labels.map(|number| l2[number as usize]);
        let mut search = SyncStart::new(config(window), L2Heads { unsafe_head, safe, finalized });
        loop {
            match search.step()? {
                SyncStep::NeedL1(number) => search.provide_l1(l1.get(number as usize).copied())?,
                SyncStep::NeedL2 { number, hash } => {
                    assert_eq!(l2[number as usize].hash, hash);
                    search.provide_l2(l2[number as usize])?;
                }
                SyncStep::Found(heads) => {
                    return Ok([heads.unsafe_head, heads.safe, heads.finalized].map(|head| head.number));
                }
            }
        }
    }

    #[test]
    fn without_a_reorganization_only_the_safe_head_goes_back_by_a_window() {
        let (l1, window) = (l1(40, 99, 0), 10);
        let l2 = l2(&l1);
        // The unsafe head is of origin 39: the first block of origin 28 is followed by a window of origins, its parent is safe.
        assert_eq!(find(window, &l2, [119, 118, 3], &l1), Ok([119, 28 * 3 - 1, 3]));
        // A safe head that is older yet stays as old.
        assert_eq!(find(window, &l2, [119, 31, 3], &l1), Ok([119, 10 * 3 - 1, 3]));
    }

    #[test]
    fn the_safe_head_is_never_below_the_finalized_one() {
        let l1 = l1(40, 99, 0);
        assert_eq!(find(10, &l2(&l1), [119, 118, 100], &l1), Ok([119, 100, 100]));
        assert_eq!(find(3600, &l2(&l1), [119, 118, 0], &l1), Ok([119, 0, 0]));
    }

    #[test]
    fn a_reorganization_takes_the_unsafe_head_below_it() {
        let l2 = l2(&l1(40, 99, 0));
        let heads = find(10, &l2, [119, 118, 60], &l1(45, 35, 1)).unwrap();
        // Origin 34 is the last one that both chains have; a window before it is below the finalized block.
        assert_eq!(heads, [34 * 3 + 2, 23 * 3 - 1, 60]);
    }

    #[test]
    fn an_origin_that_l1_has_not_reached_is_plausible() {
        let l2 = l2(&l1(40, 99, 0));
        let heads = find(10, &l2, [119, 118, 60], &l1(37, 99, 0)).unwrap();
        assert_eq!(heads[0], 119);
        // Until L1 contradicts it further down.
        let heads = find(10, &l2, [119, 118, 60], &l1(37, 36, 1)).unwrap();
        assert_eq!(heads[0], 35 * 3 + 2);
    }

    #[test]
    fn a_reorganization_below_the_finalized_block_is_an_error() {
        let l2 = l2(&l1(40, 99, 0));
        assert_eq!(find(10, &l2, [119, 118, 110], &l1(45, 36, 1)), Err(SyncError::Finalized(110)));
    }

    #[test]
    fn a_reorganization_of_more_than_five_windows_is_an_error() {
        let l2 = l2(&l1(40, 99, 0));
        assert!(find(4, &l2, [119, 118, 3], &l1(45, 19, 1)).is_err_and(|e| matches!(e, SyncError::TooDeep { .. })));
        assert!(find(4, &l2, [119, 118, 3], &l1(45, 20, 1)).is_ok());
    }

    #[test]
    fn another_genesis_block_is_an_error() {
        let l1 = l1(5, 99, 0);
        let mut l2 = l2(&l1);
        l2[0].hash = B256::ZERO;
        l2[1].parent_hash = B256::ZERO;
        assert!(matches!(find(10, &l2, [9, 9, 0], &l1), Err(SyncError::WrongGenesis { number: 0, .. })));
    }

    #[test]
    fn an_l1_that_moves_during_the_search_ends_it() {
        let l1 = l1(40, 99, 0);
        let l2 = l2(&l1);
        let labels = L2Heads { unsafe_head: l2[119], safe: l2[110], finalized: l2[0] };
        for answer in [None, Some(L1BlockRef { hash: B256::ZERO, ..l1[38] })] {
            let mut search = SyncStart::new(config(10), labels);
            search.provide_l1(Some(l1[39])).unwrap();
            for number in [118, 117, 116] {
                search.step().unwrap();
                search.provide_l2(l2[number]).unwrap();
            }
            assert_eq!(search.step(), Ok(SyncStep::NeedL1(38)));
            assert_eq!(search.provide_l1(answer), Err(SyncError::L1Moved(38)));
        }
    }

    #[test]
    fn an_l2_chain_that_contradicts_itself_is_an_error() {
        let l1 = l1(40, 99, 0);
        let l2 = l2(&l1);
        let (child, parent) = (l2[117], l2[116]);
        let other_origin = |number| BlockId { hash: B256::ZERO, number };
        for broken in [
            L2BlockRef { hash: B256::ZERO, ..parent },
            L2BlockRef { number: 3, ..parent },
            L2BlockRef { l1_origin: child.l1_origin, ..parent },
            L2BlockRef { l1_origin: other_origin(37), ..parent },
            L2BlockRef { l1_origin: other_origin(38), ..parent },
        ] {
            let labels = L2Heads { unsafe_head: child, safe: l2[110], finalized: l2[0] };
            let mut search = SyncStart::new(config(10), labels);
            search.provide_l1(Some(l1[39])).unwrap();
            search.step().unwrap();
            assert!(matches!(search.provide_l2(broken), Err(SyncError::Chain { number: 117, .. })), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_canonical_and_a_window_deep(
            len in 2u64..60, fork in 1u64..60, l1_len in 1u64..70, window in 1u64..30, safe in 0u64..180, finalized in 0u64..60
        ) {
            let old = l1(len, 99, 0);
            let l2 = l2(&old);
            let new = l1(l1_len, fork, 1);
            let top = l2.len() as u64 - 1;
            let (safe, finalized) = (safe.min(top), finalized.min(top).min(safe));
            if let Ok([unsafe_head, found, fin]) = find(window, &l2, [top, safe, finalized], &new) {
                prop_assert!(fin == finalized && found >= finalized && found <= safe.max(finalized) && found <= unsafe_head);
                for block in &l2[..=unsafe_head as usize] {
                    let origin = block.l1_origin.number as usize;
                    prop_assert!(new.get(origin).is_none_or(|l1| l1.hash == block.l1_origin.hash) || block.number < finalized);
                }
                // Whatever is not finalized is followed by a whole window of canonical origins.
                if found > finalized {
                    let highest = l2[unsafe_head as usize].l1_origin.number.min(l1_len - 1);
                    prop_assert!(l2[found as usize].l1_origin.number + 1 + window < highest);
                }
            }
        }
    }

    #[test]
    fn a_block_of_another_number_is_no_answer() {
        let l1 = l1(40, 99, 0);
        let l2 = l2(&l1);
        let labels = L2Heads { unsafe_head: l2[119], safe: l2[110], finalized: l2[0] };
        let mut search = SyncStart::new(config(10), labels);
        search.provide_l1(Some(l1[7])).unwrap();
        assert_eq!(vec![search.step()], [Ok(SyncStep::NeedL1(39))]);
    }
}
