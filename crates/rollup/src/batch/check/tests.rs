use super::*;
use crate::{
    batch::{SingularBatch, SpanBatch, SpanEncoder},
    config::BlockId,
    testing,
};
use Validity::{Accept, Drop, Future, Past, Undecided};
use alloc::{vec, vec::Vec};
use alloy_primitives::{B256, Bytes};

const WINDOW: u64 = 10;
const DRIFT: u64 = 1800;

fn hash(kind: u8, number: u64) -> B256 {
    let mut hash = B256::left_padding_from(&number.to_be_bytes());
    // The checks of spans see only the first 20 bytes.
    hash[0] = kind;
    hash[1..9].copy_from_slice(&number.to_be_bytes());
    hash
}

fn l1(number: u64, timestamp: u64) -> L1BlockRef {
    L1BlockRef { hash: hash(1, number), number, parent_hash: hash(1, number - 1), timestamp }
}

fn id(number: u64) -> BlockId {
    BlockId { hash: hash(1, number), number }
}

/// L2 block `number` at time 2 · `number`.
fn l2(number: u64, origin: u64) -> L2BlockRef {
    L2BlockRef {
        hash: hash(2, number),
        number,
        parent_hash: hash(2, number.wrapping_sub(1)),
        timestamp: 2 * number,
        l1_origin: id(origin),
        sequence_number: 3,
    }
}

/// A world in which the safe head is L2 block 100 (time 200) of L1 block 20, and L1 blocks 20 (195), 21 (205) and 22 (215) are
/// known. The batch was included in L1 block 22.
struct World {
    config: RollupConfig,
    l1_blocks: Vec<L1BlockRef>,
    safe_head: L2BlockRef,
    inclusion: L1BlockRef,
}

impl World {
    fn new() -> Self {
        let mut config = testing::config();
        config.seq_window_size = WINDOW;
        Self {
            config,
            l1_blocks: vec![l1(20, 195), l1(21, 205), l1(22, 215)],
            safe_head: l2(100, 20),
            inclusion: l1(22, 215),
        }
    }

    fn before_holocene() -> Self {
        let mut world = Self::new();
        world.config.forks.holocene = Some(1000);
        world.config.forks.isthmus = None;
        world
    }

    fn context(&self) -> BatchContext<'_> {
        BatchContext {
            config: &self.config,
            l1_blocks: &self.l1_blocks,
            safe_head: &self.safe_head,
            inclusion: &self.inclusion,
        }
    }

    fn singular(&self, batch: &SingularBatch) -> Validity {
        check_singular(&self.context(), batch)
    }

    fn span(&self, batch: &SpanBatch) -> Validity {
        check_span_prefix(&self.context(), batch, None)
    }

    /// The judgement of a span once the block before it is given.
    fn overlap(&self, batch: &SpanBatch, parent: &L2BlockRef) -> Validity {
        assert_eq!(self.span(batch), Undecided(Missing::L2Block(parent.number)));
        check_span_prefix(&self.context(), batch, Some(parent))
    }
}

/// The batch of L2 block `number`, transactions without meaning.
fn batch(number: u64, epoch: u64) -> SingularBatch {
    SingularBatch {
        parent_hash: hash(2, number - 1),
        epoch: id(epoch),
        timestamp: 2 * number,
        transactions: vec![Bytes::from_static(&[2, 0xc0])],
    }
}

fn empty(number: u64, epoch: u64) -> SingularBatch {
    SingularBatch { transactions: Vec::new(), ..batch(number, epoch) }
}

/// A span of empty blocks from `first` on with these epochs; `starts`: is the first one the first of its epoch?
fn span(first: u64, epochs: &[u64], starts: bool) -> SpanBatch {
    let mut encoder = SpanEncoder::new(&testing::config());
    for (number, epoch) in (first..).zip(epochs) {
        encoder.push(&empty(number, *epoch), if starts { 0 } else { 1 }).unwrap();
    }
    SpanBatch::decode(Bytes::from(encoder.encode()).slice(1..)).unwrap()
}

mod singular {
    use super::*;

    #[test]
    fn the_next_block_of_the_same_or_the_next_epoch_is_accepted() {
        assert_eq!(World::new().singular(&batch(101, 20)), Accept);
        let mut world = World::new();
        world.l1_blocks[1].timestamp = 202;
        assert_eq!(world.singular(&batch(101, 21)), Accept);
    }

