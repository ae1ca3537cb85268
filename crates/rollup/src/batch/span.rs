//! Span batches: consecutive L2 blocks in columns.
//!
//! ```text
//! prefix : rel_timestamp uvarint   first block's time - genesis.l2_time
//!          l1_origin_num uvarint   L1 origin of the last block
//!          parent_check  [20]      hash of the first block's parent, shortened
//!          l1_origin_check [20]    hash of the last block's L1 origin, shortened
//! payload: block_count uvarint
//!          origin_bits bit list    the block has another origin than the block before it
//!          block_tx_counts uvarint per block
//!          contract_creation_bits, y_parity_bits  bit lists over all transactions
//!          tx_sigs 64 bytes per transaction
//!          tx_tos  20 bytes per transaction with a recipient
//!          tx_datas, tx_nonces uvarint, tx_gases uvarint  per transaction
//!          protected_bits bit list over the legacy transactions
//! ```
//! Source: OP Stack specification, delta/span-batches.md.

use super::{
    bits::{bit, byte_len, count_ones, fits},
    reader::{ReadError, take, take_array, take_uvarint},
    tx_data::{TxData, TxDataError, TxKind, TxParts},
};
use crate::config::RollupConfig;
use alloc::vec::Vec;
use alloy_primitives::Bytes;

/// Most blocks and most transactions of a span batch.
pub const MAX_SPAN_BATCH_ELEMENTS: u64 = 10_000_000;

/// Bytes that are no span batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpanBatchError {
    /// The bytes end too early.
    #[error("the batch ends within {0}")]
    Truncated(&'static str),
    /// A number of more than 64 bits.
    #[error("a number of {0} has more than 64 bits")]
    Overflow(&'static str),
    /// A span of no blocks.
    #[error("the batch has no blocks")]
    Empty,
    /// Too many elements.
    #[error("the batch announces {count} {what}, at most {MAX_SPAN_BATCH_ELEMENTS} are allowed")]
    TooMany {
        /// Blocks or transactions.
        what: &'static str,
        /// How many.
        count: u64,
    },
    /// A bit list with more bits than items.
    #[error("the bit list {0} has a bit behind its last item")]
    Bits(&'static str),
    /// A transaction.
    #[error("transaction {index}: {source}")]
    Tx {
        /// Its place in the batch, from 0.
        index: u64,
        /// What is wrong with it.
        source: TxDataError,
    },
}

fn in_column(column: &'static str) -> impl Fn(ReadError) -> SpanBatchError {
    move |error| match error {
        ReadError::Truncated => SpanBatchError::Truncated(column),
        ReadError::Overflow => SpanBatchError::Overflow(column),
    }
}

/// Where the columns begin, in bytes from the front of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    origin_bits: usize,
    tx_counts: usize,
    creation_bits: usize,
    y_parity_bits: usize,
    signatures: usize,
    recipients: usize,
    datas: usize,
    nonces: usize,
    gases: usize,
    protected_bits: usize,
}

/// A span batch that was read and found well-formed.
///
/// It holds the bytes that it came in and nothing else that grows with them: [`Self::blocks`] rebuilds blocks one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanBatch {
    body: Bytes,
    rel_timestamp: u64,
    l1_origin_number: u64,
    parent_check: [u8; 20],
    l1_origin_check: [u8; 20],
    block_count: u64,
    tx_count: u64,
    legacy_count: u64,
    start_epoch: u64,
    columns: Columns,
}

