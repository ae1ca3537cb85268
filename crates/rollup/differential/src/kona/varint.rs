//! Span batches column by column: numbers in their shortest form, the only one that kona reads, and bit lists that are too short, which
//! kona pads.

use alloy_primitives::Bytes;
use alloy_rlp::Header;

/// The batch with all its numbers in their shortest form; `None` if they are already, or if it is no whole span batch.
pub(super) fn minimal(batch: &[u8]) -> Option<Bytes> {
    let (walk, _) = columns(batch)?;
    (walk.out != batch).then(|| walk.out.into())
}

/// Does the batch end within its last column, the bits of legacy transactions? Another column cannot be too short: what follows on it
/// would be missing.
pub(super) fn lacks_bits(batch: &[u8]) -> bool {
    columns(batch).is_some_and(|(walk, legacy)| (walk.rest.len() as u64) < bit_bytes(legacy))
}

/// Walks through all columns. Gives the batch with short numbers, with its last column as the rest, and how many legacy transactions there
/// are.
fn columns(batch: &[u8]) -> Option<(Walk<'_>, u64)> {
    let (1, body) = batch.split_first().map(|(version, body)| (*version, body))? else { return None };
    let mut walk = Walk { rest: body, out: vec![1] };
    walk.number()?;
    walk.number()?;
    walk.bytes(40)?;
    let blocks = walk.number()?;
    walk.bytes(bit_bytes(blocks))?;
    let mut transactions = 0u64;
    for _ in 0..blocks {
        transactions = transactions.checked_add(walk.number()?)?;
    }
    let creations = walk.bytes(bit_bytes(transactions))?;
    let creations: u64 = creations.iter().map(|byte| u64::from(byte.count_ones())).sum();
    walk.bytes(bit_bytes(transactions))?;
    walk.bytes(transactions.checked_mul(64)?)?;
    walk.bytes(transactions.checked_sub(creations)?.checked_mul(20)?)?;
    let mut legacy = 0;
    for _ in 0..transactions {
        if walk.rest.first()? <= &0x7f {
            walk.bytes(1)?;
        } else {
            legacy += 1;
        }
        let mut list = walk.rest;
        let header = Header::decode(&mut list).ok()?;
        walk.bytes((walk.rest.len() - list.len() + header.payload_length) as u64)?;
    }
    for _ in 0..transactions.checked_mul(2)? {
        walk.number()?;
    }
    let rest = walk.rest;
    walk.out.extend_from_slice(rest);
    Some((walk, legacy))
}

const fn bit_bytes(items: u64) -> u64 {
    items.div_ceil(8)
}

struct Walk<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        self.out.extend_from_slice(bytes);
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let length = self.rest.iter().take(10).position(|byte| *byte < 0x80)? + 1;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let mut value = 0u128;
        for (at, byte) in bytes.iter().enumerate() {
            value |= u128::from(byte & 0x7f) << (7 * at);
        }
        let value = u64::try_from(value).ok()?;
        let mut left = value;
        while left >= 0x80 {
            self.out.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.out.push(left as u8);
        Some(value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_byte_too_many_is_shortened_and_others_are_left() {
        let mut batch = vec![1, 0x05, 0x07];
        batch.extend([9; 40]);
        // One block, no bit, no transactions.
        batch.extend([1, 0, 0]);
        assert_eq!(minimal(&batch), None);
        let mut longer = batch.clone();
        longer.splice(1..2, [0x85, 0x00]);
        assert_eq!(minimal(&longer).unwrap(), batch);
    }
}
