//! The L2 database `l2/`: blocks, state and tries, and snapshots of any state that is kept.
//!
//! ```text
//!            oldest_state           finalized         safe        latest
//!  ---genesis-----|---------------------|--------------|------------|
//!     state gone  | state in tries      | undo records: can be taken out
//!     (pruned)    | nodes counted       |                           ^ flat columns: this state
//! ```
//!
//! (Finality may also be behind `oldest_state`, or never move.)
//!
//! - The flat columns hold the state after the latest block, the tries that of every block since `oldest_state`.
//! - The head moves by whole blocks, each one commit of the database: after a crash the head is some earlier block, whole.
//! - [`L2Store::commit_block`] adds a block on the head, [`L2Store::rewind_to`] takes the newest ones out again, down to the
//!   finalized one or the oldest state, whichever is newer: it restores the flat columns from undo records and releases the
//!   trie nodes that those blocks added.
//! - Pruning: a trie node that a block took away is released when the state before that block leaves the history window, and
//!   with it the block's undo record, whether the block is final or not; but not while L1 may still take the block back
//!   ([`L2Settings::unsafe_blocks`]).
//! - Everything is read through an [`L2Reader`], state through a [`StateSnapshot`]; neither ever waits for the writer.

mod cache;
mod check;
mod columns;
mod commit;
mod dropped;
mod error;
mod flat;
mod reader;
mod records;
mod rewind;
mod safe_heads;
mod snapshot;
mod types;

pub use check::{CheckReport, Problem};
pub use columns::L2_SCHEMA_VERSION;
pub use commit::PreparedBlock;
pub use dropped::Returned;
pub use error::L2Error;
pub use reader::L2Reader;
pub use snapshot::StateSnapshot;
pub use types::{
    AccountProof, BlockCommit, BlockRef, DroppedBlock, Heads, SafeHead, SlotProof, StoredTransaction,
    TransactionLocation,
};

use crate::{
    Identity, OpenError,
    db::{Batch, CommitId, Db, DbLimits},
};
use columns::{Column, ColumnBatch, Columns, HEADS, SCHEMA};
use duskevm_fence::Fence;
use flat::{Flat, FlatLimits, Head};
use parking_lot::{Mutex, MutexGuard};
use std::{collections::VecDeque, path::Path, sync::Arc};

/// Undo records that one commit deletes at most because their blocks became final: finality may move far at once.
const FINALIZE_STEP: u64 = 5_000;

/// How an L2 store works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L2Settings {
    /// How many blocks behind the latest one keep their state, at least 1; `None` keeps all (an archive). The chain cannot be
    /// taken back further than that.
    pub history_blocks: Option<u64>,
    /// How many blocks behind the latest one keep their state all the same as long as they are not safe: L1 may still take them
    /// back. What is above the safe block is never pruned before.
    pub unsafe_blocks: u64,
    /// Accounts of the head state that are kept in memory.
    pub cached_accounts: usize,
    /// Storage slots of the head state that are kept in memory.
    pub cached_slots: usize,
    /// Contract codes that are kept in memory.
    pub cached_codes: usize,
    /// For how many blocks behind the latest one reads are as fast as at the head.
    pub recent_blocks: usize,
    /// Bounds of the database.
    pub db: DbLimits,
}

impl Default for L2Settings {
    fn default() -> Self {
        Self {
            history_blocks: Some(100_000),
            unsafe_blocks: 0,
            cached_accounts: 200_000,
            cached_slots: 400_000,
            cached_codes: 1_000,
            recent_blocks: 128,
            db: DbLimits::default(),
        }
    }
}

impl L2Settings {
    fn flat(&self) -> FlatLimits {
        FlatLimits {
            accounts: self.cached_accounts,
            slots: self.cached_slots,
            codes: self.cached_codes,
            layers: self.recent_blocks,
            // About 150 bytes each.
            layer_entries: 1_000_000,
        }
    }
}

/// The L2 database, for the one who writes. Several instances of the writer may share it (one after the other, as the
/// fence of each write enforces); the handle that closes it is the last one dropped.
#[derive(Debug)]
pub struct L2Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) flat: Flat,
    identity: Identity,
    settings: L2Settings,
    /// One writer at a time.
    writer: Mutex<()>,
    durability: Mutex<Durability>,
}

/// How much of the chain each commit that is not durable yet will put on disk: the block that it made the head, or what
/// is left of that one's ancestors since a rewind.
#[derive(Debug, Default)]
struct Durability {
    /// Block numbers never fall from one commit to the next.
    pending: VecDeque<(CommitId, BlockRef)>,
    durable: Option<BlockRef>,
}

