//! parity-db with known durability.
//!
//! # What parity-db promises, and what is added here
//!
//! Left alone, parity-db writes commits from threads of its own and fsyncs its log only when that exceeds 64 MiB.
//! Its `instrumentation` feature lets the steps be called one by one, and a thread of ours calls them:
//!
//! ```text
//!  commit          process_commits        flush_logs               enact_logs           clean_logs
//!  ------>  queue ---------------> log --------------> log, fsync ------------> tables ------------> tables, fsync
//!  visible                         buffer              DURABLE                                       log emptied
//! ```
//!
//! - A commit is visible to every reader as soon as [`Db::commit`] returns, as a whole.
//! - A record of the log is the whole commit with a CRC. At open, records are replayed in order up to the first that is
//!   torn: what is found is a prefix of the commits, each whole.
//! - [`Db::durable`] says up to which commit the log was fsynced (and its directory entry too). The number is stored
//!   with each commit, so that it goes on counting after a restart.
//! - While one fsync runs, further commits queue up and share the next one. The queue is bounded: [`Db::commit`] waits.
//! - After any failure of a step the database takes no more commits and no more reads: [`DbError::ReopenNeeded`].
//!   [`Db::reopen`] throws the failed instance away without letting it touch the files again and opens the files as after a
//!   crash.
//! - Each opening of the files is an epoch. A [`CommitId`] names its epoch, so that nobody takes a commit that was lost for a
//!   later one of the same number, and errors name theirs, so that of several users who saw one failure only the first
//!   reopens.
//!
//! While the disk has less room than a reserve, commits are refused ([`DbError::DiskFull`]), see [`space`]: reads go on, and so
//! do commits once there is room.
//!
//! Before parity-db touches a directory, [`dir`] checks that it is ours, undamaged, of the right chain and not in use.

mod dir;
mod space;
mod worker;

pub use dir::{Identity, OpenError};
pub(crate) use dir::{create_directory, sync_directory};

use parity_db::{ColumnOptions, CompressionType, Operation, Options};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use std::{
    collections::VecDeque,
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

/// Own column in front of those of the schema.
const OWN_COLUMN: u8 = 0;
const COMMIT_KEY: &[u8] = b"commit";

/// How a column is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Any key, any value, last write wins.
    Plain,
    /// The same, for large values that compress.
    Compressed,
    /// Keys are hashes, exactly 32 bytes.
    Hashed,
    /// Keys are the hash of their value, exactly 32 bytes; each `set` counts one up, each `delete` one down, and the value goes
    /// when the count is zero.
    Counted,
}

/// What a kind of database looks like.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Name of the layer, written into the directory.
    pub layer: &'static str,
    /// Version of the layout; raised whenever an older program could not read it.
    pub version: u32,
    /// The columns in order; columns are addressed by their place in this list.
    pub columns: &'static [ColumnKind],
}

/// Bounds of a database in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbLimits {
    /// Bytes of commits that may wait for the disk before [`Db::commit`] waits too.
    pub unflushed_bytes: usize,
    /// Bytes that must be free on the file system for a commit to be taken. They must hold what was accepted before:
    /// waiting commits, some logs of up to 64 MiB, and the tables and indices that these fill.
    pub reserve_bytes: u64,
}

impl Default for DbLimits {
    fn default() -> Self {
        Self { unflushed_bytes: 64 << 20, reserve_bytes: 512 << 20 }
    }
}

