//! Bounded waiting that costs next to nothing when the wait is short.
//!
//! Nearly every request is answered within microseconds, yet every one needs a bound, and a timer of the async runtime for
//! each would cost about as much as the message itself. Here a waiter leaves its waker in a table, without even reading
//! the clock, and takes it back when it has its answer. One thread looks through the table every 20 ms and wakes those
//! that are still there: only they read the clock and see whether their time is over. The price is that a bound of one
//! second or more may be overrun by 20 ms. It works under any executor.

use std::{
    cell::Cell,
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Far enough for every purpose, and never more than the clock can hold.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The moment `d` after `now`; a duration without sense means "never".
pub(crate) fn after(now: Instant, d: Duration) -> Instant {
    now + d.min(FAR)
}

/// The pace of the thread.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// Looks with an empty table after which the thread sleeps until it is needed.
const IDLE_LOOKS: u32 = 50;
const SHARDS: usize = 16;

/// One part of the table; its own cache lines, because different threads use different parts.
#[repr(align(128))]
struct Shard {
    table: Mutex<Table>,
}

struct Table {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

struct Entry {
    /// Gone once it was woken.
    waker: Option<Waker>,
    /// When to wake it; `None` for the next look.
    due: Option<Instant>,
}

static TABLE: [Shard; SHARDS] =
    [const { Shard { table: Mutex::new(Table { entries: Vec::new(), free: Vec::new() }) } }; SHARDS];
static ASLEEP: AtomicBool = AtomicBool::new(false);
static LOOKER: OnceLock<Option<Thread>> = OnceLock::new();

fn looker() -> Option<&'static Thread> {
    let start = || {
        let handle = thread::Builder::new().name("patience".to_owned()).spawn(look_for_ever).ok()?;
        Some(handle.thread().clone())
    };
    LOOKER.get_or_init(start).as_ref()
}

fn own_shard() -> usize {
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD
        .try_with(|shard| {
            if shard.get() == usize::MAX {
                shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
            }
            shard.get()
        })
        .unwrap_or_default()
}

/// A place in the table. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    shard: usize,
    at: usize,
}

impl Ticket {
    /// Has `waker` woken when `due`, or at the next look.
    pub(crate) fn take(waker: &Waker, due: Option<Instant>) -> Self {
        let shard = own_shard();
        let entry = Entry { waker: Some(waker.clone()), due };
        let mut table = TABLE[shard].table.lock();
        let at = match table.free.pop() {
            Some(at) => {
                table.entries[at] = entry;
                at
            }
            None => {
                table.entries.push(entry);
                table.entries.len() - 1
            }
        };
        drop(table);
        let ticket = Self { shard, at };
        ticket.rouse(waker, due);
        ticket
    }

    /// Whether the waker was woken since it was left here. If not, leaves this one instead of it.
    pub(crate) fn is_due(&self, waker: &Waker) -> bool {
        let mut table = TABLE[self.shard].table.lock();
        match &mut table.entries[self.at].waker {
            None => true,
            Some(known) => {
                if !known.will_wake(waker) {
                    *known = waker.clone();
                }
                false
            }
        }
    }

    /// Has `waker` woken again.
    pub(crate) fn renew(&self, waker: &Waker, due: Instant) {
        TABLE[self.shard].table.lock().entries[self.at] = Entry { waker: Some(waker.clone()), due: Some(due) };
        self.rouse(waker, Some(due));
    }

