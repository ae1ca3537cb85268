//! The loop of the batcher. Each step ends by planning the next one, so that there is never more than one under way.

use crate::{
    chain::Chain,
    error::BatcherError,
    journal::BatchJournal,
    l1::{Look, LookError, PATIENCE, id, look},
    metrics,
    sign::SignError,
    state::{Pause, Ports, Settings},
    work::{Task, Work},
};
use alloy_primitives::{B256, Bytes};
use duskevm_batcher_core::{Batcher, Derived, Heads, Refusal, Wait};
use duskevm_dusk_l1::mempool::MempoolError;
use duskevm_fence::Fence;
use duskevm_messages::{
    consensus::{SubmitDuskTransaction, SubmitRefusal},
    executor::ChainHeads,
    l1::L1Heads,
};
use duskevm_rollup::batcher_of;
use duskevm_supervision::{Actor, AskError, Context, StartError};
use std::sync::Arc;

/// Posts the L2 chain.
#[derive(Debug)]
pub struct BatcherActor {
    settings: Arc<Settings>,
    ports: Ports,
    journal: BatchJournal,
    /// `None` while a worker has it.
    work: Option<Box<Work>>,
    pause: Pause,
    /// The newest L1 block that was looked at.
    seen: Option<B256>,
    derived: Option<Derived>,
}

/// Why the batcher cannot go on at the moment. All of these are waited out.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error(transparent)]
    Neighbour(#[from] AskError),
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("nothing can be signed: {0}")]
    Sign(#[from] SignError),
}

impl Obstacle {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Neighbour(_) | Self::Look(LookError::Neighbour(_)) => "neighbour",
            Self::Look(LookError::Store(_)) => "store",
            Self::Look(LookError::Moved) => "moved",
            Self::Look(LookError::Nonce(_)) => "nonce",
            Self::Sign(_) => "sign",
        }
    }

    const fn actor(&self) -> &'static str {
        match self {
            Self::Neighbour(_) | Self::Look(LookError::Neighbour(_) | LookError::Nonce(_)) | Self::Sign(_) => {
                "consensus"
            }
            Self::Look(LookError::Store(_)) => "executor",
            Self::Look(LookError::Moved) => "l1",
        }
    }
}

impl BatcherActor {
    /// Reads the journal.
    ///
    /// # Errors
    /// If it cannot be read; a damaged one ends the node.
    pub fn open(settings: Arc<Settings>, ports: Ports, fence: &Fence) -> Result<Self, StartError> {
        let mut batcher = Batcher::new(settings.rollup.clone(), settings.rules);
        let journal = BatchJournal::open(&settings.journal, fence, &mut batcher)?;
        let chain = Chain { reader: ports.reader.clone(), rollup: settings.rollup.clone() };
        let work = Some(Box::new(Work::new(batcher, chain, settings.keys.clone())));
        Ok(Self { settings, ports, journal, work, pause: Pause::new(), seen: None, derived: None })
    }

    /// Decides what to do next.
    fn plan(&mut self, ctx: &mut Context<Self>) -> Result<(), BatcherError> {
        let heads = self.ports.heads.borrow_and_update().clone();
        let Some(heads) = heads else {
            ctx.waiting_on("executor", "the executor to open the chain");
            self.plan_at_news(ctx);
            return Ok(());
        };
        let l1 = *self.ports.l1_heads.borrow_and_update();
        let Some(l1) = l1 else {
            ctx.waiting_on("l1", "the L1 view to begin");
            self.plan_at_news(ctx);
            return Ok(());
        };
        if self.seen != Some(l1.latest.hash) {
            self.look(l1, ctx);
        } else if let Some(why) = stranger(&self.settings, &heads) {
            metrics::obstacle("stranger");
            ctx.degraded(why.clone());
            ctx.waiting_on("executor", why);
            self.plan_at_news(ctx);
        } else {
            self.run(&heads, ctx);
        }
        Ok(())
    }

    /// Plans as soon as one of the chains has moved.
    fn plan_at_news(&self, ctx: &mut Context<Self>) {
        let (mut l2, mut l1) = (self.ports.heads.clone(), self.ports.l1_heads.clone());
        let news = async move {
            // A feed without its sender means that the node is going down.
            tokio::select! {
                changed = l2.changed() => changed.is_ok(),
                changed = l1.changed() => changed.is_ok(),
            }
        };
        ctx.listen(news, |me, alive, ctx| if alive { me.plan(ctx) } else { Ok(()) });
    }

