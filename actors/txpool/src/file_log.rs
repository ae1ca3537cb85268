//! The journal on disk.

use std::path::{Path, PathBuf};

use duskevm_store::journal::{Journal, JournalError, JournalLimits};
use duskevm_supervision::{Fence, StartContext};

use crate::log::{Log, LogError, OpenLog, OpenedLog};

/// What the journal's files say that they are.
const NAME: &str = "l2-txpool";

/// Opening writes the last segment anew, so segments are small: a restart must not wait for megabytes.
const LIMITS: JournalLimits = JournalLimits { record_bytes: 16 << 20, segment_bytes: 4 << 20 };

/// Bytes that a record takes beside its payload, about. Only for deciding when to compact.
const OVERHEAD: u64 = 24;

struct FileLog {
    journal: Journal,
    fence: Fence,
    bytes: u64,
}

/// Opens the journal in this directory for each instance of the actor; makes it if it is not there.
pub fn journal_in(directory: impl Into<PathBuf>) -> std::sync::Arc<OpenLog> {
    let directory = directory.into();
    std::sync::Arc::new(move |start: &StartContext| open(&directory, start))
}

fn open(directory: &Path, start: &StartContext) -> Result<OpenedLog, LogError> {
    let mut records = Vec::new();
    let visit = |_: u64, payload: &[u8]| records.push(payload.to_vec());
    let opened = Journal::open(directory, &start.fence, NAME, LIMITS, visit);
    let (journal, recovered) = opened.map_err(explain)?;
    if recovered.torn_bytes > 0 {
        // A write that was never acknowledged.
        tracing::info!(bytes = recovered.torn_bytes, "cut an unfinished write off the transaction journal");
    }
    let bytes = size(&records);
    Ok(OpenedLog { log: Box::new(FileLog { journal, fence: start.fence.clone(), bytes }), records })
}

fn size(records: &[Vec<u8>]) -> u64 {
    records.iter().map(|record| record.len() as u64 + OVERHEAD).sum()
}

fn explain(error: JournalError) -> LogError {
    match error {
        JournalError::Damaged { .. } => LogError::damaged(error),
        other => LogError::new(other),
    }
}

impl Log for FileLog {
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), LogError> {
        self.journal.append_all(&self.fence, records).map_err(explain)?;
        self.bytes += size(records);
        Ok(())
    }

    fn rewrite(&mut self, records: &[Vec<u8>]) -> Result<(), LogError> {
        self.journal.rewrite(&self.fence, records).map_err(explain)?;
        self.bytes = size(records);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}
