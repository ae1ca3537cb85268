//! From a node to its RLP.

use crate::{
    KEY_NIBBLES,
    key::nibble,
    node::{Cached, Node},
};
use alloc::vec::Vec;
use alloy_primitives::B256;
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};

/// Appends the RLP of a decoded node that hangs at `depth`. Every node below must be clean.
/// For no node and for an undecoded one, appends the reference as it stands in a parent.
pub(crate) fn encode_node(node: &Node, depth: usize, out: &mut Vec<u8>) {
    match node {
        Node::Empty => out.push(EMPTY_STRING_CODE),
        Node::Hash(hash) => encode_hash(hash, out),
        Node::Leaf(leaf) => {
            let path = HexPrefix::new(&leaf.key, depth, KEY_NIBBLES, true);
            list(path.bytes().length() + leaf.value.0.as_ref().length(), out);
            path.bytes().encode(out);
            leaf.value.0.as_ref().encode(out);
        }
        Node::Extension(extension) => {
            let path = HexPrefix::new(&extension.key, depth, extension.end, false);
            list(path.bytes().length() + reference_length(&extension.child, extension.end), out);
            path.bytes().encode(out);
            encode_reference(&extension.child, extension.end, out);
        }
        Node::Branch(branch) => {
            let payload: usize = branch.children.iter().map(|child| reference_length(child, depth + 1)).sum();
            list(payload + 1, out);
            branch.children.iter().for_each(|child| encode_reference(child, depth + 1, out));
            out.push(EMPTY_STRING_CODE);
        }
    }
}

fn encode_hash(hash: &B256, out: &mut Vec<u8>) {
    out.push(EMPTY_STRING_CODE + 32);
    out.extend_from_slice(hash.as_slice());
}

fn encode_reference(node: &Node, depth: usize, out: &mut Vec<u8>) {
    match node.cached() {
        Some(Cached::Hash(hash)) => encode_hash(&hash, out),
        _ => encode_node(node, depth, out),
    }
}

fn reference_length(node: &Node, depth: usize) -> usize {
    match node.cached() {
        None => 1,
        Some(Cached::Hash(_)) => 33,
        _ => encoded_length(node, depth),
    }
}

/// Length of the RLP of a decoded node; only ever called for inline nodes, which are tiny.
fn encoded_length(node: &Node, depth: usize) -> usize {
    let payload_length = match node {
        Node::Empty => return 1,
        Node::Hash(_) => return 33,
        Node::Leaf(leaf) => {
            HexPrefix::new(&leaf.key, depth, KEY_NIBBLES, true).bytes().length() + leaf.value.0.as_ref().length()
        }
        Node::Extension(extension) => {
            HexPrefix::new(&extension.key, depth, extension.end, false).bytes().length()
                + reference_length(&extension.child, extension.end)
        }
        Node::Branch(branch) => {
            1 + branch.children.iter().map(|child| reference_length(child, depth + 1)).sum::<usize>()
        }
    };
    payload_length + Header { list: true, payload_length }.length()
}

fn list(payload_length: usize, out: &mut Vec<u8>) {
    Header { list: true, payload_length }.encode(out);
}

/// The hex-prefix encoding of a piece of a key (Yellow Paper, appendix C).
struct HexPrefix {
    buffer: [u8; 33],
    length: usize,
}

impl HexPrefix {
    fn new(key: &B256, from: usize, to: usize, leaf: bool) -> Self {
        let mut buffer = [0; 33];
        let flag = if leaf { 0x20 } else { 0 };
        let mut at = from;
        if (to - from) % 2 == 1 {
            buffer[0] = flag | 0x10 | nibble(key, at) as u8;
            at += 1;
        } else {
            buffer[0] = flag;
        }
        let mut length = 1;
        while at < to {
            buffer[length] = (nibble(key, at) << 4 | nibble(key, at + 1)) as u8;
            at += 2;
            length += 1;
        }
        Self { buffer, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}
