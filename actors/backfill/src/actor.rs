//! The actor: between the rules, the source and the executor.

use crate::{
    client::Source,
    error::BackfillError,
    metrics,
    state::{Ports, Settings, StoredChain},
};
use alloy_primitives::B256;
use duskevm_engine_api::backfill::{Answer, Backfill, Effect, Event, Outcome, Progress, Verdict};
use duskevm_messages::{
    backfill::CatchingUp,
    executor::{
        HeadsFeed,
        engine::{Advance, Advanced, Condemn, Mandate, Offer, Offered, WantedFeed},
    },
};
use duskevm_supervision::{Actor, AskError, Context, Generation, StartContext};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long the executor may take over a block, its restarts included.
const EXECUTION: Duration = Duration::from_secs(25);
/// How often it is looked whether a pause is over.
const TICK: Duration = Duration::from_millis(250);

/// Fetches missing blocks.
#[derive(Debug)]
pub struct Backfiller {
    source: Source,
    url: Arc<str>,
    ports: Ports,
    machine: Backfill,
    /// With what the chain is led to the wanted head.
    mandate: Option<Mandate>,
    /// The instance of the executor whose verdicts are known.
    judge: Option<Generation>,
    /// The last attempt ended without the wanted head.
    has_failed: bool,
    /// It was said that the source does not answer.
    told_of_silence: bool,
    start: Instant,
}

impl Backfiller {
    /// An instance that knows nothing yet: which head is wanted is in the executor's feed.
    ///
    /// # Errors
    /// [`BackfillError::Source`].
    pub fn open(settings: &Settings, ports: Ports, start: &StartContext) -> Result<Self, BackfillError> {
        start.fence.check()?;
        metrics::describe();
        ports.catching_up.send_replace(None);
        Ok(Self {
            source: Source::new(settings)?,
            url: settings.source.as_str().into(),
            ports,
            machine: Backfill::default(),
            mandate: None,
            judge: None,
            has_failed: false,
            told_of_silence: false,
            start: Instant::now(),
        })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for the heads that the consensus client wants. A feed that ended says that the node ends.
    fn watch(&self, mut wanted: WantedFeed, ctx: &mut Context<Self>) {
        let next = async move {
            let alive = wanted.changed().await.is_ok();
            (wanted, alive)
        };
        ctx.listen(next, |actor, (mut wanted, alive), ctx| {
            if alive {
                actor.wanted(&mut wanted, ctx);
                actor.watch(wanted, ctx);
            }
            Ok(())
        });
    }

    fn wanted(&mut self, feed: &mut WantedFeed, ctx: &mut Context<Self>) {
        let wanted = *feed.borrow_and_update();
        let mandate = wanted.map(|wanted| wanted.mandate);
        if self.mandate != mandate {
            // The consensus client has taken a head since, or the executor is a new one.
            self.machine.forget();
            self.mandate = mandate;
            self.has_failed = false;
            ctx.healthy();
        }
        if let Some(wanted) = wanted {
            if self.judge.replace(wanted.mandate.generation) != Some(wanted.mandate.generation) {
                self.machine.forget_verdicts();
            }
            self.machine.want(wanted.head);
        }
        self.pump(ctx);
    }

    /// The chain is open once the executor has said where it stands.
    fn watch_chain(&self, mut heads: HeadsFeed, ctx: &mut Context<Self>) {
        let open = async move {
            let _ = heads.wait_for(Option::is_some).await;
        };
        ctx.listen(open, |actor, (), ctx| {
            actor.pump(ctx);
            Ok(())
        });
    }

    /// Does what the rules want done.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        let (now, heads) = (self.now(), self.ports.heads.borrow().clone());
        let Some(heads) = heads else { return ctx.waiting_on("executor", "the chain to be opened") };
        let own = StoredChain { heads, reader: &self.ports.reader };
        for effect in self.machine.next(&own, now) {
            match effect {
                Effect::Ask(attempt, ask) => {
                    let source = self.source.clone();
                    ctx.listen(async move { source.ask(ask).await }, move |actor, answer, ctx| {
                        actor.answered(attempt, answer, ctx);
                        Ok(())
                    });
                }
                Effect::Offer(attempt, block) => {
                    let port = self.ports.offer.clone();
                    let offered = async move { offered(port.ask_retry(Offer { block }, EXECUTION).await) };
                    self.follow(attempt, offered, ctx);
                }
                Effect::Advance { attempt, from, to } => {
                    let Some(mandate) = self.mandate else { continue };
                    let (port, step) = (self.ports.advance.clone(), Advance { from, to: to.hash, mandate });
                    let advanced = async move {
                        Ok(match port.ask_retry(step, EXECUTION).await.map_err(unavailable)? {
                            Ok(Advanced::Done) => Outcome::Done,
                            Ok(Advanced::Superseded) => Outcome::Moved,
                            Ok(Advanced::Unknown) => {
                                Outcome::Unavailable("the executor has forgotten the block".into())
                            }
                            Err(refusal) => Outcome::Refused(refusal.to_string()),
                        })
                    };
                    self.follow(attempt, advanced, ctx);
                }
                Effect::Condemn { head, verdict } => self.condemn(head, verdict, ctx),
            }
        }
        self.tell(ctx);
    }

