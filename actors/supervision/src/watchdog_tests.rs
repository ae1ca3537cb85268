//! The judge, with a clock of our own.

use super::*;

const DEADLINE: Duration = Duration::from_secs(4);
const SECOND: Duration = Duration::from_secs(1);

/// An instance under the judge's eyes, looked at every 100 ms.
struct Case {
    now: Instant,
    judge: Judge,
    seen: Observation,
    /// Whether it answers pings.
    answers: bool,
    delay: Duration,
}

impl Case {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            judge: Judge::new(now, DEADLINE, DEADLINE * 10),
            seen: Observation { up: true, ..Observation::default() },
            answers: true,
            delay: Duration::ZERO,
        }
    }

    fn look(&mut self) -> Verdict {
        let delay = self.delay;
        let verdict = self.judge.look(self.now, &self.seen, || delay);
        if let Verdict::Ping(number) = verdict
            && self.answers
        {
            self.seen.pongs = number;
            self.seen.beats += 1;
        }
        verdict
    }

    /// Passes time; returns when it was declared hung.
    fn pass(&mut self, time: Duration, mut each: impl FnMut(&mut Self)) -> Option<(Duration, String)> {
        let begun = self.now;
        while self.now < begun + time {
            self.now += SECOND / 10;
            each(self);
            if let Verdict::Hung(why) = self.look() {
                return Some((self.now - begun, why));
            }
        }
        None
    }
}

#[test]
fn an_idle_actor_that_answers_lives() {
    let mut case = Case::new();
    assert_eq!(case.pass(DEADLINE * 100, |_| {}), None);
}

#[test]
fn a_stuck_thread_is_found_soon_after_its_deadline() {
    let mut case = Case::new();
    case.answers = false;
    let (after, why) = case.pass(DEADLINE * 100, |_| {}).unwrap();
    assert!(after > DEADLINE && after <= DEADLINE * 3 / 2, "{after:?}");
    assert!(why.contains("pings"), "{why}");
}

#[test]
fn a_busy_actor_lives_as_long_as_it_beats() {
    let mut case = Case::new();
    case.answers = false;
    // A sign of life just before each deadline, for a long time; then none.
    let mut step = 0;
    let beat = move |case: &mut Case| {
        step += 1;
        if step % 35 == 0 {
            case.seen.beats += 1;
        }
    };
    assert_eq!(case.pass(DEADLINE * 100, beat), None);
    assert!(case.pass(DEADLINE * 2, |_| {}).is_some());
}

#[test]
fn a_start_has_a_deadline_of_its_own() {
    let mut case = Case::new();
    case.seen.up = false;
    let (after, why) = case.pass(DEADLINE * 100, |_| {}).unwrap();
    assert!(after > DEADLINE * 10 && after <= DEADLINE * 11, "{after:?}");
    assert!(why.contains("come up"), "{why}");
}

#[test]
fn a_dead_actor_has_to_come_to_its_end() {
    let mut case = Case::new();
    assert_eq!(case.pass(DEADLINE, |_| {}), None);
    case.seen.dead = true;
    let (after, _) = case.pass(DEADLINE * 100, |_| {}).unwrap();
    assert!(after > DEADLINE && after <= DEADLINE * 3 / 2, "{after:?}");
}

#[test]
fn an_overdue_future_is_found_although_pings_are_answered() {
    let mut case = Case::new();
    case.seen.owed_since = Some(case.now);
    let (after, why) = case.pass(DEADLINE * 100, |_| {}).unwrap();
    assert!(after > DEADLINE && after <= DEADLINE * 3 / 2, "{after:?}");
    assert!(why.contains("piped future"), "{why}");
}

#[test]
fn progress_and_waiting_excuse_an_overdue_future() {
    let mut case = Case::new();
    case.seen.owed_since = Some(case.now);
    let mut step = 0;
    let mark = move |case: &mut Case| {
        step += 1;
        if step % 35 == 0 {
            case.seen.marks += 1;
        }
    };
    assert_eq!(case.pass(DEADLINE * 20, mark), None);
    case.seen.waiting = true;
    assert_eq!(case.pass(DEADLINE * 20, |_| {}), None);
    case.seen.waiting = false;
    assert!(case.pass(SECOND, |_| {}).is_some());
}

#[test]
fn a_request_to_another_actor_is_waited_for() {
    let mut case = Case::new();
    case.seen.owed_since = Some(case.now);
    case.seen.longest_ask = SECOND * 10;
    let (after, _) = case.pass(DEADLINE * 100, |_| {}).unwrap();
    assert!(after > DEADLINE + SECOND * 10, "{after:?}");
}

#[test]
fn messages_alone_do_not_excuse_an_overdue_future() {
    let mut case = Case::new();
    case.seen.owed_since = Some(case.now);
    assert!(case.pass(DEADLINE * 2, |case| case.seen.beats += 1).is_some());
}

#[test]
fn a_stall_of_the_machine_is_nobodys_hang() {
    let mut case = Case::new();
    case.answers = false;
    assert_eq!(case.pass(DEADLINE, |_| {}), None);
    case.seen.owed_since = Some(case.now);
    // The whole machine stands still for a minute; the watchdog notices by its own lateness.
    case.now += SECOND * 60;
    case.judge.excuse(SECOND * 60);
    assert_eq!(case.look(), Verdict::Fine);
    // What was due before the stall is still due after it.
    assert!(case.pass(DEADLINE * 2, |_| {}).is_some());
}

#[test]
fn time_spent_waiting_for_a_cpu_does_not_count() {
    let mut case = Case::new();
    case.answers = false;
    // Starved completely: it never had a chance.
    assert_eq!(case.pass(DEADLINE * 20, |case| case.delay += SECOND / 10), None);
    // With half of a CPU the deadline takes about twice as long.
    let (after, _) = case.pass(DEADLINE * 100, |case| case.delay += SECOND / 20).unwrap();
    assert!(after > DEADLINE && after <= DEADLINE * 3, "{after:?}");
}

#[test]
fn the_kernel_tells_how_long_a_thread_waited() {
    use crate::{instance::Instance, slot::Slot};
    struct Nobody;
    impl crate::Actor for Nobody {
        type Error = std::convert::Infallible;
    }
    // Only where the kernel keeps these statistics; elsewhere the answer is zero, which is what the code assumes.
    let slot = Slot::<Nobody>::new("nobody".into());
    let instance = Instance::new(slot.core.clone(), 1);
    assert_eq!(kernel_delay(&instance), Duration::ZERO);
    let _ = instance.thread.set("/proc/thread-self/schedstat".to_owned());
    let first = kernel_delay(&instance);
    std::thread::yield_now();
    assert!(kernel_delay(&instance) >= first);
}
