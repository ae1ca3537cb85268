//! `net_`.

use super::registry::Registry;
use alloy_primitives::U64;

pub(super) fn register(registry: &mut Registry) {
    registry.inline("net_version", |api, args| {
        args.end()?;
        Ok(api.chain.spec().chain_id.to_string())
    });
    registry.inline("net_listening", |_, args| {
        args.end()?;
        Ok(true)
    });
    registry.inline("net_peerCount", |api, args| {
        args.end()?;
        Ok(U64::from(api.node.peers()))
    });
}
