//! Logs.

use crate::source::Announced;
use alloy_consensus::{Header, Sealed};
use alloy_primitives::B256;
use alloy_rpc_types_eth::Log;

/// Where the logs of one transaction are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogPosition {
    pub(crate) block_hash: B256,
    pub(crate) block_number: u64,
    pub(crate) block_timestamp: u64,
    pub(crate) transaction_hash: B256,
    pub(crate) transaction_index: u64,
    /// Index in the block of the first log of the transaction.
    pub(crate) first_log: u64,
    /// The block is no longer canonical.
    pub(crate) removed: bool,
}

impl LogPosition {
    /// The place of a transaction's logs in a canonical block.
    pub(crate) fn of(header: &Sealed<Header>, tx: B256, index: usize, first_log: u64) -> Self {
        Self {
            block_hash: header.hash(),
            block_number: header.number,
            block_timestamp: header.timestamp,
            transaction_hash: tx,
            transaction_index: index as u64,
            first_log,
            removed: false,
        }
    }

    /// A log of the transaction.
    pub(crate) fn place(&self, index: usize, log: alloy_primitives::Log) -> Log {
        Log {
            inner: log,
            block_hash: Some(self.block_hash),
            block_number: Some(self.block_number),
            block_timestamp: Some(self.block_timestamp),
            transaction_hash: Some(self.transaction_hash),
            transaction_index: Some(self.transaction_index),
            log_index: Some(self.first_log + index as u64),
            removed: self.removed,
        }
    }
}

/// Calls `take` with every log of a block that `wanted` lets through, in order, until `take` says stop.
pub(crate) fn logs_of<E>(
    block: &impl Announced,
    removed: bool,
    wanted: impl Fn(&alloy_primitives::Log) -> bool,
    mut take: impl FnMut(Log) -> Result<(), E>,
) -> Result<(), E> {
    let header = block.header();
    let mut first_log = 0;
    for (index, (tx, logs)) in block.transactions().enumerate() {
        let position = LogPosition { removed, ..LogPosition::of(header, tx, index, first_log) };
        for (index, log) in logs.iter().enumerate().filter(|(_, log)| wanted(log)) {
            take(position.place(index, log.clone()))?;
        }
        first_log += logs.len() as u64;
    }
    Ok(())
}
