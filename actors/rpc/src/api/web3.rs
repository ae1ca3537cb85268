//! `web3_` and `rpc_`.

use super::registry::{Backing, Registry};
use alloy_primitives::{Bytes, keccak256};
use std::collections::BTreeMap;

/// Name and version of this program, in the form that geth gives its own.
pub(super) fn client_version() -> String {
    format!("duskevm/v{}/{}-{}/rust", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}

/// The same on every surface.
pub(crate) fn register<A: Backing>(registry: &mut Registry<A>) {
    registry.inline("web3_clientVersion", |_, args| {
        args.end()?;
        Ok(client_version())
    });
    registry.read("web3_sha3", |_, mut args| {
        let data: Bytes = args.required()?;
        args.end()?;
        Ok(keccak256(data))
    });
    registry.inline("rpc_modules", |api, args| {
        args.end()?;
        Ok(api.namespaces.iter().map(|name| (name.clone(), "1.0")).collect::<BTreeMap<_, _>>())
    });
}
