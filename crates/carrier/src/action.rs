//! What the machine is told, and what it says.

use crate::{
    envelope::Envelope,
    record::{Record, Role},
};
use alloy_primitives::{Address, B256};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// What became of a Dusk transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxStatus {
    /// Never seen, or dropped.
    Unknown,
    /// Waits in the mempool, or is in a block that is not on disk yet.
    Waiting,
    /// In a block.
    Included {
        /// Its height.
        height: u64,
        /// Can the block never be replaced?
        is_final: bool,
        /// Why it failed, if it did.
        error: Option<String>,
    },
}

/// L1 at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The newest executed block.
    pub height: u64,
    /// Its hash, if it is known.
    pub hash: Option<B256>,
    /// The newest block that can never be replaced.
    pub finalized: u64,
    /// Its hash.
    pub finalized_hash: B256,
    /// Nonce of the last included transaction of the Dusk account.
    pub nonce: u64,
    /// Its balance in lux.
    pub balance: u64,
    /// The nonce that the inbox takes next, for each of [`Carrier::senders`](crate::Carrier::senders).
    pub next: BTreeMap<Address, u64>,
    /// What became of [`Carrier::watched`](crate::Carrier::watched).
    pub transactions: HashMap<B256, TxStatus>,
}

/// A Dusk transaction to be signed or submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Nonce of the Dusk account.
    pub nonce: u64,
    /// What it does.
    pub role: Role,
    /// Most gas.
    pub gas_limit: u64,
    /// Lux for each gas.
    pub gas_price: u64,
    /// Its Dusk id if it was signed before.
    pub id: Option<B256>,
    /// The envelope with what it brings.
    pub envelope: Arc<Envelope>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these to the journal before anything else.
    Journal(Vec<Record>),
    /// Sign this, and tell [`Carrier::signed`](crate::Carrier::signed).
    Sign(Order),
    /// Submit these in their order, and tell [`Carrier::refused`](crate::Carrier::refused) of what is not taken.
    Submit(Vec<Order>),
    /// Nothing until L1 has moved or an envelope comes.
    Wait(Wait),
}

/// Why L1 did not take a Dusk transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuskRefusal {
    /// Others pay more: at least more than this many lux for each gas are wanted.
    Underpriced(u64),
    /// Something else. It is submitted again later.
    Other,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The first look at L1.
    Start,
    /// Envelopes.
    Envelopes,
    /// Nonces of a sender that are missing.
    Nonce {
        /// Whose.
        sender: Address,
        /// The missing one.
        nonce: u64,
    },
    /// A Dusk transaction.
    Transaction {
        /// Its Dusk id.
        id: B256,
        /// L1 block at which it was submitted.
        since: u64,
    },
    /// Final blocks above envelopes that are on L1.
    Final {
        /// Height of the newest of these.
        height: u64,
    },
    /// Another try, after Dusk transactions that failed.
    Pause {
        /// L1 block at which it is made.
        until: u64,
        /// Envelope.
        hash: B256,
    },
    /// The account has too little.
    Funds {
        /// Lux needed.
        need: u64,
        /// Lux there.
        have: u64,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("a first look at L1"),
            Self::Envelopes => f.write_str("transactions to the batch inbox"),
            Self::Nonce { sender, nonce } => {
                write!(f, "a transaction of {sender} with nonce {nonce}, which later ones need")
            }
            Self::Transaction { id, since } => write!(f, "L1 transaction {id}, submitted at L1 block {since}"),
            Self::Final { height } => write!(f, "L1 block {height} to be final"),
            Self::Pause { until, hash } => {
                write!(f, "L1 block {until}, to try envelope {hash} again after Dusk transactions that failed")
            }
            Self::Funds { need, have } => {
                write!(f, "the carrier's L1 account has {have} lux and needs {need}: send it some")
            }
        }
    }
}

/// Something worth a line in the log, or a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The nonce of an envelope is used on L1.
    Landed {
        /// The newest envelope for it.
        hash: B256,
        /// L1 block.
        height: u64,
    },
    /// L1 took it back.
    TakenBack {
        /// The envelope.
        hash: B256,
    },
    /// It is on L1 for good.
    Settled {
        /// The envelope.
        hash: B256,
    },
    /// A Dusk transaction failed, and was paid for.
    Failed {
        /// Its Dusk id.
        id: B256,
        /// Why.
        why: String,
    },
    /// More is offered for a Dusk transaction.
    Bumped {
        /// Nonce of the Dusk account.
        nonce: u64,
        /// The price in lux.
        gas_price: u64,
    },
    /// Somebody else used a nonce of the Dusk account.
    Stolen {
        /// The nonce.
        nonce: u64,
    },
}
