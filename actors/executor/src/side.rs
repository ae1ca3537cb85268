//! Blocks beside the chain: offered by a consensus client or built for it, and not (or no longer) in the chain.
//!
//! The blocks are [kept](KeptBlocks) beyond the instance, what their execution gave is not: it is executed again when it is needed.

use crate::{
    kept::KeptBlocks,
    state::{Executed, SnapshotError, TrieSource},
};
use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, map::B256HashMap};
use duskevm_engine_api::forkchoice::SideBlock;
use duskevm_evm::{Block, StateSource};
use duskevm_fence::Generation;
use duskevm_trie::NodeSource;
use std::{collections::VecDeque, sync::Arc};

/// Of so many blocks it is kept what their execution gave, the oldest gives way; and so long is the longest branch on which a block is
/// executed.
pub(crate) const MAX_EXECUTED: usize = 64;

/// So many invalid ones are remembered.
const MAX_INVALID: usize = 256;

/// Why a block is invalid, and its nearest ancestor that is not.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) why: String,
    pub(crate) latest_valid: Option<B256>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Side {
    kept: KeptBlocks,
    owner: Generation,
    /// What valid blocks do to their parents' states.
    executed: B256HashMap<Executed>,
    /// Of `executed`.
    oldest_first: VecDeque<B256>,
    invalid: B256HashMap<Verdict>,
    /// Of `invalid`.
    oldest_invalid_first: VecDeque<B256>,
}

impl Side {
    /// With the blocks that instances before this one kept.
    pub(crate) fn new(kept: KeptBlocks, owner: Generation) -> Self {
        kept.take_over(owner);
        Self {
            kept,
            owner,
            executed: B256HashMap::default(),
            oldest_first: VecDeque::new(),
            invalid: B256HashMap::default(),
            oldest_invalid_first: VecDeque::new(),
        }
    }

    /// A valid block, on the side or lately.
    pub(crate) fn get(&self, hash: &B256) -> Option<Arc<Block>> {
        self.kept.get(hash)
    }

    /// Keeps a valid block; of `only_here` see [`KeptBlocks::keep`].
    pub(crate) fn keep(&mut self, block: &Arc<Block>, only_here: bool) {
        self.kept.keep(self.owner, block, only_here);
    }

    /// Keeps a valid block and what its execution gave.
    pub(crate) fn keep_executed(&mut self, executed: Executed, only_here: bool) {
        self.keep(&executed.block, only_here);
        self.note(executed);
        self.trim();
    }

