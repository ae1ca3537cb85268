//! How a payload is built: of its forced transactions when it is begun, with those of the pool right after that, and once more when it
//! is asked for.
//!
//! op-node asks for a payload shortly before its block is due and hands it on as it is. What the pool has for it must not take long then:
//! where the first building was quick it is repeated, so that what came meanwhile is in the block, else its block is the answer. It is
//! the answer too if the executor dies over the repetition. Where the first building gave none, as the executor died over it or the
//! pool had nothing, there is nothing else to answer with, and it is tried once more.

use super::EnginePorts;
use crate::{error::RpcError, metrics};
use alloy_primitives::U256;
use duskevm_engine_api::BuildRequest;
use duskevm_evm::{Block, RecoveredTx};
use duskevm_messages::{
    executor::{
        DaOrders, ExecutorRefusal,
        engine::{BuildPayload, BuiltPayload},
    },
    txpool::{Best, Invalid},
};
use duskevm_supervision::AskError;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long the executor may take for one step, its restarts included where the step may be repeated. op-node gives up a call after
/// 5 to 10 seconds and tries again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What took no longer is done again when the payload is asked for.
const QUICK: Duration = Duration::from_millis(50);
/// How long the pool's transactions may take then.
const LATE: Duration = Duration::from_millis(100);
/// How long the executor may take then for the whole step, if there is a block to answer with anyway: a restart is not waited for.
const IN_HAND: Duration = Duration::from_millis(500);

/// A block that was built.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) block: Arc<Block>,
    /// In wei.
    pub(crate) value: U256,
}

impl Built {
    /// What a block is worth: what it pays, and then how much it does.
    fn worth(&self) -> (U256, u64) {
        (self.value, self.block.header.gas_used)
    }
}

impl From<BuiltPayload> for Built {
    fn from(built: BuiltPayload) -> Self {
        Self { block: built.block, value: built.value }
    }
}

/// What came of building ahead with the pool.
#[derive(Debug)]
pub(super) enum Tried {
    /// A block, and how long it took.
    Made(Built, Duration),
    /// The pool had nothing to add, or the head had moved.
    Nothing,
    /// The executor gave no answer: it says nothing of what there is to add.
    Failed,
}

/// What is being built ahead.
pub(super) type Ahead = oneshot::Receiver<Tried>;

/// Has payloads built.
#[derive(Debug, Clone)]
pub(super) struct Builder {
    pub(super) ports: EnginePorts,
    pub(super) time_budget: Duration,
    pub(super) max_transactions: usize,
    pub(super) da_orders: DaOrders,
}

impl Builder {
    /// The block of the forced transactions, which tells whether one can be built at all.
    ///
    /// # Errors
    /// Why the executor gives no answer.
    pub(super) async fn forced(&self, request: &BuildRequest) -> Result<Result<Built, ExecutorRefusal>, RpcError> {
        Ok(self.build(request, Arc::from([]), None, PATIENCE).await?.map(Built::from))
    }

    /// Begins to build with the pool, beside everything else.
    pub(super) fn ahead(&self, request: &BuildRequest, forced: &Built) -> Ahead {
        let (done, ahead) = oneshot::channel();
        let (me, request, forced) = (self.clone(), request.clone(), forced.clone());
        tokio::spawn(async move {
            let begun = Instant::now();
            let tried = match me.with_pool(&request, &forced, me.time_budget, PATIENCE).await {
                Ok(Some(built)) => Tried::Made(built, begun.elapsed()),
                Ok(None) => Tried::Nothing,
                Err(error) => {
                    tracing::debug!(%error, "a payload is not built ahead");
                    Tried::Failed
                }
            };
            // Nobody asks for it any more.
            let _ = done.send(tried);
        });
        ahead
    }

    /// The block to answer with, of what there is and what there is time for.
    ///
    /// # Errors
    /// Why the executor gives no answer, if there is no block with transactions of the pool: the client calls again.
    pub(super) async fn finish(
        &self,
        request: &BuildRequest,
        forced: Built,
        ahead: Option<Ahead>,
    ) -> Result<Built, RpcError> {
        if request.no_tx_pool {
            return Ok(forced);
        }
        let Some(ahead) = ahead else {
            let made = self.with_pool(request, &forced, self.time_budget, PATIENCE).await?;
            return Ok(better(forced, made));
        };
        let late = self.time_budget.min(LATE);
        match ahead.await {
            Ok(Tried::Made(made, took)) => {
                let best = better(forced.clone(), Some(made));
                if took > QUICK {
                    return Ok(best);
                }
                match self.with_pool(request, &forced, late, IN_HAND).await {
                    Ok(made) => Ok(better(best, made)),
                    Err(error) => {
                        tracing::debug!(%error, "a payload is answered as it was built ahead");
                        Ok(best)
                    }
                }
            }
            // The task died, or its runtime is ending.
            Ok(Tried::Nothing | Tried::Failed) | Err(_) => {
                let made = self.with_pool(request, &forced, late, PATIENCE).await?;
                Ok(better(forced, made))
            }
        }
    }

    /// The block with transactions of the pool; `None` if there are none to add, or the head has moved meanwhile. They are added for
    /// `time`, and the executor is waited for as long as `patience`.
    async fn with_pool(
        &self,
        request: &BuildRequest,
        forced: &Built,
        time: Duration,
        patience: Duration,
    ) -> Result<Option<Built>, RpcError> {
        let header = &forced.block.header;
        let best = Best {
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            gas_limit: header.gas_limit,
            count: self.max_transactions,
        };
        // Without the pool the chain goes on: time does not stop for a restart.
        let pool = match self.ports.best.ask_within(best, time).await {
            Ok(pool) if !pool.is_empty() => pool,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::debug!(%error, "a payload is built without the pool");
                return Ok(None);
            }
        };
        match self.build(request, pool, Some(Instant::now() + time), patience).await? {
            Ok(mut built) => {
                metrics::engine_built("pool");
                let txs = std::mem::take(&mut built.invalid);
                if !txs.is_empty() {
                    // Losing it costs another try in a later block.
                    let _ = self.ports.invalid.tell(Invalid { txs });
                }
                Ok(Some(built.into()))
            }
            Err(refusal) => {
                tracing::debug!(%refusal, "a payload is answered without the pool's transactions");
                Ok(None)
            }
        }
    }

    async fn build(
        &self,
        request: &BuildRequest,
        pool: Arc<[Arc<RecoveredTx>]>,
        until: Option<Instant>,
        patience: Duration,
    ) -> Result<Result<BuiltPayload, ExecutorRefusal>, RpcError> {
        let build = BuildPayload {
            parent: request.parent,
            attributes: request.attributes.clone(),
            no_tx_pool: request.no_tx_pool,
            pool,
            until,
            da: self.da_orders.limits(),
        };
        self.ports.build.ask_within(build, patience).await.map_err(unavailable)
    }
}

fn better(one: Built, other: Option<Built>) -> Built {
    match other {
        Some(other) if other.worth() >= one.worth() => other,
        _ => one,
    }
}

/// An error that consensus clients try again after.
pub(super) fn unavailable(error: AskError) -> RpcError {
    match error {
        AskError::Full { .. } => RpcError::Busy("calls to the executor"),
        other => RpcError::Server(format!("the executor is not available: {other}; call again")),
    }
}
