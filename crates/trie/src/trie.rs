//! One trie.

use crate::{
    EMPTY_ROOT_HASH, NodeSource, TrieError, TrieId,
    commit::Sealer,
    encode::encode_node,
    key::{common_prefix, nibble},
    node::{Cached, Node},
    update::Work,
    walk::{Visitor, walk},
};
use alloc::vec::Vec;
use alloy_primitives::{B256, Bytes};

/// A key and its new value; `None` (or an empty value) deletes.
pub type Change = (B256, Option<Bytes>);

/// What commits did to the set of stored nodes, counted per place (see the crate's documentation).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New nodes, hash and RLP; a hash appears once per place that the node took.
    pub inserted: Vec<(B256, Bytes)>,
    /// Hashes of nodes that are gone from a place, once per place.
    pub removed: Vec<B256>,
}

impl Changes {
    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty() && self.removed.is_empty()
    }

    /// Adds the changes of `other`, which happened in another trie or after these.
    pub fn append(&mut self, other: Self) {
        self.inserted.extend(other.inserted);
        self.removed.extend(other.removed);
    }
}

/// The partially decoded image of one trie.
///
/// A clone is cheap and independent: decoded nodes are shared and copied when one of the two changes them.
#[derive(Clone, Debug)]
pub struct Trie {
    id: TrieId,
    node: Node,
    committed: B256,
    /// Stored nodes that the uncommitted changes replaced.
    removed: Vec<B256>,
    /// Changes since the last commit.
    pending: usize,
    /// Decoded nodes, never counted too low.
    decoded: usize,
}

impl Trie {
    /// The account trie with this root. Nothing is fetched yet.
    pub fn from_root(root: B256) -> Self {
        Self::new(TrieId::Accounts, root)
    }

    /// The trie with this root; `id` is for error messages only.
    pub fn new(id: TrieId, root: B256) -> Self {
        Self { id, node: undecoded(root), committed: root, removed: Vec::new(), pending: 0, decoded: 0 }
    }

    /// Root hash at the last commit.
    pub fn root(&self) -> B256 {
        self.committed
    }

    /// Which trie this is, for error messages.
    pub fn id(&self) -> TrieId {
        self.id
    }

    /// True if there are changes since the last commit.
    pub fn has_changes(&self) -> bool {
        self.pending > 0
    }

    /// Decoded nodes in memory; an upper bound, exact after [`shrink`](Self::shrink) had something to do.
    pub fn decoded_nodes(&self) -> usize {
        self.decoded
    }

    /// Drops all uncommitted changes and all decoded nodes.
    pub fn reset(&mut self) {
        *self = Self::new(self.id, self.committed);
    }

