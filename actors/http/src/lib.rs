//! The HTTP server for operators: Prometheus metrics, liveness, readiness with reasons.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | all metrics in the Prometheus text format |
//! | `/healthz` | 200 as long as this actor answers |
//! | `/readyz` | 200 when the node serves and its heads move; 503 with the chain of causes when not |
//! | `/` | a list of the above |
//!
//! The actor holds no state but its socket, which outlives it (see [`Socket`]): while it is restarted, clients wait
//! instead of being refused, and the port stays the same.

mod accept;
mod actor;
mod error;
mod metrics;
mod server;
mod site;
mod socket;

#[cfg(test)]
mod tests;

pub use actor::Http;
pub use error::HttpError;
pub use server::Limits;
pub use site::{Readiness, ReadyReport, Site};
pub use socket::Socket;
