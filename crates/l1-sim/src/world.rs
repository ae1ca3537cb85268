//! Nodes, the network between them, and the order of what happens.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::{Action, Event, Now, PeerId, Source, SyncBlock, TimerId, Token, Want};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_dusk_l1::sa::triage::Triage;
use duskevm_dusk_l1::sa::wire::{self, Frame};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::byzantine::{self, Strategy};
use crate::check::{Checks, Violation};
use crate::ledger::{GENESIS_TIME, Ledger};
use crate::message::{Message, Post};
use crate::network::Network;
use crate::node::{Disk, Node, Trap};
use crate::schedule::Schedule;
use crate::tally::{Tally, Trouble};

/// Stake of every provisioner in lux. Twice the least, so that stakes can change.
const STAKE: u64 = 2_000_000_000_000;

/// Messages that are kept for liars to send again.
const KEPT: usize = 2_000;

/// Something that a scenario does to the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A node stops at once.
    Crash(usize),
    /// It stops as soon as it is at a place where that hurts.
    CrashAt(usize, Trap),
    /// It starts again from its disk, or for the first time.
    Restart(usize),
    /// It stops and loses everything but its key.
    Wipe(usize),
    /// The journal of its own messages is lost, which nothing may ever do.
    ForgetJournal(usize),
    /// From now on the network is like this.
    Network(Network),
}

/// How a message gets to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Passed on from neighbour to neighbour; nobody takes it twice.
    Spread,
    /// Once more, although the receiver may have had it.
    Again,
    /// As an answer.
    Answer,
}

pub(crate) enum What {
    Deliver { to: u32, from: u32, message: Rc<Message>, way: Way },
    Timer { node: u32, life: u32, id: TimerId, setting: u64 },
    Local { node: u32, life: u32, event: Box<Event> },
    Retry { node: u32, life: u32, frame: Box<(Source, Frame)> },
    Ask { to: u32, from: u32, want: Box<Want> },
    Blocks { to: u32, from: u32, blocks: Box<[SyncBlock]> },
    Fault(Box<Fault>),
}

/// Who takes part.
#[derive(Debug)]
pub struct Cast<S> {
    /// One secret for each node. Nodes with the same one are twins.
    pub secrets: Vec<S>,
    /// Who lies, and how.
    pub liars: Vec<(usize, Strategy)>,
    /// Who is not there at the beginning.
    pub absent: Vec<usize>,
    /// Whether blocks change the stakes.
    pub changing: bool,
}

/// Everything.
pub struct World<B: Bls> {
    pub(crate) bls: Arc<B>,
    rules: Rules,
    pub(crate) dice: StdRng,
    pub(crate) now: Duration,
    /// Counts the settings of timers.
    settings: u64,
    schedule: Schedule<What>,
    pub(crate) nodes: Vec<Node<B>>,
    network: Network,
    neighbours: Vec<Vec<u32>>,
    post: Post,
    /// Some of what was sent, for liars.
    kept: VecDeque<Rc<Message>>,
    /// The message that is being delivered, which its receiver may pass on.
    pub(crate) current: Option<Rc<Message>>,
    /// Candidates whose blobs some nodes cannot have, and who can.
    pub(crate) withheld: HashMap<[u8; 32], BTreeSet<usize>>,
    pub(crate) checks: Checks,
    pub(crate) tally: Tally,
    pub(crate) violation: Option<Violation>,
    /// Some chain changed.
    pub(crate) moved: bool,
    spare: Vec<Action>,
}

