//! Retrieval: the batcher data of an L1 block, one piece at a time. Source: derivation.md, "L1 retrieval"; ecotone/derivation.md.

use super::{
    Input, Need, Stall,
    l1_block::{InboxData, InboxTransaction, L1Block},
    notice::{Notice, Notices},
};
use crate::{blob, origin::L1BlockRef};
use alloc::collections::VecDeque;
use alloy_primitives::{Address, Bytes};

/// What is left of an L1 block.
#[derive(Debug, Clone)]
pub(super) struct Retrieval {
    block: L1BlockRef,
    batcher: Address,
    transactions: VecDeque<InboxTransaction>,
    /// Data of blobs that were given.
    blobs: VecDeque<Bytes>,
}

impl Retrieval {
    /// Begins with a block. `batcher` is the one of the system config after this block's own updates.
    pub(super) fn open(block: L1Block, batcher: Address) -> Self {
        let reference = block.block_ref();
        Self { block: reference, batcher, transactions: block.inbox.into(), blobs: VecDeque::new() }
    }

    /// The next piece.
    pub(super) fn next(&mut self, answer: &mut Option<Input>, notices: &mut Notices) -> Result<Bytes, Stall> {
        if let Some(data) = self.blobs.pop_front() {
            return Ok(data);
        }
        let Some(tx) = self.transactions.front() else { return Err(Stall::Exhausted) };
        if tx.sender != self.batcher {
            self.transactions.pop_front();
            return Err(Stall::Again);
        }
        match &tx.data {
            InboxData::Calldata(data) => {
                let data = data.clone();
                self.transactions.pop_front();
                Ok(data)
            }
            InboxData::Blobs(wanted) => {
                let Some(Input::Blobs(given)) = answer.take() else {
                    return Err(Stall::Need(Need::Blobs { block: self.block, blobs: wanted.clone() }));
                };
                for (blob, wanted) in given.iter().zip(wanted) {
                    match blob::decode(blob) {
                        Ok(data) => self.blobs.push_back(data.into()),
                        // Only this blob is void, not its transaction.
                        Err(error) => notices.push(Notice::Blob { versioned_hash: wanted.versioned_hash, error }),
                    }
                }
                self.transactions.pop_front();
                Err(Stall::Again)
            }
        }
    }
}
