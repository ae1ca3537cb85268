//! `optimism_`: the rollup RPC of op-node. Numbers in block references are plain JSON integers here, as op-batcher expects them.

use super::{Api, registry::Registry};
use crate::{
    chain::{BlockRef, Chain},
    error::RpcError,
    node::L1Status,
};
use alloy_consensus::{Header, Sealed};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use duskevm_evm::header::MESSAGE_PASSER;
use duskevm_rollup::{L1Info, OUTPUT_VERSION_V0, RollupConfig, output_root};
use serde::Serialize;

#[derive(Debug, Clone, Copy, Serialize)]
struct Origin {
    hash: B256,
    number: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
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

pub(super) fn register(registry: &mut Registry) {
    registry.inline("optimism_version", |_, args| {
        args.end()?;
        Ok(concat!("v", env!("CARGO_PKG_VERSION")))
    });
    registry.inline("optimism_rollupConfig", |api, args| {
        args.end()?;
        Ok(api.rollup.json.as_ref().to_owned())
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
}

fn sync_status(api: &Api) -> Result<SyncStatus, RpcError> {
    let heads = api.chain.heads();
    let config = &api.rollup.config;
    let safe_l2 = reference(&api.chain, config, heads.safe)?;
    let unsafe_l2 = reference(&api.chain, config, heads.latest)?;
    Ok(SyncStatus {
        l1: api.node.l1(),
        unsafe_l2,
        safe_l2,
        finalized_l2: reference(&api.chain, config, heads.finalized)?,
        pending_safe_l2: safe_l2,
        // Without interop nothing depends on other chains.
        cross_unsafe_l2: unsafe_l2,
        local_safe_l2: safe_l2,
    })
}

fn reference(chain: &Chain, config: &RollupConfig, block: BlockRef) -> Result<L2Ref, RpcError> {
    let header = chain
        .header(block.hash)?
        .ok_or_else(|| RpcError::Server(format!("block {} not found", block.hash)))?;
    of_header(chain, config, &header)
}

/// The L1 origin is in the first transaction of a block; that of genesis is in the rollup config.
fn of_header(chain: &Chain, config: &RollupConfig, header: &Sealed<Header>) -> Result<L2Ref, RpcError> {
    let (l1_origin, sequence_number) = if header.number == config.genesis.l2.number {
        (Origin { hash: config.genesis.l1.hash, number: config.genesis.l1.number }, 0)
    } else {
        let block = chain
            .block(header.hash())?
            .ok_or_else(|| RpcError::Server(format!("block {} not found", header.hash())))?;
        let deposit = block
            .transactions
            .first()
            .and_then(|tx| tx.envelope().as_deposit())
            .ok_or_else(|| RpcError::internal(format!("block {} does not begin with a deposit", header.number)))?;
        let info = L1Info::decode(&deposit.input).map_err(RpcError::internal)?;
        (Origin { hash: info.hash, number: info.number }, info.sequence_number)
    };
    Ok(L2Ref {
        hash: header.hash(),
        number: header.number,
        parent_hash: header.parent_hash,
        timestamp: header.timestamp,
        l1_origin,
        sequence_number,
    })
}

fn output(api: &Api, number: BlockNumberOrTag) -> Result<Output, RpcError> {
    let header = api
        .chain
        .header_of(number.into())?
        .ok_or_else(|| RpcError::Server(format!("block {number} not found")))?;
    // From Isthmus on the header holds the storage root of the message passer; before, it is proved from the state.
    let isthmus = api.chain.spec().spec_id(header.timestamp).is_enabled_in(op_revm::OpSpecId::ISTHMUS);
    let withdrawal_storage_root = match header.withdrawals_root {
        Some(root) if isthmus => root,
        _ => {
            let (_, state) = api.chain.state_of(BlockId::hash(header.hash()))?;
            state.prove(MESSAGE_PASSER, &[])?.storage_root
        }
    };
    Ok(Output {
        version: OUTPUT_VERSION_V0,
        output_root: output_root(header.state_root, withdrawal_storage_root, header.hash()),
        block_ref: of_header(&api.chain, &api.rollup.config, &header)?,
        withdrawal_storage_root,
        state_root: header.state_root,
        sync_status: sync_status(api)?,
    })
}
