//! The chain as a whole, and what this endpoint does not have: keys, uncles, peers.

use super::L1Api;
use crate::{api::Registry, chain::ReadError, error::RpcError, node::SyncProgress};
use alloy_eips::BlockId;
use alloy_primitives::{Address, U64};
use serde::Serialize;

/// `false`, or how far the view is.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Syncing {
    No(bool),
    Yes(SyncProgress),
}

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.inline("eth_chainId", |api, args| {
        args.end()?;
        Ok(U64::from(api.chain_id))
    });
    registry.inline("net_version", |api, args| {
        args.end()?;
        Ok(api.chain_id.to_string())
    });
    registry.inline("net_listening", |_, args| {
        args.end()?;
        Ok(true)
    });
    registry.inline("net_peerCount", |_, args| {
        args.end()?;
        Ok(U64::ZERO)
    });
    registry.read("eth_blockNumber", |api, args| {
        args.end()?;
        Ok(U64::from(api.view.heads()?.latest.number))
    });
    registry.read("eth_syncing", |api, args| {
        args.end()?;
        match api.view.heads() {
            Ok(_) => Ok(Syncing::No(false)),
            // The view is made from its first block on, and shown when it is as far as it was.
            Err(ReadError::NotReady) => {
                let current_block = api.view.store().view_tip().map_err(ReadError::from)?.unwrap_or_default();
                let highest_block = api.view.store().tip().map_err(ReadError::from)?.unwrap_or_default();
                Ok(Syncing::Yes(SyncProgress { starting_block: 0, current_block, highest_block }))
            }
            Err(error) => Err(error.into()),
        }
    });
    registry.inline("eth_accounts", |_, args| {
        args.end()?;
        Ok(Vec::<Address>::new())
    });
    for name in ["eth_getUncleCountByBlockNumber", "eth_getUncleCountByBlockHash"] {
        registry.read(name, |api, mut args| {
            let block: BlockId = args.required()?;
            args.end()?;
            Ok::<_, RpcError>(api.view.block_of(block)?.map(|_| U64::ZERO))
        });
    }
    for name in ["eth_getUncleByBlockNumberAndIndex", "eth_getUncleByBlockHashAndIndex"] {
        registry.inline(name, |_, mut args| {
            let _block: BlockId = args.required()?;
            let _index: U64 = args.required()?;
            args.end()?;
            Ok(None::<()>)
        });
    }
}
