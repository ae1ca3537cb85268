//! From blocks over L1 to the same blocks.

use crate::world::*;
use alloy_primitives::{Address, Bytes};
use duskevm_rollup::{
    ConfigUpdate,
    batch::batch_of_block,
    channel_out::{ChannelSettings, Compression, build_frames},
    consolidation::{Mismatch, matches},
    derive::{Need, Notice},
    encode_deposit_log,
    frame::encode_frames,
    l2_block_ref,
};
use op_alloy_consensus::TxDeposit;

/// Twelve L1 blocks with deposits and config updates in some, an L2 chain on top, and its batches in all the forms there are.
fn busy_world() -> (World, Vec<duskevm_evm::Block>) {
    let mut world = World::with_window(100);
    for number in 1..12u64 {
        let deposit = TxDeposit {
            from: Address::with_last_byte(number as u8),
            mint: u128::from(number),
            gas_limit: 100_000,
            ..Default::default()
        };
        let mut logs = Vec::new();
        if number % 3 == 0 {
            logs = vec![encode_deposit_log(PORTAL, &deposit), encode_deposit_log(PORTAL, &deposit)];
        }
        if number == 5 {
            logs.push(ConfigUpdate::GasLimit(20_000_000).encode(SYSTEM));
            logs.push(ConfigUpdate::OperatorFee { scalar: 3, constant: 4 }.encode(SYSTEM));
        }
        world.mine(Vec::new(), logs);
    }
    let genesis = world.genesis.clone();
    let blocks = world.sequence_many(&genesis, 55, 3);
    assert!(l2_block_ref(&world.config, blocks.last().unwrap()).unwrap().l1_origin.number >= 10);

    // Singular batches by zlib in call data, one L1 transaction.
    let one = world.singular_channel(&blocks[..10]);
    world.mine(calldata([one]), Vec::new());
    // A span batch by Brotli, in several small frames over two L1 blocks, in call data.
    let settings = ChannelSettings {
        compression: Compression::Brotli10,
        target_bytes: 1_000_000,
        max_frame_data: 500,
        max_rlp_bytes: 10_000_000,
    };
    let batches: Vec<_> = blocks[10..25].iter().map(|block| batch_of_block(&world.config, block).unwrap()).collect();
    let batches = batches.iter().map(|(batch, sequence_number)| (batch, *sequence_number));
    let id = world.channel_id();
    let frames = build_frames(&world.config, settings, id, batches).unwrap();
    assert!(frames.len() > 3);
    let datas: Vec<_> = frames.iter().map(|frame| Bytes::from(encode_frames([frame]))).collect();
    let (first, second) = datas.split_at(2);
    world.mine(calldata(first.to_vec()), Vec::new());
    world.mine(calldata(second.to_vec()), Vec::new());
    // Two span batches in one channel, in three blobs of one transaction, beside call data that continue with the next channel.
    let spans = [world.span(&blocks[25..30]), world.span(&blocks[30..40])];
    let data = compress(&spans);
    let blobs = frames_of(world.channel_id(), &data, data.len() / 3 + 1);
    let after = world.span_channel(&blocks[40..45]);
    world.mine(vec![Post::Blobs(blobs), Post::Calldata(after)], Vec::new());
    // Two channels in one piece of batcher data.
    let mut data = world.span_channel(&blocks[45..50]).to_vec();
    data.extend_from_slice(&world.singular_channel(&blocks[50..55])[1..]);
    world.mine(vec![Post::Blobs(vec![data.into()])], Vec::new());
    (world, blocks)
}

#[test]
fn the_chain_is_derived_from_call_data_and_blobs() {
    let (world, blocks) = busy_world();
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!(verifier.notices, []);
    assert_eq!(verifier.chain[1..], blocks);
    for (derived, block) in verifier.derived.iter().zip(&blocks) {
        assert_eq!(matches(&world.spec, derived, block), Ok(()));
        let reference = l2_block_ref(&world.config, block).unwrap();
        assert_eq!(
            (derived.origin.number, derived.sequence_number),
            (reference.l1_origin.number, reference.sequence_number)
        );
        assert!(derived.derived_from.number >= 12);
    }
    // Deposits and config updates made it over.
    assert!(blocks.iter().any(|block| block.transactions.iter().filter(|tx| tx.is_deposit()).count() == 3));
    assert_eq!(blocks.last().unwrap().header.gas_limit, 20_000_000);
    // The ends of spans: after the first ten, which are spans of one, 24, 29, 39, 44 and 49.
    let ends: Vec<_> = (10..50).filter(|index| verifier.derived[*index].last_in_span).collect();
    assert_eq!(ends, [24, 29, 39, 44, 49]);
}

