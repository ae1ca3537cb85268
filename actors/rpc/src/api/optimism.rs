//! `optimism_`: the rollup RPC of op-node. Numbers in block references are plain JSON integers here, as op-batcher expects them.

use super::registry::{Backing, Registry};
use crate::{
    chain::{BlockRef, Chain},
    error::RpcError,
    node::{L1Status, NodeView, Rollup},
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};
use duskevm_evm::header::MESSAGE_PASSER;
use duskevm_rollup::{L2BlockRef, OUTPUT_VERSION_V0, RollupConfig, l2_block_ref, output_root};
use serde::Serialize;

/// What these methods answer from, whichever server they are on.
pub(crate) trait RollupSource {
    /// The L2 chain.
    fn chain(&self) -> &Chain;
    /// The rest of the node.
    fn node(&self) -> &dyn NodeView;
    /// The rollup.
    fn rollup(&self) -> &Rollup;
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Origin {
    hash: B256,
    number: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct L2Ref {
    hash: B256,
    number: u64,
    parent_hash: B256,
    timestamp: u64,
    #[serde(rename = "l1origin")]
    l1_origin: Origin,
    sequence_number: u64,
}

#[derive(Debug, Clone, Serialize)]
struct SyncStatus {
    #[serde(flatten)]
    l1: L1Status,
    unsafe_l2: L2Ref,
    safe_l2: L2Ref,
    finalized_l2: L2Ref,
    pending_safe_l2: L2Ref,
    cross_unsafe_l2: L2Ref,
    local_safe_l2: L2Ref,
    queued_unsafe_l2: L2Ref,
    engine_sync_target: L2Ref,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct SafeHeadAt {
    l1_block: Origin,
    safe_head: Origin,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    version: B256,
    output_root: B256,
    block_ref: L2Ref,
    withdrawal_storage_root: B256,
    state_root: B256,
    sync_status: SyncStatus,
}

pub(crate) fn register<A: Backing + RollupSource>(registry: &mut Registry<A>) {
    registry.inline("optimism_version", |_, args| {
        args.end()?;
        Ok(concat!("v", env!("CARGO_PKG_VERSION")))
    });
    registry.inline("optimism_rollupConfig", |api, args| {
        args.end()?;
        Ok(api.rollup().json.as_ref().to_owned())
    });
    registry.inline("optimism_dependencySet", |_, args| {
        args.end()?;
        // op-node's answer where no other chains are depended on.
        Err::<(), _>(RpcError::server("not found"))
    });
    registry.read("optimism_syncStatus", |api, args| {
        args.end()?;
        sync_status(api)
    });
    registry.read("optimism_outputAtBlock", |api, mut args| {
        let number: BlockNumberOrTag = args.required()?;
        args.end()?;
        output(api, number)
    });
    registry.read("optimism_safeHeadAtL1Block", |api, mut args| {
        let number: U64 = args.required()?;
        args.end()?;
        safe_head_at(api, number.to())
    });
}

/// The record of the newest L1 block up to `l1_number`.
fn safe_head_at(api: &impl RollupSource, l1_number: u64) -> Result<SafeHeadAt, RpcError> {
    // The words of op-node, by which its clients know the case.
    let found = api.chain().safe_head_at(l1_number)?.ok_or_else(|| RpcError::server("not found"))?;
    Ok(SafeHeadAt { l1_block: found.l1.into(), safe_head: found.l2.into() })
}

fn sync_status(api: &impl RollupSource) -> Result<SyncStatus, RpcError> {
    // Before the heads: op-batcher takes what lies below the L1 block that is read for derived, and posts anew what is not safe then.
    let l1 = api.node().l1();
    let heads = api.chain().heads()?;
    let config = &api.rollup().config;
    let safe_l2 = reference(api.chain(), config, heads.safe.hash)?;
    let unsafe_l2 = reference(api.chain(), config, heads.latest.hash)?;
    Ok(SyncStatus {
        l1,
        unsafe_l2,
        safe_l2,
        finalized_l2: reference(api.chain(), config, heads.finalized.hash)?,
        pending_safe_l2: safe_l2,
        // Without interop nothing depends on other chains.
        cross_unsafe_l2: unsafe_l2,
        local_safe_l2: safe_l2,
        // Programs from before these two were dropped read them. Blocks that wait for their parents are no part of the chain, so that none
        // is named; and there is no engine apart from this node that could be behind.
        queued_unsafe_l2: L2Ref::default(),
        engine_sync_target: unsafe_l2,
    })
}

fn reference(chain: &Chain, config: &RollupConfig, hash: B256) -> Result<L2Ref, RpcError> {
    let block = chain.block(hash)?.ok_or_else(|| RpcError::Server(format!("block {hash} not found")))?;
    Ok(l2_block_ref(config, &block).map_err(RpcError::internal)?.into())
}

impl From<BlockRef> for Origin {
    fn from(block: BlockRef) -> Self {
        Self { hash: block.hash, number: block.number }
    }
}

impl From<L2BlockRef> for L2Ref {
    fn from(block: L2BlockRef) -> Self {
        Self {
            hash: block.hash,
            number: block.number,
            parent_hash: block.parent_hash,
            timestamp: block.timestamp,
            l1_origin: Origin { hash: block.l1_origin.hash, number: block.l1_origin.number },
            sequence_number: block.sequence_number,
        }
    }
}

fn output(api: &impl RollupSource, number: BlockNumberOrTag) -> Result<Output, RpcError> {
    let header =
        api.chain().header_of(number.into())?.ok_or_else(|| RpcError::Server(format!("block {number} not found")))?;
    // From Isthmus on the header holds the storage root of the message passer; before, it is proved from the state.
    let isthmus = api.chain().spec().spec_id(header.timestamp).is_enabled_in(op_revm::OpSpecId::ISTHMUS);
    let withdrawal_storage_root = match header.withdrawals_root {
        Some(root) if isthmus => root,
        _ => {
            let (_, state) = api.chain().state_of(BlockId::hash(header.hash()))?;
            state.prove(MESSAGE_PASSER, &[])?.storage_root
        }
    };
    Ok(Output {
        version: OUTPUT_VERSION_V0,
        output_root: output_root(header.state_root, withdrawal_storage_root, header.hash()),
        block_ref: reference(api.chain(), &api.rollup().config, header.hash())?,
        withdrawal_storage_root,
        state_root: header.state_root,
        sync_status: sync_status(api)?,
    })
}
