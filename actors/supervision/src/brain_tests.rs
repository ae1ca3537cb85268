//! The brain, driven step by step with a clock of our own.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const WIDE: Intensity = Intensity { max: 1_000, within: Duration::from_secs(10) };
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(100) };

fn panic() -> DeathCause {
    DeathCause::Panic("boom".into())
}

/// A tree under construction, and then the world around its brain.
struct Sim {
    leaves: Vec<LeafPlan>,
    branches: Vec<BranchPlan>,
    brain: Option<Brain>,
    now: Instant,
    serials: Vec<u64>,
    /// Leaves with a live instance.
    live: Vec<bool>,
    /// What the brain wanted and is not carried out yet.
    open: Vec<Action>,
    log: Vec<String>,
    exit: Option<ExitReason>,
    wake: Option<Instant>,
    /// Do the threads of instances that were given up go on for ever?
    lingering: bool,
}

impl Sim {
    fn new(strategy: Strategy, intensity: Intensity) -> Self {
        let mut sim = Self {
            leaves: Vec::new(),
            branches: Vec::new(),
            brain: None,
            now: Instant::now(),
            serials: Vec::new(),
            live: Vec::new(),
            open: Vec::new(),
            log: Vec::new(),
            exit: None,
            wake: None,
            lingering: false,
        };
        sim.branch("root", None, strategy, intensity);
        sim
    }

    fn branch(&mut self, name: &str, parent: Option<usize>, strategy: Strategy, intensity: Intensity) -> usize {
        let at = self.branches.len();
        self.branches.push(BranchPlan {
            name: name.into(),
            parent,
            strategy,
            intensity,
            backoff: BACKOFF,
            children: Vec::new(),
        });
        if let Some(parent) = parent {
            self.branches[parent].children.push(Node::Branch(at));
        }
        at
    }

    fn leaf(&mut self, name: &str, branch: usize, restart: RestartKind) -> usize {
        let at = self.leaves.len();
        self.leaves.push(LeafPlan { name: name.into(), branch, restart, drain: SECOND });
        self.branches[branch].children.push(Node::Leaf(at));
        self.serials.push(0);
        self.live.push(false);
        at
    }

    fn leaves(&mut self, names: &[&str], branch: usize) {
        for name in names {
            self.leaf(name, branch, RestartKind::Permanent);
        }
    }

    fn brain(&mut self) -> &mut Brain {
        let (leaves, branches) = (&self.leaves, &self.branches);
        self.brain.get_or_insert_with(|| Brain::new(leaves.clone(), branches.clone(), SECOND * 10, Box::new(|| 1.0)))
    }

    fn input(&mut self, input: Input) {
        let now = self.now;
        self.brain().input(now, input);
    }

    /// Lets the brain decide; what it wants is kept for [`carry_out`](Self::carry_out).
    fn poll(&mut self) -> bool {
        let now = self.now;
        let (actions, wake) = self.brain().poll(now);
        self.wake = wake;
        let some = !actions.is_empty();
        for action in actions {
            let names = &self.leaves;
            match &action {
                Action::Start { leaf, serial, .. } => {
                    assert!(!self.live[*leaf], "{} has two instances", names[*leaf].name);
                    self.live[*leaf] = true;
                    self.serials[*leaf] = *serial;
                    self.log.push(format!("start {}", names[*leaf].name));
                }
                Action::Stop { leaf, .. } => self.log.push(format!("stop {}", names[*leaf].name)),
                Action::Abandon { leaf, .. } => {
                    let leaf = *leaf;
                    self.live[leaf] = false;
                    self.log.push(format!("abandon {}", names[leaf].name));
                    if !self.lingering {
                        self.input(Input::Returned { leaf });
                    }
                }
                Action::Refuse { .. } | Action::Finish { .. } => {}
                Action::Exit(reason) => {
                    assert!(self.exit.is_none(), "a tree ends once");
                    assert!(!self.live.iter().any(|live| *live), "a tree ends after its actors");
                    self.exit = Some(reason.clone());
                }
            }
            self.open.push(action);
        }
        some
    }

    /// Carries out one thing the brain wanted.
    fn carry_out(&mut self, at: usize) {
        match self.open.remove(at) {
            Action::Start { leaf, serial, .. } if self.live[leaf] => self.input(Input::Started { leaf, serial }),
            Action::Stop { leaf, serial, cause, .. } if self.live[leaf] && self.serials[leaf] == serial => {
                self.end(leaf, cause, Reaction::RestartSelf);
            }
            _ => {}
        }
    }