impl Durability {
    /// The chain goes no further than `head` now. What was to put blocks above it on disk puts it there.
    fn cut(&mut self, head: BlockRef) {
        let above = |block: &BlockRef| block.number > head.number;
        for (_, block) in self.pending.iter_mut().rev().take_while(|(_, block)| above(block)) {
            *block = head;
        }
        if self.durable.as_ref().is_some_and(above) {
            self.durable = Some(head);
        }
    }
}

impl L2Store {
    /// Opens the database in this directory, or makes an empty one if the directory is empty or not there.
    ///
    /// # Errors
    ///
    /// [`L2Error::Open`] says what is wrong with the directory; [`L2Error::Damaged`] if the newest block or its state is not
    /// there.
    pub fn open(path: &Path, identity: &Identity, settings: L2Settings) -> Result<Self, L2Error> {
        let db = Db::open(path, SCHEMA, identity, settings.db)?;
        let inner = Inner {
            db,
            flat: Flat::new(settings.flat()),
            identity: *identity,
            settings,
            writer: Mutex::new(()),
            durability: Mutex::default(),
        };
        inner.load()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// True before [`init_genesis`](Self::init_genesis).
    pub fn is_empty(&self) -> bool {
        matches!(self.inner.head(), Err(L2Error::Empty))
    }

    /// A handle for reading. Cheap, as are its clones.
    pub fn reader(&self) -> L2Reader {
        L2Reader::new(self.inner.clone())
    }

    /// Moves the safe and the finalized head. Both must be canonical; the finalized one never moves back.
    ///
    /// # Errors
    ///
    /// [`L2Error::BadHeads`], [`L2Error::UnknownBlock`], [`L2Error::Fenced`], [`L2Error::Db`]; nothing has changed then.
    pub fn set_heads(&self, fence: &Fence, safe: BlockRef, finalized: BlockRef) -> Result<(), L2Error> {
        fence.write(|| self.inner.set_heads(safe, finalized))?
    }

    /// The newest block of the chain that is on disk with all before it; `None` before the genesis is. After a rewind a
    /// crash may still bring back blocks that were taken out, as long as what replaces them is not on disk.
    pub fn durable_head(&self) -> Option<BlockRef> {
        self.inner.durable_head()
    }

    /// Number of the [`durable_head`](Self::durable_head).
    pub fn durable_number(&self) -> Option<u64> {
        self.durable_head().map(|block| block.number)
    }

    /// Waits until everything is on disk.
    ///
    /// # Errors
    ///
    /// [`L2Error::Db`] if the disk failed before.
    pub fn flush(&self) -> Result<(), L2Error> {
        Ok(self.inner.db.flush()?)
    }

    /// After [`L2Error::needs_reopen`]: goes on with what is on disk. Blocks that were not durable are lost, and
    /// snapshots of them answer [`L2Error::Reorged`]. Does nothing if the database works, because somebody else has reopened
    /// it. Returns the head.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); it may be tried again.
    pub fn reopen(&self, fence: &Fence) -> Result<Option<BlockRef>, L2Error> {
        fence.write(|| {
            let inner = &self.inner;
            let _writer = inner.lock_writer();
            if let Err(error) = inner.db.status()
                && let Some(ended) = error.ended_epoch()
            {
                tracing::warn!(%error, "the L2 database is opened again");
                inner.flat.reset();
                inner.db.reopen(ended)?;
            }
            // Also where reading the head failed after an earlier reopening.
            if inner.flat.published().head.is_none() {
                inner.load()?;
            }
            Ok(inner.flat.published().head.map(|head| head.heads.latest))
        })?
    }

    /// Writes everything to disk and closes the files. Readers get an error from now on.
    ///
    /// # Errors
    ///
    /// [`L2Error::Db`] if not everything could be written. The files are closed all the same.
    pub fn close(&self) -> Result<(), L2Error> {
        let _writer = self.inner.writer.lock();
        self.inner.flat.reset();
        Ok(self.inner.db.close()?)
    }

    /// What `kill -9` does, for tests: closes the files as they are.
    pub fn crash(&self) {
        let _writer = self.inner.writer.lock();
        self.inner.flat.reset();
        self.inner.db.crash();
    }
}

impl Drop for L2Store {
    fn drop(&mut self) {
        // Readers may hold the inner part for longer, but the directory must be free for the next owner.
        match self.close() {
            Ok(()) | Err(L2Error::Db(crate::db::DbError::Closed { .. })) => {}
            Err(error) => tracing::error!(%error, "closing the L2 database"),
        }
    }
}

impl Inner {
    fn lock_writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock()
    }

