//! Fee suggestions and fee history.

use crate::{
    chain::{BlockAndReceipts, Chain},
    config::Limits,
    error::RpcError,
    source::Source,
    workers::Cancel,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use alloy_rpc_types_eth::FeeHistory;
use duskevm_evm::header::next_base_fee;
use op_alloy_consensus::OpReceiptEnvelope;
use parking_lot::Mutex;

/// Blocks that one fee history may span, as in geth.
const MAX_HISTORY: u64 = 1024;
/// Percentiles that one fee history may ask for, as in geth.
const MAX_PERCENTILES: usize = 100;

/// What to pay above the base fee.
///
/// The rule of op-geth (SuggestOptimismPriorityFee): blocks of a rollup are rarely full, so the least tip will do, unless the newest
/// block had no room for one more of its largest transactions; then the median tip of that block and a tenth more.
#[derive(Debug)]
pub(crate) struct FeeOracle {
    least: u128,
    most: u128,
    last: Mutex<Option<(B256, u128)>>,
}

impl FeeOracle {
    pub(crate) fn new(limits: &Limits) -> Self {
        let least = u128::from(limits.min_suggested_tip);
        Self { least, most: u128::from(limits.max_suggested_tip).max(least), last: Mutex::new(None) }
    }

    /// The suggested tip in wei.
    ///
    /// # Errors
    /// If the newest block cannot be read.
    pub(crate) fn tip(&self, chain: &Chain) -> Result<u128, RpcError> {
        let head = chain.heads()?.latest.hash;
        if let Some((block, tip)) = *self.last.lock()
            && block == head
        {
            return Ok(tip);
        }
        let block = chain.block_and_receipts(head)?.ok_or_else(|| RpcError::server("header not found"))?;
        let tip = self.suggest(&block);
        *self.last.lock() = Some((head, tip));
        Ok(tip)
    }

    fn suggest(&self, block: &BlockAndReceipts) -> u128 {
        let header = &block.block.header;
        let largest = gas_used(&block.receipts).max().unwrap_or_default();
        if largest > header.gas_limit || header.gas_used.saturating_add(largest) <= header.gas_limit {
            return self.least;
        }
        let base_fee = header.base_fee_per_gas.unwrap_or_default();
        let mut tips: Vec<u128> = block
            .block
            .transactions
            .iter()
            .filter(|tx| !tx.is_deposit())
            .map(|tx| tx.effective_tip(base_fee).unwrap_or_default())
            .collect();
        tips.sort_unstable();
        let median = tips.get(tips.len() / 2).copied().unwrap_or_default();
        median.saturating_add(median / 10).clamp(self.least, self.most)
    }
}

/// Gas that each transaction used.
fn gas_used(receipts: &[OpReceiptEnvelope]) -> impl Iterator<Item = u64> + '_ {
    let mut before = 0;
    receipts.iter().map(move |receipt| {
        let used = receipt.cumulative_gas_used().saturating_sub(before);
        before = receipt.cumulative_gas_used();
        used
    })
}

