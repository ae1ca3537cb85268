//! An append-only journal of checked records that are on disk when the call returns.
//!
//! For what another party is told: journal it first, then sign, publish, answer. The last instance's records are read
//! back at open, in order. A journal is a directory of segments (the format is drawn in `segment`):
//!
//! - **Append** writes any number of records and fsyncs once ([`Journal::append_all`]).
//! - **Rotation**: a segment that is full is followed by a new one; [`Journal::release_before`] deletes old segments whole.
//! - **Compaction** ([`Journal::rewrite`]) replaces everything by the records that still matter: a temporary file, fsync,
//!   rename, fsync of the directory. A crash leaves the old records or the new ones.
//! - **Open** cuts off a tail whose write never returned. Damage before that is an error that names file and offset: those
//!   records were acknowledged. The last segment is written anew: what was read may be in the system's cache only, and after
//!   a failed fsync (of a process or an instance that is gone) the system may hold it there as written although it never
//!   was. Earlier segments are on disk: a segment is followed by another only after its last fsync returned.
//! - After a failed write nobody knows what is on disk: the journal refuses everything until [`Journal::reopen`]. A record
//!   whose append failed may turn up then, or not.
//!
//! Every write passes a [`Fence`]. Between processes, exclusion is the business of the data directory's lock.

mod segment;
#[cfg(test)]
mod tests;

use duskevm_fence::{Fence, FenceError};
use segment::{End, HEADER, Header, RECORD};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

const SUFFIX: &str = ".journal";
const TEMPORARY: &str = "new.tmp";

/// Bounds of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Largest record, in bytes.
    pub record_bytes: u32,
    /// Size from which a new segment is begun.
    pub segment_bytes: u64,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self { record_bytes: 16 << 20, segment_bytes: 64 << 20 }
    }
}

/// Why a journal did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused. After a failed write the journal must be reopened.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Acknowledged records are unreadable, or the file is not one of ours. Nothing was changed.
    #[error("the journal {path} is damaged at offset {offset} ({what}): restore it from a copy, or move it away to start without it", path = .path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The record exceeds the limit; nothing was written.
    #[error("a record of {length} bytes is too large for the journal (at most {limit})")]
    TooLarge {
        /// Size of the record.
        length: usize,
        /// The limit.
        limit: u32,
    },
    /// An earlier write failed.
    #[error("the journal {path} stopped after an error and must be reopened: {cause}", path = .path.display())]
    ReopenNeeded {
        /// The directory.
        path: PathBuf,
        /// The first error.
        cause: Arc<str>,
    },
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(#[from] FenceError),
}

/// What was found at open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Number of the first record that was read.
    pub first: u64,
    /// Number of records read.
    pub records: u64,
    /// Bytes of an unacknowledged write that were cut off.
    pub torn_bytes: u64,
}

/// Reads the journal in this directory, whatever it is for, and changes nothing; nobody may be writing to it. `None` if there is none.
///
/// # Errors
///
/// [`JournalError::Damaged`]; [`JournalError::Io`].
pub fn inspect(directory: &Path) -> Result<Option<Recovered>, JournalError> {
    Ok(Files::read(directory, None, |_, _| {})?.map(|files| files.recovered))
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    kind: u32,
    limits: JournalLimits,
    /// First record number of each segment, oldest first. The last one is written to.
    segments: Vec<u64>,
    file: File,
    /// Of the last segment, as is its length.
    salt: u32,
    length: u64,
    next: u64,
    failure: Option<Arc<str>>,
}

