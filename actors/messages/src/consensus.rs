//! Messages to `consensus`, the actor that runs the embedded Dusk L1.

use alloy_primitives::{B256, Bytes};
use duskevm_dusk_l1::contracts::CallFailure;
use duskevm_dusk_l1::keys::AccountId;
use duskevm_dusk_l1::mempool::MempoolError;
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::tx::TxError;
use duskevm_supervision::Message;
use std::sync::Arc;
use tokio::sync::watch;

/// Where the Dusk chain stands. Published after every block that is on disk, and once when the actor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuskTip {
    /// Height of the newest block.
    pub height: u64,
    /// Its Dusk hash.
    pub hash: B256,
    /// Its timestamp in Unix seconds.
    pub timestamp: u64,
    /// Height of the newest final block.
    pub final_height: u64,
}

/// The feed of [`DuskTip`]; `None` until `consensus` has opened its database for the first time. Blocks up to `final_height` are
/// on disk and never change; those above it are on disk too, and may still be replaced by others.
pub type DuskTipFeed = watch::Receiver<Option<DuskTip>>;

/// Where the newest block of the Dusk chain is; asked by the admin interface and by tests (others follow the feed).
///
/// May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetDuskTip;

impl Message for GetDuskTip {
    type Reply = DuskTip;
    const NAME: &'static str = "get-dusk-tip";
    const IDEMPOTENT: bool = true;
}

/// Why a Dusk transaction is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitRefusal {
    /// The bytes are no transaction, or nobody signed them.
    #[error(transparent)]
    Invalid(#[from] TxError),
    /// The rules or the mempool's bounds forbid it.
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    /// A blob is missing or is not the one that its hash names.
    #[error("{0}")]
    Blob(String),
    /// This node keeps no blobs.
    #[error("this node does not keep blobs (actors.da_store is off): send the transaction to one that does")]
    NoBlobs,
    /// Too many signatures wait to be checked.
    #[error("the L1 node is busy checking {waiting} other transactions: send it again in a moment")]
    Busy {
        /// Transactions that wait.
        waiting: usize,
    },
}

/// Submit a signed Dusk transaction (any live envelope); asked by the command line, the batcher and the bridge.
///
/// The reply is the transaction's id: it waits in the mempool or is in a block. The mempool is kept in memory only: after a
/// restart of `consensus` a transaction that is not in a block must be submitted again. May be delivered twice: a transaction
/// that is known or included already is answered with its id.
#[derive(Debug, Clone)]
pub struct SubmitDuskTransaction {
    /// The encoded transaction.
    pub bytes: Bytes,
}

impl Message for SubmitDuskTransaction {
    type Reply = Result<B256, SubmitRefusal>;
    const NAME: &'static str = "submit-dusk-transaction";
    const IDEMPOTENT: bool = true;
}

/// A Dusk account as the newest block left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuskAccount {
    /// Nonce of its last included transaction.
    pub nonce: u64,
    /// Balance in lux.
    pub balance: u64,
    /// Nonce that its next transaction should carry, counting what waits in the mempool.
    pub next_nonce: u64,
    /// Staked lux.
    pub stake: u64,
    /// Rewards in lux that were not withdrawn.
    pub reward: u64,
}

/// The state of a Dusk account; asked by the command line and by whoever signs Dusk transactions.
///
/// May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetDuskAccount {
    /// Whose.
    pub account: AccountId,
}

impl Message for GetDuskAccount {
    type Reply = DuskAccount;
    const NAME: &'static str = "get-dusk-account";
    const IDEMPOTENT: bool = true;
}

/// What became of a Dusk transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DuskTransactionStatus {
    /// Never seen, or dropped.
    Unknown,
    /// Waits in the mempool.
    Waiting,
    /// In a block.
    Included {
        /// Height of the block.
        height: u64,
        /// Index in the block.
        index: u32,
        /// Gas charged.
        gas_spent: u64,
        /// Why its call failed, if it did.
        error: Option<String>,
        /// Whether the block can never be replaced.
        is_final: bool,
    },
}

/// What became of a Dusk transaction; asked by the command line and by whoever submitted it.
///
/// May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetDuskTransaction {
    /// Its Dusk id.
    pub id: B256,
}

