//! Making a block, and checking one that somebody else made.
//!
//! The check is stricter than the published node's: it recomputes the header hash, both Merkle roots and the transaction
//! formats, all of which that node takes on trust when it accepts a block.

use dusk_node_data::Serializable;
use dusk_node_data::ledger::{Attestation, Block, Header, LedgerTransaction};
use dusk_node_data::message::BLOCK_HEADER_VERSION;

use crate::attest::{self, AttestationError};
use crate::body::{BlobsNeeded, Draft, build_body, verify_body};
use crate::contracts::NativeContracts;
use crate::execute::{BlockEnv, ExecuteError, Executed, Rejection, TxRules};
use crate::forks;
use crate::genesis::{Genesis, GenesisError};
use crate::keys::{AccountId, KeyError, Signer, verify_multisig};
use crate::merkle::merkle_root;
use crate::stakes::StakeRules;
use crate::state::{StateError, StateRoot};
use crate::tx::{TxError, TxId, VerifiedTx};

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

/// What all blocks of a network with one provisioner share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainParams {
    /// What does not depend on who makes the blocks.
    pub ledger: LedgerParams,
    /// The sole provisioner.
    pub producer: AccountId,
}

impl ChainParams {
    /// The parameters that `genesis` fixes.
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        Ok(Self { ledger: LedgerParams::new(genesis)?, producer: genesis.producer()? })
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
    /// The signed and attested block, with its effects.
    pub block: ExecutedBlock,
    /// Transactions that can never be included, with the reason.
    pub rejected: Vec<(TxId, Rejection)>,
}

/// Why no block could be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The key is not the network's producer.
    #[error("the signing key {have} is not the block producer {want} of this L1 network: use the network's own key")]
    WrongKey {
        /// Account of the key.
        have: Box<AccountId>,
        /// Account that the genesis names.
        want: Box<AccountId>,
    },
    /// The block would come too early.
    #[error("block timestamp {timestamp} is before {earliest}, the earliest after its parent")]
    TooEarly {
        /// What was asked for.
        timestamp: u64,
        /// What is possible.
        earliest: u64,
    },
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
    /// A certificate is wrong.
    #[error("block {height}: {field}: {error}")]
    Attestation {
        /// Claimed height.
        height: u64,
        /// `prev_block_cert` or `att`.
        field: &'static str,
        /// What is wrong.
        error: AttestationError,
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

/// Earliest timestamp of the block after `parent`.
pub fn earliest_timestamp(parent: &Header, params: &ChainParams) -> u64 {
    parent.timestamp.saturating_add(params.ledger.block_time)
}

/// Makes the block after `parent` with as many of `candidates` as fit, in the order given.
///
/// `timestamp` is in Unix seconds. `state` is the state after `parent`.
pub fn build_block<'a, S: StateRoot + ?Sized>(
    parent: &Header,
    timestamp: u64,
    params: &ChainParams,
    signer: &Signer,
    state: &S,
    contracts: &dyn NativeContracts,
    candidates: impl IntoIterator<Item = &'a VerifiedTx>,
) -> Result<Built, BuildError> {
    forks::activate();
    if signer.id() != params.producer {
        return Err(BuildError::WrongKey { have: Box::new(signer.id()), want: Box::new(params.producer) });
    }
    let earliest = earliest_timestamp(parent, params);
    if timestamp < earliest {
        return Err(BuildError::TooEarly { timestamp, earliest });
    }
    let height = parent.height.checked_add(1).ok_or(BuildError::HeightOverflow)?;
    let header = Header {
        version: BLOCK_HEADER_VERSION,
        height,
        timestamp,
        prev_block_hash: parent.hash,
        seed: signer.sign_multisig(height, parent.seed.inner()),
        generator_bls_pubkey: dusk_node_data::bls::PublicKeyBytes(*signer.id().as_bytes()),
        gas_limit: params.ledger.block_gas_limit,
        prev_block_cert: parent.att,
        ..Default::default()
    };

    let voters = attest::voters(&parent.att, params.producer);
    let draft = Draft { header, faults: Vec::new(), cert_voters: &voters };
    let mut built = build_body(draft, &params.ledger, state, contracts, candidates)?;
    let block = &mut built.block.block;
    block.set_signature(signer.sign_multisig(height, &block.header().hash));
    let attestation: Attestation = attest::attest(signer, block.header());
    block.set_attestation(attestation);
    Ok(built)
}

