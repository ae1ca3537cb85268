//! How an actor is made: its factory, and how it is supervised.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_rt::{Arbiter, ArbiterHandle};
use futures::FutureExt;

use crate::{
    Actor, Context, DeathCause, Fence, Generation, Lease, Reaction, Ref, RestartKind, StartError,
    cause::panic_text,
    cell::{AxContext, Cell, Control, drop_quietly},
    instance::{Instance, enter},
    slot::{Link, Slot, SlotCore},
    supervisor::Herald,
};

/// A missed deadline makes an actor hung, unless the spec says otherwise.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// A factory may open and check a database.
const DEFAULT_START: Duration = Duration::from_secs(120);
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);
/// How long a new instance waits for a durable write of its predecessor.
const FENCE_WAIT: Duration = Duration::from_secs(5);

/// What a factory is told about the instance it makes.
#[derive(Debug, Clone)]
pub struct StartContext {
    /// The actor's name.
    pub name: Arc<str>,
    /// Number of the new instance.
    pub generation: Generation,
    /// Its pass for durable writes.
    pub fence: Fence,
    /// Failures in a row before this start; 0 for the first.
    pub attempt: u32,
    /// The previous instance asked for its chain state to be rebuilt ([`Reaction::ResetChainState`]).
    pub reset: bool,
    /// Why the previous instance ended; `None` for the first.
    pub cause: Option<DeathCause>,
    /// A factory that takes long (replaying a journal) says here what it has done, else it counts as hung.
    pub lease: Lease,
}

impl StartContext {
    /// The context of a first start outside of any tree, for tests of a factory.
    pub fn detached(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            generation: Generation(0),
            fence: Fence::unfenced(),
            attempt: 0,
            reset: false,
            cause: None,
            lease: Lease::detached(),
        }
    }
}

type Factory<A> = dyn Fn(StartContext) -> Result<A, StartError> + Send + Sync;

/// How one actor is made and supervised.
pub struct ChildSpec<A: Actor> {
    slot: Arc<Slot<A>>,
    factory: Arc<Factory<A>>,
    settings: Settings,
}

/// How one actor is supervised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) restart: RestartKind,
    pub(crate) deadline: Duration,
    pub(crate) start_within: Duration,
    pub(crate) drain: Duration,
}

impl<A: Actor> fmt::Debug for ChildSpec<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec").field("name", &self.slot.core.name).field("settings", &self.settings).finish()
    }
}

impl<A: Actor> ChildSpec<A> {
    /// An actor, and the factory that makes each of its instances, on the instance's own thread; it may block.
    ///
    /// State that must survive a restart is on disk or with others, never captured in the factory. What only one
    /// instance can hold (a file lock, a listening socket) is best held outside of the actor: a hung instance keeps it.
    pub fn new(
        actor: &Ref<A>,
        factory: impl Fn(StartContext) -> Result<A, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            slot: actor.slot.clone(),
            factory: Arc::new(factory),
            settings: Settings {
                restart: RestartKind::Permanent,
                deadline: DEFAULT_DEADLINE,
                start_within: DEFAULT_START,
                drain: DEFAULT_DRAIN,
            },
        }
    }

    /// When it is started again. Default: [`RestartKind::Permanent`].
    #[must_use]
    pub const fn restart(mut self, kind: RestartKind) -> Self {
        self.settings.restart = kind;
        self
    }

    /// Bound of its mailbox, in messages (at least 1). Default: 256.
    #[must_use]
    pub fn mailbox(self, capacity: usize) -> Self {
        self.slot.core.capacity.store(capacity.max(1), Ordering::Relaxed);
        self
    }

    /// After so long without a sign of life the actor is hung. Default: 10 s.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// The same for the factory and [`Actor::started`]. Default: 120 s.
    #[must_use]
    pub const fn start_within(mut self, bound: Duration) -> Self {
        self.settings.start_within = bound;
        self
    }

    /// How long an orderly stop waits for piped futures, replies that are owed, and flushing. Default: 5 s.
    #[must_use]
    pub const fn drain(mut self, bound: Duration) -> Self {
        self.settings.drain = bound;
        self
    }
}

/// What the supervisor says about a start.
pub(crate) struct Launch {
    pub(crate) serial: u64,
    pub(crate) attempt: u32,
    pub(crate) reset: bool,
    pub(crate) cause: Option<DeathCause>,
    pub(crate) herald: Herald,
}

/// A [`ChildSpec`] without the actor's type.
pub(crate) trait Child: Send + Sync {
    fn core(&self) -> &Arc<SlotCore>;
    fn settings(&self) -> Settings;
    /// Starts an instance on a fresh thread; needs an actix system on the calling thread.
    fn launch(&self, launch: Launch) -> io::Result<(Arc<Instance>, ArbiterHandle)>;
    fn unpublish(&self, instance: &Arc<Instance>);
    fn release(&self, instance: &Arc<Instance>);
    fn control(&self, instance: &Arc<Instance>, control: Control) -> bool;
}

impl<A: Actor> Child for ChildSpec<A> {
    fn core(&self) -> &Arc<SlotCore> {
        &self.slot.core
    }

