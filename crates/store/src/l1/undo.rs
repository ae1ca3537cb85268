//! What takes a block back, as it is stored until the block is final.
//!
//! `[transactions][faults][changes]`, each a count (u32 big-endian) and the entries: 32-byte ids; then for each changed record
//! the length of its name (u32), the name, and either `0` or `1`, a length (u32) and the bytes it had before.

use super::NamedChange;

/// Everything that one block added or changed besides its own record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Undo {
    /// Ids of the block's transactions.
    pub(super) transactions: Vec<[u8; 32]>,
    /// Ids of the faults that it proved.
    pub(super) faults: Vec<[u8; 32]>,
    /// State records with the bytes that they had before, `None` where there was none.
    pub(super) changes: Vec<NamedChange>,
}

impl Undo {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for ids in [&self.transactions, &self.faults] {
            put_length(&mut out, ids.len());
            ids.iter().for_each(|id| out.extend_from_slice(id));
        }
        put_length(&mut out, self.changes.len());
        for (name, before) in &self.changes {
            put_length(&mut out, name.len());
            out.extend_from_slice(name);
            match before {
                None => out.push(0),
                Some(bytes) => {
                    out.push(1);
                    put_length(&mut out, bytes.len());
                    out.extend_from_slice(bytes);
                }
            }
        }
        out
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let mut undo = Self { transactions: take_ids(rest)?, faults: take_ids(rest)?, changes: Vec::new() };
        for _ in 0..take_length(rest)? {
            let length = take_length(rest)?;
            let name = take(rest, length)?.to_vec();
            let before = match take(rest, 1)? {
                [0] => None,
                [1] => {
                    let length = take_length(rest)?;
                    Some(take(rest, length)?.to_vec())
                }
                _ => return None,
            };
            undo.changes.push((name, before));
        }
        rest.is_empty().then_some(undo)
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // Blocks are a megabyte at most.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?)).ok()
}

fn take_ids(rest: &mut &[u8]) -> Option<Vec<[u8; 32]>> {
    let bytes = take_length(rest)?.checked_mul(32)?;
    Some(take(rest, bytes)?.as_chunks::<32>().0.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(
            transactions in prop::collection::vec(any::<[u8; 32]>(), 0..4),
            faults in prop::collection::vec(any::<[u8; 32]>(), 0..4),
            changes in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..20),
                 prop::option::of(prop::collection::vec(any::<u8>(), 0..20))), 0..6),
        ) {
            let undo = Undo { transactions, faults, changes };
            let bytes = undo.encode();
            prop_assert_eq!(Undo::decode(&bytes), Some(undo));
            prop_assert_eq!(Undo::decode(&bytes[..bytes.len() - 1]), None);
            prop_assert_eq!(Undo::decode(&[&bytes[..], &[0]].concat()), None);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Undo::decode(&bytes);
        }
    }
}
