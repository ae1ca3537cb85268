//! One client that listens: what it is sent, and when it is given up.

use crate::{connection::Connection, feed::ChainUpdate, filters::in_range, metrics, source::Announced, types};
use alloy_rpc_types_eth::Filter;
use jsonrpsee::{
    SubscriptionCloseResponse, SubscriptionSink,
    core::server::{PendingSubscriptionSink, SendTimeoutError},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// What stands around a notification: its version, its method and the id of the subscription.
const ENVELOPE: usize =
    r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"","result":}}"#.len() + 34;

/// A client that listens.
pub(crate) struct Subscriber {
    sink: SubscriptionSink,
    /// Its connection, which knows what it has not read yet.
    connection: Option<Arc<Connection>>,
    /// How long it may leave its connection full.
    patience: Duration,
}

/// Why a subscription ends.
pub(crate) enum End {
    /// The client closed it, or its connection.
    Closed,
    /// The client does not read.
    Slow,
}

impl Subscriber {
    /// Tells the client the id of its subscription; `None` if it is gone already. Whoever calls this listens to what it will send
    /// before that, so that nothing is lost in between.
    pub(crate) async fn accept(
        pending: PendingSubscriptionSink,
        connection: Option<Arc<Connection>>,
        patience: Duration,
    ) -> Option<Self> {
        let subscribing = match &connection {
            Some(connection) => Some(connection.subscribing.lock().await),
            None => None,
        };
        let sink = pending.accept().await.ok()?;
        drop(subscribing);
        metrics::subscriptions().increment(1.0);
        Some(Self { sink, connection, patience })
    }

    /// What the client is told at the end.
    pub(crate) fn end(self, end: End) -> SubscriptionCloseResponse {
        match end {
            End::Closed => SubscriptionCloseResponse::None,
            End::Slow => {
                metrics::slow_subscribers().increment(1);
                tracing::debug!(subscription = ?self.sink.subscription_id(), "ended a subscription whose client does not read");
                if self.sink.capacity() == 0 {
                    // Nothing can be said to it.
                    return SubscriptionCloseResponse::None;
                }
                SubscriptionCloseResponse::NotifErr("subscription ended: the client reads too slowly".into())
            }
        }
    }

    /// The next piece of news, or why there is none.
    pub(crate) async fn next<T: Clone>(&self, receiver: &mut Receiver<T>) -> Result<T, End> {
        tokio::select! {
            () = self.sink.closed() => Err(End::Closed),
            message = receiver.recv() => message.map_err(|error| match error {
                RecvError::Lagged(_) => End::Slow,
                RecvError::Closed => End::Closed,
            }),
        }
    }

    /// Sends one notification.
    pub(crate) async fn send<T: Serialize>(&self, message: &T) -> Result<(), End> {
        let Ok(json) = serde_json::value::to_raw_value(message) else { return Err(End::Closed) };
        // As answers are: what the client has not read is counted.
        let length = json.get().len() + ENVELOPE;
        if let Some(connection) = &self.connection {
            let mut share = connection.unsent().share();
            share.grow(length).map_err(|_| End::Slow)?;
            connection.owe(length, share);
        }
        self.sink.send_timeout(json, self.patience).await.map_err(|error| {
            if let Some(connection) = &self.connection {
                connection.forget(length);
            }
            match error {
                SendTimeoutError::Timeout(_) => End::Slow,
                SendTimeoutError::Closed(_) => End::Closed,
            }
        })
    }

    /// Sends the headers of new blocks.
    pub(crate) async fn heads<B: Announced>(&self, mut updates: Receiver<Arc<ChainUpdate<B>>>) -> End {
        loop {
            let update = match self.next(&mut updates).await {
                Ok(update) => update,
                Err(end) => return end,
            };
            for block in &update.applied {
                if let Err(end) = self.send(&types::header(block.header())).await {
                    return end;
                }
            }
        }
    }

    /// Sends the logs of new blocks, and again those of blocks that were replaced.
    pub(crate) async fn logs<B: Announced>(&self, mut updates: Receiver<Arc<ChainUpdate<B>>>, filter: &Filter) -> End {
        loop {
            let update = match self.next(&mut updates).await {
                Ok(update) => update,
                Err(end) => return end,
            };
            let reverted = update.reverted.iter().map(|block| (block, true));
            for (block, removed) in reverted.chain(update.applied.iter().map(|block| (block, false))) {
                if !block.may_match(filter) || !in_range(filter, block.header().number) {
                    continue;
                }
                for log in block.matching(filter, removed) {
                    if let Err(end) = self.send(&log).await {
                        return end;
                    }
                }
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        metrics::subscriptions().decrement(1.0);
    }
}
