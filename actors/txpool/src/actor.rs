//! The actor: handlers, and the cycle of the journal.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::{B256, map::B256Set};
use duskevm_evm::RecoveredTx;
use duskevm_messages::txpool::{
    Best, GetContent, GetContentFrom, GetPooled, GetStatus, HeadChanged, HeadViewFeed, Invalid, NonceOf, PendingFeed,
    SubmissionId, Submit,
};
use duskevm_pool::{BestLimits, PoolConfig, PoolError, PoolTx};
use duskevm_supervision::{Actor, ChildSpec, Context, Handle, Ref, Reply, Responder, StartContext};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    content::{ContentDesk, Next},
    error::TxPoolError,
    ingress,
    log::{LogError, OpenLog},
    metrics,
    records::{Record, replay},
    state::{Moved, Offer, State, gone_of},
    writer::{Job, Writer, Written},
};

/// How the pool runs on this node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits and prices.
    pub pool: PoolConfig,
    /// Submissions that may wait for the disk; beyond, they are refused as busy.
    pub waiting: usize,
    /// The same in encoded bytes.
    pub waiting_bytes: usize,
    /// How many type-4 transactions may have their authorizations recovered at the same time, each on a thread beside the
    /// actor's. A transaction can carry more than a thousand signatures.
    pub recoveries: usize,
    /// A journal write that takes longer is a hang: the actor ends, and the next instance opens the journal anew.
    pub write_deadline: Duration,
    /// The journal is rewritten when it is larger than this and four times as large as what it must hold.
    pub compact_bytes: u64,
    /// How long a start waits for the executor's first head.
    pub head_patience: Duration,
    /// How often it looks for expired transactions and for heads that it was not told of.
    pub tick: Duration,
}

impl Settings {
    /// The defaults for a chain.
    pub const fn new(chain_id: u64) -> Self {
        Self {
            pool: PoolConfig::new(chain_id),
            waiting: 8192,
            waiting_bytes: 32 * 1024 * 1024,
            recoveries: 2,
            write_deadline: ingress::DEADLINE,
            compact_bytes: 16 * 1024 * 1024,
            head_patience: Duration::from_secs(30),
            tick: Duration::from_secs(1),
        }
    }
}

/// What connects the pool with the rest of the node.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// The executor's heads.
    pub heads: HeadViewFeed,
    /// Where transactions are announced that became ready.
    pub pending: PendingFeed,
}

/// How the actor is made and supervised.
pub fn spec(actor: &Ref<TxPool>, settings: Settings, wiring: Wiring, open: Arc<OpenLog>) -> ChildSpec<TxPool> {
    ChildSpec::new(actor, move |start| Ok(TxPool::open(settings.clone(), wiring.clone(), &*open, &start)?))
        .mailbox(ingress::MAILBOX)
        .deadline(ingress::DEADLINE)
}

/// What the next write to the journal brings to its end.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    bytes: usize,
    replies: Vec<(Responder<Submit>, Result<B256, PoolError>)>,
    announce: Vec<Arc<RecoveredTx>>,
    /// Whoever brought back the transactions of dropped blocks.
    returned: Option<Responder<HeadChanged>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty() && self.returned.is_none()
    }
}

/// The transaction pool actor. See the crate's documentation.
pub struct TxPool {
    settings: Settings,
    wiring: Wiring,
    state: State,
    writer: Writer,
    /// Collects while the writer is busy.
    next: Batch,
    /// With the writer, without its records. Kept here and not with the report: if the write fails, its callers must hear of
    /// the actor's death and its cause, not of a request that got lost.
    flying: Batch,
    /// Since when the writer is busy.
    busy: Option<Instant>,
    /// Accepted, but not on disk yet.
    unwritten: B256Set,
    journal_bytes: u64,
    /// Submissions whose authorizations are being recovered, or wait for it, and their encoded bytes.
    preparing: usize,
    preparing_bytes: usize,
    /// One permit for each recovery at a time.
    recoveries: Arc<Semaphore>,
    /// The copies of the whole pool that were asked for.
    content: ContentDesk,
    /// The head that the feed showed at the last tick, if the pool was not there.
    missed: Option<B256>,
    /// Waits until what it brought back is in the pool. A later one stands for an earlier one.
    returning: Option<Responder<HeadChanged>>,
    born: Instant,
}

