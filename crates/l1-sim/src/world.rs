//! Nodes, the network between them, and the order of what happens.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use dusk_node_data::message::payload::Vote;
use duskevm_dusk_l1::sa::ballots::Ballot;
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::{
    Action, Event, Note, Now, PeerId, Source, SyncBlock, TimerId, Token, Unsigned, Want,
};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_dusk_l1::sa::triage::Triage;
use duskevm_dusk_l1::sa::wire::{self, Frame};
use duskevm_dusk_l1::sha3::sha3_256;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::byzantine::{self, Strategy};
use crate::check::{Checks, Violation};
use crate::ledger::{GENESIS_TIME, Ledger};
use crate::node::{Message, Node};

/// Stake of every provisioner in lux.
const STAKE: u64 = 1_000_000_000_000;

/// How the network treats messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Least and most milliseconds on the way.
    pub delay: (u64, u64),
    /// Share of messages that are lost.
    pub loss: f64,
    /// Share of messages that arrive twice.
    pub repeated: f64,
    /// Side of each node; only nodes of one side reach each other. Empty: all do.
    pub sides: Vec<u8>,
    /// Nodes that hear no Ratification votes and no quorums.
    pub deaf: Vec<usize>,
}

impl Default for Network {
    fn default() -> Self {
        Self { delay: (5, 60), loss: 0.0, repeated: 0.0, sides: Vec::new(), deaf: Vec::new() }
    }
}

/// Something that a scenario does to the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A node stops at once.
    Crash(usize),
    /// It starts again from its disk.
    Restart(usize),
    /// The journal of its own messages is lost, which nothing may ever do.
    ForgetJournal(usize),
    /// From now on the network is like this.
    Network(Network),
}

enum What {
    Deliver { to: usize, from: usize, message: Arc<Message>, direct: bool },
    Timer { node: usize, life: u64, id: TimerId, setting: u64 },
    Local { node: usize, life: u64, event: Box<Event> },
    Retry { node: usize, life: u64, from: Source, frame: Box<Frame> },
    Ask { to: usize, from: usize, want: Want },
    Blocks { to: usize, from: usize, blocks: Vec<SyncBlock> },
    Fault(Fault),
}

struct Queued {
    at: Duration,
    order: u64,
    what: What,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What happened in a run, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that were refused as their sender's fault.
    pub rejected: u64,
    /// Own messages that a journal refused.
    pub refused: u64,
    /// Own messages that were sent before, in this life or an earlier one.
    pub sent_again: u64,
    /// Iterations that failed by quorum.
    pub failed_iterations: u64,
    /// Steps that ran out of time.
    pub timeouts: u64,
    /// Times a node followed others to a later iteration.
    pub caught_up: u64,
    /// Branches that were given up.
    pub forks: u64,
    /// Requests for blocks.
    pub syncs: u64,
    /// Two votes of one signer, as seen by some node.
    pub double_votes: u64,
    /// Highest iteration that anybody reached.
    pub highest_iteration: u8,
}

/// Everything.
pub struct World<B: Bls> {
    bls: Arc<B>,
    rules: Rules,
    dice: StdRng,
    now: Duration,
    order: u64,
    heap: BinaryHeap<Reverse<Queued>>,
    nodes: Vec<Node<B>>,
    network: Network,
    checks: Checks,
    tally: Tally,
    violation: Option<Violation>,
}

impl<B: Bls> std::fmt::Debug for World<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl<B: Bls> World<B> {
    /// One node for each secret, with equal stakes, all up. `strategies` name the liars.
    pub fn new(bls: B, rules: Rules, seed: u64, secrets: Vec<B::Secret>, strategies: &[(usize, Strategy)]) -> Self {
        let bls = Arc::new(bls);
        let stakes = secrets.iter().map(|secret| (bls.id(secret), STAKE, 0));
        let ledger = Ledger::new(rules.clone(), Arc::new(Provisioners::from_entries(stakes)));
        let strategy = |node| strategies.iter().find(|(liar, _)| *liar == node).map(|(_, strategy)| *strategy);
        let nodes = secrets
            .into_iter()
            .enumerate()
            .map(|(at, secret)| Node::new(secret, ledger.clone(), strategy(at)))
            .collect::<Vec<_>>();
        let mut world = Self {
            bls,
            rules,
            dice: StdRng::seed_from_u64(seed),
            now: Duration::ZERO,
            order: 0,
            heap: BinaryHeap::new(),
            network: Network::default(),
            checks: Checks::default(),
            tally: Tally::default(),
            violation: None,
            nodes,
        };
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        world
    }