#[test]
fn answers_that_come_late_change_nothing() {
    let (world, _) = busy_world();
    let mut fast = Verifier::new(&world);
    fast.run(&world);
    for slow in [2, 3, 7] {
        let mut verifier = Verifier::new(&world);
        verifier.slow = slow;
        assert_eq!(verifier.run(&world), Stop::L1);
        assert_eq!(verifier.hashes(), fast.hashes());
        assert_eq!(verifier.needs, fast.needs);
    }
}

#[test]
fn l1_blocks_one_by_one_give_the_same_as_all_at_once() {
    let (world, blocks) = busy_world();
    let mut growing = world.clone();
    growing.l1.truncate(1);
    let mut verifier = Verifier::new(&growing);
    for block in &world.l1[1..] {
        growing.l1.push(block.clone());
        assert_eq!(verifier.run(&growing), Stop::L1);
    }
    assert_eq!(verifier.chain[1..], blocks);
}

#[test]
fn an_old_epoch_is_read_from_l1_again() {
    let mut world = World::with_window(1_000);
    world.mine_empty(90);
    let genesis = world.genesis.clone();
    let blocks = world.sequence_many(&genesis, 12, 1);
    let channel = world.span_channel(&blocks);
    world.mine(calldata([channel]), Vec::new());
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert_eq!(verifier.chain[1..], blocks);
    let again: Vec<_> =
        verifier.needs.iter().filter(|need| matches!(need, Need::L1Block { .. })).skip(1).cloned().collect();
    let need = |number| Need::L1Block { number, hash: world.l1_ref(number).hash };
    // Once for the first block of all, and then once for each epoch, not for each block.
    assert_eq!(again, [need(0), need(1), need(2)]);
}

#[test]
fn after_the_sequencing_window_every_epoch_gets_empty_blocks() {
    let mut world = World::new();
    world.mine_empty(30);
    let genesis = world.genesis.clone();
    let unsafe_chain = world.sequence_many(&genesis, 120, 1);
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    let last = l2_block_ref(&world.config, verifier.tip()).unwrap();
    // Epoch n is filled when L1 block n + 12 was read; the one after it begins only then.
    assert_eq!(last.l1_origin.number, 30 - WINDOW);
    let mut before = 0;
    for block in &verifier.chain[1..] {
        let reference = l2_block_ref(&world.config, block).unwrap();
        assert!(block.transactions.iter().all(|tx| tx.is_deposit()));
        assert!(reference.timestamp >= world.l1_ref(reference.l1_origin.number).timestamp);
        assert!(reference.l1_origin.number - before <= 1, "no epoch is left out");
        before = reference.l1_origin.number;
    }
    // They replace what the sequencer had built.
    let found = matches(&world.spec, &verifier.derived[0], &unsafe_chain[0]);
    assert_eq!(found, Err(Mismatch::TransactionCount { derived: 1, found: 2 }));

    // And its batches come too late.
    let channel = world.span_channel(&unsafe_chain);
    world.mine(calldata([channel]), Vec::new());
    assert_eq!(verifier.run(&world), Stop::L1);
    assert!(verifier.notices.iter().any(|notice| matches!(notice, Notice::BatchDropped(_))), "{:?}", verifier.notices);
    assert_eq!(verifier.tip().transactions.len(), 1);
}

#[test]
fn batches_in_the_last_block_of_the_window_count() {
    for (late, expected) in [(0, true), (1, false)] {
        let mut world = World::new();
        // The first L2 blocks have L1 block 0 as their origin.
        let genesis = world.genesis.clone();
        let blocks = world.sequence_many(&genesis, 2, 1);
        world.mine_empty(WINDOW - 1 + late);
        let channel = world.singular_channel(&blocks);
        world.mine(calldata([channel]), Vec::new());
        let mut verifier = Verifier::new(&world);
        assert_eq!(verifier.run(&world), Stop::L1);
        assert_eq!(verifier.chain.get(1..3) == Some(&blocks[..]), expected, "{late} blocks late");
    }
}

#[test]
fn an_epoch_gets_a_block_even_when_l2_time_is_past_it() {
    // The L2 chain is ahead of L1 by the drift when batches end: then each epoch gets exactly one block until L1 catches up.
    let mut world = World::with_window(40);
    world.mine_empty(1);
    let genesis = world.genesis.clone();
    // L2 time runs to 60 s after L1 block 1 without another origin.
    let blocks = world.sequence_many(&genesis, 35, 0);
    world.mine_empty(1);
    let channel = world.span_channel(&blocks);
    world.mine(calldata([channel]), Vec::new());
    world.mine_empty(60);
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    let origins: Vec<_> = verifier.chain[36..42]
        .iter()
        .map(|block| {
            let reference = l2_block_ref(&world.config, block).unwrap();
            (reference.l1_origin.number, reference.sequence_number)
        })
        .collect();
    assert_eq!(origins[..4], [(2, 0), (3, 0), (4, 0), (5, 0)]);
}
