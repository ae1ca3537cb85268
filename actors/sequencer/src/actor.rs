//! The loop of the sequencer. Each step ends by planning the next one, so that there is never more than one.

use crate::{
    error::SequencerError,
    guard::SealConflict,
    journal::SealJournal,
    metrics,
    state::{Pause, Ports, Settings, lead},
};
use alloy_eips::BlockNumHash;
use alloy_primitives::B256;
use duskevm_evm::Block;
use duskevm_fence::Fence;
use duskevm_l1_view::ViewBlock;
use duskevm_messages::{
    executor::{Build, Built, ChainHeads, ExecutorRefusal, Import, Insert},
    l1::{ViewBlockByHash, ViewBlockByNumber},
    sequencer::StopSequencing,
    txpool::{Best, Invalid},
};
use duskevm_rollup::{
    AttributesError, BlockRefError, OriginBlock, OriginError, RollupConfig, choose_origin, epoch_attributes,
    l2_block_ref, system_config_of,
};
use duskevm_supervision::{Actor, AskError, Context, Responder, StartError};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long a neighbour is waited for in one attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks at the clock while it waits for the time of a block: the clock may be set back or forward.
const CLOCK_CHECK: Duration = Duration::from_millis(200);

/// Seconds after which the newest block of a chain is old: of one that goes on there are probably later ones.
const OLD: u64 = 120;

/// L1 blocks by which derivation may be behind the newest one that it is about to read.
const NEAR: u64 = 2;

/// Makes the blocks of the chain.
#[derive(Debug)]
pub struct Sequencer {
    /// Number of the current loop. A reset begins another one, and nothing comes of what the old one had under way.
    pub(crate) turn: watch::Sender<u64>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) ports: Ports,
    pub(crate) journal: SealJournal,
    pub(crate) pause: Pause,
    /// What building the last blocks took.
    pub(crate) build_cost: Duration,
    /// The origin of the head, so that it is not asked for at every block.
    pub(crate) origin: Option<Arc<OriginBlock>>,
    /// Whether this instance has found that it knows what L1 has of the chain.
    pub(crate) caught_up: bool,
    /// Whether users' transactions were kept out of the last block because its time to be on L1 is short.
    pub(crate) holds_back: bool,
    /// Whether a step of the loop is under way.
    pub(crate) busy: bool,
    /// Who waits for the block under way, to be told that it was the last one: also those who asked again because it takes long.
    pub(crate) stopping: Vec<Responder<StopSequencing>>,
}

