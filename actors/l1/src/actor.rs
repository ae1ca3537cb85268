//! The actor: handlers, and following the backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duskevm_l1_view::{DuskBlock, ViewConfig};
use duskevm_messages::l1::{GetL1Heads, L1Heads, ViewBlockByHash, ViewBlockByNumber, ViewTransaction};
use duskevm_store::l1::L1Store;
use duskevm_supervision::{Actor, ChildSpec, Context, Fence, FenceError, Handle, Ref, Reply, StartContext};
use tokio::sync::watch;

use crate::backend::{Backend, BackendError, BackendTip};
use crate::error::L1Error;
use crate::ingress;
use crate::metrics;
use crate::state::{Extended, View};

/// What connects the actor with the rest of the node.
#[derive(Clone)]
pub struct Wiring {
    /// The L1 database, which the node opens and shares with `consensus`.
    pub store: L1Store,
    /// Where Dusk blocks come from.
    pub backend: Arc<dyn Backend>,
    /// Where the heads are published.
    pub heads: watch::Sender<Option<L1Heads>>,
}

impl std::fmt::Debug for Wiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wiring").field("store", &self.store).field("backend", &self.backend.name()).finish()
    }
}

/// How the actor is made and supervised.
pub fn spec(actor: &Ref<L1>, config: ViewConfig, wiring: Wiring) -> ChildSpec<L1> {
    ChildSpec::new(actor, move |start| Ok(L1::open(config.clone(), wiring.clone(), &start)?))
        .mailbox(ingress::MAILBOX)
        .deadline(ingress::DEADLINE)
}

/// The L1 port. See the crate's documentation.
#[derive(Debug)]
pub struct L1 {
    view: View,
    wiring: Wiring,
    /// Pause before the next try, while the backend does not answer.
    pause: Option<Duration>,
}

/// What one request for blocks brought.
struct Fetched {
    blocks: Vec<DuskBlock>,
    /// The backend's answer after the last of them, if it was none.
    error: Option<BackendError>,
}

impl L1 {
    /// Opens the view at its cursor.
    ///
    /// # Errors
    /// See [`View::open`].
    pub fn open(config: ViewConfig, wiring: Wiring, start: &StartContext) -> Result<Self, L1Error> {
        metrics::describe();
        let mut view = View::open(config, wiring.store.clone(), &start.fence, start.reset)?;
        view.remember_final(*wiring.heads.borrow());
        tracing::info!(next = view.next(), "L1 view opened");
        Ok(Self { view, wiring, pause: None })
    }

    /// Takes over what the backend says is final, if it stands at the cursor too, and publishes the heads.
    fn announce_at(&mut self, tip: Option<BackendTip>, fence: &Fence) -> Result<(), L1Error> {
        if let Some(tip) = tip
            && self.view.tip().is_some_and(|own| own.dusk_hash() == tip.hash)
        {
            self.view.finalize(tip.final_height);
        }
        self.announce(fence)
    }

    /// Publishes the heads, if they are known and new.
    fn announce(&self, fence: &Fence) -> Result<(), L1Error> {
        let Some(heads) = self.view.heads()? else { return Ok(()) };
        if publish(&self.wiring.heads, heads, fence)? {
            metrics::heads(&heads);
        }
        Ok(())
    }

    /// Fetches what the backend has above the cursor, or waits until it has something.
    fn follow(&mut self, ctx: &mut Context<Self>) -> Result<(), L1Error> {
        let next = self.view.next();
        let backend = self.wiring.backend.clone();
        // Listen first: what changes from here on is not missed.
        let changed = backend.changed();
        match backend.tip() {
            Some(tip) if tip.height >= next => {
                drop(changed);
                let last = tip.height.min(next.saturating_add(ingress::STEP - 1));
                ctx.waiting_on(backend.name(), format!("L1 block {next}"));
                ctx.pipe(fetch(backend, next, last), move |me, fetched, ctx| me.fetched(tip, fetched, ctx));
            }
            tip => {
                if tip.is_none() || self.view.tip().is_none() {
                    ctx.waiting_on(backend.name(), "the first L1 block");
                } else {
                    ctx.waiting_on(backend.name(), format!("L1 block {next}"));
                }
                ctx.listen(changed, |me, (), ctx| {
                    me.announce_at(me.wiring.backend.tip(), ctx.fence())?;
                    me.follow(ctx)
                });
            }
        }
        Ok(())
    }

