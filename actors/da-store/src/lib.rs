//! The actor that keeps blobs and serves them, with the blob API.
//!
//! [`DaStore`] owns the blob database. Before a block is accepted, `consensus` has its blobs kept here ([`KeepBlobs`] answers
//! when they are on disk); when a block is reverted they go; when blocks become final, blobs beyond the retention go, a few in
//! a turn. What a block has and the disk has not (a block that came by synchronization, a damaged record) is fetched from
//! peers in the background; whatever comes from a peer is verified off the actor's thread, and who sent something wrong is
//! reported.
//!
//! After a restart it serves at once from disk: the claims are read back, the blobs themselves only when somebody asks.
//!
//! [`BlobApi`] is the HTTP server of the blob APIs (`duskevm_blobs::api`), an actor of its own, so that no client can disturb
//! the keeping. Its socket outlives it ([`Socket`]).
//!
//! [`KeepBlobs`]: duskevm_messages::da_store::KeepBlobs

mod actor;
mod api;
mod error;
mod fetch;
mod ingress;
mod metrics;
mod state;

pub use actor::{DaStore, Peers, Settings, Wiring, spec};
pub use api::{ApiLimits, ApiWiring, BlobApi, Socket, api_spec};
pub use error::{ApiError, DaStoreError};
pub use ingress::DEADLINE;
