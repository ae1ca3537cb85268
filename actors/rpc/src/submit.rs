//! The way of a raw transaction into the pool: decoded and its sender recovered on a few threads of their own, so that neither the
//! threads that serve sockets nor those of long calls are in its way.

use crate::{error::RpcError, forward::Forwarder, pool::PoolPorts, queue::Threads};
use alloy_consensus::Transaction as _;
use alloy_primitives::{B256, Bytes};
use duskevm_evm::{RecoveredTx, TxDecodeError};
use op_alloy_consensus::OpTxEnvelope;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// Transactions that one thread takes at once, so that it seldom waits for the queue.
const BATCH: usize = 32;

/// How long the own pool may take to keep what the sequencer has: whoever sent it need not wait for that.
const COPY_BOUND: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Arc<RecoveredTx>, RpcError>>;

/// Where transactions go.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// Into the pool of this node, which makes the blocks.
    Pool,
    /// To the sequencer, and into the pool as a copy.
    Sequencer(Forwarder),
    /// Nobody who makes blocks is known.
    Nowhere,
}

/// The entrance for raw transactions. The threads end when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Ingress {
    pool: PoolPorts,
    route: Route,
    threads: Threads<(Bytes, Reply)>,
    max_tx_bytes: usize,
}

impl Ingress {
    /// Starts the threads, under this name.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        name: &'static str,
        pool: PoolPorts,
        route: Route,
        limits: &crate::Limits,
    ) -> std::io::Result<Self> {
        let allow_unprotected = limits.allow_unprotected_txs;
        let work = move |(raw, reply): (Bytes, Reply)| {
            if reply.is_closed() {
                return;
            }
            let recovered = catch_unwind(AssertUnwindSafe(|| recover(&raw, allow_unprotected)))
                .unwrap_or_else(|_| Err(RpcError::internal("decoding a transaction panicked")));
            // Fails only if the client went away meanwhile.
            let _ = reply.send(recovered.map(Arc::new));
        };
        let threads = Threads::start(name, limits.ingress_workers, limits.ingress_queue, BATCH, work)?;
        Ok(Self { pool, route, threads, max_tx_bytes: limits.max_tx_bytes })
    }

    /// Hands a raw transaction (EIP-2718 bytes) to the sequencer, if that is elsewhere, and to the pool, and returns its hash.
    ///
    /// # Errors
    /// What is wrong with it; what the sequencer answers; [`RpcError::Busy`] if too many are waiting.
    pub(crate) async fn submit(&self, raw: Bytes) -> Result<B256, RpcError> {
        if matches!(self.route, Route::Nowhere) {
            return Err(RpcError::server(
                "this node makes no blocks and knows no sequencer, so the transaction would never get into one: its operator must set rpc.sequencer",
            ));
        }
        if raw.len() > self.max_tx_bytes {
            return Err(RpcError::server(format!(
                "oversized data: transaction size {}, limit {}",
                raw.len(),
                self.max_tx_bytes
            )));
        }
        let (reply, result) = oneshot::channel();
        self.threads.push((raw, reply)).map_err(|_| RpcError::Busy("transactions"))?;
        let recovered =
            result.await.unwrap_or_else(|_| Err(RpcError::internal("the transaction threads are shutting down")));
        let tx = recovered?;
        let Route::Sequencer(forwarder) = &self.route else { return self.pool.submit(tx).await };
        let hash = tx.hash();
        forwarder.send(tx.encoded(), hash).await?;
        // It is kept here as well, for those who ask for it or for the next nonce. The sequencer has it whatever becomes of that.
        if let Err(error) = self.pool.submit_within(tx, COPY_BOUND).await {
            tracing::debug!(%hash, %error, "the sequencer has a transaction that the pool of this node did not take");
        }
        Ok(hash)
    }
}

/// Decodes a transaction that a client sent.
fn recover(raw: &Bytes, allow_unprotected: bool) -> Result<RecoveredTx, RpcError> {
    let tx = RecoveredTx::decode(raw).map_err(|error| match error {
        TxDecodeError::Signature => RpcError::server("invalid sender"),
        other => RpcError::server(other),
    })?;
    match tx.envelope() {
        OpTxEnvelope::Deposit(_) | OpTxEnvelope::PostExec(_) => Err(RpcError::server("transaction type not supported")),
        OpTxEnvelope::Legacy(legacy) if !allow_unprotected && legacy.tx().chain_id().is_none() => {
            Err(RpcError::server("only replay-protected (EIP-155) transactions allowed over RPC"))
        }
        _ => Ok(tx),
    }
}
