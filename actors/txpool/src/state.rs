//! What the actor knows, and how it is rebuilt from the journal.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use alloy_primitives::{
    B256,
    map::{B256Map, B256Set},
};
use duskevm_evm::RecoveredTx;
use duskevm_messages::txpool::{HeadChanged, HeadView, SubmissionId};
use duskevm_pool::{Added, HeadChange, HeadEffects, Origin, Pool, PoolConfig, PoolError, PoolTx, Touched};

use crate::{
    error::TxPoolError,
    metrics::{self, Left},
    records::Record,
};

/// How many transactions that are in the chain are remembered, to answer repeated submissions.
const SETTLED: usize = 65_536;

/// What became of a submission.
#[derive(Debug)]
pub(crate) enum Offer {
    /// New: to be written, then answered.
    Accepted(Added),
    /// The same submission as before: answered as before.
    Repeated,
    Refused(PoolError),
}

/// What a new head brought.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// To be written.
    pub records: Vec<Record>,
    /// To be announced once that is done.
    pub promoted: Vec<Arc<RecoveredTx>>,
}

/// What the actor knows. Of it, only the transactions are on disk; the rest can be forgotten.
#[derive(Debug)]
pub(crate) struct State {
    pub pool: Pool,
    view: Arc<HeadView>,
    /// Which submission brought a pooled transaction. None for one that came from the journal or from a block that left the
    /// chain: its submitter may not have had an answer yet.
    brought: B256Map<SubmissionId>,
    /// The same for those that are in the chain, the oldest first.
    settled: B256Map<Option<SubmissionId>>,
    settled_order: VecDeque<B256>,
    /// In a block that may not be durable yet, by the number of a block that is not older. They must stay in the journal.
    awaiting: BTreeMap<u64, Vec<Arc<RecoveredTx>>>,
    /// From blocks that left the chain and not in the pool again yet: their authorities are not recovered, the state could not be
    /// read, or the pool had no room. In the order in which they came.
    returning: Vec<PoolTx>,
    returning_hashes: B256Set,
    /// Those of them whose authorities are being recovered.
    recovering: B256Set,
}

impl State {
    pub(crate) fn new(config: PoolConfig, view: Arc<HeadView>) -> Self {
        Self {
            pool: Pool::new(config, view.head.clone()),
            view,
            brought: B256Map::default(),
            settled: B256Map::default(),
            settled_order: VecDeque::new(),
            awaiting: BTreeMap::new(),
            returning: Vec::new(),
            returning_hashes: B256Set::default(),
            recovering: B256Set::default(),
        }
    }

    /// Puts back what the journal holds. Returns how many are in the pool again.
    pub(crate) fn restore(&mut self, txs: Vec<PoolTx>, mut progress: impl FnMut(usize)) -> Result<usize, TxPoolError> {
        let view = self.view.clone();
        for (count, mut tx) in txs.into_iter().enumerate() {
            // Those that are used up need no authorities.
            let costly = !tx.is_recovered() && self.pool.check(&tx, Origin::Restored, &*view.state).is_ok();
            if costly {
                tx.recover();
            }
            if costly || count % 4096 == 0 {
                progress(count);
            }
            let raw = tx.tx().clone();
            match self.pool.add(tx, Origin::Restored, &*view.state, 0) {
                Ok(added) => {
                    for tx in &added.evicted {
                        tracing::warn!(hash = %tx.hash(), "a journalled transaction does not fit the pool's limits any more");
                    }
                }
                Err(PoolError::State(error)) => return Err(error.into()),
                Err(PoolError::NonceTooLow { .. }) => {
                    self.settle(raw.hash(), None);
                    self.awaiting.entry(view.head.number).or_default().push(raw);
                }
                Err(error) => {
                    tracing::warn!(hash = %raw.hash(), %error, "a journalled transaction is not valid any more");
                }
            }
        }
        self.forget_durable(view.durable);
        Ok(self.pool.len())
    }

    /// What becomes of a submission whatever its authorities are; `None` if that depends on them, or it is accepted.
    pub(crate) fn judge(&mut self, tx: &PoolTx, submission: SubmissionId) -> Option<Offer> {
        if self.is_repeated(tx.hash(), submission) {
            return Some(Offer::Repeated);
        }
        self.pool.check(tx, Origin::Submitted, &*self.view.state).err().map(Offer::Refused)
    }

