//! The running tree: carries out what the brain decides, on a thread of its own that runs no code of the user.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use actix_rt::ArbiterHandle;
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use crate::{
    ActorStatus, Cause, DeathCause, ExitReason, Fault, InjectError, Reaction,
    brain::{Action, Brain, Input},
    cause::panic_text,
    cell::Control,
    instance::Instance,
    meters::{self, Meters},
    slot::{SlotCore, Stage},
    spec::{Child, DEFAULT_DEADLINE, Launch},
    status::causes,
    tree::Plan,
    watchdog::{Judge, Watchdog, Watched},
};

/// How long an exit that nobody asked for may take.
const EXIT_BOUND: Duration = Duration::from_secs(10);

/// What reaches the supervisor's thread.
#[derive(Debug)]
pub(crate) enum Event {
    Started { leaf: usize, serial: u64 },
    Ended { leaf: usize, serial: u64 },
    Hung { leaf: usize, serial: u64, why: String },
    Control { leaf: usize, control: Control },
    Restart { leaf: usize },
    Shutdown { bound: Duration },
}

/// Reports of one instance to its supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Herald {
    events: mpsc::UnboundedSender<Event>,
    leaf: usize,
    serial: u64,
}

impl Herald {
    /// It takes messages.
    pub(crate) fn started(&self) {
        // A supervisor that is gone needs no reports.
        let _ = self.events.send(Event::Started { leaf: self.leaf, serial: self.serial });
    }

    /// Its value is dropped.
    pub(crate) fn ended(&self) {
        let _ = self.events.send(Event::Ended { leaf: self.leaf, serial: self.serial });
    }
}

/// A handle on a running tree. Cheap to clone. Dropping the last one shuts the tree down.
#[derive(Clone)]
#[must_use = "dropping the last handle shuts the tree down"]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    events: mpsc::UnboundedSender<Event>,
    exit: watch::Receiver<Option<ExitReason>>,
    slots: Vec<(Arc<SlotCore>, Vec<Arc<str>>)>,
    faults: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Shutdown { bound: EXIT_BOUND });
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.inner.slots.iter().map(|(slot, _)| &slot.name)).finish()
    }
}

impl Supervisor {
    /// Stops all actors in the opposite order of their start, each drained and flushed, and returns when the tree has
    /// ended. What has not stopped within `bound` is left behind and named in the reason.
    pub async fn shutdown(&self, bound: Duration) -> ExitReason {
        let _ = self.inner.events.send(Event::Shutdown { bound });
        self.wait().await
    }

    /// Waits for the end of the tree, whatever brings it about.
    pub async fn wait(&self) -> ExitReason {
        let mut exit = self.inner.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        ended.unwrap_or_else(|| ExitReason::Broken { error: "its thread ended without a word".into() })
    }

    /// Waits until every actor is up (or has done its work). Returns the reason if the tree ends before.
    ///
    /// # Errors
    /// The [`ExitReason`] of a tree that ended.
    pub async fn ready(&self) -> Result<(), ExitReason> {
        let all_up = async {
            for (slot, _) in &self.inner.slots {
                loop {
                    let mut changed = std::pin::pin!(slot.changed.notified());
                    changed.as_mut().enable();
                    match slot.stage() {
                        Stage::Up | Stage::Gone => break,
                        Stage::Down | Stage::Stopping => changed.await,
                    }
                }
            }
        };
        tokio::select! {
            () = all_up => Ok(()),
            reason = self.wait() => Err(reason),
        }
    }

    /// All actors, in start order.
    pub fn actors(&self) -> Vec<ActorStatus> {
        self.inner.slots.iter().map(|(slot, path)| ActorStatus::of(slot, path)).collect()
    }

    /// Why something does not move: each entry is explained by the one after it. Empty if all actors are simply at work.
    /// Legitimate waiting is listed too; see [`Cause::is_trouble`].
    pub fn why(&self) -> Vec<Cause> {
        causes(&self.inner.slots)
    }

