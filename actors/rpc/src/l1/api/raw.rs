//! `debug_getRaw…`: what the hashes are made of.

use super::L1Api;
use crate::{
    api::Registry,
    error::RpcError,
    l1::{block::L1Block, types as shape},
};
use alloy_eips::{BlockId, eip2718::Encodable2718 as _};
use alloy_primitives::Bytes;
use std::sync::Arc;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.read("debug_getRawHeader", |api, mut args| {
        let id: BlockId = args.required()?;
        args.end()?;
        Ok(Bytes::from(alloy_rlp::encode(existing(api, id)?.view.header.inner())))
    });
    registry.read("debug_getRawBlock", |api, mut args| {
        let id: BlockId = args.required()?;
        args.end()?;
        let block = existing(api, id)?;
        Ok(Bytes::from(shape::raw_block(&block)))
    });
    registry.read("debug_getRawReceipts", |api, mut args| {
        let id: BlockId = args.required()?;
        args.end()?;
        let block = existing(api, id)?;
        Ok(block.view.receipts.iter().map(|receipt| Bytes::from(receipt.encoded_2718())).collect::<Vec<_>>())
    });
}

/// As in geth, these have no `null`.
fn existing(api: &L1Api, id: BlockId) -> Result<Arc<L1Block>, RpcError> {
    api.view.block_of(id)?.ok_or_else(|| match id {
        BlockId::Hash(hash) => RpcError::Server(format!("block {} not found", hash.block_hash)),
        BlockId::Number(number) => RpcError::Server(format!("block #{number} not found")),
    })
}
