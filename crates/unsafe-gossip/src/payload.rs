//! A block as peers send it.

use crate::{
    ssz::{self, SszError},
    topics::PayloadVersion,
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, Sealable as _};
use alloy_eips::{eip4895::Withdrawal, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256};
use alloy_trie::{EMPTY_ROOT_HASH, root::ordered_trie_root_with_encoder};
use duskevm_evm::{Block, BlockDecodeError, recover_all};

/// A block as peers send it: the execution payload of its version, with the parent beacon block root that travels before it.
///
/// What a version does not have is empty or zero, and not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its form.
    pub version: PayloadVersion,
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
    pub number: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Unix seconds.
    pub timestamp: u64,
    /// Extra data, at most 32 bytes.
    pub extra_data: Bytes,
    /// Base fee in wei.
    pub base_fee_per_gas: U256,
    /// What the sender says the block's hash is.
    pub hash: B256,
    /// Transactions in their EIP-2718 form.
    pub transactions: Vec<Bytes>,
    /// Withdrawals, of which no L2 block has any. From V2 on.
    pub withdrawals: Vec<Withdrawal>,
    /// Zero, or from Jovian on the DA footprint. From V3 on.
    pub blob_gas_used: u64,
    /// Zero. From V3 on.
    pub excess_blob_gas: u64,
    /// Storage root of the message passer. From V4 on.
    pub withdrawals_root: B256,
    /// Of the L1 origin; zero is a value like others here. From V3 on.
    pub parent_beacon_block_root: B256,
}

/// Why a payload is no block of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not the SSZ form of a payload.
    #[error("not an SSZ payload: {0}")]
    Ssz(#[from] SszError),
    /// More than any base fee.
    #[error("a base fee of {0} wei does not fit 64 bits")]
    BaseFee(U256),
    /// It has withdrawals.
    #[error("the block has {0} withdrawals, and L2 blocks have none")]
    Withdrawals(usize),
    /// The hash is that of another block.
    #[error("the block's hash is {computed}, not {named}")]
    Hash {
        /// What the content hashes to.
        computed: B256,
        /// What the sender says.
        named: B256,
    },
    /// A transaction cannot be decoded, or nobody signed it.
    #[error(transparent)]
    Transactions(BlockDecodeError),
}

impl Payload {
    /// The payload of a block.
    pub fn from_block(block: &Block) -> Self {
        let header = block.header.inner();
        let version = if header.requests_hash.is_some() {
            PayloadVersion::V4
        } else if header.parent_beacon_block_root.is_some() {
            PayloadVersion::V3
        } else if header.withdrawals_root.is_some() {
            PayloadVersion::V2
        } else {
            PayloadVersion::V1
        };
        let withdrawals_root = match version {
            PayloadVersion::V4 => header.withdrawals_root.unwrap_or_default(),
            _ => B256::ZERO,
        };
        Self {
            version,
            parent_hash: header.parent_hash,
            fee_recipient: header.beneficiary,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            logs_bloom: header.logs_bloom,
            prev_randao: header.mix_hash,
            number: header.number,
            gas_limit: header.gas_limit,
            gas_used: header.gas_used,
            timestamp: header.timestamp,
            extra_data: header.extra_data.clone(),
            base_fee_per_gas: U256::from(header.base_fee_per_gas.unwrap_or_default()),
            hash: block.hash(),
            transactions: block.transactions.iter().map(|tx| tx.encoded().clone()).collect(),
            withdrawals: Vec::new(),
            blob_gas_used: header.blob_gas_used.unwrap_or_default(),
            excess_blob_gas: header.excess_blob_gas.unwrap_or_default(),
            withdrawals_root,
            parent_beacon_block_root: header.parent_beacon_block_root.unwrap_or_default(),
        }
    }

    /// The header that the content makes, whatever hash was named.
    ///
    /// From Isthmus on the hash of the (empty) list of requests is part of it, though it does not travel.
    ///
    /// # Errors
    /// [`PayloadError::BaseFee`], [`PayloadError::Withdrawals`].
    pub fn header(&self) -> Result<Header, PayloadError> {
        let since = |version: PayloadVersion| self.version >= version;
        if !self.withdrawals.is_empty() {
            return Err(PayloadError::Withdrawals(self.withdrawals.len()));
        }
        let base_fee =
            u64::try_from(self.base_fee_per_gas).map_err(|_| PayloadError::BaseFee(self.base_fee_per_gas))?;
        let withdrawals_root = match self.version {
            PayloadVersion::V1 => None,
            PayloadVersion::V2 | PayloadVersion::V3 => Some(EMPTY_ROOT_HASH),
            PayloadVersion::V4 => Some(self.withdrawals_root),
        };
        Ok(Header {
            parent_hash: self.parent_hash,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: self.fee_recipient,
            state_root: self.state_root,
            transactions_root: ordered_trie_root_with_encoder(&self.transactions, |tx, out| out.extend_from_slice(tx)),
            receipts_root: self.receipts_root,
            logs_bloom: self.logs_bloom,
            difficulty: U256::ZERO,
            number: self.number,
            gas_limit: self.gas_limit,
            gas_used: self.gas_used,
            timestamp: self.timestamp,
            extra_data: self.extra_data.clone(),
            mix_hash: self.prev_randao,
            nonce: B64::ZERO,
            base_fee_per_gas: Some(base_fee),
            withdrawals_root,
            blob_gas_used: since(PayloadVersion::V3).then_some(self.blob_gas_used),
            excess_blob_gas: since(PayloadVersion::V3).then_some(self.excess_blob_gas),
            parent_beacon_block_root: since(PayloadVersion::V3).then_some(self.parent_beacon_block_root),
            requests_hash: since(PayloadVersion::V4).then_some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        })
    }

