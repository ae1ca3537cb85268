//! `eth_subscribe`.

use super::log::check;
use crate::{
    api::{Api, registry::Registry},
    connection::Connection,
    error::RpcError,
    params::Args,
    subscription::{End, Subscriber},
    types,
};
use alloy_rpc_types_eth::Filter;
use duskevm_evm::RecoveredTx;
use jsonrpsee::{
    SubscriptionCloseResponse,
    core::server::PendingSubscriptionSink,
    types::{ErrorObjectOwned, Params},
};
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;

/// What a client wants to hear of.
#[derive(Debug)]
enum Topic {
    Heads,
    Logs(Box<Filter>),
    Pending { full: bool },
}

pub(super) fn register(registry: &mut Registry) {
    registry.subscription(subscribe);
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
    let (updates, transactions) = (api.feed.subscribe(), api.pool.subscribe());
    let patience = api.limits.slow_subscriber();
    let Some(to) = Subscriber::accept(pending, connection, patience).await else {
        return SubscriptionCloseResponse::None;
    };
    let end = match topic {
        Topic::Heads => to.heads(updates).await,
        Topic::Logs(filter) => to.logs(updates, &filter).await,
        Topic::Pending { full } => transactions_of(&to, transactions, full).await,
    };
    to.end(end)
}

fn topic(params: &Params<'_>) -> Result<Topic, RpcError> {
    let mut args = Args::new(params)?;
    let name: String = args.required()?;
    let topic = match name.as_str() {
        "newPendingTransactions" => Topic::Pending { full: args.optional()?.unwrap_or_default() },
        _ => match chain_topic(&name, &mut args)? {
            Some(filter) => Topic::Logs(filter),
            None => Topic::Heads,
        },
    };
    args.end()?;
    Ok(topic)
}

/// What every chain has news of: logs that a filter wants, or (`None`) heads.
///
/// # Errors
/// If `name` is neither, or the filter is larger than allowed.
pub(crate) fn chain_topic(name: &str, args: &mut Args) -> Result<Option<Box<Filter>>, RpcError> {
    match name {
        "newHeads" => Ok(None),
        "logs" => {
            let filter: Filter = args.optional()?.unwrap_or_default();
            check(&filter)?;
            Ok(Some(Box::new(filter)))
        }
        _ => Err(RpcError::NoSuchSubscription(name.to_owned())),
    }
}

async fn transactions_of(to: &Subscriber, mut transactions: Receiver<Arc<RecoveredTx>>, full: bool) -> End {
    loop {
        let tx = match to.next(&mut transactions).await {
            Ok(tx) => tx,
            Err(end) => return end,
        };
        let sent = if full { to.send(&types::pending(&tx)).await } else { to.send(&tx.hash()).await };
        if let Err(end) = sent {
            return end;
        }
    }
}