    /// Has something happen at a time.
    pub fn schedule(&mut self, at: Duration, fault: Fault) {
        self.push(at, What::Fault(fault));
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

    /// The chain of a node.
    pub fn ledger(&self, node: usize) -> &Ledger {
        &self.nodes[node].disk.ledger
    }

    /// Lets things happen until `end`, or until every honest node has reached `height`. True in the latter case.
    pub fn run(&mut self, end: Duration, height: u64) -> Result<bool, Violation> {
        loop {
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if self.honest().all(|node| node.disk.ledger.height() >= height) {
                return Ok(true);
            }
            match self.heap.peek() {
                Some(Reverse(next)) if next.at <= end => {}
                _ => {
                    self.now = end;
                    return Ok(false);
                }
            }
            if let Some(Reverse(next)) = self.heap.pop() {
                self.now = next.at;
                self.happen(next.what);
            }
        }
    }

    fn push(&mut self, at: Duration, what: What) {
        self.order += 1;
        self.heap.push(Reverse(Queued { at, order: self.order, what }));
    }

    fn after(&mut self, millis: (u64, u64)) -> Duration {
        self.now + Duration::from_micros(self.dice.random_range(millis.0 * 1000..=millis.1 * 1000))
    }

    fn local(&mut self, node: usize, millis: (u64, u64), event: Event) {
        let at = self.after(millis);
        let life = self.nodes[node].life;
        self.push(at, What::Local { node, life, event: Box::new(event) });
    }

    fn clocks(&self) -> Now {
        Now { mono: self.now, unix: self.now + Duration::from_secs(GENESIS_TIME) }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].start(&self.bls, &self.rules).is_ok() {
            self.feed(node, Event::Begin);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { to, from, message, direct } => self.deliver(to, from, &message, direct),
            What::Timer { node, life, id, setting } => {
                let current = self.nodes[node].running.as_ref().and_then(|running| running.timers.get(&id));
                if self.nodes[node].life == life && current == Some(&setting) {
                    self.feed(node, Event::Timer(id));
                }
            }
            What::Local { node, life, event } => {
                if self.nodes[node].life == life {
                    self.feed(node, *event);
                }
            }
            What::Retry { node, life, from, frame } => {
                if self.nodes[node].life == life {
                    self.judge(node, from, &frame);
                }
            }
            What::Ask { to, from, want } => self.answer(to, from, want),
            What::Blocks { to, from, blocks } => {
                self.feed(to, Event::Blocks { from: PeerId(from as u64), blocks });
            }
            What::Fault(Fault::Crash(node)) => self.nodes[node].crash(),
            What::Fault(Fault::Restart(node)) => {
                if self.nodes[node].running.is_none() {
                    self.start(node);
                }
            }
            What::Fault(Fault::ForgetJournal(node)) => self.nodes[node].disk.journal.clear(),
            What::Fault(Fault::Network(network)) => self.network = network,
        }
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        self.network.sides.is_empty() || self.network.sides.get(from) == self.network.sides.get(to)
    }

    /// Puts a message on its way, if the network is so kind.
    fn send(&mut self, from: usize, to: usize, what: impl Fn() -> What) {
        if from == to || !self.reaches(from, to) || self.dice.random_bool(self.network.loss) {
            return;
        }
        let times = if self.dice.random_bool(self.network.repeated) { 2 } else { 1 };
        for _ in 0..times {
            let at = self.after(self.network.delay);
            self.push(at, what());
        }
    }

    fn broadcast(&mut self, from: usize, message: &Arc<Message>, to: impl Fn(usize) -> bool) {
        let outcome = matches!(message.frame, Some(Frame::Ratification(_) | Frame::Quorum(_)));
        for node in 0..self.nodes.len() {
            if to(node) && !(outcome && self.network.deaf.contains(&node)) {
                self.send(from, node, || What::Deliver { to: node, from, message: message.clone(), direct: false });
            }
        }
    }

    fn message(bytes: Arc<[u8]>) -> Arc<Message> {
        let frame = wire::decode(&bytes, &wire::Limits::default()).ok();
        Arc::new(Message { id: sha3_256(&[&bytes]), bytes, frame })
    }

    fn deliver(&mut self, to: usize, from: usize, message: &Arc<Message>, direct: bool) {
        let now = self.now;
        let Some(running) = self.nodes[to].running.as_mut() else { return };
        if !direct && !running.is_new(now, message.id) {
            return;
        }
        self.tally.delivered += 1;
        let Some(frame) = &message.frame else {
            self.tally.rejected += 1;
            return;
        };
        let token = (!direct).then_some(Token(self.order));
        if let Some(token) = token {
            running.judged.insert(token.0, message.clone());
        }
        self.order += 1;
        if let Some(lie) = self.nodes[to].strategy.and_then(|strategy| strategy.echo(frame)) {
            let lie = Self::message(wire::encode(&lie).into());
            self.broadcast(to, &lie, |_| true);
        }
        self.judge(to, Source { peer: PeerId(from as u64), token }, frame);
    }

