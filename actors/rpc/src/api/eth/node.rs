//! The chain as a whole, and what this node does not do: keep keys, mine, have uncles.

use crate::{api::registry::Registry, error::RpcError};
use alloy_eips::BlockId;
use alloy_primitives::{Address, U64};
use serde::Serialize;

/// `false`, or how far it is.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Syncing {
    No(bool),
    Yes(crate::node::SyncProgress),
}

pub(super) fn register(registry: &mut Registry) {
    registry.inline("eth_chainId", |api, args| {
        args.end()?;
        Ok(U64::from(api.chain.spec().chain_id))
    });
    registry.inline("eth_blockNumber", |api, args| {
        args.end()?;
        Ok(U64::from(api.chain.heads()?.latest.number))
    });
    registry.inline("eth_syncing", |api, args| {
        args.end()?;
        Ok(api.node.syncing().map_or(Syncing::No(false), Syncing::Yes))
    });
    registry.inline("eth_accounts", |_, args| {
        args.end()?;
        Ok(Vec::<Address>::new())
    });
    for name in ["eth_sendTransaction", "eth_sign", "eth_signTransaction", "eth_signTypedData_v4"] {
        registry.inline::<(), _>(name, |_, _| {
            Err(RpcError::server(
                "unknown account: this node holds no keys, sign in your wallet and use eth_sendRawTransaction",
            ))
        });
    }
    for name in ["eth_getUncleCountByBlockNumber", "eth_getUncleCountByBlockHash"] {
        registry.read(name, |api, mut args| {
            let block: BlockId = args.required()?;
            args.end()?;
            Ok(api.chain.header_of(block)?.map(|_| U64::ZERO))
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
