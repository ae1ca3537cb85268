//! Blobs of blocks that were taken back, and in which order the keeper is told.
//!
//! A block that was taken back may come again, when the branch that replaced it loses in its turn. Its blobs must then be kept
//! whatever was ordered before: an order to let go of them that did not leave yet is forgotten, and one that is under way is
//! waited for before they are ordered to be kept.

use std::collections::VecDeque;

use duskevm_messages::da_store::DropBlobs;

use crate::chain::Reverted;

/// Orders that wait at most. What does not fit goes with its height's retention.
const MOST: usize = 1024;

/// Orders to let go of blobs, one at a time; `K` is what is to be kept.
#[derive(Debug)]
pub(crate) struct Drops<K> {
    waiting: VecDeque<DropBlobs>,
    under_way: Option<DropBlobs>,
    /// What is kept when the order that is under way has been carried out.
    then: Option<K>,
}

impl<K> Default for Drops<K> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), under_way: None, then: None }
    }
}

impl<K> Drops<K> {
    /// These blocks are not in the chain any more.
    pub(crate) fn add(&mut self, blocks: &[Reverted]) {
        let room = MOST.saturating_sub(self.waiting.len());
        self.waiting
            .extend(blocks.iter().take(room).map(|block| DropBlobs { height: block.height, block: block.hash }));
    }

    /// The next order to give, if none is under way.
    pub(crate) fn next(&mut self) -> Option<DropBlobs> {
        if self.under_way.is_none() {
            self.under_way = self.waiting.pop_front();
            return self.under_way;
        }
        None
    }

    /// The order that was under way was carried out, or given up. Gives what is to be kept now.
    pub(crate) fn ended(&mut self) -> Option<K> {
        self.under_way = None;
        self.then.take()
    }

    /// A block is in the chain again, or for the first time: its blobs are not let go of. True if the order to do so is under way:
    /// then [`then`](Self::then) has to be used.
    pub(crate) fn still_wanted(&mut self, height: u64, block: &[u8; 32]) -> bool {
        let same = |order: &DropBlobs| (order.height, &order.block) == (height, block);
        self.waiting.retain(|order| !same(order));
        self.under_way.as_ref().is_some_and(same)
    }

    /// What is to be kept when the order that is under way has ended. One block at a time is taken.
    pub(crate) fn then(&mut self, keep: K) {
        self.then = Some(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(n: u8) -> Reverted {
        Reverted { height: n.into(), hash: [n; 32] }
    }

    fn next(drops: &mut Drops<&str>) -> Option<u64> {
        drops.next().map(|order| order.height)
    }

    #[test]
    fn an_order_that_did_not_leave_is_forgotten_when_the_block_comes_again() {
        let mut drops = Drops::default();
        drops.add(&[block(3), block(2), block(1)]);
        assert_eq!(next(&mut drops), Some(3));
        assert_eq!(next(&mut drops), None, "one at a time");
        assert!(!drops.still_wanted(2, &[2; 32]));
        assert!(!drops.still_wanted(1, &[9; 32]), "another block of that height");
        assert_eq!(drops.ended(), None);
        assert_eq!(next(&mut drops), Some(1));
        assert_eq!(drops.ended(), None);
        assert_eq!(next(&mut drops), None);
    }

    #[test]
    fn an_order_that_is_under_way_comes_before_the_one_to_keep() {
        let mut drops = Drops::default();
        drops.add(&[block(3), block(2)]);
        assert_eq!(next(&mut drops), Some(3));
        assert!(drops.still_wanted(3, &[3; 32]));
        drops.then("block 3 again");
        assert_eq!(drops.ended(), Some("block 3 again"));
        assert_eq!(next(&mut drops), Some(2), "others go on");
        assert_eq!(drops.ended(), None, "once");
    }

    #[test]
    fn orders_do_not_pile_up() {
        let mut drops: Drops<()> = Drops::default();
        for _ in 0..3 {
            drops.add(&vec![block(7); MOST]);
        }
        assert_eq!(drops.waiting.len(), MOST);
    }
}