    /// Triage and check of a frame.
    fn judge(&mut self, node: usize, from: Source, frame: &Frame) {
        let now = self.clocks();
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let checked = match running.machine.triage(now, from, frame) {
            Triage::Check(check) => check.run(&*self.bls),
            Triage::Later => return self.feed(node, Event::Later { from, frame: frame.clone() }),
            Triage::Reject(why) => Err(why),
            Triage::Ignore(_) => {
                if let Some(token) = from.token {
                    running.judged.remove(&token.0);
                }
                return;
            }
        };
        match checked {
            Ok(frame) => self.feed(node, Event::Frame { from, frame }),
            Err(_) => {
                self.tally.rejected += 1;
                if let Some(token) = from.token {
                    running.judged.remove(&token.0);
                }
            }
        }
    }

    fn feed(&mut self, node: usize, event: Event) {
        let now = self.clocks();
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let mut actions = Vec::new();
        running.machine.handle(now, event, &mut actions);
        for action in actions {
            self.act(node, action);
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Publish(_, bytes) => self.publish(node, bytes),
            Action::Accept(token) => {
                let judged = self.nodes[node].running.as_mut().and_then(|running| running.judged.remove(&token.0));
                if let Some(message) = judged
                    && self.nodes[node].strategy != Some(Strategy::Silent)
                {
                    self.broadcast(node, &message, |_| true);
                }
            }
            Action::Ignore(token) => {
                if let Some(running) = self.nodes[node].running.as_mut() {
                    running.judged.remove(&token.0);
                }
            }
            Action::Again(frames) => {
                let life = self.nodes[node].life;
                for (from, frame) in frames {
                    self.push(self.now, What::Retry { node, life, from, frame: Box::new(frame) });
                }
            }
            Action::SetTimer { id, at } => {
                let setting = self.order;
                let life = self.nodes[node].life;
                if let Some(running) = self.nodes[node].running.as_mut() {
                    running.timers.insert(id, setting);
                }
                self.push(at, What::Timer { node, life, id, setting });
            }
            Action::Build { round, iteration, cert, failed, .. } => {
                let unix = self.clocks().unix.as_secs();
                let own = &self.nodes[node];
                let block = own.disk.ledger.build(&*self.bls, &own.secret, iteration, cert, failed, unix);
                self.local(node, (1, 40), Event::Built { round, iteration, block: block.map(Arc::new) });
            }
            Action::Check { block } => {
                let unix = self.clocks().unix.as_secs();
                let header = block.header();
                let verdict = self.nodes[node].disk.ledger.check(&*self.bls, header, unix);
                let (round, iteration, hash) = (header.height, header.iteration, header.hash);
                self.local(node, (1, 40), Event::Verdict { round, iteration, hash, verdict });
            }
            Action::Sign { key, what } => self.sign(node, key, &what),
            Action::Apply { bytes, attestation, .. } => {
                let own = &mut self.nodes[node];
                let applied = own.disk.ledger.apply(&*self.bls, &bytes, attestation);
                let applied = applied.map(|()| own.disk.ledger.tip_info());
                self.chain_changed(node);
                self.local(node, (1, 20), Event::Applied(applied));
            }
            Action::RevertTo { hash } => {
                let own = &mut self.nodes[node];
                let reverted = own.disk.ledger.revert_to(&hash).map(|()| own.disk.ledger.tip_info());
                self.chain_changed(node);
                self.local(node, (1, 20), Event::Reverted(reverted));
            }
            Action::Request { peer, want } => self.request(node, peer, want),
            Action::Persist(what) => self.nodes[node].persist(what),
            Action::Note(note) => self.note(&note),
        }
    }

    fn chain_changed(&mut self, node: usize) {
        if self.nodes[node].strategy.is_none()
            && let Err(violation) = self.checks.chain(node, &self.nodes[node].disk.ledger)
        {
            self.violation.get_or_insert(violation);
        }
    }

