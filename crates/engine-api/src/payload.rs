//! A block as the Engine API's JSON has it.

use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use duskevm_evm::Block;
use duskevm_unsafe_gossip::{Payload, PayloadVersion};
use serde::{Deserialize, Serialize};

/// `ExecutionPayloadV1`, `V2`, `V3` of the execution APIs, and the OP Stack's form with the withdrawals root (Isthmus).
///
/// One type for all, because what a call lacks or has too much decides between an error and a verdict over the block
/// ([`new_payload`](crate::new_payload)). `null` counts as not given, and fields that are not known are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionPayload {
    /// Hash of the parent.
    pub parent_hash: B256,
    /// The header's beneficiary.
    pub fee_recipient: Address,
    /// State after the block.
    pub state_root: B256,
    /// Root of the receipts.
    pub receipts_root: B256,
    /// Bloom of the logs.
    pub logs_bloom: Bloom,
    /// The header's mix hash.
    pub prev_randao: B256,
    /// Number.
    #[serde(with = "alloy_serde::quantity")]
    pub block_number: u64,
    /// Gas limit.
    #[serde(with = "alloy_serde::quantity")]
    pub gas_limit: u64,
    /// Gas used.
    #[serde(with = "alloy_serde::quantity")]
    pub gas_used: u64,
    /// Unix seconds.
    #[serde(with = "alloy_serde::quantity")]
    pub timestamp: u64,
    /// Extra data, at most 32 bytes.
    pub extra_data: Bytes,
    /// Base fee in wei.
    pub base_fee_per_gas: U256,
    /// What the caller says the block's hash is.
    pub block_hash: B256,
    /// Transactions in their EIP-2718 form.
    pub transactions: Vec<Bytes>,
    /// Withdrawals, of which no L2 block has any. From Canyon on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawals: Option<Vec<Withdrawal>>,
    /// Zero, or from Jovian on the DA footprint. From Ecotone on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "alloy_serde::quantity::opt")]
    pub blob_gas_used: Option<u64>,
    /// Zero. From Ecotone on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "alloy_serde::quantity::opt")]
    pub excess_blob_gas: Option<u64>,
    /// Storage root of the message passer. From Isthmus on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawals_root: Option<B256>,
}

impl ExecutionPayload {
    /// The payload of a block, in the form of the block's fork.
    pub fn from_block(block: &Block) -> Self {
        let payload = Payload::from_block(block);
        let since = |version| payload.version >= version;
        Self {
            parent_hash: payload.parent_hash,
            fee_recipient: payload.fee_recipient,
            state_root: payload.state_root,
            receipts_root: payload.receipts_root,
            logs_bloom: payload.logs_bloom,
            prev_randao: payload.prev_randao,
            block_number: payload.number,
            gas_limit: payload.gas_limit,
            gas_used: payload.gas_used,
            timestamp: payload.timestamp,
            base_fee_per_gas: payload.base_fee_per_gas,
            block_hash: payload.hash,
            withdrawals: since(PayloadVersion::V2).then(Vec::new),
            blob_gas_used: since(PayloadVersion::V3).then_some(payload.blob_gas_used),
            excess_blob_gas: since(PayloadVersion::V3).then_some(payload.excess_blob_gas),
            withdrawals_root: since(PayloadVersion::V4).then_some(payload.withdrawals_root),
            extra_data: payload.extra_data,
            transactions: payload.transactions,
        }
    }

