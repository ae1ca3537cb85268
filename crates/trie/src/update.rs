//! Applying a sorted batch of changes to a node and what hangs below it.
//!
//! A branch first applies the changes of all its children and only then looks how many are left. A sibling is
//! therefore fetched only if the branch really collapses, and the order of changes inside a batch means nothing.

use crate::{
    KEY_NIBBLES, NibblePath, NodeSource, TrieError, TrieId,
    decode::decode,
    key::{common_prefix, nibble, set_nibble},
    node::{Branch, Cached, Node},
    trie::Change,
};
use alloc::{sync::Arc, vec::Vec};
use alloy_primitives::{B256, Bytes};
use core::mem;

/// From how many changes on the subtries of the root are worth a thread pool.
#[cfg(feature = "parallel")]
pub(crate) const PARALLEL_FROM: usize = 128;

/// One pass over a trie: where nodes come from, and what the pass did.
pub(crate) struct Work<'s, S> {
    source: &'s S,
    trie: TrieId,
    /// Hashes of the stored nodes that were replaced, one per place.
    pub(crate) removed: Vec<B256>,
    /// How many nodes were decoded or made.
    pub(crate) decoded: usize,
}

impl<'s, S: NodeSource> Work<'s, S> {
    pub(crate) fn new(source: &'s S, trie: TrieId) -> Self {
        Self { source, trie, removed: Vec::new(), decoded: 0 }
    }

    /// Fetches and decodes the node `hash` that hangs at `depth` on the path of `key`.
    pub(crate) fn resolve(&mut self, hash: &B256, key: &B256, depth: usize) -> Result<Node, TrieError<S::Error>> {
        let (hash, path, trie) = (*hash, NibblePath::new(key, depth), self.trie);
        let raw = self
            .source
            .node(&hash)
            .map_err(|source| TrieError::Source { hash, path, trie, source })?
            .ok_or(TrieError::Missing { hash, path, trie })?;
        let malformed = |reason| TrieError::Malformed { hash, path, trie, reason };
        if depth > 0 && raw.len() < 32 {
            return Err(malformed("a node shorter than 32 bytes that is not inline"));
        }
        self.decoded += 1;
        decode(&raw, key, depth, Cached::Hash(hash)).map_err(malformed)
    }

    /// The same for the child of an extension, which must be a branch.
    pub(crate) fn resolve_branch(
        &mut self,
        hash: &B256,
        key: &B256,
        depth: usize,
    ) -> Result<Node, TrieError<S::Error>> {
        match self.resolve(hash, key, depth)? {
            node @ Node::Branch(_) => Ok(node),
            _ => Err(TrieError::Malformed {
                hash: *hash,
                path: NibblePath::new(key, depth),
                trie: self.trie,
                reason: "extension that does not lead to a branch",
            }),
        }
    }

    /// Decodes everything on the paths of the sorted `keys` (each with an index), and returns the values that are
    /// there with their indices.
    pub(crate) fn read_all(
        &mut self,
        root: &mut Node,
        keys: &[(usize, &B256)],
    ) -> Result<Vec<(usize, Bytes)>, TrieError<S::Error>> {
        let mut found = Vec::with_capacity(keys.len());
        #[cfg(feature = "parallel")]
        if keys.len() >= PARALLEL_FROM {
            if let (Node::Hash(hash), Some((_, key))) = (&root, keys.first()) {
                *root = self.resolve(&hash.clone(), key, 0)?;
            }
            if let Node::Branch(branch) = root {
                self.read_in_parallel(Arc::make_mut(branch), keys, &mut found)?;
                return Ok(found);
            }
        }
        self.read(root, 0, keys, &mut found)?;
        Ok(found)
    }