    fn publish(&mut self, node: usize, bytes: Arc<[u8]>) {
        let message = Self::message(bytes);
        let now = self.now;
        if let Some(running) = self.nodes[node].running.as_mut() {
            running.is_new(now, message.id);
        }
        match (self.nodes[node].strategy, &message.frame) {
            (None, Some(frame)) => {
                let signer = self.bls.id(&self.nodes[node].secret);
                match self.checks.published(node, signer.as_bytes(), frame, &message.bytes) {
                    Ok(again) => self.tally.sent_again += u64::from(again),
                    Err(violation) => {
                        self.violation.get_or_insert(violation);
                    }
                }
                self.broadcast(node, &message, |_| true);
            }
            (Some(Strategy::Silent), _) => {}
            (Some(Strategy::Withhold), Some(Frame::Candidate(_))) => {
                let friend = (node + 1) % self.nodes.len();
                self.broadcast(node, &message, |to| to == friend);
            }
            // The other half got something else already.
            (Some(Strategy::SplitVotes), Some(Frame::Validation(_) | Frame::Ratification(_)))
            | (Some(Strategy::TwoCandidates), Some(Frame::Candidate(_))) => {
                self.broadcast(node, &message, |to| to % 2 == 0);
            }
            _ => self.broadcast(node, &message, |_| true),
        }
    }

    fn sign(&mut self, node: usize, key: duskevm_dusk_l1::sa::ballots::BallotKey, what: &Unsigned) {
        let unix = self.clocks().unix.as_secs();
        if let Some(strategy) = self.nodes[node].strategy {
            let secret = &self.nodes[node].secret;
            let sign = |what: Unsigned| byzantine::sign(&*self.bls, secret, &what, unix);
            let (first, second) = (strategy.first(what).and_then(sign), strategy.second(what).and_then(sign));
            if let Some(second) = second {
                self.broadcast(node, &Self::message(second), |to| to % 2 == 1);
            }
            if let Some(frame) = first {
                self.local(node, (1, 8), Event::Signed { key, frame });
            }
            return;
        }
        let own = &mut self.nodes[node];
        let Some(frame) = byzantine::sign(&*self.bls, &own.secret, what, unix) else { return };
        let Some(running) = own.running.as_mut() else { return };
        let event = match running.ballots.cast(key, what.digest(), frame.clone()) {
            (Ballot::New, record) => {
                own.disk.journal.extend(record);
                Event::Signed { key, frame }
            }
            (Ballot::Same(frame), _) => Event::Signed { key, frame },
            (Ballot::Refused, _) => {
                self.tally.refused += 1;
                Event::Refused { key }
            }
        };
        self.local(node, (1, 8), event);
    }

    fn request(&mut self, node: usize, peer: Option<PeerId>, want: Want) {
        self.tally.syncs += 1;
        let mut targets: Vec<_> = peer.map(|peer| peer.0 as usize).into_iter().collect();
        if targets.is_empty() {
            targets = (0..3).map(|_| self.dice.random_range(0..self.nodes.len())).collect();
        }
        for to in targets {
            self.send(node, to, || What::Ask { to, from: node, want });
        }
    }

    fn answer(&mut self, node: usize, asker: usize, want: Want) {
        let Some(running) = &self.nodes[node].running else { return };
        if self.nodes[node].strategy == Some(Strategy::Silent) {
            return;
        }
        let entries = self.nodes[node].disk.ledger.entries();
        let blocks: Vec<_> = match want {
            Want::Range { from, to } => entries
                .iter()
                .filter(|entry| (from..=to).contains(&entry.header.height))
                .take(100)
                .map(|entry| SyncBlock { header: entry.header.clone(), bytes: entry.bytes.clone() })
                .collect(),
            Want::Block(hash) => entries
                .iter()
                .rev()
                .take(20)
                .find(|entry| entry.header.hash == hash)
                .map(|entry| SyncBlock { header: entry.header.clone(), bytes: entry.bytes.clone() })
                .or_else(|| SyncBlock::new(running.machine.candidate_with(&hash)?.bytes().clone()).ok())
                .into_iter()
                .collect(),
            Want::CandidateOf(_) | Want::Validation(_) => {
                if let Some(frame) = running.machine.answer(&want) {
                    let message = Self::message(wire::encode(&frame).into());
                    self.send(node, asker, || What::Deliver {
                        to: asker,
                        from: node,
                        message: message.clone(),
                        direct: true,
                    });
                }
                return;
            }
        };
        if !blocks.is_empty() {
            self.send(node, asker, || What::Blocks { to: asker, from: node, blocks: blocks.clone() });
        }
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Iteration { iteration, .. } => {
                self.tally.highest_iteration = self.tally.highest_iteration.max(*iteration);
            }
            Note::TimedOut { .. } => self.tally.timeouts += 1,
            Note::CaughtUp { .. } => self.tally.caught_up += 1,
            Note::Fork { .. } => self.tally.forks += 1,
            Note::TwoVotes { .. } => self.tally.double_votes += 1,
            Note::Quorum { vote, built: true, .. } if !matches!(vote, Vote::Valid(_)) => {
                self.tally.failed_iterations += 1;
            }
            _ => {}
        }
    }
}
