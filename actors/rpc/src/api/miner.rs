//! `miner_`: what op-batcher sends to whoever builds blocks.

use super::registry::Registry;
use alloy_primitives::U256;
use duskevm_messages::executor::DaLimits;

pub(super) fn register(registry: &mut Registry) {
    // As op-geth has it: the most data of one transaction and of a block's, by the estimate of Fjord; zero is no bound.
    registry.inline("miner_setMaxDASize", |api, mut args| {
        let (transaction, block) = (args.required()?, args.required()?);
        args.end()?;
        let limits = DaLimits { transaction: bound(transaction), block: bound(block) };
        if api.da_orders.limits() != limits {
            tracing::info!(transaction = ?limits.transaction, block = ?limits.block, "a batcher bounds the data of blocks");
        }
        api.da_orders.set(limits);
        Ok(true)
    });
}

fn bound(size: U256) -> Option<u64> {
    (!size.is_zero()).then(|| size.saturating_to())
}