    /// Lets the oldest of what was executed go, if it is too much. Not while a branch is being executed.
    pub(crate) fn trim(&mut self) {
        while self.oldest_first.len() > MAX_EXECUTED {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.executed.remove(&oldest);
            }
        }
    }

    /// Keeps what the execution of a block gave, for as long as the branch is needed of which it is.
    pub(crate) fn note(&mut self, executed: Executed) {
        let hash = executed.block.hash();
        if self.executed.insert(hash, executed).is_none() {
            self.oldest_first.push_back(hash);
        }
    }

    pub(crate) fn is_executed(&self, hash: &B256) -> bool {
        self.executed.contains_key(hash)
    }

    /// What the execution of a block gave, to be put into the chain.
    pub(crate) fn take_executed(&mut self, hash: &B256) -> Option<Executed> {
        let taken = self.executed.remove(hash)?;
        self.oldest_first.retain(|kept| kept != hash);
        Some(taken)
    }

    /// Does what storing a block takes in any case.
    pub(crate) fn prepare(&mut self, hash: &B256) {
        if let Some(executed) = self.executed.remove(hash) {
            self.executed.insert(*hash, executed.prepared());
        }
    }

    /// A block that was valid cannot be executed: something here is wrong, and it must not be so for ever.
    pub(crate) fn forget(&mut self, hash: &B256) {
        self.kept.forget(self.owner, hash);
    }

    pub(crate) fn is_only_here(&self, hash: &B256) -> bool {
        self.kept.is_only_here(hash)
    }

    /// Of these three see [`KeptBlocks::owe_flush`].
    pub(crate) fn owe_flush(&self) {
        self.kept.owe_flush(self.owner);
    }

    pub(crate) fn owes_flush(&self) -> bool {
        self.kept.owes_flush()
    }

    pub(crate) fn flushed(&self) {
        self.kept.flushed(self.owner);
    }

    /// Blocks at or below the final one can never be in the chain. They are known still, so that a branch on them is refused for what
    /// it is.
    pub(crate) fn finalize(&mut self, number: u64) {
        self.executed.retain(|_, executed| executed.block.number() > number);
        self.oldest_first.retain(|hash| self.executed.contains_key(hash));
    }

    /// The block in the terms of the rules.
    pub(crate) fn as_side(&self, hash: &B256) -> Option<SideBlock> {
        let block = self.get(hash)?;
        Some(SideBlock { number: block.number(), parent: block.header.parent_hash })
    }

    pub(crate) fn verdict(&self, hash: &B256) -> Option<&Verdict> {
        // What was found valid since is valid, whatever was wrong with this node when it said otherwise.
        self.invalid.get(hash).filter(|_| self.kept.get(hash).is_none())
    }

    /// Remembers that a block is invalid, so that what descends from it is too.
    pub(crate) fn condemn(&mut self, hash: B256, verdict: Verdict) {
        if self.invalid.insert(hash, verdict).is_none() {
            self.oldest_invalid_first.push_back(hash);
        }
        while self.oldest_invalid_first.len() > MAX_INVALID {
            if let Some(oldest) = self.oldest_invalid_first.pop_front() {
                self.invalid.remove(&oldest);
            }
        }
    }

    /// The blocks above the chain up to the one of this hash, oldest first; none for a block of the chain, `None` if they do not
    /// lead to it.
    ///
    /// # Errors
    /// That of `in_chain`, which says whether a block is in the chain.
    pub(crate) fn branch<E>(
        &self,
        to: B256,
        mut in_chain: impl FnMut(B256) -> Result<bool, E>,
    ) -> Result<Option<Vec<Arc<Block>>>, E> {
        let mut blocks = Vec::new();
        let mut hash = to;
        // A child's number is its parent's and one: valid blocks make no circle.
        while !in_chain(hash)? {
            let Some(block) = self.get(&hash) else { return Ok(None) };
            hash = block.header.parent_hash;
            blocks.push(block);
        }
        blocks.reverse();
        Ok(Some(blocks))
    }

    /// The state that these blocks lead to, which must have been executed; those that have not been are left out.
    pub(crate) fn state_of<'a>(&self, base: &'a TrieSource, branch: &[Arc<Block>]) -> BranchSource<'a> {
        let mut source = BranchSource {
            base,
            nodes: B256HashMap::default(),
            codes: B256HashMap::default(),
            headers: B256HashMap::default(),
        };
        for block in branch {
            source.headers.insert(block.hash(), block.header.inner().clone());
            let Some(executed) = self.executed.get(&block.hash()) else { continue };
            source.nodes.extend(executed.nodes().inserted.iter().cloned());
            source.codes.extend(executed.codes().iter().cloned());
        }
        source
    }
}

/// The database, and what executed blocks beside the chain add to it. Nodes that they supersede are in it still: nobody asks for them.
#[derive(Debug)]
pub(crate) struct BranchSource<'a> {
    base: &'a TrieSource,
    nodes: B256HashMap<Bytes>,
    codes: B256HashMap<Bytes>,
    headers: B256HashMap<Header>,
}

impl NodeSource for BranchSource<'_> {
    type Error = SnapshotError;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, SnapshotError> {
        match self.nodes.get(hash) {
            Some(node) => Ok(Some(node.clone())),
            None => self.base.node(hash),
        }
    }
}

impl StateSource for BranchSource<'_> {
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, SnapshotError> {
        match self.codes.get(hash) {
            Some(code) => Ok(Some(code.clone())),
            None => self.base.code(hash),
        }
    }

    fn header(&self, hash: &B256) -> Result<Option<Header>, SnapshotError> {
        match self.headers.get(hash) {
            Some(header) => Ok(Some(header.clone())),
            None => self.base.header(hash),
        }
    }
}
