//! What each stage does with a batch, by the rules of Holocene. Which batch is which is decided in `batch::check` and tested there.

use crate::world::*;
use alloy_consensus::Sealable;
use alloy_primitives::{B256, Bytes};
use duskevm_evm::{Block, RecoveredTx};
use duskevm_rollup::{
    ConfigUpdate,
    batch::{
        SingularBatch,
        check::{DropReason, Missing},
    },
    channel_reader::ChannelEnd,
    derive::{FrameFault, Need, Notice},
    l2_block_ref,
};
use std::sync::Arc;

/// A window of L1 blocks that is long enough to be no concern, and a chain of ten blocks that L1 does not have yet.
fn world() -> (World, Vec<Block>) {
    let mut world = World::with_window(1_000);
    world.mine_empty(3);
    let genesis = world.genesis.clone();
    let blocks = world.sequence_many(&genesis, 10, 1);
    (world, blocks)
}

/// Posts these channels one after another in one L1 transaction each, derives, and gives the number of blocks and the notices.
fn derive(world: &mut World, channels: Vec<Bytes>) -> (u64, Vec<Notice>) {
    world.mine(calldata(channels), Vec::new());
    let mut verifier = Verifier::new(world);
    assert_eq!(verifier.run(world), Stop::L1);
    (verifier.tip().number(), verifier.notices)
}

fn dropped(reason: DropReason) -> Notice {
    Notice::BatchDropped(reason)
}

/// A batch that is refused because of its parent.
fn orphan(world: &World, block: &Block) -> Vec<u8> {
    encoded(SingularBatch { parent_hash: B256::ZERO, ..world.singular(block) })
}

#[test]
fn an_invalid_singular_batch_takes_the_rest_of_its_channel_along() {
    let (mut world, blocks) = world();
    let batches =
        [encoded(world.singular(&blocks[0])), orphan(&world, &blocks[1]), encoded(world.singular(&blocks[1]))];
    let first = world.channel(&batches);
    let found = derive(&mut world, vec![first]);
    assert_eq!(found, (1, vec![dropped(DropReason::Parent)]));
}

#[test]
fn the_next_channel_is_read_after_a_flush() {
    let (mut world, blocks) = world();
    let orphan = orphan(&world, &blocks[0]);
    let channels = vec![world.channel(&[orphan]), world.singular_channel(&blocks)];
    assert_eq!(derive(&mut world, channels).0, 10);
}

#[test]
fn a_past_batch_leaves_the_rest_of_its_channel() {
    let (mut world, blocks) = world();
    let batches: Vec<_> = [0, 0, 1].iter().map(|index: &usize| encoded(world.singular(&blocks[*index]))).collect();
    let channel = world.channel(&batches);
    assert_eq!(derive(&mut world, vec![channel]), (2, vec![Notice::BatchPast]));
    let (mut world, blocks) = self::world();
    let spans = [world.span(&blocks[..3]), world.span(&blocks[..2]), world.span(&blocks[3..])];
    let channel = world.channel(&spans);
    assert_eq!(derive(&mut world, vec![channel]), (10, vec![Notice::BatchPast]));
}

#[test]
fn a_batch_after_a_gap_is_dropped_not_kept() {
    let (mut world, blocks) = world();
    let channels = vec![world.singular_channel(&blocks[1..2]), world.singular_channel(&blocks[..1])];
    assert_eq!(derive(&mut world, channels), (1, vec![dropped(DropReason::Future)]));
    let (mut world, blocks) = self::world();
    let channels = vec![world.span_channel(&blocks[1..]), world.span_channel(&blocks[..1])];
    assert_eq!(derive(&mut world, channels), (1, vec![dropped(DropReason::Future)]));
}

#[test]
fn a_span_is_valid_up_to_its_first_invalid_block() {
    let mut world = World::with_window(1_000);
    world.mine_empty(1);
    let genesis = world.genesis.clone();
    // From 1800 s after their origin on blocks must be empty. The sequencer keeps to that; one more block does not.
    let mut chain = world.sequence_many(&genesis, 905, 0);
    let parent = chain.last().unwrap().clone();
    assert_eq!(l2_block_ref(&world.config, &parent).unwrap().timestamp, world.l1_ref(1).timestamp + 1800);
    let mut header = parent.header.inner().clone();
    (header.number, header.parent_hash, header.timestamp) = (906, parent.hash(), header.timestamp + 2);
    let mut transactions = parent.transactions.clone();
    transactions.push(Arc::new(RecoveredTx::decode(&world.user_tx()).unwrap()));
    chain.push(Block { header: header.seal_slow(), transactions });
    let batches = [world.span(&chain), encoded(world.singular(&chain[905]))];
    let channel = world.channel(&batches);
    assert_eq!(derive(&mut world, vec![channel]), (905, vec![dropped(DropReason::Drift)]));
}

