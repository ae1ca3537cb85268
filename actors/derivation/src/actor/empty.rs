//! Blocks for which L1 had no batch in time.

use alloy_primitives::B256;

/// Whether the newest derived block is one of them. The pipeline tells of an empty batch once, before it gives the attributes, and may
/// give these several times.
#[derive(Debug, Default)]
pub(super) struct EmptyBatches {
    /// Epoch of the empty batch of which the next attributes are.
    announced: Option<u64>,
    /// The parent of the block that will have no batch, and its epoch.
    given: Option<(B256, u64)>,
    last: Option<u64>,
}

impl EmptyBatches {
    pub(super) const fn announce(&mut self, epoch: u64) {
        self.announced = Some(epoch);
    }

    /// Attributes for the child of `parent` were given.
    pub(super) fn give(&mut self, parent: B256) {
        if let Some(epoch) = self.announced.take() {
            self.given = Some((parent, epoch));
        }
    }

    /// The child of `parent` is safe.
    pub(super) fn take(&mut self, parent: B256) {
        self.last = self.given.take_if(|(of, _)| *of == parent).map(|(_, epoch)| epoch);
    }

    /// Epoch of the newest block, if L1 had no batch for it.
    pub(super) const fn last(&self) -> Option<u64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_a_batch_is_known_however_often_its_attributes_come() {
        let mut empty = EmptyBatches::default();
        let (a, b) = (B256::repeat_byte(1), B256::repeat_byte(2));
        empty.announce(7);
        empty.give(a);
        empty.give(a);
        assert_eq!(empty.last(), None);
        empty.take(a);
        assert_eq!(empty.last(), Some(7));
        empty.give(b);
        empty.take(b);
        assert_eq!(empty.last(), None, "the next one has a batch");
    }
}
