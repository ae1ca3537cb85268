//! How the canonical chain moved since somebody last looked.
//!
//! A reorganization removes the old blocks from the database, so the one who looks remembers the newest hashes it has seen: the new
//! chain is walked down until it meets one of them.

use crate::{
    chain::{BlockRef, ReadError},
    source::Source,
};
use alloy_primitives::B256;
use std::collections::VecDeque;

/// The way from one head to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// Blocks that are no longer canonical, newest first.
    pub(crate) reverted: Vec<B256>,
    /// Blocks that are canonical now, oldest first.
    pub(crate) applied: Vec<B256>,
}

/// The newest blocks of the chain as it was last seen, by rising number and without gaps.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    blocks: VecDeque<BlockRef>,
    keep: usize,
}

impl Known {
    /// The head and up to `keep - 1` of its ancestors.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn at_head(chain: &impl Source, keep: usize) -> Result<Self, ReadError> {
        let head = chain.heads()?.latest;
        let mut blocks = VecDeque::from([head]);
        while blocks.len() < keep
            && let Some(oldest) = blocks.front()
            && let Some(parent) = parent_of(chain, *oldest)?
        {
            blocks.push_front(parent);
        }
        Ok(Self { blocks, keep })
    }

    /// The newest block that was seen.
    pub(crate) fn head(&self) -> BlockRef {
        self.blocks.back().copied().unwrap_or_default()
    }

    /// Moves on to another head and says what lies between: at most `most` new blocks, the newest ones.
    ///
    /// # Errors
    /// If a block of the new chain cannot be read; then nothing has moved.
    pub(crate) fn advance(&mut self, chain: &impl Source, to: BlockRef, most: usize) -> Result<Path, ReadError> {
        let mut applied = Vec::new();
        let mut at = Some(to);
        let mut common = None;
        while let Some(block) = at {
            common = self.position(block);
            let below_all = self.blocks.front().is_none_or(|oldest| block.number < oldest.number);
            if common.is_some() || below_all || applied.len() >= most {
                break;
            }
            applied.push(block);
            at = parent_of(chain, block)?;
        }
        let keep = match common {
            Some(position) => position + 1,
            // Too far to walk, or a reorganization below all that is known: what is still canonical stays.
            None => self.still_canonical(chain)?,
        };
        let reverted = self.blocks.drain(keep..).rev().map(|block| block.hash).collect();
        if common.is_none() {
            // There is a gap: what is known must have none.
            self.blocks.clear();
        }
        self.blocks.extend(applied.iter().rev());
        if self.blocks.is_empty() {
            self.blocks.push_back(to);
        }
        let excess = self.blocks.len().saturating_sub(self.keep.max(1));
        self.blocks.drain(..excess);
        Ok(Path { reverted, applied: applied.into_iter().rev().map(|block| block.hash).collect() })
    }

    fn position(&self, block: BlockRef) -> Option<usize> {
        let oldest = self.blocks.front()?;
        let position = usize::try_from(block.number.checked_sub(oldest.number)?).ok()?;
        self.blocks.get(position).filter(|known| known.hash == block.hash).map(|_| position)
    }

    /// How many of the known blocks, from the oldest on, are canonical.
    fn still_canonical(&self, chain: &impl Source) -> Result<usize, ReadError> {
        for (position, block) in self.blocks.iter().enumerate().rev() {
            if chain.canonical_hash(block.number)? == Some(block.hash) {
                return Ok(position + 1);
            }
        }
        Ok(0)
    }
}

/// The parent of a block; `None` above genesis.
fn parent_of(chain: &impl Source, block: BlockRef) -> Result<Option<BlockRef>, ReadError> {
    let header = chain
        .header(block.hash)?
        .ok_or_else(|| ReadError::Reorged(format!("block {} ({})", block.number, block.hash)))?;
    Ok(block.number.checked_sub(1).map(|number| BlockRef { number, hash: header.parent_hash }))
}