struct Decoder<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    const fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    fn uvarint(&mut self, column: &'static str) -> Result<u64, SpanBatchError> {
        take_uvarint(&mut self.rest).map_err(in_column(column))
    }

    fn bytes(&mut self, len: u64, column: &'static str) -> Result<&'a [u8], SpanBatchError> {
        let len = usize::try_from(len).map_err(|_| SpanBatchError::Truncated(column))?;
        take(&mut self.rest, len).map_err(in_column(column))
    }

    fn bits(&mut self, len: u64, column: &'static str) -> Result<&'a [u8], SpanBatchError> {
        let bytes = self.bytes(byte_len(len), column)?;
        if fits(bytes, len) { Ok(bytes) } else { Err(SpanBatchError::Bits(column)) }
    }
}

const fn at_most(what: &'static str, count: u64) -> Result<u64, SpanBatchError> {
    if count > MAX_SPAN_BATCH_ELEMENTS { Err(SpanBatchError::TooMany { what, count }) } else { Ok(count) }
}

impl SpanBatch {
    /// Reads the body of a batch, without its version byte. All of it is walked once and nothing is copied; bytes behind the last
    /// column are ignored.
    ///
    /// # Errors
    /// See [`SpanBatchError`].
    pub fn decode(body: Bytes) -> Result<Self, SpanBatchError> {
        let mut from = Decoder { len: body.len(), rest: &body };
        let rel_timestamp = from.uvarint("rel_timestamp")?;
        let l1_origin_number = from.uvarint("l1_origin_num")?;
        let parent_check = take_array(&mut from.rest).map_err(in_column("parent_check"))?;
        let l1_origin_check = take_array(&mut from.rest).map_err(in_column("l1_origin_check"))?;

        let block_count = at_most("blocks", from.uvarint("block_count")?)?;
        if block_count == 0 {
            return Err(SpanBatchError::Empty);
        }
        let origin_bits_at = from.position();
        let origin_bits = from.bits(block_count, "origin_bits")?;
        let steps = count_ones(origin_bits) - u64::from(bit(origin_bits, 0));
        let tx_counts = from.position();
        let mut tx_count = 0u64;
        for _ in 0..block_count {
            let of_block = at_most("transactions", from.uvarint("block_tx_counts")?)?;
            tx_count = at_most("transactions", tx_count + of_block)?;
        }

        let creation_bits_at = from.position();
        let creation_bits = from.bits(tx_count, "contract_creation_bits")?;
        let y_parity_bits = from.position();
        from.bits(tx_count, "y_parity_bits")?;
        let signatures = from.position();
        from.bytes(tx_count * 64, "tx_sigs")?;
        let recipients = from.position();
        from.bytes((tx_count - count_ones(creation_bits)) * 20, "tx_tos")?;
        let datas = from.position();
        let mut legacy_count = 0;
        for index in 0..tx_count {
            let tx = |source| SpanBatchError::Tx { index, source };
            let data = TxData::take(&mut from.rest).map_err(tx)?;
            data.check().map_err(tx)?;
            match data.kind {
                TxKind::Legacy => legacy_count += 1,
                TxKind::SetCode if bit(creation_bits, index as usize) => return Err(tx(TxDataError::NoRecipient)),
                _ => {}
            }
        }
        let nonces = from.position();
        for _ in 0..tx_count {
            from.uvarint("tx_nonces")?;
        }
        let gases = from.position();
        for _ in 0..tx_count {
            from.uvarint("tx_gases")?;
        }
        let protected_bits = from.position();
        from.bits(legacy_count, "protected_bits")?;

        let columns = Columns {
            origin_bits: origin_bits_at,
            tx_counts,
            creation_bits: creation_bits_at,
            y_parity_bits,
            signatures,
            recipients,
            datas,
            nonces,
            gases,
            protected_bits,
        };
        let end = from.position();
        Ok(Self {
            body: body.slice(..end),
            rel_timestamp,
            l1_origin_number,
            parent_check,
            l1_origin_check,
            block_count,
            tx_count,
            legacy_count,
            // Wraps as op-node does it: such a batch then fails the checks of its epoch.
            start_epoch: l1_origin_number.wrapping_sub(steps),
            columns,
        })
    }

    /// The bytes of the batch without its version byte.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// How many blocks it has, at least one.
    pub const fn block_count(&self) -> u64 {
        self.block_count
    }

    /// How many transactions all its blocks have.
    pub const fn tx_count(&self) -> u64 {
        self.tx_count
    }

    /// Number of the first block's L1 origin.
    pub const fn start_epoch(&self) -> u64 {
        self.start_epoch
    }

    /// Number of the last block's L1 origin.
    pub const fn last_epoch(&self) -> u64 {
        self.l1_origin_number
    }

    /// First 20 bytes of the hash of the first block's parent.
    pub const fn parent_check(&self) -> &[u8; 20] {
        &self.parent_check
    }

    /// First 20 bytes of the hash of the last block's L1 origin.
    pub const fn l1_origin_check(&self) -> &[u8; 20] {
        &self.l1_origin_check
    }

    /// Does the first block have another L1 origin than its parent?
    pub fn begins_epoch(&self) -> bool {
        bit(self.column(self.columns.origin_bits, self.columns.tx_counts), 0)
    }

    /// Time of the first block in seconds. Wraps around, as op-node does it.
    pub const fn first_timestamp(&self, config: &RollupConfig) -> u64 {
        config.genesis.l2_time.wrapping_add(self.rel_timestamp)
    }

    /// Time of the last block in seconds.
    pub const fn last_timestamp(&self, config: &RollupConfig) -> u64 {
        self.first_timestamp(config).wrapping_add((self.block_count - 1).wrapping_mul(config.block_time))
    }

    /// The blocks from the first one on. Each one costs what its own transactions cost.
    pub fn blocks(&self, config: &RollupConfig) -> SpanBlocks {
        SpanBlocks {
            chain_id: config.l2_chain_id,
            block_time: config.block_time,
            timestamp: self.first_timestamp(config),
            epoch_number: self.start_epoch,
            block: 0,
            tx: 0,
            legacy: 0,
            counts: self.columns.tx_counts,
            recipients: self.columns.recipients,
            datas: self.columns.datas,
            nonces: self.columns.nonces,
            gases: self.columns.gases,
            batch: self.clone(),
        }
    }

    fn column(&self, from: usize, to: usize) -> &[u8] {
        self.body.get(from..to).unwrap_or_default()
    }
}

/// One block of a span batch. Its parent is the block before it, its epoch's hash is that of the L1 block of this number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanBlock {
    /// Its time in seconds.
    pub timestamp: u64,
    /// Number of its L1 origin.
    pub epoch_number: u64,
    /// Its transactions without the deposits, as EIP-2718 bytes. They share one allocation.
    pub transactions: Vec<Bytes>,
}

