//! What happens when: a queue in order of time that is quick while most of what waits is due within seconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Milliseconds that are kept apart.
const SLOTS: usize = 4096;

/// Something that waits.
struct Queued<T> {
    at: Duration,
    order: u64,
    what: T,
}

impl<T> PartialEq for Queued<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<T> Eq for Queued<T> {}

impl<T> PartialOrd for Queued<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Queued<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Events by time; those of one time in the order in which they were put in.
pub(crate) struct Schedule<T> {
    order: u64,
    /// The millisecond that is being emptied, and what is left of it.
    slot: u64,
    now: BinaryHeap<Reverse<Queued<T>>>,
    /// The milliseconds after it, in no order each, at their number modulo [`SLOTS`].
    near: Vec<Vec<Queued<T>>>,
    waiting: usize,
    far: BinaryHeap<Reverse<Queued<T>>>,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        let near = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { order: 0, slot: 0, now: BinaryHeap::new(), near, waiting: 0, far: BinaryHeap::new() }
    }
}

fn slot(at: Duration) -> u64 {
    at.as_secs() * 1000 + u64::from(at.subsec_millis())
}

impl<T> Schedule<T> {
    /// Has something happen at a time. What is late happens next.
    pub(crate) fn put(&mut self, at: Duration, what: T) {
        self.order += 1;
        self.place(Queued { at, order: self.order, what });
    }

    fn place(&mut self, queued: Queued<T>) {
        let slot = slot(queued.at);
        if slot <= self.slot {
            self.now.push(Reverse(queued));
        } else if slot - self.slot < SLOTS as u64 {
            self.near[slot as usize % SLOTS].push(queued);
            self.waiting += 1;
        } else {
            self.far.push(Reverse(queued));
        }
    }

    /// Takes the next thing to happen, if it does until `end`.
    pub(crate) fn next(&mut self, end: Duration) -> Option<(Duration, T)> {
        while self.now.is_empty() {
            let far = self.far.peek().map(|Reverse(queued)| slot(queued.at));
            let next = match (self.waiting, far) {
                (0, None) => return None,
                (0, Some(far)) => far,
                _ => self.slot + 1,
            };
            if next > slot(end) {
                return None;
            }
            self.slot = next;
            let due = std::mem::take(&mut self.near[next as usize % SLOTS]);
            self.waiting -= due.len();
            self.now.extend(due.into_iter().map(Reverse));
            while self.far.peek().is_some_and(|Reverse(far)| slot(far.at) < self.slot + SLOTS as u64) {
                let Some(Reverse(far)) = self.far.pop() else { break };
                self.place(far);
            }
        }
        if self.now.peek().is_some_and(|Reverse(queued)| queued.at > end) {
            return None;
        }
        self.now.pop().map(|Reverse(queued)| (queued.at, queued.what))
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn everything_happens_in_order() {
        let mut dice = StdRng::seed_from_u64(1);
        let (mut schedule, mut now, mut put, mut taken) = (Schedule::default(), Duration::ZERO, 0u32, 0u32);
        for round in 0..2_000u64 {
            for _ in 0..dice.random_range(0..6) {
                let ahead = if dice.random_bool(0.9) { 3_000_000 } else { 60_000_000 };
                let at = now + Duration::from_micros(dice.random_range(0..ahead));
                schedule.put(at, at);
                put += 1;
            }
            let end = Duration::from_millis(round * 10);
            while let Some((at, what)) = schedule.next(end) {
                assert!(at == what && now <= at && at <= end, "{now:?} {at:?} {end:?}");
                now = at;
                taken += 1;
            }
            now = end;
        }
        while schedule.next(Duration::from_secs(1000)).is_some() {
            taken += 1;
        }
        assert_eq!((put, taken), (put, put));
        assert!(put > 4_000);
    }

    #[test]
    fn what_is_due_at_one_time_happens_as_it_was_put() {
        let mut schedule = Schedule::default();
        let at = Duration::from_secs(20);
        (0..10).for_each(|i| schedule.put(at, i));
        let all: Vec<_> = std::iter::from_fn(|| schedule.next(at)).map(|(_, i)| i).collect();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }
}
