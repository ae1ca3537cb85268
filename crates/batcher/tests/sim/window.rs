//! The sequencing window: blocks whose time runs out, and how a network gets out of prescribed blocks.

use super::{Node, settings};
use crate::l2::EPOCH;
use duskevm_batcher_core::{Carrier, Settings, Wait, Why};
use proptest::prelude::*;

#[test]
fn a_channel_is_closed_before_its_first_block_runs_out_of_time() {
    let settings = Settings { max_channel_duration: 1000, ..settings(Carrier::Blobs) };
    let mut node = Node::new(settings, 20);
    node.blocks(3, 100);
    node.look();
    node.settle();
    // Origin 0, 20 blocks of window, 5 of margin.
    node.empty_rounds(14);
    assert!(node.closed().is_empty());
    node.empty_rounds(1);
    assert_eq!(node.closed().len(), 1);
}

#[test]
fn frames_whose_window_has_passed_are_not_posted() {
    let mut node = Node::new(settings(Carrier::Calldata), 20);
    // Derivation has not come so far.
    node.lag = 100;
    node.look();
    node.empty_rounds(25);
    node.blocks(3, 500);
    node.empty_rounds(5);
    assert_eq!(node.waits(), Wait::Window { number: 1 });
    assert!(node.submitted().is_empty());
}

#[test]
fn blocks_that_derivation_makes_by_itself_are_left_out_and_others_are_waited_for() {
    for (bytes, first) in [(0, Some(6)), (10, None)] {
        let mut node = Node::new(settings(Carrier::Calldata), 20);
        node.lag = 100;
        node.look();
        node.settle();
        // Epoch 0 is over with L1 block 20, epoch 1 with the next one, in which the channel can be.
        node.l1.view_lag = 1;
        (0..20).for_each(|_| node.l1.make_block(0));
        node.blocks(5, bytes);
        node.blocks(10, 10);
        node.look();
        node.settle();
        let parents: Vec<u64> = node.closed().iter().map(|closed| closed.parent.number + 1).collect();
        assert_eq!(parents, first.into_iter().collect::<Vec<_>>());
        if first.is_none() {
            assert_eq!(node.waits(), Wait::Window { number: 1 });
        }
    }
}

#[test]
fn blocks_in_another_epoch_than_derivation_gives_them_are_not_left_out() {
    let mut node = Node::new(settings(Carrier::Calldata), 20);
    node.lag = 100;
    node.look();
    node.settle();
    (0..20).for_each(|_| node.l1.make_block(0));
    node.blocks(15, 0);
    // L2 time had reached epoch 1 before the last block of epoch 0.
    node.chain.blocks[6].origin_time -= 2;
    node.look();
    assert_eq!(node.waits(), Wait::Window { number: 5 });
}

/// Without a batcher for longer than the window, all epochs get blocks without users' transactions, one epoch at each L1 block. A
/// channel must come exactly in time to end that, counted from L1's own tip.
#[test]
fn a_network_leaves_prescribed_blocks_behind_whatever_its_view_lags() {
    for view_lag in 0..4 {
        for carrier in [Carrier::Blobs, Carrier::Calldata] {
            let mut node = Node::new(settings(carrier), 20);
            (node.l1.view_lag, node.lag) = (view_lag, 0);
            for _ in 0..45 {
                node.l1.make_block(100);
                node.sequence(10);
            }
            let with_transactions = |node: &Node| {
                let safe = node.l1.derive(node.l1.view()).chain;
                safe.iter().filter(|block| !block.batch.transactions.is_empty()).count()
            };
            assert_eq!(with_transactions(&node), 0);
            for _ in 0..20 {
                node.l1.make_block(100);
                node.sequence(10);
                node.look();
                node.settle();
            }
            let lag = (node.chain.latest() - node.safe()) / EPOCH;
            assert!(lag < 10, "safe is {lag} epochs behind: {:?}", node.abandoned());
            assert!(with_transactions(&node) > 50);
            assert!(node.abandoned().iter().all(|why| !matches!(why, Why::NotDerived | Why::Failed(_))));
            node.check_l1();
        }
    }
}

#[test]
fn a_channel_that_missed_its_window_does_not_hold_up_the_next() {
    let mut node = Node::new(settings(Carrier::Blobs), 20);
    node.lag = 0;
    (0..25).for_each(|_| node.l1.make_block(0));
    // A quiet chain far ahead of the safe head, and no money at the moment.
    node.sequence(0);
    node.l1.balance = 10;
    node.look();
    node.settle();
    assert!(matches!(node.waits(), Wait::Funds { .. }));
    let first = node.closed()[0].clone();
    for _ in 0..3 {
        node.l1.make_block(100);
        node.sequence(0);
        node.look();
        node.settle();
    }
    assert!(node.abandoned().iter().all(|why| matches!(why, Why::Overtaken | Why::Expired)), "{:?}", node.abandoned());
    let last = (*node.closed().last().unwrap()).clone();
    assert!(last.parent.number > first.parent.number, "the next one begins where there is time");
    node.l1.balance = u64::MAX;
    let before = node.safe();
    for _ in 0..4 {
        node.l1.make_block(100);
        node.sequence(0);
        node.look();
        node.settle();
    }
    // Not one epoch for each L1 block, but whole channels.
    assert!(node.safe() > before + 8 * EPOCH, "{} after {before}", node.safe());
}

/// L1 goes on, and the sequencer with it; the batcher is there or away.
fn stretch(node: &mut Node, rounds: u8, bytes: u16, batcher: bool) {
    for _ in 0..rounds {
        node.l1.make_block(100);
        node.sequence(bytes.into());
        if batcher {
            node.look();
            node.settle();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// The batcher comes and goes, restarts, is lied about by its view: when it stays, users' transactions are safe again before long.
    #[test]
    fn a_network_gets_out_of_every_outage(
        stretches in proptest::collection::vec((1..30u8, 0..60u16, any::<bool>(), any::<bool>()), 1..12),
        view_lag in 0..4u64,
        window in 12..60u64,
        carrier in prop_oneof![Just(Carrier::Blobs), Just(Carrier::Calldata)],
    ) {
        let mut node = Node::new(settings(carrier), window);
        (node.l1.view_lag, node.lag) = (view_lag, 0);
        for (rounds, bytes, batcher, restart) in stretches {
            stretch(&mut node, rounds, bytes, batcher);
            if restart {
                node.restart();
            }
            node.check_l1();
        }
        stretch(&mut node, 100, 20, true);
        node.check_l1();
        let behind = (node.chain.latest() - node.safe()) / EPOCH;
        prop_assert!(behind < 12, "safe is {behind} epochs behind: {:?}", node.abandoned());
        let safe = node.l1.derive(node.l1.height()).chain;
        let newest = safe.iter().rev().take(3 * EPOCH as usize);
        prop_assert!(newest.filter(|block| !block.batch.transactions.is_empty()).count() > EPOCH as usize);
    }
}
