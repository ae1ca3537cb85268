//! Reading from the front of a byte string.

/// Why bytes cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadError {
    /// There are too few.
    Truncated,
    /// A variable-length integer exceeds 64 bits.
    Overflow,
}

/// Takes `len` bytes.
pub(super) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], ReadError> {
    let (taken, after) = rest.split_at_checked(len).ok_or(ReadError::Truncated)?;
    *rest = after;
    Ok(taken)
}

/// Takes an array.
pub(super) fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ReadError> {
    let (taken, after) = rest.split_first_chunk().ok_or(ReadError::Truncated)?;
    *rest = after;
    Ok(*taken)
}

/// Takes a variable-length integer: seven bits a byte, lowest first, the top bit says that another byte follows.
///
/// Longer forms than necessary are read too (`80 00` for 0), as the specification and op-node have it; they are at most ten bytes.
pub(super) fn take_uvarint(rest: &mut &[u8]) -> Result<u64, ReadError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(ReadError::Truncated)?;
        *rest = after;
        let low = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && byte > 1 {
            return Err(ReadError::Overflow);
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ReadError::Overflow)
}

/// Appends the shortest form of a variable-length integer.
pub(super) fn put_uvarint(out: &mut alloc::vec::Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};
    use proptest::prelude::*;

    #[test]
    fn longer_forms_of_integers_are_read() {
        assert_eq!(take_uvarint(&mut &[0x80, 0x00][..]), Ok(0));
        assert_eq!(take_uvarint(&mut &[0x81, 0x80, 0x80, 0x00][..]), Ok(1));
    }

    #[test]
    fn integers_have_at_most_64_bits() {
        let mut most = vec![0xff; 9];
        most.push(1);
        assert_eq!(take_uvarint(&mut &most[..]), Ok(u64::MAX));
        *most.last_mut().unwrap() = 2;
        assert_eq!(take_uvarint(&mut &most[..]), Err(ReadError::Overflow));
        assert_eq!(take_uvarint(&mut &[0x80; 11][..]), Err(ReadError::Overflow));
        assert_eq!(take_uvarint(&mut &[0x80; 9][..]), Err(ReadError::Truncated));
    }

    proptest! {
        #[test]
        fn integers_survive(value in any::<u64>(), tail in any::<[u8; 3]>()) {
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, value);
            bytes.extend_from_slice(&tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_uvarint(&mut rest), Ok(value));
            prop_assert_eq!(rest, &tail[..]);
        }
    }
}