    /// Injects a fault into the named actor.
    ///
    /// # Errors
    /// See [`InjectError`]; in particular it is refused unless the tree allows faults.
    pub fn inject(&self, name: &str, fault: Fault) -> Result<(), InjectError> {
        if !self.inner.faults {
            return Err(InjectError::Refused);
        }
        let Some(leaf) = self.inner.slots.iter().position(|(slot, _)| &*slot.name == name) else {
            let known = self.inner.slots.iter().map(|(slot, _)| slot.name.clone()).collect();
            return Err(InjectError::Unknown { name: name.to_owned(), known });
        };
        let slot = &self.inner.slots[leaf].0;
        let check = |share: f64| {
            let valid = (0.0..=1.0).contains(&share);
            if valid { Ok(()) } else { Err(InjectError::Share { share: share.to_string() }) }
        };
        let event = match fault {
            Fault::Stop => Event::Control { leaf, control: Control::Quit },
            Fault::Panic => Event::Control { leaf, control: Control::Panic },
            Fault::Hang(d) => Event::Control { leaf, control: Control::Hang(d) },
            Fault::Restart => Event::Restart { leaf },
            Fault::Drop { share, lasting } => {
                check(share)?;
                slot.faults.drop_share(share, lasting);
                return Ok(());
            }
            Fault::Delay { share, by, lasting } => {
                check(share)?;
                slot.faults.delay_share(share, by, lasting);
                return Ok(());
            }
            Fault::Heal => {
                slot.faults.heal();
                return Ok(());
            }
        };
        let actor = slot.name.clone();
        match slot.stage() {
            Stage::Up => self.inner.events.send(event).map_err(|_| InjectError::Down { actor }),
            Stage::Down => Err(InjectError::Restarting { actor }),
            Stage::Stopping | Stage::Gone => Err(InjectError::Down { actor }),
        }
    }
}

/// Starts the supervisor's and the watchdog's threads.
pub(crate) fn start(plan: Plan, faults: bool) -> Supervisor {
    meters::describe();
    let (events, inbox) = mpsc::unbounded_channel();
    let (tell_exit, exit) = watch::channel(None);
    let slots: Vec<_> =
        plan.children.iter().enumerate().map(|(leaf, child)| (child.core().clone(), plan.path(leaf))).collect();
    let runners = plan.children.into_iter().map(Runner::new).collect();
    let dice = Box::new(rand::random::<f64>);
    let brain = Brain::new(plan.leaves, plan.branches, EXIT_BOUND, dice);
    let supervisor = Supervisor { inner: Arc::new(Inner { events: events.clone(), exit, slots, faults }) };
    let places: Vec<_> = supervisor.inner.slots.iter().map(|(slot, _)| slot.clone()).collect();
    let tell = tell_exit.clone();
    let body = move || {
        let broken = |text: String| ExitReason::Broken { error: text.into() };
        // Actix panics when it cannot make its runtime.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            actix_rt::System::new().block_on(async { Ok(Driver::new(brain, runners, events, inbox)?.run().await) })
        }));
        let reason = match ended {
            Ok(Ok(reason)) => reason,
            Ok(Err(error)) => broken(io::Error::to_string(&error)),
            Err(payload) => broken(panic_text(&*payload)),
        };
        for slot in places.iter().filter(|slot| slot.stage() != Stage::Gone) {
            slot.set_stage(Stage::Stopping);
        }
        tell.send_replace(Some(reason));
    };
    if let Err(error) = thread::Builder::new().name("supervisor".to_owned()).spawn(body) {
        tell_exit.send_replace(Some(ExitReason::Broken { error: error.to_string().into() }));
    }
    supervisor
}

/// A leaf as it runs.
struct Runner {
    child: Arc<dyn Child>,
    meters: Arc<Meters>,
    running: Option<(Arc<Instance>, ArbiterHandle)>,
    /// Serials of instances that were given up and whose threads have not ended.
    abandoned: Vec<u64>,
}

impl Runner {
    fn new(child: Arc<dyn Child>) -> Self {
        let meters = Arc::new(Meters::new(&child.core().name));
        Self { child, meters, running: None, abandoned: Vec::new() }
    }

    /// The instance with this number, if it is the one that runs.
    fn instance(&self, serial: u64) -> Option<&Arc<Instance>> {
        self.running.as_ref().map(|(instance, _)| instance).filter(|instance| instance.serial == serial)
    }

