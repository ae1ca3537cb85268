//! A bounded queue with a fixed number of threads behind it.

use metrics::Gauge;
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, fmt, sync::Arc};

/// The queue has no room, or its threads are ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    wake: Condvar,
    capacity: usize,
    threads: usize,
    /// Most entries that one thread takes at once.
    batch: usize,
    depth: Gauge,
}

struct Queue<T> {
    entries: VecDeque<T>,
    stopped: bool,
}

/// A handle of the queue. The threads end when the last one is dropped; what waits then is dropped as well.
pub(crate) struct Threads<T> {
    shared: Arc<Shared<T>>,
    _stop: Arc<StopOnDrop<T>>,
}

impl<T> Clone for Threads<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), _stop: self._stop.clone() }
    }
}

impl<T> fmt::Debug for Threads<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("threads", &self.shared.threads).finish_non_exhaustive()
    }
}

struct StopOnDrop<T>(Arc<Shared<T>>);

impl<T> Drop for StopOnDrop<T> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.stopped = true;
        queue.entries.clear();
        self.0.wake.notify_all();
    }
}

impl<T: Send + 'static> Threads<T> {
    /// Starts `threads` threads that take up to `batch` of at most `capacity` waiting entries at once and do `work` on each.
    /// `name` is used in metrics and thread names.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        name: &'static str,
        threads: usize,
        capacity: usize,
        batch: usize,
        work: impl Fn(T) + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let depth = crate::metrics::queue_depth(name);
        let queue = Mutex::new(Queue { entries: VecDeque::new(), stopped: false });
        let shared = Arc::new(Shared { queue, wake: Condvar::new(), capacity, threads, batch, depth });
        let started = Self { _stop: Arc::new(StopOnDrop(shared.clone())), shared };
        for index in 0..threads {
            let (shared, work) = (started.shared.clone(), work.clone());
            std::thread::Builder::new().name(format!("rpc-{name}-{index}")).spawn(move || serve(&shared, work))?;
        }
        Ok(started)
    }

    /// Puts an entry at the end.
    ///
    /// # Errors
    /// If there is no room.
    pub(crate) fn push(&self, entry: T) -> Result<(), Full> {
        let mut queue = self.shared.queue.lock();
        if queue.stopped || queue.entries.len() >= self.shared.capacity {
            return Err(Full);
        }
        queue.entries.push_back(entry);
        self.shared.depth.set(queue.entries.len() as f64);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }
}

fn serve<T>(shared: &Shared<T>, work: impl Fn(T)) {
    loop {
        let batch: Vec<T> = {
            let mut queue = shared.queue.lock();
            while queue.entries.is_empty() && !queue.stopped {
                shared.wake.wait(&mut queue);
            }
            if queue.stopped {
                return;
            }
            // An equal share for each thread: a batch that one thread takes alone would leave the others idle.
            let share = queue.entries.len().div_ceil(shared.threads).min(shared.batch);
            let batch = queue.entries.drain(..share).collect();
            shared.depth.set(queue.entries.len() as f64);
            batch
        };
        batch.into_iter().for_each(&work);
    }
}
