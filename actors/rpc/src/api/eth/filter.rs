//! Filters that clients poll.

use super::log::search;
use crate::api::registry::Registry;
use alloy_rpc_types_eth::Filter;

pub(super) fn register(registry: &mut Registry) {
    registry.read("eth_newBlockFilter", |api, args| {
        args.end()?;
        api.filters.install_blocks(&api.chain)
    });
    registry.read("eth_newFilter", |api, mut args| {
        let filter: Filter = args.required()?;
        args.end()?;
        api.filters.install_logs(&api.chain, filter)
    });
    registry.inline("eth_newPendingTransactionFilter", |api, mut args| {
        let full: Option<bool> = args.optional()?;
        args.end()?;
        api.filters.install_pending(full.unwrap_or_default())
    });
    registry.inline("eth_uninstallFilter", |api, mut args| {
        let id: String = args.required()?;
        args.end()?;
        Ok(api.filters.uninstall(&id))
    });
    registry.heavy("eth_getFilterChanges", |api, mut args, _| {
        let id: String = args.required()?;
        args.end()?;
        api.filters.changes(&id, &api.chain, &api.limits)
    });
    registry.heavy("eth_getFilterLogs", |api, mut args, cancel| {
        let id: String = args.required()?;
        args.end()?;
        search(api, &api.filters.log_filter(&id)?, cancel)
    });
}
