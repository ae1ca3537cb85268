//! What the executor tells the others after each change.

use crate::actor::Executor;
use crate::{
    error::ExecutorError,
    kept::KeptBlocks,
    state::{ChainState, ReturnedTransactions},
    suspect::Suspect,
};
use alloy_primitives::{Address, B256, U256};
use duskevm_evm::{Block, header::next_base_fee};
use duskevm_fence::{Fence, FenceError};
use duskevm_messages::{
    executor::{ChainHeads, engine::Wanted},
    txpool::{HeadChanged, HeadView},
};
use duskevm_pool::{Head, Touched};
use duskevm_supervision::{Context, Port};
use op_revm::L1BlockInfo;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long the pool is given to take back transactions of dropped blocks.
const POOL_PATIENCE: Duration = Duration::from_secs(10);

/// Where the executor publishes. The senders live as long as the node: every instance gets clones.
#[derive(Debug, Clone)]
pub struct Feeds {
    /// Heads, for everybody.
    pub heads: watch::Sender<Option<Arc<ChainHeads>>>,
    /// The head as the pool needs it.
    pub pool: watch::Sender<Option<Arc<HeadView>>>,
    /// The pool itself, for what must not be missed.
    pub head_changed: Port<HeadChanged>,
    /// What is being executed, for the next instance.
    pub suspect: Suspect,
    /// The head that a consensus client wants and that is not here, for whoever brings missing blocks.
    pub wanted: watch::Sender<Option<Wanted>>,
    /// Blocks that a consensus client was told are valid, for the next instance.
    pub kept: KeptBlocks,
}

/// How the head moved.
pub(crate) struct Transition {
    /// The head that the others know.
    pub(crate) from: B256,
    /// The block that is new, if there is one.
    pub(crate) block: Option<Arc<Block>>,
    /// Were blocks taken out?
    pub(crate) reorganized: bool,
    /// Accounts that changed; `None`: not known.
    pub(crate) touched: Option<Vec<Address>>,
}

impl Feeds {
    pub(crate) fn publish(
        &self,
        chain: &ChainState,
        transition: Transition,
        ctx: &mut Context<Executor>,
    ) -> Result<(), ExecutorError> {
        let labels = chain.labels()?;
        let durable = chain.durable();
        let latest = Arc::clone(chain.head());
        let view = Arc::new(head_view(chain, durable)?);
        crate::metrics::heads(latest.number(), labels.safe.number, labels.finalized.number, durable);
        let replaced = chain.replaced()?;
        let heads = ChainHeads { latest, safe: labels.safe, finalized: labels.finalized, durable, replaced };
        self.announce(&view, heads, ctx.fence())?;

        let Transition { from, block, reorganized, touched } = transition;
        let returned = if reorganized { chain.returned()? } else { ReturnedTransactions::default() };
        let mined = block.iter().flat_map(|block| &block.transactions).map(|tx| tx.hash()).collect();
        let message = HeadChanged {
            from,
            view,
            touched: touched.map_or(Touched::All, Touched::Accounts),
            mined,
            reorged_out: returned.transactions.into(),
        };
        if message.reorged_out.is_empty() {
            if let Err(error) = self.head_changed.tell(message) {
                tracing::debug!(%error, "the pool was not told of the head; it will find it in its feed");
            }
        } else {
            let pool = self.head_changed.clone();
            ctx.pipe(async move { pool.ask_retry(message, POOL_PATIENCE).await }, move |executor, told, _| {
                executor.returned(told, &returned.kept)
            });
        }
        Ok(())
    }

    /// An instance that hung and was replaced must not set the feeds back to its own head.
    fn announce(&self, view: &Arc<HeadView>, heads: ChainHeads, fence: &Fence) -> Result<(), FenceError> {
        fence.write(|| {
            // The pool's feed first: it is what a lost message is made up for with.
            self.pool.send_replace(Some(Arc::clone(view)));
            self.heads.send_replace(Some(Arc::new(heads)));
        })
    }

    /// Says which head is wanted, also if it is the same again.
    pub(crate) fn want(&self, wanted: Option<Wanted>, fence: &Fence) -> Result<(), FenceError> {
        fence.write(|| {
            self.wanted.send_if_modified(|now| {
                let is_news = wanted.is_some() || now.is_some();
                *now = wanted;
                is_news
            });
        })
    }

    /// Is more durable now than was said last?
    pub(crate) fn durable_changed(&self, chain: &ChainState) -> bool {
        self.heads.borrow().as_ref().is_none_or(|heads| heads.durable != chain.durable())
    }
}

fn head_view(chain: &ChainState, durable: u64) -> Result<HeadView, ExecutorError> {
    let settings = chain.settings();
    let header = &chain.head().header;
    // A consensus client may have a block made of any time.
    let timestamp = header.timestamp.saturating_add(settings.block_time);
    let spec = settings.spec.spec_id(timestamp);
    let base_fee =
        next_base_fee(&settings.spec, header, timestamp).map_err(|error| ExecutorError::Head(error.to_string()))?;
    let mut state = chain.state()?;
    let l1 = L1BlockInfo::try_fetch(&mut state, U256::from(header.number), spec).map_err(ExecutorError::State)?;
    let min_base_fee = duskevm_evm::header::params_of_extra_data(&settings.spec, header)
        .ok()
        .and_then(|(_, minimum)| minimum)
        .unwrap_or_default();
    let head = Head {
        number: header.number,
        hash: header.hash(),
        base_fee,
        min_base_fee,
        gas_limit: header.gas_limit,
        spec,
        l1,
    };
    Ok(HeadView { head, state: Arc::new(state), durable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{Header, Sealable};
    use alloy_eips::BlockNumHash;
    use duskevm_fence::Gate;
    use duskevm_pool::{AccountReadError, AccountReader, AccountState};
    use op_revm::OpSpecId;

    struct Nobody;

    impl AccountReader for Nobody {
        fn account(&self, _: Address) -> Result<AccountState, AccountReadError> {
            Ok(AccountState::default())
        }
    }

    fn published(feeds: &Feeds, number: u64, fence: &Fence) -> Result<(), FenceError> {
        let header = Header { number, ..Default::default() }.seal_slow();
        let head = Head {
            number,
            hash: header.hash(),
            base_fee: 0,
            min_base_fee: 0,
            gas_limit: 0,
            spec: OpSpecId::ISTHMUS,
            l1: L1BlockInfo::default(),
        };
        let latest = Arc::new(Block { header, transactions: Vec::new() });
        let zero = BlockNumHash::default();
        let view = Arc::new(HeadView { head, state: Arc::new(Nobody), durable: 0 });
        feeds.announce(&view, ChainHeads { latest, safe: zero, finalized: zero, durable: 0, replaced: None }, fence)
    }

    #[test]
    fn a_replaced_instance_publishes_nothing() {
        let feeds = Feeds {
            heads: watch::Sender::new(None),
            pool: watch::Sender::new(None),
            head_changed: Port::unwired("pool"),
            suspect: Suspect::default(),
            wanted: watch::Sender::new(None),
            kept: KeptBlocks::default(),
        };
        let gate = Gate::new("executor");
        let old = gate.advance(Duration::ZERO).unwrap();
        published(&feeds, 1, &old).unwrap();
        let new = gate.advance(Duration::ZERO).unwrap();
        published(&feeds, 2, &new).unwrap();
        assert!(matches!(published(&feeds, 1, &old), Err(FenceError::Stale { .. })));
        assert_eq!(feeds.heads.borrow().as_ref().unwrap().latest.number(), 2);
        assert_eq!(feeds.pool.borrow().as_ref().unwrap().head.number, 2);
    }
}