impl fmt::Debug for TxPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxPool")
            .field("status", &self.state.pool.status())
            .field("unwritten", &self.unwritten.len())
            .finish_non_exhaustive()
    }
}

impl TxPool {
    /// Opens the journal and puts its transactions back onto the newest head. Blocks until there is one.
    ///
    /// # Errors
    /// [`TxPoolError`] if there is no head in time, or the journal cannot be read.
    pub fn open(settings: Settings, wiring: Wiring, open: &OpenLog, start: &StartContext) -> Result<Self, TxPoolError> {
        metrics::describe();
        let view = wait_for_head(&wiring.heads, settings.head_patience, start)?;
        let opened = open(start).map_err(TxPoolError::Journal)?;
        let txs = replay(&opened.records)?;
        let journalled = txs.len();
        let mut state = State::new(settings.pool.clone(), view);
        let restored = state.restore(txs, |done| start.lease.progress(format!("{done} of {journalled} restored")))?;
        tracing::info!(restored, journalled, head = state.pool.head().number, "transaction pool restored");
        let journal_bytes = opened.log.bytes();
        metrics::journal_bytes(journal_bytes);
        metrics::status(&state.pool.status());
        let writer = Writer::spawn(opened.log).map_err(TxPoolError::Thread)?;
        Ok(Self {
            recoveries: Arc::new(Semaphore::new(settings.recoveries)),
            settings,
            wiring,
            state,
            writer,
            next: Batch::default(),
            flying: Batch::default(),
            busy: None,
            unwritten: B256Set::default(),
            journal_bytes,
            preparing: 0,
            preparing_bytes: 0,
            content: ContentDesk::default(),
            missed: None,
            returning: None,
            born: Instant::now(),
        })
    }

    /// Seconds, for the pool's lifetimes.
    fn now(&self) -> u64 {
        self.born.elapsed().as_secs()
    }

    /// How many submissions are between the mailbox and the disk.
    fn waiting(&self) -> usize {
        self.next.replies.len() + self.preparing
    }

    fn submit(&mut self, tx: PoolTx, submission: SubmissionId, responder: Responder<Submit>, ctx: &mut Context<Self>) {
        let (hash, size, raw) = (tx.hash(), tx.size(), tx.tx().clone());
        let now = self.now();
        match self.state.offer(tx, submission, now) {
            Offer::Accepted(added) => {
                self.content.changed();
                metrics::accepted();
                self.unwritten.insert(hash);
                self.next.records.push(Record::Accepted { tx: raw, gone: gone_of(&added) });
                self.next.bytes += size;
                self.next.announce.extend(added.promoted);
                self.next.replies.push((responder, Ok(hash)));
            }
            Offer::Repeated => self.answer(hash, responder, Ok(hash)),
            Offer::Refused(error) => {
                metrics::rejected(&error);
                self.answer(hash, responder, Err(error));
            }
        }
        self.flush(ctx);
    }

    /// Has the authorizations of a type-4 transaction recovered, then submits it. Whoever sends it must not get that work for
    /// nothing: all other rules are asked before, and again when its turn comes, since the pool may have changed.
    fn prepare(&mut self, tx: PoolTx, submission: SubmissionId, responder: Responder<Submit>, ctx: &mut Context<Self>) {
        if let Some(offer) = self.state.judge(&tx, submission) {
            return self.conclude(tx.hash(), offer, responder);
        }
        let size = tx.size();
        self.preparing += 1;
        self.preparing_bytes += size;
        ctx.pipe(self.recoveries.clone().acquire_owned(), move |actor, permit, ctx| {
            let over = move |actor: &mut Self| {
                actor.preparing -= 1;
                actor.preparing_bytes -= size;
            };
            // The semaphore is never closed.
            let Ok(permit) = permit else {
                over(actor);
                return Ok(());
            };
            if let Some(offer) = actor.state.judge(&tx, submission) {
                over(actor);
                actor.conclude(tx.hash(), offer, responder);
                return Ok(());
            }
            ctx.pipe(recovered(tx, permit), move |actor, tx, ctx| {
                over(actor);
                // The queue may be long, but it moves.
                ctx.progress("authorizations of a submitted transaction recovered");
                // None only if the task panicked: the caller learns that its request was dropped.
                if let Some(tx) = tx {
                    actor.submit(tx, submission, responder, ctx);
                }
                Ok(())
            });
            Ok(())
        });
    }

