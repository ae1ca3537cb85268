//! The pipeline on L1 chains in memory.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test stops where it is wrong")]

mod chain;
mod garbage;
mod reset;
mod rules;
mod world;
