//! The blob database `blobs/`: blobs by versioned hash, and which blocks claim them.
//!
//! The actor `da-store` writes it. Every write is one atomic commit and is on disk when the call returns. The store keeps
//! bytes; what is claimed and when it may go is decided by `duskevm-blobs`, which rebuilds its memory from
//! [`claims`](BlobStore::claims) and [`missing`](BlobStore::missing).
//!
//! parity-db cuts a blob into 33 slots of 4 KiB and gives deleted slots to the next blobs, so that the tables stay as large as
//! the most that was ever kept at one time: a test measures it. Beside them each column has an index, a sparse file of fixed
//! length (32 MiB until a column has some millions of entries) that fills up page by page.
//!
//! Blobs are compressed with snappy: batches do not compress, but that of a quiet minute leaves its blob nearly empty.
//!
//! Every record carries a CRC-32 over its key and its bytes: parity-db itself does not notice a flipped bit in a table. A blob
//! whose record is damaged is reported by name, the rest stays readable. The checksum is over the compressed bytes, so that a
//! damaged record never reaches the decoder: parity-db's own compression would fail there, as if the whole file were bad.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use duskevm_fence::{Fence, FenceError};

use crate::db::{Batch, ColumnKind, Db, DbError, DbLimits, Identity, OpenError, Schema};

/// Layout of this database. Raised by every change that an older program would misread.
pub const BLOBS_SCHEMA_VERSION: u32 = 2;

/// The columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Column {
    /// Versioned hash → blob, as the caller encodes it, compressed. The hashes begin with the same byte, so the keys are not used as
    /// hashes of the table.
    Blobs = 0,
    /// Height (u64 big-endian), block hash → the same, and the hashes of the block's blobs: so that the column can be read as
    /// a whole.
    Claims = 1,
    /// Versioned hash of a blob that is claimed but not there → the same.
    Missing = 2,
}

const SCHEMA: Schema = Schema {
    layer: "blobs",
    version: BLOBS_SCHEMA_VERSION,
    columns: &[ColumnKind::Plain, ColumnKind::Plain, ColumnKind::Plain],
};

/// A versioned hash, or a block hash.
pub type Hash = [u8; 32];

/// Why the blob database cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobStoreError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// It failed earlier and cannot be opened again.
    #[error(transparent)]
    Reopen(#[from] OpenError),
    /// The writer was replaced.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A blob of more than 4 GiB.
    #[error("a blob cannot be compressed: {0}")]
    TooLong(#[source] snap::Error),
    /// The record of one blob is not what was written.
    #[error("the record of blob 0x{} is damaged: it must be fetched again from another node", hex(.hash))]
    DamagedBlob {
        /// Versioned hash.
        hash: Hash,
    },
}

/// The blobs of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredClaim {
    /// Height of the block.
    pub height: u64,
    /// Its hash.
    pub block: Hash,
    /// Versioned hashes of its blobs.
    pub blobs: Vec<Hash>,
}

/// Changes that are made together.
#[derive(Debug, Clone, Default)]
pub struct BlobCommit {
    /// Blobs to write.
    pub blobs: Vec<(Hash, Vec<u8>)>,
    /// Blobs to delete.
    pub deleted_blobs: Vec<Hash>,
    /// Claims to write, each over an older one of the same block.
    pub claims: Vec<StoredClaim>,
    /// Height and hash of blocks whose claims are deleted.
    pub deleted_claims: Vec<(u64, Hash)>,
    /// Blobs that are claimed but not there.
    pub missing: Vec<Hash>,
    /// Blobs that are not missing any more.
    pub found: Vec<Hash>,
}

impl BlobCommit {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
            && self.deleted_blobs.is_empty()
            && self.claims.is_empty()
            && self.deleted_claims.is_empty()
            && self.missing.is_empty()
            && self.found.is_empty()
    }
}

/// The blob database. Clones share it.
#[derive(Debug, Clone)]
pub struct BlobStore {
    db: Arc<Db>,
}

