//! The loop of the carrier: look at L1 once for each of its blocks, then do what the machine says until it waits. Each step ends by
//! planning the next one, so that there is never more than one under way. Transactions of clients come beside it: see
//! [`admission`](crate::admission).

use crate::{
    error::CarrierError,
    journal::CarrierJournal,
    l1::{LookError, PATIENCE, look},
    metrics,
    sign::SignError,
    state::{Pause, Ports, Settings},
};
use alloy_primitives::{B256, Bytes};
use duskevm_carrier_core::{Action, Carrier, DuskRefusal, Order, Wait};
use duskevm_dusk_l1::mempool::MempoolError;
use duskevm_fence::Fence;
use duskevm_messages::{
    consensus::{SubmitDuskTransaction, SubmitRefusal},
    l1::L1Heads,
};
use duskevm_supervision::{Actor, AskError, Context, StartError};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::sync::Notify;

/// Brings envelopes to L1.
#[derive(Debug)]
pub struct CarrierActor {
    pub(crate) settings: Arc<Settings>,
    pub(crate) ports: Ports,
    pub(crate) journal: CarrierJournal,
    pub(crate) carrier: Carrier,
    /// Signed bytes by Dusk id. Whatever is missing is signed again.
    bytes: HashMap<B256, Bytes>,
    pause: Pause,
    /// The newest L1 block that was looked at.
    seen: Option<B256>,
    /// Transactions of clients that are being read.
    pub(crate) reading: usize,
    /// Those whose blobs are being checked, or wait for it.
    pub(crate) checking: usize,
    /// Wakes the loop when an envelope has come.
    pub(crate) news: Arc<Notify>,
}

/// Why the carrier cannot go on at the moment. All of these are waited out.
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
            Self::Look(LookError::Moved) => "moved",
            Self::Look(LookError::Nonce(_)) => "nonce",
            Self::Sign(_) => "sign",
        }
    }
}

impl CarrierActor {
    /// Reads the journal.
    ///
    /// # Errors
    /// If it cannot be read; a damaged one ends the node.
    pub fn open(settings: Arc<Settings>, ports: Ports, fence: &Fence) -> Result<Self, StartError> {
        let mut carrier = Carrier::new(settings.rules.clone());
        let journal = CarrierJournal::open(&settings.journal, fence, &mut carrier)?;
        let opened = Self {
            settings,
            ports,
            journal,
            carrier,
            bytes: HashMap::new(),
            pause: Pause::new(),
            seen: None,
            reading: 0,
            checking: 0,
            news: Arc::default(),
        };
        opened.publish();
        Ok(opened)
    }

    /// Shows others what is carried. What is not on disk yet must not be seen.
    pub(crate) fn publish(&self) {
        self.ports.carried.send_replace(Arc::new(self.carrier.carried()));
    }

    /// Decides what to do next.
    fn plan(&mut self, ctx: &mut Context<Self>) -> Result<(), CarrierError> {
        let l1 = *self.ports.l1_heads.borrow_and_update();
        let Some(l1) = l1 else {
            ctx.waiting_on("l1", "the L1 view to begin");
            self.plan_at_news(ctx);
            return Ok(());
        };
        if self.seen != Some(l1.latest.hash) {
            self.look(l1, ctx);
            return Ok(());
        }
        let action = self.carrier.advance();
        self.carrier.take_notices().iter().for_each(metrics::notice);
        metrics::load(self.carrier.load());
        match action {
            Action::Journal(records) => {
                self.journal.write(&records, &self.carrier, ctx.fence())?;
                self.publish();
                self.moved_on(format!("{} records written", records.len()), ctx);
                self.plan_soon(ctx);
            }
            Action::Sign(order) => self.sign(order, ctx),
            Action::Submit(orders) => self.prepare(orders, ctx),
            Action::Wait(wait) => {
                self.pause.reset();
                match wait {
                    Wait::Funds { .. } | Wait::Pause { .. } => ctx.degraded(wait.to_string()),
                    _ => ctx.healthy(),
                }
                match wait {
                    Wait::Start | Wait::Transaction { .. } | Wait::Funds { .. } => {
                        ctx.waiting_on("consensus", wait.to_string());
                    }
                    Wait::Pause { .. } | Wait::Final { .. } => ctx.waiting_on("l1", wait.to_string()),
                    Wait::Envelopes | Wait::Nonce { .. } => ctx.waiting(wait.to_string()),
                }
                self.plan_at_news(ctx);
            }
        }
        Ok(())
    }

    /// Plans as soon as L1 has moved or an envelope has come.
    fn plan_at_news(&self, ctx: &mut Context<Self>) {
        let (mut l1, envelopes) = (self.ports.l1_heads.clone(), self.news.clone());
        let news = async move {
            // A feed without its sender means that the node is going down.
            tokio::select! {
                changed = l1.changed() => changed.is_ok(),
                () = envelopes.notified() => true,
            }
        };
        ctx.listen(news, |me, alive, ctx| if alive { me.plan(ctx) } else { Ok(()) });
    }

    /// Lets other messages in, then goes on.
    fn plan_soon(&self, ctx: &mut Context<Self>) {
        ctx.pipe(tokio::task::yield_now(), |me, (), ctx| me.plan(ctx));
    }

