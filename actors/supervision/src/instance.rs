//! One life of an actor, as all other threads see it.

use std::{
    any::Any,
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    AskError, DeathCause, Failure, Generation, LeaseStatus, Reaction, lease::LeaseState, patience::after,
    slot::SlotCore,
};

/// How an instance ended.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    pub(crate) cause: DeathCause,
    /// What its error asked the supervisor to do; a panic, a stop and a hang ask for a restart.
    pub(crate) reaction: Reaction,
}

/// The part of an instance that is shared between its thread, its callers, the supervisor and the watchdog.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) slot: Arc<SlotCore>,
    /// Number of this start of the actor; unlike the generation it also counts starts that failed before the fence.
    pub(crate) serial: u64,
    generation: AtomicU64,
    death: OnceLock<Death>,
    /// The value of the actor is dropped and its thread is about to end.
    ended: AtomicBool,
    /// The supervisor does not want it any more: it must not come up.
    cancelled: AtomicBool,
    up: AtomicBool,
    /// Messages in the mailbox.
    pub(crate) depth: AtomicUsize,
    /// Rises with each sign of life: a message handled, a ping answered, a lease renewed.
    pub(crate) beats: AtomicU64,
    /// The newest ping that was answered.
    pub(crate) pongs: AtomicU64,
    /// Rises with each explicit statement about progress.
    marks: AtomicU64,
    lease: Mutex<LeaseState>,
    owed: Mutex<Owed>,
    asking: Mutex<Asking>,
    /// Wires of callers whose requests were dropped by a panic that is not recorded yet.
    orphans: Mutex<Vec<Box<dyn Any + Send>>>,
    /// Where the kernel keeps this thread's statistics.
    pub(crate) thread: OnceLock<String>,
}

/// Replies and piped futures that are not finished, with the moment from which the actor's deadline runs.
#[derive(Debug, Default)]
struct Owed {
    next: u64,
    open: BTreeMap<u64, Instant>,
}

/// Requests that this actor itself has sent and that are not answered.
#[derive(Debug, Default)]
struct Asking {
    next: u64,
    open: BTreeMap<u64, (Arc<str>, &'static str, Instant)>,
    /// The longest bound of a request since the last statement about progress.
    longest: Duration,
}

/// What the watchdog needs to know, read at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observation {
    pub(crate) up: bool,
    pub(crate) dead: bool,
    pub(crate) beats: u64,
    pub(crate) pongs: u64,
    pub(crate) marks: u64,
    pub(crate) waiting: bool,
    /// From when on the deadline of the most overdue future runs.
    pub(crate) owed_since: Option<Instant>,
    pub(crate) longest_ask: Duration,
}

