//! Beginning anew: after a start at any block, and after L1 was reorganized.

use crate::world::*;
use alloy_primitives::{B256, Bytes, Log};
use duskevm_rollup::{
    AttributesError, BlockId, L1BlockRef, L2Heads, SyncStart, SyncStep, TRANSACTION_DEPOSITED,
    batch::SingularBatch,
    derive::{Input, InputError, L2Head, Need, Pipeline, ResetReason, Step},
    l2_block_ref,
};

/// An L1 of 60 blocks with a channel every fourth block, each one in two frames of two L1 blocks.
fn steady_world() -> (World, Vec<duskevm_evm::Block>) {
    let mut world = World::with_window(100);
    let mut chain = vec![world.genesis.clone()];
    for _ in 0..15 {
        world.mine_empty(2);
        let tip = chain.last().unwrap().clone();
        let blocks = world.sequence_many(&tip, 18, 1);
        let data = compress(&[world.span(&blocks)]);
        let frames = frames_of(world.channel_id(), &data, data.len() / 2 + 1);
        for frame in frames {
            world.mine(calldata([frame]), Vec::new());
        }
        chain.extend(blocks);
    }
    (world, chain)
}

#[test]
fn derivation_goes_on_from_any_safe_head() {
    let (world, chain) = steady_world();
    for at in [0, 1, 17, 18, 19, 100, 150, 200, 269, 270] {
        let mut verifier = Verifier::resume(&world, chain[..=at].to_vec());
        assert_eq!(verifier.run(&world), Stop::L1, "from {at}");
        assert_eq!(verifier.chain.len(), chain.len(), "from {at}");
        assert!(verifier.chain == chain);
    }
}

/// A channel whose second batch is invalid, so that its third and fourth are lost; the second and third come again later, the third
/// with other transactions.
fn world_with_a_flush() -> World {
    let mut world = World::with_window(100);
    world.mine_empty(3);
    let genesis = world.genesis.clone();
    let blocks = world.sequence_many(&genesis, 3, 1);
    let other = world.sequence_many(&blocks[1], 1, 2);
    let singular = |block| world.singular(block);
    let orphan = SingularBatch { parent_hash: B256::ZERO, ..singular(&blocks[1]) };
    let batches = [singular(&blocks[0]), orphan, singular(&blocks[1]), singular(&blocks[2])].map(encoded);
    let first = world.channel(&batches);
    let second = world.singular_channel(&blocks[1..2]);
    let third = world.singular_channel(&other);
    for channel in [first, second, third] {
        world.mine(calldata([channel]), Vec::new());
    }
    world
}

#[test]
fn what_was_judged_before_is_not_judged_again() {
    let world = world_with_a_flush();
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!((verifier.chain.len(), verifier.tip().transactions.len()), (4, 3));
    for (settled, length) in verifier.read.clone() {
        let chain = verifier.chain[..length].to_vec();
        let mut again = Verifier::resume_after(&world, chain, Some(settled));
        assert_eq!(again.run(&world), Stop::L1);
        assert_eq!(again.hashes(), verifier.hashes(), "after L1 block {}", settled.number);
    }
    // Without knowing how far L1 was read, the lost third batch counts all of a sudden: its channel is not given up now.
    let mut naive = Verifier::resume(&world, verifier.chain[..3].to_vec());
    assert_eq!(naive.run(&world), Stop::L1);
    assert_ne!(naive.hashes(), verifier.hashes());
}

#[test]
fn an_l1_block_that_was_read_before_must_still_be_there() {
    let world = world_with_a_flush();
    let settled = Some(BlockId { hash: B256::ZERO, number: 4 });
    let mut verifier = Verifier::resume_after(&world, vec![world.genesis.clone()], settled);
    assert!(matches!(verifier.run(&world), Stop::Reset(ResetReason::L1Reorg { number: 4, .. })));
}

