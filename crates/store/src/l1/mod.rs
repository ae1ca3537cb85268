//! The L1 database `l1/`: Dusk blocks, L1 state, and the Ethereum-shaped view of the blocks.
//!
//! Two actors write it: `consensus` the chain, `l1` the view. Every write is one atomic commit, and is on disk when the call
//! returns unless the call says otherwise. The store keeps bytes; what they mean belongs to `duskevm-dusk-l1` and
//! `duskevm-l1-view`.

mod reverted;
#[cfg(test)]
mod tests;
mod undo;

pub use reverted::{MAX_REVERTED, RevertedBlock};

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use duskevm_fence::{Fence, FenceError};

use self::undo::Undo;
use crate::db::{Batch, ColumnKind, CommitId, Db, DbError, DbLimits, Identity, OpenError, Schema};

/// Layout of this database. Raised by every change that an older program would misread.
pub const L1_SCHEMA_VERSION: u32 = 2;

/// The columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Column {
    /// Single values: see [`Meta`].
    Meta = 0,
    /// Height (u64 big-endian) → block record.
    Blocks = 1,
    /// Block hash → height.
    BlockHeights = 2,
    /// Dusk transaction id → height, index in the block (u32 big-endian).
    Transactions = 3,
    /// Name of a state record → length of the name (u32 big-endian), name, bytes: so that the column can be read as a whole.
    State = 4,
    /// Height → view block.
    Views = 5,
    /// View block hash → height.
    ViewHeights = 6,
    /// Projected transaction hash or Dusk transaction id → height, index in the view block.
    ViewTransactions = 7,
    /// Height of a block that is not final, or of the last final one → what takes it back. The last final block cannot be
    /// taken back, but the stakes below it decide who voted for it.
    Undo = 8,
    /// Fault id → height of the block that proved it.
    Faults = 9,
}

const SCHEMA: Schema = Schema {
    layer: "l1",
    version: L1_SCHEMA_VERSION,
    columns: &[
        ColumnKind::Plain,
        ColumnKind::Compressed,
        ColumnKind::Plain,
        ColumnKind::Plain,
        ColumnKind::Plain,
        ColumnKind::Compressed,
        ColumnKind::Plain,
        ColumnKind::Plain,
        ColumnKind::Compressed,
        ColumnKind::Plain,
    ],
};

/// Keys of [`Column::Meta`].
#[derive(Debug, Clone, Copy)]
enum Meta {
    /// Height of the newest block.
    Tip,
    /// Labels of the blocks that are not final, as the consensus rules encode them.
    Finality,
    /// Height of the newest final block.
    Final,
    /// How long the steps of the consensus last, as its rules encode it.
    Timeouts,
    /// Height of the newest view block: the cursor of the `l1` actor.
    ViewTip,
    /// What the stored view depends on besides the blocks, as its maker encodes it.
    ViewConfig,
}

impl Meta {
    fn key(self) -> &'static [u8] {
        match self {
            Self::Tip => b"tip",
            Self::Finality => b"finality",
            Self::Final => b"final",
            Self::Timeouts => b"timeouts",
            Self::ViewTip => b"view-tip",
            Self::ViewConfig => b"view-config",
        }
    }
}