impl<B: Bls> std::fmt::Debug for World<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl<B: Bls> World<B> {
    /// A node for each secret, the keys with equal stakes, all up that are not absent.
    pub fn new(bls: B, rules: Rules, seed: u64, cast: Cast<B::Secret>) -> Self {
        let bls = Arc::new(bls);
        let stakes = cast.secrets.iter().map(|secret| (bls.id(secret), STAKE, 0));
        let ledger = Ledger::new(rules.clone(), Arc::new(Provisioners::from_entries(stakes)), cast.changing);
        let strategies: BTreeMap<_, _> = cast.liars.into_iter().collect();
        let nodes: Vec<_> = cast
            .secrets
            .into_iter()
            .enumerate()
            .map(|(at, secret)| Node::new(secret, ledger.clone(), strategies.get(&at).copied()))
            .collect();
        let mut dice = StdRng::seed_from_u64(seed);
        let network = Network::default();
        let neighbours = network.neighbours(nodes.len(), &mut dice);
        let mut world = Self {
            bls,
            rules,
            dice,
            now: Duration::ZERO,
            settings: 0,
            schedule: Schedule::default(),
            network,
            neighbours,
            post: Post::default(),
            kept: VecDeque::new(),
            current: None,
            withheld: HashMap::new(),
            checks: Checks::default(),
            tally: Tally::default(),
            violation: None,
            moved: true,
            spare: Vec::new(),
            nodes,
        };
        for node in (0..world.nodes.len()).filter(|node| !cast.absent.contains(node)) {
            world.start(node);
        }
        world
    }

    /// Has something happen at a time.
    pub fn schedule(&mut self, at: Duration, fault: Fault) {
        self.push(at, What::Fault(Box::new(fault)));
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Nodes that do not lie.
    fn honest(&self) -> impl Iterator<Item = &Node<B>> {
        self.nodes.iter().filter(|node| node.strategy.is_none())
    }

    /// Tips of the honest nodes.
    pub fn heights(&self) -> Vec<u64> {
        self.honest().map(|node| node.disk.ledger.height()).collect()
    }

    /// Height up to which somebody honest has final blocks.
    pub fn highest_final(&self) -> u64 {
        self.checks.highest_final()
    }

    /// The chains of the honest nodes.
    pub fn ledgers(&self) -> impl Iterator<Item = (usize, &Ledger)> {
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| node.strategy.is_none());
        nodes.map(|(at, node)| (at, &node.disk.ledger))
    }

    /// Iterations for which an honest node was shown a success, a failure, or both.
    pub fn outcomes(&self) -> crate::check::Outcomes {
        self.checks.outcomes()
    }

    /// Lets things happen until `end`, or until every honest node has reached `height`. True in the latter case.
    pub fn run(&mut self, end: Duration, height: u64) -> Result<bool, Violation> {
        self.moved = true;
        loop {
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if std::mem::take(&mut self.moved) && self.honest().all(|node| node.disk.ledger.height() >= height) {
                return Ok(true);
            }
            let Some((at, what)) = self.schedule.next(end) else {
                self.now = end;
                return Ok(false);
            };
            self.now = at;
            self.happen(what);
        }
    }

    pub(crate) fn push(&mut self, at: Duration, what: What) {
        self.schedule.put(at, what);
    }

    fn after(&mut self, millis: (u64, u64)) -> Duration {
        self.now + Duration::from_micros(self.dice.random_range(millis.0 * 1000..=millis.1 * 1000))
    }

    pub(crate) fn local(&mut self, node: usize, millis: (u64, u64), event: Event) {
        let at = self.after(millis);
        let life = self.nodes[node].life;
        self.push(at, What::Local { node: node as u32, life, event: Box::new(event) });
    }

    pub(crate) fn set_timer(&mut self, node: usize, id: TimerId, at: Duration) {
        self.settings += 1;
        let (setting, life) = (self.settings, self.nodes[node].life);
        if let Some(running) = self.nodes[node].running.as_mut() {
            running.timers.insert(id, setting);
        }
        self.push(at, What::Timer { node: node as u32, life, id, setting });
    }

