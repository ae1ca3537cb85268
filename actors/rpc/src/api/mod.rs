//! The methods, one file for each namespace or part of one.

pub(crate) mod admin;
mod debug;
mod dusk;
mod eth;
mod miner;
mod net;
pub(crate) mod optimism;
mod registry;
mod txpool;
pub(crate) mod web3;

use crate::{
    chain::Chain,
    feed::Feed,
    fees::FeeOracle,
    filters::Filters,
    node::{NodeView, Rollup},
    pool::PoolPorts,
    simulate::CodeCache,
    submit::Ingress,
    workers::Workers,
};
use duskevm_messages::executor::DaOrders;
pub(crate) use eth::{log, subscribe};
use jsonrpsee::core::RegisterMethodError;
pub(crate) use optimism::RollupSource;
pub(crate) use registry::{Backing, Desk, Registry, Surface};
use std::{ops::Deref, sync::Arc};

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
    pub(crate) desk: Desk,
    /// For replays under a tracer, which are so long that calls must not queue behind them.
    pub(crate) traces: Workers,
    pub(crate) ingress: Ingress,
    pub(crate) da_orders: DaOrders,
}

impl Deref for Api {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl Backing for Api {
    const SERVER: &'static str = "rpc";
}

impl RollupSource for Api {
    fn chain(&self) -> &Chain {
        &self.chain
    }

    fn node(&self) -> &dyn NodeView {
        &*self.node
    }

    fn rollup(&self) -> &Rollup {
        &self.rollup
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
    miner::register(&mut registry);
    net::register(&mut registry);
    optimism::register(&mut registry);
    txpool::register(&mut registry);
    web3::register(&mut registry);
    registry.finish()
}
