//! What goes into the machine and what comes out of it.

use crate::record::{Record, Role};
use alloy_primitives::{B256, Bytes};
use duskevm_rollup::{BlockId, batch::SingularBatch, channel_out::ChannelOutError, frame::ChannelId};
use std::{collections::HashMap, fmt};

/// An L2 block as the batcher needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2Block {
    /// Its hash.
    pub hash: B256,
    /// What goes into the channel.
    pub batch: SingularBatch,
    /// Its place in its epoch.
    pub sequence_number: u64,
    /// Timestamp of its L1 origin in seconds.
    pub origin_time: u64,
}

/// The L2 chain of this node.
pub trait L2Chain {
    /// Why it cannot be read.
    type Error;

    /// The hash of the block at this height; `None` above the head.
    ///
    /// # Errors
    /// If it cannot be read.
    fn hash(&self, number: u64) -> Result<Option<B256>, Self::Error>;

    /// The block at this height; `None` above the head.
    ///
    /// # Errors
    /// If it cannot be read, or is no block of the rollup.
    fn block(&self, number: u64) -> Result<Option<L2Block>, Self::Error>;
}

/// How far derivation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    /// Everything up to this L1 block was read. It is a part of L1 now.
    pub l1_block: u64,
    /// Number of the L2 block that was safe then.
    pub safe: u64,
}

/// Where the L2 chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Number of the newest block.
    pub latest: u64,
    /// The newest block that L1 supports.
    pub safe: BlockId,
    /// Number of the newest final block.
    pub finalized: u64,
    /// How far derivation is, if that is known.
    pub derived: Option<Derived>,
}

/// The batcher's Dusk account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Nonce of its last included transaction.
    pub nonce: u64,
    /// Lux.
    pub balance: u64,
}

/// What an included transaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was for.
    Done,
    /// Its call failed, and the envelope is not in the L1 view.
    Failed(String),
    /// Its call failed, because somebody else had brought the envelope in this L1 block.
    Elsewhere(u64),
}

/// What became of a Dusk transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxStatus {
    /// L1 does not know it.
    Unknown,
    /// It waits; or it is in a block of which not all is known yet, because it is not on disk or not in the L1 view. In this case the
    /// account's nonce has passed it.
    Waiting,
    /// It is in a block.
    Included {
        /// Height of the block.
        height: u64,
        /// Whether the block can never be replaced.
        is_final: bool,
        /// What came of it.
        outcome: Outcome,
    },
}

/// L1 after one of its blocks. The account must have been asked before the transactions, or (better) at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Number of the newest block in the L1 view, which may show only what is final.
    pub l1_block: u64,
    /// Number of L1's newest block, at least `l1_block`: what is sent now is in the next one at the earliest.
    pub tip: u64,
    /// The batcher's account after the block `tip`.
    pub account: Account,
    /// Ethereum nonce that the batch inbox takes next from the batcher, after the block `tip`.
    pub next_envelope: u64,
    /// The transactions of [`Batcher::watched`](crate::Batcher::watched) by Dusk id.
    pub transactions: HashMap<B256, TxStatus>,
}

/// Batcher data of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// One blob for each, by [`duskevm_rollup::blob::encode`].
    Blobs(Vec<Bytes>),
    /// The call data of the envelope.
    Calldata(Bytes),
}

/// A Dusk transaction to sign or to submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxOrder {
    /// What it does.
    pub role: Role,
    /// Its nonce.
    pub nonce: u64,
    /// Its gas limit.
    pub gas_limit: u64,
    /// Its gas price in lux.
    pub gas_price: u64,
    /// Its id if it was signed before: the same description must give the same transaction.
    pub id: Option<B256>,
}

/// Dusk transactions of a submission, with all that is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Number of the submission.
    pub submission: u64,
    /// Its channel.
    pub channel: ChannelId,
    /// Ethereum nonce of the envelope.
    pub envelope_nonce: u64,
    /// What it carries.
    pub payload: Payload,
    /// The transactions in the order in which they must be submitted.
    pub transactions: Vec<TxOrder>,
}

/// What was signed for an [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Number of the submission.
    pub submission: u64,
    /// Ethereum hash of the envelope.
    pub envelope_hash: B256,
    /// The transactions with their ids set.
    pub transactions: Vec<TxOrder>,
}

/// Why L1 does not take a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another one of the same nonce waits at this price.
    Underpriced(u64),
    /// Anything else. It is tried again after the next L1 block.
    Other,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these to the journal before anything else.
    Journal(Vec<Record>),
    /// Sign these and call [`Batcher::signed`](crate::Batcher::signed).
    Sign(Order),
    /// Submit these, and tell [`Batcher::refused`](crate::Batcher::refused) of what L1 does not take.
    ///
    /// If the bytes are not at hand any more, sign them again; if that gives other ids, call
    /// [`Batcher::signed`](crate::Batcher::signed) instead.
    Submit(Order),
    /// Work was done, and there is more.
    Again,
    /// Nothing, until something changes.
    Wait(Wait),
}

