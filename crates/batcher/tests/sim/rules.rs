//! One test for each rule.

use super::{Node, settings};
use crate::l1::sign;
use duskevm_batcher_core::{
    Action, Batcher, Carrier, CarrierChoice, Closed, Notice, Record, Role, Settings, Submitted, Wait, Why,
};
use duskevm_rollup::{channel_out::Compression, frame::ChannelId};
use std::collections::HashSet;

pub(crate) fn node(carrier: Carrier) -> Node {
    Node::new(settings(carrier), 100_000)
}

/// One with so many blocks of so many bytes, all of which are in channels that were submitted and that no L1 block holds yet.
pub(crate) fn waiting(carrier: Carrier, blocks: usize, bytes: usize) -> Node {
    let mut node = node(carrier);
    node.blocks(blocks, bytes);
    node.look();
    node.settle();
    node.empty_rounds(3);
    node
}

impl Node {
    pub(crate) fn blocks(&mut self, count: usize, bytes: usize) {
        (0..count).for_each(|_| self.chain.extend(bytes));
    }

    pub(crate) fn closed(&self) -> Vec<&Closed> {
        self.journal
            .iter()
            .filter_map(|record| if let Record::Closed(closed) = record { Some(closed) } else { None })
            .collect()
    }

    pub(crate) fn submitted(&self) -> Vec<&Submitted> {
        self.journal
            .iter()
            .filter_map(|record| if let Record::Submitted(one) = record { Some(one) } else { None })
            .collect()
    }

    pub(crate) fn next(&mut self) -> Action {
        let drawn = &mut self.drawn;
        let mut ids = || {
            *drawn += 1;
            ChannelId::left_padding_from(&drawn.to_be_bytes())
        };
        self.batcher.advance(&self.chain, &mut ids).unwrap()
    }

    /// What it waits for after everything else is done.
    pub(crate) fn waits(&mut self) -> Wait {
        self.settle();
        match self.next() {
            Action::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    /// Takes L1 to another block in which nothing is included.
    pub(crate) fn empty_rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.l1.make_block(0);
            self.look();
            self.settle();
        }
    }
}

#[test]
fn a_channel_is_closed_when_it_is_old() {
    let mut node = node(Carrier::Blobs);
    node.blocks(3, 100);
    node.look();
    node.settle();
    node.empty_rounds(2);
    assert!(node.closed().is_empty());
    node.blocks(2, 100);
    node.empty_rounds(1);
    assert_eq!(node.closed().iter().map(|closed| closed.last.number).collect::<Vec<_>>(), [5]);
}

#[test]
fn a_channel_is_closed_when_it_is_full() {
    let mut node = node(Carrier::Blobs);
    node.blocks(30, 10_000);
    node.look();
    node.settle();
    let closed = node.closed();
    let first = closed.first().unwrap();
    assert!((100_000..=130_020).contains(&first.bytes), "{first:?}");
    assert_eq!(first.frame_count, 1);
}

#[test]
fn who_is_far_behind_compresses_quickly() {
    let set = Settings { compression: Compression::Brotli10, ..settings(Carrier::Blobs) };
    let mut node = Node::new(set, 100_000);
    node.rounds(1);
    node.blocks(2, 50_000);
    node.rounds(8);
    node.blocks(30, 50_000);
    node.rounds(20);
    let used: Vec<_> = node.closed().iter().map(|closed| closed.compression.clone()).collect();
    assert_eq!(used.first().map(String::as_str), Some("brotli-10"), "{used:?}");
    assert!(used.contains(&"brotli-9".to_owned()), "{used:?}");
    // Frames are made again as they were.
    node.restart();
    node.rounds(20);
    assert_eq!(node.safe(), node.chain.latest());
    assert_eq!(node.abandoned(), Vec::<&Why>::new());
    node.check_l1();
}

