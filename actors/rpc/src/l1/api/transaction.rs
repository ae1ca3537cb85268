//! Transactions and their receipts. Both are found by the projected hash and by the id of the Dusk transaction that they stand for.

use super::L1Api;
use crate::{
    api::Registry,
    error::RpcError,
    l1::{carrier::pending, types as shape},
};
use alloy_eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718 as _};
use alloy_primitives::{B256, Bytes, U64};
use duskevm_carrier_core::Envelope;
use std::sync::Arc;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.read("eth_getTransactionByHash", |api, mut args| {
        let id: B256 = args.required()?;
        args.end()?;
        let shown = api.view.transaction(id)?.and_then(|(block, index)| shape::transaction(&block, index));
        Ok(shown.or_else(|| carried(api, &id).map(|envelope| pending(&envelope))))
    });
    registry.read("eth_getTransactionReceipt", |api, mut args| {
        let id: B256 = args.required()?;
        args.end()?;
        Ok(api.view.transaction(id)?.and_then(|(block, index)| shape::receipt(&block, index)))
    });
    registry.read("eth_getRawTransactionByHash", |api, mut args| {
        let id: B256 = args.required()?;
        args.end()?;
        let shown = raw(api, id)?;
        let waiting = carried(api, &id).filter(|_| shown.is_empty());
        Ok(waiting.map_or(shown, |envelope| envelope.raw().clone()))
    });
    registry.read("debug_getRawTransaction", |api, mut args| {
        let id: B256 = args.required()?;
        args.end()?;
        raw(api, id)
    });
    registry.read("eth_getTransactionByBlockNumberAndIndex", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        let index: U64 = args.required()?;
        args.end()?;
        by_index(api, number.into(), index)
    });
    registry.read("eth_getTransactionByBlockHashAndIndex", |api, mut args| {
        let hash: B256 = args.required()?;
        let index: U64 = args.required()?;
        args.end()?;
        by_index(api, hash.into(), index)
    });
}

/// A transaction that waits to be brought to L1.
fn carried(api: &L1Api, id: &B256) -> Option<Arc<Envelope>> {
    api.carrier.as_ref()?.get(id)
}

fn by_index(api: &L1Api, id: BlockId, index: U64) -> Result<Option<shape::L1Transaction>, RpcError> {
    let block = api.view.block_of(id)?;
    Ok(block.and_then(|block| shape::transaction(&block, index.saturating_to())))
}

/// The bytes of a transaction, without a blob sidecar; none if there is no such transaction, as geth has it.
fn raw(api: &L1Api, id: B256) -> Result<Bytes, RpcError> {
    let found = api.view.transaction(id)?;
    let tx = found.as_ref().and_then(|(block, index)| block.view.transactions.get(*index));
    Ok(tx.map(|tx| tx.envelope.encoded_2718().into()).unwrap_or_default())
}
