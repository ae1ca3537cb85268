//! Faults that can be injected into a running actor.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::patience::after;

/// A fault to inject with [`Supervisor::inject`](crate::Supervisor::inject).
///
/// Stop, panic and hang go the way of the real thing, and count as such in causes and metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The actor stops as if it had called [`Context::stop`](crate::Context::stop).
    Stop,
    /// The actor panics.
    Panic,
    /// The actor's thread does nothing for so long.
    Hang(Duration),
    /// The supervisor replaces the actor in order: drained, flushed, and not counted as a failure.
    Restart,
    /// A share of the messages is lost: their handlers do not run and their callers hear nothing.
    Drop {
        /// Between 0 and 1.
        share: f64,
        /// For how long, across restarts.
        lasting: Duration,
    },
    /// A share of the messages is handled later, and so out of order.
    Delay {
        /// Between 0 and 1.
        share: f64,
        /// By how much.
        by: Duration,
        /// For how long, across restarts.
        lasting: Duration,
    },
    /// Ends [`Drop`](Self::Drop) and [`Delay`](Self::Delay).
    Heal,
}

/// The faults on the mailbox of one actor. They belong to its slot and so survive its restarts.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: AtomicBool,
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    drop: Option<(f64, Instant)>,
    delay: Option<(f64, Duration, Instant)>,
}

/// What happens to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Handle,
    Lose,
    Delay(Duration),
}

impl Faults {
    pub(crate) fn drop_share(&self, share: f64, lasting: Duration) {
        self.active.lock().drop = Some((share, after(Instant::now(), lasting)));
        self.armed.store(true, Ordering::Release);
    }

    pub(crate) fn delay_share(&self, share: f64, by: Duration, lasting: Duration) {
        self.active.lock().delay = Some((share, by, after(Instant::now(), lasting)));
        self.armed.store(true, Ordering::Release);
    }

    pub(crate) fn heal(&self) {
        *self.active.lock() = Active::default();
        self.armed.store(false, Ordering::Release);
    }

    #[inline]
    pub(crate) fn fate(&self) -> Fate {
        if self.armed.load(Ordering::Relaxed) { self.roll() } else { Fate::Handle }
    }

    #[cold]
    fn roll(&self) -> Fate {
        let now = Instant::now();
        let mut active = self.active.lock();
        active.drop = active.drop.filter(|(_, until)| now < *until);
        active.delay = active.delay.filter(|(_, _, until)| now < *until);
        if active.drop.is_none() && active.delay.is_none() {
            self.armed.store(false, Ordering::Release);
        }
        if active.drop.is_some_and(|(share, _)| rand::random::<f64>() < share) {
            return Fate::Lose;
        }
        match active.delay {
            Some((share, by, _)) if rand::random::<f64>() < share => Fate::Delay(by),
            _ => Fate::Handle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn shares_of_all_and_none() {
        let faults = Faults::default();
        assert_eq!(faults.fate(), Fate::Handle);
        faults.drop_share(1.0, HOUR);
        assert_eq!(faults.fate(), Fate::Lose);
        faults.drop_share(0.0, HOUR);
        assert_eq!(faults.fate(), Fate::Handle);
        faults.delay_share(1.0, HOUR, HOUR);
        assert_eq!(faults.fate(), Fate::Delay(HOUR));
        faults.heal();
        assert_eq!(faults.fate(), Fate::Handle);
    }

    #[test]
    fn a_share_is_a_share() {
        let faults = Faults::default();
        faults.drop_share(0.5, HOUR);
        let lost = (0..10_000).filter(|_| faults.fate() == Fate::Lose).count();
        // 40 standard deviations wide: fails only if the share is ignored.
        assert!((3_000..7_000).contains(&lost), "{lost}");
    }

    #[test]
    fn a_fault_ends_with_its_time() {
        let faults = Faults::default();
        faults.drop_share(1.0, Duration::ZERO);
        assert_eq!(faults.fate(), Fate::Handle);
        assert!(!faults.armed.load(Ordering::Relaxed));
    }
}
