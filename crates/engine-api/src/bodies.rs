//! Payload bodies by hash and range (execution APIs, shanghai.md).

use crate::error::EngineError;
use alloy_primitives::B256;
pub use alloy_rpc_types_engine::ExecutionPayloadBodyV1;
use duskevm_evm::Block;

/// Most bodies in one answer. The specification wants 32 at least; this is what op-geth has.
pub const MAX_BODIES: u64 = 1024;

/// The body of a block: its transactions, and from Canyon on an empty list of withdrawals.
pub fn body(block: &Block) -> ExecutionPayloadBodyV1 {
    ExecutionPayloadBodyV1 {
        transactions: block.transactions.iter().map(|tx| tx.encoded().clone()).collect(),
        withdrawals: block.header.withdrawals_root.map(|_| Vec::new()),
    }
}

/// The answer to `engine_getPayloadBodiesByHashV1`: one entry for each hash, in order, `None` where `find` knows no block.
///
/// # Errors
/// [`EngineError::TooLargeRequest`].
pub fn by_hash<B>(hashes: &[B256], find: impl FnMut(&B256) -> Option<B>) -> Result<Vec<Option<B>>, EngineError> {
    let asked = hashes.len() as u64;
    if asked > MAX_BODIES {
        return Err(EngineError::TooLargeRequest { asked, limit: MAX_BODIES });
    }
    Ok(hashes.iter().map(find).collect())
}

/// The answer to `engine_getPayloadBodiesByRangeV1`: `count` canonical blocks from `start` on, but none above `latest`; `None` where
/// `find` does not have a block below that.
///
/// # Errors
/// [`EngineError::InvalidParams`] if `start` or `count` is 0, [`EngineError::TooLargeRequest`].
pub fn by_range<B>(
    start: u64,
    count: u64,
    latest: u64,
    find: impl FnMut(u64) -> Option<B>,
) -> Result<Vec<Option<B>>, EngineError> {
    if start == 0 || count == 0 {
        return Err(EngineError::InvalidParams(format!("start ({start}) and count ({count}) must be at least 1")));
    }
    if count > MAX_BODIES {
        return Err(EngineError::TooLargeRequest { asked: count, limit: MAX_BODIES });
    }
    let last = start.saturating_add(count - 1).min(latest);
    Ok((start..=last).map(find).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEDROCK, CANYON, ISTHMUS, block_at, json};
    use serde_json::json;

    #[test]
    fn a_body_has_no_withdrawals_before_canyon_and_an_empty_list_from_then_on() {
        let block = block_at(BEDROCK);
        let transactions = json!([block.transactions[0].encoded()]);
        assert_eq!(json(&body(&block)), json!({ "transactions": transactions, "withdrawals": null }));
        for timestamp in [CANYON, ISTHMUS] {
            assert_eq!(json(&body(&block_at(timestamp))), json!({ "transactions": transactions, "withdrawals": [] }));
        }
    }

    #[test]
    fn hashes_are_answered_in_their_order_with_null_for_unknown_ones() {
        let hashes = [3, 1, 2].map(B256::repeat_byte);
        let found = by_hash(&hashes, |hash| (hash[0] != 1).then_some(hash[0])).unwrap();
        assert_eq!(found, [Some(3), None, Some(2)]);
    }

    #[test]
    fn more_than_1024_bodies_are_too_many() {
        let hashes = vec![B256::ZERO; 1025];
        assert_eq!(by_hash(&hashes, |_| Some(())).unwrap_err().code(), -38004);
        assert_eq!(by_hash(&hashes[1..], |_| Some(())).unwrap().len(), 1024);
        assert_eq!(by_range(1, 1025, 9, Some).unwrap_err().code(), -38004);
        assert_eq!(by_range(1, u64::MAX, 9, Some).unwrap_err().code(), -38004);
        assert_eq!(by_range(1, 1024, 2000, Some).unwrap().len(), 1024);
    }

    #[test]
    fn a_range_begins_at_1_and_is_not_empty() {
        assert_eq!(by_range(0, 1, 9, Some).unwrap_err().code(), -32602);
        assert_eq!(by_range(1, 0, 9, Some).unwrap_err().code(), -32602);
    }

    #[test]
    fn a_range_ends_at_the_latest_block_and_keeps_nulls_below_it() {
        let from_three = |number| (number >= 3).then_some(number);
        assert_eq!(by_range(1, 4, 9, from_three).unwrap(), [None, None, Some(3), Some(4)]);
        assert_eq!(by_range(1, 9, 4, from_three).unwrap(), [None, None, Some(3), Some(4)]);
        assert_eq!(by_range(1, 2, 9, from_three).unwrap(), [None, None]);
        assert_eq!(by_range(5, 2, 4, from_three).unwrap(), []);
        assert_eq!(by_range(u64::MAX, 2, u64::MAX, from_three).unwrap(), [Some(u64::MAX)]);
    }
}