#[test]
fn it_begins_a_channel_timeout_before_the_origin_of_the_safe_head() {
    let (world, chain) = steady_world();
    let safe = chain.last().unwrap();
    let origin = l2_block_ref(&world.config, safe).unwrap().l1_origin.number;
    let mut pipeline = Pipeline::new(world.config.clone());
    assert!(matches!(pipeline.step(&world.head(safe)), Step::Reset(ResetReason::NotStarted)));
    pipeline.reset(world.head(safe), None);
    let first = loop {
        match pipeline.step(&world.head(safe)) {
            Step::Need(Need::L2Block { number }) => {
                pipeline.provide(Input::L2Block(Box::new(world.head(&chain[number as usize])))).unwrap();
            }
            Step::Need(Need::L1Block { number, .. }) => {
                pipeline.provide(Input::L1Block(Box::new(world.read(number).unwrap()))).unwrap();
            }
            Step::Advanced(first) => break first,
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(first.number, origin - 50);
    assert_eq!(pipeline.origin(), Some(first));
}

/// Finds the heads anew as a node does it, with the verifier's chain.
fn find_heads(world: &World, verifier: &Verifier, finalized: usize) -> L2Heads {
    let reference = |at: usize| l2_block_ref(&world.config, &verifier.chain[at]).unwrap();
    let tip = verifier.chain.len() - 1;
    let labels = L2Heads { unsafe_head: reference(tip), safe: reference(tip), finalized: reference(finalized) };
    let mut search = SyncStart::new(world.config.clone(), labels);
    loop {
        match search.step().unwrap() {
            SyncStep::NeedL1(number) => {
                let block = (number < world.l1.len() as u64).then(|| world.l1_ref(number));
                search.provide_l1(block).unwrap();
            }
            SyncStep::NeedL2 { number, .. } => search.provide_l2(reference(number as usize)).unwrap(),
            SyncStep::Found(heads) => return heads,
        }
    }
}

#[test]
fn after_a_reorganization_of_l1_it_derives_what_a_fresh_node_derives() {
    for (kept, new) in [(60, 3), (55, 10), (40, 30), (20, 120)] {
        let (mut world, _) = steady_world();
        let mut verifier = Verifier::new(&world);
        assert_eq!(verifier.run(&world), Stop::L1);
        let before = verifier.chain.len();
        world.reorganize(kept, new);
        let origin = verifier.pipeline.origin().unwrap().number;
        if origin >= world.l1.len() as u64 - 1 {
            // L1 is shorter than what was read: nothing would ever come after it.
            let tip = world.l1_ref(world.l1.len() as u64 - 1);
            verifier.pipeline.check_l1(&tip);
        }
        let stop = verifier.run(&world);
        assert!(matches!(stop, Stop::Reset(ResetReason::L1Reorg { .. })), "{kept}: {stop:?}");
        // Until it is reset it says the same.
        assert_eq!(verifier.run(&world), stop);

        let heads = find_heads(&world, &verifier, 5);
        verifier.chain.truncate(heads.safe.number as usize + 1);
        verifier.pipeline.reset(world.head(verifier.tip()), None);
        assert_eq!(verifier.run(&world), Stop::L1);

        let mut fresh = Verifier::new(&world);
        assert_eq!(fresh.run(&world), Stop::L1);
        assert_eq!(verifier.hashes(), fresh.hashes(), "kept {kept}");
        if kept < 40 {
            assert!(fresh.chain.len() < before || fresh.chain[before - 1].transactions.len() == 1);
        }
    }
}

#[test]
fn a_reorganization_behind_the_block_that_is_read_shows_only_when_told() {
    let (world, chain) = steady_world();
    let mut verifier = Verifier::new(&world);
    verifier.run(&world);
    let safe = world.head(chain.last().unwrap());
    let canonical = world.l1_ref(world.l1.len() as u64 - 1);
    verifier.pipeline.check_l1(&canonical);
    assert!(matches!(verifier.pipeline.step(&safe), Step::Need(Need::NextL1Block { .. })));
    verifier.pipeline.check_l1(&L1BlockRef { hash: B256::ZERO, ..canonical });
    assert!(matches!(verifier.pipeline.step(&safe), Step::Reset(ResetReason::L1Reorg { .. })));
}

#[test]
fn an_epoch_that_l1_no_longer_has_is_a_reset() {
    let mut world = World::with_window(1_000);
    world.mine_empty(90);
    let genesis = world.genesis.clone();
    let blocks = world.sequence_many(&genesis, 6, 1);
    let channel = world.span_channel(&blocks);
    world.mine(calldata([channel]), Vec::new());
    let mut pipeline = Pipeline::new(world.config.clone());
    let safe = world.head(&genesis);
    pipeline.reset(safe, None);
    let mut other = world.clone();
    other.reorganize(0, 1);
    let mut asked = 0;
    let reason = loop {
        match pipeline.step(&safe) {
            Step::Need(Need::L1Block { number, .. }) => {
                asked += 1;
                let from = if asked == 1 { &world } else { &other };
                pipeline.provide(Input::L1Block(Box::new(from.read(number).unwrap()))).unwrap();
            }
            Step::Need(Need::NextL1Block { number, .. }) => {
                pipeline.provide(Input::L1Block(Box::new(world.read(number).unwrap()))).unwrap();
            }
            Step::Reset(reason) => break reason,
            Step::Working | Step::Advanced(_) => {}
            step => panic!("{step:?}"),
        }
    };
    assert!(matches!(reason, ResetReason::L1Reorg { number: 0, .. }), "{reason}");
}

#[test]
fn a_safe_head_that_is_no_child_of_the_last_one_is_a_reset() {
    let (world, chain) = steady_world();
    let mut verifier = Verifier::new(&world);
    verifier.run(&world);
    let other = world.head(&chain[100]);
    let step = verifier.pipeline.step(&other);
    assert!(matches!(step, Step::Reset(ResetReason::SafeHeadMoved { .. })), "{step:?}");
    let mut pipeline = Pipeline::new(world.config.clone());
    pipeline.reset(world.head(&chain[7]), None);
    assert!(matches!(pipeline.step(&other), Step::Reset(ResetReason::SafeHeadMoved { .. })));
}

#[test]
fn an_l2_chain_that_does_not_hang_together_is_a_reset() {
    let (world, chain) = steady_world();
    let safe = world.head(&chain[100]);
    let mut pipeline = Pipeline::new(world.config.clone());
    pipeline.reset(safe, None);
    assert!(matches!(pipeline.step(&safe), Step::Need(Need::L2Block { number: 99 })));
    let mut wrong = world.head(&chain[99]);
    wrong.block.hash = B256::ZERO;
    pipeline.provide(Input::L2Block(Box::new(wrong))).unwrap();
    assert!(matches!(pipeline.step(&safe), Step::Reset(ResetReason::L2Chain { number: 99, .. })));
}

#[test]
fn the_same_attributes_are_given_until_the_safe_head_moves() {
    let (world, chain) = steady_world();
    let mut pipeline = Pipeline::new(world.config.clone());
    let genesis = world.head(&chain[0]);
    pipeline.reset(genesis, None);
    let mut given = |safe: &L2Head| loop {
        match pipeline.step(safe) {
            Step::Need(Need::L1Block { number, .. } | Need::NextL1Block { number, .. }) => {
                pipeline.provide(Input::L1Block(Box::new(world.read(number).unwrap()))).unwrap();
            }
            Step::Attributes(attributes) => return attributes,
            Step::Working | Step::Advanced(_) => {}
            step => panic!("{step:?}"),
        }
    };
    let first = given(&genesis);
    assert_eq!(first.deposits.timestamp, given(&genesis).deposits.timestamp);
    let second = given(&world.head(&chain[1]));
    assert_eq!((second.parent.number, second.deposits.timestamp), (1, first.deposits.timestamp + 2));
}

#[test]
fn inputs_that_answer_nothing_are_refused() {
    let (world, chain) = steady_world();
    let safe = world.head(&chain[0]);
    let l1 = |number| Input::L1Block(Box::new(world.read(number).unwrap()));
    let mut pipeline = Pipeline::new(world.config.clone());
    assert_eq!(pipeline.provide(l1(0)), Err(InputError::NotAsked));
    pipeline.reset(safe, None);
    assert!(matches!(pipeline.step(&safe), Step::Need(Need::L1Block { number: 0, .. })));
    assert_eq!(pipeline.provide(l1(3)), Err(InputError::Number { expected: 0, found: 3 }));
    assert_eq!(pipeline.provide(Input::L2Block(Box::new(safe))), Err(InputError::NotAsked));
    assert_eq!(pipeline.provide(Input::Blobs(Vec::new())), Err(InputError::NotAsked));
    assert_eq!(pipeline.provide(l1(0)), Ok(()));
    assert!(matches!(pipeline.step(&safe), Step::Advanced(_)));
}

#[test]
fn blobs_must_be_as_many_and_as_long_as_blobs_are() {
    let mut world = World::new();
    world.mine(vec![Post::Blobs(vec![Bytes::from_static(&[1]), Bytes::from_static(&[2])])], Vec::new());
    let safe = world.head(&world.genesis);
    let mut pipeline = Pipeline::new(world.config.clone());
    pipeline.reset(safe, None);
    loop {
        match pipeline.step(&safe) {
            Step::Need(Need::L1Block { number, .. } | Need::NextL1Block { number, .. }) => {
                pipeline.provide(Input::L1Block(Box::new(world.read(number).unwrap()))).unwrap();
            }
            Step::Need(Need::Blobs { block, blobs }) => {
                assert_eq!((block, blobs.len()), (world.l1_ref(1), 2));
                assert_eq!((blobs[0].index, blobs[1].index), (0, 1));
                break;
            }
            Step::Working | Step::Advanced(_) => {}
            step => panic!("{step:?}"),
        }
    }
    let blob = Bytes::from(vec![0; 131_072]);
    let one = pipeline.provide(Input::Blobs(vec![blob.clone()]));
    assert_eq!(one, Err(InputError::BlobCount { expected: 2, found: 1 }));
    let short = pipeline.provide(Input::Blobs(vec![blob.clone(), Bytes::from_static(&[0])]));
    assert_eq!(short, Err(InputError::BlobLength(1)));
    assert_eq!(pipeline.provide(Input::Blobs(vec![blob.clone(), blob])), Ok(()));
    assert!(matches!(pipeline.step(&safe), Step::Need(Need::NextL1Block { number: 2, .. })));
}

#[test]
fn a_malformed_deposit_holds_the_chain_until_l1_has_another_block_there() {
    let mut world = World::new();
    let broken = Log::new_unchecked(PORTAL, vec![TRANSACTION_DEPOSITED], Bytes::new());
    world.mine(Vec::new(), vec![broken]);
    world.mine_empty(2 * WINDOW);
    let mut verifier = Verifier::new(&world);
    let stop = verifier.run(&world);
    assert!(matches!(stop, Stop::Stuck(AttributesError::Deposit(_))), "{stop:?}");
    assert_eq!(verifier.run(&world), stop);
    let last = l2_block_ref(&world.config, verifier.tip()).unwrap();
    assert_eq!(last.l1_origin.number, 0, "what comes before its epoch is derived");

    world.reorganize(1, 2 * WINDOW + 1);
    let origin = verifier.pipeline.origin().unwrap().number;
    verifier.pipeline.check_l1(&world.l1_ref(origin));
    assert!(matches!(verifier.run(&world), Stop::Reset(_)));
    verifier.pipeline.reset(world.head(verifier.tip()), None);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert!(l2_block_ref(&world.config, verifier.tip()).unwrap().l1_origin.number > 1);
}
