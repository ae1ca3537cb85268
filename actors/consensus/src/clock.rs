//! The wall clock and the trust in it: its time goes into blocks that never change.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Tells a time: since the Unix epoch, or since the machine was started.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How far the wall clock may jump forward, and how far it may be behind the newest block at start. Steps of a time service at
/// work are far below; a clock that is this wrong was set wrongly.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(180);

/// The machine's wall clock.
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The time that the machine has been up, which nobody can set. Where the system tells, it counts while the machine sleeps: waking
/// up is no jump of the wall clock.
pub fn system_uptime() -> Clock {
    fn read() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
    }
    match read() {
        Some(first) => {
            let last = Mutex::new(first);
            Arc::new(move || {
                let mut last = last.lock();
                *last = read().unwrap_or(*last);
                *last
            })
        }
        None => {
            let start = Instant::now();
            Arc::new(move || start.elapsed())
        }
    }
}

/// Compares the wall clock with the uptime. Outlives the instances of the actor: a restart must not make a wrong clock right.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    /// Wall clock and uptime when they last agreed.
    agreed: Mutex<Option<(Duration, Duration)>>,
}

impl ClockWatch {
    /// How far the wall clock is ahead of where it should be, if that is too far. A clock that was set back is no danger: blocks
    /// wait until it has caught up.
    pub(crate) fn jumped(&self, wall: Duration, uptime: Duration) -> Option<Duration> {
        let mut agreed = self.agreed.lock();
        let Some((wall_then, uptime_then)) = *agreed else {
            *agreed = Some((wall, uptime));
            return None;
        };
        let expected = wall_then + uptime.saturating_sub(uptime_then);
        let ahead = wall.saturating_sub(expected);
        if ahead > TOLERANCE {
            return Some(ahead);
        }
        if expected.saturating_sub(wall) <= TOLERANCE {
            // The two run at slightly different speeds.
            *agreed = Some((wall, uptime));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn jumps_forward_are_found_and_end_when_the_clock_is_right_again() {
        let watch = ClockWatch::default();
        assert_eq!(watch.jumped(s(1_000_000), s(10)), None);
        assert_eq!(watch.jumped(s(1_000_060), s(20)), None, "a small step");
        assert_eq!(watch.jumped(s(1_003_665), s(25)), Some(s(3_600)));
        assert_eq!(watch.jumped(s(1_003_675), s(35)), Some(s(3_600)), "asking again does not make it right");
        assert_eq!(watch.jumped(s(1_000_080), s(40)), None);
        // The machine slept for a day: both clocks went on.
        assert_eq!(watch.jumped(s(1_086_480), s(86_440)), None);
        // Set back by an hour by mistake, and forward again.
        assert_eq!(watch.jumped(s(1_082_881), s(86_441)), None);
        assert_eq!(watch.jumped(s(1_086_482), s(86_442)), None);
    }

    #[test]
    fn drift_adds_up_to_no_jump() {
        let watch = ClockWatch::default();
        for hour in 0..1_000 {
            assert_eq!(watch.jumped(s(1_000_000 + hour * 3_602), s(hour * 3_600)), None);
        }
    }

    #[test]
    fn the_uptime_goes_on() {
        let uptime = system_uptime();
        let first = uptime();
        assert!(uptime() >= first);
    }
}
