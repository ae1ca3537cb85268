//! Queues with scripted peers and a scripted chain.

use super::*;
use crate::{payload::testing::block, topics::PayloadVersion};

const NOW: Duration = Duration::from_secs(1);

/// A chain of blocks from number 1 on, above an empty block 0; `mark` tells forks apart.
fn chain(parent: &Arc<Block>, count: u64, mark: &[u8]) -> Vec<Arc<Block>> {
    let mut blocks: Vec<Arc<Block>> = Vec::new();
    for _ in 0..count {
        let below = blocks.last().unwrap_or(parent);
        let made = block(PayloadVersion::V4, below.number() + 1, below.hash(), 1_700_000_000 + below.number(), mark);
        blocks.push(Arc::new(made));
    }
    blocks
}

fn genesis() -> Arc<Block> {
    Arc::new(block(PayloadVersion::V4, 0, B256::ZERO, 1_700_000_000, b""))
}

fn id(block: &Arc<Block>) -> BlockNumHash {
    BlockNumHash { number: block.number(), hash: block.hash() }
}

/// A node: its chain, and a queue above it.
struct Node {
    chain: Vec<Arc<Block>>,
    queue: Queue<u8>,
}

impl Node {
    fn new(chain: Vec<Arc<Block>>, safe: u64) -> Self {
        let head = id(chain.last().unwrap());
        let mut queue = Queue::new(head, safe);
        queue.peers([1]);
        Self { chain, queue }
    }

    fn next(&mut self, now: Duration) -> Vec<Effect<u8>> {
        let chain = &self.chain;
        self.queue.next(now, |number| chain.get(usize::try_from(number).unwrap()).map(|block| block.hash()))
    }

    fn gossip(&mut self, block: &Arc<Block>) {
        self.queue.gossiped(block.clone(), 1);
    }

    /// Imports as an executor does: the chain above the parent goes.
    fn import(&mut self, block: &Arc<Block>) {
        let at = usize::try_from(block.number()).unwrap();
        assert_eq!(self.chain[at - 1].hash(), block.header.parent_hash);
        self.chain.truncate(at);
        self.chain.push(block.clone());
        self.queue.imported(id(block), Imported::Done, NOW);
        self.queue.head(id(block), self.queue.safe);
    }

    /// Does what the queue wants, with one peer that has `others`. Returns the numbers that were asked for.
    fn run(&mut self, others: &[Arc<Block>]) -> Vec<u64> {
        let (mut asked, mut now) = (Vec::new(), NOW);
        loop {
            now += ASK_COST;
            let effects = self.next(now);
            if effects.is_empty() {
                return asked;
            }
            for effect in effects {
                match effect {
                    Effect::Import(block) => self.import(&block),
                    Effect::Ask { peer, number } => {
                        asked.push(number);
                        let found = others.iter().find(|block| block.number() == number).unwrap().clone();
                        assert_eq!(self.queue.answered(peer, number, Response::Block(found, 1), now), Conduct::Useful);
                    }
                }
            }
        }
    }
}

#[test]
fn a_child_of_the_head_is_imported_at_once() {
    let blocks = chain(&genesis(), 2, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[0]);
    assert_eq!(node.next(NOW), [Effect::Import(blocks[0].clone())]);
    assert_eq!(node.next(NOW), [], "it is under way");
    node.import(&blocks[0]);
    node.gossip(&blocks[1]);
    assert_eq!(node.next(NOW), [Effect::Import(blocks[1].clone())]);
}

#[test]
fn a_block_is_not_imported_again_before_the_head_is_told() {
    let blocks = chain(&genesis(), 2, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[0]);
    node.gossip(&blocks[1]);
    assert_eq!(node.next(NOW), [Effect::Import(blocks[0].clone())]);
    node.chain.push(blocks[0].clone());
    node.queue.imported(id(&blocks[0]), Imported::Done, NOW);
    assert_eq!(node.next(NOW), [Effect::Import(blocks[1].clone())], "the chain has the first");
}