    /// Leaves an instance behind that does not end: shuts it out of everything, and forgets its thread.
    fn abandon(&mut self, serial: u64, why: String) -> Option<(DeathCause, Reaction)> {
        // One that has ended meanwhile has reported it; nothing is left to abandon.
        self.instance(serial).filter(|instance| !instance.has_ended())?;
        let (instance, arbiter) = self.running.take()?;
        instance.record_death(DeathCause::Hang(why.into()), Reaction::RestartSelf);
        self.child.release(&instance);
        self.child.core().gate.revoke(instance.generation());
        // If the thread ever comes back it ends.
        arbiter.stop();
        self.abandoned.push(serial);
        self.meters.abandoned.increment(1.0);
        self.buried(&instance)
    }

    /// Notes the end of an instance and returns why it ended.
    fn buried(&self, instance: &Instance) -> Option<(DeathCause, Reaction)> {
        self.meters.up.set(0.0);
        self.meters.depth.set(0.0);
        let death = instance.death()?;
        self.child.core().record.lock().last_cause = Some(death.cause.clone());
        let (actor, generation) = (&self.child.core().name, instance.generation());
        match &death.cause {
            DeathCause::Error(_) | DeathCause::Panic(_) | DeathCause::Hang(_) => {
                tracing::error!(%actor, %generation, cause = %death.cause, "actor died");
            }
            DeathCause::Stop | DeathCause::Sibling(_) | DeathCause::Requested | DeathCause::Shutdown => {
                tracing::info!(%actor, %generation, cause = %death.cause, "actor ended");
            }
        }
        Some((death.cause.clone(), death.reaction))
    }
}

/// Carries out the actions of the brain.
struct Driver {
    brain: Brain,
    runners: Vec<Runner>,
    watchdog: Watchdog,
    events: mpsc::UnboundedSender<Event>,
    inbox: mpsc::UnboundedReceiver<Event>,
    inputs: VecDeque<Input>,
}

impl Driver {
    fn new(
        brain: Brain,
        runners: Vec<Runner>,
        events: mpsc::UnboundedSender<Event>,
        inbox: mpsc::UnboundedReceiver<Event>,
    ) -> io::Result<Self> {
        let bounds = runners.iter().map(|runner| runner.child.settings());
        let shortest = bounds.map(|s| s.deadline.min(s.start_within)).min().unwrap_or(DEFAULT_DEADLINE);
        Ok(Self { brain, runners, watchdog: Watchdog::start(shortest)?, events, inbox, inputs: VecDeque::new() })
    }

