//! Transactions, mined and pending.

use crate::{
    api::{Api, Backing as _, registry::Registry},
    error::RpcError,
    json::to_json,
    types::{RpcTransaction, mined, pending},
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, Bytes, U64};
use duskevm_evm::Block;

pub(super) fn register(registry: &mut Registry) {
    registry.future("eth_getTransactionByHash", |api, mut args| async move {
        let hash: B256 = args.required()?;
        args.end()?;
        let found = api.on(&api.reads, move |api, _| match api.chain.transaction(hash)? {
            Some((block, index)) => with_receipt(api, &block, index),
            None => Ok(None),
        });
        let found = found.await?;
        if found.get() != "null" {
            return Ok(found);
        }
        let pooled = api.pool.transaction(hash).await?;
        to_json(&pooled.map(|tx| pending(&tx)), api.limits.max_response_bytes as usize, &api.unsent.of_caller())
    });
    registry.future("eth_getRawTransactionByHash", |api, mut args| async move {
        let hash: B256 = args.required()?;
        args.end()?;
        let found = api.reads.run({
            let api = api.clone();
            move |_| Ok(api.chain.transaction(hash)?)
        });
        let tx = match found.await? {
            Some((block, index)) => block.transactions.get(index).cloned(),
            None => api.pool.transaction(hash).await?,
        };
        // As geth has it: nothing found is no bytes, not null.
        Ok(tx.map(|tx| tx.encoded().clone()).unwrap_or_default())
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
    registry.read("eth_getRawTransactionByBlockNumberAndIndex", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        let index: U64 = args.required()?;
        args.end()?;
        raw_by_index(api, number.into(), index)
    });
    registry.read("eth_getRawTransactionByBlockHashAndIndex", |api, mut args| {
        let hash: B256 = args.required()?;
        let index: U64 = args.required()?;
        args.end()?;
        raw_by_index(api, hash.into(), index)
    });
}

fn with_receipt(api: &Api, block: &Block, index: usize) -> Result<Option<RpcTransaction>, RpcError> {
    let Some(tx) = block.transactions.get(index) else { return Ok(None) };
    // Only a deposit's nonce is in its receipt.
    let receipts = if tx.is_deposit() { api.chain.receipts(block.hash())? } else { None };
    Ok(mined(block, index, receipts.as_ref().and_then(|receipts| receipts.get(index))))
}

fn by_index(api: &Api, id: BlockId, index: U64) -> Result<Option<RpcTransaction>, RpcError> {
    match api.chain.block_of(id)? {
        Some(block) => with_receipt(api, &block, index.saturating_to()),
        None => Ok(None),
    }
}

fn raw_by_index(api: &Api, id: BlockId, index: U64) -> Result<Bytes, RpcError> {
    let block = api.chain.block_of(id)?;
    let tx = block.as_ref().and_then(|block| block.transactions.get(index.saturating_to::<usize>()));
    Ok(tx.map(|tx| tx.encoded().clone()).unwrap_or_default())
}
