//! The loop of the sequencer. Each step ends by planning the next one, so that there is never more than one.

use crate::{
    error::SequencerError,
    journal::SealJournal,
    metrics,
    state::{Pause, Ports, Settings, lead},
};
use alloy_primitives::B256;
use duskevm_evm::Block;
use duskevm_fence::Fence;
use duskevm_messages::{
    executor::{Build, Built, ChainHeads, ExecutorRefusal, Import, Insert},
    l1::{ViewBlockByHash, ViewBlockByNumber},
    txpool::{Best, Invalid},
};
use duskevm_rollup::{
    AttributesError, BlockRefError, L1BlockRef, OriginBlock, OriginError, choose_origin, epoch_attributes,
    l2_block_ref, system_config_of,
};
use duskevm_supervision::{Actor, AskError, Context, StartError};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long a neighbour is waited for in one attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the blocks of the chain.
#[derive(Debug)]
pub struct Sequencer {
    settings: Arc<Settings>,
    ports: Ports,
    journal: SealJournal,
    pause: Pause,
    /// What building the last blocks took.
    build_cost: Duration,
    /// The origin of the head, so that it is not asked for at every block.
    origin: Option<Arc<OriginBlock>>,
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
}

impl Obstacle {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Neighbour(_) => "neighbour",
            Self::Refused(_) => "refused",
            Self::Origin(_) => "origin",
            Self::Attributes(_) => "attributes",
            Self::UnknownOrigin(_) => "l1",
            Self::Head(_) => "head",
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
            Self::Neighbour(AskError::Stopping) | Self::Refused(_) | Self::Attributes(_) | Self::Head(_) => {
                "executor".into()
            }
            Self::Origin(_) | Self::UnknownOrigin(_) => "l1".into(),
        }
    }
}

/// What a build hands back to the actor.
struct Attempt {
    built: Built,
    origin: Arc<OriginBlock>,
    took: Duration,
}

impl Sequencer {
    /// Opens the journal.
    ///
    /// # Errors
    /// If the journal cannot be read; a damaged one ends the node, because sealing on without it could equivocate.
    pub fn open(settings: Arc<Settings>, ports: Ports, fence: &Fence) -> Result<Self, StartError> {
        let journal = SealJournal::open(&settings.journal, fence)?;
        Ok(Self { settings, ports, journal, pause: Pause::new(), build_cost: Duration::ZERO, origin: None })
    }

    /// Decides what to do next.
    fn plan(&mut self, ctx: &mut Context<Self>) -> Result<(), SequencerError> {
        let heads = self.ports.heads.borrow_and_update().clone();
        let Some(heads) = heads else {
            ctx.waiting_on("executor", "the executor to open the chain");
            let mut feed = self.ports.heads.clone();
            ctx.listen(
                async move {
                    // An error means that the node is going down.
                    let _ = feed.changed().await;
                },
                |me, (), ctx| me.plan(ctx),
            );
            return Ok(());
        };
        self.journal.forget_up_to(heads.durable, ctx.fence())?;
        if let Some(block) = self.journal.child_of(heads.latest.number(), heads.latest.hash()) {
            self.resume(block, ctx);
            return Ok(());
        }
        let due = UNIX_EPOCH + Duration::from_secs(heads.latest.header.timestamp + self.settings.rollup.block_time);
        let block_time = Duration::from_secs(self.settings.rollup.block_time);
        let start_at = due - lead(self.build_cost, block_time);
        match start_at.duration_since(SystemTime::now()) {
            Ok(wait) if !wait.is_zero() => {
                ctx.waiting(format!("the time of block {}", heads.latest.number() + 1));
                ctx.after(wait, |me, ctx| me.plan(ctx));
            }
            _ => self.build(heads, ctx),
        }
        Ok(())
    }