impl BlobStore {
    /// Opens the database of one network in the directory `path`, and makes it if the directory is absent or empty.
    ///
    /// # Errors
    /// Anything unexpected in the directory is refused before a byte is written.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, OpenError> {
        Ok(Self { db: Arc::new(Db::open(path, SCHEMA, identity, DbLimits::default())?) })
    }

    /// Opens the database again if it stopped after a failure and nobody else has done so, and puts everything that can be read
    /// on disk. An actor calls this when it starts.
    ///
    /// # Errors
    /// If the disk still fails.
    pub fn heal(&self) -> Result<(), BlobStoreError> {
        if let Some(ended) = self.db.status().err().and_then(|error| error.ended_epoch()) {
            self.db.reopen(ended)?;
        }
        Ok(self.db.flush()?)
    }

    /// Lets go of the files; every later call fails as closed, until [`heal`](Self::heal).
    ///
    /// # Errors
    /// If the disk failed. The files are closed all the same.
    pub fn close(&self) -> Result<(), BlobStoreError> {
        Ok(self.db.close()?)
    }

    /// What `kill -9` does: whatever is not on disk is lost. For tests of recovery.
    pub fn crash(&self) {
        self.db.crash();
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.db.path()
    }

    /// A blob as it was written.
    ///
    /// # Errors
    /// [`BlobStoreError::DamagedBlob`] if the record is another; [`BlobStoreError::Db`] if the disk or the files as a whole
    /// fail.
    pub fn blob(&self, hash: &Hash) -> Result<Option<Vec<u8>>, BlobStoreError> {
        let Some(record) = self.db.get(Column::Blobs as u8, hash)? else { return Ok(None) };
        let bytes = open_record(hash, record).and_then(|bytes| snap::raw::Decoder::new().decompress_vec(&bytes).ok());
        bytes.map(Some).ok_or(BlobStoreError::DamagedBlob { hash: *hash })
    }

    /// All claims, in no particular order.
    ///
    /// # Errors
    /// If the disk fails, or a record is not what was written.
    pub fn claims(&self) -> Result<Vec<StoredClaim>, BlobStoreError> {
        self.all(Column::Claims, |record| {
            let record = open_record(&[], record)?;
            let (height, rest) = record.split_first_chunk::<8>()?;
            let (block, blobs) = rest.split_first_chunk::<32>()?;
            let (blobs, []) = blobs.as_chunks::<32>() else { return None };
            Some(StoredClaim { height: u64::from_be_bytes(*height), block: *block, blobs: blobs.to_vec() })
        })
    }

    /// Versioned hashes of blobs that are claimed but not there, in no particular order.
    ///
    /// # Errors
    /// As [`claims`](Self::claims).
    pub fn missing(&self) -> Result<Vec<Hash>, BlobStoreError> {
        self.all(Column::Missing, |record| open_record(&[], record)?.try_into().ok())
    }

    /// Makes all changes of a commit, or none. On return they are durable.
    ///
    /// # Errors
    /// [`BlobStoreError::Fence`] if the writer was replaced: nothing was written. After any other error the commit may or may
    /// not be on disk, as a whole: [`heal`](Self::heal) and reading again tell.
    pub fn commit(&self, fence: &Fence, commit: BlobCommit) -> Result<(), BlobStoreError> {
        if commit.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for hash in commit.deleted_blobs {
            batch.delete(Column::Blobs as u8, hash);
        }
        for (height, block) in commit.deleted_claims {
            batch.delete(Column::Claims as u8, claim_key(height, &block));
        }
        for hash in commit.found {
            batch.delete(Column::Missing as u8, hash);
        }
        for hash in commit.missing {
            batch.set(Column::Missing as u8, hash, seal_record(&[], hash.to_vec()));
        }
        for StoredClaim { height, block, blobs } in commit.claims {
            let key = claim_key(height, &block);
            let record = [key.as_slice(), blobs.as_flattened()].concat();
            batch.set(Column::Claims as u8, key, seal_record(&[], record));
        }
        for (hash, bytes) in commit.blobs {
            let compressed = snap::raw::Encoder::new().compress_vec(&bytes).map_err(BlobStoreError::TooLong)?;
            batch.set(Column::Blobs as u8, hash, seal_record(&hash, compressed));
        }
        fence.write(|| {
            let commit = self.db.commit(batch)?;
            Ok(self.db.wait_durable(commit)?)
        })?
    }

    fn all<T>(&self, column: Column, read: impl Fn(Vec<u8>) -> Option<T>) -> Result<Vec<T>, BlobStoreError> {
        let (mut found, mut bad) = (Vec::new(), None);
        self.db.for_each(column as u8, |_, record| {
            let length = record.len();
            match read(record) {
                Some(value) => found.push(value),
                None => bad = Some(length),
            }
            bad.is_none()
        })?;
        match bad {
            None => Ok(found),
            Some(length) => {
                let what = format!("a record of {length} bytes in column {column:?} is not what was written");
                Err(DbError::Damaged { path: self.path().into(), what }.into())
            }
        }
    }
}

fn claim_key(height: u64, block: &Hash) -> Vec<u8> {
    [height.to_be_bytes().as_slice(), block].concat()
}

/// CRC-32 over the key and the bytes: a record under another's key is damage, too.
fn checksum(key: &[u8], bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}

fn seal_record(key: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(key, &bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn open_record(key: &[u8], mut record: Vec<u8>) -> Option<Vec<u8>> {
    let (bytes, found) = record.split_last_chunk::<4>()?;
    if checksum(key, bytes) != *found {
        return None;
    }
    record.truncate(record.len() - 4);
    Some(record)
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