    fn end(&mut self, leaf: usize, cause: DeathCause, reaction: Reaction) {
        self.live[leaf] = false;
        let serial = self.serials[leaf];
        self.input(Input::Ended { leaf, serial, cause, reaction, abandoned: false });
    }

    /// Lets everything happen that needs no passing of time.
    fn settle(&mut self) {
        while self.poll() || !self.open.is_empty() {
            if !self.open.is_empty() {
                self.carry_out(0);
            }
        }
    }

    /// The same, and passes time until nothing is pending.
    fn run(&mut self) {
        self.settle();
        while let Some(wake) = self.wake {
            self.now = wake;
            self.settle();
        }
    }

    /// Lets things happen until the brain wants something, and stops before that is carried out.
    fn settle_until(&mut self, wanted: &str) {
        while !self.log.iter().any(|line| line == wanted) {
            if !self.poll() {
                self.carry_out(0);
            }
        }
    }

    /// It is found hung, long after whatever came before.
    fn hang(&mut self, leaf: usize) {
        self.now += SECOND * 60;
        self.live[leaf] = false;
        let (serial, cause) = (self.serials[leaf], DeathCause::Hang("late".into()));
        self.input(Input::Ended { leaf, serial, cause, reaction: Reaction::RestartSelf, abandoned: true });
        self.run();
    }

    fn fail(&mut self, leaf: usize) {
        self.end(leaf, panic(), Reaction::RestartSelf);
        self.run();
    }

    fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn up(&self) -> Vec<&str> {
        self.leaves.iter().zip(&self.live).filter(|(_, live)| **live).map(|(leaf, _)| &*leaf.name).collect()
    }
}

fn started(strategy: Strategy) -> Sim {
    let mut sim = Sim::new(strategy, WIDE);
    sim.leaves(&["a", "b", "c"], 0);
    sim.run();
    assert_eq!(sim.take_log(), ["start a", "start b", "start c"]);
    sim
}

#[test]
fn strategies() {
    let mut sim = started(Strategy::OneForOne);
    sim.fail(1);
    assert_eq!(sim.take_log(), ["start b"]);

    let mut sim = started(Strategy::RestForOne);
    sim.fail(1);
    assert_eq!(sim.take_log(), ["stop c", "start b", "start c"]);

    let mut sim = started(Strategy::OneForAll);
    sim.fail(1);
    assert_eq!(sim.take_log(), ["stop c", "stop a", "start a", "start b", "start c"]);
}

#[test]
fn one_after_the_other() {
    let mut sim = Sim::new(Strategy::OneForOne, WIDE);
    sim.leaves(&["a", "b"], 0);
    sim.poll();
    sim.poll();
    assert_eq!(sim.take_log(), ["start a"]);
    // It fails to come up: the second goes on waiting for it.
    sim.open.clear();
    sim.end(0, panic(), Reaction::RestartSelf);
    sim.poll();
    assert_eq!(sim.take_log(), ["start a"]);
    sim.settle();
    assert_eq!(sim.take_log(), ["start b"]);
}

#[test]
fn a_branch_waits_for_the_one_before_it_even_if_that_one_fails_as_a_whole() {
    let mut sim = Sim::new(Strategy::OneForOne, WIDE);
    let l1 = sim.branch("l1", Some(0), Strategy::OneForAll, WIDE);
    sim.leaves(&["a", "b"], l1);
    sim.leaves(&["c"], 0);
    sim.poll();
    sim.carry_out(0);
    sim.poll();
    assert_eq!(sim.take_log(), ["start a", "start b"]);
    sim.open.clear();
    sim.end(1, panic(), Reaction::RestartSelf);
    sim.run();
    assert_eq!(sim.take_log(), ["stop a", "start a", "start b", "start c"]);
}

#[test]
fn pauses_double_up_to_a_cap_and_a_calm_time_forgives() {
    let mut sim = started(Strategy::OneForOne);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        sim.end(0, panic(), Reaction::RestartSelf);
        sim.settle();
        pauses.push(sim.wake.map_or(Duration::ZERO, |wake| wake - sim.now));
        sim.run();
    }
    assert_eq!(pauses, [0, 10, 20, 40, 80, 100, 100].map(|ms| MS * ms));

    sim.now += WIDE.within;
    sim.end(0, panic(), Reaction::RestartSelf);
    sim.settle();
    assert_eq!(sim.wake, None, "up for a whole window: no pause");
}