/// Why an open database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// The disk failed. Nothing is written or read until the database is reopened; commits that were not durable may
    /// be lost.
    #[error("the database at {path} stopped after an error and must be reopened: {cause}", path = .path.display())]
    ReopenNeeded {
        /// Directory of the database.
        path: PathBuf,
        /// The first error.
        cause: Arc<str>,
        /// What [`Db::reopen`] wants to know.
        epoch: u64,
    },
    /// The database was reopened since the commit was made, or while it waited to be made.
    #[error("the database at {path} was reopened meanwhile, and what was not on disk is lost: read again what is there", path = .path.display())]
    Reopened {
        /// Directory of the database.
        path: PathBuf,
    },
    /// The database was closed; whoever still reads from it must get a new handle.
    #[error("the database at {path} is closed: get a new handle from its owner", path = .path.display())]
    Closed {
        /// Directory of the database.
        path: PathBuf,
        /// What [`Db::reopen`] wants to know.
        epoch: u64,
    },
    /// Too little room is left on the disk. The commit was not made, everything else works.
    #[error(
        "the disk of the database at {path} is full: {} MiB are free and {} MiB are the reserve below which nothing is written; delete something there, or stop the node and move its data directory to a larger disk",
        .free >> 20, .reserve >> 20, path = .path.display()
    )]
    DiskFull {
        /// Directory of the database.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free.
        reserve: u64,
    },
    /// A read found something that cannot be.
    #[error("the database at {path} is damaged ({what}): restore it from a copy or sync it anew", path = .path.display())]
    Damaged {
        /// Directory of the database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}

impl DbError {
    /// Whether the files hold what cannot be: another start would find the same.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// If reopening helps: the epoch that came to its end, for [`Db::reopen`].
    pub fn ended_epoch(&self) -> Option<u64> {
        match self {
            Self::ReopenNeeded { epoch, .. } | Self::Closed { epoch, .. } => Some(*epoch),
            Self::Reopened { .. } | Self::DiskFull { .. } | Self::Damaged { .. } => None,
        }
    }
}

/// A commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitId {
    /// Its number. The numbers of commits that were lost are given again.
    pub number: u64,
    /// In which opening of the files it was made.
    pub epoch: u64,
}

/// What parity-db takes: its column (ours plus one), and what to do there.
type Change = (u8, Operation<Vec<u8>, Vec<u8>>);

/// Changes that become visible and durable together.
#[derive(Debug, Default)]
pub struct Batch {
    operations: Vec<Change>,
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a value; in a counted column, counts one up.
    pub fn set(&mut self, column: u8, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len() + 16;
        self.operations.push((column + 1, Operation::Set(key, value)));
    }

    /// Deletes a value; in a counted column, counts one down.
    pub fn delete(&mut self, column: u8, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len() + 16;
        self.operations.push((column + 1, Operation::Dereference(key)));
    }

    /// Bytes of keys and values, with a little for each operation.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// An open database, for one owner that writes and any number of threads that read.
pub struct Db {
    shared: Arc<Shared>,
    /// Held while the worker is stopped or started.
    lifecycle: Mutex<Lifecycle>,
}

struct Lifecycle {
    worker: Option<JoinHandle<()>>,
    /// Keeps other processes (and other parts of this one) out.
    lock: Option<File>,
}

struct Shared {
    path: PathBuf,
    schema: Schema,
    limits: DbLimits,
    inner: RwLock<Option<Arc<parity_db::Db>>>,
    state: Mutex<State>,
    /// Something in `state` moved.
    changed: Condvar,
    /// Mirrors `state.failure`, for readers.
    failed: AtomicBool,
    /// Counts the openings of the files. Only changed with `state` locked.
    epoch: AtomicU64,
}

#[derive(Default)]
struct State {
    committed: u64,
    durable: u64,
    /// Like `durable`, but also carried into the tables.
    enacted: u64,
    /// Sizes of the commits after `durable`.
    waiting: VecDeque<usize>,
    waiting_bytes: usize,
    failure: Option<Arc<str>>,
    stop: bool,
    space: space::Space,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.shared.path).field("layer", &self.shared.schema.layer).finish()
    }
}