    /// Lets other messages in, then goes on.
    fn plan_soon(&self, ctx: &mut Context<Self>) {
        ctx.pipe(tokio::task::yield_now(), |me, (), ctx| me.plan(ctx));
    }

    fn wait_out(&mut self, obstacle: &Obstacle, ctx: &mut Context<Self>) -> Result<(), BatcherError> {
        metrics::obstacle(obstacle.reason());
        let pause = self.pause.take();
        tracing::debug!(%obstacle, ?pause, "the batcher waits");
        if pause >= Pause::LOUD {
            tracing::warn!(%obstacle, "the batcher still waits");
            ctx.degraded(obstacle.to_string());
        }
        ctx.waiting_on(obstacle.actor(), obstacle.to_string());
        ctx.after(pause, Self::plan);
        Ok(())
    }

    fn moved_on(&mut self, what: String, ctx: &mut Context<Self>) {
        self.pause.reset();
        ctx.healthy();
        ctx.progress(what);
    }

    /// Looks at L1, once for each of its blocks.
    fn look(&mut self, l1: L1Heads, ctx: &mut Context<Self>) {
        let Some(work) = &self.work else { return };
        let (ports, keys, watched) = (self.ports.clone(), self.settings.keys.clone(), work.batcher.watched());
        ctx.waiting_on(
            "consensus",
            format!("what L1 block {} says of {} transactions", l1.latest.number, watched.len()),
        );
        let looked = async move { look(&ports, &keys, watched, l1).await };
        ctx.pipe(looked, move |me, looked, ctx| match looked {
            Ok(Look { observation, derived }) => {
                if let Some(work) = &mut me.work {
                    work.observe(&observation);
                }
                me.derived = derived;
                me.seen = Some(l1.latest.hash);
                me.moved_on(format!("L1 block {} looked at", l1.latest.number), ctx);
                me.plan(ctx)
            }
            Err(error) => me.wait_out(&error.into(), ctx),
        });
    }

    /// Lets a worker go on.
    fn run(&mut self, heads: &ChainHeads, ctx: &mut Context<Self>) {
        // There is never more than one step under way, so the work is here.
        let Some(mut work) = self.work.take() else { return };
        let heads = Heads {
            latest: heads.latest.number(),
            safe: id(heads.safe),
            finalized: heads.finalized.number,
            derived: self.derived,
        };
        let workers = self.settings.workers.clone();
        ctx.progress("works on the open channel");
        let ran = async move {
            // The semaphore is never closed; without a permit the work is done all the same.
            let permit = workers.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let task = work.run(heads);
                drop(permit);
                (work, task)
            })
            .await
        };
        ctx.pipe(ran, |me, ran, ctx| {
            let (work, task) = ran.map_err(|error| BatcherError::Worker(error.to_string()))?;
            me.ports.throttle.send_if_modified(|level| {
                let now = work.batcher.throttle();
                std::mem::replace(level, now) != now
            });
            me.work = Some(work);
            me.finish(task?, ctx)
        });
    }

    fn finish(&mut self, task: Task, ctx: &mut Context<Self>) -> Result<(), BatcherError> {
        match task {
            Task::Again => {
                self.moved_on("more blocks are in the open channel".into(), ctx);
                self.plan_soon(ctx);
            }
            Task::Journal(records) => {
                let Some(work) = &self.work else { return Ok(()) };
                self.journal.write(&records, &work.batcher, ctx.fence())?;
                self.moved_on(format!("{} records written", records.len()), ctx);
                self.plan_soon(ctx);
            }
            Task::Submit(transactions) => self.submit(transactions, ctx),
            Task::Unsigned(error) => return self.wait_out(&error.into(), ctx),
            Task::Wait(wait) => {
                self.pause.reset();
                match wait {
                    Wait::Funds { .. } | Wait::Unpostable { .. } | Wait::Pause { .. } | Wait::Window { .. } => {
                        ctx.degraded(wait.to_string());
                    }
                    _ => ctx.healthy(),
                }
                ctx.waiting_on(whom(&wait), wait.to_string());
                self.plan_at_news(ctx);
            }
        }
        Ok(())
    }

    /// Submits transactions one after the other. What does not arrive is submitted again when L1 does not know it.
    fn submit(&mut self, transactions: Vec<(B256, Bytes)>, ctx: &mut Context<Self>) {
        let port = self.ports.submit.clone();
        ctx.waiting_on("consensus", format!("{} transactions to be taken", transactions.len()));
        let submitted = async move {
            let mut refused = Vec::new();
            for (id, bytes) in transactions {
                match port.ask_within(SubmitDuskTransaction { bytes }, PATIENCE).await {
                    Ok(Ok(_)) => metrics::transactions("submitted", 1),
                    Ok(Err(refusal)) => {
                        tracing::info!(%id, %refusal, "L1 does not take a transaction of the batcher");
                        metrics::transactions("refused", 1);
                        refused.push((id, reason(&refusal)));
                    }
                    Err(error) => return (refused, Some(error)),
                }
            }
            (refused, None)
        };
        ctx.pipe(submitted, |me, (refused, failed), ctx| {
            if let Some(work) = &mut me.work {
                refused.iter().for_each(|(id, refusal)| work.batcher.refused(*id, *refusal));
            }
            match failed {
                Some(error) => me.wait_out(&error.into(), ctx),
                None => {
                    me.moved_on("transactions submitted".into(), ctx);
                    me.plan(ctx)
                }
            }
        });
    }
}

