//! The sequencing window: how long the blocks of an epoch can still come from batches. Source: derivation.md, "Batch queue", and
//! holocene/derivation.md, "Span batches".
//!
//! When it is over, derivation gives the epoch blocks without users' transactions. A network that was without a batcher for longer than
//! its window is in that state at every epoch, and leaves it only if one channel comes exactly in time: its first block must follow on
//! the last epoch that is over, or Holocene drops it as a batch from the future, and its own epoch must not be over yet. So the channel
//! begins at an epoch whose window ends with the L1 block that includes it. What lies before is left to derivation, which makes the same
//! blocks if they hold no transactions of users; the sequencer sees to that by putting none where their time is short.

use crate::config::RollupConfig;

/// Most L1 blocks that the sequencer leaves the batcher.
const MOST_MARGIN: u64 = 20;

/// Part of the window that it leaves at most.
const MARGIN_PART: u64 = 4;

impl RollupConfig {
    /// Number of the last L1 block in which batches for this epoch (an L1 block's number) count.
    pub const fn window_end(&self, epoch: u64) -> u64 {
        epoch.saturating_add(self.seq_window_size)
    }

    /// Whether a batch that begins in this epoch counts if it is in the L1 block after `l1_tip`, the next one.
    pub const fn can_reach_l1(&self, epoch: u64, l1_tip: u64) -> bool {
        self.window_end(epoch) > l1_tip
    }

    /// Whether there is so much time that users' transactions may go into blocks of this epoch now that L1 is at `l1_tip`: L1 blocks
    /// enough for the batcher to post them, and to try again.
    pub fn leaves_time(&self, epoch: u64, l1_tip: u64) -> bool {
        let margin = (self.seq_window_size / MARGIN_PART).clamp(1, MOST_MARGIN);
        self.can_reach_l1(epoch, l1_tip.saturating_add(margin))
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::RollupConfig, testing::config};

    fn with_window(seq_window_size: u64) -> RollupConfig {
        RollupConfig { seq_window_size, ..config() }
    }

    #[test]
    fn a_batch_counts_up_to_the_last_block_of_the_window() {
        let config = with_window(10);
        assert_eq!(config.window_end(5), 15);
        // The next L1 block is 15, the last one; then 16.
        assert_eq!([config.can_reach_l1(5, 14), config.can_reach_l1(5, 15)], [true, false]);
        assert!(config.can_reach_l1(u64::MAX, u64::MAX - 1));
    }

    #[test]
    fn users_transactions_stay_away_where_their_time_is_short() {
        // A quarter of a short window, twenty blocks of a long one, one of the shortest.
        for (window, margin) in [(3600, 20), (40, 10), (6, 1), (1, 1)] {
            let config = with_window(window);
            let last = 1000 + window - 1 - margin;
            assert_eq!([config.leaves_time(1000, last), config.leaves_time(1000, last + 1)], [true, false], "{window}");
        }
    }

    #[test]
    fn what_leaves_time_reaches_l1() {
        let config = with_window(7);
        assert!((0..20).all(|tip| !config.leaves_time(5, tip) || config.can_reach_l1(5, tip)));
    }
}
