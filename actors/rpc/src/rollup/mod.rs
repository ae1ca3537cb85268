//! The RPC of a rollup node as op-node serves it, on a port of its own: op-batcher, op-proposer, op-challenger and op-conductor are given
//! one URL for all of it.
//!
//! `optimism_` tells where L2 stands and is served on the public port as well. `admin_` moves the sequencer, and is served only if the
//! settings say so: whoever reaches the port is asked for no password. `opp2p_` is about the peers that gossip blocks of L2.

mod admin;
pub(crate) mod api;
mod peers;

pub use admin::{RollupControls, SequencerPorts};
pub use peers::PeerPorts;

use crate::{
    chain::ChainReader,
    config::Limits,
    node::{NodeView, Rollup},
    socket::Socket,
};
use duskevm_evm::ChainSpec;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// The server of a rollup node: HTTP and WebSocket on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RollupRpcConfig {
    /// Where it listens. Port 0 takes any free port, and keeps it across restarts of the actor.
    pub listen: SocketAddr,
    /// Origins that browsers may call from, as in [`RpcConfig`](crate::RpcConfig).
    pub cors: Vec<String>,
    /// Names under which it may be called, as in [`RpcConfig`](crate::RpcConfig).
    pub hosts: Vec<String>,
    /// Whether `admin_` is served.
    pub admin: bool,
    /// Bounds on what clients may ask for. Those that are about transactions, traces, gas and filters have no meaning here.
    pub limits: Limits,
}

impl Default for RollupRpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9547),
            cors: Vec::new(),
            hosts: Vec::new(),
            admin: false,
            limits: Limits::default(),
        }
    }
}

/// What the server of a rollup node works with.
#[derive(Clone)]
pub struct RollupWiring {
    /// Its settings.
    pub config: RollupRpcConfig,
    /// Its socket, on [`RollupRpcConfig::listen`].
    pub socket: Socket,
    /// Reads blocks and states.
    pub reader: Arc<dyn ChainReader>,
    /// Which rules hold when.
    pub spec: ChainSpec,
    /// The rest of the node.
    pub node: Arc<dyn NodeView>,
    /// The rollup that the chain is.
    pub rollup: Rollup,
    /// What an operator can move.
    pub controls: RollupControls,
}

impl fmt::Debug for RollupWiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RollupWiring")
            .field("config", &self.config)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
