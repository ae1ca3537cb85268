//! Reading a whole trie.

use crate::{
    EMPTY_ROOT_HASH, NodeSource, TrieError, TrieId,
    key::set_nibble,
    node::{Cached, Node},
    update::Work,
};
use alloy_primitives::{B256, Bytes};

/// What a walk comes across, parents before children, keys in order.
#[derive(Clone, Copy, Debug)]
pub enum Visitor<'a> {
    /// A place that holds a stored node. Inline nodes are part of their parents and not visited.
    Node {
        /// Hash of the node.
        hash: &'a B256,
    },
    /// A key and its value.
    Leaf {
        /// The key.
        key: &'a B256,
        /// The value.
        value: &'a Bytes,
    },
}

/// Visits all places and all keys of the trie with this root. Reads every node, keeps none.
///
/// # Errors
///
/// If a node is missing or malformed, or the source fails.
pub fn walk<S: NodeSource>(
    source: &S,
    trie: TrieId,
    root: B256,
    visit: &mut impl FnMut(Visitor<'_>),
) -> Result<(), TrieError<S::Error>> {
    if root == EMPTY_ROOT_HASH {
        return Ok(());
    }
    let mut work = Work::new(source, trie);
    let node = work.resolve(&root, &B256::ZERO, 0)?;
    descend(&mut work, &node, &B256::ZERO, 0, visit)
}

fn descend<S: NodeSource>(
    work: &mut Work<'_, S>,
    node: &Node,
    path: &B256,
    depth: usize,
    visit: &mut impl FnMut(Visitor<'_>),
) -> Result<(), TrieError<S::Error>> {
    if let Some(Cached::Hash(hash)) = node.cached() {
        visit(Visitor::Node { hash: &hash });
    }
    match node {
        Node::Empty | Node::Hash(_) => Ok(()),
        Node::Leaf(leaf) => {
            visit(Visitor::Leaf { key: &leaf.key, value: &leaf.value });
            Ok(())
        }
        Node::Extension(extension) => {
            if let Node::Hash(hash) = &extension.child {
                let child = work.resolve_branch(hash, &extension.key, extension.end)?;
                return descend(work, &child, &extension.key, extension.end, visit);
            }
            descend(work, &extension.child, &extension.key, extension.end, visit)
        }
        Node::Branch(branch) => {
            let mut path = *path;
            for (index, child) in branch.children.iter().enumerate() {
                set_nibble(&mut path, depth, index);
                if let Node::Hash(hash) = child {
                    let child = work.resolve(hash, &path, depth + 1)?;
                    descend(work, &child, &path, depth + 1, visit)?;
                } else {
                    descend(work, child, &path, depth + 1, visit)?;
                }
            }
            Ok(())
        }
    }
}