    /// A block of the journal that the chain does not have (yet, or since a crash): the same bytes again.
    fn resume(&mut self, block: Arc<Block>, ctx: &mut Context<Self>) {
        let number = block.number();
        let import = self.ports.import.clone();
        ctx.waiting_on("executor", format!("block {number} of the journal to be imported"));
        ctx.pipe(async move { import.ask_retry(Import { block }, PATIENCE).await }, move |me, outcome, ctx| {
            match outcome.map_err(Obstacle::from).and_then(|refusal| refusal.map_err(Obstacle::from)) {
                Ok(()) => {
                    metrics::resealed();
                    tracing::info!(number, "block taken from the journal");
                    me.advance(format!("block {number} is in the chain"), ctx)
                }
                Err(obstacle) => me.wait_out(&obstacle, ctx),
            }
        });
    }

    fn build(&mut self, heads: Arc<ChainHeads>, ctx: &mut Context<Self>) {
        let started = Instant::now();
        let (settings, ports, known) = (self.settings.clone(), self.ports.clone(), self.origin.clone());
        ctx.pipe(async move { attempt(&settings, &ports, known, &heads, started).await }, |me, outcome, ctx| {
            match outcome {
                Ok(attempt) => me.seal(attempt, ctx),
                Err(obstacle) => me.wait_out(&obstacle, ctx),
            }
        });
    }

    /// Journal, sync, and only then announce.
    fn seal(&mut self, attempt: Attempt, ctx: &mut Context<Self>) -> Result<(), SequencerError> {
        let block = attempt.built.block;
        let before = Instant::now();
        self.journal.seal(&block, ctx.fence())?;
        let journal = before.elapsed();
        metrics::sealed(attempt.took, journal);
        // A build that was slow once must not pull every later block forward for long.
        self.build_cost = (self.build_cost + attempt.took + journal) / 2;
        self.origin = Some(attempt.origin);
        if !attempt.built.invalid.is_empty() {
            // Losing it costs another try in the next block.
            let _ = self.ports.invalid.tell(Invalid { txs: attempt.built.invalid });
        }
        let (number, hash, transactions) = (block.number(), block.hash(), block.transactions.len());
        let insert = self.ports.insert.clone();
        ctx.pipe(async move { insert.ask_within(Insert { hash }, PATIENCE).await }, move |me, outcome, ctx| {
            match outcome.map_err(Obstacle::from).and_then(|refusal| refusal.map_err(Obstacle::from)) {
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
        ctx.healthy();
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
        ctx.after(pause, |me, ctx| me.plan(ctx));
        Ok(())
    }
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
            Arc::new(origin_block(&found))
        }
    };
    let wanted = head.l1_origin.number + 1;
    let l1_tip = ports.l1_heads.borrow().as_ref().map_or(0, |heads| heads.latest.number);
    let next = if l1_tip >= wanted + settings.confirmations {
        ports
            .l1_by_number
            .ask_within(ViewBlockByNumber { number: wanted }, PATIENCE)
            .await?
            .map(|b| Arc::new(origin_block(&b)))
    } else {
        None
    };
    let choice = choose_origin(rollup, &head, &l1_ref(&current), next.as_deref().map(l1_ref).as_ref())?;
    let origin = match next {
        Some(next) if next.hash == choice.origin.hash => next,
        _ => current,
    };
    let timestamp = head.timestamp + rollup.block_time;
    let attributes = epoch_attributes(rollup, &system, timestamp, &choice, &origin)?;

    let pool = if choice.no_user_transactions {
        Arc::from([])
    } else {
        let base_fee =
            duskevm_evm::header::next_base_fee(&settings.spec, &parent.header, timestamp).unwrap_or_default();
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
    let build = Build { parent: parent.hash(), attributes, pool, until };
    let built = ports.build.ask_within(build, PATIENCE).await??;
    Ok(Attempt { built, origin, took: started.elapsed() })
}

fn l1_ref(origin: &OriginBlock) -> L1BlockRef {
    L1BlockRef {
        hash: origin.hash,
        number: origin.header.number,
        parent_hash: origin.header.parent_hash,
        timestamp: origin.header.timestamp,
    }
}

fn origin_block(block: &duskevm_l1_view::ViewBlock) -> OriginBlock {
    OriginBlock { header: block.header.inner().clone(), hash: block.header.hash(), deposits: Vec::new() }
}

impl Actor for Sequencer {
    type Error = SequencerError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        self.plan(ctx)
    }
}
