//! How failures are answered: strategies, restart kinds, intensity, back-off.

use std::time::Duration;

/// Which children of a subtree are replaced when one of them fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Only the one that failed.
    OneForOne,
    /// The one that failed and all that were declared after it: they depend on it.
    RestForOne,
    /// All of them.
    OneForAll,
}

/// When an actor that ended is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartKind {
    /// Always.
    Permanent,
    /// Only if it failed; an actor that stops itself has done its work.
    Transient,
    /// Never.
    Temporary,
}

/// How many failures of its children a subtree answers with a restart; one more and it fails itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts allowed within the window.
    pub max: u32,
    /// Length of the sliding window. An actor that stays up for so long starts again with a clean record.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { max: 5, within: Duration::from_secs(10) }
    }
}

/// Pause before a restart: none for the first failure, then doubling from `base` to `cap`, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Pause before the second restart in a row.
    pub base: Duration,
    /// Longest pause.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(10), cap: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// The pause before the restart that answers failure number `streak` in a row (1 is the first). `roll` in 0..1
    /// spreads it between one half and the whole, so that actors that failed together do not come back together.
    pub(crate) fn pause(&self, streak: u32, roll: f64) -> Duration {
        if streak <= 1 {
            return Duration::ZERO;
        }
        let doublings = (streak - 2).min(31);
        let whole = self.base.saturating_mul(1 << doublings).min(self.cap);
        whole.mul_f64(0.5 + roll.clamp(0.0, 1.0) / 2.0)
    }
}
