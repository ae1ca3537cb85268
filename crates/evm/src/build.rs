//! Building and executing blocks: one way for the sequencer, for import, and for stateless execution.

use crate::{
    block::Block,
    header::{self, HeaderError},
    lists::{FinishedLists, Lists, PlainReceipts, with_scope},
    overlay::Overlay,
    spec::ChainSpec,
    tx::RecoveredTx,
};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, Sealable, Sealed};
use alloy_eips::{
    eip2718::{Decodable2718, Eip2718Result},
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_evm::{
    Database, EvmFactory, FromTxWithEncoded,
    block::{BlockExecutionError, BlockExecutor, BlockValidationError},
    eth::NextEvmEnvAttributes,
};
use alloy_op_evm::{
    OpBlockExecutionCtx, OpBlockExecutor, OpEvmFactory, OpTx, block::OpBlockExecutionError, evm_env_for_op_next_block,
};
use alloy_op_hardforks::OpHardforks;
use alloy_primitives::{Address, B64, B256, Bytes, U256, map::HashSet};
use alloy_trie::EMPTY_ROOT_HASH;
use duskevm_trie::StateChanges;
use op_alloy_consensus::OpReceiptEnvelope;

/// What a block must be built from: the OP Stack's payload attributes, with senders known.
#[derive(Debug, Clone)]
pub struct BlockAttributes {
    /// L2 time in seconds.
    pub timestamp: u64,
    /// `mixHash` of the L1 origin.
    pub prev_randao: B256,
    /// Where priority fees go.
    pub fee_recipient: Address,
    /// The L1 origin's parent beacon block root (zero if it has none); given exactly from Ecotone on.
    pub parent_beacon_block_root: Option<B256>,
    /// Gas limit of the block, from the system config.
    pub gas_limit: u64,
    /// Denominator and elasticity; given exactly from Holocene on. Zero stands for the chain's constants.
    pub eip1559_params: Option<B64>,
    /// Given exactly from Jovian on, in wei.
    pub min_base_fee: Option<u64>,
    /// Transactions that the block must begin with, deposits first. One that cannot be executed makes the block invalid.
    pub transactions: Vec<Arc<RecoveredTx>>,
}

impl BlockAttributes {
    /// The attributes that lead to exactly this block: all of its transactions forced.
    ///
    /// # Errors
    /// If the header's extra data is not what its fork prescribes.
    pub fn of_block(spec: &ChainSpec, block: &Block) -> Result<Self, HeaderError> {
        let head = block.header.inner();
        let (eip1559_params, min_base_fee) = header::params_of_extra_data(spec, head).map_err(|source| {
            HeaderError::ParentExtraData { number: head.number, extra_data: head.extra_data.clone(), source }
        })?;
        Ok(Self {
            timestamp: head.timestamp,
            prev_randao: head.mix_hash,
            fee_recipient: head.beneficiary,
            parent_beacon_block_root: head.parent_beacon_block_root,
            gas_limit: head.gas_limit,
            eip1559_params,
            min_base_fee,
            transactions: block.transactions.clone(),
        })
    }
}

/// Where transactions beyond the forced ones come from: the pool, in the order in which they are to be tried.
pub trait TxSource {
    /// The next transaction to try, or `None` when the block is to be closed.
    ///
    /// `gas_left` is what the block can still hold; `gas_used` what it holds. A source that keeps a time budget returns `None`
    /// when it is spent.
    fn next(&mut self, gas_left: u64, gas_used: u64) -> Option<Arc<RecoveredTx>>;

    /// The transaction was left out for this reason. Transactions of the same sender that follow it will not be tried in this block.
    fn rejected(&mut self, tx: &Arc<RecoveredTx>, reason: &Rejection);
}

/// A source without transactions: deposits-only blocks and import.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPool;

impl TxSource for NoPool {
    fn next(&mut self, _: u64, _: u64) -> Option<Arc<RecoveredTx>> {
        None
    }

    fn rejected(&mut self, _: &Arc<RecoveredTx>, _: &Rejection) {}
}

/// Why a pool transaction is not in the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// It does not fit the gas or DA footprint that is left; it may fit the next block.
    NoRoom,
    /// It cannot be executed on this state: nonce, balance, fee cap, …
    Invalid(String),
}