#[test]
fn when_the_chain_leaves_what_waiting_blocks_stand_on_it_is_fetched_again() {
    let blocks = chain(&genesis(), 3, b"");
    let sibling = chain(&genesis(), 1, b"sibling").remove(0);
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[0]);
    assert_eq!(node.next(NOW), [Effect::Import(blocks[0].clone())]);
    node.chain.push(blocks[0].clone());
    node.queue.imported(id(&blocks[0]), Imported::Done, NOW);
    // Signed too, and imported before the head is told.
    node.gossip(&sibling);
    assert_eq!(node.next(NOW), [Effect::Import(sibling.clone())]);
    node.gossip(&blocks[1]);
    assert_eq!(node.next(NOW), [], "its parent is in the chain still");
    node.import(&sibling);
    assert_eq!(node.run(&blocks), [1]);
    assert_eq!(node.chain[1..], blocks[..2]);
}

#[test]
fn what_is_at_or_below_the_head_is_dropped() {
    let blocks = chain(&genesis(), 3, b"");
    let mut node = Node::new([vec![genesis()], blocks.clone()].concat(), 0);
    for block in &blocks {
        node.gossip(block);
    }
    assert!(node.queue.is_empty());
    // It gets there while it waits.
    let more = chain(&blocks[2], 2, b"");
    node.gossip(&more[1]);
    assert_eq!(node.queue.highest(), 5);
    node.queue.head(id(&more[1]), 0);
    assert!(node.queue.is_empty() && node.queue.bytes() == 0);
}

#[test]
fn a_gap_is_closed_downward_from_the_signed_block() {
    let blocks = chain(&genesis(), 40, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[39]);
    let asked = node.run(&blocks);
    assert_eq!(asked, (1..=39).rev().collect::<Vec<_>>());
    assert_eq!(node.chain.last(), blocks.last());
    assert!(node.queue.is_empty());
}

#[test]
fn blocks_that_come_while_a_gap_is_closed_are_kept() {
    let blocks = chain(&genesis(), 10, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[4]);
    node.gossip(&blocks[5]);
    node.gossip(&blocks[9]);
    let asked = node.run(&blocks);
    assert_eq!(node.chain.len(), 11);
    assert_eq!(asked.len(), 7, "each once: {asked:?}");
}

#[test]
fn an_answer_without_the_expected_hash_is_not_taken_and_another_peer_is_asked() {
    let (blocks, fork) = (chain(&genesis(), 3, b""), chain(&genesis(), 3, b"fork"));
    let mut node = Node::new(vec![genesis()], 0);
    node.queue.peers([1, 2]);
    node.gossip(&blocks[2]);
    let Some(Effect::Ask { peer, number: 2 }) = node.next(NOW).pop() else { panic!("no question") };
    let answer = Response::Block(fork[1].clone(), 1);
    assert_eq!(node.queue.answered(peer, 2, answer, NOW), Conduct::Other);
    let Some(Effect::Ask { peer: second, number: 2 }) = node.next(NOW).pop() else { panic!("no question") };
    assert_ne!(second, peer);
    // Of another number, or no block at all.
    assert_eq!(node.queue.answered(second, 2, Response::Block(blocks[0].clone(), 1), NOW), Conduct::Wrong);
    assert_eq!(node.next(NOW), [], "both are left alone for a while");
    let later = NOW + Duration::from_secs(5);
    let Some(Effect::Ask { peer, number: 2 }) = node.next(later).pop() else { panic!("no question") };
    assert_eq!(node.queue.answered(peer, 2, Response::Wrong, later), Conduct::Wrong);
    assert_eq!(node.queue.answered(peer, 2, Response::None, later), Conduct::Nothing);
}

#[test]
fn a_peer_that_has_nothing_is_left_alone_for_longer_each_time() {
    let blocks = chain(&genesis(), 3, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[2]);
    let (mut now, mut pauses) = (NOW, Vec::new());
    for _ in 0..9 {
        let begin = now;
        let (peer, number) = loop {
            if let Some(Effect::Ask { peer, number }) = node.next(now).pop() {
                break (peer, number);
            }
            now += Duration::from_millis(500);
        };
        pauses.push((now - begin).as_millis());
        node.queue.answered(peer, number, Response::None, now);
    }
    assert_eq!(pauses, [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000]);
}