#[test]
fn a_span_that_overlaps_the_safe_chain_gives_its_new_blocks() {
    let (mut world, blocks) = world();
    let channels = vec![world.span_channel(&blocks[..6]), world.span_channel(&blocks[2..])];
    world.mine(calldata(channels), Vec::new());
    let mut verifier = Verifier::new(&world);
    verifier.slow = 3;
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!((verifier.chain[1..].to_vec(), verifier.notices), (blocks, vec![]));
    assert!(verifier.needs.contains(&Need::L2Block { number: 2 }), "{:?}", verifier.needs);
}

#[test]
fn an_overlapping_span_on_another_block_is_dropped() {
    let (mut world, blocks) = world();
    // The other chain parts after the first block.
    let mut other = vec![blocks[0].clone()];
    let tail = world.sequence_many(&blocks[0], 9, 2);
    other.extend(tail);
    let channels = vec![world.span_channel(&blocks[..6]), world.span_channel(&other[2..])];
    assert_eq!(derive(&mut world, channels), (6, vec![dropped(DropReason::Parent)]));
    // If the fork lies within the overlap, the span and what its channel still holds are dropped, too.
    let (mut world, blocks) = self::world();
    let mut other = vec![blocks[0].clone()];
    let tail = world.sequence_many(&blocks[0], 9, 2);
    other.extend(tail);
    let batches = [world.span(&other), encoded(world.singular(&blocks[6]))];
    let channels = vec![world.span_channel(&blocks[..6]), world.channel(&batches)];
    assert_eq!(derive(&mut world, channels), (6, vec![dropped(DropReason::Overlap(2))]));
}

#[test]
fn a_span_that_ends_behind_the_l1_blocks_is_lost_but_its_channel_is_not() {
    let (mut world, blocks) = world();
    // The same blocks, as if their last L1 origin were one that L1 does not have yet.
    let mut ahead = world.clone();
    ahead.mine_empty(30);
    let genesis = ahead.genesis.clone();
    let long = ahead.sequence_many(&genesis, 80, 0);
    let batches = [world.span(&long), world.span(&blocks)];
    let channel = world.channel(&batches);
    let (count, notices) = derive(&mut world, vec![channel]);
    assert_eq!(count, 10);
    assert!(matches!(notices[..], [Notice::BatchUndecided(Missing::SpanOrigin(_))]), "{notices:?}");
}

#[test]
fn batches_in_the_safe_heads_own_origin_are_read_and_thrown_away() {
    let mut world = World::with_window(1_000);
    let genesis = world.genesis.clone();
    // L1 block 1 holds a batch that would be dropped, were it judged.
    let early = world.sequence_many(&genesis, 1, 1);
    let orphan = orphan(&world, &early[0]);
    let channel = world.channel(&[orphan]);
    world.mine(calldata([channel]), Vec::new());
    let chain = world.sequence_many(&genesis, 6, 1);
    assert_eq!(l2_block_ref(&world.config, &chain[5]).unwrap().l1_origin.number, 1);
    let next = world.sequence_many(&chain[5], 1, 1);
    let channel = world.singular_channel(&next);
    world.mine(calldata([channel]), Vec::new());

    let whole: Vec<_> = std::iter::once(genesis).chain(chain).collect();
    let mut verifier = Verifier::resume(&world, whole);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!((verifier.tip(), &verifier.notices), (&next[0], &vec![]));
}

#[test]
fn an_unreadable_rest_of_a_channel_is_left_out() {
    let (mut world, blocks) = world();
    let batches = [encoded(world.singular(&blocks[0])), vec![9, 9], encoded(world.singular(&blocks[1]))];
    let channel = world.channel(&batches);
    let (count, notices) = derive(&mut world, vec![channel]);
    assert_eq!(count, 1);
    assert!(matches!(notices[..], [Notice::ChannelEnded(ChannelEnd::Batch(_))]), "{notices:?}");
}

#[test]
fn a_flush_leaves_the_open_channel_and_frames_that_wait() {
    let (mut world, blocks) = world();
    let orphan = orphan(&world, &blocks[0]);
    let bad = world.channel(&[orphan]);
    let data = compress(&[world.span(&blocks)]);
    let good = frames_of(world.channel_id(), &data, data.len() / 2 + 1);
    // One piece of batcher data with the bad channel and the first frame of the good one; the second frame comes later.
    let mut first = bad.to_vec();
    first.extend_from_slice(&good[0][1..]);
    assert_eq!(derive(&mut world, vec![first.into(), good[1].clone()]), (10, vec![dropped(DropReason::Parent)]));
}

#[test]
fn a_block_that_cannot_be_executed_becomes_one_of_deposits_alone() {
    let (mut world, blocks) = world();
    let bad = world.singular(&blocks[4]).transactions[0].clone();
    let channels = vec![world.span_channel(&blocks)];
    world.mine(calldata(channels), Vec::new());
    let mut verifier = Verifier::new(&world);
    verifier.invalid.insert(bad);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!(verifier.chain[1..5], blocks[..4]);
    let replaced = &verifier.chain[5];
    assert!(replaced.transactions.iter().all(|tx| tx.is_deposit()));
    assert_eq!(verifier.chain.len(), 6, "the rest of the span is gone");
    // The batcher goes on from there.
    let more = world.sequence_many(replaced, 5, 1);
    let channel = world.span_channel(&more);
    world.mine(calldata([channel]), Vec::new());
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!(verifier.chain[6..], more);
}

