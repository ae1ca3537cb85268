//! The JSON-RPC servers: the L2 surface for clients; Dusk L1 as an Ethereum chain, a rollup node and the Engine API for programs of the OP
//! Stack; the admin surface for operators.
//!
//! [`RpcServer`], [`L1RpcServer`], [`RollupRpcServer`] and [`EngineServer`] each serve HTTP and WebSocket on one port, [`AdminServer`] HTTP on another, on loopback. They are
//! actors that keep nothing: a new instance accepts from the same [`Socket`], and each instance has its own runtime for sockets, so that a hang of
//! the actor's thread does not keep clients waiting.
//!
//! The way of a call: accepted and bounded (`listener`, `throttle`, `connection`), admitted and read (`request`), measured and
//! checked (`middleware`), brought to a thread that fits it (`api::registry`): at once for what is in memory, `workers` for reads
//! and, apart from them, for calls and searches, and for traces; `submit` recovers the senders of raw transactions, which `forward` brings to a sequencer that is elsewhere. The answer is
//! written to JSON there (`json`) and counted (`unsent`) until the client has taken it. What is read comes through [`chain::Chain`] from immutable data and
//! snapshots, never through an actor's mailbox. `simulate` runs transactions that are not part of the chain. `feed` works out what
//! changed when the heads move. All of this is the same for L1, whose methods and reads are in `l1`, for the rollup node (`rollup`), and for
//! the Engine API, whose calls are in `engine`: they go to the executor one after the other.
//!
//! Behaviour, codes and messages are those of geth and op-geth. What differs on purpose: `pending` is the newest block, the number
//! of logs and the span of log queries are bounded, and there are no keys on the node.

mod actor;
mod api;
mod cache;
pub mod chain;
mod config;
mod connection;
mod dusk;
mod engine;
mod error;
mod feed;
mod fees;
mod filters;
mod forward;
mod json;
mod known;
mod l1;
mod listener;
pub mod metrics;
mod middleware;
pub mod node;
mod params;
mod place;
mod pool;
mod queue;
mod request;
mod rollup;
mod simulate;
mod socket;
mod source;
mod store;
mod submit;
mod subscription;
mod throttle;
mod types;
mod unsent;
mod workers;

pub use actor::{
    AdminServer, EngineServer, L1RpcServer, RollupRpcServer, RpcServer, RpcServerError, Wiring, admin_spec,
    engine_spec, l1_rpc_spec, rollup_rpc_spec, rpc_spec,
};
pub use api::admin::AdminBackend;
pub use config::{AdminConfig, BlockMaker, Limits, NAMESPACES, RpcConfig};
pub use dusk::DuskPorts;
pub use duskevm_engine_api::JwtSecret;
pub use engine::{EngineConfig, EnginePorts, EngineWiring, Heard, HeardCall, Turns};
pub use error::{RpcError, revert_message};
pub use feed::HeadSignal;
pub use forward::{SequencerUrlError, check_sequencer_url, is_own_url};
pub use l1::{CarrierPorts, L1RpcConfig, L1Wiring};
pub use pool::PoolPorts;
pub use rollup::{PeerPorts, RollupControls, RollupRpcConfig, RollupWiring, SequencerPorts};
pub use socket::Socket;
pub use store::StoreReader;
