//! The methods, one file for each namespace or part of one.

pub(crate) mod admin;
mod debug;
mod eth;
mod net;
mod optimism;
mod registry;
mod txpool;
mod web3;

use crate::{
    chain::Chain,
    config::Limits,
    feed::Feed,
    fees::FeeOracle,
    filters::Filters,
    node::{NodeView, Rollup},
    pool::PoolPorts,
    simulate::CodeCache,
    submit::Ingress,
    workers::Workers,
};
pub(crate) use eth::log;
use jsonrpsee::{RpcModule, core::RegisterMethodError};
use registry::Registry;
use std::sync::Arc;

/// What the methods work with.
pub(crate) struct Api {
    pub(crate) chain: Chain,
    pub(crate) pool: PoolPorts,
    pub(crate) node: Arc<dyn NodeView>,
    pub(crate) rollup: Rollup,
    pub(crate) feed: Arc<Feed>,
    pub(crate) filters: Arc<Filters>,
    pub(crate) fees: FeeOracle,
    pub(crate) codes: Arc<CodeCache>,
    pub(crate) limits: Limits,
    /// Namespaces that are served.
    pub(crate) namespaces: Vec<String>,
    /// For reads of blocks and state.
    pub(crate) reads: Workers,
    /// For calls, traces and searches.
    pub(crate) heavy: Workers,
    pub(crate) ingress: Ingress,
}

/// The whole public surface.
///
/// # Errors
/// If two methods have the same name.
pub(crate) fn methods(api: Arc<Api>) -> Result<RpcModule<Api>, RegisterMethodError> {
    let mut registry = Registry::new(api);
    eth::register(&mut registry);
    debug::register(&mut registry);
    net::register(&mut registry);
    optimism::register(&mut registry);
    txpool::register(&mut registry);
    web3::register(&mut registry);
    registry.finish()
}
