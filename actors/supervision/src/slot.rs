//! The place of an actor in the node: it outlives every instance.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Instant,
};

use actix::Addr;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    Actor, DeathCause, Gate, Handle, Message,
    ask::{Deliver, Parcel, Refused, Why},
    cell::{Cell, Control},
    fault::Faults,
    instance::{Instance, own_death, with_current},
};

/// What a caller finds when no instance takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Not up now, but it will be.
    Down = 0,
    /// An instance takes messages.
    Up = 1,
    /// The tree is being shut down.
    Stopping = 2,
    /// It will never be up again.
    Gone = 3,
}

impl Stage {
    const fn from_u8(raw: u8) -> Self {
        match raw {
            1 => Self::Up,
            2 => Self::Stopping,
            3 => Self::Gone,
            _ => Self::Down,
        }
    }
}

/// What is known about an actor from outside.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) instance: Option<Arc<Instance>>,
    /// When the stage changed last.
    pub(crate) since: Instant,
    pub(crate) restarts: u64,
    pub(crate) attempt: u32,
    pub(crate) last_cause: Option<DeathCause>,
}

/// The part of a slot that does not know the actor's type.
#[derive(Debug)]
pub(crate) struct SlotCore {
    pub(crate) name: Arc<str>,
    /// Bound of the mailbox, in messages.
    pub(crate) capacity: AtomicUsize,
    /// Whether a tree has taken the reference.
    pub(crate) wired: AtomicBool,
    pub(crate) gate: Gate,
    pub(crate) faults: Faults,
    /// Notified at every change of the stage.
    pub(crate) changed: Notify,
    stage: AtomicU8,
    pub(crate) record: Mutex<Record>,
}

/// Mailbox bound unless the spec says otherwise.
pub(crate) const DEFAULT_MAILBOX: usize = 256;

impl SlotCore {
    fn new(name: Arc<str>) -> Self {
        Self {
            gate: Gate::new(name.clone()),
            name,
            capacity: AtomicUsize::new(DEFAULT_MAILBOX),
            wired: AtomicBool::new(false),
            faults: Faults::default(),
            changed: Notify::new(),
            stage: AtomicU8::new(Stage::Down as u8),
            record: Mutex::new(Record {
                instance: None,
                since: Instant::now(),
                restarts: 0,
                attempt: 0,
                last_cause: None,
            }),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::from_u8(self.stage.load(Ordering::Acquire))
    }

    /// Sets the stage from the supervisor's side.
    pub(crate) fn set_stage(&self, stage: Stage) {
        let mut record = self.record.lock();
        if self.stage() != stage {
            record.since = Instant::now();
            self.stage.store(stage as u8, Ordering::Release);
        }
        drop(record);
        self.changed.notify_waiters();
    }
}

/// The way to one instance.
pub(crate) struct Link<A: Actor> {
    pub(crate) addr: Addr<Cell<A>>,
    pub(crate) instance: Arc<Instance>,
}

/// The place of an actor: what every [`Ref`](crate::Ref) to it shares.
pub(crate) struct Slot<A: Actor> {
    pub(crate) core: Arc<SlotCore>,
    /// The instance that takes messages.
    current: ArcSwapOption<Link<A>>,
    /// The instance that exists, from before its start until it is given up.
    held: Mutex<Option<Arc<Link<A>>>>,
}

impl<A: Actor> fmt::Debug for Slot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("name", &self.core.name).field("stage", &self.core.stage()).finish()
    }
}