impl Db {
    /// Opens the database in this directory, or makes it if the directory is empty or not there.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the directory is then as it was, unless parity-db itself failed in the middle.
    pub fn open(path: &Path, schema: Schema, identity: &Identity, limits: DbLimits) -> Result<Self, OpenError> {
        let lock = dir::prepare(path, &schema, identity, || open_parity(path, &schema).map(drop))?;
        let (inner, committed) = open_whole(path, &schema)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            schema,
            limits,
            inner: RwLock::new(Some(inner.clone())),
            state: Mutex::new(State { committed, durable: committed, enacted: committed, ..State::default() }),
            changed: Condvar::new(),
            failed: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
        });
        let worker =
            worker::spawn(shared.clone(), inner).map_err(|error| OpenError::io(path, "start a thread", error))?;
        Ok(Self { shared, lifecycle: Mutex::new(Lifecycle { worker: Some(worker), lock: Some(lock) }) })
    }

    /// Directory of the database.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Makes the batch visible and queues it for the disk. Waits while too much is queued.
    ///
    /// # Errors
    ///
    /// [`DbError::ReopenNeeded`] after a failure, [`DbError::Closed`] after [`close`](Self::close), [`DbError::Reopened`] if that
    /// happened while this waited: what the batch builds on may be lost; [`DbError::DiskFull`]. Nothing of the batch is visible
    /// then.
    pub fn commit(&self, mut batch: Batch) -> Result<CommitId, DbError> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        let epoch = shared.epoch();
        loop {
            shared.check_epoch(&state, epoch)?;
            // A single batch larger than the bound must pass too.
            if state.waiting.is_empty() || state.waiting_bytes + batch.bytes <= shared.limits.unflushed_bytes {
                break;
            }
            shared.changed.wait(&mut state);
        }
        state.space.check(&shared.path, shared.limits.reserve_bytes, batch.bytes)?;
        let number = state.committed + 1;
        batch.operations.push((OWN_COLUMN, Operation::Set(COMMIT_KEY.to_vec(), number.to_le_bytes().to_vec())));
        {
            let inner = shared.inner.read();
            let db = inner.as_ref().ok_or_else(|| shared.closed())?;
            failpoint("store-db-commit")
                .and_then(|()| db.commit_changes(batch.operations).map_err(|error| error.to_string()))
        }
        .map_err(|cause| shared.fail(&mut state, cause))?;
        state.committed = number;
        state.waiting.push_back(batch.bytes);
        state.waiting_bytes += batch.bytes;
        shared.changed.notify_all();
        Ok(CommitId { number, epoch })
    }

    /// The value of a key, newest commits included.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit); [`DbError::Damaged`] if the files make no sense.
    pub fn get(&self, column: u8, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        let shared = &self.shared;
        if shared.failed.load(Ordering::Acquire) {
            shared.check(&shared.state.lock())?;
        }
        let inner = shared.inner.read();
        let db = inner.as_ref().ok_or_else(|| shared.closed())?;
        shared.whole(column, || db.get(column + 1, key))
    }

    /// Calls `visit` with the count (1 unless the column is counted) and value of everything in a column, in no
    /// particular order, until it returns false. Waits for the disk first; later commits may or may not be seen.
    /// `visit` must not use the database itself.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn for_each(&self, column: u8, mut visit: impl FnMut(u32, Vec<u8>) -> bool) -> Result<(), DbError> {
        self.settle()?;
        let shared = &self.shared;
        let inner = shared.inner.read();
        let db = inner.as_ref().ok_or_else(|| shared.closed())?;
        shared.whole(column, || db.iter_column_while(column + 1, |state| visit(state.rc, state.value)))
    }

    /// Does it work?
    ///
    /// # Errors
    ///
    /// [`DbError::ReopenNeeded`], [`DbError::Closed`].
    pub fn status(&self) -> Result<(), DbError> {
        self.shared.check(&self.shared.state.lock())
    }

    /// True once a power failure cannot take this commit away. Never of a commit before the last
    /// [`reopen`](Self::reopen).
    pub fn is_durable(&self, commit: CommitId) -> bool {
        let state = self.shared.state.lock();
        commit.epoch == self.shared.epoch() && commit.number <= state.durable
    }

    /// Waits until the commit is durable.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit): the commit is then lost or not, which only reading again after the database was
    /// reopened shows.
    pub fn wait_durable(&self, commit: CommitId) -> Result<(), DbError> {
        self.wait(self.shared.state.lock(), commit.epoch, |state| state.durable >= commit.number)
    }

    /// Waits until everything that was committed before is durable.
    ///
    /// # Errors
    ///
    /// As [`wait_durable`](Self::wait_durable).
    pub fn flush(&self) -> Result<(), DbError> {
        let state = self.shared.state.lock();
        let number = state.committed;
        self.wait(state, self.shared.epoch(), |state| state.durable >= number)
    }

    /// Waits until everything that was committed before is durable and in the tables.
    fn settle(&self) -> Result<(), DbError> {
        let state = self.shared.state.lock();
        let number = state.committed;
        self.wait(state, self.shared.epoch(), |state| state.enacted >= number)
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, epoch: u64, done: impl Fn(&State) -> bool) -> Result<(), DbError> {
        loop {
            if epoch == self.shared.epoch() && done(&state) {
                return Ok(());
            }
            self.shared.check_epoch(&state, epoch)?;
            self.shared.changed.wait(&mut state);
        }
    }

    /// Throws away the open instance with all commits that are not durable, and opens the files again, as after a
    /// crash. `ended` is the epoch of the error that asks for it ([`DbError::ended_epoch`]): if somebody else has reopened
    /// since, nothing is done.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the database is then closed, and `reopen` may be tried again.
    pub fn reopen(&self, ended: u64) -> Result<(), OpenError> {
        let shared = &self.shared;
        let mut lifecycle = self.lifecycle.lock();
        // It only changes below, with `lifecycle` locked.
        if shared.epoch() != ended {
            return Ok(());
        }
        self.stop(&mut lifecycle);
        if let Some(inner) = shared.inner.write().take() {
            worker::abandon(inner);
        }
        let path = &shared.path;
        if lifecycle.lock.is_none() {
            lifecycle.lock = Some(dir::lock(path)?);
        }
        dir::check_files(path)?;
        let (inner, committed) = open_whole(path, &shared.schema)?;
        *shared.inner.write() = Some(inner.clone());
        {
            let mut state = shared.state.lock();
            *state = State { committed, durable: committed, enacted: committed, ..State::default() };
            shared.epoch.store(ended + 1, Ordering::Release);
            shared.failed.store(false, Ordering::Release);
            shared.changed.notify_all();
        }
        // Not before the state says that it may run.
        match worker::spawn(shared.clone(), inner) {
            Ok(worker) => lifecycle.worker = Some(worker),
            Err(error) => {
                let _reported: DbError = shared.fail(&mut shared.state.lock(), error.to_string());
                return Err(OpenError::io(path, "start a thread", error));
            }
        }
        Ok(())
    }

    /// Writes everything to disk and lets go of the files. Readers get [`DbError::Closed`] from now on.
    ///
    /// # Errors
    ///
    /// If the disk failed before everything was durable. The files are closed all the same.
    pub fn close(&self) -> Result<(), DbError> {
        let flushed = self.flush();
        self.release(flushed.is_ok());
        flushed
    }

    /// What `kill -9` does: whatever is not on disk is lost.
    pub fn crash(&self) {
        self.release(false);
    }

    fn release(&self, orderly: bool) {
        let mut lifecycle = self.lifecycle.lock();
        self.stop(&mut lifecycle);
        if let Some(inner) = self.shared.inner.write().take() {
            if orderly && !self.shared.failed.load(Ordering::Acquire) {
                drop(inner);
            } else {
                worker::abandon(inner);
            }
        }
        lifecycle.lock = None;
    }

    /// Stops the worker where it is.
    fn stop(&self, lifecycle: &mut Lifecycle) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(worker) = lifecycle.worker.take()
            && worker.join().is_err()
        {
            tracing::error!(path = %self.shared.path.display(), "the database's own thread died of a panic");
        }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if self.shared.inner.read().is_some()
            && let Err(error) = self.close()
        {
            tracing::error!(%error, "closing the database");
        }
    }
}

