//! Blocks, headers, and receipts by block.

use super::L1Api;
use crate::{api::Registry, error::RpcError, l1::types as shape, params::Args, types};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.read("eth_getBlockByNumber", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        block(api, number.into(), args)
    });
    registry.read("eth_getBlockByHash", |api, mut args| {
        let hash: B256 = args.required()?;
        block(api, hash.into(), args)
    });
    registry.read("eth_getHeaderByNumber", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        args.end()?;
        Ok(api.view.block_of(number.into())?.map(|block| types::header(&block.view.header)))
    });
    registry.read("eth_getHeaderByHash", |api, mut args| {
        let hash: B256 = args.required()?;
        args.end()?;
        Ok(api.view.block_of(hash.into())?.map(|block| types::header(&block.view.header)))
    });
    registry.read("eth_getBlockTransactionCountByNumber", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        args.end()?;
        count(api, number.into())
    });
    registry.read("eth_getBlockTransactionCountByHash", |api, mut args| {
        let hash: B256 = args.required()?;
        args.end()?;
        count(api, hash.into())
    });
    registry.read("eth_getBlockReceipts", |api, mut args| {
        let block: BlockId = args.required()?;
        args.end()?;
        Ok(api.view.block_of(block)?.map(|block| shape::receipts(&block)))
    });
}

fn block(api: &L1Api, id: BlockId, mut args: Args) -> Result<Option<shape::L1RpcBlock>, RpcError> {
    let full: Option<bool> = args.optional()?;
    args.end()?;
    Ok(api.view.block_of(id)?.map(|block| shape::block(&block, full.unwrap_or_default())))
}

fn count(api: &L1Api, id: BlockId) -> Result<Option<U64>, RpcError> {
    Ok(api.view.block_of(id)?.map(|block| U64::from(block.view.transactions.len())))
}
