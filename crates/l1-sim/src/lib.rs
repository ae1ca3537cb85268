//! Simulation of Dusk L1's consensus on virtual time.
//!
//! Whole machines of `duskevm-dusk-l1` run against each other over a made-up network: real frames, encoded and decoded,
//! with delays, losses, repetitions, partitions, crashes with a restart from what was synced, and provisioners that lie.
//! Everything follows from one seed, so a run that breaks a promise can be run again. Time is virtual and signatures are
//! a stand-in, hence hundreds of rounds per second. What is promised: one final block per height, final blocks stay, no
//! honest provisioner signs twice for one step, and after the network has healed the chain grows.

pub mod byzantine;
pub mod check;
pub mod ledger;
pub mod node;
pub mod scenario;
pub mod world;