#[test]
fn blobs_take_two_transactions_and_calldata_one() {
    for (carrier, roles) in [(Carrier::Blobs, vec![Role::Blobs, Role::Call]), (Carrier::Calldata, vec![Role::Call])] {
        let mut node = node(carrier);
        node.blocks(2, 100);
        node.look();
        node.settle();
        node.rounds(5);
        let slots = &node.submitted()[0].slots;
        assert_eq!(slots.iter().map(|slot| slot.role).collect::<Vec<_>>(), roles);
        assert_eq!(
            slots.iter().map(|slot| slot.nonce).collect::<Vec<_>>(),
            (1..=roles.len() as u64).collect::<Vec<_>>()
        );
        assert_eq!(node.safe(), 2);
    }
}

#[test]
fn the_cheaper_carrier_is_taken_for_a_whole_channel() {
    let cheaper = Settings { carrier: CarrierChoice::Cheaper, max_calldata: 100_000, ..settings(Carrier::Blobs) };
    for (bytes, carrier) in [(100, Carrier::Calldata), (12_000, Carrier::Blobs)] {
        let mut node = Node::new(cheaper, 100_000);
        node.blocks(9, bytes);
        node.look();
        node.settle();
        node.rounds(5);
        assert_eq!(node.closed()[0].carrier, carrier);
        assert_eq!(node.safe(), 9);
    }
}

#[test]
fn no_more_are_in_flight_than_allowed() {
    let mut node = node(Carrier::Calldata);
    node.blocks(8, 1000);
    node.look();
    node.settle();
    node.empty_rounds(4);
    assert_eq!(node.closed()[0].frame_count, 9);
    assert_eq!(node.submitted().iter().map(|one| one.number).max(), Some(2));
    node.rounds(8);
    assert_eq!(node.safe(), 8);
    // Frames went one by one, in order.
    let numbers: Vec<u16> = node.l1.frames().iter().map(|(_, frame)| frame.number).collect();
    assert_eq!(numbers, (0..9).collect::<Vec<_>>());
}

#[test]
fn what_waits_long_is_offered_at_a_higher_price() {
    let mut node = node(Carrier::Calldata);
    node.l1.floor = 3;
    node.blocks(2, 100);
    node.look();
    node.settle();
    node.rounds(12);
    let prices: Vec<u64> = node.submitted().last().unwrap().slots[0].attempts.iter().map(|one| one.gas_price).collect();
    assert_eq!(prices, [1, 2, 3]);
    assert_eq!(node.safe(), 2);
    assert!(node.notices.iter().any(|notice| matches!(notice, Notice::Bumped { .. })));
}

#[test]
fn a_lost_transaction_is_submitted_again_as_it_was() {
    let mut node = waiting(Carrier::Blobs, 2, 100);
    node.l1.lose_pool();
    let before = node.submitted().len();
    node.empty_rounds(1);
    node.rounds(3);
    assert_eq!((node.safe(), node.submitted().len()), (2, before), "nothing else was signed");
}

#[test]
fn a_failed_call_gives_the_channel_up_and_pauses() {
    let mut node = waiting(Carrier::Blobs, 2, 100);
    // The blob transaction's nonce is used by somebody else, so that the call runs without blobs.
    node.l1.intrude();
    node.rounds(1);
    assert!(matches!(node.abandoned()[..], [Why::Failed(_)]));
    node.settle();
    node.rounds(20);
    assert_eq!(node.safe(), 2);
    assert_eq!(node.closed().len(), 2);
    assert_ne!(node.closed()[0].id, node.closed()[1].id);
}

#[test]
fn a_channel_that_takes_too_long_is_given_up() {
    let mut node = waiting(Carrier::Calldata, 6, 1000);
    node.l1.make_block(1);
    for _ in 0..50 {
        node.l1.make_block(0);
    }
    node.look();
    node.settle();
    assert_eq!(node.abandoned(), [&Why::TimedOut]);
    node.rounds(20);
    assert_eq!(node.safe(), 6);
    node.check_l1();
}

