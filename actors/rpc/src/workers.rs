//! Threads for work that must not run on those that serve sockets: a bounded queue, and a way to give up.

use crate::{error::RpcError, queue::Threads};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Tells a running job that nobody waits for its result any more, or that its time is up.
#[derive(Debug, Clone)]
pub(crate) struct Cancel {
    dropped: Arc<AtomicBool>,
    asked: Instant,
    deadline: Option<Instant>,
}

impl Cancel {
    /// Never cancelled.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self::new(Arc::new(AtomicBool::new(false)))
    }

    fn new(dropped: Arc<AtomicBool>) -> Self {
        Self { dropped, asked: Instant::now(), deadline: None }
    }

    /// The same, with a deadline. It counts from when the job was asked for: nobody waits longer because others were in the queue.
    pub(crate) fn within(&self, bound: Duration) -> Self {
        Self { deadline: self.asked.checked_add(bound), ..self.clone() }
    }

    /// Is it time to give up?
    pub(crate) fn is_cancelled(&self) -> bool {
        self.dropped.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// # Errors
    /// If it is time to give up.
    pub(crate) fn check(&self) -> Result<(), RpcError> {
        if self.is_cancelled() { Err(RpcError::server("request timed out")) } else { Ok(()) }
    }
}

/// Sets the flag when the waiting future is dropped, which happens when the client goes away.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads behind a bounded queue. The threads end when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    name: &'static str,
    threads: Threads<Job>,
}

impl Workers {
    /// Starts `threads` threads; `name` is used in metrics, thread names and error messages.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(name: &'static str, threads: usize, capacity: usize) -> std::io::Result<Self> {
        // Jobs are taken one by one: one that is long must not keep others waiting behind it.
        Ok(Self { name, threads: Threads::start(name, threads, capacity, 1, |job: Job| job())? })
    }

    /// Runs `job` on one of the threads. If the returned future is dropped, the job is told so.
    ///
    /// # Errors
    /// [`RpcError::Busy`] if the queue is full, [`RpcError::Internal`] if the job panics; else what the job returns.
    pub(crate) async fn run<T, F>(&self, job: F) -> Result<T, RpcError>
    where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> Result<T, RpcError> + Send + 'static,
    {
        let dropped = Arc::new(AtomicBool::new(false));
        let cancel = Cancel::new(dropped.clone());
        let _guard = CancelOnDrop(dropped);
        let (reply, result) = oneshot::channel();
        let name = self.name;
        let job: Job = Box::new(move || {
            if cancel.is_cancelled() {
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| job(&cancel)))
                .unwrap_or_else(|_| Err(RpcError::internal(format!("a {name} job panicked"))));
            // Nobody waits any more: the client went away.
            let _ = reply.send(outcome);
        });
        self.threads.push(job).map_err(|_| RpcError::Busy(name))?;
        result.await.unwrap_or_else(|_| Err(RpcError::internal(format!("the {name} threads are shutting down"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_lives_on() {
        let workers = Workers::start("test", 1, 4).unwrap();
        let outcome = workers.run::<(), _>(|_| panic!("on purpose")).await;
        assert_eq!(outcome, Err(RpcError::internal("a test job panicked")));
        assert_eq!(workers.run(|_| Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let workers = Workers::start("test", 1, 1).unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let first = tokio::spawn({
            let workers = workers.clone();
            async move {
                workers
                    .run(move |_| {
                        let _ = started.send(());
                        let _ = blocked.recv();
                        Ok(1)
                    })
                    .await
            }
        });
        has_started.await.unwrap();
        let second = workers.run(|_| Ok(2));
        let mut second = Box::pin(second);
        assert!(futures::poll!(&mut second).is_pending(), "it waits in the queue");
        assert_eq!(workers.run(|_| Ok(3)).await, Err(RpcError::Busy("test")));
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(second.await, Ok(2));
    }

    #[tokio::test]
    async fn a_dropped_request_cancels_its_job() {
        let workers = Workers::start("test", 1, 4).unwrap();
        let (started, has_started) = oneshot::channel();
        let (seen, was_seen) = oneshot::channel();
        let waiting = tokio::spawn(async move {
            workers
                .run(move |cancel| {
                    let _ = started.send(());
                    while !cancel.is_cancelled() {
                        std::thread::yield_now();
                    }
                    let _ = seen.send(());
                    Ok(())
                })
                .await
        });
        has_started.await.unwrap();
        waiting.abort();
        tokio::time::timeout(Duration::from_secs(5), was_seen).await.unwrap().unwrap();
    }

    #[test]
    fn a_deadline_cancels() {
        let cancel = Cancel::never();
        assert!(!cancel.is_cancelled());
        assert!(cancel.within(Duration::ZERO).check().is_err());
    }

    #[tokio::test]
    async fn a_deadline_counts_from_when_the_job_was_asked_for() {
        let workers = Workers::start("test", 1, 4).unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let mut first = Box::pin(workers.run(move |_| {
            let _ = blocked.recv();
            Ok(())
        }));
        assert!(futures::poll!(&mut first).is_pending());
        let bound = Duration::from_millis(20);
        let mut second = Box::pin(workers.run(move |cancel| cancel.within(bound).check()));
        let asked = Instant::now();
        assert!(futures::poll!(&mut second).is_pending(), "it waits behind the first");
        while asked.elapsed() <= bound {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        first.await.unwrap();
        assert_eq!(second.await, Err(RpcError::server("request timed out")));
    }
}
