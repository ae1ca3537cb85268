//! The thread that carries commits to the disk.

use super::{DbError, Shared, failpoint};
use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

/// Bytes of commits that share one fsync at most: more would fill parity-db's memory of unwritten records.
const CYCLE_BYTES: usize = 32 << 20;

/// After how many fsyncs of the log the tables are fsynced and the log is emptied. parity-db waits forever for somebody
/// else to do it once more than four logs are waiting.
const CLEAN_EVERY: u32 = 3;

/// Steps of a growing index per cycle, each moves some thousand entries.
const REINDEX_STEPS: u32 = 4;

pub(super) fn spawn(shared: Arc<Shared>, db: Arc<parity_db::Db>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("store-{}", shared.schema.layer)).spawn(move || {
        let directory = File::open(&shared.path);
        let result = match directory {
            Ok(directory) => {
                let run = AssertUnwindSafe(|| Worker { shared: &shared, db: &db, directory, unclean: 0 }.run());
                catch_unwind(run).unwrap_or_else(|panic| Err(format!("panic: {}", panic_message(panic.as_ref()))))
            }
            Err(error) => Err(format!("open the directory: {error}")),
        };
        if let Err(cause) = result {
            let _reported: DbError = shared.fail(&mut shared.state.lock(), cause);
        }
    })
}

/// Drops an open instance without letting it write any more.
///
/// parity-db carries on with its queues when it is dropped. After a failure in the middle of a log that would apply records
/// that are not all there, so its own switch for injected faults makes every I/O of this thread fail meanwhile: the
/// first step of the shutdown fails and the rest is skipped, as its code does on an error.
pub(super) fn abandon(db: Arc<parity_db::Db>) {
    parity_db::set_number_of_allowed_io_operations(0);
    // A panic must not leave the switch on.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(db)));
    parity_db::set_number_of_allowed_io_operations(usize::MAX);
    if dropped.is_err() {
        tracing::error!("parity-db panicked while a failed instance was dropped");
    }
}

struct Worker<'a> {
    shared: &'a Shared,
    db: &'a parity_db::Db,
    directory: File,
    /// Fsynced logs since the last cleaning.
    unclean: u32,
}

impl Worker<'_> {
    fn run(&mut self) -> Result<(), String> {
        loop {
            let commits = {
                let mut state = self.shared.state.lock();
                loop {
                    if state.stop || state.failure.is_some() {
                        return Ok(());
                    }
                    if !state.waiting.is_empty() {
                        break;
                    }
                    self.shared.changed.wait(&mut state);
                }
                let mut bytes = 0;
                let fits = state.waiting.iter().take_while(|size| {
                    bytes += **size;
                    bytes <= CYCLE_BYTES
                });
                fits.count().max(1)
            };
            self.cycle(commits)?;
        }
    }

    /// Makes the oldest `commits` waiting commits durable.
    fn cycle(&mut self, commits: usize) -> Result<(), String> {
        fail::fail_point!("store-db-io", |operations| {
            // A budget of file operations after which parity-db's own faults begin, in this thread.
            let budget = operations.and_then(|text| text.parse().ok()).unwrap_or_default();
            parity_db::set_number_of_allowed_io_operations(budget);
            self.steps(commits)
        });
        self.steps(commits)
    }

    fn steps(&mut self, commits: usize) -> Result<(), String> {
        let text = |error: parity_db::Error| error.to_string();
        for _ in 0..commits {
            failpoint("store-db-process")?;
            self.db.process_commits().map_err(text)?;
        }
        for _ in 0..REINDEX_STEPS {
            self.db.process_reindex().map_err(text)?;
        }
        failpoint("store-db-flush")?;
        self.db.flush_logs().map_err(text)?;
        self.sync_directory()?;
        {
            let mut state = self.shared.state.lock();
            for _ in 0..commits {
                let size = state.waiting.pop_front().unwrap_or_default();
                state.waiting_bytes -= size;
                state.durable += 1;
            }
            self.shared.changed.notify_all();
        }
        failpoint("store-db-enact")?;
        self.db.enact_logs().map_err(text)?;
        {
            let mut state = self.shared.state.lock();
            state.enacted += commits as u64;
            self.shared.changed.notify_all();
        }
        self.unclean += 1;
        if self.unclean >= CLEAN_EVERY {
            failpoint("store-db-clean")?;
            // Tables that were made meanwhile must be found again before the log that fills them is emptied.
            self.sync_directory()?;
            self.db.clean_logs().map_err(text)?;
            self.unclean = 0;
        }
        Ok(())
    }

    /// parity-db fsyncs files but not the directory in which it makes them.
    fn sync_directory(&self) -> Result<(), String> {
        self.directory.sync_all().map_err(|error| format!("fsync of the directory: {error}"))
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
