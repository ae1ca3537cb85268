//! The rule by which the sequencer makes less data when what it made is not on L1 yet.

use duskevm_messages::executor::DaLimits;

/// Between which bounds the data of pool transactions lies while the batcher is behind, in bytes by the estimate of Fjord. The rule and
/// the numbers are those of op-batcher's linear controller; it sends the outcome to op-geth by `miner_setMaxDASize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaThrottle {
    /// One transaction, when throttling begins.
    pub transaction_from: u64,
    /// One transaction, when throttling is complete.
    pub transaction_full: u64,
    /// A block, when throttling begins.
    pub block_from: u64,
    /// A block, when throttling is complete.
    pub block_full: u64,
}

impl Default for DaThrottle {
    fn default() -> Self {
        Self { transaction_from: 20_000, transaction_full: 150, block_from: 130_000, block_full: 2_000 }
    }
}

impl DaThrottle {
    /// The bounds at this many thousandths of throttling; none at 0.
    pub fn limits(&self, permille: u16) -> DaLimits {
        if permille == 0 {
            return DaLimits::default();
        }
        let permille = u128::from(permille.min(1000));
        let between = |from: u64, full: u64| {
            let less = u128::from(from.saturating_sub(full)) * permille / 1000;
            Some(from.saturating_sub(u64::try_from(less).unwrap_or(u64::MAX)))
        };
        DaLimits {
            transaction: between(self.transaction_from, self.transaction_full),
            block: between(self.block_from, self.block_full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_fall_evenly_from_where_throttling_begins() {
        let throttle =
            DaThrottle { transaction_from: 1_000, transaction_full: 200, block_from: 5_000, block_full: 1_000 };
        let at = |permille| {
            let limits = throttle.limits(permille);
            (limits.transaction, limits.block)
        };
        assert_eq!(at(0), (None, None));
        assert_eq!(at(1), (Some(1_000), Some(4_996)));
        assert_eq!(at(500), (Some(600), Some(3_000)));
        assert_eq!(at(1000), (Some(200), Some(1_000)));
        assert_eq!(at(u16::MAX), at(1000));
    }

    #[test]
    fn the_least_transaction_fits_whatever_the_backlog() {
        // The estimate is never below 100 bytes (fjord/exec-engine.md).
        let limits = DaThrottle::default().limits(1000);
        assert!(limits.transaction.is_some_and(|bytes| bytes > 100) && limits.block >= limits.transaction);
    }
}