/// Checks that `block` is the block after `parent` and computes its effects.
///
/// `now` is the local clock in Unix seconds, `None` for a block that was accepted earlier. `state` is the state after
/// `parent`. Signatures of transactions are checked one after another.
pub fn verify_block<S: StateRoot + ?Sized>(
    parent: &Header,
    block: Block,
    params: &ChainParams,
    now: Option<u64>,
    state: &S,
    contracts: &dyn NativeContracts,
) -> Result<ExecutedBlock, BlockError> {
    forks::activate();
    verify_header(parent, block.header(), params, now)?;
    let header = block.header();
    if !block.faults().is_empty() || header.faultroot != merkle_root(&[]) {
        let detail = "a sole producer has no faults to prove".into();
        return Err(BlockError::Header { height: header.height, field: "faultroot", detail });
    }
    let voters = attest::voters(&header.prev_block_cert, params.producer);
    verify_body(block, &voters, &params.ledger, state, contracts, BlobsNeeded::None)
}

/// Checks everything of a header that needs neither transactions nor state.
pub fn verify_header(
    parent: &Header,
    header: &Header,
    params: &ChainParams,
    now: Option<u64>,
) -> Result<(), BlockError> {
    let height = header.height;
    let wrong = |field, detail: String| BlockError::Header { height, field, detail };

    if parent.height.checked_add(1) != Some(height) {
        return Err(wrong("height", format!("the parent has {}", parent.height)));
    }
    if header.version != BLOCK_HEADER_VERSION {
        return Err(wrong("version", format!("{}, expected {BLOCK_HEADER_VERSION}", header.version)));
    }
    expect("prev_block_hash", height, &parent.hash, &header.prev_block_hash)?;
    let earliest = earliest_timestamp(parent, params);
    if header.timestamp < earliest {
        return Err(wrong("timestamp", format!("{}, not before {earliest}", header.timestamp)));
    }
    if let Some(now) = now
        && header.timestamp > now.saturating_add(CLOCK_MARGIN)
    {
        return Err(wrong("timestamp", format!("{}, but it is {now}", header.timestamp)));
    }
    if header.gas_limit != params.ledger.block_gas_limit {
        return Err(wrong("gas_limit", format!("{}, expected {}", header.gas_limit, params.ledger.block_gas_limit)));
    }
    if header.iteration != 0 || !header.failed_iterations.att_list.is_empty() {
        return Err(wrong("iteration", "a sole producer needs no second iteration".into()));
    }
    if header.generator_bls_pubkey.0 != *params.producer.as_bytes() {
        return Err(wrong("generator_bls_pubkey", format!("expected {}", params.producer)));
    }
    expect("hash", height, &header_hash(header)?, &header.hash)?;
    let signed = |field, message: &[u8], signature| {
        verify_multisig(&params.producer, height, message, signature)
            .map_err(|error: KeyError| wrong(field, error.to_string()))
    };
    signed("signature", &header.hash, &header.signature)?;
    signed("seed", parent.seed.inner(), &header.seed)?;

    if parent.height == 0 {
        if header.prev_block_cert != Attestation::default() {
            return Err(wrong("prev_block_cert", "the genesis block has no certificate".into()));
        }
    } else {
        attest::verify(&header.prev_block_cert, parent, &params.producer).map_err(|error| BlockError::Attestation {
            height,
            field: "prev_block_cert",
            error,
        })?;
    }
    attest::verify(&header.att, header, &params.producer).map_err(|error| BlockError::Attestation {
        height,
        field: "att",
        error,
    })
}

pub(crate) fn expect(field: &'static str, height: u64, want: &[u8; 32], got: &[u8; 32]) -> Result<(), BlockError> {
    if want == got {
        return Ok(());
    }
    let hex = |bytes: &[u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    Err(BlockError::Header { height, field, detail: format!("{}, expected {}", hex(got), hex(want)) })
}