    fn wait_out(&mut self, obstacle: &Obstacle, ctx: &mut Context<Self>) -> Result<(), CarrierError> {
        metrics::obstacle(obstacle.reason());
        let pause = self.pause.take();
        tracing::debug!(%obstacle, ?pause, "the carrier waits");
        if pause >= Pause::LOUD {
            tracing::warn!(%obstacle, "the carrier still waits");
            ctx.degraded(obstacle.to_string());
        }
        ctx.waiting_on("consensus", obstacle.to_string());
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
        let (ports, keys) = (self.ports.clone(), self.settings.keys.clone());
        let (watched, senders) = (self.carrier.watched(), self.carrier.senders());
        ctx.waiting_on(
            "consensus",
            format!("what L1 block {} says of {} transactions", l1.latest.number, watched.len()),
        );
        let looked = async move { look(&ports, &keys, watched, senders, l1).await };
        ctx.pipe(looked, move |me, looked, ctx| match looked {
            Ok(observation) => {
                metrics::balance(observation.balance);
                me.carrier.observe(&observation);
                let watched: HashSet<B256> = me.carrier.watched().into_iter().collect();
                me.bytes.retain(|id, _| watched.contains(id));
                me.seen = Some(l1.latest.hash);
                me.moved_on(format!("L1 block {} looked at", l1.latest.number), ctx);
                me.plan(ctx)
            }
            Err(error) => me.wait_out(&error.into(), ctx),
        });
    }

    /// Has a Dusk transaction signed by a worker.
    fn sign(&self, order: Order, ctx: &mut Context<Self>) {
        let (keys, places) = (self.settings.keys.clone(), self.settings.workers.sign.clone());
        ctx.progress("signs a Dusk transaction");
        let signed = async move {
            // The semaphore is never closed; without a permit the work is done all the same.
            let permit = places.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let signed = keys.sign(&order);
                drop(permit);
                (order, signed)
            })
            .await
        };
        ctx.pipe(signed, |me, signed, ctx| {
            let (order, signed) = signed.map_err(|error| CarrierError::Worker(error.to_string()))?;
            match signed {
                Ok((id, bytes)) => {
                    metrics::transactions("signed");
                    me.bytes.insert(id, bytes);
                    me.carrier.signed(&order, id);
                    me.moved_on("a Dusk transaction signed".into(), ctx);
                    me.plan(ctx)
                }
                Err(error) => me.wait_out(&error.into(), ctx),
            }
        });
    }

    /// Signs again what was signed by an instance before this one, then submits.
    fn prepare(&mut self, orders: Vec<Order>, ctx: &mut Context<Self>) {
        let missing = orders.iter().find(|order| order.id.is_none_or(|id| !self.bytes.contains_key(&id)));
        let Some(missing) = missing.cloned() else {
            let bytes = orders.iter().filter_map(|order| {
                let id = order.id?;
                Some((id, self.bytes.get(&id)?.clone()))
            });
            let bytes = bytes.collect();
            self.submit(bytes, ctx);
            return;
        };
        let (keys, places) = (self.settings.keys.clone(), self.settings.workers.sign.clone());
        ctx.progress("signs a Dusk transaction again");
        let signed = async move {
            let permit = places.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let signed = keys.sign(&missing);
                drop(permit);
                (missing, signed)
            })
            .await
        };
        ctx.pipe(signed, |me, signed, ctx| {
            let (order, signed) = signed.map_err(|error| CarrierError::Worker(error.to_string()))?;
            let (id, bytes) = match signed {
                Ok(signed) => signed,
                Err(error) => return me.wait_out(&error.into(), ctx),
            };
            me.bytes.insert(id, bytes);
            if order.id == Some(id) {
                me.prepare(orders, ctx);
                return Ok(());
            }
            // Another key or another program: a new attempt, which the journal must know first.
            me.carrier.signed(&order, id);
            me.plan(ctx)
        });
    }

    /// Submits transactions one after the other. What does not arrive is submitted again when L1 does not know it.
    fn submit(&mut self, transactions: Vec<(B256, Bytes)>, ctx: &mut Context<Self>) {
        let port = self.ports.submit.clone();
        ctx.waiting_on("consensus", format!("{} transactions to be taken", transactions.len()));
        let submitted = async move {
            let mut refused = Vec::new();
            for (id, bytes) in transactions {
                match port.ask_within(SubmitDuskTransaction { bytes }, PATIENCE).await {
                    Ok(Ok(_)) => metrics::transactions("submitted"),
                    Ok(Err(refusal)) => {
                        tracing::info!(%id, %refusal, "L1 does not take a transaction of the carrier");
                        metrics::transactions("refused");
                        refused.push((id, reason(&refusal)));
                    }
                    Err(error) => return (refused, Some(error)),
                }
            }
            (refused, None)
        };
        ctx.pipe(submitted, |me, (refused, failed), ctx| {
            refused.iter().for_each(|(id, refusal)| me.carrier.refused(*id, *refusal));
            match failed {
                Some(error) => {
                    // Which of them arrived is seen when L1 is looked at.
                    me.seen = None;
                    me.wait_out(&error.into(), ctx)
                }
                None => {
                    me.moved_on("transactions submitted".into(), ctx);
                    me.plan(ctx)
                }
            }
        });
    }
}

const fn reason(refusal: &SubmitRefusal) -> DuskRefusal {
    match refusal {
        SubmitRefusal::Mempool(MempoolError::Underpriced { price, .. } | MempoolError::Full { price }) => {
            DuskRefusal::Underpriced(*price)
        }
        _ => DuskRefusal::Other,
    }
}

impl Actor for CarrierActor {
    type Error = CarrierError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        metrics::describe();
        self.plan(ctx)
    }
}
