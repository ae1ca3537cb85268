//! The SSZ form of payloads: a part of fixed length with offsets, then extra data, transactions and withdrawals.
//!
//! Source: consensus-specs, `ExecutionPayload` of Bellatrix, Capella and Deneb; rollup-node-p2p.md for `withdrawalsRoot`. Read
//! strictly: every offset where the part before it ends, no byte left over.

use crate::{payload::Payload, topics::PayloadVersion};
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};

/// Longest extra data (consensus-specs, `MAX_EXTRA_DATA_BYTES`).
const MAX_EXTRA_DATA: usize = 32;
/// Most transactions (consensus-specs, `MAX_TRANSACTIONS_PER_PAYLOAD`).
const MAX_TRANSACTIONS: usize = 1 << 20;
/// Most withdrawals (consensus-specs, `MAX_WITHDRAWALS_PER_PAYLOAD`).
const MAX_WITHDRAWALS: usize = 16;
/// Bytes of a withdrawal: index, validator, address, amount.
const WITHDRAWAL: usize = 44;
/// Bytes of an offset.
const OFFSET: usize = 4;

/// Bytes that are no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SszError {
    /// The end comes too soon.
    #[error("the bytes end within the payload")]
    Short,
    /// An offset does not point to where its part must begin.
    #[error("the offset {0} is not where its part must begin")]
    Offset(usize),
    /// A part is longer than it may be.
    #[error("{0} is longer than allowed")]
    TooLong(&'static str),
    /// A list of fixed pieces does not consist of whole ones.
    #[error("the withdrawals end within one")]
    Withdrawals,
}

/// Bytes of the fixed part.
pub(crate) const fn fixed(version: PayloadVersion) -> usize {
    match version {
        PayloadVersion::V1 => 508,
        PayloadVersion::V2 => 512,
        PayloadVersion::V3 => 528,
        PayloadVersion::V4 => 560,
    }
}

fn offset_at(bytes: &[u8], at: usize) -> Result<usize, SszError> {
    let chunk = bytes.get(at..).and_then(<[u8]>::first_chunk::<OFFSET>).ok_or(SszError::Short)?;
    usize::try_from(u32::from_le_bytes(*chunk)).map_err(|_| SszError::Short)
}

/// Where the offset of the extra data stands: after parent hash to timestamp.
const EXTRA_DATA_OFFSET_AT: usize = 32 + 20 + 32 + 32 + 256 + 32 + 4 * 8;

/// Of the two forms before Ecotone the one that these bytes have; the first offset is the length of the fixed part.
pub(crate) fn early_version(bytes: &[u8]) -> Result<PayloadVersion, SszError> {
    match offset_at(bytes, EXTRA_DATA_OFFSET_AT)? {
        508 => Ok(PayloadVersion::V1),
        512 => Ok(PayloadVersion::V2),
        other => Err(SszError::Offset(other)),
    }
}

