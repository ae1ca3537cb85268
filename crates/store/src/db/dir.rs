//! The directory of a database before parity-db touches it: whose is it, is it whole, is it in use?
//!
//! Besides parity-db's files a directory holds
//!
//! - `duskevm.meta`, a few lines of text with a CRC at the end, which say what the database is:
//!
//!   ```text
//!   duskevm-store
//!   version=1
//!   layer=l2
//!   chain_id=31310
//!   genesis=0x…
//!   metadata_crc32=89abcdef     of parity-db's own file `metadata`
//!   crc32=01234567              of all lines above
//!   ```
//!
//! - `duskevm.creating`, there from before the first file is made until `duskevm.meta` is written: what such a directory holds
//!   was never used and is made again;
//! - `duskevm.lock`, locked while the database is open.

use super::Schema;
use alloy_primitives::B256;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

const META: &str = "duskevm.meta";
const META_NEW: &str = "duskevm.meta.new";
const CREATING: &str = "duskevm.creating";
const LOCK: &str = "duskevm.lock";
const MAGIC: &str = "duskevm-store";

/// Which chain a database belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Hash of the chain's first block.
    pub genesis: B256,
}

/// Why a database could not be opened. What each message asks for is left to the operator: nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {action} the database at {path}: {source}", path = .path.display())]
    Io {
        /// Directory of the database.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else has it open.
    #[error("the database at {path} is in use: stop the other process or choose another data directory", path = .path.display())]
    Locked {
        /// Directory of the database.
        path: PathBuf,
    },
    /// The directory holds something that is not ours.
    #[error("{path} is not empty and not a database of this program (it holds {found}): choose another data directory", path = .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// Files are damaged or missing.
    #[error("the database at {path} is damaged ({what}): restore it from a copy or delete it and sync anew", path = .path.display())]
    Damaged {
        /// Directory of the database.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Written by another version of the program.
    #[error("the database at {path} has layout version {found}, this program knows {supported}: use the program version that wrote it, or delete it and sync anew", path = .path.display())]
    Version {
        /// Directory of the database.
        path: PathBuf,
        /// Version on disk.
        found: u32,
        /// Version of this program.
        supported: u32,
    },
    /// It belongs to another chain or layer.
    #[error("the database at {path} is of another network ({field} {found}, expected {expected}): choose another data directory or the right configuration", path = .path.display())]
    WrongChain {
        /// Directory of the database.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// On disk.
        found: String,
        /// By the configuration.
        expected: String,
    },
}

impl OpenError {
    /// Whether another start would find the same: what is there is damaged, or not of this network or program.
    pub const fn is_lasting(&self) -> bool {
        match self {
            Self::Foreign { .. } | Self::Damaged { .. } | Self::Version { .. } | Self::WrongChain { .. } => true,
            Self::Io { .. } | Self::Locked { .. } => false,
        }
    }

    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn damaged(path: &Path, what: String) -> Self {
        Self::Damaged { path: path.to_owned(), what }
    }
}

/// Checks an existing directory or makes a new one with `create`, and locks it. Returns the lock.
pub(super) fn prepare(
    path: &Path,
    schema: &Schema,
    identity: &Identity,
    create: impl FnOnce() -> Result<(), OpenError>,
) -> Result<File, OpenError> {
    match fs::read(path.join(META)) {
        Ok(raw) => {
            check_meta(path, &raw, schema, identity)?;
            check_files(path)?;
            lock(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let lock = claim_empty(path)?;
            create()?;
            write_meta(path, schema, identity)?;
            Ok(lock)
        }
        Err(error) => Err(OpenError::io(path, "read", error)),
    }
}

/// Locks a directory against everybody else.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK))
        .map_err(|error| OpenError::io(path, "lock", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(OpenError::io(path, "lock", error)),
    }
}

/// The files that parity-db would change before it finds out that they are damaged.
///
/// It maps tables into memory and grows them by fixed steps, so a table that was cut off shows in its length; read
/// through the map it would end the process.
pub(super) fn check_files(path: &Path) -> Result<(), OpenError> {
    let damaged = |what: String| OpenError::damaged(path, what);
    for (name, length) in files(path)? {
        if name.starts_with("table_") && !length.is_multiple_of(256 << 10) {
            return Err(damaged(format!("{name} was cut off: {length} bytes")));
        }
        if let Some(bits) = name.strip_prefix("index_").and_then(|rest| rest.get(3..)) {
            let expected = bits.parse().ok().and_then(|bits| 512u64.checked_shl(bits)).map(|size| size + (16 << 10));
            // A crash while it is made leaves an empty one.
            if length != 0 && Some(length) != expected {
                return Err(damaged(format!("{name} has a wrong length: {length} bytes")));
            }
        }
    }
    let metadata = metadata_crc(path)?;
    let raw = fs::read(path.join(META)).map_err(|error| OpenError::io(path, "read", error))?;
    let meta = Meta::parse(&raw).map_err(|what| damaged(format!("{META}: {what}")))?;
    if metadata != meta.metadata_crc {
        return Err(damaged("its file `metadata` was changed".to_owned()));
    }
    Ok(())
}

fn check_meta(path: &Path, raw: &[u8], schema: &Schema, identity: &Identity) -> Result<(), OpenError> {
    // The version first: whatever else a later program writes is its own affair.
    let found = Meta::version(raw).map_err(|what| OpenError::damaged(path, format!("{META}: {what}")))?;
    if found > schema.version {
        return Err(OpenError::Version { path: path.to_owned(), found, supported: schema.version });
    }
    let meta = Meta::parse(raw).map_err(|what| OpenError::damaged(path, format!("{META}: {what}")))?;
    if found != schema.version {
        return Err(OpenError::Version { path: path.to_owned(), found, supported: schema.version });
    }
    let differs = |field, found: String, expected: String| {
        if found == expected {
            Ok(())
        } else {
            Err(OpenError::WrongChain { path: path.to_owned(), field, found, expected })
        }
    };
    differs("layer", meta.layer, schema.layer.to_owned())?;
    differs("chain id", meta.identity.chain_id.to_string(), identity.chain_id.to_string())?;
    differs("genesis", meta.identity.genesis.to_string(), identity.genesis.to_string())
}

/// Takes an empty (or not yet made, or half-made) directory for a new database.
fn claim_empty(path: &Path) -> Result<File, OpenError> {
    let io = |error| OpenError::io(path, "create", error);
    create_directory(path).map_err(io)?;
    let found = files(path)?;
    let half_made = found.iter().any(|(name, _)| name == CREATING);
    let ours = |name: &str| name == LOCK || (half_made && is_database_file(name));
    if let Some((name, _)) = found.iter().find(|(name, _)| !ours(name)) {
        // A whole database without its first file is damaged rather than foreign.
        if found.iter().all(|(name, _)| name == LOCK || is_database_file(name)) {
            return Err(OpenError::damaged(path, format!("{META} is missing")));
        }
        return Err(OpenError::Foreign { path: path.to_owned(), found: name.clone() });
    }
    let lock = lock(path)?;
    File::create(path.join(CREATING)).and_then(|file| file.sync_all()).map_err(io)?;
    sync_directory(path).map_err(io)?;
    for (name, _) in found.iter().filter(|(name, _)| name != LOCK && name != CREATING) {
        fs::remove_file(path.join(name)).map_err(io)?;
    }
    Ok(lock)
}

fn is_database_file(name: &str) -> bool {
    let fixed = ["metadata", "lock", CREATING, META_NEW];
    fixed.contains(&name) || ["log", "index_", "table_", "refcount_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Name and length of everything in the directory.
fn files(path: &Path) -> Result<Vec<(String, u64)>, OpenError> {
    let list = || -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
        }
        files.sort();
        Ok(files)
    };
    list().map_err(|error| OpenError::io(path, "read", error))
}

fn metadata_crc(path: &Path) -> Result<u32, OpenError> {
    match fs::read(path.join("metadata")) {
        Ok(raw) => Ok(crc32fast::hash(&raw)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::damaged(path, "its file `metadata` is missing".to_owned()))
        }
        Err(error) => Err(OpenError::io(path, "read", error)),
    }
}

fn write_meta(path: &Path, schema: &Schema, identity: &Identity) -> Result<(), OpenError> {
    let meta = Meta {
        version: schema.version,
        layer: schema.layer.to_owned(),
        identity: *identity,
        metadata_crc: metadata_crc(path)?,
    };
    let write = || -> io::Result<()> {
        // parity-db does not fsync this one.
        File::open(path.join("metadata"))?.sync_all()?;
        let mut file = File::create(path.join(META_NEW))?;
        file.write_all(meta.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(path.join(META_NEW), path.join(META))?;
        sync_directory(path)?;
        fs::remove_file(path.join(CREATING))?;
        sync_directory(path)
    };
    write().map_err(|error| OpenError::io(path, "create", error))
}

/// Makes a directory, and its parents where they are missing. All their entries are on disk when this returns, also that
/// of a directory that was there: whoever made it may have died before its own fsync.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let mut made = vec![path];
    made.extend(path.ancestors().skip(1).take_while(|parent| !parent.as_os_str().is_empty() && !parent.exists()));
    fs::create_dir_all(path)?;
    for parent in made.iter().filter_map(|path| path.parent()) {
        sync_directory(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[derive(Debug, PartialEq)]
struct Meta {
    version: u32,
    layer: String,
    identity: Identity,
    metadata_crc: u32,
}

impl Meta {
    fn text(&self) -> String {
        let Self { version, layer, identity: Identity { chain_id, genesis }, metadata_crc } = self;
        let body = format!(
            "{MAGIC}\nversion={version}\nlayer={layer}\nchain_id={chain_id}\ngenesis={genesis}\n\
             metadata_crc32={metadata_crc:08x}\n"
        );
        let crc = crc32fast::hash(body.as_bytes());
        format!("{body}crc32={crc:08x}\n")
    }

    /// The part that every version of the file has.
    fn version(raw: &[u8]) -> Result<u32, &'static str> {
        let text = std::str::from_utf8(raw).map_err(|_| "it is not text")?;
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err("its first line is wrong");
        }
        let version = lines.next().and_then(|line| line.strip_prefix("version="));
        version.and_then(|version| version.parse().ok()).ok_or("it names no version")
    }

    fn parse(raw: &[u8]) -> Result<Self, &'static str> {
        let version = Self::version(raw)?;
        let text = std::str::from_utf8(raw).map_err(|_| "it is not text")?;
        let fields: Vec<&str> = text.lines().collect();
        let field = |index: usize, name: &str| {
            fields.get(index).and_then(|line| line.strip_prefix(name)).ok_or("a line is missing")
        };
        let meta = Self {
            version,
            layer: field(2, "layer=")?.to_owned(),
            identity: Identity {
                chain_id: field(3, "chain_id=")?.parse().map_err(|_| "its chain id is not a number")?,
                genesis: field(4, "genesis=")?.parse().map_err(|_| "its genesis is not a hash")?,
            },
            metadata_crc: u32::from_str_radix(field(5, "metadata_crc32=")?, 16).map_err(|_| "a CRC is not a number")?,
        };
        // Also finds whatever the lines above let pass.
        if meta.text().as_bytes() == raw { Ok(meta) } else { Err("its CRC does not match") }
    }
}