impl Message for GetDuskTransaction {
    type Reply = DuskTransactionStatus;
    const NAME: &'static str = "get-dusk-transaction";
    const IDEMPOTENT: bool = true;
}

/// An account, transactions and what a contract answers, all as of one moment; asked by the batcher, which draws conclusions from
/// what one of them says of the others.
///
/// That moment is the newest executed block, which may not be on disk yet. A transaction in a block that is not on disk still counts as
/// [`DuskTransactionStatus::Waiting`], though the account's nonce has passed it. May be delivered twice.
#[derive(Debug, Clone)]
pub struct GetDuskSnapshot {
    /// The account.
    pub account: AccountId,
    /// Dusk ids of the transactions.
    pub transactions: Vec<B256>,
    /// The question.
    pub question: ReadDuskContract,
}

/// The reply to [`GetDuskSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuskSnapshot {
    /// Height of the newest executed block: what is sent now can be in the next one at the earliest.
    pub height: u64,
    /// The account after it.
    pub account: DuskAccount,
    /// What became of the transactions, in their order.
    pub transactions: Vec<DuskTransactionStatus>,
    /// What the contract answers after it.
    pub answer: Result<Bytes, CallFailure>,
}

impl Message for GetDuskSnapshot {
    type Reply = DuskSnapshot;
    const NAME: &'static str = "get-dusk-snapshot";
    const IDEMPOTENT: bool = true;
}

/// A question to a native contract, answered from the state after the newest block; asked by the command line.
///
/// What arguments and answer mean is the contract's affair. May be delivered twice.
#[derive(Debug, Clone)]
pub struct ReadDuskContract {
    /// Id of the contract.
    pub contract: B256,
    /// What is asked.
    pub method: String,
    /// Its arguments.
    pub args: Bytes,
}

impl Message for ReadDuskContract {
    type Reply = Result<Bytes, CallFailure>;
    const NAME: &'static str = "read-dusk-contract";
    const IDEMPOTENT: bool = true;
}

/// One accepted Dusk block with its events; asked by the `l1` actor, which follows the chain.
///
/// The reply is `None` above the tip. May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct DuskBlockByHeight {
    /// Height, 0 for the genesis block.
    pub height: u64,
}

impl Message for DuskBlockByHeight {
    type Reply = Option<Arc<AcceptedBlock>>;
    const NAME: &'static str = "dusk-block-by-height";
    const IDEMPOTENT: bool = true;
}

/// The step of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsensusStep {
    /// A block is proposed.
    Proposal,
    /// The first committee votes.
    Validation,
    /// The second committee votes on what the first one found.
    Ratification,
}

/// Where the consensus of this node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusState {
    /// Height that is worked on.
    pub round: u64,
    /// Its iteration.
    pub iteration: u8,
    /// Its step.
    pub step: ConsensusStep,
    /// Whether this node signs: it has a key, and is not waiting after a lost vote journal.
    pub votes: bool,
    /// Whether it is behind its peers and fetches blocks.
    pub syncing: bool,
}

/// Where the consensus stands; asked by the admin interface.
///
/// May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetConsensusState;

impl Message for GetConsensusState {
    type Reply = ConsensusState;
    const NAME: &'static str = "get-consensus-state";
    const IDEMPOTENT: bool = true;
}

/// A provisioner as the newest block left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuskProvisioner {
    /// Its key.
    pub account: AccountId,
    /// Lux that count in sortition.
    pub stake: u64,
    /// Lux that do not count but can be unstaked.
    pub locked: u64,
    /// First height at which it takes part.
    pub eligibility: u64,
    /// Rewards in lux that were not withdrawn.
    pub reward: u64,
    /// Soft faults since its last reward.
    pub faults: u8,
    /// Hard faults.
    pub hard_faults: u8,
}

/// All stakes, ascending by key; asked by the command line.
///
/// May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetProvisioners;

impl Message for GetProvisioners {
    type Reply = Vec<DuskProvisioner>;
    const NAME: &'static str = "get-provisioners";
    const IDEMPOTENT: bool = true;
}