/// `eth_feeHistory`: base fees, how full blocks were, and tips at some percentiles of the gas used.
///
/// # Errors
/// If the percentiles are not ascending between 0 and 100, or the newest block is above the head.
pub(crate) fn fee_history(
    chain: &Chain,
    block_time: u64,
    count: u64,
    newest: BlockNumberOrTag,
    percentiles: &[f64],
    cancel: &Cancel,
) -> Result<FeeHistory, RpcError> {
    check_percentiles(percentiles)?;
    let Some((oldest, newest)) = span(chain, count, newest)? else { return Ok(FeeHistory::default()) };
    let mut history = FeeHistory { oldest_block: oldest, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    let mut last = None;
    for number in oldest..=newest {
        cancel.check()?;
        let id = BlockId::number(number);
        let header = chain.header_of(id)?.ok_or_else(|| RpcError::server("header not found"))?;
        history.base_fee_per_gas.push(header.base_fee_per_gas.unwrap_or_default().into());
        history.gas_used_ratio.push(ratio(header.gas_used, header.gas_limit));
        // No blobs on L2: the EVM's blob base fee is 1 from Ecotone on, and from Jovian on the field holds the DA footprint.
        history.base_fee_per_blob_gas.push(header.excess_blob_gas.map_or(0, |_| 1));
        history.blob_gas_used_ratio.push(ratio(header.blob_gas_used.unwrap_or_default(), header.gas_limit));
        if !percentiles.is_empty() {
            let block = chain.block_and_receipts(header.hash())?.ok_or_else(|| RpcError::server("block not found"))?;
            rewards.push(tips_at(&block, percentiles));
        }
        last = Some(header);
    }
    if let Some(header) = last {
        let next = next_base_fee(chain.spec(), &header, header.timestamp + block_time).map_err(RpcError::internal)?;
        history.base_fee_per_gas.push(next.into());
        history.base_fee_per_blob_gas.push(header.excess_blob_gas.map_or(0, |_| 1));
    }
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    Ok(history)
}

/// The oldest and the newest block of a fee history; `None` if it is to be of no blocks.
///
/// # Errors
/// If the newest block is above the head.
pub(crate) fn span(chain: &impl Source, count: u64, newest: BlockNumberOrTag) -> Result<Option<(u64, u64)>, RpcError> {
    let head = chain.heads()?.latest.number;
    let newest = chain.number_of(newest)?;
    if newest > head {
        return Err(RpcError::Server(format!("request beyond head block: requested {newest}, head {head}")));
    }
    let count = count.min(MAX_HISTORY).min(newest + 1);
    Ok((count > 0).then(|| (newest + 1 - count, newest)))
}

pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// # Errors
/// If they are not ascending between 0 and 100.
pub(crate) fn check_percentiles(percentiles: &[f64]) -> Result<(), RpcError> {
    if percentiles.len() > MAX_PERCENTILES {
        return Err(RpcError::Server(format!("over the query limit {MAX_PERCENTILES}")));
    }
    for (index, percentile) in percentiles.iter().enumerate() {
        if !(0.0..=100.0).contains(percentile) {
            return Err(RpcError::Server(format!("invalid reward percentile: {percentile:.6}")));
        }
        if let Some(before) = index.checked_sub(1).and_then(|before| percentiles.get(before))
            && percentile <= before
        {
            return Err(RpcError::Server(format!(
                "invalid reward percentile: #{}:{before:.6} >= #{index}:{percentile:.6}",
                index - 1
            )));
        }
    }
    Ok(())
}

/// The tips at these percentiles of the block's gas, cheapest transactions first.
fn tips_at(block: &BlockAndReceipts, percentiles: &[f64]) -> Vec<u128> {
    let header = &block.block.header;
    let base_fee = header.base_fee_per_gas.unwrap_or_default();
    let tips = block.block.transactions.iter().zip(gas_used(&block.receipts)).map(|(tx, gas)| {
        // Deposits pay no tip.
        let tip = if tx.is_deposit() { 0 } else { tx.effective_tip(base_fee).unwrap_or_default() };
        (tip, gas)
    });
    percentile_tips(tips.collect(), header.gas_used, percentiles)
}

/// The tips at these percentiles of a block's gas, from tip and gas of each of its transactions.
pub(crate) fn percentile_tips(mut sorted: Vec<(u128, u64)>, gas_used: u64, percentiles: &[f64]) -> Vec<u128> {
    if sorted.is_empty() {
        return vec![0; percentiles.len()];
    }
    sorted.sort_by_key(|(tip, _)| *tip);
    let mut transactions = sorted.into_iter().peekable();
    let (mut tip, mut gas) = transactions.next().unwrap_or_default();
    percentiles
        .iter()
        .map(|percentile| {
            let threshold = (gas_used as f64 * percentile / 100.0) as u64;
            while gas < threshold
                && let Some((next, used)) = transactions.next()
            {
                tip = next;
                gas += used;
            }
            tip
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_ascend_between_0_and_100() {
        assert!(check_percentiles(&[0.0, 50.0, 100.0]).is_ok());
        for bad in [&[101.0][..], &[-1.0], &[f64::NAN], &[50.0, 50.0], &[60.0, 50.0]] {
            assert!(check_percentiles(bad).is_err(), "{bad:?}");
        }
        assert!(check_percentiles(&vec![1.0; 101]).is_err());
    }

    #[test]
    fn an_empty_block_has_no_ratio_to_divide_by() {
        assert_eq!(ratio(1, 0), 0.0);
        assert_eq!(ratio(1, 4), 0.25);
    }
}
