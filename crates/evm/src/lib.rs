//! L2 block building and execution with op-revm over an abstract state, with or without the state at hand.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod block;
mod build;
pub mod header;
mod list_root;
mod lists;
mod overlay;
#[cfg(feature = "std")]
mod scratch;
mod spec;
mod state;
mod tx;
mod witness;

pub use block::{Block, BlockDecodeError, recover_all};
pub use build::{
    BlockAttributes, ExecuteError, ExecutedBlock, NoPool, Rejection, Roots, StateRoots, TxSource, build_block,
    execute_block,
};
pub use lists::receipts_root;
#[cfg(feature = "std")]
pub use scratch::{ScratchChain, ScratchState};
pub use spec::{ChainSpec, Eip1559Constants, ForkTimes, ForkTimesError};
pub use state::{StateSource, TrieRoots, TrieState, TrieStateError};
pub use tx::{RecoveredTx, TxDecodeError};
#[cfg(feature = "std")]
pub use witness::record_witness;
pub use witness::{ExecutionWitness, WitnessDecodeError, execute_stateless};
