//! What L1 knows at which moment, and who else sends: nonces of the account and of envelopes.

use super::{
    Node,
    rules::{node, waiting},
};
use duskevm_batcher_core::{Carrier, Refusal, Wait, Why};

#[test]
fn what_is_in_a_block_that_is_not_on_disk_is_not_signed_again() {
    for carrier in [Carrier::Blobs, Carrier::Calldata] {
        let mut node = waiting(carrier, 2, 100);
        let before = node.submitted().len();
        node.l1.executed = 3;
        node.rounds(3);
        node.l1.executed = 0;
        node.rounds(3);
        assert_eq!((node.safe(), node.submitted().len(), node.abandoned().len()), (2, before, 0));
        assert_eq!(node.l1.paid(), node.submitted()[0].slots.len());
    }
}

#[test]
fn a_call_that_failed_above_the_view_is_judged_when_the_view_shows_it() {
    for view_lag in 0..4 {
        // Somebody else brings the envelope: it is there, and nothing is sent again.
        let mut node = node(Carrier::Calldata);
        node.l1.view_lag = view_lag;
        node.blocks(2, 100);
        node.look();
        node.settle();
        node.empty_rounds(3 + view_lag as usize);
        node.l1.copy(0);
        node.rounds(8);
        assert_eq!((node.l1.failed_calls(), node.submitted().len(), node.abandoned().len()), (1, 1, 0));
        assert_eq!(node.safe(), 2);
    }
    for view_lag in 0..4 {
        // It failed by itself: one call is paid for, then there is a pause.
        let mut node = node_with_a_failing_call(view_lag);
        node.rounds(1 + view_lag as usize);
        assert!(matches!(node.abandoned()[..], [Why::Failed(_)]), "{view_lag}: {:?}", node.abandoned());
        assert_eq!(node.l1.failed_calls(), 1);
        node.rounds(20);
        assert_eq!((node.safe(), node.l1.failed_calls()), (2, 1));
    }
}

fn node_with_a_failing_call(view_lag: u64) -> Node {
    let mut node = node(Carrier::Blobs);
    node.l1.view_lag = view_lag;
    node.blocks(2, 100);
    node.look();
    node.settle();
    node.empty_rounds(3 + view_lag as usize);
    node.l1.intrude();
    node
}

#[test]
fn statuses_of_different_moments_do_not_look_like_frames_out_of_order() {
    let mut node = waiting(Carrier::Calldata, 8, 1000);
    assert!(node.batcher.watched().len() >= 2);
    // The first call is asked for before the block with all of them is there, the others after it.
    node.torn_look(1, 100);
    node.settle();
    node.rounds(8);
    assert_eq!((node.abandoned().len(), node.safe()), (0, 8));
    node.check_l1();
}

#[test]
fn strangers_cannot_put_frames_in_another_order() {
    let mut node = waiting(Carrier::Calldata, 8, 1000);
    // The last of those that wait, in the same block before ours; then the next one, early.
    for which in [2, 1, 0] {
        node.l1.copy(which);
    }
    node.rounds(10);
    assert_eq!((node.abandoned().len(), node.safe()), (0, 8));
    let numbers: Vec<u16> = node.l1.frames().iter().map(|(_, frame)| frame.number).collect();
    assert_eq!(numbers, (0..9).collect::<Vec<_>>());
}

#[test]
fn envelopes_have_the_nonces_that_the_inbox_takes_next() {
    let mut node = node(Carrier::Calldata);
    node.blocks(4, 1000);
    node.look();
    node.settle();
    node.rounds(8);
    // Without its journal it goes on where the inbox is.
    let posted = node.l1.frames().len() as u64;
    node.journal.clear();
    node.restart();
    node.blocks(2, 100);
    node.rounds(8);
    assert_eq!(node.safe(), 6);
    let first = node.submitted()[0].envelope_nonce;
    assert_eq!(first, posted);
}

