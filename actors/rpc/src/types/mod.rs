//! From what the chain stores to what JSON-RPC shows, in the shapes of geth and op-geth.

mod block;
mod fees;
mod log;
mod receipt;
mod transaction;

pub(crate) use block::{RpcBlock, RpcHeader, block, header};
pub(crate) use log::{LogPosition, logs_of};
pub(crate) use receipt::{receipt, receipts};
pub(crate) use transaction::{RpcTransaction, mined, pending};
