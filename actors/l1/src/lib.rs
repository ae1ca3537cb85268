//! The L1 port: follows an L1 backend and serves the L1 view.
//!
//! Everything on the L2 side knows the L1 through this actor. It takes Dusk blocks from a [`Backend`], projects each one with
//! `duskevm-l1-view`, stores the view, and then publishes the heads. What it published it can serve.
//!
//! The cursor is the newest stored view block: a restart goes on from there and publishes the heads again as soon as the backend
//! says what is final. If the backend replaces blocks that were not final, the view follows; a replaced *final* block ends the
//! node, because nothing built on it can be trusted. [`Follow::Final`] keeps the view to final blocks, for an L2 of which no
//! block is replaced.

mod actor;
mod backend;
mod error;
mod ingress;
mod metrics;
mod state;

pub use actor::{L1, Wiring, spec};
pub use backend::{Backend, BackendError, BackendTip, Embedded, Follow};
pub use error::L1Error;
pub use ingress::DEADLINE;
pub use state::View;