    /// Answers a submission that does not come into the pool.
    fn conclude(&mut self, hash: B256, offer: Offer, responder: Responder<Submit>) {
        match offer {
            // Only `submit` accepts.
            Offer::Accepted(_) | Offer::Repeated => self.answer(hash, responder, Ok(hash)),
            Offer::Refused(error) => {
                metrics::rejected(&error);
                self.answer(hash, responder, Err(error));
            }
        }
    }

    /// Has the authorizations of transactions that lost their block recovered, then takes them back into the pool.
    fn prepare_returning(&mut self, ctx: &mut Context<Self>) {
        for tx in self.state.take_unrecovered() {
            let (hash, recoveries) = (tx.hash(), self.recoveries.clone());
            let recovery = async move {
                // The semaphore is never closed.
                let permit = recoveries.acquire_owned().await.ok()?;
                recovered(tx, permit).await
            };
            ctx.pipe(recovery, move |actor, tx, ctx| {
                ctx.progress("authorizations of a returning transaction recovered");
                actor.state.recovered(hash, tx);
                actor.take_back(ctx);
                Ok(())
            });
        }
    }

    /// Takes back what lost its block and is not in the pool yet.
    fn take_back(&mut self, ctx: &mut Context<Self>) {
        let moved = self.state.take_back(self.now());
        if !moved.records.is_empty() {
            self.moved(moved, ctx);
        }
        self.acknowledge_returned(ctx);
    }

    /// Once all that came back is in the pool, or found to be of no use, whoever brought it learns so after the next write.
    fn acknowledge_returned(&mut self, ctx: &mut Context<Self>) {
        if !self.state.is_returning()
            && let Some(responder) = self.returning.take()
        {
            self.next.returned = Some(responder);
            self.flush(ctx);
        }
    }

    /// Gives all who asked for the whole pool one copy of it.
    fn copy_content(&mut self, next: Next, ctx: &mut Context<Self>) {
        let Next::Copy(pause) = next else { return };
        if pause.is_zero() {
            return self.copy_now(ctx);
        }
        let _runs_once = ctx.after(pause, |actor, ctx| {
            actor.copy_now(ctx);
            Ok(())
        });
    }

    fn copy_now(&mut self, ctx: &mut Context<Self>) {
        let since = Instant::now();
        let listing = self.state.pool.listing();
        self.content.taken(since, Instant::now());
        ctx.pipe(tokio::task::spawn_blocking(move || Arc::new(listing.sorted())), |actor, content, ctx| {
            // It fails only if the runtime is going away: those who wait learn that with the actor's end.
            if let Ok(content) = content {
                let next = actor.content.sorted(content, Instant::now());
                actor.copy_content(next, ctx);
            }
            Ok(())
        });
    }

    /// Answers at once, unless the answer tells that the transaction is here and it is not on disk yet.
    fn answer(&mut self, hash: B256, responder: Responder<Submit>, reply: Result<B256, PoolError>) {
        if self.unwritten.contains(&hash) {
            self.next.replies.push((responder, reply));
        } else {
            responder.send(reply);
        }
    }

