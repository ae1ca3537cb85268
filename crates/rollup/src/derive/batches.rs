//! Batch stage: which of the batches become blocks, and blocks where none come. Source: holocene/derivation.md, "Batch queue" (span
//! stage and batch validator in one); derivation.md, "Batch queue" for empty batches.

use super::{
    Input, Need, ResetReason, Stall,
    channels::BatchSource,
    notice::{Notice, Notices},
};
use crate::{
    batch::{
        Batch, SingularBatch, SpanBatch,
        check::{
            BatchContext, ExpandedSpan, Missing, OverlapWalk, Validity, check_singular, check_span_prefix, expand_span,
        },
    },
    config::{BlockId, RollupConfig},
    origin::{L1BlockRef, L2BlockRef},
};
use alloc::{boxed::Box, vec, vec::Vec};

/// A batch that follows on the safe head, and whether it is the last one of its span.
pub(super) type NextBatch = (SingularBatch, bool);

/// A span batch that is being judged. It is kept until it can be: what derivation gives must not depend on how fast L2 blocks come.
#[derive(Debug)]
struct WaitingSpan {
    batch: Box<SpanBatch>,
    /// The block before its first one, once it was given.
    parent: Option<L2BlockRef>,
    /// The blocks that the safe chain has as well, once the rules about the whole span hold.
    overlap: Option<OverlapWalk>,
}

/// What the stages have in common during a step.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a RollupConfig,
    /// The L1 block that the pipeline reads.
    pub(super) origin: &'a L1BlockRef,
    pub(super) safe: &'a L2BlockRef,
    pub(super) answer: &'a mut Option<Input>,
    pub(super) notices: &'a mut Notices,
}

/// The stage between batches and attributes.
#[derive(Debug)]
pub(super) struct BatchStage {
    /// Consecutive L1 blocks; the first one is the current epoch. There are no more than a sequencing window and one: then the
    /// epoch is filled with empty blocks and left.
    l1_blocks: Vec<L1BlockRef>,
    /// The last L1 block that was seen.
    seen: L1BlockRef,
    /// Blocks of the span batch that was accepted last.
    span: Option<ExpandedSpan>,
    /// A span batch that cannot be judged before an L2 block is given.
    waiting: Option<Box<WaitingSpan>>,
    /// All batches up to this L1 block were judged before the pipeline began.
    settled: Option<BlockId>,
}

impl BatchStage {
    /// Begins at an L1 block. `settled`: see [`Pipeline::reset`](super::Pipeline::reset).
    pub(super) fn new(base: L1BlockRef, settled: Option<BlockId>) -> Self {
        Self { l1_blocks: vec![base], seen: base, span: None, waiting: None, settled }
    }

    /// Gives up the span batch at hand.
    pub(super) fn flush(&mut self) {
        self.span = None;
        self.waiting = None;
    }

    /// The L1 block of this number, if it may still become an epoch.
    pub(super) fn l1_block(&self, number: u64) -> Option<&L1BlockRef> {
        self.l1_blocks.iter().find(|block| block.number == number)
    }

    /// How many L1 blocks it keeps.
    pub(super) const fn l1_block_count(&self) -> usize {
        self.l1_blocks.len()
    }

    /// The batch for the block after the safe head.
    pub(super) fn next(&mut self, around: &mut Surroundings<'_>, source: &mut BatchSource) -> Result<NextBatch, Stall> {
        let (origin, safe) = (*around.origin, *around.safe);
        self.update_l1_blocks(&origin, &safe);
        if origin.number <= safe.l1_origin.number || self.is_settled(&origin)? {
            // No batch up to here can be for a block after the safe head, those in its own origin included.
            return match source.next_batch(around.config, around.origin, around.answer, around.notices) {
                Ok(_) => Err(Stall::Again),
                // The epoch that was left when this block was read is left again.
                Err(Stall::Exhausted) if self.settled.is_some_and(|settled| settled.number == origin.number) => {
                    self.empty_batch(around).map(|batch| (batch, true))
                }
                Err(stall) => Err(stall),
            };
        }
        self.check_epoch(&safe)?;
        match self.candidate(around, source) {
            Ok((batch, last)) => {
                match check_singular(&self.context(around), &batch) {
                    Validity::Accept => return Ok((batch, last)),
                    Validity::Past => around.notices.push(Notice::BatchPast),
                    Validity::Drop(reason) => {
                        around.notices.push(Notice::BatchDropped(reason));
                        self.flush();
                        source.flush_channel();
                    }
                    Validity::Undecided(missing) => around.notices.push(Notice::BatchUndecided(missing)),
                    // Holocene has no future batches.
                    Validity::Future => {}
                }
                Err(Stall::Again)
            }
            Err(Stall::Exhausted) => self.empty_batch(around).map(|batch| (batch, true)),
            Err(stall) => Err(stall),
        }
    }

