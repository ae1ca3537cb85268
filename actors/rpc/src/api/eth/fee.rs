//! Fees.

use crate::{api::registry::Registry, error::RpcError, fees::fee_history};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{U64, U128, U256};

pub(super) fn register(registry: &mut Registry) {
    registry.read("eth_gasPrice", |api, args| {
        args.end()?;
        let header = api.chain.header_of(BlockId::latest())?.ok_or_else(|| RpcError::server("header not found"))?;
        Ok(U256::from(api.fees.tip(&api.chain)?) + U256::from(header.base_fee_per_gas.unwrap_or_default()))
    });
    registry.read("eth_maxPriorityFeePerGas", |api, args| {
        args.end()?;
        Ok(U128::from(api.fees.tip(&api.chain)?))
    });
    registry.read("eth_blobBaseFee", |api, args| {
        args.end()?;
        // There are no blobs on L2; the EVM's BLOBBASEFEE is the least there is from Ecotone on.
        let header = api.chain.header_of(BlockId::latest())?;
        Ok(header.and_then(|header| header.excess_blob_gas).map(|_| U64::from(1)))
    });
    registry.heavy("eth_feeHistory", |api, mut args, cancel| {
        let count: U64 = args.required()?;
        let newest: BlockNumberOrTag = args.required()?;
        let percentiles: Option<Vec<f64>> = args.optional()?;
        args.end()?;
        let percentiles = percentiles.unwrap_or_default();
        let cancel = cancel.within(api.limits.call_timeout());
        fee_history(&api.chain, api.rollup.config.block_time, count.to(), newest, &percentiles, &cancel)
    });
}
