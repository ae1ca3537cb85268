//! Hashing what changed, children before parents.

use crate::{
    encode::encode_node,
    node::{Cached, Node},
};
use alloc::{sync::Arc, vec::Vec};
use alloy_primitives::{B256, Bytes, keccak256};

/// Encodes and hashes dirty nodes; one buffer serves them all.
#[derive(Default)]
pub(crate) struct Sealer {
    buffer: Vec<u8>,
    pub(crate) inserted: Vec<(B256, Bytes)>,
}

impl Sealer {
    /// Seals every dirty node below `node`, and `node` itself.
    pub(crate) fn seal(&mut self, node: &mut Node, depth: usize) {
        if !node.is_dirty() {
            return;
        }
        self.seal_children(node, depth);
        let cached = self.encode(node, depth);
        match node {
            Node::Empty | Node::Hash(_) => {}
            Node::Leaf(leaf) => Arc::make_mut(leaf).cached = cached,
            Node::Extension(extension) => Arc::make_mut(extension).cached = cached,
            Node::Branch(branch) => Arc::make_mut(branch).cached = cached,
        }
    }

    /// The same, with the children of a root that is a branch on rayon's pool.
    #[cfg(feature = "parallel")]
    pub(crate) fn seal_in_parallel(&mut self, root: &mut Node) {
        use rayon::prelude::*;

        if let Node::Branch(branch) = root
            && branch.cached == Cached::Dirty
        {
            let sealed: Vec<Self> = Arc::make_mut(branch)
                .children
                .par_iter_mut()
                .filter(|child| child.is_dirty())
                .map(|child| {
                    let mut sealer = Self::default();
                    sealer.seal(child, 1);
                    sealer
                })
                .collect();
            sealed.into_iter().for_each(|sealer| self.inserted.extend(sealer.inserted));
        }
        self.seal(root, 0);
    }

    fn seal_children(&mut self, node: &mut Node, depth: usize) {
        match node {
            Node::Empty | Node::Hash(_) | Node::Leaf(_) => {}
            Node::Extension(extension) => {
                let extension = Arc::make_mut(extension);
                self.seal(&mut extension.child, extension.end);
            }
            Node::Branch(branch) => {
                Arc::make_mut(branch).children.iter_mut().for_each(|child| self.seal(child, depth + 1));
            }
        }
    }

    fn encode(&mut self, node: &Node, depth: usize) -> Cached {
        self.buffer.clear();
        encode_node(node, depth, &mut self.buffer);
        // The root is stored under its hash however short it is.
        if self.buffer.len() < 32 && depth > 0 {
            return Cached::Inline;
        }
        let hash = keccak256(&self.buffer);
        self.inserted.push((hash, Bytes::copy_from_slice(&self.buffer)));
        Cached::Hash(hash)
    }
}
