//! Messages to the transaction pool.

use alloy_primitives::{Address, B256};
use duskevm_evm::RecoveredTx;
use duskevm_pool::{AccountReader, Content, Head, PoolError, PoolStatus, SenderContent, Touched};
use duskevm_supervision::Message;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{broadcast, watch};

/// The head as the pool needs it, with the state to read accounts from. Published by the executor after every change of head.
#[derive(Clone)]
pub struct HeadView {
    /// Fees and limits of the next block.
    pub head: Head,
    /// Reads accounts at this head.
    pub state: Arc<dyn AccountReader + Send + Sync>,
    /// Number of the newest block that would survive a power cut. The transactions of later blocks stay in the journal.
    pub durable: u64,
}

impl fmt::Debug for HeadView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadView").field("head", &self.head).field("durable", &self.durable).finish_non_exhaustive()
    }
}

/// The feed of [`HeadView`]; `None` until the executor has opened its database for the first time. The pool starts from it, and
/// takes from it what a lost [`HeadChanged`] would have said. The executor publishes here *before* it sends [`HeadChanged`].
pub type HeadViewFeed = watch::Receiver<Option<Arc<HeadView>>>;

/// Transactions as they become ready (`newPendingTransactions`), once they are durable. A subscriber that lags misses some.
pub type PendingFeed = broadcast::Sender<Arc<RecoveredTx>>;

/// Names one call of a client, so that the pool can tell a repeated delivery of it from a second submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubmissionId(u64);

impl SubmissionId {
    /// A new one, unique in this process.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Accept a transaction; sent by the RPC for each call of a client.
///
/// The reply is its hash once the transaction is on disk: it then survives the death of the pool and of the process until it is
/// in a durable block, is replaced, is evicted by better ones, or expires. An error is the pool's refusal, in geth's words.
///
/// Idempotent for one [`SubmissionId`]: delivered again, also to a pool that was restarted meanwhile, it is answered with the
/// hash, even if the transaction is in a block by now. The same transaction under another id is refused as already known
/// (or its nonce as too low), as geth does.
#[derive(Debug, Clone)]
pub struct Submit {
    /// The transaction.
    pub tx: Arc<RecoveredTx>,
    /// The call that it came with.
    pub submission: SubmissionId,
}

impl Submit {
    /// A new submission. Make one for each call of a client, and send its clones when trying again.
    pub fn new(tx: Arc<RecoveredTx>) -> Self {
        Self { tx, submission: SubmissionId::next() }
    }
}

impl Message for Submit {
    type Reply = Result<B256, PoolError>;
    const NAME: &'static str = "submit";
    const IDEMPOTENT: bool = true;
}

/// The transactions for the next block, best first; asked by the sequencer. Changes nothing.
///
/// They are payable at `base_fee`, ordered by effective tip, and by nonce for each sender. The list may hold more than fits a
/// block, because what a transaction uses is known only when it is executed.
#[derive(Debug, Clone, Copy)]
pub struct Best {
    /// Base fee of the block, in wei per gas.
    pub base_fee: u64,
    /// Gas limit of the block.
    pub gas_limit: u64,
    /// Most transactions wanted.
    pub count: usize,
}

impl Message for Best {
    type Reply = Arc<[Arc<RecoveredTx>]>;
    const NAME: &'static str = "best";
    const IDEMPOTENT: bool = true;
}

/// Execution refused pooled transactions as invalid; told by the sequencer after it has built a block.
///
/// The pool looks at their senders again. One that the state at the head does not explain is set aside until its sender
/// changes. Idempotent; unknown hashes are ignored. Losing it costs another try in the next block.
#[derive(Debug, Clone)]
pub struct Invalid {
    /// Hashes, and what execution said.
    pub txs: Vec<(B256, String)>,
}

impl Message for Invalid {
    type Reply = ();
    const NAME: &'static str = "invalid";
    const IDEMPOTENT: bool = true;
}

/// The head moved; sent by the executor after each block, reorganization and rewind, and when blocks became durable.
///
/// Idempotent: a pool that is at this head already takes over `durable` only. If one is lost the pool finds out from the feed
/// and reads all its senders again; only `reorged_out` is not in the feed, so ask with retries when it is not empty. The reply
/// means that the pool is at the new head, and that what came back is in its journal; it takes long while the pool is full.
#[derive(Debug, Clone)]
pub struct HeadChanged {
    /// Hash of the head before. If the pool is at another one it reads all senders again.
    pub from: B256,
    /// The new head.
    pub view: Arc<HeadView>,
    /// Accounts whose nonce, balance or code differ between the two.
    pub touched: Touched,
    /// Hashes of the transactions that came into the chain.
    pub mined: Arc<[B256]>,
    /// User transactions of blocks that left the chain, in block order.
    pub reorged_out: Arc<[Arc<RecoveredTx>]>,
}

impl Message for HeadChanged {
    type Reply = ();
    const NAME: &'static str = "head_changed";
    const IDEMPOTENT: bool = true;
}

/// All transactions by sender, pending and queued; asked by the RPC for `txpool_content` and `txpool_inspect`. Changes nothing.
///
/// Those who ask at the same time share one copy. It is not older than the question, but it may be a second before it is made: a
/// large pool is not copied more often.
#[derive(Debug, Clone, Copy)]
pub struct GetContent;

impl Message for GetContent {
    type Reply = Arc<Content>;
    const NAME: &'static str = "content";
    const IDEMPOTENT: bool = true;
}

/// One sender's transactions; asked by the RPC for `txpool_contentFrom`. Changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct GetContentFrom {
    /// The sender.
    pub sender: Address,
}

impl Message for GetContentFrom {
    type Reply = SenderContent;
    const NAME: &'static str = "content_from";
    const IDEMPOTENT: bool = true;
}

/// Numbers of transactions; asked by the RPC for `txpool_status`, and by health checks. Changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct GetStatus;

impl Message for GetStatus {
    type Reply = PoolStatus;
    const NAME: &'static str = "status";
    const IDEMPOTENT: bool = true;
}

/// A pooled transaction by hash; asked by the RPC. Changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct GetPooled {
    /// Its hash.
    pub hash: B256,
}

impl Message for GetPooled {
    type Reply = Option<Arc<RecoveredTx>>;
    const NAME: &'static str = "get";
    const IDEMPOTENT: bool = true;
}

/// The next nonce of a sender, counting its ready transactions; asked by the RPC for the pending transaction count. `None` if
/// the pool has nothing of this sender: then the nonce at the head is the answer. Changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct NonceOf {
    /// The sender.
    pub sender: Address,
}

impl Message for NonceOf {
    type Reply = Option<u64>;
    const NAME: &'static str = "nonce_of";
    const IDEMPOTENT: bool = true;
}