/// A state root after a block, computed by whoever holds the state.
pub trait StateRoots: Send {
    /// Its failures: a missing trie node, a database error.
    type Error: core::error::Error + Send + Sync + 'static;

    /// The state root after `changes` are applied to the parent's state, and the storage root of the L2ToL1MessagePasser
    /// in that state.
    ///
    /// # Errors
    /// If a node that is needed cannot be had.
    fn roots_after(&mut self, changes: &StateChanges) -> Result<Roots, Self::Error>;
}

/// Roots of the state after a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots {
    /// Of the account trie.
    pub state: B256,
    /// Of the storage trie of the L2ToL1MessagePasser.
    pub message_passer: B256,
}

/// A block that was executed, with all that follows from it.
#[derive(Debug, Clone)]
pub struct ExecutedBlock {
    /// The block.
    pub block: Block,
    /// One receipt per transaction, in its EIP-2718 encoding.
    pub receipts: Vec<Bytes>,
    /// What it changed.
    pub changes: StateChanges,
    /// Time-independent measure of the work: gas used by all transactions.
    pub gas_used: u64,
}

impl ExecutedBlock {
    /// The receipts, decoded.
    ///
    /// # Errors
    /// If a receipt was replaced by bytes that are none.
    pub fn decoded_receipts(&self) -> Eip2718Result<Vec<OpReceiptEnvelope>> {
        self.receipts.iter().map(|receipt| OpReceiptEnvelope::decode_2718_exact(receipt)).collect()
    }
}

/// Why a block cannot be built or is not valid.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R: core::error::Error> {
    /// A header rule is broken.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A forced transaction cannot be executed: the block is invalid.
    #[error("transaction {index} ({hash}): {reason}")]
    Forced {
        /// Position in the block.
        index: usize,
        /// Its hash.
        hash: B256,
        /// What the execution says of it.
        reason: String,
    },
    /// The state could not be read: nothing is known of the block.
    #[error("state: {0}")]
    State(String),
    /// Roots could not be computed: nothing is known of the block.
    #[error("state root: {0}")]
    Roots(#[source] R),
    /// Execution arrives at another header than the block's.
    #[error("block {number}: {field} is {found}, execution gives {computed}")]
    Mismatch {
        /// Number of the block.
        number: u64,
        /// The first header field that differs.
        field: &'static str,
        /// In the block.
        found: String,
        /// By execution.
        computed: String,
    },
}

impl<R: core::error::Error> ExecuteError<R> {
    /// Does the error condemn the block, rather than the state it was tried on?
    pub const fn is_invalid_block(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Forced { .. } | Self::Mismatch { .. })
    }
}

