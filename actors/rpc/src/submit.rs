//! The way of a raw transaction into the pool: decoded and its sender recovered on a few threads of their own, so that neither the
//! threads that serve sockets nor those of long calls are in its way.

use crate::{error::RpcError, pool::PoolPorts};
use alloy_consensus::Transaction as _;
use alloy_primitives::{B256, Bytes};
use duskevm_evm::{RecoveredTx, TxDecodeError};
use metrics::Gauge;
use op_alloy_consensus::OpTxEnvelope;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tokio::sync::oneshot;

/// Transactions that one thread takes at once, so that it seldom waits for the queue.
const BATCH: usize = 32;

/// Largest transaction in bytes, as in geth's pool: four slots of 32 KiB.
pub(crate) const MAX_TX_BYTES: usize = 128 * 1024;

type Reply = oneshot::Sender<Result<Arc<RecoveredTx>, RpcError>>;

#[derive(Default)]
struct Queue {
    entries: VecDeque<(Bytes, Reply)>,
    stopped: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    capacity: usize,
    threads: usize,
    allow_unprotected: bool,
    depth: Gauge,
}

/// The entrance for raw transactions. The threads end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Ingress {
    pool: PoolPorts,
    shared: Arc<Shared>,
    _stop: Arc<StopOnDrop>,
}

struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.stopped = true;
        queue.entries.clear();
        self.0.wake.notify_all();
    }
}

impl fmt::Debug for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingress").field("threads", &self.shared.threads).finish_non_exhaustive()
    }
}

impl Ingress {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(pool: PoolPorts, limits: &crate::Limits) -> std::io::Result<Self> {
        let threads = limits.ingress_workers.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            capacity: limits.ingress_queue,
            threads,
            allow_unprotected: limits.allow_unprotected_txs,
            depth: crate::metrics::queue_depth("ingress"),
        });
        let ingress = Self { pool, _stop: Arc::new(StopOnDrop(shared.clone())), shared };
        for index in 0..threads {
            let shared = ingress.shared.clone();
            std::thread::Builder::new().name(format!("rpc-ingress-{index}")).spawn(move || work(&shared))?;
        }
        Ok(ingress)
    }

    /// Hands a raw transaction (EIP-2718 bytes) to the pool and returns its hash.
    ///
    /// # Errors
    /// What is wrong with it; [`RpcError::Busy`] if too many are waiting.
    pub(crate) async fn submit(&self, raw: Bytes) -> Result<B256, RpcError> {
        if raw.len() > MAX_TX_BYTES {
            return Err(RpcError::server(format!(
                "oversized data: transaction size {}, limit {MAX_TX_BYTES}",
                raw.len()
            )));
        }
        let (reply, result) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if queue.stopped || queue.entries.len() >= self.shared.capacity {
                return Err(RpcError::Busy("transactions"));
            }
            queue.entries.push_back((raw, reply));
        }
        self.shared.wake.notify_one();
        let recovered =
            result.await.unwrap_or_else(|_| Err(RpcError::internal("the transaction threads are shutting down")));
        self.pool.submit(recovered?).await
    }
}

fn work(shared: &Shared) {
    loop {
        let batch: Vec<(Bytes, Reply)> = {
            let mut queue = shared.queue.lock();
            while queue.entries.is_empty() && !queue.stopped {
                shared.wake.wait(&mut queue);
            }
            if queue.stopped {
                return;
            }
            // An equal share for each thread: a batch that one thread takes alone would leave the others idle.
            let share = queue.entries.len().div_ceil(shared.threads).min(BATCH);
            let batch = queue.entries.drain(..share).collect();
            shared.depth.set(queue.entries.len() as f64);
            batch
        };
        for (raw, reply) in batch {
            if reply.is_closed() {
                continue;
            }
            let recovered = catch_unwind(AssertUnwindSafe(|| recover(&raw, shared.allow_unprotected)))
                .unwrap_or_else(|_| Err(RpcError::internal("decoding a transaction panicked")));
            // Fails only if the client went away meanwhile.
            let _ = reply.send(recovered.map(Arc::new));
        }
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
