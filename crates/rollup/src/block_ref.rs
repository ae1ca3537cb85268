//! What an L2 block says of itself as a part of the rollup: its L1 origin, and the system config after it.

use crate::{
    config::{BlockId, RollupConfig, SystemConfig},
    l1_info::{L1Info, L1InfoError},
    origin::{L2BlockRef, LinkError},
};
use alloy_primitives::{Address, B256};
use duskevm_evm::{Block, ChainSpec, header::params_of_extra_data};

/// A block that is no L2 block of this rollup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockRefError {
    /// Another block 0 than the configured genesis.
    #[error("genesis block is {found}, the rollup configuration says {expected}: the data belong to another network")]
    WrongGenesis {
        /// As configured.
        expected: B256,
        /// As found.
        found: B256,
    },
    /// The first transaction is no deposit.
    #[error("block {0} does not begin with the L1-attributes deposit")]
    NoL1Info(u64),
    /// The first transaction is a deposit of another kind.
    #[error("block {number}: {source}")]
    L1Info {
        /// Block number.
        number: u64,
        /// What is wrong with it.
        source: L1InfoError,
    },
    /// The extra data is not what the fork prescribes.
    #[error("block {0} has other extraData than its fork prescribes")]
    ExtraData(u64),
}

/// A block made elsewhere that is not the child of a block of this rollup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// The block itself.
    #[error("it is no block of this rollup: {0}")]
    Block(BlockRefError),
    /// The block that it stands on.
    #[error("it stands on what is no block of this rollup: {0}")]
    Parent(BlockRefError),
    /// The two together.
    #[error("it does not follow from its parent: {0}")]
    Link(#[from] LinkError),
}

fn l1_info(block: &Block) -> Result<L1Info, BlockRefError> {
    let number = block.number();
    let deposit =
        block.transactions.first().and_then(|tx| tx.envelope().as_deposit()).ok_or(BlockRefError::NoL1Info(number))?;
    L1Info::decode(&deposit.input).map_err(|source| BlockRefError::L1Info { number, source })
}

fn check_genesis(config: &RollupConfig, block: &Block) -> Result<(), BlockRefError> {
    let (expected, found) = (config.genesis.l2.hash, block.hash());
    if expected == found { Ok(()) } else { Err(BlockRefError::WrongGenesis { expected, found }) }
}

/// The L1 origin that a block above the genesis block names.
///
/// # Errors
/// See [`BlockRefError`].
pub fn l1_origin_of(block: &Block) -> Result<BlockId, BlockRefError> {
    l1_info(block).map(|info| BlockId { hash: info.hash, number: info.number })
}

/// Who signs the batches that count, as of the block's L1 origin.
///
/// # Errors
/// See [`BlockRefError`].
pub fn batcher_of(config: &RollupConfig, block: &Block) -> Result<Address, BlockRefError> {
    if block.number() == config.genesis.l2.number {
        check_genesis(config, block)?;
        return Ok(config.genesis.system_config.batcher_address);
    }
    Ok(l1_info(block)?.batcher)
}

/// Timestamp of the block's L1 origin in seconds. The genesis block, which does not say it, is as old as its own.
///
/// # Errors
/// See [`BlockRefError`].
pub fn origin_time_of(config: &RollupConfig, block: &Block) -> Result<u64, BlockRefError> {
    if block.number() == config.genesis.l2.number {
        check_genesis(config, block)?;
        return Ok(config.genesis.l2_time);
    }
    Ok(l1_info(block)?.time)
}

/// The block with its L1 origin, read from its L1-attributes deposit.
///
/// # Errors
/// See [`BlockRefError`].
pub fn l2_block_ref(config: &RollupConfig, block: &Block) -> Result<L2BlockRef, BlockRefError> {
    let (l1_origin, sequence_number) = if block.number() == config.genesis.l2.number {
        check_genesis(config, block)?;
        (config.genesis.l1, 0)
    } else {
        let info = l1_info(block)?;
        (BlockId { hash: info.hash, number: info.number }, info.sequence_number)
    };
    Ok(L2BlockRef {
        hash: block.hash(),
        number: block.number(),
        parent_hash: block.header.parent_hash,
        timestamp: block.header.timestamp,
        l1_origin,
        sequence_number,
    })
}

/// Looks at a block made elsewhere before anybody executes it: is it an L2 block of this rollup, and can it stand on `parent`? Execution
/// would not mind a block without L1 attributes, or with those of any L1 block; derivation cannot go on from one.
///
/// # Errors
/// See [`ChildError`].
pub fn check_child(config: &RollupConfig, parent: &Block, block: &Block) -> Result<(), ChildError> {
    let child = l2_block_ref(config, block).map_err(ChildError::Block)?;
    let parent = l2_block_ref(config, parent).map_err(ChildError::Parent)?;
    Ok(child.follows(config, &parent)?)
}

/// The system config that was in force for this block: what its L1-attributes deposit and its header hold.
///
/// # Errors
/// See [`BlockRefError`].
pub fn system_config_of(config: &RollupConfig, spec: &ChainSpec, block: &Block) -> Result<SystemConfig, BlockRefError> {
    if block.number() == config.genesis.l2.number {
        check_genesis(config, block)?;
        return Ok(config.genesis.system_config);
    }
    let mut system = config.genesis.system_config;
    l1_info(block)?.apply_to(&mut system);
    system.gas_limit = block.header.gas_limit;
    let (params, minimum) =
        params_of_extra_data(spec, block.header.inner()).map_err(|_| BlockRefError::ExtraData(block.number()))?;
    if let Some(params) = params {
        system.eip1559_params = params;
    }
    if let Some(minimum) = minimum {
        system.min_base_fee = minimum;
    }
    Ok(system)
}
