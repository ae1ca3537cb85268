//! Where a pipeline begins to read L1: so far back that no channel that is open at the safe head's origin is missed. Source:
//! derivation.md, "Resetting the pipeline".

use super::{Input, L2Head, Need, ResetReason, Stall, l1_block::L1Block};
use crate::{
    channel::channel_timeout,
    config::{BlockId, RollupConfig},
};
use alloc::boxed::Box;

/// The walk from the safe head down to the block whose L1 origin is the beginning.
#[derive(Debug, Clone)]
pub(super) struct BaseWalk {
    safe: L2Head,
    current: L2Head,
    settled: Option<BlockId>,
}

impl BaseWalk {
    pub(super) const fn new(safe: L2Head, settled: Option<BlockId>) -> Self {
        Self { safe, current: safe, settled }
    }

    pub(super) const fn settled(&self) -> Option<BlockId> {
        self.settled
    }

    pub(super) const fn safe(&self) -> &L2Head {
        &self.safe
    }

    /// The L1 block to begin with, and the L2 block whose system config is in force for it.
    pub(super) fn next(
        &mut self,
        config: &RollupConfig,
        answer: &mut Option<Input>,
    ) -> Result<(Box<L1Block>, L2Head), Stall> {
        let (block, safe) = (self.current.block, self.safe.block);
        let timeout = channel_timeout(config, safe.timestamp);
        let above_genesis =
            block.number > config.genesis.l2.number && block.l1_origin.number > config.genesis.l1.number;
        if above_genesis && block.l1_origin.number.saturating_add(timeout) > safe.l1_origin.number {
            let number = block.number - 1;
            return match answer.take() {
                Some(Input::L2Block(parent)) if parent.block.hash == block.parent_hash => {
                    self.current = *parent;
                    Err(Stall::Again)
                }
                Some(Input::L2Block(parent)) if parent.block.number == number => {
                    let (expected, found) = (block.parent_hash, parent.block.hash);
                    Err(Stall::Reset(ResetReason::L2Chain { number, expected, found }))
                }
                _ => Err(Stall::Need(Need::L2Block { number })),
            };
        }
        let (number, hash) = (block.l1_origin.number, block.l1_origin.hash);
        match answer.take() {
            Some(Input::L1Block(base)) if base.origin.hash == hash => Ok((base, self.current)),
            Some(Input::L1Block(base)) if base.origin.header.number == number => {
                Err(Stall::Reset(ResetReason::L1Reorg { number, expected: hash, found: base.origin.hash }))
            }
            _ => Err(Stall::Need(Need::L1Block { number, hash })),
        }
    }
}
