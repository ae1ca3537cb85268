//! The executor driven by a consensus client through the Engine API: blocks on the side, forkchoice states, payloads.
//!
//! The rules are those of `duskevm_engine_api::forkchoice`; here is what they are asked about and what is done by their answer.

use crate::{
    actor::{Answer, Executor, OnHead},
    error::ExecutorError,
    metrics,
    pool_source::PoolSource,
    publish::Transition,
    side::{Entry, MAX_BLOCKS, Side, Verdict},
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
    engine::{BuildPayload, BuiltPayload, Chosen, Forkchoice, ForkchoiceRefusal, Offer, Offered},
};
use duskevm_supervision::{Context, Handle, Reply};
use std::{cell::RefCell, sync::Arc, time::Instant};

impl Executor {
    fn offer(&mut self, block: &Arc<Block>) -> Answer<Offered> {
        let (hash, number, parent) = (block.hash(), block.number(), block.header.parent_hash);
        if self.side.get(&hash).is_some() || self.chain.is_canonical(number, hash)? {
            return Ok(Ok(Offered::Valid));
        }
        if let Some(verdict) = self.side.verdict(&hash).or_else(|| self.side.verdict(&parent)).cloned() {
            self.side.condemn(hash, verdict.clone());
            return Ok(Ok(Offered::Invalid { why: verdict.why, latest_valid: verdict.latest_valid }));
        }
        let started = Instant::now();
        let executed = if parent == self.chain.head().hash() {
            self.chain.execute(block)?
        } else if self.side.get(&parent).is_some() {
            match self.execute_on_branch(parent, block)? {
                Some(executed) => executed,
                None => return Ok(Ok(Offered::UnknownParent)),
            }
        } else {
            let Some(parent_number) = self.chain.number_of(parent)? else { return Ok(Ok(Offered::UnknownParent)) };
            if let Err(refusal) = self.chain.has_state(parent_number)? {
                return Ok(Err(refusal));
            }
            let parent = self.chain.block(parent)?;
            self.chain.execute_on(&parent.header, self.chain.source(), block)?
        };
        metrics::phase("execute", started.elapsed());
        Ok(match executed {
            Ok(executed) => {
                self.side.keep(Entry { block: Arc::clone(block), executed: Some(executed), only_here: false });
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

    /// Executes a block whose parent is on the side, and before it what of its ancestors has not been executed; `None` if they do not
    /// lead to the chain.
    fn execute_on_branch(
        &mut self,
        parent: B256,
        block: &Block,
    ) -> Result<Option<Result<Executed, ExecutorRefusal>>, ExecutorError> {
        let branch = self.side.branch(parent);
        let Some(fork) = branch.first().map(|first| first.header.parent_hash) else { return Ok(None) };
        let Some(fork_number) = self.chain.number_of(fork)? else { return Ok(None) };
        if let Err(refusal) = self.chain.has_state(fork_number)? {
            return Ok(Some(Err(refusal)));
        }
        let fork = self.chain.block(fork)?;
        let mut below = &fork.header;
        for (index, ancestor) in branch.iter().enumerate() {
            if self.side.get(&ancestor.hash()).is_some_and(|entry| entry.executed.is_none()) {
                let source = self.side.state_of(self.chain.source(), branch.get(..index).unwrap_or_default());
                let executed = self.chain.execute_on(below, &source, ancestor)?.map_err(contradiction)?;
                if let Some(entry) = self.side.get_mut(&ancestor.hash()) {
                    entry.executed = Some(executed);
                }
            }
            below = &ancestor.header;
        }
        let source = self.side.state_of(self.chain.source(), &branch);
        self.chain.execute_on(below, &source, block).map(Some)
    }

    fn choose(
        &mut self,
        state: &ForkchoiceState,
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
            Ok(Judgement::Update(update)) => self.update(&update, ctx),
            Ok(Judgement::BelowFinalized(head)) => Ok(Ok(Chosen::BelowFinalized(head))),
            Ok(Judgement::Syncing) => Ok(Ok(Chosen::Syncing)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// Moves the head and the labels. The others are told once, when all is done.
    fn update(
        &mut self,
        update: &Update,
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
        if let Err(error) = self.go(update, back_to, blocks, &mut transition, ctx) {
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
        back_to: Option<BlockRef>,
        blocks: &[BlockRef],
        transition: &mut Transition,
        ctx: &mut Context<Self>,
    ) -> Result<(), ExecutorError> {
        // Before anything else is kept there, which could push them out.
        let entries = blocks.iter().map(|block| {
            let gone = || ExecutorError::Contradiction(format!("block {} is gone from the side", block.hash));
            self.side.take(&block.hash).ok_or_else(gone)
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        // Nobody can bring again what only was here; and a crash must not bring dropped blocks back under a client that builds on what
        // it was answered.
        let must_last = back_to.is_some() || entries.iter().any(|entry| entry.only_here);
        if let Some(target) = back_to {
            self.pending = None;
            // Whoever went away from them may come back to them.
            let given_up = self.newest_above(target.number)?;
            let dropped = self.chain.rewind(target.hash)?;
            for block in given_up {
                self.side.keep(Entry { block, executed: None, only_here: false });
            }
            metrics::reorganized();
            tracing::warn!(from = %transition.from, to = %target.hash, dropped, "L2 chain taken back by the consensus client");
        }
        transition.reorganized = back_to.is_some() || entries.len() > 1;
        for Entry { block, executed, .. } in entries {
            let started = Instant::now();
            let executed = match executed {
                Some(executed) => executed,
                None => self.chain.execute(&block)?.map_err(contradiction)?,
            };
            let (gas, count) = (executed.gas_used, block.transactions.len());
            transition.touched = Some(executed.touched());
            self.chain.commit(executed)?;
            metrics::phase("persist", started.elapsed());
            metrics::inserted(gas, count);
            ctx.healthy();
            transition.block = Some(block);
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
        if safe.is_some() || finalized.is_some() {
            self.chain.set_labels(safe, finalized)?.map_err(contradiction)?;
        }
        if let Some(finalized) = update.finalized {
            self.side.finalize(finalized.number);
        }
        if must_last {
            self.chain.flush()?;
        }
        Ok(())
    }

    /// The newest blocks of the chain above this number, at most as many as the side holds; oldest first.
    fn newest_above(&self, number: u64) -> Result<Vec<Arc<Block>>, ExecutorError> {
        let mut blocks = vec![Arc::clone(self.chain.head())];
        while let Some(oldest) = blocks.last()
            && oldest.number() > number + 1
            && blocks.len() < MAX_BLOCKS / 2
        {
            blocks.push(Arc::new(self.chain.block(oldest.header.parent_hash)?));
        }
        blocks.reverse();
        Ok(blocks)
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
        let only_here = block.transactions.len() > request.attributes.transactions.len();
        self.side.keep(Entry { block: Arc::clone(&block), executed: Some(executed), only_here });
        Ok(Ok(BuiltPayload { block, value, invalid }))
    }

    /// While the consensus client thinks there is time for what storing the block takes in any case.
    fn prepare(&mut self, hash: B256, ctx: &mut Context<Self>) {
        ctx.pipe(std::future::ready(()), move |me, (), _| {
            if let Some(entry) = me.side.get_mut(&hash) {
                entry.executed = entry.executed.take().map(Executed::prepared);
            }
            Ok(())
        });
    }
}

/// What was valid when it was offered is valid, whenever it is executed.
fn contradiction(refusal: ExecutorRefusal) -> ExecutorError {
    ExecutorError::Contradiction(refusal.to_string())
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
        let answer = self.offer(&message.block)?;
        if matches!(answer, Ok(Offered::Valid)) {
            self.prepare(message.block.hash(), ctx);
        }
        Ok(Reply::Now(answer))
    }
}

impl Handle<Forkchoice> for Executor {
    fn handle(&mut self, message: Forkchoice, ctx: &mut Context<Self>) -> Result<Reply<Forkchoice>, Self::Error> {
        Ok(Reply::Now(self.choose(&message.state, ctx)?))
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
