//! One simulated node: what is on its disk, and the machine that runs while it is up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use duskevm_dusk_l1::sa::ballots::{Ballots, Record, RecordError};
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::{Machine, Persist, Start, TimerId};
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_dusk_l1::sa::timeouts::Timeouts;
use duskevm_dusk_l1::sa::wire::Frame;

use crate::byzantine::Strategy;
use crate::ledger::Ledger;

/// How long a node remembers messages it has had.
const REMEMBERED: Duration = Duration::from_secs(120);

/// A frame on its way: decoded once for all its receivers.
#[derive(Debug)]
pub struct Message {
    /// Tells messages apart.
    pub id: [u8; 32],
    /// What is sent.
    pub bytes: Arc<[u8]>,
    /// What receivers make of it; none if it does not decode.
    pub frame: Option<Frame>,
}

/// What survives a crash.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The chain.
    pub ledger: Ledger,
    /// Synced records of own messages.
    pub journal: Vec<Record>,
    /// Tip and running iteration.
    pub resume: Option<([u8; 32], u8)>,
    /// Measured step times.
    pub timeouts: Vec<u8>,
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
    /// Messages that wait for the machine's word.
    pub judged: HashMap<u64, Arc<Message>>,
    seen: HashMap<[u8; 32], Duration>,
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
    /// Counts starts, so that what was under way at a crash does not reach the next life.
    pub life: u64,
    /// Absent if it is honest.
    pub strategy: Option<Strategy>,
}

impl<B: Bls> Node<B> {
    /// A node that is not up yet.
    pub fn new(secret: B::Secret, ledger: Ledger, strategy: Option<Strategy>) -> Self {
        let disk = Disk { ledger, journal: Vec::new(), resume: None, timeouts: Vec::new() };
        Self { secret, disk, running: None, life: 0, strategy }
    }

    /// Starts the node from its disk.
    pub fn start(&mut self, bls: &Arc<B>, rules: &Rules) -> Result<(), RecordError> {
        let mut ballots = Ballots::default();
        for record in &self.disk.journal {
            ballots.replay(record)?;
        }
        let timeouts =
            Timeouts::decode(rules.times, &self.disk.timeouts).unwrap_or_else(|_| Timeouts::new(rules.times));
        let start = Start {
            tip: self.disk.ledger.tip_info(),
            ballots: ballots.clone(),
            timeouts,
            resume: self.disk.resume,
            may_vote_from: 0,
        };
        let machine = Machine::new(bls.clone(), rules.clone(), Some(bls.id(&self.secret)), start);
        self.life += 1;
        self.running =
            Some(Running { machine, ballots, timers: BTreeMap::new(), judged: HashMap::new(), seen: HashMap::new() });
        Ok(())
    }

    /// Stops it at once.
    pub fn crash(&mut self) {
        self.running = None;
        self.life += 1;
    }

    /// Writes what the machine wants kept.
    pub fn persist(&mut self, what: Persist) {
        match what {
            Persist::Resume { prev, iteration } => self.disk.resume = Some((prev, iteration)),
            Persist::Timeouts(bytes) => self.disk.timeouts = bytes,
        }
    }
}

impl<B: Bls> Running<B> {
    /// Whether a message is new to the node.
    pub fn is_new(&mut self, now: Duration, id: [u8; 32]) -> bool {
        if self.seen.len() > 20_000 {
            self.seen.retain(|_, until| *until > now);
        }
        match self.seen.insert(id, now + REMEMBERED) {
            Some(until) => until <= now,
            None => true,
        }
    }
}
