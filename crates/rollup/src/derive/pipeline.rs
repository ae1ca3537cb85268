//! The pipeline: all stages in a row.

use super::{
    Input, InputError, L2Head, Need, ResetReason, Stall, Step,
    attributes::{AttributesStage, DerivedAttributes, RecentOrigins},
    base::BaseWalk,
    batches::{BatchStage, Surroundings},
    channels::BatchSource,
    l1_block::L1Block,
    notice::{Notice, Notices},
    retrieval::Retrieval,
};
use crate::{
    blob::BLOB_LEN,
    config::{BlockId, RollupConfig, SystemConfig},
    origin::L1BlockRef,
};
use alloc::{boxed::Box, sync::Arc};
use alloy_primitives::B256;

/// Derives the blocks after a safe head from L1.
///
/// Everything that it keeps is bounded: one L1 block, the blobs of one transaction, the frames of one piece of batcher data, one
/// open channel and one that is being read (each at most [`max_rlp_bytes_per_channel`](crate::channel::max_rlp_bytes_per_channel)),
/// the references of a sequencing window of L1 blocks, and the origins of 64 of them.
#[derive(Debug)]
pub struct Pipeline {
    config: Arc<RollupConfig>,
    phase: Phase,
    /// What the last step asked for.
    asked: Option<Need>,
    answer: Option<Input>,
    notices: Notices,
}

/// What a pipeline keeps from one L1 block to the next, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Buffered {
    /// Size of the open channel: the data of its frames and 200 bytes for each.
    pub channel_bytes: u64,
    /// Frames that wait for their turn.
    pub frames: usize,
    /// L1 blocks that may still become epochs.
    pub l1_blocks: usize,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is derived before [`Pipeline::reset`].
    Halted(ResetReason),
    /// The L1 block to begin with is looked for.
    Begin(Box<BaseWalk>),
    Running(Box<Stages>),
}

#[derive(Debug)]
struct Stages {
    /// The L1 block that is read.
    origin: L1BlockRef,
    /// The system config after it: it tells the batcher of the next one.
    system: SystemConfig,
    source: BatchSource,
    batches: BatchStage,
    attributes: AttributesStage,
    recent: RecentOrigins,
    /// The safe head that is built on.
    safe: B256,
    /// What was given for it.
    given: Option<Arc<DerivedAttributes>>,
    /// Nothing more comes of the L1 block.
    exhausted: bool,
}

impl Pipeline {
    /// Pieces of data that one step reads at most before it says [`Step::Working`].
    const WORK_PER_STEP: usize = 64;

    /// Decompressed bytes after which a step says it earlier. One batch may have a hundred times as many.
    const BYTES_PER_STEP: u64 = 1_000_000;

    /// A pipeline that waits for [`Self::reset`]. `config` has passed [`RollupConfig::validate`].
    pub fn new(config: Arc<RollupConfig>) -> Self {
        Self {
            config,
            phase: Phase::Halted(ResetReason::NotStarted),
            asked: None,
            answer: None,
            notices: Notices::default(),
        }
    }

    /// Begins anew: the next steps derive what comes after `safe`.
    ///
    /// `settled` is the last L1 block of which everything was read when `safe` was the newest derived block (whoever stores the safe
    /// heads keeps such pairs), if that is known. Batches up to there are not judged again. Without it they are, and that is the same only if all of them were valid: a batch that was dropped with its channel
    /// then may just be in the past now, so that the rest of its channel counts all of a sudden.
    pub fn reset(&mut self, safe: L2Head, settled: Option<BlockId>) {
        self.phase = Phase::Begin(Box::new(BaseWalk::new(safe, settled)));
        (self.asked, self.answer) = (None, None);
    }

    /// The L1 block that is read, once there is one.
    pub fn origin(&self) -> Option<L1BlockRef> {
        match &self.phase {
            Phase::Running(stages) => Some(stages.origin),
            Phase::Halted(_) | Phase::Begin(_) => None,
        }
    }

    /// What is kept at the moment; all zero before the first L1 block.
    pub fn buffered(&self) -> Buffered {
        match &self.phase {
            Phase::Running(stages) => {
                let (channel_bytes, frames) = stages.source.buffered();
                Buffered { channel_bytes, frames, l1_blocks: stages.batches.l1_block_count() }
            }
            Phase::Halted(_) | Phase::Begin(_) => Buffered::default(),
        }
    }