    /// Whether the content has the hash that was named.
    ///
    /// # Errors
    /// [`PayloadError::Hash`], and what [`header`](Self::header) refuses.
    pub fn check_hash(&self) -> Result<(), PayloadError> {
        let computed = self.header()?.hash_slow();
        if computed == self.hash { Ok(()) } else { Err(PayloadError::Hash { computed, named: self.hash }) }
    }

    /// The block, with all senders recovered; takes some tens of microseconds for each transaction.
    ///
    /// # Errors
    /// See [`PayloadError`].
    pub fn to_block(&self) -> Result<Block, PayloadError> {
        let header = self.header()?.seal_slow();
        if header.hash() != self.hash {
            return Err(PayloadError::Hash { computed: header.hash(), named: self.hash });
        }
        let transactions = recover_all(&self.transactions).map_err(PayloadError::Transactions)?;
        Ok(Block { header, transactions })
    }

    /// Bytes that it takes in memory, about.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.transactions.iter().map(|tx| size_of::<Bytes>() + tx.len()).sum::<usize>()
    }

    /// What is signed and sent: from V3 on the beacon root first, then the SSZ payload.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.version >= PayloadVersion::V3 {
            out.extend_from_slice(self.parent_beacon_block_root.as_slice());
        }
        ssz::encode(self, &mut out);
        out
    }

    /// The inverse of [`body`](Self::body).
    ///
    /// # Errors
    /// [`PayloadError::Ssz`]. Nothing but the form is checked.
    pub fn from_body(version: PayloadVersion, body: &Bytes) -> Result<Self, PayloadError> {
        if version < PayloadVersion::V3 {
            return Ok(ssz::decode(version, body)?);
        }
        let root = body.first_chunk::<32>().copied().ok_or(SszError::Short)?;
        let payload = ssz::decode(version, &body.slice(root.len()..))?;
        Ok(Self { parent_beacon_block_root: root.into(), ..payload })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use alloy_primitives::TxKind;
    use duskevm_evm::{ChainSpec, Eip1559Constants, ForkTimes, RecoveredTx};
    use op_alloy_consensus::TxDeposit;
    use proptest::prelude::*;
    use std::sync::Arc;

    pub(crate) const CHAIN: u64 = 745;

    pub(crate) fn spec(times: ForkTimes) -> ChainSpec {
        ChainSpec::new(CHAIN, times, Eip1559Constants::default()).unwrap()
    }

    /// A chain on which Isthmus is active from the beginning, and Jovian from there on.
    pub(crate) fn isthmus(jovian: Option<u64>) -> ChainSpec {
        let zero = Some(0);
        spec(ForkTimes {
            regolith: zero,
            canyon: zero,
            ecotone: zero,
            fjord: zero,
            granite: zero,
            holocene: zero,
            isthmus: zero,
            jovian,
        })
    }

    /// A block with this form, number, parent and time, whose deposit carries some bytes.
    pub(crate) fn block(version: PayloadVersion, number: u64, parent: B256, timestamp: u64, input: &[u8]) -> Block {
        let deposit = TxDeposit { to: TxKind::Call(Address::ZERO), input: input.to_vec().into(), ..Default::default() };
        let tx = Arc::new(RecoveredTx::deposit(deposit));
        let empty = Payload {
            version,
            parent_hash: parent,
            fee_recipient: Address::repeat_byte(0x42),
            state_root: B256::repeat_byte(1),
            receipts_root: B256::repeat_byte(2),
            logs_bloom: Bloom::repeat_byte(3),
            prev_randao: B256::repeat_byte(4),
            number,
            gas_limit: 60_000_000,
            gas_used: 21_000,
            timestamp,
            extra_data: Bytes::from_static(&[0, 0, 0, 0, 250, 0, 0, 0, 6]),
            base_fee_per_gas: U256::from(7),
            hash: B256::ZERO,
            transactions: vec![tx.encoded().clone()],
            withdrawals: Vec::new(),
            blob_gas_used: 0,
            excess_blob_gas: 0,
            withdrawals_root: B256::repeat_byte(5),
            parent_beacon_block_root: B256::ZERO,
        };
        Block { header: empty.header().unwrap().seal_slow(), transactions: vec![tx] }
    }

    pub(crate) fn version() -> impl Strategy<Value = PayloadVersion> {
        prop::sample::select(PayloadVersion::ALL.to_vec())
    }

    prop_compose! {
        /// Any payload that can be written, its hash right or not.
        pub(crate) fn payload()(
            version in version(),
            hashes in any::<[[u8; 32]; 7]>(),
            recipient in any::<[u8; 20]>(),
            numbers in any::<[u64; 6]>(),
            extra in prop::collection::vec(any::<u8>(), 0..=32),
            fee in any::<[u64; 4]>(),
            transactions in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5),
            withdrawals in prop::collection::vec(any::<(u64, u64, [u8; 20], u64)>(), 0..3),
        ) -> Payload {
            let [parent, state, receipts, randao, hash, root, beacon] = hashes.map(B256::from);
            let [number, gas_limit, gas_used, timestamp, blob_gas_used, excess_blob_gas] = numbers;
            let (v2, v3, v4) = (
                version >= PayloadVersion::V2, version >= PayloadVersion::V3, version >= PayloadVersion::V4,
            );
            let withdrawals = withdrawals.into_iter().map(|(index, validator_index, address, amount)| Withdrawal {
                index, validator_index, address: address.into(), amount,
            });
            Payload {
                version,
                parent_hash: parent,
                fee_recipient: recipient.into(),
                state_root: state,
                receipts_root: receipts,
                logs_bloom: Bloom::repeat_byte(numbers[0] as u8),
                prev_randao: randao,
                number, gas_limit, gas_used, timestamp,
                extra_data: extra.into(),
                base_fee_per_gas: U256::from_limbs(fee),
                hash,
                transactions: transactions.into_iter().map(Bytes::from).collect(),
                withdrawals: if v2 { withdrawals.collect() } else { Vec::new() },
                blob_gas_used: if v3 { blob_gas_used } else { 0 },
                excess_blob_gas: if v3 { excess_blob_gas } else { 0 },
                withdrawals_root: if v4 { root } else { B256::ZERO },
                parent_beacon_block_root: if v3 { beacon } else { B256::ZERO },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};
    use proptest::prelude::*;

    #[test]
    fn a_block_comes_back_with_its_hash() {
        for version in PayloadVersion::ALL {
            let block = block(version, 9, B256::repeat_byte(8), 1_700_000_000, b"input");
            let payload = Payload::from_block(&block);
            assert_eq!(payload.version, version);
            let read = Payload::from_body(version, &payload.body().into()).unwrap();
            assert_eq!(read, payload);
            assert_eq!(read.to_block().unwrap(), block);
        }
    }

    #[test]
    fn a_zero_beacon_root_is_a_root() {
        let block = block(PayloadVersion::V4, 9, B256::ZERO, 1, b"");
        assert_eq!(block.header.parent_beacon_block_root, Some(B256::ZERO));
        let read = Payload::from_body(PayloadVersion::V4, &Payload::from_block(&block).body().into()).unwrap();
        assert_eq!(read.header().unwrap().parent_beacon_block_root, Some(B256::ZERO));
    }

    #[test]
    fn the_isthmus_header_has_the_empty_requests_hash_and_the_withdrawals_root() {
        let payload = Payload::from_block(&block(PayloadVersion::V4, 9, B256::ZERO, 1, b""));
        let header = payload.header().unwrap();
        assert_eq!(header.requests_hash, Some(EMPTY_REQUESTS_HASH));
        assert_eq!(header.withdrawals_root, Some(B256::repeat_byte(5)));
    }

    #[test]
    fn another_content_has_another_hash() {
        let payload = Payload::from_block(&block(PayloadVersion::V4, 9, B256::ZERO, 1, b""));
        let other = Payload { gas_used: 0, ..payload.clone() };
        assert!(matches!(other.check_hash(), Err(PayloadError::Hash { named, .. }) if named == payload.hash));
        assert!(matches!(other.to_block(), Err(PayloadError::Hash { .. })));
        payload.check_hash().unwrap();
        let rich = Payload { base_fee_per_gas: U256::MAX, ..payload };
        assert_eq!(rich.check_hash(), Err(PayloadError::BaseFee(U256::MAX)));
    }

    proptest! {
        #[test]
        fn payloads_are_read_as_they_were_written(payload in payload()) {
            let body = Bytes::from(payload.body());
            prop_assert_eq!(Payload::from_body(payload.version, &body).unwrap(), payload);
        }

        #[test]
        fn what_can_be_read_is_written_the_same(payload in payload(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut body = payload.body();
            let at = at.index(body.len());
            body[at] = byte;
            let body = Bytes::from(body);
            if let Ok(read) = Payload::from_body(payload.version, &body) {
                prop_assert_eq!(read.body(), body);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(version in version(), body in prop::collection::vec(any::<u8>(), 0..900)) {
            let _ = Payload::from_body(version, &body.into());
        }

        #[test]
        fn a_part_of_a_payload_is_none(payload in payload(), cut in 1usize..40) {
            let body = Bytes::from(payload.body());
            let short = body.slice(..body.len() - cut);
            if let Ok(read) = Payload::from_body(payload.version, &short) {
                prop_assert_ne!(read, payload);
            }
        }
    }
}