impl Shared {
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn check_epoch(&self, state: &State, epoch: u64) -> Result<(), DbError> {
        if self.epoch() == epoch { self.check(state) } else { Err(DbError::Reopened { path: self.path.clone() }) }
    }

    fn check(&self, state: &State) -> Result<(), DbError> {
        match &state.failure {
            Some(cause) => Err(self.reopen_needed(cause.clone())),
            None if state.stop => Err(self.closed()),
            None => Ok(()),
        }
    }

    fn fail(&self, state: &mut State, cause: String) -> DbError {
        let cause: Arc<str> = cause.into();
        tracing::error!(path = %self.path.display(), %cause, "the database stopped and must be reopened");
        let first = state.failure.get_or_insert(cause).clone();
        self.failed.store(true, Ordering::Release);
        self.changed.notify_all();
        self.reopen_needed(first)
    }

    fn reopen_needed(&self, cause: Arc<str>) -> DbError {
        DbError::ReopenNeeded { path: self.path.clone(), cause, epoch: self.epoch() }
    }

    fn closed(&self) -> DbError {
        DbError::Closed { path: self.path.clone(), epoch: self.epoch() }
    }

    /// A read: damaged files make parity-db fail or panic.
    fn whole<T>(&self, column: u8, read: impl FnOnce() -> parity_db::Result<T>) -> Result<T, DbError> {
        let damaged = |what| DbError::Damaged { path: self.path.clone(), what };
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(result) => result.map_err(|error| damaged(format!("column {column}: {error}"))),
            Err(panic) => Err(damaged(format!("column {column}: {}", worker::panic_message(panic.as_ref())))),
        }
    }
}

