//! What `engine_newPayload` is given (execution APIs, paris.md, shanghai.md, cancun.md, prague.md; OP Stack, exec-engine.md).
//!
//! Two kinds of refusal: the call is wrong, which is an [error](EngineError), or the block is, which is the status `INVALID`. The
//! first is said of parameters that are missing, too many or of another fork; the second of everything that a peer could have put into a payload.

use crate::{
    error::EngineError,
    payload::ExecutionPayload,
    status::{self, PayloadStatus},
    version::PayloadMethod,
};
use alloy_primitives::{B256, Bytes};
use duskevm_evm::{Block, ChainSpec};
use duskevm_unsafe_gossip::PayloadVersion;

/// Most bytes of extra data in a header.
const MAX_EXTRA_DATA: usize = 32;

/// The parameters of `engine_newPayload`, those included that only later versions have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayload {
    /// The block.
    pub payload: ExecutionPayload,
    /// Versioned hashes of the blobs of its blob transactions, of which no L2 block has any. From V3 on.
    pub versioned_hashes: Option<Vec<B256>>,
    /// Of the L1 origin. From V3 on.
    pub parent_beacon_block_root: Option<B256>,
    /// Requests to the consensus layer, of which no L2 block has any. In V4.
    pub execution_requests: Option<Vec<Bytes>>,
}

/// What a call of `engine_newPayload` turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A block whose hash is right and whose senders are known. Nothing is executed yet.
    Block(Box<Block>),
    /// No block: this is the answer, without execution.
    Invalid(PayloadStatus),
}

impl NewPayload {
    /// A call of V1 or V2.
    pub const fn v2(payload: ExecutionPayload) -> Self {
        Self { payload, versioned_hashes: None, parent_beacon_block_root: None, execution_requests: None }
    }

    /// The block in the call.
    ///
    /// It takes some tens of microseconds for each signed transaction.
    ///
    /// # Errors
    /// [`EngineError::InvalidParams`] and [`EngineError::UnsupportedFork`].
    pub fn receive(self, spec: &ChainSpec, method: PayloadMethod) -> Result<Received, EngineError> {
        self.check_params(spec, method)?;
        let Self { payload, versioned_hashes, parent_beacon_block_root, .. } = self;
        if let Some(hashes) = versioned_hashes
            && !hashes.is_empty()
        {
            let why = format!("{} blobs are expected, and no L2 block has blob transactions", hashes.len());
            return Ok(Received::Invalid(status::invalid(why, None)));
        }
        if payload.extra_data.len() > MAX_EXTRA_DATA {
            let why = format!("{} bytes of extra data, at most {MAX_EXTRA_DATA} are allowed", payload.extra_data.len());
            return Ok(Received::Invalid(status::invalid(why, None)));
        }
        let version = PayloadVersion::at(spec, payload.timestamp);
        let payload = payload.into_gossip(version, parent_beacon_block_root.unwrap_or_default());
        Ok(match payload.to_block() {
            Ok(block) => Received::Block(Box::new(block)),
            // A hash that is not the block's says nothing of the block whose hash it is: no latest valid hash.
            Err(why) => Received::Invalid(status::invalid(why.to_string(), None)),
        })
    }

