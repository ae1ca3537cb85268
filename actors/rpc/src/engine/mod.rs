//! The Engine API: how a consensus client of the OP Stack (op-node, kona-node) drives the executor of this node.
//!
//! The rules are those of `duskevm-engine-api`, the work is the executor's; here stand the socket, who may call ([`JwtSecret`], asked
//! for before anything else of a request), the order of calls and the payloads that are being built ([`driver`]). On the same port are
//! the reads of the public server, since a consensus client asks for blocks and proofs where it drives.

pub(crate) mod api;
mod builder;
pub(crate) mod driver;
mod heard;

pub(crate) use heard::plain;
pub use heard::{Heard, HeardCall};

use crate::{
    actor::Wiring,
    config::{BlockMaker, Limits, RpcConfig},
};
use duskevm_engine_api::JwtSecret;
use duskevm_messages::{
    executor::engine::{BuildPayload, Forkchoice, Offer},
    txpool::{Best, Invalid},
};
use duskevm_supervision::{Actor, Handle, Port, Ref};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

const MIB: u32 = 1024 * 1024;

/// Namespaces of the Engine API's port.
pub(crate) const NAMESPACES: [&str; 6] = ["debug", "engine", "eth", "net", "rpc", "web3"];

/// Settings of the Engine API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Where it listens. Port 0 takes any free port, and keeps it across restarts of the actor.
    pub listen: SocketAddr,
    /// Where transactions go that are submitted here.
    pub sequencer: BlockMaker,
    /// How long a block takes transactions from the pool.
    pub time_budget: Duration,
    /// Transactions to ask the pool for.
    pub max_transactions: usize,
    /// Bounds on what clients may ask for.
    pub limits: Limits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8551),
            sequencer: BlockMaker::Here,
            time_budget: Duration::from_millis(500),
            max_transactions: 100_000,
            limits: Limits {
                // A few consensus clients of one operator.
                max_connections: 64,
                // A block of 60,000,000 gas holds 6 MB of call data (EIP-7623), which hex doubles; ten times as much gas fits.
                max_request_bytes: 128 * MIB,
                max_response_bytes: 128 * MIB,
                large_bodies: 4,
                ..Limits::default()
            },
        }
    }
}

impl EngineConfig {
    /// The settings of the reads on the same port.
    pub fn reads(&self) -> RpcConfig {
        RpcConfig {
            listen: self.listen,
            // Pages have no business here, and no token.
            cors: Vec::new(),
            // Whoever has a token may use any name.
            hosts: Vec::new(),
            namespaces: NAMESPACES.map(str::to_owned).to_vec(),
            sequencer: self.sequencer.clone(),
            limits: self.limits.clone(),
        }
    }
}

/// The ways to the executor and the pool.
#[derive(Debug, Clone)]
pub struct EnginePorts {
    /// Executes a block beside the chain.
    pub offer: Port<Offer>,
    /// Moves head and labels.
    pub forkchoice: Port<Forkchoice>,
    /// Builds a block beside the chain.
    pub build: Port<BuildPayload>,
    /// Transactions for it.
    pub best: Port<Best>,
    /// Told of those among them that cannot be executed.
    pub invalid: Port<Invalid>,
}

impl EnginePorts {
    /// All ports of the two actors.
    pub fn of<E, P>(executor: &Ref<E>, pool: &Ref<P>) -> Self
    where
        E: Actor + Handle<Offer> + Handle<Forkchoice> + Handle<BuildPayload>,
        P: Actor + Handle<Best> + Handle<Invalid>,
    {
        Self {
            offer: executor.port(),
            forkchoice: executor.port(),
            build: executor.port(),
            best: pool.port(),
            invalid: pool.port(),
        }
    }
}

/// Whose turn it is to change something. Shared by all instances of the actor, so that one that was given up but still runs and the
/// one that replaced it do not both do.
pub type Turns = Arc<tokio::sync::Mutex<()>>;

/// What the Engine API works with.
#[derive(Clone)]
pub struct EngineWiring {
    /// What the reads work with; with the settings of [`EngineConfig::reads`].
    pub reads: Wiring,
    /// The secret of those who may call.
    pub secret: JwtSecret,
    /// The executor and the pool.
    pub ports: EnginePorts,
    /// How long a block takes transactions from the pool.
    pub time_budget: Duration,
    /// Transactions to ask the pool for.
    pub max_transactions: usize,
    /// Who was heard from last.
    pub heard: Heard,
    /// Whose turn it is.
    pub turns: Turns,
}

impl fmt::Debug for EngineWiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineWiring").field("reads", &self.reads).finish_non_exhaustive()
    }
}
