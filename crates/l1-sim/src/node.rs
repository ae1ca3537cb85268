//! One simulated node: what is on its disk, and the machine that runs while it is up.

use std::collections::BTreeMap;
use std::sync::Arc;

use duskevm_dusk_l1::sa::ballots::{Ballots, Record, RecordError};
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::{Machine, Persist, Start, TimerId};
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_dusk_l1::sa::timeouts::Timeouts;

use crate::byzantine::Strategy;
use crate::ledger::Ledger;

/// What survives a crash.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The chain.
    pub ledger: Ledger,
    /// Synced records of own messages.
    pub journal: Vec<Record>,
    /// Whether the journal was ever written above the first round, which begins before anything is known of the network.
    pub signed: bool,
    /// Tip and running iteration.
    pub resume: Option<([u8; 32], u8)>,
    /// Measured step times.
    pub timeouts: Vec<u8>,
    /// Frame of the newest quorum whose block was awaited.
    pub awaited: Option<Arc<[u8]>>,
}

impl Disk {
    /// A disk that holds nothing but a chain.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, journal: Vec::new(), signed: false, resume: None, timeouts: Vec::new(), awaited: None }
    }
}

/// What is lost in a crash.
#[derive(Debug)]
pub struct Running<B: Bls> {
    /// The consensus.
    pub machine: Machine<B>,
    /// The guard of the journal.
    pub ballots: Ballots,
    /// Latest setting of each timer.
    pub timers: BTreeMap<TimerId, u64>,
    /// Own messages that are in the journal and of which the machine does not know yet.
    pub unsent: u32,
    /// A block is stored of which the machine does not know yet.
    pub storing: bool,
    /// Number of the newest message that arrived.
    pub newest: u64,
}

/// A place at which a node is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// Its next own message is in the journal and not sent.
    Journalled,
    /// Its next block is stored and the machine does not know.
    Stored,
}

/// A provisioner and its computer.
#[derive(Debug)]
pub struct Node<B: Bls> {
    /// Its key.
    pub secret: B::Secret,
    /// Its disk.
    pub disk: Disk,
    /// Absent while it is down.
    pub running: Option<Running<B>>,
    /// Counts starts and stops, so that what was under way at a crash does not reach the next life.
    pub life: u32,
    /// Absent if it is honest.
    pub strategy: Option<Strategy>,
    /// Where it stops next.
    pub trap: Option<Trap>,
}

impl<B: Bls> Node<B> {
    /// A node that is not up yet.
    pub fn new(secret: B::Secret, ledger: Ledger, strategy: Option<Strategy>) -> Self {
        Self { secret, disk: Disk::new(ledger), running: None, life: 1, strategy, trap: None }
    }

    /// Starts the node from its disk.
    pub fn start(&mut self, bls: &Arc<B>, rules: &Rules) -> Result<(), RecordError> {
        let mut ballots = Ballots::default();
        for record in &self.disk.journal {
            ballots.replay(record)?;
        }
        // What is final needs no record any more.
        ballots.forget_below(self.disk.ledger.last_final());
        self.disk.journal = ballots.records().collect();
        let timeouts =
            Timeouts::decode(rules.times, &self.disk.timeouts).unwrap_or_else(|_| Timeouts::new(rules.times));
        let start = Start {
            tip: self.disk.ledger.tip_info(),
            ballots: ballots.clone(),
            timeouts,
            resume: self.disk.resume,
            journal_lost: !self.disk.signed,
            signed_before: false,
            awaited: self.disk.awaited.clone(),
        };
        let machine = Machine::new(bls.clone(), rules.clone(), Some(bls.id(&self.secret)), start);
        self.life += 1;
        self.running =
            Some(Running { machine, ballots, timers: BTreeMap::new(), unsent: 0, storing: false, newest: 0 });
        Ok(())
    }

    /// Stops it at once.
    pub fn crash(&mut self) -> Option<Running<B>> {
        self.life += 1;
        self.trap = None;
        self.running.take()
    }

    /// Writes what the machine wants kept.
    pub fn persist(&mut self, what: Persist) {
        match what {
            Persist::Resume { prev, iteration } => self.disk.resume = Some((prev, iteration)),
            Persist::Timeouts(bytes) => self.disk.timeouts = bytes,
            // What is at hand is on the way to the disk as a block.
            Persist::Awaited { quorum, at_hand } => {
                if !at_hand {
                    self.disk.awaited = Some(quorum);
                }
            }
        }
    }
}