    #[test]
    fn rule_1_without_l1_blocks_nothing_is_decided() {
        let world = World { l1_blocks: vec![], ..World::new() };
        assert_eq!(world.singular(&batch(101, 20)), Undecided(Missing::L1Blocks));
    }

    #[test]
    fn rule_2_a_block_after_the_next_one_is_dropped_and_was_kept_before_holocene() {
        assert_eq!(World::new().singular(&batch(102, 20)), Drop(DropReason::Future));
        assert_eq!(World::before_holocene().singular(&batch(102, 20)), Future);
    }

    #[test]
    fn rule_3_a_block_before_the_next_one_is_past_and_was_dropped_before_holocene() {
        assert_eq!(World::new().singular(&batch(100, 20)), Past);
        assert_eq!(World::before_holocene().singular(&batch(100, 20)), Drop(DropReason::Past));
    }

    #[test]
    fn the_time_of_the_inclusion_block_decides_about_holocene() {
        let mut world = World::before_holocene();
        world.inclusion.timestamp = 1000;
        assert_eq!(world.singular(&batch(100, 20)), Past);
        world.inclusion.timestamp = 999;
        assert_eq!(world.singular(&batch(100, 20)), Drop(DropReason::Past));
    }

    #[test]
    fn rule_4_another_parent_than_the_safe_head_is_dropped() {
        let other = SingularBatch { parent_hash: hash(2, 99), ..batch(101, 20) };
        assert_eq!(World::new().singular(&other), Drop(DropReason::Parent));
    }

    #[test]
    fn rule_5_a_batch_included_after_the_sequencing_window_is_dropped() {
        let mut world = World::new();
        world.inclusion.number = 20 + WINDOW;
        assert_eq!(world.singular(&batch(101, 20)), Accept);
        world.inclusion.number += 1;
        assert_eq!(world.singular(&batch(101, 20)), Drop(DropReason::WindowExpired));
    }

    #[test]
    fn rule_6_an_epoch_before_the_current_one_is_dropped() {
        assert_eq!(World::new().singular(&batch(101, 19)), Drop(DropReason::EpochTooOld));
    }

    #[test]
    fn rule_7_the_next_epoch_must_be_known_and_none_is_skipped() {
        let mut world = World::new();
        assert_eq!(world.singular(&batch(101, 22)), Drop(DropReason::EpochTooNew));
        world.l1_blocks.truncate(1);
        assert_eq!(world.singular(&batch(101, 21)), Undecided(Missing::NextL1Block));
        assert!(!Missing::NextL1Block.is_final());
    }

    #[test]
    fn rule_8_an_epoch_with_another_hash_is_dropped() {
        let mut other = batch(101, 20);
        other.epoch.hash = hash(1, 21);
        assert_eq!(World::new().singular(&other), Drop(DropReason::EpochHash));
    }

    #[test]
    fn rule_9_a_block_older_than_its_origin_is_dropped() {
        // Block 101 has time 202, L1 block 21 has 205.
        assert_eq!(World::new().singular(&batch(101, 21)), Drop(DropReason::BeforeOrigin));
        let mut world = World::new();
        world.l1_blocks[1].timestamp = 202;
        assert_eq!(world.singular(&batch(101, 21)), Accept);
    }

    /// L1 block 20 was so long ago that block 101 (time 202) is just past its drift; L1 block 21 comes at `next`.
    fn drifted(next: u64) -> World {
        let mut world = World::new();
        let shift = DRIFT;
        world.safe_head.timestamp += shift;
        world.l1_blocks = vec![l1(20, 201), l1(21, next)];
        world
    }

    fn late(batch: SingularBatch) -> SingularBatch {
        SingularBatch { timestamp: batch.timestamp + DRIFT, ..batch }
    }

    #[test]
    fn rule_10_past_the_drift_a_block_must_have_no_transactions() {
        assert_eq!(drifted(5000).singular(&late(batch(101, 20))), Drop(DropReason::Drift));
        assert_eq!(drifted(5000).singular(&late(empty(101, 20))), Accept);
        // Exactly at the drift it may.
        let mut at = drifted(5000);
        at.l1_blocks[0].timestamp = 202;
        assert_eq!(at.singular(&late(batch(101, 20))), Accept);
    }

