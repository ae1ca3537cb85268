//! Deterministic sortition: who is drawn for a step.