/// Why the next block cannot be made at the moment. All of these are waited out.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error(transparent)]
    Neighbour(#[from] AskError),
    #[error("the executor refused: {0}")]
    Refused(#[from] ExecutorRefusal),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error(transparent)]
    Attributes(#[from] AttributesError),
    #[error("L1 block {0} is not known: waiting for the L1 view")]
    UnknownOrigin(B256),
    #[error(transparent)]
    Head(#[from] BlockRefError),
    #[error(transparent)]
    BaseFee(#[from] duskevm_evm::header::HeaderError),
    #[error("the executor has block {number} but did not publish it as its head")]
    Unpublished { number: u64 },
}

impl Obstacle {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Neighbour(_) => "neighbour",
            Self::Refused(_) => "refused",
            Self::Origin(_) => "origin",
            Self::Attributes(AttributesError::Deposit(_)) => "deposits",
            Self::Attributes(AttributesError::WrongOrigin { .. }) => "attributes",
            Self::UnknownOrigin(_) => "l1",
            Self::Head(_) | Self::BaseFee(_) => "head",
            Self::Unpublished { .. } => "unpublished",
        }
    }

    /// The actor that can remove it.
    fn actor(&self) -> Arc<str> {
        match self {
            Self::Neighbour(
                AskError::Restarting { actor }
                | AskError::Died { actor, .. }
                | AskError::Full { actor, .. }
                | AskError::Timeout { actor, .. }
                | AskError::Gone { actor }
                | AskError::Failed { actor, .. },
            ) => actor.clone(),
            Self::Neighbour(AskError::Stopping)
            | Self::Refused(_)
            | Self::Attributes(AttributesError::WrongOrigin { .. })
            | Self::Head(_)
            | Self::BaseFee(_)
            | Self::Unpublished { .. } => "executor".into(),
            Self::Origin(_) | Self::UnknownOrigin(_) | Self::Attributes(AttributesError::Deposit(_)) => "l1".into(),
        }
    }
}

/// What a build hands back to the actor.
struct Attempt {
    built: Built,
    origin: Arc<OriginBlock>,
    took: Duration,
    holds_back: bool,
}

impl Sequencer {
    /// Opens the journal.
    ///
    /// # Errors
    /// If the journal cannot be read; a damaged one ends the node, because sealing on without it could equivocate.
    pub fn open(settings: Arc<Settings>, ports: Ports, fence: &Fence) -> Result<Self, StartError> {
        let journal = SealJournal::open(&settings.journal, fence)?;
        let turn = watch::Sender::new(0);
        Ok(Self {
            turn,
            settings,
            ports,
            journal,
            pause: Pause::new(),
            build_cost: Duration::ZERO,
            origin: None,
            caught_up: false,
            holds_back: false,
            busy: false,
            stopping: Vec::new(),
        })
    }

    /// Runs one step of the loop. Nothing comes of it if there is a reset meanwhile: not even the request that it would repeat.
    pub(crate) fn step<F: Future + 'static>(
        &mut self,
        f: F,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, F::Output, &mut Context<Self>) -> Result<(), SequencerError> + 'static,
    ) {
        let mut turn = self.turn.subscribe();
        let mine = *turn.borrow_and_update();
        let step = async move {
            tokio::select! {
                biased;
                _ = turn.changed() => None,
                output = f => Some(output),
            }
        };
        self.busy = true;
        ctx.pipe(step, move |me, output, ctx| match output.filter(|_| me.is_turn(mine)) {
            Some(output) => {
                me.busy = false;
                then(me, output, ctx)
            }
            None => Ok(()),
        });
    }

    pub(crate) fn is_turn(&self, turn: u64) -> bool {
        *self.turn.borrow() == turn
    }

    fn plan_after(&self, pause: Duration, ctx: &mut Context<Self>) {
        let mine = *self.turn.borrow();
        ctx.after(pause, move |me, ctx| if me.is_turn(mine) { me.plan(ctx) } else { Ok(()) });
    }

    fn plan_at_next_head(&self, ctx: &mut Context<Self>) {
        let mine = *self.turn.borrow();
        let mut feed = self.ports.heads.clone();
        // A feed without its sender means that the node is going down.
        ctx.listen(async move { feed.changed().await.is_ok() }, move |me, alive, ctx| {
            if alive && me.is_turn(mine) { me.plan(ctx) } else { Ok(()) }
        });
    }

    /// Decides what to do next.
    pub(crate) fn plan(&mut self, ctx: &mut Context<Self>) -> Result<(), SequencerError> {
        let heads = self.ports.heads.borrow_and_update().clone();
        if !self.ports.sequencing.borrow().active {
            self.rest(ctx);
            return Ok(());
        }
        let Some(heads) = heads else {
            if !self.stop_if_asked(ctx)? {
                ctx.waiting_on("executor", "the executor to open the chain");
                self.plan_at_next_head(ctx);
            }
            return Ok(());
        };
        let (number, hash) = (heads.latest.number(), heads.latest.hash());
        self.journal.forget_up_to(heads.durable, ctx.fence())?;
        if let Some(block) = self.journal.child_of(number, hash)? {
            self.resume(block, ctx);
            return Ok(());
        }
        // What was sealed is in the chain: whoever goes on elsewhere goes on from there.
        if self.stop_if_asked(ctx)? {
            return Ok(());
        }
        if let Err(conflict) = self.journal.check_new(number.saturating_add(1)) {
            match voided(&conflict, &heads) {
                Some(by) => {
                    self.journal.reset_to(by.number, by.hash, ctx.fence())?;
                    metrics::voided();
                    tracing::warn!(number = by.number, hash = %by.hash, "L1 has another block than the one announced here: its successors are made anew");
                    ctx.healthy();
                }
                None => {
                    self.stand(conflict, ctx);
                    return Ok(());
                }
            }
        }
        if !self.is_caught_up(&heads) {
            self.catch_up(number, ctx);
            return Ok(());
        }
        let lag = number.saturating_sub(heads.safe.number);
        if self.settings.max_safe_lag > 0 && lag >= self.settings.max_safe_lag {
            self.hold(lag, ctx);
            return Ok(());
        }
        let block_time = Duration::from_secs(self.settings.rollup.block_time);
        let due = Duration::from_secs(heads.latest.header.timestamp).saturating_add(block_time);
        let start_at = due.saturating_sub(lead(self.build_cost, block_time));
        match start_at.saturating_sub(self.settings.clock.now()) {
            Duration::ZERO => self.build(heads, ctx),
            wait => {
                ctx.waiting(format!("the time of block {}", number.saturating_add(1)));
                self.plan_after(wait.min(CLOCK_CHECK), ctx);
            }
        }
        Ok(())
    }

    /// Whether it is known that there are no later blocks of this chain elsewhere. A node that was away for long, or has lost its
    /// data, first gets what L1 has: blocks beside those would be a second chain.
    fn is_caught_up(&mut self, heads: &ChainHeads) -> bool {
        let now = self.settings.clock.now().as_secs();
        let is_old = |timestamp: u64| timestamp.saturating_add(OLD) < now;
        let Some(derived) = self.ports.derived.as_ref().filter(|_| !self.caught_up) else { return true };
        self.caught_up = !is_old(heads.latest.header.timestamp)
            || self.ports.l1_heads.borrow().is_some_and(|l1| {
                let read = derived.borrow().map_or(0, |block| block.number.saturating_add(NEAR));
                !is_old(l1.latest.timestamp) && read >= l1.latest.number
            });
        self.caught_up
    }

    fn catch_up(&self, number: u64, ctx: &mut Context<Self>) {
        metrics::obstacle("catching_up");
        ctx.waiting_on("derivation", format!("what L1 has of the chain, whose newest block here is {number} and old"));
        self.plan_after(CLOCK_CHECK, ctx);
    }

    /// The head is below a block that was announced, and the journal does not lead there. Others may know the blocks in between;
    /// until the head is up there again, or a reset says that they do not count, nothing may be built.
    fn stand(&self, conflict: SealConflict, ctx: &mut Context<Self>) {
        metrics::obstacle("conflict");
        tracing::warn!(%conflict, "no blocks are made");
        ctx.degraded(conflict.to_string());
        ctx.waiting_on("executor", format!("block {} to be the head again", conflict.last_number));
        self.plan_at_next_head(ctx);
    }

    /// Too many blocks are not on L1 yet, or not derived from there: those that would be lost if that went wrong become no more.
    fn hold(&self, lag: u64, ctx: &mut Context<Self>) {
        metrics::obstacle("safe_lag");
        let what = format!("the safe head, which is {lag} blocks behind (sequencer.max_safe_lag)");
        tracing::debug!(lag, most = self.settings.max_safe_lag, "no blocks are made until the safe head follows");
        ctx.degraded(format!("waits for {what}"));
        ctx.waiting_on("derivation", what);
        self.plan_at_next_head(ctx);
    }

    /// A block of the journal that the chain does not have (yet, or since a crash): the same bytes again.
    fn resume(&mut self, block: Arc<Block>, ctx: &mut Context<Self>) {
        let number = block.number();
        let import = self.ports.import.clone();
        ctx.waiting_on("executor", format!("block {number} of the journal to be imported"));
        self.step(async move { import.ask_retry(Import { block }, PATIENCE).await }, ctx, move |me, outcome, ctx| {
            let outcome = outcome.map_err(Obstacle::from).and_then(|refusal| refusal.map_err(Obstacle::from));
            match outcome.and_then(|()| me.published(number)) {
                Ok(()) => {
                    metrics::resealed();
                    tracing::info!(number, "block taken from the journal");
                    me.advance(format!("block {number} is in the chain"), ctx)
                }
                Err(obstacle) => me.wait_out(&obstacle, ctx),
            }
        });
    }

    /// The executor publishes before it answers. If it did not, to go on at once would only ask for the same again.
    fn published(&self, number: u64) -> Result<(), Obstacle> {
        match self.ports.heads.borrow().as_ref() {
            Some(heads) if heads.latest.number() >= number => Ok(()),
            _ => Err(Obstacle::Unpublished { number }),
        }
    }

    fn build(&mut self, heads: Arc<ChainHeads>, ctx: &mut Context<Self>) {
        let started = Instant::now();
        let (settings, ports, known) = (self.settings.clone(), self.ports.clone(), self.origin.clone());
        // Every request in there has its own bound.
        ctx.waiting_on("executor", format!("block {} to be built", heads.latest.number().saturating_add(1)));
        let attempt = async move { attempt(&settings, &ports, known, &heads, started).await };
        self.step(attempt, ctx, |me, outcome, ctx| match outcome {
            Ok(attempt) => me.seal(attempt, ctx),
            Err(obstacle) => me.wait_out(&obstacle, ctx),
        });
    }

    /// Journal, sync, and only then announce.
    fn seal(&mut self, attempt: Attempt, ctx: &mut Context<Self>) -> Result<(), SequencerError> {
        let block = attempt.built.block;
        let before = Instant::now();
        match self.journal.seal(&block, ctx.fence()) {
            Err(SequencerError::Conflict(conflict)) => {
                self.stand(conflict, ctx);
                return Ok(());
            }
            sealed => sealed?,
        }
        let journal = before.elapsed();
        metrics::sealed(attempt.took, journal);
        // A build that was slow once must not pull every later block forward for long.
        self.build_cost = (self.build_cost + attempt.took + journal) / 2;
        self.origin = Some(attempt.origin);
        self.holds_back = attempt.holds_back;
        if !attempt.built.invalid.is_empty() {
            // Losing it costs another try in the next block.
            let _ = self.ports.invalid.tell(Invalid { txs: attempt.built.invalid });
        }
        let (number, hash, transactions) = (block.number(), block.hash(), block.transactions.len());
        let insert = self.ports.insert.clone();
        self.step(async move { insert.ask_within(Insert { hash }, PATIENCE).await }, ctx, move |me, outcome, ctx| {
            let outcome = outcome.map_err(Obstacle::from).and_then(|refusal| refusal.map_err(Obstacle::from));
            match outcome.and_then(|()| me.published(number)) {
                Ok(()) => {
                    tracing::debug!(number, %hash, transactions, "block sealed");
                    me.advance(format!("block {number} sealed"), ctx)
                }
                // The block is in the journal: the next plan imports it.
                Err(obstacle) => me.wait_out(&obstacle, ctx),
            }
        });
        Ok(())
    }

    fn advance(&mut self, what: String, ctx: &mut Context<Self>) -> Result<(), SequencerError> {
        self.pause.reset();
        if self.holds_back {
            metrics::obstacle("window");
            ctx.degraded("the sequencing window of new blocks is nearly over, so they are without users' transactions");
        } else {
            ctx.healthy();
        }
        ctx.progress(what);
        self.plan(ctx)
    }

    fn wait_out(&mut self, obstacle: &Obstacle, ctx: &mut Context<Self>) -> Result<(), SequencerError> {
        metrics::obstacle(obstacle.reason());
        let pause = self.pause.take();
        tracing::debug!(%obstacle, ?pause, "cannot make a block now");
        if pause >= Pause::LOUD {
            tracing::warn!(%obstacle, "still cannot make a block");
        }
        if matches!(obstacle, Obstacle::Origin(_) | Obstacle::UnknownOrigin(_)) {
            self.origin = None;
        }
        ctx.waiting_on(obstacle.actor(), obstacle.to_string());
        self.plan_after(pause, ctx);
        Ok(())
    }
}

