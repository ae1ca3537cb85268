//! Succinct Attestation, Dusk's consensus, as rules and a machine without clocks, sockets and threads.

pub mod attestation;
pub mod ballots;
pub mod bls;
pub mod committee;
pub mod evidence;
pub mod fork;
pub mod machine;
pub mod provisioners;
pub mod queue;
pub mod registry;
pub mod round;
pub mod rules;
pub mod sortition;
pub mod sync;
pub mod timeouts;
pub mod triage;
pub mod votes;
pub mod wire;
