//! The L1 endpoint over a real L1 database, whose blocks the test makes.

mod bed;
mod carrier;
#[path = "../../../../../tests/support/l1_chain.rs"]
mod checks;
mod faults;
mod reads;
mod reorg;
mod state;