/// The block by which L1 made void what was announced here: it took the place of one of those blocks, and stands. Nothing was built
/// on it since but what follows from L1: what was announced on top of it is not void.
fn voided(conflict: &SealConflict, heads: &ChainHeads) -> Option<BlockNumHash> {
    heads.replaced.filter(|by| {
        by.number <= conflict.last_number
            && by.number <= heads.safe.number
            && heads.safe.hash == heads.latest.hash()
            && (by.number, by.hash) != (conflict.last_number, conflict.last_hash)
    })
}

async fn attempt(
    settings: &Settings,
    ports: &Ports,
    known: Option<Arc<OriginBlock>>,
    heads: &ChainHeads,
    started: Instant,
) -> Result<Attempt, Obstacle> {
    let rollup = &settings.rollup;
    let parent = &heads.latest;
    let head = l2_block_ref(rollup, parent)?;
    let system = system_config_of(rollup, &settings.spec, parent)?;

    let current = match known {
        Some(origin) if origin.hash == head.l1_origin.hash => origin,
        _ => {
            let hash = head.l1_origin.hash;
            let found = ports.l1_by_hash.ask_within(ViewBlockByHash { hash }, PATIENCE).await?;
            let found = found.ok_or(Obstacle::UnknownOrigin(hash))?;
            Arc::new(origin_block(rollup, &found))
        }
    };
    let wanted = head.l1_origin.number + 1;
    let l1_tip = ports.l1_heads.borrow().as_ref().map_or(0, |heads| heads.latest.number);
    let recovering = ports.sequencing.borrow().recovering;
    let confirmations = if recovering { 0 } else { settings.confirmations };
    let next = if l1_tip >= wanted + confirmations {
        ports.l1_by_number.ask_within(ViewBlockByNumber { number: wanted }, PATIENCE).await?
    } else {
        None
    };
    let next = next.map(|block| Arc::new(origin_block(rollup, &block)));
    let choice =
        choose_origin(rollup, &head, &current.block_ref(), next.as_deref().map(OriginBlock::block_ref).as_ref())?;
    let origin = match next {
        Some(next) if next.hash == choice.origin.hash => next,
        _ => current,
    };
    let timestamp = head.timestamp + rollup.block_time;
    let attributes = epoch_attributes(rollup, &system, timestamp, &choice, &origin)?;
    if choice.sequence_number == 0 {
        for skipped in &origin.updates.skipped {
            let (l1_block, log, reason) = (origin.header.number, skipped.log_index, skipped.reason);
            tracing::warn!(l1_block, log, %reason, "a system config update on L1 changes nothing");
        }
    }

    // Blocks that the batcher may not get to L1 in time are replaced by blocks with deposits only: these are the same at once, and no
    // user sees a transaction that is taken back. The view may lag behind L1.
    let newest = ports.l1_tip.borrow().map_or(l1_tip, |tip| tip.height.max(l1_tip));
    let holds_back = !rollup.leaves_time(choice.origin.number, newest);
    let pool = if choice.no_user_transactions || holds_back || recovering {
        Arc::from([])
    } else {
        let base_fee = duskevm_evm::header::next_base_fee(&settings.spec, &parent.header, timestamp)?;
        let best = Best { base_fee, gas_limit: system.gas_limit, count: settings.max_transactions };
        // Without the pool the chain goes on with empty blocks: time does not stop for a restart.
        match ports.best.ask_within(best, settings.time_budget).await {
            Ok(best) => best,
            Err(error) => {
                tracing::debug!(%error, "building without the pool");
                metrics::obstacle("pool");
                Arc::from([])
            }
        }
    };
    let until = Some(Instant::now() + settings.time_budget);
    let da = settings.throttle.limits(*ports.throttle.borrow()).and(ports.da_orders.limits());
    let build = Build { parent: parent.hash(), attributes, pool, until, da };
    let built = ports.build.ask_within(build, PATIENCE + settings.time_budget).await??;
    Ok(Attempt { built, origin, took: started.elapsed(), holds_back })
}

fn origin_block(rollup: &RollupConfig, block: &ViewBlock) -> OriginBlock {
    OriginBlock::read(rollup, &block.header, &block.receipts)
}

impl Actor for Sequencer {
    type Error = SequencerError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        metrics::active(self.ports.sequencing.borrow().active);
        self.plan(ctx)
    }
}
