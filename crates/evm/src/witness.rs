//! Stateless execution: a block from its parent header, its attributes and a witness.

use crate::{
    build::{BlockAttributes, ExecuteError, ExecutedBlock, NoPool, build_block},
    spec::ChainSpec,
    state::{StateSource, TrieRoots, TrieState},
};
use alloc::vec::Vec;
use alloy_consensus::{Header, Sealed};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use core::convert::Infallible;
use duskevm_trie::{NodeSource, StateTrie, TrieError, Witness, WitnessError};

/// Trie nodes, code and ancestor headers that the execution of one block touches. All are found by their keccak-256 hash, so
/// whoever made it need not be trusted: a wrong item is a missing one.
#[derive(Debug, Clone, Default)]
pub struct ExecutionWitness {
    items: Witness,
}

/// A witness that says wrong things of itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessDecodeError {
    /// An item was named by a hash that is not its own.
    #[error(transparent)]
    WrongHash(#[from] WitnessError),
}

impl ExecutionWitness {
    /// From items (nodes, code, RLP headers) without names.
    pub fn new(items: impl IntoIterator<Item = Bytes>) -> Self {
        Self { items: Witness::new(items) }
    }

    /// From items with the hashes that they are claimed to have.
    ///
    /// # Errors
    /// If one of them has another.
    pub fn from_pairs(items: impl IntoIterator<Item = (B256, Bytes)>) -> Result<Self, WitnessDecodeError> {
        Ok(Self { items: Witness::from_pairs(items)? })
    }

    /// All items with their hashes, sorted by hash.
    pub fn to_pairs(&self) -> Vec<(B256, Bytes)> {
        let mut pairs: Vec<_> = self.items.iter().map(|(hash, item)| (*hash, item.clone())).collect();
        pairs.sort_unstable_by_key(|(hash, _)| *hash);
        pairs
    }
}

impl NodeSource for ExecutionWitness {
    type Error = Infallible;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.items.get(hash).cloned())
    }
}

impl StateSource for ExecutionWitness {
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.items.get(hash).cloned())
    }

    fn header(&self, hash: &B256) -> Result<Option<Header>, Infallible> {
        // Bytes that hash to a header's hash are that header; should they not decode, nobody made such a header.
        Ok(self.items.get(hash).and_then(|bytes| Header::decode(&mut bytes.as_ref()).ok()))
    }
}

/// Executes the block that `attributes` describe on top of `parent`, with nothing of the state but `witness`.
///
/// The result's header hash is the answer: the same attributes on the same parent lead everywhere to the same hash.
///
/// # Errors
/// A missing or malformed node, code or header is named in [`ExecuteError::State`] or [`ExecuteError::Roots`].
pub fn execute_stateless(
    spec: &ChainSpec,
    parent: &Sealed<Header>,
    attributes: &BlockAttributes,
    witness: &ExecutionWitness,
) -> Result<ExecutedBlock, ExecuteError<TrieError<Infallible>>> {
    run_on_tries(spec, parent, attributes, witness)
}

fn run_on_tries<S: StateSource>(
    spec: &ChainSpec,
    parent: &Sealed<Header>,
    attributes: &BlockAttributes,
    source: &S,
) -> Result<ExecutedBlock, ExecuteError<TrieError<S::Error>>> {
    let mut trie = StateTrie::stateless(parent.state_root);
    let mut roots = TrieRoots::new(&mut trie, source);
    build_block(spec, parent, attributes, &mut NoPool, TrieState::new(source, parent.clone()), &mut roots)
}

/// Executes a block on a full source and collects the witness that [`execute_stateless`] needs for it.
///
/// # Errors
/// As for any execution.
#[cfg(feature = "std")]
pub fn record_witness<S: StateSource + Send>(
    spec: &ChainSpec,
    parent: &Sealed<Header>,
    attributes: &BlockAttributes,
    source: &S,
) -> Result<(ExecutedBlock, ExecutionWitness), ExecuteError<TrieError<S::Error>>> {
    let recording = recording::Recording::new(source);
    let executed = run_on_tries(spec, parent, attributes, &recording)?;
    Ok((executed, recording.into_witness()))
}

#[cfg(feature = "std")]
mod recording {
    use super::{Bytes, ExecutionWitness, Header, NodeSource, StateSource, Witness};
    use alloy_primitives::B256;
    use std::sync::{Mutex, PoisonError};

    /// Remembers every item that was read.
    pub(super) struct Recording<'s, S> {
        source: &'s S,
        seen: Mutex<Witness>,
    }

    impl<'s, S> Recording<'s, S> {
        pub(super) fn new(source: &'s S) -> Self {
            Self { source, seen: Mutex::new(Witness::default()) }
        }

        pub(super) fn into_witness(self) -> ExecutionWitness {
            ExecutionWitness { items: self.seen.into_inner().unwrap_or_else(PoisonError::into_inner) }
        }

        fn remember(&self, item: Bytes) {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(item);
        }
    }

    impl<S: NodeSource> NodeSource for Recording<'_, S> {
        type Error = S::Error;

        fn node(&self, hash: &B256) -> Result<Option<Bytes>, S::Error> {
            let node = self.source.node(hash)?;
            if let Some(node) = &node {
                self.remember(node.clone());
            }
            Ok(node)
        }
    }

    impl<S: StateSource> StateSource for Recording<'_, S> {
        fn code(&self, hash: &B256) -> Result<Option<Bytes>, S::Error> {
            let code = self.source.code(hash)?;
            if let Some(code) = &code {
                self.remember(code.clone());
            }
            Ok(code)
        }

        fn header(&self, hash: &B256) -> Result<Option<Header>, S::Error> {
            let header = self.source.header(hash)?;
            if let Some(header) = &header {
                self.remember(alloy_rlp::encode(header).into());
            }
            Ok(header)
        }
    }
}