impl Journal {
    /// Opens the journal in this directory, or begins one. Calls `visit` with the number and payload of every record.
    /// `name` says what the journal is for; one of another name is refused.
    ///
    /// # Errors
    ///
    /// [`JournalError::Damaged`] and then nothing was changed; [`JournalError::Fenced`]; [`JournalError::Io`].
    pub fn open(
        directory: &Path,
        fence: &Fence,
        name: &str,
        limits: JournalLimits,
        visit: impl FnMut(u64, &[u8]),
    ) -> Result<(Self, Recovered), JournalError> {
        let kind = crc32fast::hash(name.as_bytes());
        fence.write(|| {
            crate::db::create_directory(directory).map_err(|error| io_error("create", directory, error))?;
            let last = match Files::read(directory, Some(kind), visit)? {
                Some(found) => found.write_anew(directory)?,
                None => {
                    let header = Header { kind, base: true, first: 0, salt: rand::random() };
                    let length = write_segment(directory, header, &[])?;
                    let file = open_for_append(&segment_path(directory, 0))?;
                    let recovered = Recovered::default();
                    Last { segments: vec![0], recovered, salt: header.salt, length, file }
                }
            };
            Ok(Self::resume(directory.to_owned(), kind, limits, last))
        })?
    }

    fn resume(directory: PathBuf, kind: u32, limits: JournalLimits, last: Last) -> (Self, Recovered) {
        let Last { segments, recovered, salt, length, file } = last;
        let next = recovered.first + recovered.records;
        (Self { directory, kind, limits, segments, file, salt, length, next, failure: None }, recovered)
    }

    /// Appends one record. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`JournalError::TooLarge`] and [`JournalError::Fenced`]: nothing was written. [`JournalError::Io`]: reopen.
    pub fn append(&mut self, fence: &Fence, record: &[u8]) -> Result<u64, JournalError> {
        Ok(self.append_all(fence, [record])?.start)
    }

    /// Appends records with one fsync. They are on disk when this returns. Returns their numbers.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_all<R: AsRef<[u8]>>(
        &mut self,
        fence: &Fence,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Range<u64>, JournalError> {
        self.check_usable()?;
        let group = self.next;
        let full = self.length >= self.limits.segment_bytes && self.segments.last().is_some_and(|last| *last < group);
        let salt = if full { rand::random() } else { self.salt };
        let (raw, next) = self.encode(salt, records, group)?;
        if next == group {
            return Ok(group..group);
        }
        let result = fence.write(|| {
            if full {
                self.rotate(salt)?;
            }
            self.write(&raw)
        })?;
        result.map_err(|error| self.fail(error))?;
        self.next = next;
        self.length += raw.len() as u64;
        Ok(group..next)
    }

    /// Replaces all records by these, which get the next numbers. A crash leaves the old ones or the new ones.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn rewrite<R: AsRef<[u8]>>(
        &mut self,
        fence: &Fence,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Range<u64>, JournalError> {
        self.check_usable()?;
        // A segment is named after its first record. An empty journal that is rewritten would take its own name.
        let first = self.next.max(self.segments.last().map_or(0, |last| last + 1));
        let salt = rand::random();
        let (raw, next) = self.encode(salt, records, first)?;
        let header = Header { kind: self.kind, base: true, first, salt };
        let result = fence.write(|| {
            let length = write_segment(&self.directory, header, &raw)?;
            let file = open_for_append(&segment_path(&self.directory, first))?;
            Ok((length, file))
        })?;
        let (length, file) = result.map_err(|error| self.fail(error))?;
        let old = std::mem::replace(&mut self.segments, vec![first]);
        (self.file, self.salt, self.length, self.next) = (file, salt, length, next);
        // The new segment says that these count no more: if one stays, the next open deletes it.
        for number in old {
            let _ = fs::remove_file(segment_path(&self.directory, number));
        }
        Ok(first..next)
    }

