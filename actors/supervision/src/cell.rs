//! The actix actor around an actor of ours: it catches panics, applies reactions, and answers for every message.

use std::{
    any::{Any, TypeId},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::{ActorContext, AsyncContext, fut::ActorFuture};
use futures::{StreamExt, stream::FuturesUnordered};
use metrics::Histogram;
use tokio::time::{Sleep, sleep};

use crate::{
    Actor, ActorError, AskError, Context, DeathCause, Failure, Handle, Message, Reaction, Reply,
    ask::{Parcel, Wire},
    cause::{error_text, panic_text},
    context::{LocalJob, Step},
    fault::Fate,
    instance::Instance,
    meters::handle_seconds,
    patience::after,
    reply::Pending,
    slot::Slot,
    supervisor::Herald,
};

pub(crate) type AxContext<A> = actix::Context<Cell<A>>;

/// After so many messages in a row the thread looks after its timers and futures: actix alone would not.
const MESSAGES_PER_TURN: u32 = 64;
/// After so many finished futures in a row the mailbox has its turn.
const STEPS_PER_TURN: u32 = 64;
/// How often a closing actor looks whether it owes nothing any more.
const CLOSING_LOOK: Duration = Duration::from_millis(2);

/// What the supervisor and the watchdog say to a cell.
#[derive(Debug)]
pub(crate) enum Control {
    Ping(u64),
    Stop {
        cause: DeathCause,
        drain: Duration,
    },
    /// As if the actor had stopped itself.
    Quit,
    Panic,
    Hang(Duration),
}

impl actix::Message for Control {
    type Result = ();
}

/// How one call of the user's code went.
enum Outcome<R> {
    Done(R),
    Failed(Failure),
    /// The instance is dead now.
    Dead,
}

struct Closing {
    cause: DeathCause,
    until: Instant,
    flushed: bool,
    look: Pin<Box<Sleep>>,
}

/// An instance of an actor on its thread.
pub(crate) struct Cell<A: Actor> {
    user: Option<A>,
    ctx: Context<A>,
    jobs: FuturesUnordered<LocalJob<A>>,
    closing: Option<Closing>,
    seconds: Vec<(TypeId, Histogram)>,
    in_a_row: u32,
    /// The end of the previous message of the same turn: the clock is read once for each message, not twice.
    clock: Option<Instant>,
    slot: Arc<Slot<A>>,
    instance: Arc<Instance>,
    herald: Herald,
    drain: Duration,
    /// Callers whose messages an injected fault has lost: they are to hear nothing, so their wires stay open.
    lost: Vec<Box<dyn LostWire>>,
}

// Nothing in a cell is pinned in place; actix asks for it.
impl<A: Actor> Unpin for Cell<A> {}

trait LostWire {
    fn is_over(&self) -> bool;
}

impl<R: Send + 'static> LostWire for tokio::sync::oneshot::Sender<Result<R, AskError>> {
    fn is_over(&self) -> bool {
        self.is_closed()
    }
}

impl<A: Actor> Cell<A> {
    pub(crate) fn new(user: A, ctx: Context<A>, slot: Arc<Slot<A>>, herald: Herald, drain: Duration) -> Self {
        Self {
            user: Some(user),
            instance: ctx.instance.clone(),
            ctx,
            jobs: FuturesUnordered::new(),
            closing: None,
            seconds: Vec::new(),
            in_a_row: 0,
            clock: None,
            slot,
            herald,
            drain,
            lost: Vec::new(),
        }
    }