#[test]
fn no_peer_is_asked_too_much_at_once() {
    let blocks = chain(&genesis(), 60, b"");
    let mut node = Node::new(vec![genesis()], 0);
    // Every second block is missing.
    for block in blocks.iter().skip(1).step_by(2) {
        node.gossip(block);
    }
    let asks = node.next(NOW);
    assert_eq!(asks.len(), ASKING_ONE);
    node.queue.peers(1..=20);
    let asks = node.next(NOW);
    assert_eq!(asks.len(), ASKING - ASKING_ONE);
    // Who is gone is not waited for.
    node.queue.peers([30]);
    assert_eq!(node.next(NOW).len(), ASKING_ONE);
}

#[test]
fn a_peer_is_asked_no_more_often_than_op_node_answers() {
    let blocks = chain(&genesis(), 100, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[99]);
    let answer_all = |node: &mut Node, now| {
        let mut count = 0;
        while let Some(Effect::Ask { peer, number }) = node.next(now).pop() {
            let found = blocks[usize::try_from(number).unwrap() - 1].clone();
            node.queue.answered(peer, number, Response::Block(found, 1), now);
            count += 1;
        }
        count
    };
    assert_eq!(answer_all(&mut node, NOW), 40);
    assert_eq!(answer_all(&mut node, NOW + Duration::from_secs(1)), 4);
}

#[test]
fn another_fork_of_the_signer_replaces_unsafe_blocks_but_no_safe_one() {
    let old = chain(&genesis(), 6, b"old");
    let new = chain(&old[2], 5, b"new");
    let mine = [vec![genesis()], old.clone()].concat();
    let mut node = Node::new(mine.clone(), 3);
    node.gossip(new.last().unwrap());
    node.run(&new);
    assert_eq!(node.chain[8], new[4]);
    // The fork begins below what is safe: it is given up.
    let mut node = Node::new(mine, 5);
    node.gossip(new.last().unwrap());
    let asked = node.run(&new);
    assert_eq!(asked, [7, 6], "that block 5 is another one is known without asking");
    assert!(node.queue.is_empty());
    assert_eq!(node.chain.last(), old.last());
}

#[test]
fn of_two_signed_forks_the_higher_one_is_followed() {
    let (one, other) = (chain(&genesis(), 5, b"one"), chain(&genesis(), 6, b"other"));
    let mut node = Node::new(vec![genesis()], 0);
    for block in one.iter().skip(1) {
        node.gossip(block);
    }
    node.gossip(&other[5]);
    // A late block of the fork that was left changes nothing.
    let Some(Effect::Ask { peer, number: 5 }) =
        node.next(NOW).into_iter().rev().find(|e| matches!(e, Effect::Ask { number: 5, .. }))
    else {
        panic!("no question")
    };
    node.gossip(&one[4]);
    node.queue.answered(peer, 5, Response::Block(other[4].clone(), 1), NOW);
    for effect in node.next(NOW) {
        if let Effect::Ask { peer, number } = effect {
            node.queue.answered(peer, number, Response::None, NOW);
        }
    }
    node.queue.peers([7]);
    node.run(&other);
    assert_eq!(node.chain.last(), other.last());
}

#[test]
fn an_invalid_block_is_not_imported_again_nor_what_stands_on_it() {
    let blocks = chain(&genesis(), 4, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[0]);
    node.next(NOW);
    node.queue.imported(id(&blocks[0]), Imported::Invalid, NOW);
    assert!(node.queue.is_empty());
    node.gossip(&blocks[0]);
    assert!(node.queue.is_empty());
    node.gossip(&blocks[2]);
    let Some(Effect::Ask { peer, number: 2 }) = node.next(NOW).pop() else { panic!("no question") };
    node.queue.answered(peer, 2, Response::Block(blocks[1].clone(), 1), NOW);
    assert!(node.queue.is_empty());
    node.gossip(&blocks[1]);
    assert!(node.queue.is_empty(), "its parent is invalid");
}

