//! The actor: handlers and the block timer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use duskevm_dusk_l1::tx::{Tx, TxError, VerifiedTx};
use duskevm_messages::consensus::{
    DuskAccount, DuskBlockByHeight, DuskTip, DuskTransactionStatus, GetDuskAccount, GetDuskTip, GetDuskTransaction,
    SubmitDuskTransaction, SubmitRefusal,
};
use duskevm_store::l1::L1Store;
use duskevm_supervision::{
    Actor, ChildSpec, Context, Fence, FenceError, Generation, Handle, Ref, Reply, Responder, StartContext,
};
use tokio::sync::watch;

use crate::clock::ClockWatch;
use crate::error::ConsensusError;
use crate::ingress;
use crate::metrics;
use crate::state::{Chain, Settings, read_block};

/// A clock that is this far behind the newest block is worth a warning: blocks stand still until it has caught up.
const CLOCK_BEHIND: u64 = 30;

/// How often it looks at the clock while it waits, which may be set back or forward.
const CLOCK_CHECK: Duration = Duration::from_millis(200);

/// What connects the actor with the rest of the node.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// The L1 database, which the node opens: an abandoned instance of the actor must not keep its file lock.
    pub store: L1Store,
    /// Where the tip is published.
    pub tip: watch::Sender<Option<DuskTip>>,
}

/// How the actor is made and supervised.
pub fn spec(actor: &Ref<Consensus>, settings: Settings, wiring: Wiring) -> ChildSpec<Consensus> {
    let watch = Arc::new(ClockWatch::default());
    ChildSpec::new(actor, move |start| Ok(Consensus::open(settings.clone(), wiring.clone(), watch.clone(), &start)?))
        .mailbox(ingress::MAILBOX)
        .deadline(ingress::DEADLINE)
}

/// The consensus actor. See the crate's documentation.
#[derive(Debug)]
pub struct Consensus {
    chain: Chain,
    wiring: Wiring,
    watch: Arc<ClockWatch>,
    /// Submissions that wait for a worker.
    queue: VecDeque<(Bytes, Responder<SubmitDuskTransaction>)>,
    /// Submissions that a worker is checking.
    checking: usize,
    /// Workers that check at the same time.
    workers: usize,
}

impl Consensus {
    /// Opens the chain at its stored tip.
    fn open(
        settings: Settings,
        wiring: Wiring,
        watch: Arc<ClockWatch>,
        start: &StartContext,
    ) -> Result<Self, ConsensusError> {
        metrics::describe();
        let chain = Chain::open(settings, wiring.store.clone(), &start.fence)?;
        // Later instances compare with what the first one saw of the clock.
        if start.generation <= Generation(1) {
            chain.check_clock()?;
        }
        let tip = chain.tip();
        tracing::info!(height = tip.height, hash = %tip.hash, "L1 opened");
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self { chain, wiring, watch, queue: VecDeque::new(), checking: 0, workers })
    }

    fn announce(&self, fence: &Fence) -> Result<(), FenceError> {
        let tip = self.chain.tip();
        publish(&self.wiring.tip, tip, fence)?;
        metrics::tip(tip.height, tip.final_height);
        metrics::mempool(self.chain.mempool().len(), self.chain.mempool().bytes());
        Ok(())
    }

    /// Produces if a block is due, and arms the timer for the next one.
    fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let now = self.chain.now();
        if let Some(ahead) = self.watch.jumped(now, self.chain.uptime()) {
            let ahead = ahead.as_secs();
            ctx.degraded(format!(
                "the machine's clock was set forward by {ahead} s, and blocks with its time can never be taken back: no blocks until it is set right; if it is right now, restart the node"
            ));
            ctx.waiting("the machine's clock to be set right");
            ctx.after(CLOCK_CHECK, Self::tick);
            return Ok(());
        }
        let due = Duration::from_secs(self.chain.due());
        if now >= due {
            self.chain.produce_at(now, ctx.fence())?;
            self.announce(ctx.fence())?;
            let tip = self.chain.tip();
            tracing::debug!(height = tip.height, hash = %tip.hash, "L1 block");
            ctx.progress(format!("L1 block {}", tip.height));
        }
        let (now, due) = (self.chain.now(), Duration::from_secs(self.chain.due()));
        let wait = due.saturating_sub(now);
        let tip = self.chain.tip();
        if tip.timestamp > now.as_secs() + CLOCK_BEHIND {
            let behind = tip.timestamp - now.as_secs();
            ctx.degraded(format!("the clock is {behind} s behind the newest L1 block: set the machine's clock"));
        } else {
            ctx.healthy();
        }
        ctx.waiting(format!("the time of L1 block {}", tip.height + 1));
        let wait = wait.clamp(Duration::from_millis(1), CLOCK_CHECK);
        ctx.after(wait, Self::tick);
        Ok(())
    }

    /// Gives waiting submissions to free workers. Decoding decompresses keys and checking computes pairings: milliseconds
    /// each, not for the actor's own thread.
    fn check_next(&mut self, ctx: &mut Context<Self>) {
        let height = self.chain.tip().height.saturating_add(1);
        while self.checking < self.workers
            && let Some((bytes, responder)) = self.queue.pop_front()
        {
            self.checking += 1;
            let check = tokio::task::spawn_blocking(move || Tx::decode(&bytes, height).and_then(Tx::verify));
            ctx.pipe(check, move |me, checked, ctx| {
                me.checking -= 1;
                me.check_next(ctx);
                // Dropping the responder tells the caller.
                let checked = checked.map_err(|died| ConsensusError::Worker(died.to_string()))?;
                responder.send(me.admit(checked)?);
                Ok(())
            });
        }
        metrics::checking(self.checking + self.queue.len());
    }

    fn admit(&mut self, checked: Result<VerifiedTx, TxError>) -> Result<Result<B256, SubmitRefusal>, ConsensusError> {
        let answer = match checked {
            Ok(tx) => self.chain.insert(tx)?.map(B256::from).map_err(SubmitRefusal::from),
            Err(error) => Err(error.into()),
        };
        metrics::submitted(if answer.is_ok() { "accepted" } else { "refused" });
        metrics::mempool(self.chain.mempool().len(), self.chain.mempool().bytes());
        Ok(answer)
    }
}

