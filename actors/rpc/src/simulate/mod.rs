//! Running transactions that are not part of the chain, and replaying those that are.
//!
//! Everything here is blocking work for the worker threads. It bounds itself: gas by the node's cap, time and recorded memory by
//! [`guard::Guard`].

mod access_list;
mod call;
mod db;
mod error;
mod estimate;
mod execute;
mod guard;
mod many;
mod overrides;
mod request;
mod trace;

pub(crate) use access_list::access_list;
pub(crate) use call::call;
pub(crate) use db::CodeCache;
pub(crate) use estimate::estimate;
pub(crate) use execute::Simulation;
pub(crate) use many::{Simulator, simulate};
pub(crate) use trace::{trace_block, trace_call, trace_transaction};