    #[test]
    fn rule_10_before_fjord_the_drift_is_that_of_the_configuration() {
        let mut world = drifted(5000);
        world.config.forks.fjord = None;
        world.config.max_sequencer_drift = 100;
        world.l1_blocks[0].timestamp = 201 + DRIFT - 100;
        assert_eq!(world.singular(&late(batch(101, 20))), Drop(DropReason::Drift));
        world.config.forks.fjord = Some(0);
        assert_eq!(world.singular(&late(batch(101, 20))), Accept);
    }

    #[test]
    fn rule_11_past_the_drift_an_empty_block_must_adopt_the_next_origin_when_it_is_due() {
        let due = 202 + DRIFT;
        assert_eq!(drifted(due).singular(&late(empty(101, 20))), Drop(DropReason::OriginDue));
        assert_eq!(drifted(due).singular(&late(empty(101, 21))), Accept);
        assert_eq!(drifted(due + 1).singular(&late(empty(101, 20))), Accept);
        let mut unknown = drifted(due);
        unknown.l1_blocks.truncate(1);
        assert_eq!(unknown.singular(&late(empty(101, 20))), Undecided(Missing::NextL1Block));
    }

    #[test]
    fn rule_12_the_block_that_activates_jovian_must_have_no_transactions() {
        let mut world = World::new();
        world.config.forks.jovian = Some(202);
        assert_eq!(world.singular(&batch(101, 20)), Drop(DropReason::ActivationBlock));
        assert_eq!(world.singular(&empty(101, 20)), Accept);
        // The block after it may, and so may all blocks of a chain that began with Jovian.
        world.config.forks.jovian = Some(200);
        assert_eq!(world.singular(&batch(101, 20)), Accept);
        world.config.forks.jovian = Some(0);
        assert_eq!(world.singular(&batch(101, 20)), Accept);
    }

    fn with_tx(tx: &'static [u8]) -> SingularBatch {
        let good = Bytes::from_static(&[2, 0xc0]);
        SingularBatch { transactions: vec![good, Bytes::from_static(tx)], ..batch(101, 20) }
    }

    #[test]
    fn rule_13_empty_transactions_are_dropped() {
        assert_eq!(World::new().singular(&with_tx(&[])), Drop(DropReason::EmptyTx(1)));
    }

    #[test]
    fn rule_13_deposits_are_dropped() {
        assert_eq!(World::new().singular(&with_tx(&[0x7e, 0xc0])), Drop(DropReason::Deposit(1)));
    }

    #[test]
    fn rule_13_set_code_transactions_are_dropped_before_isthmus() {
        let mut world = World::new();
        assert_eq!(world.singular(&with_tx(&[4, 0xc0])), Accept);
        world.config.forks.isthmus = Some(203);
        assert_eq!(world.singular(&with_tx(&[4, 0xc0])), Drop(DropReason::SetCode(1)));
    }

    #[test]
    fn rule_13_other_unknown_types_are_left_to_the_execution() {
        assert_eq!(World::new().singular(&with_tx(&[0x7d, 0xc0])), Accept);
    }
}

mod spans {
    use super::*;

    #[test]
    fn a_span_that_follows_on_the_safe_head_is_accepted_and_expands_to_its_blocks() {
        let world = World::new();
        let good = span(101, &[20, 20, 21, 22], false);
        assert_eq!(world.span(&good), Accept);
        let mut expanded = expand_span(&world.context(), &good).unwrap();
        for (number, epoch) in [(101, 20), (102, 20), (103, 21), (104, 22)] {
            assert_eq!(expanded.next_timestamp(), Some(2 * number));
            assert_eq!(expanded.next_batch(hash(2, number - 1)), Some(empty(number, epoch)));
        }
        assert_eq!(expanded.next_timestamp(), None);
        assert_eq!(expanded.next_batch(B256::ZERO), None);
    }

    #[test]
    fn rule_1_without_l1_blocks_nothing_is_decided() {
        let world = World { l1_blocks: vec![], ..World::new() };
        assert_eq!(world.span(&span(101, &[20], false)), Undecided(Missing::L1Blocks));
    }