/// Why the L1 database cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum L1StoreError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// It failed earlier and cannot be opened again.
    #[error(transparent)]
    Reopen(#[from] OpenError),
    /// A block that does not extend what is stored.
    #[error("block {height} cannot be stored: the next one is {next}")]
    NotNext {
        /// Height that was given.
        height: u64,
        /// Height that fits.
        next: u64,
    },
    /// Only the newest block can be taken back.
    #[error("block {height} cannot be taken back: {}", tip.map_or("there is none".into(), |tip| format!("the newest is {tip}")))]
    NotTip {
        /// Height that was given.
        height: u64,
        /// Height of the newest block.
        tip: Option<u64>,
    },
    /// Another block is stored at the height.
    #[error("block {height} cannot be taken back: another one is stored there")]
    OtherBlock {
        /// Height that was given.
        height: u64,
    },
    /// What is final stays.
    #[error("block {height} cannot be taken back: all blocks up to {last_final} are final")]
    Final {
        /// Height that was given.
        height: u64,
        /// Height of the newest final block.
        last_final: u64,
    },
    /// The writer was replaced.
    #[error(transparent)]
    Fence(#[from] FenceError),
}

/// Everything that one accepted Dusk block changes.
#[derive(Debug, Clone, Default)]
pub struct BlockCommit {
    /// Height.
    pub height: u64,
    /// Dusk block hash.
    pub hash: [u8; 32],
    /// The block with what its execution produced, as the caller encodes it.
    pub record: Vec<u8>,
    /// Ids of its transactions, in order.
    pub transactions: Vec<[u8; 32]>,
    /// State records by name: new bytes, or `None` where removed.
    pub state: Vec<NamedChange>,
    /// Labels of the blocks that are not final after this one, as the caller encodes them.
    pub finality: Vec<u8>,
    /// Height of the newest block that is final after this one.
    pub final_height: u64,
    /// The records of `state` as they were before, so that the block can be taken back until it is final.
    pub undo: Vec<NamedChange>,
    /// Ids of the faults that the block proves.
    pub faults: Vec<[u8; 32]>,
}

/// One view block to store.
#[derive(Debug, Clone, Default)]
pub struct ViewCommit {
    /// Number.
    pub height: u64,
    /// View hash.
    pub hash: [u8; 32],
    /// The encoded view block.
    pub record: Vec<u8>,
    /// For each transaction of the view: projected hash and Dusk id.
    pub transactions: Vec<([u8; 32], [u8; 32])>,
}

/// A state record: its name and its bytes.
pub type NamedRecord = (Vec<u8>, Vec<u8>);

/// A change of a state record: its name, and its bytes or `None` for no record.
pub type NamedChange = (Vec<u8>, Option<Vec<u8>>);

/// The L1 database. Clones share it.
#[derive(Debug, Clone)]
pub struct L1Store {
    db: Arc<Db>,
}

impl L1Store {
    /// Opens the database of one network in the directory `path`, and makes it if the directory is absent or empty.
    ///
    /// # Errors
    /// Anything unexpected in the directory is refused before a byte is written.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, OpenError> {
        Ok(Self { db: Arc::new(Db::open(path, SCHEMA, identity, DbLimits::default())?) })
    }

    /// Opens the database again if it stopped after a failure and nobody else has done so: what was on disk before the failed write is there, the failed
    /// write is there as a whole or not at all. On return everything that can be read is on disk. An actor calls this when it
    /// starts: its predecessor may have died between a commit and its fsync.
    ///
    /// # Errors
    /// If the disk still fails.
    pub fn heal(&self) -> Result<(), L1StoreError> {
        if let Some(ended) = self.db.status().err().and_then(|error| error.ended_epoch()) {
            self.db.reopen(ended)?;
        }
        Ok(self.db.flush()?)
    }

    /// Lets go of the files; every later call fails as closed, until [`heal`](Self::heal).
    ///
    /// # Errors
    /// If the disk failed. The files are closed all the same.
    pub fn close(&self) -> Result<(), L1StoreError> {
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

    /// Height of the newest block; `None` before the genesis block was stored.
    ///
    /// # Errors
    /// As all reads: if the disk fails, or a record has an impossible length.
    pub fn tip(&self) -> Result<Option<u64>, L1StoreError> {
        self.height(Column::Meta, Meta::Tip.key())
    }

    /// The record of one block.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn block(&self, height: u64) -> Result<Option<Vec<u8>>, L1StoreError> {
        self.get(Column::Blocks, &height.to_be_bytes())
    }

    /// Height of a block hash.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn block_height(&self, hash: &[u8; 32]) -> Result<Option<u64>, L1StoreError> {
        self.height(Column::BlockHeights, hash)
    }

    /// Where a Dusk transaction was included: height and index.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn transaction(&self, id: &[u8; 32]) -> Result<Option<(u64, u32)>, L1StoreError> {
        self.place(Column::Transactions, id)
    }

    /// The encoded labels of the blocks that are not final.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn finality(&self) -> Result<Option<Vec<u8>>, L1StoreError> {
        self.get(Column::Meta, Meta::Finality.key())
    }

    /// All state records by name, in no particular order.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn state(&self) -> Result<Vec<NamedRecord>, L1StoreError> {
        let mut records = Vec::new();
        let mut bad = None;
        self.db.for_each(Column::State as u8, |_, value| {
            let length = value.len();
            match decode_named(value) {
                Some(record) => records.push(record),
                None => bad = Some(length),
            }
            bad.is_none()
        })?;
        match bad {
            Some(length) => Err(self.damaged(Column::State, length)),
            None => Ok(records),
        }
    }

    /// One state record by its name, as the newest block left it.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn state_record(&self, name: &[u8]) -> Result<Option<Vec<u8>>, L1StoreError> {
        let Some(record) = self.get(Column::State, name)? else { return Ok(None) };
        let length = record.len();
        match decode_named(record) {
            Some((stored, value)) if stored == name => Ok(Some(value)),
            _ => Err(self.damaged(Column::State, length)),
        }
    }

    /// Height of the newest final block; `None` before the genesis block was stored.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn final_height(&self) -> Result<Option<u64>, L1StoreError> {
        self.height(Column::Meta, Meta::Final.key())
    }

    /// The state records that a block changed as they were before it; `None` for an unknown block, and for one below the last
    /// final one.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn undo(&self, height: u64) -> Result<Option<Vec<NamedChange>>, L1StoreError> {
        Ok(self.undo_record(height)?.map(|undo| undo.changes))
    }

    /// Height of the block that proved a fault.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn fault(&self, id: &[u8; 32]) -> Result<Option<u64>, L1StoreError> {
        self.height(Column::Faults, id)
    }

    /// How long the steps of the consensus last, as it was given to [`set_timeouts`](Self::set_timeouts).
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn timeouts(&self) -> Result<Option<Vec<u8>>, L1StoreError> {
        self.get(Column::Meta, Meta::Timeouts.key())
    }

    /// Stores how long the steps of the consensus last. Does not wait for the disk: losing it costs a little time.
    ///
    /// # Errors
    /// As [`commit_block`](Self::commit_block), without [`L1StoreError::NotNext`].
    pub fn set_timeouts(&self, fence: &Fence, timeouts: &[u8]) -> Result<(), L1StoreError> {
        let mut batch = Batch::new();
        put(&mut batch, Column::Meta, Meta::Timeouts.key(), timeouts);
        fence.write(|| Ok(self.db.commit(batch).map(drop)?))?
    }

    /// Stores the block after the tip (or the genesis block, height 0, in an empty database), and what it changed; what takes
    /// blocks back goes for those below the newest final one. On return it is durable.
    ///
    /// # Errors
    /// [`L1StoreError::NotNext`] for any other height, [`L1StoreError::Fence`] if the writer was replaced: nothing was
    /// written. After any other error the commit may or may not be on disk, as a whole: [`heal`](Self::heal) tells.
    pub fn commit_block(&self, fence: &Fence, block: &BlockCommit) -> Result<(), L1StoreError> {
        let commit = self.queue_block(fence, block)?;
        self.wait_durable(commit)
    }

    /// [`commit_block`](Self::commit_block) without the wait: on return every reader sees the block, and a crash may lose it and
    /// what was queued after it. Blocks that are queued one after the other share a flush.
    ///
    /// # Errors
    /// As [`commit_block`](Self::commit_block).
    pub fn queue_block(&self, fence: &Fence, block: &BlockCommit) -> Result<CommitId, L1StoreError> {
        let height = block.height.to_be_bytes();
        let mut batch = Batch::new();
        put(&mut batch, Column::Blocks, height, block.record.as_slice());
        put(&mut batch, Column::BlockHeights, block.hash, height);
        put(&mut batch, Column::Meta, Meta::Tip.key(), height);
        put(&mut batch, Column::Meta, Meta::Finality.key(), block.finality.as_slice());
        for (index, id) in block.transactions.iter().enumerate() {
            put(&mut batch, Column::Transactions, id, place(block.height, index));
        }
        for id in &block.faults {
            put(&mut batch, Column::Faults, id, height);
        }
        put_state(&mut batch, &block.state);
        if block.height > 0 {
            let undo = Undo {
                transactions: block.transactions.clone(),
                faults: block.faults.clone(),
                changes: block.undo.clone(),
            };
            put(&mut batch, Column::Undo, height, undo.encode());
        }
        fence.write(|| {
            expect_next(block.height, self.tip()?)?;
            // What is final stays so, and lies within the chain.
            let before = self.final_height()?.unwrap_or(0);
            let last_final = block.final_height.clamp(before, block.height.max(before));
            put(&mut batch, Column::Meta, Meta::Final.key(), last_final.to_be_bytes());
            for height in before..last_final {
                batch.delete(Column::Undo as u8, height.to_be_bytes());
            }
            Ok(self.db.commit(batch)?)
        })?
    }

    /// Waits until a block that was queued, and all before it, are durable.
    ///
    /// # Errors
    /// If the disk failed: the block may or may not be there, [`heal`](Self::heal) tells.
    pub fn wait_durable(&self, commit: CommitId) -> Result<(), L1StoreError> {
        Ok(self.db.wait_durable(commit)?)
    }

    /// Number of the newest view block; `None` if there is none.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn view_tip(&self) -> Result<Option<u64>, L1StoreError> {
        self.height(Column::Meta, Meta::ViewTip.key())
    }

    /// One view block.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn view(&self, height: u64) -> Result<Option<Vec<u8>>, L1StoreError> {
        self.get(Column::Views, &height.to_be_bytes())
    }

    /// Number of a view block hash.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn view_height(&self, hash: &[u8; 32]) -> Result<Option<u64>, L1StoreError> {
        self.height(Column::ViewHeights, hash)
    }

    /// Where a transaction of the view is (number and index), by its projected hash or by its Dusk id.
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn view_transaction(&self, id: &[u8; 32]) -> Result<Option<(u64, u32)>, L1StoreError> {
        self.place(Column::ViewTransactions, id)
    }

    /// What the stored view depends on besides the blocks, as it was given to [`reset_views`](Self::reset_views).
    ///
    /// # Errors
    /// As [`tip`](Self::tip).
    pub fn view_config(&self) -> Result<Option<Vec<u8>>, L1StoreError> {
        self.get(Column::Meta, Meta::ViewConfig.key())
    }

    /// Stores the view blocks after the newest one, in one commit.
    ///
    /// # Errors
    /// As [`commit_block`](Self::commit_block).
    pub fn commit_views(&self, fence: &Fence, views: &[ViewCommit]) -> Result<(), L1StoreError> {
        let Some(last) = views.last() else { return Ok(()) };
        let mut batch = Batch::new();
        put(&mut batch, Column::Meta, Meta::ViewTip.key(), last.height.to_be_bytes());
        for view in views {
            let height = view.height.to_be_bytes();
            put(&mut batch, Column::Views, height, view.record.as_slice());
            put(&mut batch, Column::ViewHeights, view.hash, height);
            let mut seen = BTreeSet::new();
            for (index, (hash, dusk_id)) in view.transactions.iter().enumerate() {
                put(&mut batch, Column::ViewTransactions, hash, place(view.height, index));
                // A Dusk transaction that became several is found at the first of them.
                if seen.insert(dusk_id) {
                    put(&mut batch, Column::ViewTransactions, dusk_id, place(view.height, index));
                }
            }
        }
        fence.write(|| {
            let mut tip = self.view_tip()?;
            for view in views {
                expect_next(view.height, tip)?;
                tip = Some(view.height);
            }
            self.commit(batch)
        })?
    }

    /// Removes the view blocks above `keep` (`None`: all of them): the L1 went another way. `summary` gives hash and
    /// transactions of a view block's record.
    ///
    /// # Errors
    /// As [`commit_block`](Self::commit_block), without [`L1StoreError::NotNext`].
    pub fn truncate_views(
        &self,
        fence: &Fence,
        keep: Option<u64>,
        summary: impl Fn(&[u8]) -> ViewCommit,
    ) -> Result<(), L1StoreError> {
        fence.write(|| self.truncate(keep, summary))?
    }

    /// Removes all view blocks and notes what the coming ones depend on.
    ///
    /// # Errors
    /// As [`truncate_views`](Self::truncate_views).
    pub fn reset_views(
        &self,
        fence: &Fence,
        config: &[u8],
        summary: impl Fn(&[u8]) -> ViewCommit,
    ) -> Result<(), L1StoreError> {
        fence.write(|| {
            self.truncate(None, summary)?;
            let mut batch = Batch::new();
            put(&mut batch, Column::Meta, Meta::ViewConfig.key(), config);
            self.commit(batch)
        })?
    }

    fn truncate(&self, keep: Option<u64>, summary: impl Fn(&[u8]) -> ViewCommit) -> Result<(), L1StoreError> {
        // From the top down in bounded commits, so that a crash leaves a shorter chain and no hole.
        while let Some(tip) = self.view_tip()?.filter(|tip| keep.is_none_or(|keep| *tip > keep)) {
            let bottom = tip.saturating_sub(255).max(keep.map_or(0, |keep| keep + 1));
            let mut batch = Batch::new();
            for height in bottom..=tip {
                let Some(record) = self.view(height)? else { continue };
                let view = summary(&record);
                batch.delete(Column::Views as u8, height.to_be_bytes());
                batch.delete(Column::ViewHeights as u8, view.hash);
                for id in view.transactions.iter().flat_map(|(hash, dusk_id)| [hash, dusk_id]) {
                    batch.delete(Column::ViewTransactions as u8, *id);
                }
            }
            match bottom.checked_sub(1) {
                Some(below) => put(&mut batch, Column::Meta, Meta::ViewTip.key(), below.to_be_bytes()),
                None => batch.delete(Column::Meta as u8, Meta::ViewTip.key()),
            }
            self.commit(batch)?;
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), L1StoreError> {
        let commit = self.db.commit(batch)?;
        Ok(self.db.wait_durable(commit)?)
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, L1StoreError> {
        Ok(self.db.get(column as u8, key)?)
    }

    fn height(&self, column: Column, key: &[u8]) -> Result<Option<u64>, L1StoreError> {
        let Some(bytes) = self.get(column, key)? else { return Ok(None) };
        let height = bytes.as_slice().try_into().map_err(|_| self.damaged(column, bytes.len()))?;
        Ok(Some(u64::from_be_bytes(height)))
    }

    fn place(&self, column: Column, key: &[u8]) -> Result<Option<(u64, u32)>, L1StoreError> {
        let Some(bytes) = self.get(column, key)? else { return Ok(None) };
        let place = bytes.split_at_checked(8).and_then(|(height, index)| {
            Some((u64::from_be_bytes(height.try_into().ok()?), u32::from_be_bytes(index.try_into().ok()?)))
        });
        place.map(Some).ok_or_else(|| self.damaged(column, bytes.len()))
    }

    fn undo_record(&self, height: u64) -> Result<Option<Undo>, L1StoreError> {
        let Some(bytes) = self.get(Column::Undo, &height.to_be_bytes())? else { return Ok(None) };
        Undo::decode(&bytes).map(Some).ok_or_else(|| self.damaged(Column::Undo, bytes.len()))
    }

    fn missing_undo(&self, height: u64) -> L1StoreError {
        let what = format!("no record of what takes block {height} back, though it is not final");
        DbError::Damaged { path: self.path().into(), what }.into()
    }

    fn damaged(&self, column: Column, length: usize) -> L1StoreError {
        let what = format!("a value of {length} bytes in column {column:?}");
        DbError::Damaged { path: self.path().into(), what }.into()
    }
}

fn expect_next(height: u64, tip: Option<u64>) -> Result<(), L1StoreError> {
    let next = tip.map_or(0, |tip| tip.saturating_add(1));
    if height == next { Ok(()) } else { Err(L1StoreError::NotNext { height, next }) }
}

fn put(batch: &mut Batch, column: Column, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) {
    batch.set(column as u8, key.as_ref(), value);
}

fn put_state(batch: &mut Batch, changes: &[NamedChange]) {
    for (name, value) in changes {
        match value {
            Some(value) => put(batch, Column::State, name, encode_named(name, value)),
            None => batch.delete(Column::State as u8, name.as_slice()),
        }
    }
}

fn place(height: u64, index: usize) -> Vec<u8> {
    // A block holds at most 1000 transactions.
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    [height.to_be_bytes().as_slice(), &index.to_be_bytes()].concat()
}

fn encode_named(name: &[u8], value: &[u8]) -> Vec<u8> {
    // Names are a few hundred bytes at most.
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), name, value].concat()
}

fn decode_named(mut record: Vec<u8>) -> Option<NamedRecord> {
    let length = usize::try_from(u32::from_be_bytes(record.get(..4)?.try_into().ok()?)).ok()?;
    if record.len() - 4 < length {
        return None;
    }
    let value = record.split_off(4 + length);
    Some((record.split_off(4), value))
}
