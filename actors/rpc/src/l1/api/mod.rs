//! The methods of the L1 endpoint, one file for each subject.

mod block;
mod fee;
mod log;
mod node;
mod nonce;
mod raw;
mod send;
mod state;
mod subscribe;
mod transaction;

use super::{block::L1Block, view::View};
use crate::{
    api::{Backing, Registry, Surface, web3},
    config::Limits,
    feed::Feed,
    unsent::Unsent,
    workers::Workers,
};
use duskevm_settlement::Settlement;
use jsonrpsee::core::RegisterMethodError;
use nonce::Nonces;
use std::sync::Arc;

/// What the methods work with.
pub(crate) struct L1Api {
    pub(crate) view: View,
    pub(crate) chain_id: u64,
    pub(crate) settlement: Option<Arc<Settlement>>,
    pub(crate) feed: Arc<Feed<Arc<L1Block>>>,
    pub(crate) nonces: Nonces,
    pub(crate) limits: Limits,
    /// Namespaces that are served.
    pub(crate) namespaces: Vec<String>,
    /// For reads of blocks and state.
    pub(crate) reads: Workers,
    /// For searches.
    pub(crate) heavy: Workers,
    /// Answers on their way to clients.
    pub(crate) unsent: Unsent,
}

/// All namespaces there are.
pub(crate) const NAMESPACES: [&str; 5] = ["debug", "eth", "net", "rpc", "web3"];

impl Backing for L1Api {
    const SERVER: &'static str = "l1-rpc";

    fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    fn reads(&self) -> &Workers {
        &self.reads
    }

    fn heavy(&self) -> &Workers {
        &self.heavy
    }

    fn max_response(&self) -> usize {
        self.limits.max_response_bytes as usize
    }

    fn unsent(&self) -> &Unsent {
        &self.unsent
    }
}

/// The whole surface.
///
/// # Errors
/// If two methods have the same name.
pub(crate) fn methods(api: Arc<L1Api>) -> Result<Surface, RegisterMethodError> {
    let mut registry = Registry::new(api);
    node::register(&mut registry);
    block::register(&mut registry);
    transaction::register(&mut registry);
    log::register(&mut registry);
    fee::register(&mut registry);
    state::register(&mut registry);
    raw::register(&mut registry);
    send::register(&mut registry);
    subscribe::register(&mut registry);
    web3::register(&mut registry);
    registry.finish()
}
