//! `eth_subscribe`.

use super::log::check;
use crate::{
    api::{Api, registry::Registry},
    connection::Connection,
    error::RpcError,
    feed::ChainUpdate,
    filters::in_range,
    metrics,
    params::Args,
    types::{self, logs_of},
};
use alloy_rpc_types_eth::Filter;
use duskevm_evm::RecoveredTx;
use jsonrpsee::{
    SubscriptionCloseResponse, SubscriptionSink,
    core::server::{PendingSubscriptionSink, SendTimeoutError},
    types::{ErrorObjectOwned, Params},
};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// What stands around a notification: its version, its method and the id of the subscription.
const ENVELOPE: usize =
    r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"","result":}}"#.len() + 34;

/// What a client wants to hear of.
#[derive(Debug)]
enum Topic {
    Heads,
    Logs(Box<Filter>),
    Pending { full: bool },
}

/// A client that listens.
struct Subscriber {
    sink: SubscriptionSink,
    /// Its connection, which knows what it has not read yet.
    connection: Option<Arc<Connection>>,
}

/// Why a subscription ends.
enum End {
    /// The client closed it, or its connection.
    Closed,
    /// The client does not read.
    Slow,
}

pub(super) fn register(registry: &mut Registry) {
    if !registry.serves("eth_subscribe") {
        return;
    }
    let outcome = registry
        .module()
        .register_subscription(
            "eth_subscribe",
            "eth_subscription",
            "eth_unsubscribe",
            |params, pending, api, extensions| {
                subscribe(params, pending, api, extensions.get::<Arc<Connection>>().cloned())
            },
        )
        .map(drop);
    registry.note(outcome);
}

async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    api: Arc<Api>,
    connection: Option<Arc<Connection>>,
) -> SubscriptionCloseResponse {
    let topic = match topic(&params) {
        Ok(topic) => topic,
        Err(error) => {
            pending.reject(ErrorObjectOwned::from(error)).await;
            return SubscriptionCloseResponse::None;
        }
    };
    // Listening starts before the client knows of it, so that nothing is lost in between.
    let (updates, transactions) = (api.feed.subscribe(), api.pool.subscribe());
    let subscribing = match &connection {
        Some(connection) => Some(connection.subscribing.lock().await),
        None => None,
    };
    let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
    drop(subscribing);
    let sink = Subscriber { sink, connection };
    let open = metrics::subscriptions();
    open.increment(1.0);
    let end = match topic {
        Topic::Heads => heads(&api, &sink, updates).await,
        Topic::Logs(filter) => logs(&api, &sink, updates, &filter).await,
        Topic::Pending { full } => transactions_of(&api, &sink, transactions, full).await,
    };
    open.decrement(1.0);
    match end {
        End::Closed => SubscriptionCloseResponse::None,
        End::Slow => {
            metrics::slow_subscribers().increment(1);
            tracing::debug!(subscription = ?sink.sink.subscription_id(), "ended a subscription whose client does not read");
            if sink.sink.capacity() == 0 {
                // Nothing can be said to it.
                return SubscriptionCloseResponse::None;
            }
            SubscriptionCloseResponse::NotifErr("subscription ended: the client reads too slowly".into())
        }
    }
}

fn topic(params: &Params<'_>) -> Result<Topic, RpcError> {
    let mut args = Args::new(params)?;
    let name: String = args.required()?;
    let topic = match name.as_str() {
        "newHeads" => Topic::Heads,
        "logs" => {
            let filter: Filter = args.optional()?.unwrap_or_default();
            check(&filter)?;
            Topic::Logs(Box::new(filter))
        }
        "newPendingTransactions" => Topic::Pending { full: args.optional()?.unwrap_or_default() },
        _ => return Err(RpcError::NoSuchSubscription(name)),
    };
    args.end()?;
    Ok(topic)
}

/// The next message, or why there is none.
async fn next<T: Clone>(sink: &Subscriber, receiver: &mut Receiver<T>) -> Result<T, End> {
    tokio::select! {
        () = sink.sink.closed() => Err(End::Closed),
        message = receiver.recv() => message.map_err(|error| match error {
            RecvError::Lagged(_) => End::Slow,
            RecvError::Closed => End::Closed,
        }),
    }
}

async fn send<T: Serialize>(api: &Api, to: &Subscriber, message: &T) -> Result<(), End> {
    let Ok(json) = serde_json::value::to_raw_value(message) else { return Err(End::Closed) };
    // As answers are: what the client has not read is counted.
    let length = json.get().len() + ENVELOPE;
    if let Some(connection) = &to.connection {
        let mut share = connection.unsent().share();
        share.grow(length).map_err(|_| End::Slow)?;
        connection.owe(length, share);
    }
    to.sink.send_timeout(json, api.limits.slow_subscriber()).await.map_err(|error| {
        if let Some(connection) = &to.connection {
            connection.forget(length);
        }
        match error {
            SendTimeoutError::Timeout(_) => End::Slow,
            SendTimeoutError::Closed(_) => End::Closed,
        }
    })
}

async fn heads(api: &Api, sink: &Subscriber, mut updates: Receiver<Arc<ChainUpdate>>) -> End {
    loop {
        let update = match next(sink, &mut updates).await {
            Ok(update) => update,
            Err(end) => return end,
        };
        for block in &update.applied {
            if let Err(end) = send(api, sink, &types::header(&block.block.header)).await {
                return end;
            }
        }
    }
}

async fn logs(api: &Arc<Api>, sink: &Subscriber, mut updates: Receiver<Arc<ChainUpdate>>, filter: &Filter) -> End {
    loop {
        let update = match next(sink, &mut updates).await {
            Ok(update) => update,
            Err(end) => return end,
        };
        let blocks =
            update.reverted.iter().map(|block| (block, true)).chain(update.applied.iter().map(|block| (block, false)));
        for (block, removed) in blocks {
            let header = &block.block.header;
            if header.logs_bloom.is_zero()
                || !filter.matches_bloom(header.logs_bloom)
                || !in_range(filter, header.number)
            {
                continue;
            }
            let mut matching = Vec::new();
            let collected: Result<(), std::convert::Infallible> = logs_of(
                block,
                removed,
                |log| filter.matches(log),
                |log| {
                    matching.push(log);
                    Ok(())
                },
            );
            let Ok(()) = collected;
            for log in matching {
                if let Err(end) = send(api, sink, &log).await {
                    return end;
                }
            }
        }
    }
}

async fn transactions_of(
    api: &Api,
    sink: &Subscriber,
    mut transactions: Receiver<Arc<RecoveredTx>>,
    full: bool,
) -> End {
    loop {
        let tx = match next(sink, &mut transactions).await {
            Ok(tx) => tx,
            Err(end) => return end,
        };
        let sent = if full { send(api, sink, &types::pending(&tx)).await } else { send(api, sink, &tx.hash()).await };
        if let Err(end) = sent {
            return end;
        }
    }
}
