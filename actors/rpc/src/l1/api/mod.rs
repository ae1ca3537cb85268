//! The methods of the L1 endpoint, one file for each subject.

mod block;
mod fee;
mod log;
mod node;
mod raw;
mod send;
mod state;
mod subscribe;
mod transaction;

use super::{block::L1Block, carrier::CarrierPorts, view::View};
use crate::{
    api::{Backing, Desk, Registry, Surface, web3},
    feed::Feed,
};
use duskevm_settlement::Settlement;
use jsonrpsee::core::RegisterMethodError;
use std::{ops::Deref, sync::Arc};

/// What the methods work with.
pub(crate) struct L1Api {
    pub(crate) view: View,
    pub(crate) chain_id: u64,
    pub(crate) settlement: Option<Arc<Settlement>>,
    pub(crate) carrier: Option<CarrierPorts>,
    pub(crate) feed: Arc<Feed<Arc<L1Block>>>,
    pub(crate) desk: Desk,
}

/// All namespaces there are.
pub(crate) const NAMESPACES: [&str; 5] = ["debug", "eth", "net", "rpc", "web3"];

impl Deref for L1Api {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl Backing for L1Api {
    const SERVER: &'static str = "l1-rpc";
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
