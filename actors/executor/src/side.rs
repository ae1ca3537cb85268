//! Blocks beside the chain: offered by a consensus client or built for it, and not (or no longer) in the chain.
//!
//! They are in memory only. What is missing after a restart is unknown again, and the consensus client sends it again.

use crate::state::{Executed, SnapshotError, TrieSource};
use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, map::B256HashMap};
use duskevm_engine_api::forkchoice::SideBlock;
use duskevm_evm::{Block, StateSource};
use duskevm_trie::NodeSource;
use std::{collections::VecDeque, sync::Arc};

/// So many blocks are kept; the oldest one gives way.
pub(crate) const MAX_BLOCKS: usize = 64;

/// So many invalid ones are remembered.
const MAX_INVALID: usize = 256;

/// A block beside the chain. It is valid.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) block: Arc<Block>,
    /// What it does to its parent's state; `None` for a block that was in the chain: it is executed again when it is needed.
    pub(crate) executed: Option<Executed>,
    /// It was built here and holds transactions of the pool: nobody else can bring it again.
    pub(crate) only_here: bool,
}

/// Why a block is invalid, and its nearest ancestor that is not.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) why: String,
    pub(crate) latest_valid: Option<B256>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Side {
    blocks: B256HashMap<Entry>,
    /// Of `blocks`.
    oldest_first: VecDeque<B256>,
    invalid: B256HashMap<Verdict>,
    /// Of `invalid`.
    oldest_invalid_first: VecDeque<B256>,
}

impl Side {
    pub(crate) fn get(&self, hash: &B256) -> Option<&Entry> {
        self.blocks.get(hash)
    }

    pub(crate) fn get_mut(&mut self, hash: &B256) -> Option<&mut Entry> {
        self.blocks.get_mut(hash)
    }

    /// Keeps a block, and lets the oldest go if there are too many.
    pub(crate) fn keep(&mut self, entry: Entry) {
        let hash = entry.block.hash();
        if self.blocks.insert(hash, entry).is_none() {
            self.oldest_first.push_back(hash);
        }
        while self.oldest_first.len() > MAX_BLOCKS {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.blocks.remove(&oldest);
            }
        }
    }

    pub(crate) fn take(&mut self, hash: &B256) -> Option<Entry> {
        let taken = self.blocks.remove(hash)?;
        self.oldest_first.retain(|kept| kept != hash);
        Some(taken)
    }

    /// Blocks at or below the final one can never be in the chain. They are known still, so that a branch on them is refused for what
    /// it is.
    pub(crate) fn finalize(&mut self, number: u64) {
        for entry in self.blocks.values_mut().filter(|entry| entry.block.number() <= number) {
            entry.executed = None;
        }
    }

    /// The block in the terms of the rules.
    pub(crate) fn as_side(&self, hash: &B256) -> Option<SideBlock> {
        let block = &self.blocks.get(hash)?.block;
        Some(SideBlock { number: block.number(), parent: block.header.parent_hash })
    }

    pub(crate) fn verdict(&self, hash: &B256) -> Option<&Verdict> {
        self.invalid.get(hash)
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

    /// The blocks from the one of this hash down to the chain, oldest first; its parents are followed as far as they are here.
    pub(crate) fn branch(&self, to: B256) -> Vec<Arc<Block>> {
        let mut blocks = Vec::new();
        let mut hash = to;
        // A child's number is its parent's and one: valid blocks make no circle.
        while let Some(entry) = self.blocks.get(&hash) {
            blocks.push(Arc::clone(&entry.block));
            hash = entry.block.header.parent_hash;
        }
        blocks.reverse();
        blocks
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
            let Some(executed) = self.blocks.get(&block.hash()).and_then(|entry| entry.executed.as_ref()) else {
                continue;
            };
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