fn open_parity(path: &Path, schema: &Schema) -> Result<parity_db::Db, OpenError> {
    let mut options = Options::with_columns(path, 0);
    options.columns = std::iter::once(&ColumnKind::Plain).chain(schema.columns).map(column_options).collect();
    options.stats = false;
    options.with_background_thread = false;
    options.always_flush = true;
    // Damaged files make parity-db fail in many ways, panics among them.
    match catch_unwind(AssertUnwindSafe(|| parity_db::Db::open_or_create(&options))) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(parity_db::Error::Io(error))) => Err(OpenError::io(path, "open", error)),
        Ok(Err(parity_db::Error::Locked(_))) => Err(OpenError::Locked { path: path.to_owned() }),
        Ok(Err(error)) => Err(OpenError::damaged(path, error.to_string())),
        Err(_) => Err(OpenError::damaged(path, "its files make no sense".to_owned())),
    }
}

/// Opens the files and puts what was found on disk. Returns the number of the last commit.
///
/// After a crash parity-db carries its logs into the tables. The logs were read from the system's cache, which proves nothing
/// after a failed fsync, so the tables are fsynced before anybody is told that this is durable.
fn open_whole(path: &Path, schema: &Schema) -> Result<(Arc<parity_db::Db>, u64), OpenError> {
    let db = open_parity(path, schema)?;
    let cleaned = catch_unwind(AssertUnwindSafe(|| db.clean_logs()));
    let cleaned = cleaned
        .unwrap_or_else(|panic| Err(parity_db::Error::Corruption(worker::panic_message(panic.as_ref()).to_owned())));
    match cleaned {
        Ok(()) => {}
        Err(parity_db::Error::Io(error)) => return Err(OpenError::io(path, "fsync", error)),
        Err(error) => return Err(OpenError::damaged(path, error.to_string())),
    }
    let committed = read_commit_number(path, &db)?;
    Ok((Arc::new(db), committed))
}

fn column_options(kind: &ColumnKind) -> ColumnOptions {
    let hashed = matches!(kind, ColumnKind::Hashed | ColumnKind::Counted);
    let counted = *kind == ColumnKind::Counted;
    let compression =
        if *kind == ColumnKind::Compressed { CompressionType::Lz4 } else { CompressionType::NoCompression };
    ColumnOptions { uniform: hashed, preimage: counted, ref_counted: counted, compression, ..ColumnOptions::default() }
}

fn read_commit_number(path: &Path, db: &parity_db::Db) -> Result<u64, OpenError> {
    let damaged = |what: String| OpenError::damaged(path, what);
    let read = catch_unwind(AssertUnwindSafe(|| db.get(OWN_COLUMN, COMMIT_KEY)));
    let read = read.map_err(|panic| damaged(worker::panic_message(panic.as_ref()).to_owned()))?;
    match read.map_err(|error| damaged(error.to_string()))? {
        None => Ok(0),
        Some(raw) => {
            let raw = raw.try_into().map_err(|_| damaged("the number of the last commit is not 8 bytes".to_owned()))?;
            Ok(u64::from_le_bytes(raw))
        }
    }
}

/// A number that tests put in place of what the system says.
fn failpoint_value(name: &str) -> Option<u64> {
    fail::fail_point!(name, |value| value.and_then(|text| text.parse().ok()));
    None
}

/// A place where tests let the disk fail.
pub(crate) fn failpoint(name: &str) -> Result<(), String> {
    fail::fail_point!(name, |message| Err(format!("injected: {}", message.unwrap_or_default())));
    Ok(())
}