impl<A: Actor> Slot<A> {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { core: Arc::new(SlotCore::new(name)), current: ArcSwapOption::empty(), held: Mutex::new(None) }
    }

    /// Keeps the way to an instance that is being started, for the supervisor and for messages it sends to itself. An
    /// instance that was given up meanwhile must not take the place of its replacement: then false.
    pub(crate) fn hold(&self, link: Arc<Link<A>>) -> bool {
        // Whoever gives an instance up records its death first and comes here, for the lock, afterwards.
        let mut held = self.held.lock();
        if link.instance.is_dead() {
            return false;
        }
        *held = Some(link);
        true
    }

    /// Lets the held instance take messages, unless it was given up meanwhile.
    pub(crate) fn publish(&self, instance: &Arc<Instance>) -> bool {
        let held = self.held.lock();
        let Some(link) = held.as_ref().filter(|link| Arc::ptr_eq(&link.instance, instance)) else { return false };
        if instance.is_dead() || instance.is_cancelled() {
            return false;
        }
        instance.set_up();
        self.current.store(Some(link.clone()));
        self.core.set_stage(Stage::Up);
        true
    }

    /// From now on `instance` takes no messages. Callers that come find the slot down and wait.
    pub(crate) fn unpublish(&self, instance: &Arc<Instance>) {
        let held = self.held.lock();
        let is_current = self.current.load().as_ref().is_some_and(|link| Arc::ptr_eq(&link.instance, instance));
        if is_current {
            self.current.store(None);
            if self.core.stage() == Stage::Up {
                self.core.set_stage(Stage::Down);
            }
        }
        drop(held);
    }

    /// Forgets the way to `instance`.
    pub(crate) fn release(&self, instance: &Arc<Instance>) {
        self.unpublish(instance);
        let mut held = self.held.lock();
        if held.as_ref().is_some_and(|link| Arc::ptr_eq(&link.instance, instance)) {
            *held = None;
        }
    }

    /// Puts a control message into the mailbox of `instance`, beside the bound. False if there is no mailbox (yet).
    pub(crate) fn control(&self, instance: &Arc<Instance>, control: Control) -> bool {
        let link = self.held.lock().clone();
        match link {
            Some(link) if Arc::ptr_eq(&link.instance, instance) => link.addr.try_send(control).is_ok(),
            _ => false,
        }
    }

    /// An actor may send to itself while it starts, before anyone else may.
    fn own_link(&self) -> Option<Arc<Link<A>>> {
        let link = self.held.lock().clone()?;
        with_current(|me| Arc::ptr_eq(me, &link.instance) && !me.is_dead()).unwrap_or(false).then_some(link)
    }

    fn post_to<M: Message>(&self, link: &Link<A>, parcel: Parcel<M>) -> Result<Arc<Instance>, Refused<M>>
    where
        A: Handle<M>,
    {
        let instance = &link.instance;
        let depth = instance.depth.fetch_add(1, Ordering::AcqRel);
        if depth >= self.core.capacity.load(Ordering::Relaxed) {
            instance.depth.fetch_sub(1, Ordering::AcqRel);
            return Err(Refused { parcel, why: Why::Full(depth) });
        }
        match link.addr.try_send(parcel) {
            Ok(()) => Ok(instance.clone()),
            Err(refused) => {
                instance.depth.fetch_sub(1, Ordering::AcqRel);
                Err(Refused { parcel: refused.into_inner(), why: Why::Down })
            }
        }
    }
}

impl<A: Handle<M>, M: Message> Deliver<M> for Slot<A> {
    fn post(&self, parcel: Parcel<M>) -> Result<Arc<Instance>, Refused<M>> {
        if let Some((actor, cause)) = own_death() {
            return Err(Refused { parcel, why: Why::Fenced { actor, cause } });
        }
        let current = self.current.load();
        if let Some(link) = current.as_ref().filter(|link| !link.instance.is_dead()) {
            return self.post_to(link, parcel);
        }
        drop(current);
        if let Some(link) = self.own_link() {
            return self.post_to(&link, parcel);
        }
        let why = match self.core.stage() {
            Stage::Down | Stage::Up => Why::Down,
            Stage::Stopping => Why::Stopping,
            Stage::Gone => Why::Gone,
        };
        Err(Refused { parcel, why })
    }

    fn core(&self) -> &Arc<SlotCore> {
        &self.core
    }
}