    /// Deletes the segments that hold only records before `number`. Those in the same segment as later ones stay.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn release_before(&mut self, fence: &Fence, number: u64) -> Result<(), JournalError> {
        self.check_usable()?;
        let count = self.segments.windows(2).take_while(|pair| pair[1] <= number).count();
        if count == 0 {
            return Ok(());
        }
        let result = fence.write(|| {
            // Oldest first: a crash in between must not leave a gap.
            for old in &self.segments[..count] {
                let path = segment_path(&self.directory, *old);
                fs::remove_file(&path).map_err(|error| io_error("delete", &path, error))?;
                sync_directory(&self.directory)?;
            }
            Ok(())
        })?;
        result.map_err(|error| self.fail(error))?;
        self.segments.drain(..count);
        Ok(())
    }

    /// Reads everything again after a failed write, as [`open`](Self::open) does, and goes on with what is there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `reopen` may be tried again.
    pub fn reopen(&mut self, fence: &Fence, visit: impl FnMut(u64, &[u8])) -> Result<Recovered, JournalError> {
        let (directory, limits, kind) = (self.directory.clone(), self.limits, self.kind);
        let result = fence.write(|| match Files::read(&directory, Some(kind), visit)? {
            Some(found) => found.write_anew(&directory),
            None => Err(damaged(&directory, 0, "its segments are gone")),
        })?;
        let last = result.map_err(|error| self.fail(error))?;
        let (journal, recovered) = Self::resume(directory, kind, limits, last);
        *self = journal;
        Ok(recovered)
    }

    fn encode<R: AsRef<[u8]>>(
        &self,
        salt: u32,
        records: impl IntoIterator<Item = R>,
        group: u64,
    ) -> Result<(Vec<u8>, u64), JournalError> {
        let (mut raw, mut next) = (Vec::new(), group);
        for record in records {
            let record = record.as_ref();
            if record.len() > self.limits.record_bytes as usize {
                return Err(JournalError::TooLarge { length: record.len(), limit: self.limits.record_bytes });
            }
            raw.reserve(RECORD + record.len());
            segment::encode_record(salt, next, group, record, &mut raw);
            next += 1;
        }
        Ok((raw, next))
    }

    fn rotate(&mut self, salt: u32) -> Result<(), JournalError> {
        let header = Header { kind: self.kind, base: false, first: self.next, salt };
        self.length = write_segment(&self.directory, header, &[])?;
        self.file = open_for_append(&segment_path(&self.directory, self.next))?;
        self.salt = salt;
        self.segments.push(self.next);
        Ok(())
    }

    fn write(&mut self, raw: &[u8]) -> Result<(), JournalError> {
        let path = || segment_path(&self.directory, self.segments.last().copied().unwrap_or_default());
        fail::fail_point!("store-journal-write", |share| {
            // Writes only the first bytes, as a full disk does.
            let share = share.and_then(|text| text.parse().ok()).unwrap_or(0).min(raw.len());
            let _ = self.file.write_all(&raw[..share]);
            Err(io_error("write", &path(), io::Error::other("injected")))
        });
        self.file.write_all(raw).map_err(|error| io_error("write", &path(), error))?;
        failpoint("store-journal-sync")
            .and_then(|()| self.file.sync_data())
            .map_err(|error| io_error("fsync", &path(), error))
    }

    fn check_usable(&self) -> Result<(), JournalError> {
        match &self.failure {
            None => Ok(()),
            Some(cause) => Err(JournalError::ReopenNeeded { path: self.directory.clone(), cause: cause.clone() }),
        }
    }

    fn fail(&mut self, error: JournalError) -> JournalError {
        self.failure.get_or_insert_with(|| error.to_string().into());
        error
    }
}

/// What was read of a directory, and found good.
struct Files {
    /// First record number of each file, by its name, ascending.
    found: Vec<u64>,
    /// The same of those that count. Not empty.
    segments: Vec<u64>,
    recovered: Recovered,
    /// Header and whole records of the last segment.
    header: Header,
    records: Vec<u8>,
}

/// The segment that is written to, on disk as a whole.
struct Last {
    segments: Vec<u64>,
    recovered: Recovered,
    salt: u32,
    length: u64,
    file: File,
}