#[test]
fn jitter_spreads_between_the_half_and_the_whole() {
    assert_eq!(BACKOFF.pause(1, 0.0), Duration::ZERO);
    assert_eq!(BACKOFF.pause(2, 0.0), MS * 5);
    assert_eq!(BACKOFF.pause(2, 1.0), MS * 10);
    assert_eq!(BACKOFF.pause(u32::MAX, 1.0), BACKOFF.cap);
}

#[test]
fn intensity_is_a_sliding_window() {
    let mut sim = Sim::new(Strategy::OneForOne, Intensity { max: 2, within: SECOND });
    sim.leaves(&["a"], 0);
    sim.run();
    for _ in 0..20 {
        sim.fail(0);
        sim.now += MS * 600;
    }
    assert_eq!(sim.exit, None, "never more than two within a second");
    sim.fail(0);
    sim.fail(0);
    let Some(ExitReason::Escalated { actor, through, restarts, failures, cause, .. }) = &sim.exit else {
        panic!("{:?}", sim.exit)
    };
    assert_eq!((&**actor, *restarts, *failures, cause), ("a", 2, 22, &panic()));
    assert_eq!(*through, ["root".into()]);
}

#[test]
fn escalation_replaces_the_whole_branch_by_the_strategy_of_the_parent() {
    let mut sim = Sim::new(Strategy::RestForOne, WIDE);
    sim.leaves(&["before"], 0);
    let sub = sim.branch("sub", Some(0), Strategy::OneForOne, Intensity { max: 1, within: SECOND });
    sim.leaves(&["a", "b"], sub);
    sim.leaves(&["after"], 0);
    sim.run();
    sim.take_log();
    sim.fail(1);
    assert_eq!(sim.take_log(), ["start a"]);
    sim.fail(1);
    assert_eq!(sim.take_log(), ["stop after", "stop b", "start a", "start b", "start after"]);
    // The branch begins with a clean record.
    sim.fail(1);
    assert_eq!(sim.take_log(), ["start a"]);
}

#[test]
fn restart_kinds() {
    let mut sim = Sim::new(Strategy::OneForAll, WIDE);
    sim.leaf("permanent", 0, RestartKind::Permanent);
    sim.leaf("transient", 0, RestartKind::Transient);
    sim.leaf("temporary", 0, RestartKind::Temporary);
    sim.run();
    sim.take_log();
    // An end that is no failure concerns nobody else.
    sim.end(1, DeathCause::Stop, Reaction::RestartSelf);
    sim.run();
    assert_eq!(sim.take_log(), Vec::<String>::new());
    // Neither the finished nor the temporary one comes back with the others.
    sim.fail(0);
    assert_eq!(sim.take_log(), ["stop temporary", "start permanent"]);
    assert_eq!(sim.up(), ["permanent"]);

    let mut sim = Sim::new(Strategy::OneForOne, WIDE);
    sim.leaf("transient", 0, RestartKind::Transient);
    sim.leaf("temporary", 0, RestartKind::Temporary);
    sim.run();
    sim.fail(0);
    sim.fail(1);
    assert_eq!(sim.up(), ["transient"]);
}

#[test]
fn what_the_reaction_asks_for() {
    let mut sim = started(Strategy::OneForOne);
    sim.end(0, panic(), Reaction::RestartSubtree);
    sim.run();
    assert_eq!(sim.take_log(), ["stop c", "stop b", "start a", "start b", "start c"]);

    // A reset is asked for until the actor is up.
    sim.end(1, panic(), Reaction::ResetChainState);
    for _ in 0..2 {
        sim.poll();
        let Some(Action::Start { reset, .. }) = sim.open.pop() else { panic!() };
        assert!(reset);
        sim.end(1, panic(), Reaction::RestartSelf);
        sim.now += SECOND;
    }
    sim.run();
    sim.end(1, panic(), Reaction::RestartSelf);
    sim.now += SECOND;
    sim.poll();
    assert!(matches!(sim.open.pop(), Some(Action::Start { reset: false, .. })));

    let mut sim = started(Strategy::OneForOne);
    sim.end(1, DeathCause::Error("disk".into()), Reaction::Abort);
    sim.run();
    assert_eq!(sim.take_log(), ["stop c", "stop a"]);
    assert_eq!(sim.exit, Some(ExitReason::Aborted { actor: "b".into(), error: "error: disk".into() }));
}

