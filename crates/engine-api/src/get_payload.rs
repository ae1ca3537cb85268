//! What `engine_getPayload` answers (execution APIs, paris.md, shanghai.md, cancun.md, prague.md; OP Stack, exec-engine.md).

use crate::{error::EngineError, payload::ExecutionPayload, version::PayloadMethod};
use alloy_eips::eip2718::{Decodable2718 as _, Eip2718Result};
use alloy_primitives::{B256, Bytes, U256};
use alloy_rpc_types_engine::BlobsBundleV1;
use duskevm_evm::{Block, ChainSpec};
use op_alloy_consensus::OpReceiptEnvelope;
use serde::{Deserialize, Serialize};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PayloadAnswer {
    /// That of V1: the block and nothing else.
    Bare(ExecutionPayload),
    /// That of all others.
    Envelope(PayloadEnvelope),
}

/// The answer from V2 on; what a version does not have is not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayloadEnvelope {
    /// The block.
    pub execution_payload: ExecutionPayload,
    /// What the fee recipient earns by the block, in wei.
    pub block_value: U256,
    /// Blobs of the block's blob transactions, of which no L2 block has any. From V3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs_bundle: Option<BlobsBundleV1>,
    /// Never: no block is better than a builder's by any rule of ours. From V3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub should_override_builder: Option<bool>,
    /// Of the L1 origin. From V3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_beacon_block_root: Option<B256>,
    /// Empty. In V4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_requests: Option<Vec<Bytes>>,
}

impl PayloadAnswer {
    /// The answer to `method` with a block that was built; `value` is its [`block_value`].
    ///
    /// # Errors
    /// [`EngineError::UnsupportedFork`].
    pub fn new(spec: &ChainSpec, method: PayloadMethod, block: &Block, value: U256) -> Result<Self, EngineError> {
        method.check_get(spec, block.header.timestamp)?;
        let execution_payload = ExecutionPayload::from_block(block);
        if method == PayloadMethod::V1 {
            return Ok(Self::Bare(execution_payload));
        }
        let v3 = method >= PayloadMethod::V3;
        Ok(Self::Envelope(PayloadEnvelope {
            execution_payload,
            block_value: value,
            blobs_bundle: v3.then(BlobsBundleV1::default),
            should_override_builder: v3.then_some(false),
            parent_beacon_block_root: block.header.parent_beacon_block_root,
            execution_requests: (method >= PayloadMethod::V4).then(Vec::new),
        }))
    }
}

