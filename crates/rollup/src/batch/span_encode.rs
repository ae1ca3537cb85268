//! Making span batches.

use super::{
    SPAN_BATCH_VERSION, SingularBatch,
    bits::BitList,
    reader::put_uvarint,
    span::MAX_SPAN_BATCH_ELEMENTS,
    tx_data::{MAX_TX_DATA, SplitError, TxKind, split},
};
use crate::config::{BlockId, RollupConfig};
use alloc::vec::Vec;

/// A block that a span batch cannot have next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpanEncodeError {
    /// It does not come right after the block before it.
    #[error(
        "the next block of the span has time {expected}, this one has {found}: give the blocks in order, without gaps"
    )]
    Timestamp {
        /// In seconds.
        expected: u64,
        /// In seconds.
        found: u64,
    },
    /// Its time is before the genesis of the rollup.
    #[error("time {0} is before the genesis of the rollup")]
    BeforeGenesis(u64),
    /// Its L1 origin is neither that of the block before it nor the next one.
    #[error("L1 origin {found:?} does not follow {before:?}: an epoch has one L1 block, and none is skipped")]
    Epoch {
        /// Of the block before it.
        before: BlockId,
        /// Of the block.
        found: BlockId,
    },
    /// A transaction of another chain. The chain id is not part of a span batch, so it could not be rebuilt.
    #[error("transaction {index} belongs to chain {found}, the batch to chain {expected}")]
    ForeignChain {
        /// Its place in the block without deposits, from 0.
        index: usize,
        /// Chain id of the rollup.
        expected: u64,
        /// Chain id of the transaction.
        found: u128,
    },
    /// A transaction of a type that span batches do not carry.
    #[error("transaction {index} has type {ty}: span batches carry 0, 1, 2 and 4")]
    Type {
        /// Its place in the block without deposits, from 0.
        index: usize,
        /// EIP-2718 type.
        ty: u8,
    },
    /// A transaction that is not in canonical form.
    #[error("transaction {index} is malformed: {reason}")]
    Malformed {
        /// Its place in the block without deposits, from 0.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The batch is full.
    #[error("a span batch has at most {MAX_SPAN_BATCH_ELEMENTS} blocks and transactions: close it before this block")]
    Full,
}

/// Ends of the columns after a block, so that the batch can be cut there.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    tx_counts: usize,
    txs: usize,
    recipients: usize,
    datas: usize,
    nonces: usize,
    gases: usize,
    legacy: usize,
    epoch: BlockId,
    timestamp: u64,
}

/// The first block of a span.
#[derive(Debug, Clone, Copy)]
struct Start {
    rel_timestamp: u64,
    parent_check: [u8; 20],
}

/// Makes a span batch from blocks given in order.
///
/// A block is taken apart once, when it is added; writing the batch of all blocks, or of the first so many, then only
/// concatenates the columns. A block that is refused leaves the batch as it was.
#[derive(Debug, Clone)]
pub struct SpanEncoder {
    genesis_time: u64,
    block_time: u64,
    chain_id: u64,
    start: Option<Start>,
    marks: Vec<Mark>,
    origin_bits: BitList,
    tx_counts: Vec<u8>,
    creation_bits: BitList,
    y_parity_bits: BitList,
    signatures: Vec<u8>,
    recipients: Vec<u8>,
    datas: Vec<u8>,
    nonces: Vec<u8>,
    gases: Vec<u8>,
    protected_bits: BitList,
}

impl SpanEncoder {
    /// A batch without blocks.
    pub fn new(config: &RollupConfig) -> Self {
        Self {
            genesis_time: config.genesis.l2_time,
            block_time: config.block_time,
            chain_id: config.l2_chain_id,
            start: None,
            marks: Vec::new(),
            origin_bits: BitList::default(),
            tx_counts: Vec::new(),
            creation_bits: BitList::default(),
            y_parity_bits: BitList::default(),
            signatures: Vec::new(),
            recipients: Vec::new(),
            datas: Vec::new(),
            nonces: Vec::new(),
            gases: Vec::new(),
            protected_bits: BitList::default(),
        }
    }

    /// How many blocks it has.
    pub const fn block_count(&self) -> usize {
        self.marks.len()
    }

