//! Is there room on the disk?
//!
//! parity-db grows its tables by making the files longer without taking the space (they are sparse) and writes them through
//! memory maps. On a full disk such a write does not fail: it ends the process by a signal. So commits are refused while
//! there is still room for everything that was accepted.

use super::{DbError, failpoint_value};
use std::{io, path::Path};

/// After how many bytes of commits the file system is asked again.
const ASK_EVERY: usize = 4 << 20;

/// What each commit counts at least, so that many small ones are noticed too.
const COMMIT: usize = 64 << 10;

/// Remembers when the file system was asked.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Bytes of commits since it had room; `None` if it had none, or was not asked yet.
    committed: Option<usize>,
}

impl Space {
    /// Refuses a commit of so many bytes if less than the reserve is free.
    pub(super) fn check(&mut self, path: &Path, reserve: u64, bytes: usize) -> Result<(), DbError> {
        let committed = self.committed.map(|before| before + bytes.max(COMMIT));
        if committed.is_some_and(|committed| committed < ASK_EVERY) {
            self.committed = committed;
            return Ok(());
        }
        match free(path) {
            Ok(free) if free < reserve => {
                self.committed = None;
                Err(DbError::DiskFull { path: path.to_owned(), free, reserve })
            }
            Ok(_) => {
                self.committed = Some(0);
                Ok(())
            }
            Err(error) => {
                // Not every file system knows. That is no reason to stop.
                tracing::warn!(path = %path.display(), %error, "asking for the free space of the database's disk");
                self.committed = Some(0);
                Ok(())
            }
        }
    }
}

/// Bytes that this process may still write to the file system of `path`.
fn free(path: &Path) -> io::Result<u64> {
    if let Some(free) = failpoint_value("store-db-free") {
        return Ok(free);
    }
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