#[test]
fn the_nonces_of_what_was_given_up_are_signed_again() {
    let mut node = waiting(Carrier::Calldata, 4, 100);
    assert_eq!(node.submitted().last().unwrap().envelope_nonce, 0);
    node.chain.blocks.truncate(3);
    node.blocks(5, 50);
    node.look();
    node.settle();
    assert_eq!(node.abandoned(), [&Why::Reorg]);
    node.empty_rounds(3);
    let channel = node.closed().last().unwrap().id;
    let again = node.submitted().into_iter().find(|one| one.channel == channel).unwrap();
    assert_eq!((again.envelope_nonce, again.slots[0].nonce), (0, 1));
    node.rounds(10);
    assert_eq!(node.safe(), 7);
}

#[test]
fn an_envelope_whose_nonce_was_taken_is_not_paid_for() {
    let mut node = waiting(Carrier::Calldata, 4, 100);
    node.chain.blocks.truncate(3);
    node.blocks(5, 50);
    node.look();
    node.settle();
    node.empty_rounds(3);
    // Both have the same nonces, and another node makes a block with the one that was given up.
    node.l1.revive(0);
    node.l1.make_block(1);
    node.look();
    node.settle();
    assert_eq!(node.abandoned(), [&Why::Reorg, &Why::Nonce]);
    node.rounds(10);
    assert_eq!((node.safe(), node.l1.failed_calls()), (node.chain.latest(), 0));
    node.check_l1();
}

#[test]
fn nobody_is_paid_again_and_again_for_what_derivation_passes_over() {
    let mut node = node(Carrier::Calldata);
    node.l1.deaf = true;
    node.blocks(4, 100);
    node.look();
    node.settle();
    node.rounds(64);
    let given_up = node.abandoned().len();
    assert!((2..=6).contains(&given_up), "{:?}", node.abandoned());
    assert!(matches!(node.waits(), Wait::Pause { .. } | Wait::Safe { .. }));
    // As soon as one channel is taken, all is as it was.
    node.l1.deaf = false;
    node.rounds(64);
    assert_eq!(node.safe(), 4);
    node.blocks(2, 100);
    node.rounds(6);
    assert_eq!(node.safe(), 6);
}

#[test]
fn nonces_that_l1_took_back_are_waited_for_before_others_get_them() {
    let mut node = waiting(Carrier::Calldata, 2, 100);
    // Something else has used the nonce, ours goes on with the next one; then L1 takes both back, and they wait again.
    node.l1.intrude();
    node.rounds(1);
    node.rounds(1);
    let before = node.submitted().len();
    node.l1.reorg(2, false);
    node.empty_rounds(1);
    assert_eq!(node.submitted().len(), before, "nothing is signed again");
    node.rounds(5);
    assert_eq!((node.safe(), node.submitted().len(), node.l1.paid()), (2, before, 2));
    // If they do not come again, the nonce is used after a while.
    let mut node = waiting(Carrier::Calldata, 2, 100);
    node.l1.intrude();
    node.rounds(1);
    node.l1.reorg(1, true);
    node.rounds(10);
    assert_eq!((node.safe(), node.l1.frames().len()), (2, 1));
}

#[test]
fn all_that_was_signed_for_a_nonce_stays_known() {
    let mut node = waiting(Carrier::Calldata, 2, 100);
    let first = node.batcher.watched()[0];
    for _ in 0..40 {
        let newest = *node.batcher.watched().last().unwrap();
        node.batcher.refused(newest.0, Refusal::Underpriced(1));
        node.settle();
    }
    let watched = node.batcher.watched();
    assert!(watched.contains(&first), "the first one may be in another node's mempool");
    assert!(watched.len() <= 16, "{}", watched.len());
}

#[test]
fn without_a_journal_derivation_comes_up_to_the_tip_not_to_the_view() {
    let mut node = node(Carrier::Blobs);
    node.blocks(2, 100);
    node.l1.view_lag = 2;
    (0..5).for_each(|_| node.l1.make_block(0));
    node.lag = 0;
    node.look();
    assert_eq!(node.waits(), Wait::Derivation { l1_block: 5 });
    node.l1.make_block(0);
    node.look();
    assert_eq!(node.waits(), Wait::Derivation { l1_block: 5 });
    node.l1.make_block(0);
    node.look();
    assert!(matches!(node.waits(), Wait::L2Block { number: 3, .. }));
}
