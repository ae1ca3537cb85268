//! `eth_`.

mod account;
mod block;
mod call;
mod fee;
mod filter;
pub(crate) mod log;
mod node;
mod receipt;
mod send;
pub(crate) mod subscribe;
mod transaction;

use super::registry::Registry;

pub(super) fn register(registry: &mut Registry) {
    node::register(registry);
    account::register(registry);
    block::register(registry);
    transaction::register(registry);
    receipt::register(registry);
    fee::register(registry);
    call::register(registry);
    log::register(registry);
    filter::register(registry);
    send::register(registry);
    subscribe::register(registry);
}
