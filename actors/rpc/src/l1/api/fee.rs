//! Fees, which are constants: what a transaction of the view offers is not what is paid. Gas on Dusk is paid in lux, by whoever carries
//! the transaction there.

use super::L1Api;
use crate::{
    api::Registry,
    error::RpcError,
    fees::{check_percentiles, percentile_tips, ratio, span},
    l1::{block::L1Block, types::BLOB_BASE_FEE},
    workers::Cancel,
};
use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{U64, U128};
use alloy_rpc_types_eth::FeeHistory;
use duskevm_l1_view::BASE_FEE;

/// Suggested priority fee in wei. It buys nothing, but whoever replaces a transaction raises it, and from zero nothing can be raised.
const SUGGESTED_TIP: u64 = 1_000_000_000;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.inline("eth_gasPrice", |_, args| {
        args.end()?;
        Ok(U64::from(BASE_FEE + SUGGESTED_TIP))
    });
    registry.inline("eth_maxPriorityFeePerGas", |_, args| {
        args.end()?;
        Ok(U64::from(SUGGESTED_TIP))
    });
    registry.inline("eth_blobBaseFee", |_, args| {
        args.end()?;
        Ok(U128::from(BLOB_BASE_FEE))
    });
    registry.heavy("eth_feeHistory", |api, mut args, cancel| {
        let count: U64 = args.required()?;
        let newest: BlockNumberOrTag = args.required()?;
        let percentiles: Option<Vec<f64>> = args.optional()?;
        args.end()?;
        history(api, count.to(), newest, &percentiles.unwrap_or_default(), cancel)
    });
}

fn history(
    api: &L1Api,
    count: u64,
    newest: BlockNumberOrTag,
    percentiles: &[f64],
    cancel: &Cancel,
) -> Result<FeeHistory, RpcError> {
    let cancel = cancel.within(api.limits.call_timeout());
    check_percentiles(percentiles)?;
    let Some((oldest, newest)) = span(&api.view, count, newest)? else { return Ok(FeeHistory::default()) };
    let mut history = FeeHistory { oldest_block: oldest, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    for number in oldest..=newest {
        cancel.check()?;
        let header = api.view.header_at(number)?.ok_or_else(|| RpcError::server("header not found"))?;
        history.gas_used_ratio.push(ratio(header.gas_used, header.gas_limit));
        history.blob_gas_used_ratio.push(0.0);
        if !percentiles.is_empty() {
            let block = api.view.block_at(number)?.ok_or_else(|| RpcError::server("block not found"))?;
            rewards.push(percentile_tips(tips(&block), header.gas_used, percentiles));
        }
    }
    // And that of the block above the newest one.
    let fees = history.gas_used_ratio.len() + 1;
    history.base_fee_per_gas = vec![BASE_FEE.into(); fees];
    history.base_fee_per_blob_gas = vec![BLOB_BASE_FEE; fees];
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    Ok(history)
}

/// Tip and gas of each transaction.
fn tips(block: &L1Block) -> Vec<(u128, u64)> {
    let mut before = 0;
    let transactions = block.view.transactions.iter().zip(&block.view.receipts);
    let tips = transactions.map(|(tx, receipt)| {
        let gas = receipt.cumulative_gas_used().saturating_sub(before);
        before = receipt.cumulative_gas_used();
        (tx.envelope.effective_tip_per_gas(BASE_FEE).unwrap_or_default(), gas)
    });
    tips.collect()
}
