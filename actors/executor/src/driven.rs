//! The executor driven by a consensus client through the Engine API: blocks on the side, forkchoice states, payloads.
//!
//! The rules are those of `duskevm_engine_api::forkchoice`; here is what they are asked about and what is done by their answer.

use crate::{
    actor::{Answer, Executor, OnHead},
    error::ExecutorError,
    kept::MAX_BLOCKS,
    metrics,
    pool_source::PoolSource,
    publish::Transition,
    side::{MAX_EXECUTED, Side, Verdict},
    state::{ChainState, Executed, Labels},
};
use alloy_eips::BlockNumHash;
use alloy_primitives::B256;
use duskevm_engine_api::{
    ForkchoiceState,
    forkchoice::{BlockRef, Chain, Judgement, SideBlock, Update, Way, judge},
    get_payload::block_value,
};
use duskevm_evm::Block;
use duskevm_messages::executor::{
    ExecutorRefusal,
    engine::{
        Advance, Advanced, BuildPayload, BuiltPayload, Chosen, Condemn, Forkchoice, ForkchoiceRefusal, Mandate, Offer,
        Offered, Wanted,
    },
};
use duskevm_supervision::{Context, Handle, Reply};
use std::{cell::RefCell, sync::Arc, time::Instant};

/// Blocks that are taken out of the chain between two signs of life.
const STEP: u64 = 16;

/// Who moves the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A consensus client, which is answered.
    Client,
    /// The way to a head that a consensus client wants.
    Backfill,
}

impl Executor {
    fn offer(&mut self, block: &Arc<Block>, ctx: &mut Context<Self>) -> Answer<Offered> {
        let (hash, number, parent) = (block.hash(), block.number(), block.header.parent_hash);
        if self.chain.is_canonical(number, hash)? {
            return Ok(Ok(Offered::Valid));
        }
        if let Some(verdict) = self.side.verdict(&hash).or_else(|| self.side.verdict(&parent)).cloned() {
            self.side.condemn(hash, verdict.clone());
            return Ok(Ok(Offered::Invalid { why: verdict.why, latest_valid: verdict.latest_valid }));
        }
        // A forkchoice state must find the way that an answer promises: what is known is no use where its ancestors are not.
        let branch = self.side.branch(parent, |hash| Ok::<_, ExecutorError>(self.chain.number_of(hash)?.is_some()))?;
        let Some(branch) = branch else { return Ok(Ok(Offered::UnknownParent)) };
        if self.side.get(&hash).is_some() {
            return Ok(Ok(Offered::Valid));
        }
        if branch.len() > MAX_EXECUTED {
            return Ok(Ok(Offered::UnknownParent));
        }
        let started = Instant::now();
        let executed = if parent == self.chain.head().hash() {
            self.chain.execute(block)?
        } else {
            self.execute_on_branch(&branch, block, ctx)?
        };
        metrics::phase("execute", started.elapsed());
        Ok(match executed {
            Ok(executed) => {
                self.side.keep_executed(executed, false);
                Ok(Offered::Valid)
            }
            Err(ExecutorRefusal::Invalid(why)) => {
                metrics::invalid();
                let latest_valid = Some(parent);
                self.side.condemn(hash, Verdict { why: why.clone(), latest_valid });
                Ok(Offered::Invalid { why, latest_valid })
            }
            Err(refusal) => Err(refusal),
        })
    }

    /// Executes a block on those of a branch, or on a block of the chain if there are none; and before it what of them has not been
    /// executed.
    fn execute_on_branch(&mut self, branch: &[Arc<Block>], block: &Block, ctx: &mut Context<Self>) -> Answer<Executed> {
        let fork = branch.first().map_or(block.header.parent_hash, |first| first.header.parent_hash);
        let fork = self.chain.block(fork)?;
        if let Err(refusal) = self.chain.has_state(fork.number())? {
            return Ok(Err(refusal));
        }
        self.side.trim();
        let mut below = &fork.header;
        for (index, ancestor) in branch.iter().enumerate() {
            if !self.side.is_executed(&ancestor.hash()) {
                let source = self.side.state_of(self.chain.source(), branch.get(..index).unwrap_or_default());
                match self.chain.execute_on(below, &source, ancestor)? {
                    Ok(executed) => {
                        self.side.note(executed);
                        // A whole branch may take longer than an actor may be silent.
                        ctx.progress(format!("block {} of another branch", ancestor.number()));
                    }
                    Err(refusal) => return Err(self.contradiction(&ancestor.hash(), refusal)),
                }
            }
            below = &ancestor.header;
        }
        let source = self.side.state_of(self.chain.source(), branch);
        self.chain.execute_on(below, &source, block)
    }

