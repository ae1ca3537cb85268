//! Simulation of Dusk L1's consensus on virtual time.
