//! What the executor knows: the head, its trie, and how to move both.

use crate::error::ExecutorError;
use alloy_consensus::{Header, Sealed};
use alloy_eips::BlockNumHash;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use duskevm_evm::{
    Block, BlockAttributes, ChainSpec, ExecuteError, ExecutedBlock, NoPool, RecoveredTx, StateSource, TrieRoots,
    TrieState, TxSource, build_block, execute_block,
};
use duskevm_fence::Fence;
use duskevm_messages::executor::ExecutorRefusal;
use duskevm_pool::{AccountReadError, AccountReader, AccountState, code_kind};
use duskevm_store::{
    db::DbError,
    l2::{
        BlockCommit, BlockRef, L2Error, L2Reader, L2Store, PreparedBlock, Returned, StateSnapshot, StoredTransaction,
    },
};
use duskevm_trie::{Changes, NodeSource, StateChanges, StateLimits, StateOutcome, StateTrie, TrieError};
use revm::{Database, bytecode::Bytecode, database_interface::DBErrorMarker, state::AccountInfo};
use std::{path::PathBuf, sync::Arc};

/// What does not change while the executor runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The rules.
    pub spec: Arc<ChainSpec>,
    /// Seconds between blocks, to know the fees of the next one.
    pub block_time: u64,
    /// Decoded trie nodes that are kept from block to block.
    pub trie: StateLimits,
    /// Folder of a journal of what a consensus client is answered. Without it such an answer waits for the database to write.
    pub answered: Option<PathBuf>,
}

/// A block that was executed and is ready to be stored.
#[derive(Debug)]
pub struct Executed {
    /// The block.
    pub block: Arc<Block>,
    /// Gas that it used.
    pub gas_used: u64,
    commit: Pending,
    trie: StateTrie,
}

/// What is to be stored.
#[derive(Debug)]
enum Pending {
    Plain(Box<BlockCommit>),
    Prepared(Box<PreparedBlock>),
}

impl Pending {
    fn block(&self) -> &BlockCommit {
        match self {
            Self::Plain(block) => block,
            Self::Prepared(prepared) => prepared.block(),
        }
    }

    fn into_prepared(self) -> PreparedBlock {
        match self {
            Self::Plain(block) => (*block).into(),
            Self::Prepared(prepared) => *prepared,
        }
    }
}

impl Executed {
    fn new(executed: ExecutedBlock, outcome: StateOutcome, trie: StateTrie) -> Self {
        let ExecutedBlock { block, receipts, changes, gas_used } = executed;
        let commit = BlockCommit {
            hash: block.hash(),
            header: block.header.inner().clone(),
            transactions: block
                .transactions
                .iter()
                .map(|tx| StoredTransaction { hash: tx.hash(), sender: tx.sender(), raw: tx.encoded().clone() })
                .collect(),
            receipts,
            state: changes,
            nodes: outcome.changes,
        };
        Self { block: Arc::new(block), gas_used, commit: Pending::Plain(Box::new(commit)), trie }
    }

    /// Does beforehand what storing the block takes and nothing else decides: for the time in which its seal is written to disk.
    #[must_use]
    pub fn prepared(self) -> Self {
        Self { commit: Pending::Prepared(Box::new(self.commit.into_prepared())), ..self }
    }

    /// The receipts, in their EIP-2718 encoding.
    pub fn receipts(&self) -> &[Bytes] {
        &self.commit.block().receipts
    }

    /// What it did to the tries.
    pub fn nodes(&self) -> &Changes {
        &self.commit.block().nodes
    }

    /// New code by its keccak256.
    pub fn codes(&self) -> &[(B256, Bytes)] {
        &self.commit.block().state.codes
    }

    /// The accounts that it changed.
    pub fn touched(&self) -> Vec<Address> {
        self.commit.block().state.accounts.iter().map(|account| account.address).collect()
    }
}

/// Transactions that go back to the pool.
#[derive(Debug, Default)]
pub struct ReturnedTransactions {
    /// Oldest block first.
    pub transactions: Vec<Arc<RecoveredTx>>,
    /// What the store keeps of them.
    pub kept: Returned,
}

