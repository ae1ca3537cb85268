//! Every message that crosses an actor boundary, one module per receiving actor.
//!
//! Each message says who sends it, what the reply means, and whether it may be delivered twice.

pub mod backfill;
pub mod block_gossip;
pub mod carrier;
pub mod consensus;
pub mod da_store;
pub mod derivation;
pub mod executor;
pub mod gossip;
pub mod l1;
pub mod sequencer;
pub mod txpool;