    /// Adds what was fetched. `tip` is what the backend said before: its final blocks are among those that were fetched, or
    /// below them, because final blocks do not change.
    fn fetched(&mut self, tip: BackendTip, fetched: Fetched, ctx: &mut Context<Self>) -> Result<(), L1Error> {
        let started = Instant::now();
        if !fetched.blocks.is_empty() {
            match self.view.extend(ctx.fence(), &fetched.blocks)? {
                Extended::Added => {
                    self.view.finalize(tip.final_height);
                    metrics::projected(fetched.blocks.len(), started.elapsed());
                    ctx.progress(format!("L1 view block {}", self.view.next().saturating_sub(1)));
                }
                Extended::Forked => {
                    tracing::warn!(number = self.view.next().saturating_sub(1), "the L1 replaced a block");
                    self.view.step_back(ctx.fence())?;
                    metrics::replaced();
                    ctx.progress(format!("L1 view went back to block {}", self.view.next().saturating_sub(1)));
                }
            }
            self.announce(ctx.fence())?;
        }
        match fetched.error {
            None => {
                self.pause = None;
                ctx.healthy();
                self.follow(ctx)
            }
            Some(error) => {
                metrics::backend_failed();
                let pause = self.pause.map_or(ingress::FIRST_PAUSE, |pause| (pause * 2).min(ingress::LONGEST_PAUSE));
                self.pause = Some(pause);
                tracing::debug!(%error, ?pause, "asking the L1 backend again");
                if pause == ingress::LONGEST_PAUSE {
                    ctx.degraded(error.to_string());
                }
                ctx.waiting_on(self.wiring.backend.name(), format!("L1 block {}", self.view.next()));
                ctx.after(pause, Self::follow);
                Ok(())
            }
        }
    }
}

/// Publishes heads that are new. An instance that hung and was replaced must not set the feed back to its own heads.
fn publish(feed: &watch::Sender<Option<L1Heads>>, heads: L1Heads, fence: &Fence) -> Result<bool, FenceError> {
    fence.write(|| {
        feed.send_if_modified(|old| {
            // A view that is being made anew says nothing until it is back where it was: final blocks do not go back.
            let behind = old.is_some_and(|old| old.finalized.number > heads.finalized.number);
            if behind || *old == Some(heads) {
                return false;
            }
            *old = Some(heads);
            true
        })
    })
}

/// Asks for the blocks `first..=last`, up to the first failure. A height that the backend said it has and then has not is a
/// failure too: the backend is just restarting or reorganising.
async fn fetch(backend: Arc<dyn Backend>, first: u64, last: u64) -> Fetched {
    let mut blocks = Vec::new();
    for height in first..=last {
        match backend.block(height, ingress::PATIENCE).await {
            Ok(Some(block)) => blocks.push(block),
            Ok(None) => {
                let error = BackendError { who: backend.name(), reason: format!("it has no block {height} any more") };
                return Fetched { blocks, error: Some(error) };
            }
            Err(error) => return Fetched { blocks, error: Some(error) },
        }
    }
    Fetched { blocks, error: None }
}

impl Actor for L1 {
    type Error = L1Error;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        self.announce_at(self.wiring.backend.tip(), ctx.fence())?;
        self.follow(ctx)
    }
}

impl Handle<GetL1Heads> for L1 {
    fn handle(&mut self, _: GetL1Heads, _: &mut Context<Self>) -> Result<Reply<GetL1Heads>, L1Error> {
        Ok(Reply::Now(*self.wiring.heads.borrow()))
    }
}

impl Handle<ViewBlockByNumber> for L1 {
    fn handle(&mut self, msg: ViewBlockByNumber, _: &mut Context<Self>) -> Result<Reply<ViewBlockByNumber>, L1Error> {
        Ok(Reply::Now(self.view.by_number(msg.number)?))
    }
}

impl Handle<ViewBlockByHash> for L1 {
    fn handle(&mut self, msg: ViewBlockByHash, _: &mut Context<Self>) -> Result<Reply<ViewBlockByHash>, L1Error> {
        Ok(Reply::Now(self.view.by_hash(&msg.hash)?))
    }
}

impl Handle<ViewTransaction> for L1 {
    fn handle(&mut self, msg: ViewTransaction, _: &mut Context<Self>) -> Result<Reply<ViewTransaction>, L1Error> {
        Ok(Reply::Now(self.view.transaction(&msg.id)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use duskevm_messages::l1::L1BlockRef;
    use duskevm_supervision::Gate;

    #[test]
    fn a_replaced_instance_publishes_nothing() {
        let feed = watch::Sender::new(None);
        let heads = |number| {
            let final_block = L1BlockRef { hash: B256::ZERO, number: 0, parent_hash: B256::ZERO, timestamp: 0 };
            L1Heads { latest: L1BlockRef { number, ..final_block }, safe: final_block, finalized: final_block }
        };
        let gate = Gate::new("l1");
        let old = gate.advance(Duration::ZERO).unwrap();
        assert!(publish(&feed, heads(1), &old).unwrap());
        let new = gate.advance(Duration::ZERO).unwrap();
        assert!(publish(&feed, heads(2), &new).unwrap());
        assert!(matches!(publish(&feed, heads(1), &old), Err(FenceError::Stale { .. })));
        assert_eq!(feed.borrow().unwrap().latest.number, 2);
    }
}