/// Appends a payload. `out` may hold other bytes already.
pub(crate) fn encode(payload: &Payload, out: &mut Vec<u8>) {
    let version = payload.version;
    let mut next = fixed(version);
    // No payload that is sent is anywhere near 4 GiB: the message limit is 10 MiB.
    let mut offset = |out: &mut Vec<u8>, length: usize| {
        out.extend_from_slice(&u32::try_from(next).unwrap_or(u32::MAX).to_le_bytes());
        next += length;
    };
    let transactions: usize = payload.transactions.iter().map(|tx| OFFSET + tx.len()).sum();
    out.reserve(fixed(version) + payload.extra_data.len() + transactions);
    out.extend_from_slice(payload.parent_hash.as_slice());
    out.extend_from_slice(payload.fee_recipient.as_slice());
    out.extend_from_slice(payload.state_root.as_slice());
    out.extend_from_slice(payload.receipts_root.as_slice());
    out.extend_from_slice(payload.logs_bloom.as_slice());
    out.extend_from_slice(payload.prev_randao.as_slice());
    for number in [payload.number, payload.gas_limit, payload.gas_used, payload.timestamp] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    offset(out, payload.extra_data.len());
    out.extend_from_slice(&payload.base_fee_per_gas.to_le_bytes::<32>());
    out.extend_from_slice(payload.hash.as_slice());
    offset(out, transactions);
    if version >= PayloadVersion::V2 {
        offset(out, payload.withdrawals.len() * WITHDRAWAL);
    }
    if version >= PayloadVersion::V3 {
        out.extend_from_slice(&payload.blob_gas_used.to_le_bytes());
        out.extend_from_slice(&payload.excess_blob_gas.to_le_bytes());
    }
    if version >= PayloadVersion::V4 {
        out.extend_from_slice(payload.withdrawals_root.as_slice());
    }
    out.extend_from_slice(&payload.extra_data);
    let mut at = payload.transactions.len() * OFFSET;
    for tx in &payload.transactions {
        out.extend_from_slice(&u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes());
        at += tx.len();
    }
    for tx in &payload.transactions {
        out.extend_from_slice(tx);
    }
    if version >= PayloadVersion::V2 {
        for withdrawal in &payload.withdrawals {
            out.extend_from_slice(&withdrawal.index.to_le_bytes());
            out.extend_from_slice(&withdrawal.validator_index.to_le_bytes());
            out.extend_from_slice(withdrawal.address.as_slice());
            out.extend_from_slice(&withdrawal.amount.to_le_bytes());
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SszError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SszError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn hash(&mut self) -> Result<B256, SszError> {
        self.array().map(B256::from)
    }

    fn number(&mut self) -> Result<u64, SszError> {
        self.array().map(u64::from_le_bytes)
    }

    fn offset(&mut self) -> Result<usize, SszError> {
        self.array().and_then(|bytes| usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| SszError::Short))
    }
}

/// Reads a payload that fills `bytes`. Transactions share their memory. The beacon root is left at zero: it stands outside.
pub(crate) fn decode(version: PayloadVersion, bytes: &Bytes) -> Result<Payload, SszError> {
    let mut reader = Reader(bytes);
    let parent_hash = reader.hash()?;
    let fee_recipient = Address::from(reader.array()?);
    let state_root = reader.hash()?;
    let receipts_root = reader.hash()?;
    let logs_bloom = Bloom::from(reader.array::<256>()?);
    let prev_randao = reader.hash()?;
    let number = reader.number()?;
    let gas_limit = reader.number()?;
    let gas_used = reader.number()?;
    let timestamp = reader.number()?;
    let extra_from = reader.offset()?;
    let base_fee_per_gas = U256::from_le_bytes(reader.array::<32>()?);
    let hash = reader.hash()?;
    let transactions_from = reader.offset()?;
    let withdrawals_from = if version >= PayloadVersion::V2 { reader.offset()? } else { bytes.len() };
    let (mut blob_gas_used, mut excess_blob_gas) = (0, 0);
    if version >= PayloadVersion::V3 {
        (blob_gas_used, excess_blob_gas) = (reader.number()?, reader.number()?);
    }
    let withdrawals_root = if version >= PayloadVersion::V4 { reader.hash()? } else { B256::ZERO };

    if extra_from != fixed(version) {
        return Err(SszError::Offset(extra_from));
    }
    let part = |from: usize, to: usize| {
        if from > to || to > bytes.len() { Err(SszError::Offset(from)) } else { Ok(bytes.slice(from..to)) }
    };
    let extra_data = part(extra_from, transactions_from)?;
    if extra_data.len() > MAX_EXTRA_DATA {
        return Err(SszError::TooLong("the extra data"));
    }
    // It must not keep the whole message alive.
    let extra_data = Bytes::copy_from_slice(&extra_data);
    let transactions = transactions(&part(transactions_from, withdrawals_from)?)?;
    let withdrawals = withdrawals(&part(withdrawals_from, bytes.len())?)?;
    Ok(Payload {
        version,
        parent_hash,
        fee_recipient,
        state_root,
        receipts_root,
        logs_bloom,
        prev_randao,
        number,
        gas_limit,
        gas_used,
        timestamp,
        extra_data,
        base_fee_per_gas,
        hash,
        transactions,
        withdrawals,
        blob_gas_used,
        excess_blob_gas,
        withdrawals_root,
        parent_beacon_block_root: B256::ZERO,
    })
}

/// A list of lists: offsets of all, then all.
fn transactions(bytes: &Bytes) -> Result<Vec<Bytes>, SszError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let first = offset_at(bytes, 0)?;
    if first == 0 || first % OFFSET != 0 || first > bytes.len() {
        return Err(SszError::Offset(first));
    }
    let count = first / OFFSET;
    if count > MAX_TRANSACTIONS {
        return Err(SszError::TooLong("the list of transactions"));
    }
    let mut list = Vec::with_capacity(count);
    let mut from = first;
    for index in 1..=count {
        let to = if index == count { bytes.len() } else { offset_at(bytes, index * OFFSET)? };
        if to < from || to > bytes.len() {
            return Err(SszError::Offset(to));
        }
        list.push(bytes.slice(from..to));
        from = to;
    }
    Ok(list)
}

fn withdrawals(bytes: &[u8]) -> Result<Vec<Withdrawal>, SszError> {
    if !bytes.len().is_multiple_of(WITHDRAWAL) {
        return Err(SszError::Withdrawals);
    }
    if bytes.len() > MAX_WITHDRAWALS * WITHDRAWAL {
        return Err(SszError::TooLong("the list of withdrawals"));
    }
    let read = |chunk| {
        let mut reader = Reader(chunk);
        Ok(Withdrawal {
            index: reader.number()?,
            validator_index: reader.number()?,
            address: Address::from(reader.array()?),
            amount: reader.number()?,
        })
    };
    bytes.chunks_exact(WITHDRAWAL).map(read).collect()
}