    #[cfg(feature = "parallel")]
    fn read_in_parallel(
        &mut self,
        root: &mut Branch,
        keys: &[(usize, &B256)],
        found: &mut Vec<(usize, Bytes)>,
    ) -> Result<(), TrieError<S::Error>> {
        use rayon::prelude::*;

        let (source, trie) = (self.source, self.trie);
        let done: Vec<_> = root
            .children
            .par_iter_mut()
            .enumerate()
            .map(|(index, child)| {
                let from = keys.partition_point(|(_, key)| nibble(key, 0) < index);
                let to = keys.partition_point(|(_, key)| nibble(key, 0) <= index);
                let (mut work, mut found) = (Work::new(source, trie), Vec::with_capacity(to - from));
                if from < to {
                    work.read(child, 1, &keys[from..to], &mut found)?;
                }
                Ok((work.decoded, found))
            })
            .collect();
        for result in done {
            let (decoded, some) = result?;
            self.decoded += decoded;
            found.extend(some);
        }
        Ok(())
    }

    fn read(
        &mut self,
        node: &mut Node,
        depth: usize,
        keys: &[(usize, &B256)],
        found: &mut Vec<(usize, Bytes)>,
    ) -> Result<(), TrieError<S::Error>> {
        loop {
            match node {
                Node::Empty => return Ok(()),
                Node::Hash(hash) => {
                    let hash = *hash;
                    *node = self.resolve(&hash, keys[0].1, depth)?;
                }
                Node::Leaf(leaf) => {
                    let own = keys.iter().filter(|(_, key)| **key == leaf.key);
                    found.extend(own.map(|(index, _)| (*index, leaf.value.clone())));
                    return Ok(());
                }
                Node::Extension(extension) => {
                    let (key, end) = (extension.key, extension.end);
                    let (from, to) = below(keys, |entry| entry.1, &key, end);
                    if from == to {
                        return Ok(());
                    }
                    let extension = Arc::make_mut(extension);
                    if let Node::Hash(hash) = extension.child {
                        extension.child = self.resolve_branch(&hash, &key, end)?;
                    }
                    return self.read(&mut extension.child, end, &keys[from..to], found);
                }
                Node::Branch(branch) => {
                    let branch = Arc::make_mut(branch);
                    let mut rest = keys;
                    while let Some((_, first)) = rest.first() {
                        let index = nibble(first, depth);
                        let group;
                        (group, rest) = rest.split_at(rest.partition_point(|(_, key)| nibble(key, depth) <= index));
                        self.read(&mut branch.children[index], depth + 1, group, found)?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Applies sorted changes, at least one, whose keys all share the path to `node`. Takes the values out of them.
    pub(crate) fn update(
        &mut self,
        node: &mut Node,
        depth: usize,
        changes: &mut [Change],
    ) -> Result<(), TrieError<S::Error>> {
        loop {
            match node {
                Node::Hash(hash) => {
                    let hash = *hash;
                    *node = self.resolve(&hash, &changes[0].0, depth)?;
                }
                Node::Empty => {
                    let inserts = inserts(changes);
                    if !inserts.is_empty() {
                        *node = self.build(depth, inserts);
                    }
                    return Ok(());
                }
                Node::Leaf(_) => {
                    self.update_leaf(node, depth, changes);
                    return Ok(());
                }
                Node::Extension(_) => return self.update_extension(node, depth, changes),
                Node::Branch(_) => return self.update_branch(node, depth, changes),
            }
        }
    }

    /// Marks a node as changed; what was stored for it is no longer needed at this place.
    fn touch(&mut self, cached: &mut Cached) {
        if let Cached::Hash(hash) = mem::replace(cached, Cached::Dirty) {
            self.removed.push(hash);
        }
    }

    /// A new subtrie of inserts only, at least one.
    fn build(&mut self, depth: usize, inserts: &mut [Change]) -> Node {
        self.decoded += 1;
        let (first, last) = (inserts[0].0, inserts[inserts.len() - 1].0);
        if inserts.len() == 1 {
            return Node::leaf(first, inserts[0].1.take().unwrap_or_default());
        }
        let split = common_prefix(&first, &last);
        let mut branch = Branch::empty();
        let mut rest = inserts;
        while !rest.is_empty() {
            let (index, group);
            (index, group, rest) = next_group(rest, split);
            branch.children[index] = self.build(split + 1, group);
        }
        let branch = Node::Branch(Arc::new(branch));
        if split == depth { branch } else { Node::extension(first, split, branch) }
    }

    fn update_leaf(&mut self, node: &mut Node, depth: usize, changes: &mut [Change]) {
        let Node::Leaf(leaf) = node else { return };
        let own = changes.binary_search_by(|(key, _)| key.cmp(&leaf.key)).ok();
        let others = changes.iter().any(|(key, value)| value.is_some() && *key != leaf.key);
        if !others {
            match own.map(|index| changes[index].1.take()) {
                None => {}
                Some(None) => {
                    let mut cached = leaf.cached;
                    self.touch(&mut cached);
                    *node = Node::Empty;
                }
                Some(Some(value)) if value != leaf.value => {
                    let leaf = Arc::make_mut(leaf);
                    self.touch(&mut leaf.cached);
                    leaf.value = value;
                }
                Some(Some(_)) => {}
            }
            return;
        }
        let mut cached = leaf.cached;
        self.touch(&mut cached);
        let inserts = inserts(changes);
        if own.is_some() {
            // Either among the inserts with its new value, or deleted.
            *node = self.build(depth, inserts);
        } else {
            let mut all = Vec::with_capacity(inserts.len() + 1);
            let at = inserts.partition_point(|(key, _)| *key < leaf.key);
            let (before, after) = inserts.split_at_mut(at);
            all.extend(before.iter_mut().map(|(key, value)| (*key, value.take())));
            all.push((leaf.key, Some(leaf.value.clone())));
            all.extend(after.iter_mut().map(|(key, value)| (*key, value.take())));
            *node = self.build(depth, &mut all);
        }
    }

    fn update_extension(
        &mut self,
        node: &mut Node,
        depth: usize,
        mut changes: &mut [Change],
    ) -> Result<(), TrieError<S::Error>> {
        let Node::Extension(extension) = node else { return Ok(()) };
        let (key, end) = (extension.key, extension.end);
        let (from, to) = below(changes, |change| &change.0, &key, end);
        if to - from < changes.len() {
            // Some keys leave the extension's path. Deleting one of those means nothing; an insert splits it.
            let leaving = changes[..from].iter().chain(&changes[to..]).filter(|(_, value)| value.is_some());
            match leaving.map(|(other, _)| common_prefix(other, &key)).min() {
                None => changes = &mut changes[from..to],
                Some(split) => {
                    let extension = Arc::make_mut(extension);
                    self.touch(&mut extension.cached);
                    let child = mem::take(&mut extension.child);
                    let lower = if split + 1 == end { child } else { Node::extension(key, end, child) };
                    let mut branch = Branch::empty();
                    branch.children[nibble(&key, split)] = lower;
                    let branch = Node::Branch(Arc::new(branch));
                    *node = if split == depth { branch } else { Node::extension(key, split, branch) };
                    self.decoded += 2;
                    return self.update(node, depth, changes);
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let extension = Arc::make_mut(extension);
        if let Node::Hash(hash) = extension.child {
            extension.child = self.resolve_branch(&hash, &key, end)?;
        }
        self.update(&mut extension.child, end, changes)?;
        match &extension.child {
            Node::Branch(branch) => {
                if branch.cached == Cached::Dirty {
                    self.touch(&mut extension.cached);
                }
            }
            // The branch collapsed into something that carries its own path: it takes the extension's place.
            _ => {
                self.touch(&mut extension.cached);
                let child = mem::take(&mut extension.child);
                *node = child;
            }
        }
        Ok(())
    }

    fn update_branch(
        &mut self,
        node: &mut Node,
        depth: usize,
        changes: &mut [Change],
    ) -> Result<(), TrieError<S::Error>> {
        let Node::Branch(shared) = node else { return Ok(()) };
        let some_key = changes[0].0;
        let branch = Arc::make_mut(shared);
        if !self.update_children(branch, depth, changes)? {
            return Ok(());
        }
        self.touch(&mut branch.cached);
        let mut left =
            branch.children.iter().enumerate().filter(|(_, child)| !child.is_empty()).map(|(index, _)| index);
        match (left.next(), left.next()) {
            (Some(_), Some(_)) => {}
            (None, _) => *node = Node::Empty,
            (Some(index), None) => {
                let mut key = some_key;
                set_nibble(&mut key, depth, index);
                let mut child = mem::take(&mut branch.children[index]);
                if let Node::Hash(hash) = child {
                    child = self.resolve(&hash, &key, depth + 1)?;
                }
                match &mut child {
                    Node::Leaf(leaf) => self.touch(&mut Arc::make_mut(leaf).cached),
                    Node::Extension(extension) => self.touch(&mut Arc::make_mut(extension).cached),
                    // Stays where it is, below a path of one nibble.
                    _ => child = Node::extension(key, depth + 1, child),
                }
                *node = child;
            }
        }
        Ok(())
    }

    /// Applies the changes to the children; true if any child became another one.
    fn update_children(
        &mut self,
        branch: &mut Branch,
        depth: usize,
        changes: &mut [Change],
    ) -> Result<bool, TrieError<S::Error>> {
        #[cfg(feature = "parallel")]
        if depth == 0 && changes.len() >= PARALLEL_FROM {
            return self.update_children_in_parallel(branch, changes);
        }
        let mut changed = false;
        let mut rest = changes;
        while !rest.is_empty() {
            let (index, group);
            (index, group, rest) = next_group(rest, depth);
            changed |= self.update_child(&mut branch.children[index], depth + 1, group)?;
        }
        Ok(changed)
    }

    fn update_child(
        &mut self,
        child: &mut Node,
        depth: usize,
        changes: &mut [Change],
    ) -> Result<bool, TrieError<S::Error>> {
        let was_empty = child.is_empty();
        self.update(child, depth, changes)?;
        Ok(child.is_dirty() || (child.is_empty() && !was_empty))
    }

    #[cfg(feature = "parallel")]
    fn update_children_in_parallel(
        &mut self,
        root: &mut Branch,
        changes: &mut [Change],
    ) -> Result<bool, TrieError<S::Error>> {
        use rayon::prelude::*;

        let mut groups: [Option<&mut [Change]>; 16] = Default::default();
        let mut rest = changes;
        while !rest.is_empty() {
            let (index, group);
            (index, group, rest) = next_group(rest, 0);
            groups[index] = Some(group);
        }
        let (source, trie) = (self.source, self.trie);
        let done: Vec<_> = root
            .children
            .par_iter_mut()
            .zip(&mut groups)
            .filter_map(|(child, group)| Some((child, group.take()?)))
            .map(|(child, group)| {
                let mut work = Work::new(source, trie);
                work.update_child(child, 1, group).map(|changed| (changed, work.removed, work.decoded))
            })
            .collect();
        let mut changed = false;
        for result in done {
            let (one_changed, removed, decoded) = result?;
            changed |= one_changed;
            self.removed.extend(removed);
            self.decoded += decoded;
        }
        Ok(changed)
    }
}

/// Splits off the leading changes that go to the same child of a branch at `depth`, and says to which.
fn next_group(changes: &mut [Change], depth: usize) -> (usize, &mut [Change], &mut [Change]) {
    let index = nibble(&changes[0].0, depth);
    let (group, rest) = changes.split_at_mut(changes.partition_point(|(key, _)| nibble(key, depth) <= index));
    (index, group, rest)
}

/// Where, among sorted entries, those are whose key shares the first `length` nibbles of `path`.
fn below<T>(entries: &[T], key: impl Fn(&T) -> &B256, path: &B256, length: usize) -> (usize, usize) {
    let is_below = |entry: &T| common_prefix(key(entry), path) >= length.min(KEY_NIBBLES);
    let from = entries.partition_point(|entry| !is_below(entry) && key(entry) < path);
    let to = from + entries[from..].partition_point(is_below);
    (from, to)
}

/// Moves the inserts to the front, in their order, and drops the deletions.
fn inserts(changes: &mut [Change]) -> &mut [Change] {
    let mut count = 0;
    for index in 0..changes.len() {
        if changes[index].1.is_some() {
            changes.swap(count, index);
            count += 1;
        }
    }
    &mut changes[..count]
}