    /// The value of `key`, uncommitted changes included.
    ///
    /// # Errors
    ///
    /// If a node on the path is missing or malformed, or the source fails. Nothing changes.
    pub fn get<S: NodeSource>(&mut self, source: &S, key: &B256) -> Result<Option<Bytes>, TrieError<S::Error>> {
        if let Some(value) = self.lookup(key) {
            return Ok(value);
        }
        Ok(self.get_many(source, &[*key])?.pop().flatten())
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_many<S: NodeSource>(
        &mut self,
        source: &S,
        keys: &[B256],
    ) -> Result<Vec<Option<Bytes>>, TrieError<S::Error>> {
        let mut values = alloc::vec![None; keys.len()];
        let mut sorted: Vec<_> = keys.iter().enumerate().collect();
        if sorted.is_empty() {
            return Ok(values);
        }
        sorted.sort_unstable_by_key(|(_, key)| **key);
        let mut work = Work::new(source, self.id);
        let result = work.read_all(&mut self.node, &sorted);
        self.decoded += work.decoded;
        for (index, value) in result? {
            values[index] = Some(value);
        }
        Ok(values)
    }

    /// Applies changes. They are best sorted by key; if they are not, they are sorted here, and of several
    /// changes of one key the last one counts.
    ///
    /// # Errors
    ///
    /// If a needed node is missing or malformed, or the source fails. All changes since the last commit are then
    /// lost: the trie is back at [`root`](Self::root).
    pub fn update<S: NodeSource>(&mut self, source: &S, mut changes: Vec<Change>) -> Result<(), TrieError<S::Error>> {
        for (_, value) in &mut changes {
            // An empty value has no leaf: to write one is to delete.
            value.take_if(|value| value.is_empty());
        }
        if !changes.is_sorted_by(|a, b| a.0 < b.0) {
            changes.sort_by_key(|change| change.0);
            changes.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    core::mem::swap(later, earlier);
                }
                same
            });
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.pending += changes.len();
        let mut work = Work::new(source, self.id);
        let result = work.update(&mut self.node, 0, &mut changes);
        self.decoded += work.decoded;
        self.removed.append(&mut work.removed);
        result.map_err(|error| self.fail(error))
    }

    /// Deletes every key, reading the whole trie to name all nodes that go.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn clear<S: NodeSource>(&mut self, source: &S) -> Result<(), TrieError<S::Error>> {
        // Only stored nodes count: those are the committed ones that no uncommitted change replaced yet.
        let mut gone = Vec::new();
        let result = walk(source, self.id, self.committed, &mut |visit: Visitor<'_>| {
            if let Visitor::Node { hash, .. } = visit {
                gone.push(*hash);
            }
        });
        if let Err(error) = result {
            return Err(self.fail(error));
        }
        self.forget_all(gone);
        Ok(())
    }

    /// Deletes every key without reading anything: the nodes that go are not named at the next commit.
    pub fn clear_unread(&mut self) {
        self.forget_all(Vec::new());
    }

    fn forget_all(&mut self, gone: Vec<B256>) {
        self.node = Node::Empty;
        self.removed = gone;
        self.pending += 1;
        self.decoded = 0;
    }

    /// Hashes what changed, adds it to `changes`, and returns the new root.
    pub fn commit(&mut self, changes: &mut Changes) -> B256 {
        if self.pending == 0 {
            return self.committed;
        }
        let mut sealer = Sealer::default();
        #[cfg(feature = "parallel")]
        if self.pending >= crate::update::PARALLEL_FROM {
            sealer.seal_in_parallel(&mut self.node);
        }
        sealer.seal(&mut self.node, 0);
        changes.inserted.append(&mut sealer.inserted);
        changes.removed.append(&mut self.removed);
        self.pending = 0;
        self.committed = match self.node.cached() {
            Some(Cached::Hash(hash)) => hash,
            _ => EMPTY_ROOT_HASH,
        };
        self.committed
    }

    /// The nodes from the root down to `key`, or down to where its absence shows: what `eth_getProof` returns.
    /// Empty for an empty trie.
    ///
    /// # Errors
    ///
    /// [`TrieError::Uncommitted`] with uncommitted changes; else as [`get`](Self::get).
    pub fn prove<S: NodeSource>(&mut self, source: &S, key: &B256) -> Result<Vec<Bytes>, TrieError<S::Error>> {
        if self.has_changes() {
            return Err(TrieError::Uncommitted { trie: self.id });
        }
        self.get_many(source, &[*key])?;
        let mut proof = Vec::new();
        let (mut node, mut depth) = (&self.node, 0);
        loop {
            // Inline nodes are part of their parent's bytes.
            if matches!(node.cached(), Some(Cached::Hash(_))) && !matches!(node, Node::Hash(_)) {
                let mut raw = Vec::new();
                encode_node(node, depth, &mut raw);
                proof.push(raw.into());
            }
            match node {
                Node::Empty | Node::Hash(_) | Node::Leaf(_) => return Ok(proof),
                Node::Extension(extension) => {
                    if common_prefix(key, &extension.key) < extension.end {
                        return Ok(proof);
                    }
                    (node, depth) = (&extension.child, extension.end);
                }
                Node::Branch(branch) => {
                    (node, depth) = (&branch.children[nibble(key, depth)], depth + 1);
                }
            }
        }
    }

    /// If more than `max_nodes` are decoded, turns the deepest unchanged ones back into hashes, level by level,
    /// until no more than that are left. The upper levels, which every block touches, stay.
    pub fn shrink(&mut self, max_nodes: usize) {
        if self.decoded <= max_nodes {
            return;
        }
        let mut levels = [0usize; crate::KEY_NIBBLES + 1];
        self.node.count_decoded(0, 0, &mut |depth| levels[depth.min(crate::KEY_NIBBLES)] += 1);
        let (mut kept, mut limit) = (0, 0);
        for count in levels {
            if kept + count > max_nodes {
                break;
            }
            kept += count;
            limit += 1;
        }
        self.node.forget_below(0, limit);
        self.decoded = 0;
        let decoded = &mut self.decoded;
        self.node.count_decoded(0, 0, &mut |_| *decoded += 1);
    }

    /// The value of `key` if all nodes on its path are decoded.
    fn lookup(&self, key: &B256) -> Option<Option<Bytes>> {
        let (mut node, mut depth) = (&self.node, 0);
        loop {
            match node {
                Node::Empty => return Some(None),
                Node::Hash(_) => return None,
                Node::Leaf(leaf) => return Some((leaf.key == *key).then(|| leaf.value.clone())),
                Node::Extension(extension) => {
                    if common_prefix(key, &extension.key) < extension.end {
                        return Some(None);
                    }
                    (node, depth) = (&extension.child, extension.end);
                }
                Node::Branch(branch) => {
                    (node, depth) = (&branch.children[nibble(key, depth)], depth + 1);
                }
            }
        }
    }

    /// A failed pass may have moved nodes half-way: start again from the last commit.
    fn fail<E>(&mut self, error: TrieError<E>) -> TrieError<E> {
        self.reset();
        error
    }
}

/// The link to a root that is not decoded.
fn undecoded(root: B256) -> Node {
    if root == EMPTY_ROOT_HASH { Node::Empty } else { Node::Hash(root) }
}
