//! News of the chain for subscriptions, filters and those who wait for a receipt.
//!
//! The executor only says that the heads moved. What that means block by block is worked out here from the chain itself, so that a
//! missed message loses nothing.

use crate::{
    chain::{BlockAndReceipts, BlockRef, ReadError},
    known::Known,
    source::{Announced, Source},
    workers::Workers,
};
use alloy_primitives::{
    B256,
    map::{Entry, HashMap},
};
use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::sync::{broadcast, oneshot};

/// Makes a stream that yields whenever the heads of the chain may have moved.
pub type HeadSignal = Arc<dyn Fn() -> BoxStream<'static, ()> + Send + Sync>;

/// Updates that a slow receiver may leave unread before it loses the oldest.
const BACKLOG: usize = 16;

/// Hashes that are remembered: how deep a reorganization may be to be announced block by block.
const REMEMBERED: usize = 512;

/// Pause before a block that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Blocks that are announced after a gap; beyond it only the newest ones are.
const MAX_GAP: usize = 512;

/// How the canonical chain changed.
#[derive(Debug, Clone)]
pub(crate) struct ChainUpdate<B = BlockAndReceipts> {
    /// Blocks that are no longer canonical, newest first.
    pub(crate) reverted: Vec<B>,
    /// Blocks that are canonical now, oldest first.
    pub(crate) applied: Vec<B>,
}

/// A mined transaction: its block and its position there.
pub(crate) type Mined<B = BlockAndReceipts> = (B, usize);

/// Where news is handed out.
#[derive(Debug)]
pub(crate) struct Feed<B = BlockAndReceipts> {
    updates: broadcast::Sender<Arc<ChainUpdate<B>>>,
    waiting: Mutex<Waiting<B>>,
}

/// The number of one who waits, and the way to them.
type Waits<B> = (u64, oneshot::Sender<Mined<B>>);

/// Those who wait for a transaction, each under a number of its own.
#[derive(Debug)]
struct Waiting<B> {
    next: u64,
    by_hash: HashMap<B256, Vec<Waits<B>>>,
}

/// One who waits for a transaction, and is forgotten when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiter<B = BlockAndReceipts> {
    feed: Arc<Feed<B>>,
    hash: B256,
    number: u64,
    mined: oneshot::Receiver<Mined<B>>,
}

impl<B> Waiter<B> {
    /// The transaction's place, once it is in a block; `None` if nobody follows the chain any more.
    pub(crate) async fn mined(mut self) -> Option<Mined<B>> {
        (&mut self.mined).await.ok()
    }
}

impl<B> Drop for Waiter<B> {
    fn drop(&mut self) {
        let mut waiting = self.feed.waiting.lock();
        if let Entry::Occupied(mut senders) = waiting.by_hash.entry(self.hash) {
            senders.get_mut().retain(|(number, _)| *number != self.number);
            if senders.get().is_empty() {
                senders.remove();
            }
        }
    }
}

impl<B: Announced> Feed<B> {
    pub(crate) fn new() -> Arc<Self> {
        let (updates, _) = broadcast::channel(BACKLOG);
        let waiting = Waiting { next: 0, by_hash: HashMap::default() };
        Arc::new(Self { updates, waiting: Mutex::new(waiting) })
    }

    /// Updates from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<ChainUpdate<B>>> {
        self.updates.subscribe()
    }

    /// Waits for a transaction to be in a block that is announced from now on.
    pub(crate) fn wait_for(self: &Arc<Self>, hash: B256) -> Waiter<B> {
        let (sender, mined) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_hash.entry(hash).or_default().push((number, sender));
        drop(waiting);
        Waiter { feed: self.clone(), hash, number, mined }
    }

    fn publish(&self, update: ChainUpdate<B>) {
        let mut waiting = self.waiting.lock();
        if !waiting.by_hash.is_empty() {
            for mined in &update.applied {
                for (index, (hash, _)) in mined.transactions().enumerate() {
                    for (_, sender) in waiting.by_hash.remove(&hash).into_iter().flatten() {
                        // The one who waited may be giving up right now.
                        let _ = sender.send((mined.clone(), index));
                    }
                }
            }
        }
        drop(waiting);
        // Fails only if nobody is subscribed.
        let _ = self.updates.send(Arc::new(update));
    }

    /// Follows the chain until the signal ends.
    pub(crate) async fn follow<S: Source<Block = B>>(self: Arc<Self>, chain: S, workers: Workers, signal: HeadSignal) {
        let mut known: Option<Known> = None;
        let mut signal = signal();
        let mut again = tokio::time::interval(RETRY);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                moved = signal.next() => if moved.is_none() { return },
                // What could not be read a moment ago is tried again without waiting for the next block.
                _ = again.tick() => {}
            }
            let Ok(latest) = chain.heads().map(|heads| heads.latest) else { continue };
            let reader = chain.clone();
            let Some(before) = known.clone() else {
                known = workers.run(move |_| Ok(begin(&reader)?)).await.ok();
                continue;
            };
            if before.head() == latest {
                continue;
            }
            match workers.run(move |_| Ok(update(&reader, before, latest)?)).await {
                Ok((after, update)) => {
                    known = Some(after);
                    self.publish(update);
                }
                Err(error) => tracing::debug!(%error, block = latest.number, "cannot announce a new block yet"),
            }
        }
    }
}

/// Where following begins. The head is read, so that it is at hand if it is reverted.
fn begin(chain: &impl Source) -> Result<Known, ReadError> {
    let known = Known::at_head(chain, REMEMBERED)?;
    chain.whole(known.head().hash)?;
    Ok(known)
}

/// What changed up to a new head, with all that subscribers want to know.
fn update<S: Source>(chain: &S, mut known: Known, to: BlockRef) -> Result<(Known, ChainUpdate<S::Block>), ReadError> {
    let path = known.advance(chain, to, MAX_GAP)?;
    let mut update = ChainUpdate { reverted: Vec::new(), applied: Vec::new() };
    for hash in path.reverted {
        // The old side of a reorganization is in the cache, or gone. That costs its `removed` logs, never the new blocks.
        update.reverted.extend(chain.whole(hash).ok().flatten());
    }
    for hash in path.applied {
        let block = chain.whole(hash)?;
        update.applied.push(block.ok_or_else(|| ReadError::Reorged(format!("block {hash}")))?);
    }
    Ok((known, update))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_remembered_who_does_not_wait() {
        let feed: Arc<Feed> = Feed::new();
        let (first, second) = (feed.wait_for(B256::ZERO), feed.wait_for(B256::ZERO));
        drop(first);
        assert_eq!(feed.waiting.lock().by_hash[&B256::ZERO].len(), 1);
        let mut given_up = Box::pin(second.mined());
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        assert!(feed.waiting.lock().by_hash.is_empty());
    }
}
