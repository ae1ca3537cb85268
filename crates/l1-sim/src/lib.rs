//! Simulation of Dusk L1's consensus on virtual time.
//!
//! Whole machines of `duskevm-dusk-l1` run against each other over a made-up network: real frames, encoded and decoded,
//! that spread from neighbour to neighbour with delays, losses, repetitions and partitions; nodes crash and restart from
//! what was synced, or come late; provisioners lie. Everything follows from one seed, so a run that breaks a promise can be
//! run again. Time is virtual and signatures are a stand-in, hence hundreds of rounds per second. What is promised: one
//! final block per height, final blocks stay, no honest provisioner signs twice for one step, and after the network has
//! healed the chain grows and its blocks become final by the rolling rule.

mod act;
pub mod byzantine;
pub mod check;
pub mod ledger;
mod message;
pub mod network;
pub mod node;
pub mod scenario;
mod schedule;
pub mod shares;
pub mod tally;
pub mod world;
