//! The methods, one file for each namespace or part of one.

pub(crate) mod admin;
mod debug;
mod dusk;
mod eth;
mod net;
mod optimism;
mod registry;
mod txpool;
pub(crate) mod web3;

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
    unsent::Unsent,
    workers::Workers,
};
pub(crate) use eth::{log, subscribe};
use jsonrpsee::core::RegisterMethodError;
pub(crate) use registry::{Backing, Registry, Surface};
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
    /// For calls and searches.
    pub(crate) heavy: Workers,
    /// For replays under a tracer, which are so long that calls must not queue behind them.
    pub(crate) traces: Workers,
    /// Answers on their way to clients.
    pub(crate) unsent: Unsent,
    pub(crate) ingress: Ingress,
}

impl Backing for Api {
    const SERVER: &'static str = "rpc";

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

/// The whole public surface.
///
/// # Errors
/// If two methods have the same name.
pub(crate) fn methods(api: Arc<Api>) -> Result<Surface, RegisterMethodError> {
    let mut registry = Registry::new(api);
    eth::register(&mut registry);
    debug::register(&mut registry);
    net::register(&mut registry);
    optimism::register(&mut registry);
    txpool::register(&mut registry);
    web3::register(&mut registry);
    registry.finish()
}