    /// Runs the user's code. If the instance dies of it, the cause is recorded before anything is dropped.
    fn call<R>(&mut self, f: impl FnOnce(&mut A, &mut Context<A>) -> Result<R, A::Error>) -> Outcome<R> {
        let Some(user) = self.user.as_mut() else { return Outcome::Dead };
        let ctx = &mut self.ctx;
        let result = catch_unwind(AssertUnwindSafe(|| {
            f(user, ctx).map_err(|error| (error.reaction(), Arc::<str>::from(error_text(&error))))
        }));
        self.instance.beat();
        match result {
            Ok(Ok(done)) => Outcome::Done(done),
            Ok(Err((reaction, message))) => match reaction {
                Reaction::Retry => {
                    tracing::debug!(actor = %self.slot.core.name, error = %message, "a call failed and may be tried again");
                    Outcome::Failed(Failure { message, retryable: true })
                }
                Reaction::Degrade => {
                    tracing::warn!(actor = %self.slot.core.name, error = %message, "degraded");
                    self.instance.degraded(message.to_string().into());
                    Outcome::Failed(Failure { message, retryable: false })
                }
                Reaction::RestartSelf | Reaction::RestartSubtree | Reaction::ResetChainState | Reaction::Abort => {
                    self.die(DeathCause::Error(message), reaction);
                    Outcome::Dead
                }
            },
            Err(payload) => {
                self.die(DeathCause::Panic(panic_text(&*payload).into()), Reaction::RestartSelf);
                Outcome::Dead
            }
        }
    }

    fn die(&self, cause: DeathCause, reaction: Reaction) {
        self.instance.record_death(cause, reaction);
        self.slot.unpublish(&self.instance);
    }

    /// After any call of the user's code: buries the dead, begins to close if asked to.
    fn settle(&mut self, ax: &mut AxContext<A>) {
        if self.instance.is_dead() {
            self.bury(ax);
        } else if self.ctx.stop {
            self.close(DeathCause::Stop, self.drain);
        }
    }

    /// Drops all that belongs to the instance and ends its actix context.
    fn bury(&mut self, ax: &mut AxContext<A>) {
        drop_quietly(std::mem::take(&mut self.jobs));
        drop_quietly(std::mem::take(&mut self.ctx.fresh));
        drop_quietly(self.user.take());
        ax.terminate();
    }

    fn close(&mut self, cause: DeathCause, drain: Duration) {
        if self.closing.is_none() {
            self.slot.unpublish(&self.instance);
            let look = Box::pin(sleep(Duration::ZERO));
            self.closing = Some(Closing { cause, until: after(Instant::now(), drain), flushed: false, look });
        }
    }

    fn seconds<M: Message>(&mut self) -> &Histogram {
        let id = TypeId::of::<M>();
        let at = match self.seconds.iter().position(|(known, _)| *known == id) {
            Some(at) => at,
            None => {
                self.seconds.push((id, handle_seconds(&self.slot.core.name, M::NAME)));
                self.seconds.len() - 1
            }
        };
        &self.seconds[at].1
    }

    fn handle_parcel<M: Message>(&mut self, parcel: Parcel<M>, ax: &mut AxContext<A>)
    where
        A: Handle<M>,
    {
        let Parcel { msg, wire, bound } = parcel;
        if wire.as_ref().is_some_and(|wire| wire.is_closed()) {
            // The caller has given up: what it has been told has not happened must not happen now.
            self.instance.beat();
            return;
        }
        let begun = self.clock.take().unwrap_or_else(Instant::now);
        let outcome = self.call(|user, ctx| user.handle(msg, ctx));
        let ended = Instant::now();
        self.clock = Some(ended);
        self.seconds::<M>().record((ended - begun).as_secs_f64());
        if self.ctx.stop {
            // Before the reply: who has it must not find this instance any more.
            self.close(DeathCause::Stop, self.drain);
        }
        match outcome {
            Outcome::Done(reply) => self.answer(reply, wire, bound),
            Outcome::Failed(error) => {
                if let Some(wire) = wire {
                    let _ = wire.send(Err(AskError::Failed { actor: self.slot.core.name.clone(), error }));
                }
            }
            // Before the burial, which may take long.
            Outcome::Dead => drop(wire),
        }
        self.settle(ax);
    }