    /// What was left out since the last call, the newest 64 of it.
    pub fn take_notices(&mut self) -> impl Iterator<Item = Notice> + use<> {
        self.notices.take()
    }

    /// Answers the need that the last step returned.
    ///
    /// # Errors
    /// See [`InputError`]; the pipeline is then unchanged.
    pub fn provide(&mut self, input: Input) -> Result<(), InputError> {
        let number = |expected, found| {
            if expected == found { Ok(()) } else { Err(InputError::Number { expected, found }) }
        };
        match (&self.asked, &input) {
            (Some(Need::NextL1Block { number: n, .. } | Need::L1Block { number: n, .. }), Input::L1Block(block)) => {
                number(*n, block.origin.header.number)?;
            }
            (Some(Need::L2Block { number: n }), Input::L2Block(block)) => number(*n, block.block.number)?,
            (Some(Need::L2Batch { number: n }), Input::L2Batch { number: found, .. }) => number(*n, *found)?,
            (Some(Need::Blobs { blobs, .. }), Input::Blobs(given)) => {
                if blobs.len() != given.len() {
                    return Err(InputError::BlobCount { expected: blobs.len(), found: given.len() });
                }
                if let Some(blob) = given.iter().find(|blob| blob.len() != BLOB_LEN) {
                    return Err(InputError::BlobLength(blob.len()));
                }
            }
            _ => return Err(InputError::NotAsked),
        }
        self.answer = Some(input);
        Ok(())
    }

    /// Tells which block L1 has at a number now. If that is not the block that was read there, the pipeline must begin anew.
    ///
    /// A reorganization above the block that is read shows by itself in the next one. This call is for the others: when the pipeline
    /// waits for something that the new chain will never bring.
    pub fn check_l1(&mut self, canonical: &L1BlockRef) {
        if let Phase::Running(stages) = &self.phase {
            let known = if stages.origin.number == canonical.number {
                Some(&stages.origin)
            } else {
                stages.batches.l1_block(canonical.number)
            };
            if let Some(known) = known.filter(|known| known.hash != canonical.hash) {
                self.phase = Phase::Halted(ResetReason::L1Reorg {
                    number: canonical.number,
                    expected: known.hash,
                    found: canonical.hash,
                });
            }
        }
    }

    /// Gives up the channel that is being read, and with it the rest of a span batch: for when a derived block turned out to be
    /// invalid and [`DerivedAttributes::deposits_only`] takes its place.
    pub fn flush_channel(&mut self) {
        if let Phase::Running(stages) = &mut self.phase {
            stages.source.flush_channel();
            stages.batches.flush();
            stages.attributes.flush();
            stages.exhausted = false;
        }
    }

    /// Does a piece of work. `safe` is the newest derived block: the one of the last [`Self::reset`], or since then each time the
    /// block that came of the last [`Step::Attributes`].
    pub fn step(&mut self, safe: &L2Head) -> Step {
        let mut answer = self.answer.take();
        self.asked = None;
        let before = match &self.phase {
            Phase::Running(stages) => stages.source.decompressed(),
            Phase::Halted(_) | Phase::Begin(_) => 0,
        };
        for _ in 0..Self::WORK_PER_STEP {
            match self.work(safe, &mut answer) {
                Ok(step) => return step,
                Err(Stall::Again) => match &self.phase {
                    Phase::Running(stages) if stages.source.decompressed() - before >= Self::BYTES_PER_STEP => break,
                    _ => {}
                },
                // Whoever is exhausted says so before it asks for the next L1 block.
                Err(Stall::Exhausted) => return Step::Working,
                Err(Stall::Need(need)) => {
                    self.asked = Some(need.clone());
                    return Step::Need(need);
                }
                Err(Stall::Reset(reason)) => {
                    self.phase = Phase::Halted(reason);
                    return Step::Reset(reason);
                }
                Err(Stall::Stuck(error)) => return Step::Stuck(error),
            }
        }
        // An answer that was not used yet waits for the next step.
        self.answer = answer;
        Step::Working
    }

