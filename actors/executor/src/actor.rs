//! The handlers.

use crate::{
    answered::Answered,
    error::ExecutorError,
    metrics,
    pool_source::PoolSource,
    publish::{Feeds, Transition},
    side::Side,
    state::{ChainState, Executed, Settings},
    suspect::Watched,
};
use alloy_primitives::B256;
use duskevm_evm::{Block, BlockAttributes, NoPool};
use duskevm_fence::Generation;
use duskevm_messages::executor::{
    Build, Built, Derive, Derived, ExecutorRefusal, Import, Insert, NoteSafeHead, Rewind, SetLabels,
};
use duskevm_rollup::{RollupConfig, check_child};
use duskevm_store::{
    db::DbError,
    l2::{L2Error, L2Store, Returned},
};
use duskevm_supervision::{Actor, AskError, Context, Handle, Reply, StartContext};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Blocks and state of L2.
#[derive(Debug)]
pub struct Executor {
    rollup: Arc<RollupConfig>,
    pub(crate) chain: ChainState,
    pub(crate) feeds: Feeds,
    pub(crate) generation: Generation,
    /// The block that was built last and waits for [`Insert`].
    pub(crate) pending: Option<Executed>,
    /// What a consensus client offered or had built.
    pub(crate) side: Side,
    /// What it was answered, until the database has it.
    pub(crate) answered: Option<Answered>,
    /// Forkchoice states of a consensus client that were taken.
    pub(crate) taken: u64,
    /// The pool has not taken back the transactions of dropped blocks: they are offered to it again.
    owes_pool: bool,
}

/// A block that was built on the head, and is kept nowhere yet.
pub(crate) struct OnHead {
    pub(crate) executed: Executed,
    /// Pool transactions that cannot be executed on this state, with the reason.
    pub(crate) invalid: Vec<(B256, String)>,
    /// Time that execution took.
    execution: Duration,
}

/// An answer, or the failure of the actor.
pub(crate) type Answer<T> = Result<Result<T, ExecutorRefusal>, ExecutorError>;