/// Why nothing is posted, if the rollup's batcher is another one by now: derivation would pass over all of it, though it is paid for.
fn stranger(settings: &Settings, heads: &ChainHeads) -> Option<String> {
    // A block that does not say it is no business of the batcher.
    let (expected, found) = (batcher_of(&settings.rollup, &heads.latest).ok()?, settings.keys.batcher());
    (expected != found).then(|| {
        format!(
            "the system configuration's batcher is {expected}, but the key of keys.batcher is that of {found}: nothing is posted \
             until one of them is changed"
        )
    })
}

const fn reason(refusal: &SubmitRefusal) -> Refusal {
    match refusal {
        SubmitRefusal::Mempool(MempoolError::Underpriced { price, .. } | MempoolError::Full { price }) => {
            Refusal::Underpriced(*price)
        }
        _ => Refusal::Other,
    }
}

const fn whom(wait: &Wait) -> &'static str {
    match wait {
        Wait::Start | Wait::L2Block { .. } => "executor",
        Wait::Derivation { .. } | Wait::Safe { .. } | Wait::Unpostable { .. } | Wait::Window { .. } => "derivation",
        Wait::Transaction { .. } | Wait::Funds { .. } => "consensus",
        Wait::Pause { .. } | Wait::Stale { .. } => "l1",
    }
}

impl Actor for BatcherActor {
    type Error = BatcherError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        metrics::describe();
        self.plan(ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{
        tests::{keys, rollup, settings},
        workers,
    };
    use alloy_consensus::{Header, Sealable};
    use alloy_eips::BlockNumHash;
    use alloy_primitives::Address;
    use duskevm_evm::Block;

    #[test]
    fn nothing_is_posted_with_a_key_that_derivation_does_not_know() {
        let latest = Arc::new(Block { header: Header::default().seal_slow(), transactions: Vec::new() });
        let zero = BlockNumHash::default();
        let heads = ChainHeads { latest: latest.clone(), safe: zero, finalized: zero, durable: 0, replaced: None };
        for (batcher, posts) in [(keys().batcher(), true), (Address::repeat_byte(7), false)] {
            let mut rollup = (*rollup()).clone();
            rollup.genesis.l2.hash = latest.hash();
            rollup.genesis.system_config.batcher_address = batcher;
            let settings = Settings {
                rollup: Arc::new(rollup),
                rules: settings(),
                keys: Arc::new(keys()),
                journal: "".into(),
                workers: workers(),
            };
            let why = stranger(&settings, &heads);
            assert_eq!(why.is_none(), posts);
            assert!(why.is_none_or(|why| why.contains(&batcher.to_string()) && why.contains("keys.batcher")));
        }
    }
}
