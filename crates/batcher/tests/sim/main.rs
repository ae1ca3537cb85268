//! The batcher against a simulated L1 that loses, delays and takes back, with restarts at every point.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod l1;
mod l2;
mod nonces;
mod rules;
mod window;

use alloy_primitives::{B256, keccak256};
use duskevm_batcher_core::{
    Action, Batcher, Carrier, CarrierChoice, Gas, Notice, Order, Record, Settings, Signed, Throttling, Why,
};
use duskevm_rollup::{RollupConfig, channel_out::Compression, frame::ChannelId};
use l1::{L1, Tx, sign};
use l2::Chain;
use proptest::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

fn settings(carrier: Carrier) -> Settings {
    Settings {
        compression: Compression::Zlib,
        target_blobs: 1,
        carrier: CarrierChoice::Always(carrier),
        blobs_per_submission: 6,
        max_calldata: 1024,
        max_channel_duration: 3,
        window_margin: 5,
        timeout_margin: 10,
        max_in_flight: 3,
        gas_price: 1,
        max_gas_price: 1000,
        fee_bump_percent: 10,
        bump_after: 2,
        throttling: Throttling { from_bytes: 1 << 20, full_bytes: 1 << 22 },
        gas: Gas { per_blob: 1_000_000, least: 75_000, call: 1_000_000, per_call_byte: 100 },
    }
}

/// A node with a batcher.
struct Node {
    rollup: Arc<RollupConfig>,
    settings: Settings,
    batcher: Batcher,
    journal: Vec<Record>,
    /// Signed bytes that are at hand; a restart loses them.
    bytes: HashMap<B256, Tx>,
    chain: Chain,
    l1: L1,
    drawn: u64,
    lag: u64,
    notices: Vec<Notice>,
    /// The highest L2 block that there ever was.
    highest: u64,
}

impl Node {
    fn new(settings: Settings, window: u64) -> Self {
        let rollup = Arc::new(l2::config(window));
        settings.validate().unwrap();
        Self {
            batcher: Batcher::new(rollup.clone(), settings),
            l1: L1::new((*rollup).clone()),
            rollup,
            settings,
            journal: Vec::new(),
            bytes: HashMap::new(),
            chain: Chain::new(),
            drawn: 0,
            lag: 1,
            notices: Vec::new(),
            highest: 0,
        }
    }

    fn restart(&mut self) {
        self.bytes.clear();
        self.batcher = Batcher::new(self.rollup.clone(), self.settings);
        for record in &self.journal {
            let bytes = record.encode();
            self.batcher.replay(Record::decode(&bytes).unwrap()).unwrap();
        }
    }

    fn look(&mut self) {
        let heads = self.l1.heads(&mut self.chain, self.lag);
        self.batcher.heads(heads);
        let observation = self.l1.observe(&self.batcher.watched());
        self.batcher.observe(&observation);
    }

    /// Looks while L1 makes a block with so many transactions: what was asked first knows nothing of it.
    fn torn_look(&mut self, before: usize, most: usize) {
        let watched = self.batcher.watched();
        let (early, late) = watched.split_at(before.min(watched.len()));
        let mut observation = self.l1.observe(early);
        self.l1.make_block(most);
        observation.transactions.extend(self.l1.observe(late).transactions);
        let heads = self.l1.heads(&mut self.chain, self.lag);
        self.batcher.heads(heads);
        self.batcher.observe(&observation);
    }

    fn sign(&mut self, order: &Order) {
        let (envelope_hash, txs) = sign(order);
        let transactions = txs.iter().map(|tx| tx.order).collect();
        self.bytes.extend(txs.into_iter().map(|tx| (tx.id, tx)));
        self.batcher.signed(&Signed { submission: order.submission, envelope_hash, transactions });
    }

    fn submit(&mut self, order: &Order) {
        let (_, again) = sign(order);
        for (tx, signed) in order.transactions.iter().zip(again) {
            // A restart has lost the bytes: they are made again, and are the same.
            assert_eq!(tx.id, Some(signed.id));
            if let Err(refusal) = self.l1.submit(&signed) {
                self.batcher.refused(signed.id, refusal);
            }
        }
    }

