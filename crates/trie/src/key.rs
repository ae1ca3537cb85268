//! Keys as sequences of nibbles.

use crate::KEY_NIBBLES;
use alloy_primitives::B256;
use core::fmt;

/// The nibble of `key` at `index` (0 is the most significant one).
#[inline]
pub(crate) fn nibble(key: &B256, index: usize) -> usize {
    let byte = key.0[index / 2];
    usize::from(if index.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}

/// Replaces one nibble of `key`; only the low four bits of `value` count.
#[inline]
pub(crate) fn set_nibble(key: &mut B256, index: usize, value: usize) {
    let value = (value & 0x0f) as u8;
    let byte = &mut key.0[index / 2];
    *byte = if index.is_multiple_of(2) { (*byte & 0x0f) | (value << 4) } else { (*byte & 0xf0) | value };
}

/// How many leading nibbles `a` and `b` share, 64 if they are equal.
#[inline]
pub(crate) fn common_prefix(a: &B256, b: &B256) -> usize {
    for (index, (x, y)) in a.0.iter().zip(&b.0).enumerate() {
        let differing = x ^ y;
        if differing != 0 {
            return index * 2 + usize::from(differing & 0xf0 == 0);
        }
    }
    KEY_NIBBLES
}

/// A path from the root of a trie to one of its nodes, for error messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NibblePath {
    key: B256,
    len: u8,
}

impl NibblePath {
    pub(crate) fn new(key: &B256, len: usize) -> Self {
        Self { key: *key, len: len.min(KEY_NIBBLES) as u8 }
    }

    /// Number of nibbles: the depth of the node.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// True for the path of the root.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The nibbles in order, each 0 to 15.
    pub fn nibbles(&self) -> impl Iterator<Item = u8> + '_ {
        (0..self.len()).map(|index| nibble(&self.key, index) as u8)
    }
}

impl fmt::Display for NibblePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(root)");
        }
        self.nibbles().try_for_each(|nibble| write!(f, "{nibble:x}"))
    }
}

impl fmt::Debug for NibblePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloy_primitives::b256;

    #[test]
    fn nibbles_are_read_and_written_most_significant_first() {
        let mut key = b256!("0x1234000000000000000000000000000000000000000000000000000000000000");
        assert_eq!((nibble(&key, 0), nibble(&key, 1), nibble(&key, 3)), (1, 2, 4));
        set_nibble(&mut key, 1, 0xe);
        set_nibble(&mut key, 63, 0xf);
        assert_eq!(key, b256!("0x1e3400000000000000000000000000000000000000000000000000000000000f"));
        assert_eq!(NibblePath::new(&key, 3).to_string(), "1e3");
        assert_eq!(NibblePath::new(&key, 0).to_string(), "(root)");
    }

    #[test]
    fn common_prefix_counts_nibbles() {
        let a = b256!("0x1234000000000000000000000000000000000000000000000000000000000000");
        let mut b = a;
        assert_eq!(common_prefix(&a, &b), 64);
        set_nibble(&mut b, 63, 1);
        assert_eq!(common_prefix(&a, &b), 63);
        set_nibble(&mut b, 2, 9);
        assert_eq!(common_prefix(&a, &b), 2);
        set_nibble(&mut b, 0, 9);
        assert_eq!(common_prefix(&a, &b), 0);
    }
}
