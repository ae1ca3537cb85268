//! From a node's RLP to the node. The bytes may come from anywhere: every rule is checked.

use crate::{
    KEY_NIBBLES,
    key::set_nibble,
    node::{Branch, Cached, Extension, Leaf, Node},
};
use alloc::sync::Arc;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Header;

/// Decodes the node at `depth` on the path of `key` (its first `depth` nibbles).
///
/// Only what a trie of 32-byte keys can contain passes: paths of the right length and canonical hex-prefix,
/// branches with two children or more and without a value, extensions that lead to a branch, inline nodes
/// shorter than 32 bytes.
pub(crate) fn decode(raw: &Bytes, key: &B256, depth: usize, cached: Cached) -> Result<Node, &'static str> {
    let mut rest: &[u8] = raw;
    let mut list = Header::decode_bytes(&mut rest, true).map_err(|_| "not an RLP list")?;
    if !rest.is_empty() {
        return Err("bytes after the RLP list");
    }
    let mut items = [Item::default(); 17];
    let mut count = 0;
    while !list.is_empty() {
        let slot = items.get_mut(count).ok_or("more than 17 items")?;
        *slot = Item::split(&mut list)?;
        count += 1;
    }
    match count {
        2 => decode_short(raw, &items, key, depth, cached),
        17 => decode_branch(raw, &items, key, depth, cached),
        _ => Err("neither 2 nor 17 items"),
    }
}

#[derive(Clone, Copy, Default)]
struct Item<'a> {
    /// With its header.
    raw: &'a [u8],
    payload: &'a [u8],
    list: bool,
}

impl<'a> Item<'a> {
    fn split(rest: &mut &'a [u8]) -> Result<Self, &'static str> {
        let start = *rest;
        let header = Header::decode(rest).map_err(|_| "an item is not canonical RLP")?;
        let (payload, after) = rest.split_at_checked(header.payload_length).ok_or("an item is cut off")?;
        *rest = after;
        Ok(Self { raw: &start[..start.len() - after.len()], payload, list: header.list })
    }

    fn string(&self) -> Result<&'a [u8], &'static str> {
        if self.list { Err("a list where a string belongs") } else { Ok(self.payload) }
    }
}

fn decode_short(
    raw: &Bytes,
    items: &[Item<'_>; 17],
    key: &B256,
    depth: usize,
    cached: Cached,
) -> Result<Node, &'static str> {
    let path = items[0].string()?;
    let (&first, tail) = path.split_first().ok_or("empty path")?;
    let odd = first & 0x10 != 0;
    let length = tail.len() * 2 + usize::from(odd);
    if !odd && first & 0x0f != 0 {
        return Err("padding of an even path is not zero");
    }
    let end = depth + length;
    if end > KEY_NIBBLES {
        return Err("path longer than a key");
    }
    let mut full = *key;
    let mut at = depth;
    if odd {
        set_nibble(&mut full, at, usize::from(first));
        at += 1;
    }
    for byte in tail {
        set_nibble(&mut full, at, usize::from(byte >> 4));
        set_nibble(&mut full, at + 1, usize::from(*byte));
        at += 2;
    }
    match first >> 5 {
        0 => {
            if length == 0 {
                return Err("extension without a path");
            }
            if end >= KEY_NIBBLES {
                return Err("extension that ends where only a leaf can hang");
            }
            let child = decode_child(raw, &items[1], &full, end)?;
            if !matches!(child, Node::Hash(_) | Node::Branch(_)) {
                return Err("extension that does not lead to a branch");
            }
            Ok(Node::Extension(Arc::new(Extension { key: full, end, child, cached })))
        }
        1 => {
            if end != KEY_NIBBLES {
                return Err("leaf whose key is not 32 bytes long");
            }
            let value = items[1].string()?;
            if value.is_empty() {
                return Err("leaf without a value");
            }
            Ok(Node::Leaf(Arc::new(Leaf { key: full, value: raw.slice_ref(value), cached })))
        }
        _ => Err("unknown hex-prefix flag"),
    }
}

fn decode_branch(
    raw: &Bytes,
    items: &[Item<'_>; 17],
    key: &B256,
    depth: usize,
    cached: Cached,
) -> Result<Node, &'static str> {
    if depth >= KEY_NIBBLES {
        return Err("branch where only a leaf can hang");
    }
    if !items[16].string()?.is_empty() {
        return Err("branch with a value");
    }
    let mut branch = Branch { cached, ..Branch::empty() };
    let mut full = *key;
    let mut count = 0;
    for (index, child) in branch.children.iter_mut().enumerate() {
        set_nibble(&mut full, depth, index);
        *child = decode_child(raw, &items[index], &full, depth + 1)?;
        count += usize::from(!child.is_empty());
    }
    if count < 2 {
        return Err("branch with fewer than two children");
    }
    Ok(Node::Branch(Arc::new(branch)))
}

fn decode_child(raw: &Bytes, item: &Item<'_>, key: &B256, depth: usize) -> Result<Node, &'static str> {
    if item.list {
        // The recursion ends: an inline node is shorter than 32 bytes and contains its children.
        if item.raw.len() >= 32 {
            return Err("inline node of 32 bytes or more");
        }
        return decode(&raw.slice_ref(item.raw), key, depth, Cached::Inline);
    }
    match item.payload.len() {
        0 => Ok(Node::Empty),
        32 => Ok(Node::Hash(B256::from_slice(item.payload))),
        _ => Err("child that is neither a hash nor a node"),
    }
}