    /// Does at most so many things; `false` if there was nothing left to do.
    fn run(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let drawn = &mut self.drawn;
            let mut ids = || {
                *drawn += 1;
                ChannelId::from_slice(&keccak256(drawn.to_be_bytes())[..16])
            };
            let action = self.batcher.advance(&self.chain, &mut ids).unwrap();
            self.notices.extend(self.batcher.take_notices());
            match action {
                Action::Journal(records) => {
                    assert!(!records.is_empty());
                    self.journal.extend(records);
                }
                Action::Sign(order) => self.sign(&order),
                Action::Submit(order) => {
                    let written = |order: &Order| {
                        self.journal.iter().any(|record| match record {
                            Record::Submitted(submitted) => submitted.number == order.submission,
                            _ => false,
                        })
                    };
                    assert!(written(&order), "nothing is submitted before it is in the journal");
                    self.submit(&order);
                }
                Action::Again => {}
                Action::Wait(_) => return false,
            }
        }
        true
    }

    fn settle(&mut self) {
        assert!((0..1000).any(|_| !self.run(10)), "the batcher never comes to rest");
    }

    /// L1 and the batcher go on without faults.
    fn rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.l1.make_block(100);
            self.look();
            self.settle();
        }
    }

    fn abandoned(&self) -> Vec<&Why> {
        let mut all = Vec::new();
        for notice in &self.notices {
            if let Notice::Abandoned { why, .. } = notice {
                all.push(why);
            }
        }
        all
    }

    /// The sequencer makes all blocks that the view allows, with transactions of so many bytes where there is time for them.
    fn sequence(&mut self, bytes: usize) {
        let _ = self.l1.heads(&mut self.chain, self.lag);
        let (tip, end) = (self.l1.height(), (self.l1.view() + 1) * l2::EPOCH);
        while self.chain.latest() + 1 < end {
            let epoch = (self.chain.latest() + 1) / l2::EPOCH;
            self.chain.extend(if self.rollup.leaves_time(epoch, tip) { bytes } else { 0 });
        }
    }

    /// What must hold whatever happened.
    fn check_l1(&self) {
        let frames = self.l1.frames();
        let mut seen = HashSet::new();
        for (_, frame) in &frames {
            assert!(
                seen.insert((frame.channel_id, frame.number)),
                "frame {} of {} came twice",
                frame.number,
                frame.channel_id
            );
        }
    }

    fn safe(&self) -> u64 {
        self.l1.derive(self.l1.height()).chain.len() as u64 - 1
    }
}

#[derive(Debug, Clone)]
enum Event {
    L2Blocks(u8, u16),
    L1Block(u8),
    Look,
    Run(u8),
    Crash,
    CrashBeforeJournal,
    Compact,
    LosePool,
    L1Reorg(u8, bool),
    L2Reorg(u8),
    Floor(u8),
    Lag(u8),
    Intruder,
    /// The view shows only what is so many blocks below the tip.
    View(u8),
    /// So many of the newest blocks are not on disk.
    Executed(u8),
    /// L1 makes a block while it is asked: so many statuses are from before it.
    TornLook(u8, u8),
    /// Somebody brings an envelope that was seen on its way.
    Stranger(u8),
}

/// Faults after which a channel is still finished: nothing has to be posted again.
fn harmless() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..8u8, 0..1500u16).prop_map(|(blocks, bytes)| Event::L2Blocks(blocks, bytes)),
        6 => (0..5u8).prop_map(Event::L1Block),
        6 => Just(Event::Look),
        6 => (1..20u8).prop_map(Event::Run),
        2 => Just(Event::Crash),
        2 => Just(Event::CrashBeforeJournal),
        1 => Just(Event::Compact),
        1 => Just(Event::LosePool),
        1 => (1..8u8, any::<bool>()).prop_map(|(depth, lose)| Event::L1Reorg(depth, lose)),
        1 => (1..4u8).prop_map(Event::Floor),
        1 => (0..4u8).prop_map(Event::Lag),
        2 => (0..4u8).prop_map(Event::View),
        2 => (0..4u8).prop_map(Event::Executed),
        2 => (0..6u8, 0..5u8).prop_map(|(before, most)| Event::TornLook(before, most)),
        2 => any::<u8>().prop_map(Event::Stranger),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => harmless(),
        1 => (1..30u8).prop_map(Event::L2Reorg),
        1 => Just(Event::Intruder),
    ]
}

