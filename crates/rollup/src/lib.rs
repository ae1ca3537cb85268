//! Rollup rules of the OP Stack: configuration, L1 attributes, origin selection, output roots.
//!
//! Everything here is a pure function of its arguments; the specification is <https://specs.optimism.io/>.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod attributes;
mod block_ref;
mod config;
mod l1_info;
mod origin;
mod output;

pub use attributes::{AttributesError, OriginBlock, epoch_attributes};
pub use block_ref::{BlockRefError, l2_block_ref, system_config_of};
pub use config::{BlockId, FJORD_MAX_SEQUENCER_DRIFT, RollupConfig, RollupGenesis, SystemConfig};
pub use l1_info::{DEPOSITOR_ACCOUNT, L1_BLOCK_PREDEPLOY, L1Info, L1InfoError, L1InfoFork};
pub use origin::{L1BlockRef, L2BlockRef, OriginChoice, OriginError, choose_origin};
pub use output::{OUTPUT_VERSION_V0, output_root};
