//! The servers on real sockets, over a scripted chain in memory whose blocks are built by the real executor.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing to unwrap fails")]

mod admin;
mod chain;
mod client;
mod dusk;
mod engine;
mod forward;
mod l1;
mod node;
mod restart;
mod robust;
mod rollup;
mod rollup_peers;
mod scripted;
mod simulate;
mod store;
mod subscribe;
mod surface;
mod trace;
