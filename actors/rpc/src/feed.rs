//! News of the chain for subscriptions, filters and those who wait for a receipt.
//!
//! The executor only says that the heads moved. What that means block by block is worked out here from the chain itself, so that a
//! missed message loses nothing.

use crate::{
    chain::{BlockAndReceipts, BlockRef, Chain, ReadError},
    known::Known,
    workers::Workers,
};
use alloy_primitives::{B256, map::HashMap};
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
#[derive(Debug, Clone, Default)]
pub(crate) struct ChainUpdate {
    /// Blocks that are no longer canonical, newest first.
    pub(crate) reverted: Vec<BlockAndReceipts>,
    /// Blocks that are canonical now, oldest first.
    pub(crate) applied: Vec<BlockAndReceipts>,
}

/// A mined transaction: its block and its position there.
pub(crate) type Mined = (BlockAndReceipts, usize);

/// Where news is handed out.
#[derive(Debug)]
pub(crate) struct Feed {
    updates: broadcast::Sender<Arc<ChainUpdate>>,
    waiting: Mutex<HashMap<B256, Vec<oneshot::Sender<Mined>>>>,
}

impl Feed {
    pub(crate) fn new() -> Arc<Self> {
        let (updates, _) = broadcast::channel(BACKLOG);
        Arc::new(Self { updates, waiting: Mutex::default() })
    }

    /// Updates from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<ChainUpdate>> {
        self.updates.subscribe()
    }

    /// Resolves when a transaction is in a block that is announced from now on.
    pub(crate) fn wait_for(&self, hash: B256) -> oneshot::Receiver<Mined> {
        let (mined, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        // Those who gave up leave a closed sender behind; their number is bounded by clearing them when others come.
        if waiting.len() >= 1024 {
            waiting.retain(|_, senders| {
                senders.retain(|sender| !sender.is_closed());
                !senders.is_empty()
            });
        }
        waiting.entry(hash).or_default().push(mined);
        receiver
    }

    fn publish(&self, update: ChainUpdate) {
        let mut waiting = self.waiting.lock();
        if !waiting.is_empty() {
            for mined in &update.applied {
                for (index, tx) in mined.block.transactions.iter().enumerate() {
                    for sender in waiting.remove(&tx.hash()).into_iter().flatten() {
                        // The one who waited may have given up.
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
    pub(crate) async fn follow(self: Arc<Self>, chain: Chain, workers: Workers, signal: HeadSignal) {
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
fn begin(chain: &Chain) -> Result<Known, ReadError> {
    let known = Known::at_head(chain, REMEMBERED)?;
    chain.block_and_receipts(known.head().hash)?;
    Ok(known)
}

/// What changed up to a new head, with all that subscribers want to know.
fn update(chain: &Chain, mut known: Known, to: BlockRef) -> Result<(Known, ChainUpdate), ReadError> {
    let path = known.advance(chain, to, MAX_GAP)?;
    let mut update = ChainUpdate::default();
    for hash in path.reverted {
        // The old side of a reorganization is in the cache, or gone. That costs its `removed` logs, never the new blocks.
        update.reverted.extend(chain.block_and_receipts(hash).ok().flatten());
    }
    for hash in path.applied {
        let block = chain.block_and_receipts(hash)?;
        update.applied.push(block.ok_or_else(|| ReadError::Reorged(format!("block {hash}")))?);
    }
    Ok((known, update))
}
