//! Derivation: the L2 chain from L1 data alone, as a state machine without I/O.
//!
//! ```text
//! L1 block ─ retrieval ─ frame queue ─ channel assembler ─ batch reader ─ batch stage ─ attributes
//! ```
//! [`Pipeline::step`] does a bounded piece of work and says what came of it. What it lacks it asks for ([`Need`]) and is given by
//! [`Pipeline::provide`]; an answer that cannot be had now loses nothing, for the next step asks the same again. See the README of this
//! crate for how it is driven.
//!
//! Source: OP Stack specification, derivation.md and holocene/derivation.md. The rules are those of Holocene:
//! [`RollupConfig::validate`](crate::RollupConfig::validate) refuses chains that begin before.

mod attributes;
mod base;
mod batches;
mod channels;
mod frame_queue;
mod l1_block;
mod notice;
mod pipeline;
mod retrieval;

pub use attributes::DerivedAttributes;
pub use l1_block::{BlobRef, InboxData, InboxTransaction, L1Block};
pub use notice::{FrameFault, Notice};
pub use pipeline::{Buffered, Pipeline};

use crate::{
    attributes::AttributesError,
    batch::SingularBatch,
    block_ref::{BlockRefError, l2_block_ref, system_config_of},
    config::{RollupConfig, SystemConfig},
    origin::{L1BlockRef, L2BlockRef},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use alloy_primitives::{B256, Bytes};
use duskevm_evm::{Block, ChainSpec};

/// An L2 block that a pipeline builds on or begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L2Head {
    /// The block.
    pub block: L2BlockRef,
    /// The system config in force for it: what its L1-attributes deposit and its header hold.
    pub system_config: SystemConfig,
}

impl L2Head {
    /// Reads a block.
    ///
    /// # Errors
    /// If it is no L2 block of this rollup.
    pub fn of_block(config: &RollupConfig, spec: &ChainSpec, block: &Block) -> Result<Self, BlockRefError> {
        Ok(Self { block: l2_block_ref(config, block)?, system_config: system_config_of(config, spec, block)? })
    }
}

/// What came of a step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Something is lacking: answer with [`Pipeline::provide`]. As long as there is no answer, further steps say the same.
    Need(Need),
    /// Some data were read; go on.
    Working,
    /// The block to make on the safe head. Further steps say the same until the safe head is a child of the old one.
    Attributes(Arc<DerivedAttributes>),
    /// The pipeline reads this L1 block now; all that came before it is used up.
    Advanced(L1BlockRef),
    /// What the pipeline has read no longer fits L1 or the safe head. Find the heads anew ([`SyncStart`](crate::SyncStart)), then call
    /// [`Pipeline::reset`]; until then further steps say the same.
    Reset(ResetReason),
    /// L1 holds what no L2 block can be made of. Only another L1 block helps: further steps say the same until
    /// [`Pipeline::check_l1`] brings a reset.
    Stuck(AttributesError),
}

/// What a pipeline lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The L1 block after the one that is read, with transactions and receipts: [`Input::L1Block`]. If L1 is not that far, all is
    /// derived that can be: wait for L1.
    NextL1Block {
        /// Its number.
        number: u64,
        /// The block before it. A block with another parent means that L1 was reorganized: hand it in all the same.
        parent: B256,
    },
    /// An L1 block that was read before: [`Input::L1Block`].
    L1Block {
        /// Its number. If L1 has another block there now, hand that one in.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// The blobs of a transaction: [`Input::Blobs`]. If they cannot be had, make sure that `block` is still a part of L1
    /// ([`Pipeline::check_l1`]).
    Blobs {
        /// The L1 block with the transaction.
        block: L1BlockRef,
        /// The blobs in order.
        blobs: Vec<BlobRef>,
    },
    /// The block of this number in the chain of the safe head: [`Input::L2Block`].
    L2Block {
        /// Its number.
        number: u64,
    },
    /// The same, as a batch would hold it: [`Input::L2Batch`].
    L2Batch {
        /// Its number.
        number: u64,
    },
}

/// The answer to a [`Need`].
#[derive(Debug, Clone)]
pub enum Input {
    /// The L1 block of the number that was asked for.
    L1Block(Box<L1Block>),
    /// One blob of 131,072 bytes for each that was asked for, in the same order, each checked against its versioned hash.
    Blobs(Vec<Bytes>),
    /// The L2 block of the number that was asked for.
    L2Block(Box<L2Head>),
    /// The batch of the L2 block that was asked for ([`batch_of_block`](crate::batch::batch_of_block)).
    L2Batch {
        /// Number of the block.
        number: u64,
        /// Its batch.
        batch: Box<SingularBatch>,
    },
}

/// An input that answers nothing. The pipeline is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Nothing was asked for, or something else.
    #[error("this input was not asked for: answer the need that the last step returned")]
    NotAsked,
    /// Another block.
    #[error("block {expected} was asked for, not block {found}")]
    Number {
        /// Number of the block that was asked for.
        expected: u64,
        /// Number of the block given.
        found: u64,
    },
    /// More or fewer blobs.
    #[error("{expected} blobs were asked for, {found} were given")]
    BlobCount {
        /// How many were asked for.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// Bytes that are no blob.
    #[error("a blob has 131072 bytes, not {0}")]
    BlobLength(usize),
}

/// Why a pipeline must begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResetReason {
    /// It was made and never reset.
    #[error("the pipeline has not begun yet")]
    NotStarted,
    /// L1 has another block at this number than the one that was read.
    #[error("L1 block {number} is {found} now, it was {expected}: L1 was reorganized")]
    L1Reorg {
        /// Number of the block.
        number: u64,
        /// What it was, or must be for the blocks around it.
        expected: B256,
        /// What it is.
        found: B256,
    },
    /// The safe head is neither the block that was built on nor a child of it.
    #[error("the safe head is {found} now, derivation builds on {expected}")]
    SafeHeadMoved {
        /// The block that was built on.
        expected: B256,
        /// The safe head.
        found: B256,
    },
    /// The L1 origin of the safe head is not among the L1 blocks that were read.
    #[error("L1 block {origin}, origin of the safe head, does not fit the L1 blocks that were read")]
    OriginMismatch {
        /// Its number.
        origin: u64,
    },
    /// A batch was accepted that does not follow on the safe head.
    #[error("the batch of time {0} does not follow on the safe head")]
    BatchMismatch(u64),
    /// The chain of the safe head does not hang together.
    #[error("L2 block {number} is {found}, its child names {expected}")]
    L2Chain {
        /// Number of the block.
        number: u64,
        /// Parent hash in its child.
        expected: B256,
        /// Its hash.
        found: B256,
    },
}

/// Why a stage gives nothing.
#[derive(Debug)]
enum Stall {
    /// All that the L1 block holds was read.
    Exhausted,
    /// Something was read and used up without a result: pull again.
    Again,
    /// Something is lacking.
    Need(Need),
    /// The pipeline must begin anew.
    Reset(ResetReason),
    /// No block can be made.
    Stuck(AttributesError),
}
