//! The loop of derivation. Each step ends by planning the next one, so that there is never more than one under way.

mod blocks;
mod empty;
mod finality;
mod l1;
mod search;

use crate::{
    chain::Chain,
    error::DerivationError,
    metrics,
    seek::Seek,
    state::{Pause, Ports, Settings},
};
use alloy_eips::BlockNumHash;
use alloy_primitives::B256;
use duskevm_messages::{derivation::ResetPipeline, executor::ExecutorRefusal, sequencer::ResetRefusal};
use duskevm_rollup::{
    L1BlockRef,
    derive::{InputError, L2Head, Pipeline},
    finality::Finalizer,
};
use duskevm_supervision::{Actor, AskError, Context, Handle, Reply, Responder};
use empty::EmptyBatches;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long a neighbour is waited for in one attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the executor may take to execute a block, or to take the chain back.
const LONG_PATIENCE: Duration = Duration::from_secs(25);

/// How long peers may be asked for blobs in one attempt.
const BLOB_PATIENCE: Duration = Duration::from_secs(4);

/// Requests to begin anew that wait for the same beginning.
const MOST_RESETS: usize = 16;

/// Steps of the pipeline in one turn on the actor's thread.
const TURN: usize = 16;

/// How long a turn may take before others have theirs: a step may decompress tens of megabytes.
const TURN_TIME: Duration = Duration::from_millis(20);

/// Blocks that are consolidated before the executor hears of it at the latest.
const UNLABELLED: usize = 64;

/// Derives the chain.
#[derive(Debug)]
pub struct Derivation {
    settings: Arc<Settings>,
    ports: Ports,
    chain: Chain,
    phase: Phase,
    pause: Pause,
    finalizer: Finalizer,
    /// An L1 head with which the origin of the newest L2 block was found to fit, and that origin.
    fits: Option<(B256, B256)>,
    /// Who waits for the pipeline to begin anew.
    resetting: Vec<Responder<ResetPipeline>>,
    /// Ends the wait for news.
    wake: Arc<Notify>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is known yet.
    Idle,
    /// Where to begin is looked for.
    Seeking(Box<Seek>),
    /// L1 is read.
    Deriving(Box<Deriving>),
}

#[derive(Debug)]
struct Deriving {
    pipeline: Pipeline,
    safe: L2Head,
    /// Blocks that became safe since the executor was told.
    unlabelled: usize,
    /// What lies below is noted already, and more than this pass could know: `None` until a block was derived.
    note_from: Option<u64>,
    /// The L1 block that is read, whose safe head is noted when the next one begins.
    reading: Option<L1BlockRef>,
    /// The same block until others may hear of it: when what was derived below it is labelled.
    untold: Option<L1BlockRef>,
    /// The blocks for which L1 had no batch in time.
    empty: EmptyBatches,
    /// A note that waits to be written.
    note: Option<(BlockNumHash, BlockNumHash)>,
    /// The L1 block whose note was made last.
    noted: Option<B256>,
}

/// Why derivation cannot go on at the moment. All of these are waited out.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error(transparent)]
    Neighbour(#[from] AskError),
    #[error("the executor refused: {0}")]
    Refused(#[from] ExecutorRefusal),
    #[error("the sequencer did not reset: {0}")]
    Reset(#[from] ResetRefusal),
    #[error("L1 block {0} is not known to the L1 view")]
    UnknownL1(u64),
    #[error("blob {hash} of L1 block {block} is not here and no peer has it")]
    MissingBlob { hash: B256, block: u64 },
    #[error("L1 block {0} has blobs, and this node keeps none (actors.da_store is off): switch it on")]
    NoBlobStore(u64),
    #[error("L2 block {0} left the chain while it was read")]
    Moved(u64),
    #[error(transparent)]
    Input(#[from] InputError),
}

impl Obstacle {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Neighbour(_) => "neighbour",
            Self::Refused(_) => "refused",
            Self::Reset(_) => "reset",
            Self::UnknownL1(_) => "l1",
            Self::MissingBlob { .. } | Self::NoBlobStore(_) => "blob",
            Self::Moved(_) => "moved",
            Self::Input(_) => "input",
        }
    }

    const fn actor(&self) -> &'static str {
        match self {
            Self::MissingBlob { .. } | Self::NoBlobStore(_) => "da-store",
            Self::UnknownL1(_) => "l1",
            Self::Reset(_) => "sequencer",
            Self::Neighbour(_) | Self::Refused(_) | Self::Moved(_) | Self::Input(_) => "executor",
        }
    }
}

