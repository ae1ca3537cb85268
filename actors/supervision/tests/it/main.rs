//! The promises of the supervision crate, each with a test; see README.md.
#![allow(unreachable_pub, missing_docs, missing_debug_implementations, clippy::unwrap_used)]

mod common;
mod context;
mod deaths;
mod faults;
mod hangs;
mod orders;
mod ports;
mod requests;
mod shutdown;
mod why;
