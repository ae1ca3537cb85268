//! `eth_subscribe`: `newHeads`, and `logs` with those that are removed.

use super::L1Api;
use crate::{
    api::{Registry, subscribe::chain_topic},
    connection::Connection,
    error::RpcError,
    params::Args,
    subscription::Subscriber,
};
use alloy_rpc_types_eth::Filter;
use jsonrpsee::{
    SubscriptionCloseResponse,
    core::server::PendingSubscriptionSink,
    types::{ErrorObjectOwned, Params},
};
use std::sync::Arc;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.subscription(subscribe);
}

async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    api: Arc<L1Api>,
    connection: Option<Arc<Connection>>,
) -> SubscriptionCloseResponse {
    let logs = match topic(&params) {
        Ok(logs) => logs,
        Err(error) => {
            pending.reject(ErrorObjectOwned::from(error)).await;
            return SubscriptionCloseResponse::None;
        }
    };
    let updates = api.feed.subscribe();
    let Some(to) = Subscriber::accept(pending, connection, api.limits.slow_subscriber()).await else {
        return SubscriptionCloseResponse::None;
    };
    let end = match logs {
        None => to.heads(updates).await,
        Some(filter) => to.logs(updates, &filter).await,
    };
    to.end(end)
}

/// The logs that are wanted, or (`None`) heads.
fn topic(params: &Params<'_>) -> Result<Option<Box<Filter>>, RpcError> {
    let mut args = Args::new(params)?;
    let name: String = args.required()?;
    let topic = chain_topic(&name, &mut args)?;
    args.end()?;
    Ok(topic)
}
