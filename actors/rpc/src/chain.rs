//! The chain as the RPC reads it: a thin facade over whatever stores it.
//!
//! Nothing here goes through an actor's mailbox: [`ChainReader`] reads immutable data and snapshots.

use crate::{cache::Cache, error::RpcError};
use alloy_consensus::{Header, Sealed};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U256};
use duskevm_evm::{Block, ChainSpec};
use op_alloy_consensus::OpReceiptEnvelope;
use std::{fmt, sync::Arc};

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It was there once and was pruned.
    #[error("{0} is not available: it was pruned (set `archive = true` to keep it)")]
    Pruned(String),
    /// Nobody keeps it.
    #[error(
        "{0} is not kept: only that of the newest final L1 block and of those above it can be read (the L1 view may be behind them for a moment)"
    )]
    NotKept(String),
    /// The block was taken out of the chain while its state was being read.
    #[error("{0} is no longer part of the chain: ask again for the new head")]
    Reorged(String),
    /// The database is not open yet, or is being opened again.
    #[error("the chain is being opened: try again in a moment")]
    NotReady,
    /// The database failed.
    #[error("cannot read the chain: {0}")]
    Backend(String),
}

impl revm::database_interface::DBErrorMarker for ReadError {}

/// A block by number and hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// Where the chain stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heads {
    /// The newest block: `latest`, in rollup terms *unsafe*.
    pub latest: BlockRef,
    /// The newest block that is derived from L1: `safe`.
    pub safe: BlockRef,
    /// The newest block that is derived from final L1 blocks: `finalized`.
    pub finalized: BlockRef,
}

/// An L2 block that was safe, and the L1 block at which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafeHead {
    /// The newest L1 block that had been read.
    pub l1: BlockRef,
    /// The safe head by then.
    pub l2: BlockRef,
}

/// Where a transaction is in the canonical chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxLocation {
    /// Hash of the block.
    pub block: B256,
    /// Position in the block.
    pub index: usize,
}

/// An account as the state holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// Keccak-256 of the code; that of nothing for an account without code.
    pub code_hash: B256,
}

/// Merkle proof of an account and of some of its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountProof {
    /// The account; `None` if the proof shows that there is none.
    pub account: Option<Account>,
    /// Root of its storage trie.
    pub storage_root: B256,
    /// Nodes from the state root down.
    pub nodes: Vec<Bytes>,
    /// One for each slot asked for, in the same order.
    pub slots: Vec<SlotProof>,
}

/// Merkle proof of one storage slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotProof {
    /// The slot.
    pub slot: U256,
    /// Its value; zero if the proof shows that there is none.
    pub value: U256,
    /// Nodes from the storage root down.
    pub nodes: Vec<Bytes>,
}

/// The state after one block. An immutable snapshot.
pub trait StateReader: Send + Sync {
    /// An account, if it exists.
    ///
    /// # Errors
    /// If it cannot be read.
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError>;
    /// A storage slot; zero if it was never written.
    ///
    /// # Errors
    /// If it cannot be read.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError>;
    /// Code by its keccak-256 hash.
    ///
    /// # Errors
    /// If it cannot be read.
    fn code(&self, hash: B256) -> Result<Bytes, ReadError>;
    /// Hash of an ancestor by number, as the BLOCKHASH instruction sees it.
    ///
    /// # Errors
    /// If it cannot be read.
    fn block_hash(&self, number: u64) -> Result<B256, ReadError>;
    /// Proofs against this state's root.
    ///
    /// # Errors
    /// If a node cannot be read.
    fn prove(&self, address: Address, slots: &[U256]) -> Result<AccountProof, ReadError>;
}

