//! The decisions of a supervisor, without threads or clocks: what happened goes in, what to do comes out.
//!
//! It is level-triggered. Every actor is in one phase; a failure marks those that have to be replaced and gathers them in
//! one *batch*; and [`Brain::poll`] takes whatever step the phases allow: within a batch all old instances stop first,
//! last one first, then the new ones start, first one first, each when the one before it is up. Failures, restarts on
//! request and the shutdown may therefore come at any moment, also in the middle of each other.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Backoff, DeathCause, ExitReason, Intensity, Reaction, RestartKind, Strategy, patience::after};

/// Beyond its drain bound an actor has so long to end before its thread is abandoned.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// So many instances of one actor that were given up may have threads that still run; with more of them its supervisor gives up
/// too. Hangs come no closer together than the actor's deadline, so that the restart intensity alone would never end them, and
/// each of them leaves a thread behind.
pub(crate) const ABANDONED_MAX: u32 = 4;

/// A child of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Leaf(usize),
    Branch(usize),
}

/// An actor as declared.
#[derive(Debug, Clone)]
pub(crate) struct LeafPlan {
    pub(crate) name: Arc<str>,
    pub(crate) branch: usize,
    pub(crate) restart: RestartKind,
    pub(crate) drain: Duration,
}

/// A subtree as declared.
#[derive(Debug, Clone)]
pub(crate) struct BranchPlan {
    pub(crate) name: Arc<str>,
    pub(crate) parent: Option<usize>,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) backoff: Backoff,
    pub(crate) children: Vec<Node>,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// An instance takes messages.
    Started { leaf: usize, serial: u64 },
    /// An instance is gone, or was given up because it is hung: then its thread is still there.
    Ended { leaf: usize, serial: u64, cause: DeathCause, reaction: Reaction, abandoned: bool },
    /// The thread of an instance that was given up has ended.
    Returned { leaf: usize },
    /// Someone wants a fresh instance.
    Restart { leaf: usize },
    /// Everything is to stop within the bound.
    Shutdown { bound: Duration },
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Start {
        leaf: usize,
        serial: u64,
        attempt: u32,
        reset: bool,
        cause: Option<DeathCause>,
    },
    Stop {
        leaf: usize,
        serial: u64,
        drain: Duration,
        cause: DeathCause,
    },
    /// It did not stop in time.
    Abandon {
        leaf: usize,
        serial: u64,
    },
    /// It is down and stays down until the tree is shut down.
    Refuse {
        leaf: usize,
    },
    /// It will never be started again.
    Finish {
        leaf: usize,
    },
    Exit(ExitReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// To be started as soon as its batch allows it.
    Down,
    /// The same, but not before a moment.
    Backoff {
        until: Instant,
    },
    Starting,
    Up {
        since: Instant,
    },
    Stopping {
        until: Instant,
    },
    /// Not to be started again.
    Finished,
}

#[derive(Debug)]
struct Leaf {
    plan: LeafPlan,
    phase: Phase,
    serial: u64,
    batch: u64,
    /// It runs but has to be replaced, for this reason.
    recycle: Option<DeathCause>,
    /// Failures in a row.
    streak: u32,
    /// Failures since the tree started.
    failures: u64,
    /// Instances that were given up and whose threads have not ended.
    abandoned: u32,
    reset: bool,
    cause: Option<DeathCause>,
}

impl Leaf {
    const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up { .. } | Phase::Stopping { .. })
    }

    /// An old instance that has to go before its batch may start.
    const fn is_leaving(&self) -> bool {
        self.recycle.is_some() || matches!(self.phase, Phase::Stopping { .. })
    }
}

#[derive(Debug)]
struct Branch {
    plan: BranchPlan,
    failures: VecDeque<Instant>,
}

#[derive(Debug)]
struct Exit {
    reason: ExitReason,
    until: Instant,
    done: bool,
}

/// The state of all supervisors of one tree.
pub(crate) struct Brain {
    leaves: Vec<Leaf>,
    branches: Vec<Branch>,
    batches: u64,
    exit: Option<Exit>,
    /// How long an exit that nobody asked for may take.
    exit_bound: Duration,
    dice: Box<dyn FnMut() -> f64 + Send>,
    todo: Vec<Action>,
}

