//! Blocks: their bounds and bytes, what all blocks of a network share, and what can be wrong with one. The rules of headers are
//! in [`crate::header`], those of the content in [`crate::body`].

use dusk_node_data::Serializable;
use dusk_node_data::ledger::{Block, Header, LedgerTransaction};

use crate::contracts::NativeContracts;
use crate::execute::{BlockEnv, ExecuteError, Executed, Rejection, TxRules};
use crate::forks;
use crate::genesis::{Genesis, GenesisError};
use crate::keys::AccountId;
use crate::merkle::merkle_root;
use crate::stakes::StakeRules;
use crate::state::StateError;
use crate::tx::{TxError, TxId};

/// Most bytes of an encoded block.
pub const MAX_BLOCK_BYTES: usize = 1024 * 1024;

/// Most transactions of a block.
pub const MAX_BLOCK_TXS: usize = dusk_node_data::MAX_NUMBER_OF_TRANSACTIONS;

/// Seconds by which a block may be ahead of the local clock.
pub const CLOCK_MARGIN: u64 = 3;

/// What all blocks of a network share, whoever makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerParams {
    /// Dusk chain id.
    pub chain_id: u8,
    /// Least distance of two blocks in seconds.
    pub block_time: u64,
    /// Gas limit that every header carries.
    pub block_gas_limit: u64,
    /// Least gas that a transaction spends for each of its blobs.
    pub gas_per_blob: u64,
    /// What the rules on stakes depend on.
    pub stakes: StakeRules,
    /// Receives the Dusk share of rewards.
    pub treasury: AccountId,
}

impl LedgerParams {
    /// The parameters that `genesis` fixes.
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis.validate()?;
        Ok(Self {
            chain_id: genesis.chain_id,
            block_time: genesis.block_time,
            block_gas_limit: genesis.block_gas_limit,
            gas_per_blob: genesis.consensus.gas_per_blob,
            stakes: genesis.consensus.stake_rules(),
            treasury: genesis.treasury,
        })
    }

    /// What the network asks of every transaction.
    pub fn tx_rules<'a>(&self, contracts: &'a dyn NativeContracts) -> TxRules<'a> {
        TxRules {
            chain_id: self.chain_id,
            block_gas_limit: self.block_gas_limit,
            gas_per_blob: self.gas_per_blob,
            contracts,
        }
    }

    pub(crate) fn env(&self, height: u64, timestamp: u64, gas_limit: u64) -> BlockEnv {
        BlockEnv {
            chain_id: self.chain_id,
            height,
            timestamp,
            gas_limit,
            gas_per_blob: self.gas_per_blob,
            stakes: self.stakes,
        }
    }
}

/// A block with everything that its execution produced.
#[derive(Debug, Clone)]
pub struct ExecutedBlock {
    /// The block.
    pub block: Block,
    /// Its effects.
    pub executed: Executed,
}

/// A block that was just made.
#[derive(Debug, Clone)]
pub struct Built {
    /// The block, its hash set, neither signed nor attested, with its effects.
    pub block: ExecutedBlock,
    /// Transactions that can never be included, with the reason.
    pub rejected: Vec<(TxId, Rejection)>,
}

/// Why no block could be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The height does not fit.
    #[error("the chain has reached the last possible height")]
    HeightOverflow,
    /// The effects could not be computed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The ledger codec failed.
    #[error("the ledger codec failed: {0}")]
    Codec(String),
}

impl From<StateError> for BuildError {
    fn from(error: StateError) -> Self {
        Self::Execute(error.into())
    }
}

/// Why a received block is not the next block of this chain.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Bytes that are no block.
    #[error("not a Dusk block: {0}")]
    Malformed(String),
    /// One header field is wrong.
    #[error("block {height}: header field `{field}` is wrong: {detail}")]
    Header {
        /// Claimed height.
        height: u64,
        /// Name of the field.
        field: &'static str,
        /// Expected and found, or what failed.
        detail: String,
    },
    /// A transaction that is malformed or not signed by its sender.
    #[error("block {height}, transaction {index}: {error}")]
    Transaction {
        /// Claimed height.
        height: u64,
        /// Index in the block.
        index: usize,
        /// What is wrong.
        error: TxError,
    },
    /// A transaction that must not be in this block.
    #[error("block {height}, transaction {index} must not be included: {reason}")]
    NotIncludable {
        /// Claimed height.
        height: u64,
        /// Index in the block.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A blob of a transaction is not at hand, or was not proved to be that of its hash.
    #[error("block {height}, transaction {index}: the blob {} was not checked", alloy_primitives::B256::from(*hash))]
    Blob {
        /// Claimed height.
        height: u64,
        /// Index in the block.
        index: usize,
        /// Versioned hash of the blob.
        hash: [u8; 32],
    },
    /// The local state could not be read. Says nothing about the block.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

impl From<StateError> for BlockError {
    fn from(error: StateError) -> Self {
        Self::Execute(error.into())
    }
}

/// Decodes a block, refusing bytes that another encoder would not have made.
pub fn decode_block(bytes: &[u8]) -> Result<Block, BlockError> {
    forks::activate();
    if bytes.len() > MAX_BLOCK_BYTES {
        return Err(BlockError::Malformed(format!("{} bytes, more than {MAX_BLOCK_BYTES}", bytes.len())));
    }
    let mut rest = bytes;
    let block = Block::read(&mut rest).map_err(|error| BlockError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(BlockError::Malformed(format!("{} bytes follow the block", rest.len())));
    }
    if encode_block(&block).map_err(|error| BlockError::Malformed(error.to_string()))? != bytes {
        return Err(BlockError::Malformed("the encoding is not canonical".into()));
    }
    Ok(block)
}

/// Encodes a block in the ledger's own format.
pub fn encode_block(block: &Block) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    block.write(&mut bytes)?;
    Ok(bytes)
}

/// SHA3-256 of a header's hashed fields, whatever its `hash` field says.
pub fn header_hash(header: &Header) -> Result<[u8; 32], BlockError> {
    let unhashed = Header { hash: [0; 32], ..header.clone() };
    Block::new(unhashed, Vec::new(), Vec::new())
        .map(|block| block.header().hash)
        .map_err(|error| BlockError::Malformed(error.to_string()))
}

/// Merkle root over the transactions.
pub fn tx_root(txs: &[LedgerTransaction]) -> [u8; 32] {
    merkle_root(&txs.iter().map(LedgerTransaction::digest).collect::<Vec<_>>())
}

pub(crate) fn expect(field: &'static str, height: u64, want: &[u8; 32], got: &[u8; 32]) -> Result<(), BlockError> {
    if want == got {
        return Ok(());
    }
    let hex = |bytes: &[u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    Err(BlockError::Header { height, field, detail: format!("{}, expected {}", hex(got), hex(want)) })
}
