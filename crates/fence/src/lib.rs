//! Generation fencing: only the newest instance of an actor may make durable writes.
//!
//! A hung actor cannot be killed: its thread is abandoned and a replacement starts. When the old instance wakes up
//! later it still believes that it is the owner. Every durable write therefore goes through a [`Fence`], one
//! instance's pass, which asks the [`Gate`] shared by all instances of the same actor whether this generation is
//! still the current one.
//!
//! Two rules make it safe:
//!
//! - a write runs *inside* the gate ([`Fence::write`]), so that the check and the write cannot be torn apart;
//! - [`Gate::advance`] waits, for a bounded time, until a write in progress is over, so that a new instance never reads
//!   its state beside a half-done write of the old one.
//!
//! Generations order the instances within one process. They mean nothing across processes: there the exclusive lock of
//! the database does this work.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

/// How long [`Fence::write`] waits for its turn unless told otherwise by [`Fence::with_patience`].
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// Number of an instance of one actor within this process: 1 for the first, rising by one with each replacement.
///
/// 0 stands for "no instance": a gate that nobody may pass, or an unfenced pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a write was not made. The closure did not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// A newer instance owns the actor's durable state, or nobody does for the moment. Never retry: stop.
    #[error("generation {generation} of {actor} was replaced (current: {current}): it must stop and write nothing")]
    Stale {
        /// The fenced actor.
        actor: Arc<str>,
        /// The generation that wanted to write.
        generation: Generation,
        /// The generation that may write; 0 while a replacement is being made.
        current: Generation,
    },
    /// Another write of the same actor did not end in time.
    #[error(
        "another durable write of {actor} is still running after {waited:?}: look for a stuck disk or a nested write"
    )]
    Busy {
        /// The fenced actor.
        actor: Arc<str>,
        /// How long this write waited for its turn.
        waited: Duration,
    },
}

/// A write of the old instance did not end in time: a new instance must not start beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the previous instance of {actor} is still inside a durable write after {waited:?}: look for a stuck disk")]
pub struct FenceBusy {
    /// The fenced actor.
    pub actor: Arc<str>,
    /// How long the gate waited.
    pub waited: Duration,
}

#[derive(Debug)]
struct Shared {
    actor: Arc<str>,
    /// The generation that may write, 0 for none.
    current: AtomicU64,
    /// The newest generation ever handed out. Only changed with `turn` held.
    issued: AtomicU64,
    /// Held during each write, and while the generation advances.
    turn: Mutex<()>,
}

/// The gate that all instances of one actor share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

impl Gate {
    /// A gate that nobody may pass yet; `actor` is named in errors.
    pub fn new(actor: impl Into<Arc<str>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                actor: actor.into(),
                current: AtomicU64::new(0),
                issued: AtomicU64::new(0),
                turn: Mutex::new(()),
            }),
        }
    }

    /// Makes a new generation the only one that may write and returns its pass.
    ///
    /// # Errors
    /// [`FenceBusy`] if a write of an older generation is still running after `bound`. The older generation is shut out
    /// all the same, so that a later call succeeds as soon as that write is over.
    pub fn advance(&self, bound: Duration) -> Result<Fence, FenceBusy> {
        match self.advance_if(bound, || true)? {
            Some(fence) => Ok(fence),
            None => Err(FenceBusy { actor: self.shared.actor.clone(), waited: Duration::ZERO }),
        }
    }

    /// The same, unless `wanted` says that the new instance is not wanted any more: then `None`, and whoever is current
    /// stays current. An instance that was given up while it waited here must not shut out its own replacement.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn advance_if(&self, bound: Duration, wanted: impl Fn() -> bool) -> Result<Option<Fence>, FenceBusy> {
        let shared = &self.shared;
        let seen = shared.current.load(Ordering::SeqCst);
        if !wanted() {
            return Ok(None);
        }
        // Shut the old generation out first: a stream of short writes must not starve its replacement. If the exchange
        // fails someone else has shut it out or replaced it.
        let _ = shared.current.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::SeqCst);
        let Some(_turn) = shared.turn.try_lock_for(bound) else {
            return Err(FenceBusy { actor: shared.actor.clone(), waited: bound });
        };
        if !wanted() {
            return Ok(None);
        }
        let generation = shared.issued.fetch_add(1, Ordering::SeqCst) + 1;
        shared.current.store(generation, Ordering::SeqCst);
        Ok(Some(Fence { gate: Some(self.clone()), generation: Generation(generation), patience: DEFAULT_PATIENCE }))
    }

    /// Shuts `generation` out at once, without waiting for a write in progress. Does nothing if it is not current.
    pub fn revoke(&self, generation: Generation) {
        // A failed exchange means that another generation is current already, which is what the caller wants.
        let _ = self.shared.current.compare_exchange(generation.0, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The newest generation that was ever handed out, 0 for none.
    pub fn issued(&self) -> Generation {
        Generation(self.shared.issued.load(Ordering::SeqCst))
    }

    /// The generation that may write, 0 for none.
    pub fn current(&self) -> Generation {
        Generation(self.shared.current.load(Ordering::SeqCst))
    }
}

/// One instance's pass through the gate of its actor. Cheap to clone, may go to worker threads.
#[derive(Debug, Clone)]
pub struct Fence {
    gate: Option<Gate>,
    generation: Generation,
    patience: Duration,
}

impl Fence {
    /// A pass that is never refused: for tools that work on a database offline, and for tests.
    pub const fn unfenced() -> Self {
        Self { gate: None, generation: Generation(0), patience: DEFAULT_PATIENCE }
    }

    /// The same pass with another bound on how long [`write`](Self::write) waits for its turn.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The generation of the instance that holds this pass; 0 for an unfenced one.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether this generation is current at this moment. It may be replaced right after: to write, use
    /// [`write`](Self::write).
    ///
    /// # Errors
    /// [`FenceError::Stale`] if it was replaced.
    pub fn check(&self) -> Result<(), FenceError> {
        let Some(gate) = &self.gate else { return Ok(()) };
        let current = gate.current();
        if current == self.generation {
            Ok(())
        } else {
            Err(FenceError::Stale { actor: gate.shared.actor.clone(), generation: self.generation, current })
        }
    }

    /// Runs `write` if this generation is current; no other generation can become current before it returns.
    ///
    /// Writes of one actor run one at a time. They do not nest: a write inside a write waits for itself and fails as
    /// busy. If `write` panics the gate opens again.
    ///
    /// # Errors
    /// [`FenceError::Stale`] if the generation was replaced, [`FenceError::Busy`] if another write did not end within
    /// the patience of this pass. In both cases `write` did not run.
    pub fn write<R>(&self, write: impl FnOnce() -> R) -> Result<R, FenceError> {
        let Some(gate) = &self.gate else { return Ok(write()) };
        // A replaced instance learns it at once, even while its replacement is writing.
        self.check()?;
        let Some(_turn) = gate.shared.turn.try_lock_for(self.patience) else {
            return Err(FenceError::Busy { actor: gate.shared.actor.clone(), waited: self.patience });
        };
        self.check()?;
        Ok(write())
    }
}
