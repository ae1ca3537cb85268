//! Blocks and headers.

use crate::{
    api::{Api, registry::Registry},
    error::RpcError,
    types,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};

pub(super) fn register(registry: &mut Registry) {
    registry.read("eth_getBlockByNumber", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        let full: Option<bool> = args.optional()?;
        args.end()?;
        block(api, number.into(), full.unwrap_or_default())
    });
    registry.read("eth_getBlockByHash", |api, mut args| {
        let hash: B256 = args.required()?;
        let full: Option<bool> = args.optional()?;
        args.end()?;
        block(api, hash.into(), full.unwrap_or_default())
    });
    registry.read("eth_getHeaderByNumber", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        args.end()?;
        Ok(api.chain.header_of(number.into())?.map(|header| types::header(&header)))
    });
    registry.read("eth_getHeaderByHash", |api, mut args| {
        let hash: B256 = args.required()?;
        args.end()?;
        Ok(api.chain.header(hash)?.map(|header| types::header(&header)))
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
}

fn block(api: &Api, id: BlockId, full: bool) -> Result<Option<types::RpcBlock>, RpcError> {
    match api.chain.block_of(id)? {
        Some(block) => Ok(Some(types::block(&api.chain, &block, full)?)),
        None => Ok(None),
    }
}

fn count(api: &Api, id: BlockId) -> Result<Option<U64>, RpcError> {
    Ok(api.chain.block_of(id)?.map(|block| U64::from(block.transactions.len())))
}