    fn settings(&self) -> Settings {
        self.settings
    }

    fn launch(&self, launch: Launch) -> io::Result<(Arc<Instance>, ArbiterHandle)> {
        let arbiter = Arbiter::try_new()?.handle();
        let instance = Arc::new(Instance::new(self.slot.core.clone(), launch.serial));
        // Before anyone can meet it: what is asked about the actor is answered from here.
        self.slot.core.record.lock().instance = Some(instance.clone());
        let life = Life {
            slot: self.slot.clone(),
            factory: self.factory.clone(),
            drain: self.settings.drain,
            instance: instance.clone(),
            launch,
        };
        arbiter.spawn_fn(move || {
            actix_rt::spawn(life.run());
        });
        Ok((instance, arbiter))
    }

    fn unpublish(&self, instance: &Arc<Instance>) {
        self.slot.unpublish(instance);
    }

    fn release(&self, instance: &Arc<Instance>) {
        self.slot.release(instance);
    }

    fn control(&self, instance: &Arc<Instance>, control: Control) -> bool {
        self.slot.control(instance, control)
    }
}

/// One instance from its factory to its end, on its own thread.
struct Life<A: Actor> {
    slot: Arc<Slot<A>>,
    factory: Arc<Factory<A>>,
    drain: Duration,
    instance: Arc<Instance>,
    launch: Launch,
}

/// Reports the end of an instance, whatever way it comes.
struct LastWord {
    instance: Arc<Instance>,
    herald: Herald,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        self.instance.record_death(DeathCause::Error("its thread ended early".into()), Reaction::RestartSelf);
        self.instance.set_ended();
        self.herald.ended();
        if let Some(arbiter) = Arbiter::try_current() {
            arbiter.stop();
        }
    }
}

impl<A: Actor> Life<A> {
    async fn run(self) {
        let instance = self.instance.clone();
        let _last_word = LastWord { instance: instance.clone(), herald: self.launch.herald.clone() };
        adopt_thread(&instance);
        let slot = self.slot.clone();
        match self.make() {
            Ok((ax, cell)) => {
                let link = Link { addr: actix::AsyncContext::address(&ax), instance: instance.clone() };
                if slot.hold(Arc::new(link)) {
                    // The user's panics are caught in the cell; this is the last line.
                    let lived = AssertUnwindSafe(ax.into_future(cell)).catch_unwind().await;
                    if let Err(payload) = lived {
                        let cause = DeathCause::Panic(panic_text(&*payload).into());
                        instance.record_death(cause, Reaction::RestartSelf);
                    }
                }
            }
            Err((cause, reaction)) => {
                instance.record_death(cause, reaction);
            }
        }
        slot.release(&instance);
    }

    fn make(self) -> Result<(AxContext<A>, Cell<A>), (DeathCause, Reaction)> {
        let failed = |text: &str| DeathCause::Error(text.into());
        let instance = self.instance;
        let unwanted = || instance.is_dead() || instance.is_cancelled();
        let fence = self
            .slot
            .core
            .gate
            .advance_if(FENCE_WAIT, || !unwanted())
            .map_err(|busy| (failed(&busy.to_string()), Reaction::RestartSelf))?
            .ok_or((DeathCause::Shutdown, Reaction::RestartSelf))?;
        instance.set_generation(fence.generation());
        let start = StartContext {
            name: self.slot.core.name.clone(),
            generation: fence.generation(),
            fence: fence.clone(),
            attempt: self.launch.attempt,
            reset: self.launch.reset,
            cause: self.launch.cause,
            lease: Lease::of(instance.clone()),
        };
        let user = match catch_unwind(AssertUnwindSafe(|| (self.factory)(start))) {
            Ok(Ok(user)) => user,
            Ok(Err(error)) => return Err((failed(&format!("could not start: {error}")), error.reaction)),
            Err(payload) => {
                let text = format!("could not start: {}", panic_text(&*payload));
                return Err((DeathCause::Panic(text.into()), Reaction::RestartSelf));
            }
        };
        if unwanted() {
            drop_quietly(user);
            return Err((DeathCause::Shutdown, Reaction::RestartSelf));
        }
        let mut ax = AxContext::<A>::new();
        // Unbounded for actix: the bound is ours, because actix parks a full sender instead of telling it.
        ax.set_mailbox_capacity(0);
        let ctx = Context::new(Ref { slot: self.slot.clone() }, instance.clone(), fence);
        Ok((ax, Cell::new(user, ctx, self.slot, self.launch.herald, self.drain)))
    }
}

/// Ties the thread to the instance, and names it for whoever looks at the process from outside.
fn adopt_thread(instance: &Arc<Instance>) {
    enter(instance.clone());
    // Both only where the kernel offers them.
    if let Ok(link) = std::fs::read_link("/proc/thread-self") {
        let _ = instance.thread.set(format!("/proc/{}/schedstat", link.display()));
    }
    let name: String = instance.slot.name.chars().take(15).collect();
    let _ = std::fs::write("/proc/thread-self/comm", name);
}