    pub(crate) fn clocks(&self) -> Now {
        Now { mono: self.now, unix: self.now + Duration::from_secs(GENESIS_TIME) }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].start(&self.bls, &self.rules).is_ok() {
            self.feed(node, Event::Begin);
        }
    }

    pub(crate) fn crash(&mut self, node: usize) {
        if let Some(running) = self.nodes[node].crash() {
            self.tally.note(Trouble::Crash);
            if running.unsent > 0 {
                self.tally.note(Trouble::CrashBeforeSending);
            }
            if running.storing {
                self.tally.note(Trouble::CrashAfterStoring);
            }
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { to, from, message, way } => self.deliver(to as usize, from as usize, message, way),
            What::Timer { node, life, id, setting } => {
                let node = node as usize;
                let current = self.nodes[node].running.as_ref().and_then(|running| running.timers.get(&id));
                if self.nodes[node].life == life && current == Some(&setting) {
                    self.feed(node, Event::Timer(id));
                }
            }
            What::Local { node, life, event } => {
                if self.nodes[node as usize].life == life {
                    self.happened(node as usize, *event);
                }
            }
            What::Retry { node, life, frame } => {
                if self.nodes[node as usize].life == life {
                    self.judge(node as usize, frame.0, &frame.1);
                }
            }
            What::Ask { to, from, want } => self.answer(to as usize, from as usize, *want),
            What::Blocks { to, from, blocks } => {
                self.feed(to as usize, Event::Blocks { from: PeerId(u64::from(from)), blocks: blocks.into_vec() });
            }
            What::Fault(fault) => self.fault(*fault),
        }
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(node) => self.crash(node),
            Fault::CrashAt(node, trap) => self.nodes[node].trap = Some(trap),
            Fault::Restart(node) => {
                self.nodes[node].trap = None;
                if self.nodes[node].running.is_none() {
                    let own = &self.nodes[node];
                    let first = own.life == 1 && self.checks.highest_final() > 0;
                    self.tally.note(if first { Trouble::LateJoiner } else { Trouble::Restart });
                    self.start(node);
                }
            }
            Fault::Wipe(node) => {
                self.crash(node);
                self.tally.note(Trouble::Wiped);
                let mut ledger = self.nodes[node].disk.ledger.clone();
                ledger.clear();
                self.nodes[node].disk = Disk::new(ledger);
                self.checks.wiped(node);
            }
            Fault::ForgetJournal(node) => self.nodes[node].disk.journal.clear(),
            Fault::Network(network) => {
                match (self.network.sides.is_empty(), network.sides.is_empty()) {
                    (true, false) => self.tally.note(Trouble::Partition),
                    (false, true) => self.tally.note(Trouble::Healed),
                    _ => {}
                }
                self.network = network;
                self.neighbours = self.network.neighbours(self.nodes.len(), &mut self.dice);
            }
        }
    }

    /// When something that leaves now arrives; never if it is lost.
    fn travel(&mut self) -> Option<Duration> {
        if self.network.loss > 0.0 && self.dice.random_bool(self.network.loss) {
            self.tally.note(Trouble::Lost);
            return None;
        }
        let mut at = self.after(self.network.delay);
        let (share, longer) = self.network.late;
        if share > 0.0 && self.dice.random_bool(share) {
            self.tally.note(Trouble::Delayed);
            at += Duration::from_millis(self.dice.random_range(longer / 2..=longer));
        }
        Some(at)
    }

    /// Puts something on its way from one node to another, if the network is so kind.
    pub(crate) fn send(&mut self, from: usize, to: usize, what: impl Fn() -> What) {
        if from == to || !self.network.reaches(from, to) {
            return;
        }
        if let Some(at) = self.travel() {
            self.push(at, what());
        }
    }

    fn spread(&mut self, from: usize, to: usize, message: &Rc<Message>) {
        let life = self.nodes[to].life;
        if from == to || !self.network.reaches(from, to) || message.is_known(to, life) {
            return;
        }
        let Some(at) = self.travel() else { return };
        let (from, to) = (from as u32, to as u32);
        if self.network.repeated > 0.0 && self.dice.random_bool(self.network.repeated) {
            let later = at + Duration::from_millis(self.dice.random_range(0..2_000));
            self.push(later, What::Deliver { to, from, message: message.clone(), way: Way::Again });
        }
        if message.is_due(to as usize, life, at) {
            self.push(at, What::Deliver { to, from, message: message.clone(), way: Way::Spread });
        }
    }

    fn hears(&self, node: usize, message: &Message) -> bool {
        !(matches!(message.frame, Some(Frame::Ratification(_) | Frame::Quorum(_))) && self.network.deaf.contains(&node))
    }

    /// Gives a message to the neighbours.
    pub(crate) fn broadcast(&mut self, from: usize, message: &Rc<Message>) {
        for at in 0..self.neighbours[from].len() {
            let to = self.neighbours[from][at] as usize;
            if self.hears(to, message) {
                self.spread(from, to, message);
            }
        }
    }

    /// Gives a message to certain nodes, as only liars do.
    pub(crate) fn whisper(&mut self, from: usize, message: &Rc<Message>, to: impl Fn(usize) -> bool) {
        for node in (0..self.nodes.len()).filter(|node| to(*node)) {
            if self.hears(node, message) {
                self.spread(from, node, message);
            }
        }
    }

    pub(crate) fn message(&mut self, bytes: Arc<[u8]>) -> Rc<Message> {
        let message = self.post.message(self.now, bytes, self.nodes.len());
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(message.clone());
        message
    }

    fn deliver(&mut self, to: usize, from: usize, message: Rc<Message>, way: Way) {
        let own = &mut self.nodes[to];
        let Some(running) = own.running.as_mut() else { return };
        let new = message.arrives(to, own.life);
        match (new, way) {
            (false, Way::Spread) => return,
            (false, Way::Again) => self.tally.note(Trouble::Repeated),
            _ => {}
        }
        self.tally.delivered += 1;
        if new && message.serial < running.newest {
            self.tally.note(Trouble::Reordered);
        }
        running.newest = running.newest.max(message.serial);
        let Some(frame) = &message.frame else {
            self.tally.rejected += 1;
            return;
        };
        if own.strategy.is_some() {
            self.lie(to, frame);
        }
        let token = (way != Way::Answer).then_some(Token(message.serial));
        self.current = Some(message.clone());
        self.judge(to, Source { peer: PeerId(from as u64), token }, frame);
        self.current = None;
    }

    /// What a liar makes of a message.
    fn lie(&mut self, node: usize, frame: &Frame) {
        let Some(strategy) = self.nodes[node].strategy else { return };
        if let Some((lie, trouble)) = strategy.echo(frame) {
            self.tally.note(trouble);
            let lie = self.message(wire::encode(&lie).into());
            self.broadcast(node, &lie);
        }
        if let Some(vote) = strategy.joins(frame) {
            let unix = self.clocks().unix.as_secs();
            if let Some(vote) = byzantine::sign(&*self.bls, &self.nodes[node].secret, &vote, unix) {
                let vote = self.message(vote);
                self.broadcast(node, &vote);
            }
        }
        // Not everything heard, or the others would do nothing else than refuse.
        if strategy != Strategy::Forge || !self.dice.random_bool(0.05) {
            return;
        }
        let (bytes, trouble): (Arc<[u8]>, _) = match self.dice.random_range(0..3) {
            0 => {
                let Some(old) = self.kept.front() else { return };
                (old.bytes.clone(), Trouble::Stale)
            }
            1 => {
                let Some(lie) = byzantine::forged(frame, &mut self.dice) else { return };
                (wire::encode(&lie).into(), Trouble::Forged)
            }
            _ => {
                let mut bytes = wire::encode(frame);
                let at = self.dice.random_range(0..bytes.len());
                bytes.truncate(at);
                (bytes.into(), Trouble::Garbage)
            }
        };
        self.tally.note(trouble);
        let lie = self.post.fresh(bytes, self.nodes.len());
        self.broadcast(node, &lie);
    }

    /// Triage and check of a frame.
    fn judge(&mut self, node: usize, from: Source, frame: &Frame) {
        let now = self.clocks();
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let checked = match running.machine.triage(now, from, frame) {
            Triage::Check(check) => match &self.current {
                Some(message) => message.verified(|| check.run(&*self.bls)),
                None => check.run(&*self.bls),
            },
            Triage::Later => return self.feed(node, Event::Later { from, frame: frame.clone() }),
            Triage::Reject(why) => Err(why),
            Triage::Ignore(_) => return,
        };
        match checked {
            Ok(checked) => {
                if self.nodes[node].strategy.is_none() {
                    self.checks.outcome(&checked);
                }
                self.feed(node, Event::Frame { from, frame: checked });
            }
            Err(_) => self.tally.rejected += 1,
        }
    }

    /// Hands an event to a node's machine and does what it wants.
    pub(crate) fn feed(&mut self, node: usize, event: Event) {
        let now = self.clocks();
        let life = self.nodes[node].life;
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let mut actions = std::mem::take(&mut self.spare);
        running.machine.handle(now, event, &mut actions);
        for action in actions.drain(..) {
            // A crash leaves undone what comes after it.
            if self.nodes[node].life == life {
                self.act(node, action);
            }
        }
        self.spare = actions;
    }
}
