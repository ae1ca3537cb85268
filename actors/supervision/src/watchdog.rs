//! Finds hung actors: on a thread of its own, by pings through the mailbox, leases, and what is owed.
//!
//! Two things are hangs. A *stuck thread*: a ping was not answered within the deadline and there was no other sign of
//! life either; a busy actor that handles messages or renews its lease lives. A *stuck future*: a reply or a piped
//! future is overdue although the mailbox works, there was no statement about progress, and the actor does not say that
//! it waits.
//!
//! Time in which nobody could run does not count: if the watchdog itself wakes up late it adds that to every deadline,
//! and the time that the kernel kept the actor's thread waiting for a CPU is subtracted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    instance::{Instance, Observation},
    lease::short,
    meters::Meters,
};

const TICK_MIN: Duration = Duration::from_millis(2);
const TICK_MAX: Duration = Duration::from_millis(250);
/// A wake-up that is later than this is a stall of the machine.
const LATE: Duration = Duration::from_millis(20);

/// Sends ping number n into the mailbox. False if there is no mailbox yet.
pub(crate) type Ping = Box<dyn Fn(u64) -> bool + Send>;
/// Told of an instance that is hung, with what was overdue.
pub(crate) type Alarm = Box<dyn Fn(String) + Send>;

/// An instance under watch.
pub(crate) struct Watched {
    pub(crate) instance: Arc<Instance>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) ping: Ping,
    pub(crate) alarm: Alarm,
    pub(crate) judge: Judge,
}

/// The watchdog's thread. Ends with this handle.
pub(crate) struct Watchdog {
    arrivals: Arc<Mutex<Vec<Watched>>>,
    over: Arc<AtomicBool>,
    thread: Thread,
}

impl Watchdog {
    /// Starts the thread. `shortest` is the shortest deadline of any actor: it sets the pace.
    pub(crate) fn start(shortest: Duration) -> std::io::Result<Self> {
        let tick = (shortest / 8).clamp(TICK_MIN, TICK_MAX);
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (queue, end) = (arrivals.clone(), over.clone());
        let handle = thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(tick, &queue, &end))?;
        Ok(Self { arrivals, over, thread: handle.thread().clone() })
    }

    pub(crate) fn add(&self, watched: Watched) {
        self.arrivals.lock().push(watched);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn watch(tick: Duration, arrivals: &Mutex<Vec<Watched>>, over: &AtomicBool) {
    let mut all: Vec<Watched> = Vec::new();
    let mut due = Instant::now() + tick;
    while !over.load(Ordering::Acquire) {
        let now = Instant::now();
        if now < due {
            thread::park_timeout(due - now);
            continue;
        }
        let late = now - due;
        due = now + tick;
        all.append(&mut arrivals.lock());
        all.retain_mut(|watched| {
            if late >= LATE {
                watched.judge.excuse(late);
            }
            keep_watching(watched, now)
        });
    }
}

/// Looks after one instance; false when it needs no more watching.
fn keep_watching(watched: &mut Watched, now: Instant) -> bool {
    let instance = &watched.instance;
    if instance.has_ended() {
        return false;
    }
    watched.meters.depth.set(instance.depth.load(Ordering::Relaxed) as f64);
    match watched.judge.look(now, &instance.observe(), || kernel_delay(instance)) {
        Verdict::Fine => true,
        Verdict::Ping(number) => {
            (watched.ping)(number);
            true
        }
        Verdict::Hung(why) => {
            (watched.alarm)(why);
            false
        }
    }
}

/// How long, in total, the kernel has kept the instance's thread waiting for a CPU. Zero where it does not tell.
fn kernel_delay(instance: &Instance) -> Duration {
    let read = || {
        let text = std::fs::read_to_string(instance.thread.get()?).ok()?;
        let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    };
    read().unwrap_or_default()
}

/// What one look at an instance says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Nothing was heard for a while: send this ping.
    Ping(u64),
    Hung(String),
}

