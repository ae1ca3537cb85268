//! Why the L2 store did not do what it was asked.

use super::BlockRef;
use crate::db::{DbError, OpenError};
use alloy_primitives::B256;
use duskevm_fence::FenceError;
use duskevm_trie::TrieError;
use std::fmt::Display;

/// Why the L2 store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum L2Error {
    /// The database needs to be reopened, is closed or damaged.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The database could not be opened again.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// This instance was replaced.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// There is no genesis yet.
    #[error("the L2 database is empty: store the genesis first")]
    Empty,
    /// The database was reopened, but reading what its newest block is failed or is not done yet.
    #[error("the newest block of the L2 database could not be read after it was reopened: reopen it once more")]
    HeadUnknown,
    /// There is a chain already.
    #[error("the L2 database already holds a chain, head {head}: use another data directory for a new one")]
    NotEmpty {
        /// Its head.
        head: BlockRef,
    },
    /// The block given as genesis is not the chain's.
    #[error("the genesis block has hash {found}, the chain's is {expected}: check the genesis file")]
    WrongGenesis {
        /// Of the block given.
        found: B256,
        /// Of the chain that the directory was made for.
        expected: B256,
    },
    /// The block does not extend the head.
    #[error("block {block} with parent {parent} does not extend the head {head}: rewind to the parent first")]
    NotOnHead {
        /// The block.
        block: BlockRef,
        /// Its parent's hash.
        parent: B256,
        /// The head.
        head: BlockRef,
    },
    /// The header does not hash to what the caller says.
    #[error("block {number} was given as {claimed} but its header hashes to {actual}")]
    WrongHash {
        /// Block number.
        number: u64,
        /// As given.
        claimed: B256,
        /// keccak256 of the header's RLP.
        actual: B256,
    },
    /// No such block in the canonical chain.
    #[error("block {0} is not in the canonical chain")]
    UnknownBlock(B256),
    /// Heads that contradict each other.
    #[error("heads out of order: {what}")]
    BadHeads {
        /// What contradicts what.
        what: String,
    },
    /// The block is final, and what is final stays.
    #[error("cannot rewind to {target}: {finalized} is final")]
    BelowFinalized {
        /// Where to.
        target: BlockRef,
        /// The finalized block.
        finalized: BlockRef,
    },
    /// What a rewind to the block takes is older than the history window.
    #[error(
        "cannot rewind to {target}: what came before block {oldest} is pruned; sync anew or start from an older copy, with a longer history window"
    )]
    BelowHistory {
        /// Where to.
        target: BlockRef,
        /// Number of the oldest block to which the chain can be taken back.
        oldest: u64,
    },
    /// The state of this block is older than the history window.
    #[error(
        "the state of block {block} is pruned, the oldest kept is that of block {oldest}: ask an archive node, or set a longer history window"
    )]
    StatePruned {
        /// The block.
        block: BlockRef,
        /// Number of the oldest block whose state is there.
        oldest: u64,
    },
    /// The block was taken out of the chain while its state was held.
    #[error("block {block} is no longer in the canonical chain, its state is gone: ask again for the new head")]
    Reorged {
        /// The block.
        block: BlockRef,
    },
    /// A record makes no sense.
    #[error("the L2 database is damaged ({what}): restore it from a copy or sync it anew")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The tries lack a node or hold a damaged one.
    #[error("the L2 state is damaged: {0}")]
    Trie(Box<TrieError<DbError>>),
}

impl L2Error {
    pub(crate) fn damaged(what: &str, why: impl Display) -> Self {
        Self::Damaged { what: format!("{what}: {why}") }
    }

    /// True if the disk failed and [`L2Store::reopen`](super::L2Store::reopen) is what helps.
    pub fn needs_reopen(&self) -> bool {
        match self {
            Self::Db(error) => matches!(error, DbError::ReopenNeeded { .. }),
            Self::HeadUnknown => true,
            _ => false,
        }
    }
}

impl From<TrieError<DbError>> for L2Error {
    fn from(error: TrieError<DbError>) -> Self {
        match error {
            TrieError::Source { source, .. } => Self::Db(source),
            other => Self::Trie(Box::new(other)),
        }
    }
}