/// The blocks of a span batch, rebuilt one at a time.
#[derive(Debug, Clone)]
pub struct SpanBlocks {
    batch: SpanBatch,
    chain_id: u64,
    block_time: u64,
    /// Of the next block.
    timestamp: u64,
    /// Of the next block.
    epoch_number: u64,
    /// Of the next block, in the batch.
    block: u64,
    /// Of the next transaction, in the batch.
    tx: usize,
    /// Of the next legacy transaction among those.
    legacy: usize,
    counts: usize,
    recipients: usize,
    datas: usize,
    nonces: usize,
    gases: usize,
}

/// The columns that are walked from value to value.
struct Walk<'a> {
    recipients: &'a [u8],
    datas: &'a [u8],
    nonces: &'a [u8],
    gases: &'a [u8],
}

impl SpanBlocks {
    /// Time of the block that comes next, in seconds; `None` behind the last one.
    pub fn next_timestamp(&self) -> Option<u64> {
        (self.block < self.batch.block_count).then_some(self.timestamp)
    }

    /// Number of the L1 origin of the block that comes next; `None` behind the last one.
    pub fn next_epoch(&self) -> Option<u64> {
        (self.block < self.batch.block_count).then_some(self.epoch_number)
    }

    /// Leaves out the next block without building its transactions.
    pub fn skip_block(&mut self) {
        self.step(false);
    }

