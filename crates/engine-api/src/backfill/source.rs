//! Blocks as `eth_getBlockByHash` and `eth_getBlockByNumber` have them, and the way to our [`Block`].
//!
//! Nothing of an answer is believed but what the header's hash covers: the hash is computed from the header's fields, the root of the
//! transactions from the transactions, their hashes and senders from their bytes. Fields that are not known are passed over.

use alloy_consensus::{Header, Sealable as _};
use alloy_eips::{eip2718::Encodable2718 as _, eip4895::Withdrawal};
use alloy_primitives::B256;
use duskevm_evm::Block;
use duskevm_unsafe_gossip::{Payload, PayloadError};
use serde::Deserialize;

/// Why an answer is not the block that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// Not the JSON of a block of an OP Stack chain.
    #[error("its answer is not the JSON of an L2 block: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The header is that of another block.
    #[error("it answered with block {computed} for block {wanted}")]
    OtherBlock {
        /// What its header hashes to.
        computed: B256,
        /// What was asked for.
        wanted: B256,
    },
    /// The body is not the one that the header names, or the header is of no L2 block.
    #[error("its block {wanted} is none of an L2: {why}")]
    Body {
        /// What was asked for.
        wanted: B256,
        /// What is wrong.
        why: PayloadError,
    },
    /// It has ommers.
    #[error("its block {0} has ommers, and L2 blocks have none")]
    Ommers(B256),
}

/// A block's body, apart from its header.
#[derive(Deserialize)]
struct Body {
    transactions: Vec<op_alloy_rpc_types::Transaction>,
    #[serde(default)]
    uncles: Vec<B256>,
    #[serde(default)]
    withdrawals: Option<Vec<Withdrawal>>,
}

/// The header of a block (`result` of the answer); `None` for `null`. Nothing is checked.
///
/// # Errors
/// [`SourceFault::Malformed`].
pub fn header(json: &str) -> Result<Option<Header>, SourceFault> {
    Ok(serde_json::from_str(json)?)
}

/// The block (`result` of the answer, with full transactions) with this hash, and about how many bytes it takes; `None` for `null`.
///
/// It takes some tens of microseconds for each signed transaction.
///
/// # Errors
/// See [`SourceFault`].
pub fn block(json: &str, wanted: B256) -> Result<Option<(Block, usize)>, SourceFault> {
    let Some(header) = header(json)? else { return Ok(None) };
    let computed = header.hash_slow();
    if computed != wanted {
        return Err(SourceFault::OtherBlock { computed, wanted });
    }
    let Body { transactions, uncles, withdrawals } = serde_json::from_str(json)?;
    if !uncles.is_empty() {
        return Err(SourceFault::Ommers(wanted));
    }
    let bare = Block { header: header.seal_unchecked(wanted), transactions: Vec::new() };
    let payload = Payload {
        transactions: transactions.iter().map(|tx| tx.inner.inner.inner().encoded_2718().into()).collect(),
        withdrawals: withdrawals.unwrap_or_default(),
        ..Payload::from_block(&bare)
    };
    let bytes = payload.size();
    let block = payload.to_block().map_err(|why| SourceFault::Body { wanted, why })?;
    Ok(Some((block, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEDROCK, CANYON, ECOTONE, HOLOCENE, ISTHMUS, JOVIAN, block_at, signed};
    use alloy_consensus::transaction::Recovered;
    use duskevm_evm::RecoveredTx;
    use op_alloy_consensus::transaction::OpTransactionInfo;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// A block with a deposit and a signed transaction.
    fn whole(timestamp: u64) -> Block {
        let mut block = block_at(timestamp);
        block.transactions.push(Arc::new(RecoveredTx::decode(&signed()).unwrap()));
        let payload = Payload::from_block(&block);
        Block { header: payload.header().unwrap().seal_slow(), ..block }
    }

    /// As a node's JSON-RPC has it.
    fn shown(block: &Block) -> Value {
        let mut shown = serde_json::to_value(block.header.inner()).unwrap();
        let transactions = block.transactions.iter().map(|tx| {
            let tx = Recovered::new_unchecked(tx.envelope().clone(), tx.sender());
            serde_json::to_value(op_alloy_rpc_types::Transaction::from_transaction(tx, OpTransactionInfo::default()))
                .unwrap()
        });
        shown["transactions"] = transactions.collect();
        shown["hash"] = json!(block.hash());
        shown["uncles"] = json!([]);
        shown["withdrawals"] = json!([]);
        shown["size"] = json!("0x123");
        shown["aFieldOfTomorrow"] = json!({ "a": 1 });
        shown
    }

    fn read(shown: &Value, wanted: B256) -> Result<Option<Block>, SourceFault> {
        Ok(block(&shown.to_string(), wanted)?.map(|(block, _)| block))
    }

    #[test]
    fn a_block_of_every_fork_comes_back_with_deposits_and_unknown_fields() {
        for timestamp in [BEDROCK, CANYON, ECOTONE, HOLOCENE, ISTHMUS, JOVIAN] {
            let block = whole(timestamp);
            assert_eq!(read(&shown(&block), block.hash()).unwrap(), Some(block.clone()), "{timestamp}");
            assert_eq!(header(&shown(&block).to_string()).unwrap().as_ref(), Some(block.header.inner()));
        }
    }

    #[test]
    fn what_is_not_there_is_no_block_and_no_error() {
        assert!(header("null").unwrap().is_none() && block("null", B256::ZERO).unwrap().is_none());
    }

    #[test]
    fn the_hash_is_computed_and_not_read() {
        let block = whole(ISTHMUS);
        let mut other = shown(&block);
        other["stateRoot"] = json!(B256::repeat_byte(9));
        assert!(matches!(read(&other, block.hash()), Err(SourceFault::OtherBlock { .. })));
    }

    #[test]
    fn another_body_under_the_same_header_is_refused() {
        let block = whole(ISTHMUS);
        for change in [
            (|shown| shown["transactions"] = json!([])) as fn(&mut Value),
            |shown| shown["transactions"].as_array_mut().unwrap().reverse(),
            |shown| shown["transactions"][1]["value"] = json!("0x5"),
            // The hash of a transaction is not believed either.
            |shown| shown["transactions"][0]["input"] = json!("0x"),
            |shown| {
                shown["withdrawals"] = json!([{ "index": "0x0", "validatorIndex": "0x0", "address": B256::ZERO.to_string()[..42], "amount": "0x0" }]);
            },
        ] {
            let mut shown = shown(&block);
            change(&mut shown);
            let refused = read(&shown, block.hash());
            assert!(matches!(refused, Err(SourceFault::Body { .. })), "{refused:?}");
        }
    }

    #[test]
    fn ommers_and_hashes_of_transactions_are_refused() {
        let block = whole(ISTHMUS);
        let mut ommers = shown(&block);
        ommers["uncles"] = json!([B256::ZERO]);
        assert!(matches!(read(&ommers, block.hash()), Err(SourceFault::Ommers(_))));
        let mut short = shown(&block);
        short["transactions"] = json!([B256::ZERO]);
        assert!(matches!(read(&short, block.hash()), Err(SourceFault::Malformed(_))));
    }
}