    /// Tells the executor that a head is invalid. If it does not hear it, the head is wanted again.
    fn condemn(&self, head: B256, verdict: Verdict, ctx: &mut Context<Self>) {
        let Verdict { why, latest_valid } = verdict;
        let (port, condemn) = (self.ports.condemn.clone(), Condemn { head, why, latest_valid });
        ctx.listen(async move { port.ask_retry(condemn, EXECUTION).await }, move |_, told, _| {
            if let Err(error) = told {
                tracing::warn!(%head, %error, "the executor was not told that a wanted head is invalid: it is told when the head is wanted again");
            }
            Ok(())
        });
    }

    /// Waits for what the executor makes of a block.
    fn follow(
        &self,
        attempt: u64,
        work: impl Future<Output = Result<Outcome, Outcome>> + 'static,
        ctx: &mut Context<Self>,
    ) {
        ctx.listen(work, move |actor, (Ok(outcome) | Err(outcome)), ctx| {
            actor.machine.done(attempt, outcome, actor.now());
            actor.pump(ctx);
            Ok(())
        });
    }

    fn answered(&mut self, attempt: u64, answer: Answer, ctx: &mut Context<Self>) {
        let now = self.now();
        if let Some(heads) = self.ports.heads.borrow().clone() {
            let own = StoredChain { heads, reader: &self.ports.reader };
            self.machine.answered(attempt, answer, &own, now);
        }
        self.pump(ctx);
    }

    /// Says what happened and how far it is.
    fn tell(&mut self, ctx: &mut Context<Self>) {
        if ctx.is_over() {
            return;
        }
        let url = &self.url;
        for event in self.machine.events() {
            match event {
                Event::Began { goal } => {
                    tracing::info!(%goal, source = %url, "the consensus client wants a head that is not here: its blocks are fetched");
                }
                Event::Fetching { ancestor, goal } => {
                    let blocks = goal.number.saturating_sub(ancestor.number);
                    tracing::info!(blocks, from = ancestor.number + 1, to = goal.number, source = %url, "all headers are known, fetching blocks");
                }
                Event::Reached(head) => {
                    metrics::ended("reached");
                    self.has_failed = false;
                    tracing::info!(number = head.number, hash = %head.hash, "the chain has the wanted head");
                    ctx.healthy();
                    ctx.progress(format!("block {}", head.number));
                }
                Event::Invalid { goal, verdict: Verdict { why, latest_valid } } => {
                    metrics::ended("invalid");
                    self.has_failed = false;
                    tracing::warn!(%goal, ?latest_valid, %why, "the head that the consensus client wants descends from an invalid block: it is answered INVALID");
                    ctx.healthy();
                }
                Event::Ended { goal, why, pause } => {
                    metrics::ended("failed");
                    self.has_failed = true;
                    tracing::warn!(%goal, source = %url, %why, ?pause, "a wanted head was not reached; the next attempt waits for the pause and for the consensus client");
                    ctx.degraded(format!("block {goal} cannot be had from {url}: {why}"));
                }
            }
        }
        let progress = self.machine.progress();
        let before = *self.ports.catching_up.borrow();
        let catching_up = match progress {
            // While nobody has told the number of the wanted head, at least one block is missing.
            Some(Progress { start, current, goal }) => {
                let goal = goal.or(before.map(|before| before.goal)).unwrap_or_else(|| current.saturating_add(1));
                Some(CatchingUp { start: start.min(goal), current: current.min(goal), goal })
            }
            // It is still not here: the next attempt waits for its turn.
            None => before.filter(|_| self.has_failed),
        };
        metrics::missing(catching_up.map_or(0, |at| at.goal - at.current));
        self.ports.catching_up.send_if_modified(|now| {
            let is_news = *now != catching_up;
            *now = catching_up;
            is_news
        });
        let is_silent = self.machine.silence().is_some();
        if let Some(why) = self.machine.silence().filter(|_| !self.told_of_silence) {
            tracing::warn!(source = %url, %why, "the source of missing blocks (engine_api.sync_from) gives no answer: it is asked again");
        }
        self.told_of_silence = is_silent;
        match (self.machine.waits_for(), self.machine.silence()) {
            (None, _) => ctx.waiting("a head of the consensus client that is not here"),
            (Some(what), None) => ctx.waiting(format!("{what} from {url}")),
            (Some(what), Some(why)) => {
                ctx.degraded(format!("{url} (engine_api.sync_from) gives no answer: {why}"));
                ctx.waiting(format!("{what} from {url}"));
            }
        }
        if progress.is_some() && self.machine.silence().is_none() {
            ctx.healthy();
        }
    }
}

fn unavailable(error: AskError) -> Outcome {
    Outcome::Unavailable(error.to_string())
}

fn offered(
    answer: Result<Result<Offered, duskevm_messages::executor::ExecutorRefusal>, AskError>,
) -> Result<Outcome, Outcome> {
    Ok(match answer.map_err(unavailable)? {
        Ok(Offered::Valid) => {
            metrics::taken();
            Outcome::Done
        }
        Ok(Offered::Invalid { why, latest_valid }) => Outcome::Invalid(Verdict { why, latest_valid }),
        Ok(Offered::UnknownParent) => Outcome::Unavailable("the executor has forgotten its parent".into()),
        Err(refusal) => Outcome::Refused(refusal.to_string()),
    })
}

impl Actor for Backfiller {
    type Error = BackfillError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BackfillError> {
        let mut feed = self.ports.wanted.clone();
        self.wanted(&mut feed, ctx);
        self.watch(feed, ctx);
        self.watch_chain(self.ports.heads.clone(), ctx);
        ctx.every(TICK, |actor, ctx| {
            actor.pump(ctx);
            Ok(())
        });
        Ok(())
    }
}
