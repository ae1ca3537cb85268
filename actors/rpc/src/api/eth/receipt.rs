//! Receipts.

use crate::{api::registry::Registry, types};
use alloy_eips::BlockId;
use alloy_primitives::B256;

pub(super) fn register(registry: &mut Registry) {
    registry.read("eth_getTransactionReceipt", |api, mut args| {
        let hash: B256 = args.required()?;
        args.end()?;
        let Some((block, index)) = api.chain.transaction(hash)? else { return Ok(None) };
        let Some(block) = api.chain.block_and_receipts(block.hash())? else { return Ok(None) };
        Ok(types::receipt(&block, index, api.chain.spec()))
    });
    registry.read("eth_getBlockReceipts", |api, mut args| {
        let block: BlockId = args.required()?;
        args.end()?;
        let Some(hash) = api.chain.hash_of(block)? else { return Ok(None) };
        let Some(block) = api.chain.block_and_receipts(hash)? else { return Ok(None) };
        Ok(Some(types::receipts(&block, api.chain.spec())))
    });
}