/// Reads of blocks and states. All methods may be called from any thread and may block for a disk read.
pub trait ChainReader: Send + Sync {
    /// Where the chain stands. Cheap.
    ///
    /// # Errors
    /// [`ReadError::NotReady`] before the chain was opened for the first time.
    fn heads(&self) -> Result<Heads, ReadError>;
    /// Hash of the canonical block with this number.
    ///
    /// # Errors
    /// If it cannot be read.
    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError>;
    /// A header, canonical or not.
    ///
    /// # Errors
    /// If it cannot be read.
    fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError>;
    /// A block, canonical or not.
    ///
    /// # Errors
    /// If it cannot be read.
    fn block(&self, hash: B256) -> Result<Option<Arc<Block>>, ReadError>;
    /// Receipts of a block, canonical or not.
    ///
    /// # Errors
    /// If they cannot be read.
    fn receipts(&self, hash: B256) -> Result<Option<Arc<Vec<OpReceiptEnvelope>>>, ReadError>;
    /// Where a transaction is in the canonical chain.
    ///
    /// # Errors
    /// If it cannot be read.
    fn transaction(&self, hash: B256) -> Result<Option<TxLocation>, ReadError>;
    /// What was safe once everything up to this L1 block had been read; `None` if this node has not read it.
    ///
    /// # Errors
    /// If it cannot be read.
    fn safe_head_at(&self, l1_number: u64) -> Result<Option<SafeHead>, ReadError>;
    /// The state after a block; `None` if the block is unknown.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] if its state is no longer kept.
    fn state(&self, block: B256) -> Result<Option<Arc<dyn StateReader>>, ReadError>;
}

/// A block with its receipts.
#[derive(Debug, Clone)]
pub struct BlockAndReceipts {
    /// The block.
    pub block: Arc<Block>,
    /// One receipt for each transaction.
    pub receipts: Arc<Vec<OpReceiptEnvelope>>,
}

/// The chain with its rules and a cache. Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

struct Inner {
    reader: Arc<dyn ChainReader>,
    spec: ChainSpec,
    blocks: Cache<B256, Block>,
    receipts: Cache<B256, Vec<OpReceiptEnvelope>>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("heads", &self.heads()).finish_non_exhaustive()
    }
}

impl Chain {
    /// A chain that keeps up to `cache_bytes` of recently read blocks and receipts.
    pub fn new(reader: Arc<dyn ChainReader>, spec: ChainSpec, cache_bytes: usize) -> Self {
        let half = cache_bytes / 2;
        Self { inner: Arc::new(Inner { reader, spec, blocks: Cache::new(half), receipts: Cache::new(half) }) }
    }

    /// Which rules hold when.
    pub fn spec(&self) -> &ChainSpec {
        &self.inner.spec
    }

    /// Where the chain stands.
    ///
    /// # Errors
    /// [`ReadError::NotReady`] before the chain was opened for the first time.
    pub fn heads(&self) -> Result<Heads, ReadError> {
        self.inner.reader.heads()
    }