    #[test]
    fn rule_2_a_span_that_begins_with_the_next_epoch_needs_that_block() {
        let mut world = World::new();
        world.l1_blocks.truncate(1);
        assert_eq!(world.span(&span(101, &[21], true)), Undecided(Missing::NextL1Block));
    }

    #[test]
    fn rule_3_before_delta_at_the_origin_of_its_first_block_a_span_is_dropped() {
        let mut world = World::new();
        world.config.delta_time = Some(196);
        assert_eq!(world.span(&span(101, &[20], false)), Drop(DropReason::BeforeDelta));
        // The next origin, at 205, has it.
        assert_eq!(world.span(&span(101, &[21], true)), Accept);
    }

    #[test]
    fn rule_4_a_span_after_a_gap_is_dropped_and_was_kept_before_holocene() {
        assert_eq!(World::new().span(&span(102, &[20], false)), Drop(DropReason::Future));
        assert_eq!(World::before_holocene().span(&span(102, &[20], false)), Future);
    }

    #[test]
    fn rule_5_a_span_without_a_new_block_is_past_and_was_dropped_before_holocene() {
        let old = span(98, &[20, 20, 20], false);
        assert_eq!(World::new().span(&old), Past);
        assert_eq!(World::before_holocene().span(&old), Drop(DropReason::Past));
    }

    #[test]
    fn rule_6_a_span_whose_blocks_lie_between_those_of_the_safe_chain_is_dropped() {
        let mut world = World::new();
        // Its first block has time 200, which is after the safe head and before the next block.
        world.safe_head.timestamp = 199;
        assert_eq!(world.span(&span(100, &[20, 20], false)), Drop(DropReason::Misaligned));
        // 196 does not line up with 199.
        assert_eq!(world.span(&span(98, &[20, 20, 20, 20], false)), Drop(DropReason::Misaligned));
    }

    #[test]
    fn rule_7_an_overlapping_span_is_judged_by_the_block_before_it() {
        let world = World::new();
        let overlapping = span(99, &[20, 20, 20], false);
        assert_eq!(world.span(&overlapping), Undecided(Missing::L2Block(98)));
        assert!(!Missing::L2Block(98).is_final());
        assert_eq!(world.overlap(&overlapping, &l2(98, 20)), Accept);
        // Another block than the one that was asked for is no answer.
        let context = world.context();
        assert_eq!(check_span_prefix(&context, &overlapping, Some(&l2(97, 20))), Undecided(Missing::L2Block(98)));
    }

    #[test]
    fn blocks_that_the_safe_chain_has_must_be_those_of_the_safe_chain() {
        let world = World::new();
        // Of the blocks 99 to 101 the safe chain has two.
        let walk = || OverlapWalk::new(&world.config, &span(99, &[20, 20, 20], false), 98, &world.safe_head);
        let mut same = walk();
        for number in [99, 100] {
            assert_eq!(same.next(), Some(number));
            same.compare(&empty(number, 20)).unwrap();
        }
        assert_eq!(same.next(), None);
        assert_eq!(walk().compare(&batch(99, 20)), Err(DropReason::Overlap(99)), "other transactions");
        assert_eq!(walk().compare(&empty(99, 19)), Err(DropReason::Overlap(99)), "another L1 origin");
        let mut second = walk();
        second.compare(&empty(99, 20)).unwrap();
        assert_eq!(second.compare(&batch(100, 20)), Err(DropReason::Overlap(100)));
        let next = OverlapWalk::new(&world.config, &span(101, &[20], false), 100, &world.safe_head);
        assert_eq!(next.next(), None, "without an overlap there is nothing to compare");
    }

    #[test]
    fn rule_7_a_span_that_holds_the_genesis_block_has_no_block_before_it() {
        let mut world = World::new();
        world.safe_head = l2(1, 20);
        world.l1_blocks[0].timestamp = 0;
        assert_eq!(world.span(&span(0x1_0000_0000, &[20], false)), Drop(DropReason::Future));
        let mut encoder = SpanEncoder::new(&world.config);
        for number in 0..3 {
            let block = SingularBatch { parent_hash: B256::ZERO, ..empty(number + 1, 20) };
            encoder.push(&SingularBatch { timestamp: 2 * number, ..block }, 1).unwrap();
        }
        let from_genesis = SpanBatch::decode(Bytes::from(encoder.encode()).slice(1..)).unwrap();
        assert_eq!(world.span(&from_genesis), Undecided(Missing::BeforeGenesis));
        assert!(Missing::BeforeGenesis.is_final());
    }

