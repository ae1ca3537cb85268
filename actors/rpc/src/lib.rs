//! The JSON-RPC servers: the L2 surface for clients, the admin surface for operators.

mod actor;
mod api;
mod cache;
pub mod chain;
mod config;
mod error;
mod feed;
mod fees;
mod filters;
mod json;
mod known;
mod listener;
pub mod metrics;
mod middleware;
pub mod node;
mod params;
mod pool;
mod simulate;
mod socket;
mod store;
mod submit;
mod throttle;
mod types;
mod workers;

pub use actor::{AdminServer, RpcServer, RpcServerError, Wiring, admin_spec, rpc_spec};
pub use api::admin::AdminBackend;
pub use config::{AdminConfig, Limits, NAMESPACES, RpcConfig};
pub use error::{RpcError, revert_message};
pub use feed::HeadSignal;
pub use pool::PoolPorts;
pub use socket::Socket;
pub use store::StoreReader;
