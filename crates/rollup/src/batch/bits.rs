//! Bit lists of span batches: a big-endian integer of ⌈n/8⌉ bytes, whose lowest bit is the first item.

use alloc::vec::Vec;

/// Bytes of a list of `len` bits.
pub(super) const fn byte_len(len: u64) -> u64 {
    len.div_ceil(8)
}

/// Are all bits above the first `len` zero? `bytes` has [`byte_len`] of them.
pub(super) fn fits(bytes: &[u8], len: u64) -> bool {
    let used = len % 8;
    used == 0 || bytes.first().is_none_or(|top| u32::from(*top) >> used == 0)
}

/// Item `index`; false behind the end.
pub(super) fn bit(bytes: &[u8], index: usize) -> bool {
    (bytes.len().checked_sub(1 + index / 8))
        .and_then(|at| bytes.get(at))
        .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// How many items are true.
pub(super) fn count_ones(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(byte.count_ones())).sum()
}

/// A bit list that grows.
#[derive(Debug, Clone, Default)]
pub(super) struct BitList {
    /// Lowest byte first, the other way round than on the wire.
    bytes: Vec<u8>,
    len: usize,
}

impl BitList {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, value: bool) {
        let mask = u8::from(value) << (self.len % 8);
        if self.len.is_multiple_of(8) {
            self.bytes.push(mask);
        } else if let Some(last) = self.bytes.last_mut() {
            *last |= mask;
        }
        self.len += 1;
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.bytes.truncate(len.div_ceil(8));
            if let (false, Some(last)) = (len.is_multiple_of(8), self.bytes.last_mut()) {
                *last &= (1 << (len % 8)) - 1;
            }
            self.len = len;
        }
    }

    /// Appends the first `len` items as they are on the wire.
    pub(super) fn encode_prefix(&self, len: usize, out: &mut Vec<u8>) {
        let bytes = self.bytes.get(..len.div_ceil(8)).unwrap_or(&self.bytes);
        let Some((top, lower)) = bytes.split_last() else { return };
        let used = len % 8;
        out.push(if used == 0 { *top } else { top & ((1 << used) - 1) });
        out.extend(lower.iter().rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_item_is_the_lowest_bit_of_the_last_byte() {
        let mut list = BitList::default();
        for index in 0..9 {
            list.push(index == 0 || index == 8);
        }
        let mut out = Vec::new();
        list.encode_prefix(9, &mut out);
        assert_eq!(out, [1, 1]);
    }

    #[test]
    fn more_bits_than_items_do_not_fit() {
        assert!(fits(&[0x01, 0xff], 9));
        assert!(!fits(&[0x02, 0xff], 9));
        assert!(fits(&[0xff], 8));
        assert!(fits(&[], 0));
    }

    proptest! {
        #[test]
        fn bits_survive(items in proptest::collection::vec(any::<bool>(), 0..70), cut in 0usize..70) {
            let mut list = BitList::default();
            for item in &items {
                list.push(*item);
            }
            let cut = cut.min(items.len());
            let mut wire = Vec::new();
            list.encode_prefix(cut, &mut wire);
            prop_assert_eq!(wire.len() as u64, byte_len(cut as u64));
            prop_assert!(fits(&wire, cut as u64));
            let back: Vec<bool> = (0..cut).map(|index| bit(&wire, index)).collect();
            prop_assert_eq!(&back[..], &items[..cut]);
            prop_assert_eq!(count_ones(&wire), back.iter().filter(|item| **item).count() as u64);

            // A shortened list goes on as if nothing had been behind its end.
            list.truncate(cut);
            list.push(true);
            let mut longer = Vec::new();
            list.encode_prefix(cut + 1, &mut longer);
            let back: Vec<bool> = (0..=cut).map(|index| bit(&longer, index)).collect();
            prop_assert_eq!(&back[..cut], &items[..cut]);
            prop_assert!(back[cut]);
        }
    }
}
