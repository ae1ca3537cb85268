//! What can go wrong below a trie, and where.

use crate::NibblePath;
use alloy_primitives::B256;
use core::fmt;

/// Which trie an error speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrieId {
    /// The trie of all accounts.
    Accounts,
    /// The storage trie of the account with this hashed address (keccak256 of the address).
    Storage(B256),
}

impl fmt::Display for TrieId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts => f.write_str("account trie"),
            Self::Storage(account) => write!(f, "storage trie of hashed address {account}"),
        }
    }
}

/// Why a trie operation failed. The trie itself is then back at its last committed root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieError<E> {
    /// The source does not hold a node that the operation needs: the state was pruned, the witness is
    /// incomplete, or the database is damaged.
    #[error(
        "node {hash} at path {path} of the {trie} is missing: the state is pruned, the witness incomplete or the \
         database damaged"
    )]
    Missing {
        /// Hash of the node.
        hash: B256,
        /// Where it hangs.
        path: NibblePath,
        /// In which trie.
        trie: TrieId,
    },
    /// The node's bytes are not those of a node at this place of a Merkle-Patricia trie.
    #[error("node {hash} at path {path} of the {trie} is malformed: {reason}")]
    Malformed {
        /// Hash of the node (of the node that contains it, if it is an inline one).
        hash: B256,
        /// Where it hangs.
        path: NibblePath,
        /// In which trie.
        trie: TrieId,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The source failed while it looked for the node.
    #[error("reading node {hash} at path {path} of the {trie} failed: {source}")]
    Source {
        /// Hash of the node.
        hash: B256,
        /// Where it hangs.
        path: NibblePath,
        /// In which trie.
        trie: TrieId,
        /// The source's own error.
        source: E,
    },
    /// A proof was asked of a trie with changes that have no hash yet.
    #[error("the {trie} has uncommitted changes: commit before proving")]
    Uncommitted {
        /// The trie.
        trie: TrieId,
    },
}

impl<E> TrieError<E> {
    /// The same error with the source's error converted.
    pub fn map_source<F>(self, map: impl FnOnce(E) -> F) -> TrieError<F> {
        match self {
            Self::Missing { hash, path, trie } => TrieError::Missing { hash, path, trie },
            Self::Malformed { hash, path, trie, reason } => TrieError::Malformed { hash, path, trie, reason },
            Self::Source { hash, path, trie, source } => TrieError::Source { hash, path, trie, source: map(source) },
            Self::Uncommitted { trie } => TrieError::Uncommitted { trie },
        }
    }
}
