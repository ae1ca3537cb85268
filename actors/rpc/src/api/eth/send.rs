//! Sending transactions.

use crate::{
    api::{Backing as _, registry::Registry},
    error::RpcError,
    types,
};
use alloy_primitives::{Bytes, U64, keccak256};
use std::time::Duration;

pub(super) fn register(registry: &mut Registry) {
    registry.future("eth_sendRawTransaction", |api, mut args| async move {
        let raw: Bytes = args.required()?;
        args.end()?;
        api.ingress.submit(raw).await
    });
    // EIP-7966: the answer is the receipt.
    registry.future("eth_sendRawTransactionSync", |api, mut args| async move {
        let raw: Bytes = args.required()?;
        let timeout: Option<U64> = args.optional()?;
        args.end()?;
        let limits = &api.limits;
        let millis = timeout
            .map(|timeout| timeout.to::<u64>())
            .filter(|millis| *millis > 0)
            .map_or(limits.sync_send_timeout_ms, |millis| millis.min(limits.max_sync_send_timeout_ms));
        // Waiting starts before sending: the block could come in between.
        let mined = api.feed.wait_for(keccak256(&raw));
        let hash = api.ingress.submit(raw).await?;
        match tokio::time::timeout(Duration::from_millis(millis), mined.mined()).await {
            Ok(Some((block, index))) => {
                api.on(&api.reads, move |api, _| {
                    types::receipt(&block, index, api.chain.spec())
                        .ok_or_else(|| RpcError::internal("the receipt of a mined transaction is missing"))
                })
                .await
            }
            Ok(None) => Err(RpcError::internal("nobody follows the chain")),
            Err(_) => Err(RpcError::ReceiptTimeout {
                message: format!("the transaction was added to the mempool but wasn't processed within {millis} ms"),
                hash,
            }),
        }
    });
}