/// Judges one instance from what was observed over time. Knows no clock.
#[derive(Debug)]
pub(crate) struct Judge {
    deadline: Duration,
    start_within: Duration,
    seen: Observation,
    /// The last change of `seen.beats`, moved by time in which nobody could run.
    last_beat: Instant,
    /// The same for statements about progress.
    last_mark: Instant,
    /// The ping that is out: its number, and since when.
    pinged: u64,
    pinged_at: Instant,
    /// The thread's waiting time for a CPU when the wait for a sign of life began.
    delay_base: Duration,
    /// Added to the moment from which something is owed.
    owed_excuse: Duration,
}

impl Judge {
    pub(crate) fn new(now: Instant, deadline: Duration, start_within: Duration) -> Self {
        Self {
            deadline,
            start_within,
            seen: Observation::default(),
            last_beat: now,
            last_mark: now,
            pinged: 0,
            pinged_at: now,
            delay_base: Duration::ZERO,
            owed_excuse: Duration::ZERO,
        }
    }

    /// Time in which nobody could run.
    pub(crate) fn excuse(&mut self, late: Duration) {
        self.last_beat += late;
        self.last_mark += late;
        self.pinged_at += late;
        self.owed_excuse += late;
    }

    /// `kernel_delay` is asked only when needed: it reads a file.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        observed: &Observation,
        kernel_delay: impl Fn() -> Duration,
    ) -> Verdict {
        let fresh = observed.beats != self.seen.beats || observed.up != self.seen.up || observed.dead != self.seen.dead;
        if fresh {
            self.last_beat = now;
            self.delay_base = kernel_delay();
        }
        if observed.marks != self.seen.marks {
            self.last_mark = now;
            self.owed_excuse = Duration::ZERO;
        }
        self.seen = observed.clone();
        let quiet = |since: Instant| {
            let whole = now.saturating_duration_since(since);
            let starved = kernel_delay().saturating_sub(self.delay_base);
            whole.saturating_sub(starved)
        };

        if observed.dead {
            // Its value is being dropped, which may hang like anything else.
            return self.overdue(now, self.last_beat, self.deadline, quiet, "is dead but does not come to its end");
        }
        if !observed.up {
            return self.overdue(now, self.last_beat, self.start_within, quiet, "does not come up");
        }
        if observed.pongs < self.pinged {
            let since = self.last_beat.max(self.pinged_at);
            let verdict = self.overdue(now, since, self.deadline, quiet, "does not answer pings");
            if verdict != Verdict::Fine {
                return verdict;
            }
        } else if now.saturating_duration_since(self.last_beat.max(self.pinged_at)) >= self.deadline / 4 {
            self.pinged += 1;
            self.pinged_at = now;
            self.delay_base = kernel_delay();
            return Verdict::Ping(self.pinged);
        }
        self.look_at_owed(now, observed)
    }

    fn overdue(
        &self,
        now: Instant,
        since: Instant,
        bound: Duration,
        quiet: impl Fn(Instant) -> Duration,
        what: &str,
    ) -> Verdict {
        // The cheap comparison first: without it every look would read a file.
        if now.saturating_duration_since(since) <= bound || quiet(since) <= bound {
            return Verdict::Fine;
        }
        let overdue = now.saturating_duration_since(since);
        Verdict::Hung(format!("{what}: no sign of life for {} (deadline {})", short(overdue), short(bound)))
    }

    fn look_at_owed(&mut self, now: Instant, observed: &Observation) -> Verdict {
        let Some(owed_since) = observed.owed_since else {
            self.owed_excuse = Duration::ZERO;
            return Verdict::Fine;
        };
        let since = (owed_since + self.owed_excuse).max(self.last_mark);
        let overdue = now.saturating_duration_since(since);
        // A request to another actor has a bound of its own: until then waiting for the answer is no hang.
        if observed.waiting || overdue <= self.deadline.saturating_add(observed.longest_ask) {
            return Verdict::Fine;
        }
        Verdict::Hung(format!(
            "a reply or piped future does not end: no progress for {} (deadline {})",
            short(overdue),
            short(self.deadline)
        ))
    }
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;