/// The sum of a block's priority fees in wei. Deposits pay none, and L1 data fees go elsewhere. `receipts` are those of the
/// block's transactions, in their order and their EIP-2718 encoding.
///
/// # Errors
/// If a receipt is none.
pub fn block_value(block: &Block, receipts: &[Bytes]) -> Eip2718Result<U256> {
    let base_fee = block.header.base_fee_per_gas.unwrap_or_default();
    let mut used_before = 0;
    let mut value = U256::ZERO;
    for (tx, receipt) in block.transactions.iter().zip(receipts) {
        let used = OpReceiptEnvelope::decode_2718_exact(receipt)?.cumulative_gas_used();
        if !tx.is_deposit() {
            let tip = tx.effective_tip(base_fee).unwrap_or_default();
            value += U256::from(tip) * U256::from(used.saturating_sub(used_before));
        }
        used_before = used;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEDROCK, CANYON, ECOTONE, ISTHMUS, JOVIAN, block_at, deposit, json, signed, spec};
    use alloy_consensus::Receipt;
    use alloy_eips::eip2718::Encodable2718 as _;
    use alloy_rpc_types_engine::ExecutionPayloadV1;
    use duskevm_evm::RecoveredTx;
    use op_alloy_consensus::OpDepositReceipt;
    use op_alloy_rpc_types_engine::{OpExecutionPayloadEnvelopeV3, OpExecutionPayloadEnvelopeV4};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn envelope(timestamp: u64) -> PayloadAnswer {
        let method = PayloadMethod::at(&spec(), timestamp);
        PayloadAnswer::new(&spec(), method, &block_at(timestamp), U256::from(16)).unwrap()
    }

    #[test]
    fn the_first_version_answers_with_the_bare_payload() {
        let block = block_at(BEDROCK);
        let answer = PayloadAnswer::new(&spec(), PayloadMethod::V1, &block, U256::from(16)).unwrap();
        assert_eq!(json(&answer), json(&ExecutionPayload::from_block(&block)));
        assert_eq!(json(&answer)["blockHash"], json!(block.hash()));
        assert_eq!(json(&envelope(BEDROCK))["executionPayload"], json(&answer));
        let theirs: ExecutionPayloadV1 = serde_json::from_value(json(&answer)).unwrap();
        assert_eq!(json(&theirs), json(&answer));
    }

    #[test]
    fn each_version_answers_with_its_fields_and_no_others() {
        let fields = |timestamp| -> Vec<String> {
            let mut names: Vec<_> = json(&envelope(timestamp)).as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        let v2 = ["blockValue", "executionPayload"];
        let v3 = ["blobsBundle", "blockValue", "executionPayload", "parentBeaconBlockRoot", "shouldOverrideBuilder"];
        let v4 = [&v3[..2], &["executionPayload", "executionRequests"], &v3[3..]].concat();
        assert_eq!(fields(BEDROCK), v2);
        assert_eq!(fields(CANYON), v2);
        assert_eq!(fields(ECOTONE), v3);
        assert_eq!(fields(ISTHMUS), v4);
        assert_eq!(fields(JOVIAN), v4);
    }

    #[test]
    fn blobs_requests_and_the_override_are_empty_and_the_value_is_a_quantity() {
        let json = json(&envelope(ISTHMUS));
        assert_eq!(json["blobsBundle"], json!({ "commitments": [], "proofs": [], "blobs": [] }));
        assert_eq!(json["executionRequests"], json!([]));
        assert_eq!(json["shouldOverrideBuilder"], Value::Bool(false));
        assert_eq!(json["blockValue"], "0x10");
        assert_eq!(json["parentBeaconBlockRoot"], json!(B256::repeat_byte(6)));
    }

    #[test]
    fn kona_reads_the_answers() {
        let v3: OpExecutionPayloadEnvelopeV3 = serde_json::from_value(json(&envelope(ECOTONE))).unwrap();
        assert_eq!(json(&v3), json(&envelope(ECOTONE)));
        let v4: OpExecutionPayloadEnvelopeV4 = serde_json::from_value(json(&envelope(ISTHMUS))).unwrap();
        assert_eq!(json(&v4), json(&envelope(ISTHMUS)));
    }

    #[test]
    fn a_payload_of_another_fork_is_an_unsupported_fork() {
        for (timestamp, method) in [
            (CANYON, PayloadMethod::V1),
            (ECOTONE, PayloadMethod::V2),
            (ISTHMUS, PayloadMethod::V3),
            (ECOTONE, PayloadMethod::V4),
        ] {
            let error = PayloadAnswer::new(&spec(), method, &block_at(timestamp), U256::ZERO).unwrap_err();
            assert_eq!(error.code(), -38005);
        }
    }

    #[test]
    fn the_value_is_the_sum_of_tips_and_deposits_pay_none() {
        let receipt = |gas: u64| Receipt { status: true.into(), cumulative_gas_used: gas, logs: vec![] };
        let paying = Arc::new(RecoveredTx::decode(&signed()).unwrap());
        let mut block = block_at(ISTHMUS);
        block.transactions = vec![deposit(b""), paying.clone(), paying];
        let mut header = block.header.inner().clone();
        header.base_fee_per_gas = Some(4);
        block.header = alloy_consensus::Sealable::seal_slow(header);
        let first = OpDepositReceipt { inner: receipt(50_000), deposit_nonce: None, deposit_receipt_version: None };
        let receipts = [
            OpReceiptEnvelope::Deposit(first.into()),
            OpReceiptEnvelope::Eip1559(receipt(71_000).into()),
            OpReceiptEnvelope::Eip1559(receipt(101_000).into()),
        ];
        let receipts = receipts.map(|receipt| receipt.encoded_2718().into());
        // The tip cap of the transactions is 2, the fee cap is far above the base fee.
        assert_eq!(block_value(&block, &receipts).unwrap(), U256::from(2 * 51_000));
    }
}