impl Executor {
    /// Opens the chain at its newest block. `rollup` says which blocks made elsewhere can be a part of it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        settings: Settings,
        rollup: Arc<RollupConfig>,
        store: Arc<L2Store>,
        feeds: Feeds,
        start: &StartContext,
    ) -> Result<Self, ExecutorError> {
        metrics::describe();
        let folder = settings.answered.clone();
        let mut chain = ChainState::open(settings, store, start.fence.clone())?;
        let answered = folder.map(|folder| Answered::open(&folder, &mut chain, &start.fence)).transpose()?;
        let (answered, unplaced) = answered.map_or((None, Vec::new()), |(answered, blocks)| (Some(answered), blocks));
        feeds.suspect.take_over(start.generation);
        let mut side = Side::new(feeds.kept.clone(), start.generation);
        unplaced.iter().for_each(|block| side.keep(block, true));
        let (generation, pending, owes_pool) = (start.generation, None, false);
        Ok(Self { rollup, chain, feeds, generation, pending, side, answered, taken: 0, owes_pool })
    }

    /// Executes a new block on the head, which `parent` must be.
    pub(crate) fn build_on_head(&self, parent: B256, attributes: &BlockAttributes, pool: PoolSource) -> Answer<OnHead> {
        let head = self.chain.head();
        if parent != head.hash() {
            return Ok(Err(ExecutorRefusal::NotTheHead {
                head: head.hash(),
                head_number: head.number(),
                wanted: parent,
            }));
        }
        let started = Instant::now();
        let mut pool = Watched::new(pool, self.feeds.suspect.clone(), self.generation);
        let built = self.chain.build(attributes, &mut pool);
        // It came to an end: a failed read is not the fault of the transaction that asked for it, unless it happens again.
        match &built {
            Ok(_) => self.feeds.suspect.acquit(self.generation),
            Err(_) => self.feeds.suspect.stumble(self.generation),
        }
        let executed = match built? {
            Ok(executed) => executed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let execution = started.elapsed();
        metrics::phase("execute", execution);
        Ok(Ok(OnHead { executed, invalid: pool.into_invalid(), execution }))
    }

    fn build(&mut self, request: &Build) -> Answer<Built> {
        let pool = PoolSource::new(Arc::clone(&request.pool), request.until, request.da);
        Ok(self.build_on_head(request.parent, &request.attributes, pool)?.map(
            |OnHead { executed, invalid, execution }| {
                let block = Arc::clone(&executed.block);
                self.pending = Some(executed);
                Built { block, invalid, execution }
            },
        ))
    }

    fn insert(&mut self, hash: B256, ctx: &mut Context<Self>) -> Answer<()> {
        if self.chain.head().hash() == hash {
            return Ok(Ok(()));
        }
        match self.pending.take_if(|pending| pending.block.hash() == hash) {
            Some(executed) if executed.block.header.parent_hash == self.chain.head().hash() => {
                self.commit(executed, ctx)?;
                Ok(Ok(()))
            }
            // The head moved since: the block may still be imported.
            _ => Ok(Err(ExecutorRefusal::NotPending(hash))),
        }
    }

    fn import(&mut self, block: &Arc<Block>, ctx: &mut Context<Self>) -> Answer<()> {
        let (hash, number) = (block.hash(), block.number());
        if self.chain.is_canonical(number, hash)? {
            return Ok(Ok(()));
        }
        if let Some(pending) = self.pending.take_if(|pending| pending.block.hash() == hash)
            && pending.block.header.parent_hash == self.chain.head().hash()
        {
            self.commit(pending, ctx)?;
            return Ok(Ok(()));
        }
        let parent = block.header.parent_hash;
        if parent != self.chain.head().hash() {
            // Executed on the parent's state before anything is given up: an invalid block must not cost the chain its head.
            let Some(parent_number) = number.checked_sub(1).filter(|_| number > 0) else {
                return Ok(Err(ExecutorRefusal::UnknownParent { parent, number }));
            };
            if !self.chain.is_canonical(parent_number, parent)? {
                return Ok(Err(ExecutorRefusal::UnknownParent { parent, number }));
            }
            if let Err(refusal) = self.chain.can_rewind(parent_number, number)? {
                return Ok(Err(refusal));
            }
            if let Err(refusal) = self.check_made_elsewhere(&self.chain.block(parent)?, block) {
                return Ok(Err(refusal));
            }
            if let Err(refusal) = self.chain.check_on_ancestor(block)? {
                metrics::invalid();
                return Ok(Err(refusal));
            }
            self.reorganize(parent, ctx, |chain| chain.execute(block))?;
            return Ok(Ok(()));
        }
        if let Err(refusal) = self.check_made_elsewhere(self.chain.head(), block) {
            return Ok(Err(refusal));
        }
        match self.chain.execute(block)? {
            Ok(executed) => {
                self.commit(executed, ctx)?;
                Ok(Ok(()))
            }
            Err(refusal) => {
                metrics::invalid();
                Ok(Err(refusal))
            }
        }
    }

    /// A block from outside is executed only if it is one of this rollup: what is in the chain is what derivation begins from.
    fn check_made_elsewhere(&self, parent: &Block, block: &Block) -> Result<(), ExecutorRefusal> {
        check_child(&self.rollup, parent, block).map_err(|error| {
            metrics::invalid();
            ExecutorRefusal::Invalid(error.to_string())
        })
    }

    fn rewind(&mut self, to: B256, ctx: &mut Context<Self>) -> Answer<()> {
        let from = self.chain.head().hash();
        if from == to {
            return Ok(Ok(()));
        }
        let Some(number) = self.chain.number_of(to)? else { return Ok(Err(ExecutorRefusal::UnknownBlock(to))) };
        if !self.chain.is_canonical(number, to)? {
            return Ok(Err(ExecutorRefusal::UnknownBlock(to)));
        }
        if let Err(refusal) = self.chain.can_rewind(number, number)? {
            return Ok(Err(refusal));
        }
        self.pending = None;
        let dropped = match self.chain.rewind(to) {
            Ok(dropped) => dropped,
            Err(error) => {
                self.tell_of_partial(from, ctx)?;
                return Err(error);
            }
        };
        // Whoever asked may build on the answer: a crash must not bring the dropped blocks back.
        self.chain.flush()?;
        metrics::reorganized();
        tracing::warn!(from = %from, to = %to, dropped, "L2 chain taken back");
        self.publish(Transition { from, block: None, reorganized: true, touched: None }, ctx)?;
        Ok(Ok(()))
    }

    /// Puts another block in the place of what is above `parent`. Its execution on the parent's state has been tried: it is valid.
    fn reorganize(
        &mut self,
        parent: B256,
        ctx: &mut Context<Self>,
        run: impl FnOnce(&ChainState) -> Result<Result<Executed, ExecutorRefusal>, ExecutorError>,
    ) -> Result<Arc<Block>, ExecutorError> {
        let from = self.chain.head().hash();
        self.pending = None;
        let done = self.replace(from, parent, ctx, run);
        if done.is_err() {
            self.tell_of_partial(from, ctx)?;
        }
        done
    }

    /// The disk was full before all was done: if blocks are gone the others must know. What takes their place comes when there is
    /// room.
    fn tell_of_partial(&mut self, from: B256, ctx: &mut Context<Self>) -> Result<(), ExecutorError> {
        if self.chain.head().hash() == from {
            return Ok(());
        }
        self.publish(Transition { from, block: None, reorganized: true, touched: None }, ctx)
    }

    fn replace(
        &mut self,
        from: B256,
        parent: B256,
        ctx: &mut Context<Self>,
        run: impl FnOnce(&ChainState) -> Result<Result<Executed, ExecutorRefusal>, ExecutorError>,
    ) -> Result<Arc<Block>, ExecutorError> {
        let dropped = self.chain.rewind(parent)?;
        metrics::reorganized();
        tracing::warn!(from = %from, to = %parent, dropped, "L2 chain reorganized");
        match run(&self.chain)? {
            Ok(executed) => {
                let block = Arc::clone(&executed.block);
                self.commit_after(from, executed, true, ctx)?;
                Ok(block)
            }
            // The check on the same state said otherwise: nothing here is to be trusted.
            Err(refusal) => Err(ExecutorError::Contradiction(refusal.to_string())),
        }
    }

    fn derive(&mut self, request: Derive, ctx: &mut Context<Self>) -> Answer<Derived> {
        let Derive { parent, attributes, otherwise } = request;
        let parent_number = self.chain.number_of(parent)?;
        let Some(parent_number) = parent_number else { return Ok(Err(ExecutorRefusal::UnknownBlock(parent))) };
        if !self.chain.is_canonical(parent_number, parent)? {
            return Ok(Err(ExecutorRefusal::UnknownBlock(parent)));
        }
        let mut invalid = "its transactions cannot be decoded".to_owned();
        for (attributes, is_first) in [(attributes, true), (otherwise, false)] {
            let Some(attributes) = attributes else { continue };
            match self.derive_from(parent_number, parent, &attributes, ctx)? {
                Ok((block, replaced)) => {
                    if let Err(refusal) = self.chain.set_labels(Some(block.hash()), None)? {
                        return Ok(Err(refusal));
                    }
                    let invalid = (!is_first).then_some(invalid);
                    return Ok(Ok(Derived { block, invalid, replaced }));
                }
                Err(ExecutorRefusal::Invalid(reason)) => {
                    metrics::invalid();
                    invalid = reason;
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Err(ExecutorRefusal::Invalid(invalid)))
    }

    /// Makes one block of forced transactions the child of a canonical one. Returns it, and how many others had to go.
    fn derive_from(
        &mut self,
        parent_number: u64,
        parent: B256,
        attributes: &BlockAttributes,
        ctx: &mut Context<Self>,
    ) -> Answer<(Arc<Block>, u64)> {
        let number = parent_number + 1;
        let head = self.chain.head().number();
        if head == parent_number {
            return match self.chain.build(attributes, &mut NoPool)? {
                Ok(executed) => {
                    let block = Arc::clone(&executed.block);
                    self.commit(executed, ctx)?;
                    Ok(Ok((block, 0)))
                }
                Err(refusal) => Ok(Err(refusal)),
            };
        }
        // Its state is needed before anything else, and does not come back.
        if let Err(refusal) = self.chain.has_state(parent_number)? {
            return Ok(Err(refusal));
        }
        let hash = match self.chain.build_on_ancestor(parent, attributes)? {
            Ok(hash) => hash,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if self.chain.is_canonical(number, hash)? {
            // Asked for before, or made by the sequencer meanwhile.
            return Ok(Ok((Arc::new(self.chain.block(hash)?), 0)));
        }
        if let Err(refusal) = self.chain.can_rewind(parent_number, number)? {
            return Ok(Err(refusal));
        }
        self.chain.note_replaced(number, hash)?;
        let block = self.reorganize(parent, ctx, |chain| chain.build(attributes, &mut NoPool))?;
        Ok(Ok((block, head.saturating_sub(parent_number))))
    }

    /// The pool has taken back the transactions of dropped blocks, or has not.
    pub(crate) fn returned(&mut self, told: Result<(), AskError>, kept: &Returned) -> Result<(), ExecutorError> {
        match told {
            // Where there is no pool nobody takes them back.
            Ok(()) | Err(AskError::Gone { .. }) => self.chain.forget_returned(kept),
            Err(error) => {
                // They are kept, and offered again.
                tracing::warn!(%error, "transactions of dropped blocks are not back in the pool yet");
                self.owes_pool = true;
                Ok(())
            }
        }
    }

    fn commit(&mut self, executed: Executed, ctx: &mut Context<Self>) -> Result<(), ExecutorError> {
        let from = self.chain.head().hash();
        self.commit_after(from, executed, false, ctx)
    }

    /// Stores an executed block, makes it the head and tells everybody. `from` is the head that the others know.
    fn commit_after(
        &mut self,
        from: B256,
        executed: Executed,
        reorganized: bool,
        ctx: &mut Context<Self>,
    ) -> Result<(), ExecutorError> {
        let started = Instant::now();
        let (number, gas, count) = (executed.block.number(), executed.gas_used, executed.block.transactions.len());
        let block = Arc::clone(&executed.block);
        let touched = executed.touched();
        self.chain.commit(executed).map_err(|error| match error {
            // Half of a reorganization is no state to go on from, unless nothing but room is lacking.
            ExecutorError::Store(error) if reorganized && !matches!(error, L2Error::Db(DbError::DiskFull { .. })) => {
                ExecutorError::Rewind(Box::new(error))
            }
            error => error,
        })?;
        ctx.healthy();
        metrics::phase("persist", started.elapsed());
        metrics::inserted(gas, count);
        // After a reorganization the accounts of the dropped blocks changed too.
        let touched = (!reorganized).then_some(touched);
        self.publish(Transition { from, block: Some(block), reorganized, touched }, ctx)?;
        ctx.progress(format!("block {number}"));
        Ok(())
    }

    pub(crate) fn publish(&mut self, transition: Transition, ctx: &mut Context<Self>) -> Result<(), ExecutorError> {
        self.feeds.publish(&self.chain, transition, ctx)
    }

    /// Says anew where the labels stand; the head is the same.
    fn publish_labels(&mut self, ctx: &mut Context<Self>) -> Result<(), ExecutorError> {
        let from = self.chain.head().hash();
        self.publish(Transition { from, block: None, reorganized: false, touched: Some(Vec::new()) }, ctx)
    }

    /// Says anew what is durable, now and then, so that journals can be shortened when no block comes.
    fn watch_durability(&mut self, ctx: &mut Context<Self>) -> Result<(), ExecutorError> {
        if std::mem::take(&mut self.owes_pool) {
            let from = self.chain.head().hash();
            return self.publish(Transition { from, block: None, reorganized: true, touched: None }, ctx);
        }
        if self.feeds.durable_changed(&self.chain) { self.publish_labels(ctx) } else { Ok(()) }
    }
}

impl Actor for Executor {
    type Error = ExecutorError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        let head = self.chain.head();
        tracing::info!(number = head.number(), hash = %head.hash(), "L2 chain opened");
        ctx.waiting(format!("blocks on {}", head.number()));
        // What the instance before this one was asked for is not known here.
        self.feeds.want(None, ctx.fence())?;
        let from = head.hash();
        // What happened before is not known here: everybody reads again, and transactions of dropped blocks may be on their way.
        self.publish(Transition { from, block: None, reorganized: true, touched: None }, ctx)?;
        ctx.every(std::time::Duration::from_millis(500), |me, ctx| me.watch_durability(ctx));
        Ok(())
    }

    fn stopping(&mut self, _: &mut Context<Self>) {
        if let Err(error) = self.chain.flush() {
            tracing::warn!(%error, "the last blocks are not flushed: they will be taken from a journal");
            return;
        }
        let head = self.chain.head().hash();
        if let Some(answered) = &mut self.answered
            && answered.is_placed()
            && let Err(error) = answered.flushed(head)
        {
            tracing::warn!(%error, "the journal of answered blocks is not emptied: it is at the next start");
        }
    }
}

impl Handle<Build> for Executor {
    fn handle(&mut self, message: Build, ctx: &mut Context<Self>) -> Result<Reply<Build>, Self::Error> {
        let answer = self.build(&message)?;
        if answer.is_ok() {
            // After the answer is out: while the sequencer writes its journal there is time to prepare the database's part.
            ctx.pipe(std::future::ready(()), |me, (), _| {
                me.pending = me.pending.take().map(Executed::prepared);
                Ok(())
            });
        }
        Ok(Reply::Now(answer))
    }
}

impl Handle<Insert> for Executor {
    fn handle(&mut self, message: Insert, ctx: &mut Context<Self>) -> Result<Reply<Insert>, Self::Error> {
        Ok(Reply::Now(self.insert(message.hash, ctx)?))
    }
}

impl Handle<Import> for Executor {
    fn handle(&mut self, message: Import, ctx: &mut Context<Self>) -> Result<Reply<Import>, Self::Error> {
        Ok(Reply::Now(self.import(&message.block, ctx)?))
    }
}

impl Handle<Rewind> for Executor {
    fn handle(&mut self, message: Rewind, ctx: &mut Context<Self>) -> Result<Reply<Rewind>, Self::Error> {
        Ok(Reply::Now(self.rewind(message.to, ctx)?))
    }
}

impl Handle<Derive> for Executor {
    fn handle(&mut self, message: Derive, ctx: &mut Context<Self>) -> Result<Reply<Derive>, Self::Error> {
        let answer = self.derive(message, ctx)?;
        if answer.is_ok() {
            self.publish_labels(ctx)?;
        }
        Ok(Reply::Now(answer))
    }
}

impl Handle<NoteSafeHead> for Executor {
    fn handle(&mut self, message: NoteSafeHead, _: &mut Context<Self>) -> Result<Reply<NoteSafeHead>, Self::Error> {
        self.chain.note_safe_head(message.at)?;
        Ok(Reply::Now(()))
    }
}

impl Handle<SetLabels> for Executor {
    fn handle(&mut self, message: SetLabels, ctx: &mut Context<Self>) -> Result<Reply<SetLabels>, Self::Error> {
        let answer = self.chain.set_labels(message.safe, message.finalized)?;
        if answer.is_ok() {
            self.publish_labels(ctx)?;
        }
        Ok(Reply::Now(answer))
    }
}
