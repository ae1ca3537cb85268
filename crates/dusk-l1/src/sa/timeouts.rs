//! How long a step waits.
//!
//! A step's base is the average of its last five measured durations, rounded up to a whole second and held between the
//! network's bounds; a step that was never measured waits the initial time (published node: `AverageElapsedTime` and
//! `read_avg_timeout`). Within a round every timeout of a step makes its next wait longer.

use std::collections::VecDeque;
use std::time::Duration;

use super::rules::{StepKind, StepTimes};

/// Durations that are remembered per step.
const REMEMBERED: usize = 5;

/// Why stored timeouts are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored step times do not decode ({0} bytes)")]
pub struct TimeoutsError(usize);

/// Waiting times of the three steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    times: StepTimes,
    /// Milliseconds, oldest first.
    last: [VecDeque<u32>; 3],
    now: [Duration; 3],
}

impl Timeouts {
    /// Nothing measured yet.
    pub fn new(times: StepTimes) -> Self {
        let mut new = Self { last: Default::default(), now: [times.initial; 3], times };
        new.start_round();
        new
    }

    /// From [`Self::encode`]'s bytes.
    pub fn decode(times: StepTimes, bytes: &[u8]) -> Result<Self, TimeoutsError> {
        let error = || TimeoutsError(bytes.len());
        let mut new = Self::new(times);
        let mut rest = bytes;
        for last in &mut new.last {
            let (count, tail) = rest.split_first().ok_or_else(error)?;
            if usize::from(*count) > REMEMBERED {
                return Err(error());
            }
            rest = tail;
            for _ in 0..*count {
                let (millis, tail) = rest.split_first_chunk::<4>().ok_or_else(error)?;
                last.push_back(u32::from_le_bytes(*millis));
                rest = tail;
            }
        }
        if !rest.is_empty() {
            return Err(error());
        }
        new.start_round();
        Ok(new)
    }

    /// What is measured, to be stored: per step a count and as many u32 (little-endian) of milliseconds.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for last in &self.last {
            // At most REMEMBERED.
            bytes.push(last.len() as u8);
            for millis in last {
                bytes.extend_from_slice(&millis.to_le_bytes());
            }
        }
        bytes
    }

    /// A round begins: increases of the one before are forgotten.
    pub fn start_round(&mut self) {
        for (now, last) in self.now.iter_mut().zip(&self.last) {
            *now = base(&self.times, last);
        }
    }

    /// A message ended the step after `elapsed`. Counts from the next round on.
    pub fn record(&mut self, kind: StepKind, elapsed: Duration) {
        let last = &mut self.last[kind.index()];
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back(u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX));
    }

    /// The step's time ran out.
    pub fn timed_out(&mut self, kind: StepKind) {
        let now = &mut self.now[kind.index()];
        *now = (*now + self.times.increase).min(self.times.max);
    }

    /// How long the step waits.
    pub fn of(&self, kind: StepKind) -> Duration {
        self.now[kind.index()]
    }
}

fn base(times: &StepTimes, last: &VecDeque<u32>) -> Duration {
    if last.is_empty() {
        return times.initial.min(times.max);
    }
    let sum: u64 = last.iter().map(|millis| u64::from(*millis)).sum();
    let average = sum / last.len() as u64;
    Duration::from_secs(average.div_ceil(1000)).max(times.min).min(times.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn published() -> Timeouts {
        Timeouts::new(StepTimes { initial: S(40), min: S(7), max: S(40), increase: S(2) })
    }

    #[test]
    fn never_measured_waits_the_initial_time() {
        let timeouts = published();
        for kind in [StepKind::Proposal, StepKind::Validation, StepKind::Ratification] {
            assert_eq!(timeouts.of(kind), S(40));
        }
    }

    #[test]
    fn the_base_is_the_average_of_five_rounded_up_and_bounded() {
        let mut timeouts = published();
        timeouts.record(StepKind::Validation, S(1));
        assert_eq!(timeouts.of(StepKind::Validation), S(40), "the running round is not touched");
        timeouts.start_round();
        assert_eq!(timeouts.of(StepKind::Validation), S(7));
        assert_eq!(timeouts.of(StepKind::Ratification), S(40));
        for millis in [9_000, 9_000, 9_000, 9_000, 9_001] {
            timeouts.record(StepKind::Validation, Duration::from_millis(millis));
        }
        timeouts.start_round();
        // 9,000.2 ms: whole milliseconds first, as the published node's Duration division does to within one of them.
        assert_eq!(timeouts.of(StepKind::Validation), S(9));
        timeouts.record(StepKind::Validation, Duration::from_millis(9_100));
        timeouts.start_round();
        assert_eq!(timeouts.of(StepKind::Validation), S(10));
        for _ in 0..5 {
            timeouts.record(StepKind::Validation, S(1_000_000_000));
        }
        timeouts.start_round();
        assert_eq!(timeouts.of(StepKind::Validation), S(40));
    }

    #[test]
    fn a_timeout_lengthens_only_its_step_and_only_in_its_round() {
        let mut timeouts = published();
        for _ in 0..5 {
            timeouts.record(StepKind::Proposal, S(3));
        }
        timeouts.start_round();
        timeouts.timed_out(StepKind::Proposal);
        timeouts.timed_out(StepKind::Proposal);
        assert_eq!(timeouts.of(StepKind::Proposal), S(11));
        assert_eq!(timeouts.of(StepKind::Validation), S(40));
        timeouts.start_round();
        assert_eq!(timeouts.of(StepKind::Proposal), S(7));
        for _ in 0..100 {
            timeouts.timed_out(StepKind::Proposal);
        }
        assert_eq!(timeouts.of(StepKind::Proposal), S(40));
    }

    #[test]
    fn stored_times_come_back_and_damaged_ones_are_refused() {
        let times = published().times;
        let mut timeouts = published();
        for i in 0..7 {
            timeouts.record(StepKind::Proposal, S(i));
            timeouts.record(StepKind::Ratification, S(9 + i));
        }
        timeouts.start_round();
        let bytes = timeouts.encode();
        assert_eq!(bytes.len(), 3 + 10 * 4);
        assert_eq!(Timeouts::decode(times, &bytes).unwrap(), timeouts);
        assert!(Timeouts::decode(times, &bytes[..bytes.len() - 1]).is_err());
        assert!(Timeouts::decode(times, &[bytes.clone(), vec![0]].concat()).is_err());
        assert!(Timeouts::decode(times, &[6]).is_err());
    }
}