    /// The head, or why there is none.
    pub(crate) fn head(&self) -> Result<Head, L2Error> {
        if let Some(head) = self.flat.published().head {
            return Ok(head);
        }
        // While the database is closed that is the reason.
        match self.db.read(Column::Meta, HEADS)? {
            None => Err(L2Error::Empty),
            Some(_) => Err(L2Error::HeadUnknown),
        }
    }

    /// Reads the head and checks that what stands on it is there.
    fn load(&self) -> Result<(), L2Error> {
        crate::db::failpoint("store-l2-load").map_err(|cause| L2Error::damaged("heads", cause))?;
        let damaged =
            |what: &str| L2Error::Open(OpenError::Damaged { path: self.db.path().to_owned(), what: what.to_owned() });
        let head = match self.db.read(Column::Meta, HEADS)? {
            None => None,
            Some(raw) => {
                let heads = records::decode_heads(&raw)?;
                let header = self.db.read(Column::Headers, heads.latest.hash.as_slice())?;
                let header = records::decode_header(&header.ok_or_else(|| damaged("the newest block is missing"))?)?;
                if header.number != heads.latest.number || header.hash_slow() != heads.latest.hash {
                    return Err(damaged("the newest block is another one"));
                }
                let root = header.state_root;
                if root != duskevm_trie::EMPTY_ROOT_HASH && self.db.read(Column::Nodes, root.as_slice())?.is_none() {
                    return Err(damaged("the state of the newest block is missing"));
                }
                Some(Head { heads, root })
            }
        };
        *self.durability.lock() = Durability { pending: VecDeque::new(), durable: head.map(|head| head.heads.latest) };
        self.flat.restart(head);
        Ok(())
    }

    fn set_heads(&self, safe: BlockRef, finalized: BlockRef) -> Result<(), L2Error> {
        let _writer = self.lock_writer();
        let head = self.head()?;
        let mut heads = head.heads;
        let mut oldest_before = heads.oldest_state;
        let order = [("finalized", finalized, "safe", safe), ("safe", safe, "latest", heads.latest)];
        for (low_name, low, high_name, high) in order {
            if low.number > high.number || (low.number == high.number && low.hash != high.hash) {
                return Err(L2Error::BadHeads { what: format!("{low_name} {low} is not below {high_name} {high}") });
            }
        }
        if finalized.number < heads.finalized.number
            || (finalized.number == heads.finalized.number && finalized != heads.finalized)
        {
            let what = format!("finalized {finalized} is behind the finalized {}", heads.finalized);
            return Err(L2Error::BadHeads { what });
        }
        for block in [safe, finalized] {
            if self.canonical_hash(block.number)? != Some(block.hash) {
                return Err(L2Error::UnknownBlock(block.hash));
            }
        }
        while (heads.safe, heads.finalized) != (safe, finalized) {
            let mut batch = Batch::new();
            // Up to there no undo records are left.
            let from = heads.finalized.number.max(heads.oldest_state);
            let to = finalized.number.min(from + FINALIZE_STEP);
            for number in from + 1..=to {
                batch.remove(Column::Undo, columns::number_key(number));
            }
            heads.safe = safe;
            heads.finalized = if to == finalized.number {
                finalized
            } else {
                let hash = self.canonical_hash(to)?;
                let hash = hash.ok_or_else(|| L2Error::damaged("canonical blocks", format!("none of number {to}")))?;
                BlockRef { number: to, hash }
            };
            self.prune(&mut batch, &mut heads)?;
            batch.put(Column::Meta, HEADS, records::encode_heads(&heads)?);
            self.flat.set_oldest(heads.oldest_state);
            if let Err(error) = self.commit(batch, heads.latest) {
                self.flat.set_oldest(oldest_before);
                return Err(error);
            }
            self.flat.set_heads(heads);
            oldest_before = heads.oldest_state;
        }
        Ok(())
    }

    /// Commits a batch after which `head` is the newest block.
    fn commit(&self, batch: Batch, head: BlockRef) -> Result<(), L2Error> {
        // Before, so that a block that is taken out is never reported, and harmless if the commit fails.
        self.durability.lock().cut(head);
        let commit = self.db.commit(batch)?;
        self.durability.lock().pending.push_back((commit, head));
        Ok(())
    }

    fn durable_head(&self) -> Option<BlockRef> {
        let mut durability = self.durability.lock();
        while let Some((commit, block)) = durability.pending.front().copied()
            && self.db.is_durable(commit)
        {
            durability.durable = Some(block);
            durability.pending.pop_front();
        }
        durability.durable
    }

    pub(crate) fn canonical_hash(&self, number: u64) -> Result<Option<alloy_primitives::B256>, L2Error> {
        let raw = self.db.read(Column::Canonical, &columns::number_key(number))?;
        raw.map(|raw| records::decode_hash(&raw)).transpose()
    }
}
