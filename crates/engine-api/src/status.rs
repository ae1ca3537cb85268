//! Payload statuses (execution APIs, paris.md, `PayloadStatusV1`) and answers to `engine_forkchoiceUpdated`.
//!
//! From V2 on `INVALID_BLOCK_HASH` is replaced by `INVALID`, and V1 is answered like that too, as op-geth does: kona-node cannot read
//! the other one. `ACCEPTED` is never given: a block whose parent is known is executed at
//! once, also on a side branch.

use alloy_primitives::B256;
pub use alloy_rpc_types_engine::{ForkchoiceUpdated, PayloadId, PayloadStatus, PayloadStatusEnum};

/// The block was executed, now or before, and its header is right. The latest valid block is the block itself.
pub const fn valid(hash: B256) -> PayloadStatus {
    PayloadStatus::new(PayloadStatusEnum::Valid, Some(hash))
}

/// The block is invalid. `latest_valid` is its nearest valid ancestor: its parent, if that is valid; `None` if the content never
/// was a block (a wrong hash, bytes that are no transaction).
pub const fn invalid(why: String, latest_valid: Option<B256>) -> PayloadStatus {
    PayloadStatus::new(PayloadStatusEnum::Invalid { validation_error: why }, latest_valid)
}

/// The parent is unknown, or the head is: nothing can be said yet.
pub const fn syncing() -> PayloadStatus {
    PayloadStatus::new(PayloadStatusEnum::Syncing, None)
}

/// The head was taken (or is one that is below the finalized block, and nothing was changed); `building` is the id of the payload that was begun.
pub const fn updated(head: B256, building: Option<PayloadId>) -> ForkchoiceUpdated {
    ForkchoiceUpdated { payload_status: valid(head), payload_id: building }
}

/// The head was not taken, for this reason.
pub const fn not_updated(status: PayloadStatus) -> ForkchoiceUpdated {
    ForkchoiceUpdated { payload_status: status, payload_id: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::json;
    use alloy_primitives::B64;
    use serde_json::json;

    #[test]
    fn statuses_are_written_as_the_specification_has_them() {
        let hash = B256::repeat_byte(0xab);
        let valid_json = json!({ "status": "VALID", "latestValidHash": hash, "validationError": null });
        assert_eq!(json(&valid(hash)), valid_json);
        assert_eq!(
            json(&invalid("why".into(), Some(hash))),
            json!({ "status": "INVALID", "latestValidHash": hash, "validationError": "why" })
        );
        let syncing_json = json!({ "status": "SYNCING", "latestValidHash": null, "validationError": null });
        assert_eq!(json(&syncing()), syncing_json);
        assert_eq!(json(&not_updated(syncing())), json!({ "payloadStatus": syncing_json, "payloadId": null }));
        let id = PayloadId(B64::repeat_byte(3));
        assert_eq!(
            json(&updated(hash, Some(id))),
            json!({ "payloadStatus": valid_json, "payloadId": "0x0303030303030303" })
        );
    }
}