impl Node {
    fn apply(&mut self, event: &Event) {
        self.highest = self.highest.max(self.chain.latest());
        match event {
            Event::L2Blocks(blocks, bytes) => (0..*blocks).for_each(|_| self.chain.extend((*bytes).into())),
            Event::L1Block(most) => self.l1.make_block((*most).into()),
            Event::Look => self.look(),
            Event::Run(most) => drop(self.run((*most).into())),
            Event::Crash => self.restart(),
            Event::CrashBeforeJournal => {
                // Whatever it wants to write now is lost.
                let written = self.journal.len();
                self.run(1);
                self.journal.truncate(written);
                self.restart();
            }
            Event::Compact => {
                if !self.run(1000) {
                    self.journal = self.batcher.snapshot();
                }
            }
            Event::LosePool => self.l1.lose_pool(),
            Event::L1Reorg(depth, lose) => self.l1.reorg((*depth).into(), *lose),
            Event::L2Reorg(depth) => {
                let safe = self.l1.heads(&mut self.chain, 0).safe.number;
                let keep = self.chain.latest().saturating_sub((*depth).into()).max(safe);
                self.chain.blocks.truncate(keep as usize + 1);
                self.chain.extend(10);
            }
            Event::Floor(price) => self.l1.floor = (*price).into(),
            Event::Lag(lag) => self.lag = (*lag).into(),
            Event::Intruder => self.l1.intrude(),
            Event::View(lag) => self.l1.view_lag = (*lag).into(),
            Event::Executed(blocks) => self.l1.executed = (*blocks).into(),
            Event::TornLook(before, most) => self.torn_look((*before).into(), (*most).into()),
            Event::Stranger(which) => self.l1.copy((*which).into()),
        }
    }

    fn calm_down(&mut self) {
        self.l1.floor = 1;
        self.lag = 0;
        self.l1.view_lag = 0;
        self.l1.executed = 0;
        self.look();
        self.settle();
        self.rounds(100);
    }
}

fn carriers() -> impl Strategy<Value = Carrier> {
    prop_oneof![Just(Carrier::Blobs), Just(Carrier::Calldata)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Loss, delay, fees, L1 reorgs and restarts: every block is posted exactly once, every frame lands exactly once and in order.
    #[test]
    fn everything_lands_exactly_once(events in proptest::collection::vec(harmless(), 1..120), carrier in carriers()) {
        let mut node = Node::new(settings(carrier), 100_000);
        for event in &events {
            node.apply(event);
            node.check_l1();
        }
        let latest = node.chain.latest();
        node.calm_down();
        node.check_l1();
        prop_assert_eq!(node.safe(), latest);
        prop_assert_eq!(node.chain.latest(), latest);
        let late = node.abandoned().iter().any(|why| **why == Why::TimedOut);
        if !late {
            let posted = node.l1.derive(node.l1.height()).posted;
            prop_assert_eq!(posted as u64, latest, "{:?}", node.abandoned());
        }
    }

    /// With L2 reorgs and somebody else at the account, too: whatever the chain is in the end becomes safe.
    #[test]
    fn whatever_happens_all_becomes_safe(events in proptest::collection::vec(any_event(), 1..150), carrier in carriers()) {
        let mut node = Node::new(settings(carrier), 100_000);
        for event in &events {
            node.apply(event);
            node.check_l1();
        }
        // That other blocks are there now shows when the chain has grown over the old ones.
        while node.chain.latest() <= node.highest {
            node.chain.extend(10);
        }
        node.calm_down();
        node.check_l1();
        prop_assert_eq!(node.safe(), node.chain.latest());
        let safe = node.l1.derive(node.l1.height()).chain;
        prop_assert!(safe.iter().zip(&node.chain.blocks).all(|(one, other)| one == other));
    }
}