    /// Gives what has collected to the writer, if it is free.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.busy.is_some() || self.next.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.next);
        if batch.records.is_empty() {
            // They waited for a write that is over by now.
            self.settle(batch);
            return;
        }
        let records = std::mem::take(&mut batch.records);
        let count = batch.replies.len();
        let hashes: Vec<B256> = records
            .iter()
            .filter_map(|record| match record {
                Record::Accepted { tx, .. } => Some(tx.hash()),
                Record::Gone(_) => None,
            })
            .collect();
        self.flying = batch;
        self.write(Job::Append(records), ctx, move |actor, written, _| {
            metrics::synced(written.took, count);
            for hash in &hashes {
                actor.unwritten.remove(hash);
            }
            let batch = std::mem::take(&mut actor.flying);
            actor.settle(batch);
        });
    }

    fn settle(&self, batch: Batch) {
        for (responder, reply) in batch.replies {
            responder.send(reply);
        }
        if let Some(responder) = batch.returned {
            responder.send(());
        }
        self.announce(batch.announce);
    }

    fn announce(&self, txs: Vec<Arc<RecoveredTx>>) {
        for tx in txs {
            // Nobody has to listen.
            let _ = self.wiring.pending.send(tx);
        }
    }

    /// Lets the writer do a job, then `done`, then the next one.
    fn write(
        &mut self,
        job: Job,
        ctx: &mut Context<Self>,
        done: impl FnOnce(&mut Self, Written, &mut Context<Self>) + 'static,
    ) {
        self.busy = Some(Instant::now());
        ctx.pipe(self.writer.give(job), move |actor, report, ctx| {
            let written =
                report.unwrap_or_else(|_| Err(LogError::new("its thread has ended"))).map_err(TxPoolError::Journal)?;
            actor.busy = None;
            actor.journal_bytes = written.bytes;
            metrics::journal_bytes(written.bytes);
            ctx.healthy();
            done(actor, written, ctx);
            actor.compact(ctx);
            actor.flush(ctx);
            Ok(())
        });
    }

    /// Rewrites the journal when most of it is past.
    fn compact(&mut self, ctx: &mut Context<Self>) {
        if self.busy.is_some()
            || self.journal_bytes <= self.settings.compact_bytes
            || self.journal_bytes / 4 <= self.state.bytes_to_keep()
        {
            return;
        }
        let keep = self.state.to_keep();
        let (count, before) = (keep.len(), self.journal_bytes);
        self.write(Job::Rewrite(keep), ctx, move |_, written, _| {
            tracing::info!(count, before, after = written.bytes, took = ?written.took, "transaction journal compacted");
        });
    }

    /// Writes and announces what a head brought.
    fn moved(&mut self, moved: Moved, ctx: &mut Context<Self>) {
        self.content.changed();
        if moved.records.is_empty() {
            self.announce(moved.promoted);
        } else {
            for record in &moved.records {
                if let Record::Accepted { tx, .. } = record {
                    self.unwritten.insert(tx.hash());
                }
            }
            self.next.records.extend(moved.records);
            self.next.announce.extend(moved.promoted);
        }
        self.flush(ctx);
        self.compact(ctx);
        let status = self.state.pool.status();
        metrics::status(&status);
        let head = self.state.pool.head().number;
        ctx.progress(format!("head {head}, {} pending, {} queued", status.pending, status.queued));
    }

    fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), TxPoolError> {
        if let Some(took) = self.busy.map(|since| since.elapsed()).filter(|took| *took > self.settings.tick) {
            // The watchdog does not see it while blocks go on: each of them is progress.
            if took > self.settings.write_deadline {
                return Err(TxPoolError::Journal(LogError::new(format!("a write has not ended after {took:?}"))));
            }
            ctx.degraded(format!("a journal write runs for {took:?}"));
        }
        self.take_back(ctx);
        self.prepare_returning(ctx);
        let expired = self.state.expire(self.now());
        if !expired.is_empty() {
            self.content.changed();
            self.next.records.push(Record::Gone(expired));
            self.flush(ctx);
        }
        metrics::status(&self.state.pool.status());
        let newest = self.wiring.heads.borrow().clone();
        let Some(newest) = newest.filter(|newest| newest.head.hash != self.state.pool.head().hash) else {
            self.missed = None;
            return Ok(());
        };
        // A message about a head that is new may be on its way. One that is a tick old is lost.
        if self.missed.replace(newest.head.hash) == Some(newest.head.hash) {
            tracing::warn!(
                head = newest.head.number,
                "the pool was not told of the head and reads all its senders again"
            );
            let moved = self.state.catch_up(newest, self.now())?;
            self.missed = None;
            self.moved(moved, ctx);
            self.prepare_returning(ctx);
        }
        Ok(())
    }
}