/// An instance that hung and was replaced must not set the feed back to its own tip.
fn publish(feed: &watch::Sender<Option<DuskTip>>, tip: DuskTip, fence: &Fence) -> Result<(), FenceError> {
    fence.write(|| {
        feed.send_replace(Some(tip));
    })
}

impl Actor for Consensus {
    type Error = ConsensusError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        self.announce(ctx.fence())?;
        self.tick(ctx)
    }
}

impl Handle<SubmitDuskTransaction> for Consensus {
    fn handle(
        &mut self,
        msg: SubmitDuskTransaction,
        ctx: &mut Context<Self>,
    ) -> Result<Reply<SubmitDuskTransaction>, ConsensusError> {
        if self.queue.len() >= ingress::CHECKING {
            metrics::submitted("busy");
            return Ok(Reply::Now(Err(SubmitRefusal::Busy { waiting: self.queue.len() })));
        }
        let (reply, responder) = Reply::deferred();
        self.queue.push_back((msg.bytes, responder));
        self.check_next(ctx);
        Ok(reply)
    }
}

impl Handle<GetDuskTip> for Consensus {
    fn handle(&mut self, _: GetDuskTip, _: &mut Context<Self>) -> Result<Reply<GetDuskTip>, ConsensusError> {
        Ok(Reply::Now(self.chain.tip()))
    }
}

impl Handle<GetDuskAccount> for Consensus {
    fn handle(&mut self, msg: GetDuskAccount, _: &mut Context<Self>) -> Result<Reply<GetDuskAccount>, ConsensusError> {
        let account = self.chain.account(&msg.account)?;
        let stake = self.chain.stake(&msg.account)?;
        Ok(Reply::Now(DuskAccount {
            nonce: account.nonce,
            balance: account.balance,
            next_nonce: self.chain.mempool().next_nonce(&msg.account, account),
            stake: stake.value.saturating_add(stake.locked),
            reward: stake.reward,
        }))
    }
}

impl Handle<GetDuskTransaction> for Consensus {
    fn handle(
        &mut self,
        msg: GetDuskTransaction,
        _: &mut Context<Self>,
    ) -> Result<Reply<GetDuskTransaction>, ConsensusError> {
        let status: DuskTransactionStatus = self.chain.transaction(&msg.id.0)?;
        Ok(Reply::Now(status))
    }
}

impl Handle<DuskBlockByHeight> for Consensus {
    fn handle(
        &mut self,
        msg: DuskBlockByHeight,
        ctx: &mut Context<Self>,
    ) -> Result<Reply<DuskBlockByHeight>, ConsensusError> {
        if msg.height > self.chain.tip().height {
            return Ok(Reply::Now(None));
        }
        if let Some(block) = self.chain.recent(msg.height) {
            return Ok(Reply::Now(Some(block)));
        }
        let store = self.chain.store().clone();
        let read = tokio::task::spawn_blocking(move || read_block(&store, msg.height));
        let (reply, responder): (_, Responder<DuskBlockByHeight>) = Reply::deferred();
        ctx.pipe(read, move |_, block, _| {
            let block: Option<Arc<_>> = block.map_err(|died| ConsensusError::Worker(died.to_string()))??;
            responder.send(block);
            Ok(())
        });
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duskevm_supervision::Gate;

    #[test]
    fn a_replaced_instance_publishes_nothing() {
        let feed = watch::Sender::new(None);
        let tip = |height| DuskTip { height, hash: B256::ZERO, timestamp: 0, final_height: 0 };
        let gate = Gate::new("consensus");
        let old = gate.advance(Duration::ZERO).unwrap();
        publish(&feed, tip(1), &old).unwrap();
        let new = gate.advance(Duration::ZERO).unwrap();
        publish(&feed, tip(2), &new).unwrap();
        assert!(matches!(publish(&feed, tip(1), &old), Err(FenceError::Stale { .. })));
        assert_eq!(feed.borrow().unwrap().height, 2);
    }
}
