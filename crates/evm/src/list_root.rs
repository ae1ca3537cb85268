//! Roots of the transactions and receipts tries: lists under the keys rlp(0), rlp(1), ….
//!
//! All leaves are known at once, so the trie is built from its top downward by splitting the sorted keys, and large parts of it on
//! several cores.

use alloc::vec::Vec;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{BufMut, Encodable, Header};
use alloy_trie::EMPTY_ROOT_HASH;

/// Indices with the same number of [`GROUP`]s below them share all but the last byte of their keys, from the second group on: a full
/// group is one branch of branches, the same in every list that holds it.
pub(crate) const GROUP: usize = 256;

/// From this many leaves on the parts of a branch go to different threads.
#[cfg(feature = "std")]
const PARALLEL_FROM: usize = 512;

/// Nibbles of the longest key: an RLP string of four bytes.
const KEY_NIBBLES: usize = 10;

#[derive(Clone, Copy)]
struct Key {
    nibbles: [u8; KEY_NIBBLES],
    len: u8,
    index: u32,
}

impl Key {
    fn new(index: u32) -> Self {
        let mut nibbles = [0; KEY_NIBBLES];
        let mut bytes = Vec::with_capacity(5);
        index.encode(&mut bytes);
        for (at, byte) in bytes.iter().enumerate() {
            nibbles[2 * at] = byte >> 4;
            nibbles[2 * at + 1] = byte & 15;
        }
        Self { nibbles, len: 2 * bytes.len() as u8, index }
    }

    fn path(&self) -> &[u8] {
        &self.nibbles[..self.len as usize]
    }

    /// Depth of the node above this key's group: the group's keys differ in their last byte.
    fn group_depth(&self) -> usize {
        usize::from(self.len) - 2
    }
}

/// A node as its parent refers to it: its hash, or itself if its RLP is shorter than 32 bytes. Empty: no node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    bytes: [u8; 33],
    len: u8,
}

impl Reference {
    const NONE: Self = Self { bytes: [0x80; 33], len: 1 };