/// Builds the block that `attributes` and `pool` give on top of `parent`, whose state is `state`.
///
/// # Errors
/// See [`ExecuteError`]. A pool transaction never makes the block fail: it is left out.
pub fn build_block<D, R, P>(
    spec: &ChainSpec,
    parent: &Sealed<Header>,
    attributes: &BlockAttributes,
    pool: &mut P,
    state: D,
    roots: &mut R,
) -> Result<ExecutedBlock, ExecuteError<R::Error>>
where
    D: Database,
    R: StateRoots,
    P: TxSource,
{
    if attributes.timestamp <= parent.timestamp {
        return Err(HeaderError::Timestamp { timestamp: attributes.timestamp, parent: parent.timestamp }.into());
    }
    let extra_data =
        header::extra_data(spec, attributes.timestamp, attributes.eip1559_params, attributes.min_base_fee)?;
    let base_fee = header::next_base_fee(spec, parent, attributes.timestamp)?;
    let outcome = run(spec, parent, attributes, base_fee, &extra_data, pool, state)?;
    let Outcome { lists, changes, gas_used, blob_gas_used } = outcome;

    // The state root and the two list roots need nothing from one another.
    let (state_roots, (transactions_root, receipts_root)) =
        join(|| roots.roots_after(&changes), || lists.roots(spec, attributes.timestamp));
    let state_roots = state_roots.map_err(ExecuteError::Roots)?;

    let forks = spec.hardforks();
    let at = attributes.timestamp;
    let ecotone = forks.is_ecotone_active_at_timestamp(at);
    let header = Header {
        parent_hash: parent.hash(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: attributes.fee_recipient,
        state_root: state_roots.state,
        transactions_root,
        receipts_root,
        logs_bloom: lists.logs_bloom,
        difficulty: U256::ZERO,
        number: parent.number + 1,
        gas_limit: attributes.gas_limit,
        gas_used,
        timestamp: at,
        extra_data,
        mix_hash: attributes.prev_randao,
        nonce: B64::ZERO,
        base_fee_per_gas: Some(base_fee),
        withdrawals_root: if forks.is_isthmus_active_at_timestamp(at) {
            Some(state_roots.message_passer)
        } else {
            forks.is_canyon_active_at_timestamp(at).then_some(EMPTY_ROOT_HASH)
        },
        blob_gas_used: ecotone.then_some(blob_gas_used),
        excess_blob_gas: ecotone.then_some(0),
        parent_beacon_block_root: attributes.parent_beacon_block_root,
        requests_hash: forks.is_isthmus_active_at_timestamp(at).then_some(EMPTY_REQUESTS_HASH),
        ..Default::default()
    };
    let FinishedLists { transactions, receipts, .. } = lists;
    let block = Block { header: header.seal_slow(), transactions };
    Ok(ExecutedBlock { block, receipts, changes, gas_used })
}

/// Executes a block made elsewhere and checks every field of its header.
///
/// # Errors
/// See [`ExecuteError`]; [`ExecuteError::Mismatch`] names the first header field that execution does not confirm.
pub fn execute_block<D, R>(
    spec: &ChainSpec,
    parent: &Sealed<Header>,
    block: &Block,
    state: D,
    roots: &mut R,
) -> Result<ExecutedBlock, ExecuteError<R::Error>>
where
    D: Database,
    R: StateRoots,
{
    // The cheap fields first: they need no execution.
    let head = block.header.inner();
    compare(head.number, "parentHash", head.parent_hash, parent.hash())?;
    compare(head.number, "number", head.number, parent.number + 1)?;
    let attributes = BlockAttributes::of_block(spec, block)?;
    let executed = build_block(spec, parent, &attributes, &mut NoPool, state, roots)?;
    compare_headers(head, executed.block.header.inner())?;
    Ok(executed)
}

struct Outcome {
    lists: FinishedLists,
    changes: StateChanges,
    gas_used: u64,
    blob_gas_used: u64,
}

/// A transaction as the block executor takes it: the environment is built from the bytes at hand instead of encoding again.
fn executable(tx: &RecoveredTx) -> (OpTx, alloy_consensus::transaction::Recovered<&op_alloy_consensus::OpTxEnvelope>) {
    (
        OpTx::from_encoded_tx(tx.envelope(), tx.sender(), tx.encoded().clone()),
        alloy_consensus::transaction::Recovered::new_unchecked(tx.envelope(), tx.sender()),
    )
}

fn run<D, P, E>(
    spec: &ChainSpec,
    parent: &Sealed<Header>,
    attributes: &BlockAttributes,
    base_fee: u64,
    extra_data: &Bytes,
    pool: &mut P,
    state: D,
) -> Result<Outcome, ExecuteError<E>>
where
    D: Database,
    P: TxSource,
    E: core::error::Error,
{
    let forks = spec.hardforks();
    let env = evm_env_for_op_next_block(
        parent.inner(),
        NextEvmEnvAttributes {
            timestamp: attributes.timestamp,
            suggested_fee_recipient: attributes.fee_recipient,
            prev_randao: attributes.prev_randao,
            gas_limit: attributes.gas_limit,
            slot_number: None,
        },
        base_fee,
        forks,
        spec.chain_id,
    );
    let mut db = Overlay::new(state);
    let evm = OpEvmFactory::<OpTx>::default().create_evm(&mut db, env);
    let context = OpBlockExecutionCtx {
        parent_hash: parent.hash(),
        parent_beacon_block_root: attributes.parent_beacon_block_root,
        extra_data: extra_data.clone(),
    };
    let mut executor = OpBlockExecutor::new(evm, context, forks, PlainReceipts);
    executor.apply_pre_execution_changes().map_err(|error| ExecuteError::State(error.to_string()))?;

    let mut lists = Lists::new(spec, attributes.timestamp, attributes.transactions.len());
    with_scope(|scope| {
        for (index, tx) in attributes.transactions.iter().enumerate() {
            match executor.execute_transaction(executable(tx)) {
                Ok(_) => lists.push(scope, Arc::clone(tx), &mut executor.receipts),
                Err(BlockExecutionError::Validation(reason)) => {
                    return Err(ExecuteError::Forced { index, hash: tx.hash(), reason: reason.to_string() });
                }
                Err(error) => return Err(ExecuteError::State(error.to_string())),
            }
        }

        // A sender whose transaction was left out cannot go on: the next nonce would have a gap.
        let mut blocked: HashSet<Address> = HashSet::default();
        loop {
            let gas_left = attributes.gas_limit.saturating_sub(executor.gas_used);
            let Some(tx) = pool.next(gas_left, executor.gas_used) else { break };
            if blocked.contains(&tx.sender()) {
                continue;
            }
            match executor.execute_transaction(executable(&tx)) {
                Ok(_) => lists.push(scope, tx, &mut executor.receipts),
                Err(BlockExecutionError::Validation(error)) => {
                    blocked.insert(tx.sender());
                    pool.rejected(&tx, &rejection(error));
                }
                Err(error) => return Err(ExecuteError::State(error.to_string())),
            }
        }
        Ok(())
    })?;

    let gas_used = executor.gas_used;
    let (_, result) = executor.finish().map_err(|error| ExecuteError::State(error.to_string()))?;
    let changes = db.into_changes().map_err(ExecuteError::State)?;
    Ok(Outcome { lists: lists.finish(&result.receipts), changes, gas_used, blob_gas_used: result.blob_gas_used })
}

fn rejection(error: BlockValidationError) -> Rejection {
    match error {
        BlockValidationError::TransactionGasLimitMoreThanAvailableBlockGas { .. } => Rejection::NoRoom,
        BlockValidationError::Other(inner)
            if matches!(
                inner.downcast_ref::<OpBlockExecutionError>(),
                Some(OpBlockExecutionError::TransactionDaFootprintAboveGasLimit { .. })
            ) =>
        {
            Rejection::NoRoom
        }
        other => Rejection::Invalid(other.to_string()),
    }
}

/// Both, at the same time where there are threads.
#[cfg(feature = "std")]
pub(crate) fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    rayon::join(a, b)
}

