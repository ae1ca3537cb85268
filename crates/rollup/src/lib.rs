//! The rules of the OP Stack that join L1 and L2: deposits, batches, derivation, output roots.
//!
//! Everything here is a pure function of its arguments or a state machine without I/O; the specification is
//! <https://specs.optimism.io/>, and the README of this crate says how the pipeline is driven.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod attributes;
pub mod batch;
pub mod blob;
mod block_ref;
pub mod channel;
#[cfg(feature = "std")]
pub mod channel_out;
pub mod channel_reader;
mod config;
mod config_update;
pub mod consolidation;
mod decompress;
mod deposit;
pub mod derive;
pub mod finality;
pub mod frame;
mod l1_info;
mod origin;
mod output;
mod source_hash;
mod sync_start;
#[cfg(test)]
mod testing;
mod window;

pub use attributes::{AttributesError, OriginBlock, epoch_attributes};
pub use block_ref::{
    BlockRefError, ChildError, batcher_of, check_child, l1_origin_of, l2_block_ref, origin_time_of, system_config_of,
};
pub use config::{
    BlockId, FJORD_MAX_SEQUENCER_DRIFT, RollupConfig, RollupConfigError, RollupGenesis, Schedule, SystemConfig,
};
pub use config_update::{CONFIG_UPDATE, ConfigUpdate, ConfigUpdateFault, ConfigUpdates, SkippedUpdate};
pub use decompress::CompressionError;
pub use deposit::{DepositError, DepositFault, TRANSACTION_DEPOSITED, encode_deposit_log, user_deposit, user_deposits};
pub use l1_info::{DEPOSITOR_ACCOUNT, L1_BLOCK_PREDEPLOY, L1Info, L1InfoError, L1InfoFork};
pub use origin::{L1BlockRef, L2BlockRef, LinkError, OriginChoice, OriginError, choose_origin};
pub use output::{OUTPUT_VERSION_V0, output_root};
pub use source_hash::DepositSource;
pub use sync_start::{L2Heads, MAX_REORG_WINDOWS, SyncError, SyncStart, SyncStep};