#[test]
fn a_second_failure_in_the_middle_of_a_group_restart() {
    let mut sim = started(Strategy::OneForAll);
    sim.end(2, panic(), Reaction::RestartSelf);
    sim.poll();
    // b is told to stop, and dies on its own instead; a is still to be told.
    assert_eq!(sim.take_log(), ["stop b"]);
    sim.open.clear();
    sim.end(1, panic(), Reaction::RestartSelf);
    sim.poll();
    assert_eq!(sim.take_log(), ["stop a"]);
    // And before a has stopped it dies too.
    sim.open.clear();
    sim.end(0, panic(), Reaction::RestartSelf);
    sim.run();
    assert_eq!(sim.take_log(), ["start a", "start b", "start c"]);
}

#[test]
fn one_that_has_to_go_and_dies_before_its_turn_is_replaced_once() {
    let mut sim = started(Strategy::OneForAll);
    sim.end(2, panic(), Reaction::RestartSelf);
    sim.poll();
    sim.end(0, panic(), Reaction::RestartSelf);
    sim.run();
    assert_eq!(sim.take_log(), ["stop b", "start a", "start b", "start c"]);
}

#[test]
fn what_does_not_stop_is_abandoned_and_replaced() {
    let mut sim = started(Strategy::RestForOne);
    sim.end(1, panic(), Reaction::RestartSelf);
    sim.poll();
    sim.open.clear();
    let due = sim.now + SECOND + DRAIN_GRACE;
    assert_eq!(sim.wake, Some(due));
    sim.now = due;
    sim.run();
    assert_eq!(sim.take_log(), ["stop c", "abandon c", "start b", "start c"]);
}

#[test]
fn a_requested_restart_follows_the_strategy_and_is_no_failure() {
    let mut sim = Sim::new(Strategy::RestForOne, Intensity { max: 0, within: SECOND });
    sim.leaves(&["a", "b", "c"], 0);
    sim.run();
    sim.take_log();
    for _ in 0..5 {
        sim.input(Input::Restart { leaf: 1 });
        sim.run();
        assert_eq!(sim.take_log(), ["stop c", "stop b", "start b", "start c"]);
    }
    // The news that it is up may come after the request.
    sim.input(Input::Restart { leaf: 2 });
    sim.settle_until("start c");
    sim.input(Input::Restart { leaf: 2 });
    sim.run();
    assert_eq!(sim.take_log(), ["stop c", "start c", "stop c", "start c"]);
    assert_eq!(sim.exit, None);
}

#[test]
fn shutdown_goes_backwards_and_names_what_it_leaves_behind() {
    let mut sim = started(Strategy::OneForOne);
    sim.input(Input::Shutdown { bound: SECOND * 2 });
    sim.poll();
    assert_eq!(sim.take_log(), ["stop c"]);
    // c hangs until the bound; then the others have no time left either.
    sim.open.clear();
    assert_eq!(sim.wake, Some(sim.now + SECOND * 2));
    sim.now += SECOND * 2;
    sim.poll();
    assert_eq!(sim.exit, Some(ExitReason::Shutdown { abandoned: vec!["a".into(), "b".into(), "c".into()] }));
}

#[test]
fn shutdown_while_restarting() {
    let mut sim = started(Strategy::OneForAll);
    // One pauses, one is stopping, one is to be stopped.
    sim.end(2, panic(), Reaction::RestartSelf);
    sim.poll();
    sim.input(Input::Shutdown { bound: SECOND });
    sim.run();
    assert_eq!(sim.take_log(), ["stop b", "stop a"]);
    assert_eq!(sim.exit, Some(ExitReason::Shutdown { abandoned: Vec::new() }));

    // One is starting: it is told to stop, and nothing starts after it.
    let mut sim = Sim::new(Strategy::OneForOne, WIDE);
    sim.leaves(&["a", "b"], 0);
    sim.poll();
    sim.input(Input::Shutdown { bound: SECOND });
    sim.run();
    assert_eq!(sim.take_log(), ["start a", "stop a"]);
    assert!(sim.exit.is_some());
}

#[test]
fn a_shorter_bound_shortens_a_shutdown() {
    let mut sim = started(Strategy::OneForOne);
    sim.input(Input::Shutdown { bound: SECOND * 100 });
    sim.poll();
    sim.open.clear();
    sim.input(Input::Shutdown { bound: MS });
    sim.poll();
    assert_eq!(sim.wake, Some(sim.now + MS));
    sim.run();
    assert!(sim.exit.is_some());
}

