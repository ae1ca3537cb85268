//! What an actor can do besides handling: futures, timers, leases, stopping.

use std::{
    borrow::Cow,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep_until};

use crate::{
    Actor, Fence, Generation, Lease, Ref,
    cell::{AxContext, Cell},
    instance::Instance,
    patience::after,
};

/// What remains to be done on the actor when one of its futures has ended.
pub(crate) enum Step<A: Actor> {
    Nothing,
    Run(Job<A>),
    /// A timer: not run any more once the actor is closing.
    Tick(Job<A>),
    /// Something for the cell itself.
    Inner(Errand<A>),
}

pub(crate) type Job<A> = Box<dyn FnOnce(&mut A, &mut Context<A>) -> Result<(), <A as Actor>::Error>>;
type Errand<A> = Box<dyn FnOnce(&mut Cell<A>, &mut AxContext<A>)>;
pub(crate) type LocalJob<A> = Pin<Box<dyn Future<Output = Step<A>>>>;
type Beat<A> = Box<dyn FnMut(&mut A, &mut Context<A>) -> Result<(), <A as Actor>::Error>>;

/// Handed to every call of an actor; belongs to one instance.
///
/// Once the instance was declared dead nothing here has an effect any more.
pub struct Context<A: Actor> {
    me: Ref<A>,
    pub(crate) instance: Arc<Instance>,
    fence: Fence,
    /// Futures that the cell has not taken over yet.
    pub(crate) fresh: Vec<LocalJob<A>>,
    pub(crate) stop: bool,
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("me", &self.me).field("generation", &self.generation()).finish()
    }
}

impl<A: Actor> Context<A> {
    pub(crate) const fn new(me: Ref<A>, instance: Arc<Instance>, fence: Fence) -> Self {
        Self { me, instance, fence, fresh: Vec::new(), stop: false }
    }

    /// A stable reference to this actor: messages sent to it reach whichever instance is up.
    pub fn myself(&self) -> Ref<A> {
        self.me.clone()
    }

    /// Number of this instance.
    pub const fn generation(&self) -> Generation {
        self.fence.generation()
    }

    /// This instance's pass for durable writes.
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether this instance was declared dead and replaced.
    pub fn is_over(&self) -> bool {
        self.instance.is_dead()
    }

    /// A handle on the lease for futures and worker threads.
    pub fn lease(&self) -> Lease {
        Lease::of(self.instance.clone())
    }

    /// Something was done: resets the deadline. `what` names the state reached, for example "safe head 1204". A handler
    /// that takes long says so now and then, else it counts as hung.
    pub fn progress(&mut self, what: impl Into<Cow<'static, str>>) {
        self.instance.progress(what.into());
    }

    /// Nothing can be done until something happens: names it, for example "L1 block 88". Idle futures are then no hang.
    pub fn waiting(&mut self, for_what: impl Into<Cow<'static, str>>) {
        self.instance.waiting(for_what.into(), None);
    }

    /// The same, and names the actor it waits for, which links the two in the chain of causes.
    pub fn waiting_on(&mut self, actor: impl Into<Arc<str>>, for_what: impl Into<Cow<'static, str>>) {
        self.instance.waiting(for_what.into(), Some(actor.into()));
    }

    /// The actor works, but not in full.
    pub fn degraded(&mut self, why: impl Into<Cow<'static, str>>) {
        self.instance.degraded(why.into());
    }

    /// The actor works in full again.
    pub fn healthy(&mut self) {
        self.instance.healthy();
    }

    /// Runs a future beside the mailbox, then `then` with its output on the actor.
    ///
    /// The future dies with the instance. The actor owes its end within the deadline, unless the lease says that it
    /// makes progress or names what it waits for. For a future that may wait for ever see [`listen`](Self::listen).
    pub fn pipe<F: Future + 'static>(
        &mut self,
        f: F,
        then: impl FnOnce(&mut A, F::Output, &mut Self) -> Result<(), A::Error> + 'static,
    ) {
        if self.is_over() {
            return;
        }
        let owed = self.instance.owe(Duration::ZERO);
        self.fresh.push(Box::pin(async move {
            let output = f.await;
            drop(owed);
            Step::Run(Box::new(move |actor, ctx| then(actor, output, ctx)))
        }));
    }

    /// Like [`pipe`](Self::pipe) for a future that may wait as long as it likes (the next item of a subscription): its
    /// end is not owed, and an orderly stop does not wait for it.
    pub fn listen<F: Future + 'static>(
        &mut self,
        f: F,
        then: impl FnOnce(&mut A, F::Output, &mut Self) -> Result<(), A::Error> + 'static,
    ) {
        if self.is_over() {
            return;
        }
        self.fresh.push(Box::pin(async move {
            let output = f.await;
            Step::Tick(Box::new(move |actor, ctx| then(actor, output, ctx)))
        }));
    }

    /// Runs `then` once, after `d`. Dies with the instance; dropping the [`Timer`] does not cancel it.
    pub fn after(
        &mut self,
        d: Duration,
        then: impl FnOnce(&mut A, &mut Self) -> Result<(), A::Error> + 'static,
    ) -> Timer {
        let timer = Timer::default();
        if !self.is_over() {
            let stop = timer.stop.clone();
            let at = after(Instant::now(), d);
            self.fresh.push(Box::pin(async move {
                if stop.sleep_until(at).await { Step::Tick(Box::new(then)) } else { Step::Nothing }
            }));
        }
        timer
    }

    /// Runs `then` every `d` (at least 1 ms), the first time after `d`. Ticks that were missed are not made up for. Dies
    /// with the instance; dropping the [`Timer`] does not cancel it. An error that leaves the actor alive leaves the
    /// timer alive.
    pub fn every(
        &mut self,
        d: Duration,
        then: impl FnMut(&mut A, &mut Self) -> Result<(), A::Error> + 'static,
    ) -> Timer {
        let timer = Timer::default();
        let period = d.max(Duration::from_millis(1));
        self.arm(after(Instant::now(), period), period, Box::new(then), timer.stop.clone());
        timer
    }

    fn arm(&mut self, at: Instant, period: Duration, mut beat: Beat<A>, stop: Arc<Stop>) {
        if self.is_over() {
            return;
        }
        self.fresh.push(Box::pin(async move {
            if !stop.sleep_until(at).await {
                return Step::Nothing;
            }
            Step::Tick(Box::new(move |actor, ctx| {
                let result = beat(actor, ctx);
                let next = after(at, period).max(Instant::now());
                ctx.arm(next, period, beat, stop);
                result
            }))
        }));
    }

    /// Ends this actor in order: it takes no further messages, handles those that it has taken (within its drain bound), then
    /// [`Actor::stopping`]. A permanent actor is started again.
    pub fn stop(&mut self) {
        self.stop = true;
    }
}

/// A timer of an actor.
#[derive(Debug, Clone, Default)]
pub struct Timer {
    stop: Arc<Stop>,
}

impl Timer {
    /// The timer does not run any more.
    pub fn cancel(&self) {
        self.stop.flag.store(true, Ordering::Release);
        self.stop.wake.notify_one();
    }
}

#[derive(Debug, Default)]
struct Stop {
    flag: AtomicBool,
    wake: Notify,
}

impl Stop {
    /// False if the timer was cancelled.
    async fn sleep_until(&self, at: Instant) -> bool {
        tokio::select! {
            () = sleep_until(at.into()) => {}
            () = self.wake.notified() => {}
        }
        !self.flag.load(Ordering::Acquire)
    }
}