    async fn run(mut self) -> ExitReason {
        loop {
            let now = Instant::now();
            while let Some(input) = self.inputs.pop_front() {
                self.brain.input(now, input);
            }
            let (actions, wake) = self.brain.poll(now);
            for action in actions {
                if let Some(reason) = self.act(action) {
                    return reason;
                }
            }
            if !self.inputs.is_empty() {
                continue;
            }
            let pause = async {
                match wake {
                    Some(wake) => sleep_until(wake.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Never closed: the driver itself holds a sender.
                event = self.inbox.recv() => if let Some(event) = event { self.take(event) },
                () = pause => {}
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started { leaf, serial } => {
                let runner = &self.runners[leaf];
                if let Some(instance) = runner.instance(serial) {
                    // It may be dead by now. It came up all the same, and the news of its end follows.
                    if !instance.is_dead() {
                        runner.meters.up.set(1.0);
                    }
                    tracing::info!(actor = %runner.child.core().name, generation = %instance.generation(), "actor is up");
                    self.inputs.push_back(Input::Started { leaf, serial });
                }
            }
            Event::Ended { leaf, serial } => {
                let runner = &mut self.runners[leaf];
                if runner.instance(serial).is_some() {
                    let ended = runner.running.take().and_then(|(instance, _)| runner.buried(&instance));
                    if let Some((cause, reaction)) = ended {
                        self.inputs.push_back(Input::Ended { leaf, serial, cause, reaction, abandoned: false });
                    }
                } else if let Some(at) = runner.abandoned.iter().position(|gone| *gone == serial) {
                    runner.abandoned.swap_remove(at);
                    runner.meters.abandoned.decrement(1.0);
                    self.inputs.push_back(Input::Returned { leaf });
                    tracing::info!(actor = %runner.child.core().name, "an abandoned instance has come to its end");
                }
            }
            Event::Hung { leaf, serial, why } => {
                if let Some((cause, reaction)) = self.runners[leaf].abandon(serial, why) {
                    self.inputs.push_back(Input::Ended { leaf, serial, cause, reaction, abandoned: true });
                }
            }
            Event::Control { leaf, control } => {
                let runner = &self.runners[leaf];
                if let Some((instance, _)) = &runner.running {
                    runner.child.control(instance, control);
                }
            }
            Event::Restart { leaf } => self.inputs.push_back(Input::Restart { leaf }),
            Event::Shutdown { bound } => self.inputs.push_back(Input::Shutdown { bound }),
        }
    }

    fn act(&mut self, action: Action) -> Option<ExitReason> {
        match action {
            Action::Start { leaf, serial, attempt, reset, cause } => self.launch(leaf, serial, attempt, reset, cause),
            Action::Stop { leaf, serial, drain, cause } => {
                let runner = &self.runners[leaf];
                if let Some(instance) = runner.instance(serial) {
                    // Before it has a mailbox the flag stops it, after that the message does. The flag comes first: from
                    // then on it cannot come up behind our back.
                    instance.cancel();
                    runner.child.unpublish(instance);
                    runner.meters.up.set(0.0);
                    if cause == DeathCause::Shutdown {
                        runner.child.core().set_stage(Stage::Stopping);
                    }
                    runner.child.control(instance, Control::Stop { cause, drain });
                }
            }
            Action::Abandon { leaf, serial } => {
                let abandoned = self.runners[leaf].abandon(serial, "it did not stop in time".to_owned());
                if abandoned.is_none() {
                    // It has ended at the last moment.
                    self.inputs.push_back(Input::Returned { leaf });
                }
            }
            Action::Refuse { leaf } => self.runners[leaf].child.core().set_stage(Stage::Stopping),
            Action::Finish { leaf } => self.runners[leaf].child.core().set_stage(Stage::Gone),
            Action::Exit(reason) => return Some(reason),
        }
        None
    }

    fn launch(&mut self, leaf: usize, serial: u64, attempt: u32, reset: bool, cause: Option<DeathCause>) {
        let runner = &mut self.runners[leaf];
        let slot = runner.child.core().clone();
        {
            let mut record = slot.record.lock();
            record.attempt = attempt;
            if let Some(cause) = cause.as_ref().filter(|_| serial > 1) {
                record.restarts += 1;
                runner.meters.restarts(cause.label()).increment(1);
            }
        }
        let herald = Herald { events: self.events.clone(), leaf, serial };
        match runner.child.launch(Launch { attempt, reset, cause, herald, serial }) {
            Ok((instance, arbiter)) => {
                runner.running = Some((instance.clone(), arbiter));
                self.watch(leaf, instance);
            }
            Err(error) => {
                let cause = DeathCause::Error(format!("could not start a thread: {error}").into());
                slot.record.lock().last_cause = Some(cause.clone());
                let reaction = Reaction::RestartSelf;
                self.inputs.push_back(Input::Ended { leaf, serial, cause, reaction, abandoned: false });
            }
        }
    }

    fn watch(&self, leaf: usize, instance: Arc<Instance>) {
        let runner = &self.runners[leaf];
        let settings = runner.child.settings();
        let (child, events, serial) = (runner.child.clone(), self.events.clone(), instance.serial);
        let pinged = instance.clone();
        self.watchdog.add(Watched {
            meters: runner.meters.clone(),
            ping: Box::new(move |number| child.control(&pinged, Control::Ping(number))),
            alarm: Box::new(move |why| {
                // A supervisor that is gone needs no alarms.
                let _ = events.send(Event::Hung { leaf, serial, why });
            }),
            judge: Judge::new(Instant::now(), settings.deadline, settings.start_within),
            instance,
        });
    }
}
