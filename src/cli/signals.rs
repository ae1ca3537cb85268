//! Stopping in order: SIGINT and SIGTERM ask for it, a second one ends the process at once.

use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that a second signal ended: by convention 128 + the number of the signal.
const BY_SIGNAL: i32 = 128;

/// How often the removal of a folder is tried when there is no time to close what is in it.
const ATTEMPTS: usize = 10;

/// The wish to stop. Clones see the same one.
#[derive(Debug, Clone)]
pub struct Stop {
    wish: Arc<watch::Sender<bool>>,
}

impl Stop {
    /// Nobody wishes to stop yet.
    pub fn new() -> Self {
        Self { wish: Arc::new(watch::Sender::new(false)) }
    }

    /// Asks for an ordered stop.
    pub fn request(&self) {
        self.wish.send_replace(true);
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        *self.wish.borrow()
    }

    /// Returns once somebody has asked.
    pub async fn requested(&self) {
        // The sender lives in `self`, so the channel cannot close meanwhile.
        let _ = self.wish.subscribe().wait_for(|wish| *wish).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// A folder to be removed even when a second signal cuts everything short.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leftover(Arc<Mutex<Option<PathBuf>>>);

impl Leftover {
    pub(crate) fn set(&self, folder: Option<PathBuf>) {
        *self.0.lock() = folder;
    }

    fn remove(&self) {
        let Some(folder) = self.0.lock().take() else { return };
        // The databases are still open, and a file that appears meanwhile makes the removal fail.
        for _ in 0..ATTEMPTS {
            if std::fs::remove_dir_all(&folder).is_ok() || !folder.exists() {
                return;
            }
        }
        tracing::warn!(folder = %folder.display(), "the temporary data folder could not be removed");
    }
}

/// Listens for SIGINT and SIGTERM on a thread of its own, so that a node that hangs can still be ended.
///
/// # Errors
/// If the handlers or the thread cannot be set up.
pub(crate) fn listen(stop: Stop, leftover: Leftover) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            loop {
                let (name, number) = tokio::select! {
                    Some(()) = interrupt.recv() => ("SIGINT", 2),
                    Some(()) = terminate.recv() => ("SIGTERM", 15),
                    else => return,
                };
                if stop.is_requested() {
                    tracing::warn!("{name} again: ending at once");
                    leftover.remove();
                    process::exit(BY_SIGNAL + number);
                }
                tracing::info!("{name}: stopping in order; once more ends at once");
                stop.request();
            }
        });
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_is_seen_by_all_before_and_after() {
        let stop = Stop::new();
        let early = tokio::spawn({
            let stop = stop.clone();
            async move { stop.requested().await }
        });
        assert!(!stop.is_requested());
        stop.clone().request();
        early.await.unwrap();
        stop.requested().await;
        assert!(stop.is_requested());
    }
}