impl Instance {
    pub(crate) fn new(slot: Arc<SlotCore>, serial: u64) -> Self {
        Self {
            slot,
            serial,
            generation: AtomicU64::new(0),
            death: OnceLock::new(),
            ended: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            up: AtomicBool::new(false),
            depth: AtomicUsize::new(0),
            beats: AtomicU64::new(0),
            pongs: AtomicU64::new(0),
            marks: AtomicU64::new(0),
            lease: Mutex::new(LeaseState::default()),
            owed: Mutex::new(Owed::default()),
            asking: Mutex::new(Asking::default()),
            orphans: Mutex::new(Vec::new()),
            thread: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> Arc<str> {
        self.slot.name.clone()
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    pub(crate) fn set_generation(&self, generation: Generation) {
        self.generation.store(generation.0, Ordering::Release);
    }

    /// Records why it died. Only the first cause counts. Must come before anything of the instance is dropped, so that
    /// a caller whose request is dropped finds the cause.
    pub(crate) fn record_death(&self, cause: DeathCause, reaction: Reaction) -> bool {
        let first = self.death.set(Death { cause, reaction }).is_ok();
        let orphans = std::mem::take(&mut *self.orphans.lock());
        drop(orphans);
        first
    }

    /// Keeps the wire of a caller until the cause of death can be told to it.
    pub(crate) fn keep_until_death(&self, wire: Box<dyn Any + Send>) {
        let mut orphans = self.orphans.lock();
        if !self.is_dead() {
            orphans.push(wire);
        }
    }

    pub(crate) fn death(&self) -> Option<&Death> {
        self.death.get()
    }

    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.death.get().is_some()
    }

    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    pub(crate) fn set_up(&self) {
        self.up.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn mark(&self) {
        self.asking.lock().longest = Duration::ZERO;
        self.marks.fetch_add(1, Ordering::Relaxed);
        self.beat();
    }

    pub(crate) fn progress(&self, what: Cow<'static, str>) {
        if !self.is_dead() {
            self.lease.lock().progress(what);
            self.mark();
        }
    }

    pub(crate) fn waiting(&self, what: Cow<'static, str>, on: Option<Arc<str>>) {
        if !self.is_dead() {
            self.lease.lock().waiting(what, on);
            self.mark();
        }
    }

    pub(crate) fn degraded(&self, why: Cow<'static, str>) {
        if !self.is_dead() {
            self.lease.lock().degraded(why);
        }
    }

    pub(crate) fn healthy(&self) {
        self.lease.lock().healthy();
    }

    pub(crate) fn lease(&self) -> LeaseStatus {
        self.lease.lock().status()
    }

    /// The oldest unanswered request of this actor: whom it asked, what, and how long ago.
    pub(crate) fn oldest_ask(&self) -> Option<(Arc<str>, &'static str, Duration)> {
        let asking = self.asking.lock();
        asking.open.values().next().map(|(whom, what, since)| (whom.clone(), *what, since.elapsed()))
    }

    pub(crate) fn observe(&self) -> Observation {
        Observation {
            up: self.up.load(Ordering::Acquire),
            dead: self.is_dead(),
            beats: self.beats.load(Ordering::Relaxed),
            pongs: self.pongs.load(Ordering::Relaxed),
            marks: self.marks.load(Ordering::Relaxed),
            waiting: self.lease.lock().is_waiting(),
            owed_since: self.owed.lock().open.values().min().copied(),
            longest_ask: self.asking.lock().longest,
        }
    }

    /// Counts a reply or a piped future as owed until the returned guard is dropped. The deadline runs after `grace`: a
    /// caller that is willing to wait long does not make the actor hung.
    pub(crate) fn owe(self: &Arc<Self>, grace: Duration) -> OwedGuard {
        let mut owed = self.owed.lock();
        let id = owed.next;
        owed.next += 1;
        owed.open.insert(id, after(Instant::now(), grace));
        drop(owed);
        OwedGuard { instance: self.clone(), id }
    }

    pub(crate) fn owes_nothing(&self) -> bool {
        self.owed.lock().open.is_empty()
    }

    /// What to tell a caller whose request was dropped without an answer.
    pub(crate) fn dropped_request(&self) -> AskError {
        match self.death() {
            Some(death) => AskError::Died { actor: self.name(), cause: death.cause.clone() },
            None => AskError::Failed {
                actor: self.name(),
                error: Failure { message: "it dropped the request without an answer".into(), retryable: true },
            },
        }
    }
}

/// Something this instance owes; see [`Instance::owe`].
#[derive(Debug)]
pub(crate) struct OwedGuard {
    instance: Arc<Instance>,
    id: u64,
}

impl Drop for OwedGuard {
    fn drop(&mut self) {
        self.instance.owed.lock().open.remove(&self.id);
    }
}

/// A request that the current instance has sent; see [`note_ask`].
#[derive(Debug)]
pub(crate) struct AskGuard {
    instance: Arc<Instance>,
    id: u64,
}

impl Drop for AskGuard {
    fn drop(&mut self) {
        self.instance.asking.lock().open.remove(&self.id);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Instance>>> = const { RefCell::new(None) };
}

/// Makes `instance` the one that this thread works for.
pub(crate) fn enter(instance: Arc<Instance>) {
    CURRENT.with_borrow_mut(|current| *current = Some(instance));
}

/// Runs `f` on the instance that this thread works for, if it is an actor's thread.
pub(crate) fn with_current<R>(f: impl FnOnce(&Arc<Instance>) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.borrow().as_ref().map(f)).ok().flatten()
}

/// The death of the instance that this thread works for: a replaced instance must not send any more.
#[inline]
pub(crate) fn own_death() -> Option<(Arc<str>, DeathCause)> {
    with_current(|me| me.death().map(|death| (me.name(), death.cause.clone()))).flatten()
}

/// Notes, if this thread works for an actor, that it asks `whom` for `what` within `bound`: this is the source of the
/// chain of causes, and waiting for the answer is not yet a hang.
pub(crate) fn note_ask(whom: &Arc<str>, what: &'static str, bound: Duration) -> Option<AskGuard> {
    with_current(|me| {
        let mut asking = me.asking.lock();
        let id = asking.next;
        asking.next += 1;
        asking.longest = asking.longest.max(bound);
        asking.open.insert(id, (whom.clone(), what, Instant::now()));
        drop(asking);
        AskGuard { instance: me.clone(), id }
    })
}
