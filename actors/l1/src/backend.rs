//! Where the Dusk blocks come from.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_l1_view::{DuskBlock, DuskEvent, DuskTx};
use duskevm_messages::consensus::{DuskBlockByHeight, DuskTip, DuskTipFeed};
use duskevm_supervision::Port;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

/// How far a backend is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendTip {
    /// Height of the newest block.
    pub height: u64,
    /// Its Dusk hash.
    pub hash: B256,
    /// Height of the newest final block.
    pub final_height: u64,
}

/// A backend that did not answer. It is asked again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{who} did not answer: {reason}")]
pub struct BackendError {
    /// Name of the actor or node.
    pub who: Arc<str>,
    /// Why not.
    pub reason: String,
}

/// A source of Dusk blocks: the embedded L1, or one day a Dusk node of its own.
pub trait Backend: Send + Sync {
    /// Name of the actor or node, for the chain of causes.
    fn name(&self) -> Arc<str>;

    /// How far the backend is, as last heard; `None` if nothing was heard yet.
    fn tip(&self) -> Option<BackendTip>;

    /// Resolves when [`tip`](Self::tip) may have changed since the last call, or after a while.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// One block; `None` if the backend has none of this height.
    fn block(&self, height: u64, patience: Duration) -> BoxFuture<'static, Result<Option<DuskBlock>, BackendError>>;
}

/// Which block of the embedded L1 counts as its newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// The newest block there is. It may be replaced; the view steps back then.
    Tip,
    /// The newest final block: what is followed is never replaced, at the cost of the time that finality takes.
    Final,
}

/// The L1 that this program runs: the `consensus` actor.
#[derive(Debug)]
pub struct Embedded {
    blocks: Port<DuskBlockByHeight>,
    tip: DuskTipFeed,
    /// For [`Follow::Final`]: the newest final block that was looked up. The feed tells its height only.
    finals: Option<Arc<Mutex<Option<BackendTip>>>>,
}

impl Embedded {
    /// From the actor's port and its feed.
    pub fn new(blocks: Port<DuskBlockByHeight>, tip: DuskTipFeed, follow: Follow) -> Self {
        let finals = match follow {
            Follow::Tip => None,
            Follow::Final => Some(Arc::default()),
        };
        Self { blocks, tip, finals }
    }
}

/// Longest wait for news: asking again now and then does no harm.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Pause after a question that nobody answered, or a feed that ended.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits for a tip that `is_news`; `None` if none came for a while.
async fn news(feed: &mut DuskTipFeed, mut is_news: impl FnMut(&DuskTip) -> bool) -> Option<DuskTip> {
    let waited = {
        let wanted = feed.wait_for(|tip| tip.as_ref().is_some_and(&mut is_news));
        tokio::time::timeout(LOOK_AGAIN, wanted).await.map(|seen| seen.map(|tip| *tip))
    };
    match waited {
        Ok(Ok(tip)) => tip,
        Err(_) => None,
        // A feed without a sender is at its end.
        Ok(Err(_)) => {
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

impl Backend for Embedded {
    fn name(&self) -> Arc<str> {
        self.blocks.name().clone()
    }

    fn tip(&self) -> Option<BackendTip> {
        match &self.finals {
            Some(known) => *known.lock(),
            None => self.tip.borrow().map(|tip| BackendTip {
                height: tip.height,
                hash: tip.hash,
                final_height: tip.final_height,
            }),
        }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut feed = self.tip.clone();
        let Some(finals) = self.finals.clone() else {
            let seen = *feed.borrow_and_update();
            return async move {
                news(&mut feed, |tip| Some(*tip) != seen).await;
            }
            .boxed();
        };
        let blocks = self.blocks.clone();
        let known = finals.lock().map(|tip| tip.height);
        async move {
            let Some(tip) = news(&mut feed, |tip| known.is_none_or(|known| tip.final_height > known)).await else {
                return;
            };
            let height = tip.final_height;
            match blocks.ask_retry(DuskBlockByHeight { height }, LOOK_AGAIN).await {
                Ok(Some(block)) => {
                    let found = BackendTip { height, hash: block.header.hash.into(), final_height: height };
                    let mut finals = finals.lock();
                    if finals.is_none_or(|known| known.height < height) {
                        *finals = Some(found);
                    }
                }
                // It is just restarting.
                Ok(None) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        .boxed()
    }

    fn block(&self, height: u64, patience: Duration) -> BoxFuture<'static, Result<Option<DuskBlock>, BackendError>> {
        let blocks = self.blocks.clone();
        async move {
            match blocks.ask_retry(DuskBlockByHeight { height }, patience).await {
                Ok(block) => Ok(block.map(|block| dusk_block(&block))),
                Err(error) => Err(BackendError { who: blocks.name().clone(), reason: error.to_string() }),
            }
        }
        .boxed()
    }
}

/// What the projection reads of an accepted block: its header, and the events of its transactions.
fn dusk_block(block: &AcceptedBlock) -> DuskBlock {
    let header = &block.header;
    let mut txs: Vec<DuskTx> = Vec::new();
    for (index, event) in &block.events {
        let Some((index, outcome)) = index.and_then(|index| Some((index, block.outcomes.get(index)?))) else {
            continue;
        };
        let event = DuskEvent {
            contract: event.source.to_bytes().into(),
            topic: event.topic.clone(),
            data: event.data.clone().into(),
        };
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        match txs.last_mut() {
            Some(tx) if tx.index == index => tx.events.push(event),
            _ => txs.push(DuskTx { id: outcome.id.into(), index, events: vec![event] }),
        }
    }
    DuskBlock {
        height: header.height,
        timestamp: header.timestamp,
        hash: B256::from(header.hash),
        prev_hash: B256::from(header.prev_block_hash),
        seed: *header.seed.inner(),
        txs,
    }
}

#[cfg(test)]
mod tests {
    use duskevm_dusk_l1::execute::TxOutcome;
    use duskevm_dusk_l1::{Event, Header};

    use super::*;

    #[test]
    fn events_are_grouped_by_transaction_and_rewards_left_out() {
        let event = |topic: &str| Event { source: [7; 32].into(), topic: topic.into(), data: vec![1], reverted: false };
        let outcome = |id| TxOutcome { id: [id; 32], gas_spent: 1, error: None };
        let block = AcceptedBlock {
            header: Header { height: 5, timestamp: 9, hash: [1; 32], prev_block_hash: [2; 32], ..Header::default() },
            encoded: Default::default(),
            outcomes: vec![outcome(10), outcome(11), outcome(12)],
            events: vec![(Some(0), event("a")), (Some(0), event("b")), (Some(2), event("c")), (None, event("reward"))],
        };
        let dusk = dusk_block(&block);
        assert_eq!((dusk.height, dusk.timestamp), (5, 9));
        assert_eq!((dusk.hash, dusk.prev_hash), (B256::repeat_byte(1), B256::repeat_byte(2)));
        let txs: Vec<_> = dusk
            .txs
            .iter()
            .map(|tx| (tx.index, tx.id[0], tx.events.iter().map(|e| e.topic.as_str()).collect::<Vec<_>>()))
            .collect();
        assert_eq!(txs, [(0, 10, vec!["a", "b"]), (2, 12, vec!["c"])]);
    }
}