    fn check_params(&self, spec: &ChainSpec, method: PayloadMethod) -> Result<(), EngineError> {
        let payload = &self.payload;
        let given = [
            ("withdrawals", payload.withdrawals.is_some()),
            ("blobGasUsed", payload.blob_gas_used.is_some()),
            ("excessBlobGas", payload.excess_blob_gas.is_some()),
            ("expectedBlobVersionedHashes", self.versioned_hashes.is_some()),
            ("parentBeaconBlockRoot", self.parent_beacon_block_root.is_some()),
            ("withdrawalsRoot", payload.withdrawals_root.is_some()),
            ("executionRequests", self.execution_requests.is_some()),
        ];
        // In V2 the timestamp decides the form, so it comes first. From V3 on the form is fixed and comes first (cancun.md). So it is in
        // V1, where op-geth answers the same code for withdrawals; the specification says nothing.
        let wanted = match method {
            PayloadMethod::V1 => 0,
            PayloadMethod::V2 => {
                method.check_new(spec, payload.timestamp)?;
                usize::from(PayloadVersion::at(spec, payload.timestamp) >= PayloadVersion::V2)
            }
            PayloadMethod::V3 => 5,
            PayloadMethod::V4 => given.len(),
        };
        for (index, (name, given)) in given.into_iter().enumerate() {
            let wanted = index < wanted;
            if wanted != given {
                let fault = if wanted { "is missing" } else { "must not be given" };
                let (method, timestamp) = (method.new_payload(), payload.timestamp);
                return Err(EngineError::InvalidParams(format!("{name} {fault} in {method} at timestamp {timestamp}")));
            }
        }
        if let Some(requests) = &self.execution_requests
            && !requests.is_empty()
        {
            return Err(EngineError::InvalidParams(format!(
                "executionRequests has {} entries, and must be empty on an L2",
                requests.len()
            )));
        }
        method.check_new(spec, payload.timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BEDROCK, CANYON, ECOTONE, HOLOCENE, ISTHMUS, JOVIAN, block_at, signed, spec};
    use alloy_eips::eip4895::Withdrawal;
    use alloy_primitives::U256;
    use proptest::prelude::*;

    type Change = fn(&mut NewPayload);

    fn call(block: &Block) -> NewPayload {
        let version = PayloadVersion::at(&spec(), block.header.timestamp);
        NewPayload {
            payload: ExecutionPayload::from_block(block),
            versioned_hashes: (version >= PayloadVersion::V3).then(Vec::new),
            parent_beacon_block_root: block.header.parent_beacon_block_root,
            execution_requests: (version >= PayloadVersion::V4).then(Vec::new),
        }
    }

    fn receive(call: NewPayload) -> Result<Received, EngineError> {
        let method = PayloadMethod::at(&spec(), call.payload.timestamp);
        call.receive(&spec(), method)
    }

    fn invalid(call: NewPayload) -> String {
        match receive(call).unwrap() {
            Received::Block(block) => panic!("{block:?} was taken"),
            Received::Invalid(status) => {
                assert_eq!(status.latest_valid_hash, None);
                status.status.validation_error().unwrap().to_owned()
            }
        }
    }

    #[test]
    fn a_block_of_every_fork_comes_back() {
        for timestamp in [BEDROCK, CANYON, ECOTONE, HOLOCENE, ISTHMUS, JOVIAN] {
            let block = block_at(timestamp);
            assert_eq!(receive(call(&block)).unwrap(), Received::Block(Box::new(block)));
        }
    }

    #[test]
    fn a_missing_parameter_is_an_error_in_every_version() {
        let lacks: [(Change, u64); 7] = [
            (|call| call.payload.withdrawals = None, CANYON),
            (|call| call.payload.blob_gas_used = None, ECOTONE),
            (|call| call.payload.excess_blob_gas = None, ECOTONE),
            (|call| call.versioned_hashes = None, ECOTONE),
            (|call| call.parent_beacon_block_root = None, ECOTONE),
            (|call| call.payload.withdrawals_root = None, ISTHMUS),
            (|call| call.execution_requests = None, ISTHMUS),
        ];
        for (lack, since) in lacks {
            for timestamp in [CANYON, ECOTONE, ISTHMUS].into_iter().filter(|timestamp| *timestamp >= since) {
                let mut call = call(&block_at(timestamp));
                lack(&mut call);
                let error = receive(call).unwrap_err();
                assert_eq!(error.code(), -32602, "{error}");
                assert!(error.to_string().contains("is missing"), "{error}");
            }
        }
    }

    #[test]
    fn a_parameter_of_a_later_version_is_an_error() {
        let adds: [(Change, u64); 7] = [
            (|call| call.payload.withdrawals = Some(vec![]), BEDROCK),
            (|call| call.payload.blob_gas_used = Some(0), CANYON),
            (|call| call.payload.excess_blob_gas = Some(0), CANYON),
            (|call| call.versioned_hashes = Some(vec![]), CANYON),
            (|call| call.parent_beacon_block_root = Some(B256::ZERO), CANYON),
            (|call| call.payload.withdrawals_root = Some(B256::ZERO), ECOTONE),
            (|call| call.execution_requests = Some(vec![]), ECOTONE),
        ];
        for (add, until) in adds {
            for timestamp in [BEDROCK, CANYON, ECOTONE].into_iter().filter(|timestamp| *timestamp <= until) {
                let mut call = call(&block_at(timestamp));
                add(&mut call);
                let error = receive(call).unwrap_err();
                assert_eq!(error.code(), -32602, "{error}");
                assert!(error.to_string().contains("must not be given"), "{error}");
            }
        }
    }

    #[test]
    fn a_block_before_canyon_is_taken_by_v1_and_by_v2() {
        for method in [PayloadMethod::V1, PayloadMethod::V2] {
            let block = block_at(CANYON - 1);
            assert_eq!(call(&block).receive(&spec(), method), Ok(Received::Block(Box::new(block))));
        }
    }

    #[test]
    fn v1_takes_no_field_of_a_later_version_and_no_later_block() {
        for timestamp in [CANYON, ECOTONE, ISTHMUS] {
            let error = call(&block_at(timestamp)).receive(&spec(), PayloadMethod::V1).unwrap_err();
            assert_eq!(error.code(), -32602, "{error}");
            assert!(error.to_string().contains("withdrawals must not be given in engine_newPayloadV1"), "{error}");
        }
        let mut with_hashes = call(&block_at(BEDROCK));
        with_hashes.versioned_hashes = Some(vec![]);
        assert_eq!(with_hashes.receive(&spec(), PayloadMethod::V1).unwrap_err().code(), -32602);
        let mut later = call(&block_at(BEDROCK));
        later.payload.timestamp = CANYON;
        assert_eq!(later.receive(&spec(), PayloadMethod::V1).unwrap_err().code(), -38005);
    }

    #[test]
    fn a_block_of_another_fork_is_an_unsupported_fork() {
        let later = call(&block_at(ECOTONE));
        assert_eq!(later.receive(&spec(), PayloadMethod::V2).unwrap_err().code(), -38005);
        // The parameters fit the method, the timestamp does not.
        for (from, to, method) in [(ECOTONE, ISTHMUS, PayloadMethod::V3), (ISTHMUS, ECOTONE, PayloadMethod::V4)] {
            let mut call = call(&block_at(from));
            call.payload.timestamp = to;
            assert_eq!(call.receive(&spec(), method).unwrap_err().code(), -38005);
        }
    }

    #[test]
    fn requests_are_an_error() {
        let mut call = call(&block_at(ISTHMUS));
        call.execution_requests = Some(vec![Bytes::from_static(&[0, 1])]);
        assert_eq!(receive(call).unwrap_err().code(), -32602);
    }

    #[test]
    fn expected_blobs_make_the_block_invalid() {
        for timestamp in [ECOTONE, ISTHMUS] {
            let mut call = call(&block_at(timestamp));
            call.versioned_hashes = Some(vec![B256::repeat_byte(1)]);
            assert!(invalid(call).contains("blob"));
        }
    }

    #[test]
    fn a_wrong_hash_makes_the_block_invalid() {
        for timestamp in [BEDROCK, CANYON, ECOTONE, ISTHMUS] {
            let mut call = call(&block_at(timestamp));
            call.payload.block_hash = B256::repeat_byte(9);
            assert!(invalid(call).contains("hash"));
        }
    }

    #[test]
    fn another_beacon_root_is_another_block() {
        let mut call = call(&block_at(ISTHMUS));
        call.parent_beacon_block_root = Some(B256::ZERO);
        assert!(invalid(call).contains("hash"));
    }

    #[test]
    fn withdrawals_make_the_block_invalid() {
        let mut call = call(&block_at(ISTHMUS));
        call.payload.withdrawals = Some(vec![Withdrawal::default()]);
        assert!(invalid(call).contains("withdrawals"));
    }

    #[test]
    fn extra_data_beyond_32_bytes_makes_the_block_invalid() {
        let mut call = call(&block_at(ISTHMUS));
        call.payload.extra_data = vec![0; 33].into();
        assert!(invalid(call).contains("extra data"));
    }

    #[test]
    fn a_base_fee_beyond_64_bits_makes_the_block_invalid() {
        let mut call = call(&block_at(ISTHMUS));
        call.payload.base_fee_per_gas = U256::MAX;
        assert!(invalid(call).contains("base fee"));
    }

    #[test]
    fn transactions_that_are_none_make_the_block_invalid() {
        let blob = [&[3][..], &signed()[1..]].concat();
        for bytes in [Bytes::new(), Bytes::from_static(&[0x7e]), Bytes::from_static(b"junk"), blob.into()] {
            let mut call = call(&block_at(ISTHMUS));
            call.payload.transactions.push(bytes);
            let gossip = call.payload.clone().into_gossip(PayloadVersion::V4, B256::repeat_byte(6));
            call.payload.block_hash = gossip.header().unwrap().hash_slow();
            assert!(invalid(call).contains("transaction 1"));
        }
    }

    proptest! {
        #[test]
        fn no_other_content_passes_under_the_hash(timestamp in prop::sample::select(vec![ECOTONE, ISTHMUS]), field in 0usize..12) {
            let mut call = call(&block_at(timestamp));
            let payload = &mut call.payload;
            match field {
                0 => payload.parent_hash = B256::ZERO,
                1 => payload.fee_recipient = Default::default(),
                2 => payload.state_root = B256::ZERO,
                3 => payload.receipts_root = B256::ZERO,
                4 => payload.logs_bloom = Default::default(),
                5 => payload.prev_randao = B256::ZERO,
                6 => payload.block_number += 1,
                7 => payload.gas_limit += 1,
                8 => payload.gas_used += 1,
                9 => payload.timestamp += 1,
                10 => payload.extra_data = Bytes::new(),
                _ => payload.transactions.clear(),
            }
            prop_assert!(invalid(call).contains("hash"));
        }
    }
}
