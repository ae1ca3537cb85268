//! The JSON-RPC servers: the L2 surface for clients, the admin surface for operators.
//!
//! [`RpcServer`] serves HTTP and WebSocket on one port, [`AdminServer`] HTTP on another, on loopback. Both are actors that keep
//! nothing: a new instance accepts from the same [`Socket`], and each instance has its own runtime for sockets, so that a hang of
//! the actor's thread does not keep clients waiting.
//!
//! The way of a call: accepted and bounded (`listener`, `throttle`, `connection`), admitted and read (`request`), measured and
//! checked (`middleware`), brought to a thread that fits it (`api::registry`): at once for what is in memory, `workers` for reads
//! and, apart from them, for calls and searches, and for traces; `submit` recovers the senders of raw transactions, which `forward` brings to a sequencer that is elsewhere. The answer is
//! written to JSON there (`json`) and counted (`unsent`) until the client has taken it. What is read comes through [`chain::Chain`] from immutable data and
//! snapshots, never through an actor's mailbox. `simulate` runs transactions that are not part of the chain. `feed` works out what
//! changed when the heads move.
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
mod error;
mod feed;
mod fees;
mod filters;
mod forward;
mod json;
mod known;
mod listener;
pub mod metrics;
mod middleware;
pub mod node;
mod params;
mod pool;
mod queue;
mod request;
mod simulate;
mod socket;
mod store;
mod submit;
mod throttle;
mod types;
mod unsent;
mod workers;

pub use actor::{AdminServer, RpcServer, RpcServerError, Wiring, admin_spec, rpc_spec};
pub use api::admin::AdminBackend;
pub use config::{AdminConfig, BlockMaker, Limits, NAMESPACES, RpcConfig};
pub use dusk::DuskPorts;
pub use error::{RpcError, revert_message};
pub use feed::HeadSignal;
pub use forward::{SequencerUrlError, check_sequencer_url, is_own_url};
pub use pool::PoolPorts;
pub use socket::Socket;
pub use store::StoreReader;
