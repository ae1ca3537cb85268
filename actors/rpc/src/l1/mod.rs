//! The Ethereum-shaped JSON-RPC of Dusk L1, which answers from the stored L1 view.
//!
//! Nothing here goes through a mailbox: blocks come from the L1 database ([`view`]), where they stand from the feed of heads, and what
//! the settlement contracts hold from the L1 state ([`state`]). So a restart or a hang of `l1` and `consensus` only means that the
//! newest block stays what it is.

pub(crate) mod api;
mod block;
pub(crate) mod carrier;
mod state;
mod types;
pub(crate) mod view;

pub use carrier::CarrierPorts;
use duskevm_messages::l1::L1HeadsFeed;
use duskevm_settlement::Settlement;
use duskevm_store::l1::L1Store;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use crate::{config::Limits, socket::Socket};

/// The server of the L1 view: HTTP and WebSocket on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct L1RpcConfig {
    /// Where it listens. Port 0 takes any free port, and keeps it across restarts of the actor.
    pub listen: SocketAddr,
    /// Origins that browsers may call from, as in [`RpcConfig`](crate::RpcConfig).
    pub cors: Vec<String>,
    /// Names under which it may be called, as in [`RpcConfig`](crate::RpcConfig).
    pub hosts: Vec<String>,
    /// Bounds on what clients may ask for. Those that are about transactions, traces, gas and filters have no meaning here.
    pub limits: Limits,
}

impl Default for L1RpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8545),
            cors: vec!["*".to_owned()],
            hosts: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// What the server of the L1 view works with.
#[derive(Clone)]
pub struct L1Wiring {
    /// Its settings.
    pub config: L1RpcConfig,
    /// Its socket, on [`L1RpcConfig::listen`].
    pub socket: Socket,
    /// The database with the view, which `l1` writes, and the L1 state, which `consensus` writes.
    pub store: L1Store,
    /// Where the view stands.
    pub heads: L1HeadsFeed,
    /// Chain id of the view.
    pub chain_id: u64,
    /// The contracts of the rollup, if the network has them.
    pub settlement: Option<Arc<Settlement>>,
    /// What brings transactions to Dusk, if this node does.
    pub carrier: Option<CarrierPorts>,
}

impl fmt::Debug for L1Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("L1Wiring").field("config", &self.config).field("socket", &self.socket).finish_non_exhaustive()
    }
}