    fn answer<M: Message>(&mut self, reply: Reply<M>, wire: Option<Wire<M>>, bound: Duration) {
        match reply {
            Reply::Now(answer) => {
                if let Some(wire) = wire {
                    // A zombie that wakes up at the end of its handler has nothing to say any more.
                    let answer =
                        if self.instance.is_dead() { Err(self.instance.dropped_request()) } else { Ok(answer) };
                    let _ = wire.send(answer);
                }
            }
            Reply::Later(future) => {
                let owed = self.instance.owe(bound);
                let pending = wire.map(|wire| Pending::new(wire, &self.instance));
                self.ctx.fresh.push(Box::pin(async move {
                    let answer = future.await;
                    drop(owed);
                    if let Some(pending) = pending {
                        pending.settle(Ok(answer));
                    }
                    Step::Nothing
                }));
            }
            Reply::Deferred(deferred) => deferred.connect(wire.map(|wire| Pending::new(wire, &self.instance))),
        }
    }

    fn lose<M: Message>(&mut self, parcel: Parcel<M>) {
        self.instance.beat();
        self.lost.retain(|wire| !wire.is_over());
        if let Some(wire) = parcel.wire {
            self.lost.push(Box::new(wire));
        }
    }

    /// Takes the next step of a future that ended.
    fn step(&mut self, step: Step<A>, ax: &mut AxContext<A>) {
        self.clock = None;
        match step {
            Step::Nothing => {}
            Step::Tick(_) if self.closing.is_some() => {}
            Step::Run(job) | Step::Tick(job) => {
                if let Outcome::Failed(error) = self.call(job) {
                    tracing::warn!(actor = %self.slot.core.name, %error, "a timer or a piped future failed");
                }
                self.settle(ax);
            }
            Step::Inner(inner) => inner(self, ax),
        }
    }

    /// Runs what is ready of the actor's futures. Returns whether more is ready.
    fn work(&mut self, ax: &mut AxContext<A>, task: &mut TaskContext<'_>) -> bool {
        self.clock = None;
        for _ in 0..STEPS_PER_TURN {
            if self.instance.is_dead() {
                self.bury(ax);
                return false;
            }
            self.jobs.extend(self.ctx.fresh.drain(..));
            match catch_unwind(AssertUnwindSafe(|| self.jobs.poll_next_unpin(task))) {
                Ok(Poll::Ready(Some(step))) => self.step(step, ax),
                Ok(Poll::Ready(None) | Poll::Pending) => {
                    if !self.work_on_closing(ax, task) {
                        return false;
                    }
                }
                Err(payload) => self.die(DeathCause::Panic(panic_text(&*payload).into()), Reaction::RestartSelf),
            }
        }
        true
    }

    /// Returns whether something has changed.
    fn work_on_closing(&mut self, ax: &mut AxContext<A>, task: &mut TaskContext<'_>) -> bool {
        let Some(closing) = &mut self.closing else { return false };
        let now = Instant::now();
        // Messages that were accepted before it began to close are still in the mailbox: it hands out a few at a time.
        let is_done = self.instance.owes_nothing() && self.instance.depth.load(Ordering::Acquire) == 0;
        if is_done || now >= closing.until {
            if closing.flushed {
                let cause = closing.cause.clone();
                self.die(cause, Reaction::RestartSelf);
                self.bury(ax);
                return false;
            }
            closing.flushed = true;
            self.call(|user, ctx| {
                user.stopping(ctx);
                Ok(())
            });
            return true;
        }
        if closing.look.as_mut().poll(task).is_pending() {
            return false;
        }
        closing.look.as_mut().reset((now + CLOSING_LOOK).into());
        true
    }

    /// Whether there is anyone left to handle a message; buries the instance if it was declared dead meanwhile.
    fn is_alive(&mut self, ax: &mut AxContext<A>) -> bool {
        if self.instance.is_dead() || self.user.is_none() {
            self.bury(ax);
            return false;
        }
        true
    }
}