    /// Hash of the canonical block with this number; `None` above the newest one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError> {
        let latest = self.heads()?.latest;
        match number {
            n if n == latest.number => Ok(Some(latest.hash)),
            n if n > latest.number => Ok(None),
            n => self.inner.reader.canonical_hash(n),
        }
    }

    /// What was safe once everything up to this L1 block had been read; `None` if this node has not read it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn safe_head_at(&self, l1_number: u64) -> Result<Option<SafeHead>, ReadError> {
        self.inner.reader.safe_head_at(l1_number)
    }

    /// Hash of the block that an id names; `None` if there is no such block.
    ///
    /// # Errors
    /// If it cannot be read, or if a canonical block is required and this one is not (EIP-1898).
    pub fn hash_of(&self, id: BlockId) -> Result<Option<B256>, RpcError> {
        match id {
            BlockId::Number(tag) => {
                let heads = self.heads()?;
                Ok(match tag {
                    BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => Some(heads.latest.hash),
                    BlockNumberOrTag::Safe => Some(heads.safe.hash),
                    BlockNumberOrTag::Finalized => Some(heads.finalized.hash),
                    BlockNumberOrTag::Earliest => self.canonical_hash(0)?,
                    BlockNumberOrTag::Number(number) => self.canonical_hash(number)?,
                })
            }
            BlockId::Hash(wanted) => {
                if wanted.require_canonical == Some(true)
                    && let Some(header) = self.header(wanted.block_hash)?
                    && self.canonical_hash(header.number)? != Some(wanted.block_hash)
                {
                    return Err(RpcError::server("hash is not currently canonical"));
                }
                Ok(Some(wanted.block_hash))
            }
        }
    }

    /// A header by hash.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError> {
        match self.inner.blocks.get(&hash) {
            Some(block) => Ok(Some(block.header.clone())),
            None => self.inner.reader.header(hash),
        }
    }

    /// A block by hash.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn block(&self, hash: B256) -> Result<Option<Arc<Block>>, ReadError> {
        if let Some(block) = self.inner.blocks.get(&hash) {
            return Ok(Some(block));
        }
        let block = self.inner.reader.block(hash)?;
        if let Some(block) = &block {
            self.inner.blocks.insert(hash, block.clone(), block_weight(block));
        }
        Ok(block)
    }

    /// Receipts by hash of their block.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn receipts(&self, hash: B256) -> Result<Option<Arc<Vec<OpReceiptEnvelope>>>, ReadError> {
        if let Some(receipts) = self.inner.receipts.get(&hash) {
            return Ok(Some(receipts));
        }
        let receipts = self.inner.reader.receipts(hash)?;
        if let Some(receipts) = &receipts {
            self.inner.receipts.insert(hash, receipts.clone(), receipts_weight(receipts));
        }
        Ok(receipts)
    }

    /// A block with its receipts.
    ///
    /// # Errors
    /// If they cannot be read, or the receipts of a known block are missing.
    pub fn block_and_receipts(&self, hash: B256) -> Result<Option<BlockAndReceipts>, ReadError> {
        let Some(block) = self.block(hash)? else { return Ok(None) };
        let receipts = self
            .receipts(hash)?
            .ok_or_else(|| ReadError::Pruned(format!("the receipts of block {} ({hash})", block.number())))?;
        if receipts.len() != block.transactions.len() {
            return Err(ReadError::Backend(format!(
                "block {hash} has {} transactions and {} receipts: run `duskevm db verify`",
                block.transactions.len(),
                receipts.len()
            )));
        }
        Ok(Some(BlockAndReceipts { block, receipts }))
    }

    /// The block that an id names.
    ///
    /// # Errors
    /// As [`Self::hash_of`].
    pub fn block_of(&self, id: BlockId) -> Result<Option<Arc<Block>>, RpcError> {
        match self.hash_of(id)? {
            Some(hash) => Ok(self.block(hash)?),
            None => Ok(None),
        }
    }

    /// The header that an id names.
    ///
    /// # Errors
    /// As [`Self::hash_of`].
    pub fn header_of(&self, id: BlockId) -> Result<Option<Sealed<Header>>, RpcError> {
        match self.hash_of(id)? {
            Some(hash) => Ok(self.header(hash)?),
            None => Ok(None),
        }
    }

    /// The state after the block that an id names, and that block's header.
    ///
    /// # Errors
    /// `header not found` if there is no such block; else as [`Self::hash_of`].
    pub fn state_of(&self, id: BlockId) -> Result<(Sealed<Header>, Arc<dyn StateReader>), RpcError> {
        let missing = || {
            RpcError::server(match id {
                BlockId::Hash(_) => "header for hash not found",
                BlockId::Number(_) => "header not found",
            })
        };
        let hash = self.hash_of(id)?.ok_or_else(missing)?;
        let header = self.header(hash)?.ok_or_else(missing)?;
        let state = self.inner.reader.state(hash)?.ok_or_else(missing)?;
        Ok((header, state))
    }

    /// The state after a block; `None` if the block is unknown.
    ///
    /// # Errors
    /// If it was pruned.
    pub fn state(&self, block: B256) -> Result<Option<Arc<dyn StateReader>>, ReadError> {
        self.inner.reader.state(block)
    }

    /// Where a transaction is in the canonical chain, with its block.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn transaction(&self, hash: B256) -> Result<Option<(Arc<Block>, usize)>, ReadError> {
        let Some(location) = self.inner.reader.transaction(hash)? else { return Ok(None) };
        let Some(block) = self.block(location.block)? else { return Ok(None) };
        // An index that lags behind a reorg must not hand out another transaction.
        let fits = block.transactions.get(location.index).is_some_and(|tx| tx.hash() == hash);
        Ok(fits.then_some((block, location.index)))
    }
}

fn block_weight(block: &Block) -> usize {
    // A decoded transaction holds its fields beside its bytes.
    const TX: usize = 512;
    1024 + block.transactions.iter().map(|tx| TX + 2 * tx.encoded().len()).sum::<usize>()
}

fn receipts_weight(receipts: &[OpReceiptEnvelope]) -> usize {
    const RECEIPT: usize = 384;
    const LOG: usize = 192;
    receipts.iter().map(|r| RECEIPT + r.logs().iter().map(|log| LOG + log.data.data.len()).sum::<usize>()).sum()
}

impl fmt::Debug for dyn StateReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateReader")
    }
}