#[test]
fn a_channel_that_derivation_does_not_take_is_given_up() {
    let mut node = node(Carrier::Blobs);
    node.blocks(2, 100);
    node.look();
    node.settle();
    node.rounds(5);
    let heads = node.l1.heads(&mut node.chain, 0);
    let mut batcher = Batcher::new(node.rollup.clone(), node.settings);
    node.journal.iter().for_each(|record| batcher.replay(record.clone()).unwrap());
    batcher.observe(&node.l1.observe(&batcher.watched()));
    let safe = duskevm_rollup::BlockId { number: 0, hash: node.chain.blocks[0].hash };
    let derived = heads.derived.map(|derived| duskevm_batcher_core::Derived { safe: 0, ..derived });
    batcher.heads(duskevm_batcher_core::Heads { safe, finalized: 0, derived, ..heads });
    let action = batcher.advance(&node.chain, &mut || ChannelId::repeat_byte(9)).unwrap();
    let id = node.closed()[0].id;
    assert_eq!(action, Action::Journal(vec![Record::Abandoned { id }]));
    assert_eq!(batcher.take_notices(), [Notice::Abandoned { id, why: Why::NotDerived }]);
}

#[test]
fn frames_that_cannot_be_made_again_are_given_up_only_if_they_are_needed() {
    // On L1 already: nothing is needed. Not there: the channel is given up, and another one takes its blocks.
    for included in [true, false] {
        let mut node = waiting(Carrier::Blobs, 2, 100);
        if included {
            node.l1.make_block(100);
        } else {
            node.l1.lose_pool();
        }
        for record in &mut node.journal {
            if let Record::Closed(closed) = record {
                closed.digest.0[0] ^= 1;
            }
        }
        node.restart();
        node.look();
        node.settle();
        let expected: &[&Why] = if included { &[] } else { &[&Why::Different] };
        assert_eq!(node.abandoned(), expected);
        node.rounds(20);
        assert_eq!(node.safe(), 2);
        node.check_l1();
    }
}

#[test]
fn an_l2_reorg_gives_up_what_holds_other_blocks() {
    let mut node = waiting(Carrier::Blobs, 4, 100);
    node.chain.blocks.truncate(3);
    node.blocks(5, 50);
    node.l1.lose_pool();
    node.look();
    node.settle();
    assert_eq!(node.abandoned(), [&Why::Reorg]);
    node.rounds(10);
    assert_eq!(node.safe(), 7);
}

/// L1 may still include what was given up: for each of its channels kona-derive loses an L1 block behind it.
#[test]
fn what_comes_instead_of_what_was_given_up_keeps_a_distance_on_l1() {
    for (carrier, is_lost) in [(Carrier::Blobs, false), (Carrier::Blobs, true), (Carrier::Calldata, false)] {
        let mut node = Node::new(Settings { bump_after: 20, ..settings(carrier) }, 100_000);
        node.blocks(4, 100);
        node.look();
        node.settle();
        node.empty_rounds(3);
        let sent = node.submitted().len();
        let last = node.submitted().iter().flat_map(|one| &one.slots).map(|slot| slot.nonce).max().unwrap();
        node.chain.blocks.truncate(3);
        node.blocks(5, 50);
        // Time enough for a new channel to be closed.
        for round in 0..2 {
            if round == 1 {
                node.restart();
            }
            node.look();
            node.settle();
            node.empty_rounds(4);
            assert!(matches!(node.waits(), Wait::Stale { nonce, .. } if nonce == last), "{carrier:?}, {round}");
        }
        assert_eq!((node.abandoned(), node.submitted().len()), (vec![&Why::Reorg], sent));
        if is_lost {
            node.l1.lose_pool();
            node.rounds(40);
            assert_eq!(node.safe(), 7);
            continue;
        }
        let given_up: HashSet<ChannelId> = node.submitted()[..sent].iter().map(|one| one.channel).collect();
        node.rounds(1);
        let there = node.l1.height();
        while matches!(node.waits(), Wait::Stale { .. }) {
            node.empty_rounds(1);
        }
        assert_eq!(node.l1.height(), there + given_up.len() as u64, "{carrier:?}");
    }
}

