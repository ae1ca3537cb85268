//! `debug_`.

use super::{Api, registry::Registry};
use crate::workers::Cancel;
use crate::{error::RpcError, simulate};
use alloy_eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718 as _};
use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_trace::geth::{GethDebugTracingCallOptions, GethDebugTracingOptions, TraceResult};
use duskevm_evm::Block;
use std::sync::Arc;

pub(super) fn register(registry: &mut Registry) {
    tracing(registry);
    raw(registry);
}

fn tracing(registry: &mut Registry) {
    registry.trace("debug_traceTransaction", |api, mut args, cancel| {
        let hash: B256 = args.required()?;
        let options: Option<GethDebugTracingOptions> = args.optional()?;
        args.end()?;
        let (block, index) = api.chain.transaction(hash)?.ok_or_else(|| RpcError::server("transaction not found"))?;
        let options = options.unwrap_or_default();
        simulate::trace_transaction(&api.chain, &api.codes, &block, index, options, &api.limits, cancel)
    });
    registry.trace("debug_traceCall", |api, mut args, cancel| {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        let options: Option<GethDebugTracingCallOptions> = args.optional()?;
        args.end()?;
        let (block, options) = (block.unwrap_or_default(), options.unwrap_or_default());
        simulate::trace_call(&api.chain, &api.codes, request, block, options, &api.limits, cancel)
    });
    registry.trace("debug_traceBlockByNumber", |api, mut args, cancel| {
        let number: BlockNumberOrTag = args.required()?;
        let options: Option<GethDebugTracingOptions> = args.optional()?;
        args.end()?;
        trace_block(api, number.into(), options, cancel)
    });
    registry.trace("debug_traceBlockByHash", |api, mut args, cancel| {
        let hash: B256 = args.required()?;
        let options: Option<GethDebugTracingOptions> = args.optional()?;
        args.end()?;
        trace_block(api, hash.into(), options, cancel)
    });
    registry.trace("debug_traceBlock", |api, mut args, cancel| {
        let rlp: Bytes = args.required()?;
        let options: Option<GethDebugTracingOptions> = args.optional()?;
        args.end()?;
        let block = Block::from_rlp(&rlp).map_err(|e| RpcError::server(format!("could not decode block: {e}")))?;
        // A block of this chain has a right to its gas; one that the client made up may have as much as it could have here.
        let head = api.chain.heads()?.latest.hash;
        let most = api.chain.header(head)?.map_or(0, |head| head.gas_limit).max(api.limits.call_gas_cap);
        if block.header.gas_limit > most && api.chain.header(block.hash())?.is_none() {
            return Err(RpcError::Server(format!("the block's gas limit {} is above {most}", block.header.gas_limit)));
        }
        let options = options.unwrap_or_default();
        simulate::trace_block(&api.chain, &api.codes, &block, options, &api.limits, cancel)
    });
}

fn trace_block(
    api: &Api,
    id: BlockId,
    options: Option<GethDebugTracingOptions>,
    cancel: &Cancel,
) -> Result<Vec<TraceResult>, RpcError> {
    let block = existing(api, id)?;
    simulate::trace_block(&api.chain, &api.codes, &block, options.unwrap_or_default(), &api.limits, cancel)
}

fn existing(api: &Api, id: BlockId) -> Result<Arc<Block>, RpcError> {
    api.chain.block_of(id)?.ok_or_else(|| match id {
        BlockId::Hash(hash) => RpcError::Server(format!("block {} not found", hash.block_hash)),
        BlockId::Number(number) => RpcError::Server(format!("block #{number} not found")),
    })
}

fn raw(registry: &mut Registry) {
    registry.read("debug_getRawHeader", |api, mut args| {
        let id: BlockId = args.required()?;
        args.end()?;
        let block = existing(api, id)?;
        Ok(Bytes::from(alloy_rlp::encode(block.header.inner())))
    });
    registry.read("debug_getRawBlock", |api, mut args| {
        let id: BlockId = args.required()?;
        args.end()?;
        Ok(Bytes::from(existing(api, id)?.to_rlp()))
    });
    registry.read("debug_getRawReceipts", |api, mut args| {
        let id: BlockId = args.required()?;
        args.end()?;
        let block = existing(api, id)?;
        let receipts = api.chain.receipts(block.hash())?.ok_or_else(|| RpcError::server("receipts not found"))?;
        Ok(receipts.iter().map(|receipt| Bytes::from(receipt.encoded_2718())).collect::<Vec<_>>())
    });
    registry.read("debug_getRawTransaction", |api, mut args| {
        let hash: B256 = args.required()?;
        args.end()?;
        let found = api.chain.transaction(hash)?;
        let tx = found.as_ref().and_then(|(block, index)| block.transactions.get(*index));
        Ok(tx.map(|tx| tx.encoded().clone()).unwrap_or_default())
    });
}
