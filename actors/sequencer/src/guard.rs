//! The rule against sealing two different blocks at one height.

use alloy_primitives::B256;

/// Remembers the highest block that was sealed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SealGuard {
    last: Option<(u64, B256)>,
}

/// A block that must not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "block {number} must not be sealed, because block {last_number} {last_hash} was sealed and announced: import the blocks up to that one, or reset the sequencer if L1 took them back"
)]
pub struct SealConflict {
    /// Its number.
    pub number: u64,
    /// The highest number that was sealed.
    pub last_number: u64,
    /// The block sealed there.
    pub last_hash: B256,
}

impl SealGuard {
    /// May this block be sealed? The same block may be sealed again, a block above all others always, any other never.
    ///
    /// # Errors
    /// [`SealConflict`] if another block was, or may have been, sealed at this height.
    pub fn check(&self, number: u64, hash: B256) -> Result<(), SealConflict> {
        match self.last {
            Some(last) if last == (number, hash) => Ok(()),
            _ => self.check_new(number),
        }
    }

    /// May a block be made at this height of which only the height is known?
    ///
    /// # Errors
    /// [`SealConflict`] as above.
    pub fn check_new(&self, number: u64) -> Result<(), SealConflict> {
        match self.last {
            Some((last_number, last_hash)) if number <= last_number => {
                Err(SealConflict { number, last_number, last_hash })
            }
            _ => Ok(()),
        }
    }

    /// Notes a sealed block.
    pub fn sealed(&mut self, number: u64, hash: B256) {
        if self.last.is_none_or(|(last, _)| number >= last) {
            self.last = Some((number, hash));
        }
    }

    /// Takes the promise back for all blocks above this one: L1 has replaced them.
    pub const fn reset(&mut self, number: u64, hash: B256) {
        self.last = Some((number, hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_per_height() {
        let (a, b) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let mut guard = SealGuard::default();
        assert!(guard.check(5, a).is_ok());
        guard.sealed(5, a);
        assert!(guard.check(5, a).is_ok());
        assert!(guard.check(5, b).is_err());
        assert!(guard.check(4, b).is_err());
        assert!(guard.check(6, b).is_ok());
        guard.sealed(6, b);
        assert!(guard.check(5, a).is_err());
        assert!(guard.check_new(6).is_err());
        assert!(guard.check_new(7).is_ok());
        guard.reset(4, a);
        assert!(guard.check_new(4).is_err());
        assert!(guard.check(5, b).is_ok());
    }
}