    fn context<'a>(&'a self, around: &'a Surroundings<'_>) -> BatchContext<'a> {
        BatchContext {
            config: around.config,
            l1_blocks: &self.l1_blocks,
            safe_head: around.safe,
            inclusion: around.origin,
        }
    }

    fn is_settled(&self, origin: &L1BlockRef) -> Result<bool, Stall> {
        match &self.settled {
            Some(settled) if origin.number == settled.number && origin.hash != settled.hash => {
                let (number, expected, found) = (origin.number, settled.hash, origin.hash);
                Err(Stall::Reset(ResetReason::L1Reorg { number, expected, found }))
            }
            settled => Ok(settled.is_some_and(|settled| origin.number <= settled.number)),
        }
    }

    fn update_l1_blocks(&mut self, origin: &L1BlockRef, safe: &L2BlockRef) {
        if self.seen != *origin {
            self.seen = *origin;
            if origin.number < safe.l1_origin.number {
                self.l1_blocks.clear();
            } else {
                self.l1_blocks.push(*origin);
            }
        }
        if let Some(at) = self.l1_blocks.iter().position(|block| block.number == safe.l1_origin.number) {
            self.l1_blocks.drain(..at);
        }
    }

    /// The current epoch must be that of the safe head or the one after it.
    fn check_epoch(&self, safe: &L2BlockRef) -> Result<(), Stall> {
        let BlockId { hash, number } = safe.l1_origin;
        let fits = self.l1_blocks.len() >= 2
            && self.l1_blocks.first().is_some_and(|epoch| {
                (epoch.number == number && epoch.hash == hash)
                    || (epoch.number.checked_sub(1) == Some(number) && epoch.parent_hash == hash)
            });
        if fits { Ok(()) } else { Err(Stall::Reset(ResetReason::OriginMismatch { origin: number })) }
    }

    /// A batch to be judged: from the span at hand, or from the source.
    fn candidate(&mut self, around: &mut Surroundings<'_>, source: &mut BatchSource) -> Result<NextBatch, Stall> {
        if let Some(next) = self.next_of_span(around) {
            return Ok(next);
        }
        let mut span = match self.waiting.take() {
            Some(span) => span,
            None => match source.next_batch(around.config, around.origin, around.answer, around.notices)? {
                Batch::Singular(batch) => return Ok((batch, true)),
                Batch::Span(batch) => Box::new(WaitingSpan { batch, parent: None, overlap: None }),
            },
        };
        match self.judge(around, &mut span) {
            Ok(Validity::Accept) => match expand_span(&self.context(around), &span.batch) {
                Ok(blocks) => {
                    self.span = Some(blocks);
                    return self.next_of_span(around).ok_or(Stall::Again);
                }
                Err(error) => {
                    around.notices.push(Notice::SpanDropped(error));
                    self.flush();
                    source.flush_channel();
                }
            },
            Ok(Validity::Past) => around.notices.push(Notice::BatchPast),
            Ok(Validity::Drop(reason)) => {
                around.notices.push(Notice::BatchDropped(reason));
                self.flush();
                source.flush_channel();
            }
            Ok(Validity::Undecided(missing)) => around.notices.push(Notice::BatchUndecided(missing)),
            Ok(Validity::Future) => {}
            Err(stall) => {
                self.waiting = Some(span);
                return Err(stall);
            }
        }
        Err(Stall::Again)
    }

    /// Judges a span as far as it can be. On a stall the same span is to be judged again.
    fn judge(&self, around: &mut Surroundings<'_>, span: &mut WaitingSpan) -> Result<Validity, Stall> {
        let safe = *around.safe;
        let walk = match &mut span.overlap {
            Some(walk) => walk,
            walk => {
                if let Some(Input::L2Block(block)) = around.answer.take_if(|answer| matches!(answer, Input::L2Block(_)))
                {
                    span.parent = Some(block.block);
                }
                match check_span_prefix(&self.context(around), &span.batch, span.parent.as_ref()) {
                    Validity::Undecided(Missing::L2Block(number)) => return Err(Stall::Need(Need::L2Block { number })),
                    Validity::Accept => {}
                    other => return Ok(other),
                }
                let parent = span.parent.map_or(safe.number, |parent| parent.number);
                walk.insert(OverlapWalk::new(around.config, &span.batch, parent, &safe))
            }
        };
        let Some(number) = walk.next() else { return Ok(Validity::Accept) };
        match around.answer.take() {
            Some(Input::L2Batch { number: given, batch }) if given == number => match walk.compare(&batch) {
                Ok(()) => Err(Stall::Again),
                Err(reason) => Ok(Validity::Drop(reason)),
            },
            _ => Err(Stall::Need(Need::L2Batch { number })),
        }
    }

    fn next_of_span(&mut self, around: &Surroundings<'_>) -> Option<NextBatch> {
        let due = around.safe.timestamp.saturating_add(around.config.block_time);
        // If the time does not fit, the batch before was not taken: then neither are those after it.
        let mut span = self.span.take().filter(|span| span.next_timestamp() == Some(due))?;
        let batch = span.next_batch(around.safe.hash)?;
        let last = span.next_timestamp().is_none();
        if !last {
            self.span = Some(span);
        }
        Some((batch, last))
    }

    /// When all batches are read and the sequencing window of the epoch is over, the epoch gets empty blocks: at least one, and as
    /// many as L2 time needs to reach the next epoch.
    fn empty_batch(&mut self, around: &mut Surroundings<'_>) -> Result<SingularBatch, Stall> {
        let [epoch, next, ..] = self.l1_blocks[..] else { return Err(Stall::Exhausted) };
        let expiry = epoch.number.saturating_add(around.config.seq_window_size);
        if expiry > around.origin.number {
            return Err(Stall::Exhausted);
        }
        let timestamp = around.safe.timestamp.saturating_add(around.config.block_time);
        let first_of_epoch = epoch.number.checked_sub(1) == Some(around.safe.l1_origin.number);
        if timestamp < next.timestamp || first_of_epoch {
            around.notices.push(Notice::EmptyBatch { epoch: epoch.number });
            return Ok(SingularBatch {
                parent_hash: around.safe.hash,
                epoch: BlockId { hash: epoch.hash, number: epoch.number },
                timestamp,
                transactions: Vec::new(),
            });
        }
        self.l1_blocks.remove(0);
        Err(Stall::Exhausted)
    }
}