impl Derivation {
    /// Waits for the neighbours, then begins.
    pub fn new(settings: Arc<Settings>, ports: Ports) -> Self {
        let chain =
            Chain { reader: ports.reader.clone(), rollup: settings.rollup.clone(), spec: settings.spec.clone() };
        Self {
            settings,
            ports,
            chain,
            phase: Phase::Idle,
            pause: Pause::new(),
            finalizer: Finalizer::default(),
            fits: None,
            resetting: Vec::new(),
            wake: Arc::new(Notify::new()),
        }
    }

    /// Decides what to do next.
    fn plan(&mut self, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        if !self.resetting.is_empty() {
            tracing::warn!("derivation begins anew, as an operator wants it");
            self.again();
            self.resetting.drain(..).for_each(|responder| responder.send(()));
        }
        let heads = self.ports.heads.borrow_and_update().clone();
        let Some(heads) = heads else {
            ctx.waiting_on("executor", "the executor to open the chain");
            self.plan_at_news(ctx);
            return Ok(());
        };
        if self.ports.l1_heads.borrow_and_update().is_none() {
            ctx.waiting_on("l1", "the L1 view to begin");
            self.plan_at_news(ctx);
            return Ok(());
        }
        match self.phase {
            Phase::Idle => self.begin(&heads, ctx),
            Phase::Seeking(_) => self.seek(ctx),
            Phase::Deriving(_) => self.derive(ctx),
        }
    }

    /// Plans as soon as the L2 chain or L1 has moved.
    fn plan_at_news(&self, ctx: &mut Context<Self>) {
        let (mut l2, mut l1, wake) = (self.ports.heads.clone(), self.ports.l1_heads.clone(), self.wake.clone());
        let news = async move {
            // A feed without its sender means that the node is going down.
            tokio::select! {
                () = wake.notified() => true,
                changed = l2.changed() => changed.is_ok(),
                changed = l1.changed() => changed.is_ok(),
            }
        };
        ctx.listen(news, |me, alive, ctx| if alive { me.plan(ctx) } else { Ok(()) });
    }

    fn plan_after(&self, pause: Duration, ctx: &mut Context<Self>) {
        ctx.after(pause, Self::plan);
    }

    /// Lets other messages in, then goes on.
    fn plan_soon(&self, ctx: &mut Context<Self>) {
        ctx.pipe(tokio::task::yield_now(), |me, (), ctx| me.plan(ctx));
    }

    fn again(&mut self) {
        self.phase = Phase::Idle;
    }

    fn wait_out(&mut self, obstacle: &Obstacle, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        metrics::obstacle(obstacle.reason());
        let pause = self.pause.take();
        tracing::debug!(%obstacle, ?pause, "derivation waits");
        if pause >= Pause::LOUD {
            tracing::warn!(%obstacle, "derivation still waits");
            ctx.degraded(obstacle.to_string());
        }
        ctx.waiting_on(obstacle.actor(), obstacle.to_string());
        self.plan_after(pause, ctx);
        Ok(())
    }

    fn moved_on(&mut self, what: String, ctx: &mut Context<Self>) {
        self.pause.reset();
        let without_batches = match &self.phase {
            Phase::Deriving(now) => now.empty.last(),
            _ => None,
        };
        match without_batches {
            Some(epoch) => ctx.degraded(format!(
                "no batch was on L1 within the sequencing window of epoch {epoch}: blocks hold deposits only until there are batches again (does the batcher run, and has its account DUSK?)"
            )),
            None => ctx.healthy(),
        }
        ctx.progress(what);
    }
}

impl Actor for Derivation {
    type Error = DerivationError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        metrics::describe();
        self.plan(ctx)
    }
}

impl Handle<ResetPipeline> for Derivation {
    /// What is under way ends first: the next plan begins anew.
    fn handle(&mut self, _: ResetPipeline, _: &mut Context<Self>) -> Result<Reply<ResetPipeline>, Self::Error> {
        let (reply, responder) = Reply::deferred();
        // Who is one too many is told that the request was dropped.
        if self.resetting.len() < MOST_RESETS {
            self.resetting.push(responder);
        }
        self.wake.notify_one();
        Ok(reply)
    }
}
