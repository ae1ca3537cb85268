//! Checks of attestations.