    /// Makes sure that the thread looks in time.
    fn rouse(&self, waker: &Waker, due: Option<Instant>) {
        let Some(looker) = looker() else {
            // No thread could be started: the waiter looks by itself, all the time. Correct, if wasteful.
            TABLE[self.shard].table.lock().entries[self.at].waker = None;
            waker.wake_by_ref();
            return;
        };
        let soon = due.is_some_and(|due| due.saturating_duration_since(Instant::now()) < LOOK);
        if soon || ASLEEP.load(Ordering::SeqCst) {
            ASLEEP.store(false, Ordering::SeqCst);
            looker.unpark();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = TABLE[self.shard].table.lock();
        let waker = table.entries[self.at].waker.take();
        table.free.push(self.at);
        if table.free.len() == table.entries.len() {
            // All is free: later looks need not go through a table that was long once.
            table.entries.clear();
            table.free.clear();
        }
        drop(table);
        // Foreign code, not to be run with the table locked.
        drop(waker);
    }
}

fn look_for_ever() {
    let mut due = Vec::new();
    let mut idle = 0;
    loop {
        let now = Instant::now();
        let mut next = now + LOOK;
        let mut waiting = false;
        for shard in &TABLE {
            for entry in &mut shard.table.lock().entries {
                match entry.due {
                    _ if entry.waker.is_none() => {}
                    Some(later) if later > now => {
                        waiting = true;
                        next = next.min(later);
                    }
                    _ => due.extend(entry.waker.take()),
                }
            }
        }
        idle = if waiting || !due.is_empty() { 0 } else { idle + 1 };
        for waker in due.drain(..) {
            // Foreign code. This thread must outlive its panics.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        if idle <= IDLE_LOOKS {
            thread::park_timeout(next.saturating_duration_since(Instant::now()));
            continue;
        }
        // Announced first and looked once more after that: a waiter either is seen here or sees the announcement.
        ASLEEP.store(true, Ordering::SeqCst);
        let empty = TABLE.iter().all(|shard| shard.table.lock().entries.iter().all(|entry| entry.waker.is_none()));
        if empty {
            while ASLEEP.load(Ordering::SeqCst) {
                thread::park();
            }
        }
        ASLEEP.store(false, Ordering::SeqCst);
        idle = 0;
    }
}

/// The output of `future`, or `None` if it is not there by the deadline.
pub(crate) async fn by<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut ticket: Option<Ticket> = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match &ticket {
            Some(ticket) if !ticket.is_due(cx.waker()) => return Poll::Pending,
            _ if Instant::now() >= deadline => return Poll::Ready(None),
            Some(ticket) => ticket.renew(cx.waker(), deadline),
            None => ticket = Some(Ticket::take(cx.waker(), Some(deadline))),
        }
        Poll::Pending
    })
    .await
}

/// Does nothing until the moment.
pub(crate) async fn sleep_until(moment: Instant) {
    by(moment, pending::<()>()).await;
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::{Context, Wake},
    };

    use futures::executor::block_on;

    use super::*;

    struct Count(AtomicU32, Thread);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.unpark();
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicU32::new(0), thread::current()));
        (count.clone(), count.into())
    }

    fn woken(count: &Count) {
        while count.0.load(Ordering::SeqCst) == 0 {
            thread::park_timeout(Duration::from_secs(1));
        }
    }

    #[test]
    fn never_early_and_under_any_executor() {
        for ms in [0, 1, 7, 30, 70] {
            let begun = Instant::now();
            let bound = Duration::from_millis(ms);
            block_on(sleep_until(begun + bound));
            assert!(begun.elapsed() >= bound);
        }
        assert_eq!(block_on(by(Instant::now(), async { 7 })), Some(7));
        assert_eq!(block_on(by(Instant::now(), pending::<()>())), None);
    }

    #[test]
    fn a_waiter_is_woken_once_and_can_renew() {
        let (count, waker) = counting();
        let ticket = Ticket::take(&waker, None);
        woken(&count);
        assert!(ticket.is_due(&waker));
        let (again, waker) = counting();
        ticket.renew(&waker, Instant::now() + Duration::from_millis(1));
        woken(&again);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_newest_waker_is_woken() {
        let (old, old_waker) = counting();
        let (new, new_waker) = counting();
        let due = Instant::now() + Duration::from_millis(60);
        let ticket = Ticket::take(&old_waker, Some(due));
        assert!(!ticket.is_due(&new_waker));
        woken(&new);
        assert_eq!(old.0.load(Ordering::SeqCst), 0);
    }

    /// The thread goes to sleep when nobody waits, and comes back for the next waiter.
    #[test]
    fn the_thread_sleeps_and_wakes() {
        for _ in 0..3 {
            let begun = Instant::now();
            // Other tests may keep it awake: then there is nothing to see, and nothing to fail.
            while !ASLEEP.load(Ordering::SeqCst) && begun.elapsed() < LOOK * IDLE_LOOKS * 3 {
                thread::sleep(LOOK);
            }
            let (count, waker) = counting();
            let _ticket = Ticket::take(&waker, None);
            woken(&count);
        }
    }

    #[test]
    fn a_dropped_ticket_forgets_its_waker() {
        let (count, waker) = counting();
        let tickets: Vec<_> =
            (0..100).map(|_| Ticket::take(&waker, Some(Instant::now() + Duration::from_secs(3600)))).collect();
        drop(tickets);
        drop(waker);
        // The table holds no clone any more: only ours is left. (A look may hold one for a moment.)
        while Arc::strong_count(&count) > 1 {
            thread::yield_now();
        }
    }

    #[test]
    fn polling_without_a_wake_changes_nothing() {
        let (_, waker) = counting();
        let mut future = pin!(by(Instant::now() + Duration::from_secs(3600), pending::<()>()));
        for _ in 0..10 {
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }
}
