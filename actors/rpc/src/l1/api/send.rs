//! Transactions to L1, which this endpoint does not take yet: it refuses them with the way that there is.

use super::L1Api;
use crate::{api::Registry, error::RpcError};
use alloy_primitives::Bytes;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.inline::<(), _>("eth_sendRawTransaction", |_, mut args| {
        let _raw: Bytes = args.required()?;
        args.end()?;
        Err(RpcError::server(
            "this endpoint does not take transactions yet: send a Dusk transaction with `duskevm l1 submit`, or a deposit with `duskevm bridge deposit`",
        ))
    });
}