    /// Was this submission accepted before?
    fn is_repeated(&mut self, hash: B256, submission: SubmissionId) -> bool {
        let first = if self.pool.contains(&hash) {
            Some(self.brought.get(&hash).copied())
        } else {
            self.settled.get(&hash).copied()
        };
        match first {
            // Accepted in an earlier life: whoever asks first may be the one who had no answer then.
            Some(None) => {
                if let Some(settled) = self.settled.get_mut(&hash) {
                    *settled = Some(submission);
                } else {
                    self.brought.insert(hash, submission);
                }
                true
            }
            Some(Some(first)) => first == submission,
            None => false,
        }
    }

    pub(crate) fn offer(&mut self, tx: PoolTx, submission: SubmissionId, now: u64) -> Offer {
        let hash = tx.hash();
        if self.is_repeated(hash, submission) {
            return Offer::Repeated;
        }
        match self.pool.add(tx, Origin::Submitted, &*self.view.state, now) {
            Ok(added) => {
                self.left(&added);
                self.brought.insert(hash, submission);
                Offer::Accepted(added)
            }
            Err(error) => Offer::Refused(error),
        }
    }

    fn left(&mut self, added: &Added) {
        metrics::left(Left::Replaced, usize::from(added.replaced.is_some()));
        metrics::left(Left::Evicted, added.evicted.len());
        for hash in gone(added) {
            self.brought.remove(&hash);
        }
    }

    fn settle(&mut self, hash: B256, by: Option<SubmissionId>) {
        if self.settled.insert(hash, by).is_none() {
            self.settled_order.push_back(hash);
        }
        while self.settled_order.len() > SETTLED {
            if let Some(oldest) = self.settled_order.pop_front() {
                self.settled.remove(&oldest);
            }
        }
    }

    /// Follows the chain. `newest` is what the feed shows, which is never older than a message.
    pub(crate) fn head_changed(
        &mut self,
        msg: HeadChanged,
        newest: Option<Arc<HeadView>>,
        now: u64,
    ) -> Result<Moved, TxPoolError> {
        let here = self.pool.head().hash;
        for tx in msg.reorged_out.iter() {
            self.return_later(tx);
        }
        let (view, touched) = if msg.view.head.hash == here {
            // Delivered twice, or taken from the feed before: what is new is at most `durable`.
            (msg.view, Touched::Accounts(Vec::new()))
        } else if msg.from == here {
            (msg.view, msg.touched)
        } else {
            match newest {
                // The pool is ahead of this message.
                Some(newest) if newest.head.hash == here => (newest, Touched::Accounts(Vec::new())),
                Some(newest) => (newest, Touched::All),
                None => (msg.view, Touched::All),
            }
        };
        self.follow(view, touched, &msg.mined, now)
    }

    /// Takes over the head that the feed shows, if no message told of it.
    pub(crate) fn catch_up(&mut self, view: Arc<HeadView>, now: u64) -> Result<Moved, TxPoolError> {
        self.follow(view, Touched::All, &[], now)
    }

    fn follow(
        &mut self,
        view: Arc<HeadView>,
        touched: Touched,
        mined: &[B256],
        now: u64,
    ) -> Result<Moved, TxPoolError> {
        // What lies between the two heads is not known: a block may have left the chain.
        let unknown = matches!(touched, Touched::All);
        let change = HeadChange { head: view.head.clone(), touched, mined: mined.to_vec(), reorged_out: Vec::new() };
        let effects = self.pool.on_head(change, &*view.state, now)?;
        if unknown {
            let awaiting: Vec<_> = self.awaiting.values().flatten().cloned().collect();
            for tx in &awaiting {
                self.return_later(tx);
            }
        }
        let promoted = self.take_in(&view, effects);
        self.forget_durable(view.durable);
        self.view = view;
        let mut moved = self.take_back(now);
        moved.promoted.splice(0..0, promoted);
        Ok(moved)
    }

    /// Notes a transaction that has to come back into the pool. Once, however often it is named.
    fn return_later(&mut self, tx: &Arc<RecoveredTx>) {
        if self.returning_hashes.insert(tx.hash()) {
            self.returning.push(PoolTx::outline(tx.clone()));
        }
    }

    /// Is there a transaction that has to come back and is not in the pool yet?
    pub(crate) fn is_returning(&self) -> bool {
        !self.returning.is_empty()
    }

    /// The returning ones whose authorities have to be recovered before the pool can take them, and are not yet. Each is
    /// to come back with [`Self::recovered`].
    pub(crate) fn take_unrecovered(&mut self) -> Vec<PoolTx> {
        let recovering = &mut self.recovering;
        self.returning.iter().filter(|tx| !tx.is_recovered() && recovering.insert(tx.hash())).cloned().collect()
    }