    /// What was valid when it was offered is valid, whenever it is executed.
    fn contradiction(&mut self, block: &B256, refusal: ExecutorRefusal) -> ExecutorError {
        self.side.forget(block);
        ExecutorError::Contradiction(refusal.to_string())
    }

    fn choose(
        &mut self,
        state: &ForkchoiceState,
        by: By,
        ctx: &mut Context<Self>,
    ) -> Result<Result<Chosen, ForkchoiceRefusal>, ExecutorError> {
        if let Some(Verdict { why, latest_valid }) = self.side.verdict(&state.head_block_hash).cloned() {
            return Ok(Ok(Chosen::Invalid { why, latest_valid }));
        }
        let known =
            Known { chain: &self.chain, side: &self.side, labels: self.chain.labels()?, failed: RefCell::default() };
        let judgement = judge(&known, state);
        if let Some(error) = known.failed.into_inner() {
            return Err(error);
        }
        match judgement {
            Ok(Judgement::Update(update)) => self.update(&update, by, ctx),
            Ok(Judgement::BelowFinalized(head)) => Ok(Ok(Chosen::BelowFinalized(head))),
            Ok(Judgement::Syncing) => Ok(Ok(Chosen::Syncing)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    const fn mandate(&self) -> Mandate {
        Mandate { generation: self.generation, taken: self.taken }
    }

    /// Whoever brings missing blocks learns which head is wanted, and that none is any more.
    fn note(
        &mut self,
        head: B256,
        chosen: &Result<Chosen, ForkchoiceRefusal>,
        ctx: &Context<Self>,
    ) -> Result<(), ExecutorError> {
        let wanted = match chosen {
            Ok(Chosen::Syncing) => Some(Wanted { head, mandate: self.mandate() }),
            Ok(Chosen::Updated { .. } | Chosen::BelowFinalized(_)) => {
                self.taken += 1;
                None
            }
            Ok(Chosen::Invalid { .. }) | Err(_) => return Ok(()),
        };
        Ok(self.feeds.want(wanted, ctx.fence())?)
    }

    /// Goes a part of the way to a wanted head.
    fn advance(
        &mut self,
        step: &Advance,
        ctx: &mut Context<Self>,
    ) -> Result<Result<Advanced, ForkchoiceRefusal>, ExecutorError> {
        let head = self.chain.head().hash();
        if step.mandate != self.mandate() || (head != step.from && head != step.to) {
            return Ok(Ok(Advanced::Superseded));
        }
        let state = ForkchoiceState { head_block_hash: step.to, ..ForkchoiceState::default() };
        Ok(self.choose(&state, By::Backfill, ctx)?.map(|chosen| match chosen {
            Chosen::Updated { .. } => Advanced::Done,
            Chosen::BelowFinalized(_) | Chosen::Syncing | Chosen::Invalid { .. } => Advanced::Unknown,
        }))
    }

    /// Moves the head and the labels. The others are told once, when all is done.
    fn update(
        &mut self,
        update: &Update,
        by: By,
        ctx: &mut Context<Self>,
    ) -> Result<Result<Chosen, ForkchoiceRefusal>, ExecutorError> {
        let from = self.chain.head().hash();
        let (back_to, blocks) = match &update.way {
            Way::Stay => (None, &[][..]),
            Way::Rewind => (Some(update.head), &[][..]),
            Way::Switch { fork, blocks } => ((fork.hash != from).then_some(*fork), blocks.as_slice()),
        };
        if let Some(target) = back_to
            && let Err(refusal) = self.chain.has_state(target.number)?
        {
            return Ok(Err(refusal.into()));
        }
        let mut transition = Transition { from, block: None, reorganized: false, touched: Some(Vec::new()) };
        if let Err(error) = self.go(update, by, back_to, blocks, &mut transition, ctx) {
            // Half of the way was gone, as far as the disk had room: the others must know where the chain stands.
            if self.chain.head().hash() != from {
                self.publish(Transition { from, block: None, reorganized: true, touched: None }, ctx)?;
            }
            return Err(error);
        }
        self.publish(transition, ctx)?;
        ctx.progress(format!("block {}", update.head.number));
        Ok(Ok(Chosen::Updated { head: Arc::clone(self.chain.head()) }))
    }

    fn go(
        &mut self,
        update: &Update,
        by: By,
        back_to: Option<BlockRef>,
        blocks: &[BlockRef],
        transition: &mut Transition,
        ctx: &mut Context<Self>,
    ) -> Result<(), ExecutorError> {
        let way = blocks.iter().map(|block| {
            let gone = || ExecutorError::Contradiction(format!("block {} is gone from the side", block.hash));
            self.side.get(&block.hash).ok_or_else(gone)
        });
        let way = way.collect::<Result<Vec<_>, _>>()?;
        // What a consensus client was answered must be there after `kill -9`: op-node does not bring a head again that it knows to be
        // VALID, but asks for it until it is restarted. And a crash must not bring dropped blocks back under a client that builds on
        // what it was answered. What the backfill brings is fetched again, unless it only was here. Whoever asks again after a failure
        // half-way is owed the same.
        let must_last = match by {
            By::Client => self.answered.is_none() && !way.is_empty(),
            By::Backfill => way.iter().any(|block| self.side.is_only_here(&block.hash())),
        };
        if back_to.is_some() || must_last {
            self.side.owe_flush();
        }
        if let Some(target) = back_to {
            self.pending = None;
            self.keep_above(target.number, ctx)?;
            // Named last, so that they give way last.
            way.iter().for_each(|block| self.side.keep(block, false));
            let dropped = self.take_back(target, ctx)?;
            metrics::reorganized();
            tracing::warn!(from = %transition.from, to = %target.hash, dropped, "L2 chain taken back by the consensus client");
        }
        transition.reorganized = back_to.is_some() || way.len() > 1;
        for block in &way {
            let started = Instant::now();
            let executed = match self.side.take_executed(&block.hash()) {
                Some(executed) => executed,
                None => match self.chain.execute(block)? {
                    Ok(executed) => executed,
                    Err(refusal) => return Err(self.contradiction(&block.hash(), refusal)),
                },
            };
            let (gas, count) = (executed.gas_used, block.transactions.len());
            transition.touched = Some(executed.touched());
            self.chain.commit(executed)?;
            metrics::phase("persist", started.elapsed());
            metrics::inserted(gas, count);
            ctx.healthy();
            ctx.progress(format!("block {}", block.number()));
            transition.block = Some(Arc::clone(block));
        }
        if transition.reorganized {
            // More than one block's worth: whoever follows reads again.
            transition.block = None;
            transition.touched = None;
        }
        let labels = self.chain.labels()?;
        let moved =
            |label: Option<BlockRef>, now: BlockNumHash| label.map(|block| block.hash).filter(|hash| *hash != now.hash);
        let (safe, finalized) = (moved(update.safe, labels.safe), moved(update.finalized, labels.finalized));
        let are_labels_moved = safe.is_some() || finalized.is_some();
        if are_labels_moved {
            let set = self.chain.set_labels(safe, finalized)?;
            set.map_err(|refusal| ExecutorError::Contradiction(refusal.to_string()))?;
            // A block that was answered safe must not be gone after `kill -9`: kona-node 1.0.0-rc.1 asks for it by its number when L1 has
            // finalized it, and ends if it is not there.
            if self.answered.is_none() {
                self.side.owe_flush();
            }
        }
        if let Some(finalized) = update.finalized {
            self.side.finalize(finalized.number);
        }
        if by == By::Client && !self.side.owes_flush() && self.answered.is_some() {
            let labels = are_labels_moved.then(|| self.chain.labels()).transpose()?;
            let head = self.chain.head().hash();
            if let Some(answered) = &mut self.answered
                && !answered.note(&way, head, labels.as_ref())?
            {
                self.side.owe_flush();
            }
        }
        if self.side.owes_flush() {
            self.chain.flush()?;
            if let Some(answered) = &mut self.answered {
                answered.flushed(self.chain.head().hash())?;
            }
            self.side.flushed();
        }
        Ok(())
    }

    /// Keeps the blocks of the chain above this number: whoever goes away from them may come back, and does not send them again. Where
    /// there are too many, those next to it are kept, since what is above a gap is of no use.
    fn keep_above(&mut self, number: u64, ctx: &mut Context<Self>) -> Result<(), ExecutorError> {
        let newest = self.chain.head().number().min(number.saturating_add(MAX_BLOCKS as u64));
        for number in (number.saturating_add(1)..=newest).rev() {
            let hash = self.chain.canonical(number)?;
            let block = match self.side.get(&hash) {
                Some(block) => block,
                None => Arc::new(self.chain.block(hash)?),
            };
            self.side.keep(&block, true);
            if number % STEP == 0 {
                ctx.progress(format!("keeps block {number}"));
            }
        }
        Ok(())
    }

    /// Takes the chain back step by step: thousands of blocks take longer than an actor may be silent. Returns how many there were.
    fn take_back(&mut self, target: BlockRef, ctx: &mut Context<Self>) -> Result<usize, ExecutorError> {
        let mut dropped = 0;
        while self.chain.head().number() > target.number {
            let number = self.chain.head().number().saturating_sub(STEP).max(target.number);
            let to = if number == target.number { target.hash } else { self.chain.canonical(number)? };
            dropped += self.chain.rewind(to)?;
            ctx.progress(format!("taken back to block {number}"));
        }
        Ok(dropped)
    }

    fn build_payload(&mut self, request: &BuildPayload) -> Answer<BuiltPayload> {
        let pool = PoolSource::new(Arc::clone(&request.pool), request.until, request.da);
        let OnHead { executed, invalid, .. } = match self.build_on_head(request.parent, &request.attributes, pool)? {
            Ok(built) => built,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let block = Arc::clone(&executed.block);
        let value = block_value(&block, executed.receipts())
            .map_err(|error| ExecutorError::Execution(format!("a receipt of block {}: {error}", block.hash())))?;
        self.side.keep_executed(executed, !request.no_tx_pool);
        Ok(Ok(BuiltPayload { block, value, invalid }))
    }

    /// While the consensus client thinks there is time for what storing the block takes in any case.
    fn prepare(&mut self, hash: B256, ctx: &mut Context<Self>) {
        ctx.pipe(std::future::ready(()), move |me, (), _| {
            me.side.prepare(&hash);
            Ok(())
        });
    }
}

/// What the rules ask about. The database's failures are kept for whoever asked the rules.
struct Known<'a> {
    chain: &'a ChainState,
    side: &'a Side,
    labels: Labels,
    failed: RefCell<Option<ExecutorError>>,
}

impl Chain for Known<'_> {
    fn canonical_number(&self, hash: B256) -> Option<u64> {
        self.chain.number_of(hash).unwrap_or_else(|error| {
            self.failed.replace(Some(error));
            None
        })
    }

    fn side(&self, hash: B256) -> Option<SideBlock> {
        self.side.as_side(&hash)
    }

    fn latest(&self) -> BlockRef {
        let head = self.chain.head();
        BlockRef { number: head.number(), hash: head.hash() }
    }

    fn safe(&self) -> Option<BlockRef> {
        Some(BlockRef { number: self.labels.safe.number, hash: self.labels.safe.hash })
    }

    fn finalized(&self) -> Option<BlockRef> {
        Some(BlockRef { number: self.labels.finalized.number, hash: self.labels.finalized.hash })
    }
}

impl Handle<Offer> for Executor {
    fn handle(&mut self, message: Offer, ctx: &mut Context<Self>) -> Result<Reply<Offer>, Self::Error> {
        let answer = self.offer(&message.block, ctx)?;
        if matches!(answer, Ok(Offered::Valid)) {
            self.prepare(message.block.hash(), ctx);
        }
        Ok(Reply::Now(answer))
    }
}

impl Handle<Forkchoice> for Executor {
    fn handle(&mut self, message: Forkchoice, ctx: &mut Context<Self>) -> Result<Reply<Forkchoice>, Self::Error> {
        let chosen = self.choose(&message.state, By::Client, ctx)?;
        self.note(message.state.head_block_hash, &chosen, ctx)?;
        Ok(Reply::Now(chosen))
    }
}

impl Handle<Advance> for Executor {
    fn handle(&mut self, message: Advance, ctx: &mut Context<Self>) -> Result<Reply<Advance>, Self::Error> {
        Ok(Reply::Now(self.advance(&message, ctx)?))
    }
}

impl Handle<Condemn> for Executor {
    fn handle(&mut self, message: Condemn, ctx: &mut Context<Self>) -> Result<Reply<Condemn>, Self::Error> {
        let Condemn { head, why, latest_valid } = message;
        if self.chain.number_of(head)?.is_none() && self.side.get(&head).is_none() {
            self.side.condemn(head, Verdict { why, latest_valid });
        }
        let is_wanted = self.feeds.wanted.borrow().is_some_and(|wanted| wanted.head == head);
        if is_wanted {
            self.feeds.want(None, ctx.fence())?;
        }
        Ok(Reply::Now(()))
    }
}

impl Handle<BuildPayload> for Executor {
    fn handle(&mut self, message: BuildPayload, ctx: &mut Context<Self>) -> Result<Reply<BuildPayload>, Self::Error> {
        let answer = self.build_payload(&message)?;
        if let Ok(built) = &answer {
            self.prepare(built.block.hash(), ctx);
        }
        Ok(Reply::Now(answer))
    }
}