    fn step(&mut self, build: bool) -> Option<SpanBlock> {
        if self.block >= self.batch.block_count {
            return None;
        }
        let batch = &self.batch;
        let columns = &batch.columns;
        let body: &[u8] = &batch.body;
        let mut counts = body.get(self.counts..columns.creation_bits)?;
        // The columns were walked when the batch was read, so what is taken here is there.
        let count = usize::try_from(take_uvarint(&mut counts).ok()?).ok()?;
        let mut walk = Walk {
            recipients: body.get(self.recipients..columns.datas)?,
            datas: body.get(self.datas..columns.nonces)?,
            nonces: body.get(self.nonces..columns.gases)?,
            gases: body.get(self.gases..columns.protected_bits)?,
        };
        let (mut tx, mut legacy) = (self.tx, self.legacy);
        let transactions = if build {
            self.build(count, &mut walk, &mut tx, &mut legacy)?
        } else {
            self.pass(count, &mut walk, &mut tx, &mut legacy)?
        };
        let (recipients, datas) = (columns.datas - walk.recipients.len(), columns.nonces - walk.datas.len());
        let (nonces, gases) = (columns.gases - walk.nonces.len(), columns.protected_bits - walk.gases.len());
        let counts = columns.creation_bits - counts.len();
        let made = SpanBlock { timestamp: self.timestamp, epoch_number: self.epoch_number, transactions };

        let origin_bits = batch.column(columns.origin_bits, columns.tx_counts);
        let next_is_new = bit(origin_bits, self.block as usize + 1);
        (self.recipients, self.datas, self.nonces, self.gases, self.counts) =
            (recipients, datas, nonces, gases, counts);
        (self.tx, self.legacy) = (tx, legacy);
        self.block += 1;
        self.timestamp = self.timestamp.wrapping_add(self.block_time);
        self.epoch_number = self.epoch_number.wrapping_add(next_is_new.into());
        Some(made)
    }

    fn build(&self, count: usize, walk: &mut Walk<'_>, tx: &mut usize, legacy: &mut usize) -> Option<Vec<Bytes>> {
        if count == 0 {
            return Some(Vec::new());
        }
        let batch = &self.batch;
        let columns = &batch.columns;
        let creations = batch.column(columns.creation_bits, columns.y_parity_bits);
        let parities = batch.column(columns.y_parity_bits, columns.signatures);
        let protected = batch.body.get(columns.protected_bits..)?;
        let signatures = batch.column(columns.signatures, columns.recipients);
        let (signatures, _) = signatures.as_chunks::<64>();

        let mut joined = Vec::new();
        let mut ends = Vec::with_capacity(count);
        for signature in signatures.get(*tx..tx.checked_add(count)?)? {
            let data = TxData::take(&mut walk.datas).ok()?;
            let is_legacy = data.kind == TxKind::Legacy;
            let parts = TxParts {
                data,
                nonce: take_uvarint(&mut walk.nonces).ok()?,
                gas: take_uvarint(&mut walk.gases).ok()?,
                to: if bit(creations, *tx) { None } else { Some(take(&mut walk.recipients, 20).ok()?) },
                y_parity: bit(parities, *tx),
                signature,
                protected: is_legacy && bit(protected, *legacy),
            };
            joined.reserve(parts.joined_bound());
            parts.join(self.chain_id, &mut joined);
            ends.push(joined.len());
            *tx += 1;
            *legacy += usize::from(is_legacy);
        }
        let joined = Bytes::from(joined);
        let mut start = 0;
        Some(ends.into_iter().map(|end| joined.slice(core::mem::replace(&mut start, end)..end)).collect())
    }

    fn pass(&self, count: usize, walk: &mut Walk<'_>, tx: &mut usize, legacy: &mut usize) -> Option<Vec<Bytes>> {
        let creations = self.batch.column(self.batch.columns.creation_bits, self.batch.columns.y_parity_bits);
        for _ in 0..count {
            if TxData::take(&mut walk.datas).ok()?.kind == TxKind::Legacy {
                *legacy += 1;
            }
            take_uvarint(&mut walk.nonces).ok()?;
            take_uvarint(&mut walk.gases).ok()?;
            if !bit(creations, *tx) {
                take(&mut walk.recipients, 20).ok()?;
            }
            *tx += 1;
        }
        Some(Vec::new())
    }
}

impl Iterator for SpanBlocks {
    type Item = SpanBlock;

    fn next(&mut self) -> Option<SpanBlock> {
        self.step(true)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.batch.block_count - self.block).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for SpanBlocks {}