/// Both.
#[cfg(not(feature = "std"))]
pub(crate) fn join<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B) -> (A, B) {
    (a(), b())
}

fn compare<T: PartialEq + core::fmt::Debug, E: core::error::Error>(
    number: u64,
    field: &'static str,
    found: T,
    computed: T,
) -> Result<(), ExecuteError<E>> {
    if found == computed {
        return Ok(());
    }
    Err(ExecuteError::Mismatch {
        number,
        field,
        found: alloc::format!("{found:?}"),
        computed: alloc::format!("{computed:?}"),
    })
}

fn compare_headers<E: core::error::Error>(found: &Header, computed: &Header) -> Result<(), ExecuteError<E>> {
    let n = found.number;
    compare(n, "gasUsed", found.gas_used, computed.gas_used)?;
    compare(n, "baseFeePerGas", found.base_fee_per_gas, computed.base_fee_per_gas)?;
    compare(n, "extraData", &found.extra_data, &computed.extra_data)?;
    compare(n, "transactionsRoot", found.transactions_root, computed.transactions_root)?;
    compare(n, "receiptsRoot", found.receipts_root, computed.receipts_root)?;
    compare(n, "logsBloom", found.logs_bloom, computed.logs_bloom)?;
    compare(n, "withdrawalsRoot", found.withdrawals_root, computed.withdrawals_root)?;
    compare(n, "requestsHash", found.requests_hash, computed.requests_hash)?;
    compare(n, "blobGasUsed", found.blob_gas_used, computed.blob_gas_used)?;
    compare(n, "excessBlobGas", found.excess_blob_gas, computed.excess_blob_gas)?;
    compare(n, "difficulty", found.difficulty, computed.difficulty)?;
    compare(n, "nonce", found.nonce, computed.nonce)?;
    compare(n, "sha3Uncles", found.ommers_hash, computed.ommers_hash)?;
    compare(n, "stateRoot", found.state_root, computed.state_root)?;
    compare(n, "hash", found.hash_slow(), computed.hash_slow())
}
