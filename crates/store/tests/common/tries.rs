//! The tries of the newest blocks in memory, for tests and benches, which have no executor that computes state roots.

#![allow(unreachable_pub)]

use alloy_primitives::B256;
use duskevm_store::l2::{L2Error, L2Reader};
use duskevm_trie::{StateChanges, StateLimits, StateOutcome, StateTrie};

/// Computes state roots on top of the head, and keeps the upper levels of the tries decoded from block to block.
///
/// Blocks may be tried out: any number of calls with the same parent root start from the same state. The first call whose
/// parent is an earlier result adopts that one.
#[derive(Clone, Debug)]
pub struct StateTries {
    reader: L2Reader,
    base: StateTrie,
    /// The last result, in case the next block builds on it.
    tried: Option<StateTrie>,
}

impl StateTries {
    /// Starts at any state root that the store has.
    pub fn new(reader: L2Reader, root: B256, limits: StateLimits) -> Self {
        Self { reader, base: StateTrie::new(root, limits), tried: None }
    }

    /// The root of the state after `changes` to the state with root `parent`, with what
    /// `BlockCommit::nodes` needs.
    ///
    /// # Errors
    ///
    /// `L2Error::Trie` if nodes are missing or malformed, `L2Error::Db`. The next call is not affected.
    pub fn apply(&mut self, parent: B256, changes: &StateChanges) -> Result<StateOutcome, L2Error> {
        match self.tried.take() {
            Some(tried) if tried.root() == parent => self.base = tried,
            _ => self.base.set_root(parent),
        }
        let mut next = self.base.clone();
        let outcome = next.apply(&self.reader, &changes.hashed())?;
        self.tried = Some(next);
        Ok(outcome)
    }
}
