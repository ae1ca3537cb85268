//! `txpool_`.

use super::{
    Api,
    registry::{Backing as _, Registry},
};
use crate::{error::RpcError, json::Json, types::pending};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, U64};
use duskevm_evm::RecoveredTx;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// By sender (with the checksum of EIP-55, as geth writes it), then by nonce.
type BySender<T> = BTreeMap<String, BTreeMap<u64, T>>;

#[derive(Debug, Clone, Serialize)]
struct Content<T> {
    pending: T,
    queued: T,
}

pub(super) fn register(registry: &mut Registry) {
    registry.future("txpool_status", |api, args| async move {
        args.end()?;
        let status = api.pool.status().await?;
        Ok(Content { pending: U64::from(status.pending), queued: U64::from(status.queued) })
    });
    registry.future("txpool_content", |api, args| async move {
        args.end()?;
        content(&api, pending).await
    });
    registry.future("txpool_inspect", |api, args| async move {
        args.end()?;
        content(&api, inspect).await
    });
    registry.future("txpool_contentFrom", |api, mut args| async move {
        let sender: Address = args.required()?;
        args.end()?;
        let content = api.pool.content_from(sender).await?;
        api.on(&api.heavy, move |_, _| {
            Ok(Content { pending: shown(&content.pending, pending), queued: shown(&content.queued, pending) })
        })
        .await
    });
}

async fn content<T: Serialize + 'static>(api: &Arc<Api>, show: fn(&RecoveredTx) -> T) -> Result<Json, RpcError> {
    let content = api.pool.content().await?;
    api.on(&api.heavy, move |_, _| {
        let mut both = Content { pending: BySender::new(), queued: BySender::new() };
        for (sender, transactions) in content.iter() {
            let sender = sender.to_checksum(None);
            if !transactions.pending.is_empty() {
                both.pending.insert(sender.clone(), shown(&transactions.pending, show));
            }
            if !transactions.queued.is_empty() {
                both.queued.insert(sender, shown(&transactions.queued, show));
            }
        }
        Ok(both)
    })
    .await
}

fn shown<T>(transactions: &BTreeMap<u64, Arc<RecoveredTx>>, show: fn(&RecoveredTx) -> T) -> BTreeMap<u64, T> {
    transactions.iter().map(|(nonce, tx)| (*nonce, show(tx))).collect()
}

/// One line, as geth writes it.
fn inspect(tx: &RecoveredTx) -> String {
    let envelope = tx.envelope();
    let to = envelope.to().map_or_else(|| "contract creation".to_owned(), |to| to.to_checksum(None));
    format!("{to}: {} wei + {} gas × {} wei", envelope.value(), envelope.gas_limit(), envelope.max_fee_per_gas())
}