impl Brain {
    pub(crate) fn new(
        leaves: Vec<LeafPlan>,
        branches: Vec<BranchPlan>,
        exit_bound: Duration,
        dice: Box<dyn FnMut() -> f64 + Send>,
    ) -> Self {
        let leaf = |plan| Leaf {
            plan,
            phase: Phase::Down,
            serial: 0,
            batch: 0,
            recycle: None,
            streak: 0,
            failures: 0,
            abandoned: 0,
            reset: false,
            cause: None,
        };
        Self {
            leaves: leaves.into_iter().map(leaf).collect(),
            branches: branches.into_iter().map(|plan| Branch { plan, failures: VecDeque::new() }).collect(),
            batches: 0,
            exit: None,
            exit_bound,
            dice,
            todo: Vec::new(),
        }
    }

    /// Takes note of what happened.
    pub(crate) fn input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Started { leaf, serial } => {
                let leaf = &mut self.leaves[leaf];
                if leaf.serial == serial && leaf.phase == Phase::Starting {
                    leaf.phase = Phase::Up { since: now };
                    leaf.reset = false;
                }
            }
            Input::Ended { leaf, serial, cause, reaction, abandoned } => {
                if self.leaves[leaf].serial == serial && self.leaves[leaf].is_live() {
                    self.ended(now, leaf, cause, reaction, abandoned);
                }
            }
            Input::Returned { leaf } => {
                let leaf = &mut self.leaves[leaf];
                leaf.abandoned = leaf.abandoned.saturating_sub(1);
            }
            Input::Restart { leaf } => {
                let runs = matches!(self.leaves[leaf].phase, Phase::Starting | Phase::Up { .. });
                if self.exit.is_none() && runs {
                    let branch = self.leaves[leaf].plan.branch;
                    let affected = self.affected(branch, Node::Leaf(leaf), self.branches[branch].plan.strategy);
                    self.gather(leaf, &affected);
                    self.leaves[leaf].recycle = Some(DeathCause::Requested);
                }
            }
            Input::Shutdown { bound } => self.leave(ExitReason::Shutdown { abandoned: Vec::new() }, after(now, bound)),
        }
    }

    /// All steps that can be taken now, and when to look again if nothing happens before.
    pub(crate) fn poll(&mut self, now: Instant) -> (Vec<Action>, Option<Instant>) {
        self.stop_some(now);
        self.give_up_some(now);
        self.start_some(now);
        self.finish_exit();
        let wake = self
            .leaves
            .iter()
            .filter_map(|leaf| match leaf.phase {
                // One whose pause is over but whose batch is not ready is woken by what happens to its batch.
                Phase::Backoff { until } | Phase::Stopping { until } if until > now => Some(until),
                _ => None,
            })
            .min();
        (std::mem::take(&mut self.todo), wake)
    }

    fn ended(&mut self, now: Instant, at: usize, cause: DeathCause, reaction: Reaction, abandoned: bool) {
        let within = self.branches[self.leaves[at].plan.branch].plan.intensity.within;
        let leaf = &mut self.leaves[at];
        leaf.abandoned += u32::from(abandoned);
        let before = leaf.phase;
        let recycled = leaf.recycle.take();
        if let Some(exit) = &mut self.exit {
            leaf.phase = Phase::Down;
            if abandoned && let ExitReason::Shutdown { abandoned: left } = &mut exit.reason {
                left.push(leaf.plan.name.clone());
            }
            self.todo.push(Action::Refuse { leaf: at });
            return;
        }
        if reaction == Reaction::Abort {
            let reason = ExitReason::Aborted { actor: leaf.plan.name.clone(), error: cause.to_string().into() };
            leaf.phase = Phase::Down;
            self.leave(reason, after(now, self.exit_bound));
            return;
        }
        if matches!(before, Phase::Stopping { .. }) {
            self.fall(at);
            return;
        }
        leaf.cause = Some(cause.clone());
        let again = match leaf.plan.restart {
            RestartKind::Permanent => true,
            RestartKind::Transient => cause != DeathCause::Stop,
            RestartKind::Temporary => false,
        };
        if !again {
            leaf.phase = Phase::Finished;
            self.todo.push(Action::Finish { leaf: at });
            return;
        }
        if matches!(before, Phase::Up { since } if now.saturating_duration_since(since) >= within) {
            leaf.streak = 0;
        }
        leaf.streak = leaf.streak.saturating_add(1);
        leaf.failures += 1;
        leaf.reset |= reaction == Reaction::ResetChainState;
        leaf.phase = Phase::Down;
        if recycled.is_some() {
            // It died before its turn to stop came: its batch replaces it anyway.
            return;
        }
        let old_batch = (before == Phase::Starting).then_some(leaf.batch);
        self.answer(now, at, reaction == Reaction::RestartSubtree, cause, old_batch);
    }

    /// An instance that was told to stop has stopped.
    fn fall(&mut self, at: usize) {
        let leaf = &mut self.leaves[at];
        if leaf.plan.restart == RestartKind::Temporary {
            leaf.phase = Phase::Finished;
            self.todo.push(Action::Finish { leaf: at });
        } else {
            leaf.phase = Phase::Down;
        }
    }

    /// Answers the failure of a leaf: restarts, or escalates from branch to branch.
    fn answer(&mut self, now: Instant, culprit: usize, whole: bool, cause: DeathCause, old_batch: Option<u64>) {
        let mut at = self.leaves[culprit].plan.branch;
        let mut child = Node::Leaf(culprit);
        let mut through = Vec::new();
        // The first hang beyond the bound is for the parent of the actor's own branch, the next one for the parent of that.
        let mut too_many = match cause {
            DeathCause::Hang(_) => self.leaves[culprit].abandoned.saturating_sub(ABANDONED_MAX),
            _ => 0,
        };
        loop {
            let branch = &mut self.branches[at];
            let Intensity { max, within } = branch.plan.intensity;
            branch.failures.retain(|then| now.saturating_duration_since(*then) < within);
            branch.failures.push_back(now);
            let spent = branch.failures.len() > max as usize;
            if !spent && too_many == 0 {
                break;
            }
            too_many = too_many.saturating_sub(1);
            branch.failures.clear();
            through.push(branch.plan.name.clone());
            let Some(parent) = branch.plan.parent else {
                let leaf = &self.leaves[culprit];
                let (actor, failures) = (leaf.plan.name.clone(), leaf.failures);
                let reason = if spent {
                    ExitReason::Escalated { actor, through, restarts: max, within, failures, cause }
                } else {
                    ExitReason::Overrun { actor, through, abandoned: leaf.abandoned, failures, cause }
                };
                self.leave(reason, after(now, self.exit_bound));
                return;
            };
            child = Node::Branch(at);
            at = parent;
        }
        let strategy = if whole && through.is_empty() { Strategy::OneForAll } else { self.branches[at].plan.strategy };
        let affected = self.affected(at, child, strategy);
        self.gather(culprit, &affected);
        if let Some(old) = old_batch {
            // Those that wait for it to come up go on waiting.
            let batch = self.batches;
            for leaf in self.leaves.iter_mut().filter(|leaf| leaf.batch == old && leaf.phase == Phase::Down) {
                leaf.batch = batch;
            }
        }
        let roll = (self.dice)();
        let leaf = &mut self.leaves[culprit];
        let pause = self.branches[at].plan.backoff.pause(leaf.streak, roll);
        leaf.phase = Phase::Backoff { until: after(now, pause) };
    }

    /// The leaves that a strategy replaces when `child` of a branch fails.
    fn affected(&self, branch: usize, child: Node, strategy: Strategy) -> Vec<usize> {
        let children = &self.branches[branch].plan.children;
        let at = children.iter().position(|node| *node == child).unwrap_or_default();
        let hit = match strategy {
            Strategy::OneForOne => &children[at..=at],
            Strategy::RestForOne => &children[at..],
            Strategy::OneForAll => &children[..],
        };
        let mut leaves = Vec::new();
        for node in hit {
            self.leaves_under(*node, &mut leaves);
        }
        leaves
    }

    fn leaves_under(&self, node: Node, leaves: &mut Vec<usize>) {
        match node {
            Node::Leaf(leaf) => leaves.push(leaf),
            Node::Branch(branch) => {
                for child in &self.branches[branch].plan.children {
                    self.leaves_under(*child, leaves);
                }
            }
        }
    }

    /// Puts leaves into a new batch and marks those that run to be replaced because of `culprit`.
    fn gather(&mut self, culprit: usize, affected: &[usize]) {
        self.batches += 1;
        let name = self.leaves[culprit].plan.name.clone();
        for &at in affected {
            let leaf = &mut self.leaves[at];
            match leaf.phase {
                Phase::Finished => continue,
                Phase::Starting | Phase::Up { .. } if at != culprit => {
                    leaf.recycle = Some(DeathCause::Sibling(name.clone()));
                }
                _ => {}
            }
            leaf.batch = self.batches;
        }
    }

    /// Begins to stop everything. A reason that came first stays; a shorter bound wins.
    fn leave(&mut self, reason: ExitReason, until: Instant) {
        match &mut self.exit {
            Some(exit) => {
                exit.until = exit.until.min(until);
                for leaf in &mut self.leaves {
                    if let Phase::Stopping { until: by } = &mut leaf.phase {
                        *by = (*by).min(until);
                    }
                }
                return;
            }
            exit => *exit = Some(Exit { reason, until, done: false }),
        }
        for (at, leaf) in self.leaves.iter_mut().enumerate() {
            match &mut leaf.phase {
                Phase::Starting | Phase::Up { .. } => leaf.recycle = Some(DeathCause::Shutdown),
                Phase::Stopping { until: by } => *by = (*by).min(until),
                Phase::Down | Phase::Backoff { .. } => {
                    leaf.phase = Phase::Down;
                    self.todo.push(Action::Refuse { leaf: at });
                }
                Phase::Finished => {}
            }
        }
    }

    /// Tells leaves that have to go to stop, as far as no later one of the same batch is still there.
    fn stop_some(&mut self, now: Instant) {
        for at in (0..self.leaves.len()).rev() {
            let leaf = &self.leaves[at];
            if !matches!(leaf.phase, Phase::Starting | Phase::Up { .. }) || leaf.recycle.is_none() {
                continue;
            }
            let mut later = self.leaves[at + 1..].iter();
            let in_order = match &self.exit {
                Some(exit) => now >= exit.until || !later.any(Leaf::is_live),
                None => !later.any(|other| other.batch == leaf.batch && other.is_live() && other.is_leaving()),
            };
            if !in_order {
                continue;
            }
            let mut until = after(now, leaf.plan.drain.saturating_add(DRAIN_GRACE));
            let mut drain = leaf.plan.drain;
            if let Some(exit) = &self.exit {
                until = until.min(exit.until);
                drain = drain.min(exit.until.saturating_duration_since(now));
            }
            let leaf = &mut self.leaves[at];
            leaf.phase = Phase::Stopping { until };
            if let Some(cause) = leaf.recycle.take() {
                leaf.cause = Some(cause.clone());
                self.todo.push(Action::Stop { leaf: at, serial: leaf.serial, drain, cause });
            }
        }
    }

    /// Gives up those that did not stop in time.
    fn give_up_some(&mut self, now: Instant) {
        for at in 0..self.leaves.len() {
            let leaf = &self.leaves[at];
            if !matches!(leaf.phase, Phase::Stopping { until } if now >= until) {
                continue;
            }
            self.todo.push(Action::Abandon { leaf: at, serial: leaf.serial });
            self.leaves[at].abandoned += 1;
            let leaf = &self.leaves[at];
            if let Some(Exit { reason: ExitReason::Shutdown { abandoned }, .. }) = &mut self.exit {
                abandoned.push(leaf.plan.name.clone());
            }
            if self.exit.is_some() {
                self.leaves[at].phase = Phase::Down;
                continue;
            }
            let too_many = leaf.abandoned > ABANDONED_MAX;
            self.fall(at);
            let leaf = &mut self.leaves[at];
            if too_many && leaf.phase == Phase::Down {
                leaf.streak = leaf.streak.saturating_add(1);
                leaf.failures += 1;
                let batch = leaf.batch;
                self.answer(now, at, false, DeathCause::Hang("it did not stop in time".into()), Some(batch));
            }
        }
        // Those before them can stop now.
        if self.leaves.iter().any(|leaf| leaf.recycle.is_some() && leaf.is_live()) {
            self.stop_some(now);
        }
    }

    /// Starts leaves that are due, as far as their batch allows it.
    fn start_some(&mut self, now: Instant) {
        if self.exit.is_some() {
            return;
        }
        for at in 0..self.leaves.len() {
            let due = match self.leaves[at].phase {
                Phase::Down => true,
                Phase::Backoff { until } => now >= until,
                _ => false,
            };
            let batch = self.leaves[at].batch;
            let in_order = |(other, leaf): (usize, &Leaf)| {
                leaf.batch != batch
                    || !(leaf.is_live() && leaf.is_leaving())
                        && (other >= at || matches!(leaf.phase, Phase::Up { .. } | Phase::Finished))
            };
            if !due || !self.leaves.iter().enumerate().all(in_order) {
                continue;
            }
            let leaf = &mut self.leaves[at];
            leaf.serial += 1;
            leaf.phase = Phase::Starting;
            self.todo.push(Action::Start {
                leaf: at,
                serial: leaf.serial,
                attempt: leaf.streak,
                reset: leaf.reset,
                cause: leaf.cause.clone(),
            });
        }
    }

    fn finish_exit(&mut self) {
        if self.leaves.iter().any(Leaf::is_live) {
            return;
        }
        if let Some(exit) = self.exit.as_mut().filter(|exit| !exit.done) {
            exit.done = true;
            self.todo.push(Action::Exit(exit.reason.clone()));
        }
    }
}

#[cfg(test)]
#[path = "brain_tests.rs"]
mod tests;