impl Files {
    /// Reads all records, and changes nothing. `None` if there is no segment. Without a `kind` it is that of the first segment.
    fn read(
        directory: &Path,
        kind: Option<u32>,
        mut visit: impl FnMut(u64, &[u8]),
    ) -> Result<Option<Self>, JournalError> {
        let found = list(directory)?;
        let mut headers = Vec::new();
        for number in &found {
            let path = segment_path(directory, *number);
            let raw = read_start(&path)?;
            let header = Header::decode(&raw).map_err(|what| damaged(&path, 0, what))?;
            let kind = kind.or(headers.first().map(|first: &Header| first.kind));
            if kind.is_some_and(|kind| kind != header.kind) {
                return Err(damaged(&path, 8, "it is the journal of something else"));
            }
            if header.first != *number {
                return Err(damaged(&path, 16, "it was renamed"));
            }
            headers.push(header);
        }
        let base = headers.iter().rposition(|header| header.base).unwrap_or(0);
        let segments: Vec<u64> = found[base..].to_vec();
        let (Some(&first), Some(&header)) = (segments.first(), headers.last()) else { return Ok(None) };
        let (mut next, mut records, mut torn_bytes) = (first, Vec::new(), 0);
        for (index, header) in headers[base..].iter().enumerate() {
            let path = segment_path(directory, header.first);
            if header.first != next {
                return Err(damaged(&path, 16, "the segment before it is missing or cut off"));
            }
            let mut raw = fs::read(&path).map_err(|error| io_error("read", &path, error))?;
            let (after, end) = segment::read_records(&raw, header, &mut visit);
            let last = index + 1 == segments.len();
            match end {
                End::Whole => {}
                End::Torn { at } if last => {
                    torn_bytes = (raw.len() - at) as u64;
                    raw.truncate(at);
                }
                End::Torn { at } | End::Damaged { at } => {
                    return Err(damaged(&path, at as u64, &format!("record {after} is unreadable")));
                }
            }
            if last {
                records = raw.split_off(HEADER.min(raw.len()));
            }
            next = after;
        }
        let recovered = Recovered { first, records: next - first, torn_bytes };
        Ok(Some(Self { found, segments, recovered, header, records }))
    }

    /// Puts the last segment on disk for certain and deletes what counts no more.
    fn write_anew(self, directory: &Path) -> Result<Last, JournalError> {
        let Self { found, segments, recovered, header, records } = self;
        let length = write_segment(directory, header, &records)?;
        for old in found.iter().filter(|number| !segments.contains(number)) {
            let path = segment_path(directory, *old);
            fs::remove_file(&path).map_err(|error| io_error("delete", &path, error))?;
        }
        sync_directory(directory)?;
        let file = open_for_append(&segment_path(directory, header.first))?;
        Ok(Last { segments, recovered, salt: header.salt, length, file })
    }
}

fn list(directory: &Path) -> Result<Vec<u64>, JournalError> {
    let entries = fs::read_dir(directory).map_err(|error| io_error("read", directory, error))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_error("read", directory, error))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        found.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    found.sort_unstable();
    Ok(found)
}

fn read_start(path: &Path) -> Result<Vec<u8>, JournalError> {
    use std::io::Read;
    let mut raw = Vec::with_capacity(HEADER);
    let read = File::open(path).and_then(|file| file.take(HEADER as u64).read_to_end(&mut raw));
    read.map_err(|error| io_error("read", path, error))?;
    Ok(raw)
}

/// Makes a segment as a whole or not at all. Returns its length.
fn write_segment(directory: &Path, header: Header, records: &[u8]) -> Result<u64, JournalError> {
    let (temporary, path) = (directory.join(TEMPORARY), segment_path(directory, header.first));
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&header.encode())?;
        file.write_all(records)?;
        failpoint("store-journal-segment")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|error| io_error("write", &path, error))?;
    sync_directory(directory)?;
    Ok((HEADER + records.len()) as u64)
}

fn open_for_append(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new().append(true).open(path).map_err(|error| io_error("open", path, error))
}

fn sync_directory(directory: &Path) -> Result<(), JournalError> {
    crate::db::sync_directory(directory).map_err(|error| io_error("fsync", directory, error))
}

fn segment_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:016x}{SUFFIX}"))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { action, path: path.to_owned(), source }
}

fn damaged(path: &Path, offset: u64, what: &str) -> JournalError {
    JournalError::Damaged { path: path.to_owned(), offset, what: what.to_owned() }
}

/// A place where tests let the disk fail.
fn failpoint(name: &str) -> io::Result<()> {
    fail::fail_point!(name, |_| Err(io::Error::other("injected")));
    Ok(())
}
