//! Searching logs.

use super::L1Api;
use crate::{
    api::{
        Registry,
        log::{Found, check, range},
    },
    chain::ReadError,
    error::RpcError,
    l1::view::View,
    source::may_match,
    workers::Cancel,
};
use alloy_primitives::B256;
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};

/// How often a search begins again because L1 replaced what it had seen.
const TRIES: usize = 4;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.heavy("eth_getLogs", |api, mut args, cancel| {
        let filter: Filter = args.required()?;
        args.end()?;
        search(api, &filter, cancel)
    });
}

/// All logs that a filter names, of one chain.
fn search(api: &L1Api, filter: &Filter, cancel: &Cancel) -> Result<Vec<Log>, RpcError> {
    check(filter)?;
    let cancel = cancel.within(api.limits.call_timeout());
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = api.view.block_by_hash(hash)?.ok_or_else(|| RpcError::server("unknown block"))?;
            let mut found = Found::new(&api.limits);
            found.take(&block, filter, false)?;
            Ok(found.logs)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            for _ in 0..TRIES {
                let (first, last) = range(&api.view, from_block, to_block, api.limits.max_log_blocks)?;
                let mut found = Found::new(&api.limits);
                if along(&api.view, first, last, filter, &mut found, &cancel)? {
                    return Ok(found.logs);
                }
            }
            Err(ReadError::Reorged(format!("what lay between the blocks {from_block:?} and {to_block:?}")).into())
        }
    }
}

/// Collects the logs of a range; says whether all of it was of one chain.
fn along(
    view: &View,
    first: u64,
    last: u64,
    filter: &Filter,
    found: &mut Found,
    cancel: &Cancel,
) -> Result<bool, RpcError> {
    let mut parent: Option<B256> = None;
    for number in first..=last {
        cancel.check()?;
        let Some(header) = view.header_at(number)? else { return Ok(false) };
        if parent.is_some_and(|parent| parent != header.parent_hash) {
            return Ok(false);
        }
        parent = Some(header.hash());
        if !may_match(&header, filter) {
            continue;
        }
        // Most blocks need no more than their bloom.
        match view.block_at(number)? {
            Some(block) if block.hash() == header.hash() => found.take(&block, filter, false)?,
            _ => return Ok(false),
        }
    }
    Ok(true)
}