#[test]
fn an_open_channel_goes_on_after_a_restart() {
    let mut node = node(Carrier::Blobs);
    node.blocks(2, 100);
    node.look();
    node.settle();
    node.restart();
    node.blocks(2, 100);
    node.look();
    node.settle();
    node.empty_rounds(3);
    let opened: Vec<ChannelId> = node
        .journal
        .iter()
        .filter_map(|record| if let Record::Opened { id, .. } = record { Some(*id) } else { None })
        .collect();
    assert_eq!(opened, [node.closed()[0].id]);
    assert_eq!(node.closed()[0].last.number, 4);
}

#[test]
fn without_a_journal_derivation_comes_first() {
    let mut node = node(Carrier::Blobs);
    node.blocks(2, 100);
    node.l1.make_block(0);
    node.lag = 1;
    node.look();
    assert_eq!(node.waits(), Wait::Derivation { l1_block: 1 });
    node.lag = 0;
    node.look();
    assert!(matches!(node.waits(), Wait::L2Block { number: 3, .. }));
}

#[test]
fn an_empty_account_is_not_overdrawn() {
    let mut node = node(Carrier::Blobs);
    node.l1.balance = 10;
    node.blocks(2, 100);
    node.look();
    node.settle();
    node.empty_rounds(3);
    assert!(matches!(node.waits(), Wait::Funds { have: 10, .. }));
    assert!(node.submitted().is_empty());
    node.l1.balance = u64::MAX;
    node.look();
    node.settle();
    assert_eq!(node.submitted().len(), 1);
}

#[test]
fn the_journal_can_be_replaced_by_what_still_matters() {
    let mut node = node(Carrier::Calldata);
    node.blocks(8, 700);
    node.look();
    node.settle();
    node.rounds(5);
    node.blocks(3, 100);
    node.look();
    node.settle();
    let snapshot = node.batcher.snapshot();
    let mut copy = Batcher::new(node.rollup.clone(), node.settings);
    snapshot.iter().for_each(|record| copy.replay(record.clone()).unwrap());
    assert_eq!(copy.snapshot(), snapshot);
    let mut watched = (copy.watched(), node.batcher.watched());
    watched.0.sort();
    // What is final is not asked for any more; a restart does not know that yet.
    watched.1.retain(|one| !watched.0.contains(one));
    assert!(watched.1.is_empty() && !watched.0.is_empty());
    // What is final and safe does not stay.
    node.rounds(30);
    assert!(node.batcher.watched().is_empty());
    assert_eq!(node.batcher.snapshot().len(), 1 + usize::from(node.chain.latest() > node.safe()));
}

#[test]
fn the_backlog_counts_what_is_not_on_l1() {
    let mut node = node(Carrier::Blobs);
    node.blocks(4, 5000);
    node.look();
    node.settle();
    let backlog = node.batcher.backlog();
    assert_eq!(backlog.blocks, 4);
    assert!((15_000..25_000).contains(&backlog.bytes), "{backlog:?}");
    node.rounds(6);
    assert_eq!((node.batcher.backlog().blocks, node.batcher.backlog().bytes), (0, 0));
}

#[test]
fn an_order_signed_again_is_the_same() {
    let mut node = waiting(Carrier::Blobs, 2, 100);
    let before: Vec<_> = node.submitted()[0].slots.iter().map(|slot| slot.attempts[0].id).collect();
    node.l1.lose_pool();
    node.restart();
    node.look();
    let Action::Submit(order) = node.next() else { panic!("nothing is submitted") };
    let (_, again) = sign(&order);
    assert_eq!(again.iter().map(|tx| tx.id).collect::<Vec<_>>(), before);
    assert_eq!(order.transactions.iter().filter_map(|tx| tx.id).collect::<Vec<_>>(), before);
}