    fn work(&mut self, safe: &L2Head, answer: &mut Option<Input>) -> Result<Step, Stall> {
        let Self { config, phase, notices, .. } = self;
        match phase {
            Phase::Halted(reason) => Ok(Step::Reset(*reason)),
            Phase::Begin(walk) => {
                let expected = walk.safe().block.hash;
                if expected != safe.block.hash {
                    return Err(Stall::Reset(ResetReason::SafeHeadMoved { expected, found: safe.block.hash }));
                }
                let (base, head) = walk.next(config, answer)?;
                let stages = Stages::begin(*base, &head, safe, walk.settled());
                let origin = stages.origin;
                *phase = Phase::Running(Box::new(stages));
                Ok(Step::Advanced(origin))
            }
            Phase::Running(stages) => stages.work(config, safe, answer, notices),
        }
    }
}

impl Stages {
    /// The config updates of the first L1 block are not applied: the L2 block was built under them already.
    fn begin(base: L1Block, head: &L2Head, safe: &L2Head, settled: Option<BlockId>) -> Self {
        let origin = base.block_ref();
        let system = head.system_config;
        let mut recent = RecentOrigins::default();
        recent.push(base.origin.clone());
        Self {
            origin,
            system,
            source: BatchSource::new(Retrieval::open(base, system.batcher_address)),
            batches: BatchStage::new(origin, settled),
            attributes: AttributesStage::default(),
            recent,
            safe: safe.block.hash,
            given: None,
            exhausted: false,
        }
    }

    fn work(
        &mut self,
        config: &RollupConfig,
        safe: &L2Head,
        answer: &mut Option<Input>,
        notices: &mut Notices,
    ) -> Result<Step, Stall> {
        if let Some(given) = self.follow(safe)? {
            return Ok(Step::Attributes(given));
        }
        if !self.exhausted {
            match self.derive(config, safe, answer, notices) {
                Err(Stall::Exhausted) => self.exhausted = true,
                result => return result.map(Step::Attributes),
            }
        }
        self.advance(config, answer, notices).map(Step::Advanced)
    }

    /// Goes on with the safe head. What was given before is given again as long as nothing came of it.
    fn follow(&mut self, safe: &L2Head) -> Result<Option<Arc<DerivedAttributes>>, Stall> {
        let safe = &safe.block;
        if safe.hash == self.safe {
            return Ok(self.given.clone());
        }
        let moved = ResetReason::SafeHeadMoved { expected: self.safe, found: safe.hash };
        match self.given.take() {
            Some(given) if safe.parent_hash == given.parent.hash => {
                self.safe = safe.hash;
                self.exhausted = false;
                Ok(None)
            }
            _ => Err(Stall::Reset(moved)),
        }
    }

    fn derive(
        &mut self,
        config: &RollupConfig,
        safe: &L2Head,
        answer: &mut Option<Input>,
        notices: &mut Notices,
    ) -> Result<Arc<DerivedAttributes>, Stall> {
        if self.attributes.needs_batch() {
            let mut around = Surroundings { config, origin: &self.origin, safe: &safe.block, answer, notices };
            let batch = self.batches.next(&mut around, &mut self.source)?;
            self.attributes.put(batch);
        }
        let attributes = self.attributes.next(config, safe, &self.origin, &self.recent, answer)?;
        let attributes = Arc::new(attributes);
        self.given = Some(attributes.clone());
        Ok(attributes)
    }

    fn advance(
        &mut self,
        config: &RollupConfig,
        answer: &mut Option<Input>,
        notices: &mut Notices,
    ) -> Result<L1BlockRef, Stall> {
        let Some(number) = self.origin.number.checked_add(1) else { return Err(Stall::Again) };
        let parent = self.origin.hash;
        let block = match answer.take() {
            Some(Input::L1Block(block)) if block.origin.header.number == number => block,
            _ => return Err(Stall::Need(Need::NextL1Block { number, parent })),
        };
        let next = block.block_ref();
        if next.parent_hash != parent {
            return Err(Stall::Reset(ResetReason::L1Reorg {
                number: self.origin.number,
                expected: parent,
                found: next.parent_hash,
            }));
        }
        block.origin.update_system_config(config, &mut self.system);
        for skipped in &block.origin.updates.skipped {
            notices.push(Notice::ConfigUpdate(*skipped));
        }
        self.recent.push(block.origin.clone());
        self.source.open(Retrieval::open(*block, self.system.batcher_address));
        self.origin = next;
        self.exhausted = false;
        Ok(next)
    }
}
