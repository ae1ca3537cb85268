//! The HTTP server of the blob APIs.

mod actor;
mod patience;
mod server;
mod service;
mod socket;

pub use actor::{BlobApi, api_spec};
pub use server::ApiLimits;
pub use service::ApiWiring;
pub use socket::Socket;
