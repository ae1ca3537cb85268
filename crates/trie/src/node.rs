//! Nodes in memory.
//!
//! A leaf and an extension keep a whole key and not their piece of it. Their piece is then given by the depth at
//! which they hang, so moving one up or down while the trie around it changes touches no nibbles.

use alloc::sync::Arc;
use alloy_primitives::{B256, Bytes};

/// What is known about a node's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    /// Changed since the last commit.
    Dirty,
    /// Stored under this hash.
    Hash(B256),
    /// Shorter than 32 bytes: part of its parent's encoding, not stored by itself.
    Inline,
}

/// A link to a node, decoded or not. Decoded nodes are shared between clones of a trie and copied on write.
#[derive(Clone, Debug, Default)]
pub(crate) enum Node {
    /// No node.
    #[default]
    Empty,
    /// Not fetched yet.
    Hash(B256),
    /// One key and its value.
    Leaf(Arc<Leaf>),
    /// A piece of path that all keys below share. Its child is always a branch.
    Extension(Arc<Extension>),
    /// Up to sixteen children.
    Branch(Arc<Branch>),
}

#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) key: B256,
    pub(crate) value: Bytes,
    pub(crate) cached: Cached,
}

#[derive(Clone, Debug)]
pub(crate) struct Extension {
    /// Any key below: its nibbles from the node's depth up to `end` are the extension's piece.
    pub(crate) key: B256,
    /// Depth of the child.
    pub(crate) end: usize,
    pub(crate) child: Node,
    pub(crate) cached: Cached,
}

#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) children: [Node; 16],
    pub(crate) cached: Cached,
}

impl Node {
    pub(crate) fn leaf(key: B256, value: Bytes) -> Self {
        Self::Leaf(Arc::new(Leaf { key, value, cached: Cached::Dirty }))
    }

    pub(crate) fn extension(key: B256, end: usize, child: Self) -> Self {
        Self::Extension(Arc::new(Extension { key, end, child, cached: Cached::Dirty }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// What is known of the encoding; `None` for no node.
    pub(crate) fn cached(&self) -> Option<Cached> {
        match self {
            Self::Empty => None,
            Self::Hash(hash) => Some(Cached::Hash(*hash)),
            Self::Leaf(leaf) => Some(leaf.cached),
            Self::Extension(extension) => Some(extension.cached),
            Self::Branch(branch) => Some(branch.cached),
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.cached() == Some(Cached::Dirty)
    }

    /// Calls `count` with the depth of every decoded node below and including this one. An inline node counts where
    /// the stored node hangs that contains it: the two come and go together.
    pub(crate) fn count_decoded(&self, depth: usize, stored: usize, count: &mut impl FnMut(usize)) {
        let stored = if self.cached() == Some(Cached::Inline) { stored } else { depth };
        match self {
            Self::Empty | Self::Hash(_) => {}
            Self::Leaf(_) => count(stored),
            Self::Extension(extension) => {
                count(stored);
                extension.child.count_decoded(extension.end, stored, count);
            }
            Self::Branch(branch) => {
                count(stored);
                branch.children.iter().for_each(|child| child.count_decoded(depth + 1, stored, count));
            }
        }
    }

    /// Turns every unchanged node at `limit` or deeper back into its hash.
    pub(crate) fn forget_below(&mut self, depth: usize, limit: usize) {
        if depth >= limit
            && let Some(Cached::Hash(hash)) = self.cached()
        {
            *self = Self::Hash(hash);
            return;
        }
        match self {
            Self::Empty | Self::Hash(_) | Self::Leaf(_) => {}
            Self::Extension(extension) => {
                if !matches!(extension.child, Self::Hash(_)) {
                    let extension = Arc::make_mut(extension);
                    extension.child.forget_below(extension.end, limit);
                }
            }
            Self::Branch(branch) => {
                if branch.children.iter().any(|child| !matches!(child, Self::Empty | Self::Hash(_))) {
                    let branch = Arc::make_mut(branch);
                    branch.children.iter_mut().for_each(|child| child.forget_below(depth + 1, limit));
                }
            }
        }
    }
}

impl Branch {
    pub(crate) fn empty() -> Self {
        Self { children: Default::default(), cached: Cached::Dirty }
    }
}
