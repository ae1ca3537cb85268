//! The transaction pool as the RPC sees it: ports to its actor, which survive its restarts.

use crate::error::RpcError;
use alloy_primitives::{Address, B256};
use duskevm_evm::RecoveredTx;
use duskevm_messages::txpool::{GetContent, GetContentFrom, GetPooled, GetStatus, NonceOf, PendingFeed, Submit};
use duskevm_supervision::{Actor, AskError, Handle, Message, Port, Ref};
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast;

/// How long a submission may take, restarts of the pool included. Clients give up after 10 to 30 seconds.
const SUBMIT_BOUND: Duration = Duration::from_secs(10);
/// How long a question may take.
const QUERY_BOUND: Duration = Duration::from_secs(5);

/// The ways to the pool.
#[derive(Debug, Clone)]
pub struct PoolPorts {
    /// Takes transactions.
    pub submit: Port<Submit>,
    /// All transactions.
    pub content: Port<GetContent>,
    /// Those of one sender.
    pub content_from: Port<GetContentFrom>,
    /// How many there are.
    pub status: Port<GetStatus>,
    /// One by its hash.
    pub pooled: Port<GetPooled>,
    /// The next nonce of a sender.
    pub nonce: Port<NonceOf>,
    /// Transactions as they become ready.
    pub pending: PendingFeed,
}

impl PoolPorts {
    /// All ports of one actor.
    pub fn of<A>(actor: &Ref<A>, pending: PendingFeed) -> Self
    where
        A: Actor
            + Handle<Submit>
            + Handle<GetContent>
            + Handle<GetContentFrom>
            + Handle<GetStatus>
            + Handle<GetPooled>
            + Handle<NonceOf>,
    {
        Self {
            submit: actor.port(),
            content: actor.port(),
            content_from: actor.port(),
            status: actor.port(),
            pooled: actor.port(),
            nonce: actor.port(),
            pending,
        }
    }

    /// Hands a transaction over. It is durable when its hash comes back.
    pub(crate) async fn submit(&self, tx: Arc<RecoveredTx>) -> Result<B256, RpcError> {
        self.submit_within(tx, SUBMIT_BOUND).await
    }

    /// The same with another bound.
    pub(crate) async fn submit_within(&self, tx: Arc<RecoveredTx>, bound: Duration) -> Result<B256, RpcError> {
        self.submit.ask_retry(Submit::new(tx), bound).await.map_err(unavailable)?.map_err(RpcError::server)
    }

    pub(crate) async fn transaction(&self, hash: B256) -> Result<Option<Arc<RecoveredTx>>, RpcError> {
        query(&self.pooled, GetPooled { hash }).await
    }

    pub(crate) async fn next_nonce(&self, sender: Address) -> Result<Option<u64>, RpcError> {
        query(&self.nonce, NonceOf { sender }).await
    }

    pub(crate) async fn content(&self) -> Result<<GetContent as Message>::Reply, RpcError> {
        query(&self.content, GetContent).await
    }

    pub(crate) async fn content_from(&self, sender: Address) -> Result<<GetContentFrom as Message>::Reply, RpcError> {
        query(&self.content_from, GetContentFrom { sender }).await
    }

    pub(crate) async fn status(&self) -> Result<<GetStatus as Message>::Reply, RpcError> {
        query(&self.status, GetStatus).await
    }

    /// Transactions as they become ready, from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<RecoveredTx>> {
        self.pending.subscribe()
    }
}

async fn query<M: Message + Clone>(port: &Port<M>, message: M) -> Result<M::Reply, RpcError> {
    port.ask_retry(message, QUERY_BOUND).await.map_err(unavailable)
}

fn unavailable(error: AskError) -> RpcError {
    match error {
        AskError::Full { .. } => RpcError::Busy("transactions"),
        other => RpcError::Server(format!("the transaction pool is not available: {other}")),
    }
}
