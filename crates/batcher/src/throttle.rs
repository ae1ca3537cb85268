//! How far L1 is behind.

use crate::{batcher::Batcher, settings::Throttling};

/// What is not on L1 yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// L2 blocks that no frames on L1 hold.
    pub blocks: u64,
    /// About how many bytes of batcher data they come to.
    pub bytes: u64,
}

impl Throttling {
    /// By how many thousandths the sequencer should make less data: 0 is not at all, 1000 as little as it can.
    pub fn level(&self, backlog: Backlog) -> u16 {
        let range = u128::from(self.full_bytes.saturating_sub(self.from_bytes).max(1));
        let over = u128::from(backlog.bytes.saturating_sub(self.from_bytes));
        u16::try_from(over * 1000 / range).unwrap_or(u16::MAX).min(1000)
    }
}

impl Batcher {
    /// What is not on L1 yet.
    pub fn backlog(&self) -> Backlog {
        let Some(heads) = self.heads else { return Backlog::default() };
        let mut bytes = self.open.as_ref().map_or(0, |open| open.out.estimated_bytes());
        let mut landed = self.settled.map_or(0, |settled| settled.number).max(heads.safe.number);
        for channel in &self.channels {
            if channel.is_landed() {
                landed = landed.max(channel.closed.last.number);
            } else {
                bytes = bytes.saturating_add(channel.closed.bytes);
            }
        }
        let read = self.open.as_ref().map_or_else(|| self.end(&heads), |open| open.last());
        let unread = heads.latest.saturating_sub(read.number);
        // Blocks that nobody has read yet are taken to be like those read last, or those of the last channel: whichever is more.
        let read_last =
            self.open.as_ref().map_or(0, |open| open.out.estimated_bytes() / (open.hashes.len() as u64).max(1));
        let bytes = bytes.saturating_add(unread.saturating_mul(self.block_bytes.max(read_last)));
        Backlog { blocks: heads.latest.saturating_sub(landed), bytes }
    }

    /// By how many thousandths the sequencer should make less data, as [`Throttling::level`] says.
    pub fn throttle(&self) -> u16 {
        self.settings.throttling.level(self.backlog())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_grows_with_the_backlog() {
        let throttling = Throttling { from_bytes: 1000, full_bytes: 3000 };
        let level = |bytes| throttling.level(Backlog { blocks: 1, bytes });
        assert_eq!([level(0), level(1000), level(2000), level(3000), level(u64::MAX)], [0, 0, 500, 1000, 1000]);
    }
}