/// The labels of a chain.
#[derive(Debug, Clone, Copy)]
pub struct Labels {
    /// The newest block derived from L1.
    pub safe: BlockNumHash,
    /// The newest block derived from final L1 blocks.
    pub finalized: BlockNumHash,
}

/// The chain at its head: everything of the executor but its mailbox. It moves only by [`commit`](Self::commit) and
/// [`rewind`](Self::rewind).
pub struct ChainState {
    settings: Settings,
    store: Arc<L2Store>,
    reader: L2Reader,
    source: TrieSource,
    fence: Fence,
    head: Arc<Block>,
    trie: StateTrie,
}

impl std::fmt::Debug for ChainState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainState").field("head", &self.head.number()).finish_non_exhaustive()
    }
}

/// An answer that may be a refusal, or a failure of the executor itself.
pub type Outcome<T> = Result<Result<T, ExecutorRefusal>, ExecutorError>;

impl ChainState {
    /// Opens the chain at its newest block; a database that stopped after a disk error is opened again.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(settings: Settings, store: Arc<L2Store>, fence: Fence) -> Result<Self, ExecutorError> {
        let reader = store.reader();
        // Does nothing to a database that works. Asking for the heads would not tell: they are answered from memory.
        store.reopen(&fence)?;
        let heads = reader.heads()?;
        let head = load_block(&reader, heads.latest.hash)?;
        let trie = StateTrie::new(head.header.state_root, settings.trie);
        let source = TrieSource(reader.clone());
        Ok(Self { settings, store, reader, source, fence, head: Arc::new(head), trie })
    }

    /// The newest block.
    pub const fn head(&self) -> &Arc<Block> {
        &self.head
    }

    /// The settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Safe and finalized block.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn labels(&self) -> Result<Labels, ExecutorError> {
        let heads = self.reader.heads()?;
        let id = |block: BlockRef| BlockNumHash { number: block.number, hash: block.hash };
        Ok(Labels { safe: id(heads.safe), finalized: id(heads.finalized) })
    }

    /// Says why the chain cannot be taken back to the canonical block of this number, if so; `number` is that of the block
    /// asked for.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn can_rewind(&self, to: u64, number: u64) -> Outcome<()> {
        let heads = self.reader.heads()?;
        let finalized = heads.finalized.number;
        let safe = heads.safe.number;
        if finalized <= to && to < safe {
            return Ok(Err(ExecutorRefusal::BelowSafe { number, safe }));
        }
        if to < finalized {
            return Ok(Err(ExecutorRefusal::BelowFinalized { number, finalized }));
        }
        self.has_state(to)
    }

    /// Says that the state of the canonical block of this number is pruned, if so.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn has_state(&self, number: u64) -> Outcome<()> {
        let oldest = self.reader.heads()?.oldest_state;
        Ok(if number < oldest { Err(ExecutorRefusal::BelowHistory { number, oldest }) } else { Ok(()) })
    }

    /// Number of the newest block that is on disk for certain.
    pub fn durable(&self) -> u64 {
        self.store.durable_number().unwrap_or_default()
    }

    /// The state at the head.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn state(&self) -> Result<SnapshotDb, ExecutorError> {
        snapshot(&self.reader, self.head.hash())
    }

    /// Number of a canonical block.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn number_of(&self, hash: B256) -> Result<Option<u64>, ExecutorError> {
        Ok(self.reader.block(&hash)?.map(|block| block.number))
    }

    /// Is this block in the chain?
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn is_canonical(&self, number: u64, hash: B256) -> Result<bool, ExecutorError> {
        Ok(self.reader.canonical_hash(number)? == Some(hash))
    }

    /// The hash of the canonical block of a number up to that of the head.
    ///
    /// # Errors
    /// If the store cannot be read or has no such block.
    pub fn canonical(&self, number: u64) -> Result<B256, ExecutorError> {
        let missing = || ExecutorError::Head(format!("no block of number {number} is in the chain"));
        self.reader.canonical_hash(number)?.ok_or_else(missing)
    }

    /// Builds a block on the head. Nothing is stored.
    ///
    /// # Errors
    /// If the state cannot be read; attributes that make no valid block are a refusal.
    pub fn build<P: TxSource>(&self, attributes: &BlockAttributes, pool: &mut P) -> Outcome<Executed> {
        let mut trie = self.trie.clone();
        let mut roots = TrieRoots::new(&mut trie, &self.source);
        let built = build_block(&self.settings.spec, &self.head.header, attributes, pool, self.state()?, &mut roots);
        let outcome = roots.into_outcome();
        finish(built, outcome, trie)
    }

    /// Executes a block on the head.
    ///
    /// # Errors
    /// If the store fails.
    pub fn execute(&self, block: &Block) -> Outcome<Executed> {
        let mut trie = self.trie.clone();
        let mut roots = TrieRoots::new(&mut trie, &self.source);
        let executed = execute_block(&self.settings.spec, &self.head.header, block, self.state()?, &mut roots);
        let outcome = roots.into_outcome();
        finish(executed, outcome, trie)
    }

    /// Executes a block on the state of its canonical parent, which is below the head. Nothing is kept.
    ///
    /// # Errors
    /// If the store fails.
    pub fn check_on_ancestor(&self, block: &Block) -> Outcome<()> {
        let run = |parent: &Sealed<Header>, state: TrieState<'_, TrieSource>, roots: &mut TrieRoots<'_, TrieSource>| {
            execute_block(&self.settings.spec, parent, block, state, roots).map(drop).map_err(Box::new)
        };
        self.on_ancestor(block.header.parent_hash, run)
    }

    /// Builds a block of forced transactions on the state of a canonical block that is below the head, and returns its hash. Nothing
    /// is kept.
    ///
    /// # Errors
    /// If the store fails; attributes that make no valid block are a refusal.
    pub fn build_on_ancestor(&self, parent: B256, attributes: &BlockAttributes) -> Outcome<B256> {
        let run = |parent: &Sealed<Header>, state: TrieState<'_, TrieSource>, roots: &mut TrieRoots<'_, TrieSource>| {
            build_block(&self.settings.spec, parent, attributes, &mut NoPool, state, roots)
                .map(|built| built.block.hash())
                .map_err(Box::new)
        };
        self.on_ancestor(parent, run)
    }

    /// Executes a block on the state of `parent`, which `source` has and which need not be in the chain. Nothing is stored.
    ///
    /// # Errors
    /// If the store fails.
    pub fn execute_on<S>(&self, parent: &Sealed<Header>, source: &S, block: &Block) -> Outcome<Executed>
    where
        S: StateSource<Error = SnapshotError>,
    {
        let mut trie = StateTrie::new(parent.state_root, self.settings.trie);
        let state = TrieState::new(source, parent.clone());
        let mut roots = TrieRoots::new(&mut trie, source);
        let executed = execute_block(&self.settings.spec, parent, block, state, &mut roots);
        let outcome = roots.into_outcome();
        finish(executed, outcome, trie)
    }

    /// The database as a source of tries, code and headers.
    pub const fn source(&self) -> &TrieSource {
        &self.source
    }

    fn on_ancestor<T>(
        &self,
        parent: B256,
        run: impl FnOnce(
            &Sealed<Header>,
            TrieState<'_, TrieSource>,
            &mut TrieRoots<'_, TrieSource>,
        ) -> Result<T, Box<ExecuteError<TrieError<SnapshotError>>>>,
    ) -> Outcome<T> {
        let parent = load_block(&self.reader, parent)?;
        let mut trie = StateTrie::new(parent.header.state_root, self.settings.trie);
        let state = TrieState::new(&self.source, parent.header.clone());
        let mut roots = TrieRoots::new(&mut trie, &self.source);
        match run(&parent.header, state, &mut roots) {
            Ok(done) => Ok(Ok(done)),
            Err(error) if error.is_invalid_block() => Ok(Err(ExecutorRefusal::Invalid(error.to_string()))),
            Err(error) => Err(ExecutorError::Execution(error.to_string())),
        }
    }

    /// A canonical block.
    ///
    /// # Errors
    /// If the store cannot be read or has no such block.
    pub fn block(&self, hash: B256) -> Result<Block, ExecutorError> {
        load_block(&self.reader, hash)
    }

    /// Stores an executed block and makes it the head.
    ///
    /// # Errors
    /// If the store fails.
    pub fn commit(&mut self, executed: Executed) -> Result<(), ExecutorError> {
        let Executed { block, commit, trie, .. } = executed;
        self.store.commit_block(&self.fence, commit.into_prepared())?;
        self.head = block;
        self.trie = trie;
        Ok(())
    }

    /// Takes the chain back to a canonical block. Returns how many blocks it dropped.
    ///
    /// # Errors
    /// If the store fails.
    pub fn rewind(&mut self, to: B256) -> Result<usize, ExecutorError> {
        let dropped = match self.store.rewind_to(&self.fence, to) {
            Ok(dropped) => dropped.len(),
            Err(error @ L2Error::Db(DbError::DiskFull { .. })) => {
                // Whole blocks went, as many as there was room for: the chain ends where the store says.
                let head = self.reader.heads()?.latest.hash;
                self.stand_at(head)?;
                return Err(error.into());
            }
            Err(error) => return Err(ExecutorError::Rewind(Box::new(error))),
        };
        self.stand_at(to)?;
        Ok(dropped)
    }

    fn stand_at(&mut self, hash: B256) -> Result<(), ExecutorError> {
        self.head = Arc::new(load_block(&self.reader, hash)?);
        self.trie.set_root(self.head.header.state_root);
        Ok(())
    }

    /// The user transactions of blocks that were dropped, also before a crash, and that the pool is not known to have taken back.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn returned(&self) -> Result<ReturnedTransactions, ExecutorError> {
        let kept = self.store.returned()?;
        let transactions = kept.transactions.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        Ok(ReturnedTransactions { transactions, kept })
    }

    /// The pool has them.
    ///
    /// # Errors
    /// If the store fails.
    pub fn forget_returned(&self, returned: &Returned) -> Result<(), ExecutorError> {
        Ok(self.store.forget_returned(&self.fence, returned)?)
    }

    /// Notes which block is safe once an L1 block has been read, or forgets all that was noted.
    ///
    /// # Errors
    /// If the store fails.
    pub fn note_safe_head(&self, at: Option<(BlockNumHash, BlockNumHash)>) -> Result<(), ExecutorError> {
        let block = |id: BlockNumHash| BlockRef { number: id.number, hash: id.hash };
        match at {
            Some((l1, l2)) => self.store.note_safe_head(&self.fence, block(l1), block(l2))?,
            None => self.store.forget_safe_heads(&self.fence)?,
        }
        Ok(())
    }

    /// Notes that L1 puts this block in the place of another one.
    ///
    /// # Errors
    /// If the store fails.
    pub fn note_replaced(&self, number: u64, hash: B256) -> Result<(), ExecutorError> {
        Ok(self.store.note_replaced(&self.fence, BlockRef { number, hash })?)
    }

    /// The newest block that L1 put in the place of another one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn replaced(&self) -> Result<Option<BlockNumHash>, ExecutorError> {
        let replaced = self.reader.replaced()?;
        Ok(replaced.map(|block| BlockNumHash { number: block.number, hash: block.hash }))
    }

    /// Moves the safe and finalized labels.
    ///
    /// # Errors
    /// If the store fails; labels that contradict the chain are a refusal.
    pub fn set_labels(&mut self, safe: Option<B256>, finalized: Option<B256>) -> Outcome<()> {
        let mut heads = self.reader.heads()?;
        for (label, wanted) in [(&mut heads.safe, safe), (&mut heads.finalized, finalized)] {
            let Some(hash) = wanted else { continue };
            let Some(number) = self.number_of(hash)? else { return Ok(Err(ExecutorRefusal::UnknownBlock(hash))) };
            *label = BlockRef { number, hash };
        }
        match self.store.set_heads(&self.fence, heads.safe, heads.finalized) {
            Ok(()) => Ok(Ok(())),
            Err(error @ (L2Error::BadHeads { .. } | L2Error::UnknownBlock(_))) => {
                Ok(Err(ExecutorRefusal::Invalid(error.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes everything to disk.
    ///
    /// # Errors
    /// If the store fails.
    pub fn flush(&self) -> Result<(), ExecutorError> {
        Ok(self.store.flush()?)
    }
}

fn finish(
    result: Result<ExecutedBlock, ExecuteError<TrieError<SnapshotError>>>,
    outcome: Option<StateOutcome>,
    trie: StateTrie,
) -> Outcome<Executed> {
    match (result, outcome) {
        (Ok(executed), Some(outcome)) => Ok(Ok(Executed::new(executed, outcome, trie))),
        (Ok(_), None) => Err(ExecutorError::Execution("the state root was not computed".into())),
        (Err(error), _) if error.is_invalid_block() => Ok(Err(ExecutorRefusal::Invalid(error.to_string()))),
        (Err(error), _) => Err(ExecutorError::Execution(error.to_string())),
    }
}

fn decode(stored: &StoredTransaction) -> Result<Arc<RecoveredTx>, ExecutorError> {
    RecoveredTx::decode_with_sender(&stored.raw, stored.sender)
        .map(Arc::new)
        .map_err(|error| ExecutorError::Head(format!("stored transaction {}: {error}", stored.hash)))
}

fn load_block(reader: &L2Reader, hash: B256) -> Result<Block, ExecutorError> {
    let missing = || ExecutorError::Head(format!("block {hash} is not in the database"));
    let header: Header = reader.header(&hash)?.ok_or_else(missing)?;
    let body = reader.body(&hash)?.ok_or_else(missing)?;
    Block::from_stored(header, hash, body.into_iter().map(|stored| (stored.raw, stored.sender)))
        .map_err(|error| ExecutorError::Head(format!("block {hash}: {error}")))
}

fn snapshot(reader: &L2Reader, block: B256) -> Result<SnapshotDb, ExecutorError> {
    Ok(SnapshotDb(reader.state_at(&block)?))
}

/// A snapshot of the state as execution reads it.
#[derive(Debug, Clone)]
pub struct SnapshotDb(StateSnapshot);

/// The state could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SnapshotError(#[from] L2Error);

impl DBErrorMarker for SnapshotError {}

impl Database for SnapshotDb {
    type Error = SnapshotError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, SnapshotError> {
        Ok(self.0.account(&address)?.map(|account| AccountInfo {
            nonce: account.nonce,
            balance: account.balance,
            code_hash: account.code_hash,
            ..AccountInfo::default().without_code()
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, SnapshotError> {
        if hash == KECCAK256_EMPTY {
            return Ok(Bytecode::default());
        }
        Ok(Bytecode::new_raw(code_of(&self.0, hash)?))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, SnapshotError> {
        Ok(self.0.storage(&address, &slot)?)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, SnapshotError> {
        Ok(self.0.block_hash(number)?.unwrap_or_default())
    }
}

impl AccountReader for SnapshotDb {
    fn account(&self, address: Address) -> Result<AccountState, AccountReadError> {
        let read = |error: L2Error| AccountReadError { address, reason: error.to_string() };
        let Some(account) = self.0.account(&address).map_err(read)? else { return Ok(AccountState::default()) };
        let code = match account.code_hash {
            KECCAK256_EMPTY => Bytes::new(),
            hash => code_of(&self.0, hash).map_err(read)?,
        };
        Ok(AccountState { nonce: account.nonce, balance: account.balance, code: code_kind(&code) })
    }
}

/// Code that an account names is there, or the database is damaged.
fn code_of(state: &StateSnapshot, hash: B256) -> Result<Bytes, L2Error> {
    state.code(&hash)?.ok_or_else(|| L2Error::Damaged { what: format!("code {hash} is missing") })
}

/// The database as a source of tries, code and headers.
#[derive(Debug, Clone)]
pub struct TrieSource(pub L2Reader);

impl NodeSource for TrieSource {
    type Error = SnapshotError;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, SnapshotError> {
        self.0.node(hash).map_err(|error| SnapshotError(error.into()))
    }
}

impl StateSource for TrieSource {
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, SnapshotError> {
        Ok(self.0.code(hash)?)
    }

    fn header(&self, hash: &B256) -> Result<Option<Header>, SnapshotError> {
        Ok(self.0.header(hash)?)
    }
}

/// A block without parent and without execution, as the store takes it.
pub fn genesis_commit(block: &Block, state: StateChanges, nodes: Changes) -> BlockCommit {
    BlockCommit {
        hash: block.hash(),
        header: block.header.inner().clone(),
        transactions: Vec::new(),
        receipts: Vec::new(),
        state,
        nodes,
    }
}