#[test]
fn a_transaction_that_is_none_makes_its_block_invalid() {
    let (world, blocks) = world();
    // 0x7d is a transaction type that the published decoder knows but no block may have.
    for junk in [&[0x7d, 1, 2][..], &[0x05, 1], &[0xff; 4]] {
        let mut batch = world.singular(&blocks[0]);
        batch.transactions.push(Bytes::copy_from_slice(junk));
        let batches = [encoded(batch), encoded(world.singular(&blocks[1]))];
        let mut world = world.clone();
        let channel = world.channel(&batches);
        world.mine(calldata([channel]), Vec::new());
        let mut verifier = Verifier::new(&world);
        assert_eq!(verifier.run(&world), Stop::L1);
        assert_eq!(verifier.tip().number(), 1);
        assert!(verifier.tip().transactions.iter().all(|tx| tx.is_deposit()));
    }
}

#[test]
fn a_channel_that_comes_too_late_is_dropped() {
    for (gap, complete) in [(50, true), (51, false)] {
        let (mut world, blocks) = world();
        let data = compress(&[world.span(&blocks)]);
        let frames = frames_of(world.channel_id(), &data, data.len() / 2 + 1);
        world.mine(calldata([frames[0].clone()]), Vec::new());
        world.mine_empty(gap - 1);
        let (count, notices) = derive(&mut world, vec![frames[1].clone()]);
        assert_eq!((count, notices.is_empty()), (if complete { 10 } else { 0 }, complete));
        if !complete {
            assert!(matches!(
                notices[..],
                [Notice::ChannelTimedOut(_), Notice::Frame { fault: FrameFault::NoChannel, .. }]
            ));
        }
    }
}

#[test]
fn frames_of_another_channel_do_not_disturb_unless_they_are_first() {
    let (mut world, blocks) = world();
    let data = compress(&[world.span(&blocks)]);
    let (a, b) = (world.channel_id(), world.channel_id());
    let first = frames_of(a, &data, data.len() / 2 + 1);
    let other = frames_of(b, &data, data.len() / 2 + 1);
    let datas = vec![first[0].clone(), other[1].clone(), first[1].clone()];
    assert_eq!(derive(&mut world.clone(), datas).0, 10);
    let datas = vec![first[0].clone(), other[0].clone(), first[1].clone()];
    assert_eq!(derive(&mut world, datas).0, 0);
}

#[test]
fn only_the_batchers_transactions_count() {
    let (mut world, blocks) = world();
    let channel = world.span_channel(&blocks);
    world.mine_by(&signer(5), calldata([channel.clone()]), Vec::new());
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!((verifier.chain.len(), verifier.notices.len()), (1, 0));
    // From another L1 chain, or to another account.
    let mut foreign = world.clone();
    Arc::make_mut(&mut foreign.config).l1_chain_id = 4;
    assert_eq!(derive(&mut foreign, vec![channel.clone()]).0, 0);
    assert_eq!(derive(&mut world, vec![channel]).0, 10);
}

#[test]
fn a_new_batcher_counts_from_the_block_of_the_update_on() {
    let (mut world, blocks) = world();
    let update = ConfigUpdate::Batcher(signer(5).address()).encode(SYSTEM);
    let old = world.span_channel(&blocks[..5]);
    let new = world.span_channel(&blocks);
    let number = world.mine_by(&signer(5), calldata([new]), vec![update]);
    world.mine(calldata([old]), Vec::new());
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!(verifier.chain.len(), 11);
    assert!(verifier.derived.iter().all(|derived| derived.derived_from.number == number));
    assert_eq!(verifier.notices, [], "the old one is not even read");
    // L2 takes it over with the first block of that epoch.
    assert_eq!(world.head(verifier.tip()).system_config.batcher_address, signer(0).address());
}

#[test]
fn a_blob_that_cannot_be_decoded_is_left_out_alone() {
    let (mut world, blocks) = world();
    let channel = world.span_channel(&blocks);
    let good = Bytes::from(duskevm_rollup::blob::encode(&channel).unwrap());
    let mut bad = good.to_vec();
    bad[0] |= 0x80;
    let number = world.mine(vec![Post::RawBlobs(vec![bad.into(), good])], Vec::new());
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!(verifier.chain[1..], blocks);
    assert!(matches!(verifier.notices[..], [Notice::Blob { .. }]));
    assert_eq!(verifier.derived[0].derived_from, world.l1_ref(number));
}

#[test]
fn skipped_config_updates_are_told() {
    let mut world = World::new();
    let mut log = ConfigUpdate::GasLimit(1).encode(SYSTEM);
    log.data.topics_mut_unchecked()[2] = B256::with_last_byte(99);
    world.mine(Vec::new(), vec![log]);
    let mut verifier = Verifier::new(&world);
    verifier.run(&world);
    assert!(matches!(verifier.notices[..], [Notice::ConfigUpdate(_)]));
}