    fn to(node: &[u8]) -> Self {
        let mut bytes = [0; 33];
        if node.len() < 32 {
            bytes[..node.len()].copy_from_slice(node);
            return Self { bytes, len: node.len() as u8 };
        }
        bytes[0] = 0xa0;
        bytes[1..].copy_from_slice(keccak256(node).as_slice());
        Self { bytes, len: 33 }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// Root of the trie that holds item `i` under the key rlp(i); `encode` writes an item's bytes. `group` may know what
/// [`group_reference`] gave for the group of this number.
pub(crate) fn list_root(
    len: usize,
    group: impl Fn(usize) -> Option<Reference> + Sync,
    encode: impl Fn(usize, &mut Vec<u8>) + Sync,
) -> B256 {
    if len == 0 {
        return EMPTY_ROOT_HASH;
    }
    let mut keys: Vec<Key> = (0..len as u32).map(Key::new).collect();
    keys.sort_unstable_by_key(|key| key.nibbles);
    let mut node = Vec::new();
    write_node(&keys, 0, &Items { group, encode }, &mut node);
    keccak256(&node)
}

/// The node above the items `first..first + len` in every list that holds them, if they are a full group with such a node.
pub(crate) fn group_reference(
    first: usize,
    len: usize,
    encode: impl Fn(usize, &mut Vec<u8>) + Sync,
) -> Option<Reference> {
    if len != GROUP || first == 0 || !first.is_multiple_of(GROUP) {
        return None;
    }
    let keys: Vec<Key> = (first as u32..(first + len) as u32).map(Key::new).collect();
    Some(reference(&keys, keys[0].group_depth(), &Items { group: |_| None, encode }))
}

/// What the leaves are made of.
struct Items<G, E> {
    group: G,
    encode: E,
}

impl<G: Fn(usize) -> Option<Reference>, E> Items<G, E> {
    /// The node above these keys, where it is known.
    fn known(&self, keys: &[Key], depth: usize) -> Option<Reference> {
        let first = &keys[0];
        let index = first.index as usize;
        let full = keys.len() == GROUP && index > 0 && index.is_multiple_of(GROUP) && depth == first.group_depth();
        if full { (self.group)(index / GROUP) } else { None }
    }
}

/// Writes the RLP of the node above `keys`, which all share their first `depth` nibbles. No key is the prefix of another.
fn write_node<G, E>(keys: &[Key], depth: usize, items: &Items<G, E>, out: &mut Vec<u8>)
where
    G: Fn(usize) -> Option<Reference> + Sync,
    E: Fn(usize, &mut Vec<u8>) + Sync,
{
    let (first, last) = (&keys[0], &keys[keys.len() - 1]);
    if keys.len() == 1 {
        let path = hex_prefix(&first.path()[depth..], true);
        let mut value = Vec::with_capacity(512);
        (items.encode)(first.index as usize, &mut value);
        Header { list: true, payload_length: path.as_slice().length() + value.as_slice().length() }.encode(out);
        path.as_slice().encode(out);
        value.as_slice().encode(out);
        return;
    }
    // Sorted: what the first and the last share, all share.
    let shared = first.path()[depth..].iter().zip(&last.path()[depth..]).take_while(|(a, b)| a == b).count();
    if shared > 0 {
        let child = reference(keys, depth + shared, items);
        let path = hex_prefix(&first.path()[depth..depth + shared], false);
        Header { list: true, payload_length: path.as_slice().length() + child.as_slice().len() }.encode(out);
        path.as_slice().encode(out);
        out.put_slice(child.as_slice());
        return;
    }
    let children = children(keys, depth, items);
    let payload_length = children.iter().map(|child| child.len as usize).sum::<usize>() + 1;
    Header { list: true, payload_length }.encode(out);
    for child in &children {
        out.put_slice(child.as_slice());
    }
    // No key ends at a branch.
    out.put_u8(0x80);
}

fn reference<G, E>(keys: &[Key], depth: usize, items: &Items<G, E>) -> Reference
where
    G: Fn(usize) -> Option<Reference> + Sync,
    E: Fn(usize, &mut Vec<u8>) + Sync,
{
    if let Some(known) = items.known(keys, depth) {
        return known;
    }
    let mut node = Vec::with_capacity(600);
    write_node(keys, depth, items, &mut node);
    Reference::to(&node)
}

fn children<G, E>(keys: &[Key], depth: usize, items: &Items<G, E>) -> [Reference; 16]
where
    G: Fn(usize) -> Option<Reference> + Sync,
    E: Fn(usize, &mut Vec<u8>) + Sync,
{
    let mut children = [Reference::NONE; 16];
    let parts: Vec<&[Key]> = keys.chunk_by(|a, b| a.nibbles[depth] == b.nibbles[depth]).collect();
    let job = |part: &&[Key]| (usize::from(part[0].nibbles[depth]), reference(part, depth + 1, items));
    #[cfg(feature = "std")]
    if keys.len() >= PARALLEL_FROM {
        use rayon::prelude::*;
        for (nibble, child) in parts.par_iter().map(job).collect::<Vec<_>>() {
            children[nibble] = child;
        }
        return children;
    }
    for (nibble, child) in parts.iter().map(job) {
        children[nibble] = child;
    }
    children
}

/// The compact encoding of a path (Yellow Paper, appendix C).
fn hex_prefix(nibbles: &[u8], leaf: bool) -> Vec<u8> {
    let flag = if leaf { 2 } else { 0 };
    let mut out = Vec::with_capacity(nibbles.len() / 2 + 1);
    let rest = if nibbles.len() % 2 == 1 {
        out.push((flag + 1) << 4 | nibbles[0]);
        &nibbles[1..]
    } else {
        out.push(flag << 4);
        nibbles
    };
    out.extend(rest.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_trie::root::ordered_trie_root_with_encoder;
    use proptest::prelude::*;

    fn same(items: &[Vec<u8>]) {
        let oracle = ordered_trie_root_with_encoder(items, |item, out| out.put_slice(item));
        let encode = |i: usize, out: &mut Vec<u8>| out.extend_from_slice(&items[i]);
        assert_eq!(list_root(items.len(), |_| None, encode), oracle, "{} items", items.len());
        let groups: Vec<Option<Reference>> = items
            .chunks(GROUP)
            .enumerate()
            .map(|(number, group)| group_reference(number * GROUP, group.len(), encode))
            .collect();
        assert_eq!(groups.iter().flatten().count(), (items.len() / GROUP).saturating_sub(1));
        assert_eq!(list_root(items.len(), |number| groups[number], encode), oracle, "{} items in groups", items.len());
    }

    #[test]
    fn every_length_where_keys_change_shape() {
        for len in [
            0, 1, 2, 16, 17, 127, 128, 129, 130, 255, 256, 257, 258, 511, 512, 513, 600, 767, 768, 4096, 65_536,
            65_792, 66_000,
        ] {
            let items: Vec<Vec<u8>> = (0..len).map(|i: u32| i.to_be_bytes().repeat(1 + i as usize % 20)).collect();
            same(&items);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_alloy_trie(items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..70), 0..400)) {
            same(&items);
        }
    }
}
