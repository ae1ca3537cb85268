//! A whole DuskEVM rollup node in one program of supervised actors.
//!
//! The binary is a thin shell around [`cli::main`]. [`node`] is where all actors meet: its wiring reads like the system's drawing.

pub mod cli;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod network;
pub mod node;