    /// Adds the block after the last one. `sequence_number` is its place in its epoch; only that of the first block is looked at.
    ///
    /// # Errors
    /// See [`SpanEncodeError`].
    pub fn push(&mut self, block: &SingularBatch, sequence_number: u64) -> Result<(), SpanEncodeError> {
        let found = block.timestamp;
        let new_epoch = match self.marks.last() {
            None => sequence_number == 0,
            Some(last) => {
                let expected = last.timestamp.wrapping_add(self.block_time);
                if found != expected {
                    return Err(SpanEncodeError::Timestamp { expected, found });
                }
                let next = last.epoch.number.checked_add(1) == Some(block.epoch.number);
                if block.epoch != last.epoch && !next {
                    return Err(SpanEncodeError::Epoch { before: last.epoch, found: block.epoch });
                }
                next
            }
        };
        let rel_timestamp = found.checked_sub(self.genesis_time).ok_or(SpanEncodeError::BeforeGenesis(found))?;
        let before = self.marks.last().copied().unwrap_or_default();
        let most = MAX_SPAN_BATCH_ELEMENTS as usize;
        if self.marks.len() >= most || before.txs + block.transactions.len() > most {
            return Err(SpanEncodeError::Full);
        }
        for (index, tx) in block.transactions.iter().enumerate() {
            if let Err(error) = self.push_tx(tx) {
                self.cut_txs(&before);
                return Err(match error {
                    SplitError::Malformed(reason) => SpanEncodeError::Malformed { index, reason },
                    SplitError::Type(ty) => SpanEncodeError::Type { index, ty },
                    SplitError::ForeignChain(id) => {
                        SpanEncodeError::ForeignChain { index, expected: self.chain_id, found: id }
                    }
                });
            }
        }
        self.origin_bits.push(new_epoch);
        put_uvarint(&mut self.tx_counts, block.transactions.len() as u64);
        self.start.get_or_insert_with(|| {
            let mut parent_check = [0; 20];
            parent_check.copy_from_slice(&block.parent_hash[..20]);
            Start { rel_timestamp, parent_check }
        });
        self.marks.push(Mark {
            tx_counts: self.tx_counts.len(),
            txs: self.creation_bits.len(),
            recipients: self.recipients.len(),
            datas: self.datas.len(),
            nonces: self.nonces.len(),
            gases: self.gases.len(),
            legacy: self.protected_bits.len(),
            epoch: block.epoch,
            timestamp: found,
        });
        Ok(())
    }

    fn push_tx(&mut self, raw: &[u8]) -> Result<(), SplitError> {
        let tx = split(raw, self.chain_id)?;
        if raw.len() > MAX_TX_DATA {
            return Err(SplitError::Malformed("it is longer than a span batch allows"));
        }
        self.creation_bits.push(tx.to.is_none());
        self.y_parity_bits.push(tx.y_parity);
        self.signatures.extend_from_slice(&tx.signature);
        self.recipients.extend_from_slice(tx.to.unwrap_or_default());
        tx.data.put(&mut self.datas);
        put_uvarint(&mut self.nonces, tx.nonce);
        put_uvarint(&mut self.gases, tx.gas);
        if tx.data.kind == TxKind::Legacy {
            self.protected_bits.push(tx.protected);
        }
        Ok(())
    }

    fn cut_txs(&mut self, mark: &Mark) {
        self.creation_bits.truncate(mark.txs);
        self.y_parity_bits.truncate(mark.txs);
        self.signatures.truncate(mark.txs * 64);
        self.recipients.truncate(mark.recipients);
        self.datas.truncate(mark.datas);
        self.nonces.truncate(mark.nonces);
        self.gases.truncate(mark.gases);
        self.protected_bits.truncate(mark.legacy);
    }

    /// Takes all blocks but the first `blocks` out again.
    pub fn truncate(&mut self, blocks: usize) {
        self.marks.truncate(blocks);
        let mark = self.marks.last().copied().unwrap_or_default();
        self.cut_txs(&mark);
        self.tx_counts.truncate(mark.tx_counts);
        self.origin_bits.truncate(blocks.min(self.origin_bits.len()));
        if self.marks.is_empty() {
            self.start = None;
        }
    }

    /// Bytes of the batch with its version byte, give or take the few by which the first two numbers of its prefix vary.
    pub fn size_bound(&self) -> usize {
        // Version, four numbers of at most ten bytes, two hashes of twenty.
        const PREFIX: usize = 1 + 3 * 10 + 2 * 20;
        let bits = [&self.origin_bits, &self.creation_bits, &self.y_parity_bits, &self.protected_bits];
        let bytes = [&self.tx_counts, &self.signatures, &self.recipients, &self.datas, &self.nonces, &self.gases];
        PREFIX
            + bits.iter().map(|list| list.len().div_ceil(8)).sum::<usize>()
            + bytes.iter().map(|column| column.len()).sum::<usize>()
    }

    /// Appends the batch of the first `blocks` blocks: version byte and body. Does nothing if there are not so many, or for none.
    pub fn encode_prefix(&self, blocks: usize, out: &mut Vec<u8>) {
        let (Some(mark), Some(start)) = (blocks.checked_sub(1).and_then(|last| self.marks.get(last)), &self.start)
        else {
            return;
        };
        out.reserve(self.size_bound());
        out.push(SPAN_BATCH_VERSION);
        put_uvarint(out, start.rel_timestamp);
        put_uvarint(out, mark.epoch.number);
        out.extend_from_slice(&start.parent_check);
        out.extend_from_slice(&mark.epoch.hash[..20]);
        put_uvarint(out, blocks as u64);
        self.origin_bits.encode_prefix(blocks, out);
        let column = |bytes: &[u8], len: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(bytes.get(..len).unwrap_or(bytes));
        };
        column(&self.tx_counts, mark.tx_counts, out);
        self.creation_bits.encode_prefix(mark.txs, out);
        self.y_parity_bits.encode_prefix(mark.txs, out);
        column(&self.signatures, mark.txs * 64, out);
        column(&self.recipients, mark.recipients, out);
        column(&self.datas, mark.datas, out);
        column(&self.nonces, mark.nonces, out);
        column(&self.gases, mark.gases, out);
        self.protected_bits.encode_prefix(mark.legacy, out);
    }

    /// The batch of all blocks: version byte and body; empty if there are none.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_prefix(self.marks.len(), &mut out);
        out
    }
}