#[test]
fn late_news_of_old_instances_is_ignored() {
    let mut sim = started(Strategy::OneForOne);
    sim.fail(0);
    sim.take_log();
    let cause = panic();
    sim.input(Input::Ended { leaf: 0, serial: 1, cause, reaction: Reaction::Abort, abandoned: false });
    sim.input(Input::Started { leaf: 0, serial: 1 });
    sim.run();
    assert_eq!(sim.take_log(), Vec::<String>::new());
    assert_eq!(sim.exit, None);
}

/// Hangs come too slowly for the intensity; what counts is what they leave behind.
#[test]
fn too_many_abandoned_threads_escalate() {
    let few = Intensity { max: 3, within: SECOND * 10 };
    let mut sim = Sim::new(Strategy::OneForOne, few);
    sim.leaves(&["a"], 0);
    let sub = sim.branch("sub", Some(0), Strategy::OneForOne, few);
    sim.leaves(&["b", "c"], sub);
    sim.run();
    sim.take_log();
    for _ in 0..ABANDONED_MAX {
        sim.hang(1);
        assert_eq!(sim.take_log(), ["start b"]);
    }
    // Threads that end are not counted any more.
    for _ in 0..20 {
        sim.input(Input::Returned { leaf: 1 });
        sim.hang(1);
        assert_eq!(sim.take_log(), ["start b"]);
    }
    // One too many: its siblings are replaced too, which may be what it hangs on. Then the tree gives up.
    sim.hang(1);
    assert_eq!(sim.take_log(), ["stop c", "start b", "start c"]);
    sim.hang(1);
    let Some(ExitReason::Overrun { actor, through, abandoned: 6, failures: 26, .. }) = &sim.exit else {
        panic!("{:?}", sim.exit)
    };
    assert_eq!((&**actor, through.len()), ("b", 2));
    let text = sim.exit.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(text.contains("6 of its hung instances still run") && text.contains("sub and root"), "{text}");
}

#[test]
fn instances_that_never_stop_on_request_escalate_too() {
    let mut sim = started(Strategy::OneForOne);
    sim.lingering = true;
    for _ in 0..ABANDONED_MAX {
        sim.input(Input::Restart { leaf: 1 });
        sim.poll();
        // It is not told: it does nothing but hang.
        sim.open.clear();
        sim.run();
        assert_eq!(sim.take_log(), ["stop b", "abandon b", "start b"]);
    }
    sim.input(Input::Restart { leaf: 1 });
    sim.poll();
    sim.open.clear();
    sim.run();
    assert!(matches!(sim.exit, Some(ExitReason::Overrun { abandoned: 5, .. })), "{:?}", sim.exit);
}

/// Whatever happens in whatever order: no actor ever has two instances, all are up when it is calm again, and a
/// shutdown ends. (The first two are asserted by the simulation, or here.)
#[test]
fn random_histories() {
    for seed in 0..2_000 {
        let mut dice = StdRng::seed_from_u64(seed);
        let strategies = [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll];
        let strategy = |dice: &mut StdRng| strategies[dice.random_range(0..3)];
        let mut sim = Sim::new(strategy(&mut dice), Intensity { max: 100_000, within: SECOND });
        let mut branch = 0;
        for at in 0..dice.random_range(1..8) {
            if dice.random_bool(0.3) {
                let parent = if dice.random_bool(0.5) { 0 } else { branch };
                let max = dice.random_range(0..4);
                branch = sim.branch("sub", Some(parent), strategy(&mut dice), Intensity { max, within: SECOND });
            }
            sim.leaf(&at.to_string(), branch, RestartKind::Permanent);
        }
        for _ in 0..60 {
            sim.poll();
            match dice.random_range(0..10) {
                0..5 if !sim.open.is_empty() => {
                    let at = dice.random_range(0..sim.open.len());
                    sim.carry_out(at);
                }
                5 => sim.now += MS * dice.random_range(0..2_000),
                6 => {
                    let leaf = dice.random_range(0..sim.leaves.len());
                    sim.input(Input::Restart { leaf });
                }
                _ => {
                    let leaf = dice.random_range(0..sim.leaves.len());
                    if sim.live[leaf] {
                        let reaction = [Reaction::RestartSelf, Reaction::RestartSubtree, Reaction::ResetChainState]
                            [dice.random_range(0..3)];
                        sim.end(leaf, panic(), reaction);
                    }
                }
            }
        }
        sim.run();
        assert_eq!(sim.up().len(), sim.leaves.len(), "seed {seed}: not all are up again");
        sim.input(Input::Shutdown { bound: SECOND });
        sim.run();
        assert!(sim.exit.is_some(), "seed {seed}: the shutdown does not end");
    }
}
