//! Derivation held against the published kona crates.
//!
//! A [`generate::Generated`] chain is read by both pipelines; what they give is compared field by field. See the README.

pub mod compare;
pub mod departure;
pub mod generate;
pub mod kona;
pub mod ours;
pub mod record;
pub mod rng;
pub mod world;
