//! Execution over Merkle tries: a state of which only the root and a source of nodes are given.

use crate::{
    build::{Roots, StateRoots},
    header::MESSAGE_PASSER,
};
use alloy_consensus::{Header, Sealed};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256, map::HashMap};
use alloy_trie::EMPTY_ROOT_HASH;
use duskevm_trie::{NodeSource, StateChanges, StateLimits, StateOutcome, StateTrie, TrieError};
use revm::{Database, bytecode::Bytecode, database_interface::DBErrorMarker, state::AccountInfo};

/// What execution over tries needs besides trie nodes.
pub trait StateSource: NodeSource {
    /// The code whose keccak-256 is `hash`; `None` if it is not there.
    ///
    /// # Errors
    /// If the source itself fails.
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, Self::Error>;

    /// The header whose hash is `hash`; `None` if it is not there.
    ///
    /// # Errors
    /// If the source itself fails.
    fn header(&self, hash: &B256) -> Result<Option<Header>, Self::Error>;
}

/// Why the state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TrieStateError<E: core::error::Error> {
    /// A trie node is missing, malformed, or could not be read.
    #[error(transparent)]
    Trie(#[from] TrieError<E>),
    /// Code that an account names is missing.
    #[error("code {0} is missing")]
    MissingCode(B256),
    /// A header that BLOCKHASH needs is missing.
    #[error("header {hash} of block {number} is missing")]
    MissingHeader {
        /// Its number.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// The source failed.
    #[error("reading the state: {0}")]
    Source(E),
}

impl<E: core::error::Error + Send + Sync + 'static> DBErrorMarker for TrieStateError<E> {}

/// The state after one block, read through its tries.
pub struct TrieState<'s, S> {
    source: &'s S,
    trie: StateTrie,
    /// The block whose state this is: BLOCKHASH walks down from it.
    block: Sealed<Header>,
    hashes: HashMap<Address, B256>,
}

impl<S> core::fmt::Debug for TrieState<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TrieState").field("block", &self.block.number).finish_non_exhaustive()
    }
}

impl<'s, S: StateSource> TrieState<'s, S> {
    /// The state after `block`.
    pub fn new(source: &'s S, block: Sealed<Header>) -> Self {
        let trie = StateTrie::new(block.state_root, StateLimits::default());
        Self { source, trie, block, hashes: HashMap::default() }
    }

    fn hashed(&mut self, address: Address) -> B256 {
        *self.hashes.entry(address).or_insert_with(|| keccak256(address))
    }
}

impl<S: StateSource> Database for TrieState<'_, S> {
    type Error = TrieStateError<S::Error>;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        let hashed = self.hashed(address);
        Ok(self.trie.account(self.source, &hashed)?.map(|account| AccountInfo {
            nonce: account.nonce,
            balance: account.balance,
            code_hash: account.code_hash,
            ..AccountInfo::default().without_code()
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Self::Error> {
        if hash == KECCAK256_EMPTY || hash.is_zero() {
            return Ok(Bytecode::default());
        }
        let code = self.source.code(&hash).map_err(TrieStateError::Source)?;
        code.map(Bytecode::new_raw).ok_or(TrieStateError::MissingCode(hash))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        let hashed = self.hashed(address);
        Ok(self.trie.storage(self.source, &hashed, &keccak256(slot.to_be_bytes::<32>()))?)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Self::Error> {
        // The EVM asks only for the last 256 blocks, so this walk is short.
        let mut at = self.block.number;
        let mut hash = self.block.hash();
        let mut parent = self.block.parent_hash;
        while at > number {
            at -= 1;
            hash = parent;
            if at > number {
                let header = self.source.header(&hash).map_err(TrieStateError::Source)?;
                parent = header.ok_or(TrieStateError::MissingHeader { number: at, hash })?.parent_hash;
            }
        }
        Ok(if at == number { hash } else { B256::ZERO })
    }
}

/// Computes the roots of a block on a [`StateTrie`] and keeps the outcome for whoever stores it.
pub struct TrieRoots<'t, S> {
    trie: &'t mut StateTrie,
    source: &'t S,
    outcome: Option<StateOutcome>,
}

impl<S> core::fmt::Debug for TrieRoots<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TrieRoots").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

impl<'t, S: NodeSource> TrieRoots<'t, S> {
    /// On `trie`, which must stand at the parent's state root.
    pub fn new(trie: &'t mut StateTrie, source: &'t S) -> Self {
        Self { trie, source, outcome: None }
    }

    /// New nodes and superseded ones, once the roots have been asked for.
    pub fn into_outcome(self) -> Option<StateOutcome> {
        self.outcome
    }
}

impl<S: NodeSource> StateRoots for TrieRoots<'_, S> {
    type Error = TrieError<S::Error>;

    fn roots_after(&mut self, changes: &StateChanges) -> Result<Roots, Self::Error> {
        let outcome = self.trie.apply(self.source, &changes.hashed())?;
        let passer = self.trie.account(self.source, &keccak256(MESSAGE_PASSER))?;
        let roots = Roots {
            state: outcome.root,
            message_passer: passer.map_or(EMPTY_ROOT_HASH, |account| account.storage_root),
        };
        self.outcome = Some(outcome);
        Ok(roots)
    }
}