#[test]
fn a_block_that_took_the_place_of_an_invalid_one_stays() {
    let (bad, good) = (chain(&genesis(), 1, b"bad"), chain(&genesis(), 1, b"good"));
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&bad[0]);
    node.next(NOW);
    node.gossip(&good[0]);
    node.queue.imported(id(&bad[0]), Imported::Invalid, NOW);
    assert_eq!(node.next(NOW), [Effect::Import(good[0].clone())]);
}

#[test]
fn an_import_that_cannot_be_done_now_is_tried_again() {
    let blocks = chain(&genesis(), 1, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[0]);
    assert_eq!(node.next(NOW).len(), 1);
    node.queue.imported(id(&blocks[0]), Imported::Later, NOW);
    assert_eq!(node.next(NOW), []);
    assert_eq!(node.next(NOW + STALL), [Effect::Import(blocks[0].clone())]);
}

#[test]
fn a_fork_of_settled_blocks_is_given_up() {
    let blocks = chain(&genesis(), 1, b"");
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&blocks[0]);
    node.next(NOW);
    node.queue.imported(id(&blocks[0]), Imported::Settled, NOW);
    assert!(node.queue.is_empty());
}

#[test]
fn bytes_are_bounded_and_what_was_dropped_is_asked_for_again() {
    let blocks = chain(&genesis(), 40, b"");
    let mut node = Node::new(vec![genesis()], 0);
    for block in blocks.iter().skip(1) {
        node.queue.gossiped(block.clone(), MAX_BYTES / 8);
        assert!(node.queue.bytes() <= MAX_BYTES);
    }
    let asked = node.run(&blocks);
    assert_eq!(node.chain.last(), blocks.last());
    assert!(asked.len() >= 30, "{asked:?}");
}

#[test]
fn while_much_waits_no_block_is_fetched_only_to_be_dropped() {
    let blocks = chain(&genesis(), 60, b"");
    let mut node = Node::new(vec![genesis()], 0);
    // Of what was gossiped the highest were dropped again.
    for block in blocks.iter().skip(20) {
        node.queue.gossiped(block.clone(), MAX_BYTES / 8);
    }
    let (mut asked, mut now) = (Vec::new(), NOW);
    while node.queue.slots.get(&1).is_none_or(|slot| slot.block.is_none()) {
        now += ASK_COST;
        for effect in node.next(now) {
            let Effect::Ask { peer, number } = effect else { panic!("nothing stands on the chain yet") };
            asked.push(number);
            let found = blocks[usize::try_from(number).unwrap() - 1].clone();
            node.queue.answered(peer, number, Response::Block(found, MAX_BYTES / 8), now);
        }
    }
    assert_eq!(asked, (1..=20).rev().collect::<Vec<_>>(), "each once, and none of those that were dropped");
}

#[test]
fn a_chain_that_contradicts_a_safe_block_is_walked_down_once() {
    let old = chain(&genesis(), 6, b"old");
    let new = chain(&old[2], 9, b"new");
    let mine = [vec![genesis()], old.clone()].concat();
    let mut node = Node::new(mine, 5);
    node.gossip(&new[4]);
    assert_eq!(node.run(&new), [7, 6]);
    // What stands on it is void too, and for a block that was missed only its parent is asked for.
    node.gossip(&new[5]);
    assert!(node.run(&new).is_empty());
    node.gossip(&new[7]);
    assert_eq!(node.run(&new), [10]);
    assert!(node.queue.is_empty());
    // L1 replaces what was safe: the chain is followed again.
    node.chain.truncate(4);
    let head = id(&node.chain[3]);
    node.queue.head(head, 3);
    node.next(NOW);
    node.gossip(&new[8]);
    node.run(&new);
    assert_eq!(node.chain.last(), new.last());
}

#[test]
fn a_gap_that_is_too_wide_is_left_to_l1() {
    let far = Arc::new(block(PayloadVersion::V4, MAX_LINKS as u64 + 1, B256::repeat_byte(1), 1, b""));
    let mut node = Node::new(vec![genesis()], 0);
    node.gossip(&far);
    assert!(node.queue.is_empty());
    let near = Arc::new(block(PayloadVersion::V4, MAX_LINKS as u64, B256::repeat_byte(1), 1, b""));
    node.gossip(&near);
    assert_eq!(node.queue.len(), 2);
}