    /// A returning transaction with its authorities; `None` if that failed, and is to be tried again.
    pub(crate) fn recovered(&mut self, hash: B256, tx: Option<PoolTx>) {
        self.recovering.remove(&hash);
        if let Some(tx) = tx
            && let Some(place) = self.returning.iter_mut().find(|known| known.hash() == hash)
        {
            *place = tx;
        }
    }

    /// Offers the returning ones to the pool. Those that it cannot judge or has no room for now stay.
    pub(crate) fn take_back(&mut self, now: u64) -> Moved {
        let mut moved = Moved::default();
        for tx in std::mem::take(&mut self.returning) {
            let (hash, raw, view) = (tx.hash(), tx.tx().clone(), self.view.clone());
            let result = if tx.is_recovered() {
                self.pool.add(tx.clone(), Origin::Restored, &*view.state, now).map(Some)
            } else {
                // Only what would come in otherwise is worth its signatures.
                self.pool.check(&tx, Origin::Restored, &*view.state).map(|()| None)
            };
            match result {
                Ok(None) => {
                    self.returning.push(tx);
                    continue;
                }
                Ok(Some(added)) => {
                    self.left(&added);
                    if let Some(Some(by)) = self.settled.remove(&hash) {
                        self.brought.insert(hash, by);
                    }
                    moved.records.push(Record::Accepted { tx: raw, gone: gone_of(&added) });
                    moved.promoted.extend(added.promoted);
                }
                Err(error @ (PoolError::State(_) | PoolError::Full)) => {
                    tracing::debug!(%hash, %error, "a transaction of a block that left the chain waits to come back");
                    self.returning.push(tx);
                    continue;
                }
                // In the new chain too, or its nonce is used there.
                Err(PoolError::AlreadyKnown(_) | PoolError::NonceTooLow { .. }) => {}
                Err(error) => {
                    self.settled.remove(&hash);
                    tracing::warn!(%hash, %error, "a transaction of a block that left the chain is not valid any more");
                }
            }
            self.returning_hashes.remove(&hash);
        }
        moved
    }

    /// Notes what a head took out of the pool. Returns what became ready.
    fn take_in(&mut self, view: &HeadView, effects: HeadEffects) -> Vec<Arc<RecoveredTx>> {
        metrics::left(Left::Included, effects.included.len());
        metrics::left(Left::Superseded, effects.superseded.len());
        // Which of the two it was is only known if the list of mined ones is complete; keeping one too many does no harm.
        let gone = effects.included.into_iter().chain(effects.superseded);
        let awaiting: Vec<_> = gone
            .inspect(|tx| {
                let by = self.brought.remove(&tx.hash());
                self.settle(tx.hash(), by);
            })
            .collect();
        if !awaiting.is_empty() {
            self.awaiting.entry(view.head.number).or_default().extend(awaiting);
        }
        effects.promoted
    }

    fn forget_durable(&mut self, durable: u64) {
        self.awaiting = self.awaiting.split_off(&durable.saturating_add(1));
    }

    /// Sets aside what execution refused.
    pub(crate) fn invalid(&mut self, txs: &[(B256, String)], now: u64) -> Result<(), TxPoolError> {
        for (hash, reason) in txs {
            if self.pool.contains(hash) {
                tracing::debug!(%hash, reason, "execution refused a pooled transaction");
                self.pool.refuse(hash, &*self.view.state, now)?;
            }
        }
        Ok(())
    }

    /// Drops what has waited too long.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<B256> {
        let expired: Vec<_> = self.pool.expire(now).iter().map(|tx| tx.hash()).collect();
        metrics::left(Left::Expired, expired.len());
        for hash in &expired {
            self.brought.remove(hash);
        }
        expired
    }

    /// Everything that the journal must hold.
    pub(crate) fn to_keep(&self) -> Vec<Arc<RecoveredTx>> {
        // Those in blocks come first: they arrived before what is still in the pool with the same sender.
        let returning = self.returning.iter().map(PoolTx::tx);
        self.awaiting.values().flatten().chain(returning).cloned().chain(self.pool.all()).collect()
    }

    /// Bytes of that, about.
    pub(crate) fn bytes_to_keep(&self) -> u64 {
        let awaiting: usize = self.awaiting.values().flatten().map(|tx| tx.encoded().len()).sum();
        let returning: usize = self.returning.iter().map(PoolTx::size).sum();
        (awaiting + returning + self.pool.status().bytes) as u64
    }
}

fn gone(added: &Added) -> impl Iterator<Item = B256> + '_ {
    added.replaced.iter().chain(&added.evicted).map(|tx| tx.hash())
}

/// What left the pool for an accepted transaction.
pub(crate) fn gone_of(added: &Added) -> Vec<B256> {
    gone(added).collect()
}
