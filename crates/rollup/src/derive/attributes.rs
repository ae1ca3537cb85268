//! Attributes stage: from a batch to what the next block is built from. Source: derivation.md, "Deriving payload attributes".

use super::{Input, L2Head, Need, ResetReason, Stall, batches::NextBatch};
use crate::{
    attributes::{OriginBlock, epoch_attributes},
    batch::SingularBatch,
    config::RollupConfig,
    origin::{L1BlockRef, L2BlockRef, OriginChoice},
};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use alloy_primitives::{B256, Bytes};
use duskevm_evm::{BlockAttributes, BlockDecodeError, recover_all};

/// What the block after the safe head is built from, as L1 has it.
#[derive(Debug, Clone)]
pub struct DerivedAttributes {
    /// The block that it is built on.
    pub parent: L2BlockRef,
    /// Its L1 origin.
    pub origin: L1BlockRef,
    /// How many L2 blocks of this origin came before.
    pub sequence_number: u64,
    /// Its attributes, with the deposits but without the transactions of the batch.
    pub deposits: BlockAttributes,
    /// The transactions of the batch, as they were posted: nobody has looked into them.
    pub batch_transactions: Vec<Bytes>,
    /// The L1 block with which the block became derivable. When that one is final, so is the block.
    pub derived_from: L1BlockRef,
    /// No other block comes of the same span batch.
    pub last_in_span: bool,
}

impl DerivedAttributes {
    /// The attributes of the whole block. Nothing may be added to its transactions.
    ///
    /// # Errors
    /// If a transaction of the batch is none. The block is then invalid, exactly as if it could not be executed: build
    /// [`Self::deposits_only`] instead.
    pub fn block_attributes(&self) -> Result<BlockAttributes, BlockDecodeError> {
        let mut attributes = self.deposits.clone();
        attributes.transactions.extend(recover_all(&self.batch_transactions)?);
        Ok(attributes)
    }

    /// The attributes of the block that takes the place of an invalid one: its deposits alone. Its channel is to be given up, too
    /// ([`Pipeline::flush_channel`](super::Pipeline::flush_channel)). Source: holocene/derivation.md, "Engine queue".
    ///
    /// If not even this block can be executed, there is no way on: the L1 side has let deposits through that do not fit a block.
    pub fn deposits_only(&self) -> BlockAttributes {
        self.deposits.clone()
    }

    /// Has the block nothing but deposits anyway?
    pub const fn is_deposits_only(&self) -> bool {
        self.batch_transactions.is_empty()
    }
}

/// L1 blocks that were read not long ago: the next epoch is mostly among them.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentOrigins(VecDeque<Arc<OriginBlock>>);

impl RecentOrigins {
    /// Longer than a batcher's channel takes in normal operation; older ones are asked for again.
    const MOST: usize = 64;

    pub(super) fn push(&mut self, block: Arc<OriginBlock>) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(block);
    }

    fn get(&self, hash: B256) -> Option<&Arc<OriginBlock>> {
        self.0.iter().rev().find(|block| block.hash == hash)
    }
}

/// The last stage. It keeps the batch that it was given until there are attributes of it.
#[derive(Debug, Default)]
pub(super) struct AttributesStage {
    batch: Option<NextBatch>,
    /// The L1 origin of the block made last.
    epoch: Option<Arc<OriginBlock>>,
}

impl AttributesStage {
    /// Gives up the batch at hand.
    pub(super) fn flush(&mut self) {
        self.batch = None;
    }

    pub(super) const fn needs_batch(&self) -> bool {
        self.batch.is_none()
    }

    pub(super) fn put(&mut self, batch: NextBatch) {
        self.batch = Some(batch);
    }

    /// The attributes of the batch at hand.
    pub(super) fn next(
        &mut self,
        config: &RollupConfig,
        safe: &L2Head,
        derived_from: &L1BlockRef,
        recent: &RecentOrigins,
        answer: &mut Option<Input>,
    ) -> Result<DerivedAttributes, Stall> {
        let Some((batch, _)) = &self.batch else { return Err(Stall::Again) };
        let parent = safe.block;
        if batch.parent_hash != parent.hash || parent.timestamp.checked_add(config.block_time) != Some(batch.timestamp)
        {
            return Err(Stall::Reset(ResetReason::BatchMismatch(batch.timestamp)));
        }
        let origin = match &self.epoch {
            Some(epoch) if epoch.hash == batch.epoch.hash => epoch.clone(),
            _ => find_origin(batch, recent, answer)?,
        };
        let reference = origin.block_ref();
        let sequence_number = if batch.epoch == parent.l1_origin {
            parent.sequence_number + 1
        } else if reference.parent_hash == parent.l1_origin.hash {
            0
        } else {
            return Err(Stall::Reset(ResetReason::OriginMismatch { origin: parent.l1_origin.number }));
        };
        if batch.timestamp < reference.timestamp {
            return Err(Stall::Reset(ResetReason::BatchMismatch(batch.timestamp)));
        }
        let choice = OriginChoice { origin: reference, sequence_number, no_user_transactions: true };
        let deposits =
            epoch_attributes(config, &safe.system_config, batch.timestamp, &choice, &origin).map_err(Stall::Stuck)?;
        self.epoch = Some(origin);
        let Some((batch, last_in_span)) = self.batch.take() else { return Err(Stall::Again) };
        Ok(DerivedAttributes {
            parent,
            origin: reference,
            sequence_number,
            deposits,
            batch_transactions: batch.transactions,
            derived_from: *derived_from,
            last_in_span,
        })
    }
}

fn find_origin(
    batch: &SingularBatch,
    recent: &RecentOrigins,
    answer: &mut Option<Input>,
) -> Result<Arc<OriginBlock>, Stall> {
    let (number, hash) = (batch.epoch.number, batch.epoch.hash);
    if let Some(block) = recent.get(hash) {
        return Ok(block.clone());
    }
    match answer.take() {
        Some(Input::L1Block(block)) if block.origin.hash == hash => Ok(block.origin),
        Some(Input::L1Block(block)) if block.origin.header.number == number => {
            Err(Stall::Reset(ResetReason::L1Reorg { number, expected: hash, found: block.origin.hash }))
        }
        _ => Err(Stall::Need(Need::L1Block { number, hash })),
    }
}
