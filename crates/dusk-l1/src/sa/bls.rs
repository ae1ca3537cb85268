//! Signatures: one, aggregated, and a stand-in for simulations.