impl<A: Actor> Drop for Cell<A> {
    fn drop(&mut self) {
        // Panics of the actor's own code are caught and recorded where they happen. This is for whatever ends the cell
        // from outside: the thread unwinds, or someone stops its arbiter.
        if !self.instance.is_dead() {
            let cause = if std::thread::panicking() {
                DeathCause::Panic("its thread is unwinding".into())
            } else {
                DeathCause::Error("its arbiter was stopped from outside of the supervisor".into())
            };
            self.die(cause, Reaction::RestartSelf);
        }
    }
}

impl<A: Actor> actix::Actor for Cell<A> {
    type Context = AxContext<A>;

    fn started(&mut self, ax: &mut Self::Context) {
        ax.spawn(Worker);
        if self.instance.is_cancelled() {
            self.die(DeathCause::Shutdown, Reaction::RestartSelf);
            self.bury(ax);
            return;
        }
        match self.call(|user, ctx| user.started(ctx)) {
            Outcome::Done(()) => {}
            Outcome::Failed(error) if error.retryable => {
                self.die(DeathCause::Error(error.message), Reaction::RestartSelf);
            }
            // Degraded: it goes on.
            Outcome::Failed(_) | Outcome::Dead => {}
        }
        if !self.instance.is_dead() {
            if self.slot.publish(&self.instance) {
                self.herald.started();
            } else {
                // Not wanted any more.
                self.die(DeathCause::Shutdown, Reaction::RestartSelf);
            }
        }
        self.settle(ax);
    }
}

impl<A: Handle<M>, M: Message> actix::Handler<Parcel<M>> for Cell<A> {
    type Result = ();

    fn handle(&mut self, parcel: Parcel<M>, ax: &mut Self::Context) {
        self.instance.depth.fetch_sub(1, Ordering::AcqRel);
        if !self.is_alive(ax) {
            return;
        }
        self.in_a_row += 1;
        if self.in_a_row >= MESSAGES_PER_TURN {
            self.in_a_row = 0;
            ax.wait(Yield { yielded: false });
        }
        match self.slot.core.faults.fate() {
            Fate::Handle => self.handle_parcel(parcel, ax),
            Fate::Lose => self.lose(parcel),
            Fate::Delay(by) => self.ctx.fresh.push(Box::pin(async move {
                sleep(by).await;
                Step::Inner(Box::new(move |cell: &mut Self, ax: &mut AxContext<A>| cell.handle_parcel(parcel, ax)))
            })),
        }
    }
}

impl<A: Actor> actix::Handler<Control> for Cell<A> {
    type Result = ();

    fn handle(&mut self, control: Control, ax: &mut Self::Context) {
        if !self.is_alive(ax) {
            return;
        }
        match control {
            Control::Ping(number) => {
                self.instance.pongs.store(number, Ordering::Relaxed);
                self.instance.beat();
            }
            Control::Stop { cause, drain } => self.close(cause, drain),
            Control::Quit => self.close(DeathCause::Stop, self.drain),
            Control::Panic => {
                self.call::<()>(|_, _| panic!("injected panic"));
            }
            Control::Hang(d) => std::thread::sleep(d),
        }
        self.settle(ax);
    }
}

/// The one actix future of a cell: runs all futures of the actor. (Actix polls each of its futures at every turn.)
struct Worker;

impl<A: Actor> ActorFuture<Cell<A>> for Worker {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cell: &mut Cell<A>, ax: &mut AxContext<A>, task: &mut TaskContext<'_>) -> Poll<()> {
        if cell.work(ax, task) {
            task.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Gives the rest of the thread a turn between two messages.
struct Yield {
    yielded: bool,
}

impl<A: Actor> ActorFuture<Cell<A>> for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Cell<A>, _: &mut AxContext<A>, task: &mut TaskContext<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Drops a value of the user; a panic in its `Drop` must not take the burial with it.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        tracing::error!(panic = %panic_text(&*payload as &(dyn Any + Send)), "a value of a dead actor panicked when it was dropped");
    }
}