    /// The same as gossip carries it, whose way to a block is used here too: a payload is one block, whoever brings it.
    ///
    /// What the form does not have must not be given; what it has and was not given becomes empty or zero.
    pub(crate) fn into_gossip(self, version: PayloadVersion, parent_beacon_block_root: B256) -> Payload {
        Payload {
            version,
            parent_hash: self.parent_hash,
            fee_recipient: self.fee_recipient,
            state_root: self.state_root,
            receipts_root: self.receipts_root,
            logs_bloom: self.logs_bloom,
            prev_randao: self.prev_randao,
            number: self.block_number,
            gas_limit: self.gas_limit,
            gas_used: self.gas_used,
            timestamp: self.timestamp,
            extra_data: self.extra_data,
            base_fee_per_gas: self.base_fee_per_gas,
            hash: self.block_hash,
            transactions: self.transactions,
            withdrawals: self.withdrawals.unwrap_or_default(),
            blob_gas_used: self.blob_gas_used.unwrap_or_default(),
            excess_blob_gas: self.excess_blob_gas.unwrap_or_default(),
            withdrawals_root: self.withdrawals_root.unwrap_or_default(),
            parent_beacon_block_root,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEDROCK, CANYON, ECOTONE, ISTHMUS, JOVIAN, block, block_at, json};
    use alloy_rpc_types_engine::{ExecutionPayloadInputV2, ExecutionPayloadV3};
    use op_alloy_rpc_types_engine::OpExecutionPayloadV4;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn a_payload_has_the_fields_of_its_fork_and_no_others() {
        let optional = ["withdrawals", "blobGasUsed", "excessBlobGas", "withdrawalsRoot"];
        for (timestamp, count) in [(BEDROCK, 0), (CANYON, 1), (ECOTONE, 3), (ISTHMUS, 4), (JOVIAN, 4)] {
            let json = json(&ExecutionPayload::from_block(&block_at(timestamp)));
            for (index, field) in optional.iter().enumerate() {
                assert_eq!(json.get(field).is_some(), index < count, "{field} at {timestamp}");
            }
        }
    }

    #[test]
    fn what_op_node_sends_is_read() {
        let block = block_at(ISTHMUS);
        let hash = |byte: &str| format!("0x{}", byte.repeat(32));
        let sent = json!({
            "parentHash": hash("08"),
            "feeRecipient": "0x4242424242424242424242424242424242424242",
            "stateRoot": hash("01"),
            "receiptsRoot": hash("02"),
            "logsBloom": format!("0x{}", "03".repeat(256)),
            "prevRandao": hash("04"),
            "blockNumber": "0x7",
            "gasLimit": "0x3938700",
            "gasUsed": "0x5208",
            "timestamp": "0x190",
            "extraData": "0x00000000fa00000006",
            "baseFeePerGas": "0x7",
            "blockHash": block.hash().to_string(),
            "transactions": [block.transactions[0].encoded().to_string()],
            "withdrawals": [],
            "blobGasUsed": "0x0",
            "excessBlobGas": "0x0",
            "withdrawalsRoot": hash("05")
        });
        let ours = ExecutionPayload::from_block(&block);
        assert_eq!(json(&ours), sent);
        assert_eq!(serde_json::from_value::<ExecutionPayload>(sent).unwrap(), ours);
    }

    #[test]
    fn what_kona_sends_is_read() {
        // kona-node serialises these types of alloy and op-alloy.
        for (timestamp, name) in [(BEDROCK, "V1"), (CANYON, "V2"), (ECOTONE, "V3"), (ISTHMUS, "V4")] {
            let ours = ExecutionPayload::from_block(&block_at(timestamp));
            let theirs = match name {
                "V4" => json(&serde_json::from_value::<OpExecutionPayloadV4>(json(&ours)).unwrap()),
                "V3" => json(&serde_json::from_value::<ExecutionPayloadV3>(json(&ours)).unwrap()),
                _ => json(&serde_json::from_value::<ExecutionPayloadInputV2>(json(&ours)).unwrap()),
            };
            assert_eq!(serde_json::from_value::<ExecutionPayload>(theirs).unwrap(), ours, "{name}");
        }
    }

    #[test]
    fn null_is_not_given_and_unknown_fields_are_passed_over() {
        let ours = ExecutionPayload::from_block(&block_at(BEDROCK));
        let mut sent = json(&ours);
        for field in ["withdrawals", "blobGasUsed", "excessBlobGas", "withdrawalsRoot", "depositRequests", "new"] {
            sent[field] = Value::Null;
        }
        sent["newer"] = Value::from("0x1");
        assert_eq!(serde_json::from_value::<ExecutionPayload>(sent).unwrap(), ours);
    }

    #[test]
    fn a_payload_without_a_field_of_all_forks_is_none() {
        let whole = json(&ExecutionPayload::from_block(&block_at(BEDROCK)));
        let fields: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields.len(), 14);
        for field in fields {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().remove(&field);
            assert!(serde_json::from_value::<ExecutionPayload>(part).is_err(), "{field}");
        }
    }

    proptest! {
        #[test]
        fn payloads_are_read_as_they_were_written(
            timestamp in prop::sample::select(vec![BEDROCK, CANYON, ECOTONE, ISTHMUS, JOVIAN]),
            number in any::<u64>(),
            parent in any::<[u8; 32]>(),
            input in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let ours = ExecutionPayload::from_block(&block(timestamp, number, parent.into(), &input));
            prop_assert_eq!(serde_json::from_str::<ExecutionPayload>(&serde_json::to_string(&ours).unwrap()).unwrap(), ours);
        }
    }
}
