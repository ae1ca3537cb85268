//! What the actor needs of a journal on disk.

use duskevm_supervision::StartContext;

/// The journal could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LogError {
    message: String,
    permanent: bool,
}

impl LogError {
    /// From any error, in its own words. Another try may succeed.
    pub fn new(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), permanent: false }
    }

    /// A file that no other try will read: it is damaged, or not a journal.
    pub fn damaged(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), permanent: true }
    }

    /// Is another try of no use?
    pub const fn is_permanent(&self) -> bool {
        self.permanent
    }
}

/// An append-only file of records. Calls may block; they come from one thread that does nothing else.
pub trait Log: Send + 'static {
    /// Appends records in order. When it returns they survive a power cut.
    ///
    /// # Errors
    /// [`LogError`]: some of the records may be there. The caller makes no further call.
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), LogError>;

    /// Replaces the whole content. After a power cut either all of the old or all of the new is there.
    ///
    /// # Errors
    /// [`LogError`], as above.
    fn rewrite(&mut self, records: &[Vec<u8>]) -> Result<(), LogError>;

    /// Size of the file in bytes.
    fn bytes(&self) -> u64;
}

/// A journal that was opened.
pub struct OpenedLog {
    /// To go on writing.
    pub log: Box<dyn Log>,
    /// What it holds, oldest first. A torn end was cut off.
    pub records: Vec<Vec<u8>>,
}

impl std::fmt::Debug for OpenedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedLog").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

/// Opens the journal for one instance of the actor; its writes go through the fence of that instance.
pub type OpenLog = dyn Fn(&StartContext) -> Result<OpenedLog, LogError> + Send + Sync;
