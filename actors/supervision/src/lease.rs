//! Leases: what an actor has done, and what it waits for.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::instance::Instance;

/// What one instance last said about itself.
#[derive(Debug, Default)]
pub(crate) struct LeaseState {
    done: Option<(Cow<'static, str>, Instant)>,
    waiting: Option<Waiting>,
    degraded: Option<(Cow<'static, str>, Instant)>,
}

#[derive(Debug)]
struct Waiting {
    what: Cow<'static, str>,
    on: Option<Arc<str>>,
    since: Instant,
}

impl LeaseState {
    pub(crate) fn progress(&mut self, what: Cow<'static, str>) {
        self.done = Some((what, Instant::now()));
        self.waiting = None;
    }

    pub(crate) fn waiting(&mut self, what: Cow<'static, str>, on: Option<Arc<str>>) {
        // Saying the same again does not make the wait younger.
        let since = match &self.waiting {
            Some(before) if before.what == what => before.since,
            _ => Instant::now(),
        };
        self.waiting = Some(Waiting { what, on, since });
    }

    pub(crate) fn degraded(&mut self, why: Cow<'static, str>) {
        let since = self.degraded.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        self.degraded = Some((why, since));
    }

    pub(crate) fn healthy(&mut self) {
        self.degraded = None;
    }

    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(crate) fn status(&self) -> LeaseStatus {
        LeaseStatus {
            done: self.done.as_ref().map(|(what, at)| (what.to_string(), at.elapsed())),
            waiting_for: self.waiting.as_ref().map(|w| (w.what.to_string(), w.since.elapsed())),
            waiting_on: self.waiting.as_ref().and_then(|w| w.on.clone()),
            degraded: self.degraded.as_ref().map(|(why, since)| (why.to_string(), since.elapsed())),
        }
    }
}

/// What an actor last said about itself, with the age of each statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseStatus {
    /// What it has done, and how long ago it said so.
    pub done: Option<(String, Duration)>,
    /// What it waits for, and since how long.
    pub waiting_for: Option<(String, Duration)>,
    /// The actor it waits for, if it named one.
    pub waiting_on: Option<Arc<str>>,
    /// Why it does not work in full, and since how long.
    pub degraded: Option<(String, Duration)>,
}

impl fmt::Display for LeaseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some((what, ago)) = &self.done {
            write!(f, "{what} ({} ago)", short(*ago))?;
            comma = ", ";
        }
        if let Some((what, since)) = &self.waiting_for {
            write!(f, "{comma}waiting for {what} ({})", short(*since))?;
            comma = ", ";
        }
        if let Some((why, since)) = &self.degraded {
            write!(f, "{comma}degraded: {why} ({})", short(*since))?;
        }
        Ok(())
    }
}

/// A duration as a human reads it: `38 s`, `120 ms`.
pub(crate) fn short(d: Duration) -> String {
    if d >= Duration::from_secs(1) { format!("{} s", d.as_secs()) } else { format!("{} ms", d.as_millis()) }
}

/// A handle on the lease of one instance, for its futures and worker threads, and for a factory at work.
///
/// Once the instance has been replaced, statements through it have no effect.
#[derive(Debug, Clone, Default)]
pub struct Lease {
    instance: Option<Arc<Instance>>,
}

impl Lease {
    /// A lease of nobody, for tools and tests.
    pub const fn detached() -> Self {
        Self { instance: None }
    }

    pub(crate) const fn of(instance: Arc<Instance>) -> Self {
        Self { instance: Some(instance) }
    }

    /// Something was done: resets the deadline. `what` names the state reached, for example "safe head 1204".
    pub fn progress(&self, what: impl Into<Cow<'static, str>>) {
        if let Some(instance) = &self.instance {
            instance.progress(what.into());
        }
    }

    /// Nothing can be done until something happens: names it, for example "L1 block 88". Being idle is then no hang.
    pub fn waiting(&self, for_what: impl Into<Cow<'static, str>>) {
        if let Some(instance) = &self.instance {
            instance.waiting(for_what.into(), None);
        }
    }

    /// Whether the instance was declared dead: long work on a worker thread should check it and give up.
    pub fn is_over(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance.is_dead())
    }
}
