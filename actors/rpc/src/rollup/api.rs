//! The methods of a rollup node.

use super::{RollupControls, admin, peers};
use crate::{
    api::{Backing, Desk, Registry, RollupSource, Surface, optimism, web3},
    chain::Chain,
    node::{NodeView, Rollup},
};
use jsonrpsee::core::RegisterMethodError;
use std::{ops::Deref, sync::Arc};

/// What the methods work with.
pub(crate) struct RollupApi {
    pub(crate) chain: Chain,
    pub(crate) node: Arc<dyn NodeView>,
    pub(crate) rollup: Rollup,
    pub(crate) controls: RollupControls,
    pub(crate) desk: Desk,
}

/// What is served to anybody who reaches the port.
pub(crate) const NAMESPACES: [&str; 3] = ["opp2p", "optimism", "rpc"];

/// What moves the node: only where an operator wants it.
pub(crate) const ADMIN_NAMESPACE: &str = "admin";

impl Deref for RollupApi {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl Backing for RollupApi {
    const SERVER: &'static str = "rollup-rpc";
}

impl RollupSource for RollupApi {
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

/// The whole surface.
///
/// # Errors
/// If two methods have the same name.
pub(crate) fn methods(api: Arc<RollupApi>) -> Result<Surface, RegisterMethodError> {
    let mut registry = Registry::new(api);
    optimism::register(&mut registry);
    admin::register(&mut registry);
    peers::register(&mut registry);
    web3::register(&mut registry);
    registry.finish()
}