    #[test]
    fn rule_8_a_span_on_another_parent_is_dropped() {
        let mut world = World::new();
        world.safe_head.hash = hash(3, 100);
        assert_eq!(world.span(&span(101, &[20], false)), Drop(DropReason::Parent));
        let fork = L2BlockRef { hash: hash(3, 98), ..l2(98, 20) };
        assert_eq!(world.overlap(&span(99, &[20, 20, 20], false), &fork), Drop(DropReason::Parent));
    }

    #[test]
    fn rule_9_a_span_whose_first_epoch_is_out_of_its_window_is_dropped() {
        let mut world = World::new();
        world.inclusion.number = 20 + WINDOW;
        let two = span(101, &[20, 21], false);
        assert_eq!(world.span(&two), Accept);
        world.inclusion.number += 1;
        assert_eq!(world.span(&two), Drop(DropReason::WindowExpired));
    }

    #[test]
    fn rule_10_a_span_that_skips_an_epoch_is_dropped() {
        assert_eq!(World::new().span(&span(101, &[22], true)), Drop(DropReason::EpochTooNew));
        // Seen from the block before an overlapping span, not from the safe head.
        let world = World::new();
        assert_eq!(world.overlap(&span(99, &[20, 20, 20], false), &l2(98, 18)), Drop(DropReason::EpochTooNew));
    }

    #[test]
    fn rule_11_the_last_origin_must_be_known_and_have_the_right_hash() {
        let mut world = World::new();
        let three = span(101, &[20, 21, 22], false);
        world.l1_blocks[2].hash = hash(9, 22);
        assert_eq!(world.span(&three), Drop(DropReason::EpochHash));
        world.l1_blocks.truncate(2);
        assert_eq!(world.span(&three), Undecided(Missing::SpanOrigin(22)));
        assert!(Missing::SpanOrigin(22).is_final());
    }

    #[test]
    fn rule_12_a_span_that_begins_before_the_epoch_of_its_parent_is_dropped() {
        let mut world = World::new();
        world.safe_head.l1_origin = id(21);
        assert_eq!(world.span(&span(101, &[20, 21], false)), Drop(DropReason::EpochTooOld));
    }

    #[test]
    fn the_first_broken_rule_is_the_one_that_counts() {
        // Past, though its parent, its window and its epoch are wrong too.
        let mut world = World::new();
        world.inclusion.number = 100;
        world.safe_head.hash = B256::ZERO;
        assert_eq!(world.span(&span(90, &[7, 8], false)), Past);
        // Parent before window.
        assert_eq!(world.span(&span(101, &[20], false)), Drop(DropReason::Parent));
    }

    #[test]
    fn an_overlapping_span_expands_to_the_blocks_after_the_safe_head() {
        let world = World::new();
        let overlapping = span(99, &[19, 20, 20, 21], false);
        let mut expanded = expand_span(&world.context(), &overlapping).unwrap();
        assert_eq!(expanded.next_batch(hash(2, 100)), Some(empty(101, 20)));
        assert_eq!(expanded.next_batch(hash(2, 101)), Some(empty(102, 21)));
        assert_eq!(expanded.next_batch(hash(2, 102)), None);
    }

    #[test]
    fn a_span_whose_first_new_block_is_of_an_older_epoch_than_the_safe_head_is_not_expanded() {
        let mut world = World::new();
        world.safe_head.l1_origin = id(21);
        let stale = span(99, &[20, 20, 20], false);
        let refused = expand_span(&world.context(), &stale).unwrap_err();
        assert_eq!(refused, SpanExpandError::EpochTooOld { found: 20, safe: 21 });
        world.safe_head.l1_origin = id(20);
        world.l1_blocks.remove(0);
        let refused = expand_span(&world.context(), &stale).unwrap_err();
        assert_eq!(refused, SpanExpandError::UnknownEpoch(20));
    }
}