/// Recovers the authorizations on a thread beside the actor's. The permit is given back when that thread is done, not when
/// somebody stops waiting for it.
async fn recovered(mut tx: PoolTx, permit: OwnedSemaphorePermit) -> Option<PoolTx> {
    let work = move || {
        tx.recover();
        drop(permit);
        tx
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// The executor starts before the pool and publishes its head first thing; this only bridges the moment in between.
fn wait_for_head(
    heads: &HeadViewFeed,
    patience: Duration,
    start: &StartContext,
) -> Result<Arc<duskevm_messages::txpool::HeadView>, TxPoolError> {
    let since = Instant::now();
    loop {
        if let Some(view) = heads.borrow().clone() {
            return Ok(view);
        }
        if since.elapsed() >= patience {
            return Err(TxPoolError::NoHead(patience));
        }
        start.lease.waiting("the executor's first head");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Actor for TxPool {
    type Error = TxPoolError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), TxPoolError> {
        let _runs_for_life = ctx.every(self.settings.tick, Self::tick);
        self.compact(ctx);
        Ok(())
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) {
        self.flush(ctx);
    }
}

impl Handle<Submit> for TxPool {
    fn handle(&mut self, msg: Submit, ctx: &mut Context<Self>) -> Result<Reply<Submit>, TxPoolError> {
        let waiting = self.waiting();
        let bytes = self.next.bytes + self.preparing_bytes;
        if waiting >= self.settings.waiting || bytes >= self.settings.waiting_bytes {
            let busy = PoolError::Busy { waiting };
            metrics::rejected(&busy);
            return Ok(Reply::Now(Err(busy)));
        }
        let (reply, responder) = Reply::deferred();
        let Submit { tx, submission } = msg;
        let tx = PoolTx::outline(tx);
        if tx.is_recovered() {
            self.submit(tx, submission, responder, ctx);
        } else {
            self.prepare(tx, submission, responder, ctx);
        }
        Ok(reply)
    }
}

impl Handle<HeadChanged> for TxPool {
    fn handle(&mut self, msg: HeadChanged, ctx: &mut Context<Self>) -> Result<Reply<HeadChanged>, TxPoolError> {
        let newest = self.wiring.heads.borrow().clone();
        let returns = !msg.reorged_out.is_empty();
        let moved = self.state.head_changed(msg, newest, self.now())?;
        self.moved(moved, ctx);
        self.prepare_returning(ctx);
        if !returns {
            return Ok(Reply::Now(()));
        }
        let (reply, responder) = Reply::deferred();
        self.returning = Some(responder);
        self.acknowledge_returned(ctx);
        Ok(reply)
    }
}

impl Handle<Invalid> for TxPool {
    fn handle(&mut self, msg: Invalid, _: &mut Context<Self>) -> Result<Reply<Invalid>, TxPoolError> {
        self.content.changed();
        self.state.invalid(&msg.txs, self.now())?;
        Ok(Reply::Now(()))
    }
}

impl Handle<Best> for TxPool {
    fn handle(&mut self, msg: Best, _: &mut Context<Self>) -> Result<Reply<Best>, TxPoolError> {
        let limits = BestLimits { gas: msg.gas_limit, count: msg.count };
        Ok(Reply::Now(self.state.pool.best(msg.base_fee, limits).into()))
    }
}

impl Handle<GetContent> for TxPool {
    fn handle(&mut self, _: GetContent, ctx: &mut Context<Self>) -> Result<Reply<GetContent>, TxPoolError> {
        let (reply, responder) = Reply::deferred();
        let next = self.content.ask(responder, Instant::now());
        self.copy_content(next, ctx);
        Ok(reply)
    }
}

impl Handle<GetContentFrom> for TxPool {
    fn handle(&mut self, msg: GetContentFrom, _: &mut Context<Self>) -> Result<Reply<GetContentFrom>, TxPoolError> {
        Ok(Reply::Now(self.state.pool.content_from(&msg.sender)))
    }
}

impl Handle<GetStatus> for TxPool {
    fn handle(&mut self, _: GetStatus, _: &mut Context<Self>) -> Result<Reply<GetStatus>, TxPoolError> {
        Ok(Reply::Now(self.state.pool.status()))
    }
}

impl Handle<GetPooled> for TxPool {
    fn handle(&mut self, msg: GetPooled, _: &mut Context<Self>) -> Result<Reply<GetPooled>, TxPoolError> {
        Ok(Reply::Now(self.state.pool.get(&msg.hash).cloned()))
    }
}

impl Handle<NonceOf> for TxPool {
    fn handle(&mut self, msg: NonceOf, _: &mut Context<Self>) -> Result<Reply<NonceOf>, TxPoolError> {
        Ok(Reply::Now(self.state.pool.next_nonce(&msg.sender)))
    }
}