/// What the batcher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// To hear of both chains.
    Start,
    /// Derivation must read what is on L1 already.
    Derivation {
        /// Up to this L1 block.
        l1_block: u64,
    },
    /// An L2 block.
    L2Block {
        /// Its number.
        number: u64,
        /// The open channel, if there is one.
        channel: Option<ChannelId>,
    },
    /// A transaction must be included.
    Transaction {
        /// Whose frames it carries.
        channel: ChannelId,
        /// Its Dusk id.
        id: B256,
        /// It was submitted at this L1 block.
        since: u64,
    },
    /// A channel must become safe.
    Safe {
        /// The channel.
        channel: ChannelId,
    },
    /// The account has too little.
    Funds {
        /// Lux needed.
        need: u64,
        /// Lux there.
        have: u64,
    },
    /// What was paid for came to nothing: it is tried again from this L1 block on.
    Pause {
        /// Its number.
        until: u64,
    },
    /// What was given up may still come to L1, or has just come there: what comes instead keeps a distance.
    Stale {
        /// The highest nonce of what was given up.
        nonce: u64,
        /// L1 block that is waited for.
        until: u64,
    },
    /// No channel can carry this block.
    Unpostable {
        /// Its number.
        number: u64,
    },
    /// Blocks ran out of time: derivation replaces them.
    Window {
        /// Number of the first one that will be another.
        number: u64,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("the heads of L1 and L2"),
            Self::Derivation { l1_block } => write!(f, "derivation to read L1 up to block {l1_block}"),
            Self::L2Block { number, channel: None } => write!(f, "L2 block {number}"),
            Self::L2Block { number, channel: Some(id) } => {
                write!(f, "channel {id} waits for L2 block {number} or its age")
            }
            Self::Transaction { channel, id, since } => {
                write!(f, "channel {channel} waits for L1 transaction {id}, submitted at L1 block {since}")
            }
            Self::Safe { channel } => write!(f, "channel {channel} is on L1 and waits to become safe"),
            Self::Funds { need, have } => {
                write!(f, "the batcher's L1 account has {have} lux and needs {need}: send it some")
            }
            Self::Pause { until } => write!(f, "L1 block {until}, to try again after channels that came to nothing"),
            Self::Stale { nonce, until } => {
                write!(f, "what was given up to be on L1 and behind (up to nonce {nonce}), or L1 block {until}")
            }
            Self::Unpostable { number } => write!(f, "L2 block {number} to be replaced: no channel can carry it"),
            Self::Window { number } => {
                write!(f, "L2 block {number} and those after it to be replaced: their sequencing window has passed")
            }
        }
    }
}

/// Why channels are given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The L2 chain has other blocks now.
    Reorg,
    /// The blocks became safe without this channel.
    Overtaken,
    /// A call of the batch inbox failed.
    Failed(String),
    /// Frames came to L1 in another order.
    Order,
    /// Its blocks cannot be on L1 in time any more.
    Expired,
    /// Another envelope of the batcher used the nonce of one of its envelopes.
    Nonce,
    /// L1 took back envelopes that came before its own, and they do not come again.
    Gap,
    /// Its frames did not all come in time.
    TimedOut,
    /// It is on L1, and derivation did not take it.
    NotDerived,
    /// The frames cannot be made again as they were.
    Different,
}

impl Why {
    /// Was something on L1 that came to nothing, so that the next channel might, too?
    pub(crate) const fn is_paid_for(&self) -> bool {
        match self {
            Self::Failed(_) | Self::Order | Self::TimedOut | Self::NotDerived | Self::Different => true,
            Self::Reorg | Self::Overtaken | Self::Expired | Self::Nonce | Self::Gap => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reorg => f.write_str("the L2 chain has other blocks now"),
            Self::Overtaken => f.write_str("its blocks became safe without it"),
            Self::Failed(why) => write!(f, "a call of the batch inbox failed: {why}"),
            Self::Order => f.write_str("its frames came to L1 out of order"),
            Self::Expired => f.write_str("the sequencing window of its first block has passed"),
            Self::Nonce => f.write_str("another envelope of the batcher has used one of its nonces"),
            Self::Gap => f.write_str("L1 took back envelopes before its own"),
            Self::TimedOut => f.write_str("its frames did not come to L1 within the channel's time"),
            Self::NotDerived => f.write_str("it is on L1, and derivation made nothing of it"),
            Self::Different => f.write_str("its frames cannot be made again (another compression library?)"),
        }
    }
}

/// Something worth a line in the log, or a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A channel was closed.
    Closed {
        /// Its id.
        id: ChannelId,
        /// Blocks in it.
        blocks: u64,
        /// Bytes before compression.
        rlp_bytes: usize,
        /// Bytes after it.
        compressed_bytes: usize,
        /// Frames of it.
        frames: usize,
    },
    /// A channel is on L1 for good.
    Settled {
        /// Its id.
        id: ChannelId,
    },
    /// A channel and all after it are given up.
    Abandoned {
        /// Its id.
        id: ChannelId,
        /// Why.
        why: Why,
    },
    /// A transaction is signed again at a higher price.
    Bumped {
        /// Its channel.
        channel: ChannelId,
        /// The price in lux.
        gas_price: u64,
    },
    /// No channel can carry this block.
    Unpostable {
        /// Its number.
        number: u64,
        /// Why.
        why: ChannelOutError,
    },
}
